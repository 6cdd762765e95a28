"""Several cells side by side: band structures, densities of states, or one above the other."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from corecrown.errors import InputError
from corecrown.postprocess.plots.bands import WINDOW_EV, plot_bands
from corecrown.postprocess.plots.cells import wrap_title
from corecrown.postprocess.plots.pdos import plot_pdos, stack_place
from corecrown.postprocess.plots.style import GREY, MM_PER_INCH, PAGE_MM, new_figure, paper_style
from corecrown.postprocess.results import BandEdges

__all__ = ["CellPanel", "plot_band_structures", "plot_electronic_structure", "plot_pdos_stack"]

MOST_COLUMNS = 4
BANDS_MM = 58.0
PDOS_MM = 40.0
STRIP_MM = 10.0
LINE_MM = 4.2
NAME_MM = 18.5

TITLE_LETTERS = 20
"""Of a title of 9 pt over the narrowest panel; longer ones are broken into lines."""


@dataclass(frozen=True)
class CellPanel:
    """What is drawn of one cell: its title, band structure, density of states and edges."""

    title: str
    bands: Any = None
    dos: Any = None
    edges: BandEdges | None = None


def plot_band_structures(
    panels: Sequence[CellPanel], *, window_ev: tuple[float, float] = WINDOW_EV, note: str = ""
) -> Figure:
    """Draw the band structures of all cells side by side, each from its valence edge, on one energy axis.

    Parameters
    ----------
    panels
        One for each cell, in order; more than four wrap into rows.
    window_ev
        Lowest and highest energy shown.
    note
        What stands below, such as the level of theory.
    """
    return _grid(panels, ("bands",), window_ev, note)


def plot_pdos_stack(
    panels: Sequence[CellPanel], *, window_ev: tuple[float, float] = WINDOW_EV, note: str = ""
) -> Figure:
    """Draw the projected densities of states of all cells below each other, stacked by species and orbital.

    Parameters are those of :func:`plot_band_structures`.
    """
    if not panels:
        raise InputError("panels: there is no cell to draw", "a study needs at least one cell")
    with paper_style():
        figure = new_figure(PAGE_MM / 2, 10 + 25.0 * len(panels) + 2 * STRIP_MM)
        axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
        for ax, panel in zip(axes, panels, strict=True):
            _draw(ax, panel, "pdos", window_ev)
            ax.set_title("")
            ax.text(0.98, 0.93, panel.title, transform=ax.transAxes, ha="right", va="top", fontsize=9)
            ax.label_outer()
            ax.set_ylabel("")
        _share_height([ax for ax, panel in zip(axes, panels, strict=True) if panel.dos is not None])
        figure.supylabel("DOS (1/eV)", fontsize=8)
        _strip(figure, list(axes), note)
    return figure


def plot_electronic_structure(
    panels: Sequence[CellPanel], *, window_ev: tuple[float, float] = WINDOW_EV, note: str = ""
) -> Figure:
    """Draw band structures in a row and, below each, its projected density of states.

    Cells without a density of states come last, with their bands alone.

    Parameters are those of :func:`plot_band_structures`.
    """
    return _grid(panels, ("bands", "pdos"), window_ev, note)


def _grid(panels: Sequence[CellPanel], kinds: Sequence[str], window_ev: tuple[float, float], note: str) -> Figure:
    if not panels:
        raise InputError("panels: there is no cell to draw", "a study needs at least one cell")
    if "pdos" in kinds:
        panels = sorted(panels, key=lambda panel: panel.dos is None)
    n_blocks = -(-len(panels) // MOST_COLUMNS)
    columns = -(-len(panels) // n_blocks)
    blocks = [panels[first : first + columns] for first in range(0, len(panels), columns)]
    rows = [(block, kind) for block in blocks for kind in kinds if _has_row(block, kind)]
    heights = [BANDS_MM if kind == "bands" else PDOS_MM for _, kind in rows]
    with paper_style():
        figure = new_figure(PAGE_MM if columns > 1 else PAGE_MM / 2, sum(heights) + STRIP_MM)
        axes = figure.subplots(len(rows), columns, squeeze=False, height_ratios=heights)
        drawn: dict[str, list[Axes]] = {kind: [] for kind in kinds}
        for line, (block, kind) in zip(axes, rows, strict=True):
            for column, ax in enumerate(line):
                if column >= len(block) or (kind == "pdos" and block[column].dos is None):
                    ax.set_axis_off()
                    continue
                _draw(ax, block[column], kind, window_ev)
                if kind != kinds[0]:
                    ax.set_title("")
                if column > 0:
                    ax.set_ylabel("")
                    ax.tick_params(labelleft=False)
                if getattr(block[column], "dos" if kind == "pdos" else "bands") is not None:
                    drawn[kind].append(ax)
        if "pdos" in kinds:
            _share_height(drawn["pdos"])
        _strip(figure, drawn.get("pdos", []), note)
    return figure


def _has_row(panels: Sequence[CellPanel], kind: str) -> bool:
    """Return whether cells have a row of their own for bands, always, or for densities of states, where one is."""
    return kind == "bands" or any(panel.dos is not None for panel in panels)


def _draw(ax: Axes, panel: CellPanel, kind: str, window_ev: tuple[float, float]) -> None:
    title = wrap_title(panel.title, TITLE_LETTERS)
    if kind == "bands" and panel.bands is not None:
        plot_bands(panel.bands, panel.edges, ax=ax, window_ev=window_ev, title=title)
        return
    if kind == "pdos" and panel.dos is not None:
        plot_pdos(panel.dos, panel.edges, ax=ax, window_ev=window_ev, title=title, legend=False)
        return
    ax.set_title(title)
    ax.text(0.5, 0.5, f"no {'bands' if kind == 'bands' else 'PDOS'}", transform=ax.transAxes,
            ha="center", va="center", color=GREY)  # fmt: skip
    (ax.set_ylim if kind == "bands" else ax.set_xlim)(*window_ev)
    (ax.set_xticks if kind == "bands" else ax.set_yticks)([])


def _share_height(axes: Sequence[Axes]) -> None:
    if axes:
        top = max(ax.get_ylim()[1] for ax in axes)
        for ax in axes:
            ax.set_ylim(0, top)


def _strip(figure: Figure, axes: Sequence[Axes], note: str) -> None:
    """Put a strip below the panels: each colour named once for the whole figure, and the note under that."""
    named: dict[str, Any] = {}
    for ax in axes:
        for handle, name in zip(*ax.get_legend_handles_labels(), strict=True):
            named.setdefault(name, handle)
    height_mm = figure.get_figheight() * MM_PER_INCH
    used_mm = 0.0
    if note:
        lines = _wrap(note, figure)
        figure.text(0.5, 1.0 / height_mm, "\n".join(lines), color=GREY, ha="center", va="bottom", in_layout=False)
        used_mm += 1.0 + LINE_MM * len(lines)
    if named:
        handles = [
            Patch(
                facecolor=named[name].get_facecolor()[0], hatch=named[name].get_hatch(), edgecolor="white",
                linewidth=0, label=name,
            )
            for name in sorted(named, key=stack_place)
        ]  # fmt: skip
        columns = min(int(figure.get_figwidth() * MM_PER_INCH / NAME_MM), len(handles))
        legend = figure.legend(
            handles=handles, loc="lower center", ncols=columns, bbox_to_anchor=(0.5, used_mm / height_mm)
        )
        legend.set_in_layout(False)
        used_mm += 2.5 + LINE_MM * -(-len(handles) // columns)
    figure.get_layout_engine().set(rect=(0, used_mm / height_mm, 1, 1 - used_mm / height_mm))


def _wrap(note: str, figure: Figure) -> list[str]:
    """Break a note into lines that fit the figure: a letter of 8 pt is about 1.75 mm wide."""
    return textwrap.wrap(note, int(figure.get_figwidth() * MM_PER_INCH / 1.75))
