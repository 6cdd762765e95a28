"""Edges of a spectrum: methods registered by name, intervals by resampling platelets, histograms over platelets."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import curve_fit
from scipy.signal import find_peaks

from corecrown.errors import InputError

__all__ = [
    "EDGE_METHODS",
    "EdgeOptions",
    "Edges",
    "GaussianFit",
    "bootstrap_means",
    "edge_method",
    "find_edges",
    "fit_histogram",
    "peak_position",
    "platelet_weights",
]

Array = NDArray[np.float64]
Side = Literal["valence", "conduction"]


@dataclass(frozen=True, slots=True)
class EdgeOptions:
    """What the methods need to know.

    Attributes
    ----------
    prominence
        Required of a peak, as a part of the largest prominence on its side; without one, humps of traps win.
    noise
        Standard deviation of dI/dV, A/V; a peak or onset must exceed five of it.
    bandwidth_v
        Of the derivative; a peak is located by a parabola over this width.
    """

    prominence: float = 0.1
    noise: float = 0.0
    bandwidth_v: float = 0.05


EdgeMethod = Callable[[Array, Array, EdgeOptions], float | None]

EDGE_METHODS: dict[str, EdgeMethod] = {}
"""Edge-finding methods by name. Each is given one side, going outwards from 0 V, and returns the distance from 0 V."""


def edge_method(name: str) -> Callable[[EdgeMethod], EdgeMethod]:
    """Register an edge-finding method.

    The function gets the distance from 0 V (ascending, V), dI/dV (A/V) on that side and the options, and
    returns the distance of the edge or None where the side has none.
    """

    def register(function: EdgeMethod) -> EdgeMethod:
        EDGE_METHODS[name] = function
        return function

    return register


@dataclass(frozen=True, slots=True)
class Edges:
    """Edges of one spectrum on the bias axis; None where a side has none."""

    vbm_v: float | None
    cbm_v: float | None

    @property
    def gap_ev(self) -> float | None:
        """Distance between the edges, eV."""
        if self.vbm_v is None or self.cbm_v is None:
            return None
        return self.cbm_v - self.vbm_v


def find_edges(bias_v: Array, didv: Array, method: str, options: EdgeOptions) -> Edges:
    """Find the edges on either side of 0 V.

    Parameters
    ----------
    bias_v : (n,) float
        Ascending, V.
    didv : (n,) float
        A/V.
    method
        A name of `EDGE_METHODS`.

    Raises
    ------
    InputError
        If there is no such method.
    """
    find = EDGE_METHODS.get(method)
    if find is None:
        raise InputError(f"edge method {method!r} is not known", f"methods: {', '.join(EDGE_METHODS)}")
    found: list[float | None] = []
    for sign in (-1.0, 1.0):
        side = np.flatnonzero(sign * bias_v >= 0)
        side = side[::-1] if sign < 0 else side
        distance = find(sign * bias_v[side], didv[side], options) if len(side) > 4 else None
        found.append(None if distance is None else sign * distance)
    return Edges(*found)


@edge_method("first-peak")
def first_peak(distance_v: Array, didv: Array, options: EdgeOptions) -> float | None:
    """Return the first peak whose prominence is a stated part of the largest one, and five times the noise."""
    index = _first_peak_index(didv, options)
    return None if index is None else peak_position(distance_v, didv, index, options.bandwidth_v)


@edge_method("onset-log")
def onset_log(distance_v: Array, didv: Array, options: EdgeOptions) -> float | None:
    """Return where a line through the logarithm of the rising flank meets the floor of the gap.

    The floor is the median of dI/dV between 0 V and half way to the first peak, or the noise where that is
    more. The flank is where log10(dI/dV) lies between 20 and 80 % of the way from floor to peak.

    Notes
    -----
    As in the supplement of M. M. Ugeda et al., Nat. Mater. 13, 1091 (2014).
    """
    peak = _first_peak_index(didv, options)
    if peak is None:
        return None
    floor = _floor(didv, peak, options)
    if floor <= 0 or didv[peak] <= floor:
        return None
    level = np.log10(np.maximum(didv[: peak + 1], floor) / floor)
    return _extrapolate(distance_v[: peak + 1], level / level[-1], (0.2, 0.8))


@edge_method("onset-linear")
def onset_linear(distance_v: Array, didv: Array, options: EdgeOptions) -> float | None:
    """Return where a line through the rising flank, 20 to 80 % of the first peak above the floor, meets the floor."""
    peak = _first_peak_index(didv, options)
    if peak is None:
        return None
    floor = float(np.median(didv[: max(peak // 2, 1)]))
    height = didv[peak] - floor
    if height <= 0:
        return None
    return _extrapolate(distance_v[: peak + 1], (didv[: peak + 1] - floor) / height, (0.2, 0.8))


def peak_position(distance_v: Array, didv: Array, index: int, bandwidth_v: float) -> float:
    """Return where a parabola fitted around a maximum has its top; the maximum itself if it has none nearby."""
    step = abs(float(distance_v[1] - distance_v[0]))
    reach = max(round(bandwidth_v / 2 / step), 1)
    near = slice(max(index - reach, 0), index + reach + 1)
    x = distance_v[near] - distance_v[index]
    if len(x) < 3:
        return float(distance_v[index])
    a, b, _ = _parabola(x, didv[near])
    top = -b / (2 * a) if a < 0 else 0.0
    return float(distance_v[index] + (top if abs(top) <= reach * step else 0.0))


def platelet_weights(platelets: Sequence[str], n_resamples: int, seed: int) -> Array:
    """Return weights of sweeps for resampled averages: platelets are drawn with replacement.

    Returns
    -------
    (n_resamples, m) float
        Each row sums to 1. Sweeps of one platelet share its weight.
    """
    names, owner = np.unique(np.asarray(platelets), return_inverse=True)
    random = np.random.default_rng(seed)
    counts = random.multinomial(len(names), np.full(len(names), 1 / len(names)), size=n_resamples)
    share = 1 / np.bincount(owner)[owner]
    weights = counts[:, owner] * share
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float64)


def bootstrap_means(rows: Array, weights: Array) -> Array:
    """Return resampled averages: (b, m) weights times (m, n) rows."""
    return np.asarray(weights @ rows, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class GaussianFit:
    """A Gaussian fitted to a histogram."""

    centre: float
    sigma: float
    centre_error: float
    bin_width: float


def fit_histogram(values: Array) -> GaussianFit | None:
    """Fit a Gaussian to the histogram of edges over platelets; None where there are too few or it does not fit.

    Bins are those of Freedman and Diaconis, at least 5; the error is that of the least-squares fit with
    Poisson weights.
    """
    if len(values) < 8 or np.ptp(values) == 0:
        return None
    edges = np.histogram_bin_edges(values, "fd")
    if len(edges) < 6:
        edges = np.linspace(values.min(), values.max(), 6)
    if len(edges) > 200:
        edges = np.linspace(values.min(), values.max(), 201)
    counts, edges = np.histogram(values, edges)
    middle = (edges[1:] + edges[:-1]) / 2
    start = (float(counts.max()), float(np.median(values)), max(float(np.std(values)), 1e-6))
    try:
        best, covariance = curve_fit(
            lambda x, height, centre, sigma: height * np.exp(-0.5 * ((x - centre) / sigma) ** 2),
            middle,
            counts,
            p0=start,
            sigma=np.sqrt(np.maximum(counts, 1)),
            absolute_sigma=True,
            maxfev=2000,
        )
    except RuntimeError:
        return None
    error = math.sqrt(covariance[1, 1]) if np.isfinite(covariance[1, 1]) and covariance[1, 1] >= 0 else math.nan
    if not (values.min() <= best[1] <= values.max() and math.isfinite(error) and best[2] != 0):
        return None
    return GaussianFit(float(best[1]), abs(float(best[2])), error, float(edges[1] - edges[0]))


def _first_peak_index(didv: Array, options: EdgeOptions) -> int | None:
    """Return the index of the first prominent peak; the way to the end of the side does not count as one."""
    least = 5 * options.noise
    peaks, found = find_peaks(didv, prominence=max(least, np.finfo(float).tiny))
    if not len(peaks):
        return None
    prominences = found["prominences"]
    return int(peaks[np.argmax(prominences >= options.prominence * prominences.max())])


def _floor(didv: Array, peak: int, options: EdgeOptions) -> float:
    """Return the level of dI/dV in the gap: its median half way to the first peak, at least the noise."""
    return max(float(np.median(didv[: max(peak // 2, 1)])), options.noise)


def _extrapolate(x: Array, level: Array, span: tuple[float, float]) -> float | None:
    """Return where a line through the last rise of a level between two heights meets zero; None if it does not."""
    above = np.flatnonzero(level >= span[1])
    if not len(above):
        return None
    end = int(above[0])
    below = np.flatnonzero(level[:end] <= span[0])
    begin = int(below[-1]) if len(below) else 0
    if end - begin < 2:
        begin, end = max(begin - 1, 0), min(end + 1, len(x) - 1)
    here = slice(begin, end + 1)
    if end - begin < 1:
        return None
    mean_x, mean_y = x[here].mean(), level[here].mean()
    spread = ((x[here] - mean_x) ** 2).sum()
    slope = ((x[here] - mean_x) * (level[here] - mean_y)).sum() / spread if spread > 0 else 0.0
    if slope <= 0:
        return None
    onset = mean_x - mean_y / slope
    return float(onset) if 0 <= onset <= x[-1] else None


def _parabola(x: Array, y: Array) -> tuple[float, float, float]:
    """Return a, b, c of the least-squares parabola a x² + b x + c (normal equations; x is centred and short)."""
    scale = float(np.abs(x).max()) or 1.0
    basis = np.vander(x / scale, 3)
    a, b, c = np.linalg.lstsq(basis, y, rcond=None)[0]
    return float(a / scale**2), float(b / scale), float(c)
