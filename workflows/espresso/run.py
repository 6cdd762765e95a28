"""Running pw.x and its sisters under custodian, in a folder of their own."""

import contextlib
import errno
import logging
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from math import isqrt
from pathlib import Path
from signal import NSIG

import psutil
from custodian.custodian import Custodian, CustodianError, ErrorHandler, Job, Validator

from corecrown.errors import CorecrownError, InputError, RunError
from corecrown.settings import get_settings
from corecrown.workflows.espresso import handlers
from corecrown.workflows.espresso.inputs import OUTDIR, PSEUDO_DIR, PwInput
from corecrown.workflows.espresso.programs import command, default_ranks, program_environment
from corecrown.workflows.espresso.saved import copy_density, make_outdir, remove_wavefunctions
from corecrown.workflows.espresso.stdout import reason_of_failure
from corecrown.workflows.owners import process_age_s
from corecrown.workflows.record import cannot_write

__all__ = [
    "EspressoJob",
    "ParallelPlan",
    "RunInterruptedError",
    "copy_density",
    "plan_parallel",
    "remaining_walltime_s",
    "remove_wavefunctions",
    "run_program",
    "run_pw",
]

MAX_ERRORS = 20
"""A backstop: each handler knows how often it cures."""

SAID_AT_ONCE = {"GFORTRAN_UNBUFFERED_PRECONNECTED": "y"}
"""Lets gfortran's standard output through line by line: MPI_ABORT would lose what a diagonalisation said of its end."""

MANY_BANDS = 400
"""From so many bands on the ranks of a pool share the diagonalisation of the subspace."""

SECONDS_TO_DIE = 10
"""What a program that is told to end gets before it is made to."""

WALLTIME_MARGIN, LONGEST_MARGIN_S = 0.05, 600
"""The part of the walltime that is kept for the program's last iteration and for writing, and its upper bound."""

# What custodian logs is written to its custodian.json as well; the terminal belongs to the command line.
logging.getLogger("custodian").addHandler(logging.NullHandler())


class RunInterruptedError(RunError):
    """A program was ended from outside: the same calculation may go well in a fresh folder.

    Parameters
    ----------
    message, hint
        As for every error of the package.
    ranks
        How many ranks the next try should use at most; None for as many as before.
    """

    def __init__(self, message: str, hint: str = "", ranks: int | None = None) -> None:
        super().__init__(message, hint)
        self.ranks = ranks


@dataclass(frozen=True)
class ParallelPlan:
    """How a run is spread over processes: MPI ranks, pools of k-points, and who diagonalises.

    Parameters
    ----------
    ranks, pools
        All MPI ranks, and how many groups of them share out the k-points.
    diagonalisers
        Ranks of a pool, a square number, that diagonalise the subspace together; 1 for each on its own.
    """

    ranks: int
    pools: int
    diagonalisers: int = 1

    @property
    def arguments(self) -> list[str]:
        """Arguments of pw.x that say so; left out where there is nothing to share."""
        pools = ["-nk", str(self.pools)] if self.pools > 1 else []
        return [*pools, "-nd", str(self.diagonalisers)] if self.diagonalisers > 1 else pools

    def limited(self, folder: Path) -> "ParallelPlan":
        """Return the plan within what was found to be too much for a run in this folder."""
        limits = handlers.read_retry(folder)
        ranks = min(self.ranks, limits.get("ranks", self.ranks))
        pools = min(self.pools, limits.get("pools", self.pools), ranks)
        pools = pools if ranks % pools == 0 else 1
        return ParallelPlan(ranks, pools, min(self.diagonalisers, _square_below(ranks // pools)))


def plan_parallel(n_kpoints: int, ranks: int | None = None, n_bands: int = 0) -> ParallelPlan:
    """Choose pools: the largest divisor of the ranks that leaves no pool without a k-point.

    Pools share no plane waves, so they talk least; k-points that do not divide evenly leave pools idle, which the
    choice weighs: with 3 k-points and 4 ranks, 2 pools take 2 rounds of half the work, 4 pools are not allowed.
    The ranks of a pool diagonalise together where they are four or more and the bands are many: below that, sharing a
    small matrix costs more than it saves.
    """
    ranks = ranks or default_ranks()
    divisors = [pools for pools in range(1, ranks + 1) if ranks % pools == 0 and pools <= n_kpoints]
    rounds = {pools: -(-n_kpoints // pools) * pools for pools in divisors}
    best = min(divisors, key=lambda pools: (rounds[pools], -pools))
    together = _square_below(ranks // best) if n_bands >= MANY_BANDS else 1
    return ParallelPlan(ranks, best, together)


def _square_below(number: int) -> int:
    """Return the largest square number that does not exceed a number."""
    return isqrt(number) ** 2


class EspressoJob(Job):
    """One program with one input file, as custodian runs it.

    Parameters
    ----------
    program
        ``pw.x``, ``projwfc.x`` or ``pp.x``.
    stem
        Input is ``stem.in``, output ``stem.out``, errors ``stem.err``.
    parallel
        Ranks and pools.
    """

    def __init__(self, program: str, stem: str, parallel: ParallelPlan) -> None:
        self.program = program
        self.stem = stem
        self.parallel = parallel
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        """Name in custodian's log."""
        return f"{self.program} {self.stem}"

    def setup(self, directory: str = "./") -> None:
        """Nothing: the input is written before."""

    def run(self, directory: str = "./") -> subprocess.Popen[bytes]:
        """Start the program; its output goes to files in the folder."""
        folder = Path(directory)
        plan = self.parallel.limited(folder)
        arguments = command(self.program, plan.ranks, [*plan.arguments, "-i", f"{self.stem}.in"])
        with (folder / f"{self.stem}.out").open("wb") as out, (folder / f"{self.stem}.err").open("wb") as err:
            self.process = subprocess.Popen(
                arguments,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**program_environment(), **SAID_AT_ONCE},
            )
        return self.process

    @property
    def signal(self) -> int | None:
        """The signal that ended the program, as its return code or that of its launcher tells; None if none did."""
        if self.process is None or self.process.returncode is None:
            return None
        code = self.process.returncode
        if code < 0:
            return -code
        return code - 128 if 128 < code < 128 + NSIG else None

    def terminate(self, directory: str = "./") -> None:
        """End the program and all it started, such as the ranks of mpirun, stopped ones too."""
        if self.process is None or self.process.poll() is not None:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            top = psutil.Process(self.process.pid)
            started = [top, *top.children(recursive=True)]
            for end in (psutil.Process.terminate, psutil.Process.kill):
                for process in started:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        end(process)
                        process.resume()  # a stopped one would not hear of it
                _, started = psutil.wait_procs(started, timeout=SECONDS_TO_DIE)
        self.process.wait()

    def postprocess(self, directory: str = "./") -> None:
        """Nothing: outputs are read by the job."""


class EndsWell(Validator):
    """A run is whole when its output says JOB DONE."""

    def __init__(self, stem: str) -> None:
        self.stem = stem

    def check(self, directory: str = "./") -> bool:
        """Return True if the run is *not* whole (custodian's convention)."""
        output = Path(directory) / f"{self.stem}.out"
        return not output.is_file() or "JOB DONE" not in output.read_text(encoding="utf-8", errors="replace")


def run_program(
    folder: Path, program: str, stem: str, parallel: ParallelPlan, cures: Sequence[ErrorHandler] = ()
) -> float:
    """Run one program to a good end, with custodian's handlers watching.

    Parameters
    ----------
    folder
        Where the input ``stem.in`` is and the output goes.
    cures
        Handlers; the ones of the user's settings are asked before them, and those of ends that any program can
        come to after them.

    Returns
    -------
    Wall time of the program up to its last word, s: custodian's waiting is not the program's.

    Raises
    ------
    RunError
        If the program did not come to a good end after the last try; names the file and what it said.
    RunInterruptedError
        If it was ended from outside (a signal, memory, silence) and may go well in a fresh folder.
    """
    settings = get_settings()
    started = time.monotonic()
    job = EspressoJob(program, stem, parallel)
    watching = [*_extra_handlers(settings.extra_handlers, stem), *cures]
    known = {type(handler) for handler in watching}
    watching += [handler for handler in handlers.common_handlers(stem) if type(handler) not in known]
    monitors = [handler for handler in watching if handler.is_monitor]
    custodian = Custodian(
        [*monitors, handlers.FirstOf([handler for handler in watching if not handler.is_monitor])],
        [job],
        validators=[EndsWell(stem)],
        max_errors=MAX_ERRORS,
        polling_time_step=settings.custodian_polling_s,
        monitor_freq=max(1, round(min(2, settings.silence_limit_s / 4) / settings.custodian_polling_s)),
        directory=str(folder),
        terminate_on_nonzero_returncode=False,
    )
    try:
        custodian.run()
    except (CustodianError, OSError, ValueError) as error:
        raise _failure(folder, job, error) from error
    finally:
        job.terminate()
    return _lasted_s(started, folder / f"{stem}.out", settings.custodian_polling_s)


def _lasted_s(started: float, output: Path, polling_s: float) -> float:
    """Return how long a program took that was just found to have ended, s.

    Parameters
    ----------
    started
        When it was started, by the monotonic clock.
    output
        Its last word was written here; how long ago that was is told by clocks that may be set, so it counts for no
        more than the time between two looks of custodian.
    polling_s
        That time, s.
    """
    waited = time.time() - output.stat().st_mtime
    return max(0.0, time.monotonic() - started - min(max(0.0, waited), polling_s))


def _failure(folder: Path, job: EspressoJob, error: Exception) -> CorecrownError:
    """Return the error that says why a program did not come to a good end, where to look, and what was tried."""
    if isinstance(error, OSError) and error.errno != errno.ENOSPC:
        return cannot_write(folder, error)
    output = handlers.latest_output(folder, job.stem)
    handler = _who_saw_it(folder, job, error)
    if isinstance(handler, handlers.Killed):
        reason = handler.reason(folder, job.signal)
    else:
        reason = handler.reason(folder) if handler else reason_of_failure(folder, output.name)
    told = handlers.corrections(folder)
    hints = [f"see {output}", f"tried: {'; '.join(told)}" if told else "", handler.advice if handler else ""]
    message, hint = f"{job.program} did not come to a good end: {reason}", "; ".join(part for part in hints if part)
    if isinstance(handler, handlers.EndedFromOutside) and handler.tries_again:
        ranks = job.parallel.limited(folder).ranks
        return RunInterruptedError(message, hint, max(1, ranks // 2) if handler.fewer_ranks else ranks)
    return RunError(message, hint)


def _who_saw_it(folder: Path, job: EspressoJob, error: Exception) -> handlers.PwHandler | None:
    """Return our handler that saw the error and had no cure left; None where there is none."""
    if isinstance(error, OSError):
        return handlers.DiskFull(job.stem)
    handler = getattr(error, "handler", None)
    if isinstance(handler, handlers.FirstOf):
        handler = handler.current
    if isinstance(handler, handlers.PwHandler):
        return handler
    killed = handlers.Killed(job.stem)
    return killed if job.signal is not None and killed.broke_off(folder) and not killed.said_why(folder) else None


def run_pw(folder: Path, inputs: PwInput, stem: str = "pw", cures: Sequence[ErrorHandler] | None = None) -> float:
    """Write the input of pw.x into a folder and run it; returns its wall time in s.

    Where the settings say how long this process may live, the program is told to stop in time.
    """
    remaining = remaining_walltime_s()
    if remaining is not None:
        if remaining < 1:
            raise RunError(
                "no walltime left to start pw.x in",
                "the same command again goes on from here; the time given is CORECROWN_WALLTIME_S",
            )
        inputs = inputs.with_keywords("control", max_seconds=int(remaining))
    try:
        write_inputs(folder, inputs, stem)
    except OSError as error:
        raise cannot_write(folder, error) from error
    plan = plan_parallel(inputs.n_kpoints, n_bands=int(inputs.namelists["system"].get("nbnd", 0)))
    return run_program(folder, "pw.x", stem, plan, handlers.default_handlers(stem) if cures is None else cures)


def remaining_walltime_s() -> float | None:
    """Return how long a program may run before the queue ends this process, less a margin; None without a limit."""
    limit = get_settings().walltime_s
    if limit is None:
        return None
    return limit - process_age_s() - min(WALLTIME_MARGIN * limit, LONGEST_MARGIN_S)


def write_inputs(folder: Path, inputs: PwInput, stem: str = "pw", copy_pseudopotentials: bool = False) -> None:
    """Write ``stem.in`` and the pseudopotentials (as links, or as copies for a folder that will travel)."""
    pseudo = folder / PSEUDO_DIR
    pseudo.mkdir(parents=True, exist_ok=True)
    for file in inputs.pseudopotentials.values():
        target = pseudo / file.path.name
        if target.exists():
            continue
        if copy_pseudopotentials:
            shutil.copyfile(file.path, target)
        else:
            target.symlink_to(file.path.resolve())
    if copy_pseudopotentials:
        (folder / OUTDIR).mkdir(exist_ok=True)
    else:
        make_outdir(folder)
    (folder / f"{stem}.in").write_text(inputs.text(), encoding="utf-8")


def _extra_handlers(names: Sequence[str], stem: str) -> list[ErrorHandler]:
    """Return handlers of the user's own, by their dotted names."""
    found = []
    for name in names:
        module, _, cls = name.rpartition(".")
        try:
            handler = getattr(import_module(module), cls)
            found.append(handler(stem) if issubclass(handler, handlers.PwHandler) else handler())
        except (ImportError, AttributeError, ValueError, TypeError) as error:
            raise InputError(
                f"settings, field extra_handlers: {name!r} is no handler that can be had ({error})", "give module.Class"
            ) from error
    return found
