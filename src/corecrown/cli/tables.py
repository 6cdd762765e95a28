"""Tables that more than one command prints."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from corecrown.cli.common import print_table

if TYPE_CHECKING:
    from corecrown.postprocess.results import CellResult, Comparison, EnsembleResult, StudyResult

__all__ = ["print_comparison", "print_ensembles", "print_masses", "print_study"]


def print_study(result: "StudyResult") -> None:
    """Print lattice, gap and what failed of every cell, then the comparison with STS."""
    rows = [
        (
            cell.label,
            cell.formula,
            f"{cell.lattice_a_angstrom:.3f}",
            f"{cell.lattice_b_angstrom:.3f}",
            f"{cell.lattice_c_angstrom:.3f}",
            _number(cell.edges.gap_ev if cell.edges else None),
            ", ".join(cell.failed) or "",
        )
        for cell in result.cells
    ]
    title = f"{result.study} ({result.engine}, protocol {result.protocol})"
    print_table(title, ("cell", "formula", "a / Å", "b / Å", "c / Å", "gap / eV", "failed"), rows)
    print_masses(result.cells)
    print_ensembles(result.ensembles)
    if result.comparison is not None:
        print_comparison(result.comparison)
    else:
        for pair in result.same_structures:
            typer.echo(f"  ! {pair.sentence()}")


def print_masses(cells: "Sequence[CellResult]") -> None:
    """Print the masses of cells with the way they change, where there are any, and why others are missing."""
    if not any(cell.masses or cell.masses_spin_orbit for cell in cells):
        return
    from corecrown.postprocess.report_masses import refusals, trend_tables

    for table in trend_tables(cells):
        print_table(table.caption.split(", and")[0], table.header, table.rows)
    for line in refusals(cells):
        typer.echo(f"  ! {line}")


def print_ensembles(ensembles: "Sequence[EnsembleResult]") -> None:
    """Print mean and spread of every result of each ensemble."""
    from corecrown.postprocess.report_ensembles import ensemble_tables

    for ensemble, table in zip(ensembles, ensemble_tables(ensembles), strict=True):
        print_table(
            f"{ensemble.label}: mean and spread over {len(ensemble.members)} cells",
            ("result", "cells", "mean", "spread", "smallest", "largest"),
            table.rows,
        )
        for note in ensemble.notes:
            typer.echo(f"  ! {note}")


def print_comparison(comparison: "Comparison") -> None:
    """Print the rows, the ledger and the flags of a comparison."""
    from corecrown.postprocess.report_text import reference_cell

    reference = reference_cell(comparison)
    rows = [
        (
            row.cell,
            row.place or "",
            _number(row.gap_ev),
            "reference" if row.cell == reference else _number(row.shift_ev, row.shift_uncertainty_ev, sign=True),
            _number(row.sts_gap_ev, digits=2),
            "reference"
            if row.cell == reference
            else _number(row.sts_shift_ev, row.sts_shift_uncertainty_ev, sign=True, digits=2),
            "" if row.cell == reference else _number(row.difference_ev, sign=True),
            row.level or "",
        )
        for row in comparison.rows
    ]
    header = ("cell", "place", "gap / eV", "shift / eV", "STS gap", "STS shift", "difference", "level of theory")
    print_table("DFT beside STS", header, rows)
    if comparison.ledger:
        ledger = [
            (row.term, row.sign or "", _number(row.value_ev, sign=True), _range(row.low_ev, row.high_ev), row.source)
            for row in comparison.ledger
        ]
        print_table("From the bulk gap to the STS gap", ("term", "sign", "value / eV", "range / eV", "source"), ledger)
    if comparison.flags or comparison.notes:
        typer.echo("To keep in mind")
    for flag in (*comparison.flags, *comparison.notes):
        typer.echo(f"  ! {flag}")


def _number(value: float | None, uncertainty: float | None = None, *, sign: bool = False, digits: int = 3) -> str:
    if value is None:
        return "–"
    text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
    return text if uncertainty is None else f"{text} ± {uncertainty:.{digits}f}"


def _range(low: float | None, high: float | None) -> str:
    if low is None and high is None:
        return "–"
    return f"from {low:+.2f}" if high is None else f"to {high:+.2f}" if low is None else f"{low:+.2f} to {high:+.2f}"
