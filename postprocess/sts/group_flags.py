"""What to keep in mind about one group: humps and shoulders, blends, the set point, sweeps against their average."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from corecrown.postprocess.sts.edges import EdgeOptions, find_edges
from corecrown.postprocess.sts.mixture import first_feature
from corecrown.postprocess.sts.model import Sweep
from corecrown.postprocess.sts.results import BySweep, EdgeSet, SecondEdges
from corecrown.postprocess.sts.spectra import Stack

__all__ = ["common_value", "edge_flags", "spread_flags"]

Array = NDArray[np.float64]


def common_value(sweeps: Sequence[Sweep], name: str) -> float | None:
    """Return a number that all sweeps agree on, or None."""
    values = {getattr(sweep, name) for sweep in sweeps}
    return values.pop() if len(values) == 1 else None


def edge_flags(stack: Stack, mean: Array, main: EdgeSet, options: EdgeOptions, second: SecondEdges | None) -> list[str]:
    """Say what to keep in mind about the edges of an averaged spectrum."""
    flags = []
    vbm, cbm = main.vbm_v.value, main.cbm_v.value
    for sign, name, edge in ((-1, "valence", vbm), (1, "conduction", cbm)):
        if edge is None:
            covered = stack.bias_v[0] < 0 if sign < 0 else stack.bias_v[-1] > 0
            flags.append(f"no {name} edge: {'no prominent peak' if covered else 'the sweeps have no such side'}")
            continue
        bare = find_edges(stack.bias_v, mean, "first-peak", replace(options, prominence=0.0))
        without = bare.vbm_v if sign < 0 else bare.cbm_v
        if without is not None and abs(without - edge) > options.bandwidth_v:
            flags.append(f"{name}: without a prominence the first peak would be a hump at {without:.2f} V")
        shoulder = _shoulder(stack.bias_v, mean, sign, edge, options)
        if shoulder is not None:
            flags.append(f"{name}: a shoulder at {shoulder:.2f} V lies inside the first peak")
    if second is not None:
        flags.append("two sets of edges: the first peak may be a blend of both (see second_edges)")
    set_point = common_value(stack.sweeps, "set_point_v")
    if set_point is not None and vbm is not None and cbm is not None and vbm < set_point < cbm:
        flags.append(
            f"the set point ({set_point:g} V) lies inside the gap: currents of different platelets share no scale"
        )
    return flags


def spread_flags(main: EdgeSet, by_sweep: BySweep, options: EdgeOptions) -> list[str]:
    """Say where individual sweeps find another peak than their average."""
    flags = []
    for name, edge, spread in (
        ("valence", main.vbm_v.value, by_sweep.vbm_v),
        ("conduction", main.cbm_v.value, by_sweep.cbm_v),
    ):
        far = 3 * options.bandwidth_v + (spread.std or 0.0)
        if edge is not None and spread.mean is not None and abs(spread.mean - edge) > far:
            flags.append(
                f"{name}: individual sweeps find another peak ({spread.mean:.2f} V) than the average ({edge:.2f} V)"
            )
    return flags


def _shoulder(bias: Array, mean: Array, sign: int, edge: float, options: EdgeOptions) -> float | None:
    side = np.flatnonzero(sign * bias >= 0)
    side = side[::-1] if sign < 0 else side
    if len(side) < 12:
        return None
    index = first_feature(sign * bias[side], mean[side], options.bandwidth_v)
    if index is None or abs(edge) - sign * bias[side][index] < 1.5 * options.bandwidth_v:
        return None
    return float(bias[side][index])
