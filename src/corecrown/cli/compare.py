"""``corecrown compare``: DFT beside STS."""

from pathlib import Path
from typing import Annotated

import typer

from corecrown.cli.common import AsJson, Verbose, print_json
from corecrown.cli.figures import FigureFile, check_figure, write_figure
from corecrown.cli.sts_tables import print_parts
from corecrown.cli.tables import print_comparison
from corecrown.errors import InputError

__all__ = ["compare"]


def compare(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a study (holds study.json).")],
    experiment: Annotated[
        str | None,
        typer.Option(help="Name of a shipped experiment file, or the path of one; that of the study if not said."),
    ] = None,
    gap_uncertainty: Annotated[
        float | None,
        typer.Option(help="How far a gap is from its converged value, eV; what the protocol says if not said."),
    ] = None,
    figure: FigureFile = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Set the gaps of a study beside STS: shifts with uncertainties, ledger, and what to keep in mind."""
    del verbose
    if gap_uncertainty is not None and not 0 <= gap_uncertainty < 10:
        raise InputError(f"--gap-uncertainty is {gap_uncertainty}", "give an energy in eV, 0.03 say")
    check_figure(figure)
    from corecrown.postprocess.comparison import load_experiment
    from corecrown.postprocess.study import read_study

    study = read_study(directory)
    measured = load_experiment(experiment or _experiment_of(study.folder) or "sts-core-crown")
    comparison = study.compare(measured, gap_uncertainty)
    if figure is not None:
        from corecrown.postprocess.sts.alignment import energy_scales
        from corecrown.postprocess.sts.figures import alignment_figure

        gaps = {row.cell: row.gap_ev for row in comparison.rows if row.gap_ev is not None}
        write_figure(alignment_figure(energy_scales(measured, gaps)), figure)
    if as_json:
        print_json(comparison)
        return
    print_comparison(comparison)
    print_parts(comparison)
    if figure is not None:
        typer.echo(f"written: {figure}")


def _experiment_of(folder: Path) -> str | None:
    """Return what the study of a folder names as its experiment, if the folder holds its study file."""
    from corecrown.resources import read_yaml

    path = folder / "study.yaml"
    named = read_yaml(path).get("experiment") if path.is_file() else None
    return str(named) if named else None
