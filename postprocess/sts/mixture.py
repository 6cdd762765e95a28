"""Two sets of edges in one spectrum (crown over core): a mixture of two equal line shapes against one.

An edge is a Gaussian peak over a step of the same width; what follows further out enters as an exponential
foot. The width and the step are either fitted or taken from a place with one set of edges, which is what
tells apart edges that are nearer to each other than their width.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.optimize import least_squares
from scipy.signal import argrelmin, find_peaks
from scipy.special import erf

from corecrown.postprocess.sts.edges import EdgeOptions

__all__ = ["LineShape", "SideFit", "first_feature", "fit_side", "resampled_pairs"]

Array = NDArray[np.float64]

MAX_OFFSET_V = 0.35
"""Edges farther apart than this are levels of one material, not edges of two."""

MIN_BIC = 6.0
"""How much the Bayesian information criterion must favour two sets: strong evidence (Kass and Raftery 1995)."""

STARTS = ((0.0, 0.15), (0.04, 0.04), (0.15, 0.0), (0.08, 0.08))
MIN_SHARE = 0.15
MIN_CURVATURE = 0.25
MIN_HEIGHT = 0.15
MIN_FIT_POINTS = 12
MIN_SEPARATION_WIDTHS = 0.6


@dataclass(frozen=True, slots=True)
class LineShape:
    """What one edge looks like: standard deviation of the peak (V), and height of the step over that of the peak."""

    sigma_v: float
    step: float


@dataclass(frozen=True, slots=True)
class SideFit:
    """One and two sets of edges fitted to one side.

    Attributes
    ----------
    single_v, pair_v
        Distances from 0 V of the one edge, and of the two, nearer first.
    shares
        Parts of the two in the signal.
    shape
        Line shape of the fit with one set.
    bic_gain
        By how much the criterion favours two sets.
    """

    single_v: float
    pair_v: tuple[float, float]
    shares: tuple[float, float]
    shape: LineShape
    bic_gain: float

    @property
    def two(self) -> bool:
        """Whether two sets are found: favoured by the criterion, both with a share, and apart."""
        apart = (self.pair_v[1] - self.pair_v[0]) / self.shape.sigma_v
        return self.bic_gain > MIN_BIC and min(self.shares) >= MIN_SHARE and apart >= MIN_SEPARATION_WIDTHS


def fit_side(
    bias_v: Array,
    didv: Array,
    sign: int,
    options: EdgeOptions,
    shape: LineShape | None = None,
    start: SideFit | None = None,
) -> SideFit | None:
    """Fit one and two sets of edges to the valence (sign -1) or conduction (+1) side of a spectrum.

    Parameters
    ----------
    bias_v, didv : (n,) float
        Averaged spectrum, V and A/V.
    shape
        Width and step of one edge, from a place that has one set; fitted where None.
    start
        An earlier fit of nearly the same spectrum to start from; several starts are tried where None.

    Returns
    -------
    SideFit or None
        None where the side has no peak to start from.
    """
    side = np.flatnonzero(sign * bias_v >= 0)
    side = side[::-1] if sign < 0 else side
    x, y = sign * bias_v[side], didv[side]
    feature = first_feature(x, y, options.bandwidth_v) if len(x) >= MIN_FIT_POINTS else None
    if feature is None or y[feature] <= 0:
        return None
    edge, window = float(x[feature]), _window(x, y, feature)
    x, y = x[window], y[window] / y[feature]
    if len(x) < MIN_FIT_POINTS:
        return None
    independent = max(float(np.ptp(x)) / options.bandwidth_v, 3.0)
    one = _best(x, y, [(edge if start is None else start.single_v,)], shape)
    starts: list[tuple[float, ...]] = [(edge - a, edge + b) for a, b in STARTS]
    two = _best(x, y, starts if start is None else [start.pair_v], shape)
    if one is None or two is None:
        return None
    gain = independent * math.log(max(one.rss, 1e-12) / max(two.rss, 1e-12)) - 2 * math.log(independent)
    (near, far) = sorted(zip(two.positions, two.heights, strict=True))
    total = near[1] + far[1]
    return SideFit(
        single_v=one.positions[0],
        pair_v=(near[0], far[0]),
        shares=(near[1] / total, far[1] / total) if total > 0 else (0.0, 0.0),
        shape=one.shape,
        bic_gain=gain,
    )


def resampled_pairs(
    bias_v: Array, rows: Array, sign: int, options: EdgeOptions, shape: LineShape | None, start: SideFit
) -> Array:
    """Return the two edges of each spectrum, NaN where the fit fails.

    That there are two was decided on the average; resamples in which one set would do count as well, or the spread
    would be that of the clearest cases.

    Parameters
    ----------
    rows : (b, n) float
        Resampled averages, A/V.
    start
        The fit of the average.

    Returns
    -------
    (b, 2) float
        Nearer and farther edge, V of bias.
    """
    found = np.full((len(rows), 2), np.nan)
    for index, row in enumerate(rows):
        fit = fit_side(bias_v, row, sign, options, shape, start)
        if fit is not None:
            found[index] = sign * np.array(fit.pair_v)
    return found


@dataclass(frozen=True, slots=True)
class _Fit:
    positions: tuple[float, ...]
    heights: tuple[float, ...]
    shape: LineShape
    rss: float


def first_feature(x: Array, y: Array, bandwidth_v: float) -> int | None:
    """Return the index of the first peak or shoulder: the first strong maximum of -d²y/dx²."""
    step = float(x[1] - x[0])
    curvature = -gaussian_filter1d(y, bandwidth_v / step, order=2, mode="nearest")
    peaks, found = find_peaks(curvature, prominence=np.finfo(float).tiny)
    if not len(peaks):
        return None
    strong = found["prominences"] >= MIN_CURVATURE * found["prominences"].max()
    strong &= y[peaks] >= MIN_HEIGHT * y.max()
    return int(peaks[np.argmax(strong)]) if strong.any() else None


def _window(x: Array, y: Array, feature: int) -> slice:
    """Return from the foot of the first feature out to the valley behind the last peak that may be an edge."""
    low = np.flatnonzero(y[:feature] < 0.05 * y[feature])
    begin = int(low[-1]) if len(low) else 0
    last = int(np.searchsorted(x, x[feature] + MAX_OFFSET_V))
    valleys = [int(i) for i in argrelmin(y, order=3)[0] if i > feature and y[i] < 0.9 * y[feature]]
    return slice(begin, min(valleys[0] if valleys else len(x) - 1, last) + 1)


def _best(x: Array, y: Array, starts: list[tuple[float, ...]], shape: LineShape | None) -> _Fit | None:
    fits = [fit for start in starts if (fit := _fit(x, y, start, shape)) is not None]
    return min(fits, key=lambda fit: fit.rss, default=None)


def _fit(x: Array, y: Array, start: tuple[float, ...], shape: LineShape | None) -> _Fit | None:
    n = len(start)
    guess = [*start, *(1.0 / n for _ in start), 0.02, 0.05]
    low = [x[0]] * n + [0.0] * n + [0.0, 0.01]
    high = [x[-1]] * n + [5.0] * n + [5.0, 0.5]
    if shape is None:
        guess, low, high = [*guess, 0.08, 0.2], [*low, 0.01, 0.0], [*high, 0.4, 2.0]
    guess = list(np.clip(guess, np.array(low) + 1e-9, np.array(high) - 1e-9))

    def residuals(p: Array) -> Array:
        sigma, step = (p[-2], p[-1]) if shape is None else (shape.sigma_v, shape.step)
        model = p[2 * n] * np.exp((x - x[-1]) / p[2 * n + 1])
        for position, height in zip(p[:n], p[n : 2 * n], strict=True):
            u = (x - position) / sigma
            model = model + height * (np.exp(-0.5 * u**2) + step * 0.5 * (1 + erf(u / math.sqrt(2))))
        return np.asarray(model - y, dtype=np.float64)

    try:
        found = least_squares(residuals, guess, bounds=(low, high), max_nfev=200)
    except ValueError:
        return None
    p = found.x
    used = LineShape(float(p[-2]), float(p[-1])) if shape is None else shape
    return _Fit(tuple(float(v) for v in p[:n]), tuple(float(v) for v in p[n : 2 * n]), used, float(2 * found.cost))
