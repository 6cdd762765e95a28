"""Finished geometries, read without the right to write: a cell made from others begins with theirs.

A parent that nobody asked for and whose geometry is finished is neither locked nor computed: several cells can be made
from it at once, and beside whoever computes what else there is to compute of it.
"""

import contextlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from corecrown.errors import CorecrownError
from corecrown.postprocess.results import Step
from corecrown.structures.cells import Cell, derive_cell
from corecrown.workflows.record import StepFolder
from corecrown.workflows.spec import StudySpec
from corecrown.workflows.start import stored_start
from corecrown.workflows.study import (
    SubstitutionStudyMaker,
    build_cells,
    cell_folder,
    makers_of,
    parents_first,
    steps_of,
    with_parents,
)

if TYPE_CHECKING:
    from pymatgen.core import Structure

__all__ = ["finished_geometries", "known_starts", "needed_cells"]


def needed_cells(
    spec: StudySpec, maker: SubstitutionStudyMaker, labels: Collection[str] | None, folder: Path
) -> tuple[list[Cell], dict[str, "Structure"]]:
    """Return the cells that have to be computed where some are asked for, and the geometries of parents to read.

    Parameters
    ----------
    spec
        The study.
    maker
        Its Maker.
    labels
        The cells that are asked for; all if None.
    folder
        Folder of the study.

    Returns
    -------
    tuple of list of Cell and dict
        Those asked for, with the parents whose geometry is not finished, which go through their relaxation alone;
        finished geometries by label.
    """
    cells = build_cells(spec, None if labels is None else list(labels))
    asked = {cell.label for cell in cells} if labels is None else set(labels)
    finished = finished_geometries(maker, [cell for cell in cells if cell.label not in asked], folder)
    needed = with_parents({cell.label: cell for cell in cells}, asked, known=finished)
    steps = maker.electronic.steps
    chosen = [cell for cell in cells if cell.label in needed]
    return [cell if cell.label in asked else _only_relaxed(cell, steps) for cell in chosen], finished


def _only_relaxed(cell: Cell, steps: Sequence[Step]) -> Cell:
    """Return a cell whose geometry alone is wanted."""
    if Step.RELAX not in steps_of(cell, steps):
        return cell
    return replace(cell, spec=cell.spec.model_copy(update={"steps": (Step.RELAX.value,)}))


def finished_geometries(maker: SubstitutionStudyMaker, cells: Sequence[Cell], folder: Path) -> dict[str, "Structure"]:
    """Return the geometries that cells of a study end with, by label, where they are known; changes nothing.

    Parameters
    ----------
    maker
        The Maker of the study: another protocol of the relaxation has another geometry.
    cells
        Which cells; of one made from others it is known only if those are among them.
    folder
        Folder of the study.
    """
    known: dict[str, Structure] = {}
    for cell in parents_first(cells):
        with contextlib.suppress(CorecrownError):  # told by the job that meets it
            geometry = _geometry(maker, cell, known, cell_folder(folder, cell.label))
            if geometry is not None:
                known[cell.label] = geometry
    return known


def known_starts(maker: SubstitutionStudyMaker, cells: Sequence[Cell], folder: Path) -> dict[str, "Structure"]:
    """Return the geometries that the first steps of cells start from, by label, where they are known already.

    Parameters
    ----------
    maker
        The Maker of the study.
    cells
        All its cells.
    folder
        Folder of the study.
    """
    finished = finished_geometries(maker, cells, folder) if any(cell.depends_on for cell in cells) else {}
    found = {}
    for cell in cells:
        start = _start(maker, cell, finished, cell_folder(folder, cell.label))
        if start is not None:
            found[cell.label] = start
    return found


def _start(
    maker: SubstitutionStudyMaker, cell: Cell, known: Mapping[str, "Structure"], place: Path
) -> "Structure | None":
    if not cell.depends_on:
        return stored_start(cell.structure, place) if maker.prerelax else cell.structure
    if known.keys() >= set(cell.depends_on):
        with contextlib.suppress(CorecrownError):  # told by the job that meets it
            return derive_cell(cell.spec, known)
    return None


def _geometry(
    maker: SubstitutionStudyMaker, cell: Cell, known: dict[str, "Structure"], place: Path
) -> "Structure | None":
    start, relax = _start(maker, cell, known, place), makers_of(cell, maker.electronic).relax
    if start is None or relax is None:
        return start
    stored = StepFolder(place / Step.RELAX.value).stored_here(relax.key(relax.inputs(start), None))
    if stored is None:
        return None
    from pymatgen.core import Structure

    return Structure.from_dict(stored.structure)
