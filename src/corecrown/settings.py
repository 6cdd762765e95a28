"""Settings of this machine: programs, folders, MPI. From the environment, then from a file, then defaults."""

import os
import re
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    YamlConfigSettingsSource,
)

from corecrown.errors import InputError, known_names

__all__ = ["ClusterSettings", "QueueResources", "Settings", "get_settings", "settings_file"]


def settings_file() -> Path:
    """Return where the settings file of this user is (it need not exist)."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "corecrown" / "settings.yaml"


def _data_folder() -> Path:
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "corecrown"


def _seconds(value: Any) -> Any:
    """Take a walltime as queues write it (``12:00:00``, ``1-12:00:00``) for seconds."""
    found = re.fullmatch(r"(?:(\d+)-)?(\d+):([0-5]?\d):([0-5]?\d)", value.strip()) if isinstance(value, str) else None
    if isinstance(value, str) and found is None and not value.strip().isdigit():
        raise ValueError(f"{value!r} is no time: give hours:minutes:seconds, such as '12:00:00'")
    if found is None:
        return value
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


class QueueResources(BaseModel):
    """What a job of a queue asks for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    walltime: Annotated[int, BeforeValidator(_seconds)] | None = Field(None, gt=0, description="hours:minutes:seconds")
    ranks: int | None = Field(None, ge=1, description="MPI ranks")
    mpi_command: str | None = Field(None, description="MPI launcher with {ranks} in it, such as 'srun -n {ranks}'")
    modules: list[str] | None = Field(None, description="environment modules to load")
    before: list[str] | None = Field(None, description="shell lines to run before, such as 'source env.sh'")
    resources: dict[str, str | int] = Field(
        default_factory=dict, description="the queue's own options: partition, account, nodes, mem, qos, ... (qtoolkit)"
    )
    extra_lines: list[str] = Field(default_factory=list, description="header lines as they are, such as '#SBATCH ...'")


class ClusterSettings(QueueResources):
    """How studies are submitted to a queue."""

    scheduler: Literal["slurm", "pbs", "sge"] | None = None
    steps: dict[str, QueueResources] = Field(default_factory=dict, description="what single steps ask for instead")
    resubmissions: int = Field(10, ge=0, description="how often a job whose time ran out is submitted again")
    cells_per_job: int = Field(1, ge=1, description="cells that one job computes one after another")
    max_array_size: int = Field(1000, ge=1, description="jobs in one array; Slurm's own limit is 1000 by default")
    max_running: int | None = Field(None, ge=1, description="jobs of one array that run at a time")
    command: str | None = Field(None, description="how corecrown is called on the nodes; by default as it was here")


class Settings(BaseSettings):
    """What corecrown needs to know of this machine.

    Every field can be set as ``CORECROWN_<FIELD>`` in the environment or in ``~/.config/corecrown/settings.yaml``;
    the environment wins. Unknown keys in either are errors.
    """

    model_config = SettingsConfigDict(env_prefix="CORECROWN_", extra="forbid", frozen=True)

    data_dir: Path = Field(default_factory=_data_folder, description="pseudopotentials are kept below this folder")
    pseudo_dir: Path | None = Field(None, description="a folder of your own UPF files, one a species; instead of ours")
    espresso_bin: str | None = Field(
        None, description="how pw.x and its sisters are called: a folder, or a command with {program} in it"
    )
    mpi_command: str | None = Field(
        None, description="MPI launcher with {ranks} in it, for example 'srun -n {ranks}'; empty for none"
    )
    mpi_ranks: int | None = Field(None, ge=1, description="MPI ranks; by default one a physical core")
    scratch_dir: Path | None = Field(None, description="wavefunctions go here instead of beside the run")
    custodian_polling_s: float = Field(0.5, gt=0, description="seconds between looks at a running program")
    silence_limit_s: float = Field(3600, gt=0, description="a program that writes nothing for so long is stopped")
    extra_handlers: list[str] = Field(
        default_factory=list, description="custodian handlers of your own, as 'module.Class', tried before ours"
    )
    vasp_std_command: str | None = Field(None, description="how vasp_std is called, with MPI")
    vasp_ncl_command: str | None = Field(None, description="how vasp_ncl is called, with MPI")
    walltime_s: float | None = Field(None, gt=0, description="seconds until the queue ends this process")
    cluster: ClusterSettings = Field(default_factory=ClusterSettings, description="queue of a cluster")
    reuse: bool = Field(
        default=True, description="take finished calculations of the studies beside this one, by their key"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read the environment first, then the settings file."""
        del dotenv_settings, file_secret_settings
        return init_settings, env_settings, YamlConfigSettingsSource(settings_cls, yaml_file=settings_file())


@cache
def get_settings() -> Settings:
    """Return the settings of this process.

    Raises
    ------
    InputError
        If the environment or the settings file holds an unknown key or a value of the wrong kind.
    """
    known = {f"CORECROWN_{name.upper()}" for name in Settings.model_fields}
    unknown = sorted(name for name in os.environ if name.startswith("CORECROWN_") and name not in known)
    if unknown:
        raise InputError(
            f"environment: {unknown[0]} is not a setting of corecrown", known_names(unknown[0], sorted(known))
        )
    try:
        return Settings()
    except SettingsError as error:
        named = re.search(r'field "(\w+)"', str(error))
        raise InputError(
            f"environment: CORECROWN_{named[1].upper() if named else '...'} is no JSON",
            "fields with parts are given as JSON, such as '{\"ranks\": 4}'",
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        unknown_key = first["type"] == "extra_forbidden"
        said = "unknown key" if unknown_key else first["msg"].removeprefix("Value error, ")
        raise InputError(
            f"settings (environment or {settings_file()}), field {field}: {said}",
            f"known fields: {', '.join(Settings.model_fields)}",
        ) from error
