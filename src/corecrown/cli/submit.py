"""``corecrown study submit``, and what jobs of a queue need of the other commands of a study."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from corecrown.cli.common import AsJson, Verbose, print_json

if TYPE_CHECKING:
    from corecrown.workflows.spec import StudySpec

__all__ = ["break_locks", "fetch_from_workers", "register", "run_as_job", "status_of"]

PROVENANCE_FILE = "provenance.json"
"""Beside the study file of results that ship (scripts/ship_results.py)."""


def register(study: typer.Typer) -> None:
    """Add ``corecrown study submit``."""
    study.command()(submit)


def submit(
    study_file: Annotated[
        Path, typer.Argument(metavar="STUDY.yaml", help="A study file, or the name of one that ships, such as demo.")
    ],
    folder: Annotated[Path, typer.Option("-d", "--directory", help="Folder of the study.")],
    scheduler: Annotated[
        str | None, typer.Option("--scheduler", help="slurm, pbs or sge; that of the settings if not said.")
    ] = None,
    worker: Annotated[str | None, typer.Option("--worker", help="A worker of your jobflow-remote project.")] = None,
    project: Annotated[
        str | None, typer.Option("--project", help="The jobflow-remote project; its own default if not said.")
    ] = None,
    elsewhere: Annotated[
        bool, typer.Option("--elsewhere", help="The worker does not see DIR: results are fetched by collect.")
    ] = False,
    protocol: Annotated[
        str | None, typer.Option("--protocol", help="demo, fast, balanced or precise; that of the file if not said.")
    ] = None,
    engine: Annotated[
        str | None, typer.Option("--engine", help="espresso or vasp; that of the file if not said.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the scripts; write and submit nothing.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Submit finished cells too, and without asking.")] = False,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Submit a study to a queue: one job a cell, each going on where it was stopped."""
    from corecrown.errors import InputError
    from corecrown.settings import get_settings
    from corecrown.workflows.spec import load_study

    chosen = None if worker else scheduler or get_settings().cluster.scheduler
    if worker and scheduler:
        raise InputError("--scheduler and --worker exclude each other", "a worker knows its own scheduler")
    spec = load_study(study_file).changed(protocol=protocol, engine=engine)
    if worker:
        _to_worker(spec, folder, worker, project, not elsewhere, dry_run, again, as_json)
    elif chosen:
        _to_queue(spec, folder, chosen, dry_run, again, as_json)
    else:
        raise InputError("neither --scheduler nor --worker is given", "give one, or cluster.scheduler in the settings")


def _to_queue(spec: "StudySpec", folder: Path, scheduler: str, dry_run: bool, again: bool, as_json: bool) -> None:
    from corecrown.workflows.cluster import submit_study
    from corecrown.workflows.cluster_queue import scheduler_of

    done = submit_study(spec, folder, scheduler_of(scheduler), dry_run, again)
    if as_json:
        extra = {"scripts": done.scripts, "commands": done.commands} if dry_run else {}
        print_json({**done.about(), "dry_run": dry_run, **extra})
        return
    if dry_run:
        for name, text in done.scripts.items():
            typer.echo(f"# ---- {done.folder / name}\n{text}")
        for command in done.commands:
            typer.echo(f"# would run: {command}")
        return
    n_cells = sum(map(len, done.tasks))
    typer.echo(f"submitted {n_cells} cell(s) in {len(done.tasks)} job(s): {', '.join(done.jobs)}")
    typer.echo(f"logs: {done.folder / 'logs'}; corecrown study status {folder} follows them")


def _to_worker(
    spec: "StudySpec",
    folder: Path,
    worker: str,
    project: str | None,
    shared: bool,
    dry_run: bool,
    again: bool,
    as_json: bool,
) -> None:
    from corecrown.workflows.cluster_remote import submit_to_worker

    done = submit_to_worker(spec, folder, worker, project, shared=shared, dry_run=dry_run, again=again)
    if as_json:
        print_json(done.about())
        return
    n_jobs = len(done.jobs)
    told = "would submit" if dry_run else "submitted"
    typer.echo(f"{told} {len(done.labels)} cell(s) to worker {worker}" + (f" as {n_jobs} job(s)" if n_jobs else ""))
    if not dry_run:
        typer.echo(f"jf runner start runs them; corecrown study collect {folder} reads them back")


def run_as_job(
    spec: "StudySpec", folder: Path, cells: list[str] | None, steps: list[str] | None, as_json: bool
) -> None:
    """Run cells as a job of a queue does; leaves with 0, 1, or 75 where only more time is needed."""
    from corecrown.workflows.cluster_task import run_task

    outcome = run_task(spec, folder, cells or None, steps or None)
    if as_json:
        print_json({"cells": outcome.states, "reasons": outcome.reasons, "exit_code": outcome.exit_code})
    else:
        for label, row in outcome.states.items():
            typer.echo(f"{label}: " + ", ".join(f"{step} {state.value}" for step, state in row.items()))
        for what, reason in outcome.reasons.items():
            typer.echo(f"  {what}: {reason}")
    raise SystemExit(outcome.exit_code)


def status_of(folder: Path) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Return the state of every step, with what waits in a queue, and what is to be said besides."""
    from corecrown.errors import RunError
    from corecrown.workflows.cluster import cells_in_queue, remote_submissions, stale_locks
    from corecrown.workflows.local import read_status

    states = {label: {step: state.value for step, state in row.items()} for label, row in read_status(folder).items()}
    _add_results(folder, states)
    notes = stale_locks(folder)
    if (folder / PROVENANCE_FILE).is_file():
        notes.append(
            "shipped results: the records of the steps were left behind, and study.json says what is done; corecrown "
            "compare and report read them"
        )
    try:
        if remote_submissions(folder):
            notes += _add_workers(folder, states)
        queued = cells_in_queue(folder)
    except RunError as error:
        return states, [*notes, f"what waits in the queue is not known: {error.message}"]
    for label in queued:
        for step, state in states.get(label, {}).items():
            if state in {"waiting", "failed"} and "running" not in states[label].values():
                states[label][step] = "queued"
    return states, notes


def _add_results(folder: Path, states: dict[str, dict[str, str]]) -> None:
    """Set to done the steps of shipped results that are in study.json: the records of their folders do not ship."""
    from corecrown.postprocess.study import STUDY_FILE, read_study
    from corecrown.workflows.study import cell_folder

    if not ((folder / PROVENANCE_FILE).is_file() and (folder / STUDY_FILE).is_file()):
        return
    for cell in read_study(folder).result.cells:
        row = states.get(cell.label, {})
        for step in cell.timings:
            if row.get(step) == "waiting" and not _has_record(cell_folder(folder, cell.label) / step):
                row[step] = "done"


def _has_record(step_folder: Path) -> bool:
    """Whether a step was ever tried, or its result forgotten, in its folder: that says more than study.json."""
    return any(next(step_folder.glob(name), None) is not None for name in ("attempt-*", "*result*.json", "forgotten-*"))


def _add_workers(folder: Path, states: dict[str, dict[str, str]]) -> list[str]:
    """Add to the states what jobflow-remote knows; returns what failed there."""
    from corecrown.workflows.cluster_remote import OVER, states_at_workers

    told, not_here = [], 0
    for what, (state, error) in states_at_workers(folder).items():
        label, _, step = what.partition(" ")
        here = states.get(label, {}).get(step)
        if here is None or here == "done":
            continue
        if state == "COMPLETED":
            not_here += 1
        elif state in OVER:
            states[label][step] = "failed"
            told.append(f"{what}: {state} in jobflow-remote: {error}")
        else:
            states[label][step] = "running" if state == "RUNNING" else "queued"
    if not_here:
        told.append(
            f"{not_here} step(s) are done at a worker and not here: corecrown study collect {folder} fetches them"
        )
    return told


def break_locks(spec: "StudySpec", folder: Path, cells: list[str] | None) -> None:
    """Take over the cells of a study whose last owner is not known to live, and say whose they were."""
    from corecrown.workflows.geometries import needed_cells
    from corecrown.workflows.owners import break_lock
    from corecrown.workflows.study import SubstitutionStudyMaker, cell_folder

    needed, _ = needed_cells(spec, SubstitutionStudyMaker.from_spec(spec), cells, folder)
    for cell in needed:
        owner = break_lock(cell_folder(folder, cell.label))
        if owner is not None:
            typer.echo(f"{cell.label}: lock broken of {owner}", err=True)


def fetch_from_workers(folder: Path, as_json: bool) -> None:
    """Bring results from workers that do not see this folder."""
    from corecrown.workflows.cluster import remote_submissions

    if not remote_submissions(folder):
        return
    from corecrown.workflows.cluster_remote import fetch_results

    for line in fetch_results(folder):
        if not as_json:
            typer.echo(line)
