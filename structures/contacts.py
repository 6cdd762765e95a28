"""How near atoms of different ions may come, and refusal of cells where they come nearer."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Structure

from corecrown.errors import InputError
from corecrown.structures.groups import NO_MOLECULE, label_groups

__all__ = ["AIM", "OVERLAP", "SHORTEST", "Contact", "check_contacts", "contact_limit", "shortest_contact"]

FloatArray = NDArray[np.float64]

SHORTEST = MappingProxyType(
    {
        ("Br", "H"): 2.30, ("Br", "N"): 2.75, ("Br", "C"): 2.90, ("Br", "Br"): 3.00, ("Br", "Cs"): 3.00,
        ("Br", "Pb"): 2.50, ("Cs", "H"): 2.50, ("Cs", "N"): 3.00, ("C", "Cs"): 3.20, ("Cs", "Cs"): 3.80,
        ("Cs", "Pb"): 3.50, ("H", "Pb"): 2.70, ("N", "Pb"): 3.20, ("C", "Pb"): 3.30, ("Pb", "Pb"): 4.50,
        ("H", "H"): 1.80, ("H", "N"): 2.10, ("C", "H"): 2.20, ("N", "N"): 2.70, ("C", "N"): 2.80, ("C", "C"): 2.90,
    }
)  # fmt: skip
"""Shortest distance (Å) allowed between atoms that are not of one FA ion. H-Br is the limit asked of every cell; the
others refuse overlaps, about 0.5 Å below what relaxed cells show. Elements not listed here are not checked."""

OVERLAP = MappingProxyType(SHORTEST | {("Br", "H"): 1.80})
"""The same for cells made of relaxed ones, which may hold what the builders would not place: hydrogen bonds of relaxed
cells end near 2.30 Å, and another lattice presses on them."""

AIM = MappingProxyType(
    {
        ("Br", "H"): 2.45, ("Br", "N"): 3.05, ("Br", "C"): 3.25, ("Cs", "H"): 2.80, ("Cs", "N"): 3.40,
        ("C", "Cs"): 3.60, ("H", "Pb"): 3.00, ("N", "Pb"): 3.60, ("C", "Pb"): 3.70, ("H", "H"): 2.10,
        ("H", "N"): 2.40, ("C", "H"): 2.50, ("N", "N"): 3.00, ("C", "N"): 3.10, ("C", "C"): 3.20,
    }
)  # fmt: skip
"""Distance (Å) that placing an ion aims at: nearer costs, further hardly gains."""

_SEARCH_RADIUS = 3.9


@dataclass(frozen=True)
class Contact:
    """Two atoms near each other, not of one FA ion.

    Attributes
    ----------
    first, second
        Places of the atoms in the structure.
    pair
        Their elements, in alphabetical order.
    distance
        Å.
    limit
        Shortest distance allowed for this pair, Å; 0 for elements that are not checked.
    """

    first: int
    second: int
    pair: tuple[str, str]
    distance: float
    limit: float

    def __str__(self) -> str:
        return f"{self.pair[0]}-{self.pair[1]} (atoms {self.first} and {self.second}) {self.distance:.3f} Å"


def contact_limit(first: str, second: str, limits: Mapping[tuple[str, str], float] = SHORTEST) -> float:
    """Return the shortest distance (Å) allowed between two elements of different ions; 0 if they are not checked."""
    return limits.get(_pair(first, second), 0.0)


def _near_pairs(structure: Structure, limits: Mapping[tuple[str, str], float] = SHORTEST) -> list[Contact]:
    labelled = structure if "molecule" in structure.site_properties else label_groups(structure)
    molecule = np.array([NO_MOLECULE if m is None else m for m in labelled.site_properties["molecule"]])
    symbols = [site.specie.symbol for site in labelled]
    centres, neighbours, _, distances = labelled.get_neighbor_list(_SEARCH_RADIUS)
    other = (molecule[centres] != molecule[neighbours]) | (molecule[centres] == NO_MOLECULE)
    kinds = sorted(set(symbols))
    number = np.array([kinds.index(symbol) for symbol in symbols])
    shortest = np.array([[contact_limit(a, b, limits) for b in kinds] for a in kinds])
    limit = shortest[number[centres], number[neighbours]]
    keep = other & (centres <= neighbours)
    return [
        Contact(int(i), int(j), _pair(symbols[i], symbols[j]), float(distance), float(bound))
        for i, j, distance, bound in zip(centres[keep], neighbours[keep], distances[keep], limit[keep], strict=True)
    ]


def _pair(first: str, second: str) -> tuple[str, str]:
    return (min(first, second), max(first, second))


def shortest_contact(structure: Structure, first: str, second: str) -> Contact | None:
    """Return the shortest contact between two elements (not within one FA ion), or None beyond 3.9 Å."""
    wanted = _pair(first, second)
    return min(
        (contact for contact in _near_pairs(structure) if contact.pair == wanted),
        key=lambda contact: contact.distance,
        default=None,
    )


def check_contacts(
    structure: Structure, where: str = "structure", limits: Mapping[tuple[str, str], float] = SHORTEST
) -> None:
    """Refuse a structure in which atoms of different ions come nearer than allowed.

    Parameters
    ----------
    structure
        What was made.
    where
        How a message calls it.
    limits
        :data:`SHORTEST` for what the builders place, :data:`OVERLAP` for what is made of relaxed cells.

    Raises
    ------
    InputError
        Names the worst pair, its distance and the limit.
    """
    short = [contact for contact in _near_pairs(structure, limits) if contact.distance < contact.limit]
    if short:
        worst = min(short, key=lambda contact: contact.distance - contact.limit)
        raise InputError(
            f"{where}: atoms overlap: {worst}, nearer than {worst.limit:.2f} Å ({len(short)} such pairs)",
            "choose another site, alignment, roll or lattice, or ask for a strain",
        )
