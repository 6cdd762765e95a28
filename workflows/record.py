"""The folder is the record: what a calculation left, found again by its key.

A step's folder holds one folder an attempt (``attempt-001``, ...), since ranks can outlive a killed ``mpirun`` and
must never share a folder with the next try. A finished calculation leaves ``result.json`` in the step's folder,
written last and in one move. Nothing that was finished is ever overwritten in place.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from corecrown.errors import InputError, RunError
from corecrown.files import write_whole
from corecrown.postprocess.results import StepResult, StructureDict
from corecrown.workflows import reuse
from corecrown.workflows.owners import LOCK, Life, cell_lock, life_of, read_json, step_lock, this_process

__all__ = ["StepFolder", "StepOutput", "StepState", "cannot_write", "cell_lock", "make_key"]

RESULT, ATTEMPT, FAILURE = "result.json", "attempt.json", "failure.json"

INPUTS, INPUT_FILES = "inputs.json", ("*.in", "INCAR", "KPOINTS", "POSCAR")
"""Checksums of the inputs that a result was computed from, and which files those are."""


class StepState(StrEnum):
    """What a step's folder says of it."""

    DONE = "done"
    RUNNING = "running"
    QUEUED = "queued"
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
        """Return the stored result if there is a whole one with this key (or with any, where none is given).

        One that was set aside here comes back; one of another cell or study under the same root is taken over, its
        files linked into an attempt here (see :mod:`corecrown.workflows.reuse`).
        """
        result = self._read(self.path / RESULT)
        if key is None or (result is not None and result.key == key):
            return result
        older = self._set_aside_before(key)
        if older is not None:
            self.finish(older)
            return older
        return None if self._was_forgotten(key) else reuse.adopt(self, key)

    def stored(self, key: str) -> StepResult | None:
        """Return the result that :meth:`finished` would, changing nothing; its files may still be elsewhere."""
        here = self.stored_here(key)
        if here is not None or self._was_forgotten(key):
            return here
        return next((result for _, result in reuse.find_elsewhere(self, key)), None)

    def stored_here(self, key: str) -> StepResult | None:
        """Return the result with this key in this folder, the current one or one that was set aside."""
        result = self._read(self.path / RESULT)
        return result if result is not None and result.key == key else self._set_aside_before(key)

    def _set_aside_before(self, key: str) -> StepResult | None:
        older = self._read(self.path / f"result-{key}.json")
        return older if older is not None and older.key == key else None

    def _was_forgotten(self, key: str) -> bool:
        """Whether a result with this key was forgotten here on request: it is computed again, not found elsewhere."""
        return any(read_json(path).get("key") == key for path in self.path.glob("forgotten-*.json"))

    def _read(self, path: Path) -> StepResult | None:
        try:
            result = StepResult.model_validate_json(path.read_text(encoding="utf-8"))
        except (OSError, ValidationError):
            return None
        attempt = self.path / result.folder
        if not all((attempt / name).is_file() for name in result.files.values()):
            return None
        _refuse_edited(attempt)
        return result

    def require_unedited(self) -> None:
        """Check that the inputs of the stored result are those it was computed from.

        Raises
        ------
        InputError
            If one was changed since.
        """
        attempt = read_json(self.path / RESULT).get("folder")
        if isinstance(attempt, str):
            _refuse_edited(self.path / attempt)

    def attempts(self, key: str | None = None) -> list[Path]:
        """Return the attempts, oldest first; only those begun for this key, where one is given."""
        found = sorted(path for path in self.path.glob("attempt-*") if path.is_dir())
        return [path for path in found if key is None or read_json(path / ATTEMPT).get("key") == key]

    def spent_before(self, attempt: Path, key: str) -> float:
        """Return how long earlier attempts with this key lived, s: from their beginning to the last file they wrote."""
        return sum(_lived_s(earlier) for earlier in self.attempts(key) if earlier.name < attempt.name)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the right to write here where this is a study's folder and the cell's lock is not held already.

        Raises
        ------
        RunError
            If someone else works on this step or on its cell.
        """
        if reuse.study_of(self.path) is None:
            yield
            return
        with step_lock(self.path):
            yield

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
        about = {"key": key, **this_process(), "started": _now()}
        write_whole(attempt / ATTEMPT, json.dumps(about, indent=1))
        return attempt

    def finish(self, result: StepResult) -> None:
        """Store a result; from here on the step is done."""
        self._set_aside(unless=result.key)
        attempt = self.path / result.folder
        if attempt.is_dir():
            write_whole(attempt / INPUTS, json.dumps(_input_checksums(attempt)))
        write_whole(self.path / RESULT, result.model_dump_json(indent=1))
        reuse.note_finished(self.path, result.key)

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
        return read_json(attempts[-1] / FAILURE).get("reason") if attempts else None

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
        if self._is_done():
            return StepState.DONE
        attempts = self.attempts()
        if not attempts:
            return StepState.WAITING
        last = attempts[-1]
        if (last / FAILURE).is_file():
            return StepState.FAILED
        return StepState.RUNNING if self._is_in_work(last) else StepState.WAITING

    def _is_done(self) -> bool:
        """Whether the result is whole, without reading more of it than that needs: a study may have thousands."""
        result = read_json(self.path / RESULT)
        files = result.get("files")
        if not {"key", "folder", "step", "structure"} <= result.keys() or not isinstance(files, dict):
            return False
        attempt = self.path / str(result["folder"])
        return all((attempt / str(name)).is_file() for name in files.values())

    def _is_in_work(self, attempt: Path) -> bool:
        """Whether the process of an attempt runs; one elsewhere does while it, or nobody, holds the cell's lock."""
        owner = read_json(attempt / ATTEMPT)
        life = life_of(owner)
        if life is not Life.UNKNOWN:
            return life is Life.ALIVE
        holders = [holder for holder in (read_json(self.path / LOCK), read_json(self.path.parent / LOCK)) if holder]
        theirs = [all(holder.get(name) == owner.get(name) for name in ("host", "pid")) for holder in holders]
        return not theirs or any(theirs)


def _lived_s(attempt: Path) -> float:
    written = [path.stat().st_mtime for path in attempt.iterdir() if path.is_file() and path.name not in reuse.OWN]
    try:
        began = datetime.fromisoformat(str(read_json(attempt / ATTEMPT).get("started"))).timestamp()
    except ValueError:
        return 0.0
    return max([0.0, *(moment - began for moment in written)])


def _input_checksums(attempt: Path) -> dict[str, str]:
    found = sorted(path for pattern in INPUT_FILES for path in attempt.glob(pattern))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def _refuse_edited(attempt: Path) -> None:
    """Raise if an input was changed after the result was stored: the two no longer belong together."""
    said = read_json(attempt / INPUTS)
    if not said:
        return
    found = _input_checksums(attempt)
    for name, checksum in said.items():
        if found.get(name, checksum) != checksum:
            raise InputError(
                f"{attempt / name}: changed after its result was stored",
                "put it back; or change the study file, or have the step computed anew with corecrown study rerun",
            )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
