"""How the geometry of each cell came about, as a report says it: what was relaxed here, and whose the rest is."""

from collections.abc import Mapping

from corecrown.postprocess.report_text import merged_notes
from corecrown.postprocess.results import CellResult, Step
from corecrown.postprocess.study import Study
from corecrown.postprocess.study_input import part_of, relaxes_lattice, study_input

__all__ = ["RELAXED", "geometries_of", "geometry_sentence"]

RELAXED = "lattice and atoms relaxed"
"""What is said of a cell whose lattice is that of the level of theory."""

_CHGNET_STARTS = ("committed", "chgnet")
_SHIPPED = "started from the relaxed cell that ships"


def geometries_of(study: Study) -> dict[str, str]:
    """Return by label what was relaxed and what was kept.

    Parameters
    ----------
    study
        With its ``study.yaml`` where there is one: it says where lattices started, and what it lays over the protocol.
    """
    start = part_of(study_input(study), "start").get("prerelax")
    relaxed = relaxes_lattice(study)
    return {cell.label: _geometry(cell, start, relaxed) for cell in study.result.cells}


def geometry_sentence(geometries: Mapping[str, str]) -> str:
    """Say in a sentence what was relaxed, cells named where they differ."""
    kinds = set(geometries.values())
    if len(kinds) == 1:
        return f" Of all cells: {kinds.pop()}."
    return f" {'; '.join(merged_notes(list(geometries.items())))}."


def _geometry(cell: CellResult, start: str | None, lattice_relaxed: bool | None) -> str:
    shipped = any(note.startswith(_SHIPPED) for note in cell.notes)
    chgnet = not cell.made_from and (shipped or start in _CHGNET_STARTS)
    if Step.RELAX.value not in cell.timings:
        if shipped:
            return "as shipped (CHGNet's lattice, atoms relaxed before)"
        return "as built (lattice and atoms CHGNet's)" if chgnet else "as built"
    if cell.made_from:
        return "lattice as given, atoms relaxed"
    if lattice_relaxed is None:
        return "atoms relaxed, of the lattice not recorded"
    if lattice_relaxed:
        return RELAXED
    origin = "CHGNet's" if chgnet else "that of the start"
    return f"lattice kept ({origin}), atoms relaxed"
