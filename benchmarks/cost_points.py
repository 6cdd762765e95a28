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
    "cspbbr3": (caesium, ["spin_orbit", "hybrid"], {"all": ALL}),
    "cspbbr3-q2": (caesium, ["hybrid"], {"all": ALL, "hybrid": {"q_mesh": [2, 2, 2]}}),
    "cspbbr3-both": (caesium, ["hybrid_spin_orbit"], {"all": ALL | {"kpoint_mesh": [1, 1, 1]}}),
    "fapbbr3": (formamidinium, ["scf", "bands", "pdos", "spin_orbit"], {"all": ALL, "bands": COARSE}),
    "fapbbr3-relax": (formamidinium, ["relax"], {"all": ALL, "relax": {"relax_cell": False}}),
    "cspbbr3-relax": (caesium, ["relax"], {"all": ALL, "relax": {"relax_cell": True}}),
}


def main():
    root = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/cost").resolve()
    for name, (make, steps, overrides) in POINTS.items():
        maker = ElectronicStructureMaker.for_espresso(load_protocol("demo", overrides), steps)
        flow = maker.make(make(), name, root / "cells" / name)
        run_locally(flow, store=JobStore(MemoryStore()), log=False)
        print(name, "done", flush=True)


if __name__ == "__main__":
    main()
