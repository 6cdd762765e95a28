"""Our masses along lines: curvature at the extremum itself, of bands that are followed, or a reason why not."""

import numpy as np
from numpy.polynomial import Polynomial

from corecrown.postprocess.mass_edge import edge_group, follow_bands
from corecrown.postprocess.mass_fit import HARTREE_EV, Carrier, FloatArray
from corecrown.postprocess.mass_path_bands import PathBands, coordinates_text
from corecrown.postprocess.mass_path_definitions import PathRow
from corecrown.postprocess.mass_stencil import is_time_reversal_invariant

__all__ = ["our_rows"]

WINDOW_EV = 0.05
"""A band is fitted so far from its edge, where enough k-points lie there."""

COARSE_EV = 0.2
"""With the second k-point farther from the edge than this the k-points are too coarse."""

MISFIT = 0.015
"""A fit that misses by more than this share of the energies' range is no parabola."""

_TOO_COARSE = f"k-points too coarse: fewer than two beyond the edge within {COARSE_EV:g} eV"


class _RefusedError(Exception):
    """Why a band has no mass along a line."""


def our_rows(bands: PathBands, carrier: Carrier) -> tuple[list[PathRow], list[str]]:
    """Fit an even polynomial at the edge along every line through it.

    Where the edge is a time-reversal-invariant k-point each line is mirrored there; where it lies within a line both
    sides are fitted together and the vertex is found; an edge at the end of a line elsewhere is the edge of what was
    computed, and refused. A quartic term is included where there are three points or more on a side. Bands that seem to
    cross are followed by their projections, or refused where there are none or they do not tell.
    """
    energy, position = bands.edge(carrier)
    rows: list[PathRow] = []
    notes: list[str] = []
    same = np.abs(bands.kpoints - bands.kpoints[position]).max(axis=1) < 1e-6
    for channel in range(len(bands.energies)):
        first = bands.filled[channel] - (1 if carrier is Carrier.HOLE else 0)
        at_edge = bands.energies[channel][:, position]
        if not 0 <= first < len(at_edge) or abs(at_edge[first] - energy) > 1e-3:
            continue
        group = edge_group(at_edge, first, carrier).bands
        for place in np.flatnonzero(same):
            for line in (line for line in bands.lines if place in line):
                for band in group:
                    try:
                        rows += _fit_line(bands, carrier, channel, line, int(place), band, group)
                    except _RefusedError as refused:
                        ends = f"{bands.end_name(line[0])}-{bands.end_name(line[-1])}"
                        notes.append(f"band {band} along {ends}: {refused}")
    return rows, notes


def _fit_line(
    bands: PathBands, carrier: Carrier, channel: int, line: list[int], place: int, band: int, group: tuple[int, ...]
) -> list[PathRow]:
    at = line.index(place)
    if is_time_reversal_invariant(bands.kpoints[place], tolerance=1e-5):
        sides = [side for side in (line[at:], line[at::-1]) if len(side) > 1]
        return [_mirrored(bands, carrier, channel, side, band, group) for side in sides]
    if at in (0, len(line) - 1):
        raise _RefusedError(f"the extremum is at the edge of what was computed, {bands.end_name(place)}")
    if len(group) > 1:
        raise _RefusedError("degenerate at a k-point inside the line: the bands cannot be followed through it")
    return _through(bands, carrier, channel, line, at, band)


def _mirrored(
    bands: PathBands, carrier: Carrier, channel: int, side: list[int], band: int, group: tuple[int, ...]
) -> PathRow:
    """Fit E(k) = E(-k) from the extremum along one side, nearest point first."""
    distances = _distances(bands, side)
    # the mirror image comes first, so that the way on can be foretold from three points
    mirrored = [side[1], *side]
    positions = np.concatenate([[-distances[1]], distances])
    energies = _followed(bands, channel, mirrored, positions, band, n_before=1, degenerate=len(group) > 1)[1:]
    heights = carrier.sign * (energies - energies[0])
    count = _n_points(heights)
    x, y = distances[: count + 1], heights[: count + 1]
    powers = [0, 2, 4] if count >= 3 else [0, 2]
    design = np.column_stack([(x / x[-1]) ** power for power in powers])
    solution = np.linalg.lstsq(design, y, rcond=None)[0]
    residual = _checked_misfit(y - design @ solution, y)
    curvature = 2 * float(solution[1]) / x[-1] ** 2 / HARTREE_EV
    return _row(bands, channel, band, side[0], side[-1], bands.kpoints[side[0]], curvature, residual, count + 1)


def _through(bands: PathBands, carrier: Carrier, channel: int, line: list[int], at: int, band: int) -> list[PathRow]:
    """Fit both sides of an extremum within a line together."""
    ahead, behind = line[at:], line[at::-1]
    x_ahead, x_behind = _distances(bands, ahead), -_distances(bands, behind)
    sides = []
    for places, x, other, x_other in ((ahead, x_ahead, behind, x_behind), (behind, x_behind, ahead, x_ahead)):
        led_in = [other[1], *places]
        energies = _followed(bands, channel, led_in, np.array([x_other[1], *x]), band, n_before=1, degenerate=False)
        heights = carrier.sign * (energies[1:] - energies[1])
        sides.append((x, heights))
    (x_up, h_up), (x_down, h_down) = sides
    n_up, n_down = _n_points_both(h_up, h_down)
    x = np.concatenate([x_down[n_down:0:-1], x_up[: n_up + 1]])
    y = np.concatenate([h_down[n_down:0:-1], h_up[: n_up + 1]])
    fit = Polynomial.fit(x, y, min(4, len(x) - 2))
    residual = _checked_misfit(y - fit(x), y)
    vertex = _vertex(fit, x)
    curvature = float(fit.deriv(2)(vertex)) / HARTREE_EV
    share = vertex / (x_ahead[1] if vertex > 0 else -x_behind[1])
    toward = ahead[1] if vertex > 0 else behind[1]
    kpoint = bands.kpoints[line[at]] + abs(share) * (bands.kpoints[toward] - bands.kpoints[line[at]])
    return [
        _row(bands, channel, band, line[at], end, kpoint, curvature, residual, len(x)) for end in (line[-1], line[0])
    ]


def _vertex(fit: Polynomial, x: FloatArray) -> float:
    """Return where a polynomial is stationary near zero, by Newton; roots are ill-determined where it is a parabola."""
    slope, bend = fit.deriv(), fit.deriv(2)
    vertex = 0.0
    for _ in range(50):
        curvature = float(bend(vertex))
        if curvature <= 0:
            raise _RefusedError("the band curves the other way at the edge")
        step = -float(slope(vertex)) / curvature
        vertex += step
        if not x[0] <= vertex <= x[-1]:
            raise _RefusedError("the fitted extremum lies beyond the k-points of the line")
        if abs(step) < 1e-12 * (x[-1] - x[0]):
            break
    return vertex


def _row(
    bands: PathBands,
    channel: int,
    band: int,
    start: int,
    end: int,
    kpoint: FloatArray,
    curvature: float,
    residual: float,
    n_points: int,
) -> PathRow:
    if curvature <= 0:
        raise _RefusedError("the band curves the other way at the edge")
    start_name = bands.end_name(start) if bands.labels[start] else coordinates_text(kpoint)
    return PathRow(band, kpoint, (start_name, bands.end_name(end)), curvature, residual, n_points, bands.spins[channel])


def _distances(bands: PathBands, places: list[int]) -> FloatArray:
    steps = np.linalg.norm(np.diff(bands.cartesian[places], axis=0), axis=1)
    distances: FloatArray = np.concatenate([[0.0], np.cumsum(steps)])
    return distances


def _n_in_window(heights: FloatArray) -> int:
    """Return how many points in a row beyond the first lie in the window."""
    outside = np.flatnonzero(np.abs(heights) > WINDOW_EV)
    return int(outside[0]) - 1 if len(outside) else len(heights) - 1


def _n_points(heights: FloatArray) -> int:
    """Return how many points beyond the extremum are fitted: those in the window, or two if it holds fewer."""
    count = _n_in_window(heights)
    if count >= 2:
        return count
    if len(heights) <= 2 or abs(heights[2]) > COARSE_EV:
        raise _RefusedError(_TOO_COARSE)
    return 2


def _n_points_both(up: FloatArray, down: FloatArray) -> tuple[int, int]:
    """Return how many points are fitted on either side: those in the window, or the nearest in energy up to four."""
    counts = [_n_in_window(up), _n_in_window(down)]
    while sum(counts) < 4:
        ahead = [abs(side[n + 1]) if n + 1 < len(side) else np.inf for side, n in zip((up, down), counts, strict=True)]
        if min(ahead) > COARSE_EV:
            break
        counts[int(np.argmin(ahead))] += 1
    if sum(counts) < 3 or min(counts) < 1:
        raise _RefusedError(_TOO_COARSE)
    return counts[0], counts[1]


def _checked_misfit(misfit: FloatArray, values: FloatArray) -> float:
    residual = float(np.sqrt(np.mean(misfit**2)))
    if residual > MISFIT * float(np.ptp(values)):
        amounts = f"{1e3 * residual:.2g} meV of {1e3 * np.ptp(values):.2g} meV"
        raise _RefusedError(f"no parabola: the fit misses by {amounts}, as where bands cross or part linearly")
    return residual


def _followed(
    bands: PathBands,
    channel: int,
    places: list[int],
    positions: FloatArray,
    band: int,
    *,
    n_before: int,
    degenerate: bool,
) -> FloatArray:
    """Return the energies of one band along k-points, by rank in energy, or by projections where ranks seem to change.

    ``places[n_before]`` is the extremum; points before it serve to foretell the next. A change of rank is suspected
    where the energies continue more smoothly with two neighbouring bands exchanged.
    """
    energies = bands.energies[channel][:, places]
    by_rank: FloatArray = energies[band]
    beyond = np.flatnonzero(np.abs(by_rank[n_before:] - by_rank[n_before]) > WINDOW_EV)
    last = n_before + (max(int(beyond[0]), 2) if len(beyond) else len(places) - 1 - n_before)
    last = min(last, len(places) - 1)
    if not _seem_to_cross(energies[:, : last + 1], positions, band, n_before):
        return by_rank
    if bands.projections is None:
        raise _RefusedError("bands seem to cross near the edge, and there are no projections to follow them by")
    # at a degenerate extremum the states are any mixture: the first point off it says which is which
    start = n_before + 1 if degenerate else n_before
    states = bands.projections[channel][:, places[start:]].transpose(1, 0, 2)
    order = follow_bands(states)[:, band]
    lost = np.flatnonzero(order[: last + 1 - start] < 0)
    if len(lost):
        raise _RefusedError("bands seem to cross near the edge, and their projections do not tell them apart")
    known = int(np.argmax(order < 0)) if np.any(order < 0) else len(order)
    followed = np.concatenate([by_rank[:start], energies[order[:known], np.arange(start, start + known)]])
    return np.asarray(followed, dtype=float)


def _seem_to_cross(energies: FloatArray, positions: FloatArray, band: int, n_before: int) -> bool:
    """Tell whether a band goes on more smoothly as one of its neighbours, from three points to the next."""
    for index in range(n_before + 1, energies.shape[1] - 1):
        before = slice(index - 2, index + 1)
        weights = _extrapolation(positions[before], positions[index + 1])
        for other in (band - 1, band + 1):
            if not 0 <= other < len(energies):
                continue
            foretold = energies[[band, other], before] @ weights
            found = energies[[band, other], index + 1]
            straight = np.abs(foretold - found).sum()
            exchanged = np.abs(foretold - found[::-1]).sum()
            if exchanged < 0.5 * straight and straight > 1e-4:
                return True
    return False


def _extrapolation(known: FloatArray, wanted: float) -> FloatArray:
    """Return Lagrange weights of three known positions for a fourth."""
    a, b, c = known
    return np.array(
        [
            (wanted - b) * (wanted - c) / ((a - b) * (a - c)),
            (wanted - a) * (wanted - c) / ((b - a) * (b - c)),
            (wanted - a) * (wanted - b) / ((c - a) * (c - b)),
        ]
    )
