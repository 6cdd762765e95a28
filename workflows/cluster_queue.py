"""The queue of a cluster: submitting scripts and asking what waits and runs, through qtoolkit."""

import getpass
import os
import re
import shlex
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Mapping
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
    indices, _, most = (array or "").partition("%")
    match scheduler:
        case Scheduler.SLURM:
            parts = [f'sbatch -J "{name}"', f'--export="ALL,{carried}"', f"--array={array}" if array else ""]
        case Scheduler.PBS:
            parts = [
                f'qsub -N "{name}"',
                f'-v "{carried}"',
                f"-J {indices}" if array else "",
                f"-W max_run_subjobs={most}" if most else "",
            ]
        case Scheduler.SGE:
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
    from qtoolkit.core.exceptions import CommandFailedError, OutputParsingError

    done = _ask(_list_command(scheduler))
    if done.returncode != 0 and not _is_unknown(done):  # one may have ended between two questions
        reason = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise RunError(f"{scheduler.value} cannot be asked: {reason}", "is this a machine of the cluster?")
    try:
        match scheduler:
            case Scheduler.SLURM:
                found = _read_slurm(done)
            case Scheduler.PBS:
                found = _read_pbs(done.stdout)
            case Scheduler.SGE:
                found = _read_sge(done.stdout)
    except (CommandFailedError, OutputParsingError, ValueError, KeyError, ET.ParseError) as error:
        raise RunError(f"{scheduler.value} cannot be asked: {error}", "is this a machine of the cluster?") from error
    return [job for _, job in found if job.name.startswith(prefix)]


def _list_command(scheduler: Scheduler) -> str:
    """Return the command that lists the jobs of this user, single jobs of arrays included."""
    user = shlex.quote(getpass.getuser())
    match scheduler:
        case Scheduler.PBS:  # -u would turn the long format off
            return f'ids=$(qselect -u {user}) || exit; [ -z "$ids" ] || qstat -f -t -w $ids'
        case Scheduler.SGE:
            return f"qstat -xml -u {user}"
        case Scheduler.SLURM:
            return str(scheduler.io().get_jobs_list_cmd(None, user=getpass.getuser()))


def _read_slurm(done: subprocess.CompletedProcess[str]) -> list[tuple[str, QueuedJob]]:
    """Return id and job of what squeue lists."""
    from qtoolkit.core.data_objects import QState

    found = []
    for job in Scheduler.SLURM.io().parse_jobs_list_output(done.returncode, done.stdout, done.stderr):
        if job.state in {QState.DONE, QState.FAILED}:
            continue
        running = job.state in {QState.RUNNING, QState.SUSPENDED}
        found.append((str(job.job_id), QueuedJob(str(job.name), _indices(str(job.job_id)), running)))
    return found


def _read_pbs(text: str) -> list[tuple[str, QueuedJob]]:
    """Return id and job of what ``qstat -f -t`` lists; an array is not a job beside its own jobs."""
    found = []
    for entry in re.split(r"^Job Id: *", text, flags=re.MULTILINE)[1:]:
        fields = dict(re.findall(r"^ +(Job_Name|job_state) = (.*)$", entry, flags=re.MULTILINE))
        job_id, state = entry.split(maxsplit=1)[0], fields.get("job_state")
        if state not in {"F", "X", None}:
            job = QueuedJob(fields.get("Job_Name", ""), _indices(job_id), state in {"B", "E", "R", "S", "U"})
            found.append((job_id, job))
    expanded = {job_id.partition("[")[0] for job_id, job in found if job.indices is not None}
    return [(job_id, job) for job_id, job in found if "[]" not in job_id or job_id.partition("[")[0] not in expanded]


def _read_sge(text: str) -> list[tuple[str, QueuedJob]]:
    """Return number and job of what ``qstat -xml`` lists; one that waits in error does not go on of itself."""
    found: list[tuple[str, QueuedJob]] = []
    if not text.strip():
        return found
    for entry in ET.fromstring(text).iter("job_list"):  # noqa: S314  (what the cluster's own qstat says)
        state, tasks = entry.findtext("state", ""), entry.findtext("tasks")
        if "E" in state:
            continue
        job = QueuedJob(entry.findtext("JB_name", ""), _expanded(tasks) if tasks else None, "q" not in state)
        found.append((entry.findtext("JB_job_number", ""), job))
    return found


def _indices(job_id: str) -> tuple[int, ...] | None:
    """Return the indices in an id such as ``123_4`` or ``123_[1-3,7%2]`` (Slurm) or ``123[4]`` (PBS)."""
    found = re.fullmatch(r"\d+(?:_\[?|\[)([\d,:-]+)(?:%\d+)?\]?(?:\..*)?", job_id)
    return None if found is None else _expanded(found.group(1))


def _expanded(ranges: str) -> tuple[int, ...]:
    """Return the numbers that ``1-3,7`` or ``2-8:2`` mean."""
    indices: list[int] = []
    for part in ranges.split(","):
        first, _, last = part.partition("-")
        last, _, every = last.partition(":")
        indices += range(int(first), int(last or first) + 1, int(every or 1))
    return tuple(indices)


def is_over(job: str) -> bool | None:
    """Return whether a job such as ``slurm:123_4``, ``pbs:12[3].server`` or ``sge:12.3`` is over; None if unknown."""
    name, _, number = job.partition(":")
    try:
        match name:
            case "slurm":
                done = _ask(shlex.join(("squeue", "-h", "-o", "%t", "-j", number)))
                return _is_unknown(done) or (None if done.returncode else not done.stdout.strip())
            case "pbs":
                done = _ask(shlex.join(("qstat", "-f", number)))
                ended = re.search(r"job_state = [FX]\b", done.stdout) is not None
                return _is_unknown(done) or (None if done.returncode else ended)
            case "sge":
                done = _ask(_list_command(Scheduler.SGE))
                return None if done.returncode else not _lists_sge(done.stdout, number)
    except (RunError, ET.ParseError, ValueError):
        return None
    return None


def _is_unknown(done: subprocess.CompletedProcess[str]) -> bool:
    unknown = ("Invalid job id", "Unknown Job", "has finished")
    return any(phrase in done.stderr + done.stdout for phrase in unknown)


def _lists_sge(text: str, job: str) -> bool:
    """Return whether a job such as ``12`` or ``12.3`` is in the list."""
    number, _, task = job.partition(".")
    return any(
        theirs == number and (not task or entry.indices is None or int(task) in entry.indices)
        for theirs, entry in _read_sge(text)
    )


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
