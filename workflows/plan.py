"""A preview of a study: every calculation, its size, and what it may cost; nothing runs."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase import units
from pydantic import BaseModel, ConfigDict
from scipy import constants

from corecrown.errors import InputError
from corecrown.postprocess.results import Step
from corecrown.structures.cells import Cell
from corecrown.workflows.cost import (
    PROJECTORS_PER_ELECTRON,
    TYPICAL_IONIC_STEPS,
    Kind,
    RunSize,
    core_seconds,
    count_plane_waves,
    load_cost_model,
    size_of,
)
from corecrown.workflows.electronic import ElectronicStructureMaker
from corecrown.workflows.espresso.inputs import PwInput
from corecrown.workflows.espresso.run import plan_parallel, write_inputs
from corecrown.workflows.geometries import known_starts
from corecrown.workflows.spec import Engine, StudySpec
from corecrown.workflows.study import SubstitutionStudyMaker, build_cells, cell_folder, makers_of
from corecrown.workflows.walk import walk_steps

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from corecrown.workflows.vasp.inputs import VaspInput

__all__ = ["PlannedStep", "StudyPlan", "cost_note", "estimate_core_hours", "plan_step", "plan_study"]


def cost_note(engine: Engine = Engine.ESPRESSO) -> str:
    """Return what the core-hours of a plan come from, and how far they may be off."""
    model = load_cost_model()
    if engine is Engine.VASP:
        return f"core-hours from the cost model of {model.program}: an order of magnitude, no run of VASP was fitted"
    return (
        f"core-hours from a model fitted to {model.runs_fitted} runs of {model.program} ({model.machine}); "
        f"{model.error}; a relaxation is taken to need {TYPICAL_IONIC_STEPS} ionic steps"
    )


class PlannedStep(BaseModel):
    """One calculation that would run."""

    model_config = ConfigDict(frozen=True)

    program: str
    n_kpoints: int
    n_bands: int
    n_electrons: float
    n_plane_waves: int
    memory_gib: float
    core_hours: float
    reused: bool
    folder: str


class StudyPlan(BaseModel):
    """Every calculation of a study."""

    model_config = ConfigDict(frozen=True)

    cells: dict[str, dict[str, PlannedStep]]
    total_core_hours: float
    cost_note: str
    notices: tuple[str, ...] = ()
    """What was done to structures of the user's, for example renaming the axes of a Pnma cell."""


def plan_study(spec: StudySpec, folder: Path | None = None, inputs: Path | None = None) -> StudyPlan:
    """Plan a study.

    Parameters
    ----------
    spec
        The study.
    folder
        Where it runs or ran: finished results there are counted as reused.
    inputs
        If given, the complete input folders are written below it.

    Notes
    -----
    Steps after a relaxation are planned at the geometry the relaxation starts from: the relaxed one is not known yet,
    so a mesh given by its spacing may differ by one.
    """
    maker = SubstitutionStudyMaker.from_spec(spec)
    if inputs is not None and spec.engine is Engine.VASP:
        from corecrown.workflows.local import claim_folder

        claim_folder(spec, inputs)  # so that ``study collect`` knows the study when the folders come back
    planned: dict[str, dict[str, PlannedStep]] = {}
    cells = build_cells(spec)
    starts = {} if folder is None else known_starts(maker, cells, folder)
    for cell in cells:
        start = starts.get(cell.label)
        planned[cell.label] = _plan_cell(cell, start, makers_of(cell, maker.electronic), folder, inputs)
    total = sum(step.core_hours for cell_steps in planned.values() for step in cell_steps.values() if not step.reused)
    return StudyPlan(
        cells=planned,
        total_core_hours=round(total, 5),
        cost_note=cost_note(spec.engine),
        notices=tuple(f"{cell.label}: {note}" for cell in cells if cell.spec.file is not None for note in cell.notes),
    )


def _plan_cell(
    cell: Cell,
    start: "Structure | None",
    makers: ElectronicStructureMaker,
    folder: Path | None,
    inputs: Path | None,
) -> dict[str, PlannedStep]:
    """Plan the steps of a cell; where it is not known what it starts from, as if from what was built."""
    planned: dict[str, PlannedStep] = {}
    for walked in walk_steps(cell, start, makers, None if folder is None else cell_folder(folder, cell.label)):
        step, place = walked.step, Path("cells") / cell.label / walked.step.value
        if inputs is not None:
            _write_folder(inputs / place, walked.maker, walked.inputs, walked.structure, step)
        after_relaxation = step is Step.SCF and makers.relax is not None and _share_density(makers)
        planned[step.value] = plan_step(
            walked.inputs,
            step,
            walked.stored is not None,
            str(place),
            from_density=after_relaxation,
            cost_factor=getattr(walked.maker, "cost_factor", 1.0),
        )
    return planned


def _share_density(makers: ElectronicStructureMaker) -> bool:
    """Whether an scf can start from the density of the relaxation: their cutoffs are the same."""
    relax, scf = (getattr(makers, step.value).settings for step in (Step.RELAX, Step.SCF))
    return bool((relax.cutoff_wfc_ry, relax.cutoff_rho_ry) == (scf.cutoff_wfc_ry, scf.cutoff_rho_ry))


def _write_folder(
    folder: Path, maker: object, inputs: "PwInput | VaspInput", structure: "Structure", step: Step
) -> None:
    """Write the inputs of a step and of its excited states."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder, inputs, step)
        _write_states(folder, maker, structure)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error.strerror or error}", "choose another folder") from error


def _write(folder: Path, inputs: "PwInput | VaspInput", step: Step) -> None:
    if isinstance(inputs, PwInput):
        write_inputs(folder, inputs, copy_pseudopotentials=True)
        return
    from corecrown.workflows.vasp.preview import write_folder

    write_folder(folder, inputs, step)


_PROGRAMS = {Step.PDOS: "pw.x + projwfc.x", Step.EXCITATION: "pw.x + pp.x + projwfc.x"}


def _write_states(folder: Path, maker: object, structure: "Structure") -> None:
    """Write the inputs of excited states, each in a folder of its own; they start from what the ground state leaves."""
    from corecrown.workflows.espresso.excitation import ExcitationMaker

    if isinstance(maker, ExcitationMaker):
        for state in maker.runs:
            place = folder / state.folder
            place.mkdir(exist_ok=True)
            write_inputs(place, maker.all_inputs(structure)[state.name], copy_pseudopotentials=True)


def plan_step(
    pw: "PwInput | VaspInput",
    step: Step,
    reused: bool,
    folder: str,
    *,
    from_density: bool = False,
    cost_factor: float = 1.0,
) -> PlannedStep:
    """Return size and cost of one calculation.

    Parameters
    ----------
    pw
        Its input.
    step
        What it is for.
    reused
        Whether a finished one will be taken instead.
    folder
        Where it will be kept, for people.
    from_density
        Whether an scf will start from the density of a relaxation.
    cost_factor
        How many times an scf of this size the step costs.
    """
    if not isinstance(pw, PwInput):
        return _planned_vasp(pw, step, reused, folder)
    n_bands = int(pw.namelists["system"]["nbnd"])
    waves = count_plane_waves(pw)
    return PlannedStep(
        program=_PROGRAMS.get(step, "pw.x"),
        n_kpoints=pw.n_kpoints,
        n_bands=n_bands,
        n_electrons=pw.n_electrons,
        n_plane_waves=waves,
        memory_gib=round(estimate_memory_gib(pw), 2),
        core_hours=round(cost_factor * estimate_core_hours(pw, step, from_density=from_density), 5),
        reused=reused,
        folder=folder,
    )


def _planned_vasp(inputs: "VaspInput", step: Step, reused: bool, folder: str) -> PlannedStep:
    from corecrown.workflows.vasp import preview

    waves = preview.count_plane_waves(inputs)
    return PlannedStep(
        program=inputs.program.value,
        n_kpoints=inputs.n_kpoints,
        n_bands=inputs.n_bands,
        n_electrons=inputs.n_electrons,
        n_plane_waves=waves,
        memory_gib=round(preview.estimate_memory_gib(inputs), 2),
        core_hours=round(_core_hours_vasp(inputs, waves, step), 5),
        reused=reused,
        folder=folder,
    )


def estimate_memory_gib(pw: PwInput) -> float:
    """Return about how much memory all ranks of a run take together, GiB.

    Wavefunctions of one k-point and Davidson's work space (five arrays of their size) in each pool, the wavefunctions
    of the pool's other k-points, and the grids of density and potential in each rank, over a base of 0.08 GiB a rank.
    """
    parallel = plan_parallel(pw.n_kpoints)
    bands = int(pw.namelists["system"]["nbnd"])
    wavefunctions = 16 * count_plane_waves(pw) * bands
    kpoints_in_pool = -(-pw.n_kpoints // parallel.pools)
    grid = 16 * pw.structure.volume / units.Bohr**3 * float(pw.namelists["system"]["ecutrho"]) ** 1.5 / np.pi**3
    total = parallel.pools * wavefunctions * (5 + kpoints_in_pool) + parallel.pools * 10 * grid
    return float(total / 2**30 + 0.08 * parallel.ranks)


def estimate_core_hours(pw: PwInput, step: Step, *, from_density: bool = False) -> float:
    """Return about how many core-hours a calculation takes here; its error is that of the cost model."""
    return core_seconds(load_cost_model(), size_of(pw, step, from_density=from_density)) / float(constants.hour)


def _core_hours_vasp(inputs: "VaspInput", waves: int, step: Step) -> float:
    """Return about how many core-hours VASP takes: the model of pw.x, which no run of VASP was fitted to."""
    spinor = bool(inputs.incar.get("LSORBIT", False))
    hybrid = bool(inputs.incar.get("LHFCALC", False))
    kinds = {
        Step.RELAX: Kind.RELAX,
        Step.BANDS: Kind.BANDS,
        Step.PDOS: Kind.PDOS,
        Step.MASSES: Kind.BANDS,
        Step.MASSES_SPIN_ORBIT: Kind.BANDS,
    }
    size = RunSize(
        kind=Kind.HYBRID if hybrid else kinds.get(step, Kind.SCF),
        plane_waves=waves,
        bands=inputs.n_bands,
        occupied=inputs.n_electrons / (1 if spinor else 2),
        k_points=inputs.n_kpoints,
        projectors=PROJECTORS_PER_ELECTRON * inputs.n_electrons,
        spin_orbit=spinor,
        q_points=inputs.n_kpoints if hybrid else 0,
        ionic_steps=TYPICAL_IONIC_STEPS if step is Step.RELAX else 1,
        stress=step is Step.RELAX,
    )
    return core_seconds(load_cost_model(), size) / float(constants.hour)
