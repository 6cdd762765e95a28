"""Convergence of gap, pressure and forces against cutoff and k-point mesh: differences to the densest point."""

import csv
import io
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Literal

import numpy as np
from pydantic import Field

from corecrown.errors import InputError
from corecrown.postprocess.results import Pseudopotential, Result, Vector

__all__ = [
    "ConvergencePoint",
    "ConvergenceResult",
    "ConvergenceRow",
    "ConvergenceSeries",
    "Quantity",
    "analyse_convergence",
    "converged_from",
    "to_csv",
]

Mesh = tuple[int, int, int]


class Quantity(StrEnum):
    """What is varied."""

    CUTOFF = "cutoff"
    MESH = "mesh"


class ConvergencePoint(Result):
    """One self-consistent calculation of a convergence study."""

    cutoff_wfc_ry: float = Field(description="plane-wave cutoff of the wavefunctions, Ry")
    kpoint_mesh: Mesh
    n_kpoints: int | None = Field(None, description="irreducible k-points")
    energy_ev: float | None = Field(None, description="total energy of the cell, eV")
    gap_ev: float | None = Field(None, description="smallest gap on the mesh, eV")
    gap_gamma_ev: float | None = Field(None, description="direct gap at Γ, which is on every mesh, eV")
    vbm_kpoint: Vector | None = Field(None, description="fractional, of our reciprocal cell")
    cbm_kpoint: Vector | None = Field(None, description="fractional, of our reciprocal cell")
    pressure_kbar: float | None = Field(None, description="a third of the trace of the stress, kbar")
    forces_ev_angstrom: list[Vector] | None = Field(None, description="(n_atoms, 3), eV/Å")
    core_s: float | None = Field(None, description="core-seconds that the program took")
    failed: str | None = Field(None, description="why there is nothing here")


class ConvergenceRow(Result):
    """One point of a series, beside the densest one."""

    cutoff_wfc_ry: float
    kpoint_mesh: Mesh
    n_kpoints: int | None = None
    gap_ev: float | None = None
    gap_difference_ev: float | None = Field(None, description="null where the edges lie at other k-points")
    gap_gamma_difference_ev: float | None = Field(None, description="of the direct gap at Γ")
    pressure_kbar: float | None = None
    pressure_difference_kbar: float | None = None
    force_difference_ev_angstrom: float | None = Field(None, description="largest |ΔF| over the atoms, eV/Å")
    energy_difference_mev_per_atom: float | None = None
    core_s: float | None = None


class ConvergenceSeries(Result):
    """One quantity varied with the other one fixed; the densest point stands last."""

    vary: Quantity
    fixed_cutoff_ry: float | None = None
    fixed_mesh: Mesh | None = None
    rows: list[ConvergenceRow]


class ConvergenceResult(Result):
    """A convergence study of one cell."""

    cell: str
    formula: str
    n_atoms: int
    volume_angstrom3: float
    functional: str
    code: str | None = None
    code_version: str | None = None
    corecrown_version: str
    pseudopotentials: dict[str, Pseudopotential] = Field(default_factory=dict, description="by element")
    series: list[ConvergenceSeries]
    points: list[ConvergencePoint]


def analyse_convergence(points: Sequence[ConvergencePoint], vary: Quantity, fixed: float | Mesh) -> ConvergenceSeries:
    """Return the series of points that share the fixed value, with differences to the densest of them.

    Parameters
    ----------
    points
        All points; failed ones are told in the notes of the series.
    vary
        What changes along the series.
    fixed
        The mesh, where the cutoff is varied; the cutoff in Ry, where the mesh is.

    Raises
    ------
    InputError
        If no point has the fixed value.
    """
    mine = [point for point in points if _fixed(point, vary) == fixed]
    if not mine:
        raise InputError(f"convergence: no point of the {vary.value} series", f"nothing was computed at {fixed}")
    mine.sort(key=lambda point: _density(point, vary))
    done = [point for point in mine if point.failed is None]
    notes = [f"{_name(point)}: {point.failed}" for point in mine if point.failed is not None]
    if done and done[-1] is not mine[-1]:
        notes.append(f"the densest point that was asked for is missing: differences are to {_name(done[-1])}")
    rows = [_row(point, done[-1]) for point in done]
    if any(_other_edges(point, done[-1]) for point in done):
        notes.append("no gap difference where the edges lie at other k-points than those of the densest mesh")
    if vary is Quantity.CUTOFF:
        if not isinstance(fixed, tuple):
            raise InputError("convergence: a cutoff series has a fixed mesh", "give three numbers")
        return ConvergenceSeries(vary=vary, fixed_mesh=fixed, rows=rows, notes=notes)
    if isinstance(fixed, tuple):
        raise InputError("convergence: a mesh series has a fixed cutoff", "give it in Ry")
    return ConvergenceSeries(vary=vary, fixed_cutoff_ry=fixed, rows=rows, notes=notes)


def converged_from(
    series: ConvergenceSeries, quantity: Literal["gap", "pressure", "force", "energy"], tolerance: float
) -> ConvergenceRow | None:
    """Return the first row from which on all differences stay within a tolerance; None if only the last one does.

    Parameters
    ----------
    series
        With the densest point last, which is compared with itself and so is no evidence.
    quantity
        ``gap`` (eV), ``pressure`` (kbar), ``force`` (eV/Å) or ``energy`` (meV per atom).
    tolerance
        In the unit of the quantity.
    """
    field = {
        "gap": "gap_difference_ev",
        "pressure": "pressure_difference_kbar",
        "force": "force_difference_ev_angstrom",
        "energy": "energy_difference_mev_per_atom",
    }[quantity]
    found = None
    for row in reversed(series.rows[:-1]):
        difference = getattr(row, field)
        if difference is None or abs(difference) > tolerance:
            break
        found = row
    return found


def to_csv(result: ConvergenceResult) -> str:
    """Return all rows of all series as CSV, a line a row."""
    stream = io.StringIO()
    header = ["vary", *ConvergenceRow.model_fields]
    header.remove("notes")
    writer = csv.DictWriter(stream, header, lineterminator="\n")
    writer.writeheader()
    for series in result.series:
        for row in series.rows:
            content = row.model_dump(exclude={"notes"}) | {"vary": series.vary.value}
            content["kpoint_mesh"] = "x".join(str(n) for n in row.kpoint_mesh)
            writer.writerow(content)
    return stream.getvalue()


def _fixed(point: ConvergencePoint, vary: Quantity) -> float | Mesh:
    return point.kpoint_mesh if vary is Quantity.CUTOFF else point.cutoff_wfc_ry


def _density(point: ConvergencePoint, vary: Quantity) -> tuple[float, ...]:
    return (point.cutoff_wfc_ry,) if vary is Quantity.CUTOFF else (float(np.prod(point.kpoint_mesh)),)


def _name(point: ConvergencePoint) -> str:
    return f"{point.cutoff_wfc_ry:g} Ry, {'×'.join(str(n) for n in point.kpoint_mesh)}"


def _row(point: ConvergencePoint, densest: ConvergencePoint) -> ConvergenceRow:
    energy = _difference(point.energy_ev, densest.energy_ev)
    n_atoms = len(densest.forces_ev_angstrom) if densest.forces_ev_angstrom else None
    return ConvergenceRow(
        cutoff_wfc_ry=point.cutoff_wfc_ry,
        kpoint_mesh=point.kpoint_mesh,
        n_kpoints=point.n_kpoints,
        gap_ev=_rounded(point.gap_ev, 4),
        gap_difference_ev=None
        if _other_edges(point, densest)
        else _rounded(_difference(point.gap_ev, densest.gap_ev), 4),
        gap_gamma_difference_ev=_rounded(_difference(point.gap_gamma_ev, densest.gap_gamma_ev), 4),
        pressure_kbar=_rounded(point.pressure_kbar, 3),
        pressure_difference_kbar=_rounded(_difference(point.pressure_kbar, densest.pressure_kbar), 3),
        force_difference_ev_angstrom=_rounded(
            _largest(_vectors(point.forces_ev_angstrom), _vectors(densest.forces_ev_angstrom)), 5
        ),
        energy_difference_mev_per_atom=None
        if energy is None or n_atoms is None
        else _rounded(1000 * energy / n_atoms, 4),
        core_s=point.core_s,
    )


def _other_edges(point: ConvergencePoint, densest: ConvergencePoint) -> bool:
    """Whether a gap is between other k-points than the densest mesh's: ±k are one, and so are k and k + G."""
    pairs = ((point.vbm_kpoint, densest.vbm_kpoint), (point.cbm_kpoint, densest.cbm_kpoint))
    return any(mine is not None and theirs is not None and not _same(mine, theirs) for mine, theirs in pairs)


def _same(first: Iterable[float], second: Iterable[float]) -> bool:
    mine, theirs = np.array(tuple(first)), np.array(tuple(second))
    return any(np.allclose(apart - np.round(apart), 0, atol=1e-6) for apart in (mine - theirs, mine + theirs))


def _difference(mine: float | None, theirs: float | None) -> float | None:
    return None if mine is None or theirs is None else mine - theirs


def _vectors(forces: list[Vector] | None) -> np.ndarray | None:
    return None if forces is None else np.array(forces)


def _largest(mine: np.ndarray | None, theirs: np.ndarray | None) -> float | None:
    """Return the largest length of a difference; None where one is missing or they are of other atoms."""
    if mine is None or theirs is None or mine.shape != theirs.shape:
        return None
    return float(np.linalg.norm(mine - theirs, axis=1).max())


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits) + 0.0
