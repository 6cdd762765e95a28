"""How a geometry changes on excitation: bonds before and after, and how far atoms went."""

import numpy as np
import numpy.typing as npt
from ase.data import atomic_numbers, covalent_radii
from pymatgen.core import Structure

from corecrown.errors import InputError

__all__ = ["bond_changes", "largest_displacement"]

BOND_FACTOR = 1.25
"""Atoms closer than this times the sum of their covalent radii (Cordero 2008, as ase has them) are bonded."""

UNBONDED = frozenset({"Li", "Na", "K", "Rb", "Cs"})
LONGEST_BOND = 3.8
DECIMALS = 4


def bond_changes(before: Structure, after: Structure) -> dict[str, dict[str, float]]:
    """Return what becomes of the bonds of a geometry in another one of the same atoms and lattice.

    Parameters
    ----------
    before, after
        Atoms in the same order; each bond of the first is measured in both, between the same two atoms.

    Returns
    -------
    dict
        By pair of elements, as ``Pb-Br`` (by electronegativity, hydrogen last): ``before`` and ``after``, mean
        lengths, Å; ``longest_gain`` and ``longest_loss``, the most that a single bond grows and shrinks, Å; ``bonds``,
        how many there are.

    Raises
    ------
    InputError
        If the two are not of the same atoms.
    """
    if before.species != after.species:
        raise InputError("geometries of different atoms cannot be compared", "give the same atoms in the same order")
    symbols = [site.specie.symbol for site in before]
    numbers = [atomic_numbers[symbol] for symbol in symbols]
    ranks = [(symbol == "H", site.specie.X) for symbol, site in zip(symbols, before, strict=True)]
    found: dict[str, list[tuple[float, float]]] = {}
    for first, second, image, length in zip(*before.get_neighbor_list(LONGEST_BOND), strict=True):
        one, two = int(first), int(second)
        near = length < BOND_FACTOR * (covalent_radii[numbers[one]] + covalent_radii[numbers[two]])
        if not near or {symbols[one], symbols[two]} & UNBONDED:
            continue
        if (ranks[one], one, 0, 0, 0) > (ranks[two], two, *image):
            continue
        apart = before.frac_coords[two] + image - before.frac_coords[one]
        change = after.frac_coords[two] - after.frac_coords[one] - apart
        new = float(np.linalg.norm(after.lattice.get_cartesian_coords(apart + change - np.round(change))))
        found.setdefault(f"{symbols[one]}-{symbols[two]}", []).append((float(length), new))
    return {pair: _summary(np.array(lengths)) for pair, lengths in sorted(found.items())}


def largest_displacement(first: Structure, second: Structure) -> float:
    """Return the largest distance between the places of an atom in two geometries of one lattice, Å."""
    return float(np.linalg.norm(first.lattice.get_cartesian_coords(_shift(first, second)), axis=1).max())


def _shift(first: Structure, second: Structure) -> npt.NDArray[np.float64]:
    """Return how far each atom went, by the shortest way, fractional."""
    apart = second.frac_coords - first.frac_coords
    return np.asarray(apart - np.round(apart))


def _summary(lengths: npt.NDArray[np.float64]) -> dict[str, float]:
    change = lengths[:, 1] - lengths[:, 0]
    values = {
        "before": lengths[:, 0].mean(),
        "after": lengths[:, 1].mean(),
        "longest_gain": max(change.max(), 0.0),
        "longest_loss": max(-change.min(), 0.0),
        "bonds": len(lengths),
    }
    return {name: round(float(value), DECIMALS) for name, value in values.items()}
