"""What our layer adds to the programs: wall time of a study less the programs' own, as a share of it.

Give the folder of a study that ran from nothing in one go (``make demo``), or none to run two-atom silicon here.
Prints the share for the study and, with silicon, the cost of a finished job that is asked for again.
"""

import json
import sys
import tempfile
import time
from pathlib import Path


def of_study(folder: Path) -> None:
    """Print the share of one finished study."""
    from corecrown.postprocess.study import read_study
    from corecrown.workflows.local import RUN_LOG

    runs = [json.loads(line) for line in (folder / RUN_LOG).read_text().splitlines()]
    wall = runs[0]["wall_s"]
    timings = [timing for cell in read_study(folder).result.cells for timing in cell.timings.values()]
    if len(runs) > 1:
        print(f"{folder}: {len(runs)} runs; the share means something for a study that ran in one go")
    programs = sum(timing.wall_s for timing in timings)
    print(f"{folder}: {wall:.1f} s in all, programs {programs:.1f} s: {100 * (wall - programs) / wall:.2f} % ours")


def of_silicon() -> None:
    """Run two-atom silicon twice: once for the share, once for what a finished job costs."""
    from jobflow import JobStore, run_locally
    from maggma.stores import MemoryStore
    from pymatgen.core import Lattice, Structure

    from corecrown.workflows.electronic import ElectronicStructureMaker
    from corecrown.workflows.protocols import load_protocol

    half = 2.72
    lattice = Lattice([[0, half, half], [half, 0, half], [half, half, 0]])
    silicon = Structure(lattice, ["Si", "Si"], [[0, 0, 0], [0.25, 0.25, 0.25]])
    protocol = load_protocol("demo", {"all": {"cutoff_wfc_ry": 20, "kpoint_mesh": [3, 3, 3]}})
    maker = ElectronicStructureMaker.for_espresso(protocol, ["scf", "bands", "pdos"])
    with tempfile.TemporaryDirectory() as folder:
        for name in ("first", "again"):
            began = time.perf_counter()
            flow = maker.make(silicon, "si", folder)
            cell = run_locally(flow, store=JobStore(MemoryStore()), log=False)[flow.output.uuid][1].output
            wall = time.perf_counter() - began
            programs = sum(timing.wall_s for timing in cell.timings.values()) if name == "first" else 0.0
            ours = 1e3 * (wall - programs) / len(cell.timings)
            print(f"silicon {name}: {wall:.2f} s in all, programs {programs:.2f} s: {ours:.0f} ms a job ours")


if __name__ == "__main__":
    of_study(Path(sys.argv[1])) if len(sys.argv) > 1 else of_silicon()
