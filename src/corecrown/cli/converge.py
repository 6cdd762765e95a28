"""``corecrown converge``: gap, pressure and forces of a cell against cutoff and k-point mesh."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from corecrown.cli.common import AsJson, Verbose, print_json, print_table
from corecrown.cli.figures import FigureFile, check_figure, write_figure

if TYPE_CHECKING:
    from corecrown.postprocess.convergence import ConvergenceResult, ConvergenceSeries

__all__ = ["register"]

Mesh = tuple[int, int, int]


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(converge)


def converge(
    cell: Annotated[str, typer.Argument(metavar="CELL", help="A structure file, or a label: fa000, fa025-b, ...")],
    vary: Annotated[str, typer.Option("--vary", help="cutoff, mesh or cutoff,mesh.")] = "cutoff,mesh",
    folder: Annotated[
        Path | None, typer.Option("-d", "--directory", help="Where the points are kept; converge-LABEL if not said.")
    ] = None,
    protocol: Annotated[
        str, typer.Option("--protocol", help="Gives the mesh of the cutoff series and the cutoff of the mesh series.")
    ] = "fast",
    functional: Annotated[str, typer.Option("--functional", help="PBE or PBEsol.")] = "PBE",
    cutoffs: Annotated[
        str | None, typer.Option("--cutoffs", help="In Ry, for example 40,60,80 (40 to 100 if not said).")
    ] = None,
    meshes: Annotated[
        str | None, typer.Option("--meshes", help="For example 1x1x1,2x2x1,2x2x2; ever denser ones if not said.")
    ] = None,
    at_cutoff: Annotated[
        float | None, typer.Option("--at-cutoff", help="Cutoff of the mesh series, Ry; the protocol's if not said.")
    ] = None,
    at_mesh: Annotated[
        str | None, typer.Option("--at-mesh", help="Mesh of the cutoff series; the protocol's if not said.")
    ] = None,
    stress: Annotated[bool, typer.Option("--stress/--no-stress", help="Whether to compute the pressure.")] = True,
    plan: Annotated[bool, typer.Option("--plan", help="Show the points and their cost, and run nothing.")] = False,
    figure: FigureFile = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Measure how gap, pressure and forces converge; the same command again continues."""
    from corecrown.workflows.convergence import choose_cell, make_request, run_convergence

    check_figure(figure)
    label, structure = choose_cell(cell)
    request = make_request(
        label,
        structure,
        _words(vary),
        protocol=protocol,
        functional=functional,
        cutoffs_ry=None if cutoffs is None else [_number(word, "--cutoffs") for word in _words(cutoffs)],
        meshes=None if meshes is None else [_mesh(word, "--meshes") for word in _words(meshes)],
        fixed_cutoff_ry=at_cutoff,
        fixed_mesh=None if at_mesh is None else _mesh(at_mesh, "--at-mesh"),
        stress=stress,
    )
    place = (folder or Path(f"converge-{label}")).resolve()
    if plan:
        _show_plan(request, structure, place, as_json)
        return
    from corecrown.cli.progress import PointsDisplay

    display = PointsDisplay(place, quiet=as_json)
    with display:
        result = run_convergence(request, structure, place, on_start=display.start)
    if figure is not None:
        from corecrown.postprocess.plots.convergence import plot_convergence

        write_figure(plot_convergence(result), figure)
    if as_json:
        print_json(result)
    else:
        _show(result, place)
    _require_finished(result)


def _show_plan(request: Any, structure: Any, folder: Path, as_json: bool) -> None:
    from corecrown.workflows.convergence import plan_convergence

    planned = plan_convergence(request, structure, folder)
    if as_json:
        print_json(planned)
        return
    rows = [
        (
            label,
            str(point.n_kpoints),
            str(point.n_bands),
            str(point.n_plane_waves),
            f"{point.memory_gib:.2f}",
            f"{point.core_hours:.3f}",
            "reused" if point.reused else "",
        )
        for label, point in planned.points.items()
    ]
    header = ("point", "k-points", "bands", "plane waves", "memory / GiB", "core-hours", "")
    title = f"{request.cell}: about {planned.total_core_hours:.2f} core-hours"
    print_table(title, header, rows, caption=planned.cost_note)


def _show(result: "ConvergenceResult", folder: Path) -> None:
    for series in result.series:
        _show_series(result, series)
    typer.echo(f"written: {folder}/convergence.json, {folder}/convergence.csv")


def _show_series(result: "ConvergenceResult", series: "ConvergenceSeries") -> None:
    varied = series.vary.value
    rows = [
        (
            f"{row.cutoff_wfc_ry:g} Ry" if varied == "cutoff" else _times(row.kpoint_mesh),
            "" if row.n_kpoints is None else str(row.n_kpoints),
            _value(row.gap_ev, 4),
            _value(row.gap_difference_ev, 4, sign=True),
            _value(row.gap_gamma_difference_ev, 4, sign=True),
            _value(row.pressure_kbar, 2),
            _value(row.pressure_difference_kbar, 2, sign=True),
            _value(row.force_difference_ev_angstrom, 4),
            _value(row.energy_difference_mev_per_atom, 2, sign=True),
            _value(row.core_s, 0),
        )
        for row in series.rows
    ]
    held = f"mesh {_times(series.fixed_mesh or ())}" if varied == "cutoff" else f"{series.fixed_cutoff_ry:g} Ry"
    print_table(
        f"{result.cell} ({result.formula}, {result.functional}), {held}: differences to the densest point",
        (varied, "k-points", "gap / eV", "Δ", "Δ at Γ", "p / kbar", "Δ", "max |ΔF| / eV/Å", "ΔE / meV/atom", "core-s"),
        rows,
    )
    for note in series.notes:
        typer.echo(f"  ! {note}")


def _require_finished(result: "ConvergenceResult") -> None:
    from corecrown.errors import RunError

    failed = [point for point in result.points if point.failed is not None]
    if failed:
        first = failed[0]
        raise RunError(
            f"{first.cutoff_wfc_ry:g} Ry, {_times(first.kpoint_mesh)}: {first.failed}",
            f"{len(failed)} point(s) did not finish; the same command again continues",
        )


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _number(word: str, option: str) -> float:
    from corecrown.errors import InputError

    try:
        return float(word)
    except ValueError as error:
        raise InputError(f"{option}: {word!r} is not a number", "for example 40,60,80") from error


def _mesh(word: str, option: str) -> Mesh:
    from corecrown.errors import InputError

    parts = word.lower().replace("×", "x").split("x")
    if len(parts) != 3 or not all(part.isdecimal() and part.isascii() for part in parts):
        raise InputError(f"{option}: {word!r} is not a mesh", "three whole numbers, for example 2x2x1")
    first, second, third = (int(part) for part in parts)
    return first, second, third


def _times(mesh: tuple[int, ...]) -> str:
    return "×".join(str(n) for n in mesh)


def _value(value: float | None, digits: int, *, sign: bool = False) -> str:
    if value is None:
        return "–"
    return f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
