"""Effective masses with VASP: stencils at the band edges, from the density of an scf, or beside a hybrid's mesh."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pymatgen.core import Structure

from corecrown.errors import RunError
from corecrown.files import write_whole
from corecrown.postprocess.results import Step, StepResult
from corecrown.workflows.jobs_base import Launch
from corecrown.workflows.mass_record import STENCILS, read_rounds
from corecrown.workflows.mass_search import KnownBands, Round, nominal_kpoints, nominal_stencil
from corecrown.workflows.mass_steps import MassesStep, SpinOrbitMassesStep
from corecrown.workflows.record import StepOutput
from corecrown.workflows.vasp.base import VaspMaker, existing, files_in
from corecrown.workflows.vasp.hybrid import hybrid_mesh
from corecrown.workflows.vasp.inputs import GGA_TAG, VaspInput, make_input, mesh_of
from corecrown.workflows.vasp.run import copy_density, keep_outputs, run_vasp
from corecrown.workflows.vasp.vasprun import VaspRun, read_run

__all__ = ["MASS_MAKERS", "NEXT_KPOINTS", "MassesMaker", "MassesSpinOrbitMaker"]

FloatArray = npt.NDArray[np.float64]

ENERGY_THRESHOLD_EV = 1e-8
"""VASP's EDIFF: the sum of the eigenvalues moves by no more than this, and so does each; a mass needs 1e-6 eV."""

NEXT_KPOINTS = "KPOINTS.next"
"""Where the k-points are written that runs done by hand still need."""


@dataclass
class MassesMaker(MassesStep, VaspMaker):
    """Masses of both edges from runs of VASP, one run a round of the search.

    With a hybrid functional, which has no bands from a given density, the k-points stand with zero weight beside the
    mesh of a self-consistent run.
    """

    def inputs(self, structure: Structure) -> VaspInput:
        """Return the input; its k-points are those of edges at Γ, which are known before any band is."""
        kpoints = nominal_kpoints(structure)
        if self.level.hybrid is None:
            tags: dict[str, Any] = {"ICHARG": 11, "ISMEAR": 0, "SIGMA": 0.05, "NSW": 0, "EDIFF": ENERGY_THRESHOLD_EV}
            return make_input(
                "NonSCFSetGenerator", structure, self.settings, self.level, tags, mode="line", **_listed(kpoints)
            )
        mesh = mesh_of(structure, self.settings)
        points, weights = hybrid_mesh(structure, mesh, self.settings.kpoint_shift, self.level)
        tags = {"GGA": "PE", "ISMEAR": 0, "SIGMA": 0.05, "LDAU": None, "NSW": 0, "LCHARG": False}
        tags["EDIFF"] = ENERGY_THRESHOLD_EV
        listed = _listed(kpoints, points, weights) | {"mesh": mesh, "shift": self.settings.kpoint_shift}
        made = make_input("HSEBSSetGenerator", structure, self.settings, self.level, tags, mode="gap", **listed)
        without = {"LHFCALC": None, "HFSCREEN": None, "PRECFOCK": None, "LWAVE": True}
        return replace(made, before={**without, "GGA": GGA_TAG[self.level.functional]})

    def run(self, launch: Launch[VaspInput]) -> StepResult:
        """Search, one run of VASP after the other; earlier ones are set aside by number."""
        hybrid = self.level.hybrid is not None
        if not hybrid:
            copy_density(Path(self.density(self.scf(launch.source), launch.inputs).dir_name), launch.folder)
        runs: list[VaspRun] = []

        def compute(kpoints: FloatArray) -> FloatArray:
            if runs:
                keep_outputs(launch.folder, f"run{len(runs)}")
            asked = _with_kpoints(launch.inputs, kpoints)
            if hybrid:
                run_vasp(launch.folder, replace(asked, incar=asked.incar_before(), before=None))
                self.read(launch.folder)
                asked = asked.with_incar(ISTART=1)
            run_vasp(launch.folder, asked)
            runs.append(self.read(launch.folder))
            return _energies_at(runs[-1], len(kpoints))

        found = self.search(launch, compute)
        if runs:
            last, files = runs[-1], files_in(launch.folder, xml="vasprun.xml", output="OUTCAR", stencils=STENCILS)
        else:
            last, files = self._run_of(self.scf(launch.source)), files_in(launch.folder, stencils=STENCILS)
        result = self.result(last, launch, files=files, **found)
        return self.packed(launch, result)

    def gather(self, launch: Launch[VaspInput], wall_s: float) -> StepResult:
        """Read a run that was done elsewhere; if the edges need more k-points, write them beside it.

        Raises
        ------
        RunError
            If they do; the next run then goes on from what is there.
        """
        run = self.read(launch.folder)
        listed = run.of_lines if self.level.hybrid is not None else run
        done = Round(kpoints=listed.kpoints.tolist(), energies_ev=listed.eigenvalues_ev[0].tolist(), wall_s=wall_s)

        planned = replace(launch, inputs=self.inputs(launch.inputs.structure))

        def compute(kpoints: FloatArray) -> FloatArray:
            asked = _with_kpoints(planned.inputs, kpoints)
            write_whole(launch.folder / NEXT_KPOINTS, asked.files()["KPOINTS"])
            raise RunError(
                f"{self.label}: the edges need {len(kpoints)} more k-points",
                f"copy {launch.folder / NEXT_KPOINTS} over KPOINTS, run it again there, and collect again",
            )

        earlier = _here(launch.folder, done)
        found = self.search(planned, compute, also=earlier, nominal=nominal_stencil(launch.inputs.structure))
        files = files_in(launch.folder, xml="vasprun.xml", output="OUTCAR", stencils=STENCILS)
        return self.result(run, launch, files=files, **found)

    def known_bands(self, output: StepOutput) -> KnownBands:
        """Return the bands that a step left."""
        run = self._run_of(output)
        return KnownBands(run.kpoints, run.eigenvalues_ev[0])

    def _run_of(self, output: StepOutput | None) -> VaspRun:
        if output is None:
            raise RunError(f"{self.label}: no bands to start from", "run the steps before it")
        folder = Path(output.dir_name)
        return read_run(existing(folder, output.result.files.get("xml", "vasprun.xml").removesuffix(".gz")))


@dataclass
class MassesSpinOrbitMaker(SpinOrbitMassesStep, MassesMaker):
    """The same with spin-orbit coupling, on the density of that scf, by vasp_ncl."""

    name: str = "masses_spin_orbit"


def _listed(kpoints: FloatArray, mesh: FloatArray | None = None, weights: FloatArray | None = None) -> dict[str, Any]:
    """Return k-points as fields of an input; beside a mesh they have no weight."""
    if mesh is None or weights is None:
        return {"kpoints": kpoints, "weights": np.ones(len(kpoints)), "labels": [""] * len(kpoints)}
    every = np.vstack([mesh, kpoints])
    return {
        "kpoints": every,
        "weights": np.concatenate([weights, np.zeros(len(kpoints))]),
        "labels": [""] * len(every),
    }


def _with_kpoints(inputs: VaspInput, kpoints: FloatArray) -> VaspInput:
    """Return the same input with other k-points in place of those of the stencil."""
    assert inputs.kpoints is not None
    assert inputs.weights is not None
    carrying = inputs.weights > 0
    if inputs.mesh is None or carrying.all():
        return replace(inputs, **_listed(kpoints))
    return replace(inputs, **_listed(kpoints, inputs.kpoints[carrying], inputs.weights[carrying]))


def _energies_at(run: VaspRun, n_kpoints: int) -> FloatArray:
    """Return the energies (n, n_bands) at the last k-points of a run, which are those that were asked for."""
    energies: FloatArray = run.eigenvalues_ev[0, -n_kpoints:]
    return energies


def _here(folder: Path, done: Round) -> list[Round]:
    """Return the runs that were collected in a folder before, and this one if it is new."""
    earlier = read_rounds(folder)
    return earlier if done.kpoints in [one.kpoints for one in earlier] else [*earlier, done]


MASS_MAKERS: dict[Step, type[MassesMaker]] = {
    Step.MASSES: MassesMaker,
    Step.MASSES_SPIN_ORBIT: MassesSpinOrbitMaker,
}
"""The Makers of masses of this engine."""
