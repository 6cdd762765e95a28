"""Figures of a report: told first, drawn together at the end on all cores, written as pdf and png, shown as svg."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from corecrown.errors import CorecrownError, InputError
from corecrown.files import write_whole
from corecrown.postprocess.abreast import abreast
from corecrown.postprocess.plots.style import figure_bytes
from corecrown.postprocess.report_page import inline_svg

__all__ = ["UNWRITABLE", "ReportFigure", "draw_figures"]

UNWRITABLE = "check the disk and the permissions"

_FILES = ("pdf", "png")


@dataclass(eq=False)
class ReportFigure:
    """A figure to be drawn, and once it is the picture that stands in the page.

    Parameters
    ----------
    name
        Of its files.
    caption
        Fit to be lifted into a paper.
    draw
        Returns the figure.
    wide
        Whether it is as wide as a page.
    svg
        Empty until it is drawn.
    """

    name: str
    caption: str
    draw: Callable[[], Figure]
    wide: bool = False
    svg: str = ""

    @property
    def files(self) -> list[str]:
        """Names of its files, from the folder of the study."""
        return [f"figures/{self.name}.{suffix}" for suffix in _FILES]


def draw_figures(figures: Sequence[ReportFigure], folder: Path) -> tuple[list[Path], list[str]]:
    """Draw figures, write their files, and give each its picture for the page.

    Parameters
    ----------
    figures
        Not drawn yet; one that cannot be drawn keeps an empty picture.
    folder
        Of the study.

    Returns
    -------
    tuple
        What was written, and what could not be drawn and why.
    """
    ordered = sorted(figures, key=lambda figure: not figure.wide)  # large ones first, so that cores end together
    drawn = dict(zip(ordered, abreast([partial(_bytes_of, figure.draw) for figure in ordered]), strict=True))
    written: list[Path] = []
    troubles: list[str] = []
    for figure in figures:
        content = drawn[figure]
        if isinstance(content, str):
            troubles.append(f"figure {figure.name}: {content}")
            continue
        for suffix, name in zip(_FILES, figure.files, strict=True):
            write_whole(folder / name, content[suffix], InputError, UNWRITABLE)
            written.append(folder / name)
        figure.svg = inline_svg(content["svg"], figure.name)
    return written, troubles


def _bytes_of(draw: Callable[[], Figure]) -> dict[str, bytes] | str:
    """Return a figure in each format, or what hinders."""
    try:
        figure = draw()
    except CorecrownError as error:
        return error.message
    return {suffix: figure_bytes(figure, suffix) for suffix in (*_FILES, "svg")}
