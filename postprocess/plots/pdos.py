"""One projected density of states, stacked by species and orbital."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from corecrown.postprocess.pdos import dos_by_element_orbital
from corecrown.postprocess.plots.bands import WINDOW_EV
from corecrown.postprocess.plots.style import figure_and_axes, paper_style, species_colour
from corecrown.postprocess.results import BandEdges

__all__ = ["group_species", "plot_pdos", "stack_place"]

Array = NDArray[np.float64]

OTHER = "other"

ORDER = ("Br", "Pb", "Cs", "FA")
"""Species from the bottom of the stack upwards; others follow by name."""

HATCHES = {"Pb": "/////", "Cs": "....."}
"""White lines and dots over colours that are as light as that of Br, so that they are told apart in grey."""

OTHER_COLOUR = "#d5d8db"

SMALLEST_SHARE = 0.01
"""Orbitals with less of the states in the window than this are summed as ``other``."""


def plot_pdos(
    dos: Any,
    edges: BandEdges | None = None,
    *,
    ax: Axes | None = None,
    window_ev: tuple[float, float] = WINDOW_EV,
    title: str = "",
    legend: bool = True,
) -> Figure:
    """Draw a projected density of states as a stack, energies from the valence edge.

    Parameters
    ----------
    dos
        pymatgen ``CompleteDos``.
    edges
        Where the zero is; without a valence edge it is the Fermi energy.
    ax
        Axes to draw into; by default a new figure one column wide.
    window_ev
        Lowest and highest energy shown, from the zero.
    title
        What stands above.
    legend
        Whether the colours are named inside the axes.
    """
    zero = dos.efermi if edges is None or edges.vbm_ev is None else edges.vbm_ev
    energies = np.asarray(dos.energies, dtype=float) - zero
    shown = (energies >= window_ev[0]) & (energies <= window_ev[1])
    parts = group_species(dos_by_element_orbital(dos))
    parts = _sum_small({name: values[shown] for name, values in parts.items()})
    with paper_style():
        figure, ax = figure_and_axes(ax, 85, 60)
        bottom = np.zeros(np.count_nonzero(shown))
        for name, values in parts.items():
            top = bottom + values
            filled = ax.fill_between(
                energies[shown], bottom, top, facecolor=_colour(name), hatch=HATCHES.get(name.split("-")[0]),
                edgecolor="white", linewidth=0, label=name,
            )  # fmt: skip
            filled.set_in_layout(False)
            bottom = top
        total = np.sum([np.asarray(values, dtype=float) for values in dos.densities.values()], axis=0)[shown]
        ax.plot(energies[shown], total, color="0.15", linewidth=0.6)
        if edges is not None and edges.gap_ev is not None:
            for edge in (0.0, edges.gap_ev):
                ax.axvline(edge, color="0.6", linewidth=0.5, linestyle=(0, (4, 3)), zorder=0)
        ax.set_xlim(*window_ev)
        ax.set_ylim(0, max(float(total.max(initial=0.0)), float(bottom.max(initial=0.0)), 1e-3) * 1.06)
        ax.set_xlabel(f"$E - E_\\mathrm{{{'F' if edges is None or edges.vbm_ev is None else 'VBM'}}}$ (eV)")
        ax.set_ylabel("DOS (1/eV)")
        ax.set_title(title)
        if legend:
            handles, names = ax.get_legend_handles_labels()
            ax.legend(handles[::-1], names[::-1], loc="upper left", bbox_to_anchor=(1.0, 1.0), labelspacing=0.3)
    return figure


def group_species(parts: Mapping[str, Array]) -> dict[str, Array]:
    """Sum C, N and H to FA where all three are there, and put species in the order of the stack.

    Parameters
    ----------
    parts
        ``{"Br-p": (n_energies,), ...}``.
    """
    elements = {name.split("-")[0] for name in parts}
    molecule = {"C", "N", "H"} if {"C", "N", "H"} <= elements else set()
    grouped: dict[str, Array] = {}
    for name, values in parts.items():
        element, orbital = name.split("-")
        key = f"{'FA' if element in molecule else element}-{orbital}"
        grouped[key] = grouped[key] + values if key in grouped else np.array(values, dtype=float)
    return dict(sorted(grouped.items(), key=lambda item: stack_place(item[0])))


def stack_place(name: str) -> tuple[int, str, int]:
    """Return where a species and orbital, such as ``Br-p``, has its place in the stack and in legends."""
    if name == OTHER:
        return (len(ORDER) + 1, name, 0)
    species, orbital = name.split("-")
    return (ORDER.index(species) if species in ORDER else len(ORDER), species, -"spdf".index(orbital))


def _sum_small(parts: Mapping[str, Array]) -> dict[str, Array]:
    whole = sum(float(values.sum()) for values in parts.values())
    kept = {name: values for name, values in parts.items() if values.sum() > SMALLEST_SHARE * whole}
    small = [values for name, values in parts.items() if name not in kept]
    if small and whole > 0:
        kept[OTHER] = np.sum(small, axis=0)
    return kept


def _colour(name: str) -> str:
    return OTHER_COLOUR if name == OTHER else species_colour(*name.split("-"))
