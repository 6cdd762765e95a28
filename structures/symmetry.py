"""Symmetry operations of a host, what they do to its A sites, and subgroups that place ions in pairs.

Nothing here standardises a cell: operations are found in the axes the cell has.
"""

import warnings
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
import spglib
from numpy.typing import NDArray
from pymatgen.core import Structure

from corecrown.errors import InputError

__all__ = [
    "Operation",
    "a_sites",
    "distinct_site_choices",
    "find_operations",
    "free_subgroups",
    "multiplication_table",
    "site_permutation",
]

FloatArray = NDArray[np.float64]

SYMPREC = 1e-3
"""Å; positions that agree within this are the same."""

_MOST_CHOICES = 200_000
_MOST_FOR_SUBGROUPS = 16
_SAME_TRANSLATION = 5e-3


@dataclass(frozen=True)
class Operation:
    """A symmetry operation of a cell.

    Attributes
    ----------
    rotation
        Shape (3, 3), fractional, integer.
    translation
        Shape (3,), fractional.
    cartesian
        Shape (3, 3), the rotation for Cartesian column vectors.
    """

    rotation: FloatArray
    translation: FloatArray
    cartesian: FloatArray

    @property
    def is_inversion(self) -> bool:
        """Whether this is an inversion (about any centre)."""
        return bool((self.rotation == -np.eye(3)).all())

    def map_points(self, fractional: FloatArray) -> FloatArray:
        """Map fractional coordinates, shape (n, 3)."""
        mapped: FloatArray = fractional @ self.rotation.T + self.translation
        return mapped


def find_operations(structure: Structure, symprec: float = SYMPREC) -> list[Operation]:
    """Find the symmetry operations of a cell in its own axes, the identity first."""
    numbers = [site.specie.Z for site in structure]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of how spglib reports errors; None is handled below
        found = spglib.get_symmetry((structure.lattice.matrix, structure.frac_coords, numbers), symprec=symprec)
    if found is None:
        return [Operation(np.eye(3), np.zeros(3), np.eye(3))]
    basis = structure.lattice.matrix.T
    inverse = np.linalg.inv(basis)
    operations = [
        Operation(rotation.astype(float), translation, basis @ rotation @ inverse)
        for rotation, translation in zip(found["rotations"], found["translations"], strict=True)
    ]
    return sorted(operations, key=_operation_rank)


def _operation_rank(operation: Operation) -> tuple[float, ...]:
    shift = operation.translation - np.floor(operation.translation + 1e-6)
    return (-float(np.trace(operation.rotation)), *(-operation.rotation).ravel(), *np.round(shift, 5))


def a_sites(structure: Structure) -> list[int]:
    """Return the Cs of a structure, in its order: the A sites that are numbered 0, 1, ... where sites are named."""
    return [i for i, site in enumerate(structure) if site.specie.symbol == "Cs"]


def site_permutation(operation: Operation, fractional: FloatArray) -> tuple[int, ...]:
    """Return where an operation takes each of a set of sites.

    Parameters
    ----------
    operation
        An operation that maps the set onto itself.
    fractional
        Shape (n, 3).
    """
    offsets = operation.map_points(fractional)[:, None, :] - fractional[None, :, :]
    offsets -= np.round(offsets)
    return tuple(int(j) for j in np.abs(offsets).max(axis=2).argmin(axis=1))


def distinct_site_choices(structure: Structure, count: int) -> list[tuple[int, ...]]:
    """Enumerate choices of A sites that no symmetry operation of the host maps onto each other.

    Parameters
    ----------
    structure
        Host with Cs on its A sites.
    count
        How many sites are chosen.

    Returns
    -------
    list of tuple of int
        Sites by their number among the A sites; the first of each class in lexicographic order.
    """
    sites = a_sites(structure)
    if not 0 <= count <= len(sites):
        raise InputError(f"cannot choose {count} of {len(sites)} A sites", "choose fewer sites or a larger supercell")
    if comb(len(sites), count) > _MOST_CHOICES:
        raise InputError(
            f"{comb(len(sites), count)} ways to choose {count} of {len(sites)} A sites: too many to list",
            "name the sites, or use an ensemble",
        )
    fractional = structure.frac_coords[sites]
    permutations = {site_permutation(operation, fractional) for operation in find_operations(structure)}
    seen: set[tuple[int, ...]] = set()
    distinct = []
    for choice in combinations(range(len(sites)), count):
        if choice in seen:
            continue
        distinct.append(choice)
        seen.update(tuple(sorted(permutation[i] for i in choice)) for permutation in permutations)
    return distinct


def free_subgroups(
    operations: list[Operation], fractional: FloatArray, axis: FloatArray | None
) -> list[list[Operation]]:
    """Find the groups of operations that can make all ions on some sites from a few.

    A group qualifies if it maps the sites onto themselves, leaves none of them in place (so that one ion a site
    results), and keeps the line of the alignment.

    Parameters
    ----------
    operations
        Operations of the host.
    fractional
        Shape (n, 3): the sites that will carry an ion.
    axis
        Cartesian unit vector of the alignment, or None if each ion may have its own.

    Returns
    -------
    list of list of Operation
        Groups with an inversion before groups without, larger before smaller; the last is the identity alone.
    """
    permuting = [
        (operation, permutation)
        for operation in operations
        if _maps_onto_itself(operation, fractional)
        and (axis is None or abs(abs(float(axis @ operation.cartesian @ axis)) - 1) < 1e-6)
        for permutation in [site_permutation(operation, fractional)]
    ]
    identity = tuple(range(len(fractional)))
    free = [item for item in permuting if all(i != j for i, j in enumerate(item[1]))]
    unit = next(operation for operation, permutation in permuting if permutation == identity)
    groups: dict[frozenset[int], list[Operation]] = {}
    generators = [[item] for item in free]
    if len(free) <= _MOST_FOR_SUBGROUPS:
        generators += [list(pair) for pair in combinations(free, 2)]
    for chosen in generators:
        group = _generate([operation for operation, _ in chosen], permuting, unit)
        if group is None:
            continue
        members = [permuting[i] for i in sorted(group)]
        moved = [permutation for operation, permutation in members if operation is not unit]
        if all(i != j for permutation in moved for i, j in enumerate(permutation)):
            groups[group] = [operation for operation, _ in members]
    ordered = sorted(
        groups.values(), key=lambda group: (not any(operation.is_inversion for operation in group), -len(group))
    )
    return [*ordered, [unit]]


def multiplication_table(operations: list[Operation]) -> list[list[int]]:
    """Return, for every two operations of a group, the place of the first after the second.

    Raises
    ------
    ValueError
        If the operations are not a group.
    """
    table = []
    for first in operations:
        row = [_find(_compose(first, second), operations) for second in operations]
        if None in row:
            raise ValueError("the operations are not a group")
        table.append([place for place in row if place is not None])
    return table


def _maps_onto_itself(operation: Operation, fractional: FloatArray) -> bool:
    offsets = operation.map_points(fractional)[:, None, :] - fractional[None, :, :]
    offsets -= np.round(offsets)
    return bool((np.abs(offsets).max(axis=2).min(axis=1) < 1e-3).all())


def _generate(
    generators: list[Operation], among: list[tuple[Operation, tuple[int, ...]]], unit: Operation
) -> frozenset[int] | None:
    """Return the places in ``among`` of the group that some operations generate, None if it is not all in there."""
    known = [operation for operation, _ in among]
    start = _find(unit, known)
    if start is None:
        return None
    members = {start}
    frontier = [start]
    while frontier:
        reached = set()
        for place in frontier:
            for generator in generators:
                product = _find(_compose(generator, known[place]), known)
                if product is None:
                    return None
                reached.add(product)
        frontier = sorted(reached - members)
        members |= reached
    return frozenset(members)


def _compose(second: Operation, first: Operation) -> Operation:
    return Operation(
        second.rotation @ first.rotation,
        second.rotation @ first.translation + second.translation,
        second.cartesian @ first.cartesian,
    )


def _find(operation: Operation, known: list[Operation]) -> int | None:
    for place, candidate in enumerate(known):
        if (candidate.rotation == operation.rotation).all():
            shift = candidate.translation - operation.translation
            if np.abs(shift - np.round(shift)).max() < _SAME_TRANSLATION:
                return place
    return None
