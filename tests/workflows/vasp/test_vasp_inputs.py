"""What is written for VASP: whole inputs of one cell, conversions, and what a key does and does not depend on."""

import re

import numpy as np
import pytest
from ase import units
from pymatgen.io.vasp.inputs import Incar, Kpoints, Poscar

from corecrown.errors import InputError
from corecrown.postprocess.results import Step
from corecrown.workflows.protocols import Functional, Theory, load_protocol
from corecrown.workflows.vasp.incar import NOT_PHYSICS, incar_text, physics_of
from corecrown.workflows.vasp.inputs import Program, grouped_order
from corecrown.workflows.vasp.jobs import MAKERS

pytestmark = pytest.mark.usefixtures("no_potcars")

OVERRIDES = {
    "all": {"encut_ev": 300, "kpoint_mesh": [2, 2, 2], "scf_threshold_ry_per_atom": 1e-9, "conduction_bands": 4},
    "relax": {
        "force_threshold_ry_bohr": 1e-3,
        "max_ionic_steps": 30,
        "relax_cell": True,
        "kpoint_mesh": [2, 2, 1],
        "conduction_bands": 0,
    },
    "bands": {"path": [["X", "Γ", "Y"]], "path_spacing": 0.3, "conduction_bands": 4},
    "pdos": {"conduction_bands": 4},
}

COMMON = {
    "ALGO": "Normal",
    "ENCUT": "300.0",
    "GGA": "PE",
    "ISMEAR": "0",
    "ISPIN": "1",
    "LAECHG": ".FALSE.",
    "LASPH": ".TRUE.",
    "LELF": ".FALSE.",
    "LMAXMIX": "6",
    "LREAL": ".FALSE.",
    "LVTOT": ".FALSE.",
    "LWAVE": ".FALSE.",
    "NELM": "100",
    "PREC": "Accurate",
    "SIGMA": "0.05",
}

GOLDEN = {
    Step.RELAX: COMMON
    | {"EDIFFG": "-0.02571", "IBRION": "2", "ISIF": "3", "LCHARG": ".FALSE.", "NBANDS": "32", "NSW": "30"},
    Step.SCF: COMMON | {"LCHARG": ".TRUE.", "NBANDS": "40", "NSW": "0"},
    Step.BANDS: COMMON | {"ICHARG": "11", "ISYM": "0", "LCHARG": ".FALSE.", "NBANDS": "40", "NSW": "0"},
    Step.PDOS: COMMON | {"ICHARG": "11", "ISYM": "2", "LCHARG": ".FALSE.", "LORBIT": "11", "NBANDS": "40", "NSW": "0"},
    Step.HYBRID: COMMON
    | {
        "HFSCREEN": "0.2",
        "LCHARG": ".FALSE.",
        "LHFCALC": ".TRUE.",
        "NBANDS": "40",
        "NELMIN": "5",
        "NSW": "0",
        "PRECFOCK": "Fast",
    },
    Step.SPIN_ORBIT: {tag: value for tag, value in COMMON.items() if tag != "ISPIN"}
    | {
        "GGA_COMPAT": ".FALSE.",
        "ISYM": "-1",
        "LCHARG": ".TRUE.",
        "LSORBIT": ".TRUE.",
        "MAGMOM": "15*0",
        "NBANDS": "72",
        "NSW": "0",
    },
}
"""44 electrons: 22 filled bands (44 spinors), 4 empty ones, 8 spare ones (twice as many spinors), in multiples of 8."""


def inputs_of(step, structure, overrides=OVERRIDES, theory=None):
    protocol = load_protocol("demo", overrides)
    return MAKERS[step](settings=protocol.settings(step), theory=theory or Theory()).inputs(structure)


@pytest.mark.parametrize("step", list(GOLDEN))
def test_incar_is_the_one_that_is_known(step, cubic):
    written = dict(line.split(" = ") for line in inputs_of(step, cubic).files()["INCAR"].splitlines())
    threshold = float(written.pop("EDIFF"))
    per_atom = load_protocol("demo", OVERRIDES).settings(step).scf_threshold_ry_per_atom
    assert threshold == pytest.approx(per_atom * 5 * units.Rydberg, rel=1e-3)
    assert written == GOLDEN[step]


def test_forces_are_converted_from_ry_per_bohr(cubic):
    ediffg = float(inputs_of(Step.RELAX, cubic).incar["EDIFFG"])
    assert ediffg == pytest.approx(-1e-3 * units.Rydberg / units.Bohr, rel=1e-3)


def test_atoms_of_an_element_stand_together_and_find_back(skewed):
    inputs = inputs_of(Step.SCF, skewed)
    poscar = Poscar.from_str(inputs.files()["POSCAR"])
    assert len(set(poscar.site_symbols)) == len(poscar.site_symbols)
    assert inputs.files()["POTCAR.spec"].split() == [
        {"Cs": "Cs_sv", "Pb": "Pb_d", "Br": "Br"}[e] for e in inputs.elements
    ]
    back = [None] * len(skewed)
    for place, index in enumerate(grouped_order(skewed)):
        back[index] = poscar.structure[place]
    for mine, theirs in zip(skewed, back, strict=True):
        assert mine.specie == theirs.specie
        assert np.allclose((mine.frac_coords - theirs.frac_coords + 0.5) % 1, 0.5, atol=1e-12)


def test_meshes_are_centred_at_gamma_and_shifted_by_half_a_step(cubic):
    overrides = {"all": {"kpoint_mesh": [2, 3, 1]}, "scf": {"kpoint_mesh": [2, 3, 1], "kpoint_shift": [1, 0, 1]}}
    kpoints = Kpoints.from_str(inputs_of(Step.SCF, cubic, overrides).files()["KPOINTS"])
    assert kpoints.style == Kpoints.supported_modes.Gamma
    assert tuple(kpoints.kpts[0]) == (2, 3, 1)
    assert tuple(kpoints.kpts_shift) == (0.5, 0, 0.5)


def test_bands_follow_our_path_with_corners_twice_and_named(cubic):
    kpoints = Kpoints.from_str(inputs_of(Step.BANDS, cubic).files()["KPOINTS"])
    assert kpoints.style == Kpoints.supported_modes.Reciprocal
    corners = [label for label in kpoints.labels if label]
    assert corners == ["X", "\\Gamma", "\\Gamma", "Y"]
    assert set(kpoints.kpts_weights) == {1.0}


def test_hybrid_adds_named_points_without_weight(cubic):
    inputs = inputs_of(Step.HYBRID, cubic)
    weighted, extra = inputs.kpoints[inputs.weights > 0], inputs.kpoints[inputs.weights == 0]
    assert inputs.weights.sum() == 8  # every point of the 2x2x2 mesh stands for one
    assert len(weighted) == 8  # which are the named points themselves, so that none has to be added
    assert len(extra) == 0
    coarse = inputs_of(Step.HYBRID, cubic, {"all": {"kpoint_mesh": [1, 1, 1]}})
    assert len(coarse.kpoints[coarse.weights == 0]) == 7  # all of the orthorhombic zone's eight but Γ
    before = coarse.incar_before()
    assert "LHFCALC" not in before
    assert before["LWAVE"] is True


def test_hybrid_along_lines(cubic):
    overrides = {"all": {"kpoint_mesh": [2, 2, 2]}, "hybrid": {"path": [["Γ", "Z"]], "path_spacing": 0.2}}
    inputs = inputs_of(Step.HYBRID, cubic, overrides)
    lines = inputs.kpoints[inputs.weights == 0]
    assert np.allclose(lines[0], 0)
    assert np.allclose(lines[-1], [0, 0, 0.5])


def test_functional_is_said_and_never_left_to_a_default(cubic):
    tags = inputs_of(Step.SCF, cubic, theory=Theory(functional=Functional.PBESOL, dispersion=True)).incar
    assert (tags["GGA"], tags["IVDW"]) == ("PS", 12)
    hybrid = inputs_of(Step.HYBRID, cubic, theory=Theory(functional=Functional.PBESOL))
    assert hybrid.incar["GGA"] == "PE"  # HSE06 is built on PBE


def test_hybrid_with_spin_orbit_lists_the_whole_mesh(cubic):
    inputs = inputs_of(Step.HYBRID_SPIN_ORBIT, cubic, {"all": {"kpoint_mesh": [3, 2, 2]}})
    assert inputs.program is Program.NCL
    assert (inputs.incar["LSORBIT"], inputs.incar["LHFCALC"], inputs.incar["ISYM"]) == (True, True, -1)
    assert inputs.incar["MAGMOM"] == "15*0"
    # without symmetry, time reversal included, every k-point stands for itself
    assert np.allclose(inputs.weights[inputs.weights > 0], 1)
    weighted = np.round(inputs.kpoints[inputs.weights > 0] * [3, 2, 2]).astype(int) % [3, 2, 2]
    assert len(np.unique(weighted, axis=0)) == len(weighted) == 12
    assert inputs.incar_before()["LSORBIT"] is True
    assert "LHFCALC" not in inputs.incar_before()


def test_spin_orbit_runs_vasp_ncl(cubic):
    assert inputs_of(Step.SPIN_ORBIT, cubic).program is Program.NCL
    assert inputs_of(Step.SCF, cubic).program is Program.STD


def test_odd_number_of_electrons_is_refused(cubic):
    charged = cubic.copy()
    charged.remove_sites([2])
    with pytest.raises(InputError, match="odd number"):
        inputs_of(Step.SCF, charged)


def test_axes_that_cannot_be_kept_are_refused(cubic):
    turned = cubic.copy()
    turned.lattice = type(cubic.lattice)(cubic.lattice.matrix[:, [1, 0, 2]])
    with pytest.raises(InputError, match="do not lie along x, y and z"):
        inputs_of(Step.RELAX, turned)


def test_key_depends_on_physics_alone(cubic):
    inputs = inputs_of(Step.SCF, cubic)
    same = inputs.with_incar(ALGO="All", KPAR=4, NCORE=8, ISTART=1, LWAVE=True)
    assert same.identity() == inputs.identity()
    for changed in ({"ENCUT": 301.0}, {"ISMEAR": -5}, {"GGA": "PS"}, {"SIGMA": 0.1}, {"ICHARG": 11}):
        assert inputs.with_incar(**changed).identity() != inputs.identity()


def test_physics_reads_the_same_however_it_is_written():
    first = physics_of({"LASPH": True, "GGA": "PE", "ENCUT": 300, "MAGMOM": "3*0", "KPAR": 2})
    second = physics_of({"LASPH": "True", "GGA": "Pe", "ENCUT": "300.0", "MAGMOM": "0 0 0", "KPAR": 4})
    assert first == second
    assert not NOT_PHYSICS & first.keys()


def test_machine_settings_of_atomate2_are_taken(monkeypatch, cubic):
    from atomate2 import SETTINGS

    monkeypatch.setattr(SETTINGS, "VASP_INCAR_UPDATES", {"KPAR": 2})
    assert inputs_of(Step.SCF, cubic).incar["KPAR"] == 2


def test_text_of_an_incar_reads_back():
    tags = {"LCHARG": False, "LATTICE_CONSTRAINTS": [False, True, False], "FERWE": "3*1 1*0", "EDIFF": 1e-6}
    read = Incar.from_str(incar_text(tags))
    assert read["LATTICE_CONSTRAINTS"] == [False, True, False]
    assert [float(value) for value in read["FERWE"]] == [1, 1, 1, 0]
    assert re.search(r"LCHARG = \.FALSE\.", incar_text(tags))
