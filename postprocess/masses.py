"""Effective-mass tensors from energies on a stencil: what they are, and whether they can be trusted.

From bands to masses: :func:`refine_extremum` finds the edge, :func:`plan_stencil` says what to compute there,
:func:`mass_from_stencil` fits it and says where to go on if that did not suffice. See docs/masses.md.
"""

import numpy.typing as npt

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
    fit_kane,
    fit_mass_tensor,
    reciprocal_lattice_inv_bohr,
)
from corecrown.postprocess.mass_outcomes import StencilEdge, StencilOutcome, fit_edge, fit_spin_pair, split_edge
from corecrown.postprocess.mass_stencil import (
    DirectionalMass,
    Stencil,
    combine_stencils,
    directional_curvatures,
    finite_difference_tensor,
    is_time_reversal_invariant,
    plan_stencil,
)
from corecrown.postprocess.mass_tensors import mass_along, mass_tensor, unknown_mass

__all__ = [
    "Carrier",
    "DirectionalMass",
    "EdgeGroup",
    "EdgeNature",
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
    "plan_stencil",
    "reciprocal_lattice_inv_bohr",
    "refine_extremum",
    "unknown_mass",
]


def mass_from_stencil(
    stencil: Stencil,
    energies_ev: npt.ArrayLike,
    band_index: int,
    carrier: Carrier,
    *,
    spin_orbit: bool = False,
    rashba_limit_ev: float = 1e-3,
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
    return split_edge(edge)
