"""The second set of edges of a group (crown over core): found by the mixture, with intervals by resampling."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from corecrown.postprocess.sts.edges import EdgeOptions
from corecrown.postprocess.sts.mixture import LineShape, SideFit, fit_side, resampled_pairs
from corecrown.postprocess.sts.options import StsOptions
from corecrown.postprocess.sts.results import Interval, SecondEdges, interval_of

__all__ = ["second_edges"]

Array = NDArray[np.float64]

N_RESAMPLES = 60


def second_edges(
    bias: Array,
    mean: Array,
    resampled: Array | None,
    options: StsOptions,
    edge_options: EdgeOptions,
    shapes: Mapping[int, LineShape],
) -> tuple[SecondEdges | None, dict[int, LineShape]]:
    """Return the second set of edges where the mixture finds one, and the line shapes of single edges."""
    found: dict[int, tuple[Interval, Interval]] = {}
    own: dict[int, LineShape] = {}
    notes: list[str] = []
    for sign, name in ((-1, "valence"), (1, "conduction")):
        fit = fit_side(bias, mean, sign, edge_options, shapes.get(sign))
        if fit is None:
            continue
        own[sign] = fit.shape
        if not fit.two:
            continue
        found[sign] = _pair(bias, resampled, sign, fit, options, edge_options, shapes.get(sign))
        notes.append(
            f"{name}: two sets favoured by {fit.bic_gain:.0f} (BIC), the farther has {fit.shares[1]:.0%} of the signal"
        )
    if not found:
        return None, own
    notes += [f"{name}: one set fits as well" for s, name in ((-1, "valence"), (1, "conduction")) if s not in found]
    pairs = {sign: found.get(sign, (None, None)) for sign in (-1, 1)}
    return (
        SecondEdges(
            nearer_vbm_v=pairs[-1][0],
            vbm_v=pairs[-1][1],
            nearer_cbm_v=pairs[1][0],
            cbm_v=pairs[1][1],
            notes=notes,
        ),
        own,
    )


def _pair(
    bias: Array,
    resampled: Array | None,
    sign: int,
    fit: SideFit,
    options: StsOptions,
    edge_options: EdgeOptions,
    shape: LineShape | None,
) -> tuple[Interval, Interval]:
    columns = None
    if resampled is not None:
        columns = resampled_pairs(bias, resampled[:N_RESAMPLES], sign, edge_options, shape, fit)
    near, far = (
        interval_of(sign * fit.pair_v[i], None if columns is None else columns[:, i], options.confidence)
        for i in (0, 1)
    )
    return near, far
