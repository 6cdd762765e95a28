"""Who works where: processes told apart without a clock, and the one right to write below a folder.

A process is known by host, boot and the moment of its start in ticks since that boot, so that neither a reused process
number nor a clock that is set makes the dead live or the living dead. Of a process on another host only its queue can
tell; where it cannot, the lock is respected and told, and broken on request alone.
"""

import contextlib
import errno
import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

from corecrown.errors import RunError

__all__ = [
    "LOCK",
    "Life",
    "break_lock",
    "cell_lock",
    "describe_owner",
    "life_of",
    "process_age_s",
    "queue_job",
    "read_json",
    "step_lock",
    "this_process",
]

LOCK = "lock.json"

SIGN_OF_LIFE_S = 60.0
"""How often the holder of a lock touches it, s."""

_IMPORTED = time.monotonic()
"""About when this process began, where it cannot be asked."""

_held: set[Path] = set()
_beating = threading.Lock()


class Life(StrEnum):
    """What can be known of the process that a lock or an attempt names."""

    ALIVE = "alive"
    DEAD = "dead"
    UNKNOWN = "unknown"


def this_process() -> dict[str, Any]:
    """Return what tells this process from every other, for a file."""
    about = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "boot": _boot(),
        "ticks": _start_ticks(os.getpid()),
        "job": queue_job(),
    }
    return {name: value for name, value in about.items() if value is not None}


def queue_job() -> str | None:
    """Return the job of a queue that this process runs in, as ``slurm:123_4``, or None."""
    environment = os.environ
    if environment.get("SLURM_JOB_ID"):
        array, index = environment.get("SLURM_ARRAY_JOB_ID"), environment.get("SLURM_ARRAY_TASK_ID")
        return f"slurm:{array}_{index}" if array and index else f"slurm:{environment['SLURM_JOB_ID']}"
    if environment.get("PBS_JOBID"):
        return f"pbs:{environment['PBS_JOBID']}"
    if environment.get("SGE_ROOT") and environment.get("JOB_ID"):
        task = environment.get("SGE_TASK_ID", "")
        return f"sge:{environment['JOB_ID']}{f'.{task}' if task.isdigit() else ''}"
    return None


def life_of(owner: dict[str, Any]) -> Life:
    """Return whether the process that a file names still runs."""
    if not owner or "pid" not in owner:
        return Life.DEAD
    if owner.get("host") != socket.gethostname():
        return _life_elsewhere(owner)
    boot = owner.get("boot")
    if boot is not None and boot != _boot():
        return Life.DEAD
    try:
        os.kill(int(owner["pid"]), 0)
    except (ProcessLookupError, ValueError, OverflowError):
        return Life.DEAD
    except PermissionError:
        pass
    ticks = _start_ticks(int(owner["pid"]))
    if ticks is None or owner.get("ticks") is None:
        return Life.ALIVE
    return Life.ALIVE if ticks == owner["ticks"] else Life.DEAD


def _life_elsewhere(owner: dict[str, Any]) -> Life:
    """Ask the queue of a process on another host; a job that was queued again is not where it was before."""
    job = owner.get("job")
    if not job:
        return Life.UNKNOWN
    if job == queue_job():
        return Life.DEAD
    from corecrown.workflows.cluster_queue import is_over

    over = is_over(job)
    return Life.UNKNOWN if over is None else Life.DEAD if over else Life.ALIVE


def describe_owner(owner: dict[str, Any], path: Path) -> str:
    """Return in words who holds a lock, since when, and when it was last heard of."""
    parts = [f"process {owner.get('pid')} on {owner.get('host')} since {owner.get('since')}"]
    if owner.get("job"):
        parts.append(f"job {owner['job']}")
    with contextlib.suppress(OSError):
        silent = time.time() - path.stat().st_mtime
        if silent > 3 * SIGN_OF_LIFE_S:
            parts.append(f"no sign of life for {silent / 60:.0f} min")
    return ", ".join(parts)


@contextlib.contextmanager
def cell_lock(folder: Path) -> Iterator[None]:
    """Hold the one right to write below a folder.

    Raises
    ------
    RunError
        If a living process, or one of which nothing can be known, holds it or one of the folders just below; the
        message names host and process. If the lock cannot be written.
    """
    with _lock(folder):
        for below in folder.glob(f"*/{LOCK}"):
            _refuse_if_held(below)
        yield


@contextlib.contextmanager
def step_lock(folder: Path) -> Iterator[None]:
    """Hold the one right to write in a step's folder, where this process does not hold that of the cell above it.

    Steps of one cell may be jobs of their own that run side by side. Each first takes its own lock and then looks at
    the cell's, and who works on a whole cell does it the other way round: whatever happens, one of the two sees the
    other.

    Raises
    ------
    RunError
        As for :func:`cell_lock`.
    """
    above = folder.parent / LOCK
    if _resolved(above) in _held:
        yield
        return
    with _lock(folder):
        _refuse_if_held(above)
        yield


def _refuse_if_held(path: Path) -> None:
    """Raise if a lock is not this process's own and its holder is not known to be gone."""
    owner = read_json(path)
    if path.exists() and _resolved(path) not in _held and life_of(owner) is not Life.DEAD:
        raise _in_use(path, owner)


def _in_use(path: Path, owner: dict[str, Any]) -> RunError:
    return RunError(
        f"{path.parent}: in use by {describe_owner(owner, path)}",
        "wait for it; if it no longer exists, give --break-locks",
    )


def _resolved(path: Path) -> Path:
    return path.parent.resolve() / path.name


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    path = folder / LOCK
    mine = {**this_process(), "since": datetime.now(UTC).isoformat(timespec="seconds")}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _take(path, mine)
    except OSError as error:
        raise RunError(f"{path}: {error.strerror or error}", "is the disk full or read-only?") from error
    _keep_beating(_resolved(path))
    try:
        yield
    finally:
        _held.discard(_resolved(path))
        if read_json(path) == mine:
            path.unlink(missing_ok=True)


def _take(path: Path, mine: dict[str, Any]) -> None:
    temporary = path.with_name(f".{LOCK}.{socket.gethostname()}.{os.getpid()}.{threading.get_ident()}")
    try:
        temporary.write_text(json.dumps(mine), encoding="utf-8")
        with _one_at_a_time(path.parent):
            try:
                _link(temporary, path)
            except FileExistsError:
                owner = read_json(path)
                if life_of(owner) is not Life.DEAD:
                    raise _in_use(path, owner) from None
                temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _link(source: Path, target: Path) -> None:
    """Give a file its second name, which fails if the name is taken; copied where the file system knows no links."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in {errno.EPERM, errno.ENOTSUP, errno.ENOSYS}:
            raise
        descriptor = os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(source.read_bytes())


@contextlib.contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Let only one process of this host look at a lock and replace it; where folders cannot be locked, any."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def break_lock(folder: Path) -> str | None:
    """Remove the locks of a folder and of those just below it; returns who held them, or None if nobody did.

    Raises
    ------
    RunError
        If an owner is alive.
    """
    told = [_break(path) for path in (folder / LOCK, *sorted(folder.glob(f"*/{LOCK}"))) if path.exists()]
    return "; ".join(told) or None


def _break(path: Path) -> str:
    owner = read_json(path)
    told = describe_owner(owner, path)
    with _one_at_a_time(path.parent):
        if life_of(owner) is Life.ALIVE:
            raise RunError(f"{path.parent}: in use by {told}, which is alive", "end it first; nothing was changed")
        path.unlink(missing_ok=True)
    return told


def _keep_beating(path: Path) -> None:
    """Touch the locks of this process from time to time, so that others see how long it has been silent."""
    with _beating:
        first = not any(thread.name == "locks" for thread in threading.enumerate())
        _held.add(path)
        if first:
            threading.Thread(target=_beat, name="locks", daemon=True).start()


def _beat() -> None:
    while True:
        time.sleep(SIGN_OF_LIFE_S)
        for path in list(_held):
            with contextlib.suppress(OSError):
                os.utime(path)


@cache
def _boot() -> str | None:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None


def _start_ticks(pid: int) -> int | None:
    """Return when a process began, in clock ticks since boot; None where that cannot be known."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return int(stat.rsplit(")", 1)[1].split()[19])
    except (OSError, ValueError, IndexError):
        return None


def process_age_s() -> float:
    """Return for how long this process has been running, s, by a clock that cannot be set; sleep of the node counts."""
    ticks = _start_ticks(os.getpid())
    if ticks is None:
        return time.monotonic() - _IMPORTED
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


def read_json(path: Path) -> dict[str, Any]:
    """Return what a small file holds; nothing where it is missing or is no mapping."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
