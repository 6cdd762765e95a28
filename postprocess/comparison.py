"""DFT against STS: shifts of the gap cell by cell beside the places they stand for, ledger, split and flags."""

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
    Level,
    ShiftSplit,
    StudyResult,
)

__all__ = ["compare_study", "load_experiment", "shift_uncertainty", "split_shifts"]

ENSEMBLE_MEMBER = re.compile(r"(?P<family>.+-e)\d+")


@dataclass(frozen=True)
class _Shift:
    """A shift from the reference, what it is worth, and why."""

    value: float | None
    uncertainty: float | None
    notes: tuple[str, ...]


def compare_study(
    study: StudyResult, experiment: Experiment, gap_uncertainty_ev: float | None = None
) -> Comparison:
    """Set the gaps of a study beside what was measured.

    Parameters
    ----------
    study
        The cells; one that is missing, failed or metallic gets a row with nulls and the reason.
    experiment
        What was measured, and which cell stands for which place (`load_experiment`).
    gap_uncertainty_ev
        How far the protocol that was used leaves a gap from its converged value, eV; enters every shift as a floor.

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
        _row(cells[label], reference, places.get(label), reference_place, experiment, gap_uncertainty_ev)
        for label in order
        if label is not None
    ]
    rows += _ensemble_rows(rows, places, reference_place, experiment)
    named = {row.cell for row in rows}
    missing = [
        _missing_row(cell, place, reference_place, experiment)
        for cell, place in places.items()
        if cell not in named
    ]
    rows = [*missing, *rows] if missing and missing[0].cell == reference_label else [*rows, *missing]
    splits = split_shifts(study.cells, reference_label, gap_uncertainty_ev)
    return Comparison(
        rows=rows,
        ledger=_ledger(reference, reference_label, reference_place, experiment),
        flags=comparison_flags(rows, reference, experiment),
        splits=splits,
        experiment=experiment.name,
    )


def shift_uncertainty(
    cell: CellResult, reference: CellResult, gap_uncertainty_ev: float | None = None
) -> tuple[float | None, list[str]]:
    """Estimate how far the shift of a gap may be off, and say what from.

    Added in quadrature, each where it can be had: the difference between the shift from the bands and the shift from
    the mesh (one functional); half the range of the shift over levels of theory; √2 times ``gap_uncertainty_ev``.

    Returns
    -------
    uncertainty, notes
        eV (``None`` where nothing is known), and the origin of each part.
    """
    parts: list[float] = []
    notes: list[str] = []
    by_source = _shifts_by_source(cell, reference)
    if by_source:
        name, worst = max(by_source.items(), key=lambda item: item[1])
        parts.append(worst)
        notes.append(f"shift uncertainty: bands against mesh at {name}, {worst:.3f} eV")
    by_level = _shifts_by_level(cell, reference)
    if len(by_level) > 1:
        half = (max(by_level.values()) - min(by_level.values())) / 2
        parts.append(half)
        shown = ", ".join(f"{name} {value:+.3f}" for name, value in by_level.items())
        notes.append(
            f"shift uncertainty: half the range over levels of theory, {half:.3f} eV (shifts: {shown} eV)"
        )
    if gap_uncertainty_ev is not None:
        parts.append(2**0.5 * gap_uncertainty_ev)
        notes.append(
            f"shift uncertainty: the protocol leaves ±{gap_uncertainty_ev:g} eV on a gap (mesh, cutoff, relaxation), "
            f"√2 of it on a shift"
        )
    if not parts:
        return None, [
            "no shift uncertainty: one gap source, one level of theory, and no tolerance of the protocol"
        ]
    if gap_uncertainty_ev is None:
        notes.append("shift uncertainty: cutoff and relaxation are not in it")
    return sum(part**2 for part in parts) ** 0.5, notes


def split_shifts(
    cells: Sequence[CellResult], reference_label: str | None, gap_uncertainty_ev: float | None = None
) -> list[ShiftSplit]:
    """Split the shift of each cell that has a ``-framework`` twin into strain, distortion and A-site chemistry.

    strain = gap(reference strained to the cell's lattice) - gap(reference); distortion = gap(the cell's framework
    with the reference's A-site ion) - gap(strained); A site = gap(cell) - gap(framework). The parts depend on this
    order; their sum does not.
    """
    by_label = {cell.label: cell for cell in cells}
    reference = by_label.get(reference_label or "")
    splits = []
    for cell in cells:
        framework = by_label.get(f"{cell.label}-framework")
        if framework is None or reference is None or cell.label == reference.label:
            continue
        strained = _strained_to(cell, reference, cells)
        gaps = [_gap(c) if c is not None else None for c in (reference, strained, framework, cell)]
        steps = [
            b - a if a is not None and b is not None else None for a, b in zip(gaps, gaps[1:], strict=False)
        ]
        uncertainty, notes = shift_uncertainty(cell, reference, gap_uncertainty_ev)
        if strained is None:
            notes.append(
                f"no cell {reference.label}-strained in the lattice of {cell.label}: strain not told apart"
            )
        notes += [
            f"{c.label}: {_no_gap(c)}"
            for c in (reference, strained, framework, cell)
            if c is not None and _gap(c) is None
        ]
        notes += [
            f"{c.label} is not at the level of {reference.label}: {reason}"
            for c in (strained, framework, cell)
            if c is not None and (reason := _level_differs(c, reference))
        ]
        splits.append(
            ShiftSplit(
                cell=cell.label,
                reference=reference.label,
                strain_ev=steps[0],
                distortion_ev=steps[1],
                a_site_ev=steps[2],
                total_ev=gaps[3] - gaps[0] if gaps[0] is not None and gaps[3] is not None else None,
                uncertainty_ev=uncertainty,
                level=_level_text(cell),
                notes=notes,
            )
        )
    return splits


def _reference_label(experiment: Experiment, study: StudyResult) -> str | None:
    if experiment.compare:
        return experiment.compare[0].cell
    labels = [cell.label for cell in study.cells]
    return "fa000" if "fa000" in labels else next(iter(labels), None)


def _row(
    cell: CellResult,
    reference: CellResult | None,
    place_name: str | None,
    reference_place: Place | None,
    experiment: Experiment,
    gap_uncertainty_ev: float | None,
) -> ComparisonRow:
    gap = _gap(cell)
    shift = _shift(cell, reference, gap_uncertainty_ev)
    notes = list(shift.notes)
    if gap is None:
        notes.insert(0, _no_gap(cell))
    return _with_place(
        ComparisonRow(
            cell=cell.label,
            place=place_name,
            gap_ev=gap,
            shift_ev=shift.value,
            shift_uncertainty_ev=shift.uncertainty,
            level=_level_text(cell),
            notes=notes,
        ),
        reference_place,
        experiment,
    )


def _missing_row(
    cell: str, place: str, reference_place: Place | None, experiment: Experiment
) -> ComparisonRow:
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
            notes.append(
                "no standard error of the measured shift: spread and number of platelets are not given"
            )
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
    gap = _gap(cell)
    if reference is None:
        return _Shift(None, None, ("no shift: the reference cell is not in the study",))
    reference_gap = _gap(reference)
    if cell.label == reference.label:
        known = gap is not None
        return _Shift(0.0 if known else None, 0.0 if known else None, ("the reference",))
    if gap is None or reference_gap is None:
        who = reference.label if reference_gap is None else cell.label
        return _Shift(None, None, (f"no shift: {who} has no gap",))
    reason = _level_differs(cell, reference)
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
    """Return one row for each ensemble of orientations or sites: the mean over its members, and their spread."""
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
                "shift uncertainty: standard error over the members and the largest uncertainty of one of them",
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


def _gap(cell: CellResult) -> float | None:
    return cell.edges.gap_ev if cell.edges is not None else None


def _no_gap(cell: CellResult) -> str:
    if cell.failed:
        step, reason = next(iter(cell.failed.items()))
        return f"no gap: {step} failed: {reason}"
    if cell.edges is None:
        return "no gap: no step that gives band edges has finished"
    return f"no gap: {'; '.join(cell.edges.notes) or 'the cell is a metal or has no empty bands'}"


def _level_text(cell: CellResult) -> str | None:
    settings = cell.settings
    if settings is None or cell.edges is None:
        return None
    cutoff = (
        f"{settings.cutoff_wfc_ry:g} Ry"
        if settings.cutoff_wfc_ry is not None
        else f"{settings.encut_ev:g} eV"
        if settings.encut_ev is not None
        else "cutoff not recorded"
    )
    mesh = (
        "×".join(str(n) for n in settings.kpoint_mesh) + " mesh"
        if settings.kpoint_mesh
        else "mesh not recorded"
    )
    spin = "spin-orbit" if settings.spin_orbit else "no spin-orbit"
    return f"{settings.functional}, {spin}, {cutoff}, {mesh}, gap from {cell.edges.source}"


def _level_differs(cell: CellResult, reference: CellResult) -> str | None:
    """Say in what the settings of two cells differ that a shift between them should not have; functional first."""
    mine, theirs = cell.settings, reference.settings
    if mine is None or theirs is None:
        return "settings not recorded"
    if (mine.functional, mine.spin_orbit) != (theirs.functional, theirs.spin_orbit):
        return f"functional {mine.functional}/{theirs.functional}, spin-orbit {mine.spin_orbit}/{theirs.spin_orbit}"
    for name in ("cutoff_wfc_ry", "encut_ev"):
        if getattr(mine, name) != getattr(theirs, name):
            return f"{name} {getattr(mine, name)}/{getattr(theirs, name)}"
    if mine.kpoint_mesh != theirs.kpoint_mesh:
        return f"mesh {mine.kpoint_mesh}/{theirs.kpoint_mesh}"
    return None


def _level_key(level: Level) -> str:
    return f"{level.functional}{'+SOC' if level.spin_orbit else ''}"


def _shifts_by_source(cell: CellResult, reference: CellResult) -> dict[str, float]:
    """Return |shift from bands - shift from mesh| for each level of theory that has both, in both cells."""
    mine, theirs = _gaps_by_level_and_source(cell), _gaps_by_level_and_source(reference)
    return {
        key: abs((mine[key, "bands"] - theirs[key, "bands"]) - (mine[key, "mesh"] - theirs[key, "mesh"]))
        for key in dict.fromkeys(name for name, _ in mine)
        if all((key, source) in gaps for gaps in (mine, theirs) for source in ("bands", "mesh"))
    }


def _shifts_by_level(cell: CellResult, reference: CellResult) -> dict[str, float]:
    """Return the shift at each level of theory that both cells have, from the same source in both."""
    mine, theirs = _gaps_by_level_and_source(cell), _gaps_by_level_and_source(reference)
    shifts: dict[str, float] = {}
    for source in ("bands", "mesh"):
        for key, place in mine:
            if place == source and (key, source) in theirs and key not in shifts:
                shifts[key] = mine[key, source] - theirs[key, source]
    return shifts


def _gaps_by_level_and_source(cell: CellResult) -> dict[tuple[str, str], float]:
    gaps: dict[tuple[str, str], float] = {}
    for level in cell.levels:
        if level.gap_ev is not None:
            key = (_level_key(level), level.source)
            gaps[key] = min(level.gap_ev, gaps.get(key, level.gap_ev))
    return gaps


def _strained_to(cell: CellResult, reference: CellResult, cells: Sequence[CellResult]) -> CellResult | None:
    """Return the reference strained to the lattice of a cell: labelled so, and of the same lattice constants."""

    def lattice(one: CellResult) -> tuple[float, float, float]:
        return one.lattice_a_angstrom, one.lattice_b_angstrom, one.lattice_c_angstrom

    for one in cells:
        named = one.label.startswith(f"{reference.label}-strained")
        if named and all(abs(a - b) < 0.005 for a, b in zip(lattice(one), lattice(cell), strict=True)):
            return one
    return None
