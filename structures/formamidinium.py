"""The formamidinium ion, CH(NH2)2+: its geometry, its axes, and how it is found in a structure."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Molecule, Structure

__all__ = [
    "CHARGE",
    "SYMBOLS",
    "Axes",
    "find_formamidinium",
    "formamidinium",
    "ion_coordinates",
    "measure_axes",
    "unwrap",
]

FloatArray = NDArray[np.float64]

CHARGE = 1
"""Charge of the ion, e."""

SYMBOLS = ("C", "N", "N", "H", "H", "H", "H", "H")
"""Order of the atoms: C, the two N, H on C, then outer and inner H of the first N and of the second N."""

# FAPbI3 relaxed with PBEsol (WMD-group/hybrid-perovskites, 2015_fapi_PBEsol/FAPbI3_relaxed), lengths in Å, angles in
# degrees. The outer H of an N lies on the side of the H on C, the inner H on the side of the other NH2.
_CN, _CH = 1.307, 1.098
_NH_OUTER, _NH_INNER = 1.023, 1.025
_NCN = 125.9
_CNH_OUTER, _CNH_INNER = 117.5, 124.3

_BOND = {"N": 1.75, "H": 1.40}
_NH_BOND = 1.35


@dataclass(frozen=True)
class Axes:
    """Unit vectors of one ion, Cartesian, shape (3,) each.

    Attributes
    ----------
    nn
        From one N to the other; its sign means nothing.
    ch
        From C to its H: the head of the ion, along which its dipole lies.
    normal
        Normal of the molecular plane, ``nn`` × ``ch``.
    """

    nn: FloatArray
    ch: FloatArray
    normal: FloatArray


@cache
def _reference() -> FloatArray:
    half = np.deg2rad(_NCN / 2)
    nitrogen = _CN * np.array([np.sin(half), -np.cos(half)])
    towards_carbon = -nitrogen / _CN
    hydrogens = []
    for length, angle in ((_NH_OUTER, -_CNH_OUTER), (_NH_INNER, _CNH_INNER)):
        turn = np.deg2rad(angle)
        rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        hydrogens.append(nitrogen + length * rotation @ towards_carbon)
    mirror = np.array([-1.0, 1.0])
    planar = [np.zeros(2), nitrogen, nitrogen * mirror, np.array([0.0, _CH])]
    planar += hydrogens + [position * mirror for position in hydrogens]
    coordinates = np.column_stack([np.array(planar), np.zeros(len(planar))])
    coordinates -= coordinates.mean(axis=0)
    coordinates.setflags(write=False)
    return coordinates


def ion_coordinates() -> FloatArray:
    """Return the eight atoms of the ion, shape (8, 3), Å: centroid at the origin, N-N along x, C-H along +y.

    The order is that of :data:`SYMBOLS`; the plane of the ion is z = 0.
    """
    return _reference().copy()


def formamidinium() -> Molecule:
    """Return the ion as a pymatgen molecule of charge +1, centroid at the origin, N-N along x, C-H along +y."""
    return Molecule(SYMBOLS, ion_coordinates(), charge=CHARGE)


def measure_axes(coordinates: FloatArray) -> Axes:
    """Measure the axes of an ion from its atoms.

    Parameters
    ----------
    coordinates
        Shape (8, 3), Å, in the order of :data:`SYMBOLS`, not cut by a cell boundary.
    """
    nn = coordinates[1] - coordinates[2]
    nn = nn / np.linalg.norm(nn)
    ch = coordinates[3] - coordinates[0]
    ch = ch / np.linalg.norm(ch)
    normal = np.cross(nn, ch)
    return Axes(nn, ch, normal / np.linalg.norm(normal))


def find_formamidinium(structure: Structure) -> list[tuple[int, ...]]:
    """Find the formamidinium ions of a structure from its bonds alone.

    Parameters
    ----------
    structure
        Any structure; files that carry no site properties are welcome.

    Returns
    -------
    list of tuple of int
        The eight atoms of each ion in the order of :data:`SYMBOLS`, ions by their carbon's place in the structure.
        The two N stand in the order of the structure. Other molecules are left out.
    """
    carbons = [i for i, site in enumerate(structure) if site.specie.symbol == "C"]
    if not carbons:
        return []
    symbols = [site.specie.symbol for site in structure]
    light = [i for i, symbol in enumerate(symbols) if symbol in {"C", "N", "H"}]
    bonds = _bonds(structure, symbols, light)
    ions = []
    for carbon in carbons:
        nitrogens = sorted(j for j, _ in bonds[carbon] if symbols[j] == "N")
        hydrogens = [j for j, _ in bonds[carbon] if symbols[j] == "H"]
        if len(nitrogens) != 2 or len(hydrogens) != 1:
            continue
        ion = [carbon, *nitrogens, hydrogens[0]]
        head = next(vector for j, vector in bonds[carbon] if j == hydrogens[0])
        for nitrogen in nitrogens:
            amine = [(float(vector @ head), j) for j, vector in bonds[nitrogen] if symbols[j] == "H"]
            ion += [j for _, j in sorted(amine, reverse=True)]
        if len(ion) == len(SYMBOLS) and len(set(ion)) == len(SYMBOLS):
            ions.append(tuple(ion))
    return ions


def _bonds(structure: Structure, symbols: list[str], light: list[int]) -> dict[int, list[tuple[int, FloatArray]]]:
    """Return neighbours within bond length and the vector to each (Å), of the C and N among the light atoms."""
    found: dict[int, list[tuple[int, FloatArray]]] = {i: [] for i in light}
    part = Structure.from_sites([structure[i] for i in light])
    centres, neighbours, images, distances = part.get_neighbor_list(max(_BOND.values()))
    vectors = part.lattice.get_cartesian_coords(part.frac_coords[neighbours] + images - part.frac_coords[centres])
    for centre, neighbour, vector, distance in zip(centres, neighbours, vectors, distances, strict=True):
        i, j = light[centre], light[neighbour]
        limit = _BOND.get(symbols[j], 0.0) if symbols[i] == "C" else _NH_BOND
        if distance <= limit and symbols[i] in {"C", "N"}:
            found[i].append((j, vector))
    return found


def unwrap(structure: Structure, ion: tuple[int, ...]) -> FloatArray:
    """Return Cartesian coordinates of an ion in one piece around its carbon, shape (8, 3), Å."""
    fractional = structure.frac_coords[list(ion)]
    offset = fractional - fractional[0]
    offset -= np.round(offset)
    coordinates: FloatArray = structure.lattice.get_cartesian_coords(fractional[0] + offset)
    return coordinates
