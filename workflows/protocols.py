"""Protocols: how carefully each step is computed, for both engines, from ``inputs/protocols/*.yaml``."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from corecrown.errors import InputError, known_names
from corecrown.postprocess.results import Step
from corecrown.resources import input_folder, input_names, read_yaml

__all__ = [
    "BandsSettings",
    "ExcitationSettings",
    "Functional",
    "HybridSettings",
    "MassesSettings",
    "PdosSettings",
    "Protocol",
    "RelaxSettings",
    "StepSettings",
    "Theory",
    "level_of_step",
    "load_protocol",
]


class Functional(StrEnum):
    """Exchange-correlation functionals that a study can name."""

    PBE = "PBE"
    PBESOL = "PBEsol"


class Theory(BaseModel):
    """The level of theory of a calculation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    functional: Functional = Field(Functional.PBE, description="of the pseudopotentials, and of the run without hybrid")
    hybrid: Literal["HSE06"] | None = None
    dispersion: bool = Field(default=False, description="Grimme's D3 correction with Becke-Johnson damping")
    spin_orbit: bool = Field(default=False, description="spin-orbit coupling, with fully relativistic pseudopotentials")

    @property
    def name(self) -> str:
        """The functional as a result names it."""
        return (self.hybrid or self.functional.value) + ("+D3" if self.dispersion else "")


class StepSettings(BaseModel):
    """What every step knows. A mesh is given by its spacing or explicitly; one of the two."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    cutoff_wfc_ry: float = Field(gt=0, le=1000, description="plane-wave cutoff of the wavefunctions, Ry")
    cutoff_rho_ry: float | None = Field(None, gt=0, description="of the density, Ry; four times the other by default")
    encut_ev: float = Field(gt=0, description="VASP's cutoff, eV")
    kpoint_spacing: float | None = Field(None, gt=0, description="|b_i| / N_i in 1/Å, with 2π in b")
    kpoint_mesh: tuple[int, int, int] | None = None
    kpoint_shift: tuple[Literal[0, 1], Literal[0, 1], Literal[0, 1]] = (0, 0, 0)
    scf_threshold_ry_per_atom: float = Field(gt=0, le=1e-3)
    max_scf_iterations: int = Field(100, ge=1)
    mixing_beta: float = Field(0.5, gt=0, le=1)
    conduction_bands: int = Field(4, ge=0, description="empty bands that are computed")

    @model_validator(mode="after")
    def _one_mesh(self) -> "StepSettings":
        if (self.kpoint_mesh is None) == (self.kpoint_spacing is None):
            raise ValueError("give kpoint_mesh or kpoint_spacing, one of the two")
        if self.kpoint_mesh is not None and min(self.kpoint_mesh) < 1:
            raise ValueError("kpoint_mesh needs three numbers of at least 1")
        return self


class RelaxSettings(StepSettings):
    """When a relaxation is done."""

    relax_cell: bool = Field(default=True, description="whether the lattice constants relax too, or the atoms alone")
    force_threshold_ry_bohr: float = Field(gt=0)
    pressure_threshold_kbar: float = Field(gt=0)
    energy_threshold_ry_per_atom: float = Field(gt=0)
    max_ionic_steps: int = Field(ge=1)
    conduction_bands: int = Field(0, ge=0)


class BandsSettings(StepSettings):
    """Where bands are computed."""

    path: list[list[str]] = Field(description="lines through named points of the Pbnm Brillouin zone")
    path_spacing: float = Field(gt=0, description="largest distance of k-points along the path, 1/Å with 2π")
    conduction_bands: int = Field(12, ge=1)


class PdosSettings(StepSettings):
    """How the projected density of states is made."""

    sigma_ev: float = Field(0.1, gt=0, description="standard deviation of the Gaussian broadening, eV")
    step_ev: float = Field(0.02, gt=0, description="distance of the energies, eV")
    conduction_bands: int = Field(24, ge=1)


class MassesSettings(StepSettings):
    """How effective masses are measured."""

    max_refinements: int = Field(4, ge=0, description="further stencils that an edge may ask for")
    conduction_bands: int = Field(6, ge=2)


class HybridSettings(StepSettings):
    """How exact exchange is computed."""

    spin_orbit: bool = Field(default=False, description="whether the step is computed with spin-orbit coupling")
    q_mesh: tuple[int, int, int] = (1, 1, 1)
    cutoff_fock_ry: float | None = Field(None, gt=0, description="of the exact exchange, Ry; cutoff_wfc_ry by default")
    path: list[list[str]] | None = Field(None, description="VASP: lines for bands; by default the named points alone")
    path_spacing: float = Field(0.1, gt=0, description="VASP: largest distance of k-points along the path, 1/Å with 2π")


class ExcitationSettings(StepSettings):
    """How excited states are converged; always at Γ alone."""

    mixing_beta: float = Field(0.3, gt=0, le=1)
    conduction_bands: int = Field(6, ge=1)
    max_tries: int = Field(4, ge=1, description="runs of an excited state before it counts as failed")
    degeneracy_ev: float = Field(
        0.1, ge=0, description="orbitals closer than this to the one that was asked for count with it, eV"
    )
    dielectric_constant: float | None = Field(
        None, ge=1, description="for the correction of charged cells; none is applied without it"
    )
    relax_excited: bool = Field(default=False, description="whether atoms relax in the excited state, at fixed lattice")
    force_threshold_ry_bohr: float = Field(3e-3, gt=0, description="of that relaxation")
    max_ionic_steps: int = Field(40, ge=1, description="of that relaxation")


_COUPLED = {Step.SPIN_ORBIT, Step.MASSES_SPIN_ORBIT, Step.HYBRID_SPIN_ORBIT}
_HYBRID = {Step.HYBRID, Step.HYBRID_SPIN_ORBIT}


def level_of_step(step: Step, theory: Theory, settings: StepSettings) -> Theory:
    """Return the level of theory of a step: the study's own, or what the step is there to add to it.

    HSE06 is built on PBE, so a hybrid step is PBE's whatever the functional of the other steps. With spin-orbit
    coupling comes a step that is named for it, and a hybrid one whose settings say so.
    """
    if step in _HYBRID:
        coupled = theory.spin_orbit or step in _COUPLED or getattr(settings, "spin_orbit", False)
        return theory.model_copy(update={"functional": Functional.PBE, "hybrid": "HSE06", "spin_orbit": coupled})
    return theory.model_copy(update={"spin_orbit": True, "hybrid": None}) if step in _COUPLED else theory


_MODELS: dict[Step, type[StepSettings]] = {
    Step.RELAX: RelaxSettings,
    Step.SCF: StepSettings,
    Step.BANDS: BandsSettings,
    Step.PDOS: PdosSettings,
    Step.MASSES: MassesSettings,
    Step.HYBRID: HybridSettings,
    Step.HYBRID_SPIN_ORBIT: HybridSettings,
    Step.SPIN_ORBIT: StepSettings,
    Step.MASSES_SPIN_ORBIT: MassesSettings,
    Step.EXCITATION: ExcitationSettings,
}


_ALSO: dict[Step, tuple[str, ...]] = {
    Step.MASSES_SPIN_ORBIT: (Step.MASSES.value,),
    Step.HYBRID_SPIN_ORBIT: (Step.HYBRID.value,),
}
"""Steps whose keys another step takes over."""


@dataclass(frozen=True)
class Protocol:
    """A named set of step settings.

    Parameters
    ----------
    name, description
        As in the file.
    converged
        Whether its gaps are meant to be believed in themselves.
    gap_uncertainty_ev
        What a gap may be off by for want of cutoff and mesh, eV; the shift between two cells by √2 of it.
    steps
        Keys and values by step, defaults and overrides merged.
    """

    name: str
    description: str
    converged: bool
    gap_uncertainty_ev: float
    steps: dict[Step, dict[str, Any]] = field(repr=False)

    def settings(self, step: Step) -> Any:
        """Return the validated settings of a step, an instance of that step's settings class."""
        return _MODELS[step].model_validate(self.steps[step])


def load_protocol(name: str, overrides: dict[str, dict[str, Any]] | None = None) -> Protocol:
    """Read a protocol that ships with the package and lay overrides over it.

    Parameters
    ----------
    name
        ``demo``, ``fast``, ``balanced`` or ``precise``.
    overrides
        By step name, or ``all``; the keys are those of the step's settings.

    Raises
    ------
    InputError
        If the protocol, a step or a key is unknown, or a value is not allowed.
    """
    if name not in input_names("protocols"):
        raise InputError(f"protocol {name!r} is unknown", known_names(name, input_names("protocols")))
    content = read_yaml(input_folder("protocols", f"{name}.yaml"))
    overrides = overrides or {}
    places = ["all", *(step.value for step in Step)]
    for place in overrides:
        if place not in places:
            raise InputError(f"overrides: step {place!r} is unknown", known_names(place, places))
    _check_gamma(overrides.get(Step.EXCITATION.value) or {})
    steps = {}
    for step in Step:
        merged: dict[str, Any] = {}
        for source in (content, overrides):
            for place in ("all", *_ALSO.get(step, ()), step.value):
                merged = _lay_over(merged, source.get(place) or {})
        _check(step, merged, overrides)
        steps[step] = merged
    return Protocol(
        name=content["name"],
        description=content["description"],
        converged=content["converged"],
        gap_uncertainty_ev=content["gap_uncertainty_ev"],
        steps=steps,
    )


def _check_gamma(asked: dict[str, Any]) -> None:
    """Raise where a study asks for more k-points than the one that given occupations allow."""
    for key, only in (("kpoint_mesh", [1, 1, 1]), ("kpoint_shift", [0, 0, 0]), ("kpoint_spacing", None)):
        value = asked.get(key, only)
        if (list(value) if isinstance(value, list | tuple) else value) != only:
            raise InputError(
                f"overrides.excitation.{key}: {value}: given occupations take one k-point, Γ",
                "leave the mesh out; excitation.supercell samples more",
            )


def _lay_over(lower: dict[str, Any], upper: dict[str, Any]) -> dict[str, Any]:
    """Merge two layers; naming a mesh in the upper one removes the spacing of the lower one, and the reverse."""
    merged = dict(lower)
    for mine, other in (("kpoint_mesh", "kpoint_spacing"), ("kpoint_spacing", "kpoint_mesh")):
        if mine in upper and other not in upper:
            merged.pop(other, None)
            merged.pop("kpoint_shift", None)
    return merged | upper


def _check(step: Step, merged: dict[str, Any], overrides: dict[str, dict[str, Any]]) -> None:
    model = _MODELS[step]
    try:
        model.model_validate(merged)
    except ValidationError as error:
        first = error.errors()[0]
        field_name = ".".join(str(part) for part in first["loc"]) or "kpoint_mesh"
        unknown = first["type"] == "extra_forbidden"
        message = "unknown key" if unknown else str(first["msg"]).removeprefix("Value error, ")
        said_there = step.value in overrides or "all" not in overrides
        where = step.value if said_there else "all"
        raise InputError(
            f"overrides.{where}.{field_name}: {message}",
            known_names(field_name, model.model_fields, f"keys of step {step.value}"),
        ) from error
