"""Masses along the lines of a band structure: by our fit, or exactly as sumo or effmass define them.

sumo (A. M. Ganose, A. J. Jackson and D. O. Scanlon, J. Open Source Softw. 3, 717 (2018)) and effmass (L. D. Whalley,
J. Open Source Softw. 3, 797 (2018)) are described in docs/masses.md; both definitions are written afresh here.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Any

import numpy as np
from pydantic import Field

from corecrown.errors import InputError
from corecrown.postprocess.mass_fit import Carrier
from corecrown.postprocess.mass_path_bands import PathBands, read_path_bands
from corecrown.postprocess.mass_path_definitions import PathRow, effmass_rows, sumo_rows
from corecrown.postprocess.mass_path_fit import our_rows
from corecrown.postprocess.results import MassTensor, Result, Vector

__all__ = ["PathMass", "PathMasses", "PathMethod", "path_masses", "with_path_masses"]


class PathMethod(StrEnum):
    """How the mass along a line is defined."""

    OURS = "ours"
    """Even polynomial at the extremum itself; refused where bands cannot be followed."""

    SUMO = "sumo"
    """Parabola through the extremal k-point and three neighbours, mirrored; each degenerate band is taken."""

    EFFMASS_LS = "effmass-ls"
    """Parabola from the extremal k-point through two neighbours, mirrored; at every extremum near the edge."""


class PathMass(Result):
    """The mass of one band from one k-point in one direction."""

    carrier: Carrier
    band_index: int = Field(description="0-based")
    kpoint: Vector = Field(description="fractional, where the extremum is")
    direction: tuple[str, str] = Field(description="from the extremum to the end of the line")
    mass: float | None = Field(description="m0, positive for holes; null where the fit is flat")
    method: PathMethod
    fit_residual_ev: float | None = Field(description="root mean square of the fit, eV")
    n_points: int = Field(description="k-points used, the extremum included, before mirroring")
    spin: str | None = Field(None, description="up or down, of collinear spins")


class PathMasses(Result):
    """All masses that a band structure gives; notes say what was refused and why."""

    path_masses: list[PathMass]


def path_masses(
    band_structure: Any,
    method: PathMethod | str = PathMethod.OURS,
    *,
    n_electrons: float | None = None,
    spin_orbit: bool = False,
) -> PathMasses:
    """Return the masses at the band edges along the lines of a band structure.

    Parameters
    ----------
    band_structure
        pymatgen ``BandStructureSymmLine``.
    method
        ``ours``, ``sumo`` or ``effmass-ls``.
    n_electrons, spin_orbit
        Fill the bands by counting; without, up to the Fermi energy of ``band_structure``.

    Raises
    ------
    InputError
        If the method has another name, or the band structure has no gap or no bands.
    """
    try:
        chosen = PathMethod(method)
    except ValueError as error:
        raise InputError(
            f"method: there is no {method!r}", f"known: {', '.join(known.value for known in PathMethod)}"
        ) from error
    bands = read_path_bands(band_structure, n_electrons, spin_orbit=spin_orbit)
    notes = list(bands.notes)
    define: Callable[[PathBands, Carrier], tuple[list[PathRow], list[str]]] = {
        PathMethod.OURS: our_rows,
        PathMethod.SUMO: sumo_rows,
        PathMethod.EFFMASS_LS: effmass_rows,
    }[chosen]
    masses: list[PathMass] = []
    for carrier in Carrier:
        if not bands.has_edge(carrier):
            notes.append(f"no {carrier.value} masses: the calculation holds no such bands; raise the number of bands")
            continue
        rows, said = define(bands, carrier)
        masses += [_as_result(row, carrier, chosen) for row in rows]
        notes += [f"{carrier.value}: {note}" for note in said]
    return PathMasses(path_masses=masses, notes=list(dict.fromkeys(notes)))


def with_path_masses(mass: MassTensor, rows: PathMasses) -> MassTensor:
    """Return a tensor's result with ``path_gamma_x``, ``_y`` and ``_z`` from the lines Γ to X, Y and Z.

    Of several bands that share the edge the one of the tensor counts. A line that leaves another point than Γ, or that
    was refused, leaves the field as it is.
    """
    found: dict[str, float] = {}
    for row in rows.path_masses:
        start, end = row.direction
        same_band = mass.band_index is None or row.band_index == mass.band_index
        same_carrier = mass.carrier is None or row.carrier.value == mass.carrier
        if start == "Γ" and end in ("X", "Y", "Z") and same_band and same_carrier and row.mass is not None:
            found.setdefault(f"path_gamma_{end.lower()}", row.mass)
    return mass.model_copy(update=found)


def _as_result(row: PathRow, carrier: Carrier, method: PathMethod) -> PathMass:
    x, y, z = (float(value) + 0.0 for value in row.kpoint)
    mass = 1 / row.inverse_mass if abs(row.inverse_mass) > 1e-6 else None
    return PathMass(
        carrier=carrier,
        band_index=row.band,
        kpoint=(x, y, z),
        direction=row.direction,
        mass=None if mass is None or not np.isfinite(mass) else float(mass),
        method=method,
        fit_residual_ev=row.residual_ev,
        n_points=row.n_points,
        spin=row.spin,
    )
