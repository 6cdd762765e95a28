"""The option ``--figure`` of every command that draws: what it may name, and how a figure becomes that file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from corecrown.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FIGURE_SUFFIXES", "FigureFile", "check_figure", "write_figure"]

FIGURE_SUFFIXES = (".pdf", ".png", ".svg")

FigureFile = Annotated[Path | None, typer.Option("--figure", help="Write a figure here (.pdf, .png or .svg).")]


def check_figure(path: Path | None, option: str = "--figure") -> None:
    """Refuse a file of a suffix that is not known, before anything is computed."""
    if path is not None and path.suffix.lower() not in FIGURE_SUFFIXES:
        raise InputError(f"{option} {path}: unknown suffix {path.suffix!r}", f"known: {', '.join(FIGURE_SUFFIXES)}")


def write_figure(figure: "Figure", path: Path) -> None:
    """Write a figure, whole or not at all, in the format of its suffix; folders on the way are made."""
    from corecrown.files import write_whole
    from corecrown.postprocess.plots.style import figure_bytes

    write_whole(path, figure_bytes(figure, path.suffix.lstrip(".").lower()), InputError, "choose another place")
