"""When a relaxation does not come to its end."""

from pathlib import Path
from typing import ClassVar

from corecrown.workflows.espresso.handlers.base import PwHandler

__all__ = ["FINAL_SCF", "BfgsFailed", "FftGridOutgrown", "IonicStepsUsedUp"]

FINAL_SCF = "inal scf calculation at the relaxed structure"
"""Heads the scf with the plane waves of the relaxed cell; versions differ in the case of its first letter."""

_BFGS_FAILED = ("bfgs failed after", "history already reset at previous step")


class IonicStepsUsedUp(PwHandler):
    """The ionic steps are used up: go on from the last geometry, with a history that begins there.

    Where the last of them is the one that converges, pw.x says so, announces the final scf, and leaves it out.
    """

    limit = 2
    advice = "the same command again goes on from the last geometry; or raise relax.max_ionic_steps"

    def check(self, directory: str = "./") -> bool:
        """Return whether the steps ended before the forces did, or before the final scf, and BFGS has not given up."""
        text = self.output(Path(directory))
        if any(said in text for said in _BFGS_FAILED):
            return False
        _, final, after = text.partition(FINAL_SCF)
        left_out = bool(final) and "JOB DONE" in after and "End of self-consistent calculation" not in after
        return left_out or "The maximum number of steps has been reached" in text

    def reason(self, folder: Path) -> str:
        """Return what was allowed."""
        return (
            f"not relaxed after {self.keyword(folder, 'nstep') or 'all'} ionic steps, and that {self.limit + 1} times"
        )

    def cure(self, folder: Path) -> str:
        """Go on from the last geometry."""
        return self.continue_geometry(folder)


class BfgsFailed(PwHandler):
    """BFGS found no way down: forces are too noisy for its history, or the history misleads it."""

    phrases: ClassVar[tuple[str, ...]] = _BFGS_FAILED
    limit = 3
    advice = "a smaller scf_threshold_ry_per_atom gives smoother forces; or relax with a looser threshold first"

    def cure(self, folder: Path) -> str:
        """Begin a new history at the last geometry; from the second time on with smoother forces and smaller steps."""
        went_on = self.continue_geometry(folder)
        if not self.times_cured(folder):
            return f"a new history {went_on}" if went_on else ""
        threshold = float((self.keyword(folder, "conv_thr") or "1e-6").lower().replace("d", "e"))
        smoother = self.edit(folder, "electrons", conv_thr=threshold / 100)
        smaller = self.edit(folder, "ions", trust_radius_ini=0.1)
        return ", ".join(part for part in (smoother, smaller, went_on) if part)


class FftGridOutgrown(PwHandler):
    """The cell has shrunk beyond what tables were laid out for: lay them out for more, from the last geometry."""

    error_phrases: ClassVar[tuple[str, ...]] = ("Not enough space allocated for radial FFT",)
    limit = 3
    advice = "start from a cell closer to the relaxed one, for example with start.prerelax"

    def cure(self, folder: Path) -> str:
        """Make the tables half as large again; they hold the same numbers."""
        factor = max(2.0, 1.5 * float(self.keyword(folder, "cell_factor") or 2.0))
        went_on = self.continue_geometry(folder)
        return ", ".join(part for part in (self.edit(folder, "cell", cell_factor=factor), went_on) if part)
