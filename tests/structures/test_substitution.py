"""Substitution: laws that hold for any fraction, alignment, pattern of heads and supercell, and the study's cells."""

import warnings

import numpy as np
import pytest
from cells_for_tests import ALIGNMENTS, check_alignment, check_cell, check_groups, site_choices
from hypothesis import example, given, reject, settings
from hypothesis import strategies as st
from pymatgen.core import Structure

from corecrown.errors import InputError
from corecrown.structures import build, describe, substitute
from corecrown.structures.contacts import check_contacts, shortest_contact
from corecrown.structures.crystals import host, pbnm_to_pnma
from corecrown.structures.formamidinium import find_formamidinium, measure_axes, unwrap
from corecrown.structures.symmetry import distinct_site_choices, find_operations

EXAMPLES = settings(max_examples=12)


@EXAMPLES
@given(
    choice=site_choices(),
    alignment=ALIGNMENTS,
    heads=st.sampled_from(["symmetric", "parallel", "random"]),
    lattice=st.sampled_from(["cspbbr3", "fapbbr3"]),
    seed=st.integers(0, 1000),
)
@example(  # ions that each stand as their cage likes best overlap here, in any lattice
    choice=((1, 1, 1), [0, 1, 2, 3]), alignment=(0.5, 0.5, 0.0), heads="parallel", lattice="cspbbr3", seed=0
)
def test_every_cell_keeps_the_laws(choice, alignment, heads, lattice, seed):
    supercell, sites = choice
    cells = int(np.prod(supercell))
    try:
        cell = build(
            100 * len(sites) / (4 * cells), alignment, lattice, supercell, sites, heads=heads, seed=seed, strain="auto"
        )
    except InputError as error:  # heads drawn at random may meet, however large the cell
        if heads != "random" or "overlap" not in str(error):
            raise
        reject()
    check_cell(cell, len(sites), 4 * cells - len(sites), 4 * cells)
    check_groups(cell)
    direction = np.eye(3)["abc".index(alignment)] if isinstance(alignment, str) else alignment
    check_alignment(cell, direction)
    shifts = [np.linalg.norm(ion["shift_angstrom"]) for ion in cell.properties["substitution"]["ions"]]
    assert max(shifts) <= 0.8 + 1e-3


@pytest.mark.parametrize("alignment", ["a", "b", "c"])
def test_one_ion_keeps_the_mirror_plane(alignment):
    cell = build(25, alignment)
    assert cell.get_space_group_info(symprec=1e-3)[0] == "Pm"
    check_cell(cell, 1, 3, 4)


@pytest.mark.parametrize(("alignment", "lattice"), [("a", "cspbbr3"), ("b", "cspbbr3"), ("a", "fapbbr3")])
def test_full_substitution_keeps_the_operations_of_pbnm_and_so_has_no_dipole(alignment, lattice):
    cell = build(100, alignment, lattice)
    operations = find_operations(cell)
    assert len(operations) == 8
    assert any(operation.is_inversion for operation in operations)
    heads = [measure_axes(unwrap(cell, ion)).ch for ion in find_formamidinium(cell)]
    assert np.sum(heads, axis=0) == pytest.approx([0, 0, 0], abs=1e-6)


def test_a_rolled_ion_still_makes_its_mates_by_operations_with_an_inversion():
    cell = build(100, "b", "fapbbr3", roll_deg=150, strain="auto")
    operations = find_operations(cell)
    assert any(operation.is_inversion for operation in operations)
    assert cell.properties["substitution"]["ions"][0]["roll_deg"] == pytest.approx(150, abs=0.01)
    check_alignment(cell, [0, 1, 0])


def test_any_direction_keeps_an_inversion_when_all_sites_carry_fa():
    cell = build(100, (1.0, 2.0, 0.5), "fapbbr3", strain="auto")
    assert any(operation.is_inversion for operation in find_operations(cell))
    check_alignment(cell, [1, 2, 0.5])


def test_heads_parallel_or_random_by_seed():
    parallel = build(100, "b", "fapbbr3", heads="parallel", strain="auto")
    heads = [measure_axes(unwrap(parallel, ion)).ch for ion in find_formamidinium(parallel)]
    assert min(float(a @ b) for a in heads for b in heads) > 0.2
    drawn = [build(100, "c", "fapbbr3", heads="random", strain="auto", seed=seed) for seed in (1, 1, 2, 3, 4)]
    assert drawn[0] == drawn[1]
    assert any(cell != drawn[0] for cell in drawn[2:])  # four ions, either way each


def test_building_is_deterministic_and_reported():
    first, again = build(25, "a"), build(25, "a")
    assert np.array_equal(first.frac_coords, again.frac_coords)
    report = first.properties["substitution"]
    assert report["strain"] == 0
    assert report["shortest_h_br_angstrom"] == pytest.approx(shortest_contact(first, "H", "Br").distance, abs=1e-3)
    said = " ".join(describe(first))
    assert "roll" in said
    assert "shifted" in said
    assert describe(host()) == []


def test_the_distinct_choices_of_the_20_atom_cell():
    # four 4c sites of Pbnm: the two-fold choices are three classes, by which operation joins the two
    cell = host()
    assert distinct_site_choices(cell, 1) == [(0,)]
    assert distinct_site_choices(cell, 2) == [(0, 1), (0, 2), (0, 3)]
    assert distinct_site_choices(cell, 3) == [(0, 1, 2)]
    assert distinct_site_choices(cell, 4) == [(0, 1, 2, 3)]


def test_groups_survive_sorting_supercells_and_copies():
    cell = build(50, "b", sites=[0, 2])
    check_groups(cell.get_sorted_structure())
    check_groups(cell.copy())
    check_groups(build(50, "b", supercell=(2, 1, 1), sites=[0, 1, 4, 5]))
    check_groups(Structure.from_dict(cell.as_dict()))


def test_a_host_that_already_carries_fa_keeps_its_ions():
    cell = substitute(build(25, "b"), [0], "b", strain="auto")
    assert len(find_formamidinium(cell)) == 2
    check_groups(cell)


def test_a_pnma_host_is_converted_with_a_warning():
    with pytest.warns(UserWarning, match="converted to Pbnm"):
        cell = substitute(pbnm_to_pnma(host()), [0], "b")
    assert cell.lattice.abc == pytest.approx(host().lattice.abc)
    assert "Pnma" in cell.properties["notice"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        substitute(host(), [0], "b")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"fa": 30}, "does not divide 4 A sites.*25, 50"),
        ({"fa": -1}, "not a percentage"),
        ({"fa": float("nan")}, "not a percentage"),
        ({"fa": 25, "alignment": "d"}, "one of a, b, c"),
        ({"fa": 25, "alignment": (0, 0, 0)}, "not a direction"),
        ({"fa": 25, "lattice": "mapbi3"}, "lattice"),
        ({"fa": 25, "supercell": (0, 1, 1)}, "supercell"),
        ({"fa": 25, "supercell": (1, 1)}, "supercell"),
        ({"fa": 25, "sites": [4]}, "numbered 0 to 3"),
        ({"fa": 50, "sites": [1, 1]}, "not distinct"),
        ({"fa": 50, "sites": [1]}, "are not 50 %"),
        ({"fa": 25, "heads": "up"}, "symmetric, parallel, random"),
        ({"fa": 25, "strain": 0.5}, "strain"),
        ({"fa": 25, "strain": "some"}, "strain"),
        ({"fa": 25, "max_shift": 2}, "max_shift"),
        ({"fa": 25, "roll_deg": float("inf")}, "roll_deg"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_built(arguments, said):
    with pytest.raises(InputError, match=said):
        build(**{"alignment": "b", **arguments})


def test_overlaps_are_refused_with_both_atoms_and_their_distance():
    with pytest.raises(InputError, match=r"Br-H \(atoms \d+ and \d+\) \d\.\d+ Å") as caught:
        build(100, "b", heads="parallel")
    assert "strain" in caught.value.hint
    crowded = Structure(host().lattice, ["Cs", "Br"], [[0, 0, 0], [0.1, 0, 0]])
    with pytest.raises(InputError, match=r"Br-Cs \(atoms 0 and 1\) 0\.821 Å"):
        check_contacts(crowded)


def test_a_strain_that_is_asked_for_is_the_one_reported():
    cell = build(100, "b", strain=0.02)
    assert cell.lattice.a == pytest.approx(1.02 * host().lattice.a)
    assert cell.properties["substitution"]["strain"] == 0.02
    assert any("2.00 %" in line for line in describe(cell))
