"""Makers of Quantum ESPRESSO calculations: each one jobflow job that runs alone in anyone's flow.

A job knows its key and its folder. It gives back the stored result where one with that key is there, goes on from
the last geometry of a broken relaxation, and otherwise runs in a fresh attempt folder.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from monty.serialization import dumpfn
from pymatgen.core import Structure

from corecrown.errors import RunError
from corecrown.postprocess.results import PdosSummary, Step, StepResult
from corecrown.workflows.bandstructure import line_band_structure, mesh_band_structure
from corecrown.workflows.espresso.base import (
    PW_OUTPUT,
    XML,
    EspressoMaker,
    density_mismatch,
    edges_of,
    scf_files,
)
from corecrown.workflows.espresso.excitation import ExcitationMaker
from corecrown.workflows.espresso.handlers import outputs_newest_first, was_stopped_in_time
from corecrown.workflows.espresso.inputs import (
    PwInput,
    bands_input,
    hybrid_input,
    nscf_input,
    projwfc_input,
    relax_input,
    scf_input,
    spin_orbit_input,
)
from corecrown.workflows.espresso.outputs import read_run
from corecrown.workflows.espresso.projections import projected_dos, read_projections
from corecrown.workflows.espresso.run import (
    copy_density,
    plan_parallel,
    remove_wavefunctions,
    run_program,
    run_pw,
)
from corecrown.workflows.espresso.stdout import last_geometry
from corecrown.workflows.jobs_base import Launch, valence_edge
from corecrown.workflows.kpoints import band_path
from corecrown.workflows.protocols import (
    BandsSettings,
    HybridSettings,
    PdosSettings,
    RelaxSettings,
)
from corecrown.workflows.record import StepOutput

__all__ = [
    "MAKERS",
    "BandsMaker",
    "EspressoMaker",
    "ExcitationMaker",
    "HybridMaker",
    "HybridSpinOrbitMaker",
    "PdosMaker",
    "RelaxMaker",
    "ScfMaker",
    "SpinOrbitMaker",
]


@dataclass
class RelaxMaker(EspressoMaker):
    """Relaxation of cell and atoms, the directions of the axes kept."""

    settings: RelaxSettings
    name: str = "relax"
    step: ClassVar[Step] = Step.RELAX

    def inputs(self, structure: Structure) -> PwInput:
        """Return the input of the relaxation."""
        return relax_input(structure, self.settings, self.level, self.pseudopotentials(structure))

    def run(self, launch: Launch[PwInput]) -> StepResult:
        """Relax, from the last geometry of a broken attempt where there is one."""
        notes = []
        for earlier in reversed(launch.record.attempts(launch.key)[:-1]):
            outputs = outputs_newest_first(earlier)
            geometry = next(filter(None, (last_geometry(path, launch.inputs.structure) for path in outputs)), None)
            if geometry is not None:
                launch = replace(launch, inputs=launch.inputs.with_structure(geometry))
                notes.append(f"went on from the last geometry of {earlier.name}")
                break
        wall_s = run_pw(launch.folder, launch.inputs)
        run = read_run(launch.folder / XML)
        if not run.relax_converged:
            raise RunError(
                f"{self.label}: not relaxed after {run.ionic_steps} ionic steps",
                "the same command again goes on from the last geometry; or raise relax.max_ionic_steps",
            )
        if not run.scf_converged:
            raise RunError(f"{self.label}: the final scf of the relaxation did not converge", f"see {launch.folder}")
        if run.pressure_kbar is not None and abs(run.pressure_kbar) > 3 * self.settings.pressure_threshold_kbar:
            notes.append(
                f"pressure with the plane waves of the relaxed cell: {run.pressure_kbar:.1f} kbar, beyond the "
                "threshold that was met with those of the starting cell"
            )
        remove_wavefunctions(launch.folder)
        return self.result(run, launch, wall_s, files=scf_files(launch.folder), notes=notes)


@dataclass
class ScfMaker(EspressoMaker):
    """Self-consistent density at fixed atoms; what bands and projections start from."""

    name: str = "scf"
    step: ClassVar[Step] = Step.SCF

    def inputs(self, structure: Structure) -> PwInput:
        """Return the input of the scf."""
        return scf_input(structure, self.settings, self.level, self.pseudopotentials(structure))

    def run(self, launch: Launch[PwInput]) -> StepResult:
        """Iterate to self-consistency, from the density of a try that ran out of time, or of the same relaxed cell."""
        notes = []
        for place, note in self._densities(launch):
            try:
                copy_density(place, launch.folder)
            except RunError as error:
                notes.append(f"not started from a density: {error.message}")
                continue
            launch = replace(launch, inputs=launch.inputs.with_keywords("electrons", startingpot="file"))
            notes += note
            break
        wall_s = run_pw(launch.folder, launch.inputs)
        run = read_run(launch.folder / XML)
        if not run.scf_converged:
            raise RunError(f"{self.label}: the scf did not converge", f"see {launch.folder / PW_OUTPUT}")
        remove_wavefunctions(launch.folder)
        bands = mesh_band_structure(run.structure, run.kpoints, run.spins, run.fermi_ev or 0.0)
        edges = edges_of(bands, "mesh", run)
        files = scf_files(launch.folder)
        return self.result(run, launch, wall_s, edges=edges, files=files, notes=notes)

    def key(self, inputs: PwInput, source: StepOutput | None) -> str:
        """Return the hash; the density it starts from does not change where it ends."""
        del source
        return super().key(inputs, None)

    def _densities(self, launch: Launch[PwInput]) -> Iterator[tuple[Path, list[str]]]:
        """Yield the folders with a density worth starting from, and what is to be said of it."""
        for earlier in reversed(launch.record.attempts(launch.key)[:-1]):
            if was_stopped_in_time(earlier):
                yield earlier, [f"went on from the density of {earlier.name}"]
        if launch.source is not None and density_mismatch(launch.source.result, launch.inputs, self.level) is None:
            yield Path(launch.source.dir_name), []


@dataclass
class SpinOrbitMaker(ScfMaker):
    """Levels with spin-orbit coupling: an scf of its own with fully relativistic pseudopotentials."""

    name: str = "spin_orbit"
    step: ClassVar[Step] = Step.SPIN_ORBIT

    def inputs(self, structure: Structure) -> PwInput:
        """Return the input of the scf."""
        return spin_orbit_input(structure, self.settings, self.level, self.pseudopotentials(structure))


@dataclass
class HybridMaker(ScfMaker):
    """Levels of HSE06: an scf of its own; edges of its mesh, since bands cannot follow a hybrid scf.

    With ``settings.spin_orbit`` (or ``theory.spin_orbit``) it is HSE06 with spin-orbit coupling, which takes many times
    as long. HSE06 is built on PBE, so pseudopotentials are those of PBE whatever the functional of the other steps.
    """

    settings: HybridSettings
    name: str = "hybrid"
    step: ClassVar[Step] = Step.HYBRID

    def inputs(self, structure: Structure) -> PwInput:
        """Return the input of the scf."""
        return hybrid_input(structure, self.settings, self.level, self.pseudopotentials(structure))


@dataclass
class HybridSpinOrbitMaker(HybridMaker):
    """Levels of HSE06 with spin-orbit coupling, beside those without it; its settings are those of ``hybrid``."""

    name: str = "hybrid_spin_orbit"
    step: ClassVar[Step] = Step.HYBRID_SPIN_ORBIT


@dataclass
class BandsMaker(EspressoMaker):
    """Bands along lines through named points, from the density of an scf."""

    settings: BandsSettings
    name: str = "bands"
    step: ClassVar[Step] = Step.BANDS

    def inputs(self, structure: Structure) -> PwInput:
        """Return the input of the bands."""
        path = band_path(structure, self.settings.path, self.settings.path_spacing)
        return bands_input(structure, self.settings, self.level, self.pseudopotentials(structure), path.points)

    def run(self, launch: Launch[PwInput]) -> StepResult:
        """Compute the bands and keep them as a pymatgen band structure."""
        density = self.density(launch.source, launch.inputs)
        copy_density(Path(density.dir_name), launch.folder)
        wall_s = run_pw(launch.folder, launch.inputs)
        run = read_run(launch.folder / XML)
        remove_wavefunctions(launch.folder)
        bands = line_band_structure(run.structure, run.kpoints, run.spins, valence_edge(density.result, run.fermi_ev))
        edges = edges_of(bands, "bands", run)
        if edges.mid_gap_ev is not None:
            bands.efermi = edges.mid_gap_ev
        dumpfn(bands.as_dict(), str(launch.folder / "bands.json.gz"))
        files = {"xml": XML, "output": PW_OUTPUT, "bands": "bands.json.gz"}
        return self.result(run, launch, wall_s, edges=edges, files=files)


@dataclass
class PdosMaker(EspressoMaker):
    """Density of states on a uniform mesh, projected on atomic orbitals, from the density of an scf."""

    settings: PdosSettings
    name: str = "pdos"
    step: ClassVar[Step] = Step.PDOS

    def inputs(self, structure: Structure) -> PwInput:
        """Return the input of the bands on the mesh."""
        return nscf_input(structure, self.settings, self.level, self.pseudopotentials(structure))

    def extra_identity(self) -> dict[str, Any]:
        """Return how the density of states is broadened."""
        return {"sigma_ev": self.settings.sigma_ev, "step_ev": self.settings.step_ev}

    def run(self, launch: Launch[PwInput]) -> StepResult:
        """Compute bands on the mesh, project them, and keep the result as a pymatgen CompleteDos."""
        density = self.density(launch.source, launch.inputs)
        copy_density(Path(density.dir_name), launch.folder)
        wall_s = run_pw(launch.folder, launch.inputs)
        (launch.folder / "projwfc.in").write_text(projwfc_input(), encoding="utf-8")
        wall_s += run_program(launch.folder, "projwfc.x", "projwfc", plan_parallel(launch.inputs.n_kpoints))
        run = read_run(launch.folder / XML)
        projections = read_projections(
            (launch.folder / XML).with_name("atomic_proj.xml"), launch.folder / "projwfc.out"
        )
        remove_wavefunctions(launch.folder)
        for file in launch.folder.glob("pdos.pdos_*"):
            file.unlink()
        bands = mesh_band_structure(run.structure, run.kpoints, run.spins, valence_edge(density.result, run.fermi_ev))
        edges = edges_of(bands, "mesh", run)
        dos, character = projected_dos(
            run,
            projections,
            efermi_ev=edges.vbm_ev if edges.vbm_ev is not None else bands.efermi,
            sigma_ev=self.settings.sigma_ev,
            step_ev=self.settings.step_ev,
        )
        dumpfn(dos.as_dict(), str(launch.folder / "dos.json.gz"))
        occupied = round(run.n_electrons) if run.spin_orbit else round(run.n_electrons / 2)
        held = projections.weights[:, :, :occupied].sum(axis=3).mean(axis=(0, 2))
        summary = PdosSummary(
            edge_character=character,
            file="dos.json.gz",
            spilling=round(float(1 - np.average(held, weights=run.weights)), 6),
        )
        files = {"xml": XML, "output": PW_OUTPUT, "dos": "dos.json.gz"}
        return self.result(run, launch, wall_s, edges=edges, pdos=summary, files=files)


MAKERS: dict[Step, type[EspressoMaker]] = {
    Step.RELAX: RelaxMaker,
    Step.SCF: ScfMaker,
    Step.BANDS: BandsMaker,
    Step.PDOS: PdosMaker,
    Step.HYBRID: HybridMaker,
    Step.HYBRID_SPIN_ORBIT: HybridSpinOrbitMaker,
    Step.SPIN_ORBIT: SpinOrbitMaker,
    Step.EXCITATION: ExcitationMaker,
}
"""The Maker of each step that this engine has."""
