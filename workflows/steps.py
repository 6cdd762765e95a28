"""The steps of a study: which needs which, and which looks at which."""

from collections.abc import Iterable

from corecrown.postprocess.results import Step

__all__ = ["STEP_NEEDS", "STEP_USES", "with_needed"]

STEP_NEEDS: dict[Step, Step | None] = {
    Step.RELAX: None,
    Step.SCF: None,
    Step.BANDS: Step.SCF,
    Step.PDOS: Step.SCF,
    Step.MASSES: Step.BANDS,
    Step.HYBRID: None,
    Step.HYBRID_SPIN_ORBIT: None,
    Step.SPIN_ORBIT: None,
    Step.MASSES_SPIN_ORBIT: Step.SPIN_ORBIT,
    Step.EXCITATION: None,
}
"""Which step each step cannot do without (besides the relaxation, which all follow where it is asked for)."""

STEP_USES: dict[Step, tuple[Step, ...]] = {
    Step.MASSES: (Step.SCF, Step.PDOS),
    Step.MASSES_SPIN_ORBIT: (Step.MASSES,),
}
"""Which other steps a step looks at, where they are computed; their outputs are handed to it as ``beside``."""


def with_needed(steps: Iterable[Step]) -> list[Step]:
    """Return steps in the order they run, with what they need added."""
    wanted = set(steps)
    if Step.MASSES_SPIN_ORBIT in wanted or {Step.MASSES, Step.SPIN_ORBIT} <= wanted:
        wanted |= {Step.MASSES, Step.MASSES_SPIN_ORBIT}
    for step in list(wanted):
        needed = STEP_NEEDS[step]
        while needed is not None:
            wanted.add(needed)
            needed = STEP_NEEDS[needed]
    return [step for step in Step if step in wanted]
