"""Run the notebooks and keep the figure each ends in, for the gallery: ``python docs/make_images.py``."""

import runpy
from pathlib import Path

import matplotlib as mpl

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
IMAGES = Path(__file__).parent / "images"


def main() -> None:
    """Write ``images/notebook-N.png``."""
    mpl.use("Agg")
    for path in sorted(NOTEBOOKS.glob("*.py")):
        figure = runpy.run_path(str(path))["figure"]
        figure.savefig(IMAGES / f"notebook-{path.name[0]}.png", dpi=110)


if __name__ == "__main__":
    main()
