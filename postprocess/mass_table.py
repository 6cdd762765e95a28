"""Masses of all cells in one table: by direction, against FA content, with the way they change."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from corecrown.postprocess.mass_fit import Carrier
from corecrown.postprocess.results import CellResult, Masses, MassTensor, Result

__all__ = ["DIRECTIONS", "MassRow", "arrow", "mass_of", "mass_table", "mass_table_markdown", "reference_cell"]

Source = Literal["tensor", "path"]

DIRECTIONS = ("x", "y", "z")
"""Along Γ-X, Γ-Y and Γ-Z of the Pbnm cell; z is the thickness of a platelet."""

UNCHANGED = 0.01
"""A mass that changes by no more than this share is called unchanged."""


class MassRow(Result):
    """The masses of one carrier in one cell along Γ-X, Γ-Y and Γ-Z."""

    cell: str
    fa_percent: float | None
    alignment: str | None
    carrier: Carrier
    masses: tuple[float | None, float | None, float | None] = Field(description="m0")
    changes: tuple[float | None, float | None, float | None] = Field(description="relative to the reference cell")
    converged: bool
    reference: bool = Field(description="whether the others are compared with this one")


def mass_table(cells: Sequence[CellResult], *, source: Source = "tensor", spin_orbit: bool = False) -> list[MassRow]:
    """Return one row a carrier and cell, electrons first, cells in the order given.

    Parameters
    ----------
    cells
        Results; cells without masses are left out.
    source
        ``tensor`` for 1/(M⁻¹)_ii at the extremum, ``path`` for parabolas along the lines from Γ.
    spin_orbit
        Take the masses with spin-orbit coupling.
    """
    reference = reference_cell(cells, spin_orbit=spin_orbit)
    rows = []
    for carrier in Carrier:
        start = None if reference is None else mass_of(reference, carrier, spin_orbit=spin_orbit)
        for cell in cells:
            mass = mass_of(cell, carrier, spin_orbit=spin_orbit)
            if mass is None:
                continue
            values = [_along(mass, direction, source) for direction in DIRECTIONS]
            before = [None if start is None else _along(start, direction, source) for direction in DIRECTIONS]
            changes = [_change(value, other) for value, other in zip(values, before, strict=True)]
            rows.append(
                MassRow(
                    cell=cell.label,
                    fa_percent=None if cell.fa_fraction is None else 100 * cell.fa_fraction,
                    alignment=cell.alignment,
                    carrier=carrier,
                    masses=(values[0], values[1], values[2]),
                    changes=(changes[0], changes[1], changes[2]),
                    converged=mass.converged,
                    reference=cell is reference,
                    notes=list(mass.notes),
                )
            )
    return rows


def mass_table_markdown(rows: Sequence[MassRow]) -> str:
    """Return the table as Markdown, each mass with an arrow for how it changed and by how much."""
    lines = ["| Carrier | Cell | FA (%) | Γ-X | Γ-Y | Γ-Z |", "|---|---|--:|--:|--:|--:|"]
    for row in rows:
        cells = [
            _cell_text(mass, None if row.reference else change)
            for mass, change in zip(row.masses, row.changes, strict=True)
        ]
        fa = "–" if row.fa_percent is None else f"{row.fa_percent:g}"
        doubt = "" if row.converged or all(mass is None for mass in row.masses) else " *"
        lines.append(f"| {row.carrier.value} | {row.cell}{doubt} | {fa} | {' | '.join(cells)} |")
    if any(" * |" in line for line in lines):
        lines += ["", r"\* not converged; the notes say why"]
    return "\n".join(lines)


def reference_cell(cells: Sequence[CellResult], *, spin_orbit: bool = False) -> CellResult | None:
    """Return the cell that others are compared with: the first without FA that has masses, else the first that has."""
    known = [cell for cell in cells if _masses(cell, spin_orbit=spin_orbit) is not None]
    without = [cell for cell in known if cell.fa_fraction == 0]
    return next(iter(without or known), None)


def mass_of(cell: CellResult, carrier: Carrier, *, spin_orbit: bool = False) -> MassTensor | None:
    """Return the mass of a carrier in a cell, or ``None``."""
    masses = _masses(cell, spin_orbit=spin_orbit)
    if masses is None:
        return None
    return masses.electron if carrier is Carrier.ELECTRON else masses.hole


def arrow(change: float | None) -> str:
    """Return an arrow for a relative change: up, down, or level within one per cent; empty where not known."""
    if change is None:
        return ""
    if abs(change) <= UNCHANGED:
        return "→"
    return "↑" if change > 0 else "↓"


def _masses(cell: CellResult, *, spin_orbit: bool) -> Masses | None:
    return cell.masses_spin_orbit if spin_orbit else cell.masses


def _along(mass: MassTensor, direction: str, source: Source) -> float | None:
    name = f"gamma_{direction}" if source == "tensor" else f"path_gamma_{direction}"
    value: float | None = getattr(mass, name)
    return value


def _change(value: float | None, before: float | None) -> float | None:
    return None if value is None or before is None else value / before - 1


def _cell_text(mass: float | None, change: float | None) -> str:
    if mass is None:
        return "–"
    if change is None:
        return f"{mass:.3f}"
    return f"{mass:.3f} {arrow(change)} {100 * change:+.0f} %"
