"""What sumo, effmass and pymatgen say of runs of VASP: the other side of vasp_third_party.py, in their environment.

Reads tasks as JSON from standard input and prints one line of JSON.
"""

import contextlib
import io
import json
import sys
import warnings
from pathlib import Path

import numpy as np
from pymatgen.electronic_structure.core import Spin
from pymatgen.io.vasp.outputs import BSVasprun, Vasprun

if not hasattr(np, "in1d"):
    setattr(np, "in1d", np.isin)  # noqa: B010  effmass 2.3.1 calls what numpy 2.4 has dropped


def of_sumo(vaspruns):
    from sumo.cli.bandstats import bandstats
    from sumo.electronic_structure.bandstructure import get_reconstructed_band_structure

    read = [BSVasprun(vasprun, parse_projected_eigen=False) for vasprun in vaspruns]
    bands = get_reconstructed_band_structure([one.get_band_structure(line_mode=True, efermi="smart") for one in read])
    if bands.is_metal():
        return {"error": "sumo: metallic"}
    said = {"gap_ev": float(bands.get_band_gap()["energy"])}
    said |= {"vbm_ev": float(bands.get_vbm()["energy"]), "cbm_ev": float(bands.get_cbm()["energy"])}
    found = bandstats(filenames=vaspruns)
    said["masses"] = [
        [
            carrier,
            "up" if row["spin"] is Spin.up else "down",
            int(row["band_id"]),
            [float(value) for value in row["start_kpoint"].frac_coords],
            float(row["effective_mass"]),
        ]
        for carrier, key in (("hole", "hole_data"), ("electron", "electron_data"))
        for row in found[key]
    ]
    return said


def of_effmass(folder, mesh, in_order):
    from effmass import extrema, inputs

    data = inputs.DataVasp(str(Path(folder) / "OUTCAR"), str(Path(folder) / "PROCAR"), ignore=mesh)
    if in_order:
        data.energies = np.sort(data.energies, axis=0)
    masses = []
    for segment in extrema.generate_segments(inputs.Settings(), data):
        if len(segment.kpoint_indices) < 3:
            continue
        carrier = "hole" if segment.energies[0] < data.fermi_energy else "electron"
        with contextlib.suppress(AssertionError, ValueError):
            mass = float(segment.five_point_leastsq_effmass())
            kpoint = [float(value) for value in data.kpoints[segment.kpoint_indices[0]]]
            masses.append([carrier, "up", int(segment.band), kpoint, mass])
    return {"masses": masses}


def of_pymatgen(path):
    try:
        bands = Vasprun(path, parse_potcar_file=False).get_band_structure(efermi="smart")
    except Exception as error:  # noqa: BLE001  whatever it is, it is told
        return {"error": f"{type(error).__name__} {error}"[:120]}
    if bands.is_metal():
        return {"gap_ev": None}
    edges = {"vbm_ev": float(bands.get_vbm()["energy"]), "cbm_ev": float(bands.get_cbm()["energy"])}
    return {"gap_ev": float(bands.get_band_gap()["energy"]), **edges}


def main():
    warnings.simplefilter("ignore")
    said = {}
    for task in json.load(sys.stdin):
        answer = said[task["name"]] = {}
        with contextlib.redirect_stdout(io.StringIO()):
            if "mesh_file" in task:
                answer["pymatgen"] = of_pymatgen(task["mesh_file"])
                continue
            try:
                files = task["vasprun"]
                answer["sumo"] = of_sumo([files] if isinstance(files, str) else files)
            except (Exception, SystemExit) as error:  # noqa: BLE001  whatever it is, it is told
                answer["sumo"] = {"error": f"sumo: {type(error).__name__} {error}"[:120]}
            if task["folder"]:
                answer["effmass"] = of_effmass(task["folder"], task["mesh"], task["in_order"])
    print(json.dumps(said, default=np.ndarray.tolist))


if __name__ == "__main__":
    main()
