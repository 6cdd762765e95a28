"""Tables that the commands sts and compare print."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from corecrown.cli.common import print_table

if TYPE_CHECKING:
    from corecrown.postprocess.results import Comparison
    from corecrown.postprocess.sts.beside import Overlay
    from corecrown.postprocess.sts.results import GroupResult, Interval, StabilityPoint, StsResult

__all__ = ["print_analysis", "print_overlays", "print_parts"]


def print_analysis(result: "StsResult") -> None:
    """Print edges, second sets, shifts, states in the gap, stability, and what to keep in mind."""
    print_table(
        "Edges of averaged spectra (V, gaps and width in eV)",
        ["group", "n", "VBM", "CBM", "gap", "onset gap", "by sweep (n)", "width", "traps"],
        [_edge_row(name, group) for name, group in result.groups.items()],
        caption="±: standard error by resampling platelets; width: of a line, does not bound a shift between centres",
    )
    _print_pairs(result.groups)
    _print_shifts(result)
    _print_traps(result)
    for name, series in result.stability.items():
        _print_stability(name, series)
    _print_remarks(result)


def _print_shifts(result: "StsResult") -> None:
    if not result.shifts:
        return
    beyond = {None: "-", True: "yes", False: "no"}
    rows = [
        [
            shift.group,
            shift.quantity,
            _with_error(shift.value, shift.standard_error),
            _range(shift.low, shift.high),
            beyond[shift.exceeds_standard_error],
        ]
        for shift in result.shifts
    ]
    header = ["group", "quantity", "shift (eV)", "interval (eV)", "beyond 2 standard errors"]
    print_table(f"Shifts from {result.shifts[0].reference}", header, rows)


def _print_traps(result: "StsResult") -> None:
    if not result.traps.changes:
        return
    low, high = result.traps.window_v
    print_table(
        f"States in the gap, {low:g} to {high:g} V, over the {result.traps.normalised_by}",
        ["group", "change (%)", "interval (%)"],
        [
            [f"{c.group} against {c.reference}", _number(c.percent, "+.1f"), _range(c.low, c.high, "+.1f")]
            for c in result.traps.changes
        ],
    )


def _print_remarks(result: "StsResult") -> None:
    """Print flags, files that were skipped, and why values have no intervals."""
    for change in result.traps.changes:
        if change.reason:
            typer.echo(f"  - {change.group} against {change.reference}: no interval: {change.reason}")
    for flag in result.flags:
        typer.echo(f"  - {flag}")
    for name, group in result.groups.items():
        for flag in group.flags:
            typer.echo(f"  - {name}: {flag}")
        for skipped in group.skipped:
            typer.echo(f"  skipped {skipped.file}: {skipped.reason}")
        for quantity in ("vbm_v", "cbm_v", "gap_ev", "trap_integral"):
            interval: Interval = getattr(group, quantity)
            if interval.value is not None and interval.reason:
                typer.echo(f"  - {name}: {quantity} has no interval: {interval.reason}")


def print_overlays(overlays: Sequence["Overlay"]) -> None:
    """Print how computed densities of states came to lie on dI/dV."""
    print_table(
        "Computed densities of states on dI/dV",
        ["group", "cell", "valence edge (eV)", "scissor (eV)", "R²"],
        [
            [
                one.group,
                one.cell,
                "-" if one.fit is None else _with_error(one.fit.shift_ev, one.fit.shift_error_ev),
                "-" if one.fit is None else _with_error(one.fit.scissor_ev, one.fit.scissor_error_ev),
                "-" if one.fit is None else f"{one.fit.r_squared:.2f}",
            ]
            for one in overlays
        ],
        caption="scissor: added to the computed gap; ±: over resampled spectra",
    )
    for one in overlays:
        for note in dict.fromkeys(one.notes):
            typer.echo(f"  - {one.group}, {one.cell}: {note}")


def _edge_row(name: str, group: "GroupResult") -> list[str]:
    spread = group.by_sweep.gap_ev if group.by_sweep else None
    single = "-" if spread is None or spread.mean is None else f"{spread.mean:.3f} ({spread.n})"
    return [
        name,
        f"{group.n_platelets}",
        _interval(group.vbm_v),
        _interval(group.cbm_v),
        _interval(group.gap_ev),
        _interval(group.onset["onset-linear"].gap_ev) if "onset-linear" in group.onset else "-",
        single,
        _number(group.resolution_ev),
        _interval(group.trap_integral, ".4f"),
    ]


def _print_pairs(groups: "dict[str, GroupResult]") -> None:
    """Print spectra that hold two sets of edges: core and crown, and how they lie to each other."""
    rows = []
    notes = []
    for name, group in groups.items():
        second, alignment = group.second_edges, group.alignment
        if second is None or alignment is None:
            continue
        edges = (second.nearer_vbm_v, second.nearer_cbm_v, second.vbm_v, second.cbm_v)
        rows.append(
            [
                name,
                *("-" if edge is None else _interval(edge) for edge in edges),
                _with_error(alignment.valence_offset_ev, alignment.valence_error_ev),
                _with_error(alignment.conduction_offset_ev, alignment.conduction_error_ev),
                alignment.kind.value,
            ]
        )
        notes += [f"{name}: {note}" for note in (*second.notes, *alignment.notes)]
        notes += [f"{name}: no interval: {edge.reason}" for edge in edges if edge is not None and edge.reason]
    if not rows:
        return
    header = ("core VBM", "core CBM", "crown VBM", "crown CBM", "valence offset", "conduction offset", "type")
    print_table("Two sets of edges in one spectrum (V, offsets in eV)", ["group", *header], rows)
    for note in dict.fromkeys(notes):
        typer.echo(f"  - {note}")


def _print_stability(name: str, series: "Sequence[StabilityPoint]") -> None:
    print_table(
        f"Repeated sweeps of {name}",
        ["sweep", "gap (eV)", "states in the first gap (first = 1)", "platelets"],
        [
            [
                str(point.sweep),
                _plus_minus(point.gap_ev, point.gap_error_ev),
                _plus_minus(point.relative_dos, point.relative_dos_error),
                str(point.n_platelets),
            ]
            for point in series
        ],
        caption="" if series[0].reason is None else f"no standard errors: {series[0].reason}",
    )


def print_parts(comparison: "Comparison") -> None:
    """Print what a comparison says beside its tables: splits of shifts, and where uncertainties come from."""
    if comparison.splits:
        print_table(
            "What a shift comes from",
            ["cell", "strain / eV", "distortion / eV", "A site / eV", "total / eV"],
            [
                [
                    split.cell,
                    _number(split.strain_ev, "+.3f"),
                    _number(split.distortion_ev, "+.3f"),
                    _number(split.a_site_ev, "+.3f"),
                    _with_error(split.total_ev, split.uncertainty_ev),
                ]
                for split in comparison.splits
            ],
        )
    said = [
        *((row.cell, row.notes) for row in comparison.rows),
        *((f"{split.cell}, split", split.notes) for split in comparison.splits),
        *((term.term, term.notes) for term in comparison.ledger),
    ]
    if any(notes for _, notes in said):
        typer.echo("Where numbers come from, and what is missing")
    for name, notes in said:
        for note in notes:
            typer.echo(f"  {name}: {note}")


def _number(value: float | None, form: str = ".3f") -> str:
    return "-" if value is None else format(value, form)


def _with_error(value: float | None, error: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:+.3f} ± {'?' if error is None else format(error, '.3f')}"


def _range(low: float | None, high: float | None, form: str = "+.3f") -> str:
    if low is None and high is None:
        return "-"
    return f"{_number(low, form)} to {_number(high, form)}"


def _interval(interval: "Interval", form: str = ".3f") -> str:
    return _plus_minus(interval.value, interval.standard_error, form)


def _plus_minus(value: float | None, error: float | None, form: str = ".3f") -> str:
    if value is None:
        return "-"
    return f"{value:{form}} ± {'?' if error is None else format(error, form)}"
