"""Write the relaxed cells of a finished study into ``inputs/crystals/relaxed``, with how they were made."""

import sys
from pathlib import Path

from pymatgen.core import Structure

from corecrown.postprocess.study import read_study
from corecrown.resources import input_folder


def ship(folder: Path) -> None:
    """Write LABEL.json and LABEL.cif for every cell of the study that was relaxed."""
    result = read_study(folder).result
    for cell in result.cells:
        if "relax" not in cell.timings or "relax" in cell.failed or cell.settings is None:
            print(f"{cell.label}: not relaxed, left out")
            continue
        structure = Structure.from_dict(cell.structure)
        structure.properties = {
            "label": cell.label,
            "made_with": f"corecrown {result.corecrown_version}, study {result.study}, protocol {result.protocol}",
            "relaxation": cell.settings.model_dump(mode="json"),
            "ionic_steps": cell.timings["relax"].ionic_steps,
            "notes": cell.notes,
        }
        target = input_folder("crystals", "relaxed", f"{cell.label}.json")
        structure.to(filename=str(target))
        structure.to(filename=str(target.with_suffix(".cif")))
        print(target)


if __name__ == "__main__":
    ship(Path(sys.argv[1]))
