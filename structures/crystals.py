"""Reference crystals from ``inputs/crystals``, in the Pbnm setting with c long, and hosts for substitution."""

import warnings
from enum import StrEnum
from functools import cache
from pathlib import Path

import numpy as np
from pymatgen.core import PeriodicSite, Structure
from pymatgen.io.cif import CifFile, CifParser

from corecrown.errors import InputError
from corecrown.resources import input_folder
from corecrown.structures.formamidinium import find_formamidinium, unwrap
from corecrown.structures.groups import label_groups
from corecrown.structures.setting import (
    PNMA_TO_PBNM_LABELS,
    is_pbnm,
    kpoint_to_pbnm,
    label_to_pbnm,
    label_to_pnma,
    pbnm_to_pnma,
    pnma_to_pbnm,
    to_pbnm,
)

__all__ = [
    "PNMA_TO_PBNM_LABELS",
    "Crystal",
    "HostLattice",
    "host",
    "is_pbnm",
    "kpoint_to_pbnm",
    "label_to_pbnm",
    "label_to_pnma",
    "load_crystal",
    "pbnm_to_pnma",
    "pnma_to_pbnm",
    "read_cif",
    "text_of",
    "to_pbnm",
]

_ORDER = ("Cs", "Pb", "Br", "C", "N", "H")


class Crystal(StrEnum):
    """The crystals that ship with the package, by file name in ``inputs/crystals``."""

    CSPBBR3 = "CsPbBr3-Pbnm"
    FAPBBR3 = "FAPbBr3-Pbnm"
    CSPBBR3_CUBIC = "CsPbBr3-cubic"


class HostLattice(StrEnum):
    """Lattices that A sites are substituted in."""

    CSPBBR3 = "cspbbr3"
    FAPBBR3 = "fapbbr3"


def load_crystal(name: Crystal | str) -> Structure:
    """Load a reference crystal.

    Parameters
    ----------
    name
        One of :class:`Crystal`.

    Returns
    -------
    Structure
        Atoms by species (Cs, Pb, Br, C, N, H) and within a species by z, y, x; FA atoms by molecule. ``properties``
        holds ``source`` and ``temperature_k``.
    """
    try:
        crystal = Crystal(name)
    except ValueError as error:
        raise InputError(
            f"no crystal is called {name!r}", f"there are: {', '.join(item.value for item in Crystal)}"
        ) from error
    return _load(crystal).copy()


@cache
def _load(crystal: Crystal) -> Structure:
    path = input_folder("crystals", f"{crystal.value}.cif")
    structure = sort_atoms(read_cif(path))
    block = next(iter(CifFile.from_file(str(path)).data.values())).data
    temperature = block.get("_cell_measurement_temperature")
    structure.properties = {
        "source": " ".join(str(block.get("_publ_section_references", "")).split()),
        "temperature_k": float(temperature) if temperature not in {None, "?"} else None,
    }
    return structure


def text_of(path: Path) -> str:
    """Return the text of a file of atoms.

    Raises
    ------
    InputError
        If it cannot be read or is empty.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}", "check the path") from error
    if not text.strip():
        raise InputError(f"{path}: is empty", "write the file again")
    return text


def read_cif(path: Path) -> Structure:
    """Read the one structure of a CIF, all atoms of the cell, in the setting of the file.

    Raises
    ------
    InputError
        If the file is missing, empty, damaged, disordered, or holds more than one structure.
    """
    text = text_of(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parser = CifParser.from_str(text, frac_tolerance=0.0)
            structures = parser.parse_structures(primitive=False, on_error="raise")
            incomplete = parser.check(structures[0])
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, AssertionError, ZeroDivisionError) as error:
        reason = (str(error).splitlines() or ["no reason given"])[0]
        raise InputError(
            f"{path}: is not a complete CIF: {reason}", "it must hold cell lengths, angles, symmetry and atom sites"
        ) from error
    if incomplete:
        raise InputError(f"{path}: its atoms are not those of its formula: {incomplete}", "give a complete structure")
    if len(structures) != 1:
        raise InputError(f"{path}: holds {len(structures)} structures", "give a file with exactly one")
    structure: Structure = structures[0]
    if not structure.is_ordered:
        raise InputError(f"{path}: has partly occupied sites", "give an ordered structure")
    return structure


def sort_atoms(structure: Structure) -> Structure:
    """Sort inorganic atoms by species (Cs, Pb, Br, others) and place, put FA ions after them, and label groups."""
    ions = find_formamidinium(structure)
    in_ions = {i for ion in ions for i in ion}

    def place(index: int) -> tuple[int, str, tuple[float, ...]]:
        site = structure[index]
        symbol = site.specie.symbol
        rank = _ORDER.index(symbol) if symbol in _ORDER else len(_ORDER)
        fractional = np.round(site.frac_coords % 1, 5) % 1
        return rank, symbol, tuple(fractional[::-1])

    rest = sorted((i for i in range(len(structure)) if i not in in_ions), key=place)
    ordered = [*rest, *(i for ion in ions for i in ion)]
    sites: list[PeriodicSite] = [structure[i] for i in ordered]
    return label_groups(Structure.from_sites(sites))


def host(lattice: HostLattice | str = HostLattice.CSPBBR3) -> Structure:
    """Return the 20-atom cell whose four A sites are Cs, to be substituted.

    Parameters
    ----------
    lattice
        ``cspbbr3``: CsPbBr3 as it is. ``fapbbr3``: the Pb-Br framework of orthorhombic FAPbBr3, with Cs where the
        centroids of its FA ions are.
    """
    try:
        chosen = HostLattice(lattice)
    except ValueError as error:
        raise InputError(
            f"lattice: {lattice!r} is not known", f"one of {', '.join(item.value for item in HostLattice)}"
        ) from error
    if chosen is HostLattice.CSPBBR3:
        return load_crystal(Crystal.CSPBBR3)
    crystal = load_crystal(Crystal.FAPBBR3)
    ions = find_formamidinium(crystal)
    in_ions = {i for ion in ions for i in ion}
    cell = Structure.from_sites([site for i, site in enumerate(crystal) if i not in in_ions])
    cell.remove_site_property("molecule")
    cell.remove_site_property("group")
    for ion in ions:
        centre = crystal.lattice.get_fractional_coords(unwrap(crystal, ion).mean(axis=0))
        cell.append("Cs", np.round(centre % 1, 6))
    ordered = sort_atoms(cell)
    ordered.properties = dict(crystal.properties)
    return ordered
