"""The package's results beside the source study's, claim by claim; what disagrees is said to disagree."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pydantic import Field

from corecrown.errors import InputError
from corecrown.postprocess.experiment import Computed, Quantity, load_experiment
from corecrown.postprocess.results import CellResult, Result, StudyResult
from corecrown.postprocess.shifts import gap_of, level_differs, shift_uncertainty, why_no_gap
from corecrown.postprocess.study import Study
from corecrown.postprocess.study_input import protocol_of, relaxes_lattice

__all__ = ["Basis", "Claim", "LevelGap", "PaperComparison", "Verdict", "compare_with_paper", "judge"]

REFERENCE = "fa000"


class Verdict(StrEnum):
    """What came of a claim."""

    AGREES = "agrees"
    DISAGREES = "disagrees"
    UNDECIDED = "undecided"
    NOT_COMPUTED = "not computed"


class Claim(Result):
    """One statement of the source study, and what was found here."""

    name: str
    title: str
    where: str = Field(description="where in the source study it stands")
    theirs: str
    their_value: float | None = None
    ours: str
    value: float | None = Field(None, description="in the unit that `title` names")
    uncertainty: float | None = None
    verdict: Verdict
    why: str = Field(description="why it agrees or not, or what is missing")
    criterion: str = Field(description="the rule that gave the verdict")
    study: str | None = Field(None, description="name of the study that the numbers are from")
    level: str | None = Field(None, description="functional, spin-orbit coupling, cutoff and mesh")


class LevelGap(Result):
    """The gap of the reference cell at one level of theory, beside the gap that the source study states."""

    functional: str
    spin_orbit: bool
    gap_ev: float | None
    difference_ev: float | None = Field(None, description="gap less the source study's")
    uncertainty_ev: float | None = None
    shift_ev: float | None = Field(None, description="gap of the 25 % cell less this one, at the same level")
    level: str | None = None
    kpoint_mesh: tuple[int, int, int] | None = None
    study: str | None = None
    lattice_angstrom: tuple[float, float, float] | None = Field(None, description="a, b, c of the cell")


class PaperComparison(Result):
    """All claims, and the gap at every level of theory."""

    studies: list[str]
    claims: list[Claim]
    levels: list[LevelGap]


@dataclass(frozen=True)
class Basis:
    """One study as the claims are asked of it.

    Parameters
    ----------
    name
        What the study is called in the answer.
    result
        The cells.
    stated
        What the source study states of its own calculations.
    gap_uncertainty_ev
        What the protocol leaves on a gap, eV; ``None`` where it is not known.
    lattice_relaxed
        Whether lattices were relaxed rather than kept; ``None`` where it is not known.
    """

    name: str
    result: StudyResult
    stated: Computed
    gap_uncertainty_ev: float | None
    lattice_relaxed: bool | None

    def cell(self, label: str) -> CellResult | None:
        """Return a cell, or ``None`` where the study has none of that label."""
        return next((cell for cell in self.result.cells if cell.label == label), None)

    def own_cells(self) -> list[CellResult]:
        """Return the cells that could exist: those not made from others by changing one cause."""
        return [cell for cell in self.result.cells if not cell.made_from]

    def substituted(self) -> list[CellResult]:
        """Return the cells that the paper's claims are about: aligned FA for Cs in CsPbBr3."""
        return [
            cell
            for cell in self.own_cells()
            if cell.fa_fraction and cell.alignment and not cell.label.startswith("fapbbr3")
        ]

    def gap(self, label: str) -> float | None:
        """Return the gap of a cell, eV, or ``None``."""
        cell = self.cell(label)
        return None if cell is None else gap_of(cell)

    def shift(self, label: str, reference: str = REFERENCE) -> tuple[float | None, float | None, list[str]]:
        """Return the shift of a gap, its uncertainty (eV), and notes; all empty-handed where one gap is missing."""
        cell, base = self.cell(label), self.cell(reference)
        gaps = self.gap(label), self.gap(reference)
        if cell is None or base is None or gaps[0] is None or gaps[1] is None:
            return None, None, self.missing(label, reference)
        reason = level_differs(cell, base)
        if reason is not None and reason.startswith("functional"):
            return None, None, [f"{label} and {reference} are not at one level of theory: {reason}"]
        uncertainty, notes = shift_uncertainty(cell, base, self.gap_uncertainty_ev)
        return gaps[0] - gaps[1], uncertainty, [*notes, *([f"settings differ: {reason}"] if reason else [])]

    def missing(self, *labels: str) -> list[str]:
        """Say which of the cells are missing or have no gap."""
        said = []
        for label in labels:
            cell = self.cell(label)
            if cell is None:
                said.append(f"no cell {label}")
            elif gap_of(cell) is None:
                said.append(f"{label}: {why_no_gap(cell)}")
        return said

    def theirs(self, kind: str, key: str) -> Quantity:
        """Return a number that the source study states."""
        found: dict[str, Quantity] = getattr(self.stated, kind)
        return found[key]


def judge(
    value: float, uncertainty: float | None, theirs: float, rounding: float, *, effect: bool = False
) -> tuple[Verdict, str]:
    """Tell whether a number agrees with a stated one.

    Parameters
    ----------
    value, uncertainty
        What was found, and how far it may be off, in one unit; ``None`` where that is not known.
    theirs, rounding
        What is stated, and half a unit of its last digit.
    effect
        Whether the number is an effect, which an uncertainty as large as what is stated leaves undecided, unless what
        was found is larger and differs.

    Examples
    --------
    >>> judge(2.31, 0.05, 2.554, 0.0005)[0].value
    'disagrees'
    >>> judge(-0.034, 0.071, 0.041, 0.0005, effect=True)[0].value
    'undecided'
    >>> judge(-0.462, 0.071, 0.041, 0.0005, effect=True)[0].value
    'disagrees'
    """
    difference = value - theirs
    if uncertainty is None:
        return Verdict.UNDECIDED, f"the difference is {difference:+.3f}, and our uncertainty is not known"
    differs = abs(difference) > uncertainty + rounding
    if effect and uncertainty >= abs(theirs) and not (differs and abs(value) > uncertainty):
        return Verdict.UNDECIDED, f"our uncertainty of {uncertainty:.3f} is as large as the effect itself"
    if differs:
        return Verdict.DISAGREES, f"the difference of {difference:+.3f} exceeds our uncertainty of {uncertainty:.3f}"
    return Verdict.AGREES, f"the difference of {difference:+.3f} is within our uncertainty of {uncertainty:.3f}"


def compare_with_paper(studies: Sequence[tuple[str, Study]]) -> PaperComparison:
    """Set studies beside the source study.

    Parameters
    ----------
    studies
        Names and studies, the best one first. Each claim is answered from the first study that can.

    Raises
    ------
    InputError
        If there is no study at all.
    """
    from corecrown.postprocess.paper_gaps import GAPS, functional_claim, level_gaps
    from corecrown.postprocess.paper_states import STATES
    from corecrown.postprocess.paper_structure import STRUCTURE

    if not studies:
        raise InputError("there are no results to set beside the paper", "give the folder of a study")
    stated = load_experiment("sts-core-crown").computed
    if stated is None:
        raise InputError("inputs/experiments/sts-core-crown.yaml, field computed: missing", "install corecrown again")
    bases = [_basis(name, study, stated) for name, study in studies]
    levels = level_gaps(bases)
    claims = [_answer(ask, bases) for ask in (*GAPS, *STATES, *STRUCTURE)]
    return PaperComparison(
        studies=[basis.name for basis in bases],
        claims=[*claims, functional_claim(bases[0], levels)],
        levels=levels,
    )


def _answer(ask: Callable[[Basis], Claim], bases: Sequence[Basis]) -> Claim:
    """Answer a claim from the first study that decides it, else from the first that has a number at all."""
    answers = [ask(basis) for basis in bases]
    known = [answer for answer in answers if answer.verdict is not Verdict.NOT_COMPUTED]
    return known[0] if known else answers[0]


def _basis(name: str, study: Study, stated: Computed) -> Basis:
    comparison = study.result.comparison
    uncertainty = comparison.gap_uncertainty_ev if comparison is not None else None
    return Basis(
        name=name,
        result=study.result,
        stated=stated,
        gap_uncertainty_ev=protocol_of(study).get("gap_uncertainty_ev") if uncertainty is None else uncertainty,
        lattice_relaxed=_lattice_relaxed(study),
    )


def _lattice_relaxed(study: Study) -> bool | None:
    """Tell whether lattices are those of the level of theory; where nothing was relaxed they are not."""
    relaxed = any("relax" in cell.timings for cell in study.result.cells)
    return relaxes_lattice(study) if relaxed else False
