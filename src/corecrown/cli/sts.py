"""``corecrown sts`` and ``corecrown compare``: sweeps to edges, and DFT beside them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from corecrown.cli.common import AsJson, Verbose, print_json, print_table
from corecrown.cli.tables import print_comparison
from corecrown.errors import InputError

if TYPE_CHECKING:
    from corecrown.postprocess.results import Comparison, StudyResult
    from corecrown.postprocess.sts.analysis import StsAnalysis
    from corecrown.postprocess.sts.model import SweepSet
    from corecrown.postprocess.sts.options import StsOptions
    from corecrown.postprocess.sts.results import Interval, StsResult

__all__ = ["register"]

FIGURE_SUFFIXES = ("pdf", "svg", "png")
Files = Annotated[list[str] | None, typer.Argument(help="Files, folders or patterns of sweeps (one group).")]
Group = Annotated[
    list[str] | None,
    typer.Option("--group", "-g", metavar="NAME=PATTERN", help="A group of sweeps; the first is the reference."),
]
Cell = Annotated[
    list[str] | None,
    typer.Option("--cell", metavar="GROUP=CELL", help="With --save: which computed cell stands for a group."),
]


def register(app: typer.Typer) -> None:
    """Add the commands ``sts`` and ``compare``."""
    app.command("sts")(sts)
    app.command("compare")(compare)


def sts(
    files: Files = None,
    group: Group = None,
    save: Annotated[Path | None, typer.Option(help="Write the edges as an experiment file that compare reads.")] = None,
    figure: Annotated[Path | None, typer.Option(help="Draw the analysis (.pdf, .svg or .png).")] = None,
    cell: Cell = None,
    method: Annotated[str, typer.Option(help="How edges are found.")] = "first-peak",
    prominence: Annotated[float, typer.Option(help="Of a peak, part of the largest on its side.")] = 0.1,
    bandwidth: Annotated[float, typer.Option(help="Of the derivative, full width, V.")] = 0.05,
    window: Annotated[tuple[float, float], typer.Option(help="Of the trap integral, V.")] = (-0.8, 1.0),
    normalise: Annotated[str, typer.Option(help="Sweeps before averaging: none, set-point, conductance.")] = "none",
    temperature: Annotated[float | None, typer.Option(help="K, where the files do not say.")] = None,
    resamples: Annotated[int, typer.Option(help="Of platelets, for intervals; 0 for none.")] = 1000,
    keep_outliers: Annotated[bool, typer.Option("--keep-outliers", help="Average tip changes and drift too.")] = False,
    lockin: Annotated[bool, typer.Option("--lock-in", help="dI/dV from the calibrated lock-in channel.")] = False,
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
    _check_figure(figure)
    cells = _named_pairs(cell, "--cell", "GROUP=CELL")
    from corecrown.postprocess.sts.analysis import analyse_groups

    analysis = analyse_groups(_read_groups(files, group), options)
    unknown = [name for name in cells if name not in analysis.result.groups]
    if unknown:
        raise InputError(f"--cell: there is no group {unknown[0]!r}", f"groups: {', '.join(analysis.result.groups)}")
    if save is not None:
        from corecrown.postprocess.sts.saving import save_experiment

        save_experiment(analysis.result, save, cells)
    if figure is not None:
        _draw(analysis, figure)
    if as_json:
        print_json(analysis.result)
        return
    _show(analysis.result)
    for path in (save, figure):
        if path is not None:
            typer.echo(f"written: {path}")


def compare(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a study (holds study.json).")],
    experiment: Annotated[
        str | None, typer.Option(help="Name of a shipped experiment file, or the path of one.")
    ] = None,
    gap_uncertainty: Annotated[
        float | None, typer.Option(help="How far the protocol leaves a gap from its converged value, eV.")
    ] = None,
    figure: Annotated[Path | None, typer.Option(help="Draw all energy scales (.pdf, .svg or .png).")] = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Set the gaps of a study beside STS: shifts with uncertainties, ledger, and what to keep in mind."""
    del verbose
    if gap_uncertainty is not None and not 0 <= gap_uncertainty < 10:
        raise InputError(f"--gap-uncertainty is {gap_uncertainty}", "give an energy in eV, 0.03 say")
    _check_figure(figure)
    from corecrown.postprocess.comparison import compare_study, load_experiment
    from corecrown.postprocess.study import read_study

    study = read_study(directory).result
    measured = load_experiment(experiment) if experiment else load_experiment()
    comparison = compare_study(study, measured, _known_uncertainty(study, gap_uncertainty))
    if figure is not None:
        from corecrown.postprocess.sts.alignment import energy_scales
        from corecrown.postprocess.sts.figures import alignment_figure

        gaps = {row.cell: row.gap_ev for row in comparison.rows if row.gap_ev is not None}
        _write_figure(alignment_figure(energy_scales(measured, gaps)), figure)
    if as_json:
        print_json(comparison)
        return
    print_comparison(comparison)
    _show_parts(comparison)
    if figure is not None:
        typer.echo(f"written: {figure}")


def _show_parts(comparison: "Comparison") -> None:
    """Print what a comparison says beside its tables: splits of shifts, and where uncertainties come from."""
    if comparison.splits:
        print_table(
            "What a shift comes from",
            ["cell", "strain / eV", "distortion / eV", "A site / eV", "total / eV"],
            [
                [
                    split.cell,
                    _number(split.strain_ev, "+.3f"),
                    _number(split.distortion_ev, "+.3f"),
                    _number(split.a_site_ev, "+.3f"),
                    _with_error(split.total_ev, split.uncertainty_ev),
                ]
                for split in comparison.splits
            ],
        )
    said = [
        *((row.cell, row.notes) for row in comparison.rows),
        *((f"{split.cell}, split", split.notes) for split in comparison.splits),
        *((term.term, term.notes) for term in comparison.ledger),
    ]
    for name, notes in said:
        for note in notes:
            typer.echo(f"  {name}: {note}")


def _known_uncertainty(study: "StudyResult", given: float | None) -> float | None:
    """Return the uncertainty of a gap: as given, as the study was compared with, or that of its protocol."""
    if given is not None:
        return given
    if study.comparison is not None and study.comparison.gap_uncertainty_ev is not None:
        return study.comparison.gap_uncertainty_ev
    from corecrown.workflows.protocols import load_protocol

    try:
        return load_protocol(study.protocol).gap_uncertainty_ev
    except InputError:
        return None


def _options(**values: Any) -> "StsOptions":
    from pydantic import ValidationError

    from corecrown.postprocess.sts.edges import EDGE_METHODS
    from corecrown.postprocess.sts.options import StsOptions

    if values["method"] not in EDGE_METHODS:
        raise InputError(f"--method: {values['method']!r} is not known", f"methods: {', '.join(EDGE_METHODS)}")
    try:
        return StsOptions(**values)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(
            f"option {'.'.join(str(part) for part in first['loc'])}: {first['msg']}", "corecrown sts --help"
        ) from error


def _read_groups(files: list[str] | None, group: list[str] | None) -> dict[str, "SweepSet"]:
    from corecrown.postprocess.sts.readers import read_sweeps

    named = _named_pairs(group, "--group", "NAME=PATTERN")
    if files and named:
        raise InputError("files and --group were both given", "put the files into a group")
    if files:
        return {"all": read_sweeps(files)}
    if not named:
        raise InputError("no sweeps were given", "corecrown sts FILES..., or --group NAME=PATTERN")
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


def _show(result: "StsResult") -> None:
    from corecrown.postprocess.sts.results import GroupResult

    def row(name: str, group: GroupResult) -> list[str]:
        spread = group.by_sweep.gap_ev if group.by_sweep else None
        single = "-" if spread is None or spread.mean is None else f"{spread.mean:.3f} ({spread.n})"
        return [
            name,
            f"{group.n_platelets}",
            _interval(group.vbm_v),
            _interval(group.cbm_v),
            _interval(group.gap_ev),
            single,
            _number(group.resolution_ev),
            _interval(group.trap_integral, ".4f"),
        ]

    print_table(
        "Edges of averaged spectra",
        [
            "group",
            "platelets",
            "VBM (V)",
            "CBM (V)",
            "gap (eV)",
            "by sweep (n)",
            "width (eV)",
            "traps (V)",
        ],
        [row(name, group) for name, group in result.groups.items()],
        caption="±: standard error by resampling platelets; width: of a line, does not bound a shift between centres",
    )
    if result.shifts:
        print_table(
            f"Shifts from {result.shifts[0].reference}",
            ["group", "quantity", "shift (eV)", "interval (eV)", "beyond 2 standard errors"],
            [
                [
                    shift.group,
                    shift.quantity,
                    _with_error(shift.value, shift.standard_error),
                    _range(shift.low, shift.high),
                    "-" if shift.exceeds_standard_error is None else "yes" if shift.exceeds_standard_error else "no",
                ]
                for shift in result.shifts
            ],
        )
    if result.traps.changes:
        low, high = result.traps.window_v
        print_table(
            f"States in the gap, {low:g} to {high:g} V, over the {result.traps.normalised_by}",
            ["group", "change (%)", "interval (%)"],
            [
                [f"{c.group} against {c.reference}", _number(c.percent, "+.1f"), _range(c.low, c.high, "+.1f")]
                for c in result.traps.changes
            ],
        )
    for name, series in result.stability.items():
        print_table(
            f"Repeated sweeps of {name}",
            ["sweep", "gap (eV)", "states in the first gap (first = 1)", "platelets"],
            [[str(p.sweep), _number(p.gap_ev), _number(p.relative_dos), str(p.n_platelets)] for p in series],
        )
    for flag in result.flags:
        typer.echo(f"  - {flag}")
    for name, group in result.groups.items():
        for flag in group.flags:
            typer.echo(f"  - {name}: {flag}")
        for skipped in group.skipped:
            typer.echo(f"  skipped {skipped.file}: {skipped.reason}")


def _draw(analysis: "StsAnalysis", path: Path) -> None:
    from corecrown.postprocess.sts.figures import sts_figure

    _write_figure(sts_figure(analysis), path)


def _check_figure(path: Path | None) -> None:
    if path is not None and path.suffix.lstrip(".").lower() not in FIGURE_SUFFIXES:
        raise InputError(f"--figure {path}: unknown suffix", f"known: {', '.join('.' + s for s in FIGURE_SUFFIXES)}")


def _write_figure(figure: Any, path: Path) -> None:
    from corecrown.postprocess.plots.style import figure_bytes

    content = figure_bytes(figure, path.suffix.lstrip(".").lower())
    try:
        path.write_bytes(content)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}", "check the folder") from error


def _number(value: float | None, form: str = ".3f") -> str:
    return "-" if value is None else format(value, form)


def _with_error(value: float | None, error: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:+.3f} ± {'?' if error is None else format(error, '.3f')}"


def _range(low: float | None, high: float | None, form: str = "+.3f") -> str:
    if low is None and high is None:
        return "-"
    return f"{_number(low, form)} to {_number(high, form)}"


def _interval(interval: "Interval", form: str = ".3f") -> str:
    if interval.value is None:
        return "-"
    error = interval.standard_error
    return f"{interval.value:{form}} ± {'?' if error is None else format(error, form)}"
