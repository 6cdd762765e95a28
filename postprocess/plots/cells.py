"""Numbers of all cells in one picture: shifts of the gap, lattice constants."""

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from corecrown.errors import InputError
from corecrown.postprocess.cells import turned_deg
from corecrown.postprocess.plots.style import (
    CONDUCTION,
    GREY,
    LINE_COLOURS,
    LINE_MARKERS,
    VALENCE,
    figure_and_axes,
    paper_style,
)
from corecrown.postprocess.results import CellResult, Comparison

__all__ = ["cell_title", "plot_lattice", "plot_level_shifts", "plot_shifts", "result_title", "wrap_title"]

SAME_SHIFT_EV = 1e-3
"""A level of theory whose shift agrees this well with that of the comparison is the one its uncertainty is of."""

NAME_LETTERS = 22
"""Longer names of cells are broken into lines."""

UNBROKEN = re.compile(r"\d+ % FA( ∥ [abc])?|placed ∥ [abc]|now \d+° off|Cs for FA")
NO_BREAK = "\u00a0"

PLAIN_LABEL = re.compile(r"fa(?P<percent>\d{3})(-(?P<axis>[abc]))?")

AXIS_COLOURS = {"a": LINE_COLOURS[1], "b": LINE_COLOURS[2], "c": LINE_COLOURS[0]}
AXIS_MARKERS = {"a": "o", "b": "s", "c": "^"}
PSEUDOCUBIC = {"a": 2**0.5, "b": 2**0.5, "c": 2.0}
"""What each Pbnm lattice constant is divided by to give the edge of the cubic cell it came from."""


@dataclass(frozen=True)
class _Look:
    marker: str
    colour: str
    name: str
    filled: bool = True


def cell_title(label: str) -> str:
    """Return what a cell is called in figures.

    A label that says no more than the content (``fa025-b``) is written out, as ``25 % FA ∥ b``; any other
    stays.
    """
    plain = PLAIN_LABEL.fullmatch(label)
    if plain is None:
        return label
    along = f" ∥ {plain['axis']}" if plain["axis"] else ""
    return f"{int(plain['percent'])} % FA{along}"


def result_title(cell: CellResult) -> str:
    """Return what a cell is called in figures, by what is known of it.

    Where its FA left the axis it was placed along the title says so, as ``25 % FA (placed ∥ a, now 42° off)``.
    Counterfactual cells are described by the cells they were made from. All others are called as by
    :func:`cell_title`.
    """
    sources = [cell_title(label) for label in cell.made_from]
    if len(sources) == 1 and cell.label == f"{cell.made_from[0]}-framework":
        return f"{sources[0]}, Cs for FA"
    if len(sources) == 2 and cell.label == f"{cell.made_from[0]}-strained":
        return f"{sources[0]} in the lattice of {sources[1]}"
    title = cell_title(cell.label)
    along = f" ∥ {cell.alignment}"
    turned = turned_deg(cell)
    if turned is None or not title.endswith(along):
        return title
    return f"{title.removesuffix(along)} (placed{along}, now {turned:.0f}° off)"


def wrap_title(title: str, letters: int) -> str:
    """Break the name of a cell into lines of so many letters, never within a content, an axis or an angle."""
    kept = UNBROKEN.sub(lambda found: found.group().replace(" ", NO_BREAK), title)
    return textwrap.fill(kept, letters, break_long_words=False).replace(NO_BREAK, " ")


def plot_shifts(comparison: Comparison, *, cells: Sequence[CellResult] = (), ax: Axes | None = None) -> Figure:
    """Draw computed and measured shifts of the gap from the reference cell, with their uncertainties.

    Parameters
    ----------
    comparison
        Rows of cells; the reference is the row whose shift is zero by definition.
    cells
        The cells themselves, where known: names then say which FA left its axis.
    ax
        Axes to draw into; by default a new figure one column wide.
    """
    rows = [row for row in comparison.rows if row.shift_ev is not None or row.sts_shift_ev is not None]
    if not rows:
        raise InputError("comparison: no row has a shift", "the reference cell and one other need a gap")
    computed = [(row.shift_ev, row.shift_uncertainty_ev) for row in rows]
    measured = [(row.sts_shift_ev, row.sts_shift_uncertainty_ev) for row in rows]
    with paper_style():
        titles = {cell.label: result_title(cell) for cell in cells}
        names = [titles.get(row.cell, cell_title(row.cell)) for row in rows]
        figure, ax = figure_and_axes(ax, 85, _height_mm(names))
        ax.axhline(0, color="0.6", linewidth=0.5)
        _draw_points(ax, computed, -0.1, _Look("o", VALENCE, "DFT"))
        _draw_points(ax, measured, 0.1, _Look("s", CONDUCTION, "STS", filled=False))
        _name_cells(ax, names)
        ax.set_ylabel("Gap shift (eV)")
        _name_marks(ax)
    return figure


def plot_level_shifts(
    cells: Sequence[CellResult],
    reference: str,
    *,
    comparison: Comparison | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw the shift of the gap at every level of theory: how far it depends on the choice.

    Parameters
    ----------
    cells
        Those with ``levels``.
    reference
        Label of the cell that shifts are counted from.
    comparison
        Its uncertainties are drawn at the level of theory that it compares, where it is known.
    ax
        Axes to draw into; by default a new figure one column wide.
    """
    gaps = {cell.label: _gaps_by_level(cell) for cell in cells}
    base = gaps.get(reference, {})
    others = [cell for cell in cells if cell.label != reference and gaps[cell.label].keys() & base.keys()]
    if not others:
        raise InputError(f"levels: no cell shares a level of theory with {reference}", "compute both at one level")
    with paper_style():
        names = [result_title(cell) for cell in others]
        figure, ax = figure_and_axes(ax, 85, _height_mm(names))
        ax.axhline(0, color="0.6", linewidth=0.5)
        for index, level in enumerate(base):
            mine = {cell.label: gaps[cell.label].get(level) for cell in others}
            shifts = [
                (None, None)
                if gap is None
                else (gap - base[level], _uncertainty(comparison, label, level, gap - base[level]))
                for label, gap in mine.items()
            ]
            name = level[0] + (" + SOC" if level[1] else "")
            look = _Look(LINE_MARKERS[index % 7], LINE_COLOURS[index % 7], name)
            _draw_points(ax, shifts, (index - (len(base) - 1) / 2) * 0.16, look)
        _name_cells(ax, names)
        ax.set_ylabel("Gap shift (eV)")
        _name_marks(ax)
    return figure


def plot_lattice(cells: Sequence[CellResult], *, ax: Axes | None = None) -> Figure:
    """Draw lattice constants against formamidinium, as edges of the pseudo-cubic cell, so that they compare.

    Of Pbnm cells these are a/√2, b/√2 and c/2; where a cell is not Pbnm, all are drawn as they are. A ring
    marks the axis that the formamidinium was placed along.

    Parameters
    ----------
    cells
        In the order they are drawn.
    ax
        Axes to draw into; by default a new figure one column wide.
    """
    if not cells:
        raise InputError("cells: there is no cell to draw", "a study needs at least one cell")
    reduced = all(cell.setting == "Pbnm" for cell in cells)
    names = {"a": r"$a/\sqrt{2}$", "b": r"$b/\sqrt{2}$", "c": "$c/2$"}
    with paper_style():
        titles = [result_title(cell) for cell in cells]
        figure, ax = figure_and_axes(ax, 85, _height_mm(titles))
        for index, (axis, colour) in enumerate(AXIS_COLOURS.items()):
            places = np.arange(len(cells)) + 0.12 * (index - 1)  # equal constants stay apart
            lengths = np.array([getattr(cell, f"lattice_{axis}_angstrom") for cell in cells])
            lengths = lengths / (PSEUDOCUBIC[axis] if reduced else 1.0)
            ax.plot(
                places,
                lengths,
                AXIS_MARKERS[axis],
                color=colour,
                label=names[axis] if reduced else f"${axis}$",
            )
            along = [place for place, cell in enumerate(cells) if cell.alignment == axis]
            ring = {"markerfacecolor": "none", "markeredgecolor": colour, "markeredgewidth": 0.8}
            ax.plot(places[along], lengths[along], "o", markersize=9, **ring)
        if any(cell.alignment for cell in cells):
            ring = {"markerfacecolor": "none", "markeredgecolor": GREY, "markeredgewidth": 0.8}
            ax.plot([], [], "o", markersize=8, label="FA placed along", **ring)
        _name_cells(ax, titles)
        ax.set_ylabel("Pseudo-cubic length (Å)" if reduced else "Lattice constant (Å)")
        _name_marks(ax, 2 if len(cells) > 8 else 4)
    return figure


def _gaps_by_level(cell: CellResult) -> dict[tuple[str, bool], float]:
    return {(row.functional, row.spin_orbit): row.gap_ev for row in cell.levels if row.gap_ev is not None}


def _uncertainty(comparison: Comparison | None, label: str, level: tuple[str, bool], shift_ev: float) -> float | None:
    """Return the uncertainty of a shift, if it is the one that was compared."""
    name = f"{level[0]}, {'' if level[1] else 'no '}spin-orbit"
    for row in [] if comparison is None else comparison.rows:
        same = row.shift_ev is not None and abs(row.shift_ev - shift_ev) < SAME_SHIFT_EV
        if row.cell == label and same and (row.level is None or row.level.startswith(name)):
            return row.shift_uncertainty_ev
    return None


def _draw_points(ax: Axes, points: Sequence[tuple[float | None, float | None]], offset: float, look: _Look) -> None:
    """Draw (value, uncertainty) at 0, 1, ... plus an offset; what is not known is left out."""
    known = [(place + offset, *point) for place, point in enumerate(points) if point[0] is not None]
    if not known:
        return
    errors = [error or 0.0 for _, _, error in known]
    ax.errorbar(
        [place for place, _, _ in known],
        [value for _, value, _ in known],
        yerr=errors if any(errors) else None,
        fmt=look.marker,
        color=look.colour,
        label=look.name,
        capsize=2,
        elinewidth=0.8,
        markerfacecolor=look.colour if look.filled else "white",
        markeredgewidth=0.9,
        zorder=3,
    )


def _name_marks(ax: Axes, most_columns: int = 4) -> None:
    """Name the marks above the axes, where they cover no point."""
    n_marks = len(ax.get_legend_handles_labels()[1])
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=min(n_marks, most_columns), borderaxespad=0.2)
    ax.margins(y=0.12)


def _height_mm(names: Sequence[str]) -> float:
    """Return the height of a figure one column wide, more where long names stand below it."""
    return 84 if len(names) > 3 and any("\n" in wrap_title(name, NAME_LETTERS) for name in names) else 66


def _name_cells(ax: Axes, names: Sequence[str]) -> None:
    """Name the places along the axis, slanted where they are many, more so where names take two lines."""
    lines = [wrap_title(name, NAME_LETTERS) for name in names]
    angle = 65 if any("\n" in name for name in lines) else 35
    slanted = {"rotation": angle, "ha": "right", "rotation_mode": "anchor"} if len(names) > 3 else {}
    ax.set_xlim(-0.6, len(names) - 0.4)
    ax.set_xticks(range(len(names)), lines, **slanted)
