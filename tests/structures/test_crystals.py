"""Reference crystals, Pnma and Pbnm, and files that are not crystals."""

from itertools import permutations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from corecrown.errors import InputError
from corecrown.structures import build
from corecrown.structures.crystals import (
    Crystal,
    host,
    is_pbnm,
    kpoint_to_pbnm,
    label_to_pbnm,
    label_to_pnma,
    load_crystal,
    pbnm_to_pnma,
    pnma_to_pbnm,
    read_cif,
    to_pbnm,
)
from corecrown.structures.formamidinium import find_formamidinium
from corecrown.structures.setting import permute_axes
from corecrown.structures.symmetry import find_operations

POINTS = {
    "Γ": (0, 0, 0),
    "X": (0.5, 0, 0),
    "Y": (0, 0.5, 0),
    "Z": (0, 0, 0.5),
    "S": (0.5, 0.5, 0),
    "T": (0, 0.5, 0.5),
    "U": (0.5, 0, 0.5),
    "R": (0.5, 0.5, 0.5),
}


@pytest.mark.parametrize(
    ("crystal", "formula", "group"),
    [
        (Crystal.CSPBBR3, "Cs4 Pb4 Br12", 62),
        (Crystal.FAPBBR3, "H20 Pb4 C4 Br12 N8", 62),
        (Crystal.CSPBBR3_CUBIC, "Cs1 Pb1 Br3", 221),
    ],
)
def test_crystals_have_their_space_group_and_say_where_they_come_from(crystal, formula, group):
    structure = load_crystal(crystal)
    assert structure.composition.formula == formula
    assert structure.get_space_group_info(symprec=1e-3)[1] == group
    assert len(structure.properties["source"]) > 40
    assert structure.properties["temperature_k"] > 0


def test_cspbbr3_is_pbnm_with_c_long():
    structure = load_crystal(Crystal.CSPBBR3)
    a, b, c = structure.lattice.abc
    assert c > b > a
    # Pbnm: mirror normal to c, b glide normal to a
    rotations = {tuple(np.diag(o.rotation)): o.translation % 1 for o in find_operations(structure)}
    assert rotations[1, 1, -1] == pytest.approx([0, 0, 0.5], abs=1e-6)
    assert rotations[-1, 1, 1] == pytest.approx([0.5, 0.5, 0], abs=1e-6)
    assert is_pbnm(structure)


def test_cubic_and_foreign_crystals_have_no_setting():
    silicon = Structure.from_spacegroup("Fd-3m", Lattice.cubic(5.43), ["Si"], [[0, 0, 0]])
    for structure in (load_crystal(Crystal.CSPBBR3_CUBIC), silicon):
        assert not is_pbnm(structure)
        same, notice = to_pbnm(structure)
        assert same is structure
        assert "cannot be told" in notice


def test_pnma_and_back():
    structure = load_crystal(Crystal.CSPBBR3)
    pnma = pbnm_to_pnma(structure)
    assert pnma.lattice.abc == pytest.approx((8.255, 11.759, 8.207))
    assert not is_pbnm(pnma)
    back = pnma_to_pbnm(pnma)
    assert back.lattice.abc == pytest.approx(structure.lattice.abc)
    assert back.frac_coords == pytest.approx(structure.frac_coords)
    assert back.site_properties == structure.site_properties


def test_labels_of_k_points_follow_the_axes():
    for label, point in POINTS.items():
        assert kpoint_to_pbnm(point) == POINTS[label_to_pbnm(label)]
        assert label_to_pnma(label_to_pbnm(label)) == label


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_any_naming_of_the_axes_comes_back_to_pbnm(order):
    structure = load_crystal(Crystal.CSPBBR3)
    converted, notice = to_pbnm(permute_axes(structure, order))
    assert converted.lattice.abc == pytest.approx(structure.lattice.abc)
    assert (notice is None) == (order == (0, 1, 2))
    distances = np.sort(converted.distance_matrix.ravel())
    assert distances == pytest.approx(np.sort(structure.distance_matrix.ravel()), abs=1e-6)
    rotations = {tuple(np.diag(o.rotation)): o.translation % 1 for o in find_operations(converted)}
    assert rotations[-1, 1, 1][:2] == pytest.approx([0.5, 0.5], abs=1e-6)


@pytest.mark.parametrize("order", [(1, 2, 0), (2, 0, 1)])
def test_a_substituted_cell_is_told_too(order):
    cell = build(25, "b")
    assert is_pbnm(cell)
    converted, notice = to_pbnm(permute_axes(cell, order))
    assert "no atom was moved" in notice
    assert converted.lattice.abc == pytest.approx(cell.lattice.abc)
    assert len(find_formamidinium(converted)) == 1


def test_renaming_axes_keeps_the_hand_of_a_crystal():
    chiral = Structure(
        Lattice.orthorhombic(6, 7, 8),
        ["Cs", "Pb", "Br", "Si"],
        [[0.1, 0.1, 0.1], [0.3, 0.1, 0.1], [0.1, 0.4, 0.15], [0.15, 0.15, 0.4]],
    )

    def signed_volume(structure):
        offsets = structure.frac_coords[1:] - structure.frac_coords[0]
        return np.linalg.det(structure.lattice.get_cartesian_coords(offsets - np.round(offsets)))

    for order in permutations(range(3)):
        assert signed_volume(permute_axes(chiral, order)) == pytest.approx(signed_volume(chiral))


def test_hosts_have_four_a_sites():
    for lattice in ("cspbbr3", "fapbbr3"):
        cell = host(lattice)
        assert cell.composition.formula == "Cs4 Pb4 Br12"
        assert cell.get_space_group_info(symprec=1e-3)[1] == 62
    with pytest.raises(InputError, match="mapbbr3"):
        host("mapbbr3")
    with pytest.raises(InputError, match="no crystal is called"):
        load_crystal("NaCl")


CUT = "data_x\n_cell_length_a 5\n_cell_length_b 5\n_cell_length_c 5\nloop_\n_atom_site_label\n_atom_site_fract_x\nCs 0"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("   \n", "is empty"),
        ("data_x\n", "not a complete CIF"),
        (CUT, "not a complete CIF"),
        ("\x00\x01\x02 nonsense", "not a complete CIF"),
    ],
)
def test_damaged_cif_files_are_refused_by_name(tmp_path, text, said):
    path = tmp_path / "bad.cif"
    path.write_text(text)
    with pytest.raises(InputError, match=said) as caught:
        read_cif(path)
    assert "bad.cif" in caught.value.message


def test_a_missing_cif_is_refused(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read_cif(tmp_path / "none.cif")


def test_a_disordered_cif_is_refused(tmp_path):
    path = tmp_path / "half.cif"
    Structure(Lattice.cubic(5), [{"Cs": 0.5}], [[0, 0, 0]]).to(filename=str(path), fmt="cif")
    with pytest.raises(InputError, match="partly occupied"):
        read_cif(path)
