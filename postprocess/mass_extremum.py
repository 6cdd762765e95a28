"""Where a band edge really is: a quadratic search from whatever k-points were computed."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

from corecrown.postprocess.mass_fit import Carrier, FloatArray, as_energies, as_kpoints

__all__ = ["ExtremumEstimate", "SearchState", "refine_extremum"]

_NEIGHBOURHOOD = 4.0
"""Points up to so many nearest-neighbour distances away shape the local parabola."""

_OUTSIDE = 0.25
"""An extremum that is predicted beyond the points by more than this share of their distance is refused."""

_SAME_POINT = 1e-7


class SearchState(StrEnum):
    """How far the search has come."""

    FOUND = "found"
    """The extremum is at ``kpoint``; all three directions were sampled."""

    CONTINUE = "continue"
    """``kpoint`` is a better guess: compute ``next_kpoints`` and call again with all points."""

    REFUSED = "refused"
    """It cannot be told from these points where the extremum is; ``reason`` says why."""


@dataclass(frozen=True)
class ExtremumEstimate:
    """Where the extremum of a band is, as far as the points tell.

    Attributes
    ----------
    state
        Found, continue or refused.
    kpoint
        Shape (3,), fractional; ``None`` if refused.
    best_kpoint
        Shape (3,), the computed point with the extreme energy.
    best_index
        Its place in the input.
    inside
        Whether the prediction lies within the points around ``best_kpoint``.
    displacement_inv_bohr
        Distance from ``best_kpoint`` to the prediction.
    sampled_directions
        How many independent directions have points nearby, 0 to 3.
    next_kpoints
        Shape (m, 3), fractional: a cross around the prediction, to be computed if the search goes on.
    reason
        Why the search was refused, or must go on; empty if found.
    """

    state: SearchState
    kpoint: FloatArray | None
    best_kpoint: FloatArray
    best_index: int
    inside: bool
    displacement_inv_bohr: float
    sampled_directions: int
    next_kpoints: FloatArray
    reason: str


def refine_extremum(
    kpoints: npt.ArrayLike,
    energies_ev: npt.ArrayLike,
    reciprocal_lattice: npt.ArrayLike,
    carrier: Carrier,
    *,
    time_reversal: bool = True,
    rotations: npt.ArrayLike | None = None,
    tolerance_inv_bohr: float = 5e-4,
    resolution_inv_bohr: float = 3e-3,
    extend: bool = False,
    coarse_ev: float = 0.5,
) -> ExtremumEstimate:
    """Predict where a band has its extremum from k-points on paths, meshes and earlier stencils together.

    A quadratic form is fitted by least squares through the best point and its neighbours, each weighted by the
    inverse cube of its distance, as that is how the cubic terms left out grow. Directions in which nothing was computed
    nearby are left alone. Repeating this with ``next_kpoints`` added is Newton's method and ends at the extremum, also
    at one that a spin-orbit field shifts off a symmetric point.

    Parameters
    ----------
    kpoints
        Shape (n, 3), fractional; paths and meshes may be mixed, points may come twice.
    energies_ev
        Shape (n,), eV, of the edge band (bands sorted by energy at every k-point).
    reciprocal_lattice
        Shape (3, 3), one vector a row, 1/bohr, with 2π.
    carrier
        Search a minimum (electron) or a maximum (hole).
    time_reversal
        Whether E(k) = E(-k).
    rotations
        Shape (m, 3, 3), what the point group does to fractional k-points as columns, k' = R k; the identity may be
        left out.
    tolerance_inv_bohr
        Found if the prediction moves by no more than this,
    resolution_inv_bohr
        and if the nearest k-points are no farther than this: between points farther apart an edge that a spin-orbit
        field moves off Γ can hide (a shift of 0.003/bohr with a mass of 0.15 lowers it by less than 1 meV).
    extend
        Go on with a guess where the extremum lies beyond the computed points, instead of refusing: for a search that
        computes what it asks for.
    coarse_ev
        Refused if even the nearest neighbour is so far up the band.

    Raises
    ------
    InputError
        If shapes differ or numbers are not finite.
    """
    points = as_kpoints(kpoints, "kpoints")
    energies = carrier.sign * as_energies(energies_ev, len(points), "energies_ev")
    lattice = np.asarray(reciprocal_lattice, dtype=float)
    best = int(np.argmin(energies))
    equivalents = _equivalent(points, rotations, time_reversal=time_reversal)
    displacements, heights = _images(equivalents, energies, points[best], lattice, tolerance_inv_bohr)
    if len(displacements) == 0:
        return _refused(points[best], best, "only one k-point was computed: it has no neighbours to search among")
    distances = np.linalg.norm(displacements, axis=1)
    nearest = float(distances.min())
    if heights[distances < 1.01 * nearest].min() > coarse_ev:
        return _refused(
            points[best], best, f"k-points too coarse: the nearest ones lie more than {coarse_ev:g} eV from the edge"
        )
    near = distances < _NEIGHBOURHOOD * nearest
    displacements, heights = displacements[near], heights[near]
    axes = _spanned(displacements / nearest)
    move, n_directions = _newton_move(displacements @ axes.T / nearest, heights)
    if n_directions == 0:
        return _refused(points[best], best, "k-points too coarse: nowhere three in a row around the edge")
    prediction = move @ axes * nearest
    beyond = _distance_to_hull(prediction / nearest, displacements / nearest)
    at_edge = (
        "the extremum is at the edge of what was computed: compute k-points on the other side of "
        f"({', '.join(f'{x:.4f}' for x in points[best])})"
    )
    if beyond > _OUTSIDE and not extend:
        return _refused(points[best], best, at_edge)
    length = float(np.linalg.norm(prediction))
    if length > 2 * nearest:
        prediction, length = prediction * 2 * nearest / length, 2 * nearest
    kpoint = points[best] + prediction @ np.linalg.inv(lattice)
    resolved = nearest <= 1.01 * resolution_inv_bohr
    found = n_directions == 3 and length <= tolerance_inv_bohr and resolved and beyond <= _OUTSIDE
    arm = nearest / 3 if length <= tolerance_inv_bohr else min(nearest, length)
    reason = "" if found else at_edge if beyond > _OUTSIDE else _why_continue(n_directions, length, nearest)
    return ExtremumEstimate(
        state=SearchState.FOUND if found else SearchState.CONTINUE,
        kpoint=kpoint,
        best_kpoint=points[best],
        best_index=best,
        inside=beyond < 1e-6,
        displacement_inv_bohr=length,
        sampled_directions=n_directions,
        next_kpoints=_cross(kpoint, max(arm, min(nearest, 0.9 * resolution_inv_bohr)), lattice),
        reason=reason,
    )


def _equivalent(points: FloatArray, rotations: npt.ArrayLike | None, *, time_reversal: bool) -> list[FloatArray]:
    """Return the k-points and their images under the symmetry operations, each an array (n, 3)."""
    operations = [np.eye(3)]
    if rotations is not None:
        operations += list(np.asarray(rotations, dtype=float).reshape(-1, 3, 3))
    images = [points @ operation.T for operation in operations]
    return images + [-image for image in images] if time_reversal else images


def _images(
    equivalents: list[FloatArray], energies: FloatArray, origin: FloatArray, lattice: FloatArray, closest: float
) -> tuple[FloatArray, FloatArray]:
    """Return displacements (m, 3) from the origin to every image nearby, and how far up the band each is.

    Points closer than ``closest`` are left out: the energy hardly differs there, and a parabola through them is noise.
    """
    shifts = np.array(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), dtype=float).reshape(3, -1).T
    displacements, heights = [np.empty((0, 3))], [np.empty(0)]
    for points in equivalents:
        wrapped = points - origin
        wrapped -= np.round(wrapped)
        # a point's own translations say nothing either, so it is left out before they are made
        elsewhere = np.linalg.norm(wrapped @ lattice, axis=1) > closest
        for shift in shifts:
            displacements.append((wrapped[elsewhere] + shift) @ lattice)
            heights.append(energies[elsewhere] - energies.min())
    every, height = np.vstack(displacements), np.concatenate(heights)
    distances = np.linalg.norm(every, axis=1)
    near = distances < 2 * _NEIGHBOURHOOD * distances.min(initial=np.inf)
    every, height = every[near], height[near]
    _, first = np.unique(np.round(every / (_SAME_POINT * np.abs(lattice).max())), axis=0, return_index=True)
    return every[first], height[first]


def _spanned(displacements: FloatArray) -> FloatArray:
    """Return orthonormal rows that span the displacements, shape (rank, 3)."""
    _, singular, right = np.linalg.svd(displacements, full_matrices=False)
    rows: FloatArray = right[singular > 1e-4 * singular[0]]
    return rows


def _newton_move(points: FloatArray, heights: FloatArray) -> tuple[FloatArray, int]:
    """Fit slope and curvature through the origin and return Newton's step, and along how many directions it was known.

    A direction with two points only gives no slope apart from a curvature: no step is taken along it.
    """
    dimension = points.shape[1]
    pairs = [(i, j) for i in range(dimension) for j in range(i, dimension)]
    columns = [points] + [(points[:, i] * points[:, j])[:, None] * (0.5 if i == j else 1.0) for i, j in pairs]
    weights = np.linalg.norm(points, axis=1) ** -3
    design = np.hstack(columns) * weights[:, None]
    left, singular, right = np.linalg.svd(design, full_matrices=False)
    rank = int(np.count_nonzero(singular > 1e-8 * singular[0]))
    solution = right[:rank].T @ (left.T[:rank] @ (heights * weights) / singular[:rank])
    kept = right[:rank].T @ right[:rank]
    shares, directions = np.linalg.eigh(kept[:dimension, :dimension])
    known = directions[:, shares > 1 - 1e-4]
    hessian = np.zeros((dimension, dimension))
    for (i, j), value in zip(pairs, solution[dimension:], strict=True):
        hessian[i, j] = hessian[j, i] = value
    values, vectors = np.linalg.eigh(known.T @ hessian @ known)
    # along a direction that is flat, or curved the wrong way by far points, the best point stays where it is
    safe = values > 1e-3 * np.abs(values).max(initial=1e-12)
    inverse = np.where(safe, 1 / np.where(safe, values, 1.0), 0.0)
    step = -(vectors * inverse) @ vectors.T @ known.T @ solution[:dimension]
    return known @ step, known.shape[1]


def _distance_to_hull(target: FloatArray, points: FloatArray) -> float:
    """Return the distance of a point from the convex hull of points and the origin, by non-negative least squares."""
    weight = 1e3  # holds the sum of the shares at one
    corners = np.vstack([points, np.zeros(3)])
    system = np.vstack([corners.T, weight * np.ones(len(corners))])
    shares, _ = nnls(system, np.append(target, weight))
    return float(np.linalg.norm(corners.T @ (shares / shares.sum()) - target))


def _cross(kpoint: FloatArray, step: float, lattice: FloatArray) -> FloatArray:
    to_fractional = np.linalg.inv(lattice)
    arms = np.vstack([np.zeros(3), step * np.eye(3), -step * np.eye(3)])
    return np.asarray(kpoint + arms @ to_fractional, dtype=float)


def _why_continue(n_directions: int, length: float, nearest: float) -> str:
    if n_directions < 3:
        return f"only {n_directions} of 3 directions were sampled around the edge"
    if length < 0.1 * nearest:
        return f"the nearest k-points are {nearest:.2g} 1/bohr away: what lies between was not looked at"
    return f"the extremum is {length:.2g} 1/bohr from the best k-point"


def _refused(best_kpoint: FloatArray, best: int, reason: str) -> ExtremumEstimate:
    return ExtremumEstimate(
        state=SearchState.REFUSED,
        kpoint=None,
        best_kpoint=best_kpoint,
        best_index=best,
        inside=False,
        displacement_inv_bohr=0.0,
        sampled_directions=0,
        next_kpoints=np.empty((0, 3)),
        reason=reason,
    )
