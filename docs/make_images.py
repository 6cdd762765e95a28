"""Draw the images of the gallery: ``python docs/make_images.py``.

The figure that each notebook ends in, and from the results that ship bands and densities of states of the
demonstration and surfaces of an excitation.
"""

import runpy
from pathlib import Path

import matplotlib as mpl

from corecrown.postprocess.excitation_cubes import read_density
from corecrown.postprocess.plots import CellPanel, plot_electronic_structure, result_title
from corecrown.postprocess.plots.isosurfaces import plot_change_surfaces
from corecrown.postprocess.reference import read_reference
from corecrown.postprocess.report_text import common_level

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
IMAGES = Path(__file__).parent / "images"


EXCITED_CELL = "fa025-b"


def draw_excitation() -> None:
    """Write ``images/excitation-surfaces.png``."""
    study = read_reference("excitation")
    difference = read_density(study.folder / study[EXCITED_CELL].files["difference_neutral"])
    figure = plot_change_surfaces(difference, difference.structure, "25 % FA ∥ b, neutral excitation")
    figure.savefig(IMAGES / "excitation-surfaces.png", dpi=150)


def draw_demo() -> None:
    """Write ``images/demo.png``."""
    study = read_reference("demo")
    panels = [
        CellPanel(result_title(cell), study.bands(cell.label), study.dos(cell.label), cell.edges)
        for cell in study.cells
    ]
    figure = plot_electronic_structure(panels, note=common_level(study.cells) or "")
    figure.savefig(IMAGES / "demo.png", dpi=200)


def main() -> None:
    """Write all images."""
    mpl.use("Agg")
    draw_demo()
    draw_excitation()
    for path in sorted(NOTEBOOKS.glob("*.py")):
        figure = runpy.run_path(str(path))["figure"]
        figure.savefig(IMAGES / f"notebook-{path.name[0]}.png", dpi=110)


if __name__ == "__main__":
    main()
