"""Small runs of every kind on the real pw.x, from whose outputs the cost model is fitted.

Usage: python benchmarks/cost_points.py [FOLDER]      (default: runs/cost; some ten minutes; it goes on)
"""

import sys
from pathlib import Path

from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore
from pymatgen.core import Lattice, Structure

from corecrown.structures.crystals import Crystal, load_crystal
from corecrown.structures.substitution import substitute
from corecrown.workflows.electronic import ElectronicStructureMaker
from corecrown.workflows.protocols import load_protocol


def silicon():
    half = 5.43 / 2
    lattice = Lattice([[0, half, half], [half, 0, half], [half, half, 0]])
    return Structure(lattice, ["Si", "Si"], [[0, 0, 0], [0.255, 0.25, 0.25]])


def caesium():
    cell = load_crystal(Crystal.CSPBBR3_CUBIC).copy()
    cell.translate_sites([1], [0.01, 0.0, 0.0])
    return cell


def formamidinium():
    cell = load_crystal(Crystal.CSPBBR3_CUBIC)
    return substitute(Structure(Lattice.cubic(5.99), cell.species, cell.frac_coords), [0], "b", fa=100)


COARSE = {"path_spacing": 0.25}
ALL = {"cutoff_wfc_ry": 40, "kpoint_mesh": [2, 2, 2]}
POINTS = {
    "si": (silicon, ["relax", "scf", "bands", "pdos", "hybrid"],
           {"all": {"cutoff_wfc_ry": 30, "kpoint_mesh": [6, 6, 6]}, "bands": COARSE,
            "relax": {"relax_cell": True}, "hybrid": {"kpoint_mesh": [4, 4, 4], "q_mesh": [2, 2, 2]}}),
    "cspbbr3": (caesium, ["relax", "scf", "bands", "pdos", "spin_orbit", "hybrid"],
                {"all": ALL, "bands": COARSE, "relax": {"relax_cell": True}}),
    "cspbbr3-q2": (caesium, ["hybrid"], {"all": ALL, "hybrid": {"q_mesh": [2, 2, 2]}}),
    "fapbbr3": (formamidinium, ["scf", "bands", "pdos", "spin_orbit", "hybrid"], {"all": ALL, "bands": COARSE}),
    "fapbbr3-atoms": (formamidinium, ["relax"], {"all": ALL, "relax": {"relax_cell": False}}),
}  # fmt: skip


def main():
    root = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/cost").resolve()
    for name, (make, steps, overrides) in POINTS.items():
        maker = ElectronicStructureMaker.for_espresso(load_protocol("demo", overrides), steps)
        flow = maker.make(make(), name, root / "cells" / name)
        run_locally(flow, store=JobStore(MemoryStore()), log=False)
        print(name, "done", flush=True)


if __name__ == "__main__":
    main()
