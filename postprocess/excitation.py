"""Where the charge of an excitation goes: frozen orbitals and relaxed densities, shared out among groups of atoms.

Two questions are kept apart. Frozen: where are the orbital that is emptied and the one that is filled, |ψ|² of each
summing to 1. Relaxed: how does the density answer, Δρ = ρ(excited) - ρ(ground), its positive and negative parts
integrated apart. Each is told by more than one way of sharing space out, since none is right and their spread says how
much the answer depends on the choice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pymatgen.core import Structure

from corecrown.errors import InputError
from corecrown.postprocess.excitation_cubes import GridDensity
from corecrown.postprocess.excitation_partition import Partition
from corecrown.postprocess.results import ChargePartition

__all__ = [
    "CHARGE_TOLERANCE_E",
    "FA",
    "FRAMEWORK",
    "AtomicCharges",
    "ChargeAnalysis",
    "analyse_charge",
    "owners_of",
    "shares_on_grid",
    "volume_participation",
]

FloatArray = npt.NDArray[np.float64]

FA = "FA"
FRAMEWORK = "Pb-Br"
FRAMEWORK_ELEMENTS = ("Pb", "Br")

CHARGE_TOLERANCE_E = 0.01
"""How far the parts of a charge may be from its whole, electrons."""

DECIMALS = 5


@dataclass(frozen=True)
class AtomicCharges:
    """What each atom has of an excitation, by one scheme.

    Parameters
    ----------
    scheme
        Its name.
    values
        Each of shape (n_atoms,): ``electron``, ``hole``, ``volume`` (parts of 1), ``gained``, ``lost`` (electrons);
        what is not known is left out.
    """

    scheme: str
    values: Mapping[str, FloatArray]


@dataclass(frozen=True)
class ChargeAnalysis:
    """All that is said of the charge of one excited state; the first partition is the one that results quote.

    Parameters
    ----------
    partitions
        One a scheme.
    moved_e
        Electrons moved: the smaller of ∫Δρ⁺ and ∫Δρ⁻, which are equal for a neutral state; None without densities.
    added_e
        ∫Δρ, electrons.
    spread
        Largest less smallest number of the schemes, by quantity and group.
    participation
        How many atoms an orbital is on, and on what part of the volume.
    notes
        Sums that do not hold.
    """

    partitions: list[ChargePartition]
    moved_e: float | None
    added_e: float | None
    spread: dict[str, dict[str, float]]
    participation: dict[str, float]
    notes: list[str]

    def fields(self) -> dict[str, Any]:
        """Return the fields of an :class:`~corecrown.postprocess.results.Excitation` that this fills."""
        first = self.partitions[0] if self.partitions else None
        return {
            "electron_by_group": None if first is None else merge_framework(first.electron),
            "hole_by_group": None if first is None else merge_framework(first.hole),
            "gained_by_group": None if first is None else merge_framework(first.gained),
            "lost_by_group": None if first is None else merge_framework(first.lost),
            "moved_e": self.moved_e,
            "scheme": None if first is None else first.scheme,
            "partitions": self.partitions,
            "spread": self.spread,
            "participation": self.participation,
        }


def owners_of(structure: Structure) -> tuple[list[str], list[int]]:
    """Return for each atom FA or its element, and the number of its FA ion or -1.

    Parameters
    ----------
    structure
        Its site properties ``group`` and ``molecule`` say which atoms are FA; without them every atom counts for its
        element.
    """
    symbols = [site.specie.symbol for site in structure]
    groups = structure.site_properties.get("group", [None] * len(structure))
    molecules = structure.site_properties.get("molecule", [-1] * len(structure))
    owners = [FA if group == FA else symbol for group, symbol in zip(groups, symbols, strict=True)]
    numbers = [int(number) if owner == FA else -1 for number, owner in zip(molecules, owners, strict=True)]
    return owners, numbers


def merge_framework(shares: Mapping[str, float] | None) -> dict[str, float] | None:
    """Return shares with lead and bromine together as the framework."""
    if shares is None:
        return None
    merged: dict[str, float] = {}
    for name, value in shares.items():
        group = FRAMEWORK if name in FRAMEWORK_ELEMENTS else name
        merged[group] = round(merged.get(group, 0.0) + value, DECIMALS)
    return merged


def shares_on_grid(
    partition: Partition,
    *,
    electron: GridDensity | None = None,
    hole: GridDensity | None = None,
    difference: GridDensity | None = None,
) -> AtomicCharges:
    """Share out orbitals and a density difference, given on the grid of a partition.

    Parameters
    ----------
    partition
        Of the same grid.
    electron, hole
        |ψ|², normalised here.
    difference
        Excited less ground.
    """
    fields: dict[str, FloatArray] = {}
    some = next((density for density in (electron, hole, difference) if density is not None), None)
    if some is None:
        raise InputError("no density to share out", "give an orbital or a density difference")
    for name, density in (("electron", electron), ("hole", hole)):
        if density is not None:
            if density.total <= 0:
                raise InputError(f"|ψ|² of the {name} is empty", "give the density of one orbital")
            fields[name] = density.values / density.total
    if difference is not None:
        fields["gained"] = np.clip(difference.values, 0, None)
        fields["lost"] = np.clip(-difference.values, 0, None)
    fields["volume"] = np.full(some.values.shape, 1 / some.structure.volume)
    integrals = partition.integrate(np.array(list(fields.values())))
    return AtomicCharges(partition.name, dict(zip(fields, integrals.T, strict=True)))


def analyse_charge(
    structure: Structure,
    atomic: Sequence[AtomicCharges],
    *,
    electron: GridDensity | None = None,
    hole: GridDensity | None = None,
    difference: GridDensity | None = None,
) -> ChargeAnalysis:
    """Sum atomic charges by group, and say how far the schemes agree.

    Parameters
    ----------
    structure
        The cell, with the site properties ``group`` and ``molecule``.
    atomic
        One a scheme, the one to be quoted first.
    electron, hole, difference
        The densities, for participation ratios and totals.
    """
    owners, molecules = owners_of(structure)
    partitions = [_partition(charges, owners, molecules) for charges in atomic]
    gained = lost = None
    if difference is not None:
        gained = float(np.clip(difference.values, 0, None).sum()) * difference.voxel
        lost = float(np.clip(-difference.values, 0, None).sum()) * difference.voxel
    participation = {}
    for name, density in (("electron", electron), ("hole", hole)):
        if density is not None:
            participation[f"{name}_volume"] = round(volume_participation(density.values), DECIMALS)
        if atomic and name in atomic[0].values:
            participation[f"{name}_atoms"] = round(atom_participation(atomic[0].values[name]), 3)
    return ChargeAnalysis(
        partitions=partitions,
        moved_e=None if gained is None or lost is None else round(min(gained, lost), DECIMALS),
        added_e=None if gained is None or lost is None else round(gained - lost, DECIMALS),
        spread=_spread(partitions),
        participation=participation,
        notes=_unbalanced(atomic, gained, lost),
    )


def volume_participation(density: FloatArray) -> float:
    """Return the part of the volume that a density fills: (∫ρ)² / (Ω ∫ρ²); 1 where it is uniform."""
    return float(density.sum() ** 2 / (density.size * (density**2).sum()))


def atom_participation(shares: FloatArray) -> float:
    """Return on how many atoms shares are: (Σp)² / Σp²; the number of atoms where all have the same."""
    return float(shares.sum() ** 2 / (shares**2).sum())


def _partition(charges: AtomicCharges, owners: Sequence[str], molecules: Sequence[int]) -> ChargePartition:
    values = dict(charges.values)
    for name, found in values.items():
        if len(found) != len(owners):
            raise InputError(f"{charges.scheme}, {name}: {len(found)} atoms of {len(owners)}", "one number an atom")
    if "gained" in values and "lost" in values:
        values["net"] = values["gained"] - values["lost"]
    where = {owner: np.array([mine == owner for mine in owners]) for owner in sorted(set(owners), key=_order)}
    fields = {
        name: {owner: round(float(found[mask].sum()), DECIMALS) for owner, mask in where.items()}
        for name, found in values.items()
    }
    of_molecule = [np.array(molecules) == number for number in sorted(set(molecules) - {-1})]
    by_fa = [
        {name: round(float(found[mask].sum()), DECIMALS) for name, found in values.items()} for mask in of_molecule
    ]
    return ChargePartition(scheme=charges.scheme, by_fa=by_fa, **fields)


def _order(owner: str) -> tuple[int, str]:
    known = (FA, "Cs", "Pb", "Br")
    return (known.index(owner) if owner in known else len(known), owner)


def _spread(partitions: Sequence[ChargePartition]) -> dict[str, dict[str, float]]:
    spread: dict[str, dict[str, float]] = {}
    for name in ("electron", "hole", "net", "volume"):
        shares = [found for one in partitions if (found := getattr(one, name)) is not None]
        if len(shares) > 1:
            spread[name] = {
                group: round(max(one[group] for one in shares) - min(one[group] for one in shares), DECIMALS)
                for group in shares[0]
            }
    return spread


def _unbalanced(atomic: Sequence[AtomicCharges], gained: float | None, lost: float | None) -> list[str]:
    """Return what to say of sums that do not hold."""
    notes = []
    for charges in atomic:
        wholes = {"electron": 1.0, "hole": 1.0, "volume": 1.0}
        if gained is not None and lost is not None and "volume" in charges.values:
            wholes |= {"gained": gained, "lost": lost}
        for name, whole in wholes.items():
            if name in charges.values and abs(float(charges.values[name].sum()) - whole) > CHARGE_TOLERANCE_E:
                notes.append(
                    f"{charges.scheme}: {name} sums to {float(charges.values[name].sum()):.3f} instead of {whole:.3f}"
                )
    return notes
