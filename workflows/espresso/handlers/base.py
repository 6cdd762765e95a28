"""What the handlers share: how an error is seen, how often it is cured, and where it is written what was changed."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from custodian.custodian import ErrorHandler

from corecrown.workflows.espresso.handlers.inputs import continue_geometry, edit_keywords, read_keyword
from corecrown.workflows.espresso.stdout import reason_of_failure

__all__ = [
    "FirstOf",
    "PwHandler",
    "corrections",
    "has_ended_well",
    "latest_output",
    "limit_ranks",
    "outputs_newest_first",
    "read_retry",
]

RETRY, TOLD = "retry.json", "corrections.json"


class PwHandler(ErrorHandler):
    """Base of the handlers: sees a phrase in the output, and edits the input for the next try.

    A handler without :meth:`cure` tells of an error that only a person can mend. Output of a try that was cured is
    kept as ``stem.try1.out``, ``stem.try2.out``, ...

    Parameters
    ----------
    stem
        Output ``stem.out`` is read, input ``stem.in`` is edited.
    """

    phrases: ClassVar[tuple[str, ...]] = ()
    """Any of them in the output means the error."""
    error_phrases: ClassVar[tuple[str, ...]] = ()
    """Any of them in the program's last words after ``Error in routine`` does; elsewhere they are mere remarks."""
    limit: ClassVar[int] = 1
    """How often this error is cured in one attempt."""
    advice: ClassVar[str] = ""
    """What a person can do when no cure is left."""

    def __init__(self, stem: str = "pw") -> None:
        self.stem = stem

    def check(self, directory: str = "./") -> bool:
        """Return whether the error is there."""
        text = self.output(Path(directory))
        last_words = text.partition("Error in routine")[2]
        said = any(phrase in text for phrase in self.phrases)
        return said or any(phrase in last_words for phrase in self.error_phrases)

    def correct(self, directory: str = "./") -> dict[str, Any]:
        """Cure the error; no actions mean that there is no cure left."""
        folder = Path(directory)
        name = type(self).__name__
        actions = self.cure(folder) if self.times_cured(folder) < self.limit else ""
        if not actions:
            return {"errors": [name], "actions": None}
        _keep_output(folder, self.stem)
        told = [*corrections(folder), f"{name}: {actions}"]
        (folder / TOLD).write_text(json.dumps(told, indent=1), encoding="utf-8")
        return {"errors": [name], "actions": [actions]}

    def cure(self, folder: Path) -> str:
        """Change what the next try runs with and say what was changed; an empty text means that nothing can be."""
        return ""

    def reason(self, folder: Path) -> str:
        """Return what the program said of this error, in a line."""
        return reason_of_failure(folder, f"{self.stem}.out")

    def times_cured(self, folder: Path) -> int:
        """Return how often this handler has cured in this folder."""
        return sum(line.startswith(f"{type(self).__name__}: ") for line in corrections(folder))

    def output(self, folder: Path) -> str:
        """Return what the program said."""
        return _read(folder / f"{self.stem}.out")

    def errors(self, folder: Path) -> str:
        """Return what the program, or what launched it, said on its standard error."""
        return _read(folder / f"{self.stem}.err")

    def keyword(self, folder: Path, keyword: str) -> str | None:
        """Return the value of a keyword of the input."""
        return read_keyword(folder / f"{self.stem}.in", keyword)

    def edit(self, folder: Path, namelist: str, **changed: Any) -> str:
        """Set keywords of the input (None removes one) and say so."""
        edit_keywords(folder / f"{self.stem}.in", namelist, changed)
        return ", ".join(f"{key} = {value}" if value is not None else f"no {key}" for key, value in changed.items())

    def continue_geometry(self, folder: Path) -> str:
        """Let a relaxation go on from its last geometry and say so; an empty text where there is none."""
        return "from the last geometry" if continue_geometry(folder, self.stem) else ""


class FirstOf(ErrorHandler):
    """Asks handlers in order, and lets the first that sees its error cure it.

    custodian asks all handlers each time; what one has changed would be misread by the next.

    Parameters
    ----------
    handlers
        In the order they are asked.
    """

    def __init__(self, handlers: Sequence[ErrorHandler]) -> None:
        self.handlers = list(handlers)
        self.current: ErrorHandler | None = None
        self._applied = dict.fromkeys(range(len(self.handlers)), 0)

    def check(self, directory: str = "./") -> bool:
        """Return whether any handler that may still cure sees its error."""
        self.current = None
        for number, handler in enumerate(self.handlers):
            most = handler.max_num_corrections
            if (most is None or self._applied[number] < most) and handler.check(directory=directory):
                self.current = handler
                self._applied[number] += 1
                return True
        return False

    def correct(self, directory: str = "./") -> dict[str, Any]:
        """Let the handler that saw its error cure it."""
        assert self.current is not None
        return dict(self.current.correct(directory=directory))


def corrections(folder: Path) -> list[str]:
    """Return what handlers have changed in a folder so far, a line each."""
    path = folder / TOLD
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []


def read_retry(folder: Path) -> dict[str, int]:
    """Return ranks and pools that the next try may use at most."""
    path = folder / RETRY
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def limit_ranks(folder: Path, ranks: int | None = None, pools: int | None = None) -> None:
    """Say how many ranks and pools the next try in a folder may use at most."""
    limits = read_retry(folder) | {key: value for key, value in (("ranks", ranks), ("pools", pools)) if value}
    if limits:
        (folder / RETRY).write_text(json.dumps(limits), encoding="utf-8")


def has_ended_well(output: Path) -> bool:
    """Return whether a program says that its job is done."""
    return "JOB DONE" in _read(output)


def outputs_newest_first(folder: Path, stem: str = "pw") -> list[Path]:
    """Return the outputs of all tries in a folder."""
    output = folder / f"{stem}.out"
    return [*([output] if output.is_file() else []), *reversed(_kept_outputs(folder, stem))]


def latest_output(folder: Path, stem: str) -> Path:
    """Return the output of the last try; its name where there is none."""
    return next(iter(outputs_newest_first(folder, stem)), folder / f"{stem}.out")


def _kept_outputs(folder: Path, stem: str) -> list[Path]:
    numbers = {path: re.fullmatch(rf"{re.escape(stem)}\.try(\d+)\.out", path.name) for path in folder.glob("*.out")}
    return sorted((path for path, match in numbers.items() if match), key=lambda path: int(numbers[path][1]))  # type: ignore[index]


def _keep_output(folder: Path, stem: str) -> None:
    number = len(_kept_outputs(folder, stem)) + 1
    for suffix in ("out", "err"):
        path = folder / f"{stem}.{suffix}"
        if path.is_file():
            path.replace(folder / f"{stem}.try{number}.{suffix}")
    (folder / "CRASH").unlink(missing_ok=True)


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
