"""Errors of pw.x and their cures, as custodian handlers.

No handler changes the functional, occupations, smearing, cutoffs or the mesh: those are the physics that was asked
for. What a handler changes is how the same answer is reached: mixing, iterations, diagonalisation, ranks.
"""

import json
import re
from pathlib import Path
from typing import Any, ClassVar

from custodian.custodian import ErrorHandler

from corecrown.errors import RunError
from corecrown.settings import get_settings

__all__ = ["PwHandler", "ScfNotConverged", "Silence", "corrections", "default_handlers", "read_retry"]

RETRY, TOLD = "retry.json", "corrections.json"


class PwHandler(ErrorHandler):  # type: ignore[misc]
    """Base of the handlers: sees one phrase in the output, and edits keywords of the input.

    Parameters
    ----------
    stem
        Output ``stem.out`` is read, input ``stem.in`` is edited.
    """

    phrases: ClassVar[tuple[str, ...]] = ()

    def __init__(self, stem: str = "pw") -> None:
        self.stem = stem

    def check(self, directory: str = "./") -> bool:
        """Return whether the error is there."""
        text = self.output(directory)
        return any(phrase in text for phrase in self.phrases)

    def correct(self, directory: str = "./") -> dict[str, Any]:
        """Cure the error; no actions mean that there is no cure left."""
        actions = self.cure(Path(directory))
        errors = [type(self).__name__]
        if not actions:
            return {"errors": errors, "actions": None}
        _tell(Path(directory), f"{errors[0]}: {actions}")
        return {"errors": errors, "actions": [actions]}

    def cure(self, folder: Path) -> str:
        """Change the input for the next try and say what was changed; an empty text means nothing is left to try."""
        raise RunError(f"{type(self).__name__} has no cure for {folder}", "give the handler a cure")

    def output(self, directory: str) -> str:
        """Return what the program said."""
        path = Path(directory) / f"{self.stem}.out"
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


class ScfNotConverged(PwHandler):
    """The scf loop used up its iterations: mix more gently, then allow more iterations."""

    phrases = ("convergence NOT achieved",)

    def cure(self, folder: Path) -> str:
        """Halve the mixing down to 0.1, doubling the iterations; after that there is no cure."""
        path = folder / f"{self.stem}.in"
        beta = float(read_keyword(path, "mixing_beta") or 0.7)
        steps = int(read_keyword(path, "electron_maxstep") or 100)
        if beta <= 0.1:
            return ""
        changed = {"mixing_beta": max(0.1, beta / 2), "electron_maxstep": 2 * steps}
        edit_keywords(path, "electrons", changed)
        return ", ".join(f"{key} = {value}" for key, value in changed.items())


class Silence(PwHandler):
    """The program has written nothing for too long: it is stopped and tried once more."""

    is_monitor = True

    def check(self, directory: str = "./") -> bool:
        """Return whether the newest file of the run is older than the limit of the settings."""
        import time

        files = [path for path in Path(directory).glob("**/*") if path.is_file()]
        newest = max((path.stat().st_mtime for path in files), default=time.time())
        return time.time() - newest > get_settings().silence_limit_s

    def cure(self, folder: Path) -> str:
        """Try again once."""
        return "" if any("Silence" in line for line in corrections(folder)) else "stopped and started again"


def default_handlers(stem: str) -> list[ErrorHandler]:
    """Return the handlers a run of pw.x gets, in the order they are asked."""
    return [ScfNotConverged(stem), Silence(stem)]


def read_keyword(path: Path, keyword: str) -> str | None:
    """Return the value of a keyword in an input file, as text."""
    match = re.search(
        rf"^\s*{re.escape(keyword)}\s*=\s*([^\s,!]+)", path.read_text(encoding="utf-8"), re.MULTILINE | re.IGNORECASE
    )
    return match.group(1).strip("'\"") if match else None


def edit_keywords(path: Path, namelist: str, changed: dict[str, Any]) -> None:
    """Set keywords of a namelist in an input file, replacing or adding lines."""
    text = path.read_text(encoding="utf-8")
    for keyword, value in changed.items():
        shown = f"'{value}'" if isinstance(value, str) else str(value)
        line = f"   {keyword:<16} = {shown}"
        text, count = re.subn(rf"^\s*{re.escape(keyword)}\s*=.*$", line, text, flags=re.MULTILINE | re.IGNORECASE)
        if not count:
            text = re.sub(rf"^(&{namelist}\s*)$", rf"\1\n{line}", text, count=1, flags=re.MULTILINE | re.IGNORECASE)
    path.write_text(text, encoding="utf-8")


def corrections(folder: Path) -> list[str]:
    """Return what handlers have changed in a folder so far, a line each."""
    path = folder / TOLD
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []


def read_retry(folder: Path) -> dict[str, int]:
    """Return ranks and pools that a handler asks for in the next try."""
    path = folder / RETRY
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _tell(folder: Path, line: str) -> None:
    (folder / TOLD).write_text(json.dumps([*corrections(folder), line]), encoding="utf-8")
