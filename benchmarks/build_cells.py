"""Time and memory of building cells, on one core.

    python benchmarks/build_cells.py [ensemble | platelet]

``ensemble``: 1,000 distinct random-orientation 48-atom cells, checked and with duplicates removed; at most 60 s and
1 GiB are wanted. ``platelet``: an 8-monolayer core-crown platelet of about 5,000 atoms; at most 10 s are wanted. Each
runs in a process of its own, so that peak memory is its own; starting Python and importing are counted. On a busy
machine the processor time says more than the wall time.
"""

import os
import resource
import subprocess
import sys
import time

ONE_CORE = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
TASKS = ("ensemble", "platelet")


def build_ensemble() -> str:
    """Build the ensemble and say what came out."""
    from corecrown.structures.crystals import host
    from corecrown.structures.ensembles import ensemble

    members = ensemble(host("cspbbr3"), 100, 1000, seed=1)
    return f"{len(members)} cells of {len(members[0])} atoms"


def build_platelet() -> str:
    """Build the platelet and say what came out."""
    from corecrown.structures import platelet

    built = platelet(8, core=6, crown=1)
    report = built.properties["platelet"]
    return (
        f"{report['atoms']} atoms, {report['monolayers']} monolayers, core {report['core_edge_nm']} nm, "
        f"crown {report['crown_width_nm']} nm, charge {report['charge']}"
    )


def main(task: str) -> None:
    """Run one task here and print its cost."""
    began = time.perf_counter()
    said = build_ensemble() if task == "ensemble" else build_platelet()
    wall = time.perf_counter() - began
    usage = resource.getrusage(resource.RUSAGE_SELF)
    peak_gib = usage.ru_maxrss / 2**20
    print(f"{task}: {said}; {wall:.1f} s wall, {usage.ru_utime + usage.ru_stime:.1f} s processor, {peak_gib:.2f} GiB")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        for name in TASKS:
            subprocess.run([sys.executable, __file__, name], check=True, env=os.environ | ONE_CORE)
