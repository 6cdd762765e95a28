"""Bands, densities of states and structures that a study stored, found by the folder of a cell or a step."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corecrown.errors import InputError

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from corecrown.postprocess.results import BandEdges, CellResult
    from corecrown.postprocess.study import Study
    from corecrown.workflows.readers import BandsFound, DosFound

__all__ = ["bands_at", "dos_at", "stored_structure"]

CELLS = "cells"
"""The folder of a study below which each cell has one of its own."""


@dataclass(frozen=True)
class _Place:
    """A folder (or file) of a study that belongs to one cell, and the step it belongs to, if any."""

    path: Path
    study: "Study"
    cell: "CellResult"
    step: str | None

    def holds(self, name: str) -> bool:
        """Whether the file of that name, such as ``bands``, lies here or below."""
        relative = self.cell.files.get(name)
        return relative is not None and (self.study.folder / relative).is_relative_to(self.path)

    def note(self, name: str) -> str:
        """Say where a result was read from."""
        return f"read from {self.cell.files[name]} of study {self.study.result.study}"


def bands_at(path: Path) -> "BandsFound":
    """Read the bands of a run, or those that a study stored for the cell (or its step) whose folder is given.

    Raises
    ------
    InputError
        If there are none; says what to give instead.
    """
    from corecrown.workflows.readers import read_band_structure

    place = _stored_place(path, "bands")
    return read_band_structure(path) if place is None else _stored_bands(place)


def dos_at(path: Path) -> "tuple[DosFound, BandEdges | None]":
    """Read the density of states of a run, or what a study stored, and the edges where they are known.

    Raises
    ------
    InputError
        If there is none; says what to give instead.
    """
    from corecrown.workflows.readers import read_dos

    place = _stored_place(path, "dos")
    if place is None:
        return read_dos(path), _edges_of_run(path)
    return _stored_dos(place), place.cell.edges


def stored_structure(path: Path) -> "Structure | None":
    """Return the structure of the cell whose folder is given, relaxed where it was relaxed; None elsewhere."""
    from corecrown.structures.groups import label_groups

    place = _place_of(path)
    return None if place is None or place.step is not None else label_groups(place.study.structure(place.cell.label))


def _place_of(path: Path) -> _Place | None:
    """Return which cell of which study a path belongs to; None where it is no such path, or has no result yet."""
    from corecrown.postprocess.study import STUDY_FILE, read_study

    here = path.resolve()
    if (here / STUDY_FILE).is_file():
        raise InputError(f"{path}: a study", f"give {path}/{CELLS}/LABEL, or use corecrown report {path}")
    for folder in here.parents:
        if folder.name == CELLS and (folder.parent / STUDY_FILE).is_file():
            label, *rest = here.relative_to(folder).parts
            study = read_study(folder.parent)
            known = [cell for cell in study.result.cells if cell.label == label and here.exists()]
            return _Place(here, study, known[0], rest[0] if rest else None) if known else None
    return None


def _stored_place(path: Path, name: str) -> _Place | None:
    """Return where a study stored bands or dos for this path; None where the output of a run lies there."""
    place = _place_of(path)
    if place is not None and _is_stored(place, name):
        return place
    _require_output(path)
    return None


def _is_stored(place: _Place, name: str) -> bool:
    """Whether to take what the study stored: for a cell always, for a step where its output was left behind."""
    if place.step is not None and _has_output(place.path):
        return False
    if place.holds(name):
        return True
    step = {"bands": "bands", "dos": "pdos"}[name]
    folder = place.study.folder / CELLS / place.cell.label
    has = place.cell.files.get(name)
    hint = f"give {folder}" if has else f"the study needs the step {step}"
    if name == "bands" and not has:
        hint += f" (lines of k-points); mass tensors, where there are any: corecrown report {place.study.folder}"
    raise InputError(f"{place.path}: no {name}.json of the step {step} in it or below", hint)


def _stored_bands(place: _Place) -> "BandsFound":
    from corecrown.workflows.readers import BandsFound

    cell, bands = place.cell, place.study.bands(place.cell.label)
    settings = cell.step_settings.get("bands") or cell.settings
    spin_orbit = settings is not None and settings.spin_orbit
    code, version = _program(place)
    return BandsFound(
        bands=bands,
        on_lines=True,
        n_electrons=_electrons_below_fermi(bands, spin_orbit=spin_orbit),
        functional=settings.functional if settings is not None else "not recorded",
        spin_orbit=spin_orbit,
        code=code,
        code_version=version,
        notes=[f"{place.note('bands')}, which has no number of electrons: counted below the Fermi energy"],
    )


def _electrons_below_fermi(bands: Any, *, spin_orbit: bool) -> float:
    """Return how many electrons fill the states below the Fermi energy; of a metal the mean over the k-points."""
    below = sum(float((energies < bands.efermi).sum(axis=0).mean()) for energies in bands.bands.values())
    return below * (2 if len(bands.bands) == 1 and not spin_orbit else 1)


def _stored_dos(place: _Place) -> "DosFound":
    from corecrown.postprocess.results import EdgeCharacter
    from corecrown.workflows.readers import DosFound

    summary = place.cell.pdos
    character = EdgeCharacter(notes=["not recorded"]) if summary is None else summary.edge_character
    notes = [place.note("dos"), *(summary.notes if summary is not None else [])]
    return DosFound(place.study.dos(place.cell.label), character, _program(place)[0], notes)


def _program(place: _Place) -> tuple[str, str]:
    """Return name and version of the program, as the cell has them in one string."""
    if not place.cell.programs:
        return place.study.result.engine, "not recorded"
    name, _, version = place.cell.programs[0].rpartition(" ")
    return name, version


def _edges_of_run(path: Path) -> "BandEdges | None":
    """Return the edges on the k-points of a run; None where its bands cannot be read or filled."""
    from corecrown.postprocess.edges import find_edges
    from corecrown.workflows.readers import read_band_structure

    try:
        found = read_band_structure(path)
        return find_edges(found.bands, "mesh", found.n_electrons, spin_orbit=found.spin_orbit)
    except InputError:
        return None


def _has_output(path: Path) -> bool:
    """Whether output of pw.x or VASP lies in a folder or below; a file counts as such, except JSON."""
    from corecrown.workflows.vasp.outcar import find_outcars
    from corecrown.workflows.vasp.outputs import find_vaspruns

    if path.is_file():
        return ".json" not in path.suffixes
    names = ("data-file-schema.xml", "data-file-schema.xml.gz")
    if any(next(path.rglob(name), None) is not None for name in names):
        return True
    return bool(find_vaspruns(path) or find_outcars(path))


def _require_output(path: Path) -> None:
    """Refuse a folder in which neither code left what is read."""
    if path.is_dir() and not _has_output(path):
        raise InputError(
            f"{path}: neither data-file-schema.xml (Quantum ESPRESSO) nor vasprun.xml (VASP) in it or below",
            "give the folder of a run of pw.x or VASP, or DIR/cells/LABEL of a study",
        )
