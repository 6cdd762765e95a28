"""What the runner asks of an engine: whether a study can start, and how far a calculation is."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from corecrown.errors import InputError
from corecrown.postprocess.results import Step
from corecrown.structures.cells import Cell
from corecrown.workflows.electronic import ElectronicStructureMaker
from corecrown.workflows.metals import NEEDS_GAP, why_no_gap_is_expected
from corecrown.workflows.progress import Progress
from corecrown.workflows.spec import Engine

__all__ = ["Work", "read_progress", "require_ready"]

Work = Sequence[tuple[Cell, Sequence[Step]]]
"""Each cell with the steps it goes through."""


def require_ready(engine: Engine, work: Work, electronic: ElectronicStructureMaker) -> None:
    """Raise, before anything runs, if a program or a pseudopotential is missing, or a step cannot be of its cell.

    Parameters
    ----------
    engine
        Which code runs.
    work
        What is to be computed.
    electronic
        The Makers of the steps.

    Raises
    ------
    CorecrownError
        Naming what is missing and how to get it.
    """
    for cell, steps in work:
        _refuse_metals(cell, steps)
    if engine is Engine.ESPRESSO:
        _require_espresso(work, electronic)
    else:
        _require_vasp(work, electronic)


def _refuse_metals(cell: Cell, steps: Sequence[Step]) -> None:
    """Raise where an excitation is asked of metals alone and no step before it would look for a gap."""
    if Step.EXCITATION not in steps or {Step.SCF, Step.BANDS} & set(steps):
        return
    reason = why_no_gap_is_expected(cell.structure)
    if reason is not None:
        raise InputError(f"{cell.label}: {reason}", NEEDS_GAP)


_PROGRAMS = {Step.PDOS: ("projwfc.x",), Step.EXCITATION: ("projwfc.x", "pp.x")}
"""What a step of Quantum ESPRESSO runs besides pw.x."""


def _require_espresso(work: Work, electronic: ElectronicStructureMaker) -> None:
    from corecrown.workflows.espresso.programs import find_program

    programs = {"pw.x": None}
    for step, needed in _PROGRAMS.items():
        if step in electronic.steps:
            programs |= dict.fromkeys(needed)
    for program in programs:
        find_program(program)
    for cell, steps in work:
        for step in steps:
            maker = getattr(electronic, step.value)
            maker.pseudopotentials(cell.structure)
            if step is Step.EXCITATION:
                # bands that are not there are found now, not after the steps before it
                try:
                    maker.inputs(cell.structure)
                except InputError as error:
                    raise InputError(f"{cell.label}: {error.message}", error.hint) from error


def _require_vasp(work: Work, electronic: ElectronicStructureMaker) -> None:
    for cell, steps in work:
        for step in steps:
            getattr(electronic, step.value).require_ready(cell.structure)


def read_progress(attempt: Path) -> Progress:
    """Read how far the calculation in an attempt folder is, from what its program has written so far."""
    if (attempt / "OSZICAR").is_file():
        from corecrown.workflows.vasp.progress import read_progress as of_vasp

        return of_vasp(attempt / "OSZICAR")
    from corecrown.workflows.espresso.stdout import read_progress as of_espresso

    running = _newest_output(attempt)
    progress = of_espresso(running)
    return progress if running.parent == attempt else replace(progress, part=running.parent.name)


def _newest_output(attempt: Path) -> Path:
    """Return the output of pw.x that was written last: some steps run several, some in folders of their own below."""
    outputs = [*attempt.glob("pw*.out"), *attempt.glob("*/pw*.out")]
    return max(outputs, key=lambda path: path.stat().st_mtime_ns, default=attempt / "pw.out")
