"""``corecrown sts``: sweeps of the bias to edges, traps and stability; registers ``corecrown compare`` too."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from corecrown.cli.common import AsJson, Verbose, print_json
from corecrown.cli.compare import compare
from corecrown.cli.figures import FigureFile, check_figure, write_figure
from corecrown.cli.sts_tables import print_analysis, print_overlays
from corecrown.errors import InputError, known_names

if TYPE_CHECKING:
    from corecrown.postprocess.sts.analysis import StsAnalysis
    from corecrown.postprocess.sts.beside import Overlay
    from corecrown.postprocess.sts.model import SweepSet
    from corecrown.postprocess.sts.options import StsOptions
    from corecrown.postprocess.study import Study

__all__ = ["register"]

Files = Annotated[
    list[str] | None, typer.Argument(metavar="FILES", help="Files, folders or patterns of sweeps (one group).")
]
Group = Annotated[
    list[str] | None,
    typer.Option("--group", "-g", metavar="NAME=PATTERN", help="A group of sweeps; the first is the reference."),
]
Cell = Annotated[
    list[str] | None,
    typer.Option("--cell", metavar="GROUP=CELL", help="Which computed cell stands for a group."),
]


def register(app: typer.Typer) -> None:
    """Add the commands ``sts`` and ``compare``."""
    app.command("sts")(sts)
    app.command("compare")(compare)


def sts(
    files: Files = None,
    group: Group = None,
    save: Annotated[Path | None, typer.Option(help="Write the edges as an experiment file that compare reads.")] = None,
    figure: FigureFile = None,
    figures: Annotated[Path | None, typer.Option(help="Draw every figure into this folder (pdf and png).")] = None,
    study: Annotated[
        Path | None,
        typer.Option(help="Folder of a study: lay its densities of states over dI/dV, show all in its report."),
    ] = None,
    synthetic: Annotated[
        Path | None, typer.Option(help="Make synthetic sweeps of three places in this new folder, and analyse those.")
    ] = None,
    cell: Cell = None,
    method: Annotated[
        str, typer.Option(help="How edges are found: first-peak, onset-log or onset-linear.")
    ] = "first-peak",
    prominence: Annotated[float, typer.Option(help="Of a peak, part of the largest on its side.")] = 0.1,
    bandwidth: Annotated[float, typer.Option(help="Of the derivative, full width, V.")] = 0.05,
    window: Annotated[
        tuple[float, float],
        typer.Option(metavar="LOW HIGH", help="Of the trap integral, V; two numbers: --window -1 1."),
    ] = (-0.8, 1.0),
    normalise: Annotated[str, typer.Option(help="Sweeps before averaging: none, set-point, conductance.")] = "none",
    temperature: Annotated[float | None, typer.Option(help="K, where the files do not say.")] = None,
    resamples: Annotated[int, typer.Option(help="Of platelets, for intervals; 0 for none.")] = 1000,
    keep_outliers: Annotated[bool, typer.Option("--keep-outliers", help="Average tip changes and drift too.")] = False,
    lockin: Annotated[bool, typer.Option("--lock-in", help="Take dI/dV from the calibrated lock-in channel.")] = False,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Analyse I-V sweeps: edges with intervals, histograms, traps, stability.

    Files of one platelet are told by _sweepN at the end of their names. A wrong file is named and skipped.
    """
    del verbose
    options = _options(
        method=method,
        prominence=prominence,
        bandwidth_v=bandwidth,
        window_v=window,
        normalisation=normalise,
        temperature_k=temperature,
        n_resamples=resamples,
        set_aside_outliers=not keep_outliers,
        use_lockin=lockin,
    )
    check_figure(figure)
    cells = _named_pairs(cell, "--cell", "GROUP=CELL")
    from corecrown.postprocess.sts.analysis import analyse_groups

    target = _study_of(study)
    analysis = analyse_groups(_read_groups(files, group, synthetic), options)
    unknown = [name for name in cells if name not in analysis.result.groups]
    if unknown:
        raise InputError(f"--cell: there is no group {unknown[0]!r}", f"groups: {', '.join(analysis.result.groups)}")
    written = []
    overlays: list[Overlay] = []
    if target is not None:
        from corecrown.postprocess.sts.beside import overlays as lay_over
        from corecrown.postprocess.sts.storage import write_analysis

        overlays = lay_over(analysis, target, cells)
        written.append(write_analysis(target.folder, analysis, overlays))
    if save is not None:
        from corecrown.postprocess.sts.saving import save_experiment

        save_experiment(analysis.result, save, cells)
        written.append(save)
    if figure is not None:
        from corecrown.postprocess.sts.figures import sts_figure

        write_figure(sts_figure(analysis), figure)
        written.append(figure)
    if figures is not None:
        written += _draw_all(analysis, overlays, target, figures)
    if as_json:
        document = analysis.result.model_dump(mode="json")
        print_json({**document, "overlays": [one.model_dump(mode="json") for one in overlays]})
        return
    print_analysis(analysis.result)
    if overlays:
        print_overlays(overlays)
    for path in written:
        typer.echo(f"written: {path}")


def _study_of(folder: Path | None) -> "Study | None":
    if folder is None:
        return None
    from corecrown.postprocess.study import read_study

    return read_study(folder)


def _draw_all(analysis: "StsAnalysis", overlays: "list[Overlay]", study: "Study | None", folder: Path) -> list[Path]:
    """Draw every figure of an analysis, each as pdf and png."""
    from corecrown.postprocess.report_sts import sts_figures
    from corecrown.postprocess.sts.storage import StoredAnalysis

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--figures {folder}: cannot be made: {error.strerror}", "give a folder") from error
    written = []
    for one in sts_figures(StoredAnalysis(analysis, overlays), study):
        try:
            drawn = one.draw()
        except InputError as error:
            typer.echo(f"  - figure {one.name}: {error.message}", err=True)
            continue
        for suffix in ("pdf", "png"):
            path = folder / f"{one.name}.{suffix}"
            write_figure(drawn, path)
            written.append(path)
    return written


_FLAGS = {
    "bandwidth_v": "--bandwidth",
    "window_v": "--window",
    "normalisation": "--normalise",
    "temperature_k": "--temperature",
    "n_resamples": "--resamples",
}
"""Options that are called otherwise where they are analysed."""


def _options(**values: Any) -> "StsOptions":
    from pydantic import ValidationError

    from corecrown.postprocess.sts.edges import EDGE_METHODS
    from corecrown.postprocess.sts.options import StsOptions

    if values["method"] not in EDGE_METHODS:
        raise InputError(
            f"--method: {values['method']!r} is not known", known_names(values["method"], EDGE_METHODS, "methods")
        )
    try:
        return StsOptions(**values)
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0])
        message = str(first["msg"]).removeprefix("Value error, ")
        flag = _FLAGS.get(field, f"--{field}")
        hint = "two numbers, low and high in V: --window -1 1" if field == "window_v" else "corecrown sts --help"
        raise InputError(f"{flag}: {message}", hint) from error


def _read_groups(files: list[str] | None, group: list[str] | None, synthetic: Path | None) -> dict[str, "SweepSet"]:
    from corecrown.postprocess.sts.readers import read_sweeps

    if synthetic is not None:
        from corecrown.postprocess.sts.synthetic import write_example

        if files or group:
            raise InputError("--synthetic and other sweeps were both given", "give one of them")
        return {name: read_sweeps(folder) for name, folder in write_example(synthetic).items()}

    named = _named_pairs(group, "--group", "NAME=PATTERN")
    if files and named:
        raise InputError("files and --group were both given", "put the files into a group")
    if files:
        return {"all": read_sweeps(files)}
    if not named:
        raise InputError(
            "no sweeps were given", "corecrown sts FILES..., or --group NAME=PATTERN; --synthetic DIR makes some to try"
        )
    return {name: read_sweeps(pattern) for name, pattern in named.items()}


def _named_pairs(values: list[str] | None, option: str, shape: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for value in values or []:
        name, _, rest = value.partition("=")
        if not name.strip() or not rest.strip():
            raise InputError(f"{option}: {value!r} is not {shape}", f"for example {option} core='core/*.csv'")
        if name.strip() in pairs:
            raise InputError(f"{option}: {name.strip()!r} is given twice", "give each name once")
        pairs[name.strip()] = rest.strip()
    return pairs
