"""Densities as surfaces in the cell: what an excitation gains and loses, and the orbitals it takes and fills."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from pymatgen.core import Structure

from corecrown.errors import InputError
from corecrown.postprocess.excitation_cubes import GridDensity
from corecrown.postprocess.isosurfaces import (
    ENCLOSED,
    Isosurface,
    enclosed_part,
    isosurface,
    level_enclosing,
    on_coarser_grid,
)
from corecrown.postprocess.plots.solids import Solid, down, draw_solids, oblique, rod, sphere
from corecrown.postprocess.plots.style import MM_PER_INCH, PAGE_MM, PNG_DPI, new_figure, paper_style
from corecrown.postprocess.scene import build_scene

__all__ = ["GAINED", "LOST", "plot_change_surfaces", "plot_orbital_surfaces"]

FloatArray = npt.NDArray[np.float64]
Coloured = tuple[Isosurface | None, str, str]
"""A surface, its colour and what is said of it; none where the density does not reach its level."""

GAINED, LOST = "#f0bd27", "#35b9c4"
"""Yellow and cyan, as VESTA has them."""

EDGE = "#303030"
BOND_RADIUS = 0.09
EDGE_RADIUS = 0.035
AXES = "abc"
ROOM_ANGSTROM = 1.8
"""Below each picture, for the directions of the axes."""


def plot_change_surfaces(
    difference: GridDensity,
    structure: Structure,
    title: str = "",
    *,
    level: float | None = None,
    part: float = ENCLOSED,
) -> Figure:
    """Draw where Δρ exceeds a level, either way: what is gained and what is lost, one level for both.

    Parameters
    ----------
    difference
        Excited less ground, 1/Å³.
    structure
        Its atoms.
    title
        Above the figure.
    level
        e/Å³, above zero; by default the one whose surfaces enclose a part of ∫|Δρ|.
    part
        That part.
    """
    heading = title
    if level is None:
        level = level_enclosing(np.abs(difference.values), part)
        heading = f"{title}; surfaces enclose {_percent(part)} of ∫|Δρ|".removeprefix("; ")
    coarse = on_coarser_grid(difference)
    found: list[Coloured] = []
    for name, sign, colour in (("gained", 1, GAINED), ("lost", -1, LOST)):
        label = f"{name}: Δρ = {'+' if sign > 0 else '−'}{_number(level)} e/Å³"
        if (sign * coarse.values).max() > level:
            inside = enclosed_part(sign * difference.values, level)
            found.append((isosurface(coarse, sign * level), colour, f"{label}, {_percent(inside)} of what is {name}"))
        else:
            found.append((None, colour, f"{label}: nowhere"))
    return _figure([("", found)], structure, heading)


def plot_orbital_surfaces(
    orbitals: Mapping[str, GridDensity], structure: Structure, title: str = "", *, part: float = ENCLOSED
) -> Figure:
    """Draw |ψ|² of the orbital that is emptied and of the one that is filled, a row each, as surfaces.

    Parameters
    ----------
    orbitals
        By name, 1/Å³; those whose name starts with ``cbm`` are the ones that are filled.
    structure
        The atoms.
    title
        Above the figure.
    part
        Of each orbital that its surface encloses.
    """
    if not orbitals:
        raise InputError("orbitals: there is none to draw", "run the excitation step")
    rows: list[tuple[str, Sequence[Coloured]]] = []
    for name, density in orbitals.items():
        level = level_enclosing(density.values, part)
        filled = name.startswith("cbm")
        label = f"{name} ({'filled' if filled else 'emptied'}): |ψ|² = {_number(level)} e/Å³, encloses {_percent(part)}"
        surface = isosurface(on_coarser_grid(density), level)
        rows.append((f"{name} ({'filled' if filled else 'emptied'})", [(surface, GAINED if filled else LOST, label)]))
    return _figure(rows, structure, title)


def _percent(part: float) -> str:
    return f"{100 * part:.0f} %"


def _number(level: float) -> str:
    return f"{level:.2g}" if level >= 1e-3 else f"{level:.1e}"


def _figure(rows: Sequence[tuple[str, Sequence[Coloured]]], structure: Structure, title: str) -> Figure:
    """Draw rows of three views: a cell from between its axes, down b, and down c."""
    matrix = structure.lattice.matrix
    _, b, c = matrix
    views = (("", oblique(matrix)), ("down b", down(-b, c)), ("down c", down(c, b)))
    scene = build_scene(structure)
    atoms, kinds = _atoms(scene, matrix)
    with paper_style():
        pictures = [[_picture([*atoms, *_coloured(surfaces)], turn) for _, turn in views] for _, surfaces in rows]
        widths = [max(span[1] - span[0] for _, span in column) for column in zip(*pictures, strict=True)]
        heights = [max(span[3] - span[2] for _, span in row) + ROOM_ANGSTROM for row in pictures]
        scale = (PAGE_MM - 6) / sum(widths)
        figure = new_figure(PAGE_MM, sum(heights) * scale + 8 + 9 * len(rows))
        grid = figure.subplots(
            len(rows), len(views), squeeze=False, gridspec_kw={"width_ratios": widths, "height_ratios": heights}
        )
        for (heading, _), drawn, line in zip(rows, pictures, grid, strict=True):
            for (name, turn), (pixels, span), ax in zip(views, drawn, line, strict=True):
                ax.imshow(pixels, extent=tuple(span), interpolation="antialiased")
                ax.set_ylim(span[2] - ROOM_ANGSTROM, span[3])
                ax.set_axis_off()
                ax.set_title(name)
                _draw_axes(ax, matrix, turn, span)
            line[0].set_title(heading)
        handles: list[Any] = [Patch(color=colour, label=label) for _, surfaces in rows for _, colour, label in surfaces]
        figure.legend(handles=handles, loc="outside lower left", ncols=1)
        dots = [
            Line2D([], [], marker="o", linestyle="", markersize=5, color=kind["colour"], label=kind["symbol"])
            for kind in kinds
        ]
        figure.legend(handles=dots, loc="outside lower right", ncols=len(dots))
        if title:
            figure.suptitle(title, fontsize=9)
    return figure


def _coloured(surfaces: Sequence[Coloured]) -> list[Solid]:
    return [Solid(surface.triangles, colour) for surface, colour, _ in surfaces if surface is not None]


def _atoms(scene: Mapping[str, Any], matrix: FloatArray) -> tuple[list[Solid], Sequence[Mapping[str, Any]]]:
    """Return atoms, bonds and edges of the cell as solids, in the coordinates of the cell."""
    centre = matrix.sum(axis=0) / 2
    places = np.array([atom[:3] for atom in scene["atoms"]]) + centre
    kinds = [scene["elements"][int(atom[3])] for atom in scene["atoms"]]
    solids = [sphere(place, 0.75 * kind["radius"], kind["colour"]) for place, kind in zip(places, kinds, strict=True)]
    for first, second in scene["bonds"]:
        middle = (places[first] + places[second]) / 2
        solids += [rod(places[end], middle, BOND_RADIUS, kinds[end]["colour"]) for end in (first, second)]
    corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    for axis in range(3):
        for corner in corners[corners[:, axis] == 0]:
            start = corner @ matrix
            solids.append(rod(start, start + matrix[axis], EDGE_RADIUS, EDGE))
    return solids, scene["elements"]


def _picture(solids: Sequence[Solid], turn: FloatArray) -> tuple[npt.NDArray[np.uint8], FloatArray]:
    span = np.ptp(np.concatenate([solid.triangles for solid in solids]).reshape(-1, 3) @ turn[0])
    return draw_solids(solids, turn, PAGE_MM / 3 / MM_PER_INCH * PNG_DPI / float(span))


def _draw_axes(ax: Axes, matrix: FloatArray, turn: FloatArray, span: FloatArray) -> None:
    """Draw the directions of the axes in the lower left corner."""
    origin = np.array([span[0] + 0.8, span[2] - ROOM_ANGSTROM + 0.4])
    for name, axis in zip(AXES, matrix, strict=True):
        tip = 1.6 * (turn @ (axis / np.linalg.norm(axis)))[:2]
        if np.linalg.norm(tip) < 0.25:
            continue
        ax.annotate(
            "", origin + tip, origin, arrowprops={"arrowstyle": "-|>", "color": "black", "linewidth": 0.7, "shrinkA": 0}
        )
        ax.annotate(name, origin + 1.3 * tip, ha="center", va="center", annotation_clip=False)
