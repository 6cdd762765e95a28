"""One group of sweeps: averaged spectrum, edges with intervals, second edges, spread over sweeps, traps, flags."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from corecrown.errors import InputError
from corecrown.postprocess.flags import thermal_width_ev
from corecrown.postprocess.sts.alignment import alignment_of_pair
from corecrown.postprocess.sts.edges import (
    EDGE_METHODS,
    EdgeOptions,
    bootstrap_means,
    find_edges,
    fit_histogram,
    platelet_weights,
)
from corecrown.postprocess.sts.group_flags import common_value, edge_flags, spread_flags
from corecrown.postprocess.sts.mixture import LineShape
from corecrown.postprocess.sts.model import Sweep, SweepSet
from corecrown.postprocess.sts.options import SpectrumNormalisation, StsOptions
from corecrown.postprocess.sts.results import (
    BySweep,
    EdgeSet,
    GaussianCentre,
    GroupResult,
    Interval,
    SkippedFile,
    Spread,
    interval_of,
)
from corecrown.postprocess.sts.second_set import second_edges
from corecrown.postprocess.sts.spectra import (
    Stack,
    calibrate_lockin,
    current_noise,
    derivative_noise,
    differentiate,
    find_outliers,
    modulation_width_ev,
    normalise_to_set_point,
    normalised_conductance,
    stack_sweeps,
)
from corecrown.postprocess.sts.traps import trap_integrals

__all__ = ["GroupSpectra", "analyse_group"]

Array = NDArray[np.float64]

QUANTITIES = ("vbm_v", "cbm_v", "gap_ev")
BATCH = 256
KEPT_RESAMPLES = 40


@dataclass(frozen=True, eq=False, slots=True)
class GroupSpectra:
    """Arrays behind a group's result.

    Attributes
    ----------
    bias_v : (n,) float
    mean_current_a, mean_didv : (n,) float
    low_didv, high_didv : (n,) float or None
        Interval of the averaged spectrum, point by point.
    resampled
        (b,) edges and gap of resampled averages.
    by_sweep
        Edges and gap of individual sweeps, those that have them.
    shapes
        Line shape of one edge on either side (sign).
    resampled_didv : (b, n) float or None
        Some resampled averages, for fits that take long.
    set_point
        Current (A) and bias (V) that the feedback held, where all sweeps agree.
    """

    bias_v: Array
    mean_current_a: Array
    mean_didv: Array
    edge_options: EdgeOptions
    low_didv: Array | None = None
    high_didv: Array | None = None
    resampled: dict[str, Array] = field(default_factory=dict)
    trap_resamples: Array | None = None
    by_sweep: dict[str, Array] = field(default_factory=dict)
    shapes: dict[int, LineShape] = field(default_factory=dict)
    resampled_didv: Array | None = None
    set_point: tuple[float, float] | None = None
    synthetic: bool = False


def analyse_group(
    batch: SweepSet, options: StsOptions, *, seed: int = 0, shapes: Mapping[int, LineShape] | None = None
) -> tuple[GroupResult, GroupSpectra]:
    """Analyse one group of sweeps.

    The first sweep of each platelet counts; both directions of it are averaged. Currents are averaged first
    and differentiated then, unless sweeps are normalised, which needs their own derivatives first.

    Parameters
    ----------
    batch
        The sweeps and what was skipped on the way.
    shapes
        Line shapes of a place with one set of edges, for the mixture.

    Raises
    ------
    InputError
        If no sweep can be used.
    """
    flags: list[str] = []
    if not batch.sweeps and batch.skipped:
        first = batch.skipped[0]
        raise InputError(
            f"none of {len(batch.skipped)} files could be read; {first.file}: {first.reason}", "check the files"
        )
    stack, left_out = stack_sweeps(_first_sweeps(batch.sweeps))
    stack = _set_aside(stack, flags) if options.set_aside_outliers else stack
    rows, mean_current, bandwidth = _spectra(stack, options, flags)
    noise = float(derivative_noise(stack.bias_v, np.sqrt((current_noise(stack.current_a) ** 2).mean()), bandwidth))
    if options.normalisation is not SpectrumNormalisation.NONE or options.use_lockin:
        noise = 0.0
    platelets = [sweep.platelet for sweep in stack.sweeps]
    n_platelets = len(set(platelets))
    edge_options = EdgeOptions(options.prominence, noise / math.sqrt(len(rows)), bandwidth)
    mean = rows.mean(axis=0)
    weights = None
    if n_platelets > 1 and options.n_resamples:
        weights = platelet_weights(platelets, options.n_resamples, seed)
        mean = bootstrap_means(rows, platelet_weights_equal(platelets))[0]
    else:
        flags.append("one platelet, or no resamples: values without intervals")
    resampled_means = None if weights is None else bootstrap_means(rows, weights)
    edge_sets, resampled = _edge_sets(stack.bias_v, mean, resampled_means, options, edge_options)
    main = edge_sets.pop(options.method)
    traps, trap_resamples = _trap_integral(stack.bias_v, mean, resampled_means, options, edge_options, flags)
    second, own_shapes = second_edges(stack.bias_v, mean, resampled_means, options, edge_options, shapes or {})
    by_sweep, values = _by_sweep(stack, options)
    flags += edge_flags(stack, mean, main, edge_options, second)
    flags += spread_flags(main, by_sweep, edge_options)
    temperature = common_value(batch.sweeps, "temperature_k") or options.temperature_k
    resolution = _resolution(temperature, bandwidth, stack.sweeps, options, flags)
    flags += sorted({flag for sweep in batch.sweeps for flag in sweep.flags if flag.startswith("grid")})
    saturated = sum(any(flag.startswith("saturated") for flag in sweep.flags) for sweep in batch.sweeps)
    if saturated:
        flags.append(f"{saturated} sweeps saturate: their ends were cut off")
    result = GroupResult(
        n_sweeps=len(batch.sweeps),
        n_platelets=len({sweep.platelet for sweep in batch.sweeps}),
        n_averaged=len(rows),
        skipped=[SkippedFile(file=s.file, reason=s.reason) for s in (*batch.skipped, *left_out)],
        vbm_v=main.vbm_v,
        cbm_v=main.cbm_v,
        gap_ev=main.gap_ev,
        by_sweep=by_sweep,
        onset={name: found for name, found in edge_sets.items() if name.startswith("onset")},
        second_edges=second,
        alignment=None if second is None else alignment_of_pair(second),
        resolution_ev=resolution,
        trap_integral=traps,
        method=options.method,
        prominence=options.prominence,
        temperature_k=temperature,
        synthetic=any(sweep.synthetic for sweep in batch.sweeps),
        flags=flags,
    )
    spectra = GroupSpectra(
        bias_v=stack.bias_v,
        mean_current_a=mean_current,
        mean_didv=mean,
        edge_options=edge_options,
        low_didv=None if resampled_means is None else np.quantile(resampled_means, 0.025, axis=0),
        high_didv=None if resampled_means is None else np.quantile(resampled_means, 0.975, axis=0),
        resampled=resampled,
        trap_resamples=trap_resamples,
        by_sweep=values,
        shapes=own_shapes,
        set_point=_set_point(stack.sweeps),
        resampled_didv=None if resampled_means is None else resampled_means[:KEPT_RESAMPLES],
        synthetic=result.synthetic,
    )
    return result, spectra


def platelet_weights_equal(platelets: Sequence[str]) -> Array:
    """Return (1, m) weights that give each platelet the same share."""
    _, owner = np.unique(np.asarray(platelets), return_inverse=True)
    share = 1 / np.bincount(owner)[owner]
    return np.asarray((share / share.sum())[None, :], dtype=np.float64)


def _first_sweeps(sweeps: Sequence[Sweep]) -> list[Sweep]:
    first: dict[str, int] = {}
    for sweep in sweeps:
        first[sweep.platelet] = min(sweep.number, first.get(sweep.platelet, sweep.number))
    return [sweep for sweep in sweeps if sweep.number == first[sweep.platelet]]


def _set_aside(stack: Stack, flags: list[str]) -> Stack:
    outliers = find_outliers(stack)
    if not outliers:
        return stack
    if len(outliers) > len(stack.sweeps) / 2:
        flags.append(f"{len(outliers)} of {len(stack.sweeps)} sweeps look like outliers: none was set aside")
        return stack
    bad = {outlier.index for outlier in outliers}
    kinds = sorted({outlier.reason.split(":")[0] for outlier in outliers})
    counts = ", ".join(f"{sum(o.reason.startswith(kind) for o in outliers)} {kind}" for kind in kinds)
    flags.append(f"{len(outliers)} of {len(stack.sweeps)} sweeps set aside: {counts}")
    kept = [index for index in range(len(stack.sweeps)) if index not in bad]
    return Stack(stack.bias_v, stack.current_a[kept], tuple(stack.sweeps[index] for index in kept))


def _spectra(stack: Stack, options: StsOptions, flags: list[str]) -> tuple[Array, Array, float]:
    """Return dI/dV of each sweep (averaging them equals differentiating the average), mean current, bandwidth."""
    bias, current = stack.bias_v, stack.current_a
    mean_current = current.mean(axis=0)
    if options.use_lockin:
        return _lockin_spectra(stack, options, flags), mean_current, options.bandwidth_v
    didv, bandwidth = differentiate(bias, current, options.bandwidth_v, options.derivative)
    if options.normalisation is SpectrumNormalisation.SET_POINT:
        set_point = common_value(stack.sweeps, "set_point_v")
        if set_point is None:
            raise InputError("the sweeps do not agree on a set point, or have none", "leave the normalisation out")
        scaled, reliable = normalise_to_set_point(bias, current, set_point)
        if not reliable.any():
            raise InputError(
                f"the current at the set point ({set_point:g} V) is noise in every sweep",
                "the set point lies inside the gap: leave the normalisation out",
            )
        if not reliable.all():
            flags.append(
                f"{len(reliable) - int(reliable.sum())} sweeps: current at the set point is noise, divided by the "
                "median"
            )
        at = np.array([np.interp(set_point, bias, row) for row in current])
        at = np.where(reliable, at, np.median(at[reliable]))
        return didv / at[:, None], np.nanmean(scaled, axis=0), bandwidth
    if options.normalisation is SpectrumNormalisation.CONDUCTANCE:
        return normalised_conductance(bias, current, didv, options.broadening_v), mean_current, bandwidth
    return didv, mean_current, bandwidth


def _lockin_spectra(stack: Stack, options: StsOptions, flags: list[str]) -> Array:
    channels = [sweep.lockin for sweep in stack.sweeps]
    if any(channel is None for channel in channels):
        raise InputError("some sweeps have no lock-in channel", "use the numerical derivative")
    rows = np.array(
        [np.interp(stack.bias_v, sweep.bias_v, sweep.lockin) for sweep in stack.sweeps if sweep.lockin is not None]
    )
    fit = calibrate_lockin(stack.bias_v, stack.current_a.mean(axis=0), rows.mean(axis=0), options.bandwidth_v)
    flags.append(
        f"lock-in channel calibrated against the derivative: factor {fit.factor:.4g}, offset "
        f"{fit.offset:.3g}, "
        f"R² {fit.r_squared:.3f}"
    )
    return np.asarray(fit.factor * (rows - fit.offset), dtype=np.float64)


def _edge_sets(
    bias: Array, mean: Array, resampled: Array | None, options: StsOptions, edge_options: EdgeOptions
) -> tuple[dict[str, EdgeSet], dict[str, Array]]:
    """Return edges of the average by each method with intervals, and the main method's resamples."""
    sets: dict[str, EdgeSet] = {}
    main: dict[str, Array] = {}
    for method in dict.fromkeys([options.method, *(m for m in EDGE_METHODS if m.startswith("onset"))]):
        edges = find_edges(bias, mean, method, edge_options)
        columns: dict[str, Array] = {}
        if resampled is not None:
            found = [find_edges(bias, row, method, edge_options) for row in resampled]
            columns = {
                name: np.array([_or_nan(getattr(one, name)) for one in found], dtype=np.float64) for name in QUANTITIES
            }
        sets[method] = EdgeSet(
            **{name: interval_of(getattr(edges, name), columns.get(name), options.confidence) for name in QUANTITIES}
        )
        if method == options.method:
            main = columns
    return sets, main


def _trap_integral(
    bias: Array,
    mean: Array,
    resampled: Array | None,
    options: StsOptions,
    edge_options: EdgeOptions,
    flags: list[str],
) -> tuple[Interval, Array | None]:
    kind = options.trap_normalisation
    try:
        value = float(trap_integrals(bias, mean, options.window_v, kind, edge_options)[0])
    except InputError as error:
        flags.append(f"no trap integral: {error.message}")
        return Interval(), None
    if not math.isfinite(value):
        flags.append(f"no trap integral: there is no {kind.value} to normalise by")
        return Interval(), None
    columns = None
    if resampled is not None:
        columns = trap_integrals(bias, resampled, options.window_v, kind, edge_options)
    return interval_of(value, columns, options.confidence), columns


def _by_sweep(stack: Stack, options: StsOptions) -> tuple[BySweep, dict[str, Array]]:
    """Return edges of individual sweeps: mean, spread and a Gaussian fitted to each histogram."""
    values: dict[str, list[float]] = {name: [] for name in QUANTITIES}
    bandwidth = options.sweep_bandwidth_v
    for begin in range(0, len(stack.sweeps), BATCH):
        current = stack.current_a[begin : begin + BATCH]
        rows, bandwidth = differentiate(stack.bias_v, current, options.sweep_bandwidth_v, options.derivative)
        noise = derivative_noise(stack.bias_v, current_noise(current), bandwidth)
        for row, sigma in zip(rows, noise, strict=True):
            edges = find_edges(
                stack.bias_v, row, options.method, EdgeOptions(options.sweep_prominence, float(sigma), bandwidth)
            )
            for name in QUANTITIES:
                value = getattr(edges, name)
                if value is not None:
                    values[name].append(value)
    arrays = {name: np.array(column, dtype=np.float64) for name, column in values.items()}
    spreads = {name: _spread(column) for name, column in arrays.items()}
    return BySweep(**spreads, bandwidth_v=bandwidth), arrays


def _spread(values: Array) -> Spread:
    if not len(values):
        return Spread()
    fit = fit_histogram(values)
    return Spread(
        mean=float(values.mean()),
        std=float(values.std(ddof=1)) if len(values) > 1 else None,
        n=len(values),
        gaussian=None
        if fit is None
        else GaussianCentre(centre=fit.centre, sigma=fit.sigma, centre_error=fit.centre_error),
    )


def _resolution(
    temperature: float | None, bandwidth: float, sweeps: Sequence[Sweep], options: StsOptions, flags: list[str]
) -> float | None:
    """Return the full width that temperature and modulation or derivative leave on a line, eV."""
    parts = [bandwidth]
    if options.use_lockin:
        modulation = common_value(sweeps, "modulation_v") or options.modulation_v
        if modulation is None:
            flags.append("resolution: the modulation is not known, so its width is missing")
            parts = []
        else:
            parts = [modulation_width_ev(modulation)]
    if temperature is None:
        flags.append("resolution: the temperature is not known, so thermal broadening (3.53 kT) is missing")
    else:
        parts.append(thermal_width_ev(temperature))
    return math.hypot(*parts) if parts else None


def _set_point(sweeps: Sequence[Sweep]) -> tuple[float, float] | None:
    current, bias = common_value(sweeps, "set_point_a"), common_value(sweeps, "set_point_v")
    return (current, bias) if current is not None and bias and current > 0 else None


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
