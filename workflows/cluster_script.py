"""The script of a job: header through qtoolkit, then the cells of one task, continued until they are done."""

import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from corecrown.errors import InputError
from corecrown.settings import ClusterSettings, QueueResources
from corecrown.workflows.cluster_queue import Scheduler, submit_command

__all__ = ["CELLS_FILE", "OUT_OF_TIME", "Stage", "job_name", "margin_s", "write_script"]

OUT_OF_TIME = 75
"""Exit code of ``study run --in-queue`` where only time was short (EX_TEMPFAIL of sysexits.h)."""

CELLS_FILE = "cells.txt"
"""In the folder of the tasks: a line a task, its cells as options of ``study run``."""

DEFAULT_WALLTIME_S = 24 * 3600

_TASK = "${CC_TASK:-$((${CC_OFFSET:-0} + ${SLURM_ARRAY_TASK_ID:-${PBS_ARRAY_INDEX:-${SGE_TASK_ID:-1}}}))}"
"""In bash, the number of the task: named on submission, or the offset and index of an array."""


@dataclass(frozen=True)
class Stage:
    """Steps that one job computes with the same resources.

    Attributes
    ----------
    steps
        Names of the steps; empty for all.
    asks
        What the job asks for.
    """

    steps: tuple[str, ...]
    asks: QueueResources

    @property
    def walltime_s(self) -> int:
        """How long the job may take, s."""
        return self.asks.walltime or DEFAULT_WALLTIME_S


def margin_s(walltime_s: int) -> int:
    """Return what is kept of the walltime for ending in good order, s."""
    return max(2, min(120, walltime_s // 20))


def job_name(study: str, task: str) -> str:
    """Return the name of a job; short, since PBS allows 15 letters."""
    return f"{study}.{task}"


def write_script(
    scheduler: Scheduler,
    stages: Sequence[Stage],
    number: int,
    folder: Path,
    study: str,
    name: str,
    settings: ClusterSettings,
) -> str:
    """Return the script of a stage.

    Parameters
    ----------
    stages, number
        All stages, and which one this is (from 0).
    folder
        Folder of the submission: ``tasks/``, ``logs/`` and the scripts are there.
    study
        Folder of the study.
    name
        What the names of the jobs begin with.

    Raises
    ------
    InputError
        If the queue has no such option.
    """
    stage = stages[number]
    io = scheduler.io()
    if stage.asks.modules:
        io.shebang = "#!/bin/bash -l"  # where modules are known
    return str(
        io.get_submission_script(
            _commands(scheduler, stages, number, folder, study, name, settings),
            _options(scheduler, stage, folder, name),
        )
    )


def _options(scheduler: Scheduler, stage: Stage, folder: Path, name: str) -> dict[str, str | int]:
    from qtoolkit.io.base import QTemplate

    days, rest = divmod(stage.walltime_s, 86400)
    hours, minutes, seconds = rest // 3600, rest // 60 % 60, rest % 60
    logs = folder / "logs"
    verbatim = list(stage.asks.extra_lines)
    options: dict[str, str | int] = {"job_name": name}
    match scheduler:
        case Scheduler.SLURM:
            options |= {"time": f"{days}-{hours:02d}:{minutes:02d}:{seconds:02d}", "qout_path": str(logs / "queue.out")}
            verbatim = ["#SBATCH --open-mode=append", *verbatim]
            if stage.asks.ranks and not {"ntasks", "ntasks_per_node"} & stage.asks.resources.keys():
                options["ntasks"] = stage.asks.ranks
        case Scheduler.PBS:
            options |= {"walltime": f"{24 * days + hours:02d}:{minutes:02d}:{seconds:02d}", "qout_path": f"{logs}/"}
            verbatim = ["#PBS -j oe", *verbatim]
            if stage.asks.ranks and "select" not in stage.asks.resources:
                options["select"] = f"select=1:ncpus={stage.asks.ranks}:mpiprocs={stage.asks.ranks}"
        case Scheduler.SGE:
            options |= {"walltime": f"{24 * days + hours:02d}:{minutes:02d}:{seconds:02d}", "qout_path": str(logs)}
            verbatim = ["#$ -S /bin/bash", "#$ -j y", *verbatim]
    known = QTemplate(scheduler.io().header_template).get_identifiers()
    for key in stage.asks.resources:
        if key not in known:
            raise InputError(
                f"settings, field cluster.resources: {key!r} is not an option of {scheduler.value}",
                f"known: {', '.join(known)}; other header lines go into extra_lines",
            )
    options |= stage.asks.resources
    if verbatim:
        options["qverbatim"] = "\n".join(verbatim)
    return options


def _commands(
    scheduler: Scheduler,
    stages: Sequence[Stage],
    number: int,
    folder: Path,
    study: str,
    name: str,
    settings: ClusterSettings,
) -> list[str]:
    stage = stages[number]
    steps = " ".join(f"--step {step}" for step in stage.steps)
    again = _submit_again(scheduler, folder, number, name, "$((round + 1))")
    onward = (
        _submit_again(scheduler, folder, number + 1, name, "1")
        if number + 1 < len(stages)
        else 'echo "done: nothing is left of task $task"'
    )
    run = 'study run "$folder/tasks/$task.yaml" -d "$study"'
    return [
        "",
        "# One task: the cells of one study file, as far as the walltime goes. Resubmits itself while work is left.",
        f"study={shlex.quote(study)} folder={shlex.quote(str(folder))} walltime={stage.walltime_s}",
        f"task={_TASK} round=${{CC_ROUND:-1}}",
        f'cells=$(sed -n "${{task}}p" "$folder/tasks/{CELLS_FILE}")',
        'exec >>"$folder/logs/task-$task.log" 2>&1 </dev/null',
        f'echo "== task $task, stage {number + 1} of {len(stages)}, round $round, $(date -u +%FT%TZ) on $(hostname)"',
        *(f"module load {shlex.quote(module)}" for module in stage.asks.modules or []),
        *(stage.asks.before or []),
        *_exports(stage),
        f"left=$((walltime - SECONDS - {margin_s(stage.walltime_s)}))",
        '[ "$left" -ge 1 ] || left=1',
        "export CORECROWN_WALLTIME_S=$left",
        f'timeout -k 20 "$left" {_corecrown(settings)} {run} $cells --in-queue {steps}'.rstrip(),
        "code=$?",
        'echo "== task $task, round $round: exit code $code, $(date -u +%FT%TZ)"',
        "case $code in",
        "0)",
        f"    {onward}",
        "    ;;",
        f"{OUT_OF_TIME} | 124 | 137)",
        f'    if [ "$round" -le {settings.resubmissions} ]; then',
        f"        {again}",
        "    else",
        f'        echo "given up after {settings.resubmissions} resubmissions; corecrown study submit goes on"',
        "    fi",
        "    ;;",
        "esac",
        "exit $code",
        "",
    ]


def _submit_again(scheduler: Scheduler, folder: Path, number: int, name: str, again: str) -> str:
    variables = {"CC_TASK": "$task", "CC_ROUND": again}
    return submit_command(scheduler, str(folder / f"stage-{number + 1}.sh"), job_name(name, "t$task"), variables)


def _exports(stage: Stage) -> list[str]:
    """Return what the settings in force here mean on a node, where the environment may not come along."""
    names = {name: value for name, value in os.environ.items() if name.startswith("CORECROWN_")}
    for gone in ("CORECROWN_WALLTIME_S", "CORECROWN_CLUSTER"):
        names.pop(gone, None)
    if stage.asks.mpi_command is not None:
        names["CORECROWN_MPI_COMMAND"] = stage.asks.mpi_command
    if stage.asks.ranks is not None:
        names["CORECROWN_MPI_RANKS"] = str(stage.asks.ranks)
    return [f"export {name}={shlex.quote(value)}" for name, value in sorted(names.items())]


def _corecrown(settings: ClusterSettings) -> str:
    if settings.command is not None:
        return settings.command
    program = Path(sys.executable).with_name("corecrown")
    if program.is_file():
        return shlex.quote(str(program))
    return f"{shlex.quote(sys.executable)} -c {shlex.quote('from corecrown.cli.main import main; main()')}"
