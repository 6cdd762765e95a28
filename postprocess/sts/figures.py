"""Figures of the STS analysis, at their final size; each takes results and returns the figure, and writes nothing."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from corecrown.errors import InputError
from corecrown.postprocess.plots.pdos import stack_place
from corecrown.postprocess.plots.style import (
    COLUMN_MM,
    CONDUCTION,
    GREY,
    LINE_COLOURS,
    PAGE_MM,
    VALENCE,
    figure_and_axes,
    new_figure,
    paper_style,
    species_colour,
)
from corecrown.postprocess.sts.alignment import ScaleRow
from corecrown.postprocess.sts.analysis import StsAnalysis
from corecrown.postprocess.sts.beside import GOOD_FIT
from corecrown.postprocess.sts.groups import GroupSpectra
from corecrown.postprocess.sts.overlay import Junction, OverlayDos, OverlayFit, fitted_didv
from corecrown.postprocess.sts.results import Spread, StabilityPoint, StsResult, TrapMap

__all__ = [
    "alignment_figure",
    "histogram_figure",
    "overlay_figure",
    "spectra_figure",
    "stability_figure",
    "sts_figure",
    "trap_figure",
    "trap_map_figure",
]

Array = NDArray[np.float64]

SYNTHETIC = "synthetic"
LEGEND_LINE_MM = 4.2


def spectra_figure(analysis: StsAnalysis, ax: Axes | None = None) -> Figure:
    """Draw the averaged dI/dV of each group with its interval, one above the other, edges marked."""
    with paper_style():
        figure, ax = figure_and_axes(ax, COLUMN_MM, 40 + 25 * len(analysis.spectra))
        for index, (name, spectrum) in enumerate(analysis.spectra.items()):
            colour, size = LINE_COLOURS[index % len(LINE_COLOURS)], _tallest(spectrum)
            base = -1.15 * index
            if spectrum.low_didv is not None and spectrum.high_didv is not None:
                ax.fill_between(
                    spectrum.bias_v,
                    spectrum.low_didv / size + base,
                    spectrum.high_didv / size + base,
                    color=colour,
                    alpha=0.25,
                    linewidth=0,
                )
            ax.plot(spectrum.bias_v, spectrum.mean_didv / size + base, color=colour)
            ax.axhline(base, color=GREY, linewidth=0.3)
            ax.text(0.5, base + 0.32, name, color=colour, ha="center", transform=ax.get_yaxis_transform())
            group = analysis.result.groups[name]
            for edge in (group.vbm_v.value, group.cbm_v.value):
                if edge is not None:
                    height = float(np.interp(edge, spectrum.bias_v, spectrum.mean_didv)) / size + base
                    ax.plot([edge], [height + 0.05], marker="v", color=colour, markersize=3.5)
                    ax.annotate(_volts(edge), (edge, height + 0.1), ha="center", va="bottom", color=colour, fontsize=8)
        ax.set_ylim(-1.15 * (len(analysis.spectra) - 1) - 0.15, 1.25)
        ax.set_yticks([])
        ax.set_xlabel("Sample bias (V)")
        ax.set_ylabel("dI/dV (normalised)")
        _mark(ax, analysis.result)
        return figure


def histogram_figure(analysis: StsAnalysis, axes: tuple[Axes, Axes] | None = None) -> Figure:
    """Draw histograms of the edges of individual sweeps, one panel a side, with the Gaussians fitted to them."""
    with paper_style():
        if axes is None:
            figure = new_figure(COLUMN_MM, 55 + LEGEND_LINE_MM * -(-len(analysis.spectra) // 2))
            panels = tuple(figure.subplots(1, 2, sharey=True))
        else:
            figure, panels = axes[0].figure, axes
        for index, (name, spectrum) in enumerate(analysis.spectra.items()):
            colour = LINE_COLOURS[index % len(LINE_COLOURS)]
            by_sweep = analysis.result.groups[name].by_sweep
            for panel, quantity in zip(panels, ("vbm_v", "cbm_v"), strict=True):
                spread = getattr(by_sweep, quantity) if by_sweep else None
                _histogram(panel, spectrum.by_sweep.get(quantity, np.array([])), spread, colour, name)
        panels[0].set_xlabel("Valence edge (V)")
        panels[1].set_xlabel("Conduction edge (V)")
        panels[0].set_ylabel("Sweeps")
        panels[0].yaxis.get_major_locator().set_params(integer=True)
        if axes is None:
            _legend_above(panels[0])
        _mark(panels[1], analysis.result)
        return figure


def trap_figure(analysis: StsAnalysis, ax: Axes | None = None) -> Figure:
    """Draw dI/dV in the gap over the tallest valence peak, the window shaded, changes in the legend."""
    with paper_style():
        figure, ax = figure_and_axes(ax, COLUMN_MM, 55)
        low, high = analysis.result.traps.window_v
        changes = {change.group: change for change in analysis.result.traps.changes}
        top = 0.0
        for index, (name, spectrum) in enumerate(analysis.spectra.items()):
            size = _tallest(spectrum)
            inside = (spectrum.bias_v > low - 0.3) & (spectrum.bias_v < high + 0.4)
            normalised = spectrum.mean_didv / size
            core = normalised[(spectrum.bias_v > low) & (spectrum.bias_v < high)]
            top = max(top, float(core.max()) if len(core) else 0.0)
            change = changes.get(name)
            text = name
            if change is not None and change.percent is not None:
                text += f" ({change.percent:+.0f} %)".replace("-", "\u2212")
            colour = LINE_COLOURS[index % len(LINE_COLOURS)]
            ax.plot(spectrum.bias_v[inside], normalised[inside], color=colour, label=text)
        ax.axvspan(low, high, color=GREY, alpha=0.08, linewidth=0)
        ax.set_ylim(-0.15 * top, 2.4 * top if top > 0 else 1)
        ax.set_xlabel("Sample bias (V)")
        ax.set_ylabel(f"dI/dV / {analysis.result.traps.normalised_by}", fontsize=8)
        _legend(ax, loc="upper center")
        _mark(ax, analysis.result)
        return figure


def trap_map_figure(maps: Sequence[TrapMap], synthetic: bool = False) -> Figure:
    """Draw how a change depends on both ends of the window, one panel a normalisation."""
    if not maps:
        raise InputError("no trap maps", "two groups are needed, and windows within the sweeps")
    with paper_style():
        columns = min(len(maps), 2)
        rows = -(-len(maps) // columns)
        figure = new_figure(PAGE_MM if columns == 2 else COLUMN_MM, 62 * rows)
        axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        grids = [np.array(m.percent, dtype=np.float64) for m in maps]
        known = np.concatenate([grid[np.isfinite(grid)] for grid in grids])
        low, high = (float(known.min()), float(known.max())) if known.size else (-1.0, 1.0)
        limit = max(abs(low), abs(high))
        colours = (
            {"cmap": "viridis", "vmin": low, "vmax": high}
            if low * high > 0
            else {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}
        )
        image = None
        for panel, trap_map, grid in zip(axes.flat, maps, grids, strict=False):
            image = panel.pcolormesh(trap_map.high_ends_v, trap_map.low_ends_v, grid, shading="nearest", **colours)
            panel.set_title(f"over {trap_map.normalised_by}", fontsize=8)
            panel.set_xlabel("Upper end (V)")
            panel.set_ylabel("Lower end (V)")
        for panel in list(axes.flat)[len(maps) :]:
            panel.set_axis_off()
        if image is not None:
            figure.colorbar(image, ax=list(axes.flat), label=f"{maps[0].group} against {maps[0].reference} (%)")
        if synthetic:
            figure.suptitle(SYNTHETIC, fontsize=8, color=GREY)
        return figure


def stability_figure(points: dict[str, list[StabilityPoint]], synthetic: bool = False) -> Figure:
    """Draw the gap and the states in the first gap against the number of the sweep."""
    if not points:
        raise InputError("no repeated sweeps", "sweeps of one platelet are told by _sweepN in the file name")
    with paper_style():
        figure = new_figure(COLUMN_MM, 80 + LEGEND_LINE_MM * -(-len(points) // 2))
        upper, lower = figure.subplots(2, 1, sharex=True)
        for index, (name, series) in enumerate(points.items()):
            colour = LINE_COLOURS[index % len(LINE_COLOURS)]
            for panel, field in ((upper, "gap_ev"), (lower, "relative_dos")):
                known = [(p.sweep, getattr(p, field)) for p in series if getattr(p, field) is not None]
                if known:
                    panel.plot(*zip(*known, strict=True), marker="o", color=colour, label=name)
        lower.set_xlabel("Sweep")
        lower.xaxis.get_major_locator().set_params(integer=True)
        upper.set_ylabel("Gap (eV)")
        lower.set_ylabel("∫dI/dV over first gap\n(relative)")
        _legend_above(upper)
        if synthetic:
            upper.set_title(SYNTHETIC, fontsize=8, color=GREY, loc="right")
        return figure


def alignment_figure(rows: Sequence[ScaleRow], ax: Axes | None = None) -> Figure:
    """Draw all energy scales side by side: edges as bars from E_F of the substrate, notes below."""
    if not rows:
        raise InputError("no edges to draw", "an experiment with places, or photoemission, is needed")
    with paper_style():
        wide = COLUMN_MM if len(rows) <= 4 else PAGE_MM
        figure, ax = figure_and_axes(ax, wide, 85)
        known = [x for row in rows for x in (row.vbm_ev, row.cbm_ev) if x is not None]
        bottom, top = min(known, default=-1.0) - 0.9, max(known, default=1.0) + 0.9
        for x, row in enumerate(rows):
            for edge, colour, far, va in (
                (row.vbm_ev, VALENCE, bottom, "bottom"),
                (row.cbm_ev, CONDUCTION, top, "top"),
            ):
                if edge is None:
                    continue
                ax.fill_between([x - 0.35, x + 0.35], edge, far, color=colour, alpha=0.2, linewidth=0)
                ax.plot([x - 0.35, x + 0.35], [edge, edge], color=colour, linewidth=1.2)
                gap = 0.05 if va == "bottom" else -0.05
                ax.text(x, edge + gap, _volts(edge), ha="center", va=va, color=colour, fontsize=8)
        ax.axhline(0, color=GREY, linewidth=0.5, linestyle="--")
        ax.set_xlim(-0.6, len(rows) - 0.4)
        ax.set_ylim(bottom, top)
        ax.set_xticks(range(len(rows)), [_broken(row.label) for row in rows])
        ax.tick_params(axis="x", length=0)
        ax.set_ylabel(r"Energy from E$_\mathrm{F}$ (eV)")
        return figure


def overlay_figure(
    spectrum: GroupSpectra,
    dos: OverlayDos,
    junction: Junction,
    fit: OverlayFit,
    ax: Axes | None = None,
    *,
    measured_gap_ev: float | None = None,
) -> Figure:
    """Draw a computed density of states, moved and broadened as fitted, over the measured dI/dV.

    The range that was fitted is shaded: beyond it nothing holds the computed curve to the measured one, and it may
    leave the axes. C, N and H together are FA. The title says shift, scissor and R²; with the measured gap it also
    says the scissor that would make both gaps equal.
    """
    with paper_style():
        figure, ax = figure_and_axes(ax, COLUMN_MM, 65)
        size = _tallest(spectrum)
        origin = SYNTHETIC if spectrum.synthetic else "STS"
        ax.plot(spectrum.bias_v, spectrum.mean_didv / size, color="black", label=origin)
        total = fitted_didv(spectrum.bias_v, dos, junction, fit) / size
        ax.plot(spectrum.bias_v, total, color=GREY, linewidth=1.4, label="DFT")
        for name, members in _species(dos.parts).items():
            part = sum(fitted_didv(spectrum.bias_v, dos, junction, fit, member) for member in members) / size
            ax.plot(spectrum.bias_v, part, color=species_colour(name), label=name)
        if fit.range_v is not None:
            ax.axvspan(*fit.range_v, color=GREY, alpha=0.08, linewidth=0, label="fitted")
        ax.set_ylim(0, 1.15)
        ax.set_xlabel("Sample bias (V)")
        ax.set_ylabel("dI/dV (normalised)")
        ax.set_title(_overlay_title(fit, dos.gap_ev, measured_gap_ev), fontsize=8, loc="left")
        _legend(ax, loc="upper center", ncols=2)
        return figure


def _overlay_title(fit: OverlayFit, gap_ev: float, measured_gap_ev: float | None) -> str:
    """Return what a fit says; its standard error is told only where the shapes agree, else it means nothing."""
    good = fit.r_squared >= GOOD_FIT
    error = f" ± {fit.scissor_error_ev:.3f}" if good and fit.scissor_error_ev is not None else ""
    lines = [
        f"valence edge {_volts(fit.shift_ev)} eV, R² {fit.r_squared:.2f}{'' if good else ': shapes differ'}",
        f"scissor {_volts(fit.scissor_ev)}{error} eV",
    ]
    if measured_gap_ev is not None:
        lines[1] += f"; equal gaps need {_volts(measured_gap_ev - gap_ev)} eV"
    return "\n".join(lines)


def sts_figure(analysis: StsAnalysis) -> Figure:
    """Draw spectra, histograms, states in the gap and stability on one page width."""
    result = analysis.result
    with paper_style():
        figure = new_figure(PAGE_MM, 130)
        left, right = figure.subfigures(1, 2)
        spectra_figure(analysis, left.subplots())
        parts = right.subfigures(3 if result.stability else 2, 1)
        histogram_figure(analysis, tuple(parts[0].subplots(1, 2, sharey=True)))
        trap_figure(analysis, parts[1].subplots())
        if result.stability:
            last = parts[2].subplots()
            for index, (name, series) in enumerate(result.stability.items()):
                known = [(p.sweep, p.gap_ev) for p in series if p.gap_ev is not None]
                if known:
                    colour = LINE_COLOURS[index % len(LINE_COLOURS)]
                    last.plot(*zip(*known, strict=True), marker="o", color=colour, label=name)
            last.set_xlabel("Sweep")
            last.set_ylabel("Gap (eV)")
            last.xaxis.get_major_locator().set_params(integer=True)
        return figure


def _histogram(ax: Axes, values: Array, spread: Spread | None, colour: str, name: str) -> None:
    if len(values) < 2 or np.ptp(values) == 0:
        return
    counts, edges, _ = ax.hist(values, bins="fd", color=colour, alpha=0.35, label=name)
    if spread is not None and spread.gaussian is not None:
        fit = spread.gaussian
        x = np.linspace(min(edges[0], fit.centre - 3 * fit.sigma), max(edges[-1], fit.centre + 3 * fit.sigma), 200)
        area = float(np.sum(counts) * (edges[1] - edges[0]))
        ax.plot(
            x,
            area * np.exp(-0.5 * ((x - fit.centre) / fit.sigma) ** 2) / (fit.sigma * np.sqrt(2 * np.pi)),
            color=colour,
        )


def _species(parts: Mapping[str, Array]) -> dict[str, list[str]]:
    """Return which parts each species has: FA those of C, N and H where all three are there, in the order of stacks."""
    ion = [name for name in ("C", "N", "H") if name in parts]
    together = {"FA": ion} if len(ion) == 3 else {}
    apart = {name: [name] for name in parts if not (together and name in ion)}
    return dict(sorted({**apart, **together}.items(), key=lambda item: stack_place(f"{item[0]}-s")))


def _volts(value: float) -> str:
    """Return a voltage with its sign, as it is typeset."""
    return f"{value:+.2f}".replace("-", "\u2212")


def _tallest(spectrum: GroupSpectra) -> float:
    return max(float(spectrum.mean_didv.max()), 1e-30)


def _legend(ax: Axes, **options: object) -> None:
    if ax.get_legend_handles_labels()[0]:
        ax.legend(**options)


def _legend_above(ax: Axes) -> None:
    """Name what is drawn above all axes of the figure, where it covers no point."""
    handles, names = ax.get_legend_handles_labels()
    if handles:
        ax.figure.legend(handles, names, loc="outside upper center", ncols=2)


def _mark(ax: Axes, result: StsResult) -> None:
    """Say on the figure that sweeps are synthetic."""
    if any(group.synthetic for group in result.groups.values()):
        ax.set_title(SYNTHETIC, fontsize=8, color=GREY, loc="right")


def _broken(label: str) -> str:
    """Break a label at its first blank, and long names at a dash."""
    first, _, rest = label.partition(" ")
    rest = rest.replace("-centre", "\n-centre").replace("-edge", "\n-edge") if len(rest) > 10 else rest
    return f"{first}\n{rest}" if rest else first
