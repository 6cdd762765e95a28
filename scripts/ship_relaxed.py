"""Write the relaxed cells of a study into ``inputs/crystals/relaxed``, with how they were made.

    python scripts/ship_relaxed.py STUDYDIR [--unfinished LABEL]...

Cells whose relaxation ended are shipped as they ended. Of a cell named by ``--unfinished`` the geometry with the
smallest largest force is shipped that its last run of pw.x came through, and the file says so.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from ase.calculators.calculator import PropertyNotImplementedError
from ase.io import iread
from pymatgen.core import Structure

from corecrown.errors import InputError
from corecrown.postprocess.results import CellResult, StudyResult
from corecrown.postprocess.study import read_study
from corecrown.resources import input_folder


def ship(folder: Path, unfinished: list[str]) -> None:
    """Write LABEL.json and LABEL.cif for every cell of the study that was relaxed, or is named."""
    result = read_study(folder).result
    for cell in result.cells:
        if cell.label in unfinished:
            structure, steps = best_geometry(folder / "cells" / cell.label)
        elif "relax" in cell.timings and "relax" not in cell.failed and cell.settings is not None:
            structure = Structure.from_dict(cell.structure)
            steps = {"ionic_steps": cell.timings["relax"].ionic_steps}
        else:
            print(f"{cell.label}: not relaxed, left out")
            continue
        structure.properties = describe(result, cell) | steps
        target = input_folder("crystals", "relaxed", f"{cell.label}.json")
        structure.to(filename=str(target))
        structure.to(filename=str(target.with_suffix(".cif")))
        print(target)


def describe(result: StudyResult, cell: CellResult) -> dict[str, Any]:
    """Return how a cell was made."""
    return {
        "label": cell.label,
        "made_with": f"corecrown {result.corecrown_version}, study {result.study}, protocol {result.protocol}",
        "relaxation": None if cell.settings is None else cell.settings.model_dump(mode="json"),
        "notes": cell.notes,
    }


def best_geometry(cell: Path) -> tuple[Structure, dict[str, Any]]:
    """Return the geometry with the smallest largest force of an atom of the last run, and what is known of it.

    Raises
    ------
    InputError
        If no run of pw.x got as far as a force.
    """
    start = Structure.from_dict(json.loads((cell / "start.json").read_text(encoding="utf-8"))["structure"])
    runs = sorted((cell / "relax").glob("attempt-*/pw.out"))
    passed = []
    for atoms in iread(str(runs[-1]), index=":", format="espresso-out") if runs else ():
        try:
            forces = atoms.get_forces()
        except PropertyNotImplementedError:
            continue  # the step that the run was in when it was ended
        passed.append((float(np.linalg.norm(forces, axis=1).max()), atoms))
    if not passed:
        raise InputError(f"{cell}: no run of pw.x got as far as a force", "relax the cell first")
    number = min(range(len(passed)), key=lambda i: passed[i][0])
    force, atoms = passed[number]
    if atoms.get_chemical_symbols() != [site.specie.symbol for site in start]:
        raise InputError(f"{runs[-1]}: other atoms than start.json", "relax the cell again")
    structure = Structure(
        start.lattice, start.species, atoms.get_scaled_positions(wrap=False), site_properties=start.site_properties
    )
    return structure, {
        "ionic_steps": number + 1,
        "unfinished": f"step {number + 1} of {len(passed)}, the one with the smallest forces; ended by hand",
        "largest_force_ev_angstrom": round(force, 4),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path, help="folder of the study")
    parser.add_argument("--unfinished", action="append", default=[], metavar="LABEL")
    asked = parser.parse_args()
    ship(asked.study, asked.unfinished)
