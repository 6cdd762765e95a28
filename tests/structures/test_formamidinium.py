"""The ion: its geometry as in its source, and how it is found again."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure
from scipy.spatial.transform import Rotation

from corecrown.structures.formamidinium import (
    SYMBOLS,
    find_formamidinium,
    formamidinium,
    ion_coordinates,
    measure_axes,
    unwrap,
)

# FAPbI3, PBEsol (WMD-group/hybrid-perovskites): lengths in Å, angles in degrees
CN, CH, NH_OUTER, NH_INNER = 1.307, 1.098, 1.023, 1.025
NCN, HNH, CNH_OUTER, CNH_INNER = 125.9, 118.2, 117.5, 124.3


def angle(a, b, c):
    u, v = a - b, c - b
    return np.rad2deg(np.arccos(u @ v / np.linalg.norm(u) / np.linalg.norm(v)))


def test_geometry_is_that_of_its_source():
    c, n1, n2, h, outer, inner, *_ = ion_coordinates()
    assert np.linalg.norm(n1 - c) == pytest.approx(CN, abs=1e-6)
    assert np.linalg.norm(h - c) == pytest.approx(CH, abs=1e-6)
    assert np.linalg.norm(outer - n1) == pytest.approx(NH_OUTER, abs=1e-6)
    assert np.linalg.norm(inner - n1) == pytest.approx(NH_INNER, abs=1e-6)
    assert angle(n1, c, n2) == pytest.approx(NCN, abs=1e-6)
    assert angle(c, n1, outer) == pytest.approx(CNH_OUTER, abs=1e-6)
    assert angle(c, n1, inner) == pytest.approx(CNH_INNER, abs=1e-6)
    assert angle(outer, n1, inner) == pytest.approx(HNH, abs=1e-6)  # the three about N make 360


def test_axes_and_charge():
    axes = measure_axes(ion_coordinates())
    assert np.abs(axes.nn) == pytest.approx([1, 0, 0], abs=1e-12)
    assert axes.ch == pytest.approx([0, 1, 0], abs=1e-12)
    assert np.abs(axes.normal) == pytest.approx([0, 0, 1], abs=1e-12)
    ion = formamidinium()
    assert ion.charge == 1
    assert ion.composition.formula == "H5 C1 N2"
    assert ion_coordinates().mean(axis=0) == pytest.approx([0, 0, 0], abs=1e-12)


@given(
    turn=st.tuples(*[st.floats(-np.pi, np.pi)] * 3),
    centre=st.tuples(*[st.floats(0, 1)] * 3),
    order=st.permutations(range(len(SYMBOLS))),
)
def test_it_is_found_however_it_lies_and_whatever_the_order(turn, centre, order):
    lattice = Lattice.orthorhombic(8, 9, 12)
    atoms = ion_coordinates() @ Rotation.from_rotvec(turn).as_matrix().T + lattice.get_cartesian_coords(centre)
    fractional = lattice.get_fractional_coords(atoms) % 1
    structure = Structure(lattice, [SYMBOLS[i] for i in order], fractional[list(order)])
    (ion,) = find_formamidinium(structure)
    assert [structure[i].specie.symbol for i in ion] == list(SYMBOLS)
    found = unwrap(structure, ion)
    lengths = np.linalg.norm(found[:, None] - found[None], axis=2)
    expected = np.linalg.norm(ion_coordinates()[:, None] - ion_coordinates()[None], axis=2)
    assert np.sort(lengths.ravel()) == pytest.approx(np.sort(expected.ravel()), abs=1e-6)


def test_another_molecule_is_not_taken_for_it():
    methylammonium = Structure(
        Lattice.cubic(8),
        ["C", "N", "H"],
        [[0.4, 0.5, 0.5], [0.585, 0.5, 0.5], [0.3, 0.5, 0.5]],
    )
    assert find_formamidinium(methylammonium) == []
    assert find_formamidinium(Structure(Lattice.cubic(4), ["Si"], [[0, 0, 0]])) == []
