"""DFT beside STS on the bias axis: a computed density of states through the tunnel junction, fitted to dI/dV.

The current is I(V) ∝ ∫ρ(E) [f(E - eV) - f(E)] T(E, V) dE with a structureless tip, and dI/dV its derivative, seen
through the modulation or the derivative's own bandwidth.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy.constants import e, hbar, m_e, physical_constants
from scipy.ndimage import gaussian_filter1d
from scipy.optimize import least_squares
from scipy.special import expit

from corecrown.errors import InputError
from corecrown.postprocess.sts.spectra import modulation_width_ev

__all__ = ["Junction", "OverlayDos", "OverlayFit", "fit_overlay", "fitted_didv", "overlay_dos", "simulate_didv"]

Array = NDArray[np.float64]
BOLTZMANN_EV = physical_constants["Boltzmann constant in eV/K"][0]
WAVE_NUMBER = math.sqrt(2 * m_e * e) / hbar * 1e-9
"""κ of a barrier of 1 eV, 1/nm."""

START_OFFSETS_EV = (0.0, -0.2, -0.4, 0.2, 0.4)
"""Scissors that a fit starts from, added to the one that makes the gaps equal."""

SAME_MINIMUM_EV = 0.02
SMALLEST_GAP_EV = 0.2


@dataclass(frozen=True, eq=False, slots=True)
class OverlayDos:
    """A density of states relative to the valence edge.

    Attributes
    ----------
    energies_ev : (n,) float
        Ascending, zero at the valence edge.
    total : (n,) float
        States/eV, both spins.
    gap_ev
        Width of the gap.
    parts
        By element or orbital, (n,) each.
    """

    energies_ev: Array
    total: Array
    gap_ev: float
    parts: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Junction:
    """What the states are seen through.

    Attributes
    ----------
    distance_nm, barrier_ev
        Width and mean height (of both work functions) of the vacuum barrier; distance None for no transmission.
    modulation_v, bandwidth_v
        Peak amplitude of the lock-in, or bandwidth (full width) of the numerical derivative.
    """

    temperature_k: float
    distance_nm: float | None = None
    barrier_ev: float = 4.5
    modulation_v: float | None = None
    bandwidth_v: float | None = None


class OverlayFit(BaseModel):
    """A computed density of states moved onto a measured spectrum."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    shift_ev: float = Field(description="of the valence edge from E_F, eV")
    scissor_ev: float = Field(description="added to the computed gap, eV")
    shift_error_ev: float | None = Field(None, description="standard error over resampled spectra, or of the fit")
    scissor_error_ev: float | None = None
    heights: tuple[float, float] = Field(description="of valence and conduction states, unit of dI/dV over simulated")
    r_squared: float
    range_v: tuple[float, float] | None = Field(None, description="bias range that was fitted, V")
    notes: list[str] = Field(default_factory=list)


def overlay_dos(dos: Any, gap_ev: float | None = None, vbm_ev: float | None = None) -> OverlayDos:
    """Take a pymatgen ``CompleteDos`` (or ``Dos``) to the form used here.

    Parameters
    ----------
    dos
        A pymatgen density of states.
    gap_ev, vbm_ev
        Gap and valence edge from bands, eV, where they are known better than from the density of states.

    Raises
    ------
    InputError
        If it has no gap.
    """
    cbm, vbm = dos.get_cbm_vbm()
    vbm = float(vbm) if vbm_ev is None else vbm_ev
    gap = float(cbm) - vbm if gap_ev is None else gap_ev
    if gap <= 0:
        raise InputError("the density of states has no gap", "an overlay needs a valence and a conduction edge")
    parts: dict[str, Array] = {}
    if hasattr(dos, "get_element_dos"):
        parts = {str(element): _spins(part.densities) for element, part in dos.get_element_dos().items()}
    return OverlayDos(np.asarray(dos.energies, dtype=np.float64) - vbm, _spins(dos.densities), gap, parts)


def simulate_didv(
    bias_v: Array,
    dos: OverlayDos,
    junction: Junction,
    shift_ev: float,
    scissor_ev: float = 0.0,
    part: str | None = None,
) -> Array:
    """Return dI/dV of a computed density of states in a tunnel junction, arbitrary units.

    Parameters
    ----------
    bias_v : (n,) float
        Uniform, V.
    shift_ev
        Where the valence edge lies from E_F of the metal, eV.
    scissor_ev
        Added to the gap.
    part
        A name of ``dos.parts`` instead of the total.

    Raises
    ------
    InputError
        If there is no such part, or the density of states does not reach over the bias range.
    """
    if part is not None and part not in dos.parts:
        raise InputError(f"no projection on {part!r}", f"there are {', '.join(dos.parts) or 'none'}")
    return _Response.of(bias_v, junction).seen(dos, shift_ev, scissor_ev, part)


@dataclass(frozen=True, eq=False, slots=True)
class _Response:
    """What a junction makes of states: a matrix from the density on an energy grid to dI/dV, since all of it is linear.

    Attributes
    ----------
    bias_v : (n,) float
    grid_ev : (m,) float
        Energies from E_F of the metal.
    matrix : (n, m) float
    """

    bias_v: Array
    grid_ev: Array
    matrix: Array

    @classmethod
    def of(cls, bias_v: Array, junction: Junction) -> "_Response":
        thermal = BOLTZMANN_EV * junction.temperature_k
        grid = np.arange(bias_v[0] - 10 * thermal, bias_v[-1] + 10 * thermal, min(thermal / 3, 0.005))
        step = float(bias_v[1] - bias_v[0])
        bias = np.concatenate([[bias_v[0] - step], bias_v, [bias_v[-1] + step]])
        window = expit((bias[:, None] - grid) / thermal) - expit(-grid / thermal)
        if junction.distance_nm is not None:
            height = np.maximum(junction.barrier_ev + bias[:, None] / 2 - grid, 0.05)
            deepest = math.sqrt(junction.barrier_ev)
            window = window * np.exp(-2 * WAVE_NUMBER * junction.distance_nm * (np.sqrt(height) - deepest))
        trapezoid = np.full(len(grid), grid[1] - grid[0])
        trapezoid[[0, -1]] /= 2
        matrix = (window[2:] - window[:-2]) / (2 * step) * trapezoid
        width = _instrument_width(junction)
        if width > 0:
            matrix = gaussian_filter1d(matrix, width / 2.3548 / step, axis=0, mode="nearest")
        return cls(bias_v, grid, np.asarray(matrix, dtype=np.float64))

    def seen(self, dos: OverlayDos, shift_ev: float, scissor_ev: float, part: str | None = None) -> Array:
        """Return dI/dV of a density of states moved by a shift and a scissor."""
        density = dos.total if part is None else dos.parts[part]
        energies = dos.energies_ev + shift_ev + np.where(dos.energies_ev > dos.gap_ev / 2, scissor_ev, 0.0)
        if energies[0] > self.grid_ev[0] or energies[-1] < self.grid_ev[-1]:
            raise InputError(
                f"the density of states spans {energies[0]:.2f} to {energies[-1]:.2f} eV, the bias needs "
                f"{self.grid_ev[0]:.2f} to {self.grid_ev[-1]:.2f} eV",
                "compute more empty bands, or cut the bias range",
            )
        return np.asarray(self.matrix @ np.interp(self.grid_ev, energies, density), dtype=np.float64)

    def sides(self, dos: OverlayDos, moved: tuple[float, float], part: str | None = None) -> Array:
        """Return (2, n): what valence and conduction states give, parted at the middle of the gap."""
        simulated = self.seen(dos, moved[0], moved[1], part)
        middle = moved[0] + (dos.gap_ev + moved[1]) / 2
        return np.stack(
            [np.where(self.bias_v < middle, simulated, 0.0), np.where(self.bias_v < middle, 0.0, simulated)]
        )


def fit_overlay(
    bias_v: Array,
    didv: Array,
    dos: OverlayDos,
    junction: Junction,
    edges_v: tuple[float, float],
    *,
    resampled: Array | None = None,
    reach_v: float = 0.3,
) -> OverlayFit:
    """Fit rigid shift and scissor of a computed density of states to a measured dI/dV.

    The flanks of both edges are fitted, each with a height of its own (matrix elements are not computed): from the
    middle of the gap to a little beyond the first peaks.

    Parameters
    ----------
    bias_v, didv : (n,) float
        Averaged spectrum.
    edges_v
        Measured valence and conduction edge, V: where the fit starts.
    resampled : (b, n) float, optional
        Resampled averages; their fits give the standard errors. Without them the errors are those of least squares,
        which neighbouring points (one bandwidth) make too small.
    reach_v
        How far beyond an edge the spectrum is fitted, V.

    Raises
    ------
    InputError
        If the density of states does not reach over the fitted range.
    """
    inside = (bias_v >= edges_v[0] - reach_v) & (bias_v <= edges_v[1] + reach_v)
    bias, measured = bias_v[inside], didv[inside]
    if len(bias) < 20:
        raise InputError("too few points between the edges", "check the edges and the sweeps")
    start = (edges_v[0], edges_v[1] - edges_v[0] - dos.gap_ev)
    response = _Response.of(bias, junction)
    (best, heights, errors), *others = _minima(response, measured, dos, start)
    notes = ["heights of the two edges fitted apart: tunnelling matrix elements are not computed"]
    r_squared = _r_squared(response, measured, dos, best, heights)
    for moved, other_heights, _ in others:
        another = _r_squared(response, measured, dos, moved, other_heights)
        notes.append(f"another minimum: shift {moved[0]:+.2f} eV, scissor {moved[1]:+.2f} eV, R² {another:.2f}")
    if resampled is not None and len(resampled) > 1:
        many = np.array([_fit(response, row[inside], dos, best)[0] for row in resampled])
        errors = (float(many[:, 0].std(ddof=1)), float(many[:, 1].std(ddof=1)))
    else:
        notes.append("standard errors of least squares: too small, since neighbouring points are not independent")
    return OverlayFit(
        shift_ev=best[0],
        scissor_ev=best[1],
        shift_error_ev=errors[0],
        scissor_error_ev=errors[1],
        heights=(float(heights[0]), float(heights[1])),
        r_squared=r_squared,
        range_v=(float(bias[0]), float(bias[-1])),
        notes=notes,
    )


def fitted_didv(bias_v: Array, dos: OverlayDos, junction: Junction, fit: OverlayFit, part: str | None = None) -> Array:
    """Return a computed dI/dV as fitted, total or one part of it, in the unit of the measured one."""
    sides = _Response.of(bias_v, junction).sides(dos, (fit.shift_ev, fit.scissor_ev), part)
    return np.asarray(np.array(fit.heights) @ sides, dtype=np.float64)


_Moved = tuple[float, float]
_Fit = tuple[_Moved, Array, tuple[float | None, float | None]]


def _minima(response: _Response, measured: Array, dos: OverlayDos, start: _Moved) -> list[_Fit]:
    """Return the minima found from several scissors, the deepest first, each once.

    A peak of the density of states may come to lie under the measured one, or its flank: each is a minimum.
    """
    found: list[_Fit] = []
    refused: InputError | None = None
    for offset in START_OFFSETS_EV:
        if dos.gap_ev + start[1] + offset < SMALLEST_GAP_EV:
            continue
        try:
            one = _fit(response, measured, dos, (start[0], start[1] + offset))
        except InputError as error:  # so far from the start the density of states may not reach over the bias
            refused = refused or error
            continue
        if not any(np.allclose(one[0], other[0], atol=SAME_MINIMUM_EV) for other in found):
            found.append(one)
    if not found:
        raise refused or InputError("the gap is too small for an overlay", "check the edges")
    return sorted(found, key=lambda fit: -_r_squared(response, measured, dos, fit[0], fit[1]))


def _r_squared(response: _Response, measured: Array, dos: OverlayDos, moved: _Moved, heights: Array) -> float:
    total = float(((measured - measured.mean()) ** 2).sum())
    misfit = float(((measured - heights @ response.sides(dos, moved)) ** 2).sum())
    return 1 - misfit / total if total > 0 else 0.0


def _fit(response: _Response, measured: Array, dos: OverlayDos, start: _Moved) -> _Fit:
    size = float(np.abs(measured).max()) or 1.0

    def heights(p: Array) -> Array:
        sides = response.sides(dos, (float(p[0]), float(p[1])))
        return np.asarray(np.linalg.lstsq(sides.T, measured, rcond=None)[0], dtype=np.float64)

    def misfit(p: Array) -> Array:
        model = heights(p) @ response.sides(dos, (float(p[0]), float(p[1])))
        return np.asarray((model - measured) / size, dtype=np.float64)

    found = least_squares(misfit, start, x_scale=0.05, diff_step=1e-3)
    freedom = max(len(measured) - 4, 1)
    variance = 2 * found.cost / freedom
    normal = found.jac.T @ found.jac
    errors: tuple[float | None, float | None] = (None, None)
    if np.linalg.cond(normal) < 1e12:
        spread = np.sqrt(np.diag(np.linalg.inv(normal)) * variance)
        errors = (float(spread[0]), float(spread[1]))
    return (float(found.x[0]), float(found.x[1])), heights(found.x), errors


def _instrument_width(junction: Junction) -> float:
    widths = [
        0.0 if junction.modulation_v is None else modulation_width_ev(junction.modulation_v),
        junction.bandwidth_v or 0.0,
    ]
    return math.hypot(*widths)


def _spins(densities: Mapping[Any, Any]) -> Array:
    return np.asarray(sum(np.asarray(part, dtype=np.float64) for part in densities.values()), dtype=np.float64)
