"""Draw every cell of the study, and some that users ask for next, and write the page that shows them.

    python docs/gallery/make_gallery.py [FOLDER]

The pictures and ``README.md`` are written beside this file, or into FOLDER.
"""

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from pymatgen.core import Structure

from corecrown.postprocess.distortion import measure_distortion
from corecrown.resources import input_folder, read_yaml
from corecrown.structures import draw_cell, load_crystal, platelet, slab
from corecrown.structures.cells import CellSpec, committed_relaxed, expand_cells
from corecrown.structures.contacts import shortest_contact

MORE_CELLS = [
    {"fa": 25, "alignment": "c"},
    {"fa": 50, "alignment": "b"},
    {"fa": 75, "alignment": "b"},
    {"fa": 100, "alignment": "c"},
    {"fa": 100, "alignment": "b", "heads": "parallel", "strain": "auto"},
    {"fa": 25, "ensemble": {"size": 3, "seed": 1}},
    {"fa": 12.5, "alignment": "b", "supercell": [2, 1, 1]},
    {"from": "fa025-b", "replace": {"FA": "Cs"}},
    {"from": "fa000", "strain_to": "fa100-b"},
]

COLOURS = 48
"""Colours of a picture's palette: a third of the bytes, and no difference to the eye."""

INTRODUCTION = """# Gallery of cells

Every cell that `inputs/studies/substitution.yaml` names, then others that a study file can name, as they are built:
before relaxation. Views down a, b and c; c is the thickness of a platelet. Octahedra are shaded, FA is drawn as a
molecule (C black, N blue, H white), Cs green, Br brown, Pb grey.

Made by `python docs/gallery/make_gallery.py`; how the cells are built is told in [Cells](../structures.md).
"""


def study_cells() -> Iterator[tuple[str, Structure, list[str]]]:
    """Yield label, structure and notes of the cells of the study, and of others like them."""
    study = input_folder("studies", "substitution.yaml")
    entries = [*read_yaml(study)["cells"], *MORE_CELLS]
    for cell in expand_cells([CellSpec.model_validate(entry) for entry in entries], study.parent):
        yield cell.label, cell.structure, list(cell.notes)


def other_structures() -> Iterator[tuple[str, Structure, list[str]]]:
    """Yield crystals, relaxed cells, slabs and platelets."""
    for name in ("CsPbBr3-cubic", "FAPbBr3-Pbnm"):
        crystal = load_crystal(name)
        yield name, crystal, [crystal.properties["source"]]
    for path in sorted(input_folder("crystals", "relaxed").glob("*.json")):
        relaxed = committed_relaxed(path.stem)
        if relaxed is not None:
            yield f"{path.stem}-relaxed", relaxed, ["relaxed, as shipped in inputs/crystals/relaxed"]
    for termination in ("AX", "BX2"):
        cut = slab(3, termination)
        yield f"slab-3-{termination}", cut, [f"three monolayers, {termination} termination, neutral"]
    built = platelet(3, core=2, crown=1)
    report = built.properties["platelet"]
    yield (
        "platelet-3-2-1",
        built,
        [
            (
                f"core-crown platelet: core {report['core_edge_nm']} nm, crown {report['crown_width_nm']} nm wide, "
                f"{report['thickness_nm']} nm thick; {report['atoms']} atoms, charge {report['charge']}, "
                f"{report['a_site_vacancies']} A sites empty; mismatch {report['mismatch_percent']['a']} % along a, "
                f"{report['mismatch_percent']['b']} % along b"
            )
        ],
    )


def section(label: str, structure: Structure, notes: list[str]) -> str:
    """Return the part of the page that shows one cell."""
    a, b, c = structure.lattice.abc
    found = measure_distortion(structure)
    facts = [f"{structure.composition.formula}; {len(structure)} atoms; a {a:.3f}, b {b:.3f}, c {c:.3f} Å"]
    nearest = shortest_contact(structure, "H", "Br")
    if nearest is not None:
        facts.append(f"shortest H-Br {nearest.distance:.2f} Å")
    if found.pb_br_pb_deg:
        facts.append(f"mean Pb-Br-Pb {np.mean(found.pb_br_pb_deg):.1f}°")
    lines = [f"## {label}", "", f"![{label}]({label}.png)", "", "; ".join(facts) + "."]
    lines += ["", *(f"- {note}" for note in notes)] if notes else []
    return "\n".join([*lines, ""])


def write_picture(figure: Figure, path: Path) -> None:
    """Write a figure as PNG with few colours."""
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=107, format="png")
    Image.open(drawn).convert("RGB").quantize(COLOURS).save(path, optimize=True)


def main(folder: Path) -> None:
    """Write pictures and page into a folder."""
    sections = []
    folder.mkdir(parents=True, exist_ok=True)
    for label, structure, notes in (*study_cells(), *other_structures()):
        write_picture(draw_cell(structure, title=label), folder / f"{label}.png")
        sections.append(section(label, structure, notes))
    (folder / "README.md").write_text("\n".join([INTRODUCTION, *sections]), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
