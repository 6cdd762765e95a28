"""What every step of VASP knows: its key, its result, and the checks before and after a run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymatgen.core import Structure

from corecrown.errors import InputError, RunError
from corecrown.postprocess.edges import find_edges
from corecrown.postprocess.results import BandEdges, Pseudopotential, RunSettings, Step, StepResult, StepTiming
from corecrown.workflows.bandstructure import mesh_band_structure
from corecrown.workflows.jobs_base import Launch, StepMaker, cell_mismatch
from corecrown.workflows.protocols import Theory
from corecrown.workflows.record import StepOutput, make_key
from corecrown.workflows.vasp.inputs import Program, VaspInput
from corecrown.workflows.vasp.potcars import find_potcars, require_potcars
from corecrown.workflows.vasp.run import find_command, run_vasp, tidy
from corecrown.workflows.vasp.vasprun import VaspRun, read_core_count, read_run

__all__ = [
    "VaspMaker",
    "cutoff_notes",
    "existing",
    "files_in",
    "in_our_order",
    "mesh_edges",
]


@dataclass
class VaspMaker(StepMaker):
    """Base of the Makers of VASP: what each step of it knows."""

    name: str = "vasp"

    def inputs(self, structure: Structure) -> VaspInput:
        """Return the input of VASP for a cell."""
        raise RunError(f"{type(self).__name__} writes no input", "a Maker of a step says what it writes")

    def require_ready(self, structure: Structure) -> None:
        """Raise if the program or a POTCAR of this step is out of reach; writes no input, so it costs nothing.

        Raises
        ------
        InputError
            Naming what is missing and how to get it.
        """
        find_command(Program.NCL if self.level.spin_orbit else Program.STD)
        require_potcars(find_potcars(element.symbol for element in structure.composition).values())

    def key(self, inputs: VaspInput, source: StepOutput | None) -> str:
        """Return the hash of all that determines the result of this step."""
        return make_key(
            {
                "engine": "vasp",
                "step": self.step.value,
                "version": self.version,
                "input": inputs.identity(),
                "source": source.result.key if source else None,
                "settings": self.extra_identity(),
            }
        )

    def density_mismatch(self, scf: StepResult, inputs: VaspInput) -> str | None:
        """Return in what an scf differs from what an input asks for, or None."""
        return _density_mismatch(scf, inputs, self.level)

    def run(self, launch: Launch[VaspInput]) -> StepResult:
        """Run VASP in a fresh folder and read the result."""
        return self.packed(launch, self.gather(launch, self.execute(launch)))

    def execute(self, launch: Launch[VaspInput]) -> float:
        """Run the program, once unless a step says otherwise; returns its wall time in s."""
        return run_vasp(launch.folder, launch.inputs)

    def gather(self, launch: Launch[VaspInput], wall_s: float) -> StepResult:
        """Read what a run left into a result; an unconverged run is refused."""
        raise RunError(f"{type(self).__name__} reads nothing", "a Maker of a step says what it reads")

    def read(self, folder: Path, *, projections: bool = False, name: str = "vasprun.xml") -> VaspRun:
        """Read the run in a folder.

        Raises
        ------
        RunError
            If it is not whole, or did not converge.
        """
        run = read_run(existing(folder, name), projections=projections)
        if not run.scf_converged:
            raise RunError(
                f"{self.label}: the electronic iterations did not converge", f"see {folder / 'OSZICAR'}; raise NELM"
            )
        if not run.ionic_converged:
            raise RunError(
                f"{self.label}: not relaxed after {run.ionic_steps} ionic steps",
                "the same command again goes on from the last geometry; or raise relax.max_ionic_steps",
            )
        return run

    def result(
        self, run: VaspRun, launch: Launch[VaspInput], wall_s: float, before_s: float | None = None, **fields: Any
    ) -> StepResult:
        """Return a result with what every step knows filled in; atoms back in our order.

        ``wall_s`` and ``before_s`` are how long VASP ran here and in earlier attempts, the latter by default as long as
        those with the same key lived.
        """
        wall_s += launch.record.spent_before(launch.folder, launch.key) if before_s is None else before_s
        structure = in_our_order(run.structure, launch.inputs)
        fields["notes"] = [*fields.get("notes", []), *cutoff_notes(launch.inputs)]
        return StepResult(
            step=self.step,
            label=self.label,
            key=launch.key,
            folder=launch.folder.name if launch.folder != launch.record.path else ".",
            engine="vasp",
            code="VASP",
            code_version=run.code_version,
            settings=self.run_settings(run, launch.inputs),
            timing=StepTiming(
                wall_s=round(wall_s, 2),
                core_s=round(wall_s * read_core_count(launch.folder), 2),
                scf_iterations=run.scf_iterations,
                ionic_steps=run.ionic_steps if self.step is Step.RELAX else None,
                attempts=max(1, len(launch.record.attempts(launch.key))),
            ),
            structure=structure.as_dict(),
            energy_ev=run.energy_ev,
            n_electrons=run.n_electrons,
            n_bands=run.eigenvalues_ev.shape[2],
            **fields,
        )

    def run_settings(self, run: VaspRun, inputs: VaspInput) -> RunSettings:
        """Return what determines the physics of a run."""
        return RunSettings(
            functional=self.level.name,
            spin_orbit=self.level.spin_orbit,
            encut_ev=round(run.encut_ev, 6),
            kpoint_mesh=inputs.mesh,
            kpoint_shift=inputs.shift,
            q_mesh=inputs.mesh if self.level.hybrid else None,
            pseudopotentials={
                element: Pseudopotential(file=potcar.title, sha256=potcar.sha256 or "unknown")
                for element, potcar in sorted(inputs.potcars.items())
            },
        )

    @staticmethod
    def packed(launch: Launch[VaspInput], result: StepResult) -> StepResult:
        """Tidy the folder; return the result with its files named as they are now that they are packed."""
        tidy(launch.folder)
        files = {name: existing(launch.folder, Path(path).name).name for name, path in result.files.items()}
        return result.model_copy(update={"files": files})


def in_our_order(structure: Structure, inputs: VaspInput) -> Structure:
    """Return a cell that VASP wrote with its atoms back in our order, and what we know of each."""
    ordered: list[Any] = [None] * len(structure)
    for place, index in enumerate(inputs.order):
        ordered[index] = structure[place]
    plain = Structure.from_sites(ordered)
    return plain.copy(site_properties=dict(inputs.structure.site_properties))


def mesh_edges(run: VaspRun, fermi_ev: float | None) -> BandEdges:
    """Return the edges on all k-points of a run."""
    bands = mesh_band_structure(run.structure, run.kpoints, run.spins, fermi_ev or 0.0)
    return find_edges(bands, "mesh", run.n_electrons, spin_orbit=run.spin_orbit)


def cutoff_notes(inputs: VaspInput) -> list[str]:
    """Say so where the cutoff is lower than a POTCAR was made for."""
    encut = float(inputs.incar["ENCUT"])
    low = [potcar for potcar in inputs.potcars.values() if potcar.enmax_ev is not None and potcar.enmax_ev > encut]
    if not low:
        return []
    named = ", ".join(f"{potcar.symbol} ({potcar.enmax_ev:g} eV)" for potcar in low)
    return [f"ENCUT = {encut:g} eV is below ENMAX of {named}: not converged with respect to the cutoff"]


def _density_mismatch(source: StepResult, inputs: VaspInput, theory: Theory) -> str | None:
    apart = cell_mismatch(Structure.from_dict(source.structure), inputs.structure)
    if apart:
        return apart
    encut = float(inputs.incar["ENCUT"])
    if source.settings.encut_ev is None or abs(source.settings.encut_ev - encut) > 1e-6:
        return f"cutoff {source.settings.encut_ev} eV instead of {encut} eV"
    if (source.settings.functional, source.settings.spin_orbit) != (theory.name, theory.spin_orbit):
        return f"functional {source.settings.functional} instead of {theory.name}"
    theirs = {element: file.file for element, file in source.settings.pseudopotentials.items()}
    if theirs != {element: potcar.title for element, potcar in inputs.potcars.items()}:
        return "other POTCARs"
    return None


def existing(folder: Path, name: str) -> Path:
    """Return a file of a folder, packed or not.

    Raises
    ------
    InputError
        If neither is there.
    """
    for candidate in (name, f"{name}.gz"):
        if (folder / candidate).is_file():
            return folder / candidate
    raise InputError(f"{folder}: no {name}", "the run did not write it; run it again")


def files_in(folder: Path, **names: str) -> dict[str, str]:
    """Return files of a folder as they are called there, packed or not."""
    return {kind: existing(folder, name).name for kind, name in names.items()}
