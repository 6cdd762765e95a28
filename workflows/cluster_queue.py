"""The queue of a cluster: submitting scripts and asking what waits and runs, through qtoolkit."""

import getpass
import os
import re
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from corecrown.errors import InputError, RunError

__all__ = ["QueuedJob", "Scheduler", "is_over", "queued_jobs", "scheduler_of", "submit_command", "submit_script"]

ANSWER_WITHIN_S = 60
"""How long a command of the queue may take, s."""


class Scheduler(StrEnum):
    """The queues that can be submitted to."""

    SLURM = "slurm"
    PBS = "pbs"
    SGE = "sge"

    def io(self) -> Any:
        """Return qtoolkit's reader and writer for it."""
        from qtoolkit.io import PBSIO, SGEIO, SlurmIO

        return {Scheduler.SLURM: SlurmIO, Scheduler.PBS: PBSIO, Scheduler.SGE: SGEIO}[self]()


def scheduler_of(name: str) -> Scheduler:
    """Return the scheduler of this name.

    Raises
    ------
    InputError
        If it is unknown.
    """
    try:
        return Scheduler(name)
    except ValueError:
        raise InputError(f"scheduler {name!r} is unknown", f"known: {', '.join(Scheduler)}") from None


@dataclass(frozen=True)
class QueuedJob:
    """A job that the queue still knows: one script, or some of the jobs of an array.

    Attributes
    ----------
    name
        As it was submitted.
    indices
        Which jobs of an array; None for a job that is no array, or where the queue does not tell.
    is_running
        Whether it runs; else it waits.
    """

    name: str
    indices: tuple[int, ...] | None
    is_running: bool


def submit_command(
    scheduler: Scheduler, script: str, name: str, variables: Mapping[str, str], array: str | None = None
) -> str:
    """Return the shell command that submits a script; names and values may hold variables of the shell.

    Parameters
    ----------
    array
        Range of the array, such as ``1-100%10``; None for a single job.
    """
    carried = ",".join(f"{key}={value}" for key, value in variables.items())
    match scheduler:
        case Scheduler.SLURM:
            parts = [f'sbatch -J "{name}"', f'--export="ALL,{carried}"', f"--array={array}" if array else ""]
        case Scheduler.PBS:
            parts = [f'qsub -N "{name}"', f'-v "{carried}"', f"-J {array}" if array else ""]
        case Scheduler.SGE:
            indices, _, most = (array or "").partition("%")
            parts = [
                f'qsub -N "{name}"',
                f'-v "{carried}"',
                f"-t {indices}" if array else "",
                f"-tc {most}" if most else "",
            ]
    return " ".join(part for part in (*parts, shlex.quote(script)) if part)


def submit_script(
    scheduler: Scheduler, script: Path, name: str, variables: Mapping[str, str], array: str | None = None
) -> str:
    """Submit a script; returns the id that the queue gives it.

    Raises
    ------
    RunError
        If the queue is not there or refuses; says what it said.
    """
    done = _ask(submit_command(scheduler, str(script), name, variables, array))
    said = done.stdout.strip()
    found = re.search(r"(?:job|job-array) (\d+)", said) if scheduler is not Scheduler.PBS else re.match(r"(\S+)", said)
    if done.returncode != 0 or found is None:
        reason = " ".join((done.stderr or done.stdout).split()) or f"exit code {done.returncode}"
        raise RunError(
            f"{scheduler.value} did not take the job: {reason}",
            f"check the section cluster of the settings; the script is {script}",
        )
    return found.group(1)


def queued_jobs(scheduler: Scheduler, prefix: str) -> list[QueuedJob]:
    """Return the jobs of this user whose names begin so and that are not over.

    Raises
    ------
    RunError
        If the queue cannot be asked.
    """
    from qtoolkit.core.data_objects import QState
    from qtoolkit.core.exceptions import CommandFailedError, OutputParsingError

    io = scheduler.io()
    done = _ask(io.get_jobs_list_cmd(None, user=getpass.getuser()))
    if done.returncode != 0:
        reason = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise RunError(f"{scheduler.value} cannot be asked: {reason}", "is this a machine of the cluster?")
    try:
        jobs = io.parse_jobs_list_output(done.returncode, done.stdout, done.stderr)
    except (CommandFailedError, OutputParsingError, ValueError) as error:
        raise RunError(f"{scheduler.value} cannot be asked: {error}", "is this a machine of the cluster?") from error
    found = []
    for job in jobs:
        if not str(job.name).startswith(prefix) or job.state in {QState.DONE, QState.FAILED}:
            continue
        running = job.state in {QState.RUNNING, QState.SUSPENDED}
        found.append(QueuedJob(str(job.name), _indices(str(job.job_id)), running))
    return found


def _indices(job_id: str) -> tuple[int, ...] | None:
    """Return the indices in an id such as ``123_4`` or ``123_[1-3,7%2]`` (Slurm) or ``123[4]`` (PBS)."""
    found = re.fullmatch(r"\d+(?:_\[?|\[)([\d,:-]+)(?:%\d+)?\]?(?:\..*)?", job_id)
    if found is None:
        return None
    indices: list[int] = []
    for part in found.group(1).split(","):
        first, _, last = part.partition("-")
        last, _, every = last.partition(":")
        indices += range(int(first), int(last or first) + 1, int(every or 1))
    return tuple(indices)


def is_over(job: str) -> bool | None:
    """Return whether a job such as ``slurm:123_4`` is over; None where that cannot be known."""
    name, _, number = job.partition(":")
    commands: dict[str, Sequence[str]] = {
        "slurm": ("squeue", "-h", "-o", "%t", "-j", number),
        "pbs": ("qstat", number),
        "sge": ("qstat", "-j", number),
    }
    if name not in commands:
        return None
    try:
        done = _ask(shlex.join(commands[name]))
    except RunError:
        return None
    unknown = ("Invalid job id", "Unknown Job", "has finished", "do not exist")
    if any(phrase in done.stderr + done.stdout for phrase in unknown):
        return True
    return None if done.returncode != 0 else name == "slurm" and not done.stdout.strip()


def _ask(command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "SLURM_BITSTR_LEN": "0"}  # long lists of array jobs are cut otherwise
    try:
        return subprocess.run(
            ["/bin/sh", "-c", command],
            capture_output=True,
            text=True,
            check=False,
            timeout=ANSWER_WITHIN_S,
            env=environment,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        raise RunError(f"no answer from the queue within {ANSWER_WITHIN_S} s", "try again later") from error
