"""Densities as surfaces in the cell: what an excitation gains and loses, and the orbitals it takes and fills."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

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
from corecrown.postprocess.plots.cells import wrap_title
from corecrown.postprocess.plots.excitation import ExcitedCell
from corecrown.postprocess.plots.solids import Solid, down, draw_solids, oblique, rod, sphere
from corecrown.postprocess.plots.style import MM_PER_INCH, PAGE_MM, PNG_DPI, new_figure, paper_style
from corecrown.postprocess.scene import build_scene

__all__ = ["CELLS_ABREAST", "GAINED", "LOST", "plot_change_surfaces", "plot_excitation_surfaces"]

FloatArray = npt.NDArray[np.float64]
Coloured = tuple[Isosurface | None, str, str]
"""A surface, its colour and what is said of it; none where the density does not reach its level."""

GAINED, LOST = "#f0bd27", "#35b9c4"
"""Yellow and cyan, as VESTA has them."""

EMPTIED, FILLED, CHANGE = ROWS = ("emptied", "filled", "Δρ")

SURFACES = {GAINED: {FILLED: "filled", CHANGE: "gained"}, LOST: {EMPTIED: "emptied", CHANGE: "lost"}}
"""What a colour means in each row."""

EDGE = "#303030"
BOND_RADIUS = 0.09
EDGE_RADIUS = 0.035
AXES = "abc"
ROOM_ANGSTROM = 1.8
"""Below each picture, for the directions of the axes."""


TITLE_LETTERS = 84
"""Of 9 pt across a page."""

LINE_MM = 4.2

CELLS_ABREAST = 6
"""More cells beside each other are too small to read."""


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
    found = _change(difference, level)
    scene = build_scene(structure)
    solids = [*_atoms(scene, structure.lattice.matrix), *_coloured(found)]
    matrix = structure.lattice.matrix
    _, b, c = matrix
    views = (("", oblique(matrix)), ("down b", down(-b, c)), ("down c", down(c, b)))
    with paper_style():
        figure = _figure([[_Picture.of(solids, turn, matrix, len(views), name) for name, turn in views]])
        marks: list[Any] = [Patch(color=colour, label=label) for _, colour, label in found]
        figure.legend(handles=marks, loc="outside lower left", ncols=1)
        figure.legend(handles=_dots([scene]), loc="outside lower right", ncols=len(scene["elements"]))
        if heading:
            figure.suptitle(heading, fontsize=9)
    return figure


def plot_excitation_surfaces(cells: Sequence[ExcitedCell], *, part: float = ENCLOSED) -> Figure:
    """Draw the orbital that is emptied, the one that is filled, and Δρ of cells beside each other, a column a cell.

    Each surface encloses the same part of its orbital, or of ∫|Δρ|; its level stands below it.

    Parameters
    ----------
    cells
        At most :data:`CELLS_ABREAST`, from left to right; those without densities are left out.
    part
        Of each orbital, and of ∫|Δρ|, that the surfaces enclose.
    """
    drawn = [(cell, _densities(cell, part)) for cell in cells if cell.orbitals or cell.difference is not None]
    if not drawn:
        raise InputError("excitations without densities have no surfaces", "run the excitation step")
    scenes = [build_scene(cell.structure) for cell, _ in drawn]
    columns: list[dict[str, _Picture]] = []
    for (cell, densities), scene in zip(drawn, scenes, strict=True):
        matrix = cell.structure.lattice.matrix
        atoms = _atoms(scene, matrix, small=len(drawn) > 3)
        turn, first = oblique(matrix), not columns
        columns.append({})
        for row, (found, level) in densities.items():
            solids = [*atoms, *_coloured(found)]
            columns[-1][row] = _Picture.of(solids, turn, matrix, len(drawn), below=level, axes=first)
    rows = [row for row in ROWS if any(row in column for column in columns)]
    titles = [wrap_title(cell.title, TITLE_LETTERS // len(drawn)) for cell, _ in drawn]
    with paper_style():
        more_mm = LINE_MM * max(title.count("\n") for title in titles)
        figure = _figure([[column.get(row) for column in columns] for row in rows], more_mm)
        for title, ax in zip(titles, figure.axes[: len(drawn)], strict=True):
            ax.set_title(title)
        for row, ax in zip(rows, figure.axes[:: len(drawn)], strict=True):
            ax.text(-0.02, 0.5, row, transform=ax.transAxes, rotation=90, ha="right", va="center", fontsize=9)
        marks: list[Any] = [
            Patch(color=colour, label=label)
            for colour, meanings in SURFACES.items()
            if (label := "; ".join(said for row, said in meanings.items() if row in rows))
        ]
        figure.legend(handles=[*marks, *_dots(scenes)], loc="outside lower center", ncols=8)
    return figure


def _densities(cell: ExcitedCell, part: float) -> dict[str, tuple[list[Coloured], str]]:
    """Return the surfaces of a cell and what is said of their level, by row."""
    found: dict[str, tuple[list[Coloured], str]] = {}
    for name, density in cell.orbitals.items():
        level = level_enclosing(density.values, part)
        row, colour = (FILLED, GAINED) if name.startswith("cbm") else (EMPTIED, LOST)
        said = f"{name}, {_number(level)} e/Å³"
        found[row] = ([(isosurface(on_coarser_grid(density), level), colour, said)], said)
    if cell.difference is not None:
        level = level_enclosing(np.abs(cell.difference.values), part)
        found[CHANGE] = (_change(cell.difference, level), f"±{_number(level)} e/Å³")
    return found


def _change(difference: GridDensity, level: float) -> list[Coloured]:
    """Return what is gained and what is lost, at one level."""
    coarse = on_coarser_grid(difference)
    found: list[Coloured] = []
    for name, sign, colour in (("gained", 1, GAINED), ("lost", -1, LOST)):
        label = f"{name}: Δρ = {'+' if sign > 0 else '−'}{_number(level)} e/Å³"
        if (sign * coarse.values).max() > level:
            inside = enclosed_part(sign * difference.values, level)
            found.append((isosurface(coarse, sign * level), colour, f"{label}, {_percent(inside)} of what is {name}"))
        else:
            found.append((None, colour, f"{label}: nowhere"))
    return found


def _percent(part: float) -> str:
    return f"{100 * part:.0f} %"


def _number(level: float) -> str:
    return f"{level:.2g}" if level >= 1e-3 else f"{level:.1e}"


@dataclass(frozen=True)
class _Picture:
    """Pixels, what they span (left, right, bottom, top, Å), and what stands around them."""

    pixels: npt.NDArray[np.uint8]
    span: FloatArray
    turn: FloatArray
    lattice: FloatArray
    heading: str
    below: str
    axes: bool

    @classmethod
    def of(
        cls,
        solids: Sequence[Solid],
        turn: FloatArray,
        lattice: FloatArray,
        beside: int,
        heading: str = "",
        below: str = "",
        axes: bool = True,
    ) -> Self:
        """Draw solids as large as one of so many pictures beside each other on a page."""
        span = np.ptp(np.concatenate([solid.triangles for solid in solids]).reshape(-1, 3) @ turn[0])
        pixels, spanned = draw_solids(solids, turn, PAGE_MM / beside / MM_PER_INCH * PNG_DPI / float(span))
        return cls(pixels, spanned, turn, lattice, heading, below, axes)

    @property
    def width(self) -> float:
        return float(self.span[1] - self.span[0])

    @property
    def height(self) -> float:
        return float(self.span[3] - self.span[2])


def _figure(rows: Sequence[Sequence[_Picture | None]], more_mm: float = 0.0) -> Figure:
    """Draw pictures in rows and columns, all to one scale, with more room above; a place may be empty."""
    widths = [max(picture.width for picture in column if picture) for column in zip(*rows, strict=True)]
    size = max(1.0, len(widths) / 3)  # of arrows, in smaller pictures
    room = ROOM_ANGSTROM * size
    heights = [max(picture.height for picture in row if picture) + room for row in rows]
    scale = (PAGE_MM - 6) / sum(widths)
    figure = new_figure(PAGE_MM, sum(heights) * scale + 17 + 5 * len(rows) + more_mm)
    grid = figure.subplots(
        len(rows), len(widths), squeeze=False, gridspec_kw={"width_ratios": widths, "height_ratios": heights}
    )
    for row, height, line in zip(rows, heights, grid, strict=True):
        for picture, width, ax in zip(row, widths, line, strict=True):
            ax.set_axis_off()
            if picture is None:
                continue
            ax.imshow(picture.pixels, extent=tuple(picture.span), interpolation="antialiased")
            left, right, bottom, _ = picture.span
            ax.set_xlim((left + right - width) / 2, (left + right + width) / 2)
            ax.set_ylim(bottom - room, bottom - room + height)
            ax.set_title(picture.heading)
            if picture.axes:
                _draw_axes(ax, picture, size)
            if picture.below:
                ax.text(0.5, -0.04, picture.below, transform=ax.transAxes, ha="center", va="top", fontsize=7)
    return figure


def _dots(scenes: Sequence[Mapping[str, Any]]) -> list[Line2D]:
    colours = {kind["symbol"]: kind["colour"] for scene in scenes for kind in scene["elements"]}
    return [
        Line2D([], [], marker="o", linestyle="", markersize=5, color=colour, label=symbol)
        for symbol, colour in colours.items()
    ]


def _coloured(surfaces: Sequence[Coloured]) -> list[Solid]:
    return [Solid(surface.triangles, colour) for surface, colour, _ in surfaces if surface is not None]


def _atoms(scene: Mapping[str, Any], matrix: FloatArray, *, small: bool = False) -> list[Solid]:
    """Return atoms, bonds and edges of the cell as solids, in the coordinates of the cell."""
    centre = matrix.sum(axis=0) / 2
    places = np.array([atom[:3] for atom in scene["atoms"]]) + centre
    kinds = [scene["elements"][int(atom[3])] for atom in scene["atoms"]]
    solids = [
        sphere(place, 0.75 * kind["radius"], kind["colour"], small=small)
        for place, kind in zip(places, kinds, strict=True)
    ]
    for first, second in scene["bonds"]:
        middle = (places[first] + places[second]) / 2
        solids += [rod(places[end], middle, BOND_RADIUS, kinds[end]["colour"]) for end in (first, second)]
    corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    for axis in range(3):
        for corner in corners[corners[:, axis] == 0]:
            start = corner @ matrix
            solids.append(rod(start, start + matrix[axis], EDGE_RADIUS, EDGE))
    return solids


def _draw_axes(ax: Axes, picture: _Picture, size: float) -> None:
    """Draw the directions of the axes in the lower left corner."""
    origin = np.array([picture.span[0] + 0.8 * size, picture.span[2] + (0.4 - ROOM_ANGSTROM) * size])
    for name, axis in zip(AXES, picture.lattice, strict=True):
        tip = 1.6 * size * (picture.turn @ (axis / np.linalg.norm(axis)))[:2]
        if np.linalg.norm(tip) < 0.25 * size:
            continue
        ax.annotate(
            "", origin + tip, origin, arrowprops={"arrowstyle": "-|>", "color": "black", "linewidth": 0.7, "shrinkA": 0}
        )
        ax.annotate(name, origin + 1.3 * tip, ha="center", va="center", annotation_clip=False)
