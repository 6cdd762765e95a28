"""Effective masses with Quantum ESPRESSO: stencils at the band edges, from the density of an scf."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pymatgen.core import Structure

from corecrown.errors import RunError
from corecrown.postprocess.results import Step, StepResult
from corecrown.workflows.espresso.base import PW_OUTPUT, XML, EspressoMaker
from corecrown.workflows.espresso.inputs import PwInput, bands_input
from corecrown.workflows.espresso.outputs import PwRun, read_run
from corecrown.workflows.espresso.run import copy_density, remove_wavefunctions, run_pw
from corecrown.workflows.jobs_base import Launch
from corecrown.workflows.mass_record import STENCILS
from corecrown.workflows.mass_search import KnownBands, nominal_kpoints
from corecrown.workflows.mass_steps import MassesStep, SpinOrbitMassesStep
from corecrown.workflows.record import StepOutput

__all__ = ["EIGENVALUE_THRESHOLD_RY", "MASS_MAKERS", "MassesMaker", "MassesSpinOrbitMaker"]

FloatArray = npt.NDArray[np.float64]

EIGENVALUE_THRESHOLD_RY = 1e-8
"""pw.x ends a diagonalisation when no eigenvalue moves by more than this, Ry. On silicon eigenvalues are then good to
6e-9 eV, and to 3e-10 eV at the edge; a mass needs 1e-6 eV."""


@dataclass
class MassesMaker(MassesStep, EspressoMaker):
    """Masses of both edges from runs of pw.x on the density of the scf, one run a round of the search."""

    def inputs(self, structure: Structure) -> PwInput:
        """Return the input of the bands; its k-points are those of edges at Γ, which a preview can know."""
        made = bands_input(
            structure, self.settings, self.level, self.pseudopotentials(structure), nominal_kpoints(structure)
        )
        return made.with_keywords("electrons", diago_thr_init=EIGENVALUE_THRESHOLD_RY, diago_full_acc=True)

    def run(self, launch: Launch[PwInput]) -> StepResult:
        """Search, one run of pw.x after the other."""
        density = self.density(self.scf(launch.source), launch.inputs)
        copy_density(Path(density.dir_name), launch.folder)
        runs: list[PwRun] = []

        def compute(kpoints: FloatArray) -> FloatArray:
            stem = "pw" if not runs else f"pw{len(runs) + 1}"
            run_pw(launch.folder, replace(launch.inputs, kpoints=kpoints), stem)
            run = read_run(launch.folder / XML)
            remove_wavefunctions(launch.folder)
            runs.append(run)
            energies: FloatArray = run.eigenvalues_ev[0]
            return energies

        found = self.search(launch, compute)
        last = runs[-1] if runs else read_run(Path(density.dir_name) / XML)
        files = {"stencils": STENCILS, "xml": XML} | ({"output": PW_OUTPUT} if runs else {})
        return self.result(last, launch, files=files, **found)

    def known_bands(self, output: StepOutput) -> KnownBands:
        """Return the bands that a step left."""
        path = Path(output.dir_name) / output.result.files.get("xml", XML)
        if not path.is_file():
            raise RunError(f"{path}: the bands of step {output.result.step} are gone", "run it again (study rerun)")
        run = read_run(path)
        return KnownBands(run.kpoints, run.eigenvalues_ev[0])


@dataclass
class MassesSpinOrbitMaker(SpinOrbitMassesStep, MassesMaker):
    """The same with spin-orbit coupling, on the density of that scf."""

    name: str = "masses_spin_orbit"


MASS_MAKERS: dict[Step, type[MassesMaker]] = {
    Step.MASSES: MassesMaker,
    Step.MASSES_SPIN_ORBIT: MassesSpinOrbitMaker,
}
"""The Makers of masses of this engine."""
