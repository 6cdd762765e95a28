"""Write ``docs/paper.md`` from the results that ship: ``python docs/make_paper.py``."""

from pathlib import Path

from corecrown.postprocess.paper import Claim, LevelGap, PaperComparison, compare_with_paper
from corecrown.postprocess.reference import read_reference, reference_names

INTRODUCTION = """# The source study and us

What the source study (*Small* 2026; DFT and STS of CsPbBr3 and CsPbBr3@FAPbBr3 platelets) says, and what this package
finds when it computes the same. Made by `python docs/make_paper.py` from the results that ship with the package;
`corecrown paper` prints the same, and `corecrown paper DIR` asks it of results of your own. A test compares this page
with those results.

Nothing is tuned to agree. Each verdict (*agrees*, *disagrees*, *undecided* where it is not known well enough, *not
computed*) follows from a rule that stands beside it. The study's supporting tables were not available, so its numbers
are those of its main text.
"""


def render(found: PaperComparison) -> str:
    """Return the page."""
    lines = [INTRODUCTION, f"Results: {', '.join(_link(name) for name in found.studies)}.", "", "## Verdicts", ""]
    lines += ["| Claim | Paper | Ours | Verdict |", "|---|---|---|---|"]
    lines += [
        f"| {claim.title} | {claim.theirs} | {_cell(claim.ours)} | **{claim.verdict.value}** |"
        for claim in found.claims
    ]
    lines += ["", "## Gap at each level of theory", ""]
    lines += ["The cell without FA; the paper's 2.554 eV names no functional. In eV.", ""]
    lines += ["| Level | Gap | Less 2.554 | Uncertainty | Shift at 25 % FA | Results |", "|---|---|---|---|---|---|"]
    lines += [_level_row(row) for row in found.levels]
    lines += ["", "## Claim by claim", ""]
    for claim in found.claims:
        lines += _section(claim)
    return "\n".join(lines).rstrip() + "\n"


def _link(name: str) -> str:
    return f"`{name}` (`inputs/reference/{name}`)"


def _cell(text: str) -> str:
    return text.replace("; ", "<br>").replace("|", "\\|")


def _level_row(row: LevelGap) -> str:
    coupling = "spin-orbit" if row.spin_orbit else "no spin-orbit"
    notes = f" ({'; '.join(row.notes)})" if row.notes and row.gap_ev is not None else ""
    numbers = (row.gap_ev, row.difference_ev, row.uncertainty_ev, row.shift_ev)
    shown = [
        "–" if number is None else f"{number:{sign}.3f}"
        for number, sign in zip(numbers, ("", "+", "", "+"), strict=True)
    ]
    if row.gap_ev is None:
        shown[0] = "not computed"
    return f"| {row.level or f'{row.functional}, {coupling}'}{notes} | {' | '.join(shown)} | {row.study or '–'} |"


def _section(claim: Claim) -> list[str]:
    lines = [f"### {claim.title}", "", f"- Paper ({claim.where}): {claim.theirs}"]
    lines += [f"- Ours: {claim.ours}"] if claim.ours != "–" else []
    lines += [
        f"- Verdict: **{claim.verdict.value}**. {claim.why[:1].upper()}{claim.why[1:]}.",
        f"- Rule: {claim.criterion}.",
    ]
    if claim.verdict.value != "not computed":
        lines.append(f"- From: {claim.study}, {claim.level or 'level not recorded'}.")
    return [*lines, ""]


def main(path: Path) -> None:
    """Write the page."""
    found = compare_with_paper([(name, read_reference(name)) for name in reference_names()])
    path.write_text(render(found), encoding="utf-8")


if __name__ == "__main__":
    main(Path(__file__).with_name("paper.md"))
