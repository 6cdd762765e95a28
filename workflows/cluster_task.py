"""What one job of a queue does: its cells, with resume, in the time it has; and how the queue is told of the rest."""

import contextlib
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

from jobflow import Flow

from corecrown.errors import InputError
from corecrown.postprocess.results import Step
from corecrown.workflows.cluster_script import OUT_OF_TIME
from corecrown.workflows.electronic import ElectronicStructureMaker
from corecrown.workflows.geometries import needed_cells
from corecrown.workflows.local import run_flow
from corecrown.workflows.manifest import belongs_to
from corecrown.workflows.record import StepFolder, StepState, cell_lock
from corecrown.workflows.spec import StudySpec
from corecrown.workflows.steps import with_needed
from corecrown.workflows.study import StudyInfo, SubstitutionStudyMaker, cell_folder, steps_of

__all__ = ["TaskOutcome", "run_task", "without_comparison"]

ENDED_BY_QUEUE = 143
"""Exit code of a process that was told to end: 128 and SIGTERM."""


@dataclass(frozen=True)
class TaskOutcome:
    """What became of the steps of a job.

    Attributes
    ----------
    states
        State of each step of each cell.
    reasons
        Why steps failed, by ``LABEL STEP``.
    """

    states: dict[str, dict[str, StepState]]
    reasons: dict[str, str]

    @property
    def exit_code(self) -> int:
        """0 if all is done, 75 if only more time is needed, 1 if something failed."""
        left = [state for row in self.states.values() for state in row.values() if state is not StepState.DONE]
        if not left:
            return 0
        return OUT_OF_TIME if any("walltime" in reason for reason in self.reasons.values()) else 1


def run_task(spec: StudySpec, folder: Path, labels: Sequence[str] | None, steps: Sequence[str] | None) -> TaskOutcome:
    """Compute cells of a study in its folder, leaving ``study.json`` and the report to ``study collect``.

    Parameters
    ----------
    spec
        The study, or the part of it that these cells need.
    folder
        Folder of the study; it must hold it already.
    labels
        Which cells; all by default.
    steps
        Which steps, with what they need; all by default.

    Raises
    ------
    InputError
        If the folder holds no study or another one, or a step is unknown.
    RunError
        If another process works on one of the cells.
    """
    folder = folder.resolve()
    if not belongs_to(spec, folder):
        raise InputError(
            f"{folder}: does not hold study {spec.name!r} ({spec.engine.value})",
            "--in-queue is for jobs that corecrown study submit made; nothing was changed",
        )
    maker = SubstitutionStudyMaker.from_spec(spec)
    maker.electronic = _restricted(maker.electronic, steps)
    cells, finished = needed_cells(spec, maker, labels, folder)
    work = [(cell, steps_of(cell, maker.electronic.steps)) for cell in cells]
    with contextlib.ExitStack() as locks:
        locks.enter_context(_ending_in_order())
        for cell in cells:
            locks.enter_context(cell_lock(cell_folder(folder, cell.label)))
        flow = maker.make(cells, StudyInfo.of(spec), folder, finished)
        run_flow(without_comparison(flow), folder)
    records = {
        cell.label: {step: StepFolder(cell_folder(folder, cell.label) / step.value) for step in chosen}
        for cell, chosen in work
    }
    states = {label: {step.value: record.state() for step, record in row.items()} for label, row in records.items()}
    reasons = {
        f"{label} {step.value}": record.failure() or "did not run"
        for label, row in records.items()
        for step, record in row.items()
        if states[label][step.value] is not StepState.DONE
    }
    return TaskOutcome(states, reasons)


def _restricted(electronic: ElectronicStructureMaker, steps: Sequence[str] | None) -> ElectronicStructureMaker:
    """Return the same Makers with those of other steps left out; the relaxation stays, all follow it."""
    if not steps:
        return electronic
    for step in steps:
        if step not in {one.value for one in electronic.steps}:
            raise InputError(
                f"step {step!r} is not in this study", f"its steps: {', '.join(one.value for one in electronic.steps)}"
            )
    kept = {*with_needed(Step(step) for step in steps), Step.RELAX}
    others: dict[str, Any] = {step.value: None for step in electronic.steps if step not in kept}
    return replace(electronic, **others)


def without_comparison(flow: Flow) -> Flow:
    """Return a study's flow without its last job, which sets all cells beside the experiment."""
    flow.output = None
    flow.remove_jobs(len(flow.jobs) - 1)
    return flow


@contextlib.contextmanager
def _ending_in_order() -> Iterator[None]:
    """End on SIGTERM as on an error: programs are ended and locks given back."""

    def leave(_number: int, _frame: FrameType | None) -> None:
        raise SystemExit(ENDED_BY_QUEUE)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
