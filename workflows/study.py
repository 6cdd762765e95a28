"""A whole study as one jobflow Flow: cells by steps, then one comparison."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from jobflow import Flow, Job, JobConfig, Maker, OnMissing, job
from pydantic import BaseModel, ConfigDict
from pymatgen.core import Structure

from corecrown import __version__
from corecrown.errors import CorecrownError, InputError, RunError, known_names
from corecrown.postprocess.comparison import compare_study
from corecrown.postprocess.ensembles import summarise_ensembles
from corecrown.postprocess.experiment import load_experiment
from corecrown.postprocess.results import CellResult, Comparison, Step, StudyResult
from corecrown.postprocess.sameness import find_same_cells
from corecrown.postprocess.study import write_study
from corecrown.structures.cells import Cell, CellSpec, committed_relaxed, derive_cell, expand_cells
from corecrown.workflows.electronic import CellInfo, ElectronicStructureMaker
from corecrown.workflows.protocols import Theory
from corecrown.workflows.spec import Engine, Prerelax, StudySpec
from corecrown.workflows.start import (
    PRERELAXED,
    prerelax_cell,
    remember_failure,
    start_note,
)
from corecrown.workflows.steps import with_needed

__all__ = [
    "StudyInfo",
    "SubstitutionStudyMaker",
    "build_cells",
    "cell_folder",
    "finish_study",
    "makers_of",
    "parents_first",
    "steps_of",
    "with_parents",
]


class StudyInfo(BaseModel):
    """What the comparison needs to know of a study."""

    model_config = ConfigDict(frozen=True)

    name: str
    engine: str
    protocol: str
    experiment: str | None
    experiment_folder: str | None
    gap_uncertainty_ev: float | None

    @classmethod
    def of(cls, spec: StudySpec) -> "StudyInfo":
        """Return it for a study file."""
        return cls(
            name=spec.name,
            engine=spec.engine.value,
            protocol=spec.protocol,
            experiment=spec.experiment,
            experiment_folder=str(spec.folder),
            gap_uncertainty_ev=spec.load_protocol().gap_uncertainty_ev,
        )


def cell_folder(study: Path, label: str) -> Path:
    """Return where a study keeps a cell."""
    return study / "cells" / label


def build_cells(spec: StudySpec, labels: Sequence[str] | None = None) -> list[Cell]:
    """Build the cells of a study, in its order, prepared as its ``start`` says.

    Parameters
    ----------
    spec
        The study.
    labels
        Only these cells, if given.

    Raises
    ------
    InputError
        If a cell cannot be built, a label is unknown, or a committed start is asked for that does not ship.
    """
    cells = expand_cells(spec.cells, spec.folder)
    known = [cell.label for cell in cells]
    for label in labels or []:
        if label not in known:
            raise InputError(f"cell {label!r} is not in study {spec.name!r}", known_names(label, known, "its cells"))
    wanted = with_parents({cell.label: cell for cell in cells}, known if labels is None else labels)
    return [_prepared(cell, spec.start.prerelax) for cell in cells if cell.label in wanted]


def with_parents(cells: Mapping[str, Cell], labels: Iterable[str], known: Collection[str] = ()) -> set[str]:
    """Return labels with those of the cells that these cells are made from.

    Parameters
    ----------
    cells
        All cells by label.
    labels
        Which are wanted.
    known
        Parents that need not be among them, nor their own parents.
    """
    wanted: set[str] = set()
    left = list(labels)
    while left:
        label = left.pop()
        if label not in wanted:
            wanted.add(label)
            left += [parent for parent in cells[label].depends_on if parent not in known]
    return wanted


def parents_first(cells: Sequence[Cell]) -> list[Cell]:
    """Return cells such that each comes after those it is made from; a study file may name them in any order."""
    by_label = {cell.label: cell for cell in cells}
    order = TopologicalSorter({cell.label: cell.depends_on for cell in cells}).static_order()
    return [by_label[label] for label in order if label in by_label]


def steps_of(cell: Cell, steps: Sequence[Step]) -> list[Step]:
    """Return which of a study's steps a cell goes through.

    One made from relaxed cells is computed as it is, unless its entry names the step relax.
    """
    own = cell.spec.steps
    chosen = set(steps) if own is None else set(with_needed(Step(name) for name in own))
    if cell.depends_on and Step.RELAX.value not in (own or ()):
        chosen.discard(Step.RELAX)
    return [step for step in steps if step in chosen]


def makers_of(cell: Cell, electronic: ElectronicStructureMaker) -> ElectronicStructureMaker:
    """Return the Makers of the steps that a cell goes through.

    A cell made from others was given its lattice on purpose: its atoms alone are relaxed.
    """
    own = electronic.limited_to(steps_of(cell, electronic.steps))
    if cell.depends_on and own.relax is not None:
        kept = own.relax.settings.model_copy(update={"relax_cell": False})
        own = replace(own, relax=replace(own.relax, settings=kept))
    return own


def _prepared(cell: Cell, prerelax: Prerelax) -> Cell:
    if cell.depends_on:
        return cell
    if prerelax is Prerelax.COMMITTED:
        structure = committed_relaxed(cell.label)
        if structure is None:
            raise InputError(
                f"start.prerelax: no relaxed cell ships for {cell.label!r}", "use prerelax: none or chgnet for it"
            )
        built = tuple(f"as built: {note}" for note in cell.notes)
        return replace(cell, structure=structure, notes=(*built, "started from the relaxed cell that ships instead"))
    if prerelax is Prerelax.CHGNET:
        return replace(cell, notes=(*cell.notes, PRERELAXED))
    return cell


@dataclass
class SubstitutionStudyMaker(Maker):
    """All cells of a study through all their steps, then the comparison with STS.

    Parameters
    ----------
    electronic
        What is done with each cell.
    prerelax
        Whether CHGNet relaxes each cell before the first step.
    name
        Name of the flow.
    """

    electronic: ElectronicStructureMaker
    prerelax: bool = False
    name: str = "substitution study"

    @classmethod
    def from_spec(cls, spec: StudySpec) -> "SubstitutionStudyMaker":
        """Return the Maker that a study file means."""
        theory = Theory(functional=spec.functional, dispersion=spec.dispersion)
        engines = {
            Engine.ESPRESSO: ElectronicStructureMaker.for_espresso,
            Engine.VASP: ElectronicStructureMaker.for_vasp,
        }
        electronic = engines[spec.engine](spec.load_protocol(), spec.steps, theory)
        if electronic.excitation is not None:
            asked = {"kinds": tuple(spec.excitation.kinds), "supercell": spec.excitation.supercell}
            electronic = replace(electronic, excitation=replace(electronic.excitation, **asked))
        return cls(electronic, spec.start.prerelax is Prerelax.CHGNET, spec.name)

    def make(
        self,
        cells: Sequence[Cell],
        info: StudyInfo,
        folder: str | Path | None = None,
        finished: Mapping[str, Structure] | None = None,
    ) -> Flow:
        """Return the flow of a study.

        Parameters
        ----------
        cells
            The cells to compute.
        info
            What the comparison needs.
        folder
            Folder of the study, or None for flows that run elsewhere.
        finished
            Geometries, by label, of parents that are not computed here.
        """
        known: dict[str, Any] = dict(finished or {})
        flows: dict[str, Flow] = {}
        before: list[Job] = []
        for cell in parents_first(cells):
            place = None if folder is None else str(cell_folder(Path(folder), cell.label))
            electronic = makers_of(cell, self.electronic)
            start: Any = cell.structure
            if cell.depends_on:
                parents = {label: known[label] for label in cell.depends_on}
                before.append(derive_structure(cell.spec.as_written(), parents, place))
                before[-1].name, start = f"{cell.label} from relaxed cells", before[-1].output
            elif self.prerelax:
                before.append(prerelax_cell(cell.structure, place))
                before[-1].name, start = f"{cell.label} pre-relaxation", before[-1].output
            flows[cell.label] = electronic.make(start, cell_info(cell), place)
            known[cell.label] = flows[cell.label].output
        outputs = [flows[cell.label].output for cell in cells]
        last = compare_cells(outputs, info, None if folder is None else str(folder))
        last.name = "comparison"
        return Flow([*before, *flows.values(), last], output=last.output, name=self.name)


@job
def derive_structure(
    written: dict[str, Any], parents: dict[str, CellResult | Structure], folder: str | None = None
) -> Structure:
    """Make a cell from others as relaxed.

    Parameters
    ----------
    written
        The entry of the cell in the study file: an entry refuses keys that do not belong together, so it must not come
        with the defaults of all others.
    parents
        The cells it is made from, or their finished geometries, by label.
    folder
        Folder of the cell, where a failure is kept; nothing is kept if None.

    Raises
    ------
    RunError
        If one of the others could not be relaxed.
    """
    spec = CellSpec.model_validate(written)
    with remember_failure(folder):
        return derive_cell(spec, {label: _relaxed(spec, label, parent) for label, parent in parents.items()})


def _relaxed(spec: CellSpec, label: str, parent: CellResult | Structure) -> Structure:
    if isinstance(parent, Structure):
        return parent
    if Step.RELAX.value in parent.failed:
        raise RunError(
            f"{spec.base_label()}: {label} is not relaxed: {parent.failed[Step.RELAX.value]}",
            "the same command again goes on with it",
        )
    return Structure.from_dict(parent.structure)


def cell_info(cell: Cell) -> CellInfo:
    """Return what is known of a cell before anything is computed."""
    return CellInfo(
        label=cell.label,
        fa_fraction=cell.fa_fraction,
        alignment=cell.alignment,
        notes=tuple(cell.notes),
        ensemble=cell.group,
        made_from=cell.depends_on,
    )


@job(output_schema=StudyResult, config=JobConfig(on_missing_references=OnMissing.NONE))
def compare_cells(cells: list[CellResult | None], info: StudyInfo, folder: str | None = None) -> StudyResult:
    """Set the cells of a study beside the experiment; writes ``study.json`` where the study has a folder."""
    return finish_study([cell for cell in cells if cell is not None], info, None if folder is None else Path(folder))


def finish_study(cells: Sequence[CellResult], info: StudyInfo, folder: Path | None) -> StudyResult:
    """Return the result of a study from its cells, written to ``study.json`` where it has a folder."""
    cells = [_with_start(cell, folder) for cell in cells]
    result = StudyResult(
        study=info.name,
        engine=info.engine,
        protocol=info.protocol,
        corecrown_version=__version__,
        cells=cells,
        ensembles=summarise_ensembles(cells),
        same_structures=find_same_cells(cells),
    )
    result = result.model_copy(update={"comparison": _comparison(result, info)})
    if folder is not None:
        write_study(result, folder)
    return result


def _with_start(cell: CellResult, folder: Path | None) -> CellResult:
    """Return the cell with what pre-relaxation did in place of the note that it would be done."""
    said = None if folder is None or PRERELAXED not in cell.notes else start_note(cell_folder(folder, cell.label))
    if said is None:
        return cell
    return cell.model_copy(update={"notes": [said if note == PRERELAXED else note for note in cell.notes]})


def _comparison(result: StudyResult, info: StudyInfo) -> Comparison | None:
    if info.experiment is None:
        return None
    base = None if info.experiment_folder is None else Path(info.experiment_folder)
    try:
        experiment = load_experiment(info.experiment, base)
        return compare_study(result, experiment, gap_uncertainty_ev=info.gap_uncertainty_ev)
    except CorecrownError as error:
        return Comparison(notes=[f"not compared: {error}"])
