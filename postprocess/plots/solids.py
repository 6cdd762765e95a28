"""Solid bodies as triangles, and a picture of them: spheres, rods, surfaces; seen from far away, what is near in front.

Every body is closed, so that triangles which face away are hidden and need not be drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import TriMesh
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.tri import Triangulation

__all__ = ["Solid", "down", "draw_solids", "oblique", "rod", "sphere"]

FloatArray = npt.NDArray[np.float64]

AMBIENT = 0.42
"""Part of the light that comes from everywhere."""

LIGHT = np.array([0.35, 0.55, 0.76])
"""Direction the rest comes from: right, up, towards who looks."""

SIDES = 8
PIECE_ANGSTROM = 0.6
"""Rods are cut into pieces no longer than this, so that each is before or behind what it passes."""


LEAST_AREA = 1e-4
"""Triangles that show less than this are not drawn, Å²: slivers whose outline would be all that is seen of them."""


@dataclass(frozen=True)
class Solid:
    """Triangles of one colour.

    Parameters
    ----------
    triangles
        Shape (n, 3, 3), corners, Å; counter-clockwise seen from outside.
    colour
        As matplotlib knows it.
    """

    triangles: FloatArray
    colour: str


def sphere(centre: npt.ArrayLike, radius: float, colour: str, *, small: bool = False) -> Solid:
    """Return a sphere of 320 triangles, or of 80 where it will be small."""
    return Solid(np.asarray(centre, dtype=float) + radius * _unit_sphere(1 if small else 2), colour)


@cache
def _unit_sphere(times: int) -> FloatArray:
    """Return an icosahedron whose faces are cut into four so many times and pushed out to the sphere, (n, 3, 3)."""
    golden = (1 + np.sqrt(5)) / 2
    corners = [(0, s, t * golden) for s in (-1, 1) for t in (-1, 1)]
    points = np.array([np.roll(corner, shift) for shift in range(3) for corner in corners], dtype=float)
    apart = np.linalg.norm(points[:, None] - points[None], axis=-1)
    near = np.isclose(apart, 2)
    faces = [
        (i, j, k)
        for i in range(12)
        for j in range(i + 1, 12)
        for k in range(j + 1, 12)
        if near[i, j] and near[j, k] and near[i, k]
    ]
    triangles = points[np.array(faces)]
    for _ in range(times):
        a, b, c = triangles.transpose(1, 0, 2)
        ab, bc, ca = (a + b) / 2, (b + c) / 2, (c + a) / 2
        triangles = np.concatenate(
            [np.stack(three, axis=1) for three in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))]
        )
        triangles /= np.linalg.norm(triangles, axis=2, keepdims=True)
    triangles /= np.linalg.norm(triangles, axis=2, keepdims=True)
    inwards = np.einsum("ni,ni->n", _normals(triangles), triangles.mean(axis=1)) < 0
    triangles[inwards] = triangles[inwards][:, ::-1]
    return np.asarray(triangles)


def rod(start: npt.ArrayLike, end: npt.ArrayLike, radius: float, colour: str) -> Solid:
    """Return a round rod between two points; its ends are open, and meant to lie within something."""
    first, last = np.asarray(start, dtype=float), np.asarray(end, dtype=float)
    along = last - first
    length = float(np.linalg.norm(along))
    if length < 1e-9:
        return Solid(np.empty((0, 3, 3)), colour)
    across = np.cross(along, np.eye(3)[int(np.argmin(np.abs(along)))])
    across /= np.linalg.norm(across)
    other = np.cross(along / length, across)
    angles = 2 * np.pi * np.arange(SIDES) / SIDES
    ring = radius * (np.cos(angles)[:, None] * across + np.sin(angles)[:, None] * other)
    following = np.roll(ring, -1, axis=0)
    cuts = np.linspace(0, 1, int(np.ceil(length / PIECE_ANGSTROM)) + 1)
    triangles = []
    for low, high in zip(first + cuts[:-1, None] * along, first + cuts[1:, None] * along, strict=True):
        triangles += [
            np.stack([low + ring, low + following, high + following], axis=1),
            np.stack([low + ring, high + following, high + ring], axis=1),
        ]
    return Solid(np.concatenate(triangles), colour)


def _normals(triangles: FloatArray) -> FloatArray:
    return np.asarray(np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]))


def down(direction: npt.ArrayLike, up: npt.ArrayLike) -> FloatArray:
    """Return the turn that lets one look against a direction, with another one up: rows are right, up, towards.

    Parameters
    ----------
    direction
        From what is looked at to who looks, shape (3,).
    up
        What is up in the picture, shape (3,); its part across the direction counts.
    """
    towards = np.asarray(direction, dtype=float) / np.linalg.norm(np.asarray(direction, dtype=float))
    right = np.cross(np.asarray(up, dtype=float), towards)
    right /= np.linalg.norm(right)
    return np.array([right, np.cross(towards, right), towards])


def oblique(lattice: npt.ArrayLike) -> FloatArray:
    """Return the turn to look at a cell from between a and -b, a little from above, with c up."""
    a, b, c = (np.asarray(axis, dtype=float) / np.linalg.norm(axis) for axis in np.asarray(lattice, dtype=float))
    return down(0.95 * a - 0.42 * b + 0.34 * c, c)


def _flat(triangles: FloatArray, colours: FloatArray) -> TriMesh:
    """Return triangles of one colour each, drawn in their order without seams; shapes (n, 3, 2) and (n, 3)."""
    corners = triangles.reshape(-1, 2)
    mesh = TriMesh(Triangulation(*corners.T, np.arange(len(corners)).reshape(-1, 3)))
    mesh.set_facecolor(np.repeat(colours, 3, axis=0))
    return mesh


def draw_solids(
    solids: Sequence[Solid], turn: FloatArray, pixels_per_angstrom: float
) -> tuple[npt.NDArray[np.uint8], FloatArray]:
    """Return a picture of solids, far ones first, on white.

    Parameters
    ----------
    solids
        What there is.
    turn
        Shape (3, 3), rows right, up, towards.
    pixels_per_angstrom
        Scale.

    Returns
    -------
    tuple
        Colours of the pixels, shape (rows, columns, 4), and what the picture spans: left, right, bottom, top, Å.
    """
    triangles = np.concatenate([solid.triangles for solid in solids]) @ turn.T
    colours = np.concatenate([np.tile(to_rgb(solid.colour), (len(solid.triangles), 1)) for solid in solids])
    low, high = triangles[..., :2].min(axis=(0, 1)) - 0.2, triangles[..., :2].max(axis=(0, 1)) + 0.2
    normals = _normals(triangles)
    size = np.linalg.norm(normals, axis=1)
    shown = normals[:, 2] > 2 * LEAST_AREA
    order = np.flatnonzero(shown)[np.argsort(triangles[shown, :, 2].mean(axis=1), kind="stable")]
    light = np.clip(normals[order] @ (LIGHT / np.linalg.norm(LIGHT)) / size[order], 0, None)
    shaded = np.clip(colours[order] * (AMBIENT + (1 - AMBIENT) * light)[:, None] + 0.10 * light[:, None] ** 8, 0, 1)
    width, height = (high - low) * pixels_per_angstrom
    figure = Figure(figsize=(width / 100, height / 100), dpi=100, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    ax.set_xlim(low[0], high[0])
    ax.set_ylim(low[1], high[1])
    ax.add_collection(_flat(triangles[order, :, :2], shaded), autolim=False)
    canvas.draw()
    return np.array(canvas.buffer_rgba()), np.array([low[0], high[0], low[1], high[1]])
