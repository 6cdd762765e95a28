"""Masses in a report and on the terminal: by cell and direction with the way they change, and their figures."""

from collections.abc import Sequence
from functools import partial

from corecrown.postprocess.cells import describe_level
from corecrown.postprocess.mass_fit import Carrier
from corecrown.postprocess.mass_plots import plot_inplane_masses, plot_masses
from corecrown.postprocess.mass_table import Source, arrow, mass_of, mass_table
from corecrown.postprocess.report_figures import ReportFigure
from corecrown.postprocess.report_text import NOTHING, Table, common_level, notes_of, number_text
from corecrown.postprocess.results import CellResult, Masses, MassTensor

__all__ = ["mass_figures", "masses_table", "refusals", "trend_tables"]


_MEANINGS: dict[Source, str] = {
    "tensor": "1/(M⁻¹)ᵢᵢ at the extremum",
    "path": "fits along the lines from Γ",
}


def trend_tables(cells: Sequence[CellResult]) -> list[Table]:
    """Return masses along Γ-X, Γ-Y and Γ-Z with arrows of change from the cell without FA, with and without coupling.

    Parameters
    ----------
    cells
        Results; cells without masses are left out.
    """
    tables = []
    for coupled in (False, True):
        for source, meaning in _MEANINGS.items():
            table = _trend_table(cells, source, meaning, coupled=coupled)
            if table is not None:
                tables.append(table)
    return tables


def masses_table(cells: Sequence[CellResult], *, spin_orbit: bool) -> Table | None:
    """Return effective masses of both carriers, where they were computed."""
    rows = []
    notes: list[str] = []
    for cell in cells:
        masses: Masses | None = cell.masses_spin_orbit if spin_orbit else cell.masses
        if masses is None:
            continue
        notes += notes_of(cell.label, masses)
        for carrier in ("electron", "hole"):
            mass: MassTensor | None = getattr(masses, carrier)
            if mass is None:
                rows.append((cell.label, carrier, *[NOTHING] * 7))
                continue
            rows.append(
                (
                    cell.label,
                    carrier,
                    *(number_text(getattr(mass, f"path_gamma_{axis}")) for axis in "xyz"),
                    *(number_text(getattr(mass, f"gamma_{axis}")) for axis in "xyz"),
                    "yes" if mass.converged else "no",
                )
            )
            notes += notes_of(f"{cell.label}, {carrier}", mass)
    if not rows:
        return None
    level = _spin_orbit_level(cells) if spin_orbit else common_level(cells)
    fallback = "spin-orbit" if spin_orbit else "no spin-orbit"
    return Table(
        f"Effective masses in electron masses, {level or fallback}: "
        "parabolas along the path from Γ, and 1/(M⁻¹)ᵢᵢ of the tensor. Hole masses are positive.",
        ("Cell", "Carrier", "Γ-X path", "Γ-Y path", "Γ-Z path", "x", "y", "z", "Converged"),
        rows,
        notes,
        frozenset({1, 8}),
    )


def refusals(cells: Sequence[CellResult]) -> list[str]:
    """Return a line for every edge without a tensor: which, and why."""
    lines = []
    for coupled in (False, True):
        for cell in cells:
            for carrier in Carrier:
                mass = mass_of(cell, carrier, spin_orbit=coupled)
                if mass is not None and mass.tensor_inverse is None:
                    level = ", spin-orbit" if coupled else ""
                    lines.append(f"{cell.label}, {carrier.value}{level}: {'; '.join(mass.notes)}")
    return lines


def mass_figures(cells: Sequence[CellResult]) -> list[ReportFigure]:
    """Return the figures of masses that there is something to draw for.

    Masses against FA content, and the mass against direction in the a-b plane, the plane of a platelet.
    """
    figures = []
    for coupled in (False, True):
        suffix, level = ("-spin-orbit", ", with spin-orbit coupling") if coupled else ("", "")
        rows = mass_table(cells, spin_orbit=coupled)
        contents = {row.fa_percent for row in rows if row.fa_percent is not None and any(row.masses)}
        if len(contents) > 1:
            figures.append(
                ReportFigure(
                    f"masses{suffix}",
                    f"Effective masses along Γ-X, Γ-Y and Γ-Z against FA content{level}; arrows from the cell without "
                    "FA. Open symbols are not converged.",
                    partial(plot_masses, cells, spin_orbit=coupled),
                )
            )
        for carrier in Carrier:
            found = {cell.label: mass_of(cell, carrier, spin_orbit=coupled) for cell in cells}
            masses = {
                label: mass for label, mass in found.items() if mass is not None and mass.tensor_inverse is not None
            }
            if masses:
                figures.append(
                    ReportFigure(
                        f"{carrier.value}-mass-in-plane{suffix}",
                        f"{carrier.value.capitalize()} mass against direction in the a-b plane{level}, in electron "
                        "masses: 1/(n·M⁻¹·n).",
                        partial(plot_inplane_masses, masses, title=f"{carrier.value} mass in the a-b plane ($m_0$)"),
                    )
                )
    return figures


def _spin_orbit_level(cells: Sequence[CellResult]) -> str | None:
    names = {
        describe_level(level)
        for cell in cells
        for level in cell.levels
        if level.spin_orbit and cell.masses_spin_orbit is not None
    }
    return names.pop() if len(names) == 1 else None


def _trend_table(cells: Sequence[CellResult], source: Source, meaning: str, *, coupled: bool) -> Table | None:
    rows = [row for row in mass_table(cells, source=source, spin_orbit=coupled) if any(row.masses)]
    if not rows:
        return None
    level = "with" if coupled else "without"
    return Table(
        f"Effective masses {level} spin-orbit coupling in electron masses, {meaning}, and their change from the cell "
        "without FA. Γ-X and Γ-Y lie in the plane of a platelet, Γ-Z is its thickness; hole masses are positive.",
        ("Cell", "Carrier", "FA (%)", "Γ-X", "Γ-Y", "Γ-Z", "Converged"),
        [
            (
                row.cell,
                row.carrier.value,
                NOTHING if row.fa_percent is None else f"{row.fa_percent:g}",
                *(
                    _with_arrow(mass, None if row.reference else change)
                    for mass, change in zip(row.masses, row.changes, strict=True)
                ),
                ("yes" if row.converged else "no") if source == "tensor" else NOTHING,
            )
            for row in rows
        ],
        wordy=frozenset({1, 6}),
    )


def _with_arrow(mass: float | None, change: float | None) -> str:
    text = number_text(mass)
    return text if change is None else f"{text} {arrow(change)} {number_text(100 * change, 0, signed=True)} %"
