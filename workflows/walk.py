"""A cell's steps in their order, each with the key of its calculation today, as far as that is known."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corecrown.errors import InputError
from corecrown.postprocess.results import Step, StepResult
from corecrown.structures.cells import Cell
from corecrown.workflows.beside import with_beside
from corecrown.workflows.electronic import ElectronicStructureMaker
from corecrown.workflows.record import StepFolder, StepOutput
from corecrown.workflows.steps import STEP_NEEDS

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from corecrown.workflows.espresso.inputs import PwInput
    from corecrown.workflows.vasp.inputs import VaspInput

__all__ = ["WalkedStep", "walk_steps"]


@dataclass(frozen=True)
class WalkedStep:
    """A step as it would run today.

    Parameters
    ----------
    step
        Which one.
    maker
        Its Maker.
    structure
        What it would start from: as built where the relaxed geometry is not known yet.
    inputs
        Of its program.
    key
        Of the calculation; None where that cannot be known yet.
    stored
        The finished result with this key, here or in a study beside this one.
    """

    step: Step
    maker: Any
    structure: "Structure"
    inputs: "PwInput | VaspInput"
    key: str | None
    stored: StepResult | None


def walk_steps(
    cell: Cell, start: "Structure | None", makers: ElectronicStructureMaker, folder: Path | None
) -> Iterator[WalkedStep]:
    """Yield the steps of a cell; nothing runs and nothing is changed.

    Parameters
    ----------
    cell
        The cell.
    start
        What its first step starts from, None where that is not known yet.
    makers
        Those of its steps.
    folder
        Of the cell, or None where nothing has run.

    Raises
    ------
    InputError
        If the input of a step cannot be made.
    """
    structure, known = start or cell.structure, start is not None
    done: dict[Step, StepOutput] = {}
    for step in makers.steps:
        maker = getattr(makers, step.value)
        try:
            inputs = maker.inputs(structure)
        except InputError as error:
            raise InputError(f"{cell.label}, {step.value}: {error.message}", error.hint) from error
        needed = STEP_NEEDS[step]
        source = done.get(needed) if needed is not None else None
        key = stored = None
        if folder is not None and known and (needed is None or source is not None):
            record = StepFolder(folder / step.value)
            key = with_beside(maker, done).key(inputs, source)
            stored = record.stored(key)
            if stored is not None:
                done[step] = StepOutput(dir_name=str(record.path), structure=stored.structure, result=stored)
        yield WalkedStep(step, maker, structure, inputs, key, stored)
        if step is Step.RELAX:
            known = known and stored is not None
            if stored is not None:
                from pymatgen.core import Structure

                structure = Structure.from_dict(stored.structure)
