"""A study on the queue of a cluster: one job a cell, no server and no database.

``DIR/cluster/001/`` holds one submission: ``tasks/N.yaml`` (a study file of the cells of one job), ``stage-1.sh`` (the
script of every job), ``logs/`` and ``submission.json``. Cells that are made from one another go into one job. Each
job runs its cells in ``DIR`` under their locks, stops in time, and submits itself again while work is left.
"""

import hashlib
import json
import socket
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from corecrown.errors import InputError, RunError
from corecrown.files import write_whole
from corecrown.postprocess.results import Step
from corecrown.settings import ClusterSettings, QueueResources, get_settings
from corecrown.structures.cells import Cell
from corecrown.workflows.cluster_queue import Scheduler, queued_jobs, submit_command, submit_script
from corecrown.workflows.cluster_script import CELLS_FILE, Stage, TaskScripts, job_name
from corecrown.workflows.local import claim_folder, read_status, require_own_folder, require_unedited
from corecrown.workflows.manifest import write_manifest
from corecrown.workflows.owners import LOCK, Life, cell_lock, describe_owner, life_of, read_json
from corecrown.workflows.record import StepState
from corecrown.workflows.spec import StudySpec
from corecrown.workflows.study import SubstitutionStudyMaker, build_cells, with_parents

__all__ = [
    "CLUSTER",
    "WORKER",
    "Submission",
    "asks_of",
    "cells_in_queue",
    "cells_to_submit",
    "families",
    "plan_submission",
    "remote_submissions",
    "stale_locks",
    "submit_study",
    "write_submission",
]

CLUSTER, SUBMISSION, WORKER = "cluster", "submission.json", "worker.json"


@dataclass(frozen=True)
class Submission:
    """What is handed to a queue.

    Attributes
    ----------
    folder
        ``DIR/cluster/NNN``.
    name
        What the names of its jobs begin with.
    tasks
        Labels of the cells of each job.
    scripts
        By file name.
    commands
        What submits them.
    arrays
        First task and number of tasks of each array.
    jobs
        What the queue calls them.
    """

    scheduler: Scheduler
    folder: Path
    name: str
    tasks: list[list[str]]
    scripts: dict[str, str]
    commands: list[str]
    arrays: list[tuple[int, int]]
    jobs: list[str] = field(default_factory=list)

    def about(self) -> dict[str, Any]:
        """Return it for a file or for people."""
        return {
            "scheduler": self.scheduler.value,
            "name": self.name,
            "folder": str(self.folder),
            "tasks": self.tasks,
            "arrays": self.arrays,
            "jobs": self.jobs,
        }


def submit_study(
    spec: StudySpec, folder: Path, scheduler: Scheduler, dry_run: bool = False, again: bool = False
) -> Submission:
    """Hand the cells of a study that are not finished to a queue.

    Parameters
    ----------
    spec
        The study.
    folder
        Where it is kept.
    scheduler
        Which queue.
    dry_run
        Write nothing and submit nothing.
    again
        Submit finished cells too, which takes seconds each where nothing changed, and submit even where the queue
        cannot tell whether the cells are in it.

    Raises
    ------
    InputError
        If all that is left is in the queue already, nothing is left, or a setting is not the queue's.
    RunError
        If the queue is not there or refuses, or someone else submits at this moment.
    """
    folder = folder.resolve()
    settings = get_settings().cluster
    cells = build_cells(spec)
    steps = SubstitutionStudyMaker.from_spec(spec).electronic.steps
    require_own_folder(spec, folder)
    require_unedited(folder, cells, steps)
    planned = plan_submission(spec, folder, scheduler, cells, settings)
    if dry_run:
        return planned
    claim_folder(spec, folder)
    with cell_lock(folder / CLUSTER):
        write_manifest(folder, spec, cells, steps)
        waiting = cells_to_submit(folder, again)
        planned = plan_submission(spec, folder, scheduler, cells, settings, waiting)
        write_submission(planned, spec, cells)
        return _submit(planned)


def _unfinished_cells(folder: Path, again: bool) -> set[str]:
    """Return the cells of a study that have steps left; all of them where they are asked for again.

    Raises
    ------
    InputError
        If there are none.
    """
    status = read_status(folder)
    left = {
        label for label, row in status.items() if again or any(state is not StepState.DONE for state in row.values())
    }
    if not left:
        raise InputError(
            f"{folder}: every cell is finished, nothing was submitted",
            "corecrown study collect reads them; --again submits them, for a study file that was changed",
        )
    return left


def cells_to_submit(folder: Path, again: bool) -> set[str]:
    """Return the cells that have steps left and that neither a queue nor a worker has.

    Parameters
    ----------
    again
        Finished cells too, and all where nobody can be asked who has them.

    Raises
    ------
    InputError
        If there are none.
    RunError
        If some were submitted before and nobody can be asked.
    """
    left = _unfinished_cells(folder, again)
    try:
        there = {**_cells_at_workers(folder), **cells_in_queue(folder)}
    except RunError as error:
        if again:
            return left
        raise RunError(
            f"{folder}: was submitted before, and whether its jobs are still there is not known: {error.message}",
            "submit from a machine of the cluster; or, if they are gone, give --again",
        ) from error
    if not left - there.keys():
        theirs = [running for label, running in there.items() if label in left]
        raise InputError(
            f"{folder}: is submitted already: {sum(theirs)} cell(s) running, {len(theirs) - sum(theirs)} waiting",
            "corecrown study status follows them; nothing was submitted",
        )
    return left - there.keys()


def _cells_at_workers(folder: Path) -> dict[str, bool]:
    if not remote_submissions(folder):
        return {}
    from corecrown.workflows.cluster_remote import cells_at_workers

    return cells_at_workers(folder)


def plan_submission(
    spec: StudySpec,
    folder: Path,
    scheduler: Scheduler,
    cells: Sequence[Cell],
    settings: ClusterSettings,
    chosen: Collection[str] | None = None,
) -> Submission:
    """Return the scripts and commands of a submission; writes nothing.

    Parameters
    ----------
    cells
        All cells of the study.
    chosen
        Labels of those to submit; all by default.

    Raises
    ------
    InputError
        If the section ``cluster`` of the settings names an unknown step or an option that the queue does not have.
    """
    taken = [int(path.name) for path in (folder / CLUSTER).glob("[0-9]*") if path.name.isdigit()]
    number = 1 + max(taken, default=0)
    place = folder / CLUSTER / f"{number:03d}"
    name = f"cc{hashlib.sha256(f'{folder}/{number}'.encode()).hexdigest()[:5]}"
    stages = _stages(SubstitutionStudyMaker.from_spec(spec).electronic.steps, settings)
    tasks = families(cells, {cell.label for cell in cells} if chosen is None else chosen, settings.cells_per_job)
    most = settings.max_array_size
    arrays = [(first, min(most, len(tasks) - first)) for first in range(0, len(tasks), most)]
    scripts = TaskScripts(scheduler, stages, place, folder, name, settings)
    commands = [submit_command(scheduler, str(scripts.file(0)), *_first(name, *array, settings)) for array in arrays]
    return Submission(scheduler, place, name, tasks, scripts.files(), commands, arrays)


def _first(name: str, first: int, count: int, settings: ClusterSettings) -> tuple[str, dict[str, str], str | None]:
    """Return name, variables and range of the jobs of one array."""
    if count == 1:
        return job_name(name, f"t{first + 1}"), {"CC_TASK": str(first + 1)}, None
    most = f"%{settings.max_running}" if settings.max_running else ""
    return job_name(name, f"o{first}"), {"CC_OFFSET": str(first)}, f"1-{count}{most}"


def _stages(steps: Sequence[Step], settings: ClusterSettings) -> list[Stage]:
    """Return the steps in groups that ask for the same resources, one after the other."""
    for name in settings.steps:
        if name not in list(Step):
            raise InputError(f"settings, field cluster.steps: {name!r} is no step", f"known: {', '.join(Step)}")
    asked = [(step.value, _laid_over(settings, settings.steps.get(step.value))) for step in steps]
    groups = [(asks, [name for name, _ in group]) for asks, group in groupby(asked, key=lambda item: item[1])]
    if len(groups) == 1:
        return [Stage((), groups[0][0])]
    return [Stage(tuple(names), asks) for asks, names in groups]


def asks_of(step: str) -> QueueResources:
    """Return what a step asks for by the settings in force; without a name of a step, what every job does."""
    settings = get_settings().cluster
    return _laid_over(settings, settings.steps.get(step))


def _laid_over(settings: ClusterSettings, instead: QueueResources | None) -> QueueResources:
    """Return what a step asks for: the section's own fields with those of the step laid over them."""
    own = {name: getattr(settings, name) for name in QueueResources.model_fields}
    if instead is not None:
        given = {name: getattr(instead, name) for name in instead.model_fields_set}
        own |= given | {"resources": {**settings.resources, **instead.resources}}
    return QueueResources(**own)


def families(cells: Sequence[Cell], chosen: Collection[str], cells_per_job: int) -> list[list[str]]:
    """Return the labels of each job: cells that are made from one another together, in the order of the study."""
    family = {cell.label: cell.label for cell in cells}

    def head(label: str) -> str:
        while family[label] != label:
            label = family[label]
        return label

    for cell in cells:
        for parent in cell.depends_on:
            family[head(cell.label)] = head(parent)
    groups: dict[str, list[str]] = {}
    for cell in (one for one in cells if one.label in chosen):
        groups.setdefault(head(cell.label), []).append(cell.label)
    families = list(groups.values())
    joined = [families[first : first + cells_per_job] for first in range(0, len(families), cells_per_job)]
    return [[label for labels in group for label in labels] for group in joined]


def write_submission(planned: Submission, spec: StudySpec, cells: Sequence[Cell]) -> None:
    """Write all that the jobs need; nothing of an earlier submission is touched."""
    try:
        (planned.folder / "tasks").mkdir(parents=True)
        (planned.folder / "logs").mkdir()
        for number, text in enumerate(_task_files(planned.tasks, spec, cells), start=1):
            (planned.folder / "tasks" / f"{number}.yaml").write_text(text, encoding="utf-8")
        lines = (" ".join(f"--cell {label}" for label in labels) + "\n" for labels in planned.tasks)
        (planned.folder / "tasks" / CELLS_FILE).write_text("".join(lines), encoding="utf-8")
        for name, text in planned.scripts.items():
            write_whole(planned.folder / name, text).chmod(0o755)
    except OSError as error:
        raise RunError(f"{error.filename}: {error.strerror}", "is the disk full or read-only?") from error
    _note(planned)


def _task_files(tasks: Iterable[Sequence[str]], spec: StudySpec, cells: Sequence[Cell]) -> Iterable[str]:
    """Yield the study file of each job: the study with the entries that its cells come from (JSON is YAML)."""
    content = spec.portable()
    places = {id(entry): place for place, entry in enumerate(spec.cells)}
    by_label = {cell.label: cell for cell in cells}
    for labels in tasks:
        own = sorted({places[id(by_label[label].spec)] for label in with_parents(by_label, labels)})
        yield json.dumps({**content, "cells": [content["cells"][place] for place in own]}) + "\n"


def _submit(planned: Submission) -> Submission:
    settings = get_settings().cluster
    for array in planned.arrays:
        try:
            job = submit_script(
                planned.scheduler, planned.folder / "stage-1.sh", *_first(planned.name, *array, settings)
            )
        except RunError as error:
            if not planned.jobs:
                raise
            told = (
                f"{len(planned.jobs)} of {len(planned.arrays)} arrays are submitted; the same command adds the others"
            )
            raise RunError(error.message, f"{told}; {error.hint}") from error
        planned.jobs.append(job)
        _note(planned)
    return planned


def _note(planned: Submission) -> None:
    about = {
        **planned.about(),
        "submitted": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": socket.gethostname(),
    }
    write_whole(planned.folder / SUBMISSION, json.dumps(about) + "\n")


def cells_in_queue(folder: Path) -> dict[str, bool]:
    """Return the cells of a study that a queue still has, and whether their job runs (else it waits).

    Raises
    ------
    RunError
        If there is something to ask of a queue and it cannot be asked.
    """
    found: dict[str, bool] = {}
    for path in sorted((folder / CLUSTER).glob(f"*/{SUBMISSION}")):
        about = read_json(path)
        if not about.get("jobs") or not isinstance(about.get("tasks"), list):
            continue
        prefix = f"{about['name']}."
        for job in queued_jobs(Scheduler(about["scheduler"]), prefix):
            for task in _tasks_of(job.name.removeprefix(prefix), job.indices, about):
                if 0 < task <= len(about["tasks"]):
                    found |= dict.fromkeys(about["tasks"][task - 1], job.is_running)
    return found


def _tasks_of(suffix: str, indices: Sequence[int] | None, about: Mapping[str, Any]) -> Iterable[int]:
    if suffix[:1] == "t" and suffix[1:].isdigit():
        return [int(suffix[1:])]
    if suffix[:1] != "o" or not suffix[1:].isdigit():
        return []
    first = int(suffix[1:])
    count = next((count for start, count in about["arrays"] if start == first), 0)
    return (first + index for index in (indices if indices is not None else range(1, count + 1)))


def remote_submissions(folder: Path) -> list[Path]:
    """Return what was submitted to workers of jobflow-remote, oldest first."""
    return sorted((folder / CLUSTER).glob(f"*/{WORKER}"))


def stale_locks(folder: Path) -> list[str]:
    """Say which cells are locked by a process that is gone, or of which nothing is known."""
    told = []
    for path in sorted([*folder.glob(f"cells/*/{LOCK}"), *folder.glob(f"cells/*/*/{LOCK}")]):
        owner, place = read_json(path), " ".join(path.parent.relative_to(folder / "cells").parts)
        life = life_of(owner)
        if life is Life.DEAD:
            told.append(f"{place}: lock left behind by {describe_owner(owner, path)}; the next run takes it")
        elif life is Life.UNKNOWN:
            told.append(f"{place}: locked by {describe_owner(owner, path)}; if that is gone, --break-locks")
    return told
