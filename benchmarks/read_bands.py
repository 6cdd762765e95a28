"""Time to read the bands of a run: 48 atoms, 200 k-points, as many bands as fa100 has.

Usage: python benchmarks/read_bands.py [XML]

The file is a real one of pw.x 6.7 (by default the largest of runs/), its k-points, bands and atoms repeated until they
are as many. Best of five; the first reading also imports what it needs.
"""

import copy
import sys
import tempfile
import time
from pathlib import Path
from xml.etree import ElementTree as ET

from corecrown.workflows.bandstructure import line_band_structure
from corecrown.workflows.espresso.outputs import read_run

ROOT = Path(__file__).resolve().parent.parent

ET.register_namespace("qes", "http://www.quantum-espresso.org/ns/qes/qes-1.0")
N_ATOMS, N_KPOINTS, N_BANDS = 48, 200, 120


def largest():
    found = sorted(ROOT.glob("runs/*/cells/*/bands/attempt-*/out/*.save/data-file-schema.xml"))
    return max(found, key=lambda path: path.stat().st_size, default=None)


def repeat(element, tag, count):
    """Repeat the children of one tag until there are so many."""
    children = element.findall(tag)
    place = list(element).index(children[-1]) + 1
    for number in range(count - len(children)):
        element.insert(place, copy.deepcopy(children[number % len(children)]))
    for extra in element.findall(tag)[count:]:
        element.remove(extra)


def enlarge(source, target):
    tree = ET.parse(source)
    output = tree.getroot().find("output")
    bands = output.find("band_structure")
    repeat(bands, "ks_energies", N_KPOINTS)
    bands.find("nks").text = str(N_KPOINTS)
    bands.find("nbnd").text = str(N_BANDS)
    for number, point in enumerate(bands.findall("ks_energies")):
        x, y, z = (float(word) for word in point.find("k_point").text.split())
        point.find("k_point").text = f"{x} {y} {z + 1e-3 * number}"
        for name in ("eigenvalues", "occupations"):
            array = point.find(name)
            values = array.text.split()
            array.text = " ".join((values * (N_BANDS // len(values) + 1))[:N_BANDS])
            array.set("size", str(N_BANDS))
    structure = output.find("atomic_structure")
    structure.set("nat", str(N_ATOMS))
    repeat(structure.find("atomic_positions"), "atom", N_ATOMS)
    tree.write(target)


def main():
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else largest()
    if source is None:
        raise SystemExit("no bands run below runs/: corecrown study run demo -d runs/demo makes one, or name an XML")
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / "data-file-schema.xml"
        enlarge(source, target)
        print(f"{target.stat().st_size / 1e6:.1f} MB, {N_ATOMS} atoms, {N_KPOINTS} k-points, {N_BANDS} bands")
        times = []
        for _ in range(5):
            started, used = time.perf_counter(), time.process_time()
            run = read_run(target)
            line_band_structure(run.structure, run.kpoints, run.spins, run.fermi_ev or 0.0)
            times.append((time.perf_counter() - started, time.process_time() - used))
        print(f"first {times[0][0]:.2f} s; best wall {min(times)[0]:.2f} s; CPU {min(cpu for _, cpu in times):.2f} s")


if __name__ == "__main__":
    main()
