"""How long a program has been silent, told so that no clock that is set can make it look dead.

Files carry the time of the machine that keeps them, and a clock may be set while a program runs. So only whether
files changed between two looks counts, and the time between the looks, by the monotonic clock.
"""

import time
from collections.abc import Iterable
from pathlib import Path

__all__ = ["LONGEST_GAP_S", "SilenceMeter"]

LONGEST_GAP_S = 10.0
"""What counts at most between two looks, s: who looks so rarely was stopped itself, and the program with it."""


class SilenceMeter:
    """Adds up for how long files have not changed, look by look.

    Attributes
    ----------
    silent_s
        Time without a change up to the last look, s.
    """

    def __init__(self) -> None:
        self.silent_s = 0.0
        self._seen: frozenset[tuple[str, int, int]] | None = None
        self._looked = 0.0

    def look(self, files: Iterable[Path]) -> float:
        """Look at the files and return for how long none has grown, come, gone or been written to, s."""
        now, seen = time.monotonic(), _marks(files)
        changed = seen != self._seen
        self.silent_s = 0.0 if changed else self.silent_s + min(now - self._looked, LONGEST_GAP_S)
        self._seen, self._looked = seen, now
        return self.silent_s


def _marks(files: Iterable[Path]) -> frozenset[tuple[str, int, int]]:
    """Return name, size and time of change of each file that is there."""
    found = []
    for path in files:
        try:
            about = path.stat()
        except FileNotFoundError:
            continue
        found.append((str(path), about.st_size, about.st_mtime_ns))
    return frozenset(found)
