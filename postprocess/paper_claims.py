"""How a claim is put together, whatever it is about."""

from collections.abc import Sequence

from corecrown.postprocess.paper import REFERENCE, Basis, Claim, Verdict
from corecrown.postprocess.shifts import level_text

__all__ = ["filled", "joined", "new_claim"]


def new_claim(basis: Basis, name: str, title: str, where: str, theirs: str, criterion: str) -> Claim:
    """Return a claim that was not computed, to be filled in."""
    reference = basis.cell(REFERENCE)
    return Claim(
        name=name,
        title=title,
        where=where,
        theirs=theirs,
        ours="–",
        verdict=Verdict.NOT_COMPUTED,
        why="",
        criterion=criterion,
        study=basis.name,
        level=level_text(reference) if reference is not None else None,
    )


def filled(claim: Claim, verdict: Verdict, ours: Sequence[str], why: str) -> Claim:
    """Return the claim with its answer."""
    return claim.model_copy(update={"verdict": verdict, "ours": "; ".join(ours) or "–", "why": why})


def joined(verdicts: Sequence[Verdict]) -> Verdict:
    """Return one verdict for several of one kind: the worst of them."""
    for verdict in (Verdict.DISAGREES, Verdict.UNDECIDED):
        if verdict in verdicts:
            return verdict
    return Verdict.AGREES if verdicts else Verdict.NOT_COMPUTED
