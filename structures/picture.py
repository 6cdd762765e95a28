"""A picture of a cell: one view down each axis, octahedra shaded, FA drawn as molecules."""

from collections import Counter
from itertools import product
from math import gcd

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Polygon
from numpy.typing import NDArray
from pymatgen.core import Structure
from scipy.spatial import ConvexHull, QhullError

from corecrown.palette import SPECIES_COLOURS
from corecrown.structures.formamidinium import SYMBOLS, find_formamidinium, unwrap

__all__ = ["PAGE_INCHES", "draw_cell", "draw_view", "ion_formula"]

FloatArray = NDArray[np.float64]

PAGE_INCHES = 6.7
"""Width of a page of a journal, 170 mm."""

TEXT_POINTS, TITLE_POINTS = 8, 9

_ORDER = ("Cs", "Pb", "Br", "C", "N", "H")
"""Of the elements below a picture; others follow by name."""

_OTHER = "#8a8a8a"
_RADIUS = {"Cs": 0.85, "Pb": 0.55, "Br": 0.42, "C": 0.36, "N": 0.36, "H": 0.22}
_ION_BONDS = ((0, 1), (0, 2), (0, 3), (1, 4), (1, 5), (2, 6), (2, 7))
_LONGEST_PB_BR = 4.0
_AXIS_NAMES = "abc"
_ION = "CH5N2"
_EDGE_ANGSTROM = 0.4
_PB_EDGE_ANGSTROM = 0.8
"""Relaxed Pb is displaced from the faces of its cell, and still drawn at every edge."""

_ATOM_LEVEL = 1000.0
"""Drawing order of atoms: above octahedra, whatever their depth (Å)."""


def draw_cell(structure: Structure, title: str = "", width: float = PAGE_INCHES) -> Figure:
    """Draw a cell down its a, b and c axes, its elements named below.

    Parameters
    ----------
    structure
        Any structure.
    title
        Above the picture.
    width
        Inches; letters stay 8 and 9 pt.

    Returns
    -------
    Figure
        Not shown and not written.
    """
    lengths = np.array(structure.lattice.abc)
    views = [(1, 2, 0), (0, 2, 1), (0, 1, 2)]
    ratios = [float(lengths[across] + 2.5) for across, _, _ in views]
    height = width * max(float(lengths[up] + 2.5) for _, up, _ in views) / sum(ratios) + 0.55
    figure = Figure(figsize=(width, min(height, 14.0)), layout="constrained")
    panels = figure.subplots(1, 3, gridspec_kw={"width_ratios": ratios})
    for panel, (across, up, down) in zip(panels, views, strict=True):
        draw_view(structure, down, panel, across=across, up=up)
    if title:
        figure.suptitle(title, fontsize=TITLE_POINTS)
    _name_elements(figure, structure)
    return figure


def draw_view(structure: Structure, down: int, ax: Axes, *, across: int, up: int) -> Axes:
    """Draw a cell seen down one axis, into some axes.

    Parameters
    ----------
    structure
        Any structure.
    down
        Axis (0, 1, 2) that points at the reader.
    ax
        Where to draw.
    across, up
        Axes drawn to the right and upwards.
    """
    matrix = structure.lattice.matrix
    frame = matrix / np.linalg.norm(matrix, axis=1)[:, None]
    flat = frame[[across, up]].T
    towards = np.cross(frame[across], frame[up])
    for symbols, atoms in _units(structure, across, up):
        level = float(atoms.mean(axis=0) @ towards)
        if len(symbols) == len(SYMBOLS):
            lines = [(atoms[i] @ flat, atoms[j] @ flat) for i, j in _ION_BONDS]
            ax.add_collection(
                LineCollection(lines, colors=SPECIES_COLOURS["C"], linewidths=1.4, zorder=_ATOM_LEVEL + level)
            )
        for symbol, position in zip(symbols, atoms, strict=True):
            _draw_atom(ax, symbol, position @ flat, level + 0.01)
        if symbols == ("Pb",):
            _draw_octahedron(structure, atoms[0], flat, ax)
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]], dtype=float)
    box = corners[:, :1] * (matrix[across] @ flat) + corners[:, 1:] * (matrix[up] @ flat)
    ax.plot(box[:, 0], box[:, 1], color="#707070", linewidth=0.8, zorder=2)
    low, high = box.min(axis=0) - 1.2, box.max(axis=0) + 1.2
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
    ax.set_xlabel(f"{_AXIS_NAMES[across]} (Å)", fontsize=TEXT_POINTS)
    ax.set_ylabel(f"{_AXIS_NAMES[up]} (Å)", fontsize=TEXT_POINTS)
    ax.set_title(f"down {_AXIS_NAMES[down]}", fontsize=TITLE_POINTS)
    ax.tick_params(labelsize=TEXT_POINTS)
    ax.locator_params(integer=True, nbins=6)
    return ax


def ion_formula(structure: Structure) -> str:
    """Return the formula of a cell with its formamidinium ions written as such, as ``Cs3(CH5N2)Pb4Br12``.

    Without formamidinium it is the reduced formula.
    """
    ions = find_formamidinium(structure)
    if not ions:
        return str(structure.composition.reduced_formula)
    in_ions = {i for ion in ions for i in ion}
    counts = Counter(site.specie.symbol for i, site in enumerate(structure) if i not in in_ions)
    divisor = gcd(len(ions), *counts.values())
    parts = {symbol: count // divisor for symbol, count in counts.items()}
    ordered = [symbol for symbol in (*_ORDER, *sorted(parts.keys() - set(_ORDER))) if symbol in parts]
    written = [f"{symbol}{_count(parts[symbol])}" for symbol in ordered]
    written.insert(1 if "Cs" in parts else 0, f"({_ION}){_count(len(ions) // divisor)}")
    return "".join(written)


def _count(number: int) -> str:
    return "" if number == 1 else str(number)


def _name_elements(figure: Figure, structure: Structure) -> None:
    """Name the elements below the views, those of the perovskite first."""
    there = {element.symbol for element in structure.elements}
    marks = [
        Line2D([], [], linestyle="none", marker="o", markersize=6, markeredgewidth=0.5, markeredgecolor="#303030",
               markerfacecolor=SPECIES_COLOURS.get(symbol, _OTHER), label=symbol)
        for symbol in [*(known for known in _ORDER if known in there), *sorted(there - set(_ORDER))]
    ]  # fmt: skip
    figure.legend(handles=marks, loc="outside lower center", ncols=len(marks), fontsize=TEXT_POINTS, frameon=False)


def _draw_atom(ax: Axes, symbol: str, place: FloatArray, depth: float) -> None:
    ax.add_patch(
        Circle(
            (float(place[0]), float(place[1])),
            _RADIUS.get(symbol, 0.5),
            facecolor=SPECIES_COLOURS.get(symbol, _OTHER),
            edgecolor="#303030",
            linewidth=0.5,
            zorder=_ATOM_LEVEL + depth,
        )
    )


def _units(structure: Structure, across: int, up: int) -> list[tuple[tuple[str, ...], FloatArray]]:
    """Return atoms and whole ions with Cartesian positions (Å), those at the edge of the view at every edge."""
    ions = find_formamidinium(structure)
    in_ions = {i for ion in ions for i in ion}
    single = [
        ((site.specie.symbol,), site.frac_coords[None, :]) for i, site in enumerate(structure) if i not in in_ions
    ]
    whole = [(SYMBOLS, structure.lattice.get_fractional_coords(unwrap(structure, ion))) for ion in ions]
    units: list[tuple[tuple[str, ...], FloatArray]] = []
    for symbols, fractional in [*single, *whole]:
        edge = _PB_EDGE_ANGSTROM if symbols == ("Pb",) else _EDGE_ANGSTROM
        home = fractional - np.floor(fractional.mean(axis=0) + 1e-6)
        for i, j in product((-1, 0, 1), repeat=2):
            image = home.copy()
            image[:, across] += i
            image[:, up] += j
            centre = image.mean(axis=0)[[across, up]] * np.array(structure.lattice.abc)[[across, up]]
            size = np.array(structure.lattice.abc)[[across, up]]
            if (centre > -edge).all() and (centre < size + edge).all():
                units.append((symbols, structure.lattice.get_cartesian_coords(image)))
    return units


def _draw_octahedron(structure: Structure, centre: FloatArray, flat: FloatArray, ax: Axes) -> None:
    """Shade the outline of the Br around a Pb."""
    near = sorted(structure.get_sites_in_sphere(centre, _LONGEST_PB_BR), key=lambda atom: atom.nn_distance)
    corners = np.array([atom.coords for atom in near if atom.specie.symbol == "Br"][:6]).reshape(-1, 3)
    if len(corners) < 3:
        return
    outline = corners @ flat
    try:
        outline = outline[ConvexHull(outline).vertices]
    except QhullError:
        return
    ax.add_patch(
        Polygon(outline, facecolor=SPECIES_COLOURS["Pb"], edgecolor=SPECIES_COLOURS["Pb"], alpha=0.2, zorder=1)
    )
