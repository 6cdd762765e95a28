"""Where to compute energies for a mass tensor: a stencil in three dimensions at the extremum, with two steps.

Six numbers make a symmetric tensor, so curvatures along six directions are the least. Two radii along each direction
show whether the step is small enough and remove the quartic term. That leaves, of 22 k-points an edge:

* where the extremum is its own mirror image (Γ, and every k with 2k a reciprocal lattice vector), time reversal gives
  the other side for nothing, and 19 points hold *nine* directions (the axes and both diagonals of each face) at two
  radii. Nine curvatures for six numbers leave three sums that a true tensor fulfils and a warped band does not.
* elsewhere both sides are computed: six directions (the axes and one diagonal a face) at both signs of the inner
  radius, the axes at both signs of the outer one, and each diagonal once at the outer one, its slope being known from
  the axes: 1 + 12 + 6 + 3 = 22 points. A band that is single at a general point is smooth there, so nothing is lost.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from pydantic import Field

from corecrown.errors import InputError
from corecrown.postprocess.mass_fit import HARTREE_EV, Carrier, FloatArray, as_energies
from corecrown.postprocess.results import Matrix, Result, Vector

__all__ = [
    "MAX_KPOINTS",
    "DirectionalMass",
    "Stencil",
    "combine_stencils",
    "directional_curvatures",
    "finite_difference_tensor",
    "is_time_reversal_invariant",
    "plan_stencil",
]

MAX_KPOINTS = 45
"""Both edges together: the run costs a few scf iterations' worth of k-points."""

DEFAULT_MASS = 0.1
"""Lighter than what lead halide perovskites have, so that a first step is rather too small than too large."""

_AXES = np.eye(3)
_DIAGONALS = np.array([[1, 1, 0], [0, 1, 1], [1, 0, 1]]) / np.sqrt(2)
_OTHER_DIAGONALS = np.array([[1, -1, 0], [0, 1, -1], [1, 0, -1]]) / np.sqrt(2)


class Stencil(Result):
    """The k-points at which one edge is to be computed.

    A point lies at ``centre`` + radius · direction, measured in ``steps_inv_bohr`` along the Cartesian axes; radii are
    0, ±1 and ±2.
    """

    centre: Vector = Field(description="fractional")
    kpoints: list[Vector] = Field(description="fractional, in the order the energies are to come; centre first")
    directions: list[Vector] = Field(description="unit vectors in the scaled coordinates")
    points: list[tuple[int, int]] = Field(description="index of the direction and radius of every k-point")
    steps_inv_bohr: Vector = Field(description="inner radius along the Cartesian axes, 1/bohr")
    mirrored: bool = Field(description="whether E(centre + d) = E(centre - d), so that one side is left out")
    time_reversal: bool = Field(default=True, description="whether E(k) = E(-k)")
    reciprocal_lattice_inv_bohr: Matrix = Field(description="(3, 3), one vector a row, 1/bohr, with 2π")
    energy_limit_ev: float = Field(description="the energies should not change more than this over the stencil")

    def offsets_inv_bohr(self) -> FloatArray:
        """Return Cartesian displacements from the centre, shape (n, 3), 1/bohr."""
        offsets: FloatArray = self.scaled_offsets() * np.array(self.steps_inv_bohr)
        return offsets

    def scaled_offsets(self) -> FloatArray:
        """Return displacements from the centre in units of the inner step, shape (n, 3)."""
        directions = np.array(self.directions)
        return np.array([radius * directions[index] for index, radius in self.points])

    def index_of(self, direction: int, radius: int) -> int | None:
        """Return which k-point lies at a radius along a direction, or ``None``."""
        wanted = (direction, radius)
        return self.points.index(wanted) if wanted in self.points else None

    def radius_indices(self, radius: int) -> list[int]:
        """Return which k-points lie at a distance of so many inner steps, on either side."""
        return [position for position, point in enumerate(self.points) if abs(point[1]) == radius]

    def step_inv_bohr(self) -> float:
        """Return the inner radius as one number: the geometric mean over the axes, 1/bohr."""
        return float(np.prod(self.steps_inv_bohr) ** (1 / 3))


class DirectionalMass(Result):
    """Curvature of one band along one direction from the centre of a stencil."""

    direction: Vector = Field(description="unit vector, Cartesian")
    slope_ev_bohr: float = Field(description="dE/dk at the centre")
    inner: float = Field(description="inverse mass from the inner step alone, 1/m0, with the carrier's sign")
    outer: float = Field(description="inverse mass from the outer step alone, 1/m0")
    extrapolated: float = Field(description="inverse mass with the quartic term removed, 1/m0")


def is_time_reversal_invariant(kpoint: npt.ArrayLike, tolerance: float = 1e-6) -> bool:
    """Tell whether a fractional k-point (3,) is its own mirror image, modulo a reciprocal lattice vector."""
    doubled = 2 * np.asarray(kpoint, dtype=float)
    return bool(np.all(np.abs(doubled - np.round(doubled)) < 2 * tolerance))


def plan_stencil(
    reciprocal_lattice: npt.ArrayLike,
    extremum: npt.ArrayLike,
    nearest_band_gap_ev: float | None,
    *,
    mass_guess: float | tuple[float, float, float] = DEFAULT_MASS,
    time_reversal: bool = True,
    change_fraction: float = 0.1,
    largest_change_ev: float = 0.03,
    noise_ev: float = 1e-6,
    largest_offset: float = 0.12,
) -> Stencil:
    """Lay a stencil of 19 or 22 k-points at an extremum.

    Parameters
    ----------
    reciprocal_lattice
        Shape (3, 3), one vector a row, 1/bohr, with 2π.
    extremum
        Shape (3,), fractional.
    nearest_band_gap_ev
        Distance at the extremum to the nearest band that is not degenerate with the edge, on either side; ``None``
        where there is none.
    mass_guess
        Masses along the Cartesian axes (or one for all), m0: the step along each is such that the energy changes
        alike.
    time_reversal
        Whether E(k) = E(-k): always, but with magnetism and spin-orbit coupling together.
    change_fraction
        The energy may change by this share of the distance to the nearest band over the whole stencil.
    largest_change_ev
        And by no more than this, whatever the distance: farther out no band is a parabola.
    noise_ev
        How far eigenvalues are reproducible. The change over the inner step has to be fifty times as large.
    largest_offset
        No point is farther than this from the extremum, in fractional coordinates.

    Raises
    ------
    InputError
        If the nearest band is so close that no step is both large and small enough, or an argument makes no sense.
    """
    lattice = _as_lattice(reciprocal_lattice)
    centre = _as_point(extremum, "extremum")
    guess = np.broadcast_to(np.asarray(mass_guess, dtype=float), (3,))
    if not np.isfinite(guess).all() or np.any(guess <= 0):
        raise InputError(f"mass_guess: {mass_guess} is not a positive mass", f"leave it out for {DEFAULT_MASS} m0")
    limit = _energy_limit(nearest_band_gap_ev, change_fraction, largest_change_ev, noise_ev)
    steps = 0.5 * np.sqrt(2 * guess * limit / HARTREE_EV)
    mirrored = time_reversal and is_time_reversal_invariant(centre)
    directions, points = _mirrored_points() if mirrored else _general_points()
    unscaled = np.array([radius * directions[index] for index, radius in points])
    to_fractional = np.linalg.inv(lattice)
    reach = np.abs(unscaled * steps @ to_fractional).max()
    if reach > largest_offset:
        steps = steps * largest_offset / reach
    kpoints = centre + unscaled * steps @ to_fractional
    return Stencil(
        centre=_as_vector(centre),
        kpoints=[_as_vector(kpoint) for kpoint in kpoints],
        directions=[_as_vector(direction) for direction in directions],
        points=points,
        steps_inv_bohr=_as_vector(steps),
        mirrored=mirrored,
        time_reversal=time_reversal,
        reciprocal_lattice_inv_bohr=(_as_vector(lattice[0]), _as_vector(lattice[1]), _as_vector(lattice[2])),
        energy_limit_ev=limit,
    )


def combine_stencils(stencils: Mapping[Carrier, Stencil]) -> tuple[FloatArray, dict[Carrier, list[int]]]:
    """Put the stencils of both edges into one list of k-points, each point once.

    Returns
    -------
    kpoints
        Shape (n, 3), fractional, n at most 45.
    indices
        For each carrier, where its stencil's k-points stand in that list, in the stencil's order.
    """
    kpoints: list[Vector] = []
    indices: dict[Carrier, list[int]] = {}
    for carrier, stencil in stencils.items():
        indices[carrier] = []
        for kpoint in stencil.kpoints:
            if kpoint not in kpoints:
                kpoints.append(kpoint)
            indices[carrier].append(kpoints.index(kpoint))
    if len(kpoints) > MAX_KPOINTS:
        raise InputError(f"{len(kpoints)} k-points for the masses, more than {MAX_KPOINTS}", "one stencil an edge")
    return np.array(kpoints, dtype=float).reshape(-1, 3), indices


def directional_curvatures(stencil: Stencil, energies_ev: npt.ArrayLike, carrier: Carrier) -> list[DirectionalMass]:
    """Return the inverse mass of one band along each direction of its stencil, by finite differences.

    Along a direction with all five points E₋₂ … E₂ the central differences D(h) = (E₁ - 2E₀ + E₋₁)/h² and D(2h)
    combine to (4 D(h) - D(2h))/3, free of the quartic term. Where E₋₂ was not computed the slope, known from the
    axes, takes its place.

    Parameters
    ----------
    stencil
        What :func:`plan_stencil` gave.
    energies_ev
        Shape (n,), eV, in the order of the stencil's k-points.
    carrier
        Electron or hole.
    """
    energies = as_energies(energies_ev, len(stencil.points), "energies_ev")
    steps = np.array(stencil.steps_inv_bohr)
    slopes = np.zeros(3)
    rows = []
    for index, direction in enumerate(np.array(stencil.directions)):
        slope, inner, outer, extrapolated = _along(stencil, energies, index, float(slopes @ direction))
        if index < 3:
            slopes[index] = slope
        cartesian = direction * steps
        length = float(np.linalg.norm(cartesian))
        factor = carrier.sign / length**2 / HARTREE_EV
        rows.append(
            DirectionalMass(
                direction=_as_vector(cartesian / length),
                slope_ev_bohr=slope / length,
                inner=inner * factor,
                outer=outer * factor,
                extrapolated=extrapolated * factor,
            )
        )
    return rows


def finite_difference_tensor(
    stencil: Stencil, energies_ev: npt.ArrayLike, carrier: Carrier
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the inverse-mass tensor at a stencil's centre by finite differences.

    Returns
    -------
    inner, outer, extrapolated
        Each of shape (3, 3), 1/m0: second-order differences with the step h, with 2h, and both together with the
        quartic term removed. With nine directions the six components are found by least squares.
    """
    rows = directional_curvatures(stencil, energies_ev, carrier)
    directions = np.array([row.direction for row in rows])
    x, y, z = directions.T
    design = np.column_stack([x * x, y * y, z * z, 2 * y * z, 2 * x * z, 2 * x * y])
    tensors = []
    for values in ([row.inner for row in rows], [row.outer for row in rows], [row.extrapolated for row in rows]):
        xx, yy, zz, yz, xz, xy = np.linalg.lstsq(design, np.array(values), rcond=None)[0]
        tensors.append(np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]))
    return tensors[0], tensors[1], tensors[2]


def _along(stencil: Stencil, energies: FloatArray, index: int, slope: float) -> tuple[float, float, float, float]:
    """Return slope and second derivatives (inner, outer, extrapolated) along a direction, per unit of its step."""

    def difference(radius: int) -> float | None:
        if stencil.mirrored:
            radius = abs(radius)
        position = stencil.index_of(index, radius)
        return None if position is None else float(energies[position] - energies[0])

    plus, minus, far, near = difference(1), difference(-1), difference(2), difference(-2)
    if plus is None or minus is None or far is None:
        raise InputError("stencil: points of a direction are missing", "lay it with plan_stencil")
    inner = plus + minus
    if near is None:
        # E₂ = 2g + 2H + (8/6)C + (16/24)D, (E₁ - E₋₁)/2 = g + C/6, E₁ + E₋₁ = H + D/12
        cubic = 6 * ((plus - minus) / 2 - slope)
        quartic = (far - 2 * slope - 8 / 6 * cubic - 2 * inner) / (16 / 24 - 2 / 12)
        outer = inner - quartic / 12 + quartic / 3
    else:
        outer = (far + near) / 4
        slope = (8 * (plus - minus) - (far - near)) / 12
    return slope, inner, outer, (4 * inner - outer) / 3


def _energy_limit(gap_ev: float | None, fraction: float, largest_ev: float, noise_ev: float) -> float:
    if not 0 < fraction < 1 or not largest_ev > 0 or not noise_ev >= 0:
        raise InputError(
            "plan_stencil: change_fraction, largest_change_ev or noise_ev makes no sense",
            "a fraction between 0 and 1, energies above 0",
        )
    if gap_ev is not None and not gap_ev > 0:
        raise InputError(
            f"nearest_band_gap_ev: {gap_ev} is not above 0",
            "a degenerate edge counts as one group: give the distance to the nearest band outside it",
        )
    limit = largest_ev if gap_ev is None else min(largest_ev, fraction * gap_ev)
    if limit / 4 < 50 * noise_ev:
        raise InputError(
            f"the nearest band is {1e3 * (gap_ev or 0):.2g} meV away: a stencil that stays below "
            f"{100 * fraction:.0f} % of that is lost in the noise of the eigenvalues",
            "no tensor can be had; masses along paths can, where the bands can be followed",
        )
    return float(limit)


def _mirrored_points() -> tuple[FloatArray, list[tuple[int, int]]]:
    directions = np.vstack([_AXES, _DIAGONALS, _OTHER_DIAGONALS])
    return directions, [(0, 0), *((index, radius) for radius in (1, 2) for index in range(9))]


def _general_points() -> tuple[FloatArray, list[tuple[int, int]]]:
    directions = np.vstack([_AXES, _DIAGONALS])
    inner = [(index, sign) for index in range(6) for sign in (1, -1)]
    outer = [(index, 2 * sign) for index in range(3) for sign in (1, -1)]
    return directions, [(0, 0), *inner, *outer, *((index, 2) for index in range(3, 6))]


def _as_lattice(values: npt.ArrayLike) -> FloatArray:
    lattice = np.asarray(values, dtype=float)
    if lattice.shape != (3, 3) or not np.isfinite(lattice).all() or abs(np.linalg.det(lattice)) < 1e-12:
        raise InputError("reciprocal_lattice: not three independent vectors", "shape (3, 3), rows, 1/bohr, with 2π")
    return lattice


def _as_point(values: npt.ArrayLike, name: str) -> FloatArray:
    point = np.asarray(values, dtype=float)
    if point.shape != (3,) or not np.isfinite(point).all():
        raise InputError(f"{name}: not a k-point", "three finite fractional coordinates")
    return point


def _as_vector(values: FloatArray) -> Vector:
    x, y, z = (float(value) + 0.0 for value in values)
    return x, y, z
