"""What was measured: the model of an experiment file (``inputs/experiments/*.yaml``) and how one is read."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from corecrown.errors import InputError, known_names
from corecrown.resources import input_folder, input_names, read_yaml

__all__ = [
    "Compared",
    "Computed",
    "Conditions",
    "Experiment",
    "Model",
    "Optical",
    "Place",
    "Quantity",
    "Source",
    "TrapChange",
    "Traps",
    "Ups",
    "load_experiment",
]


class _Entry(BaseModel):
    """Base of all parts of an experiment file: frozen, unknown keys and infinite numbers refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    notes: list[str] = Field(default_factory=list)


class Quantity(_Entry):
    """A number with its range and its source; the unit is in the name of the field that holds it."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    uncertainty: float | None = Field(None, ge=0)
    source: str

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low ({self.low}) is above high ({self.high})")
        return self


class Source(_Entry):
    """Where the numbers come from."""

    paper: str | None = None
    journal: str | None = None
    year: int | None = None
    doi: str | None = None
    synthetic: bool = Field(default=False, description="made by a generator, not measured")


class Place(_Entry):
    """Edges measured at one place of the platelets; voltages are sample bias."""

    vbm_v: float | None = Field(None, description="valence edge, V of sample bias")
    cbm_v: float | None = Field(None, description="conduction edge, V of sample bias")
    gap_ev: float | None = Field(None, description="cbm_v - vbm_v where it is not given")
    vbm_standard_error_v: float | None = Field(None, ge=0)
    cbm_standard_error_v: float | None = Field(None, ge=0)
    gap_standard_error_ev: float | None = Field(None, ge=0, description="of the mean over platelets")
    gap_std_ev: float | None = Field(None, ge=0, description="over platelets")
    onset_gap_ev: float | None = Field(None, gt=0, description="gap between onsets, where both are known")
    n: int | None = Field(None, ge=1, description="platelets")
    n_range: tuple[int, int] | None = None
    method: str | None = Field(None, description="how edges were found, for example first-peak")
    prominence: float | None = Field(None, ge=0, description="required of a peak, part of the tallest")
    source: str | None = None

    @model_validator(mode="after")
    def _edges_in_order(self) -> Self:
        if self.vbm_v is not None and self.cbm_v is not None and self.vbm_v >= self.cbm_v:
            raise ValueError(f"vbm_v ({self.vbm_v}) is not below cbm_v ({self.cbm_v})")
        return self

    @property
    def gap(self) -> float | None:
        """Gap in eV: as given, or the distance between the edges."""
        if self.gap_ev is not None:
            return self.gap_ev
        if self.vbm_v is None or self.cbm_v is None:
            return None
        return self.cbm_v - self.vbm_v

    @property
    def gap_error(self) -> float | None:
        """Standard error of the gap in eV: as given, from both edges, or from the spread over n platelets."""
        if self.gap_standard_error_ev is not None:
            return self.gap_standard_error_ev
        if self.vbm_standard_error_v is not None and self.cbm_standard_error_v is not None:
            return float((self.vbm_standard_error_v**2 + self.cbm_standard_error_v**2) ** 0.5)
        if self.gap_std_ev is not None and self.n is not None:
            return float(self.gap_std_ev / self.n**0.5)
        return None


class Compared(_Entry):
    """Which cell stands for which place."""

    cell: str
    place: str


class Conditions(_Entry):
    """How it was measured."""

    temperature_k: float | None = Field(None, gt=0)
    modulation_v: float | None = Field(None, ge=0, description="lock-in, peak amplitude; null for a derivative")
    substrate: str | None = None
    monolayers: int | None = Field(None, ge=1)
    tip: str | None = None
    set_point_a: float | None = Field(None, gt=0)
    set_point_v: float | None = None
    feedback: bool | None = None
    sweeps_per_platelet: int | None = Field(None, ge=1)
    order: Literal["average-then-differentiate", "differentiate-then-average"] | None = None


class Alignment(_Entry):
    """Crown against core as the source states it."""

    type: Literal["I", "II", "inverted I"] | None = None
    valence_offset_ev: Quantity | None = None
    conduction_offset_ev: Quantity | None = None


class TrapChange(_Entry):
    """Change of the trap integral between two places."""

    reference: str
    group: str
    percent: Quantity


class Traps(_Entry):
    """In-gap integrals."""

    window_v: tuple[float, float]
    normalised_by: str
    changes: list[TrapChange] = Field(default_factory=list)


class Stability(_Entry):
    """Repeated sweeps of one platelet."""

    sweeps: list[int]
    window: str
    core: str | None = None
    core_crown: str | None = None


class Ups(_Entry):
    """Photoemission, on the vacuum scale."""

    work_function_ev: Quantity
    ionisation_energy_ev: Quantity
    fermi_minus_vbm_ev: Quantity | None = None


class Optical(_Entry):
    """Optical gap."""

    gap_ev: Quantity
    exciton_binding_ev: Quantity | None = None


class Computed(_Entry):
    """What the source itself computed, by cell label."""

    functional: str | None = None
    gaps_ev: dict[str, Quantity] = Field(default_factory=dict)
    shifts_ev: dict[str, Quantity] = Field(default_factory=dict)
    other: dict[str, Quantity] = Field(default_factory=dict)
    statements: list[str] = Field(default_factory=list)


class Model(_Entry):
    """What the estimates of the ledger assume; a missing one leaves its term without a value."""

    permittivity_inside: Quantity | None = None
    permittivity_outside: Quantity | None = None
    permittivity_static: Quantity | None = None
    barrier_ev: Quantity | None = None
    ligand_nm: Quantity | None = None
    tip_distance_nm: Quantity | None = None
    exciton_binding_ev: Quantity | None = None
    bulk_gap_ev: Quantity | None = None


class Experiment(_Entry):
    """An experiment file."""

    name: str
    source: Source = Field(default_factory=Source)
    places: dict[str, Place]
    compare: list[Compared] = Field(default_factory=list, description="reference first")
    conditions: Conditions = Field(default_factory=Conditions)
    alignment: Alignment | None = None
    traps: Traps | None = None
    stability: Stability | None = None
    thickness_nm: dict[str, Quantity] = Field(default_factory=dict)
    ups: dict[str, Ups] = Field(default_factory=dict)
    optical: Optical | None = None
    other: dict[str, Quantity] = Field(default_factory=dict)
    computed: Computed | None = None
    model: Model = Field(default_factory=Model)

    @model_validator(mode="after")
    def _places_exist(self) -> Self:
        seen: set[str] = set()
        for index, pair in enumerate(self.compare):
            if pair.place not in self.places:
                raise ValueError(
                    f"compare[{index}].place: there is no place {pair.place!r}; places: "
                    f"{', '.join(self.places) or 'none'}"
                )
            if pair.cell in seen:
                raise ValueError(f"compare[{index}].cell: {pair.cell!r} is listed twice")
            seen.add(pair.cell)
        return self


def load_experiment(name_or_path: str | Path = "sts-core-crown", base_dir: Path | None = None) -> Experiment:
    """Read an experiment file.

    Parameters
    ----------
    name_or_path
        Name of a file of ``inputs/experiments`` (without suffix), or a path.
    base_dir
        Folder that a relative path starts from; the current folder by default.

    Raises
    ------
    InputError
        If there is no such file, or it holds an unknown key or a wrong value; the message names file and
        field.
    """
    path = _find(name_or_path, base_dir)
    content = read_yaml(path)
    try:
        return Experiment.model_validate(content)
    except ValidationError as error:
        raise _explained(path, error) from error


def _find(name_or_path: str | Path, base_dir: Path | None) -> Path:
    shipped = input_names("experiments")
    if str(name_or_path) in shipped:
        return input_folder("experiments", f"{name_or_path}.yaml")
    path = Path(name_or_path).expanduser()
    if not path.is_absolute():
        path = (base_dir or Path()) / path
    if not path.is_file():
        raise InputError(
            f"experiment {name_or_path}: no such file ({path}) and none that ships has this name",
            known_names(name_or_path, shipped, "shipped") + "; or give the path of a file",
        )
    return path


def _explained(path: Path, error: ValidationError) -> InputError:
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"]) or "file"
    if first["type"] == "extra_forbidden":
        allowed = _allowed_keys(first["loc"][:-1])
        hint = known_names(first["loc"][-1], allowed, "allowed here") if allowed else "remove it"
        return InputError(f"{path}: field {field}: unknown key", hint)
    return InputError(f"{path}: field {field}: {first['msg']}", "inputs/experiments/sts-core-crown.yaml is an example")


def _allowed_keys(location: tuple[int | str, ...]) -> list[str]:
    """Follow a field path through the models to the keys that are allowed at its end."""
    model: type[BaseModel] | None = Experiment
    for part in location:
        if model is None or not isinstance(part, str) or part not in model.model_fields:
            continue
        model = _model_inside(model.model_fields[part].annotation)
    return sorted(model.model_fields) if model is not None else []


def _model_inside(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for part in getattr(annotation, "__args__", ()):
        found = _model_inside(part)
        if found is not None:
            return found
    return None
