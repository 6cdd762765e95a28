"""``corecrown study``: plan, run, status, rerun, collect."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from corecrown.cli.common import AsJson, Verbose, print_json, print_table

if TYPE_CHECKING:
    from corecrown.postprocess.results import StudyResult

__all__ = ["register"]

StudyFile = Annotated[
    Path, typer.Argument(metavar="STUDY.yaml", help="A study file, or the name of one that ships, such as demo.")
]
Folder = Annotated[Path, typer.Option("-d", "--directory", help="Folder of the study.")]
FolderArgument = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a study.")]
CellLabels = Annotated[list[str] | None, typer.Option("--cell", help="Only this cell; may be given again.")]
ProtocolName = Annotated[
    str | None, typer.Option("--protocol", help="demo, fast, balanced or precise; that of the file if not said.")
]
EngineName = Annotated[str | None, typer.Option("--engine", help="espresso or vasp; that of the file if not said.")]

MOST_CELLS_OF_A_REPORT = 200
"""A report of more cells takes minutes and is made on request."""

study = typer.Typer(help="Plan, run and follow a study.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add ``corecrown study`` to the command line."""
    from corecrown.cli import submit

    submit.register(study)
    app.add_typer(study, name="study")


@study.command()
def plan(
    study_file: StudyFile,
    inputs: Annotated[Path | None, typer.Option("--inputs", help="Write the complete input folders here.")] = None,
    folder: Annotated[Path | None, typer.Option("-d", "--directory", help="Count what is finished there.")] = None,
    protocol: ProtocolName = None,
    engine: EngineName = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Show every calculation with k-points, bands, electrons, memory and cost; run nothing."""
    from corecrown.workflows.plan import plan_study
    from corecrown.workflows.spec import load_study

    planned = plan_study(load_study(study_file).changed(protocol=protocol, engine=engine), folder, inputs)
    if as_json:
        print_json(planned)
        return
    header = ("cell", "step", "program", "k-points", "bands", "electrons", "memory / GiB", "core-hours", "")
    rows = [
        (
            label,
            name,
            step.program,
            str(step.n_kpoints),
            str(step.n_bands),
            f"{step.n_electrons:g}",
            f"{step.memory_gib:.2f}",
            f"{step.core_hours:.2f}",
            "reused" if step.reused else "",
        )
        for label, steps in planned.cells.items()
        for name, step in steps.items()
    ]
    print_table(
        f"{study_file}: about {planned.total_core_hours:.1f} core-hours", header, rows, caption=planned.cost_note
    )
    for notice in planned.notices:
        typer.echo(f"  ! {notice}")
    if inputs is not None:
        typer.echo(f"inputs written to {inputs}")


@study.command()
def run(
    study_file: StudyFile,
    folder: Folder,
    cell: CellLabels = None,
    protocol: ProtocolName = None,
    engine: EngineName = None,
    break_locks: Annotated[
        bool, typer.Option("--break-locks", help="Take cells over whose last process cannot be asked any more.")
    ] = False,
    in_queue: Annotated[
        bool, typer.Option("--in-queue", help="As a job of a queue: no report; exit 75 where only time was short.")
    ] = False,
    step: Annotated[list[str] | None, typer.Option("--step", help="With --in-queue, only this step.")] = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Run a study here, with progress; the same command again continues."""
    from corecrown.cli import submit
    from corecrown.errors import InputError
    from corecrown.workflows.spec import load_study

    if step and not in_queue:
        raise InputError("--step goes with --in-queue", "a study file says which steps are computed")
    spec = load_study(study_file).changed(protocol=protocol, engine=engine)
    if break_locks:
        submit.break_locks(spec, folder, cell)
    if in_queue:
        submit.run_as_job(spec, folder, cell, step, as_json)
    else:
        _run(spec, folder, cell, as_json)


@study.command()
def status(folder: FolderArgument, as_json: AsJson = False, verbose: Verbose = False) -> None:
    """Show a row a cell and a column a step: done, running, queued, failed or waiting."""
    from corecrown.cli import submit

    states, notes = submit.status_of(folder)
    if as_json:
        print_json({"cells": states, "notes": notes})
        return
    steps = list(dict.fromkeys(name for row in states.values() for name in row))
    rows = [(label, *(row.get(name, "–") for name in steps)) for label, row in states.items()]
    print_table(str(folder), ("cell", *steps), rows)
    for note in notes:
        typer.echo(note)


@study.command()
def rerun(
    folder: FolderArgument,
    cell: Annotated[str, typer.Option("--cell", help="Label of the cell.")],
    step: Annotated[str, typer.Option("--step", help="Step to forget, with what depends on it.")],
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Forget a result and what depends on it, then run."""
    from corecrown.errors import InputError, known_names
    from corecrown.postprocess.results import Step
    from corecrown.workflows.local import forget_step, stored_study

    if step not in list(Step):
        raise InputError(f"step {step!r} is unknown", known_names(step, Step))
    spec = stored_study(folder)
    forgotten = forget_step(folder, cell, Step(step))
    if not as_json:
        for label, steps in forgotten.items():
            typer.echo(f"forgotten: {label} {', '.join(other.value for other in steps)}")
    _run(spec, folder, list(forgotten), as_json)


@study.command()
def collect(folder: FolderArgument, as_json: AsJson = False, verbose: Verbose = False) -> None:
    """Read back what ran elsewhere into study.json."""
    from corecrown.cli import submit
    from corecrown.workflows.collection import collect_study
    from corecrown.workflows.local import stored_study
    from corecrown.workflows.study import build_cells

    spec = stored_study(folder)
    submit.fetch_from_workers(folder, as_json)
    _show(collect_study(spec, build_cells(spec), folder.resolve()), folder, as_json)


def _run(spec: Any, folder: Path, cells: list[str] | None, as_json: bool) -> None:
    from corecrown.cli.progress import StudyDisplay
    from corecrown.workflows.local import require_finished, run_study

    display = StudyDisplay(folder.resolve(), quiet=as_json)
    with display:
        result = run_study(spec, folder, cells or None, on_start=display.start)
    _show(result, folder, as_json)
    require_finished(result, cells or [one.label for one in result.cells])


def _show(result: "StudyResult", folder: Path, as_json: bool) -> None:
    from corecrown.cli.tables import print_study
    from corecrown.postprocess.report import write_report
    from corecrown.postprocess.study import read_study

    many = len(result.cells) > MOST_CELLS_OF_A_REPORT
    report = None if many else write_report(read_study(folder))
    if as_json:
        print_json(result)
        return
    print_study(result)
    typer.echo(f"no report of {len(result.cells)} cells; corecrown report {folder}" if many else f"report: {report}")
