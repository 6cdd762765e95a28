"""Time and size of the report of six cells: at most 10 s and 10 MB are wanted.

    python benchmarks/report.py [FOLDER]

The study is synthetic (tests/postprocess/synthetic_study.py) but of real size: 20 to 48 atoms, 100 to 116
bands on 168 k-points, densities of states of every orbital. Reading it and starting Python are counted.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "postprocess"))


CODE = """
import sys, time
from corecrown.postprocess import read_study
from corecrown.postprocess.report import write_report
write_report(read_study(sys.argv[1]))
print(time.process_time())
"""


def main():
    from synthetic_study import CELLS, make_study

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(scratch)
        if not (folder / "study.json").exists():
            make_study(folder)
        command = [sys.executable, "-c", CODE, str(folder)]
        started = time.perf_counter()
        cpu = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        wall = time.perf_counter() - started
        page = (folder / "report.html").stat().st_size / 1e6
        figures = sum(path.stat().st_size for path in (folder / "figures").iterdir()) / 1e6
    print(f"{len(CELLS)} cells: {wall:.1f} s wall, {cpu:.1f} s of CPU; page {page:.2f} MB, figures {figures:.2f} MB")


if __name__ == "__main__":
    main()
