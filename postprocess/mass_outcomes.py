"""What a stencil says about an edge: a tensor, the mean of two spins, masses by direction, or where to look next."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from corecrown.errors import InputError
from corecrown.postprocess.mass_edge import EdgeGroup, EdgeNature, follow_bands
from corecrown.postprocess.mass_fit import (
    BOHR_ANGSTROM,
    HARTREE_EV,
    Carrier,
    FloatArray,
    TensorFit,
    fit_kane,
    fit_mass_tensor,
)
from corecrown.postprocess.mass_stencil import (
    DirectionalMass,
    Stencil,
    directional_curvatures,
    finite_difference_tensor,
    plan_stencil,
)
from corecrown.postprocess.mass_tensors import as_vector, direction_text, mass_tensor, unknown_mass
from corecrown.postprocess.results import MassTensor

__all__ = ["STEP_TOLERANCE", "StencilEdge", "StencilOutcome", "fit_edge", "fit_spin_pair", "split_edge"]

CHANGE_FRACTION = 0.1
"""The energy changes by no more than this share of the distance to the nearest band."""

STEP_TOLERANCE = 0.05
"""A tensor is converged if the inner step alone gives it to within this share."""

RESIDUAL_FRACTION = 0.01
"""A band that misses the fit by more than this share of its change is no quadratic form."""

_LONGEST_MOVE = 6.0
"""The search moves no farther than this many inner steps at a time."""


@dataclass(frozen=True)
class StencilOutcome:
    """What a stencil gave, and where to go on if it did not suffice.

    Attributes
    ----------
    mass
        The result; its notes say why a field is null.
    next_stencil
        A better stencil, if the extremum lies elsewhere or the step was too large; ``None`` when done or hopeless.
    nature
        Whether the edge is single, stays together, or splits.
    group
        The bands of the edge, and the distance to the next one at the centre.
    energy_change_ev
        Largest change of the edge's energy over the stencil.
    directional
        By band, inverse masses along the stencil's directions; for split and warped edges these are all there is.
    instead
        The tensor of the mean of two spins whose edge lies elsewhere: what there is if that edge cannot be measured.
    """

    mass: MassTensor
    next_stencil: Stencil | None
    nature: EdgeNature
    group: EdgeGroup
    energy_change_ev: float
    directional: dict[int, list[DirectionalMass]] = field(default_factory=dict)
    instead: MassTensor | None = None


@dataclass(frozen=True)
class StencilEdge:
    """One edge on its stencil; a group of bands stands for its mean."""

    stencil: Stencil
    energies: FloatArray
    group: EdgeGroup
    nature: EdgeNature
    carrier: Carrier
    notes: tuple[str, ...] = ()

    @property
    def band_ev(self) -> FloatArray:
        """Energies of the band, or the mean of the group, at every k-point."""
        mean: FloatArray = self.energies[:, list(self.group.bands)].mean(axis=1)
        return mean

    @property
    def change_ev(self) -> float:
        """Largest change over the stencil of any band of the group."""
        group = self.energies[:, list(self.group.bands)]
        return float(np.abs(group - group[0]).max())

    @property
    def gap_ev(self) -> float:
        """Smallest distance over the stencil to a band outside the group."""
        low, high = min(self.group.bands), max(self.group.bands)
        below = self.energies[:, low] - self.energies[:, low - 1] if low > 0 else np.array([np.inf])
        above = (
            self.energies[:, high + 1] - self.energies[:, high]
            if high + 1 < self.energies.shape[1]
            else np.array([np.inf])
        )
        return float(min(below.min(), above.min()))

    def unknown(self, reason: str) -> MassTensor:
        """Return a mass without numbers, for a reason."""
        return unknown_mass(
            self.carrier,
            reason,
            notes=self.notes,
            band_index=self.group.bands[0],
            degeneracy=len(self.group.bands),
            extremum_kpoint=self.stencil.centre,
            step_inv_bohr=self.stencil.step_inv_bohr(),
        )

    def outcome(
        self,
        mass: MassTensor,
        following: Stencil | None = None,
        directional: dict[int, list[DirectionalMass]] | None = None,
    ) -> StencilOutcome:
        """Return the outcome with this mass."""
        return StencilOutcome(mass, following, self.nature, self.group, self.change_ev, directional or {})

    def elsewhere(
        self, reason: str, offset_inv_bohr: FloatArray, inverse_mass: FloatArray, gap_ev: float | None = None
    ) -> StencilOutcome:
        """Say that the search has to go on at a displacement from the centre, with masses as far as known."""
        gap = self.gap_ev if gap_ev is None else gap_ev
        lattice = np.array(self.stencil.reciprocal_lattice_inv_bohr)
        kpoint = np.array(self.stencil.centre) + offset_inv_bohr @ np.linalg.inv(lattice)
        try:
            following = plan_stencil(
                lattice,
                kpoint,
                None if np.isinf(gap) else gap,
                mass_guess=_mass_guess(inverse_mass, self.stencil),
                time_reversal=self.stencil.time_reversal,
            )
        except InputError as error:
            return self.outcome(self.unknown(f"{reason}, and {error.message}"))
        return self.outcome(self.unknown(reason), following)


def fit_edge(edge: StencilEdge) -> StencilOutcome:
    """Fit a tensor to one band, or to the mean of bands that go together, or say where to look for its extremum."""
    stencil, carrier, band = edge.stencil, edge.carrier, edge.band_ev
    steps = np.array(stencil.steps_inv_bohr)
    inner, _, centre_tensor = finite_difference_tensor(stencil, band, carrier)
    rows = directional_curvatures(stencil, band, carrier)
    curvatures = np.linalg.eigvalsh(centre_tensor)
    sunk = carrier.sign * (band - band[0])
    if curvatures.min() < 0 and sunk.min() < -1e-3 * edge.change_ev:
        lowest = stencil.offsets_inv_bohr()[int(np.argmin(sunk))]
        return edge.elsewhere("the stencil's centre is a saddle", lowest, centre_tensor)
    slope = carrier.sign * np.array([row.slope_ev_bohr for row in rows[:3]]) / HARTREE_EV
    move = -np.linalg.pinv(centre_tensor, rcond=1e-2) @ slope
    moved_steps = float(np.linalg.norm(move / steps))
    if moved_steps > 1:
        move = move * min(1.0, _LONGEST_MOVE / moved_steps)
        return edge.elsewhere("the extremum lies outside the inner step of the stencil", move, centre_tensor)
    gap = edge.gap_ev
    if edge.change_ev > 2 * CHANGE_FRACTION * gap:
        reason = f"the energy changes by {_mev(edge.change_ev)} over the stencil, the next band being {_mev(gap)} away"
        return edge.elsewhere(reason, move, centre_tensor)
    fit = fit_mass_tensor(stencil.offsets_inv_bohr(), band, carrier, order=4, centre=np.zeros(3), even=stencil.mirrored)
    residual, notes = fit.residual_ev, list(edge.notes)
    if residual is not None and residual > RESIDUAL_FRACTION * edge.change_ev:
        reason = (
            f"warped: no quadratic form fits (misfit {_mev(residual)} of {_mev(edge.change_ev)}), so no tensor exists; "
            "masses depend on direction"
        )
        return edge.outcome(_with_axes(edge.unknown(reason), stencil, rows), directional={edge.group.bands[0]: rows})
    if residual is None:
        residual = fit_mass_tensor(stencil.offsets_inv_bohr(), band, carrier, order=3, centre=np.zeros(3)).residual_ev
        notes.append("fit_residual_ev is that of the fit without quartic terms; with them it has a term a point")
    scale = float(np.abs(curvatures).max())
    step_error = float(np.linalg.norm(inner - centre_tensor, 2)) / scale
    if step_error > STEP_TOLERANCE:
        notes.append(f"not converged: the inner step alone differs by {100 * step_error:.1f} %")
    if edge.change_ev > 1.05 * CHANGE_FRACTION * gap:
        notes.append(f"the energy change is {100 * edge.change_ev / gap:.0f} % of the distance to the nearest band")
    lattice = np.array(stencil.reciprocal_lattice_inv_bohr)
    mass = mass_tensor(
        fit.inverse_mass,
        carrier,
        uncertainty=0.1 * step_error * scale,
        converged=step_error <= STEP_TOLERANCE and edge.change_ev <= 1.05 * CHANGE_FRACTION * gap,
        notes=notes,
        band_index=edge.group.bands[0],
        degeneracy=len(edge.group.bands),
        extremum_kpoint=as_vector(np.array(stencil.centre) + fit.stationary_inv_bohr @ np.linalg.inv(lattice)),
        step_inv_bohr=stencil.step_inv_bohr(),
        fit_residual_ev=residual,
        nonparabolicity_per_ev=_nonparabolicity(stencil, band, fit, carrier),
    )
    return edge.outcome(mass, directional={edge.group.bands[0]: rows})


def fit_spin_pair(edge: StencilEdge, limit_ev: float) -> StencilOutcome:
    """Take two spins that part linearly from a time-reversal-invariant k-point: E = k²/2m ± αk along a direction.

    The edge lies mα²/2 beyond that k-point's energy, at k = mα (Bychkov and Rashba, JETP Lett. 39, 78 (1984)). Where
    that is less than the limit the mean of both, which is smooth, is fitted. Beyond it the search goes on at that edge,
    and the tensor of the mean is kept for where it cannot be measured.
    """
    stencil, carrier = edge.stencil, edge.carrier
    rows = directional_curvatures(stencil, edge.band_ev, carrier)
    low, high = min(edge.group.bands), max(edge.group.bands)
    splitting = edge.energies[1 : 1 + len(rows), high] - edge.energies[1 : 1 + len(rows), low]
    radii = np.linalg.norm(stencil.offsets_inv_bohr()[1 : 1 + len(rows)], axis=1)
    strengths = splitting / (2 * radii) / HARTREE_EV  # α, Hartree·bohr
    inverse = np.array([row.extrapolated for row in rows])
    if inverse.min() <= 0:
        return split_edge(edge)
    depths = HARTREE_EV * strengths**2 / (2 * inverse)
    deepest = int(np.argmax(depths))
    where = direction_text(rows[deepest].direction)
    note = (
        f"mean of two spins, which part by 2α|k| with α up to "
        f"{strengths[deepest] * HARTREE_EV * BOHR_ANGSTROM:.2g} eV·Å along {where}; that moves the edge by "
        f"{_mev(float(depths[deepest]))}"
    )
    together = fit_edge(
        StencilEdge(stencil, edge.energies, edge.group, EdgeNature.TOGETHER, carrier, (*edge.notes, note))
    )
    if depths[deepest] <= limit_ev:
        return together
    offset = np.array(rows[deepest].direction) * strengths[deepest] / inverse[deepest]
    tensor = finite_difference_tensor(stencil, edge.band_ev, carrier)[2]
    reason = (
        f"spin-orbit coupling moves the edge off this k-point along {where}, {_mev(float(depths[deepest]))} beyond it"
    )
    outcome = edge.elsewhere(reason, offset, tensor, min(edge.gap_ev, 4 * float(depths[deepest])))
    return replace(outcome, instead=None if together.mass.tensor_inverse is None else together.mass)


def split_edge(edge: StencilEdge, projections: npt.NDArray[Any] | None = None) -> StencilOutcome:
    """Give masses band by band along directions, for bands that are degenerate at the extremum and part from there.

    Along each direction bands keep their rank in energy, or are followed by ``projections`` (n_kpoints, n_bands,
    n_orbitals) from the inner radius. Where both steps see another curvature, as across a crossing, there is no mass.
    """
    stencil, carrier = edge.stencil, edge.carrier
    energies = edge.energies if projections is None else _followed(edge, projections)
    directional: dict[int, list[DirectionalMass]] = {}
    lost = []
    for band in edge.group.bands:
        rows = directional_curvatures(stencil, energies[:, band], carrier)
        directional[band] = [row for row in rows if _is_parabola(row)]
        lost += [f"band {band} along {direction_text(row.direction)}" for row in rows if not _is_parabola(row)]
    low, high = min(edge.group.bands), max(edge.group.bands)
    partings = np.ptp(edge.energies[:, low : high + 1], axis=1)
    growth = partings[stencil.radius_indices(2)].mean() / max(partings[stencil.radius_indices(1)].mean(), 1e-12)
    shape = "linearly, as bands that cross do" if growth < 2.8 else "quadratically, which warps them"
    reason = (
        f"{len(edge.group.bands)} bands are degenerate at the extremum and part {shape}: no tensor exists; masses "
        "depend on direction and band"
    )
    texts = [
        f"band {band} along {direction_text(row.direction)} {1 / row.extrapolated:.3g}"
        for band, rows in directional.items()
        for row in rows
        if direction_text(row.direction) in ("x", "y", "z") and row.extrapolated != 0
    ]
    mass = _with_axes(edge.unknown(reason), stencil, directional[edge.group.bands[0]])
    notes = list(mass.notes)
    if texts:
        notes.append("masses in m0: " + ", ".join(texts))
    if lost:
        notes.append("could not be followed from the inner to the outer step: " + ", ".join(lost))
    return edge.outcome(mass.model_copy(update={"notes": notes}), directional=directional)


def _followed(edge: StencilEdge, projections: npt.NDArray[Any]) -> FloatArray:
    """Reorder the bands at every k-point of a direction as they stand at its inner radius; the lost keep their rank."""
    if projections.shape[:2] != edge.energies.shape:
        raise InputError(
            f"projections: shape {projections.shape} does not begin with {edge.energies.shape}",
            "one row of orbitals for each k-point and band of the stencil",
        )
    stencil, followed = edge.stencil, edge.energies.copy()
    for index in range(len(stencil.directions)):
        inner = stencil.index_of(index, 1)
        for radius in (-2, -1, 2):
            position = stencil.index_of(index, radius)
            if inner is None or position is None:
                continue
            order = follow_bands(projections[[inner, position]])[1]
            known = order >= 0
            followed[position, known] = edge.energies[position, order[known]]
    return followed


def _is_parabola(row: DirectionalMass) -> bool:
    """Tell whether both steps see the same curvature; across a kink it halves from one to the other."""
    return abs(row.inner - row.outer) <= 0.25 * max(abs(row.inner), abs(row.outer), 1e-12)


def _with_axes(mass: MassTensor, stencil: Stencil, rows: list[DirectionalMass]) -> MassTensor:
    """Fill the masses along Γ-X, Γ-Y, Γ-Z from curvatures along x, y, z, if the stencil stands at Γ."""
    if not np.allclose(stencil.centre, 0, atol=1e-6):
        return mass
    found = {}
    for row in rows:
        name = direction_text(row.direction)
        if name in ("x", "y", "z") and row.extrapolated > 0:
            found[f"path_gamma_{name}"] = 1 / row.extrapolated
    return mass.model_copy(update=found)


def _mass_guess(inverse_mass: FloatArray, stencil: Stencil) -> tuple[float, float, float]:
    """Return masses along x, y, z to plan with: measured ones where they make sense, else those planned with.

    With steps from the masses along the axes the energy changes more along a diagonal if the tensor is tilted, at most
    twice as much; the masses are made smaller by as much.
    """
    planned = 2 * np.array(stencil.steps_inv_bohr) ** 2 * HARTREE_EV / stencil.energy_limit_ev
    measured = np.diag(inverse_mass)
    usable = measured > 0
    masses = np.where(usable, 1 / np.where(usable, measured, 1.0), planned)
    masses = np.clip(masses, 0.01, 5.0)
    directions = np.array(stencil.directions) * np.sqrt(masses)
    tilt = float(np.einsum("ni,ij,nj->n", directions, inverse_mass, directions).max())
    return as_vector(masses / np.clip(tilt, 1.0, 2.0))


def _nonparabolicity(stencil: Stencil, band: FloatArray, fit: TensorFit, carrier: Carrier) -> float | None:
    displacements = stencil.offsets_inv_bohr() - fit.stationary_inv_bohr
    try:
        return fit_kane(displacements, band - fit.stationary_energy_ev, carrier)[1]
    except InputError:
        return None


def _mev(energy_ev: float) -> str:
    return f"{1e3 * energy_ev:.3g} meV"
