"""Effective masses with Quantum ESPRESSO: stencils at the band edges, from the density of an scf."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from jobflow import JobConfig, OnMissing, job
from monty.serialization import loadfn
from pymatgen.core import Structure

from corecrown.errors import CorecrownError, RunError
from corecrown.postprocess.mass_paths import path_masses, with_path_masses
from corecrown.postprocess.masses import Carrier
from corecrown.postprocess.results import Masses, MassTensor, Step, StepResult
from corecrown.workflows.espresso.base import PW_OUTPUT, XML, EspressoMaker
from corecrown.workflows.espresso.inputs import PwInput, bands_input
from corecrown.workflows.espresso.outputs import PwRun, read_run
from corecrown.workflows.espresso.run import copy_density, remove_wavefunctions, run_pw
from corecrown.workflows.mass_record import STENCILS, read_earlier_rounds, write_rounds
from corecrown.workflows.mass_search import KnownBands, MassSearch, nominal_kpoints
from corecrown.workflows.protocols import MassesSettings, Theory
from corecrown.workflows.record import StepFolder, StepOutput, make_key

__all__ = ["EIGENVALUE_THRESHOLD_RY", "MASS_MAKERS", "MassesMaker", "MassesSpinOrbitMaker"]

FloatArray = npt.NDArray[np.float64]

EIGENVALUE_THRESHOLD_RY = 1e-11
"""pw.x ends a diagonalisation when no eigenvalue moves by more than this, Ry; a mass needs 1e-6 eV."""


@dataclass
class MassesMaker(EspressoMaker):
    """Masses of both edges: the extremum is searched for and a stencil laid there, on the density of the scf.

    Parameters
    ----------
    beside
        Outputs of other steps, by name: scf, whose density is used, and pdos, for its mesh.
    """

    settings: MassesSettings
    beside: Mapping[str, StepOutput | None] = field(default_factory=dict)
    name: str = "masses"
    step: ClassVar[Step] = Step.MASSES

    @job(output_schema=StepOutput, config=JobConfig(on_missing_references=OnMissing.NONE))
    def make(
        self,
        structure: Structure,
        source: StepOutput | None = None,
        beside: dict[str, StepOutput | None] | None = None,
    ) -> StepOutput:
        """Compute, or give back what was computed before.

        Parameters
        ----------
        structure
            The cell.
        source
            Output of the bands along lines, or of the scf with spin-orbit coupling.
        beside
            As for the Maker.
        """
        return replace(self, beside=beside or self.beside).calculate(structure, source)

    def inputs(self, structure: Structure) -> PwInput:
        """Return the input of the bands; its k-points are those of edges at Γ, which a preview can know."""
        made = bands_input(
            structure, self.settings, self.level, self.pseudopotentials(structure), nominal_kpoints(structure)
        )
        return made.with_keywords("electrons", diago_thr_init=EIGENVALUE_THRESHOLD_RY, diago_full_acc=True)

    def extra_identity(self) -> dict[str, Any]:
        """Return how far the search goes, and what else it begins with."""
        known = {name: output.result.key for name, output in sorted(self.beside.items()) if output is not None}
        return {"max_refinements": self.settings.max_refinements, "beside": known}

    def run(
        self, attempt: Path, record: StepFolder, key: str, inputs: PwInput, source: StepOutput | None
    ) -> StepResult:
        """Search, one run of pw.x after the other; k-points of a broken attempt are not computed again."""
        density = self.density(self.scf(source), inputs)
        copy_density(Path(density.dir_name), attempt)
        same = make_key({"input": inputs.identity(), "density": density.result.key})
        runs: list[tuple[PwRun, float]] = []

        def compute(kpoints: FloatArray) -> FloatArray:
            stem = "pw" if not runs else f"pw{len(runs) + 1}"
            wall_s = run_pw(attempt, replace(inputs, kpoints=kpoints), stem)
            run = read_run(attempt / XML)
            remove_wavefunctions(attempt)
            runs.append((run, wall_s))
            energies: FloatArray = run.eigenvalues_ev[0]
            return energies

        known, notes = self.known(source)
        search = MassSearch(
            structure=inputs.structure,
            n_filled=round(inputs.n_electrons / (1 if self.level.spin_orbit else 2)),
            known=known,
            compute=compute,
            spin_orbit=self.level.spin_orbit,
            max_refinements=self.settings.max_refinements,
            starts=self.starts(),
            on_round=lambda _: write_rounds(attempt, same, search.rounds),
        )
        earlier = read_earlier_rounds(record, attempt, same)
        search.remember(earlier)
        masses = self.with_paths(search.run(), source, inputs)
        write_rounds(attempt, same, [*earlier, *search.rounds])
        last = runs[-1][0] if runs else read_run(Path(density.dir_name) / XML)
        files = {"stencils": STENCILS, "xml": XML} | ({"output": PW_OUTPUT} if runs else {})
        return self.result(
            last,
            attempt,
            record,
            key,
            inputs,
            sum(wall_s for _, wall_s in runs),
            masses=masses.model_copy(update={"notes": [*masses.notes, *notes]}),
            files=files,
        )

    def scf(self, source: StepOutput | None) -> StepOutput | None:
        """Return the step whose density is used."""
        return self.beside.get(Step.SCF.value) or source

    def known(self, source: StepOutput | None) -> tuple[list[KnownBands], list[str]]:
        """Return the bands that the search begins with, and what is to be said of them."""
        outputs = {"bands": source, **{name: self.beside.get(name) for name in ("scf", "pdos")}}
        return _known_bands(outputs), []

    def starts(self) -> Mapping[Carrier, list[tuple[float, float, float]]] | None:
        """Return k-points to begin at; None where the bands along lines tell."""
        return None

    def with_paths(self, masses: Masses, source: StepOutput | None, inputs: PwInput) -> Masses:
        """Return the masses with those along the lines from Γ that were computed."""
        if source is None or "bands" not in source.result.files:
            return masses
        bands = loadfn(str(Path(source.dir_name) / source.result.files["bands"]))
        return add_path_masses(masses, bands, inputs.n_electrons)


@dataclass
class MassesSpinOrbitMaker(MassesMaker):
    """Masses with spin-orbit coupling, on the density of that scf.

    There are no bands along lines with it: the search begins at the best of that scf's mesh and the extremum without
    spin-orbit coupling.
    """

    name: str = "masses_spin_orbit"
    step: ClassVar[Step] = Step.MASSES_SPIN_ORBIT

    @property
    def level(self) -> Theory:
        """The level of theory of this step."""
        return self.theory.model_copy(update={"spin_orbit": True, "hybrid": None})

    def scf(self, source: StepOutput | None) -> StepOutput | None:
        """Return the step whose density is used."""
        return source

    def known(self, source: StepOutput | None) -> tuple[list[KnownBands], list[str]]:
        """Return the bands on the mesh of the scf with spin-orbit coupling."""
        note = "searched from the mesh of the scf with spin-orbit coupling and the extrema without it, no lines"
        return _known_bands({"scf": source}), [note]

    def starts(self) -> Mapping[Carrier, list[tuple[float, float, float]]] | None:
        """Return the extrema without spin-orbit coupling."""
        before = self.beside.get(Step.MASSES.value)
        masses = None if before is None else before.result.masses
        found: dict[Carrier, list[tuple[float, float, float]]] = {}
        for carrier in Carrier:
            mass: MassTensor | None = None if masses is None else getattr(masses, carrier.value)
            found[carrier] = [] if mass is None or mass.extremum_kpoint is None else [mass.extremum_kpoint]
        return found

    def with_paths(self, masses: Masses, source: StepOutput | None, inputs: PwInput) -> Masses:
        """Return the masses as they are: no lines were computed."""
        return masses


def add_path_masses(masses: Masses, bands: Any, n_electrons: float, *, spin_orbit: bool = False) -> Masses:
    """Return masses with ``path_gamma_x``, ``_y``, ``_z`` from bands along lines, or with the reason why not."""
    try:
        rows = path_masses(bands, n_electrons=n_electrons, spin_orbit=spin_orbit)
    except CorecrownError as error:
        return masses.model_copy(update={"notes": [*masses.notes, f"no masses along lines: {error.message}"]})
    filled = {
        carrier.value: None if mass is None else with_path_masses(mass, rows)
        for carrier, mass in ((Carrier.ELECTRON, masses.electron), (Carrier.HOLE, masses.hole))
    }
    said = [f"along lines: {note}" for note in rows.notes]
    return masses.model_copy(update={**filled, "notes": [*masses.notes, *said]})


def _known_bands(outputs: Mapping[str, StepOutput | None]) -> list[KnownBands]:
    found = []
    for name, output in outputs.items():
        if output is None:
            continue
        path = Path(output.dir_name) / output.result.files.get("xml", XML)
        if not path.is_file():
            raise RunError(f"{path}: the bands of step {name} are gone", "run that step again (study rerun)")
        run = read_run(path)
        found.append(KnownBands(run.kpoints, run.eigenvalues_ev[0]))
    return found


MASS_MAKERS: dict[Step, type[MassesMaker]] = {
    Step.MASSES: MassesMaker,
    Step.MASSES_SPIN_ORBIT: MassesSpinOrbitMaker,
}
"""The Makers of masses of this engine."""
