"""A study file: which cells go through which steps, with what care, on which engine."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, field_validator, model_validator

from corecrown.errors import InputError, known_names
from corecrown.postprocess.experiment import load_experiment
from corecrown.postprocess.results import Step
from corecrown.resources import input_folder, input_names, read_yaml
from corecrown.structures.cells import CellSpec
from corecrown.workflows.protocols import Functional, Protocol, load_protocol
from corecrown.workflows.steps import with_needed

__all__ = ["Engine", "ExcitationSpec", "Prerelax", "StartSpec", "StudySpec", "load_study"]


class Engine(StrEnum):
    """The codes that can compute a study."""

    ESPRESSO = "espresso"
    VASP = "vasp"


class Prerelax(StrEnum):
    """Where the geometry that the first step sees comes from."""

    NONE = "none"
    CHGNET = "chgnet"
    COMMITTED = "committed"


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StartSpec(_Spec):
    """How cells are prepared before the first step."""

    prerelax: Prerelax = Prerelax.NONE


class ExcitationSpec(_Spec):
    """Which excitations are computed."""

    kinds: list[str] = Field(["neutral"], min_length=1)
    supercell: tuple[int, int, int] = (1, 1, 1)

    @field_validator("kinds", mode="before")
    @classmethod
    def _a_list(cls, kinds: Any) -> Any:
        listed = isinstance(kinds, (list, tuple))
        if not listed:
            raise ValueError(f"{kinds!r} is no list of names: write [neutral], or [neutral, hole]")
        return kinds

    @field_validator("supercell", mode="before")
    @classmethod
    def _three_numbers(cls, supercell: Any) -> Any:
        if not isinstance(supercell, (list, tuple)) or len(supercell) != 3:
            raise ValueError(f"{supercell!r}: three whole numbers, along a, b and c, as [1, 1, 2]")
        return supercell

    @field_validator("kinds")
    @classmethod
    def _known_kinds(cls, kinds: list[str]) -> list[str]:
        from corecrown.workflows.espresso.excitation_states import parse_state

        for kind in kinds:
            try:
                parse_state(kind)
            except InputError as error:
                raise ValueError(f"{error.message}; {error.hint}") from error
        return kinds

    @field_validator("supercell")
    @classmethod
    def _some_cells(cls, supercell: tuple[int, int, int]) -> tuple[int, int, int]:
        if min(supercell) < 1:
            raise ValueError("three numbers of at least 1")
        return supercell


class StudySpec(_Spec):
    """A study, as its file says it."""

    name: str
    engine: Engine = Engine.ESPRESSO
    protocol: str = "fast"
    functional: Functional = Functional.PBE
    dispersion: bool = False
    steps: list[Step] = Field(default_factory=lambda: [Step.RELAX, Step.SCF, Step.BANDS, Step.PDOS], min_length=1)
    cells: list[CellSpec] = Field(min_length=1)
    start: StartSpec = Field(default_factory=StartSpec)
    excitation: ExcitationSpec = Field(default_factory=ExcitationSpec)
    overrides: dict[str, dict[str, Any]] = Field(default_factory=dict)
    experiment: str | None = "sts-core-crown"

    _path: Path | None = PrivateAttr(default=None)

    @field_validator("protocol")
    @classmethod
    def _known_protocol(cls, name: str) -> str:
        if name not in input_names("protocols"):
            raise ValueError(f"unknown; {known_names(name, input_names('protocols'))}")
        return name

    @model_validator(mode="after")
    def _kinds_of_engine(self) -> "StudySpec":
        plain = {"neutral", "electron", "hole"}
        others = [kind for kind in self.excitation.kinds if kind not in plain]
        if self.engine is Engine.VASP and others:
            raise ValueError(f"excitation.kinds {', '.join(others)}: VASP has {', '.join(sorted(plain))}")
        return self

    @model_validator(mode="after")
    def _steps_of_cells(self) -> "StudySpec":
        computed = {step.value for step in with_needed(self.steps)}
        for place, cell in enumerate(self.cells):
            others = [name for name in cell.steps or () if name not in computed]
            if others or cell.steps == ():
                wrong = f"{others[0]!r} is not among the steps of the study" if others else "names none"
                raise ValueError(f"cells.{place}.steps: {wrong} ({', '.join(sorted(computed))})")
        return self

    @property
    def folder(self) -> Path:
        """Folder that relative paths in the file are relative to."""
        return self._path.parent if self._path is not None else Path.cwd()

    @property
    def source(self) -> str:
        """The file it was read from, for people."""
        return str(self._path) if self._path is not None else "code"

    def load_protocol(self) -> Protocol:
        """Return the protocol with this study's overrides laid over it."""
        return load_protocol(self.protocol, self.overrides)

    def check_experiment(self) -> None:
        """Raise where the experiment file is missing or wrong, before hours are spent.

        An absolute path that leads nowhere is let pass: a study that went to another machine names it so.
        """
        if self.experiment is not None and (Path(self.experiment).is_file() or not Path(self.experiment).is_absolute()):
            load_experiment(self.experiment, self.folder)

    def changed(self, **fields: Any) -> "StudySpec":
        """Return the same study with some fields replaced and validated; None leaves a field as it is."""
        content = self.model_dump(mode="json", by_alias=True, exclude_unset=True)
        new = _validated(content | {key: value for key, value in fields.items() if value is not None}, "options")
        new._path = self._path
        return new

    def to_yaml(self) -> str:
        """Return the study as text that :func:`load_study` reads wherever it is put."""
        return yaml.safe_dump(self.portable(), sort_keys=False, allow_unicode=True)

    def portable(self) -> dict[str, Any]:
        """Return what a study file holds, its paths absolute."""
        content = self.model_dump(mode="json", by_alias=True, exclude_unset=True)
        for cell in content["cells"]:
            if "file" in cell:
                cell["file"] = str((self.folder / cell["file"]).resolve())
        experiment = self.experiment
        if experiment is not None and (self.folder / experiment).is_file():
            content["experiment"] = str((self.folder / experiment).resolve())
        return content


def load_study(path: str | Path) -> StudySpec:
    """Read a study file.

    Parameters
    ----------
    path
        A file, or the name of a study that ships with the package (``demo``, ``substitution``).

    Raises
    ------
    InputError
        If the file is not a study; names file, field and the allowed values.
    """
    path, shipped = Path(path), input_names("studies")
    if not path.exists() and str(path) in shipped:
        path = input_folder("studies", f"{path}.yaml")
    elif not path.exists():
        raise InputError(f"{path}: there is no such file", known_names(path.stem, shipped, "studies that ship"))
    spec = _validated(read_yaml(path), str(path))
    spec._path = path.resolve()
    try:
        spec.load_protocol()
        spec.check_experiment()
    except InputError as error:
        raise InputError(f"{path}: {error.message}", error.hint) from error
    return spec


def _validated(content: dict[str, Any], where: str) -> StudySpec:
    try:
        return StudySpec.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        unknown = first["type"] == "extra_forbidden"
        message = "unknown key" if unknown else str(first["msg"]).removeprefix("Value error, ")
        place = f"{where}, field {_dotted(first['loc'])}" if first["loc"] else where
        raise InputError(f"{place}: {message}", _hint(first["loc"], first["input"])) from error


def _dotted(location: Sequence[int | str]) -> str:
    return ".".join(str(part) for part in location)


def _hint(location: Sequence[int | str], found: object) -> str:
    models: dict[str, type[BaseModel]] = {"cells": CellSpec, "start": StartSpec, "excitation": ExcitationSpec}
    if not location:
        return "check what the study asks for together"
    model = models.get(str(location[0]))
    if len(location) == 1:
        return known_names(location[0], StudySpec.model_fields, "a study has")
    if model is None:
        return known_names(found, Step, "allowed steps") if location[0] == "steps" else "check the value"
    names = [info.alias or name for name, info in model.model_fields.items()]
    return known_names(location[-1], names, f"an entry of {location[0]} has")
