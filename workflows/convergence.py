"""A convergence study of one cell: a flow of self-consistent runs at several cutoffs and k-point meshes.

Each point is the engine's own scf Maker with a folder of its own, so a finished one is never computed again.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import yaml
from jobflow import Flow, JobStore
from jobflow.managers.local import run_locally
from maggma.stores import MemoryStore
from pydantic import BaseModel, ConfigDict
from pymatgen.core import Structure

from corecrown import __version__
from corecrown.errors import InputError
from corecrown.files import write_whole
from corecrown.postprocess.convergence import (
    ConvergencePoint,
    ConvergenceResult,
    analyse_convergence,
    to_csv,
)
from corecrown.postprocess.results import Step, StepResult
from corecrown.resources import read_yaml
from corecrown.workflows.convergence_request import ConvergenceRequest, Point, choose_cell, make_request
from corecrown.workflows.espresso.base import PW_OUTPUT
from corecrown.workflows.espresso.inputs import PwInput
from corecrown.workflows.espresso.jobs import ScfMaker
from corecrown.workflows.espresso.outputs import PwRun, read_run
from corecrown.workflows.espresso.programs import find_program
from corecrown.workflows.espresso.stdout import read_progress
from corecrown.workflows.jobs_base import Launch
from corecrown.workflows.kpoints import count_irreducible
from corecrown.workflows.local import Running, quiet_libraries
from corecrown.workflows.plan import PlannedStep, cost_note, plan_step
from corecrown.workflows.protocols import StepSettings, Theory, load_protocol
from corecrown.workflows.record import StepFolder, StepState, cell_lock

__all__ = [
    "ConvergenceMaker",
    "ConvergenceRequest",
    "Point",
    "PointMaker",
    "choose_cell",
    "collect_points",
    "make_request",
    "plan_convergence",
    "run_convergence",
]

REQUEST_FILE, RESULT_FILE, TABLE_FILE = "convergence.yaml", "convergence.json", "convergence.csv"


@dataclass
class PointMaker(ScfMaker):
    """One point: an scf whose density is dropped once forces and pressure are known.

    Parameters
    ----------
    stress
        Whether the stress is computed.
    """

    stress: bool = True
    name: str = "point"
    step: ClassVar[Step] = Step.SCF

    def inputs(self, structure: Structure) -> PwInput:
        """Return the input of the scf."""
        inputs = super().inputs(structure)
        return inputs if self.stress else inputs.with_keywords("control", tstress=False)

    def run(self, launch: Launch[PwInput]) -> StepResult:
        """Iterate to self-consistency, and keep the XML and the output alone."""
        result = super().run(launch)
        kept = {name: file for name, file in result.files.items() if name != "density"}
        (launch.folder / result.files["density"]).unlink(missing_ok=True)
        return result.model_copy(update={"files": kept})


@dataclass
class ConvergenceMaker:
    """All points of a request as one flow; each job can also run elsewhere."""

    request: ConvergenceRequest
    name: str = "convergence"

    def makers(self, folder: Path | None) -> dict[Point, PointMaker]:
        """Return the Maker of each point."""
        theory = Theory(functional=self.request.functional)
        base: StepSettings = load_protocol(self.request.protocol).settings(Step.SCF)
        found = {}
        for point in self.request.points:
            update = {
                "cutoff_wfc_ry": point.cutoff_ry,
                "cutoff_rho_ry": None,
                "kpoint_mesh": point.mesh,
                "kpoint_spacing": None,
                "kpoint_shift": (0, 0, 0),
            }
            found[point] = PointMaker(
                settings=StepSettings.model_validate(base.model_dump() | update),
                theory=theory,
                folder=None if folder is None else str(point_folder(folder, point)),
                label=point.label,
                stress=self.request.stress,
            )
        return found

    def make(self, structure: Structure, folder: str | Path | None = None) -> Flow:
        """Return the flow.

        Parameters
        ----------
        structure
            The cell.
        folder
            Where the points keep their records; None for flows that run elsewhere.
        """
        jobs = []
        for point, maker in self.makers(None if folder is None else Path(folder)).items():
            job = maker.make(structure)
            job.name = point.label
            jobs.append(job)
        return Flow(jobs, output=[job.output for job in jobs], name=self.name)


def point_folder(folder: Path, point: Point) -> Path:
    """Return where a convergence study keeps a point."""
    return folder / "cells" / point.label / Step.SCF.value


class ConvergencePlan(BaseModel):
    """Every point that would be computed."""

    model_config = ConfigDict(frozen=True)

    points: dict[str, PlannedStep]
    total_core_hours: float
    cost_note: str


def plan_convergence(request: ConvergenceRequest, structure: Structure, folder: Path | None = None) -> ConvergencePlan:
    """Return size and cost of every point; nothing runs.

    Parameters
    ----------
    request, structure
        What would be varied, of which cell.
    folder
        Points that are finished there are counted as reused.
    """
    planned = {}
    for point, maker in ConvergenceMaker(request).makers(folder).items():
        inputs = maker.inputs(structure)
        record = None if folder is None else StepFolder(point_folder(folder, point))
        reused = record is not None and record.stored(maker.key(inputs, None)) is not None
        planned[point.label] = plan_step(inputs, Step.SCF, reused, f"cells/{point.label}/{Step.SCF.value}")
    total = sum(step.core_hours for step in planned.values() if not step.reused)
    return ConvergencePlan(points=planned, total_core_hours=round(total, 5), cost_note=cost_note())


def run_convergence(
    request: ConvergenceRequest,
    structure: Structure,
    folder: Path,
    on_start: Callable[[list[Point], list[Step]], None] | None = None,
) -> ConvergenceResult:
    """Run a convergence study here, or go on with it; a point that fails does not stop the others.

    Parameters
    ----------
    request, structure
        What is varied, of which cell.
    folder
        Where it is kept; the same folder takes further points of the same cell later.
    on_start
        Called with the points and the step once the folder is claimed, before anything runs.

    Raises
    ------
    InputError
        If the folder holds something else, or a program or pseudopotential is missing.
    """
    folder = folder.resolve()
    find_program("pw.x")
    maker = ConvergenceMaker(request)
    next(iter(maker.makers(folder).values())).pseudopotentials(structure)
    _claim(request, folder)
    with cell_lock(folder), contextlib.ExitStack() as stack:
        if on_start is not None:
            on_start(request.points, [Step.SCF])
        stack.enter_context(quiet_libraries())
        run_locally(maker.make(structure, folder), log=False, store=JobStore(MemoryStore()), root_dir=folder)
        result = collect_points(request, structure, folder)
        write_whole(folder / RESULT_FILE, result.model_dump_json(indent=1) + "\n")
        write_whole(folder / TABLE_FILE, to_csv(result))
    return result


def watch_points(folder: Path, labels: Sequence[str]) -> Iterator[Running]:
    """Yield the points that are in work now."""
    for label in labels:
        record = StepFolder(folder / "cells" / label / Step.SCF.value)
        attempts = record.attempts()
        if attempts and record.state() is StepState.RUNNING:
            began = (attempts[-1] / "attempt.json").stat().st_mtime
            yield Running(label, Step.SCF, read_progress(attempts[-1] / PW_OUTPUT), max(0.0, time.time() - began))


def _claim(request: ConvergenceRequest, folder: Path) -> None:
    """Make a folder this study's own; points of the same cell may be added to it later."""
    place = folder / REQUEST_FILE
    if place.is_file():
        theirs = read_yaml(place).get("cell")
        if theirs != request.cell:
            raise InputError(f"{folder}: holds the convergence of {theirs!r}", "give another folder with -d")
    elif folder.is_file():
        raise InputError(f"{folder}: is a file", "give a folder with -d")
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: is not empty and holds no convergence study", "give a new or empty folder with -d")
    write_whole(place, yaml.safe_dump(request.model_dump(mode="json"), sort_keys=False))


def collect_points(request: ConvergenceRequest, structure: Structure, folder: Path) -> ConvergenceResult:
    """Read what the points left, and set each beside the densest."""
    points, stored = [], None
    for point, maker in ConvergenceMaker(request).makers(folder).items():
        record = StepFolder(point_folder(folder, point))
        done = record.finished(maker.key(maker.inputs(structure), None))
        stored = done or stored
        points.append(_read_point(point, record, done, structure))
    series = [analyse_convergence(points, quantity, fixed) for quantity, fixed in request.fixed.items()]
    return ConvergenceResult(
        cell=request.cell,
        formula=structure.composition.reduced_formula,
        n_atoms=len(structure),
        volume_angstrom3=round(structure.volume, 4),
        functional=request.functional.value,
        code=stored.code if stored else None,
        code_version=stored.code_version if stored else None,
        corecrown_version=__version__,
        pseudopotentials=stored.settings.pseudopotentials if stored else {},
        series=series,
        points=points,
    )


def _read_point(point: Point, record: StepFolder, done: StepResult | None, structure: Structure) -> ConvergencePoint:
    known = ConvergencePoint(
        cutoff_wfc_ry=point.cutoff_ry, kpoint_mesh=point.mesh, n_kpoints=count_irreducible(structure, point.mesh)
    )
    if done is None:
        return known.model_copy(update={"failed": record.failure() or "did not run"})
    run = read_run(record.path / done.folder / done.files["xml"])
    edges = done.edges
    forces = None if run.forces_ev_angstrom is None else [tuple(map(float, row)) for row in run.forces_ev_angstrom]
    return ConvergencePoint.model_validate(
        known.model_dump()
        | {
            "n_kpoints": len(run.kpoints),
            "energy_ev": done.energy_ev,
            "gap_ev": edges.gap_ev if edges else None,
            "gap_gamma_ev": _gap_at_gamma(run),
            "vbm_kpoint": edges.vbm_kpoint if edges else None,
            "cbm_kpoint": edges.cbm_kpoint if edges else None,
            "pressure_kbar": run.pressure_kbar,
            "forces_ev_angstrom": forces,
            "core_s": done.timing.core_s,
            "notes": done.notes,
        }
    )


def _gap_at_gamma(run: PwRun) -> float | None:
    """Return the direct gap at Γ, eV; None where Γ was not computed or there is no empty band."""
    at_gamma = np.flatnonzero(np.abs(run.kpoints).max(axis=1) < 1e-8)
    occupied = round(run.n_electrons) if run.spin_orbit else round(run.n_electrons / 2)
    levels = run.eigenvalues_ev[0]
    if not len(at_gamma) or levels.shape[1] <= occupied:
        return None
    return float(levels[at_gamma[0], occupied] - levels[at_gamma[0], occupied - 1])
