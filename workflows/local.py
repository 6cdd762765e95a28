"""Run a study here: one lock a cell, jobflow's own runner, and a picture of how far it is."""

import contextlib
import json
import logging
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from jobflow import Flow, JobStore
from jobflow.managers.local import run_locally
from maggma.stores import MemoryStore

from corecrown import __version__
from corecrown.errors import InputError, RunError
from corecrown.files import write_whole
from corecrown.postprocess.results import Step, StudyResult
from corecrown.resources import read_yaml
from corecrown.structures.cells import Cell
from corecrown.workflows.collection import collect_study
from corecrown.workflows.engines import read_progress, require_ready
from corecrown.workflows.geometries import needed_cells
from corecrown.workflows.manifest import read_manifest, write_manifest
from corecrown.workflows.progress import Progress
from corecrown.workflows.record import StepFolder, StepState, cell_lock
from corecrown.workflows.spec import StudySpec, load_study
from corecrown.workflows.steps import STEP_NEEDS
from corecrown.workflows.study import (
    StudyInfo,
    SubstitutionStudyMaker,
    build_cells,
    cell_folder,
    steps_of,
    with_parents,
)

__all__ = [
    "RUN_LOG",
    "Running",
    "claim_folder",
    "forget_step",
    "quiet_libraries",
    "read_status",
    "require_own_folder",
    "require_unedited",
    "run_flow",
    "run_study",
    "stored_study",
    "watch",
]

STUDY_FILE, RUN_LOG = "study.yaml", "runs.jsonl"


@dataclass(frozen=True)
class Running:
    """The calculation that is in work now."""

    label: str
    step: Step
    progress: Progress
    elapsed_s: float


def claim_folder(spec: StudySpec, folder: Path) -> None:
    """Make a folder this study's own; errors as for :func:`require_own_folder`."""
    require_own_folder(spec, folder)
    write_whole(folder / STUDY_FILE, f"# Read from {spec.source}\n{spec.to_yaml()}")


def require_own_folder(spec: StudySpec, folder: Path) -> None:
    """Check that a folder is this study's own or can become so; changes nothing.

    Raises
    ------
    InputError
        If it holds another study, or files that are not a study's.
    """
    place = folder / STUDY_FILE
    if place.is_file():
        theirs = read_yaml(place)
        if theirs.get("name") != spec.name or theirs.get("engine", "espresso") != spec.engine.value:
            raise InputError(
                f"{folder}: holds study {theirs.get('name')!r} ({theirs.get('engine', 'espresso')}), "
                f"not {spec.name!r} ({spec.engine.value})",
                "give another folder with -d; nothing was changed",
            )
    elif folder.is_dir() and any(not path.name.startswith(f".{STUDY_FILE}.") for path in folder.iterdir()):
        raise InputError(f"{folder}: is not empty and holds no study", "give a new or empty folder with -d")
    elif folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file", "give a folder with -d")


def require_unedited(folder: Path, cells: Sequence[Cell], steps: Sequence[Step]) -> None:
    """Check that no input under a finished result was edited, before anything of the study is written anew.

    Raises
    ------
    InputError
        Naming the file.
    """
    for cell in cells:
        for step in steps_of(cell, steps):
            StepFolder(cell_folder(folder, cell.label) / step.value).require_unedited()


def stored_study(folder: Path) -> StudySpec:
    """Return the study that a folder holds.

    Raises
    ------
    InputError
        If the folder holds none.
    """
    place = folder / STUDY_FILE
    if not place.is_file():
        raise InputError(f"{folder}: holds no study", "corecrown study run STUDY.yaml -d DIR makes one")
    return load_study(place)


def run_study(
    spec: StudySpec | str | Path,
    folder: str | Path,
    cells: Sequence[str] | None = None,
    on_start: Callable[[list[Cell], list[Step]], None] | None = None,
) -> StudyResult:
    """Run a study here, or go on with it: what is finished is not repeated, a failed cell does not stop the others.

    Parameters
    ----------
    spec
        The study, or its file.
    folder
        Where it is kept.
    cells
        Labels of the cells to compute; all by default. Cells they are made from are relaxed first where their geometry
        is not finished.
    on_start
        Called with the cells and steps once they are known, before anything runs.

    Returns
    -------
    StudyResult
        All that is finished, other cells of the study included; also in ``study.json``.

    Raises
    ------
    InputError
        If the study cannot be run as it is, or the folder belongs to another one.
    RunError
        If another process works on one of the cells.
    """
    spec = spec if isinstance(spec, StudySpec) else load_study(spec)
    folder = Path(folder).resolve()
    maker = SubstitutionStudyMaker.from_spec(spec)
    every = build_cells(spec)
    chosen, finished = needed_cells(spec, maker, cells, folder)
    work = [(cell, steps_of(cell, maker.electronic.steps)) for cell in chosen]
    require_ready(spec.engine, work, maker.electronic)
    require_unedited(folder, every, maker.electronic.steps)
    claim_folder(spec, folder)
    write_manifest(folder, spec, every, maker.electronic.steps)
    with contextlib.ExitStack() as locks:
        for cell in chosen:
            locks.enter_context(cell_lock(cell_folder(folder, cell.label)))
        if on_start is not None:
            on_start(chosen, maker.electronic.steps)
        began, from_here = time.time(), time.monotonic()
        run_flow(maker.make(chosen, StudyInfo.of(spec), folder, finished), folder)
        result = collect_study(spec, every, folder, [cell.label for cell in chosen])
        _log_run(folder, began, time.monotonic() - from_here)
    return result


def run_flow(flow: Flow, folder: Path) -> None:
    """Run a flow in this process; what fails is told by the records of its steps."""
    with quiet_libraries():
        run_locally(flow, log=False, store=JobStore(MemoryStore()), root_dir=folder)


def _log_run(folder: Path, began: float, wall_s: float) -> None:
    """Note how long this run took, a line a run: with the programs' own times it tells what we cost."""
    line = {"began": began, "wall_s": round(wall_s, 2), "corecrown": __version__}
    with (folder / RUN_LOG).open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line) + "\n")


def read_status(folder: Path) -> dict[str, dict[str, StepState]]:
    """Return the state of every step of every cell of a study, from its folders."""
    rows = read_manifest(folder)
    if rows is None:
        spec = stored_study(folder)
        steps = SubstitutionStudyMaker.from_spec(spec).electronic.steps
        rows = {cell.label: [step.value for step in steps_of(cell, steps)] for cell in build_cells(spec)}
    return {
        label: {step: StepFolder(cell_folder(folder, label) / step).state() for step in steps}
        for label, steps in rows.items()
    }


def forget_step(folder: Path, label: str, step: Step) -> dict[str, list[Step]]:
    """Forget the result of a step and of what depends on it; returns the steps that were forgotten of each cell.

    On a relaxation depend the cells that are made from this one, too.

    Raises
    ------
    InputError
        If the study has no such cell or step.
    RunError
        If someone works on one of the cells; nothing is forgotten then.
    """
    status = read_status(folder)
    if label not in status:
        raise InputError(f"cell {label!r} is not in this study", f"its cells: {', '.join(status)}")
    if step.value not in status[label]:
        raise InputError(f"step {step.value!r} is not in this study", f"its steps: {', '.join(status[label])}")
    present = {cell: [Step(name) for name in names] for cell, names in status.items()}
    forgotten = {label: [other for other in present[label] if other is step or _depends(other, step)]}
    if step is Step.RELAX:
        forgotten |= {cell: present[cell] for cell in _made_from(folder, label)}
    with contextlib.ExitStack() as locks:
        for cell in forgotten:
            locks.enter_context(cell_lock(cell_folder(folder, cell)))
        for cell, steps in forgotten.items():
            for other in steps:
                StepFolder(cell_folder(folder, cell) / other.value).forget()
    return forgotten


def _made_from(folder: Path, label: str) -> list[str]:
    """Return the cells of a study that are made from one of them, directly or through others."""
    cells = {cell.label: cell for cell in build_cells(stored_study(folder))}
    return [other for other in cells if other != label and label in with_parents(cells, [other])]


def _depends(step: Step, on: Step) -> bool:
    if on is Step.RELAX:
        return True
    needed = STEP_NEEDS[step]
    return needed is not None and (needed is on or _depends(needed, on))


def watch(folder: Path, labels: Sequence[str], steps: Sequence[Step]) -> Iterator[Running]:
    """Yield what is in work now."""
    for label in labels:
        for step in steps:
            record = StepFolder(cell_folder(folder, label) / step.value)
            attempts = record.attempts()
            if not attempts or record.state() is not StepState.RUNNING:
                continue
            began = (attempts[-1] / "attempt.json").stat().st_mtime
            elapsed_s = max(0.0, time.time() - began)  # for the eye: other processes' clocks may differ
            yield Running(label, step, read_progress(attempts[-1]), elapsed_s)


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keep other packages' logs and warnings off the terminal: failures are told from the record."""
    loggers = [logging.getLogger(name) for name in ("jobflow", "custodian", "maggma")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def require_finished(result: StudyResult, labels: Sequence[str]) -> None:
    """Raise if a step of a chosen cell failed.

    Raises
    ------
    RunError
        Naming the first failure and how many there are.
    """
    failures = [
        (cell.label, step, reason)
        for cell in result.cells
        if cell.label in labels
        for step, reason in cell.failed.items()
    ]
    if failures:
        label, step, reason = failures[0]
        raise RunError(
            f"{label}, step {step}: {reason}",
            f"{len(failures)} step(s) did not finish; the same command again continues",
        )
