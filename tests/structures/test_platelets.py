"""Slabs and core-crown platelets: neutral, of the size asked for, cut where asked."""

import numpy as np
import pytest
from cells_for_tests import check_groups
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from corecrown.errors import InputError
from corecrown.postprocess.distortion import measure_distortion
from corecrown.structures import platelet, slab
from corecrown.structures.contacts import check_contacts
from corecrown.structures.crystals import host, is_pbnm
from corecrown.structures.platelets import total_charge


@pytest.mark.parametrize("layers", [1, 2, 3, 8])
def test_a_slab_of_ax_termination_is_a_n_plus_1_b_n_x_3n_plus_1(layers):
    cut = slab(layers)
    counts = cut.composition.get_el_amt_dict()
    assert counts == {"Cs": 2 * (layers + 1), "Pb": 2 * layers, "Br": 2 * (3 * layers + 1)}
    assert total_charge(cut) == 0
    a, b, c = host().lattice.abc
    assert cut.lattice.abc[:2] == pytest.approx((a, b))
    assert cut.properties["slab"]["thickness_angstrom"] == pytest.approx(layers * c / 2, abs=1e-3)
    assert cut.lattice.c == pytest.approx(layers * c / 2 + 15)
    octahedra = measure_distortion(cut)
    assert octahedra.bond_length_variance is not None  # every Pb has its six Br
    assert is_pbnm(cut)


@pytest.mark.parametrize("layers", [2, 3])
def test_a_slab_of_bx2_termination_is_neutral_too(layers):
    cut = slab(layers, "BX2", fa=100, alignment="b")
    counts = cut.composition.get_el_amt_dict()
    assert counts["C"] == 2 * (layers - 1)
    assert counts["Pb"] == 2 * layers
    assert counts["Br"] == 2 * (2 * layers + layers - 1)
    assert total_charge(cut) == 0
    assert any("six Br" in note for note in measure_distortion(cut).notes), "surface Pb lack a Br"


@settings(max_examples=8)
@given(
    layers=st.integers(1, 4),
    core=st.integers(1, 4),
    crown=st.integers(0, 2),
    lattice=st.sampled_from(["cspbbr3", "fapbbr3"]),
    alignment=st.sampled_from(["a", "b"]),
)
def test_platelets_are_neutral_and_of_the_size_asked_for(layers, core, crown, lattice, alignment):
    built = platelet(layers, core, crown, lattice=lattice, alignment=alignment)
    across = core + 2 * crown
    counts = built.composition.get_el_amt_dict()
    report = built.properties["platelet"]
    assert counts["Pb"] == across**2 * layers
    assert counts["Br"] == across**2 * (layers + 1) + 2 * across * (across + 1) * layers
    a_ions = counts.get("Cs", 0) + counts.get("C", 0)
    assert a_ions + report["a_site_vacancies"] == (across + 1) ** 2 * (layers + 1)
    assert total_charge(built) == report["charge"] == 0
    if crown == 0:
        assert counts.get("C", 0) == 0
    else:
        assert counts["Cs"] == (core + 1) ** 2 * (layers + 1)  # vacancies are in the crown
    a, b, c = host(lattice).lattice.abc
    assert report["edge_nm"] == pytest.approx(across * np.hypot(a, b) / 20, abs=1e-3)
    assert report["thickness_nm"] == pytest.approx(layers * c / 20, abs=1e-3)
    check_contacts(built)
    check_groups(built)


def test_a_platelet_lies_along_its_box_with_vacuum_all_around():
    built = platelet(3, 2, 1, vacuum=12.0)
    span = np.ptp(built.cart_coords, axis=0)
    assert np.array(built.lattice.abc) - span == pytest.approx([12, 12, 12], abs=1e-6)
    assert np.allclose(built.lattice.angles, 90)
    crown = [site.coords for site in built if site.specie.symbol == "C"]
    core = [site.coords for site in built if site.specie.symbol == "Cs"]
    centre = np.array(built.lattice.abc) / 2
    furthest = max(np.abs((place - centre)[:2]).max() for place in core)
    assert furthest < np.mean([np.abs((place - centre)[:2]).max() for place in crown])


def test_three_monolayers_are_as_thick_as_measured():
    # AFM of the source study: 1.81 ± 0.06 nm for the core platelets
    assert platelet(3, 2).properties["platelet"]["thickness_nm"] == pytest.approx(1.81, abs=0.06)


def test_mismatch_is_that_of_the_two_lattices():
    a_cs, a_fa = host("cspbbr3").lattice.a, host("fapbbr3").lattice.a
    found = platelet(1, 1, 1).properties["platelet"]["mismatch_percent"]["a"]
    assert found == pytest.approx(100 * (a_fa / a_cs - 1), abs=1e-3)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: slab(0), "monolayers"),
        (lambda: slab(1.5), "monolayers"),
        (lambda: slab(1, "BX2"), "no A site"),
        (lambda: slab(2, "AB"), "AX, BX2"),
        (lambda: slab(2, vacuum=-1), "vacuum"),
        (lambda: slab(2, lateral=(1, 1, 1)), "lateral"),
        (lambda: platelet(3, 0), "core"),
        (lambda: platelet(3, 2, -1), "crown"),
        (lambda: platelet(3, 900, 3), "too large"),
        (lambda: platelet(3, 2, lattice="x"), "lattice"),
        (lambda: total_charge(Structure(Lattice.cubic(4), ["Si"], [[0, 0, 0]])), "formal charge"),
    ],
)
def test_impossible_platelets_are_refused(call, said):
    with pytest.raises(InputError, match=said):
        call()
