"""The electronic structure of one cell, whatever the engine: relax, scf, and what starts from them."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jobflow import Flow, Job, JobConfig, Maker, OnMissing, job
from pydantic import BaseModel, ConfigDict
from pymatgen.core import Structure

from corecrown.errors import InputError
from corecrown.postprocess.cells import assemble_cell
from corecrown.postprocess.results import CellResult, Step
from corecrown.workflows.protocols import Functional, Protocol, Theory, load_protocol
from corecrown.workflows.record import StepFolder, StepOutput
from corecrown.workflows.steps import STEP_NEEDS, STEP_USES, with_needed

__all__ = ["CellInfo", "ElectronicStructureMaker", "collect_cell"]


class CellInfo(BaseModel):
    """What is known of a cell before anything is computed."""

    model_config = ConfigDict(frozen=True)

    label: str
    fa_fraction: float | None = None
    alignment: str | None = None
    notes: tuple[str, ...] = ()
    ensemble: str | None = None
    made_from: tuple[str, ...] = ()


@dataclass
class ElectronicStructureMaker(Maker):
    """Relaxation, scf, then bands, PDOS and masses from that one scf; hybrid, spin-orbit and Delta-SCF from their own.

    Parameters
    ----------
    relax, scf, bands, pdos, masses, hybrid, hybrid_spin_orbit, spin_orbit, masses_spin_orbit, excitation
        Makers of the steps; a step set to None is skipped.
    name
        Name of the flow.
    """

    relax: Any = None
    scf: Any = None
    bands: Any = None
    pdos: Any = None
    masses: Any = None
    hybrid: Any = None
    hybrid_spin_orbit: Any = None
    spin_orbit: Any = None
    masses_spin_orbit: Any = None
    excitation: Any = None
    name: str = "electronic structure"

    @classmethod
    def for_espresso(
        cls,
        protocol: str | Protocol = "fast",
        steps: Iterable[Step | str] = (Step.RELAX, Step.SCF, Step.BANDS, Step.PDOS),
        theory: Theory | None = None,
        functional: Functional | str | None = None,
    ) -> "ElectronicStructureMaker":
        """Return the Maker that drives Quantum ESPRESSO.

        Parameters
        ----------
        protocol
            Name, or a protocol with overrides from :func:`~corecrown.workflows.protocols.load_protocol`.
        steps
            Which steps; what they need is added.
        theory
            Level of theory of the steps that do not have their own.
        functional
            Short for a theory with this functional.

        Raises
        ------
        InputError
            If the protocol or a step is unknown.
        """
        from corecrown.workflows.espresso.jobs import MAKERS
        from corecrown.workflows.espresso.masses import MASS_MAKERS

        return cls._for_engine(MAKERS | MASS_MAKERS, "Quantum ESPRESSO", protocol, steps, theory or _theory(functional))

    @classmethod
    def for_vasp(
        cls,
        protocol: str | Protocol = "fast",
        steps: Iterable[Step | str] = (Step.RELAX, Step.SCF, Step.BANDS, Step.PDOS),
        theory: Theory | None = None,
        functional: Functional | str | None = None,
    ) -> "ElectronicStructureMaker":
        """Return the Maker that drives VASP; parameters and errors as for :meth:`for_espresso`."""
        from corecrown.workflows.vasp.jobs import MAKERS
        from corecrown.workflows.vasp.masses import MASS_MAKERS

        return cls._for_engine(MAKERS | MASS_MAKERS, "VASP", protocol, steps, theory or _theory(functional))

    @classmethod
    def _for_engine(
        cls,
        makers: Mapping[Step, Any],
        engine: str,
        protocol: str | Protocol,
        steps: Iterable[Step | str],
        theory: Theory,
    ) -> "ElectronicStructureMaker":
        protocol = load_protocol(protocol) if isinstance(protocol, str) else protocol
        chosen = {}
        for step in with_needed(Step(step) for step in steps):
            if step not in makers:
                raise InputError(
                    f"steps: {step.value!r} is not available with {engine}",
                    f"available: {', '.join(known.value for known in makers)}",
                )
            chosen[step.value] = makers[step](settings=protocol.settings(step), theory=theory)
        return cls(**chosen)

    @property
    def steps(self) -> list[Step]:
        """The steps that will be computed, in order."""
        return [step for step in Step if getattr(self, step.value) is not None]

    def limited_to(self, steps: Collection[Step]) -> "ElectronicStructureMaker":
        """Return a Maker that leaves out all steps but these."""
        left_out: dict[str, Any] = {step.value: None for step in self.steps if step not in steps}
        return replace(self, **left_out)

    def make(self, structure: Structure, cell: CellInfo | str = "cell", folder: str | Path | None = None) -> Flow:
        """Return the flow of one cell.

        Parameters
        ----------
        structure
            The cell to begin with.
        cell
            Label of the cell, or what is known of it.
        folder
            Folder of the cell: each step keeps its record in a folder of its own below. None for flows that run
            elsewhere: each job then keeps its record in its working directory.
        """
        folder = None if folder is None else str(folder)
        info = CellInfo(label=cell) if isinstance(cell, str) else cell
        outputs: dict[Step, Job] = {}
        for step in self.steps:
            maker = self._placed(step, info, folder)
            relaxed = outputs.get(Step.RELAX)
            start = structure if relaxed is None else relaxed.output.structure
            needed = STEP_NEEDS[step]
            source = outputs.get(needed) if needed is not None else None
            if step is Step.SCF:
                source = relaxed
            also = {other.value: outputs[other].output for other in STEP_USES.get(step, ()) if other in outputs}
            beside = {"beside": also} if step in STEP_USES else {}
            outputs[step] = maker.make(start, None if source is None else source.output, **beside)
            outputs[step].name = f"{info.label} {step.value}"
        collected = collect_cell(info, structure, {step.value: done.output for step, done in outputs.items()}, folder)
        collected.name = f"{info.label} collect"
        return Flow([*outputs.values(), collected], output=collected.output, name=info.label)

    def _placed(self, step: Step, info: CellInfo, folder: str | None) -> Any:
        """Return a step's Maker with label and folder of this cell filled in."""
        maker = getattr(self, step.value)
        return replace(maker, label=info.label, folder=None if folder is None else str(Path(folder) / step.value))


@job(output_schema=CellResult, config=JobConfig(on_missing_references=OnMissing.NONE))
def collect_cell(
    info: CellInfo,
    structure: Structure,
    steps: dict[str, StepOutput | None],
    folder: str | None = None,
) -> CellResult:
    """Put together what is known of a cell, steps that failed included."""
    done = {Step(name): output.result for name, output in steps.items() if output is not None}
    failed = {name: _why(folder, name) for name, output in steps.items() if output is None}
    return assemble_cell(
        label=info.label,
        fa_fraction=info.fa_fraction,
        alignment=info.alignment,
        structure=structure,
        steps=done,
        failed=failed,
        notes=info.notes,
        ensemble=info.ensemble,
        made_from=info.made_from,
    )


def _why(folder: str | None, step: str) -> str:
    reason = StepFolder(Path(folder) / step).failure() if folder is not None else None
    return reason or "did not run: a step before it failed"


def _theory(functional: Functional | str | None) -> Theory:
    return Theory() if functional is None else Theory(functional=Functional(functional))
