"""A structure as a scene to draw: atoms with the images that complete it, bonds, octahedra, the cell."""

from itertools import combinations, product
from typing import Any

import numpy as np
from ase.data import atomic_numbers, covalent_radii
from numpy.typing import NDArray
from pymatgen.core import Structure

from corecrown.postprocess.plots.style import species_colour

__all__ = ["MOST_ATOMS", "build_scene"]

Array = NDArray[np.float64]

MOST_ATOMS = 1500
"""Larger structures are not drawn: a page would turn them too slowly."""

BOND_FACTOR = 1.25
"""Atoms closer than this times the sum of their covalent radii (Cordero 2008, as ase has them) are bonded."""

UNBONDED = frozenset({"Li", "Na", "K", "Rb", "Cs"})
MOLECULAR = frozenset({"C", "N", "H", "O"})
CENTRES = frozenset({"Pb", "Sn", "Ge"})
BOUNDARY = 0.02
"""Atoms no farther outside the cell than this part of an axis are drawn too."""

CENTRE_BOUNDARY_ANGSTROM = 0.8
"""The same for centres of octahedra, Å: relaxed sublattices are displaced from the faces of their cell."""


def build_scene(structure: Structure) -> dict[str, Any]:
    """Return what a viewer needs to draw a structure.

    Atoms on the faces of the cell are shown on both sides, centres of octahedra also where they are displaced from
    a face, every octahedron gets all its corners, and molecules are shown whole.

    Returns
    -------
    dict
        ``atoms`` [[x, y, z, index of element], ...] in Å from the centre of the cell, ``elements`` [{symbol,
        colour, radius}], ``bonds`` and ``faces`` (indices of atoms), ``corners`` (8 of the cell), ``axes`` (3
        unit vectors).
    """
    symbols, positions = _shown_atoms(structure)
    radii = np.array([covalent_radii[atomic_numbers[symbol]] for symbol in symbols])
    kinds = sorted(set(symbols), key=lambda symbol: -atomic_numbers[symbol])
    matrix = structure.lattice.matrix
    centre = matrix.sum(axis=0) / 2
    distances = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    bonds = _bonds(symbols, distances, radii)
    corners = [list(corner) @ matrix - centre for corner in product((0, 1), repeat=3)]
    return {
        "atoms": [
            [*_rounded(position - centre), kinds.index(symbol)]
            for position, symbol in zip(positions, symbols, strict=True)
        ],
        "elements": [
            {
                "symbol": symbol,
                "colour": species_colour(symbol),
                "radius": round(0.16 + 0.22 * float(covalent_radii[atomic_numbers[symbol]]), 3),
            }
            for symbol in kinds
        ],
        "bonds": bonds,
        "faces": _octahedra(symbols, positions, bonds),
        "corners": [_rounded(corner) for corner in corners],
        "axes": [_rounded(axis / np.linalg.norm(axis)) for axis in matrix],
    }


def _shown_atoms(structure: Structure) -> tuple[list[str], Array]:
    """Return symbols and Cartesian positions (n, 3) of all atoms to draw, images included."""
    symbols = [site.specie.symbol for site in structure]
    fractional = structure.frac_coords % 1.0
    shown: dict[tuple[str, tuple[float, ...]], None] = {}

    def show(symbol: str, position: Array) -> None:
        shown.setdefault((symbol, tuple(_rounded(position + 0.0))))

    molecules = _molecules(structure, symbols)
    in_molecule = {index for molecule in molecules for index in molecule}
    for molecule in molecules:
        home = np.floor(np.mean(list(molecule.values()), axis=0) + 1e-6)
        for index, position in molecule.items():
            show(symbols[index], structure.lattice.get_cartesian_coords(position - home))
    corners_of = _corners(structure, symbols)
    margins = {index: CENTRE_BOUNDARY_ANGSTROM / np.array(structure.lattice.abc) for index in corners_of}
    for index, symbol in enumerate(symbols):
        if index in in_molecule:
            continue
        for image in product((-1, 0, 1), repeat=3):
            place = fractional[index] + image
            margin = margins.get(index, BOUNDARY)
            if np.all((place >= -margin) & (place <= 1 + margin)):
                position = structure.lattice.get_cartesian_coords(place)
                show(symbol, position)
                for corner, offset in corners_of.get(index, []):
                    show(corner, position + offset)
    return [symbol for symbol, _ in shown], np.array([position for _, position in shown])


def _molecules(structure: Structure, symbols: list[str]) -> list[dict[int, Array]]:
    """Return the molecules: index of atom to fractional coordinates, whole across the faces of the cell."""
    light = [index for index, symbol in enumerate(symbols) if symbol in MOLECULAR]
    neighbours: dict[int, list[tuple[int, Array]]] = {index: [] for index in light}
    for first, second, image in _bonded_pairs(structure, symbols, 2.0):
        if first in neighbours and second in neighbours:
            neighbours[first].append((second, image))
    molecules = []
    seen: set[int] = set()
    for start in light:
        if start in seen:
            continue
        molecule = {start: structure.frac_coords[start]}
        queue = [start]
        while queue:
            here = queue.pop()
            for there, image in neighbours[here]:
                if there not in molecule:
                    shift = molecule[here] - structure.frac_coords[here]
                    molecule[there] = structure.frac_coords[there] + image + shift
                    queue.append(there)
        seen |= molecule.keys()
        molecules.append(molecule)
    return molecules


def _corners(structure: Structure, symbols: list[str]) -> dict[int, list[tuple[str, Array]]]:
    """Return the neighbours of every octahedron's centre: symbol and Cartesian offset."""
    corners: dict[int, list[tuple[str, Array]]] = {}
    for first, second, image in _bonded_pairs(structure, symbols, 3.6):
        if symbols[first] in CENTRES and symbols[second] not in CENTRES:
            offset = structure.frac_coords[second] + image - structure.frac_coords[first]
            corners.setdefault(first, []).append((symbols[second], structure.lattice.get_cartesian_coords(offset)))
    return corners


def _bonded_pairs(structure: Structure, symbols: list[str], reach: float) -> list[tuple[int, int, Array]]:
    centres, points, images, distances = structure.get_neighbor_list(reach)
    radii = [covalent_radii[atomic_numbers[symbol]] for symbol in symbols]
    return [
        (int(first), int(second), image)
        for first, second, image, distance in zip(centres, points, images, distances, strict=True)
        if distance < BOND_FACTOR * (radii[first] + radii[second]) and not UNBONDED & {symbols[first], symbols[second]}
    ]


def _bonds(symbols: list[str], distances: Array, radii: Array) -> list[list[int]]:
    near = distances < BOND_FACTOR * (radii[:, None] + radii[None])
    return [
        [int(first), int(second)]
        for first, second in zip(*np.nonzero(np.triu(near, 1)), strict=True)
        if not UNBONDED & {symbols[first], symbols[second]}
        and not (symbols[first] in CENTRES and symbols[second] in CENTRES)
    ]


def _octahedra(symbols: list[str], positions: Array, bonds: list[list[int]]) -> list[list[int]]:
    """Return the faces (three corners and the centre) of every centre with six neighbours."""
    corners: dict[int, list[int]] = {}
    for pair in bonds:
        for centre, corner in (pair, pair[::-1]):
            if symbols[centre] in CENTRES:
                corners.setdefault(centre, []).append(corner)
    faces = []
    for centre, around in corners.items():
        if len(around) != 6:
            continue
        arms = {corner: positions[corner] - positions[centre] for corner in around}
        opposite = {
            frozenset(pair)
            for pair in combinations(around, 2)
            if arms[pair[0]] @ arms[pair[1]] < -0.7 * np.linalg.norm(arms[pair[0]]) * np.linalg.norm(arms[pair[1]])
        }
        faces += [
            [*face, centre]
            for face in combinations(around, 3)
            if not any(frozenset(pair) in opposite for pair in combinations(face, 2))
        ]
    return faces


def _rounded(vector: Array) -> list[float]:
    return [round(float(value), 3) + 0.0 for value in vector]
