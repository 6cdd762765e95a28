"""What this machine has for a study and what it lacks: each finding with its cure."""

import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
from enum import StrEnum
from pathlib import Path
from typing import get_args

from pydantic import BaseModel, ConfigDict, Field

from corecrown.errors import CorecrownError
from corecrown.settings import Settings, get_settings, settings_file
from corecrown.workflows.espresso.programs import (
    Program,
    blas_in_use,
    default_ranks,
    find_mpirun,
    find_program,
    mpi_flavour,
    mpi_launcher,
    program_version,
    runs_parallel,
)
from corecrown.workflows.espresso.pseudopotentials import (
    Functional,
    Relativity,
    find_pseudopotentials,
    pseudopotential_folder,
)
from corecrown.workflows.processors import physical_cores

__all__ = ["Check", "Diagnosis", "Level", "examine"]

SPECIES = ("Cs", "Pb", "Br", "C", "N", "H")
GIB = 2**30
DISK_NEEDED_GIB = 2.0  # the demo study peaks below 1 GiB while a step runs, and keeps less
MEMORY_WANTED_GIB = 4.0  # what the demo study may take
ABSENT = "not found (optional)"


class Level(StrEnum):
    """How much a finding matters."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"
    OPTIONAL = "optional"


class Check(BaseModel):
    """One finding."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    ok: bool = Field(description="false only for what keeps a Quantum ESPRESSO study from running")
    level: Level
    found: str
    cure: str | None = Field(None, description="what to do; for optional things, how to have them")


class Diagnosis(BaseModel):
    """All findings; ``ok`` if a Quantum ESPRESSO study can run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ok: bool
    checks: list[Check]


def examine(folder: Path) -> Diagnosis:
    """Look at programs, MPI, BLAS, pseudopotentials, VASP, queue, disk and memory.

    Parameters
    ----------
    folder
        Where studies would be run; its disk is looked at.
    """
    checks = [_good("python", platform.python_version())]
    try:
        settings = get_settings()
    except CorecrownError as error:
        return Diagnosis(ok=False, checks=[*checks, _bad("settings", error.message, error.hint)])
    where = str(settings_file()) if settings_file().is_file() else "defaults and environment"
    checks.append(_good("settings", where))
    checks += _programs()
    checks += _pseudopotentials(settings)
    checks += _vasp(settings)
    checks += [_queue(), _prerelaxation(), _disk(folder), _memory()]
    return Diagnosis(ok=all(check.ok for check in checks), checks=checks)


def _good(name: str, found: str) -> Check:
    return Check(name=name, ok=True, level=Level.OK, found=found)


def _warning(name: str, found: str, cure: str) -> Check:
    return Check(name=name, ok=True, level=Level.WARNING, found=found, cure=cure)


def _bad(name: str, found: str, cure: str) -> Check:
    return Check(name=name, ok=False, level=Level.FAILURE, found=found, cure=cure)


def _optional(name: str, cure: str, found: str = ABSENT) -> Check:
    return Check(name=name, ok=True, level=Level.OPTIONAL, found=found, cure=cure)


def _programs() -> list[Check]:
    pw = _program("pw.x")
    checks = [pw, _program("projwfc.x"), _program("pp.x", needed=False)]
    if pw.ok:
        program = find_program("pw.x")
        checks += [_mpi(program), _blas(program)]
    return checks


def _program(name: str, needed: bool = True) -> Check:
    try:
        program = find_program(name)
    except CorecrownError as error:
        if needed:
            return _bad(name, error.message, error.hint)
        return _optional(name, f"needed for the excitation step; {error.hint}")
    version = program_version(program)
    where = f"{' '.join(program.command)} ({program.origin})"
    if version is None:
        return _bad(name, f"{where} does not start", f"run {' '.join(program.command)} by hand to see why")
    if program.is_qepy:
        return _warning(
            name,
            f"{version}, {where}",
            "serial, 4 to 6 times slower than an MPI build with OpenBLAS;"
            " as root: apt-get install quantum-espresso libopenblas0-pthread",
        )
    return _good(name, f"{version}, {where}")


def _mpi(program: Program) -> Check:
    try:
        ranks = default_ranks(program)
        launcher = mpi_launcher(ranks)
    except CorecrownError as error:
        return _bad("MPI", error.message, error.hint)
    cores = physical_cores()
    found = f"{ranks} rank{'s' if ranks > 1 else ''} on {cores} physical core{'s' if cores > 1 else ''}"
    if not runs_parallel(program):
        return _warning("MPI", f"{found}: {program.name} is serial", "use an MPI build of Quantum ESPRESSO")
    if get_settings().mpi_command is None and find_mpirun() is None:
        return _warning("MPI", f"{found}: no mpirun", "as root: apt-get install openmpi-bin")
    if ranks > cores:
        return _warning("MPI", f"{found}, {' '.join(launcher)}", f"set CORECROWN_MPI_RANKS={cores}")
    named = "" if get_settings().mpi_command is not None else f"{mpi_flavour()}, "
    return _good("MPI", f"{found}, {named}{' '.join(launcher) or 'no launcher for one rank'}")


def _blas(program: Program) -> Check:
    blas = blas_in_use(program)
    if blas == "reference" and program.is_qepy:
        return _warning("BLAS", "reference BLAS, inside qepy", "use a Quantum ESPRESSO that is linked with OpenBLAS")
    if blas == "reference":
        cure = "four times faster with OpenBLAS; as root: apt-get install libopenblas0-pthread"
        return _warning("BLAS", "reference BLAS (slow)", cure)
    return _good("BLAS", blas or "not seen (linked statically, or the program is inside a container)")


def _pseudopotentials(settings: Settings) -> list[Check]:
    """Check the sets; what must be there is one scalar-relativistic set, PBE if none."""
    problems: dict[tuple[Functional, Relativity], CorecrownError | None] = {}
    for functional in get_args(Functional):
        for relativity in get_args(Relativity):
            try:
                find_pseudopotentials(SPECIES, functional, relativity)
            except CorecrownError as error:
                problems[functional, relativity] = error
            else:
                problems[functional, relativity] = None
    usable = any(problem is None for (_, relativity), problem in problems.items() if relativity == "SR")
    folder = settings.pseudo_dir or pseudopotential_folder()
    checks = []
    for (functional, relativity), problem in problems.items():
        name = f"pseudopotentials {functional} {relativity}"
        if problem is None:
            checks.append(_good(name, f"{', '.join(SPECIES)} in {folder}"))
        elif (functional, relativity) == ("PBE", "SR") and not usable:
            checks.append(_bad(name, problem.message, problem.hint))
        else:
            checks.append(_optional(name, problem.hint, f"{problem.message} (optional)"))
    return checks


def _vasp(settings: Settings) -> list[Check]:
    checks = []
    for name, setting in (("vasp_std", settings.vasp_std_command), ("vasp_ncl", settings.vasp_ncl_command)):
        variable = f"CORECROWN_{name.upper()}_COMMAND"
        if not setting:
            checks.append(_optional(name, f"for the VASP engine: {variable}='mpirun -n 4 {name}'"))
        elif shutil.which(shlex.split(setting)[0]) is None:
            checks.append(_warning(name, f"{setting}: cannot be run here", f"check {variable}"))
        else:
            checks.append(_good(name, setting))
    from pymatgen.core import SETTINGS

    potcars = SETTINGS.get("PMG_VASP_PSP_DIR")
    if not potcars:
        cure = "for the VASP engine: pmg config -p POTCARS FOLDER, then pmg config --add PMG_VASP_PSP_DIR FOLDER"
        checks.append(_optional("POTCARs", cure))
    elif not Path(potcars).expanduser().is_dir():
        checks.append(_warning("POTCARs", f"{potcars}: no such folder", "check PMG_VASP_PSP_DIR"))
    else:
        checks.append(_good("POTCARs", str(potcars)))
    return checks


def _queue() -> Check:
    for program in ("sbatch", "qsub"):
        path = shutil.which(program)
        if path is None:
            continue
        try:
            said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False, timeout=30)
        except (OSError, subprocess.TimeoutExpired) as error:
            return _warning(
                "queue", f"{program} does not answer ({type(error).__name__})", "ask those who run the queue"
            )
        lines = (said.stdout + said.stderr).strip().splitlines()
        if program == "sbatch" and said.returncode != 0:  # the qsub of SGE knows no --version
            return _warning(
                "queue", f"sbatch fails: {lines[0] if lines else 'it says nothing'}", "is slurm.conf there?"
            )
        version = lines[0] if lines and said.returncode == 0 else "no version said"
        return _good("queue", f"{program}, {version}")
    return _optional("queue", "only for study submit, on a machine with Slurm, PBS or SGE")


def _prerelaxation() -> Check:
    if importlib.util.find_spec("chgnet") is not None:
        return _good("CHGNet", "installed")
    return _optional("CHGNet", "for 'start: {prerelax: chgnet}': pip install 'corecrown[mlip]'")


def _disk(folder: Path) -> Check:
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free / GIB
    found = f"{free:.1f} GiB free at {place}"
    if not os.access(place, os.W_OK):
        return _warning("disk", f"{place} cannot be written to", "run studies in a folder of yours")
    if free < DISK_NEEDED_GIB:
        return _bad("disk", found, f"free {DISK_NEEDED_GIB:g} GiB, or run elsewhere")
    return _good("disk", found)


def _memory() -> Check:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        available = next(float(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")) / GIB
    except (OSError, StopIteration):
        return _good("memory", "not seen on this system")
    if available < MEMORY_WANTED_GIB:
        return _warning(
            "memory", f"{available:.1f} GiB available", f"a small study takes up to {MEMORY_WANTED_GIB:g} GiB"
        )
    return _good("memory", f"{available:.1f} GiB available")
