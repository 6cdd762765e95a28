"""What all figures share: sizes, letters, colours, and how a figure becomes a file."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO

import matplotlib as mpl
import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.layout_engine import PlaceHolderLayoutEngine
from pymatgen.core import Element

from corecrown.errors import InputError
from corecrown.palette import SPECIES_COLOURS

__all__ = [
    "COLUMN_MM",
    "CONDUCTION",
    "GREY",
    "LINE_COLOURS",
    "LINE_MARKERS",
    "MM_PER_INCH",
    "PAGE_MM",
    "VALENCE",
    "figure_and_axes",
    "figure_bytes",
    "new_figure",
    "paper_style",
    "species_colour",
]

COLUMN_MM = 85.0
PAGE_MM = 170.0
MM_PER_INCH = 25.4
PNG_DPI = 300
SCREEN_DPI = 150
"""Of pictures within the figures of a page, which is read on a screen and must not grow beyond what is sent by mail."""

PNG_COMPRESSION = 4
"""Of zlib: a third of the time of its default for a few per cent more bytes."""

VALENCE = "#1f4e79"
CONDUCTION = "#c0501f"
GREY = "#5f6368"

LINE_COLOURS = (VALENCE, CONDUCTION, "#2a8c68", "#8030d8", "#4a0d0d", "#c58be0", "#77808a")
"""Colours of cells, groups and levels in their order.

Any two of the first six are 24 or more apart (CIE 1976 ΔE) as drawn and as seen with protanopia, deuteranopia or
tritanopia (Machado, Oliveira and Fernandes 2009)."""

LINE_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
"""Markers that go with them, for print without colour."""

_STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # ships with matplotlib: the same figure on every machine
    "mathtext.fontset": "dejavusans",
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.direction": "out",
    "ytick.direction": "out",
    "lines.linewidth": 0.8,
    "lines.markersize": 4.5,
    "hatch.linewidth": 0.4,
    "legend.frameon": False,
    "legend.handlelength": 1.0,
    "legend.handletextpad": 0.5,
    "legend.columnspacing": 1.2,
    "axes.titlepad": 4,
    "axes.labelpad": 2.5,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "corecrown",
}

_PATH_DATA = re.compile(rb' d="[^"]*"')
_LONG_NUMBER = re.compile(rb"(\.\d\d)\d+")

_OTHERS = ("#b5179e", "#0f8b8d", "#a17c00", "#7d5ba6", "#5c8001", "#d1495b", "#3d5a80")
_SHADE = {"s": 0.55, "p": 0.0, "d": -0.35, "f": -0.6}
"""How far the colour of an orbital leans to white (positive) or black (negative) from that of its species."""


@contextmanager
def paper_style() -> Iterator[None]:
    """Use the letters and lines of a paper, whatever the user's matplotlib is set to."""
    with mpl.style.context(["default", _STYLE]):
        yield


def new_figure(width_mm: float, height_mm: float) -> Figure:
    """Return an empty figure of its final size; no display is needed, and pyplot is not told of it."""
    figure = Figure(figsize=(width_mm / MM_PER_INCH, height_mm / MM_PER_INCH), layout="constrained")
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(w_pad=1.2 / MM_PER_INCH, h_pad=1.2 / MM_PER_INCH, wspace=0.015, hspace=0.02)
    return figure


def figure_and_axes(ax: Axes | None, width_mm: float, height_mm: float) -> tuple[Figure, Axes]:
    """Return the figure to draw into: that of ``ax``, or a new one."""
    if ax is not None:
        return ax.figure, ax
    figure = new_figure(width_mm, height_mm)
    return figure, figure.add_subplot()


def species_colour(species: str, orbital: str = "p") -> str:
    """Return the colour of a species, as ``#rrggbb``: one hue a species, lighter for s, darker for d and f.

    Parameters
    ----------
    species
        Symbol of an element, or ``FA``.
    orbital
        ``s``, ``p``, ``d`` or ``f``.
    """
    if orbital not in _SHADE:
        raise InputError(f"orbital {orbital!r} is not known", f"known: {', '.join(_SHADE)}")
    if species in SPECIES_COLOURS:
        base = SPECIES_COLOURS[species]
    elif Element.is_valid_symbol(species):
        base = _OTHERS[Element(species).Z % len(_OTHERS)]
    else:
        raise InputError(f"species {species!r} is neither an element nor FA", "give a symbol such as Pb")
    shade = _SHADE[orbital]
    target = 1.0 if shade > 0 else 0.0
    mixed: str = to_hex([channel + (target - channel) * abs(shade) for channel in to_rgb(base)])
    return mixed


def figure_bytes(figure: Figure, file_format: str) -> bytes:
    """Return a figure as the bytes of a file; the same figure gives the same bytes.

    Parameters
    ----------
    figure
        Any matplotlib figure; its size is kept.
    file_format
        ``pdf`` (letters as TrueType), ``svg`` (letters as paths; pictures within it for a screen, 150 dpi)
        or ``png`` (300 dpi).
    """
    if file_format not in _FORMATS:
        raise InputError(f"figure format {file_format!r} is not known", f"known: {', '.join(_FORMATS)}")
    canvas, dpi = figure.canvas, figure.dpi
    buffer = BytesIO()
    with paper_style():
        if not isinstance(figure.get_layout_engine(), PlaceHolderLayoutEngine | None):
            # lay out once: every format then has the same geometry, and the layout is not paid for thrice
            figure.draw_without_rendering()
            figure.set_layout_engine("none")
        try:
            # not savefig, which draws a second time wherever there was a layout
            _FORMATS[file_format](figure, buffer)
        finally:
            figure.set_canvas(canvas)
            figure.set_dpi(dpi)
    if file_format == "svg":
        return _PATH_DATA.sub(_shorten_path, buffer.getvalue())
    return buffer.getvalue()


def _write_pdf(figure: Figure, buffer: BytesIO) -> None:
    figure.set_dpi(PNG_DPI)
    FigureCanvasPdf(figure).print_pdf(buffer, metadata={"CreationDate": None, "Producer": "corecrown", "Creator": None})


def _write_svg(figure: Figure, buffer: BytesIO) -> None:
    figure.set_dpi(SCREEN_DPI)
    FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": "corecrown"})


def _write_png(figure: Figure, buffer: BytesIO) -> None:
    figure.set_dpi(PNG_DPI)
    FigureCanvasAgg(figure).print_png(
        buffer, metadata={"Software": "corecrown"}, pil_kwargs={"compress_level": PNG_COMPRESSION}
    )


_FORMATS: dict[str, Callable[[Figure, BytesIO], None]] = {"pdf": _write_pdf, "svg": _write_svg, "png": _write_png}


def _shorten_path(path: re.Match[bytes]) -> bytes:
    """Cut the coordinates of a path to a hundredth of a point."""
    return _LONG_NUMBER.sub(rb"\1", path.group())
