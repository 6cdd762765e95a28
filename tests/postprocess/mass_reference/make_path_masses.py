"""Write path_masses.json: what sumo and effmass say of the band structures of mass_models.path_cases().

Run in an environment that has both (sumo 3.0.0, effmass 2.3.1 and pymatgen), not in corecrown's own:

    python tests/postprocess/mass_reference/make_path_masses.py

sumo is asked through get_fitting_data and fit_effective_mass, as its program sumo-bandstats does with default options,
effmass through generate_segments with default Settings and five_point_leastsq_effmass, which its command line calls
"parabolic m* (least squares)". Masses keep the signs of these programs: holes are negative. effmass knows one spin
channel here, so the case with two is sumo's alone.
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
from effmass import extrema, inputs
from pymatgen.core import Lattice
from pymatgen.electronic_structure.bandstructure import BandStructureSymmLine
from pymatgen.electronic_structure.core import Spin
from scipy.constants import angstrom, physical_constants
from sumo.electronic_structure.bandstructure import get_reconstructed_band_structure
from sumo.electronic_structure.effective_mass import fit_effective_mass, get_fitting_data

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from mass_models import path_cases

BOHR_ANGSTROM = physical_constants["Bohr radius"][0] / angstrom


def band_structure(lattice, labels, kpoints, channels, efermi):
    eigenvalues = dict(zip((Spin.up, Spin.down), channels, strict=False))
    return BandStructureSymmLine(kpoints, eigenvalues, Lattice(lattice / BOHR_ANGSTROM), efermi, labels)


def sumo_masses(bands):
    bands = get_reconstructed_band_structure([bands])
    rows = []
    for carrier, edge in (("hole", bands.get_vbm()), ("electron", bands.get_cbm())):
        for spin, band_indices in edge["band_index"].items():
            for band in band_indices:
                for kpoint in edge["kpoint_index"]:
                    for data in get_fitting_data(bands, spin, band, kpoint):
                        rows.append(
                            {
                                "carrier": carrier,
                                "band_index": int(band),
                                "spin": spin.name,
                                "from": data["start_kpoint"].label,
                                "to": data["end_kpoint"].label,
                                "mass": float(fit_effective_mass(data["distances"], data["energies"])),
                            }
                        )
    return rows


def effmass_masses(lattice, kpoints, energies, efermi):
    data = inputs.Data()
    data.spin_channels = 1
    data.number_of_bands, data.number_of_kpoints = energies.shape
    data.kpoints, data.energies = kpoints, energies
    data.reciprocal_lattice = lattice / BOHR_ANGSTROM
    data.occupancy = (energies < efermi).astype(float)
    data.VBM = float(energies[energies < efermi].max())
    data.CBM = float(energies[energies > efermi].min())
    data.fermi_energy = (data.VBM + data.CBM) / 2
    rows = []
    for segment in extrema.generate_segments(inputs.Settings(), data):
        rows.append(
            {
                "band_index": int(segment.band),
                "carrier": "hole" if segment.energies[0] < efermi else "electron",
                "kpoint_index": int(segment.kpoint_indices[0]),
                "next_index": int(segment.kpoint_indices[1]),
                "mass": float(segment.five_point_leastsq_effmass()),
            }
        )
    return rows


def main():
    table = {"made_with": {name: version(name) for name in ("sumo", "effmass", "pymatgen", "numpy")}}
    for name, (lattice, labels, kpoints, channels, efermi) in path_cases().items():
        table[name] = {"sumo": sumo_masses(band_structure(lattice, labels, kpoints, channels, efermi))}
        if len(channels) == 1:
            table[name]["effmass-ls"] = effmass_masses(lattice, kpoints, np.asarray(channels[0]), efermi)
    target = Path(__file__).with_name("path_masses.json")
    target.write_text(json.dumps(table, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
