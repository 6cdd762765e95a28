"""Where the charge of an excitation goes, as pictures: shares of groups, cuts through a density, and its shadows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MultipleLocator
from pymatgen.core import Lattice, Structure

from corecrown.errors import InputError
from corecrown.postprocess.excitation import owners_of
from corecrown.postprocess.excitation_cubes import GridDensity
from corecrown.postprocess.plots.cells import cell_title, wrap_title
from corecrown.postprocess.plots.style import GREY, PAGE_MM, new_figure, paper_style, species_colour
from corecrown.postprocess.results import ChargePartition, Excitation

__all__ = ["ExcitedCell", "plot_density_change", "plot_density_changes", "plot_shares"]

FloatArray = npt.NDArray[np.float64]

AXES = "abc"
QUANTITIES = {
    "electron": "electron (frozen)",
    "hole": "hole (frozen)",
    "gained": "gained (relaxed)",
    "lost": "lost (relaxed)",
}
UNIFORM_MARK: dict[str, Any] = {"marker": "D", "markersize": 4, "markerfacecolor": "white", "markeredgecolor": "black"}
CUT_DEPTH_ANGSTROM = 1.0
"""Atoms no farther than this from a cut are drawn on it."""

MOST_HEIGHT_MM = 225.0
HEAD_MM, LABEL_MM, BESIDE_MM = 16.0, 10.0, 68.0
"""Heights of titles with legend and of the labels below a row, and width of the colour bar and all labels beside."""

ROW_LETTERS = 16
"""Of the name of a cell beside its row; longer ones are broken into lines."""

TICK_ANGSTROM = 4.0

SATURATED = 99.8
"""Percentile of |Δρ| that the colours of a picture reach."""


@dataclass(frozen=True)
class ExcitedCell:
    """Densities of an excitation, to be drawn beside those of other cells.

    Parameters
    ----------
    title
        What the cell is called.
    structure
        Its atoms; the site property ``group`` colours FA as one.
    orbitals
        |ψ|² of the emptied and the filled orbital by name, 1/Å³; the names of filled ones start with ``cbm``.
    difference
        Density of the excited less that of the ground state, 1/Å³, if known.
    """

    title: str
    structure: Structure
    orbitals: Mapping[str, GridDensity]
    difference: GridDensity | None


def plot_shares(excitations: Mapping[str, Excitation], *, titles: Mapping[str, str] | None = None) -> Figure:
    """Draw the shares of the groups in electron, hole, and the charge gained and lost.

    Bars are the mean of the schemes, lines their range, open marks what a uniform charge would have there.

    Parameters
    ----------
    excitations
        By the label of the cell; those without partitions are left out.
    titles
        What cells are called, by label; by default as their label says.
    """
    known = {label: found for label, found in excitations.items() if found.partitions}
    if not known:
        raise InputError("excitations: none has its charge shared out", "run the excitation step")
    with paper_style():
        figure = new_figure(PAGE_MM, 26 + 34 * len(known))
        axes = np.atleast_2d(figure.subplots(len(known), len(QUANTITIES), sharey="row", squeeze=False))
        for row, (label, found) in zip(axes, known.items(), strict=True):
            for ax, quantity in zip(row, QUANTITIES, strict=True):
                _draw_shares(ax, found.partitions, quantity)
            title = (titles or {}).get(label, cell_title(label))
            row[0].set_ylabel(f"{wrap_title(title, ROW_LETTERS)}\nshare")
            row[0].set_ylim(0, 1)
        for ax, title in zip(axes[0], QUANTITIES.values(), strict=True):
            ax.set_title(title)
        figure.legend(handles=_share_marks(), loc="outside lower center", ncols=3)
    return figure


def _share_marks() -> list[Artist]:
    """Return what bars, lines and diamonds of shares mean, for a legend."""
    return [
        Patch(facecolor=GREY, label="mean of the schemes"),
        Line2D([], [], color="black", linewidth=1, label="their range"),
        Line2D([], [], linestyle="none", **UNIFORM_MARK, label="uniform charge"),
    ]


def _draw_shares(ax: Axes, partitions: Sequence[ChargePartition], quantity: str) -> None:
    tables = [_normalised(getattr(one, quantity)) for one in partitions if getattr(one, quantity)]
    uniform = [one.volume for one in partitions if one.volume]
    if not tables:
        ax.text(0.5, 0.5, "none", transform=ax.transAxes, ha="center", va="center", color=GREY)
        ax.set_xticks([])
        return
    groups = list(tables[0])
    for place, group in enumerate(groups):
        shares = [table[group] for table in tables]
        mean = float(np.mean(shares))
        ax.bar(place, mean, 0.7, color=species_colour(group), zorder=2)
        ax.plot([place, place], [min(shares), max(shares)], color="black", linewidth=1, zorder=3)
        if uniform:
            volume = float(np.mean([table[group] for table in uniform]))
            ax.plot([place], [volume], linestyle="none", zorder=4, **UNIFORM_MARK)
    ax.set_xticks(range(len(groups)), groups)
    ax.set_xlim(-0.6, len(groups) - 0.4)


def _normalised(shares: Mapping[str, float]) -> dict[str, float]:
    total = sum(shares.values())
    return {name: value / total for name, value in shares.items()} if total > 0 else dict(shares)


def plot_density_change(difference: GridDensity, structure: Structure, title: str = "") -> Figure:
    """Draw a density difference: cuts through its strongest gain, above, and its sum along each axis, below.

    Parameters
    ----------
    difference
        Excited less ground, 1/Å³.
    structure
        Its atoms; the site property ``group`` colours FA as one.
    title
        Above the figure.
    """
    centre = np.unravel_index(int(np.argmax(difference.values)), difference.values.shape)
    with paper_style():
        figure = new_figure(PAGE_MM, 123)
        axes = figure.subplots(2, 3, squeeze=False)
        cuts = [np.take(difference.values, centre[axis], axis=axis) for axis in range(3)]
        sums = [difference.values.sum(axis=axis) * _step(difference, axis) for axis in range(3)]
        for row, pictures, unit in ((axes[0], cuts, "e/Å³"), (axes[1], sums, "e/Å²")):
            limit = max(float(np.percentile(np.abs(picture), SATURATED)) for picture in pictures) or 1.0
            for axis, (ax, picture) in enumerate(zip(row, pictures, strict=True)):
                image = _picture(ax, picture, structure, axis, cmap="RdBu_r", vmin=-limit, vmax=limit)
            bar = figure.colorbar(image, ax=row, shrink=0.9, pad=0.01)
            bar.set_label(f"Δρ ({unit})")
        for axis, ax in enumerate(axes[0]):
            position = centre[axis] * _step(difference, axis)
            _draw_atoms(ax, structure, axis, position)
            ax.set_title(f"cut at {AXES[axis]} = {position:.2f} Å")
        for axis, ax in enumerate(axes[1]):
            _draw_atoms(ax, structure, axis, None)
            ax.set_title(f"summed along {AXES[axis]}")
        figure.legend(handles=_atom_marks(structure), loc="outside lower center", ncols=6)
        if title:
            figure.suptitle(title, fontsize=9)
    return figure


def plot_density_changes(cells: Sequence[ExcitedCell]) -> Figure:
    """Draw the density differences of cells summed along each axis, a row a cell, all with the same colours.

    All are drawn to one scale, such that a few cells fit on one page.

    Parameters
    ----------
    cells
        Those without a difference are left out.
    """
    known = [(cell, cell.difference) for cell in cells if cell.difference is not None]
    if not known:
        raise InputError("excitations without a density difference", "run the excitation step")
    sums = [
        [difference.values.sum(axis=axis) * _step(difference, axis) for axis in range(3)] for _, difference in known
    ]
    limit = max(float(np.percentile(np.abs(picture), SATURATED)) for row in sums for picture in row) or 1.0
    lattices = [cell.structure.lattice for cell, _ in known]
    widths, heights = _largest(lattices, 0), _largest(lattices, 1)
    scale = min(
        (PAGE_MM - BESIDE_MM) / sum(widths),
        ((MOST_HEIGHT_MM - HEAD_MM) / len(known) - LABEL_MM) / max(heights),
    )
    with paper_style():
        height_mm = HEAD_MM + len(known) * (LABEL_MM + scale * max(heights))
        figure = new_figure(BESIDE_MM + scale * sum(widths), height_mm)
        axes = figure.subplots(len(known), 3, squeeze=False, width_ratios=widths)
        for (cell, _), row, pictures in zip(known, axes, sums, strict=True):
            for axis, (ax, picture) in enumerate(zip(row, pictures, strict=True)):
                image = _picture(ax, picture, cell.structure, axis, cmap="RdBu_r", vmin=-limit, vmax=limit)
                _draw_atoms(ax, cell.structure, axis, None)
                _same_frame(ax, widths[axis], heights[axis])
            row[0].set_ylabel(f"{wrap_title(cell.title, ROW_LETTERS)}\n{row[0].get_ylabel()}")
        for axis, ax in enumerate(axes[0]):
            ax.set_title(f"summed along {AXES[axis]}")
        figure.colorbar(image, ax=axes, shrink=1.0, aspect=50, pad=0.01).set_label("Δρ (e/Å²)")
        handles = {mark.get_label(): mark for cell, _ in known for mark in _atom_marks(cell.structure)}
        figure.legend(handles=list(handles.values()), loc="outside lower center", ncols=6)
    return figure


def _largest(lattices: Sequence[Lattice], side: int) -> list[float]:
    """Return the largest width (side 0) or height (side 1), Å, that the view along each axis has in any cell."""
    return [max(float(lattice.abc[_plane(axis)[side]]) for lattice in lattices) for axis in range(3)]


def _same_frame(ax: Axes, width: float, height: float) -> None:
    """Give views of cells of different size the same frame and the same ticks, Å."""
    ax.set_xlim(0, width)
    ax.set_ylim(0, height)
    ax.set_anchor("N")
    ax.xaxis.set_major_locator(MultipleLocator(TICK_ANGSTROM))
    ax.yaxis.set_major_locator(MultipleLocator(TICK_ANGSTROM))


def _step(density: GridDensity, axis: int) -> float:
    return float(density.structure.lattice.abc[axis]) / int(density.values.shape[axis])


def _plane(axis: int) -> tuple[int, int]:
    across, up = [other for other in range(3) if other != axis]
    return across, up


def _picture(ax: Axes, values: FloatArray, structure: Structure, axis: int, **look: Any) -> Any:
    """Draw a plane across the other two axes, one cell wide; lengths along the axes, whatever their angle."""
    across, up = _plane(axis)
    lengths = structure.lattice.abc
    image = ax.imshow(
        values.T, origin="lower", extent=(0, lengths[across], 0, lengths[up]), interpolation="bilinear", **look
    )
    ax.set_xlabel(f"{AXES[across]} (Å)")
    ax.set_ylabel(f"{AXES[up]} (Å)")
    return image


def _atom_marks(structure: Structure) -> list[Artist]:
    """Return the points of the species that :func:`_draw_atoms` draws, for a legend."""
    look: dict[str, Any] = {"linestyle": "none", "marker": "o", "markersize": 4, "markeredgecolor": "white"}
    owners = dict.fromkeys(owners_of(structure)[0])
    return [Line2D([], [], color=species_colour(owner), label=owner, **look) for owner in owners]


def _draw_atoms(ax: Axes, structure: Structure, axis: int, position: float | None) -> None:
    """Mark atoms, those of a cut if its position along the axis is given (Å)."""
    across, up = _plane(axis)
    lengths = np.array(structure.lattice.abc)
    fractional = structure.frac_coords % 1.0
    colours = np.array([species_colour(owner) for owner in owners_of(structure)[0]])
    if position is not None:
        apart = fractional[:, axis] - position / lengths[axis]
        near = np.abs(apart - np.round(apart)) * lengths[axis] <= CUT_DEPTH_ANGSTROM
        fractional, colours = fractional[near], colours[near]
    places = fractional * lengths
    ax.scatter(places[:, across], places[:, up], s=9, c=colours, edgecolors="white", linewidths=0.4)
    ax.set_xlim(0, lengths[across])
    ax.set_ylim(0, lengths[up])
