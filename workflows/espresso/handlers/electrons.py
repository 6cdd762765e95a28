"""When the electrons do not come to rest: the scf loop, and the diagonalisation inside it."""

import re
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

from corecrown.workflows.espresso.handlers.base import PwHandler
from corecrown.workflows.espresso.handlers.ions import FINAL_SCF

__all__ = [
    "BandsNotConverged",
    "ChargeWrong",
    "CholeskyFailed",
    "ElectronicOscillation",
    "FinalScfNotConverged",
    "OverlapNotPositive",
    "ScfNotConverged",
    "TooFewBands",
    "oscillates",
]

_NOT_CONVERGED = "convergence NOT achieved"
_SMALLEST_BETA = 0.05
_TOO_LARGE_TO_PRINT = 1e12


class _UnfinishedScf(PwHandler):
    limit = 3
    advice = "see how the scf accuracy goes in the output; is the cell sound? more iterations: max_scf_iterations"

    def reason(self, folder: Path) -> str:
        """Return how far the scf came."""
        accuracies = _accuracies(self.output(folder))
        steps = self.keyword(folder, "electron_maxstep") or "the allowed"
        reached = f", scf accuracy {accuracies[-1]:.1e} Ry" if accuracies else ""
        return f"the scf did not converge in {steps} iterations{reached}"

    def failed_in_final_scf(self, folder: Path) -> bool:
        """Return whether it was the scf after a relaxation, with the plane waves of the relaxed cell."""
        _, found, after = self.output(folder).partition(FINAL_SCF)
        return bool(found) and _NOT_CONVERGED in after

    def failed(self, folder: Path) -> bool:
        """Return whether the last scf of an output did not converge."""
        return _NOT_CONVERGED in self.output(folder)

    def gentler(self, folder: Path, factor: float) -> str:
        """Mix less of the new density; as small as is of use already, there is nothing left."""
        beta = _as_float(self.keyword(folder, "mixing_beta"), 0.7)
        if 0 < beta <= _SMALLEST_BETA:
            return ""
        # a mixing that is no fraction has no meaning, and starts again from a gentle one
        gentle = max(_SMALLEST_BETA, round(beta * factor, 4)) if 0 < beta <= 1 else 0.3
        return self.edit(folder, "electrons", mixing_beta=gentle)

    def continue_density(self, folder: Path) -> str:
        """Let an scf at fixed atoms go on from the density it had come to and say so."""
        left = list(folder.glob("out/*.save/charge-density*"))
        if self.keyword(folder, "calculation") != "scf" or not left:
            return ""
        return self.edit(folder, "electrons", startingpot="file")

    def more_iterations(self, folder: Path) -> str:
        """Double the iterations, to at least 50."""
        steps = int(_as_float(self.keyword(folder, "electron_maxstep"), 100))
        return self.edit(folder, "electrons", electron_maxstep=max(50, 2 * steps))

    def joined(self, *parts: str) -> str:
        """Return what was changed in a line."""
        return ", ".join(part for part in parts if part)


class ScfNotConverged(_UnfinishedScf):
    """The scf loop used up its iterations while it still came closer: allow more, and mix more gently."""

    def check(self, directory: str = "./") -> bool:
        """Return whether the scf was on its way when the iterations ended."""
        folder = Path(directory)
        return self.failed(folder) and not self.failed_in_final_scf(folder) and not oscillates(self.output(folder))

    def cure(self, folder: Path) -> str:
        """Allow twice the iterations; from the second time on mix half of the new density."""
        gentle = self.gentler(folder, 0.5) if self.times_cured(folder) else ""
        went_on = self.continue_geometry(folder) or self.continue_density(folder)
        return self.joined(self.more_iterations(folder), gentle, went_on)


class ElectronicOscillation(_UnfinishedScf):
    """The scf accuracy goes up and down without getting anywhere: mix much less, over more iterations."""

    def check(self, directory: str = "./") -> bool:
        """Return whether the scf went in circles."""
        folder = Path(directory)
        return self.failed(folder) and not self.failed_in_final_scf(folder) and oscillates(self.output(folder))

    def cure(self, folder: Path) -> str:
        """Mix a third of the new density with a longer memory; give it time."""
        gentle = self.gentler(folder, 1 / 3)
        if not gentle:
            return ""
        memory = self.edit(folder, "electrons", mixing_ndim=12)
        return self.joined(gentle, memory, self.more_iterations(folder), self.continue_geometry(folder))


class FinalScfNotConverged(_UnfinishedScf):
    """The relaxation is done, but the scf with the plane waves of the relaxed cell is not: relax on from there."""

    def check(self, directory: str = "./") -> bool:
        """Return whether only the final scf is missing."""
        return self.failed_in_final_scf(Path(directory))

    def reason(self, folder: Path) -> str:
        """Return how far it came."""
        return f"the final scf of the relaxation: {super().reason(folder)}"

    def cure(self, folder: Path) -> str:
        """Go on from the relaxed geometry, mixing more gently: it takes a step or two, and the final scf again."""
        return self.joined(self.more_iterations(folder), self.gentler(folder, 0.5), self.continue_geometry(folder))


class _Diagonalisation(PwHandler):
    limit = 2
    advice = "is the cell sound (atoms too close)? are there fewer bands than plane waves?"

    def cure(self, folder: Path) -> str:
        """Take the other algorithm: conjugate gradients after Davidson, then Davidson with twice the space."""
        now = self.keyword(folder, "diagonalization") or "david"
        if now == "david":
            changed = self.edit(folder, "electrons", diagonalization="cg")
        else:
            changed = self.edit(folder, "electrons", diagonalization="david", diago_david_ndim=8)
        went_on = self.continue_geometry(folder)
        return f"{changed}, {went_on}" if went_on else changed


class CholeskyFailed(_Diagonalisation):
    """The overlap of trial states cannot be decomposed: they have become linearly dependent."""

    error_phrases: ClassVar[tuple[str, ...]] = (
        "problems computing cholesky",
        "Cholesky failed",
        "problems computing inverse",
    )


class OverlapNotPositive(_Diagonalisation):
    """The overlap matrix of the trial states is not positive definite, or its eigenvectors were not found."""

    error_phrases: ClassVar[tuple[str, ...]] = (
        "S matrix not positive definite",
        "eigenvectors failed to converge",
        "zhegvd failed",
    )


class BandsNotConverged(_Diagonalisation):
    """More bands were left unconverged than the program puts up with."""

    error_phrases: ClassVar[tuple[str, ...]] = ("too many bands are not converged",)


class ChargeWrong(_Diagonalisation):
    """The bands found do not hold the electrons: states were missed, or there is no gap to fill bands up to."""

    error_phrases: ClassVar[tuple[str, ...]] = ("charge is wrong",)
    limit = 1
    advice = "without a gap, bands cannot be filled; smearing is another calculation, so it is not put in here"


class TooFewBands(PwHandler):
    """Fewer bands than the electrons fill were asked for: compute more; empty ones change nothing."""

    error_phrases: ClassVar[tuple[str, ...]] = ("too few bands",)
    limit = 4
    advice = "the number of bands is half the number of electrons at least (all of them with spin-orbit coupling)"

    def cure(self, folder: Path) -> str:
        """Compute half as many again, at least four more."""
        bands = int(_as_float(self.keyword(folder, "nbnd"), 0))
        return self.edit(folder, "system", nbnd=max(bands + 4, bands + bands // 2)) if bands else ""


def oscillates(output: str) -> bool:
    """Return whether the last scf of an output goes up and down without getting anywhere.

    That is so where of its last ten scf accuracies at least a third did not fall, and the best of the later half is
    not below a half of the best of the earlier half.
    """
    last = _accuracies(output)[-10:]
    if len(last) < 6:
        return False
    rises = sum(later >= earlier for earlier, later in pairwise(last))
    middle = len(last) // 2
    return 3 * rises >= len(last) - 1 and min(last[middle:]) > 0.5 * min(last[:middle])


def _accuracies(output: str) -> list[float]:
    """Return the scf accuracies of the last scf loop of an output, Ry."""
    loop = output[output.rfind("iteration #  1 ") :] if "iteration #  1 " in output else output
    found = re.findall(r"estimated scf accuracy\s*<\s*(\S+)\s*Ry", loop)
    return [_as_float(text, _TOO_LARGE_TO_PRINT) for text in found]


def _as_float(text: str | None, otherwise: float) -> float:
    """Read a number as Fortran writes it; asterisks, where it did not fit, are no number."""
    try:
        return float((text or "").lower().replace("d", "e"))
    except ValueError:
        return otherwise
