"""``corecrown report``: the page and the figures of a study."""

from pathlib import Path
from typing import Annotated

import typer

from corecrown.cli.common import AsJson, Verbose, print_json

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add ``corecrown report`` to the command line."""
    app.command()(report)


def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a study.")],
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Write DIR/report.html, one self-contained page, and DIR/figures/ as pdf and png."""
    del verbose
    from corecrown.postprocess.report import make_report
    from corecrown.postprocess.study import read_study

    written = make_report(read_study(folder))
    if as_json:
        print_json(
            {
                "report": str(written.report),
                "figures": [str(path) for path in written.figures],
                "notes": written.troubles,
            }
        )
        return
    typer.echo(f"report   {written.report}")
    for path in written.figures:
        typer.echo(f"figure   {path}")
    for trouble in written.troubles:
        typer.echo(f"missing  {trouble}")
