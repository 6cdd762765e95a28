"""The folder is the record: what a calculation left, found again by its key.

A step's folder holds one folder an attempt (``attempt-001``, ...), since ranks can outlive a killed ``mpirun`` and
must never share a folder with the next try. A finished calculation leaves ``result.json`` in the step's folder,
written last and in one move. Nothing that was finished is ever overwritten in place.
"""

import contextlib
import hashlib
import json
import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from corecrown.errors import RunError
from corecrown.files import write_whole
from corecrown.postprocess.results import StepResult, StructureDict

__all__ = ["StepFolder", "StepOutput", "StepState", "cannot_write", "cell_lock", "make_key"]

RESULT, ATTEMPT, FAILURE, LOCK = "result.json", "attempt.json", "failure.json", "lock.json"


class StepState(StrEnum):
    """What a step's folder says of it."""

    DONE = "done"
    RUNNING = "running"
    FAILED = "failed"
    WAITING = "waiting"


class StepOutput(BaseModel):
    """What a job passes on: where its files are, and its result."""

    model_config = ConfigDict(frozen=True)

    dir_name: str
    structure: StructureDict
    result: StepResult


def make_key(identity: dict[str, Any]) -> str:
    """Return a hash of all that determines a result; the order of keys does not matter."""
    text = json.dumps(identity, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def cannot_write(folder: Path, error: OSError) -> RunError:
    """Return the error for a folder that cannot be written to."""
    return RunError(f"{error.filename or folder}: {error.strerror or error}", "is the disk full or read-only?")


class StepFolder:
    """The folder of one step of one cell.

    Parameters
    ----------
    path
        The folder; made when something is written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def finished(self, key: str | None = None) -> StepResult | None:
        """Return the stored result if there is a whole one with this key (or with any, where none is given)."""
        result = self._read(self.path / RESULT)
        if key is None or (result is not None and result.key == key):
            return result
        older = self._read(self.path / f"result-{key}.json")
        if older is not None and older.key == key:
            self.finish(older)
            return older
        return None

    def _read(self, path: Path) -> StepResult | None:
        try:
            result = StepResult.model_validate_json(path.read_text(encoding="utf-8"))
        except (OSError, ValidationError):
            return None
        attempt = self.path / result.folder
        return result if all((attempt / name).is_file() for name in result.files.values()) else None

    def attempts(self, key: str | None = None) -> list[Path]:
        """Return the attempts, oldest first; only those begun for this key, where one is given."""
        found = sorted(path for path in self.path.glob("attempt-*") if path.is_dir())
        return [path for path in found if key is None or _read_json(path / ATTEMPT).get("key") == key]

    def begin(self, key: str) -> Path:
        """Make and return a fresh attempt folder; a result with another key steps aside, and can come back."""
        self.path.mkdir(parents=True, exist_ok=True)
        self._set_aside()
        number = 1 + max((int(path.name.split("-")[1]) for path in self.attempts()), default=0)
        while True:
            attempt = self.path / f"attempt-{number:03d}"
            try:
                attempt.mkdir()
                break
            except FileExistsError:
                number += 1
        about = {"key": key, "host": socket.gethostname(), "pid": os.getpid(), "started": _now()}
        write_whole(attempt / ATTEMPT, json.dumps(about, indent=1))
        return attempt

    def finish(self, result: StepResult) -> None:
        """Store a result; from here on the step is done."""
        self._set_aside(unless=result.key)
        write_whole(self.path / RESULT, result.model_dump_json(indent=1))

    def _set_aside(self, unless: str | None = None) -> None:
        current = self._read(self.path / RESULT)
        if current is not None and current.key != unless:
            (self.path / RESULT).replace(self.path / f"result-{current.key}.json")

    def fail(self, attempt: Path, reason: str) -> None:
        """Say in an attempt why it came to nothing."""
        with contextlib.suppress(RunError):
            write_whole(attempt / FAILURE, json.dumps({"reason": reason, "ended": _now()}, indent=1))

    def failure(self) -> str | None:
        """Return why the last attempt failed, or None if it did not."""
        attempts = self.attempts()
        return _read_json(attempts[-1] / FAILURE).get("reason") if attempts else None

    def forget(self) -> None:
        """Drop the stored result, keeping the attempt's files; the step will run again."""
        for path in (self.path / RESULT, *self.path.glob("result-*.json")):
            with contextlib.suppress(FileNotFoundError):
                path.replace(self.path / f"forgotten-{datetime.now(UTC):%Y%m%dT%H%M%S%f}.json")
        for attempt in self.attempts():
            with contextlib.suppress(FileNotFoundError):
                (attempt / ATTEMPT).unlink()

    def state(self) -> StepState:
        """Return what the folder says: done, running, failed, or waiting for its turn."""
        if (self.path / RESULT).is_file() and self.finished() is not None:
            return StepState.DONE
        attempts = self.attempts()
        if not attempts:
            return StepState.WAITING
        last = attempts[-1]
        if (last / FAILURE).is_file():
            return StepState.FAILED
        return StepState.RUNNING if _is_alive(_read_json(last / ATTEMPT)) else StepState.WAITING


@contextlib.contextmanager
def cell_lock(folder: Path) -> Iterator[None]:
    """Hold the one right to write below a folder.

    Raises
    ------
    RunError
        If a living process, or one on another host, holds it; the message names host and process.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK
    mine = {"host": socket.gethostname(), "pid": os.getpid(), "since": _now()}
    while True:
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            break
        except FileExistsError:
            owner = _read_json(path)
            if owner.get("host") == mine["host"] and not _is_alive(owner):
                path.unlink(missing_ok=True)
                continue
            raise RunError(
                f"{folder}: in use by process {owner.get('pid')} on {owner.get('host')} since {owner.get('since')}",
                f"wait for it; if it no longer exists, remove {path}",
            ) from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        json.dump(mine, stream)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _is_alive(owner: dict[str, Any]) -> bool:
    """Whether the process that an attempt or a lock names still runs; one on another host is taken to."""
    if owner.get("host") != socket.gethostname():
        return bool(owner)
    try:
        os.kill(int(owner["pid"]), 0)
    except (ProcessLookupError, ValueError, KeyError):
        return False
    except PermissionError:
        return True
    started = _process_start(int(owner["pid"]))
    said = owner.get("started") or owner.get("since")
    if started is None or said is None:
        return True
    return started <= datetime.fromisoformat(said).timestamp() + 5


def _process_start(pid: int) -> float | None:
    """Seconds since the epoch at which a process began, so that a reused process number is told; None if unknown."""
    try:
        ticks = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19])
        boot = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime"))
    except (OSError, StopIteration, ValueError, IndexError):
        return None
    return float(boot.split()[1]) + ticks / os.sysconf("SC_CLK_TCK")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
