"""Masses in a report and on the terminal: by cell and direction with the way they change, and their figures."""

from collections.abc import Sequence
from functools import partial

from corecrown.postprocess.cells import describe_level
from corecrown.postprocess.mass_fit import Carrier
from corecrown.postprocess.mass_outcomes import STEP_TOLERANCE
from corecrown.postprocess.mass_plots import plot_inplane_masses, plot_masses
from corecrown.postprocess.mass_table import MassRow, Source, arrow, mass_of, mass_table
from corecrown.postprocess.plots.cells import result_title
from corecrown.postprocess.report_figures import ReportFigure
from corecrown.postprocess.report_text import NOTHING, Table, common_level, merged_notes, number_text, same_crystals
from corecrown.postprocess.results import CellResult, SameStructure

__all__ = ["mass_figures", "refusals", "trend_tables", "untabled_notes"]

_ANOTHER_BAND = 0.5
"""An electron mass without coupling that changes by more than this share is taken for that of another band."""

_ALONG_LINES = "along lines:"

_MEANINGS: dict[Source, str] = {
    "tensor": "1/(M⁻¹)ᵢᵢ at the extremum",
    "path": "fits along the lines from Γ",
}


def trend_tables(cells: Sequence[CellResult]) -> list[Table]:
    """Return masses along Γ-X, Γ-Y and Γ-Z with their change from the cell without FA, with and without coupling.

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


def untabled_notes(cells: Sequence[CellResult]) -> list[str]:
    """Return why masses are missing at a level at which not a single one is known, so that there is no table of it."""
    notes = []
    for coupled in (False, True):
        if not any(any(row.masses) for source in _MEANINGS for row in _rows(cells, source, coupled=coupled)):
            notes += _notes(cells, coupled=coupled)
    return merged_notes(notes)


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


def mass_figures(cells: Sequence[CellResult], same: Sequence[SameStructure] = ()) -> list[ReportFigure]:
    """Return the figures of masses that there is something to draw for.

    Masses against FA content, and the mass against direction in the a-b plane, the plane of a platelet.

    Parameters
    ----------
    cells
        In the order they are drawn.
    same
        Cells that are one crystal, which captions say.
    """
    figures = []
    for coupled in (False, True):
        suffix = "-spin-orbit" if coupled else ""
        level = f", {'with' if coupled else 'without'} spin-orbit coupling"
        rows = _rows(cells, "tensor", coupled=coupled)
        crystals = same_crystals(same, [row.cell for row in rows if any(row.masses)])
        contents = {row.fa_percent for row in rows if row.fa_percent is not None and any(row.masses)}
        if len(contents) > 1:
            figures.append(
                ReportFigure(
                    f"masses{suffix}",
                    f"Effective masses along Γ-X, Γ-Y and Γ-Z against FA content{level}; arrows from the cell without "
                    f"FA. Open symbols are not converged.{_other_bands(cells, 'figure', coupled=coupled)}{crystals}",
                    partial(plot_masses, cells, spin_orbit=coupled),
                )
            )
        for carrier in Carrier:
            found = {result_title(cell): mass_of(cell, carrier, spin_orbit=coupled) for cell in cells}
            masses = {
                title: mass for title, mass in found.items() if mass is not None and mass.tensor_inverse is not None
            }
            bands = _other_bands(cells, "figure", coupled=coupled) if carrier is Carrier.ELECTRON else ""
            if masses:
                figures.append(
                    ReportFigure(
                        f"{carrier.value}-mass-in-plane{suffix}",
                        f"{carrier.value.capitalize()} mass against direction in the a-b plane{level}, in electron "
                        f"masses: 1/(n·M⁻¹·n).{bands}{crystals}",
                        partial(plot_inplane_masses, masses, title=f"{carrier.value} mass in the a-b plane ($m_0$)"),
                    )
                )
    return figures


def _rows(cells: Sequence[CellResult], source: Source, *, coupled: bool) -> list[MassRow]:
    return mass_table(cells, source=source, spin_orbit=coupled)


def _other_bands(cells: Sequence[CellResult], place: str, *, coupled: bool) -> str:
    """Say that electron masses without coupling may be those of different bands, and where those with it are."""
    if coupled:
        return ""
    rows = _rows(cells, "tensor", coupled=False)
    large = [
        change
        for row in rows
        if row.carrier is Carrier.ELECTRON
        for change in row.changes
        if change is not None and abs(change) > _ANOTHER_BAND
    ]
    spread = " and ".join(dict.fromkeys(_percent(change) for change in (max(large), min(large)))) if large else ""
    said = f"changes of the electron mass as large as {spread}" if large else "large changes of the electron mass"
    known = any(any(row.masses) for row in _rows(cells, "tensor", coupled=True))
    pointer = f"; the {place} with coupling compares one band with itself" if known else ""
    return (
        " Without spin-orbit coupling the conduction edge is one of three Pb p bands, not the same one in all cells: "
        f"{said} compare different bands{pointer}."
    )


def _notes(cells: Sequence[CellResult], *, coupled: bool) -> list[tuple[str, str]]:
    """Return what is to be said of the masses of each cell, each after its cell and carrier."""
    notes = []
    for cell in cells:
        masses = cell.masses_spin_orbit if coupled else cell.masses
        if masses is None:
            continue
        notes += [(cell.label, note) for note in masses.notes]
        for carrier in Carrier:
            mass = mass_of(cell, carrier, spin_orbit=coupled)
            notes += [(f"{cell.label}, {carrier.value}", note) for note in (mass.notes if mass is not None else ())]
    return notes


def _level(cells: Sequence[CellResult], *, coupled: bool) -> str:
    """Return the level of theory that all masses share as a sentence, or nothing."""
    if not coupled:
        level = common_level([cell for cell in cells if cell.masses is not None])
        return f" {level}." if level else ""
    names = {
        describe_level(level)
        for cell in cells
        for level in cell.levels
        if level.spin_orbit and cell.masses_spin_orbit is not None
    }
    return f" {names.pop()}." if len(names) == 1 else ""


def _trend_table(cells: Sequence[CellResult], source: Source, meaning: str, *, coupled: bool) -> Table | None:
    rows = [row for row in _rows(cells, source, coupled=coupled) if any(row.masses)]
    if not rows:
        return None
    level = "with" if coupled else "without"
    compared = any(change is not None for row in rows if not row.reference for change in row.changes)
    changes = (
        "their change from the cell without FA (≈: by less than 5 %, as far as tensors are converged)"
        if compared
        else "no changes, since the cell without FA has none along the same lines"
    )
    notes = [note for note in _notes(cells, coupled=coupled) if _ALONG_LINES in note[1] or source == "tensor"]
    if source == "tensor" and any(any(row.masses) for row in _rows(cells, "path", coupled=coupled)):
        notes = [note for note in notes if _ALONG_LINES not in note[1]]
    bands = _other_bands(cells, "table", coupled=coupled) if compared and len(rows) > 1 else ""
    return Table(
        f"Effective masses {level} spin-orbit coupling in electron masses, {meaning}, and {changes}"
        f".{_level(cells, coupled=coupled)} Γ-X and Γ-Y lie in the plane of a platelet, Γ-Z is its thickness; hole "
        f"masses are positive.{bands}",
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
        merged_notes(notes),
        wordy=frozenset({1, 6}),
    )


def _with_arrow(mass: float | None, change: float | None) -> str:
    text = number_text(mass)
    if change is None:
        return text
    return f"{text} {'≈' if abs(change) < STEP_TOLERANCE else arrow(change)} {_percent(change)}"


def _percent(change: float) -> str:
    return f"{number_text(100 * change, 0, signed=True)} %"
