"""When a program was ended from outside: killed, out of memory, silent, or out of time.

Nothing in its input is to blame, so none of these is cured in place: MPI ranks can outlive what launched them, and
the next try belongs in a fresh folder. Which of them are tried again says :attr:`EndedFromOutside.tries_again`.
"""

import re
import shutil
from pathlib import Path
from typing import ClassVar

from corecrown.settings import get_settings
from corecrown.workflows.espresso.handlers.base import PwHandler, has_ended_well
from corecrown.workflows.silence import SilenceMeter

__all__ = [
    "DiskFull",
    "EndedFromOutside",
    "Killed",
    "OutOfMemory",
    "Silence",
    "StoppedOnRequest",
    "WalltimeNear",
    "was_stopped_in_time",
]

_SIGNAL = re.compile(
    r"exited on signal (?P<open>\d+)|signal (?P<mpich>\d+)\)|KILLED BY SIGNAL: (?P<intel>\d+)"
    r"|Program received signal (?P<name>SIG\w+)|Segmentation fault|\bKilled\b",
    re.IGNORECASE,
)
_MEMORY = re.compile(
    r"cannot allocate memory|exceed(?:s|ed)? memory limit|out[ -]of[ -]memory|oom[-_ ]?kill|bad_alloc"
    r"|insufficient virtual memory|error allocating|allocation (?:would|failed)|cannot allocate",
    re.IGNORECASE,
)
_SMALLEST_FREE_BYTES = 64 * 1024


class EndedFromOutside(PwHandler):
    """Base of the handlers of a program that was ended from outside."""

    tries_again: ClassVar[bool] = True
    """Whether the calculation is worth another try at once, in a fresh folder."""
    fewer_ranks: ClassVar[bool] = False
    """Whether that try gets half the ranks."""

    def said_why(self, folder: Path) -> bool:
        """Return whether the program ended itself with an error of its own."""
        return "Error in routine" in self.output(folder)

    def broke_off(self, folder: Path) -> bool:
        """Return whether the program began, and did not come to its last words."""
        output = folder / f"{self.stem}.out"
        return output.is_file() and not has_ended_well(output)


class Killed(EndedFromOutside):
    """The program was ended by a signal: killed, crashed, or its node went away."""

    fewer_ranks = True
    advice = "was it killed by hand, by the system for its memory (see dmesg), or by the queue?"

    def check(self, directory: str = "./") -> bool:
        """Return whether the program was ended by a signal that was not about memory."""
        folder = Path(directory)
        errors = self.errors(folder)
        ended = bool(_SIGNAL.search(errors)) or not errors.strip()
        return self.broke_off(folder) and not self.said_why(folder) and ended and not _MEMORY.search(errors)

    def reason(self, folder: Path, signal: int | str | None = None) -> str:
        """Return the signal, where it is known, and the last lines before it."""
        found = _SIGNAL.search(self.errors(folder))
        signal = signal or (next((group for group in found.groups() if group), None) if found else None)
        lines = [line.strip() for line in self.output(folder).splitlines() if line.strip()]
        return f"killed{f' by signal {signal}' if signal else ''}; its last words: {'; '.join(lines[-2:]) or 'none'}"


class OutOfMemory(EndedFromOutside):
    """The program found no memory: fewer ranks need less of it."""

    fewer_ranks = True
    advice = "fewer ranks (CORECROWN_MPI_RANKS) or more nodes; study plan tells how much memory a run needs"

    def check(self, directory: str = "./") -> bool:
        """Return whether memory was asked for in vain."""
        folder = Path(directory)
        said = self.errors(folder) + self.output(folder)[-20_000:]
        return self.broke_off(folder) and bool(_MEMORY.search(said))

    def reason(self, folder: Path) -> str:
        """Return what was said of memory."""
        said = f"{self.errors(folder)}\n{self.output(folder)[-20_000:]}"
        line = next((line.strip() for line in said.splitlines() if _MEMORY.search(line)), "")
        return f"out of memory: {line}"


class Silence(EndedFromOutside):
    """The program has written nothing for too long: it is stopped."""

    is_monitor = True
    advice = "if it only needs longer between two lines, raise CORECROWN_SILENCE_LIMIT_S"

    def __init__(self, stem: str = "pw") -> None:
        super().__init__(stem)
        self._meter = SilenceMeter()

    def check(self, directory: str = "./") -> bool:
        """Return whether none of the program's own files changed, look after look, within the limit of the settings."""
        folder = Path(directory)
        if not self.broke_off(folder):
            return False
        return self._meter.look(self.files(folder)) > get_settings().silence_limit_s

    def files(self, folder: Path) -> list[Path]:
        """Return the files that the program writes; custodian's own log would never be silent."""
        return [*folder.glob(f"{self.stem}.out"), *folder.glob(f"{self.stem}.err"), *folder.glob("out/**/*")]

    def reason(self, folder: Path) -> str:
        """Return for how long nothing was heard."""
        return f"stopped after {get_settings().silence_limit_s:g} s without a word or a file"


class WalltimeNear(EndedFromOutside):
    """The time the queue gives was nearly used up, so that the program stopped itself and left what it had."""

    tries_again = False
    advice = "the same command again goes on from where it was; the time given is CORECROWN_WALLTIME_S"

    def check(self, directory: str = "./") -> bool:
        """Return whether the program said so, or was stopped before it had begun to iterate and says nothing."""
        folder = Path(directory)
        text = self.output(folder)
        if "Maximum CPU time exceeded" in text:
            return True
        limited = self.keyword(folder, "max_seconds") is not None
        return limited and "JOB DONE" in text and "End of " not in text

    def reason(self, folder: Path) -> str:
        """Return how long it was allowed to run."""
        return f"stopped by itself after the {self.keyword(folder, 'max_seconds')} s that were left of the walltime"


class StoppedOnRequest(EndedFromOutside):
    """Someone left an EXIT file for the program."""

    phrases: ClassVar[tuple[str, ...]] = ("Program stopped by user request",)
    tries_again = False
    advice = "the same command again goes on from where it was"

    def reason(self, folder: Path) -> str:
        """Return what stopped it."""
        return "stopped on request, by an EXIT file"


class DiskFull(EndedFromOutside):
    """There is no room left where the program writes."""

    tries_again = False
    advice = "make room there, or set CORECROWN_SCRATCH_DIR to a larger disk; the same command then goes on"

    def check(self, directory: str = "./") -> bool:
        """Return whether the program said so, or broke off on a disk without room."""
        folder = Path(directory)
        if "No space left on device" in self.output(folder) + self.errors(folder):
            return True
        return self.broke_off(folder) and self.full_place(folder) is not None

    def reason(self, folder: Path) -> str:
        """Return which disk it is."""
        return f"disk full: {self.full_place(folder) or folder}"

    def full_place(self, folder: Path) -> Path | None:
        """Return the folder without room: that of the run, or its scratch."""
        places = [place for place in (folder, (folder / "out").resolve()) if place.is_dir()]
        return next((place for place in places if shutil.disk_usage(place).free < _SMALLEST_FREE_BYTES), None)


def was_stopped_in_time(folder: Path, stem: str = "pw") -> bool:
    """Return whether a run of pw.x stopped itself, so that what it left is whole."""
    return any(handler(stem).check(str(folder)) for handler in (WalltimeNear, StoppedOnRequest))
