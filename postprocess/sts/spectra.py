"""From sweeps to spectra: one bias grid, derivatives of a stated bandwidth, normalisation, noise and outliers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import make_smoothing_spline
from scipy.ndimage import gaussian_filter1d
from scipy.optimize import brentq
from scipy.signal import savgol_coeffs, savgol_filter

from corecrown.errors import InputError
from corecrown.postprocess.sts.model import MIN_POINTS, Skipped, Sweep

__all__ = [
    "DerivativeKind",
    "LockinCalibration",
    "Outlier",
    "Stack",
    "calibrate_lockin",
    "current_noise",
    "derivative_noise",
    "differentiate",
    "find_outliers",
    "modulation_width_ev",
    "normalise_to_set_point",
    "normalised_conductance",
    "stack_sweeps",
]

Array = NDArray[np.float64]

MAD_TO_SIGMA = 1.4826
"""Standard deviation over median absolute deviation of a normal distribution."""

JUMP_LIMIT = 15.0
SCALE_LIMIT = 6.0
MIN_FOR_OUTLIERS = 6


class DerivativeKind(StrEnum):
    """How dI/dV is taken from I(V)."""

    SAVITZKY_GOLAY = "savitzky-golay"
    SPLINE = "smoothing-spline"


@dataclass(frozen=True, eq=False, slots=True)
class Stack:
    """Sweeps on one uniform grid.

    Attributes
    ----------
    bias_v : (n,) float
        Uniform and ascending, V.
    current_a : (m, n) float
        One row a sweep, A.
    sweeps
        The m sweeps, in the order of the rows.
    """

    bias_v: Array
    current_a: Array
    sweeps: tuple[Sweep, ...]

    @property
    def step_v(self) -> float:
        """Distance between points of the grid, V."""
        return float(self.bias_v[1] - self.bias_v[0])


@dataclass(frozen=True, slots=True)
class Outlier:
    """A sweep that differs from its group."""

    index: int
    reason: str


@dataclass(frozen=True, slots=True)
class LockinCalibration:
    """What turns a lock-in channel into a conductance: S = factor · (channel - offset)."""

    factor: float
    offset: float
    r_squared: float


def stack_sweeps(sweeps: Sequence[Sweep]) -> tuple[Stack, list[Skipped]]:
    """Put sweeps on one uniform grid over the bias range that nine of ten of them cover.

    Returns
    -------
    stack, left_out
        Sweeps that do not cover the range are left out, with the reason.

    Raises
    ------
    InputError
        If there are no sweeps, or they share no range.
    """
    if not sweeps:
        raise InputError("a group holds no usable sweep", "check the files and patterns")
    low = float(np.quantile([sweep.bias_v[0] for sweep in sweeps], 0.9, method="higher"))
    high = float(np.quantile([sweep.bias_v[-1] for sweep in sweeps], 0.1, method="lower"))
    points = int(np.median([len(sweep.bias_v) for sweep in sweeps]))
    if not high > low or points < MIN_POINTS:
        raise InputError("the sweeps of a group share no range of bias", "analyse them as separate groups")
    grid = np.linspace(low, high, points)
    slack = 1e-6 * (high - low)
    rows: list[Array] = []
    kept: list[Sweep] = []
    left_out: list[Skipped] = []
    for sweep in sweeps:
        bias = sweep.bias_v
        if bias[0] > low + slack or bias[-1] < high - slack:
            span = f"bias from {bias[0]:g} to {bias[-1]:g} V does not cover {low:g} to {high:g} V of the group"
            left_out.append(Skipped(_named(sweep), span))
            continue
        same = len(bias) == points and np.allclose(bias, grid, rtol=0, atol=slack)
        rows.append(sweep.current_a if same else np.interp(grid, bias, sweep.current_a))
        kept.append(sweep)
    return Stack(grid, np.array(rows), tuple(kept)), left_out


def differentiate(
    bias_v: Array,
    current_a: Array,
    bandwidth_v: float,
    kind: DerivativeKind = DerivativeKind.SAVITZKY_GOLAY,
) -> tuple[Array, float]:
    """Return dI/dV and the bandwidth it really has.

    Parameters
    ----------
    bias_v : (n,) float
        Uniform and ascending, V.
    current_a : (..., n) float
        Current, A.
    bandwidth_v
        Full width at half maximum of the kernel that smooths the true dI/dV, V.
    kind
        A Savitzky-Golay slope (its kernel is a parabola of half-width FWHM/√2), or a cubic smoothing spline
        (its kernel is that of 1/(1 + λhω⁴)).

    Returns
    -------
    didv : (..., n) float
        A/V.
    bandwidth_v
        As the window of odd points allows, or as asked for a spline.
    """
    step = _uniform_step(bias_v)
    if kind is DerivativeKind.SPLINE:
        spline = make_smoothing_spline(bias_v, np.moveaxis(current_a, -1, 0), lam=_spline_penalty(bandwidth_v, step))
        return np.moveaxis(np.asarray(spline.derivative()(bias_v), dtype=np.float64), 0, -1), bandwidth_v
    window = _window(bandwidth_v, step, len(bias_v))
    slope = savgol_filter(current_a, window, 2, deriv=1, delta=step, axis=-1, mode="interp")
    return np.asarray(slope, dtype=np.float64), math.sqrt(2) * (window // 2 + 0.5) * step


def current_noise(current_a: Array) -> Array:
    """Return the standard deviation of the noise of each row: from its second differences, A.

    The median absolute second difference of a smooth signal is that of √6 times white noise.
    """
    second = np.diff(current_a, n=2, axis=-1)
    spread = np.median(np.abs(second - np.median(second, axis=-1, keepdims=True)), axis=-1)
    return np.asarray(MAD_TO_SIGMA * spread / math.sqrt(6), dtype=np.float64)


def derivative_noise(bias_v: Array, current_noise_a: Array | float, bandwidth_v: float) -> Array:
    """Return the standard deviation that white noise of the current leaves on a Savitzky-Golay dI/dV, A/V."""
    step = _uniform_step(bias_v)
    weights = savgol_coeffs(_window(bandwidth_v, step, len(bias_v)), 2, deriv=1, delta=step)
    return np.asarray(current_noise_a) * float(np.linalg.norm(weights))


def find_outliers(stack: Stack) -> list[Outlier]:
    """Return sweeps in which the tip changed, or whose size or balance of the two sides is far from the group's.

    A tip change is a jump of the current within one step; drift and lost contact show as a side whose mean
    current is more than six robust standard deviations (of its logarithm) from the median of the group. Fewer
    than six sweeps are not judged.
    """
    if len(stack.sweeps) < MIN_FOR_OUTLIERS:
        return []
    found: dict[int, str] = {}
    size = np.quantile(np.abs(stack.current_a), 0.9, axis=1, keepdims=True)
    jumps = np.abs(np.diff(stack.current_a, n=2, axis=1)) / np.where(size > 0, size, 1.0)
    usual = np.median(jumps, axis=0) + np.median(jumps, axis=1, keepdims=True)
    large = (jumps / np.where(usual > 0, usual, np.inf)).max(axis=1)
    strong = jumps.max(axis=1) > 0.02
    for index in np.flatnonzero((large > JUMP_LIMIT) & strong):
        found[int(index)] = "tip change: the current jumps"
    for name, side in (("negative", stack.bias_v < 0), ("positive", stack.bias_v > 0)):
        if not side.any():
            continue
        level = np.log10(np.maximum(np.abs(stack.current_a[:, side].mean(axis=1)), 1e-18))
        centre = np.median(level)
        spread = max(MAD_TO_SIGMA * float(np.median(np.abs(level - centre))), 0.02)
        for index in np.flatnonzero(np.abs(level - centre) > SCALE_LIMIT * spread):
            found.setdefault(int(index), f"drift or lost contact: current at {name} bias far from the group's")
    return [Outlier(index, reason) for index, reason in sorted(found.items())]


def calibrate_lockin(bias_v: Array, current_a: Array, lockin: Array, bandwidth_v: float) -> LockinCalibration:
    """Fit the factor and offset that bring a lock-in channel onto the numerical derivative.

    Parameters
    ----------
    bias_v, current_a, lockin : (n,) float
        One sweep, or averages of several.

    Raises
    ------
    InputError
        If the channel does not vary.
    """
    slope, _ = differentiate(bias_v, current_a, bandwidth_v)
    smooth = gaussian_filter1d(lockin, bandwidth_v / 2.355 / _uniform_step(bias_v), mode="nearest")
    if float(np.ptp(smooth)) == 0:
        raise InputError("the lock-in channel does not vary", "use the numerical derivative")
    factor, constant = np.polyfit(smooth, slope, 1)
    left = slope - (factor * smooth + constant)
    total = float(((slope - slope.mean()) ** 2).sum())
    if factor == 0 or total == 0:
        raise InputError("current and lock-in channel are not related", "use the numerical derivative")
    return LockinCalibration(float(factor), float(-constant / factor), 1 - float((left**2).sum()) / total)


def normalise_to_set_point(bias_v: Array, current_a: Array, set_point_v: float) -> tuple[Array, Array]:
    """Divide each sweep by its own current at the set point.

    Returns
    -------
    current : (m, n) float
        In units of the set-point current.
    reliable : (m,) bool
        False where the current at the set point is not five times the noise: inside the gap, for example.
    """
    if not bias_v[0] <= set_point_v <= bias_v[-1]:
        raise InputError(f"the set point {set_point_v:g} V lies outside the sweep", "choose a bias within it")
    rows = np.atleast_2d(current_a)
    at = np.array([np.interp(set_point_v, bias_v, row) for row in rows])
    reliable = np.abs(at) > 5 * current_noise(rows)
    return rows / np.where(reliable, at, np.nan)[:, None], reliable


def normalised_conductance(bias_v: Array, current_a: Array, didv: Array, broadening_v: float) -> Array:
    """Return (dI/dV) / (I/V) with the denominator broadened, so that it does not vanish in the gap.

    I/V is smoothed with exp(-|V|/ΔV) and joined in quadrature with a thousandth of its largest value.

    Parameters
    ----------
    bias_v : (n,) float
        Uniform, V.
    current_a, didv : (..., n) float
        A and A/V.
    broadening_v
        ΔV, about the width of the gap or half of it, V.

    Notes
    -----
    R. M. Feenstra, Phys. Rev. B 50, 4561 (1994).
    """
    if not broadening_v > 0:
        raise InputError(f"broadening_v is {broadening_v}", "about half the gap, in V")
    step = _uniform_step(bias_v)
    away = np.abs(bias_v) > step / 2
    ratio = np.where(away, current_a / np.where(away, bias_v, 1.0), didv)
    reach = np.arange(-math.ceil(6 * broadening_v / step), math.ceil(6 * broadening_v / step) + 1) * step
    kernel = np.exp(-np.abs(reach) / broadening_v)
    weight = np.convolve(np.ones_like(bias_v), kernel, mode="full")[len(reach) // 2 :][: len(bias_v)]
    rows = np.atleast_2d(ratio)
    smooth = np.array([np.convolve(row, kernel, mode="full")[len(reach) // 2 :][: len(bias_v)] for row in rows])
    broad = np.abs(smooth / weight)
    floor = 1e-3 * broad.max(axis=-1, keepdims=True)
    divisor = np.hypot(broad, floor).reshape(np.shape(ratio))
    return np.asarray(np.where(divisor > 0, didv, 0.0) / np.where(divisor > 0, divisor, 1.0), dtype=np.float64)


def modulation_width_ev(modulation_v: float) -> float:
    """Return the full width at half maximum that a lock-in modulation of peak amplitude V leaves: √3 V.

    The instrument function of the first harmonic is a half ellipse of half-width V, 2√(V² - E²)/πV²; J. Klein
    et al., Phys. Rev. B 7, 2336 (1973).
    """
    return math.sqrt(3) * modulation_v


def _uniform_step(bias_v: Array) -> float:
    steps = np.diff(bias_v)
    step = float(steps.mean())
    if not (step > 0 and np.allclose(steps, step, rtol=1e-3, atol=0)):
        raise InputError("the bias grid is not uniform", "stack the sweeps first")
    return step


def _window(bandwidth_v: float, step: float, points: int) -> int:
    """Return the odd number of points whose Savitzky-Golay slope has the bandwidth; at least 5."""
    if not bandwidth_v > 0:
        raise InputError(f"bandwidth_v is {bandwidth_v}", "give the width of the derivative's kernel in V, 0.05 say")
    half = max(round(bandwidth_v / (math.sqrt(2) * step) - 0.5), 2)
    window = 2 * half + 1
    if window > points:
        raise InputError(
            f"a bandwidth of {bandwidth_v:g} V needs {window} points, the sweeps have {points}",
            "ask for a narrower bandwidth or measure more points",
        )
    return window


def _spline_penalty(bandwidth_v: float, step: float) -> float:
    """Return λ of a cubic smoothing spline whose equivalent kernel has a full width at half maximum.

    With points at distance h the spline passes 1/(1 + λhω⁴); its kernel is
    exp(-|u|/√2) sin(|u|/√2 + π/4) / 2a with u = x/a and a⁴ = λh (B. W. Silverman, Ann. Stat. 12, 898 (1984)).
    """
    if not bandwidth_v > 0:
        raise InputError(f"bandwidth_v is {bandwidth_v}", "give the width of the derivative's kernel in V, 0.05 say")

    def excess(u: float) -> float:
        return math.exp(-u / math.sqrt(2)) * math.sin(u / math.sqrt(2) + math.pi / 4) - math.sin(math.pi / 4) / 2

    half = float(brentq(excess, 0.0, 3.0))
    return float((bandwidth_v / (2 * half)) ** 4 / step)


def _named(sweep: Sweep) -> str:
    if sweep.file is not None:
        return str(sweep.file)
    return sweep.platelet or "sweep"
