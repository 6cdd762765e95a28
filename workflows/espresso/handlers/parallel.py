"""When the work cannot be spread over processes the way it was asked for."""

from pathlib import Path
from typing import ClassVar

from corecrown.workflows.espresso.handlers.base import PwHandler, limit_ranks, read_retry

__all__ = ["TooManyPools", "TooManyRanks"]


class TooManyPools(PwHandler):
    """More pools than k-points, or than ranks: one pool."""

    error_phrases: ClassVar[tuple[str, ...]] = (
        "some nodes have no k-points",
        "invalid number of pools",
    )

    def cure(self, folder: Path) -> str:
        """Let all ranks share each k-point."""
        limit_ranks(folder, pools=1)
        return "one pool"


class TooManyRanks(PwHandler):
    """The cell is too small for so many ranks: some are left without plane waves, or an empty record to write."""

    error_phrases: ClassVar[tuple[str, ...]] = (
        "running on too many processors",
        "some processors have no G-vectors",
        "wrong record length",
    )
    advice = "is the cutoff too small for a single plane wave?"

    def cure(self, folder: Path) -> str:
        """Run in one rank: a cell that small needs no more."""
        if read_retry(folder).get("ranks") == 1:
            return ""
        limit_ranks(folder, ranks=1, pools=1)
        return "one rank"
