"""Time and size of the report of six cells: at most 10 s and 10 MB are wanted.

    python benchmarks/report.py [FOLDER]...

Without a folder three studies are measured: a synthetic one (tests/postprocess/synthetic_study.py) of real size, 20 to
48 atoms, 100 to 116 bands on 168 k-points, densities of states of every orbital; and the shipped `reference` and
`excitation`, the latter with its density differences. Reading a study and starting Python are counted. Reports are
written into copies.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "postprocess"))


CODE = """
import os, sys
from corecrown.postprocess import read_study
from corecrown.postprocess.report import write_report
study = read_study(sys.argv[1])
write_report(study)
times = os.times()
print(len(study.cells), times.user + times.system + times.children_user + times.children_system)
"""


def main():
    from synthetic_study import make_study

    from corecrown.resources import input_folder

    with tempfile.TemporaryDirectory() as scratch:
        folders = [Path(name) for name in sys.argv[1:]]
        if not folders:
            make_study(Path(scratch) / "made" / "synthetic")
            shipped = [input_folder("reference", name) for name in ("reference", "excitation")]
            folders = [Path(scratch) / "made" / "synthetic", *shipped]
        for folder in folders:
            measure(shutil.copytree(folder, Path(scratch) / "copies" / folder.name))


def measure(folder):
    """Print what the report of a study takes."""
    started = time.perf_counter()
    said = subprocess.run([sys.executable, "-c", CODE, str(folder)], check=True, capture_output=True, text=True).stdout
    wall = time.perf_counter() - started
    cells, cpu = said.split()
    page = (folder / "report.html").stat().st_size / 1e6
    figures = sum(path.stat().st_size for path in (folder / "figures").iterdir()) / 1e6
    print(
        f"{folder.name}, {cells} cells: {wall:.1f} s wall, {float(cpu):.1f} s of CPU; "
        f"page {page:.2f} MB, figures {figures:.2f} MB"
    )


if __name__ == "__main__":
    main()
