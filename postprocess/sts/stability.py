"""What repeated sweeps of one platelet do to it: gap, and states in the gap of the first sweep."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from corecrown.errors import InputError
from corecrown.postprocess.sts.edges import EdgeOptions, find_edges
from corecrown.postprocess.sts.model import Sweep
from corecrown.postprocess.sts.results import StabilityPoint
from corecrown.postprocess.sts.spectra import DerivativeKind, differentiate, stack_sweeps
from corecrown.postprocess.sts.traps import window_integral

__all__ = ["stability"]


def stability(
    sweeps: Sequence[Sweep],
    method: str,
    options: EdgeOptions,
    bandwidth_v: float,
    kind: DerivativeKind = DerivativeKind.SAVITZKY_GOLAY,
) -> list[StabilityPoint]:
    """Follow the gap and the states in the first gap over the sweep number.

    Platelets that were swept as often as the group allows are averaged at each number, so that every number
    has the same platelets.

    Parameters
    ----------
    sweeps
        Of one platelet or a group.
    method, options
        How edges are found.

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
    kept = np.array([sweep.number for sweep in stack.sweeps])
    points: list[StabilityPoint] = []
    window: tuple[float, float] | None = None
    first: float | None = None
    for number in numbers:
        rows = np.flatnonzero(kept == number)
        if not len(rows):
            points.append(StabilityPoint(sweep=number, gap_ev=None, in_gap_dos=None, n_platelets=0))
            continue
        spectrum = _mean_derivative(stack.bias_v, stack.current_a[rows], bandwidth_v, kind)
        edges = find_edges(stack.bias_v, spectrum, method, options)
        if number == numbers[0] and edges.vbm_v is not None and edges.cbm_v is not None:
            window = (edges.vbm_v, edges.cbm_v)
        inside = None if window is None else float(window_integral(stack.bias_v, spectrum, window))
        first = inside if number == numbers[0] else first
        points.append(
            StabilityPoint(
                sweep=number,
                gap_ev=edges.gap_ev,
                in_gap_dos=inside,
                relative_dos=inside / first if inside is not None and first is not None and first > 0 else None,
                n_platelets=len({stack.sweeps[row].platelet for row in rows}),
            )
        )
    return points


def _mean_derivative(
    bias_v: NDArray[np.float64], rows: NDArray[np.float64], bandwidth_v: float, kind: DerivativeKind
) -> NDArray[np.float64]:
    return differentiate(bias_v, rows.mean(axis=0), bandwidth_v, kind)[0]
