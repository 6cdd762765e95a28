"""What every step of Quantum ESPRESSO knows: its key, its fresh folders, its result, and checks before a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pymatgen.core import Structure
from pymatgen.electronic_structure.bandstructure import BandStructure

from corecrown.errors import RunError
from corecrown.postprocess.edges import find_edges
from corecrown.postprocess.results import (
    BandEdges,
    EdgeSource,
    Pseudopotential,
    RunSettings,
    Step,
    StepResult,
    StepTiming,
)
from corecrown.workflows.espresso.handlers import corrections, limit_ranks
from corecrown.workflows.espresso.inputs import OUTDIR, PREFIX, PwInput
from corecrown.workflows.espresso.outputs import PwRun
from corecrown.workflows.espresso.programs import program_family
from corecrown.workflows.espresso.pseudopotentials import find_pseudopotentials
from corecrown.workflows.espresso.run import RunInterruptedError, plan_parallel
from corecrown.workflows.jobs_base import Launch, StepMaker, attempt_in, cell_mismatch
from corecrown.workflows.protocols import Theory
from corecrown.workflows.record import StepFolder, StepOutput, make_key

__all__ = [
    "PW_OUTPUT",
    "XML",
    "EspressoMaker",
    "density_mismatch",
    "edges_of",
    "scf_files",
]

XML = f"{OUTDIR.removeprefix('./')}/{PREFIX}.save/data-file-schema.xml"
PW_OUTPUT = "pw.out"

FRESH_FOLDERS = 2
"""How often a calculation that was ended from outside is tried again, each time in a fresh folder."""


@dataclass
class EspressoMaker(StepMaker):
    """Base of the Makers of Quantum ESPRESSO: what each step of it knows."""

    name: str = "espresso"

    def compute(self, record: StepFolder, key: str, inputs: PwInput, source: StepOutput | None) -> StepResult:
        """Run in a fresh folder, and in another one where the program was ended from outside."""
        ranks: int | None = None
        tries_left = FRESH_FOLDERS
        while True:
            try:
                with attempt_in(record, key) as attempt:
                    limit_ranks(attempt, ranks)
                    stored = self.run(Launch(attempt, record, key, inputs, source))
                    record.finish(stored)
                    return stored
            except RunInterruptedError as error:
                if tries_left == 0:
                    raise
                tries_left -= 1
                ranks = error.ranks

    def inputs(self, structure: Structure) -> PwInput:
        """Return the input of pw.x for a cell."""
        raise RunError(f"{type(self).__name__} writes no input", "a Maker of a step says what it writes")

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

    def density_mismatch(self, scf: StepResult, inputs: PwInput) -> str | None:
        """Return in what an scf differs from what an input asks for, or None."""
        return density_mismatch(scf, inputs, self.level)

    def pseudopotentials(self, structure: Structure) -> Any:
        """Return the pseudopotentials that fit this level of theory, by element."""
        elements = sorted({site.specie.symbol for site in structure})
        relativity: Literal["SR", "FR"] = "FR" if self.level.spin_orbit else "SR"
        return find_pseudopotentials(elements, self.level.functional.value, relativity)

    def result(
        self,
        run: PwRun,
        launch: Launch[PwInput],
        wall_s: float,
        before_s: float | None = None,
        **fields: Any,
    ) -> StepResult:
        """Return a result with what every step knows filled in.

        Parameters
        ----------
        run
            What the program computed.
        launch
            Where and from what.
        wall_s
            How long the programs ran here.
        before_s
            How long they ran in earlier attempts; by default as long as those with the same key lived.
        fields
            What else is known.
        """
        wall_s += launch.record.spent_before(launch.folder, launch.key) if before_s is None else before_s
        ranks = plan_parallel(launch.inputs.n_kpoints).limited(launch.folder).ranks
        notes = [*fields.pop("notes", []), *corrections(launch.folder)]
        structure = run.structure.copy(site_properties=dict(launch.inputs.structure.site_properties))
        return StepResult(
            step=self.step,
            label=self.label,
            key=launch.key,
            folder=launch.folder.name,
            engine="espresso",
            code="Quantum ESPRESSO",
            code_version=run.code_version,
            settings=_run_settings(run, launch.inputs, self.level),
            timing=StepTiming(
                wall_s=round(wall_s, 2),
                core_s=round(wall_s * ranks, 2),
                scf_iterations=run.scf_iterations,
                ionic_steps=run.ionic_steps if self.step is Step.RELAX else None,
                attempts=len(launch.record.attempts(launch.key)),
            ),
            structure=structure.as_dict(),
            energy_ev=run.energy_ev,
            n_electrons=run.n_electrons,
            n_bands=run.eigenvalues_ev.shape[2],
            notes=notes,
            **fields,
        )


def density_mismatch(source: StepResult, inputs: PwInput, theory: Theory) -> str | None:
    """Return in what a stored density differs from what an input asks for, or None."""
    apart = cell_mismatch(Structure.from_dict(source.structure), inputs.structure)
    if apart:
        return apart
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


def edges_of(bands: BandStructure, source: EdgeSource, run: PwRun) -> BandEdges:
    """Return the edges of a band structure, filled with the electrons of a run."""
    return find_edges(bands, source, run.n_electrons, spin_orbit=run.spin_orbit)


def scf_files(attempt: Path) -> dict[str, str]:
    """Return the files that a self-consistent run leaves for the steps that start from it."""
    density: Sequence[Path] = sorted((attempt / XML).parent.glob("charge-density*"))
    if not density:
        raise RunError(f"{(attempt / XML).parent}: the run left no charge density", f"see {attempt / PW_OUTPUT}")
    return {"xml": XML, "output": PW_OUTPUT, "density": str(density[0].relative_to(attempt))}
