"""vasprun.xml that VASP itself wrote, read by our commands, by sumo and by pymatgen; part of vasp_third_party.py.

The source distribution of aiida-vasp 5.1.0 holds four band structures of silicon (VASP 5.4.4 to 6.4.2; from a given
density, and as k-points of zero weight in two or three runs), many runs on meshes, and some that broke off; those of
parsevasp, amset, galore and ifermi hold runs on meshes.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from pymatgen.electronic_structure.bandstructure import BandStructureSymmLine
from vasp_third_party_common import ask, fetch, ours, row_of

from corecrown.errors import InputError
from corecrown.workflows.readers import read_band_structure
from corecrown.workflows.vasp.vasprun import read_run
from corecrown.workflows.vasp.xml_reader import is_vasprun

SILICON = "aiida-vasp==5.1.0"
MESHES = (SILICON, "parsevasp==3.4.0", "amset==0.5.1", "galore==0.10.0", "ifermi==0.3.1")
PARTS = {
    "Si, VASP 5.4.4": ("test_bands_wc",),
    "Si two spins, VASP 6.2.0": ("mock_silicon_bands-773e5e26a1250bed6a7e0bac139f94eb",),
    "Si zero weight in 3 runs, VASP 6.4.1": (
        "mock_silicon_hybrid-799631ea01d1028ced428751981362c3",
        "mock_silicon_hybrid-3d7c0f11b205b32073fbdcd12a6e1ad8",
        "mock_silicon_hybrid-d45e97cac9d41a08099dbd5953f47106",
    ),
    "Si two spins, zero weight in 2 runs, VASP 6.4.2": (
        "mock_silicon_hybrid_no_relax-446993b8bd305cca6e962f74a69b7c9c",
        "mock_silicon_hybrid_no_relax-94774fcfb345574b9814a4ccf9138853",
    ),
}
"""Folders of aiida-vasp that make up one band structure, in the order of its path."""


def arranged(name, data, work):
    """Return a folder with links to the files of a band structure, in split-01, split-02, ... where it has parts.

    sumo wants KPOINTS beside, with the names of corners, which none of these runs has: they are written here, k-points
    as vasprun.xml lists them and names as we find them.
    """
    folder = work / "real" / name.replace(",", "").replace(" ", "-")
    parts = [data / part / "out" / "vasprun.xml" for part in PARTS[name]]
    places = [folder / f"split-{number:02d}" for number in range(1, len(parts) + 1)] if len(parts) > 1 else [folder]
    for part, place in zip(parts, places, strict=True):
        place.mkdir(parents=True, exist_ok=True)
        (place / "KPOINTS").unlink(missing_ok=True)
        if not (place / "vasprun.xml").is_symlink():
            (place / "vasprun.xml").symlink_to(part)
    bands = read_band_structure(folder).bands
    assert isinstance(bands, BandStructureSymmLine)
    corners = [(label, kpoint.frac_coords) for label, kpoint in bands.labels_dict.items()]
    for place in places:
        run = read_run(place / "vasprun.xml")
        zero = (run.weights == 0).any()
        rows = []
        for kpoint, weight in zip(run.kpoints, run.weights, strict=True):
            label = next((name for name, corner in corners if np.allclose(corner, kpoint, atol=1e-6)), "")
            named = label.replace("Γ", "\\Gamma").replace(" ", "") if weight == 0 or not zero else ""
            rows.append(" ".join(f"{value:.8f}" for value in kpoint) + f" {int(weight > 0)} {named}")
        (place / "KPOINTS").write_text("\n".join(["k-points", str(len(rows)), "Reciprocal", *rows]) + "\n")
    return folder, places


def by_command(*arguments):
    """Return what a command of ours prints as JSON."""
    command = [str(Path(sys.executable).with_name("corecrown")), *map(str, arguments), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"corecrown {' '.join(map(str, arguments))} failed: {done.stderr.strip()[-300:]}")
    return json.loads(done.stdout)


def as_commands_say(folder):
    """Return edges and masses of a folder as ``corecrown bands`` and ``corecrown masses`` print them."""
    bands = by_command("bands", folder)
    said = {key: bands["edges"][key] for key in ("gap_ev", "vbm_ev", "cbm_ev", "direct", "vbm_kpoint", "cbm_kpoint")}
    said |= {"functional": bands["functional"], "spin_orbit": bands["spin_orbit"]}
    for method in ("sumo", "ours"):
        rows = by_command("masses", folder, "--method", method)["path_masses"]
        keys = ("carrier", "spin", "band_index", "kpoint", "mass")
        said[method] = [[row[key] for key in keys] for row in rows if row["mass"] is not None]
        for row in said[method]:
            row[1] = row[1] or "up"
    return said


def compare_files(work, only, done):
    """Add a row for each band structure of silicon; ``done`` holds those of an earlier call."""
    for name in PARTS:
        if only not in name or name in done:
            continue
        folder, places = arranged(name, fetch(SILICON, work) / "tests" / "test_data", work)
        own = as_commands_say(folder)
        own["n_kpoints"] = sum(len(read_run(place / "vasprun.xml").of_lines.kpoints) for place in places)
        own["unordered"] = 0
        files = [str(place / "vasprun.xml") for place in places]
        theirs = ask(work, [{"name": name, "vasprun": files, "folder": None}])[name]
        done[name] = row_of(name, own, theirs, theirs)
        row = done[name]
        print(f"{name}: {json.dumps(row)}", flush=True)


def compare_meshes(work, only, done):
    """Add what is compared of each vasprun.xml on a mesh, whatever it is called; broken ones with what is said."""
    files = {}
    for package in MESHES:
        folder = fetch(package, work)
        for path in sorted({*folder.rglob("*.xml"), *folder.rglob("*.xml.gz")}):
            name = f"{package.partition('==')[0]}: {path.relative_to(folder)}"
            if only in name and name not in done and is_vasprun(path):
                files[name] = path
    theirs = ask(work, [{"name": name, "mesh_file": str(path)} for name, path in files.items()]) if files else {}
    for name, path in files.items():
        other = theirs[name]["pymatgen"]
        try:
            own = ours(path)
        except InputError as error:
            done[name] = {"name": name, "refused": f"{error.message} ({error.hint})", "pymatgen": other}
            print(f"{name}: refused: {error.message}", flush=True)
            continue
        row = {"name": name, "functional": own["functional"], "spin_orbit": own["spin_orbit"], "gap_ev": own["gap_ev"]}
        row |= {"pymatgen": other, "on_lines": own["on_lines"], "notes": own["notes"]}
        if own["gap_ev"] is not None and other.get("gap_ev"):
            row["edges_off_ev"] = max(abs(own[edge] - other[edge]) for edge in ("vbm_ev", "cbm_ev"))
        done[name] = row
        print(f"{name}: {row['functional']}, gap {row['gap_ev']}, pymatgen {other}", flush=True)
