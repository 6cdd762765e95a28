"""What every step of Quantum ESPRESSO knows: its key, its fresh folders, its result, and checks before a run."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from jobflow import Maker, job
from pymatgen.core import Structure
from pymatgen.electronic_structure.bandstructure import BandStructure

from corecrown.errors import CorecrownError, RunError
from corecrown.postprocess.edges import find_edges
from corecrown.postprocess.results import BandEdges, Pseudopotential, RunSettings, Step, StepResult, StepTiming
from corecrown.workflows.espresso.handlers import corrections, limit_ranks
from corecrown.workflows.espresso.inputs import OUTDIR, PREFIX, PwInput
from corecrown.workflows.espresso.outputs import PwRun
from corecrown.workflows.espresso.programs import program_family
from corecrown.workflows.espresso.pseudopotentials import find_pseudopotentials
from corecrown.workflows.espresso.run import RunInterruptedError, cannot_write, plan_parallel
from corecrown.workflows.protocols import StepSettings, Theory
from corecrown.workflows.record import StepFolder, StepOutput, make_key

__all__ = [
    "PW_OUTPUT",
    "XML",
    "EspressoMaker",
    "density_mismatch",
    "edges_of",
    "require_density",
    "scf_files",
    "valence_edge",
]

XML = f"{OUTDIR.removeprefix('./')}/{PREFIX}.save/data-file-schema.xml"
PW_OUTPUT = "pw.out"

FRESH_FOLDERS = 2
"""How often a calculation that was ended from outside is tried again, each time in a fresh folder."""


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
            stored = self._compute(record, key, inputs, source)
        return StepOutput(
            dir_name=str((record.path / stored.folder).resolve()), structure=stored.structure, result=stored
        )

    def _compute(self, record: StepFolder, key: str, inputs: PwInput, source: StepOutput | None) -> StepResult:
        """Run in a fresh folder, and in another one where the program was ended from outside."""
        ranks: int | None = None
        tries_left = FRESH_FOLDERS
        while True:
            try:
                with _attempt(record, key) as attempt:
                    limit_ranks(attempt, ranks)
                    stored = self.run(attempt, record, key, inputs, source)
                    record.finish(stored)
                    return stored
            except RunInterruptedError as error:
                if tries_left == 0:
                    raise
                tries_left -= 1
                ranks = error.ranks

    @property
    def level(self) -> Theory:
        """The level of theory of this step."""
        return self.theory

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
        relativity: Literal["SR", "FR"] = "FR" if self.level.spin_orbit else "SR"
        return find_pseudopotentials(elements, self.level.functional.value, relativity)

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
        ranks = plan_parallel(inputs.n_kpoints).limited(attempt).ranks
        notes = [*fields.pop("notes", []), *corrections(attempt)]
        structure = run.structure.copy(site_properties=dict(inputs.structure.site_properties))
        return StepResult(
            step=self.step,
            label=self.label,
            key=key,
            folder=attempt.name,
            engine="espresso",
            code="Quantum ESPRESSO",
            code_version=run.code_version,
            settings=_run_settings(run, inputs, self.level),
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
            notes=notes,
            **fields,
        )


def require_density(label: str, source: StepOutput | None, inputs: PwInput, theory: Theory) -> StepOutput:
    """Return the scf a run without self-consistency starts from, after checking that it fits.

    Raises
    ------
    RunError
        If there is none, or it is of another cell, other species, cutoffs, pseudopotentials or functional.
    """
    if source is None:
        raise RunError(f"{label}: no scf to start from", "hand the output of an ScfMaker job in as source")
    mismatch = density_mismatch(source.result, inputs, theory)
    if mismatch:
        raise RunError(
            f"{label}: the density in {source.dir_name} is not of this calculation: {mismatch}",
            "run the scf again with the same cell and settings",
        )
    return source


def density_mismatch(source: StepResult, inputs: PwInput, theory: Theory) -> str | None:
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
        q_mesh=_q_mesh(inputs),
        pseudopotentials={
            element: Pseudopotential(file=file.path.name, sha256=file.sha256)
            for element, file in sorted(inputs.pseudopotentials.items())
        },
    )


def _q_mesh(inputs: PwInput) -> tuple[int, int, int] | None:
    system = inputs.namelists["system"]
    return None if "nqx1" not in system else (system["nqx1"], system["nqx2"], system["nqx3"])


def edges_of(bands: BandStructure, source: Literal["bands", "mesh"], run: PwRun) -> BandEdges:
    """Return the edges of a band structure, filled with the electrons of a run."""
    return find_edges(bands, source, run.n_electrons, spin_orbit=run.spin_orbit)


def valence_edge(density: StepResult, run: PwRun) -> float:
    """Return the valence edge of the scf, which bands without self-consistency cannot know."""
    if density.edges is not None and density.edges.vbm_ev is not None:
        return density.edges.vbm_ev
    return run.fermi_ev or 0.0


def scf_files(attempt: Path) -> dict[str, str]:
    """Return the files that a self-consistent run leaves for the steps that start from it."""
    density: Sequence[Path] = sorted((attempt / XML).parent.glob("charge-density*"))
    if not density:
        raise RunError(f"{(attempt / XML).parent}: the run left no charge density", f"see {attempt / PW_OUTPUT}")
    return {"xml": XML, "output": PW_OUTPUT, "density": str(density[0].relative_to(attempt))}


@contextmanager
def _attempt(record: StepFolder, key: str) -> Iterator[Path]:
    """Open a fresh attempt; if it comes to nothing, its folder says why."""
    try:
        attempt = record.begin(key)
    except OSError as error:
        raise cannot_write(record.path, error) from error
    try:
        yield attempt
    except CorecrownError as error:
        record.fail(attempt, str(error))
        raise
    except OSError as error:
        record.fail(attempt, str(error))
        raise cannot_write(attempt, error) from error
    except Exception as error:
        record.fail(attempt, f"{type(error).__name__}: {error}")
        raise
