"""Relaxing a cell with VASP so that orthogonal axes stay orthogonal.

VASP has no tag that frees three lengths and holds three angles. What it has:

- Symmetry: the stress is symmetrised, so where the crystal's own symmetry forbids shear (Pbnm does), ISIF = 3 keeps the
  axes. Two runs of it, the second with the plane waves of the relaxed cell.
- LATTICE_CONSTRAINTS (for IBRION = 1 and 2 from VASP 6.5 on): it zeroes the rows and columns of the stress that belong
  to the axes that are held. With all three free nothing is held, shear included; with one free, that one length
  relaxes and nothing else. So the axes are relaxed one after the other, until none is under stress.
- Where the version has not got it: ISIF = 3 twice, each time with the angles set back to 90°, and then the atoms alone
  (ISIF = 2). What is left is of second order in the shear; the stress that remains is told.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import spglib
from pymatgen.core import Lattice, Structure

from corecrown.errors import InputError, RunError
from corecrown.workflows.vasp.inputs import ISIF_ATOMS, ISIF_CELL
from corecrown.workflows.vasp.vasprun import VaspRun, version_tuple

__all__ = [
    "LATTICE_CONSTRAINTS_SINCE",
    "Relaxed",
    "axes_are_orthogonal",
    "relax_in_stages",
    "require_axes_along_xyz",
    "set_square",
    "symmetry_keeps_axes",
]

LATTICE_CONSTRAINTS_SINCE = (6, 5)
"""VASP wiki, LATTICE_CONSTRAINTS: for relaxations (IBRION = 1, 2) available from VASP 6.5.0."""

MAX_CYCLES = 3
LARGEST_SHEAR_DEG = 2.0
"""Beyond this a cell has another shape, and setting it square would not be a correction of second order."""

Stage = Callable[[Structure, dict[str, Any]], VaspRun]


@dataclass(frozen=True)
class Relaxed:
    """What came of a relaxation: the last run, and what was done to keep the axes."""

    run: VaspRun
    notes: list[str]


def axes_are_orthogonal(structure: Structure) -> bool:
    """Tell whether all angles of a cell are 90° within 0.001°."""
    return bool(np.allclose(structure.lattice.angles, 90, atol=1e-3))


def require_axes_along_xyz(structure: Structure) -> None:
    """Check that orthogonal axes lie along x, y and z, since only then can they be kept.

    Raises
    ------
    InputError
        If they do not.
    """
    along = np.allclose(structure.lattice.matrix, np.diag(structure.lattice.abc), atol=1e-6)
    if axes_are_orthogonal(structure) and not along:
        raise InputError(
            f"relax: the axes of {structure.formula} do not lie along x, y and z",
            "give the orthorhombic cell with a along x, b along y and c along z",
        )


def symmetry_keeps_axes(structure: Structure, symprec: float = 1e-5) -> bool:
    """Tell whether the symmetry of a cell forbids shear, so that a symmetrised stress is diagonal.

    Parameters
    ----------
    structure
        A cell with orthogonal axes along x, y and z.
    symprec
        Tolerance in Å; VASP's own default.
    """
    numbers = [site.specie.Z for site in structure]
    cell = (structure.lattice.matrix, structure.frac_coords, numbers)
    dataset = spglib.get_symmetry(cell, symprec=symprec)
    if dataset is None:
        return False
    columns = structure.lattice.matrix.T
    rotations = columns @ np.asarray(dataset["rotations"], dtype=float) @ np.linalg.inv(columns)
    generic = np.array([[1.0, 0.3, 0.7], [0.3, 2.0, 0.5], [0.7, 0.5, 3.0]])
    mean = (rotations @ generic @ rotations.transpose(0, 2, 1)).mean(axis=0)
    return bool(np.abs(mean - np.diag(np.diag(mean))).max() < 1e-6)


def set_square(structure: Structure) -> tuple[Structure, float]:
    """Return a cell with the same lengths and fractional positions and angles of 90°, and by how much they were off.

    Raises
    ------
    RunError
        If an angle is off by more than :data:`LARGEST_SHEAR_DEG`.
    """
    off = float(np.abs(np.array(structure.lattice.angles) - 90).max())
    if off > LARGEST_SHEAR_DEG:
        angles = ", ".join(f"{angle:.2f}" for angle in structure.lattice.angles)
        raise RunError(
            f"the cell sheared to angles of {angles}° while it relaxed",
            "start from a geometry nearer the minimum, such as one relaxed with CHGNet, or use VASP 6.5 or later",
        )
    square = Structure(
        Lattice(np.diag(structure.lattice.abc)),
        structure.species,
        structure.frac_coords,
        site_properties=dict(structure.site_properties),
    )
    return square, off


def relax_in_stages(structure: Structure, pressure_threshold_kbar: float, stage: Stage) -> Relaxed:
    """Relax a cell.

    Parameters
    ----------
    structure
        The cell; orthogonal axes along x, y and z, or any others, which then relax freely.
    pressure_threshold_kbar
        Largest stress along an axis that counts as none.
    stage
        Runs VASP on a geometry with some tags set and returns the run, read back in our order of atoms.
    """
    if not axes_are_orthogonal(structure):
        return Relaxed(stage(stage(structure, {"ISIF": ISIF_CELL}).structure, {"ISIF": ISIF_CELL}), [])
    if symmetry_keeps_axes(structure):
        last = stage(stage(structure, {"ISIF": ISIF_CELL}).structure, {"ISIF": ISIF_CELL})
        _require_square(last.structure)
        return Relaxed(last, [])
    first = stage(structure, {"ISIF": ISIF_CELL})
    square, off = set_square(first.structure)
    if version_tuple(first.code_version) >= LATTICE_CONSTRAINTS_SINCE:
        return _axis_by_axis(square, off, pressure_threshold_kbar, stage)
    second = stage(square, {"ISIF": ISIF_CELL})
    square, again = set_square(second.structure)
    last = stage(square, {"ISIF": ISIF_ATOMS})
    note = (
        f"symmetry does not keep the axes of this cell orthogonal: relaxed freely, angles set back to 90° "
        f"(they were off by {max(off, again):.3f}°), then the atoms alone; {_stress_left(last)}"
    )
    return Relaxed(last, [note])


def _axis_by_axis(structure: Structure, off: float, threshold: float, stage: Stage) -> Relaxed:
    last: VaspRun | None = None
    cycles = 0
    while cycles < MAX_CYCLES and (last is None or _largest_axial_stress(last) > threshold):
        for axis in range(3):
            last = stage(structure, {"ISIF": ISIF_CELL, "LATTICE_CONSTRAINTS": [other == axis for other in range(3)]})
            structure = last.structure
        cycles += 1
    assert last is not None
    _require_square(last.structure)
    note = (
        "symmetry does not keep the axes of this cell orthogonal: relaxed freely once (angles off by "
        f"{off:.3f}°, set back to 90°), then one axis after the other with LATTICE_CONSTRAINTS, {cycles} times round; "
        f"{_stress_left(last)}"
    )
    return Relaxed(last, [note])


def _largest_axial_stress(run: VaspRun) -> float:
    return np.inf if run.stress_kbar is None else float(np.abs(np.diag(run.stress_kbar)).max())


def _stress_left(run: VaspRun) -> str:
    if run.stress_kbar is None:
        return "the stress left is not known"
    stress = run.stress_kbar
    shear = max(abs(stress[0, 1]), abs(stress[0, 2]), abs(stress[1, 2]))
    return f"stress left: {_largest_axial_stress(run):.2f} kbar along an axis, {shear:.2f} kbar of shear held"


def _require_square(structure: Structure) -> None:
    if not np.allclose(structure.lattice.angles, 90, atol=0.01):
        angles = ", ".join(f"{angle:.3f}" for angle in structure.lattice.angles)
        raise RunError(
            f"the axes did not stay orthogonal: angles {angles}°",
            "symmetry was lost on the way; start from a cell with exact symmetry, or use VASP 6.5 or later",
        )
