"""What repeated sweeps of one platelet do to it: gap, and states in the gap of the first sweep."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from corecrown.errors import InputError
from corecrown.postprocess.sts.edges import EdgeOptions, find_edges
from corecrown.postprocess.sts.model import Sweep
from corecrown.postprocess.sts.results import StabilityPoint
from corecrown.postprocess.sts.spectra import (
    DerivativeKind,
    current_noise,
    derivative_noise,
    differentiate,
    stack_sweeps,
)
from corecrown.postprocess.sts.traps import window_integral

__all__ = ["stability"]

FEW_PLATELETS = 10
ROUNDING = 1e-9
"""Noise of sweeps without noise, as a part of the largest dI/dV."""


def stability(
    sweeps: Sequence[Sweep],
    method: str,
    averaged: EdgeOptions,
    single: EdgeOptions,
    kind: DerivativeKind = DerivativeKind.SAVITZKY_GOLAY,
    *,
    n_resamples: int = 200,
    seed: int = 0,
) -> list[StabilityPoint]:
    """Follow the gap and the states in the first gap over the sweep number.

    Platelets that were swept as often as the group allows are averaged at each number, so that every number
    has the same platelets.

    Parameters
    ----------
    sweeps
        Of one platelet or a group.
    method
        How edges are found.
    averaged, single
        Prominence and bandwidth for averages, and for fewer than ten platelets, whose spectra are noisier. The noise is
        that of the sweeps themselves.
    n_resamples, seed
        Of platelets, for standard errors; one platelet has none.

    Returns
    -------
    list
        One point a sweep number; empty where no platelet was swept twice.
    """
    numbers = sorted({sweep.number for sweep in sweeps})
    by_platelet: dict[str, set[int]] = {}
    for sweep in sweeps:
        by_platelet.setdefault(sweep.platelet, set()).add(sweep.number)
    complete = {name for name, found in by_platelet.items() if len(found) == len(numbers)}
    if len(numbers) < 2 or not complete:
        return []
    try:
        stack, _ = stack_sweeps([sweep for sweep in sweeps if sweep.platelet in complete])
    except InputError:
        return []
    platelets = sorted({sweep.platelet for sweep in stack.sweeps})
    chosen = averaged if len(platelets) >= FEW_PLATELETS else single
    bandwidth_v = chosen.bandwidth_v
    # (number, platelet, bias): the mean of the sweeps that a platelet has of a number
    spectra = np.full((len(numbers), len(platelets), len(stack.bias_v)), np.nan)
    for i, number in enumerate(numbers):
        for j, platelet in enumerate(platelets):
            rows = [k for k, one in enumerate(stack.sweeps) if (one.number, one.platelet) == (number, platelet)]
            if rows:
                spectra[i, j] = _mean_derivative(stack.bias_v, stack.current_a[rows], bandwidth_v, kind)
    spectra = spectra[:, ~np.isnan(spectra).any(axis=(0, 2))]
    n_platelets = spectra.shape[1]
    if not n_platelets:
        return []
    noise = derivative_noise(stack.bias_v, float(np.median(current_noise(stack.current_a))), bandwidth_v)
    rounding = ROUNDING * float(np.abs(spectra).max())
    options = replace(chosen, noise=max(float(noise) / math.sqrt(n_platelets), rounding))
    gaps, inside = _follow(stack.bias_v, spectra.mean(axis=1), method, options)
    errors: list[tuple[float | None, float | None]] = [(None, None)] * len(numbers)
    reason = "one platelet: how platelets differ is not known" if n_platelets == 1 else None
    if n_platelets > 1 and n_resamples > 1:
        random = np.random.default_rng(seed)
        drawn = random.integers(n_platelets, size=(n_resamples, n_platelets))
        many = [_follow(stack.bias_v, spectra[:, draw].mean(axis=1), method, options) for draw in drawn]
        errors = [
            (_spread([one[0][i] for one in many]), _spread([_relative(one[1], i) for one in many]))
            for i in range(len(numbers))
        ]
    elif n_platelets > 1:
        reason = "no resamples"
    return [
        StabilityPoint(
            sweep=number,
            gap_ev=gaps[i],
            in_gap_dos=inside[i],
            relative_dos=_relative(inside, i),
            n_platelets=n_platelets,
            gap_error_ev=errors[i][0],
            relative_dos_error=errors[i][1],
            reason=reason,
        )
        for i, number in enumerate(numbers)
    ]


def _follow(
    bias_v: NDArray[np.float64], spectra: NDArray[np.float64], method: str, options: EdgeOptions
) -> tuple[list[float | None], list[float | None]]:
    """Return the gap of each spectrum, and the integral of each over the gap of the first."""
    edges = [find_edges(bias_v, spectrum, method, options) for spectrum in spectra]
    gaps = [found.gap_ev for found in edges]
    first = edges[0]
    if first.vbm_v is None or first.cbm_v is None:
        return gaps, [None] * len(gaps)
    return gaps, [float(window_integral(bias_v, one, (first.vbm_v, first.cbm_v))) for one in spectra]


def _relative(inside: list[float | None], index: int) -> float | None:
    first, here = inside[0], inside[index]
    return here / first if first is not None and here is not None and first > 0 else None


def _spread(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.std(known, ddof=1)) if len(known) > 1 and len(known) >= 0.9 * len(values) else None


def _mean_derivative(
    bias_v: NDArray[np.float64], rows: NDArray[np.float64], bandwidth_v: float, kind: DerivativeKind
) -> NDArray[np.float64]:
    return differentiate(bias_v, rows.mean(axis=0), bandwidth_v, kind)[0]
