"""The programs of Quantum ESPRESSO on this machine: where they are, what they are, how they are called."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from corecrown.errors import InputError
from corecrown.settings import get_settings
from corecrown.workflows.processors import physical_cores

__all__ = [
    "Banner",
    "Program",
    "blas_in_use",
    "command",
    "default_ranks",
    "find_program",
    "mpi_flavour",
    "mpi_launcher",
    "program_environment",
    "program_family",
    "program_version",
    "read_banner",
]

GET_IT = (
    "make demo installs what is missing; or as root: apt-get install quantum-espresso libopenblas0-pthread;"
    " or set CORECROWN_ESPRESSO_BIN to the folder of pw.x"
)
BANNER_LIMIT_S = 60
# Names that a BLAS library, or the folder it lies in, goes by: Debian puts each in a folder of its own.
BLAS_NAMES = ("openblas", "mkl", "blis", "atlas", "flexiblas", "armpl", "libsci", "accelerate")
QUEUE_RANKS = ("SLURM_NTASKS", "PBS_NP", "NSLOTS")
QUEUE_JOBS = ("SLURM_JOB_ID", "PBS_JOBID", "PE_HOSTFILE")


@dataclass(frozen=True)
class Program:
    """One program, and how it is called."""

    name: str
    command: tuple[str, ...]
    origin: str

    @property
    def is_qepy(self) -> bool:
        """Whether the program is the one inside the Python package qepy."""
        return "-m" in self.command and "qepy" in self.command

    @property
    def executable(self) -> Path | None:
        """The file that is run, with links resolved; None where that is not a file of this machine."""
        found = shutil.which(self.command[0])
        return Path(found).resolve() if found else None


@dataclass(frozen=True)
class Banner:
    """What a program says of itself when it starts."""

    version: str | None
    parallel: bool | None


def find_program(name: str = "pw.x") -> Program:
    """Find a program of Quantum ESPRESSO.

    Looked for in the setting ``espresso_bin``, on ``PATH``, and in the qepy environment of the data folder.

    Raises
    ------
    InputError
        If it is nowhere, or ``espresso_bin`` leads to nothing; the hint says how to get it.
    """
    setting = get_settings().espresso_bin
    if setting:
        return Program(name, _from_setting(name, setting), "CORECROWN_ESPRESSO_BIN")
    on_path = shutil.which(name)
    if on_path:
        return Program(name, (on_path,), "PATH")
    python = qepy_python()
    if os.access(python, os.X_OK):
        return Program(name, (str(python), "-m", "qepy", f"--{name}"), "qepy")
    raise InputError(f"{name} of Quantum ESPRESSO was not found", GET_IT)


def qepy_python() -> Path:
    """Return the interpreter of the environment that holds qepy where there is no other Quantum ESPRESSO."""
    return get_settings().data_dir.expanduser().absolute() / "qepy" / "bin" / "python"


def _from_setting(name: str, setting: str) -> tuple[str, ...]:
    where = f"CORECROWN_ESPRESSO_BIN={setting}"
    folder = Path(setting).expanduser().absolute()
    if folder.is_dir():
        if not os.access(folder / name, os.X_OK):
            raise InputError(f"{where}: no {name} that can be run in this folder", GET_IT)
        return (str(folder / name),)
    if "{program}" not in setting:
        raise InputError(
            f"{where}: neither a folder nor a command with {{program}} in it",
            "for example /opt/qe/bin, or 'apptainer exec qe.sif {program}'",
        )
    try:
        words = [word.replace("{program}", name) for word in shlex.split(setting)]
    except ValueError as error:
        raise InputError(f"{where}: {error}", "write it as a shell command") from error
    if shutil.which(words[0]) is None:
        raise InputError(f"{where}: {words[0]} was not found or cannot be run", "check the setting")
    return tuple(words)


def command(program: Program | str, ranks: int, arguments: Sequence[str] = ()) -> list[str]:
    """Compose the whole command: end with the parent, MPI launcher, program, arguments.

    On Linux the program (or ``mpirun``, which then ends its ranks) is told to terminate when the process that
    started it is gone, so that a killed runner leaves nothing running. A serial program is given one rank,
    whatever is asked.
    """
    found = find_program(program) if isinstance(program, str) else program
    launcher = mpi_launcher(ranks) if runs_parallel(found) else []
    return [*_ends_with_parent(), *launcher, *found.command, *arguments]


@cache
def _ends_with_parent() -> tuple[str, ...]:
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    if setpriv is None or "--pdeathsig" not in _output_of([setpriv, "--help"]):
        return ()
    return (setpriv, "--pdeathsig", "TERM", "--")


def mpi_launcher(ranks: int) -> list[str]:
    """Return what stands before a program to run it in so many ranks; nothing for one rank.

    The setting ``mpi_command`` comes first, then ``mpirun`` on PATH. Open MPI is told not to bind ranks to
    cores (it would put separate runs on the same ones) and, outside a queue, not to count slots.

    Raises
    ------
    InputError
        If more than one rank is asked for and there is no MPI launcher.
    """
    setting = get_settings().mpi_command
    if setting is not None:
        return _launcher_from_setting(setting, ranks)
    if ranks == 1:
        return []
    mpirun = find_mpirun()
    if mpirun is None:
        raise InputError(
            f"{ranks} MPI ranks asked for, but no mpirun on PATH",
            "install it (as root: apt-get install openmpi-bin), or set CORECROWN_MPI_RANKS=1",
        )
    options = []
    if mpi_flavour() == "Open MPI":
        options = ["--bind-to", "none"]
        if not any(os.environ.get(name) for name in QUEUE_JOBS):
            options.append("--oversubscribe")
    return [mpirun, *options, "-n", str(ranks)]


def _launcher_from_setting(setting: str, ranks: int) -> list[str]:
    try:
        words = [word.replace("{ranks}", str(ranks)) for word in shlex.split(setting)]
    except ValueError as error:
        raise InputError(f"CORECROWN_MPI_COMMAND={setting}: {error}", "write it as a shell command") from error
    if words and "{ranks}" not in setting:
        raise InputError(
            f"CORECROWN_MPI_COMMAND={setting}: no {{ranks}} in it",
            "for example 'srun -n {ranks}'; empty for no MPI",
        )
    if words and shutil.which(words[0]) is None:
        raise InputError(f"CORECROWN_MPI_COMMAND={setting}: {words[0]} was not found", "check the setting")
    return words


def find_mpirun() -> str | None:
    """Return the MPI launcher on PATH, or None."""
    return shutil.which("mpirun") or shutil.which("mpiexec")


@cache
def mpi_flavour() -> str | None:
    """Return the first words of ``mpirun --version``: Open MPI, MPICH, Intel MPI; None without mpirun."""
    mpirun = find_mpirun()
    if mpirun is None:
        return None
    said = _output_of([mpirun, "--version"])
    known = {
        "Open MPI": "Open MPI",
        "OpenRTE": "Open MPI",
        "Intel": "Intel MPI",
        "HYDRA": "MPICH",
    }
    return next((name for mark, name in known.items() if mark in said), "unknown MPI")


def default_ranks(program: Program | str = "pw.x") -> int:
    """Return how many ranks a program gets where nothing else is said.

    One for a serial program and where there is no MPI launcher; else the setting ``mpi_ranks``, what the
    queue allotted, or one a physical core of those it may use.
    """
    found = find_program(program) if isinstance(program, str) else program
    settings = get_settings()
    if not runs_parallel(found) or settings.mpi_command == "":
        return 1
    if settings.mpi_ranks is not None:
        return settings.mpi_ranks
    if settings.mpi_command is None and find_mpirun() is None:
        return 1
    allotted = next((os.environ[name] for name in QUEUE_RANKS if os.environ.get(name, "").isdigit()), None)
    return max(1, int(allotted)) if allotted else physical_cores()


def program_environment() -> dict[str, str]:
    """Return the environment of programs: this one, one thread a rank, leave to run Open MPI as root."""
    environment = dict(os.environ)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS"):
        environment[name] = "1"
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        environment["OMPI_ALLOW_RUN_AS_ROOT"] = "1"
        environment["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] = "1"
    return environment


@cache
def read_banner(program: Program) -> Banner:
    """Start a program without input and read what it says first: its version, and if it is an MPI build."""
    with tempfile.TemporaryDirectory(prefix="corecrown-") as scratch:  # it leaves a CRASH file where it runs
        said = _output_of([*program.command, "-i", os.devnull], Path(scratch))
    version = re.search(r"Program \S+ v\.\s*(\S+) starts", said)
    parallel = True if "Parallel version" in said and "MPI" in said else False if "Serial" in said else None
    return Banner(version[1] if version else None, parallel)


def runs_parallel(program: Program) -> bool:
    """Return whether a program can run in MPI ranks; one that does not say is taken to."""
    return not program.is_qepy and read_banner(program).parallel is not False


def program_version(program: Program | str = "pw.x") -> str | None:
    """Return the version that a program prints as it starts, such as ``6.7MaX``; None if it prints none."""
    found = find_program(program) if isinstance(program, str) else program
    return read_banner(found).version


def program_family(name: str = "pw.x") -> str:
    """Return the release that a program belongs to, for example ``6.7``; ``none`` where there is none.

    Results of one release are taken for another run's of the same release, wherever it was built.
    """
    try:
        version = program_version(name)
    except InputError:
        return "none"
    number = re.match(r"\d+(\.\d+)*", version or "")
    return number[0] if number else "unknown"


def blas_in_use(program: Program | str = "pw.x") -> str | None:
    """Return which BLAS a program is linked with: ``openblas``, ``reference``, ...; None if not seen.

    ``libblas.so.3`` is a link that Debian's alternatives set, so the file it leads to is what counts.
    """
    found = find_program(program) if isinstance(program, str) else program
    if found.is_qepy:
        return "reference"  # the wheel carries Netlib's libblas
    executable = found.executable
    if executable is None or shutil.which("ldd") is None:
        return None
    return identify_blas(_output_of(["ldd", str(executable)]))


def identify_blas(listing: str) -> str | None:
    """Tell the BLAS from what ``ldd`` prints for a program.

    Parameters
    ----------
    listing
        Lines such as ``libblas.so.3 => /lib/x86_64-linux-gnu/libblas.so.3 (0x7f...)``.
    """
    libraries = dict(re.findall(r"^\s*(\S+) => (/\S+)", listing, flags=re.MULTILINE))
    blas = [Path(path).resolve() for name, path in libraries.items() if re.match(r"lib(blas|cblas)\b", name)]
    followed = ["/".join(path.parts[-2:]) for path in blas]
    for text in [*followed, *libraries]:  # where a link leads says more than its name
        for name in BLAS_NAMES:
            if name in text.lower():
                return name
    return "reference" if blas else None


def _output_of(arguments: Sequence[str], folder: Path | None = None) -> str:
    """Return what a short command prints, whatever its exit code; nothing if it cannot run or hangs."""
    try:
        done = subprocess.run(
            arguments,
            capture_output=True,
            check=False,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            env=program_environment(),
            timeout=BANNER_LIMIT_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (done.stdout + done.stderr).decode("utf-8", errors="replace")
