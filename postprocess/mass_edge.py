"""Which bands make an edge, whether they stay together, and how they are followed from k-point to k-point."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from corecrown.errors import InputError
from corecrown.postprocess.mass_fit import Carrier, FloatArray

__all__ = [
    "DEGENERACY_EV",
    "EdgeGroup",
    "EdgeNature",
    "as_band_energies",
    "edge_group",
    "edge_nature",
    "follow_bands",
]

DEGENERACY_EV = 1e-3
"""Bands closer than this at the extremum are one group (pymatgen and sumo use the same distance)."""

_TOGETHER = 0.01
"""Bands that part by less than this share of the energy change count as the same band."""

_LEAST_LIKENESS = 0.5
"""A band whose likeness to its best partner is smaller than this is not followed."""

_LEAST_MARGIN = 0.1
"""Nor is one that is almost as much like another band."""


class EdgeNature(StrEnum):
    """How the bands of an edge behave around it."""

    SINGLE = "single"
    """One band: it has a tensor."""

    TOGETHER = "together"
    """Several bands that stay degenerate, as both spins do where there is inversion: one tensor for all."""

    SPLIT = "split"
    """Degenerate at the extremum only: no tensor exists, masses depend on direction and band."""


@dataclass(frozen=True)
class EdgeGroup:
    """The bands that share an edge.

    Attributes
    ----------
    bands
        0-based indices, the edge itself first: falling from it for holes, rising for electrons.
    nearest_band_gap_ev
        Distance to the nearest band outside the group, on either side; ``None`` if there is none.
    """

    bands: tuple[int, ...]
    nearest_band_gap_ev: float | None


def as_band_energies(values: npt.ArrayLike, n_kpoints: int, name: str) -> FloatArray:
    """Return energies (n_kpoints, n_bands), each k-point's sorted, or say what is wrong with them."""
    energies = np.asarray(values, dtype=float)
    if energies.ndim != 2 or len(energies) != n_kpoints or energies.shape[1] == 0:
        raise InputError(
            f"{name}: shape {energies.shape} is not ({n_kpoints}, n_bands)", "all bands of every k-point of the stencil"
        )
    if not np.isfinite(energies).all():
        raise InputError(f"{name}: some energies are not finite", "check the output for a broken line")
    ordered: FloatArray = np.sort(energies, axis=1)
    return ordered


def edge_group(
    energies_ev: npt.ArrayLike, band_index: int, carrier: Carrier, tolerance_ev: float = DEGENERACY_EV
) -> EdgeGroup:
    """Find which bands are degenerate with an edge, and how far the next one is.

    Parameters
    ----------
    energies_ev
        Shape (n_bands,), eV, sorted, at the extremum.
    band_index
        0-based index of the highest valence band (hole) or lowest conduction band (electron).
    carrier
        Electron or hole.
    tolerance_ev
        Bands closer than this to the edge belong to it.

    Raises
    ------
    InputError
        If there is no such band.
    """
    energies = np.asarray(energies_ev, dtype=float)
    if not 0 <= band_index < len(energies):
        raise InputError(
            f"band_index: there is no band {band_index} among {len(energies)}",
            "compute empty bands for electrons; indices start at 0",
        )
    bands = [band_index]
    step = 1 if carrier is Carrier.ELECTRON else -1
    while 0 <= bands[-1] + step < len(energies):
        following = bands[-1] + step
        if abs(energies[following] - energies[band_index]) > tolerance_ev:
            break
        bands.append(following)
    low, high = min(bands), max(bands)
    gaps = []
    if low > 0:
        gaps.append(energies[low] - energies[low - 1])
    if high + 1 < len(energies):
        gaps.append(energies[high + 1] - energies[high])
    return EdgeGroup(tuple(bands), float(min(gaps)) if gaps else None)


def edge_nature(energies_ev: FloatArray, bands: tuple[int, ...]) -> EdgeNature:
    """Tell whether a group of bands is single, stays together, or splits away from the extremum.

    Parameters
    ----------
    energies_ev
        Shape (n_kpoints, n_bands), the extremum first.
    bands
        Indices of the group.
    """
    if len(bands) == 1:
        return EdgeNature.SINGLE
    group = energies_ev[:, list(bands)]
    change = float(np.abs(group - group[0]).max())
    parting = float(np.ptp(group, axis=1).max())
    return EdgeNature.TOGETHER if parting <= _TOGETHER * change else EdgeNature.SPLIT


def follow_bands(projections: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Follow bands along a line of k-points by how alike their states are.

    Parameters
    ----------
    projections
        Shape (n_kpoints, n_bands, n_orbitals): overlaps with the same set of orbitals (complex, or their squares)
        at every k-point, in the order of the line.

    Returns
    -------
    order
        Shape (n_kpoints, n_bands): ``order[k, b]`` is where band ``b`` of the first k-point stands at k-point ``k``;
        -1 from where it could not be followed on, its likeness to its partner being small or hardly larger than to
        another band. Likeness is the cosine between projections; each pair of neighbouring k-points is matched by
        the assignment with the largest sum.
    """
    vectors = np.asarray(projections)
    if vectors.ndim != 3 or vectors.shape[2] == 0:
        raise InputError(
            f"projections: shape {vectors.shape} is not (n_kpoints, n_bands, n_orbitals)", "one row of orbitals a band"
        )
    norms = np.linalg.norm(vectors, axis=2, keepdims=True)
    if not np.isfinite(norms).all() or np.any(norms == 0):
        raise InputError("projections: some states have none", "project on all orbitals, or leave them out")
    vectors = vectors / norms
    n_kpoints, n_bands = vectors.shape[:2]
    order = np.full((n_kpoints, n_bands), -1)
    order[0] = np.arange(n_bands)
    for k in range(1, n_kpoints):
        likeness = np.abs(vectors[k - 1].conj() @ vectors[k].T)
        rows, columns = linear_sum_assignment(-likeness)
        best = likeness[rows, columns]
        others = likeness.copy()
        others[rows, columns] = 0.0
        partner = np.full(n_bands, -1)
        alike = (best > _LEAST_LIKENESS) & (best > others[rows].max(axis=1) + _LEAST_MARGIN)
        partner[rows[alike]] = columns[alike]
        known = order[k - 1] >= 0
        order[k, known] = partner[order[k - 1, known]]
    return order
