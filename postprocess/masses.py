"""Effective-mass tensors from energies on a stencil: what they are, and whether they can be trusted.

From bands to masses: :func:`plan_edge` finds the edge and says what to compute there, :func:`mass_from_stencil` fits it
and says where to go on if that did not suffice. See docs/masses.md.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from corecrown.errors import InputError
from corecrown.postprocess.mass_edge import (
    EdgeGroup,
    EdgeNature,
    as_band_energies,
    edge_group,
    edge_nature,
)
from corecrown.postprocess.mass_extremum import ExtremumEstimate, SearchState, refine_extremum
from corecrown.postprocess.mass_fit import (
    Carrier,
    TensorFit,
    as_kpoints,
    fit_kane,
    fit_mass_tensor,
    reciprocal_lattice_inv_bohr,
)
from corecrown.postprocess.mass_outcomes import StencilEdge, StencilOutcome, fit_edge, fit_spin_pair, split_edge
from corecrown.postprocess.mass_stencil import (
    DEFAULT_MASS,
    DirectionalMass,
    Stencil,
    combine_stencils,
    directional_curvatures,
    finite_difference_tensor,
    is_time_reversal_invariant,
    plan_stencil,
)
from corecrown.postprocess.mass_tensors import mass_along, mass_tensor, unknown_mass
from corecrown.postprocess.results import MassTensor

__all__ = [
    "Carrier",
    "DirectionalMass",
    "EdgeGroup",
    "EdgeNature",
    "EdgePlan",
    "ExtremumEstimate",
    "SearchState",
    "Stencil",
    "StencilOutcome",
    "TensorFit",
    "combine_stencils",
    "directional_curvatures",
    "edge_group",
    "finite_difference_tensor",
    "fit_kane",
    "fit_mass_tensor",
    "is_time_reversal_invariant",
    "mass_along",
    "mass_from_stencil",
    "mass_tensor",
    "plan_edge",
    "plan_stencil",
    "reciprocal_lattice_inv_bohr",
    "refine_extremum",
    "unknown_mass",
]


NEAR_INVARIANT_INV_BOHR = 1e-3
"""A guess this near to a k-point that is its own mirror image is put there: symmetry makes that point stationary."""


@dataclass(frozen=True)
class EdgePlan:
    """What to compute for the mass of one edge.

    Attributes
    ----------
    stencil
        The k-points, or ``None`` where the edge was refused.
    refused
        The result to report in that case: no numbers, and the reason; else ``None``.
    estimate
        Where the search thinks the extremum is.
    """

    stencil: Stencil | None
    refused: MassTensor | None
    estimate: ExtremumEstimate


def plan_edge(
    kpoints: npt.ArrayLike,
    energies_ev: npt.ArrayLike,
    reciprocal_lattice: npt.ArrayLike,
    band_index: int,
    carrier: Carrier,
    *,
    mass_guess: float | tuple[float, float, float] = DEFAULT_MASS,
    time_reversal: bool = True,
) -> EdgePlan:
    """Find an edge among k-points already computed and lay a stencil there.

    Parameters
    ----------
    kpoints
        Shape (n, 3), fractional: the points of the path and of the uniform mesh together.
    energies_ev
        Shape (n, n_bands), eV, one spin channel; bands are sorted here.
    reciprocal_lattice
        Shape (3, 3), one vector a row, 1/bohr, with 2π.
    band_index
        0-based index of the highest valence band (hole) or the lowest conduction band (electron).
    carrier
        Electron or hole.
    mass_guess, time_reversal
        As for :func:`plan_stencil`.

    Raises
    ------
    InputError
        If shapes differ, numbers are not finite, or there is no such band.
    """
    points = as_kpoints(kpoints, "kpoints")
    energies = as_band_energies(energies_ev, len(points), "energies_ev")
    if not 0 <= band_index < energies.shape[1]:
        raise InputError(f"band_index: there is no band {band_index} among {energies.shape[1]}", "compute empty bands")
    lattice = np.asarray(reciprocal_lattice, dtype=float)
    estimate = refine_extremum(
        points, energies[:, band_index], lattice, carrier, time_reversal=time_reversal, extend=True
    )
    if estimate.kpoint is None:
        return EdgePlan(None, unknown_mass(carrier, estimate.reason, band_index=band_index), estimate)
    group = edge_group(energies[estimate.best_index], band_index, carrier)
    invariant = np.round(2 * estimate.kpoint) / 2
    near = time_reversal and np.linalg.norm((estimate.kpoint - invariant) @ lattice) < NEAR_INVARIANT_INV_BOHR
    try:
        stencil = plan_stencil(
            lattice,
            invariant if near else estimate.kpoint,
            group.nearest_band_gap_ev,
            mass_guess=mass_guess,
            time_reversal=time_reversal,
        )
    except InputError as error:
        return EdgePlan(None, unknown_mass(carrier, error.message, band_index=band_index), estimate)
    return EdgePlan(stencil, None, estimate)


def mass_from_stencil(
    stencil: Stencil,
    energies_ev: npt.ArrayLike,
    band_index: int,
    carrier: Carrier,
    *,
    spin_orbit: bool = False,
    rashba_limit_ev: float = 1e-3,
    projections: npt.ArrayLike | None = None,
) -> StencilOutcome:
    """Fit the mass tensor of a band edge on its stencil.

    Parameters
    ----------
    stencil
        What :func:`plan_stencil` gave.
    energies_ev
        Shape (n_kpoints, n_bands), eV, one spin channel, k-points in the stencil's order; bands are sorted here.
    band_index
        0-based index of the highest valence band (hole) or the lowest conduction band (electron).
    carrier
        Electron or hole.
    spin_orbit
        Whether the bands are spinors. Then a pair that is degenerate at a time-reversal-invariant k-point and splits
        away from it is the two spins of one band. Their mean is smooth and has a tensor, which is given if the edge
        lies beyond that k-point's energy by no more than ``rashba_limit_ev``; if by more, the extremum is elsewhere
        and the search goes on there.
    rashba_limit_ev
        See above.
    projections
        Shape (n_kpoints, n_bands, n_orbitals), in the order of the *sorted* bands: degenerate bands are then followed
        from the inner to the outer radius by how alike their states are, instead of by rank.

    Raises
    ------
    InputError
        If the energies have another shape or are not finite, or there is no such band.
    """
    energies = as_band_energies(energies_ev, len(stencil.kpoints), "energies_ev")
    group = edge_group(energies[0], band_index, carrier)
    nature = edge_nature(energies, group.bands)
    edge = StencilEdge(stencil, energies, group, nature, carrier)
    if edge.change_ev < 1e-9:
        return edge.outcome(edge.unknown("the band does not change over the stencil"))
    if nature is not EdgeNature.SPLIT:
        return fit_edge(edge)
    if spin_orbit and stencil.mirrored and len(group.bands) == 2:
        return fit_spin_pair(edge, rashba_limit_ev)
    return split_edge(edge, None if projections is None else np.asarray(projections))
