"""Running VASP under custodian, in a folder of its own."""

import gzip
import logging
import os
import re
import shlex
import shutil
import time
import warnings
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from corecrown.errors import InputError, RunError
from corecrown.settings import get_settings
from corecrown.workflows.vasp.inputs import Program, VaspInput
from corecrown.workflows.vasp.potcars import require_potcars

__all__ = [
    "copy_density",
    "copy_unpacked",
    "find_command",
    "keep_outputs",
    "reason_of_failure",
    "run_vasp",
    "tidy",
    "write_inputs",
]

MAX_ERRORS = 5
OUTPUT = "vasp.out"
KEPT = ("INCAR", "KPOINTS", "POSCAR", "CONTCAR", "OSZICAR", "OUTCAR", "vasprun.xml", OUTPUT)
HEAVY = (
    *("AECCAR*", "CHG", "DOSCAR", "EIGENVAL", "ELFCAR", "IBZKPT", "LOCPOT", "PCDAT", "POTCAR", "PROCAR", "REPORT"),
    *("STOPCAR", "TMPCAR", "WAVECAR*", "WAVEDER", "XDATCAR", "vaspout.h5", "vaspwave.h5", "*.orig"),
)
"""Removed when a step is done: POTCAR can be made again from POTCAR.spec, and vasprun.xml holds the others' content."""


def find_command(program: Program) -> list[str]:
    """Return how a program of VASP is called.

    Raises
    ------
    InputError
        If the settings do not say and it is not on the path, or what they say cannot be found.
    """
    settings = get_settings()
    field = "vasp_ncl_command" if program is Program.NCL else "vasp_std_command"
    said: str | None = getattr(settings, field)
    cure = f"set CORECROWN_{field.upper()}, for example 'srun {program.value}', or put {program.value} on the PATH"
    if said is None:
        found = shutil.which(program.value)
        if found is None:
            raise InputError(f"no command for {program.value}", cure)
        return [found]
    words = shlex.split(os.path.expandvars(said))
    if not words or shutil.which(words[0]) is None:
        raise InputError(f"settings, field {field}: {said!r} cannot be run: no such program", cure)
    return words


def write_inputs(folder: Path, inputs: VaspInput) -> None:
    """Write INCAR, KPOINTS, POSCAR and POTCAR.spec into a folder, and POTCAR where it is in reach."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in inputs.files().items():
        (folder / name).write_text(text, encoding="utf-8")


def run_vasp(folder: Path, inputs: VaspInput) -> float:
    """Write the inputs into a folder and run VASP to a good end; returns its wall time in s.

    Raises
    ------
    InputError
        If the program or a POTCAR is out of reach.
    RunError
        If VASP did not come to a good end after the last try, or a handler changed what is computed.
    """
    from custodian.custodian import Custodian, CustodianError
    from custodian.vasp.jobs import VaspJob
    from custodian.vasp.validators import VaspFilesValidator, VasprunXMLValidator

    from corecrown.workflows.vasp.handlers import default_handlers, require_same_physics

    command = find_command(inputs.program)
    require_potcars(inputs.potcars.values())
    write_inputs(folder, inputs)
    settings = get_settings()
    fixed = int(inputs.incar.get("ISMEAR", 0)) == -2
    # never vasp_gam: it has no spin-orbit coupling, and takes no command of ours
    job = VaspJob(command, output_file=OUTPUT, auto_npar=False, auto_gamma=False, backup=False)
    custodian = Custodian(
        [*_extra_handlers(settings.extra_handlers), *default_handlers(fixed_occupations=fixed)],
        [job],
        validators=[VasprunXMLValidator(output_file=OUTPUT), VaspFilesValidator()],
        max_errors=MAX_ERRORS,
        polling_time_step=settings.custodian_polling_s,
        monitor_freq=max(1, round(10 / settings.custodian_polling_s)),
        directory=str(folder),
        terminate_on_nonzero_returncode=False,
    )
    started = time.monotonic()
    quiet = logging.getLogger("custodian")
    level = quiet.level
    quiet.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pymatgen about POTCARs that it does not know
            custodian.run()
    except (CustodianError, OSError, ValueError) as error:
        raise RunError(
            f"{inputs.program.value} did not come to a good end: {reason_of_failure(folder, error)}",
            f"see {folder / OUTPUT} and {folder / 'custodian.json'}",
        ) from error
    finally:
        quiet.setLevel(level)
    require_same_physics(folder, inputs.incar, inputs.files()["KPOINTS"])
    return time.monotonic() - started


def reason_of_failure(folder: Path, error: Exception) -> str:
    """Return what VASP said of its failure, or failing that what custodian made of it."""
    text = _read(folder / OUTPUT) + "\n" + _read(folder / "std_err.txt")
    boxed = [line.strip(" |\t") for line in text.splitlines() if line.strip().startswith("|")]
    said = [line for line in boxed if len(line) > 20 and not re.fullmatch(r"[-EROWANIG!# ]+", line)]
    said = said or [line.strip() for line in text.splitlines() if re.search(r"error|fatal|fail", line, re.IGNORECASE)]
    if said:
        return " ".join(said[:3])[:300]
    corrections = re.findall(r'"errors":\s*\[\s*"([^"]+)"', _read(folder / "custodian.json"))
    if corrections and corrections[-1] == "Unconverged":
        return f"it did not converge, {len(corrections)} corrections notwithstanding"
    return str(error).splitlines()[0][:200] or type(error).__name__


def keep_outputs(folder: Path, suffix: str) -> None:
    """Set the files of a run aside, so that the next one in the folder leaves them alone."""
    for name in KEPT:
        path = folder / name
        if path.is_file():
            shutil.copyfile(path, folder / f"{name}.{suffix}")


def copy_density(source: Path, target: Path) -> None:
    """Copy the density of an scf into a fresh folder, unpacked.

    Raises
    ------
    RunError
        If the density is not there.
    """
    copy_unpacked(source, target, "CHGCAR", "run the scf step again (study rerun)")


def copy_unpacked(source: Path, target: Path, name: str, hint: str) -> None:
    """Copy a file, packed or not, into another folder, unpacked.

    Raises
    ------
    RunError
        If it is not there or damaged.
    """
    try:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)
            return
        with gzip.open(source / f"{name}.gz", "rb") as packed, (target / name).open("wb") as unpacked:
            shutil.copyfileobj(packed, unpacked)
    except (OSError, EOFError) as error:
        raise RunError(f"{source}: no whole {name} to start from", hint) from error


def tidy(folder: Path, keep: Iterable[str] = ()) -> None:
    """Remove what is heavy and can be had again, and pack the rest.

    Parameters
    ----------
    folder
        Folder of a run that is done.
    keep
        Names that are kept although they are heavy.
    """
    kept = set(keep)
    for pattern in HEAVY:
        for path in folder.glob(pattern):
            if path.name not in kept:
                path.unlink(missing_ok=True)
    for pattern in ("CHGCAR", "CHGCAR.*", *KEPT, *(f"{name}.*" for name in KEPT), *kept):
        for path in folder.glob(pattern):
            if path.name != "INCAR" and path.suffix != ".gz":
                _pack(path)
    for path in folder.glob("std_err.txt"):
        if path.stat().st_size == 0:
            path.unlink()


def _pack(path: Path) -> None:
    with path.open("rb") as plain, gzip.open(path.with_name(f"{path.name}.gz"), "wb", compresslevel=5) as packed:
        shutil.copyfileobj(plain, packed)
    path.unlink()


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


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
