"""Groups of sweeps to edges, traps and stability: the whole analysis, from sweeps to one result."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from corecrown.errors import InputError
from corecrown.postprocess.sts.edges import EdgeOptions
from corecrown.postprocess.sts.groups import GroupSpectra, analyse_group
from corecrown.postprocess.sts.mixture import LineShape
from corecrown.postprocess.sts.model import SweepSet
from corecrown.postprocess.sts.options import StsOptions
from corecrown.postprocess.sts.results import (
    GroupResult,
    GroupShift,
    StabilityPoint,
    StsResult,
    TrapChange,
    TrapMap,
    Traps,
    interval_of,
)
from corecrown.postprocess.sts.stability import stability
from corecrown.postprocess.sts.traps import Normalisation, change_map, percent_changes, trap_integrals

__all__ = ["StsAnalysis", "StsOptions", "StsResult", "analyse_groups"]

Array = NDArray[np.float64]

STABILITY_RESAMPLES = 200
FAR_GAP_EV = 0.25
MAP_LOWS = tuple(np.round(np.arange(-1.0, -0.39, 0.1), 10))
MAP_HIGHS = tuple(np.round(np.arange(0.6, 1.41, 0.1), 10))


MAP_NOTE = "maps show what a choice of window and normalisation is worth and have no intervals; the changes have"


@dataclass(frozen=True, eq=False, slots=True)
class StsAnalysis:
    """The result, and the spectra it was drawn from (for figures)."""

    result: StsResult
    spectra: dict[str, GroupSpectra]


def analyse_groups(groups: Mapping[str, SweepSet], options: StsOptions | None = None) -> StsAnalysis:
    """Analyse groups of sweeps; the first is the reference of shifts and changes.

    Parameters
    ----------
    groups
        Sweeps by name of the group (a place on the platelets).
    options
        All choices; the defaults are the source study's methods with a prominence and intervals.

    Returns
    -------
    StsAnalysis
        A group that cannot be analysed is there with nulls and the reason among its flags.

    Raises
    ------
    InputError
        If there are no groups, or none can be analysed.
    """
    options = options or StsOptions()
    if not groups:
        raise InputError("no groups of sweeps", "give files, or --group NAME=PATTERN")
    results: dict[str, GroupResult] = {}
    spectra: dict[str, GroupSpectra] = {}
    shapes: dict[int, LineShape] = {}
    problems: list[InputError] = []
    for index, (name, batch) in enumerate(groups.items()):
        try:
            results[name], spectra[name] = analyse_group(batch, options, seed=options.seed + index, shapes=shapes)
        except InputError as error:
            problems.append(error)
            results[name] = _empty(batch, str(error.message))
            continue
        shapes = shapes or spectra[name].shapes
    if not spectra:
        raise problems[0]
    reference = next(iter(groups))
    followed = _stability(groups, spectra, options)
    result = StsResult(
        groups=results,
        traps=_traps(reference, spectra, options),
        stability=followed,
        shifts=_shifts(reference, results, spectra, options.confidence),
        options={key: _plain(value) for key, value in options.model_dump(mode="json").items()},
        flags=[*_flags(results, reference, spectra), *_other_gaps(results, followed)],
    )
    return StsAnalysis(result, spectra)


def _stability(
    groups: Mapping[str, SweepSet], spectra: Mapping[str, GroupSpectra], options: StsOptions
) -> dict[str, list[StabilityPoint]]:
    """Return what repeated sweeps do, for the groups that have them."""
    single = EdgeOptions(options.sweep_prominence, 0.0, options.sweep_bandwidth_v)
    resamples = min(options.n_resamples, STABILITY_RESAMPLES)
    found = {
        name: stability(
            groups[name].sweeps,
            options.method,
            spectrum.edge_options,
            single,
            options.derivative,
            n_resamples=resamples,
            seed=options.seed,
        )
        for name, spectrum in spectra.items()
    }
    return {name: points for name, points in found.items() if points}


def _other_gaps(results: Mapping[str, GroupResult], followed: Mapping[str, list[StabilityPoint]]) -> list[str]:
    """Say where repeated sweeps begin at another gap than the average of the group has."""
    flags = []
    for name, points in followed.items():
        gap, first = results[name].gap_ev.value, points[0].gap_ev
        if gap is not None and first is not None and abs(first - gap) > FAR_GAP_EV:
            flags.append(
                f"{name}: repeated sweeps begin at another gap ({first:.2f} eV) than the average ({gap:.2f} eV)"
            )
    return flags


def _empty(batch: SweepSet, reason: str) -> GroupResult:
    return GroupResult(
        n_sweeps=len(batch.sweeps),
        n_platelets=len({sweep.platelet for sweep in batch.sweeps}),
        n_averaged=0,
        skipped=[{"file": skipped.file, "reason": skipped.reason} for skipped in batch.skipped],
        flags=[f"not analysed: {reason}"],
    )


def _shifts(
    reference: str, results: Mapping[str, GroupResult], spectra: Mapping[str, GroupSpectra], confidence: float
) -> list[GroupShift]:
    if reference not in spectra:
        return []
    shifts = []
    for name, spectrum in spectra.items():
        if name == reference:
            continue
        for quantity in ("vbm_v", "cbm_v", "gap_ev"):
            value = getattr(results[name], quantity).value
            origin = getattr(results[reference], quantity).value
            ours, theirs = spectrum.resampled.get(quantity), spectra[reference].resampled.get(quantity)
            difference = value - origin if value is not None and origin is not None else None
            interval = interval_of(
                difference, ours - theirs if ours is not None and theirs is not None else None, confidence
            )
            error = interval.standard_error
            widths = [w for w in (results[name].resolution_ev, results[reference].resolution_ev) if w is not None]
            shifts.append(
                GroupShift(
                    reference=reference,
                    group=name,
                    quantity=quantity,
                    value=difference,
                    low=interval.low,
                    high=interval.high,
                    standard_error=error,
                    exceeds_standard_error=None if difference is None or error is None else abs(difference) > 2 * error,
                    line_width_ev=max(widths, default=None),
                    reason=interval.reason,
                )
            )
    return shifts


def _traps(reference: str, spectra: Mapping[str, GroupSpectra], options: StsOptions) -> Traps:
    changes: list[TrapChange] = []
    maps: list[TrapMap] = []
    base = spectra.get(reference)
    for name, spectrum in spectra.items():
        if name == reference or base is None:
            continue
        changes.append(_change(reference, name, base, spectrum, options))
        grids = change_map(
            (base.bias_v, spectrum.bias_v),
            (base.mean_didv, spectrum.mean_didv),
            MAP_LOWS,
            MAP_HIGHS,
            (base.edge_options, spectrum.edge_options),
        )
        maps += [
            TrapMap(
                reference=reference,
                group=name,
                normalised_by=kind.value,
                low_ends_v=list(MAP_LOWS),
                high_ends_v=list(MAP_HIGHS),
                percent=[[None if np.isnan(x) else float(x) for x in row] for row in grid],
            )
            for kind, grid in grids.items()
        ]
    return Traps(
        window_v=options.window_v,
        normalised_by=options.trap_normalisation.value,
        changes=changes,
        maps=maps,
        notes=[MAP_NOTE] if maps else [],
    )


def _change(reference: str, name: str, base: GroupSpectra, spectrum: GroupSpectra, options: StsOptions) -> TrapChange:
    values: list[float] = []
    resampled: list[Array] = []
    for group in (base, spectrum):
        try:
            values.append(float(_integrals(group, group.mean_didv, options)[0]))
        except InputError:
            return TrapChange(
                reference=reference, group=name, percent=None, reason="the window reaches beyond the sweeps"
            )
        if group.trap_resamples is not None:
            resampled.append(group.trap_resamples)
    change = float(percent_changes(np.array(values[0]), np.array(values[1])))
    both = percent_changes(resampled[0], resampled[1]) if len(resampled) == 2 else None
    interval = interval_of(change, both, options.confidence)
    return TrapChange(
        reference=reference,
        group=name,
        percent=interval.value,
        low=interval.low,
        high=interval.high,
        reason=interval.reason,
    )


def _integrals(group: GroupSpectra, didv: Array, options: StsOptions) -> Array:
    return trap_integrals(
        group.bias_v, didv, options.window_v, Normalisation(options.trap_normalisation), group.edge_options
    )


def _flags(results: Mapping[str, GroupResult], reference: str, spectra: Mapping[str, GroupSpectra]) -> list[str]:
    flags = []
    if any(group.synthetic for group in results.values()):
        flags.append("synthetic sweeps: made by a generator, nothing was measured")
    if reference not in spectra:
        flags.append(f"the reference group {reference} could not be analysed: no shifts and no changes")
    flags += [
        f"{name}: {len(group.skipped)} files or sweeps skipped" for name, group in results.items() if group.skipped
    ]
    return flags


def _plain(value: object) -> str | float | int | bool | None:
    if value is None or isinstance(value, str | float | int | bool):
        return value
    return " to ".join(str(part) for part in value) if isinstance(value, list | tuple) else str(value)
