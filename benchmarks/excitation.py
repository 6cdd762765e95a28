"""Time and memory of sharing out the charge of an excitation of the 100 % cell: 20 s and 2 GiB at most.

The densities are made up (Gaussians on the atoms, an orbital on FA and one on bromine), on the grid that pw.x takes for
this cell at a cutoff of 60 Ry. Run: ``python benchmarks/excitation.py``.
"""

import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from ase import units

from corecrown.postprocess.excitation import analyse_charge, shares_on_grid
from corecrown.postprocess.excitation_cubes import GridDensity, read_density, write_density
from corecrown.postprocess.excitation_partition import BaderBasins, Hirshfeld, PowerCells, ProAtom, grid_points
from corecrown.structures import build
from corecrown.structures.groups import label_groups

CUTOFF_RHO_RY = 240
WIDTHS = {"Cs": 0.9, "Pb": 0.8, "Br": 0.8, "C": 0.55, "N": 0.5, "H": 0.45}


def good_size(length_bohr):
    """Return a grid of at least the density's waves, with factors 2, 3 and 5 alone."""
    n = int(np.ceil(2 * np.sqrt(CUTOFF_RHO_RY) * length_bohr / (2 * np.pi)))
    while True:
        rest = n
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return n
        n += 1


def gaussians(structure, shape, indices, width_of):
    points = grid_points(structure, shape) @ np.linalg.inv(structure.lattice.matrix)
    total = np.zeros(shape)
    for index in indices:
        apart = points - structure[index].frac_coords
        apart -= np.round(apart)
        distance2 = ((apart @ structure.lattice.matrix) ** 2).sum(axis=-1)
        total += np.exp(-distance2 / (2 * width_of(index) ** 2))
    return GridDensity(structure, total / (total.sum() * structure.volume / total.size))


def main():
    structure = label_groups(build(100, "a"))
    shape = tuple(good_size(length / units.Bohr) for length in structure.lattice.abc)
    symbols = [site.specie.symbol for site in structure]
    ground = gaussians(structure, shape, range(len(structure)), lambda i: WIDTHS[symbols[i]])
    hole = gaussians(structure, shape, [i for i, s in enumerate(symbols) if s == "Br"], lambda _: 0.6)
    electron = gaussians(structure, shape, [i for i, s in enumerate(symbols) if s in "CN"], lambda _: 0.6)
    radii = np.linspace(0.01, 6, 400)
    proatoms = {symbol: ProAtom(radii, np.exp(-radii / width)) for symbol, width in WIDTHS.items()}
    with tempfile.TemporaryDirectory() as folder:
        for name, density in (("ground", ground), ("excited", GridDensity(structure, ground.values + electron.values))):
            write_density(Path(folder) / f"{name}.cube.gz", density, name)
        before, cpu = time.perf_counter(), time.process_time()
        read = {name: read_density(Path(folder) / f"{name}.cube.gz") for name in ("ground", "excited")}
        difference = read["excited"].minus(read["ground"]).minus(hole)
        write_density(Path(folder) / "difference.cube.gz", difference, "difference")
        schemes = [
            Hirshfeld(structure, shape, proatoms),
            BaderBasins(structure, read["ground"].values),
            PowerCells(structure, shape),
        ]
        atomic = [shares_on_grid(one, electron=electron, hole=hole, difference=difference) for one in schemes]
        found = analyse_charge(structure, atomic, electron=electron, hole=hole, difference=difference)
    seconds, cpu_seconds = time.perf_counter() - before, time.process_time() - cpu
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    print(f"{len(structure)} atoms, grid {'×'.join(map(str, shape))} ({ground.values.size} points)")
    print(f"{seconds:.1f} s wall, {cpu_seconds:.1f} s CPU, peak memory {memory:.2f} GiB, moved {found.moved_e:.3f} e")


if __name__ == "__main__":
    main()
