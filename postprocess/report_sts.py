"""The part of a report that shows an analysis of sweeps: tables, and figures to be drawn."""

import re
from collections.abc import Iterator
from functools import partial

from matplotlib.figure import Figure

from corecrown.errors import InputError
from corecrown.postprocess.experiment import load_experiment
from corecrown.postprocess.report_figures import ReportFigure
from corecrown.postprocess.report_text import (
    NOTHING,
    Table,
    bare_level,
    joined,
    number_text,
    range_text,
    shift_text,
    unique,
)
from corecrown.postprocess.results import Comparison, StudyResult
from corecrown.postprocess.sts.alignment import ScaleRow, energy_scales
from corecrown.postprocess.sts.beside import cell_dos
from corecrown.postprocess.sts.figures import (
    alignment_figure,
    histogram_figure,
    overlay_figure,
    spectra_figure,
    stability_figure,
    trap_figure,
    trap_map_figure,
)
from corecrown.postprocess.sts.groups import GroupSpectra
from corecrown.postprocess.sts.overlay import Junction, OverlayFit
from corecrown.postprocess.sts.results import GroupResult, Interval, StsResult
from corecrown.postprocess.sts.storage import StoredAnalysis
from corecrown.postprocess.study import Study

__all__ = ["alignment_part", "interval_text", "scales_of", "sts_figures", "sts_remarks", "sts_tables"]

_DFT = "DFT "
_SCALES = {
    "STS": "STS",
    "synthetic": "synthetic sweeps",
    "UPS": "photoemission",
    "optical": "optics",
    "DFT": "DFT",
}
"""What a scale is called in a sentence, by the first word of its rows."""


def sts_tables(stored: StoredAnalysis) -> list[Table]:
    """Return edges, second sets of edges, shifts, states in the gap, stability and overlays, those that there are."""
    result = stored.analysis.result
    made = [_edges(result), _pairs(result), _shifts(result), _traps(result), _stability(result), _overlays(stored)]
    return [table for table in made if table is not None and table.rows]


def sts_figures(stored: StoredAnalysis, study: Study | None) -> list[ReportFigure]:
    """Return the figures of an analysis; the overlays need the densities of states of the study."""
    analysis = stored.analysis
    result = analysis.result
    synthetic = any(group.synthetic for group in result.groups.values())
    made = "Synthetic sweeps. " if synthetic else ""
    low, high = result.traps.window_v
    figures = [
        ReportFigure(
            "sts-spectra",
            f"{made}Averaged dI/dV of each group over its largest value, with the 95 % interval by resampling "
            "platelets where there is one; triangles mark the edges.",
            lambda: spectra_figure(analysis),
        ),
        ReportFigure(
            "sts-histograms",
            f"{made}Edges of individual sweeps, and the Gaussians fitted to them.",
            lambda: histogram_figure(analysis),
        ),
        ReportFigure(
            "sts-traps",
            f"{made}dI/dV in the gap over the {result.traps.normalised_by}; the window of the integral, {low:g} to "
            f"{high:g} V, is shaded.",
            lambda: trap_figure(analysis),
        ),
    ]
    for group in dict.fromkeys(one.group for one in result.traps.maps):
        maps = [one for one in result.traps.maps if one.group == group]
        figures.append(
            ReportFigure(
                f"sts-trap-map-{_plain(group)}",
                f"{made}How the change of the states in the gap, {group} against {maps[0].reference}, depends on both "
                "ends of the window and on what dI/dV is divided by.",
                partial(trap_map_figure, maps, synthetic),
                wide=True,
            )
        )
    if result.stability:
        figures.append(
            ReportFigure(
                "sts-stability",
                f"{made}Gap, and states in the gap of the first sweep, against the number of the sweep.",
                lambda: stability_figure(result.stability, synthetic),
            )
        )
    return [*figures, *_overlay_figures(stored, study, made)]


def scales_of(study: StudyResult) -> list[ScaleRow]:
    """Return the edges of the experiment a study was compared with on all its scales, where its file is at hand."""
    comparison = study.comparison
    if comparison is None or comparison.experiment is None:
        return []
    try:
        experiment = load_experiment(comparison.experiment)
    except InputError:
        return []
    return energy_scales(experiment, {row.cell: row.gap_ev for row in comparison.rows if row.gap_ev is not None})


def alignment_part(rows: list[ScaleRow], comparison: Comparison | None = None) -> tuple[Table, ReportFigure]:
    """Return the table and the figure of all energy scales.

    Parameters
    ----------
    rows
        As they are drawn.
    comparison
        Whose computed gaps are drawn; their level of theory stands in the caption.
    """
    table = Table(
        "Edges on all scales, in eV from E_F of the substrate, as they are stated: separate scales, not one.",
        ("Scale", "Valence edge", "Conduction edge", "Joined to the others by"),
        [
            (row.label, number_text(row.vbm_ev, 2, signed=True), number_text(row.cbm_ev, 2, signed=True), row.note)
            for row in rows
        ],
        ["no uncertainties: the comparison has those of gaps and shifts; an optical gap has no edges of its own"],
        frozenset({3}),
    )
    names = {_SCALES.get(row.label.split(" ", maxsplit=1)[0], row.label) for row in rows}
    scales = [name for name in _SCALES.values() if name in names]
    levels = _levels_drawn(rows, comparison)
    level = f" The computed gaps are those of {'; '.join(levels)}." if levels else ""
    return table, ReportFigure(
        "energy-scales",
        f"Edges by {joined(scales)}, hung as the table says. The scales do not agree; the table says by how much."
        f"{level}",
        lambda: alignment_figure(rows),
        wide=True,
    )


def _levels_drawn(rows: list[ScaleRow], comparison: Comparison | None) -> list[str]:
    drawn = {row.label.removeprefix(_DFT) for row in rows if row.label.startswith(_DFT)}
    known = [bare_level(row.level) for row in comparison.rows if row.cell in drawn] if comparison is not None else []
    return unique([level for level in known if level is not None])


def sts_remarks(result: StsResult) -> list[str]:
    """Return what to keep in mind: flags of the analysis, of each group, and what was skipped."""
    remarks = list(result.flags)
    for name, group in result.groups.items():
        remarks += [f"{name}: {flag}" for flag in group.flags]
        remarks += [f"{name}: skipped {skipped.file}: {skipped.reason}" for skipped in group.skipped]
    return remarks


def _edges(result: StsResult) -> Table:
    rows = []
    notes: list[str] = []
    for name, group in result.groups.items():
        onset = group.onset.get("onset-linear")
        spread = group.by_sweep.gap_ev if group.by_sweep else None
        rows.append(
            (
                name,
                f"{group.n_averaged} of {group.n_sweeps}",
                interval_text(group.vbm_v),
                interval_text(group.cbm_v),
                interval_text(group.gap_ev),
                NOTHING if onset is None else interval_text(onset.gap_ev),
                NOTHING
                if spread is None or spread.mean is None
                else f"{number_text(spread.mean)}, σ {number_text(spread.std)} ({spread.n})",
                number_text(group.resolution_ev),
                interval_text(group.trap_integral, 4),
            )
        )
        notes += [f"{name}: {reason}" for reason in _reasons(group)]
    method = next(iter(result.groups.values())).method
    return Table(
        f"Edges of averaged spectra ({method}), V; gaps in eV; ± is the standard error by resampling platelets. The "
        "width is that of a line and does not bound a shift between centres. The trap integral is in V.",
        ("Group", "Sweeps", "VBM", "CBM", "Gap", "Gap of onsets", "Gap by sweep", "Width", "Traps"),
        rows,
        unique(notes),
    )


def _reasons(group: GroupResult) -> Iterator[str]:
    for name in ("vbm_v", "cbm_v", "gap_ev", "trap_integral"):
        interval: Interval = getattr(group, name)
        if interval.standard_error is None and interval.reason:
            yield f"{name}: {interval.reason}"


def _pairs(result: StsResult) -> Table | None:
    rows = []
    notes = []
    for name, group in result.groups.items():
        second, alignment = group.second_edges, group.alignment
        if second is None:
            continue
        rows.append(
            (
                name,
                *(
                    NOTHING if one is None else interval_text(one)
                    for one in (second.nearer_vbm_v, second.nearer_cbm_v, second.vbm_v, second.cbm_v)
                ),
                NOTHING if alignment is None else shift_text(alignment.valence_offset_ev, alignment.valence_error_ev),
                NOTHING
                if alignment is None
                else shift_text(alignment.conduction_offset_ev, alignment.conduction_error_ev),
                NOTHING if alignment is None else alignment.kind.value,
            )
        )
        notes += [f"{name}: {note}" for note in [*second.notes, *(alignment.notes if alignment else [])]]
    return Table(
        "Spectra that hold two sets of edges, V, and the offsets of the farther (crown) from the nearer (core), eV, "
        "positive outwards.",
        (
            "Group",
            "Core VBM",
            "Core CBM",
            "Crown VBM",
            "Crown CBM",
            "Valence offset",
            "Conduction offset",
            "Alignment",
        ),
        rows,
        notes,
    )


def _shifts(result: StsResult) -> Table | None:
    names = {"vbm_v": "valence edge", "cbm_v": "conduction edge", "gap_ev": "gap"}
    rows = [
        (
            shift.group,
            names[shift.quantity],
            shift_text(shift.value, shift.standard_error),
            range_text(shift.low, shift.high, 3),
            {None: NOTHING, True: "yes", False: "no"}[shift.exceeds_standard_error],
            number_text(shift.line_width_ev),
        )
        for shift in result.shifts
    ]
    notes = [f"{one.group}, {names[one.quantity]}: {one.reason}" for one in result.shifts if one.reason]
    reference = result.shifts[0].reference if result.shifts else ""
    return Table(
        f"Shifts from {reference}, eV, with the standard error by resampling platelets; whether each exceeds twice "
        "that; the line width beside it.",
        ("Group", "Of", "Shift", "95 % interval", "Beyond 2 σ", "Line width"),
        rows,
        notes,
        frozenset({1}),
    )


def _traps(result: StsResult) -> Table | None:
    low, high = result.traps.window_v
    rows = [
        (
            f"{one.group} against {one.reference}",
            number_text(one.percent, 1, signed=True),
            range_text(one.low, one.high, 1),
        )
        for one in result.traps.changes
    ]
    notes = [f"{one.group}: {one.reason}" for one in result.traps.changes if one.reason]
    return Table(
        f"Change of the states in the gap, %: ∫dI/dV from {low:g} to {high:g} V over the {result.traps.normalised_by}.",
        ("Groups", "Change", "95 % interval"),
        rows,
        [*notes, *result.traps.notes],
    )


def _stability(result: StsResult) -> Table | None:
    rows = []
    notes = []
    for name, series in result.stability.items():
        rows += [
            (
                name,
                str(point.sweep),
                str(point.n_platelets),
                _plus_minus(point.gap_ev, point.gap_error_ev),
                _plus_minus(point.relative_dos, point.relative_dos_error),
            )
            for point in series
        ]
        notes += [f"{name}: {reason}" for reason in unique([one.reason for one in series if one.reason])]
    return Table(
        "Repeated sweeps: gap, eV, and ∫dI/dV over the gap of the first sweep, the first being 1.",
        ("Group", "Sweep", "Platelets", "Gap", "States in the first gap"),
        rows,
        notes,
    )


def _overlays(stored: StoredAnalysis) -> Table | None:
    rows = [
        (
            one.group,
            one.cell,
            NOTHING if one.fit is None else shift_text(one.fit.shift_ev, one.fit.shift_error_ev),
            NOTHING if one.fit is None else shift_text(one.fit.scissor_ev, one.fit.scissor_error_ev),
            NOTHING if one.fit is None else number_text(one.fit.r_squared, 2),
        )
        for one in stored.overlays
    ]
    return Table(
        "Computed densities of states on dI/dV: where the valence edge comes to lie from E_F, and what is added to the "
        "computed gap (scissor), eV.",
        ("Group", "Cell", "Valence edge", "Scissor", "R²"),
        rows,
        [f"{one.group}: {note}" for one in stored.overlays for note in unique(one.notes)],
    )


def _overlay_figures(stored: StoredAnalysis, study: Study | None, made: str) -> list[ReportFigure]:
    figures = []
    for one in stored.overlays:
        fit, junction, spectrum = one.fit, one.junction, stored.analysis.spectra.get(one.group)
        measured = stored.analysis.result.groups.get(one.group)
        gap = None if measured is None else measured.gap_ev.value
        if study is None or fit is None or junction is None or spectrum is None:
            continue
        figures.append(
            ReportFigure(
                f"sts-overlay-{_plain(one.group)}",
                f"{made}Density of states of {one.cell}, broadened by {junction.temperature_k:g} K, the bandwidth of "
                "the derivative and the tunnelling transmission, over dI/dV of "
                f"{one.group}; heights of both edges fitted.",
                partial(_draw_overlay, spectrum, study, one.cell, junction, fit, gap),
            )
        )
    return figures


def _draw_overlay(
    spectrum: GroupSpectra, study: Study, cell: str, junction: Junction, fit: OverlayFit, gap_ev: float | None
) -> Figure:
    return overlay_figure(spectrum, cell_dos(study, cell), junction, fit, measured_gap_ev=gap_ev)


def _plain(name: str) -> str:
    """Return the name of a group as it may stand in a file name."""
    return re.sub(r"[^\w-]+", "-", name).strip("-") or "group"


def interval_text(interval: Interval, digits: int = 3) -> str:
    """Return a value with its standard error; without one, the value alone."""
    return _plus_minus(interval.value, interval.standard_error, digits)


def _plus_minus(value: float | None, error: float | None, digits: int = 3) -> str:
    text = number_text(value, digits)
    return text if value is None or error is None else f"{text} ± {number_text(error, digits)}"
