"""A study put together from what its folders hold."""

import contextlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corecrown.errors import CorecrownError, RunError
from corecrown.postprocess.cells import assemble_cell
from corecrown.postprocess.results import CellResult, Step, StepResult, StudyResult
from corecrown.structures.cells import Cell
from corecrown.workflows.electronic import ElectronicStructureMaker
from corecrown.workflows.geometries import known_starts
from corecrown.workflows.record import StepFolder
from corecrown.workflows.spec import Engine, StudySpec
from corecrown.workflows.start import start_failure, stored_start
from corecrown.workflows.steps import STEP_NEEDS
from corecrown.workflows.study import StudyInfo, SubstitutionStudyMaker, cell_folder, finish_study, makers_of
from corecrown.workflows.walk import walk_steps

if TYPE_CHECKING:
    from pymatgen.core import Structure

__all__ = ["collect_study"]


def collect_study(spec: StudySpec, cells: Sequence[Cell], folder: Path, computed: Collection[str] = ()) -> StudyResult:
    """Put a study together from what its folders hold, wherever that was computed.

    A result of other settings than the study file has now stays in, and the notes of its cell say so.

    Parameters
    ----------
    spec
        The study.
    cells
        All its cells.
    folder
        Of the study.
    computed
        Labels of cells that have just been computed, whose settings are today's.

    Raises
    ------
    RunError
        If nothing has run yet.
    """
    maker = SubstitutionStudyMaker.from_spec(spec)
    makers = {cell.label: makers_of(cell, maker.electronic) for cell in cells}
    if spec.engine is Engine.VASP:
        from corecrown.workflows.vasp.collect import adopt_runs

        for cell in cells:
            own = makers[cell.label]
            adopt_runs(
                [getattr(own, step.value) for step in own.steps],
                STEP_NEEDS,
                cell.structure,
                cell.label,
                cell_folder(folder, cell.label),
            )
    steps = maker.electronic.steps
    ran = any((cell_folder(folder, cell.label) / step.value).is_dir() for cell in cells for step in steps)
    if not ran:
        raise RunError(f"{folder}: nothing has run yet", "corecrown study run computes the cells")
    starts = known_starts(maker, cells, folder) if any(cell.label not in computed for cell in cells) else {}
    collected = []
    for cell in cells:
        own = makers[cell.label]
        records = {step: StepFolder(cell_folder(folder, cell.label) / step.value) for step in own.steps}
        done = {step: record.finished() for step, record in records.items()}
        old = [] if cell.label in computed else _outdated(cell, starts.get(cell.label), own, done, folder)
        collected.append(_collected(cell, records, done, cell_folder(folder, cell.label), old))
    return finish_study(collected, StudyInfo.of(spec), folder)


def _outdated(
    cell: Cell,
    start: "Structure | None",
    makers: ElectronicStructureMaker,
    done: Mapping[Step, StepResult | None],
    folder: Path,
) -> list[str]:
    """Return what to say of stored results that are not those of today's study file."""
    old: list[Step] = []
    with contextlib.suppress(CorecrownError):  # an input that cannot be made has no result of today
        for walked in walk_steps(cell, start, makers, cell_folder(folder, cell.label)):
            current = done[walked.step]
            if current is None:
                continue
            from_old = Step.RELAX in old or STEP_NEEDS[walked.step] in old
            if from_old or (walked.key is not None and current.key != walked.key):
                old.append(walked.step)
    if not old:
        return []
    return [f"{', '.join(old)}: computed with other settings than the study file has now; study run computes anew"]


def _collected(
    cell: Cell,
    records: Mapping[Step, StepFolder],
    done: Mapping[Step, StepResult | None],
    folder: Path,
    notes: Sequence[str],
) -> CellResult:
    unbegun = start_failure(folder)
    failed: Mapping[str, Any] = {
        step.value: records[step].failure() or unbegun or f"{records[step].state().value}"
        for step, result in done.items()
        if result is None
    }
    return assemble_cell(
        label=cell.label,
        fa_fraction=cell.fa_fraction,
        alignment=cell.alignment,
        structure=stored_start(cell.structure, folder) or cell.structure,
        steps={step: result for step, result in done.items() if result is not None},
        failed=failed,
        notes=[*cell.notes, *notes],
        ensemble=cell.group,
        made_from=cell.depends_on,
    )
