"""The ledger: which terms lie between the gap of the bulk crystal and the gap that a tip measures."""

from collections.abc import Iterable
from typing import Literal

from corecrown.postprocess.experiment import Experiment, Place, Quantity
from corecrown.postprocess.ledger_estimates import confinement, image_screening, junction, self_energy, span
from corecrown.postprocess.results import CellResult, LedgerRow, Level

__all__ = ["best_level", "build_ledger", "describe_level"]

HYBRIDS = ("HSE", "PBE0", "B3LYP", "GW", "EXX")

SIGNS: tuple[Literal["+", "-"], ...] = ("+", "+", "+", "-", "-", "+")
"""With which the terms stand in the equation of `build_ledger`, in its order."""


def describe_level(level: Level) -> str:
    """Return one phrase for a level of theory: functional, spin-orbit coupling, cutoff, mesh, gap source."""
    parts = [level.functional, "spin-orbit" if level.spin_orbit else "no spin-orbit"]
    if level.cutoff_wfc_ry is not None:
        parts.append(f"{level.cutoff_wfc_ry:g} Ry")
    if level.kpoint_mesh is not None:
        parts.append("×".join(str(n) for n in level.kpoint_mesh) + " mesh")
    if level.q_mesh is not None:
        parts.append("×".join(str(n) for n in level.q_mesh) + " exchange mesh")
    return ", ".join([*parts, f"gap from {level.source}"])


def best_level(levels: Iterable[Level]) -> Level | None:
    """Return the highest level with a gap: hybrid with spin-orbit coupling, hybrid, semilocal with, without.

    Functional and spin-orbit coupling count together because their effects do not add. Of several rows of one
    level the smaller gap wins: more k-points can only find a tighter one.
    """

    def rank(level: Level) -> tuple[bool, bool, float]:
        return _is_hybrid(level.functional), level.spin_orbit, -(level.gap_ev or 0.0)

    return max((level for level in levels if level.gap_ev is not None), key=rank, default=None)


def build_ledger(cell: CellResult, place: Place | None, experiment: Experiment) -> list[LedgerRow]:
    """Return the terms from the computed bulk gap to the measured gap, their sum, and the optical gap beside.

    STS gap = bulk gap + confinement along c + dielectric self-energy - image screening by the substrate -
    voltage dropped in the junction and tip-induced band bending + what the peak adds over the onset. Values
    carry their sign. A term without a value is not in the sum but its range is; a term that has neither leaves
    the sum without that end of its range. Excitons are not in it: tunnelling sees the quasiparticle gap.

    Parameters
    ----------
    cell
        The cell that stands for the place; its levels, masses and lattice constant c are used.
    place
        What was measured there; ``None`` leaves the measured rows empty.
    experiment
        Conditions, and the parameters of the estimates (``model``).
    """
    bulk = _bulk(cell)
    terms = [
        bulk,
        confinement(cell, experiment, bulk.value_ev),
        self_energy(cell, experiment),
        image_screening(cell, experiment),
        junction(cell, experiment, place),
        _peak(place),
    ]
    terms = [row.model_copy(update={"sign": sign}) for row, sign in zip(terms, SIGNS, strict=True)]
    total = _sum(terms)
    measured = _measured(place)
    return [*terms, total, measured, _remainder(measured, total), *_beside(total, experiment)]


def _is_hybrid(functional: str) -> bool:
    return functional.upper().startswith(HYBRIDS)


def _bulk(cell: CellResult) -> LedgerRow:
    best = best_level(cell.levels)
    known = [level.gap_ev for level in cell.levels if level.gap_ev is not None]
    if best is None and cell.edges is not None and cell.edges.gap_ev is not None:
        functional = cell.settings.functional if cell.settings else "functional not recorded"
        return LedgerRow(
            term="bulk gap",
            value_ev=cell.edges.gap_ev,
            source=f"{cell.label}, {functional}",
            notes=["one level of theory only: no range"],
        )
    if best is None:
        return LedgerRow(term="bulk gap", value_ev=None, source=cell.label, notes=["the cell has no computed gap"])
    notes = ["range: all levels of theory computed for this cell"] if len(known) > 1 else ["one level only: no range"]
    if not (_is_hybrid(best.functional) and best.spin_orbit):
        notes.append("not a hybrid with spin-orbit coupling, so this gap may be off by an electronvolt")
    return LedgerRow(
        term="bulk gap",
        value_ev=best.gap_ev,
        low_ev=min(known) if len(known) > 1 else None,
        high_ev=max(known) if len(known) > 1 else None,
        source=f"{cell.label}, {describe_level(best)}",
        notes=notes,
    )


def _peak(place: Place | None) -> LedgerRow:
    term = "peak rather than onset"
    if place is None or place.gap is None or place.onset_gap_ev is None:
        return LedgerRow(
            term=term,
            value_ev=None,
            low_ev=0.0,
            source="positive: a peak lies outside the onset",
            notes=["the onset was not given beside the peak: no value and no upper end"],
        )
    return LedgerRow(term=term, value_ev=place.gap - place.onset_gap_ev, source="measured: peak gap less onset gap")


def _sum(terms: list[LedgerRow]) -> LedgerRow:
    if terms[0].value_ev is None:
        return LedgerRow(term="sum", value_ev=None, source="terms above", notes=["without a bulk gap there is no sum"])
    valued = [row for row in terms if row.value_ev is not None]
    ends = {"low": [_end(row.low_ev, row) for row in terms], "high": [_end(row.high_ev, row) for row in terms]}
    left_out = [row.term for row in terms if row.value_ev is None]
    notes = [f"not a full sum: these terms have no value, at most a range: {', '.join(left_out)}"] if left_out else []
    for name, values in ends.items():
        open_terms = [row.term for row, value in zip(terms, values, strict=True) if value is None]
        if open_terms:
            notes.append(f"no {name} end: none is known for {', '.join(open_terms)}")
    return LedgerRow(
        term="sum",
        value_ev=sum(row.value_ev for row in valued if row.value_ev is not None),
        low_ev=_total(ends["low"]),
        high_ev=_total(ends["high"]),
        source="terms above; ends of the ranges added",
        notes=notes,
    )


def _end(end: float | None, row: LedgerRow) -> float | None:
    """Return an end of the range of a term: its value where it has no range, None where nothing is known."""
    return row.value_ev if end is None else end


def _total(values: Iterable[float | None]) -> float | None:
    known = list(values)
    return None if None in known else sum(value for value in known if value is not None)


def _measured(place: Place | None) -> LedgerRow:
    term = "measured STS gap"
    gap = place.gap if place else None
    if place is None or gap is None:
        return LedgerRow(term=term, value_ev=None, source="not given")
    error = place.gap_error
    return LedgerRow(
        term=term,
        value_ev=gap,
        low_ev=None if error is None else gap - error,
        high_ev=None if error is None else gap + error,
        source=place.source or place.method or "experiment file",
        notes=["no standard error is given: no range"] if error is None else ["range: one standard error"],
    )


def _remainder(measured: LedgerRow, total: LedgerRow) -> LedgerRow:
    term = "measured less sum"
    if measured.value_ev is None or total.value_ev is None:
        return LedgerRow(term=term, value_ev=None, source="measured STS gap, sum", notes=["one of the two is missing"])
    return LedgerRow(
        term=term,
        value_ev=measured.value_ev - total.value_ev,
        low_ev=None if total.high_ev is None else _first_known(measured.low_ev, measured.value_ev) - total.high_ev,
        high_ev=None if total.low_ev is None else _first_known(measured.high_ev, measured.value_ev) - total.low_ev,
        source="what the terms leave unexplained; zero inside the range means nothing is",
        notes=[
            f"no {name} end: {reason}"
            for name, end, reason in (
                ("low", total.high_ev, "the sum has no high one"),
                ("high", total.low_ev, "the sum has no low one"),
            )
            if end is None
        ],
    )


def _beside(total: LedgerRow, experiment: Experiment) -> list[LedgerRow]:
    """Return the rows that are not in the sum: optical gap and measured bulk gap."""
    optical, model = experiment.optical, experiment.model
    rows = [_optical(total, optical.exciton_binding_ev if optical else None, model.exciton_binding_ev)]
    if optical is not None:
        rows.append(_beside_row("optical gap, measured (not in the sum)", optical.gap_ev))
    if model.bulk_gap_ev is not None:
        rows.append(_beside_row("bulk gap, measured (not in the sum)", model.bulk_gap_ev))
    return rows


def _optical(total: LedgerRow, *given: Quantity | None) -> LedgerRow:
    """Return the optical gap that the sum means: less the first exciton binding energy that is known, or a bound."""
    term = "optical gap (not in the sum): quasiparticle gap less exciton binding"
    binding = next((one for one in given if one is not None and span(one)), None)
    if binding is None or total.value_ev is None:
        reason = "there is no sum" if binding is not None else "the exciton binding energy of this sample is not known"
        return LedgerRow(term=term, value_ev=None, source="exciton binding energy not given", notes=[reason])
    value = None if binding.value is None else total.value_ev - binding.value
    notes = [] if value is not None else ["the exciton binding energy of this sample is not known: at most a bound"]
    return LedgerRow(
        term=term,
        value_ev=value,
        low_ev=None if binding.high is None or total.low_ev is None else total.low_ev - binding.high,
        high_ev=None if binding.low is None or total.high_ev is None else total.high_ev - binding.low,
        source=f"exciton binding: {binding.source}",
        notes=notes,
    )


def _beside_row(term: str, quantity: Quantity) -> LedgerRow:
    return LedgerRow(
        term=term, value_ev=quantity.value, low_ev=quantity.low, high_ev=quantity.high, source=quantity.source
    )


def _first_known(*values: float | None) -> float:
    return next((value for value in values if value is not None), 0.0)
