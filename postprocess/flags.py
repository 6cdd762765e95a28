"""What an honest comparison of DFT with STS has to say beside its numbers."""

import math
from collections.abc import Iterator, Sequence

from scipy.constants import physical_constants

from corecrown.postprocess.experiment import Experiment, Place, Ups
from corecrown.postprocess.results import CellResult, ComparisonRow

__all__ = ["comparison_flags", "thermal_width_ev"]

BOLTZMANN_EV = float(physical_constants["Boltzmann constant in eV/K"][0])


def thermal_width_ev(temperature_k: float) -> float:
    """Return the full width at half maximum of -df/dE, 2 ln(3 + 2√2) kT = 3.53 kT, eV."""
    return 2 * math.log(3 + 2 * math.sqrt(2)) * BOLTZMANN_EV * temperature_k


def comparison_flags(rows: Sequence[ComparisonRow], reference: CellResult | None, experiment: Experiment) -> list[str]:
    """Return what to keep in mind when the rows are read, most general first."""
    return [
        *_about_measurement(experiment),
        *_about_scales(experiment),
        *_about_cells(rows, reference, experiment),
        *_about_shifts(rows),
    ]


def _about_measurement(experiment: Experiment) -> Iterator[str]:
    conditions = experiment.conditions
    if experiment.source.synthetic:
        yield "the experiment is synthetic: made by a generator, nothing was measured"
    places = [experiment.places[pair.place] for pair in experiment.compare]
    if conditions.temperature_k is not None:
        yield _thermal(conditions.temperature_k, places)
    if conditions.order == "average-then-differentiate":
        yield (
            "averaging then differentiating equals differentiating then averaging for any linear filter: "
            "the order "
            "matters only where a normalisation or an outlier rule lies between"
        )
    if any(place.method == "first-peak" and place.prominence is None for place in places):
        yield "edges are first peaks without a stated prominence: trap humps may have been taken for edges"
    inside = _around_set_point(experiment)
    if inside:
        yield (
            f"{', '.join(inside)}: the set point ({conditions.set_point_v:g} V) lies inside the gap, where the tip "
            "comes nearer than over a conducting place; currents of different places share no scale"
        )
    if experiment.traps is not None:
        low, high = experiment.traps.window_v
        yield (
            f"the change of the trap integral depends on its window ({low:g} to {high:g} V) and on the "
            "normalisation "
            f"({experiment.traps.normalised_by}): with the first peak in place of the tallest it differs by "
            "half"
        )


def _around_set_point(experiment: Experiment) -> list[str]:
    """Return the places whose gap holds the set point."""
    at = experiment.conditions.set_point_v
    if at is None:
        return []
    named = [(pair.place, experiment.places[pair.place]) for pair in experiment.compare]
    return [
        name
        for name, place in named
        if place.vbm_v is not None and place.cbm_v is not None and place.vbm_v < at < place.cbm_v
    ]


def _thermal(temperature_k: float, places: Sequence[Place]) -> str:
    width_mev = thermal_width_ev(temperature_k) * 1e3
    width = f"thermal broadening at {temperature_k:g} K is 3.53 kT = {width_mev:.0f} meV full width"
    shifts = [
        abs(edge - origin)
        for place in places[1:]
        for edge, origin in ((place.vbm_v, places[0].vbm_v), (place.cbm_v, places[0].cbm_v))
        if edge is not None and origin is not None
    ]
    if not shifts:
        return width
    span = f"{min(shifts) * 1e3:.0f} to {max(shifts) * 1e3:.0f} meV"
    known = all(place.gap_error is not None for place in places)
    error = "given beside each shift" if known else "not given for every place"
    return (
        f"{width}; edges shift by {span} between places. A line width does not bound a shift between "
        "centres: "
        f"compare a shift with its standard error, which is {error}"
    )


def _about_scales(experiment: Experiment) -> Iterator[str]:
    if experiment.optical is not None:
        yield from _tunnelling_against_optical(experiment)
    for pair in experiment.compare:
        place = experiment.places[pair.place]
        ups = _ups_of(pair.place, experiment)
        if ups is None or place.vbm_v is None:
            continue
        work_function, ionisation = ups.work_function_ev.value, ups.ionisation_energy_ev.value
        if work_function is None or ionisation is None:
            continue
        below = ionisation - work_function
        yield (
            f"{pair.place}: the valence edge lies {below:.2f} eV below E_F in photoemission and "
            f"{-place.vbm_v:.2f} eV in "
            f"STS: the two scales differ by {abs(below + place.vbm_v):.2f} eV"
        )


def _tunnelling_against_optical(experiment: Experiment) -> Iterator[str]:
    gap = experiment.optical.gap_ev if experiment.optical else None
    if gap is None or gap.value is None or not experiment.compare:
        return
    place = experiment.places[experiment.compare[0].place]
    if place.gap is not None and place.gap <= (gap.high if gap.high is not None else gap.value):
        yield (
            f"{experiment.compare[0].place}: a tunnelling gap exceeds the optical gap by the exciton "
            "binding energy, but "
            f"{place.gap:.2f} eV does not exceed {gap.value:.2f} eV ({gap.source})"
        )


def _ups_of(place: str, experiment: Experiment) -> Ups | None:
    """Return the photoemission of the sample that a place is on: the longest name it begins with."""
    named = sorted((name for name in experiment.ups if place.startswith(name)), key=len)
    return experiment.ups[named[-1]] if named else None


def _about_cells(rows: Sequence[ComparisonRow], reference: CellResult | None, experiment: Experiment) -> Iterator[str]:
    if experiment.conditions.monolayers is not None:
        yield (
            f"the computed cells are bulk, the platelets are {experiment.conditions.monolayers} monolayers "
            "thick and lie "
            "on a metal: gaps are not comparable term by term (see the ledger), shifts are the first thing "
            "to compare"
        )
    yield (
        "valence and conduction edges are not compared one by one: separate bulk cells share no energy "
        "zero, so only "
        "gaps are"
    )
    absent = [row.cell for row in rows if row.place and row.gap_ev is None]
    if absent:
        stand = "its place stands" if len(absent) == 1 else "their places stand"
        yield f"no computed gap from bands or an scf for {', '.join(absent)}: {stand} without a partner"
    if reference is not None and reference.settings is not None:
        settings = reference.settings
        if not settings.spin_orbit and not any(level.spin_orbit for level in reference.levels):
            yield "no level has spin-orbit coupling, which takes about 1.1 eV off the gap of CsPbBr3"
    computed = experiment.computed
    if computed is not None and computed.functional is None and computed.gaps_ev:
        yield (
            "the source does not state the functional of its own calculation: its gaps are no target, its shifts may be"
        )


def _about_shifts(rows: Sequence[ComparisonRow]) -> Iterator[str]:
    for row in rows[1:]:
        if row.shift_ev is None:
            continue
        if row.shift_uncertainty_ev is None:
            yield f"{row.cell}: the computed shift {row.shift_ev:+.3f} eV has no uncertainty"
        elif abs(row.shift_ev) <= row.shift_uncertainty_ev:
            yield (
                f"{row.cell}: the computed shift {row.shift_ev:+.3f} eV does not exceed its uncertainty "
                f"{row.shift_uncertainty_ev:.3f} eV: not even its sign is certain"
            )
        if row.sts_shift_ev is None or row.difference_ev is None:
            continue
        if row.sts_shift_ev * row.shift_ev < 0:
            yield (
                f"{row.cell}: computed ({row.shift_ev:+.3f} eV) and measured ({row.sts_shift_ev:+.3f} eV) shifts "
                "differ in sign"
            )
        errors = [row.shift_uncertainty_ev, row.sts_shift_uncertainty_ev]
        if errors[0] is not None and errors[1] is not None:
            bound = math.hypot(errors[0], errors[1])
            verdict = "agree within" if abs(row.difference_ev) <= bound else "differ by more than"
            yield (
                f"{row.cell}: computed and measured shifts differ by {row.difference_ev:+.3f} eV: they "
                f"{verdict} the "
                f"combined uncertainty of {bound:.3f} eV"
            )
        else:
            yield (
                f"{row.cell}: computed and measured shifts differ by {row.difference_ev:+.3f} eV; whether "
                "they agree "
                "cannot be said while one of them has no uncertainty"
            )
