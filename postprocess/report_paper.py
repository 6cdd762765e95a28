"""The claims of the source study in a report: what this study has to say to each."""

import contextlib

from corecrown.errors import CorecrownError
from corecrown.postprocess.paper import REFERENCE, Verdict, compare_with_paper
from corecrown.postprocess.reference import read_provenance
from corecrown.postprocess.report_text import Table
from corecrown.postprocess.study import Study

__all__ = ["paper_table", "programs_text"]


def paper_table(study: Study) -> Table | None:
    """Return a row a claim that this study has numbers for; None without the cell that all are compared with."""
    if REFERENCE not in study.labels:
        return None
    claims = compare_with_paper([(study.result.study, study)]).claims
    known = [claim for claim in claims if claim.verdict is not Verdict.NOT_COMPUTED]
    if not known:
        return None
    missing = [claim.title for claim in claims if claim.verdict is Verdict.NOT_COMPUTED]
    return Table(
        "What the source study says, and what was found here. Undecided: not known well enough to say.",
        ("Claim", "Source study", "Here", "Verdict", "Why"),
        [(claim.title, claim.theirs, claim.ours, claim.verdict.value, claim.why) for claim in known],
        [f"not computed: {title}" for title in missing],
        frozenset({1, 2, 3, 4}),
    )


def programs_text(study: Study) -> str:
    """Name the programs and versions that computed a study, as far as it is recorded."""
    named = {program for cell in study.result.cells for program in cell.programs}
    with contextlib.suppress(CorecrownError):  # a report of what there is, whatever lies beside it
        named |= {str(code) for code in (read_provenance(study.folder) or {}).get("codes") or ()}
    return f"Programs: {', '.join(sorted(named))}." if named else "Programs: versions not recorded."
