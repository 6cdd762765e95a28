"""The step masses, whatever the engine: what it begins with, how it searches, and what it keeps."""

from collections.abc import Callable, Mapping
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
from corecrown.postprocess.masses import Carrier, Stencil
from corecrown.postprocess.results import Masses, MassTensor, Step
from corecrown.workflows.jobs_base import Launch, StepMaker
from corecrown.workflows.mass_record import read_earlier_rounds, write_rounds
from corecrown.workflows.mass_search import KnownBands, MassSearch, Round
from corecrown.workflows.protocols import MassesSettings
from corecrown.workflows.record import StepOutput, make_key

__all__ = ["MassesStep", "SpinOrbitMassesStep"]

FloatArray = npt.NDArray[np.float64]
Compute = Callable[[FloatArray], FloatArray]
Kpoint = tuple[float, float, float]


@dataclass
class MassesStep(StepMaker):
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
    version: ClassVar[int] = 3

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

    def extra_identity(self) -> dict[str, Any]:
        """Return how far the search goes, and what else it begins with."""
        known = {name: output.result.key for name, output in sorted(self.beside.items()) if output is not None}
        return {"max_refinements": self.settings.max_refinements, "beside": known}

    def known_bands(self, output: StepOutput) -> KnownBands:
        """Return the bands that a step left."""
        raise RunError(f"{type(self).__name__} reads no bands", "a Maker of an engine says how")

    def scf(self, source: StepOutput | None) -> StepOutput | None:
        """Return the step whose density is used."""
        return self.beside.get(Step.SCF.value) or source

    def begin_with(self, source: StepOutput | None) -> list[KnownBands]:
        """Return the bands that the search begins with."""
        if source is None:
            raise RunError(f"{self.label}: no bands to begin with", "a step before it failed; run the study again")
        outputs = [source, *(self.beside.get(step.value) for step in (Step.SCF, Step.PDOS))]
        return [self.known_bands(output) for output in outputs if output is not None]

    def starts(self) -> Mapping[Carrier, list[Kpoint]] | None:
        """Return k-points to begin at; None where the bands along lines tell."""
        return None

    def remarks(self) -> list[str]:
        """Return what is to be said of the search."""
        return []

    def with_paths(self, masses: Masses, source: StepOutput | None, n_electrons: float) -> Masses:
        """Return the masses with those along the lines from Γ that were computed."""
        if source is None or "bands" not in source.result.files:
            return masses
        bands = loadfn(str(Path(source.dir_name) / source.result.files["bands"]))
        return _add_path_masses(masses, bands, n_electrons)

    def search(
        self,
        launch: Launch[Any],
        compute: Compute,
        *,
        also: list[Round] | None = None,
        nominal: Stencil | None = None,
    ) -> dict[str, Any]:
        """Search for both masses and keep every run in the folder; k-points of earlier attempts are not repeated.

        Returns the fields of a result that it fills: ``masses``, ``edges`` on the k-points it computed, and how long
        the runs took that it rests on, here (``wall_s``) and before (``before_s``).

        Parameters
        ----------
        launch
            Where the k-points and energies are kept, beside earlier attempts; the input of the program, of which
            structure, electrons and identity count; what the step was handed.
        compute
            Energies (n, n_bands) in eV at k-points (n, 3).
        also
            Runs that are known besides.
        nominal
            As for :class:`~corecrown.workflows.mass_search.MassSearch`.
        """
        scf = self.scf(launch.source)
        identity = {key: value for key, value in launch.inputs.identity().items() if key not in {"kpoints", "weights"}}
        same = make_key({"input": identity, "density": None if scf is None else scf.result.key})
        earlier = [*read_earlier_rounds(launch.record, launch.folder, same), *(also or [])]

        def keep(_: Round) -> None:
            write_rounds(launch.folder, same, [*earlier, *search.rounds])

        search = MassSearch(
            structure=launch.inputs.structure,
            n_filled=round(launch.inputs.n_electrons / (1 if self.level.spin_orbit else 2)),
            known=self.begin_with(launch.source),
            compute=compute,
            spin_orbit=self.level.spin_orbit,
            max_refinements=self.settings.max_refinements,
            starts=self.starts(),
            nominal=nominal,
            on_round=keep,
        )
        search.remember(earlier)
        write_rounds(launch.folder, same, earlier)
        masses = self.with_paths(search.run(), launch.source, launch.inputs.n_electrons)
        masses = masses.model_copy(update={"notes": [*masses.notes, *self.remarks()]})
        return {
            "masses": masses,
            "edges": search.edges(),
            "wall_s": sum(done.wall_s for done in search.rounds),
            "before_s": sum(done.wall_s for done in earlier),
        }


@dataclass
class SpinOrbitMassesStep(MassesStep):
    """Masses with spin-orbit coupling, on the density of that scf.

    There are no bands along lines with it: the search begins at the best of that scf's mesh and the extremum without
    spin-orbit coupling.
    """

    name: str = "masses_spin_orbit"
    step: ClassVar[Step] = Step.MASSES_SPIN_ORBIT
    version: ClassVar[int] = 4

    def scf(self, source: StepOutput | None) -> StepOutput | None:
        """Return the step whose density is used."""
        return source

    def begin_with(self, source: StepOutput | None) -> list[KnownBands]:
        """Return the bands on the mesh of the scf with spin-orbit coupling."""
        return [] if source is None else [self.known_bands(source)]

    def starts(self) -> Mapping[Carrier, list[Kpoint]] | None:
        """Return the extrema without spin-orbit coupling."""
        before = self.beside.get(Step.MASSES.value)
        masses = None if before is None else before.result.masses
        found: dict[Carrier, list[Kpoint]] = {}
        for carrier in Carrier:
            mass: MassTensor | None = None if masses is None else getattr(masses, carrier.value)
            found[carrier] = [] if mass is None or mass.extremum_kpoint is None else [mass.extremum_kpoint]
        return found

    def remarks(self) -> list[str]:
        """Return what is to be said of the search."""
        return [
            "searched from the mesh of the scf with spin-orbit coupling and the extrema without it, not along lines"
        ]

    def with_paths(self, masses: Masses, source: StepOutput | None, n_electrons: float) -> Masses:
        """Return the masses as they are: no lines were computed."""
        return masses


def _add_path_masses(masses: Masses, bands: Any, n_electrons: float) -> Masses:
    """Return masses with ``path_gamma_x``, ``_y``, ``_z`` from bands along lines, or with the reason why not."""
    try:
        rows = path_masses(bands, n_electrons=n_electrons)
    except CorecrownError as error:
        return masses.model_copy(update={"notes": [*masses.notes, f"no masses along lines: {error.message}"]})
    filled = {
        carrier.value: None if mass is None else with_path_masses(mass, rows)
        for carrier, mass in ((Carrier.ELECTRON, masses.electron), (Carrier.HOLE, masses.hole))
    }
    said = [f"along lines: {note}" for note in rows.notes]
    return masses.model_copy(update={**filled, "notes": [*masses.notes, *said]})
