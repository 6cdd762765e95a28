"""What VASP itself wrote, read by us, by sumo and by effmass: gaps, edges and masses side by side.

Usage: python benchmarks/vasp_third_party.py [--work DIR] [--only PART] [--save FILE]

vasprun.xml that aiida-vasp and others ship go through ``corecrown bands`` and ``corecrown masses`` and through sumo as
they are (vasp_third_party_files.py). The source distribution of effmass 2.3.1 holds OUTCAR and PROCAR of 21 band
structures of VASP 5.4.1 (LDA, PBE, PBEsol, HSE06, with and without spin-orbit coupling, mesh and lines of zero weight,
two spins). All are fetched with pip into DIR (a temporary folder by default), where sumo and effmass get an environment
of their own; nothing of it enters this repository. Without the network the program ends and says so.

sumo reads vasprun.xml alone, so the numbers of each OUTCAR and PROCAR are written into one, which sumo and we read;
effmass and we read OUTCAR and PROCAR as well. VASP leaves bands of hybrid runs out of order at some k-points of zero
weight. We order them by energy, sumo and effmass follow the order of the file: both are asked twice, once with the
levels as they stand and once in order. The table goes to the terminal, and with --save into FILE as JSON; runs that
stand in FILE are not done again.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
from pymatgen.electronic_structure.core import Spin
from vasp_third_party_common import ask, fetch, ours, row_of, shown
from vasp_third_party_files import compare_files, compare_meshes

from corecrown.workflows.readers import read_band_structure
from corecrown.workflows.vasp.outcar import read_outcar_run

LINES = "effmass==2.3.1"
LARGEST_PROCAR = 4e6
"""Bytes of a PROCAR that effmass is asked to read; with larger ones it takes minutes."""


def runs_of_lines(effmass, work):
    """Return a folder with OUTCAR, PROCAR and KPOINTS for each band structure that effmass ships, by name."""
    found = {}
    for outcar in sorted(effmass.glob("paper/data/*/*/OUTCAR")):
        found["/".join(outcar.parts[-3:-1])] = outcar.parent
    germanium = work / "germanium"
    germanium.mkdir(exist_ok=True)
    for name in ("OUTCAR", "PROCAR"):
        link = germanium / name
        if not link.is_symlink():
            link.symlink_to(effmass / "tests" / "data_vasp" / f"Ge_SP_{name}")
    found["Ge/PBE two spins"] = germanium
    return found


def out_of_order(run):
    """Return at how many k-points levels stand out of order by more than 0.01 meV."""
    return int((np.diff(run.eigenvalues_ev, axis=2) < -1e-5).any(axis=(0, 2)).sum())


def write_vasprun(folder, run, bands, *, in_order):
    """Write the numbers of a run into a vasprun.xml, and a KPOINTS that names the corners, for sumo."""
    mesh = run.of_mesh if (run.weights == 0).any() else None
    weights = np.zeros(len(bands.kpoints)) if mesh is not None else np.ones(len(bands.kpoints))
    kpoints = np.array([kpoint.frac_coords for kpoint in bands.kpoints])
    levels = np.array([bands.bands[spin].T for spin in (Spin.up, Spin.down) if spin in bands.bands])
    labels = [kpoint.label or "" for kpoint in bands.kpoints]
    if mesh is not None:
        kpoints = np.vstack([mesh.kpoints, kpoints])
        weights = np.concatenate([mesh.weights, weights])
        levels = np.concatenate([mesh.eigenvalues_ev, levels], axis=1)
        labels = [""] * len(mesh.kpoints) + labels
    if in_order:
        levels = np.sort(levels, axis=2)
    filled = round(run.n_electrons if run.spin_orbit else run.n_electrons / 2)
    occupations = np.broadcast_to(np.arange(levels.shape[2]) < filled, levels.shape)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vasprun.xml").write_text("\n".join(xml_lines(run, levels, occupations, kpoints, weights)) + "\n")
    ascii_labels = [label.replace("Γ", "\\Gamma").replace(" ", "") for label in labels]
    rows = [
        " ".join(f"{value:.10f}" for value in point) + f" {int(weight > 0)} {label}"
        for point, weight, label in zip(kpoints, weights, ascii_labels, strict=True)
    ]
    (folder / "KPOINTS").write_text("\n".join(["k-points", str(len(rows)), "Reciprocal", *rows]) + "\n")


def xml_lines(run, levels, occupations, kpoints, weights):
    def rows(name, values):
        return [f'<varray name="{name}">', *(f"<v> {line(value)} </v>" for value in values), "</varray>"]

    def line(value):
        return " ".join(f"{number:.10f}" for number in np.atleast_1d(value))

    hybrid = run.functional.startswith("HSE")
    logical = {"LSORBIT": run.spin_orbit, "LNONCOLLINEAR": run.spin_orbit, "LHFCALC": hybrid}
    real = {"NELECT": run.n_electrons, "ENMAX": run.encut_ev, "EDIFFG": -0.01, "HFSCREEN": 0.2 if hybrid else 0.0}
    real["AEXX"] = 0.25 if hybrid else 0.0
    whole = {"ISPIN": len(levels), "NSW": 0, "NELM": 60, "ISMEAR": 0, "NBANDS": levels.shape[2]}
    tag = {"PBE": "PE", "PBEsol": "PS", "LDA": "CA", "HSE06": "PE"}[run.functional]
    symbols = [site.specie.symbol for site in run.structure]
    kinds = list(dict.fromkeys(symbols))
    cell = ["<crystal>", *rows("basis", run.structure.lattice.matrix)]
    cell += [*rows("rec_basis", run.structure.lattice.reciprocal_lattice_crystallographic.matrix), "</crystal>"]
    cell += rows("positions", run.structure.frac_coords)
    yield '<?xml version="1.0" encoding="ISO-8859-1"?>\n<modeling>\n<generator>'
    yield '<i name="program" type="string">numbers of OUTCAR and PROCAR</i>'
    yield f'<i name="version" type="string">{run.code_version}</i>'
    yield f'</generator>\n<incar>\n<i type="int" name="ICHARG"> {0 if hybrid else 11}</i>\n</incar>\n<kpoints>'
    yield from [*rows("kpointlist", kpoints), *rows("weights", weights), "</kpoints>", "<parameters>"]
    yield from (f'<i type="logical" name="{name}"> {"T" if value else "F"} </i>' for name, value in logical.items())
    yield from (f'<i type="int" name="{name}"> {value}</i>' for name, value in whole.items())
    yield from (f'<i name="{name}"> {value:.8f}</i>' for name, value in real.items())
    yield f'<i type="string" name="GGA">{tag}</i>\n</parameters>\n<atominfo>\n<atoms> {len(symbols)} </atoms>'
    yield '<array name="atoms"><dimension dim="1">ion</dimension><set>'
    yield from (f"<rc><c>{symbol}</c><c> {kinds.index(symbol) + 1}</c></rc>" for symbol in symbols)
    yield '</set></array>\n<array name="atomtypes"><set>'
    for kind, title in zip(kinds, run.potcar_titles, strict=False):
        yield f"<rc><c> {symbols.count(kind)}</c><c>{kind}</c><c> 1.0</c><c> 1.0</c><c> {title}</c></rc>"
    yield from ["</set></array>", "</atominfo>", '<structure name="initialpos">', *cell, "</structure>"]
    energies = [f'<i name="{name}"> 0.0 </i>' for name in ("e_fr_energy", "e_wo_entrp", "e_0_energy")]
    yield from ["<calculation>", "<scstep>", "<energy>", *energies, "</energy>", "</scstep>"]
    yield from ["<structure>", *cell, "</structure>", *rows("forces", np.zeros((len(symbols), 3)))]
    yield from [
        "<energy>",
        *energies,
        "</energy>",
        "<eigenvalues><array>",
        '<dimension dim="1">band</dimension>',
        "<set>",
    ]
    for spin, (channel, filling) in enumerate(zip(levels, occupations, strict=True), start=1):
        yield f'<set comment="spin {spin}">'
        for number, (energy, occupation) in enumerate(zip(channel, filling, strict=True), start=1):
            yield f'<set comment="kpoint {number}">'
            yield from (f"<r> {e:.10f} {o:.4f} </r>" for e, o in zip(energy, occupation, strict=True))
            yield "</set>"
        yield "</set>"
    yield f'</set></array></eigenvalues>\n<dos><i name="efermi"> {run.fermi_ev:.8f} </i></dos>\n</calculation>'
    yield from ['<structure name="finalpos">', *cell, "</structure>", "</modeling>"]


def compare_lines(work, only, done):
    """Return a row for each band structure; ``done`` holds those of an earlier call and is added to."""
    wanted = {name: folder for name, folder in runs_of_lines(fetch(LINES, work), work).items() if only in name}
    for name, folder in wanted.items():
        if name in done:
            continue
        run, bands = read_outcar_run(folder), read_band_structure(folder).bands
        target = work / "converted" / name.replace("/", "-").replace(" ", "-")
        write_vasprun(target, run, bands, in_order=False)
        own = ours(folder, "sumo", "effmass-ls", "ours")
        own |= {"unordered": out_of_order(run), "n_kpoints": len(run.kpoints), "xml": ours(target, "sumo")}
        small = (folder / "PROCAR").stat().st_size <= LARGEST_PROCAR and len(run.eigenvalues_ev) == 1
        mesh = int((run.weights > 0).sum()) if (run.weights == 0).any() else 0
        task = {"name": "as it is", "vasprun": str(target / "vasprun.xml"), "mesh": mesh}
        tasks = [task | {"folder": str(folder) if small else None, "in_order": False}]
        if own["unordered"]:
            write_vasprun(target / "in-order", run, bands, in_order=True)
            inside = {"name": "in order", "vasprun": str(target / "in-order" / "vasprun.xml"), "in_order": True}
            tasks.append(tasks[0] | inside)
        theirs = ask(work, tasks)
        done[name] = row_of(name, own, theirs["as it is"], theirs.get("in order", theirs["as it is"]))
        print_lines([done[name]], header=len(done) == 1)
    return done


def print_lines(rows, *, header):
    columns = ("Run", "Functional", "k-points, out of order", "Gap, eV: ours", "sumo", "Masses as sumo", "in order")
    if header:
        print("| " + " | ".join((*columns, "Masses as effmass", "in order", "our fit")) + " |\n|" + "---|" * 10)
    for row in rows:
        level = row["functional"] + (" + SOC" if row["spin_orbit"] else "")
        sumo, ordered = row["sumo_as_it_is"], row["sumo_in_order"]
        cells = [row["name"], level, f"{row['n_kpoints']}, {row['unordered']}", f"{row['gap_ev']:.4f}"]
        cells += [f"{sumo['gap_ev']:.4f}" if "gap_ev" in sumo else sumo["error"]]
        cells += [shown(sumo.get("masses")), shown(ordered.get("masses"))]
        cells += [shown(row.get("effmass_as_it_is")), shown(row.get("effmass_in_order")), str(row["ours"])]
        print("| " + " | ".join(cells) + " |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, help="folder that is kept; a temporary one by default")
    parser.add_argument("--only", default="", help="runs whose name holds this")
    parser.add_argument("--save", type=Path, help="write all as JSON here")
    chosen = parser.parse_args()
    kept = chosen.save is not None and chosen.save.is_file()
    done = json.loads(chosen.save.read_text()) if kept else {}
    with tempfile.TemporaryDirectory() as scratch:
        work = (chosen.work or Path(scratch)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        try:
            compare_files(work, chosen.only, done.setdefault("files", {}))
            compare_lines(work, chosen.only, done.setdefault("lines", {}))
            compare_meshes(work, chosen.only, done.setdefault("meshes", {}))
        finally:
            if chosen.save:
                chosen.save.write_text(json.dumps(done, indent=1) + "\n")


if __name__ == "__main__":
    main()
