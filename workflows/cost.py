"""What a run of pw.x costs: a small additive model of its work, fitted to our own recorded runs.

Core-seconds of a run are a sum of few terms, each a count of operations times a constant:

    start + rounds × k-points × bands × waves × (fft · log2 waves + projector · projectors + subspace · bands)
          + stress · k-points × bands × waves × projectors
          + exchange · k-points × q-points × bands × occupied × waves × log2 waves

Rounds are relative to those of an scf from scratch: fewer from a density, one set for each ionic step, those of bands.
The constants and the error of the model stand in ``inputs/cost/espresso.yaml``; ``benchmarks/fit_cost.py`` makes it.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path

import numpy as np
from ase import units
from pydantic import BaseModel, ConfigDict, Field

from corecrown.postprocess.results import Step
from corecrown.resources import input_folder, read_yaml
from corecrown.workflows.espresso.inputs import PwInput

__all__ = [
    "CostModel",
    "Kind",
    "RunSize",
    "core_seconds",
    "count_plane_waves",
    "load_cost_model",
    "size_of",
    "waves_in_sphere",
]

TYPICAL_IONIC_STEPS = 15
"""What a relaxation is taken to need where nothing is known of it."""

PROJECTORS_PER_ELECTRON = 2.35
"""Of the PseudoDojo sets, for files whose projectors cannot be counted."""


class Kind(StrEnum):
    """Kinds of runs that differ in how often the Hamiltonian is applied."""

    SCF = "scf"
    SCF_FROM_DENSITY = "scf_from_density"
    RELAX = "relax"
    BANDS = "bands"
    PDOS = "pdos"
    HYBRID = "hybrid"


@dataclass(frozen=True)
class RunSize:
    """All that the cost of a run is taken to depend on.

    Parameters
    ----------
    kind
        What is done.
    plane_waves
        At a k-point; both components of spinors, and half of them with the Γ trick.
    bands, occupied
        Bands that are computed, and those of them that are filled.
    k_points
        Irreducible ones.
    projectors
        Nonlocal projectors of all atoms, with their 2l + 1 components.
    gamma_trick
        Whether wavefunctions are real.
    spin_orbit
        Whether they are spinors.
    q_points
        Of the exact exchange; 0 without.
    ionic_steps
        1 at fixed atoms.
    stress
        Whether it is computed, at each ionic step.
    """

    kind: Kind
    plane_waves: float
    bands: float
    occupied: float
    k_points: float
    projectors: float
    gamma_trick: bool = False
    spin_orbit: bool = False
    q_points: float = 0
    ionic_steps: float = 1
    stress: bool = False


class CostModel(BaseModel):
    """The constants, in core-seconds an operation, and how far they were off."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    start: float = Field(gt=0, description="core-seconds of any run")
    fft: float = Field(gt=0)
    projector: float = Field(gt=0)
    subspace: float = Field(gt=0)
    stress: float = Field(gt=0)
    exchange: float = Field(gt=0)
    rounds: dict[Kind, float] = Field(description="sets of applications of the Hamiltonian; those of an scf are 1")
    spinor: float = Field(gt=0, description="rounds of a run with spin-orbit coupling, of one without")
    machine: str
    program: str
    runs_fitted: int
    runs_held_back: int
    within_factor_2: int = Field(description="of the runs held back")
    largest_factor: float = Field(description="of the runs held back")
    typical_factor: float = Field(description="exp of the root mean square of the logarithms, of the runs held back")

    @property
    def error(self) -> str:
        """Say how far the model was off, in one sentence."""
        return (
            f"{self.within_factor_2} of {self.runs_held_back} runs that were held back lie within a factor of 2, "
            f"the worst is off by {self.largest_factor:.1f}"
        )


@cache
def load_cost_model() -> CostModel:
    """Return the model that ships with the package."""
    return CostModel.model_validate(read_yaml(input_folder("cost", "espresso.yaml")))


def core_seconds(model: CostModel, size: RunSize) -> float:
    """Return core-seconds of a run."""
    real = 0.5 if size.gamma_trick else 1.0  # real arithmetic, beside half the plane waves
    logarithm = np.log2(max(size.plane_waves, 2))
    per_wave = model.fft * logarithm + real * (model.projector * size.projectors + model.subspace * size.bands)
    applied = size.k_points * size.bands * size.plane_waves * per_wave
    rounds = model.rounds[size.kind] * size.ionic_steps * (model.spinor if size.spin_orbit else 1.0)
    stress = model.stress * real * size.k_points * size.bands * size.plane_waves * size.projectors
    pairs = size.k_points * size.q_points * size.bands * size.occupied
    exchange = model.exchange * pairs * size.plane_waves * logarithm
    return float(model.start + rounds * applied + (size.ionic_steps * stress if size.stress else 0.0) + exchange)


def size_of(pw: PwInput, step: Step, *, from_density: bool = False) -> RunSize:
    """Return the size of a run from its input.

    Parameters
    ----------
    pw
        The input of pw.x.
    step
        What it is for.
    from_density
        Whether an scf starts from a density that is nearly its own.
    """
    system, control = pw.namelists["system"], pw.namelists["control"]
    spinor = bool(system.get("noncolin", False))
    return RunSize(
        kind=_kind(pw, step, from_density=from_density),
        plane_waves=count_plane_waves(pw),
        bands=int(system["nbnd"]),
        occupied=pw.n_electrons / (1 if spinor else 2),
        k_points=pw.n_kpoints,
        projectors=count_projectors(pw),
        gamma_trick=pw.gamma_trick,
        spin_orbit=spinor,
        q_points=float(np.prod([system[f"nqx{axis}"] for axis in (1, 2, 3)])) if "nqx1" in system else 0,
        ionic_steps=TYPICAL_IONIC_STEPS if step is Step.RELAX else 1,
        stress=bool(control.get("tstress", False)) or control["calculation"] == "vc-relax",
    )


def _kind(pw: PwInput, step: Step, *, from_density: bool) -> Kind:
    if "input_dft" in pw.namelists["system"]:
        return Kind.HYBRID
    calculation = pw.namelists["control"]["calculation"]
    if calculation in {"relax", "vc-relax"}:
        return Kind.RELAX
    if calculation == "nscf" and step is Step.PDOS:
        return Kind.PDOS
    if calculation in {"bands", "nscf"}:
        return Kind.BANDS
    return Kind.SCF_FROM_DENSITY if from_density else Kind.SCF


def count_plane_waves(pw: PwInput) -> int:
    """Return the number of plane waves at a k-point: volume of the cutoff sphere times cell volume over (2π)³."""
    system = pw.namelists["system"]
    count = waves_in_sphere(pw.structure.volume / units.Bohr**3, float(system["ecutwfc"]))
    return int((2 if system.get("noncolin") else 1) * count / (2 if pw.gamma_trick else 1))


def waves_in_sphere(volume_bohr3: float, cutoff_ry: float) -> float:
    """Return how many plane waves |G|² < cutoff there are, with |G|² in Ry and 1/bohr²."""
    return float(volume_bohr3 * cutoff_ry**1.5 / (6 * np.pi**2))


def count_projectors(pw: PwInput) -> float:
    """Return the nonlocal projectors of all atoms, from the pseudopotential files."""
    total = 0.0
    for site in pw.structure:
        file = pw.pseudopotentials[site.specie.symbol]
        counted = _projectors_in(file.path)
        total += PROJECTORS_PER_ELECTRON * file.z_valence if counted is None else counted
    return total


@cache
def _projectors_in(path: Path) -> int | None:
    """Return the projectors of one file of UPF version 2, each with its 2l + 1 components; None of other files."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = re.findall(r"<PP_BETA\.\d+[^>]*?\bangular_momentum\s*=\s*\"\s*(\d)\s*\"", text)
    return sum(2 * int(momentum) + 1 for momentum in found) or None
