"""Makers of VASP calculations: each one jobflow job, with the same result and record as Quantum ESPRESSO's."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from monty.serialization import dumpfn
from pymatgen.core import Structure
from pymatgen.io.vasp.inputs import Poscar

from corecrown.errors import RunError
from corecrown.postprocess.edges import find_edges
from corecrown.postprocess.pdos import AtomicState, complete_dos
from corecrown.postprocess.results import PdosSummary, Step, StepResult
from corecrown.workflows.bandstructure import line_band_structure
from corecrown.workflows.jobs_base import Launch, valence_edge
from corecrown.workflows.kpoints import band_path
from corecrown.workflows.protocols import BandsSettings, PdosSettings, RelaxSettings
from corecrown.workflows.record import StepOutput
from corecrown.workflows.vasp.base import VaspMaker, files_in, in_our_order, mesh_edges
from corecrown.workflows.vasp.excitation import ExcitationMaker
from corecrown.workflows.vasp.hybrid import HybridMaker, HybridSpinOrbitMaker
from corecrown.workflows.vasp.inputs import VaspInput, make_input, path_kpoints, relax_tags
from corecrown.workflows.vasp.relaxation import (
    Relaxed,
    axes_are_orthogonal,
    relax_in_stages,
    require_axes_along_xyz,
    set_square,
)
from corecrown.workflows.vasp.run import copy_density, keep_outputs, run_vasp
from corecrown.workflows.vasp.vasprun import VaspRun, atomic_states, edge_character_of

__all__ = ["MAKERS", "BandsMaker", "PdosMaker", "RelaxMaker", "ScfMaker", "SpinOrbitMaker"]


@dataclass
class RelaxMaker(VaspMaker):
    """Relaxation of cell and atoms, the directions of the axes kept."""

    settings: RelaxSettings
    name: str = "relax"
    step: ClassVar[Step] = Step.RELAX

    def inputs(self, structure: Structure) -> VaspInput:
        """Return the input of the first run of the relaxation."""
        require_axes_along_xyz(structure)
        return make_input("RelaxSetGenerator", structure, self.settings, self.theory, relax_tags(self.settings))

    def run(self, launch: Launch[VaspInput]) -> StepResult:
        """Relax, from the last geometry of a broken attempt where there is one."""
        notes = []
        start = launch.inputs.structure
        for earlier in reversed(launch.record.attempts(launch.key)[:-1]):
            geometry = last_geometry(earlier, launch.inputs)
            if geometry is not None:
                start = geometry
                notes.append(f"went on from the last geometry of {earlier.name}")
                break
        stages: list[VaspRun] = []
        seconds: list[float] = []

        def stage(structure: Structure, tags: dict[str, Any]) -> VaspRun:
            if stages:
                keep_outputs(launch.folder, f"relax{len(stages)}")
            seconds.append(run_vasp(launch.folder, launch.inputs.with_structure(structure).with_incar(**tags)))
            run = self.read(launch.folder)
            stages.append(run)
            return replace(run, structure=in_our_order(run.structure, launch.inputs))

        if self.settings.relax_cell:
            relaxed = relax_in_stages(start, self.settings.pressure_threshold_kbar, stage)
        else:
            relaxed = Relaxed(stage(start, {}), [])
        total = replace(
            stages[-1],
            ionic_steps=sum(run.ionic_steps for run in stages),
            scf_iterations=sum(run.scf_iterations for run in stages),
        )
        return self.packed(launch, self.gathered(total, launch, sum(seconds), [*notes, *relaxed.notes]))

    def gather(self, launch: Launch[VaspInput], wall_s: float) -> StepResult:
        """Read a relaxation that ran elsewhere."""
        run = self.read(launch.folder)
        angles = run.structure.lattice.angles
        if axes_are_orthogonal(launch.inputs.structure) and not np.allclose(angles, 90, atol=0.01):
            raise RunError(
                f"{self.label}: the axes did not stay orthogonal: angles {', '.join(f'{a:.3f}' for a in angles)}°",
                "relax it with the run.sh that was written beside the inputs, which holds the angles with VASP 6.5 or "
                "later; 'corecrown study run' does it with older ones",
            )
        return self.gathered(run, launch, wall_s, [])

    def gathered(
        self,
        run: VaspRun,
        launch: Launch[VaspInput],
        wall_s: float,
        notes: list[str],
    ) -> StepResult:
        """Return the result of a relaxation from its last run."""
        allowed = 3 * self.settings.pressure_threshold_kbar
        if self.settings.relax_cell and run.pressure_kbar is not None and abs(run.pressure_kbar) > allowed:
            notes = [*notes, f"pressure at the end: {run.pressure_kbar:.1f} kbar, beyond the threshold"]
        files = files_in(launch.folder, xml="vasprun.xml", output="OUTCAR")
        return self.result(run, launch, wall_s, files=files, notes=notes)


@dataclass
class ScfMaker(VaspMaker):
    """Self-consistent density at fixed atoms; what bands and projections start from."""

    name: str = "scf"
    step: ClassVar[Step] = Step.SCF

    def inputs(self, structure: Structure) -> VaspInput:
        """Return the input of the scf."""
        tags = {"ISMEAR": 0, "LCHARG": True, "NSW": 0}
        return make_input("StaticSetGenerator", structure, self.settings, self.level, tags)

    def key(self, inputs: VaspInput, source: StepOutput | None) -> str:
        """Return the hash; the relaxation before it does not change where it ends."""
        del source
        return super().key(inputs, None)

    def gather(self, launch: Launch[VaspInput], wall_s: float) -> StepResult:
        """Read the scf: edges on its mesh, and where its density is."""
        run = self.read(launch.folder)
        files = files_in(launch.folder, xml="vasprun.xml", output="OUTCAR", density="CHGCAR")
        edges = mesh_edges(run.of_mesh, run.fermi_ev)
        return self.result(run, launch, wall_s, edges=edges, files=files)


@dataclass
class SpinOrbitMaker(ScfMaker):
    """An scf of its own with spin-orbit coupling, by vasp_ncl."""

    name: str = "spin-orbit"
    step: ClassVar[Step] = Step.SPIN_ORBIT


@dataclass
class FixedDensityMaker(VaspMaker):
    """What bands on lines and on a mesh share: they start from the density of an scf and leave it as it is."""

    def execute(self, launch: Launch[VaspInput]) -> float:
        """Put the density of the scf into the folder, after checking that it fits, and run."""
        copy_density(Path(self.density(launch.source, launch.inputs).dir_name), launch.folder)
        return super().execute(launch)


@dataclass
class BandsMaker(FixedDensityMaker):
    """Bands along lines through named points, from the density of an scf."""

    settings: BandsSettings
    name: str = "bands"
    step: ClassVar[Step] = Step.BANDS

    def inputs(self, structure: Structure) -> VaspInput:
        """Return the input of the bands; the path is ours, and never reorders the cell."""
        path = band_path(structure, self.settings.path, self.settings.path_spacing)
        tags = {"ICHARG": 11, "ISMEAR": 0, "SIGMA": 0.05, "NSW": 0}
        return make_input(
            "NonSCFSetGenerator",
            structure,
            self.settings,
            self.level,
            tags,
            mode="line",
            **path_kpoints(path),
        )

    def gather(self, launch: Launch[VaspInput], wall_s: float) -> StepResult:
        """Read the bands and keep them as a pymatgen band structure."""
        run = self.read(launch.folder)
        fermi = valence_edge(launch.source.result if launch.source else None, run.fermi_ev)
        bands = line_band_structure(launch.inputs.structure, run.kpoints, run.spins, fermi)
        edges = find_edges(bands, "bands", run.n_electrons, spin_orbit=run.spin_orbit)
        if edges.mid_gap_ev is not None:
            bands.efermi = edges.mid_gap_ev
        dumpfn(bands.as_dict(), str(launch.folder / "bands.json.gz"))
        files = files_in(launch.folder, xml="vasprun.xml", output="OUTCAR", bands="bands.json.gz")
        return self.result(run, launch, wall_s, edges=edges, files=files)


@dataclass
class PdosMaker(FixedDensityMaker):
    """Density of states on a uniform mesh, projected on atomic orbitals, from the density of an scf."""

    settings: PdosSettings
    name: str = "pdos"
    step: ClassVar[Step] = Step.PDOS

    def inputs(self, structure: Structure) -> VaspInput:
        """Return the input of the bands on the mesh, projected (LORBIT = 11)."""
        tags = {"ICHARG": 11, "ISMEAR": 0, "SIGMA": 0.05, "NSW": 0, "LORBIT": 11}
        return make_input("NonSCFSetGenerator", structure, self.settings, self.level, tags, mode="uniform")

    def extra_identity(self) -> dict[str, Any]:
        """Return how the density of states is broadened."""
        return {"sigma_ev": self.settings.sigma_ev, "step_ev": self.settings.step_ev}

    def gather(self, launch: Launch[VaspInput], wall_s: float) -> StepResult:
        """Broaden the projected states as for Quantum ESPRESSO, and keep them as a pymatgen CompleteDos."""
        run = self.read(launch.folder, projections=True)
        if run.projections is None:
            raise RunError(f"{self.label}: the run has no projections", "LORBIT = 11 writes them")
        edges = mesh_edges(run, valence_edge(launch.source.result if launch.source else None, run.fermi_ev))
        states = [
            AtomicState(launch.inputs.order[state.atom_index], state.element, state.l, state.m)
            for state in atomic_states(run.structure, run.projections.shape[-1])
        ]
        dos = complete_dos(
            launch.inputs.structure,
            run.eigenvalues_ev,
            run.weights,
            run.projections,
            states,
            efermi_ev=edges.vbm_ev if edges.vbm_ev is not None else (run.fermi_ev or 0.0),
            sigma_ev=self.settings.sigma_ev,
            step_ev=self.settings.step_ev,
            spin_orbit=run.spin_orbit,
        )
        dumpfn(dos.as_dict(), str(launch.folder / "dos.json.gz"))
        occupied = round(run.n_electrons if run.spin_orbit else run.n_electrons / 2)
        held = run.projections[:, :, :occupied].sum(axis=3).mean(axis=(0, 2))
        summary = PdosSummary(
            edge_character=edge_character_of(run),
            file="dos.json.gz",
            spilling=round(float(1 - np.average(held, weights=run.weights)), 6),
            notes=["VASP projects inside the spheres of the PAW potentials: what lies between them is spilling"],
        )
        files = files_in(launch.folder, xml="vasprun.xml", output="OUTCAR", dos="dos.json.gz")
        return self.result(run, launch, wall_s, edges=edges, pdos=summary, files=files)


def last_geometry(attempt: Path, inputs: VaspInput) -> Structure | None:
    """Return the last whole geometry of a broken relaxation in our order of atoms, set square where it was; or None."""
    path = attempt / "CONTCAR"
    if not path.is_file():
        return None
    try:
        read = Poscar.from_file(str(path), check_for_potcar=False).structure
        found = in_our_order(read, inputs)
        same = found.species == inputs.structure.species and len(found) == len(inputs.structure)
        if not same:
            return None
        return set_square(found)[0] if axes_are_orthogonal(inputs.structure) else found
    except (ValueError, IndexError, OSError, TypeError, RunError):
        return None


MAKERS: dict[Step, type[VaspMaker]] = {
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
