"""States in the gap: integrals of the normalised dI/dV, their change between groups, and what the answer hangs on."""

from collections.abc import Sequence
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy.signal import find_peaks

from corecrown.errors import InputError
from corecrown.postprocess.sts.edges import EdgeOptions, find_edges

__all__ = ["Normalisation", "change_map", "percent_changes", "trap_integrals", "window_integral"]

Array = NDArray[np.float64]


class Normalisation(StrEnum):
    """What dI/dV is divided by before the gap is integrated."""

    TALLEST_VALENCE = "tallest valence peak"
    FIRST_VALENCE = "first valence peak"
    TALLEST_CONDUCTION = "tallest conduction peak"
    NONE = "nothing"


def window_integral(bias_v: Array, didv: Array, window_v: tuple[float, float]) -> Array:
    """Integrate dI/dV over a window, its ends interpolated.

    Parameters
    ----------
    bias_v : (n,) float
        Ascending, V.
    didv : (..., n) float
        A/V.

    Raises
    ------
    InputError
        If the window is empty or reaches beyond the data.
    """
    low, high = window_v
    if not low < high:
        raise InputError(f"the window {low:g} to {high:g} V is empty", "give the lower end first")
    if low < bias_v[0] - 1e-9 or high > bias_v[-1] + 1e-9:
        raise InputError(
            f"the window {low:g} to {high:g} V reaches beyond the data ({bias_v[0]:g} to {bias_v[-1]:g} V)",
            "choose a window within the sweeps",
        )
    weights = _window_weights(bias_v, low, high)
    return np.asarray(didv @ weights, dtype=np.float64)


def trap_integrals(
    bias_v: Array,
    didv: Array,
    window_v: tuple[float, float],
    normalisation: Normalisation = Normalisation.TALLEST_VALENCE,
    options: EdgeOptions | None = None,
) -> Array:
    """Return the integral over the gap of each normalised spectrum, V (A where nothing is divided by).

    Parameters
    ----------
    didv : (b, n) float
        One spectrum a row; a spectrum without the peak to normalise by gives NaN.
    """
    rows = np.atleast_2d(didv)
    total = window_integral(bias_v, rows, window_v)
    options = options or EdgeOptions()
    heights = np.array([_height(bias_v, row, normalisation, options) for row in rows])
    return np.asarray(total / np.where(heights > 0, heights, np.nan), dtype=np.float64)


def percent_changes(reference: Array, group: Array) -> Array:
    """Return 100 (group / reference - 1), element by element; NaN where the reference is not positive."""
    return np.asarray(100 * (group / np.where(reference > 0, reference, np.nan) - 1), dtype=np.float64)


def change_map(
    bias_v: tuple[Array, Array],
    didv: tuple[Array, Array],
    lows_v: Sequence[float],
    highs_v: Sequence[float],
    options: tuple[EdgeOptions, EdgeOptions],
) -> dict[Normalisation, Array]:
    """Return how the change between two groups depends on window and normalisation.

    Parameters
    ----------
    bias_v, didv
        Grid and averaged spectrum, (n,), of reference and group.
    lows_v, highs_v
        Ends of the windows, V.

    Returns
    -------
    dict of (len(lows), len(highs)) float
        Change in percent; NaN where a window is empty or beyond the data.
    """
    heights = {
        kind: [_height(b, d, kind, o) for b, d, o in zip(bias_v, didv, options, strict=True)] for kind in Normalisation
    }
    maps = {kind: np.full((len(lows_v), len(highs_v)), np.nan) for kind in Normalisation}
    for i, low in enumerate(lows_v):
        for j, high in enumerate(highs_v):
            if not all(b[0] <= low < high <= b[-1] for b in bias_v):
                continue
            areas = [float(window_integral(b, d, (low, high))) for b, d in zip(bias_v, didv, strict=True)]
            for kind, (first, second) in heights.items():
                if first > 0 and second > 0 and areas[0] > 0:
                    maps[kind][i, j] = 100 * ((areas[1] / second) / (areas[0] / first) - 1)
    return maps


def _height(bias_v: Array, didv: Array, normalisation: Normalisation, options: EdgeOptions) -> float:
    """Return the height of the peak to divide by; NaN where there is none."""
    if normalisation is Normalisation.NONE:
        return 1.0
    if normalisation is Normalisation.FIRST_VALENCE:
        edge = find_edges(bias_v, didv, "first-peak", options).vbm_v
        return float("nan") if edge is None else float(np.interp(edge, bias_v, didv))
    sign = -1 if normalisation is Normalisation.TALLEST_VALENCE else 1
    side = didv[sign * bias_v > 0]
    peaks, _ = find_peaks(side, prominence=max(5 * options.noise, np.finfo(float).tiny))
    return float(side[peaks].max()) if len(peaks) else float("nan")


def _window_weights(bias_v: Array, low: float, high: float) -> Array:
    """Return w with w · y the trapezoidal integral of the piecewise linear y from low to high."""
    points = np.unique(np.concatenate([[low], bias_v[(bias_v > low) & (bias_v < high)], [high]]))
    share = np.zeros(len(points))
    share[:-1] += np.diff(points) / 2
    share[1:] += np.diff(points) / 2
    right = np.clip(np.searchsorted(bias_v, points), 1, len(bias_v) - 1)
    part = (points - bias_v[right - 1]) / (bias_v[right] - bias_v[right - 1])
    weights = np.zeros(len(bias_v))
    np.add.at(weights, right - 1, share * (1 - part))
    np.add.at(weights, right, share * part)
    return weights
