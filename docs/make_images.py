"""Draw the images of the gallery: ``python docs/make_images.py``.

The figure that each notebook ends in, and surfaces of an excitation from the results that ship.
"""

import runpy
from pathlib import Path

import matplotlib as mpl

from corecrown.postprocess.excitation_cubes import read_density
from corecrown.postprocess.plots.isosurfaces import plot_change_surfaces
from corecrown.postprocess.reference import read_reference

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
IMAGES = Path(__file__).parent / "images"


EXCITED_CELL = "fa025-b"


def draw_excitation() -> None:
    """Write ``images/excitation-surfaces.png``."""
    study = read_reference("excitation")
    difference = read_density(study.folder / study[EXCITED_CELL].files["difference_neutral"])
    figure = plot_change_surfaces(difference, difference.structure, "25 % FA ∥ b, neutral excitation")
    figure.savefig(IMAGES / "excitation-surfaces.png", dpi=150)


def main() -> None:
    """Write ``images/notebook-N.png`` and the surfaces of an excitation."""
    mpl.use("Agg")
    draw_excitation()
    for path in sorted(NOTEBOOKS.glob("*.py")):
        figure = runpy.run_path(str(path))["figure"]
        figure.savefig(IMAGES / f"notebook-{path.name[0]}.png", dpi=110)


if __name__ == "__main__":
    main()
