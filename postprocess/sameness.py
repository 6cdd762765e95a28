"""Which cells are one structure: relaxation turns FA, so that cells built apart may end alike."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations, permutations, product

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Structure
from scipy.optimize import linear_sum_assignment

from corecrown.postprocess.results import CellResult, SameStructure

__all__ = ["SAME_ANGSTROM", "SAME_LATTICE", "compare_structures", "find_same_cells", "find_same_structures"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int_]

SAME_LATTICE = 0.01
"""Lattice constants of one structure agree within this fraction."""
SAME_ANGSTROM = 0.15
"""Atoms of one structure agree within this root mean square distance, Å."""

_MOST_ATOMS = 400
"""Larger cells are not compared: it would take minutes."""

_MOST_CELLS = 200
"""Cells of larger studies are not compared: pairs grow with the square of their number."""

_FIRST_LOOK = 4.0
"""A translation that leaves an atom further than this many times the tolerance from its like is given up."""


def find_same_cells(cells: Sequence[CellResult]) -> list[SameStructure]:
    """Find cells of a study that ended as one structure.

    Cells made from others (``made_from``) are left out, since they are alike on purpose, and so are cells of more than
    400 atoms, since comparing them would take minutes; nothing is compared in studies of more than 200 cells.

    Parameters
    ----------
    cells
        Cells of a study, relaxed where they were relaxed.
    """
    if len(cells) > _MOST_CELLS:
        return []
    structures = {cell.label: Structure.from_dict(cell.structure) for cell in cells if not cell.made_from}
    return find_same_structures(
        {label: structure for label, structure in structures.items() if len(structure) <= _MOST_ATOMS}
    )


def find_same_structures(structures: Mapping[str, Structure]) -> list[SameStructure]:
    """Find pairs of structures that are one.

    Parameters
    ----------
    structures
        By label.

    Returns
    -------
    list of SameStructure
        Pairs whose lattice constants agree within 1 % and whose atoms agree within 0.15 Å (root mean square), whatever
        their axes are called, wherever their origin is, and whether or not one is the mirror image of the other.
    """
    found = []
    for first, second in combinations(structures, 2):
        rms = compare_structures(structures[first], structures[second])
        if rms is not None:
            found.append(
                SameStructure(
                    first=first,
                    second=second,
                    rms_angstrom=rms,
                    lattice_difference=_lattice_difference(structures[first], structures[second]),
                )
            )
    return found


def compare_structures(
    first: Structure, second: Structure, lattice: float = SAME_LATTICE, angstrom: float = SAME_ANGSTROM
) -> float | None:
    """Return how far apart the atoms of two cells are at their best, if the two are one structure.

    Parameters
    ----------
    first, second
        Cells of the same number of atoms.
    lattice
        Largest relative difference of a lattice constant (and of a cosine of an angle).
    angstrom
        Largest root mean square distance of an atom from its like, Å.

    Returns
    -------
    float or None
        Root mean square distance, Å, fractional positions compared in the first lattice; None if the cells are not
        one structure within the tolerances.

    Notes
    -----
    All ways to rename and to turn round the axes that keep the lattice are tried, and all translations that bring an
    atom of the rarest element onto its like; atoms are then paired at the least sum of squares.
    """
    if first.composition != second.composition:
        return None
    symbols = np.array([site.specie.symbol for site in first])
    others = np.array([site.specie.symbol for site in second])
    rarest = min(Counter(symbols.tolist()).items(), key=lambda item: (item[1], item[0]))[0]
    anchor = first.frac_coords[int(np.flatnonzero(symbols == rarest)[0])]
    best: float | None = None
    for operation in _operations(first, second, lattice):
        turned = second.frac_coords @ operation.T
        for landing in np.flatnonzero(others == rarest):
            moved = turned + (anchor - turned[landing])
            rms = _paired_rms(first, symbols, moved, others, angstrom)
            if rms is not None and rms <= angstrom and (best is None or rms < best):
                best = rms
    return best


def _operations(first: Structure, second: Structure, tolerance: float) -> list[IntArray]:
    """Return signed permutations (3, 3) of the fractional axes that make the second lattice like the first."""
    wanted, metric = first.lattice.metric_tensor, second.lattice.metric_tensor
    lengths = np.array(first.lattice.abc)
    kept = []
    for order, signs in product(permutations(range(3)), product((1, -1), repeat=3)):
        operation = np.zeros((3, 3), dtype=int)
        operation[range(3), order] = signs
        turned = operation @ metric @ operation.T
        close = np.abs(np.sqrt(np.diag(turned)) / lengths - 1) <= tolerance
        skew = np.abs(turned - wanted) / np.outer(lengths, lengths)
        if close.all() and skew[~np.eye(3, dtype=bool)].max() <= tolerance:
            kept.append(operation)
    return kept


def _paired_rms(
    first: Structure, symbols: NDArray[np.str_], moved: FloatArray, others: NDArray[np.str_], tolerance: float
) -> float | None:
    """Return the root mean square distance (Å) of paired atoms after the mean offset is taken out."""
    pairs = []
    for symbol, _ in sorted(Counter(symbols.tolist()).items(), key=lambda item: item[1]):
        mine, theirs = np.flatnonzero(symbols == symbol), np.flatnonzero(others == symbol)
        apart = moved[theirs][None, :, :] - first.frac_coords[mine][:, None, :]
        vectors = (apart - np.round(apart)) @ first.lattice.matrix
        distances = (vectors**2).sum(axis=2)
        if distances.min(axis=1).max() > (_FIRST_LOOK * tolerance) ** 2:
            return None
        pairs.append((vectors, distances))
    nearest = [vectors[linear_sum_assignment(distances)] for vectors, distances in pairs]
    offsets = np.concatenate(nearest)
    offsets -= offsets.mean(axis=0)
    return float(np.sqrt((offsets**2).sum(axis=1).mean()))


def _lattice_difference(first: Structure, second: Structure) -> float:
    """Return the largest relative difference of the lattice constants, axes named alike where they can be."""
    mine = np.array(first.lattice.abc)
    return min(
        float(np.abs(np.array(second.lattice.abc)[list(order)] / mine - 1).max()) for order in permutations(range(3))
    )
