"""``corecrown masses``: effective masses along the lines of a band structure that someone computed."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from corecrown.cli.common import AsJson, Verbose, print_json, print_table
from corecrown.cli.figures import FigureFile, check_figure, write_figure
from corecrown.cli.stored import bands_at
from corecrown.errors import InputError

if TYPE_CHECKING:
    from corecrown.postprocess.mass_paths import PathMasses

__all__ = ["register"]


class Method(StrEnum):
    """How a mass along a line is defined."""

    OURS = "ours"
    SUMO = "sumo"
    EFFMASS_LS = "effmass-ls"


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(masses)


def masses(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="PATH", help="Folder (or XML file) with bands along lines, or a study's DIR/cells/LABEL."
        ),
    ],
    method: Annotated[
        Method, typer.Option("--method", help="Our fit at the edge, or the definition of sumo or of effmass.")
    ] = Method.OURS,
    figure: FigureFile = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Fit effective masses at the band edges along the lines of a Quantum ESPRESSO or VASP run.

    Masses are in electron masses; holes are positive. What cannot be fitted is refused with the reason.
    """
    check_figure(figure)
    from corecrown.postprocess.mass_paths import path_masses

    found = bands_at(path)
    if not found.on_lines:
        raise InputError(f"{path}: the k-points are a mesh, not lines", "give the folder of a bands run")
    result = path_masses(found.bands, method.value, n_electrons=found.n_electrons, spin_orbit=found.spin_orbit)
    result = result.model_copy(update={"notes": [*found.notes, *result.notes]})
    if figure is not None:
        from corecrown.postprocess.mass_plots import plot_path_masses

        write_figure(plot_path_masses(found.bands, result), figure)
    if as_json:
        print_json(result)
        return
    _print(path, result, f"{found.code} {found.code_version}, {found.functional}, method {method.value}")


def _print(path: Path, result: "PathMasses", caption: str) -> None:
    rows = [
        (
            row.carrier.value + (f" ({row.spin})" if row.spin else ""),
            str(row.band_index),
            " → ".join(row.direction),
            "flat" if row.mass is None else f"{row.mass:.4f}",
            "–" if row.fit_residual_ev is None else f"{1e3 * row.fit_residual_ev:.3f}",
            str(row.n_points),
        )
        for row in result.path_masses
    ]
    header = ("carrier", "band", "direction", "mass / m0", "misfit / meV", "k-points")
    print_table(str(path), header, rows, caption=caption)
    for note in result.notes:
        typer.echo(f"  ! {note}")
