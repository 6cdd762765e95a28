"""``corecrown paper``: our results beside the source study's, claim by claim."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from corecrown.cli.common import AsJson, Verbose, print_json, print_table

if TYPE_CHECKING:
    from corecrown.postprocess.paper import LevelGap, PaperComparison

__all__ = ["register"]

NOT_COMPUTED = "not computed"


def register(app: typer.Typer) -> None:
    """Add ``corecrown paper`` to the command line."""
    app.command()(paper)


def paper(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(metavar="DIR", help="Folders of studies, the best first; without one, the shipped results."),
    ] = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Set results beside the source study's numbers and claims: agreement or not, and why."""
    del verbose
    from corecrown.postprocess.paper import compare_with_paper
    from corecrown.postprocess.reference import read_reference, reference_names
    from corecrown.postprocess.study import read_study

    studies = (
        [(study.result.study, study) for study in map(read_study, folders)]
        if folders
        else [(name, read_reference(name)) for name in reference_names()]
    )
    found = compare_with_paper(studies)
    if as_json:
        print_json(found)
    else:
        _show(found)


def _show(found: "PaperComparison") -> None:
    typer.echo(f"The paper and us; ours from: {', '.join(found.studies)}\n")
    for claim in found.claims:
        typer.echo(f"{claim.title}: {claim.verdict.value}")
        lines = {
            "paper": claim.theirs,
            "ours": claim.ours,
            "why": claim.why,
            "level": claim.level,
            "study": claim.study,
        }
        for name, text in lines.items():
            if text and (name not in {"level", "study"} or claim.verdict.value != "not computed"):
                typer.echo(f"  {name:<6} {text}")
        typer.echo("")
    _show_levels(found.levels)


def _show_levels(levels: "list[LevelGap]") -> None:
    """Print the gap at each level of theory, and below it what is to be kept in mind of each."""
    said = [[note for note in row.notes if note != NOT_COMPUTED] for row in levels]
    notes = list(dict.fromkeys(note for row in said for note in row))
    print_table(
        "Gap without FA at each level of theory, in eV; the paper's 2.554 names no functional",
        ("Level", "Gap", "Less 2.554", "Uncertainty", "Shift at 25 % FA", "Study", "Notes"),
        [
            (
                row.level or f"{row.functional}, {'spin-orbit' if row.spin_orbit else 'no spin-orbit'}",
                NOT_COMPUTED if row.gap_ev is None else f"{row.gap_ev:.3f}",
                "–" if row.difference_ev is None else f"{row.difference_ev:+.3f}",
                "–" if row.uncertainty_ev is None else f"{row.uncertainty_ev:.3f}",
                "–" if row.shift_ev is None else f"{row.shift_ev:+.3f}",
                row.study or "–",
                ", ".join(str(notes.index(note) + 1) for note in of_row),
            )
            for row, of_row in zip(levels, said, strict=True)
        ],
    )
    for number, note in enumerate(notes, 1):
        typer.echo(f"  {number}  {note}")
