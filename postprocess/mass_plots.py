"""Figures of masses: against FA content with arrows of change, round the a-b plane, and the fits along lines."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.projections.polar import PolarAxes

from corecrown.errors import InputError
from corecrown.postprocess.cells import turned_deg
from corecrown.postprocess.mass_fit import BOHR_ANGSTROM, HARTREE_EV, Carrier, FloatArray
from corecrown.postprocess.mass_outcomes import STEP_TOLERANCE
from corecrown.postprocess.mass_path_bands import coordinates_text, path_lines, plain_label
from corecrown.postprocess.mass_paths import PathMass, PathMasses
from corecrown.postprocess.mass_table import DIRECTIONS, MassRow, Source, mass_table
from corecrown.postprocess.mass_tensors import mass_along
from corecrown.postprocess.plots.style import (
    COLUMN_MM,
    CONDUCTION,
    GREY,
    LINE_COLOURS,
    LINE_MARKERS,
    VALENCE,
    figure_and_axes,
    new_figure,
    paper_style,
)
from corecrown.postprocess.results import CellResult, MassTensor

__all__ = ["plot_inplane_masses", "plot_masses", "plot_path_masses"]

_COLOURS = {"x": LINE_COLOURS[1], "y": LINE_COLOURS[2], "z": LINE_COLOURS[0]}
_MARKERS = {"x": "o", "y": "s", "z": "^"}
_LINE_STYLES = ("solid", (0, (5, 1.5)), (0, (2, 1)), (0, (5, 1, 1, 1)), (0, (8, 1, 1, 1, 1, 1)))
"""Not as many as there are colours, so that both together repeat late."""

_DIRECTION_STYLES = {"x": "solid", "y": (0, (4, 1.5)), "z": (0, (1, 1))}
"""Lines of directions, so that they are told apart without colour."""

SHOWN_MEV = 120.0


def plot_masses(cells: Sequence[CellResult], *, source: Source = "tensor", spin_orbit: bool = False) -> Figure:
    """Draw the masses of electrons and holes along Γ-X, Γ-Y, Γ-Z against FA content.

    An arrow goes from the reference cell's mass to that of each other cell, in the order of content; changes below 5 %
    have none. Open symbols are masses that are not converged. Cells whose FA left its axis are said to have turned.

    Parameters
    ----------
    cells, source, spin_orbit
        As for :func:`mass_table`.
    """
    rows = [row for row in mass_table(cells, source=source, spin_orbit=spin_orbit) if row.fa_percent is not None]
    if not any(mass is not None for row in rows for mass in row.masses):
        raise InputError("cells: none has masses", "run the step masses")
    rows.sort(key=lambda row: (row.fa_percent or 0.0, row.alignment or ""))
    carriers = [carrier for carrier in Carrier if any(row.carrier is carrier for row in rows)]
    turned = {cell.label: turned_deg(cell) for cell in cells}
    names = {row.cell: _content_name(row, turned.get(row.cell)) for row in rows}
    places = {cell: place for place, cell in enumerate(names)}
    with paper_style():
        figure = new_figure(COLUMN_MM, 52 * len(carriers) + 8)
        panels = figure.subplots(len(carriers), 1, sharex=True, squeeze=False)[:, 0]
        for ax, carrier in zip(panels, carriers, strict=True):
            _draw_masses(ax, [row for row in rows if row.carrier is carrier], places)
            ax.set_ylabel(f"{carrier.value} mass ($m_0$)")
        panels[-1].set_xticks(list(places.values()), list(names.values()))
        panels[-1].set_xlabel("FA (%)")
        panels[0].legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    return figure


def plot_inplane_masses(masses: Mapping[str, MassTensor], *, ax: PolarAxes | None = None, title: str = "") -> Figure:
    """Draw the mass against direction in the a-b plane, the plane of a platelet: one closed line a tensor.

    Parameters
    ----------
    masses
        By name, as it stands in the legend; those without a tensor are left out.
    ax
        Polar axes to draw into; by default a new figure one column wide.
    title
        What stands above.
    """
    angles = np.linspace(0, 2 * np.pi, 361)
    known = {name: mass for name, mass in masses.items() if mass.tensor_inverse is not None}
    if not known:
        raise InputError("masses: none has a tensor", "split and warped edges have none")
    with paper_style():
        if ax is None:
            figure = new_figure(COLUMN_MM, COLUMN_MM + 6)
            axes = figure.add_subplot(projection="polar")
        else:
            figure, axes = ax.figure, ax
        for index, (name, mass) in enumerate(known.items()):
            along = [mass_along(mass, (np.cos(angle), np.sin(angle), 0)) for angle in angles]
            radii = np.array([np.nan if value is None else value for value in along])
            axes.plot(
                angles, radii, color=LINE_COLOURS[index % len(LINE_COLOURS)],
                linestyle=_LINE_STYLES[index % len(_LINE_STYLES)], linewidth=1.0, label=name,
            )  # fmt: skip
        axes.set_xticks(np.arange(0, 2 * np.pi, np.pi / 4), ["a (Γ-X)", "", "b (Γ-Y)", "", "", "", "", ""])
        axes.tick_params(axis="x", pad=2)
        axes.get_xticklabels()[0].set_horizontalalignment("left")
        axes.set_rlim(0, None)
        axes.yaxis.set_major_locator(_few_ticks())
        axes.set_rlabel_position(225)
        axes.tick_params(axis="y", labelcolor=GREY)
        axes.grid(color="0.85", linewidth=0.5)
        axes.set_title(title or "mass in the a-b plane ($m_0$)")
        if len(known) > 1:
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.06), ncols=2, handlelength=2.8)
    return figure


def plot_path_masses(band_structure: Any, result: PathMasses, *, ax: Axes | None = None) -> Figure:
    """Draw the computed points around each edge and the parabola of each mass.

    Parameters
    ----------
    band_structure
        What the masses were fitted to.
    result
        What :func:`path_masses` gave.
    ax
        Axes to draw into; by default a new figure one column wide.
    """
    rows = [row for row in result.path_masses if row.mass is not None]
    if not rows:
        raise InputError("no masses to draw", "; ".join(result.notes) or "none was fitted")
    with paper_style():
        figure, ax = figure_and_axes(ax, COLUMN_MM, 78)
        names: dict[str, int] = {}
        for row in rows:
            index = names.setdefault(" → ".join(row.direction), len(names))
            distances, heights = _samples(band_structure, row)
            sign = row.carrier.sign
            shown = np.abs(heights) <= SHOWN_MEV
            colour = CONDUCTION if row.carrier is Carrier.ELECTRON else VALENCE
            marker = LINE_MARKERS[index % len(LINE_MARKERS)]
            ax.plot(distances[shown], heights[shown], marker, color=colour, markersize=3, fillstyle="none")
            reach = float(distances[shown].max(initial=0.0)) or 0.05
            x = np.linspace(0, reach, 60)
            parabola = sign * 1e3 * HARTREE_EV * (x * BOHR_ANGSTROM) ** 2 / (2 * (row.mass or np.inf))
            near = np.abs(parabola) <= SHOWN_MEV
            ax.plot(
                x[near], parabola[near], color=colour, linestyle=_LINE_STYLES[index % len(_LINE_STYLES)], linewidth=0.8
            )
        for name, index in names.items():
            line = _LINE_STYLES[index % len(_LINE_STYLES)]
            ax.plot(
                [],
                [],
                LINE_MARKERS[index % len(LINE_MARKERS)],
                color=GREY,
                linestyle=line,
                label=name,
                fillstyle="none",
            )
        ax.axhline(0, color="0.8", linewidth=0.5, zorder=0)
        ax.set_xlabel("distance from the extremum (1/Å)")
        ax.set_ylabel("energy from the edge (meV)")
        ax.set_xlim(0, None)
        ax.legend(loc="best", handlelength=2.5)
    return figure


def _draw_masses(ax: Axes, rows: list[MassRow], places: dict[str, int]) -> None:
    reference = next((row for row in rows if row.reference), None)
    for index, direction in enumerate(DIRECTIONS):
        colour, marker = _COLOURS[direction], _MARKERS[direction]
        start = None if reference is None else reference.masses[index]
        if start is not None:
            ax.axhline(start, color=colour, linewidth=0.5, linestyle=_DIRECTION_STYLES[direction], zorder=1)
        for row in rows:
            mass = row.masses[index]
            if mass is None:
                continue
            x = places[row.cell] + 0.2 * (index - 1)
            ax.plot(x, mass, marker, color=colour, markerfacecolor=colour if row.converged else "white", zorder=3)
            if start is not None and not row.reference and abs(mass / start - 1) >= STEP_TOLERANCE:
                ax.annotate(
                    "", (x, mass), (x, start), zorder=2,
                    arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 0.8,
                                "linestyle": _DIRECTION_STYLES[direction],
                                "shrinkA": 0, "shrinkB": 2, "mutation_scale": 6},
                )  # fmt: skip
        ax.plot([], [], marker, color=colour, label=f"Γ-{direction.upper()}")
    values = [mass for row in rows for mass in row.masses if mass is not None]
    if values and max(values) > 4 * min(values):
        ax.set_yscale("log")
        ticks = [tick for tick in (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0) if min(values) / 2 < tick < max(values) * 2]
        ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        ax.minorticks_off()
    ax.margins(x=0.05, y=0.12)


def _content_name(row: MassRow, turned: float | None) -> str:
    along = f"\n∥ {row.alignment}" if row.alignment else ""
    if turned is not None:
        along += f", now\n{turned:.0f}° off"
    return f"{row.fa_percent:g}{along}"


def _samples(band_structure: Any, row: PathMass) -> tuple[FloatArray, FloatArray]:
    """Return distances (1/Å) and energies (meV) from the extremum of the k-points that lie in a mass's direction."""
    lattice = np.array(band_structure.lattice_rec.matrix)
    kpoints = np.array([kpoint.frac_coords for kpoint in band_structure.kpoints], dtype=float)
    cartesian = kpoints @ lattice
    labels = [plain_label(kpoint.label) if kpoint.label else None for kpoint in band_structure.kpoints]
    spins = sorted(band_structure.bands, key=int, reverse=True)
    spin = spins[-1] if row.spin == "down" else spins[0]
    energies = np.sort(np.asarray(band_structure.bands[spin], dtype=float), axis=0)[row.band_index]
    extremum = np.array(row.kpoint) @ lattice
    distance = np.linalg.norm(cartesian - extremum, axis=1)
    candidates = []
    for line in path_lines(cartesian, labels):
        nearest = int(np.argmin(distance[line]))
        for side in (line[nearest:], line[nearest::-1]):
            ahead = labels[side[-1]] or coordinates_text(kpoints[side[-1]])
            if len(side) > 1 and ahead == row.direction[1]:
                candidates.append((float(distance[side[0]]), side))
    if not candidates:
        return np.zeros(1), np.zeros(1)
    side = min(candidates)[1]
    edge = energies[side[0]]
    return distance[side], 1e3 * (energies[side] - edge)


def _few_ticks() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(4)
