"""Runs that people did by hand in the folders of a plan, taken into the record as if we had run them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from pymatgen.core import Structure
from pymatgen.io.vasp.inputs import Incar, Kpoints

from corecrown.errors import CorecrownError, RunError
from corecrown.postprocess.results import Step, StepResult
from corecrown.workflows.beside import with_beside
from corecrown.workflows.jobs_base import Launch, cell_mismatch
from corecrown.workflows.record import StepFolder, StepOutput
from corecrown.workflows.vasp.base import VaspMaker, existing, in_our_order
from corecrown.workflows.vasp.incar import physics_of
from corecrown.workflows.vasp.inputs import ISIF_ATOMS, ISIF_CELL, VaspInput
from corecrown.workflows.vasp.outputs import find_vaspruns
from corecrown.workflows.vasp.vasprun import VaspRun, read_elapsed_s, read_run

__all__ = ["adopt_run", "adopt_runs"]

SET_BY_STAGES = frozenset({"ISIF", "LATTICE_CONSTRAINTS"})
"""Tags that the stages of a relaxation of the cell set in turn, so that the last INCAR says nothing of the whole."""

KPOINTS_NOTE = "k-points are those that were run, not those that the relaxed cell asks for"


def adopt_runs(
    makers: Sequence[VaspMaker], needs: dict[Step, Step | None], structure: Structure, label: str, folder: Path
) -> None:
    """Take the runs that lie in the step folders of a cell into its record.

    A step that has a result keeps it. What cannot be taken is said in the step's folder, as a failure.

    Parameters
    ----------
    makers
        Makers of the steps, in the order they run.
    needs
        Whose density each step starts from.
    structure
        The cell that the first step started from.
    label, folder
        Of the cell.
    """
    done: dict[Step, StepOutput] = {}
    for plain in makers:
        record = StepFolder(folder / plain.step.value)
        maker = with_beside(replace(plain, label=label, folder=str(record.path)), done)
        needed = needs[plain.step]
        source = done.get(needed) if needed is not None else None
        stored = record.finished()
        if stored is None and find_vaspruns(record.path):
            try:
                stored = adopt_run(maker, record, structure, source)
                record.finish(stored)
            except CorecrownError as error:
                _say(record, str(error))
        if stored is None:
            continue
        done[plain.step] = StepOutput(
            dir_name=str(record.path / stored.folder), structure=stored.structure, result=stored
        )
        if plain.step is Step.RELAX:
            structure = Structure.from_dict(stored.structure)


def adopt_run(maker: VaspMaker, record: StepFolder, structure: Structure, source: StepOutput | None) -> StepResult:
    """Read a run in a step's folder into a result, after checking that it is the one that was planned.

    Raises
    ------
    RunError
        If the run is of another cell, of other settings or POTCARs, cut off or not converged.
    """
    folder = record.path
    run = read_run(find_vaspruns(folder)[-1])
    inputs = maker.inputs(structure)
    species = [site.specie.symbol for site in run.structure]
    if species != [site.specie.symbol for site in inputs.grouped]:
        raise RunError(f"{folder}: the run is of {run.structure.formula}, not {structure.formula}", "check the folder")
    if maker.step is not Step.RELAX:
        apart = cell_mismatch(in_our_order(run.structure, inputs), structure, tolerance=1e-4)
        if apart:
            raise RunError(
                f"{folder}: the run is of another geometry: {apart}",
                "a step after a relaxation starts from the relaxed cell: copy CONTCAR of relax to POSCAR and run again",
            )
    _require_asked(folder, inputs)
    inputs = _as_it_ran(folder, inputs, run)
    launch = Launch(folder, record, maker.key(inputs, source), inputs, source)
    result = maker.gather(launch, read_elapsed_s(folder) or 0.0)
    notes = [*result.notes, "run by hand and read back", *_kpoint_notes(folder, maker, structure)]
    return result.model_copy(update={"notes": notes})


def _require_asked(folder: Path, inputs: VaspInput) -> None:
    cell_relaxes = int(inputs.incar.get("ISIF", ISIF_ATOMS)) == ISIF_CELL
    left_out = SET_BY_STAGES if cell_relaxes else frozenset()
    asked = physics_of(inputs.incar)
    ran = physics_of(dict(Incar.from_file(str(existing(folder, "INCAR")))))
    changed = [
        f"{tag} = {ran.get(tag, 'not set')} instead of {asked.get(tag, 'not set')}"
        for tag in sorted(asked.keys() | ran.keys())
        if asked.get(tag) != ran.get(tag) and tag not in left_out
    ]
    if changed:
        raise RunError(
            f"{folder}: not the run that was planned: {'; '.join(changed)}",
            "run the INCAR of the plan, or say the other settings in the study file (overrides)",
        )


def _as_it_ran(folder: Path, inputs: VaspInput, run: VaspRun) -> VaspInput:
    """Return the inputs with the k-points and POTCARs of the run."""
    titles = dict(zip(inputs.elements, run.potcar_titles, strict=False))
    for element, title in titles.items():
        words = title.split()
        if len(words) > 1 and words[1] != inputs.potcars[element].symbol:
            raise RunError(
                f"{folder}: the run used POTCAR {words[1]} for {element}, not {inputs.potcars[element].symbol}",
                "run it again with the POTCARs of POTCAR.spec",
            )
    potcars = {
        element: potcar if potcar.sha256 else replace(potcar, title=titles.get(element, potcar.title))
        for element, potcar in inputs.potcars.items()
    }
    inputs = replace(inputs, potcars=potcars)
    if _same_kpoints(folder, inputs):
        return inputs
    if run.mesh is not None:
        return replace(inputs, mesh=run.mesh)
    return replace(inputs, kpoints=run.kpoints, weights=np.round(run.weights, 8))


def _same_kpoints(folder: Path, inputs: VaspInput) -> bool:
    ran = Kpoints.from_file(str(existing(folder, "KPOINTS")))
    return str(ran) == str(Kpoints.from_str(inputs.files()["KPOINTS"]))


def _kpoint_notes(folder: Path, maker: VaspMaker, structure: Structure) -> list[str]:
    return [] if _same_kpoints(folder, maker.inputs(structure)) else [KPOINTS_NOTE]


def _say(record: StepFolder, reason: str) -> None:
    if record.failure() != reason:
        record.fail(record.begin("by-hand"), reason)
