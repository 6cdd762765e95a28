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

__all__ = ["CELLS_FILE", "OUT_OF_TIME", "Stage", "TaskScripts", "job_name", "margin_s"]

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


@dataclass(frozen=True)
class TaskScripts:
    """The scripts of the jobs of one submission: one a stage, each for any of its tasks.

    Attributes
    ----------
    scheduler
        Which queue.
    stages
        In the order they run.
    folder
        Folder of the submission: ``tasks/``, ``logs/`` and the scripts are there.
    study
        Folder of the study.
    name
        What the names of the jobs begin with.
    settings
        How jobs are submitted.
    """

    scheduler: Scheduler
    stages: Sequence[Stage]
    folder: Path
    study: Path
    name: str
    settings: ClusterSettings

    def files(self) -> dict[str, str]:
        """Return the scripts by the names of their files.

        Raises
        ------
        InputError
            If the queue has no such option, or has to be told where ranks go and is not.
        """
        return {self.file(number).name: self.text(number) for number in range(len(self.stages))}

    def file(self, number: int) -> Path:
        """Return where the script of a stage (from 0) is."""
        return self.folder / f"stage-{number + 1}.sh"

    def text(self, number: int) -> str:
        """Return the script of a stage (from 0); errors as for :meth:`files`."""
        stage = self.stages[number]
        io = self.scheduler.io()
        if stage.asks.modules:
            io.shebang = "#!/bin/bash -l"  # where modules are known
        return str(io.get_submission_script(_commands(self, number), _options(self, stage)))

    def submit_again(self, number: int, job_round: str) -> str:
        """Return the command by which a job hands its task to the script of a stage."""
        variables = {"CC_TASK": "$task", "CC_ROUND": job_round}
        return submit_command(self.scheduler, str(self.file(number)), job_name(self.name, "t$task"), variables)


def margin_s(walltime_s: int) -> int:
    """Return what is kept of the walltime for ending in good order, s."""
    return max(2, min(120, walltime_s // 20))


def job_name(study: str, task: str) -> str:
    """Return the name of a job; short, since PBS allows 15 letters."""
    return f"{study}.{task}"


def _options(scripts: TaskScripts, stage: Stage) -> dict[str, str | int]:
    """Return what goes into the header of a stage's script."""
    from qtoolkit.io.base import QTemplate

    days, rest = divmod(stage.walltime_s, 86400)
    hours, minutes, seconds = rest // 3600, rest // 60 % 60, rest % 60
    logs = scripts.folder / "logs"
    verbatim = list(stage.asks.extra_lines)
    options: dict[str, str | int] = {"job_name": scripts.name}
    match scripts.scheduler:
        case Scheduler.SLURM:
            options |= {"time": f"{days}-{hours:02d}:{minutes:02d}:{seconds:02d}", "qout_path": str(logs / "queue.out")}
            verbatim = ["#SBATCH --open-mode=append", *verbatim]
            if stage.asks.ranks and not {"ntasks", "ntasks_per_node"} & stage.asks.resources.keys():
                options["ntasks"] = stage.asks.ranks
        case Scheduler.PBS:
            options |= {"walltime": f"{24 * days + hours:02d}:{minutes:02d}:{seconds:02d}", "qout_path": f"{logs}/"}
            verbatim = ["#PBS -S /bin/bash", "#PBS -j oe", *verbatim]
            if stage.asks.ranks and "select" not in stage.asks.resources:
                options["select"] = f"select=1:ncpus={stage.asks.ranks}:mpiprocs={stage.asks.ranks}"
        case Scheduler.SGE:
            options |= {"walltime": f"{24 * days + hours:02d}:{minutes:02d}:{seconds:02d}", "qout_path": str(logs)}
            verbatim = ["#$ -S /bin/bash", "#$ -j y", *verbatim]
            if (stage.asks.ranks or 1) > 1 and "model" not in stage.asks.resources:
                raise InputError(
                    f"settings, field cluster.resources: sge is not told where {stage.asks.ranks} ranks go",
                    f"name a parallel environment (qconf -spl lists them): model: mpi {stage.asks.ranks}",
                )
    known = QTemplate(scripts.scheduler.io().header_template).get_identifiers()
    for key in stage.asks.resources:
        if key not in known:
            raise InputError(
                f"settings, field cluster.resources: {key!r} is not an option of {scripts.scheduler.value}",
                f"known: {', '.join(known)}; other header lines go into extra_lines",
            )
    options |= stage.asks.resources
    if verbatim:
        options["qverbatim"] = "\n".join(verbatim)
    return options


def _commands(scripts: TaskScripts, number: int) -> list[str]:
    """Return the body of a stage's script."""
    stage, n_stages, settings = scripts.stages[number], len(scripts.stages), scripts.settings
    steps = " ".join(f"--step {step}" for step in stage.steps)
    last = number + 1 == n_stages
    onward = 'echo "done: nothing is left of task $task"' if last else scripts.submit_again(number + 1, "1")
    run = 'study run "$folder/tasks/$task.yaml" -d "$study"'
    places = f"study={shlex.quote(str(scripts.study))} folder={shlex.quote(str(scripts.folder))}"
    return [
        "",
        "# One task: the cells of one study file, as far as the walltime goes. Resubmits itself while work is left.",
        f"{places} walltime={stage.walltime_s}",
        f"task={_TASK} round=${{CC_ROUND:-1}}",
        f'cells=$(sed -n "${{task}}p" "$folder/tasks/{CELLS_FILE}")',
        'exec >>"$folder/logs/task-$task.log" 2>&1 </dev/null',
        f'echo "== task $task, stage {number + 1} of {n_stages}, round $round, $(date -u +%FT%TZ) on $(hostname)"',
        *(f"module load {shlex.quote(module)}" for module in stage.asks.modules or []),
        *(stage.asks.before or []),
        *_exports(stage),
        "spent=$((SECONDS > 0 ? SECONDS : 0))  # below 0 where the clock was set back",
        f"left=$((walltime - spent - {margin_s(stage.walltime_s)}))",
        '[ "$left" -ge 1 ] || left=1',
        "export CORECROWN_WALLTIME_S=$left",
        # In the foreground, for the process group of the job: that is what SGE ends with it.
        f'timeout --foreground -k 20 "$left" {_corecrown(settings)} {run} $cells --in-queue {steps}'.rstrip(),
        "code=$?",
        'echo "== task $task, round $round: exit code $code, $(date -u +%FT%TZ)"',
        "case $code in",
        "0)",
        f"    {onward}",
        "    ;;",
        f"{OUT_OF_TIME} | 124 | 137)",
        f'    if [ "$round" -le {settings.resubmissions} ]; then',
        f"        {scripts.submit_again(number, '$((round + 1))')}",
        "    else",
        f'        echo "given up after {settings.resubmissions} resubmissions; corecrown study submit goes on"',
        "    fi",
        "    ;;",
        "esac",
        "exit $code",
        "",
    ]


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
