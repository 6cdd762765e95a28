"""The search for both band edges and their masses, whatever program computes the energies.

It begins with the bands that are there, asks for energies at k-points, and ends when the stencils say that they
suffice. K-points that symmetry makes equal are computed once, and none twice.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict
from pymatgen.core import Structure
from pymatgen.electronic_structure.core import Spin

from corecrown.errors import InputError
from corecrown.postprocess.edges import find_edges
from corecrown.postprocess.mass_fit import HARTREE_EV
from corecrown.postprocess.mass_outcomes import CHANGE_FRACTION, StencilOutcome
from corecrown.postprocess.mass_stencil import DEFAULT_MASS
from corecrown.postprocess.masses import (
    Carrier,
    Stencil,
    combine_stencils,
    edge_group,
    mass_from_stencil,
    plan_edge,
    plan_stencil,
    reciprocal_lattice_inv_bohr,
    unknown_mass,
)
from corecrown.postprocess.results import BandEdges, Masses, MassTensor
from corecrown.workflows.bandstructure import mesh_band_structure
from corecrown.workflows.mass_symmetry import SAME_KPOINT, EnergyStore, find_equivalent, operations_of

__all__ = [
    "KnownBands",
    "MassSearch",
    "Round",
    "nominal_kpoints",
    "nominal_stencil",
]

FloatArray = npt.NDArray[np.float64]
Compute = Callable[[FloatArray], FloatArray]

SHARED_LIMITS = 10.0
"""Edges at one k-point share the smaller stencil, unless that makes the other's energies change this much less."""

NEAR_INVARIANT_INV_BOHR = 1e-3
"""A guess this near to a k-point that is its own mirror image is put there."""

ALONG = 0.98
"""A k-point lies along an axis if the cosine of its direction is larger than this."""

CHORD_SHARE, MASS_BOUNDS = 0.7, (0.05, 2.0)
"""Share of the mass of a chord that a step is chosen for, and the masses it is kept within."""

SMALLER = 0.8
"""Share of the measured mass that a smaller step is chosen for."""

NOMINAL_STEP = 0.015
"""Inner radius of a stencil that is laid before bands are known, as a share of each reciprocal vector: with a mass of
0.2 in a Pbnm cell the energy changes by 10 meV over it."""


@dataclass(frozen=True)
class KnownBands:
    """Bands that were computed before.

    Parameters
    ----------
    kpoints
        Shape (n, 3), fractional.
    energies_ev
        Shape (n, n_bands), eV, on the scale of the density that the search computes with.
    """

    kpoints: FloatArray
    energies_ev: FloatArray


class Round(BaseModel):
    """One run of the search: what was asked for, and what was computed for it."""

    model_config = ConfigDict(frozen=True)

    stencils: dict[Carrier, Stencil] = {}
    kpoints: list[tuple[float, float, float]]
    energies_ev: list[list[float]]
    wall_s: float = 0.0


@dataclass
class MassSearch:
    """The search for the masses of one cell.

    Parameters
    ----------
    structure
        The cell.
    n_filled
        Number of filled bands (of spinors, with spin-orbit coupling).
    known
        Bands along lines and on meshes to begin with.
    compute
        Called with k-points (n, 3); returns energies (n, n_bands) in eV.
    spin_orbit
        Whether bands are those of spinors.
    max_refinements
        How many further stencils an edge may ask for.
    starts
        K-points to begin at, by carrier, where the known bands are a coarse mesh alone: the best of these and of the
        mesh is taken.
    nominal
        A stencil that was computed before the edges were known: taken for the first one of an edge at its centre.
    on_round
        Called after every run, to keep it.
    """

    structure: Structure
    n_filled: int
    known: Sequence[KnownBands]
    compute: Compute
    spin_orbit: bool = False
    max_refinements: int = 4
    starts: Mapping[Carrier, Sequence[tuple[float, float, float]]] | None = None
    nominal: Stencil | None = None
    on_round: Callable[[Round], None] | None = None
    rounds: list[Round] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.operations = operations_of(self.structure)
        self.store = EnergyStore(self.operations)
        self.lattice = reciprocal_lattice_inv_bohr(self.structure.lattice.reciprocal_lattice.matrix)

    def remember(self, rounds: Sequence[Round]) -> None:
        """Take in runs of an earlier attempt at the same search."""
        for done in rounds:
            if done.kpoints:
                self.store.add(done.kpoints, done.energies_ev)

    def run(self) -> Masses:
        """Search until both edges are measured or given up; what cannot be had is null with the reason."""
        notes, found = [], dict(self._refused())
        stencils: dict[Carrier, Stencil] = {}
        for carrier in Carrier:
            if carrier not in found:
                planned = self._or_nominal(self._first(carrier))
                if isinstance(planned, Stencil):
                    stencils[carrier] = planned
                else:
                    found[carrier] = planned
        stencils = shared(stencils)
        tried = dict.fromkeys(stencils, 0)
        means: dict[Carrier, MassTensor] = {}
        while stencils:
            energies = self._energies(stencils)
            following: dict[Carrier, Stencil] = {}
            for carrier, stencil in stencils.items():
                outcome = mass_from_stencil(
                    stencil, energies[carrier], self._band(carrier), carrier, spin_orbit=self.spin_orbit
                )
                tried[carrier] += 1
                if outcome.instead is not None:
                    means[carrier] = outcome.instead
                after = outcome.next_stencil or smaller_stencil(stencil, outcome, energies[carrier])
                if after is not None and tried[carrier] <= self.max_refinements:
                    following[carrier] = after
                    continue
                found[carrier] = _said(outcome, tried[carrier], means.get(carrier))
            stencils = shared(following)
        runs = [len(one.kpoints) for one in self.rounds if one.kpoints]
        if runs:
            notes.append(f"{sum(runs)} k-points computed around the edges, in {len(runs)} runs")
        return Masses(electron=found[Carrier.ELECTRON], hole=found[Carrier.HOLE], notes=notes)

    def edges(self) -> BandEdges | None:
        """Return the edges on the k-points of this search and of what it remembers; None where there are none."""
        kpoints = self.store.kpoints
        if not len(kpoints):
            return None
        energies = self.store.energies(kpoints).T
        highest = float(energies[self.n_filled - 1].max())
        bands = mesh_band_structure(self.structure, kpoints, {Spin.up: energies}, highest)
        electrons = self.n_filled * (1 if self.spin_orbit else 2)
        return find_edges(bands, "stencil", electrons, spin_orbit=self.spin_orbit)

    def _band(self, carrier: Carrier) -> int:
        return self.n_filled - (1 if carrier is Carrier.HOLE else 0)

    def _refused(self) -> dict[Carrier, MassTensor]:
        """Return the edges that cannot have a mass whatever is computed, and why."""
        n_bands = min((known.energies_ev.shape[1] for known in self.known), default=0)
        if n_bands < self.n_filled or self.n_filled < 1:
            reason = f"the bands to start from are {n_bands}, of which {self.n_filled} would be filled"
            return {carrier: unknown_mass(carrier, reason) for carrier in Carrier}
        if n_bands == self.n_filled:
            reason = "no conduction bands were computed: raise conduction_bands"
            return {Carrier.ELECTRON: unknown_mass(Carrier.ELECTRON, reason)}
        energies = np.vstack([known.energies_ev[:, :n_bands] for known in self.known])
        gap = energies[:, self.n_filled].min() - energies[:, self.n_filled - 1].max()
        if gap <= 0:
            reason = f"no band gap (bands overlap by {-1e3 * gap:.3g} meV): a metal has no band-edge masses"
            return {carrier: unknown_mass(carrier, reason) for carrier in Carrier}
        return {}

    def _first(self, carrier: Carrier) -> Stencil | MassTensor:
        """Return the first stencil of an edge, or why there is none."""
        if self.starts is not None:
            return self._first_at(carrier, [np.array(start) for start in self.starts.get(carrier, ())])
        kpoints, levels = self._known_everywhere()
        band = self._band(carrier)
        plan = plan_edge(kpoints, levels, self.lattice, band, carrier)
        if plan.stencil is None:
            assert plan.refused is not None
            return plan.refused
        guess = guess_masses(plan.stencil, kpoints, carrier.sign * levels[:, band])
        # the limit is the share of the distance to the nearest band that a stencil is laid for
        gap = plan.stencil.energy_limit_ev / CHANGE_FRACTION
        return plan_stencil(self.lattice, plan.stencil.centre, gap, mass_guess=guess)

    def _or_nominal(self, planned: Stencil | MassTensor) -> Stencil | MassTensor:
        if self.nominal is None or isinstance(planned, MassTensor):
            return planned
        apart = np.array(planned.centre) - np.array(self.nominal.centre)
        return self.nominal if np.linalg.norm(apart @ self.lattice) < NEAR_INVARIANT_INV_BOHR else planned

    def _known_everywhere(self) -> tuple[FloatArray, FloatArray]:
        """Return k-points (n, 3) and energies (n, n_bands) of the known bands and of what symmetry makes of them."""
        n_bands = min(known.energies_ev.shape[1] for known in self.known)
        images = np.vstack([known.kpoints @ operation.T for known in self.known for operation in self.operations])
        levels = np.vstack([known.energies_ev[:, :n_bands] for known in self.known for _ in self.operations])
        wrapped = images - np.round(images - 1e-9)
        _, first = np.unique(np.round(wrapped, 6), axis=0, return_index=True)
        first = np.sort(first)
        return wrapped[first], levels[first]

    def _first_at(self, carrier: Carrier, starts: list[FloatArray]) -> Stencil | MassTensor:
        """Return a stencil at the best of given k-points and those of the known bands."""
        band, candidates, levels = self._band(carrier), [], []
        for known in self.known:
            best = int(np.argmin(carrier.sign * known.energies_ev[:, band]))
            candidates.append(known.kpoints[best])
            levels.append(known.energies_ev[best])
        known_already = np.array(candidates).reshape(-1, 3)
        new = [start for start in starts if find_equivalent(start, known_already, self.operations) is None]
        if new:
            self._compute(np.array(new))
            candidates += new
            levels += list(self.store.energies(np.array(new)))
        heights = [carrier.sign * level[band] for level in levels]
        best = int(np.argmin(heights))
        centre, group = candidates[best], edge_group(np.sort(levels[best]), band, carrier)
        invariant = np.round(2 * centre) / 2
        if np.linalg.norm((centre - invariant) @ self.lattice) < NEAR_INVARIANT_INV_BOHR:
            centre = invariant
        try:
            return plan_stencil(self.lattice, centre, group.nearest_band_gap_ev)
        except InputError as error:
            return unknown_mass(carrier, error.message, band_index=band)

    def _energies(self, stencils: Mapping[Carrier, Stencil]) -> dict[Carrier, FloatArray]:
        kpoints, indices = combine_stencils(stencils)
        self._compute(kpoints, stencils)
        return {carrier: self.store.energies(kpoints[indices[carrier]]) for carrier in stencils}

    def _compute(self, kpoints: FloatArray, stencils: Mapping[Carrier, Stencil] | None = None) -> None:
        missing = self.store.missing(kpoints)
        began = time.monotonic()
        energies = self.compute(missing) if len(missing) else np.empty((0, 0))
        wall_s = round(time.monotonic() - began, 2)
        self.store.add(missing, energies)
        done = Round(
            stencils=dict(stencils or {}), kpoints=missing.tolist(), energies_ev=energies.tolist(), wall_s=wall_s
        )
        self.rounds.append(done)
        if self.on_round is not None:
            self.on_round(done)


def smaller_stencil(stencil: Stencil, outcome: StencilOutcome, energies_ev: FloatArray) -> Stencil | None:
    """Return a stencil for a tensor that is there but not converged, with the masses it has; None if there is none.

    Parameters
    ----------
    stencil, outcome
        What was computed, and what it gave.
    energies_ev
        Shape (n_kpoints, n_bands), on that stencil: the nearest band may come nearer than it is at the centre.

    Notes
    -----
    Where the energies would change hardly less nothing is won: then what is there stays, and its note says why.
    """
    tensor, gap = outcome.mass.tensor_inverse, _nearest(energies_ev, outcome.group.bands)
    if tensor is None or outcome.mass.converged or not gap > 0 or np.diag(tensor).min() <= 0:
        return None
    # along a diagonal of a tilted tensor the energy changes by up to twice as much as along the axes
    inverse = np.diag(tensor)
    directions = np.array(stencil.directions) / np.sqrt(inverse)
    tilt = float(np.einsum("ni,ij,nj->n", directions, np.array(tensor), directions).max())
    x, y, z = (float(mass) for mass in np.clip(SMALLER / (inverse * max(1.0, tilt)), *MASS_BOUNDS))
    try:
        planned = plan_stencil(
            stencil.reciprocal_lattice_inv_bohr, stencil.centre, gap if np.isfinite(gap) else None,
            mass_guess=(x, y, z), time_reversal=stencil.time_reversal,
        )  # fmt: skip
    except InputError:
        return None
    return planned if planned.energy_limit_ev < 0.97 * outcome.energy_change_ev else None


def _nearest(energies_ev: FloatArray, bands: Sequence[int]) -> float:
    """Return the smallest distance over a stencil to a band outside a group, eV."""
    energies, low, high = np.sort(energies_ev, axis=1), min(bands), max(bands)
    below = energies[:, low] - energies[:, low - 1] if low > 0 else np.array([np.inf])
    above = energies[:, high + 1] - energies[:, high] if high + 1 < energies.shape[1] else np.array([np.inf])
    return float(min(below.min(), above.min()))


def guess_masses(stencil: Stencil, kpoints: FloatArray, heights_ev: FloatArray) -> tuple[float, float, float]:
    """Return masses along x, y and z from the nearest known k-point in each direction, for the steps of a stencil.

    A band is steeper near its edge than the chord to a k-point farther off, so the chord's mass is taken for less.

    Parameters
    ----------
    stencil
        What was planned without knowing; its centre counts.
    kpoints
        Shape (n, 3), fractional.
    heights_ev
        Shape (n,), energies, upwards from the edge for either carrier.
    """
    lattice = np.array(stencil.reciprocal_lattice_inv_bohr)
    apart = kpoints - np.array(stencil.centre)
    apart = (apart - np.round(apart)) @ lattice
    lengths = np.linalg.norm(apart, axis=1)
    lowest = heights_ev[lengths < 1.5 * lengths.min() + 1e-9].min()
    found = []
    for axis in range(3):
        along = np.abs(apart[:, axis]) > ALONG * lengths
        rising = along & (lengths > SAME_KPOINT) & (heights_ev > lowest + 1e-4)
        if not rising.any():
            found.append(DEFAULT_MASS)
            continue
        nearest = int(np.argmin(np.where(rising, lengths, np.inf)))
        chord = HARTREE_EV * lengths[nearest] ** 2 / (2 * (heights_ev[nearest] - lowest))
        found.append(float(np.clip(CHORD_SHARE * chord, *MASS_BOUNDS)))
    return found[0], found[1], found[2]


def shared(stencils: Mapping[Carrier, Stencil]) -> dict[Carrier, Stencil]:
    """Give edges at one k-point one stencil, the smaller one, where it serves both."""
    if len(stencils) < 2:
        return dict(stencils)
    electron, hole = stencils[Carrier.ELECTRON], stencils[Carrier.HOLE]
    apart = np.abs(np.array(electron.centre) - np.array(hole.centre)).max()
    sizes = [np.array(stencil.steps_inv_bohr) for stencil in (electron, hole)]
    # the energies change as the square of the step
    ratio = float((np.max([sizes[0] / sizes[1], sizes[1] / sizes[0]])) ** 2)
    if apart > SAME_KPOINT or electron.mirrored is not hole.mirrored or ratio > SHARED_LIMITS:
        return dict(stencils)
    smaller = electron if np.prod(sizes[0]) <= np.prod(sizes[1]) else hole
    return dict.fromkeys(stencils, smaller)


def nominal_stencil(structure: Structure) -> Stencil:
    """Return the stencil of both edges where they are not known yet: at Γ, of fixed fractional size."""
    lattice = reciprocal_lattice_inv_bohr(structure.lattice.reciprocal_lattice.matrix)
    steps = NOMINAL_STEP * np.linalg.norm(lattice, axis=1)
    limit = plan_stencil(lattice, (0.0, 0.0, 0.0), None).energy_limit_ev
    x, y, z = (float(mass) for mass in 2 * steps**2 * HARTREE_EV / limit)
    return plan_stencil(lattice, (0.0, 0.0, 0.0), None, mass_guess=(x, y, z))


def nominal_kpoints(structure: Structure) -> FloatArray:
    """Return the k-points (n, 3) of both edges at Γ that symmetry leaves, for a preview."""
    return EnergyStore(operations_of(structure)).missing(np.array(nominal_stencil(structure).kpoints))


def _said(outcome: StencilOutcome, tried: int, mean: MassTensor | None) -> MassTensor:
    """Return the mass of an outcome, with the reason if the search was given up.

    Where two spins part and the edge of one of them could not be measured, there is the tensor of their mean, which
    does not count as converged: the extremum was not reached.
    """
    notes = list(outcome.mass.notes)
    if outcome.next_stencil is not None:
        notes.append(f"given up after {tried} stencils")
    if outcome.mass.tensor_inverse is None and mean is not None:
        return mean.model_copy(update={"converged": False, "notes": [*mean.notes, *notes]})
    return outcome.mass.model_copy(update={"notes": notes})
