"""One band structure along its path."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pymatgen.electronic_structure.core import Spin

from corecrown.errors import InputError
from corecrown.postprocess.edges import find_edges, is_metal, same_kpoint
from corecrown.postprocess.plots.style import CONDUCTION, GREY, VALENCE, figure_and_axes, paper_style
from corecrown.postprocess.results import BandEdges

__all__ = ["WINDOW_EV", "plot_bands", "point_name"]

WINDOW_EV = (-3.0, 5.0)
GAP_SHADE = "#f2f4f7"

FEW_POINTS = 15
"""Segments of a path with fewer k-points than this have them marked: between them the lines only connect."""

Array = NDArray[np.float64]


def plot_bands(
    bands: Any,
    edges: BandEdges | None = None,
    *,
    ax: Axes | None = None,
    window_ev: tuple[float, float] = WINDOW_EV,
    title: str = "",
) -> Figure:
    """Draw a band structure, energies from the valence edge, the gap written into it.

    Small dots are the k-points computed, on segments that have fewer than 15.

    Parameters
    ----------
    bands
        pymatgen ``BandStructureSymmLine``; points and names are drawn as they stand in it.
    edges
        Where the zero is and what the gap is; found on the path where not given. Of a metal the zero is the
        Fermi energy.
    ax
        Axes to draw into; by default a new figure one column wide.
    window_ev
        Lowest and highest energy shown, from the zero.
    title
        What stands above.
    """
    if edges is None:
        edges = find_edges(bands, "bands")
    if not hasattr(bands, "branches") or not bands.branches:
        raise InputError("bands: no path with named points", "plot_bands needs a BandStructureSymmLine")
    zero = bands.efermi if edges.vbm_ev is None else edges.vbm_ev
    distances, breaks, ticks = _unfold_path(bands)
    with paper_style():
        figure, ax = figure_and_axes(ax, 85, 70)
        sparse = _sparse_points(bands)
        for spin, energies in bands.bands.items():
            shown = np.asarray(energies, dtype=float) - zero
            inside = (shown.max(axis=1) > window_ev[0] - 1) & (shown.min(axis=1) < window_ev[1] + 1)
            split = 0.5 * edges.gap_ev if edges.gap_ev is not None else 1e-6
            valence = shown.max(axis=1) < split
            for colour, chosen in ((VALENCE, inside & valence), (CONDUCTION, inside & ~valence)):
                pieces = [
                    np.column_stack(pair)
                    for band in shown[chosen]
                    for pair in zip(np.split(distances, breaks), np.split(band, breaks), strict=True)
                ]
                style = "solid" if spin == Spin.up else (0, (3, 1.5))
                lines = LineCollection(pieces, colors=colour, linewidths=0.7, linestyles=style)
                lines.set_in_layout(False)
                ax.add_collection(lines, autolim=False)
                _mark_points(ax, distances[sparse], shown[chosen][:, sparse], window_ev, colour)
        for position, _ in ticks:
            ax.axvline(position, color="0.75", linewidth=0.5, zorder=0)
        ax.axhline(0, color="0.6", linewidth=0.5, linestyle=(0, (4, 3)), zorder=0)
        _mark_gap(ax, bands, edges, distances, zero)
        _label_points(ax, ticks)
        ax.set_xlim(0, distances[-1])
        ax.set_ylim(*window_ev)
        ax.set_ylabel(f"$E - E_\\mathrm{{{'F' if edges.vbm_ev is None else 'VBM'}}}$ (eV)")
        ax.set_title(title)
    return figure


def point_name(name: str) -> str:
    """Return the name of a point as it is printed: Γ for its spellings, no LaTeX."""
    plain = name.strip().strip("$").lstrip("\\")
    if plain.lower() in {"g", "gamma", "γ"}:
        return "Γ"
    return plain.replace("mathrm", "").replace("{", "").replace("}", "").replace("\\", "")


def _unfold_path(bands: Any) -> tuple[Array, list[int], list[tuple[float, str]]]:
    """Return distances (n_k,), the indices a new branch starts at after a jump, and the named points.

    A jump between two branches takes no length: its end and start share one tick, named ``A|B``.
    """
    cartesian = np.array([kpoint.cart_coords for kpoint in bands.kpoints], dtype=float)
    starts = {branch["start_index"] for branch in bands.branches} - {0}
    steps = np.linalg.norm(np.diff(cartesian, axis=0), axis=1)
    breaks = sorted(start for start in starts if 0 < start < len(cartesian))
    for start in breaks:
        steps[start - 1] = 0.0
    distances = np.concatenate(([0.0], np.cumsum(steps)))
    named: dict[float, list[str]] = {}
    for distance, kpoint in zip(distances, bands.kpoints, strict=True):
        if kpoint.label:
            names = named.setdefault(float(distance), [])
            name = point_name(kpoint.label)
            if name not in names[-1:]:
                names.append(name)
    return distances, breaks, [(position, "|".join(names)) for position, names in named.items()]


def _sparse_points(bands: Any) -> list[int]:
    """Return the indices of k-points on segments that have few of them."""
    segments = [range(branch["start_index"], branch["end_index"] + 1) for branch in bands.branches]
    return sorted({index for segment in segments if len(segment) < FEW_POINTS for index in segment})


def _mark_points(ax: Axes, distances: Array, energies: Array, window_ev: tuple[float, float], colour: str) -> None:
    """Draw energies (n_bands, n_k) as dots, those in the window."""
    band, point = np.nonzero((energies >= window_ev[0]) & (energies <= window_ev[1]))
    if len(band):
        (dots,) = ax.plot(distances[point], energies[band, point], "o", color=colour, markersize=1.8, markeredgewidth=0)
        dots.set_in_layout(False)


def _label_points(ax: Axes, ticks: list[tuple[float, str]]) -> None:
    ax.set_xticks([position for position, _ in ticks], [name for _, name in ticks])
    ax.tick_params(axis="x", length=0, pad=3)


def _mark_gap(ax: Axes, bands: Any, edges: BandEdges, distances: Array, zero: float) -> None:
    if edges.gap_ev is None or edges.vbm_ev is None:
        text = "metal" if is_metal(edges) else "no empty bands" if edges.vbm_ev is not None else "no gap known"
        ax.text(0.5, 0.97, text, transform=ax.transAxes, ha="center", va="top", color=GREY)
        return
    ax.axhspan(0, edges.gap_ev, color=GAP_SHADE, linewidth=0, zorder=-1)
    names = {}
    for edge, energy, colour in (("vbm", 0.0, VALENCE), ("cbm", edges.gap_ev, CONDUCTION)):
        here = _indices_of(bands, getattr(edges, f"{edge}_kpoint"))
        names[edge] = next((point_name(bands.kpoints[i].label) for i in here if bands.kpoints[i].label), None)
        levels = [np.asarray(energies, dtype=float)[:, here] - zero for energies in bands.bands.values()]
        if here and np.abs(np.concatenate(levels) - energy).min() < 2e-3:
            places = np.unique(distances[here])
            ax.plot(places, [energy] * len(places), "o", color=colour, markersize=2.6, zorder=3, clip_on=False)
    ax.text(
        0.5, edges.gap_ev / 2, _gap_text(edges, names["vbm"], names["cbm"]),
        transform=ax.get_yaxis_transform(), ha="center", va="center", linespacing=1.15,
        bbox={"facecolor": GAP_SHADE, "linewidth": 0, "pad": 0.8},
    )  # fmt: skip


def _indices_of(bands: Any, kpoint: tuple[float, float, float] | None) -> list[int]:
    if kpoint is None:
        return []
    return [index for index, k in enumerate(bands.kpoints) if same_kpoint(k.frac_coords, kpoint)]


def _gap_text(edges: BandEdges, vbm: str | None, cbm: str | None) -> str:
    kind = {True: "direct", False: "indirect", None: ""}[edges.direct]
    where = ""
    if edges.direct and vbm:
        where = f" at {vbm}"
    elif edges.direct is False and vbm and cbm:
        where = f", {vbm} to {cbm}"
    mesh = " (mesh)" if edges.source == "mesh" else ""
    return f"{edges.gap_ev:.3f} eV{mesh}\n{kind}{where}".strip()
