"""Makers of Quantum ESPRESSO calculations: each one jobflow job that runs alone in anyone's flow.

A job knows its key and its folder. It gives back the stored result where one with that key is there, goes on from
the last geometry of a broken relaxation, and otherwise runs in a fresh attempt folder.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from jobflow import Maker, job
from monty.serialization import dumpfn
from pymatgen.core import Structure
from pymatgen.electronic_structure.bandstructure import BandStructure

from corecrown.errors import CorecrownError, RunError
from corecrown.postprocess.edges import find_edges
from corecrown.postprocess.pdos import complete_dos, edge_character
from corecrown.postprocess.results import (
    BandEdges,
    PdosSummary,
    Pseudopotential,
    RunSettings,
    Step,
    StepResult,
    StepTiming,
)
from corecrown.workflows.bandstructure import line_band_structure, mesh_band_structure
from corecrown.workflows.espresso.inputs import (
    OUTDIR,
    PREFIX,
    PwInput,
    bands_input,
    nscf_input,
    projwfc_input,
    relax_input,
    scf_input,
)
from corecrown.workflows.espresso.outputs import PwRun, read_run
from corecrown.workflows.espresso.programs import program_family
from corecrown.workflows.espresso.projections import read_projections
from corecrown.workflows.espresso.pseudopotentials import find_pseudopotentials
from corecrown.workflows.espresso.run import (
    copy_density,
    plan_parallel,
    remove_wavefunctions,
    run_program,
    run_pw,
)
from corecrown.workflows.espresso.stdout import last_geometry
from corecrown.workflows.kpoints import band_path
from corecrown.workflows.protocols import BandsSettings, PdosSettings, RelaxSettings, StepSettings, Theory
from corecrown.workflows.record import StepFolder, StepOutput, make_key

__all__ = ["MAKERS", "BandsMaker", "EspressoMaker", "PdosMaker", "RelaxMaker", "ScfMaker"]

XML = f"{OUTDIR.removeprefix('./')}/{PREFIX}.save/data-file-schema.xml"
PW_OUTPUT = "pw.out"


@dataclass
class EspressoMaker(Maker):
    """Base of the Makers.

    Parameters
    ----------
    name
        Name of the job.
    settings
        How carefully the step is computed.
    theory
        Functional, dispersion, spin-orbit coupling.
    folder
        Where the record of this step is kept; the working directory if None.
    label
        Which cell this is, for people.
    """

    settings: StepSettings
    theory: Theory = field(default_factory=Theory)
    folder: str | None = None
    label: str = "cell"
    name: str = "espresso"

    step: ClassVar[Step]
    version: ClassVar[int] = 1
    """Raised when the same inputs would give another result."""

    @job(output_schema=StepOutput)
    def make(self, structure: Structure, source: StepOutput | None = None) -> StepOutput:
        """Compute, or give back what was computed before.

        Parameters
        ----------
        structure
            The cell.
        source
            Output of the step whose density this one uses; a relaxation has none.
        """
        return self.calculate(structure, source)

    def calculate(self, structure: Structure, source: StepOutput | None = None) -> StepOutput:
        """Do what :meth:`make` does, at once and without a flow."""
        record = StepFolder(Path(self.folder) if self.folder else Path.cwd())
        inputs = self.inputs(structure)
        key = self.key(inputs, source)
        stored = record.finished(key)
        if stored is None:
            with _attempt(record, key) as attempt:
                stored = self.run(attempt, record, key, inputs, source)
                record.finish(stored)
        return StepOutput(
            dir_name=str((record.path / stored.folder).resolve()), structure=stored.structure, result=stored
        )

    def inputs(self, structure: Structure) -> PwInput:
        """Return the input of pw.x for a cell."""
        raise RunError(f"{type(self).__name__} writes no input", "a Maker of a step says what it writes")

    def run(
        self, attempt: Path, record: StepFolder, key: str, inputs: PwInput, source: StepOutput | None
    ) -> StepResult:
        """Run the programs in a fresh folder and read the result."""
        raise RunError(f"{type(self).__name__} runs nothing", "a Maker of a step says what it runs")

    def key(self, inputs: PwInput, source: StepOutput | None) -> str:
        """Return the hash of all that determines the result of this step."""
        return make_key(
            {
                "engine": "espresso",
                "family": program_family("pw.x"),
                "step": self.step.value,
                "version": self.version,
                "input": inputs.identity(),
                "source": source.result.key if source else None,
                "settings": self.extra_identity(),
            }
        )

    def extra_identity(self) -> dict[str, Any]:
        """Return what else determines the result, beyond the input of pw.x."""
        return {}

    def pseudopotentials(self, structure: Structure) -> Any:
        """Return the pseudopotentials that fit this level of theory, by element."""
        elements = sorted({site.specie.symbol for site in structure})
        relativity: Literal["SR", "FR"] = "FR" if self.theory.spin_orbit else "SR"
        return find_pseudopotentials(elements, self.theory.functional.value, relativity)

    def result(
        self,
        run: PwRun,
        attempt: Path,
        record: StepFolder,
        key: str,
        inputs: PwInput,
        wall_s: float,
        **fields: Any,
    ) -> StepResult:
        """Return a result with what every step knows filled in."""
        ranks = plan_parallel(inputs.n_kpoints).ranks
        structure = run.structure.copy(site_properties=dict(inputs.structure.site_properties))
        return StepResult(
            step=self.step,
            label=self.label,
            key=key,
            folder=attempt.name,
            engine="espresso",
            code="Quantum ESPRESSO",
            code_version=run.code_version,
            settings=_run_settings(run, inputs, self.theory),
            timing=StepTiming(
                wall_s=round(wall_s, 2),
                core_s=round(wall_s * ranks, 2),
                scf_iterations=run.scf_iterations,
                ionic_steps=run.ionic_steps if self.step is Step.RELAX else None,
                attempts=len(record.attempts(key)),
            ),
            structure=structure.as_dict(),
            energy_ev=run.energy_ev,
            n_electrons=run.n_electrons,
            n_bands=run.eigenvalues_ev.shape[2],
            **fields,
        )


@dataclass
class RelaxMaker(EspressoMaker):
    """Relaxation of cell and atoms, the directions of the axes kept."""

    settings: RelaxSettings
    name: str = "relax"
    step: ClassVar[Step] = Step.RELAX

    def inputs(self, structure: Structure) -> PwInput:
        """Return the input of the relaxation."""
        return relax_input(structure, self.settings, self.theory, self.pseudopotentials(structure))

    def run(
        self, attempt: Path, record: StepFolder, key: str, inputs: PwInput, source: StepOutput | None
    ) -> StepResult:
        """Relax, from the last geometry of a broken attempt where there is one."""
        notes = []
        for earlier in reversed(record.attempts(key)[:-1]):
            geometry = last_geometry(earlier / PW_OUTPUT, inputs.structure)
            if geometry is not None:
                inputs = inputs.with_structure(geometry)
                notes.append(f"went on from the last geometry of {earlier.name}")
                break
        wall_s = run_pw(attempt, inputs)
        run = read_run(attempt / XML)
        if not run.relax_converged:
            raise RunError(
                f"{self.label}: not relaxed after {run.ionic_steps} ionic steps",
                "the same command again goes on from the last geometry; or raise relax.max_ionic_steps",
            )
        if not run.scf_converged:
            raise RunError(f"{self.label}: the final scf of the relaxation did not converge", f"see {attempt}")
        if run.pressure_kbar is not None and abs(run.pressure_kbar) > 3 * self.settings.pressure_threshold_kbar:
            notes.append(
                f"pressure with the plane waves of the relaxed cell: {run.pressure_kbar:.1f} kbar, beyond the "
                "threshold that was met with those of the starting cell"
            )
        remove_wavefunctions(attempt)
        return self.result(run, attempt, record, key, inputs, wall_s, files=_scf_files(attempt), notes=notes)


@dataclass
class ScfMaker(EspressoMaker):
    """Self-consistent density at fixed atoms; what bands and projections start from."""

    name: str = "scf"
    step: ClassVar[Step] = Step.SCF

    def inputs(self, structure: Structure) -> PwInput:
        """Return the input of the scf."""
        return scf_input(structure, self.settings, self.theory, self.pseudopotentials(structure))

    def run(
        self, attempt: Path, record: StepFolder, key: str, inputs: PwInput, source: StepOutput | None
    ) -> StepResult:
        """Iterate to self-consistency, from the relaxation's density where its cell is this one."""
        if source is not None and _density_mismatch(source.result, inputs, self.theory) is None:
            copy_density(Path(source.dir_name), attempt)
            inputs = inputs.with_keywords("electrons", startingpot="file")
        wall_s = run_pw(attempt, inputs)
        run = read_run(attempt / XML)
        if not run.scf_converged:
            raise RunError(f"{self.label}: the scf did not converge", f"see {attempt / PW_OUTPUT}")
        remove_wavefunctions(attempt)
        bands = mesh_band_structure(run.structure, run.kpoints, run.spins, run.fermi_ev or 0.0)
        edges = _edges(bands, "mesh", run)
        return self.result(run, attempt, record, key, inputs, wall_s, edges=edges, files=_scf_files(attempt))

    def key(self, inputs: PwInput, source: StepOutput | None) -> str:
        """Return the hash; the density it starts from does not change where it ends."""
        del source
        return super().key(inputs, None)


@dataclass
class BandsMaker(EspressoMaker):
    """Bands along lines through named points, from the density of an scf."""

    settings: BandsSettings
    name: str = "bands"
    step: ClassVar[Step] = Step.BANDS

    def inputs(self, structure: Structure) -> PwInput:
        """Return the input of the bands."""
        path = band_path(structure, self.settings.path, self.settings.path_spacing)
        return bands_input(structure, self.settings, self.theory, self.pseudopotentials(structure), path.points)

    def run(
        self, attempt: Path, record: StepFolder, key: str, inputs: PwInput, source: StepOutput | None
    ) -> StepResult:
        """Compute the bands and keep them as a pymatgen band structure."""
        density = require_density(self.label, source, inputs, self.theory)
        copy_density(Path(density.dir_name), attempt)
        wall_s = run_pw(attempt, inputs)
        run = read_run(attempt / XML)
        remove_wavefunctions(attempt)
        bands = line_band_structure(run.structure, run.kpoints, run.spins, _fermi(density.result, run))
        dumpfn(bands.as_dict(), str(attempt / "bands.json.gz"))
        files = {"xml": XML, "output": PW_OUTPUT, "bands": "bands.json.gz"}
        return self.result(run, attempt, record, key, inputs, wall_s, edges=_edges(bands, "bands", run), files=files)


@dataclass
class PdosMaker(EspressoMaker):
    """Density of states on a uniform mesh, projected on atomic orbitals, from the density of an scf."""

    settings: PdosSettings
    name: str = "pdos"
    step: ClassVar[Step] = Step.PDOS

    def inputs(self, structure: Structure) -> PwInput:
        """Return the input of the bands on the mesh."""
        return nscf_input(structure, self.settings, self.theory, self.pseudopotentials(structure))

    def extra_identity(self) -> dict[str, Any]:
        """Return how the density of states is broadened."""
        return {"sigma_ev": self.settings.sigma_ev, "step_ev": self.settings.step_ev}

    def run(
        self, attempt: Path, record: StepFolder, key: str, inputs: PwInput, source: StepOutput | None
    ) -> StepResult:
        """Compute bands on the mesh, project them, and keep the result as a pymatgen CompleteDos."""
        density = require_density(self.label, source, inputs, self.theory)
        copy_density(Path(density.dir_name), attempt)
        wall_s = run_pw(attempt, inputs)
        (attempt / "projwfc.in").write_text(projwfc_input(), encoding="utf-8")
        wall_s += run_program(attempt, "projwfc.x", "projwfc", plan_parallel(inputs.n_kpoints))
        run = read_run(attempt / XML)
        projections = read_projections((attempt / XML).with_name("atomic_proj.xml"), attempt / "projwfc.out")
        remove_wavefunctions(attempt)
        for file in attempt.glob("pdos.pdos_*"):
            file.unlink()
        bands = mesh_band_structure(run.structure, run.kpoints, run.spins, _fermi(density.result, run))
        edges = _edges(bands, "mesh", run)
        dos = complete_dos(
            run.structure,
            run.eigenvalues_ev,
            run.weights,
            projections.weights,
            projections.states,
            efermi_ev=edges.vbm_ev if edges.vbm_ev is not None else bands.efermi,
            sigma_ev=self.settings.sigma_ev,
            step_ev=self.settings.step_ev,
            spin_orbit=run.spin_orbit,
        )
        dumpfn(dos.as_dict(), str(attempt / "dos.json.gz"))
        occupied = round(run.n_electrons) if run.spin_orbit else round(run.n_electrons / 2)
        character = edge_character(projections.weights, run.eigenvalues_ev, projections.states, occupied)
        held = projections.weights[:, :, :occupied].sum(axis=3).mean(axis=(0, 2))
        summary = PdosSummary(
            edge_character=character,
            file="dos.json.gz",
            spilling=round(float(1 - np.average(held, weights=run.weights)), 6),
        )
        files = {"xml": XML, "output": PW_OUTPUT, "dos": "dos.json.gz"}
        return self.result(run, attempt, record, key, inputs, wall_s, edges=edges, pdos=summary, files=files)


def require_density(label: str, source: StepOutput | None, inputs: PwInput, theory: Theory) -> StepOutput:
    """Return the scf a run without self-consistency starts from, after checking that it fits.

    Raises
    ------
    RunError
        If there is none, or it is of another cell, other species, cutoffs, pseudopotentials or functional.
    """
    if source is None:
        raise RunError(f"{label}: no scf to start from", "hand the output of an ScfMaker job in as source")
    mismatch = _density_mismatch(source.result, inputs, theory)
    if mismatch:
        raise RunError(
            f"{label}: the density in {source.dir_name} is not of this calculation: {mismatch}",
            "run the scf again with the same cell and settings",
        )
    return source


def _density_mismatch(source: StepResult, inputs: PwInput, theory: Theory) -> str | None:
    """Return in what a stored density differs from what an input asks for, or None."""
    theirs, mine = Structure.from_dict(source.structure), inputs.structure
    if [site.specie for site in theirs] != [site.specie for site in mine]:
        return f"species {theirs.formula} instead of {mine.formula}"
    if not np.allclose(theirs.lattice.matrix, mine.lattice.matrix, atol=1e-5):
        return f"lattice {theirs.lattice.abc} instead of {mine.lattice.abc}"
    apart = mine.frac_coords - theirs.frac_coords
    apart -= np.round(apart)
    if np.abs(apart).max() > 1e-5:
        return "other atomic positions"
    system = inputs.namelists["system"]
    if source.settings.cutoff_wfc_ry is None or abs(source.settings.cutoff_wfc_ry - system["ecutwfc"]) > 1e-6:
        return f"cutoff {source.settings.cutoff_wfc_ry} Ry instead of {system['ecutwfc']} Ry"
    if source.settings.cutoff_rho_ry is None or abs(source.settings.cutoff_rho_ry - system["ecutrho"]) > 1e-6:
        return f"density cutoff {source.settings.cutoff_rho_ry} Ry instead of {system['ecutrho']} Ry"
    if (source.settings.functional, source.settings.spin_orbit) != (theory.name, theory.spin_orbit):
        return f"functional {source.settings.functional} instead of {theory.name}"
    checksums = {element: file.sha256 for element, file in source.settings.pseudopotentials.items()}
    if checksums != {element: file.sha256 for element, file in inputs.pseudopotentials.items()}:
        return "other pseudopotentials"
    return None


def _run_settings(run: PwRun, inputs: PwInput, theory: Theory) -> RunSettings:
    return RunSettings(
        functional=theory.name,
        spin_orbit=theory.spin_orbit,
        cutoff_wfc_ry=round(run.cutoff_wfc_ry, 6),
        cutoff_rho_ry=round(run.cutoff_rho_ry, 6),
        kpoint_mesh=inputs.mesh,
        kpoint_shift=inputs.shift,
        pseudopotentials={
            element: Pseudopotential(file=file.path.name, sha256=file.sha256)
            for element, file in sorted(inputs.pseudopotentials.items())
        },
    )


def _edges(bands: BandStructure, source: Any, run: PwRun) -> BandEdges:
    return find_edges(bands, source, run.n_electrons, spin_orbit=run.spin_orbit)


def _fermi(density: StepResult, run: PwRun) -> float:
    """Return the valence edge of the scf, which bands without self-consistency cannot know."""
    if density.edges is not None and density.edges.vbm_ev is not None:
        return density.edges.vbm_ev
    return run.fermi_ev or 0.0


def _scf_files(attempt: Path) -> dict[str, str]:
    density: Sequence[Path] = sorted((attempt / XML).parent.glob("charge-density*"))
    if not density:
        raise RunError(f"{(attempt / XML).parent}: the run left no charge density", f"see {attempt / PW_OUTPUT}")
    return {"xml": XML, "output": PW_OUTPUT, "density": str(density[0].relative_to(attempt))}


@contextmanager
def _attempt(record: StepFolder, key: str) -> Iterator[Path]:
    """Open a fresh attempt; if it comes to nothing, its folder says why."""
    attempt = record.begin(key)
    try:
        yield attempt
    except CorecrownError as error:
        record.fail(attempt, str(error))
        raise
    except Exception as error:
        record.fail(attempt, f"{type(error).__name__}: {error}")
        raise


MAKERS: dict[Step, type[EspressoMaker]] = {
    Step.RELAX: RelaxMaker,
    Step.SCF: ScfMaker,
    Step.BANDS: BandsMaker,
    Step.PDOS: PdosMaker,
}
"""The Maker of each step that this engine has."""
