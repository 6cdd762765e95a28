"""Figures for a paper: they take results, return a matplotlib figure at its final size, and write nothing.

Widths are those of journal columns (85 and 170 mm), letters 8 and 9 pt, energies from the valence edge,
colours of a species the same in every figure. Give ``ax`` to draw into a figure of your own.
"""

from corecrown.postprocess.plots.bands import plot_bands
from corecrown.postprocess.plots.cells import cell_title, plot_lattice, plot_level_shifts, plot_shifts, result_title
from corecrown.postprocess.plots.panels import (
    CellPanel,
    plot_band_structures,
    plot_electronic_structure,
    plot_pdos_stack,
)
from corecrown.postprocess.plots.pdos import plot_pdos
from corecrown.postprocess.plots.style import COLUMN_MM, PAGE_MM, figure_bytes, species_colour

__all__ = [
    "COLUMN_MM",
    "PAGE_MM",
    "CellPanel",
    "cell_title",
    "figure_bytes",
    "plot_band_structures",
    "plot_bands",
    "plot_electronic_structure",
    "plot_lattice",
    "plot_level_shifts",
    "plot_pdos",
    "plot_pdos_stack",
    "plot_shifts",
    "result_title",
    "species_colour",
]
