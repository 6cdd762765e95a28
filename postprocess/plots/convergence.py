"""How gap, pressure and forces approach the densest point."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from corecrown.errors import InputError
from corecrown.postprocess.convergence import ConvergenceResult, ConvergenceRow, ConvergenceSeries, Quantity
from corecrown.postprocess.plots.style import (
    CONDUCTION,
    GREY,
    PAGE_MM,
    VALENCE,
    figure_and_axes,
    new_figure,
    paper_style,
    species_colour,
)

__all__ = ["plot_convergence", "plot_convergence_series"]

ROW_MM, FOOT_MM = 34.0, 14.0


class _Panel(NamedTuple):
    value: Callable[[ConvergenceRow], float | None]
    label: str
    colour: str
    smallest: float
    """What stands in for less on the logarithmic scale: half a unit of the last digit that is kept."""


_GREEN = species_colour("Cs")
_PANELS = (
    _Panel(lambda row: _scaled(row.gap_difference_ev, 1000), "|Δ gap| (meV)", VALENCE, 0.05),
    _Panel(lambda row: _scaled(row.pressure_difference_kbar, 1), "|Δ pressure| (kbar)", CONDUCTION, 0.0005),
    _Panel(
        lambda row: _scaled(row.force_difference_ev_angstrom, 1000), "max |ΔF| (meV/Å)", species_colour("Cs"), 0.005
    ),
)


def plot_convergence(result: ConvergenceResult) -> Figure:
    """Draw every series of a convergence study: a column a series, a row a quantity that was measured.

    Parameters
    ----------
    result
        The densest point of each series is the zero the others are measured from, so it is not drawn.

    Raises
    ------
    InputError
        If no series has two points.
    """
    drawn = [series for series in result.series if len(series.rows) > 1]
    if not drawn:
        raise InputError("convergence: no series with two points to draw", "compute more cutoffs or meshes")
    panels = [panel for panel in _PANELS if any(_pairs(series, panel)[1] for series in drawn)]
    if not panels:
        raise InputError("convergence: no differences to draw", "the points have no gap, pressure or forces in common")
    with paper_style():
        width = PAGE_MM if len(drawn) > 1 else PAGE_MM / 2
        figure = new_figure(width, ROW_MM * len(panels) + FOOT_MM)
        axes = figure.subplots(len(panels), len(drawn), squeeze=False, sharex="col", sharey="row")
        for column, series in enumerate(drawn):
            for row, panel in enumerate(panels):
                _draw(axes[row, column], series, panel)
                if column:
                    axes[row, column].set_ylabel("")
                if row < len(panels) - 1:
                    axes[row, column].set_xlabel("")
            axes[0, column].set_title(f"{result.cell}, {_held(series)}")
        for row in axes:
            _whole_decades(row)
    return figure


def plot_convergence_series(series: ConvergenceSeries, *, ax: Axes | None = None) -> Figure:
    """Draw how the gap of one series approaches that of its densest point."""
    with paper_style():
        figure, ax = figure_and_axes(ax, 85, 60)
        _draw(ax, series, _PANELS[0])
    return figure


def _whole_decades(axes: Sequence[Axes]) -> None:
    """Let the shared scale of a row end at powers of ten, and label those alone."""
    heights = [height for ax in axes for line in ax.get_lines() for height in line.get_ydata()]
    if heights:
        low, high = math.floor(math.log10(0.8 * min(heights))), math.ceil(math.log10(1.25 * max(heights)))
        axes[0].set_ylim(10.0**low, 10.0 ** max(high, low + 1))
    for ax in axes:
        ax.yaxis.set_minor_formatter(NullFormatter())


def _draw(ax: Axes, series: ConvergenceSeries, panel: _Panel) -> None:
    positions, heights = _pairs(series, panel)
    ax.plot(positions, heights, marker="o", color=panel.colour)
    ax.set_yscale("log")
    ax.set_ylabel(panel.label)
    ax.grid(visible=True, axis="y", color="0.9", linewidth=0.5)
    if series.vary is Quantity.CUTOFF:
        ax.set_xlabel("cutoff (Ry)")
        ax.set_xticks([row.cutoff_wfc_ry for row in series.rows[:-1]])
    else:
        names = ["×".join(str(n) for n in row.kpoint_mesh) for row in series.rows[:-1]]
        ax.set_xlabel("k-point mesh")
        ax.set_xticks(range(len(names)), names)
        ax.margins(x=0.12)
    if not heights:
        ax.text(0.5, 0.5, "not measured", transform=ax.transAxes, ha="center", va="center", color=GREY)


def _pairs(series: ConvergenceSeries, panel: _Panel) -> tuple[list[float], list[float]]:
    """Return positions and heights of what was measured, without the densest point."""
    positions, heights = [], []
    for place, row in enumerate(series.rows[:-1]):
        value = panel.value(row)
        if value is not None:
            positions.append(row.cutoff_wfc_ry if series.vary is Quantity.CUTOFF else float(place))
            heights.append(max(abs(value), panel.smallest))
    return positions, heights


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _held(series: ConvergenceSeries) -> str:
    """Say what stays fixed and what the zero is."""
    densest = series.rows[-1]
    if series.vary is Quantity.CUTOFF:
        mesh = "×".join(str(n) for n in series.fixed_mesh or ())
        return f"{mesh}: from {densest.cutoff_wfc_ry:g} Ry"
    return f"{series.fixed_cutoff_ry:g} Ry: from {'×'.join(str(n) for n in densest.kpoint_mesh)}"
