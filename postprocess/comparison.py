"""DFT against STS: shifts of the gap, cell by cell, beside the places they stand for; ledger and flags."""

import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from corecrown.postprocess.experiment import Experiment, Place, load_experiment
from corecrown.postprocess.flags import comparison_flags
from corecrown.postprocess.ledger import build_ledger
from corecrown.postprocess.results import (
    CellResult,
    Comparison,
    ComparisonRow,
    LedgerRow,
    StudyResult,
)
from corecrown.postprocess.shifts import (
    gap_of,
    level_differs,
    level_text,
    shift_uncertainty,
    split_shifts,
    why_no_gap,
)

__all__ = ["compare_study", "load_experiment"]

ENSEMBLE_MEMBER = re.compile(r"(?P<family>.+-e)\d+")


@dataclass(frozen=True)
class _Shift:
    """A shift from the reference, what it is worth, and why."""

    value: float | None
    uncertainty: float | None
    notes: tuple[str, ...]


def compare_study(study: StudyResult, experiment: Experiment, gap_uncertainty_ev: float | None = None) -> Comparison:
    """Set the gaps of a study beside what was measured.

    Parameters
    ----------
    study
        The cells; one that is missing, failed or metallic gets a row with nulls and the reason.
    experiment
        What was measured, and which cell stands for which place (`load_experiment`).
    gap_uncertainty_ev
        How far the protocol that was used leaves a gap from its converged value, eV; enters every shift as a
        floor.

    Returns
    -------
    Comparison
        Rows (the reference first), ledger of the reference cell, splits and flags.
    """
    places = {pair.cell: pair.place for pair in experiment.compare}
    cells = {cell.label: cell for cell in study.cells}
    reference_label = _reference_label(experiment, study)
    reference = cells.get(reference_label) if reference_label else None
    reference_place = experiment.places.get(places.get(reference_label, "")) if reference_label else None
    order = [label for label in (reference_label,) if label in cells]
    order += [label for label in cells if label != reference_label]
    rows = [
        _with_place(_row(cells[label], places.get(label), reference, gap_uncertainty_ev), reference_place, experiment)
        for label in order
        if label is not None
    ]
    rows += _ensemble_rows(rows, places, reference_place, experiment)
    named = {row.cell for row in rows}
    missing = [
        _missing_row(cell, place, reference_place, experiment) for cell, place in places.items() if cell not in named
    ]
    rows = [*missing, *rows] if missing and missing[0].cell == reference_label else [*rows, *missing]
    splits = split_shifts(study.cells, reference_label, gap_uncertainty_ev)
    return Comparison(
        rows=rows,
        ledger=_ledger(reference, reference_label, reference_place, experiment),
        flags=[
            *(pair.sentence() for pair in study.same_structures),
            *comparison_flags(rows, reference, experiment),
        ],
        splits=splits,
        experiment=experiment.name,
        gap_uncertainty_ev=gap_uncertainty_ev,
    )


def _reference_label(experiment: Experiment, study: StudyResult) -> str | None:
    if experiment.compare:
        return experiment.compare[0].cell
    labels = [cell.label for cell in study.cells]
    return "fa000" if "fa000" in labels else next(iter(labels), None)


def _row(
    cell: CellResult, place: str | None, reference: CellResult | None, gap_uncertainty_ev: float | None
) -> ComparisonRow:
    gap = gap_of(cell)
    shift = _shift(cell, reference, gap_uncertainty_ev)
    return ComparisonRow(
        cell=cell.label,
        place=place,
        gap_ev=gap,
        shift_ev=shift.value,
        shift_uncertainty_ev=shift.uncertainty,
        level=level_text(cell),
        notes=[*([why_no_gap(cell)] if gap is None else []), *shift.notes],
    )


def _missing_row(cell: str, place: str, reference_place: Place | None, experiment: Experiment) -> ComparisonRow:
    row = ComparisonRow(cell=cell, place=place, gap_ev=None, notes=["the study has no such cell (yet)"])
    return _with_place(row, reference_place, experiment)


def _with_place(row: ComparisonRow, reference_place: Place | None, experiment: Experiment) -> ComparisonRow:
    """Return the row with what was measured at its place; a row without a place keeps nulls."""
    place = experiment.places.get(row.place) if row.place else None
    if place is None:
        return row
    notes = list(row.notes)
    sts_gap = place.gap
    is_reference = place is reference_place
    reference_gap = reference_place.gap if reference_place else None
    sts_shift = sts_error = None
    if sts_gap is None:
        notes.append(f"{row.place}: both edges are needed for a gap")
    elif reference_gap is not None:
        sts_shift = 0.0 if is_reference else sts_gap - reference_gap
    if is_reference:
        sts_error = 0.0 if sts_shift is not None else None
    elif sts_shift is not None:
        errors = (place.gap_error, reference_place.gap_error if reference_place else None)
        if errors[0] is None or errors[1] is None:
            notes.append("no standard error of the measured shift: spread and number of platelets are not given")
        else:
            sts_error = (errors[0] ** 2 + errors[1] ** 2) ** 0.5
    difference = row.shift_ev - sts_shift if row.shift_ev is not None and sts_shift is not None else None
    return row.model_copy(
        update={
            "sts_gap_ev": sts_gap,
            "sts_shift_ev": sts_shift,
            "sts_shift_uncertainty_ev": sts_error,
            "difference_ev": difference,
            "notes": notes,
        }
    )


def _shift(cell: CellResult, reference: CellResult | None, gap_uncertainty_ev: float | None) -> _Shift:
    gap = gap_of(cell)
    if reference is None:
        return _Shift(None, None, ("no shift: the reference cell is not in the study",))
    reference_gap = gap_of(reference)
    if cell.label == reference.label:
        known = gap is not None
        return _Shift(0.0 if known else None, 0.0 if known else None, ("the reference",))
    if gap is None or reference_gap is None:
        who = reference.label if reference_gap is None else cell.label
        return _Shift(None, None, (f"no shift: {who} has no gap",))
    reason = level_differs(cell, reference)
    if reason and reason.startswith("functional"):
        return _Shift(None, None, (f"no shift: not the level of {reference.label}: {reason}",))
    uncertainty, notes = shift_uncertainty(cell, reference, gap_uncertainty_ev)
    if reason:
        notes.append(f"not the settings of {reference.label}: {reason}")
    if cell.edges and reference.edges and cell.edges.source != reference.edges.source:
        notes.append(f"gap from {cell.edges.source}, that of {reference.label} from {reference.edges.source}")
    return _Shift(gap - reference_gap, uncertainty, tuple(notes))


def _ensemble_rows(
    rows: Sequence[ComparisonRow],
    places: dict[str, str],
    reference_place: Place | None,
    experiment: Experiment,
) -> list[ComparisonRow]:
    """Return one row for each ensemble of orientations or sites: the mean over its members."""
    families: dict[str, list[ComparisonRow]] = {}
    for row in rows:
        match = ENSEMBLE_MEMBER.fullmatch(row.cell)
        if match:
            families.setdefault(match["family"], []).append(row)
    means = []
    for family, members in families.items():
        gaps = [row.gap_ev for row in members if row.gap_ev is not None]
        shifts = [row.shift_ev for row in members if row.shift_ev is not None]
        if len(gaps) < 2:
            continue
        spread = statistics.stdev(gaps)
        own = [row.shift_uncertainty_ev for row in members if row.shift_uncertainty_ev is not None]
        uncertainty = (max(own, default=0.0) ** 2 + spread**2 / len(gaps)) ** 0.5
        mean = ComparisonRow(
            cell=family,
            place=places.get(family),
            gap_ev=statistics.fmean(gaps),
            shift_ev=statistics.fmean(shifts) if shifts else None,
            shift_uncertainty_ev=uncertainty if shifts else None,
            level=members[0].level,
            notes=[
                f"mean over {len(gaps)} of {len(members)} members, standard deviation {spread:.3f} eV",
                "shift uncertainty: standard error over the members, and the largest uncertainty of one",
            ],
        )
        means.append(_with_place(mean, reference_place, experiment))
    return means


def _ledger(
    reference: CellResult | None, label: str | None, place: Place | None, experiment: Experiment
) -> list[LedgerRow]:
    if reference is None:
        note = f"the reference cell {label} is not in the study" if label else "the study has no cells"
        return [LedgerRow(term="bulk gap", value_ev=None, source="study", notes=[note])]
    return build_ledger(reference, place, experiment)
