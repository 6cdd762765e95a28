"""Running pw.x and its sisters under custodian, in a folder of their own."""

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from custodian.custodian import Custodian, CustodianError, ErrorHandler, Job, Validator
from monty.io import zopen

from corecrown.errors import InputError, RunError
from corecrown.settings import get_settings
from corecrown.workflows.espresso import handlers
from corecrown.workflows.espresso.inputs import OUTDIR, PREFIX, PSEUDO_DIR, PwInput
from corecrown.workflows.espresso.programs import command, default_ranks, program_environment
from corecrown.workflows.espresso.stdout import reason_of_failure

__all__ = [
    "EspressoJob",
    "ParallelPlan",
    "copy_density",
    "plan_parallel",
    "remove_wavefunctions",
    "run_program",
    "run_pw",
]

MAX_ERRORS = 5


@dataclass(frozen=True)
class ParallelPlan:
    """How a run is spread over processes: MPI ranks and pools of k-points."""

    ranks: int
    pools: int

    @property
    def arguments(self) -> list[str]:
        """Arguments of pw.x that say so."""
        return ["-nk", str(self.pools)] if self.pools > 1 else []


def plan_parallel(n_kpoints: int, ranks: int | None = None) -> ParallelPlan:
    """Choose pools: the largest divisor of the ranks that leaves no pool without a k-point.

    Pools share no plane waves, so they talk least; k-points that do not divide evenly leave pools idle, which the
    choice weighs: with 3 k-points and 4 ranks, 2 pools take 2 rounds of half the work, 4 pools are not allowed.
    """
    ranks = ranks or default_ranks()
    divisors = [pools for pools in range(1, ranks + 1) if ranks % pools == 0 and pools <= n_kpoints]
    rounds = {pools: -(-n_kpoints // pools) * pools for pools in divisors}
    best = min(divisors, key=lambda pools: (rounds[pools], -pools))
    return ParallelPlan(ranks, best)


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

    @property
    def name(self) -> str:
        """Name in custodian's log."""
        return f"{self.program} {self.stem}"

    def setup(self, directory: str = "./") -> None:
        """Nothing: the input is written before."""

    def run(self, directory: str = "./") -> subprocess.Popen[bytes]:
        """Start the program; its output goes to files in the folder."""
        folder = Path(directory)
        retry = handlers.read_retry(folder)
        ranks = min(self.parallel.ranks, retry.get("ranks", self.parallel.ranks))
        pools = min(self.parallel.pools, retry.get("pools", self.parallel.pools), ranks)
        plan = ParallelPlan(ranks, pools if ranks % pools == 0 else 1)
        arguments = command(self.program, plan.ranks, [*plan.arguments, "-i", f"{self.stem}.in"])
        with (folder / f"{self.stem}.out").open("wb") as out, (folder / f"{self.stem}.err").open("wb") as err:
            return subprocess.Popen(
                arguments,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**os.environ, **program_environment()},
            )

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
        Handlers; the ones of the user's settings are tried before them.

    Returns
    -------
    Wall time of the program up to its last word, s: custodian's waiting is not the program's.

    Raises
    ------
    RunError
        If the program did not come to a good end after the last try; names the file and what it said.
    """
    settings = get_settings()
    started = time.time()
    custodian = Custodian(
        [*_extra_handlers(settings.extra_handlers), *cures],
        [EspressoJob(program, stem, parallel)],
        validators=[EndsWell(stem)],
        max_errors=MAX_ERRORS,
        polling_time_step=settings.custodian_polling_s,
        monitor_freq=max(1, round(2 / settings.custodian_polling_s)),
        directory=str(folder),
        terminate_on_nonzero_returncode=False,
    )
    try:
        custodian.run()
    except (CustodianError, OSError, ValueError) as error:
        reason = reason_of_failure(folder, f"{stem}.out")
        told = handlers.corrections(folder)
        raise RunError(
            f"{program} did not come to a good end: {reason}",
            f"see {folder / f'{stem}.out'}" + (f"; tried: {'; '.join(told)}" if told else ""),
        ) from error
    return max(0.0, (folder / f"{stem}.out").stat().st_mtime - started)


def run_pw(folder: Path, inputs: PwInput, stem: str = "pw", cures: Sequence[ErrorHandler] | None = None) -> float:
    """Write the input of pw.x into a folder and run it; returns its wall time in s."""
    write_inputs(folder, inputs, stem)
    plan = plan_parallel(inputs.n_kpoints)
    return run_program(folder, "pw.x", stem, plan, handlers.default_handlers(stem) if cures is None else cures)


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
    outdir = folder / OUTDIR
    scratch = get_settings().scratch_dir
    if scratch is not None and not copy_pseudopotentials and not outdir.exists():
        elsewhere = scratch / "corecrown" / folder.resolve().as_posix().strip("/").replace("/", "_")
        elsewhere.mkdir(parents=True, exist_ok=True)
        outdir.symlink_to(elsewhere)
    outdir.mkdir(exist_ok=True)
    (folder / f"{stem}.in").write_text(inputs.text(), encoding="utf-8")


def copy_density(source: Path, target: Path, wavefunctions: bool = False) -> None:
    """Copy what a run without self-consistency needs from the folder of the scf into a fresh folder.

    Raises
    ------
    RunError
        If the density is not there.
    """
    save = source / OUTDIR / f"{PREFIX}.save"
    patterns = ["charge-density*", "spin-polarization*", "data-file-schema.xml*", "paw.txt", "*.upf", "*.UPF"]
    if wavefunctions:
        patterns.append("wfc*")
    found = [path for pattern in patterns for path in save.glob(pattern)] if save.is_dir() else []
    if not any(path.name.startswith("charge-density") for path in found):
        raise RunError(f"{save}: no charge density to start from", "run the scf step again (study rerun)")
    destination = target / OUTDIR / f"{PREFIX}.save"
    destination.mkdir(parents=True, exist_ok=True)
    for path in found:
        if path.suffix == ".gz":
            with zopen(path, "rb") as packed:
                (destination / path.stem).write_bytes(packed.read())
        else:
            shutil.copyfile(path, destination / path.name)


def remove_wavefunctions(folder: Path) -> None:
    """Remove wavefunctions and other heavy scratch, keeping the XML and the density."""
    outdir = folder / OUTDIR
    for pattern in ("*.wfc*", "*.mix*", "*.hub*", "*.save/wfc*", "*.bfgs", "*.restart_*", "*.igk*"):
        for path in outdir.glob(pattern):
            path.unlink(missing_ok=True)


def _extra_handlers(names: Sequence[str]) -> list[Any]:
    """Return handlers of the user's own, by their dotted names."""
    found = []
    for name in names:
        module, _, cls = name.rpartition(".")
        try:
            found.append(getattr(import_module(module), cls)())
        except (ImportError, AttributeError, ValueError) as error:
            raise InputError(
                f"settings, field extra_handlers: {name!r} cannot be imported ({error})", "give module.Class"
            ) from error
    return found
