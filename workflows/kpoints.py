"""K-points: meshes from a spacing, and paths through named points of the Pbnm Brillouin zone.

Coordinates are fractional in the reciprocal cell of *our* cell. Nothing here standardises or reorders a cell.
"""

from dataclasses import dataclass
from itertools import pairwise
from math import ceil

import numpy as np
import numpy.typing as npt
import spglib
from pymatgen.core import Structure

from corecrown.errors import InputError

__all__ = [
    "CUBIC_POINTS",
    "FCC_POINTS",
    "PBNM_POINTS",
    "KpointPath",
    "band_path",
    "count_irreducible",
    "mesh_from_spacing",
    "named_points",
]

FloatArray = npt.NDArray[np.float64]

PBNM_POINTS: dict[str, tuple[float, float, float]] = {
    "Γ": (0.0, 0.0, 0.0),
    "X": (0.5, 0.0, 0.0),
    "Y": (0.0, 0.5, 0.0),
    "Z": (0.0, 0.0, 0.5),
    "S": (0.5, 0.5, 0.0),
    "U": (0.5, 0.0, 0.5),
    "T": (0.0, 0.5, 0.5),
    "R": (0.5, 0.5, 0.5),
}
"""Points of the primitive orthorhombic zone (Setyawan and Curtarolo, Comput. Mater. Sci. 49, 299 (2010), ORC)."""

CUBIC_POINTS: dict[str, tuple[float, float, float]] = {
    "Γ": (0.0, 0.0, 0.0),
    "X": (0.0, 0.5, 0.0),
    "M": (0.5, 0.5, 0.0),
    "R": (0.5, 0.5, 0.5),
}
"""Points of the primitive cubic zone (same source, CUB)."""


def mesh_from_spacing(structure: Structure, spacing: float) -> tuple[int, int, int]:
    """Return the coarsest Γ-centred mesh whose steps |b_i| / N_i do not exceed a spacing.

    Parameters
    ----------
    structure
        The cell.
    spacing
        Largest step, 1/Å, with 2π in b.
    """
    lengths = structure.lattice.reciprocal_lattice.abc
    n_a, n_b, n_c = (max(1, ceil(length / spacing - 1e-6)) for length in lengths)
    return (n_a, n_b, n_c)


def count_irreducible(structure: Structure, mesh: tuple[int, int, int], shift: tuple[int, int, int] = (0, 0, 0)) -> int:
    """Return how many k-points of a mesh symmetry leaves (time reversal included)."""
    numbers = [site.specie.Z for site in structure]
    cell = (structure.lattice.matrix, structure.frac_coords, numbers)
    mapping, _ = spglib.get_ir_reciprocal_mesh(mesh, cell, is_shift=shift, symprec=1e-5)
    return len(set(mapping.tolist()))


def named_points(structure: Structure) -> dict[str, tuple[float, float, float]]:
    """Return the named points that fit a cell.

    Those of Pbnm where the axes are orthogonal, cubic ones for a cubic primitive cell, face-centred cubic ones where
    all angles are 60°, and otherwise Γ alone.
    """
    lengths, angles = np.array(structure.lattice.abc), np.array(structure.lattice.angles)
    equal = np.ptp(lengths) < 1e-4 * lengths.mean()
    if np.allclose(angles, 90, atol=0.01):
        return CUBIC_POINTS if equal else PBNM_POINTS
    if equal and np.allclose(angles, 60, atol=0.01):
        return FCC_POINTS
    return {"Γ": (0.0, 0.0, 0.0)}


FCC_POINTS: dict[str, tuple[float, float, float]] = {
    "Γ": (0.0, 0.0, 0.0),
    "X": (0.5, 0.0, 0.5),
    "L": (0.5, 0.5, 0.5),
}
"""Points of the primitive face-centred cubic zone (same source, FCC)."""

_OWN_PATHS = {id(CUBIC_POINTS): [["Γ", "X", "M", "Γ", "R"]], id(FCC_POINTS): [["L", "Γ", "X"]]}
"""Where a path through points of the orthorhombic zone is asked for, but the cell has another one."""


@dataclass(frozen=True)
class KpointPath:
    """Points along lines of the Brillouin zone, each point once.

    Parameters
    ----------
    points
        Shape (n, 3), fractional.
    labels
        Name or empty string, one a point.
    """

    points: FloatArray
    labels: tuple[str, ...]


def band_path(structure: Structure, lines: list[list[str]], spacing: float) -> KpointPath:
    """Lay k-points along lines through named points.

    Parameters
    ----------
    structure
        The cell; its axes orthogonal, or those of a face-centred cubic primitive cell.
    lines
        Each a list of names, for example ``[["Γ", "X", "S"], ["Γ", "Z"]]``. For a cubic cell, lines through the
        orthorhombic zone are replaced by Γ-X-M-Γ-R, for a face-centred cubic one by L-Γ-X.
    spacing
        Largest distance between neighbours, 1/Å, with 2π.

    Raises
    ------
    InputError
        If a name is unknown or the cell has no named points.
    """
    points = named_points(structure)
    if len(points) == 1:
        raise InputError(
            f"bands: no named points for the axes of {structure.formula} (angles {structure.lattice.angles})",
            "they are known for orthorhombic, cubic and face-centred cubic cells",
        )
    lines = _OWN_PATHS.get(id(points), lines)
    coordinates: list[FloatArray] = []
    labels: list[str] = []
    for line in lines:
        for name in line:
            if name not in points:
                raise InputError(f"bands.path: point {name!r} is unknown", f"known: {', '.join(points)}")
        for start, end in pairwise(line):
            first, last = np.array(points[start]), np.array(points[end])
            distance = structure.lattice.reciprocal_lattice.get_cartesian_coords(last - first)
            steps = max(2, ceil(float(np.linalg.norm(distance)) / spacing - 1e-6))
            if not labels or labels[-1] != start or start == line[0]:
                coordinates.append(first)
                labels.append(start)
            for step in range(1, steps + 1):
                coordinates.append(first + (last - first) * step / steps)
                labels.append(end if step == steps else "")
    return KpointPath(np.array(coordinates), tuple(labels))
