"""Surfaces of equal density in a periodic cell: closed at its faces, in Cartesian coordinates, at a level that is told.

Marching cubes are scikit-image's (Lewiner et al., J. Graph. Tools 8, 1 (2003)); what is added here is the lattice, the
periodic boundary, and the choice of the level.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.signal import resample
from skimage.measure import marching_cubes

from corecrown.errors import InputError
from corecrown.postprocess.excitation_cubes import GridDensity

__all__ = ["ENCLOSED", "Isosurface", "enclosed_part", "isosurface", "level_enclosing", "on_coarser_grid"]

FloatArray = npt.NDArray[np.float64]

ENCLOSED = 0.5
"""Part of the charge that a surface encloses unless another is asked for."""

SPACING_ANGSTROM = 0.14
"""Grids finer than this are thinned out before they are drawn: more triangles than a figure shows."""

OUTSIDE = 1e6
"""How far below the level, in units of it, the layer lies that closes a surface at the faces of the cell."""


@dataclass(frozen=True)
class Isosurface:
    """A triangulated surface of one cell, closed where the cell cuts it.

    Parameters
    ----------
    vertices
        Shape (n, 3), Cartesian, Å; within the cell that has the origin at a corner.
    faces
        Shape (m, 3), indices of vertices; normals point from high to low density.
    level
        Density on the surface, 1/Å³ (negative for what is lost).
    """

    vertices: FloatArray
    faces: npt.NDArray[np.int64]
    level: float

    @property
    def triangles(self) -> FloatArray:
        """Corners of the triangles, shape (m, 3, 3), Å."""
        return np.asarray(self.vertices[self.faces])

    @property
    def area(self) -> float:
        """Area, the flat ends at the faces of the cell included, Å²."""
        return float(np.linalg.norm(self._normals(), axis=1).sum() / 2)

    @property
    def volume(self) -> float:
        """Volume inside, by the divergence theorem, Å³."""
        centres = self.triangles.mean(axis=1)
        return float((centres * self._normals()).sum() / 6)

    def _normals(self) -> FloatArray:
        first, second, third = self.triangles.transpose(1, 0, 2)
        return np.asarray(np.cross(second - first, third - first))


def level_enclosing(values: npt.ArrayLike, part: float = ENCLOSED) -> float:
    """Return the level above which a part of a density lies: the densest points together hold that part of it.

    Parameters
    ----------
    values
        A density of any shape; what is below zero does not count. Give ``abs(Δρ)`` for one level of gain and loss.
    part
        Of the integral of what is above zero, between 0 and 1.

    Returns
    -------
    float
        In the unit of the values.

    Raises
    ------
    InputError
        If the part is not between 0 and 1, or nothing is above zero.
    """
    if not 0 < part < 1:
        raise InputError(f"enclosed part {part:g} of a charge", "give a number between 0 and 1")
    ordered = np.sort(np.clip(np.asarray(values, dtype=float), 0, None), axis=None)[::-1]
    running = np.cumsum(ordered)
    if not running.size or running[-1] <= 0:
        raise InputError("a density that is nowhere above zero has no surface", "give |ψ|², ρ or |Δρ|")
    place = int(np.searchsorted(running, part * running[-1]))
    below = ordered[place + 1] if place + 1 < ordered.size else 0.0
    # halfway to the next point, so that the last one counted is inside
    return float((ordered[place] + below) / 2)


def enclosed_part(values: npt.ArrayLike, level: float) -> float:
    """Return which part of a density lies above a level; of what is below zero nothing counts."""
    positive = np.clip(np.asarray(values, dtype=float), 0, None)
    return float(positive[positive > level].sum() / positive.sum())


def on_coarser_grid(density: GridDensity, spacing: float = SPACING_ANGSTROM) -> GridDensity:
    """Return a density on a grid no finer than a spacing, its shortest waves left out.

    Parameters
    ----------
    density
        On any grid; one that is coarse enough comes back as it is.
    spacing
        Å.
    """
    values = density.values
    for axis, length in enumerate(density.structure.lattice.abc):
        points = max(int(np.ceil(length / spacing)), 2)
        if points < values.shape[axis]:
            values = resample(values, points, axis=axis)
    return GridDensity(density.structure, np.asarray(values))


def isosurface(density: GridDensity, level: float) -> Isosurface:
    """Return the surface on which a density has a value.

    The grid goes on by one layer, the first again, so that the surface reaches the far faces of the cell and meets its
    image there; a layer outside closes what the faces cut.

    Parameters
    ----------
    density
        On the grid of a cell, 1/Å³.
    level
        Above zero: the surface of what is denser. Below zero: of what is less than it, as in the loss of Δρ.

    Raises
    ------
    InputError
        If the level is zero, or no point of the grid is beyond it.
    """
    if level == 0 or not np.isfinite(level):
        raise InputError(f"level {level} of a surface", "give a density in e/Å³, not zero")
    scaled = density.values / level
    if scaled.max() <= 1:
        strongest = density.values.max() if level > 0 else density.values.min()
        raise InputError(
            f"no density beyond {level:.3g} e/Å³; the strongest is {strongest:.3g}", "give a level closer to zero"
        )
    whole = np.pad(scaled, [(0, 1)] * 3, mode="wrap")
    closed = np.pad(whole, 1, constant_values=-OUTSIDE)
    corners, faces, _, _ = marching_cubes(closed, 1.0, gradient_direction="descent")
    fractional = np.clip((corners - 1) / np.array(scaled.shape), 0, 1)
    vertices = np.asarray(fractional @ density.structure.lattice.matrix, dtype=float)
    found = Isosurface(vertices, faces.astype(np.int64), float(level))
    if found.volume < 0:
        # a left-handed lattice, or the convention of the triangulation: normals point outwards
        found = Isosurface(vertices, found.faces[:, ::-1], float(level))
    return found
