"""Ensembles: as many as asked for, no two alike, the same for the same seed."""

from itertools import combinations

import numpy as np
import pytest
from cells_for_tests import check_alignment, check_cell, check_groups

from corecrown.errors import InputError
from corecrown.structures.builder import repeat
from corecrown.structures.crystals import host
from corecrown.structures.ensembles import ensemble
from corecrown.structures.formamidinium import find_formamidinium, unwrap
from corecrown.structures.symmetry import find_operations


def ion_atoms(cell):
    """Return the ions of a cell: fractional coordinates, carbon, hydrogens of carbon, then N and the other H."""
    return np.array([cell.lattice.get_fractional_coords(unwrap(cell, ion)) for ion in find_formamidinium(cell)])


def alike(first, second, operation):
    """Say whether an operation of the host makes one cell's ions into the other's."""
    left = ion_atoms(first).reshape(-1, 3)
    right = ion_atoms(second).reshape(-1, 3)
    offsets = operation.map_points(left)[:, None] - right[None]
    offsets -= np.round(offsets)
    return bool((np.abs(offsets).max(axis=2).min(axis=1) < 1e-3).all())


@pytest.mark.parametrize(("fa", "lattice"), [(25, "cspbbr3"), (50, "cspbbr3"), (100, "fapbbr3")])
def test_members_keep_the_laws_and_no_two_are_alike(fa, lattice):
    cell = host(lattice)
    members = ensemble(cell, fa, 6, seed=3)
    assert len(members) == 6
    for member in members:
        check_cell(member, fa // 25, 4 - fa // 25, 4)
        check_groups(member)
        assert member.lattice == cell.lattice
    operations = find_operations(cell)
    assert len(operations) == 8
    for first, second in combinations(members, 2):
        assert not any(alike(first, second, operation) for operation in operations)


def test_the_check_for_likeness_finds_what_an_operation_makes():
    cell = host()
    (member,) = ensemble(cell, 25, 1, seed=0)
    for operation in find_operations(cell):
        image = member.copy()
        fractional = operation.map_points(member.frac_coords)
        for i in range(len(image)):
            image.replace(i, member[i].species, fractional[i])
        assert alike(member, image, operation)


def test_few_choices_are_found_once_each():
    # one site, one direction, pool of a few rolls: asking for more than there are says how many there are
    with pytest.raises(InputError, match=r"only \d+ of 10000 distinct configurations"):
        ensemble(host(), 25, 10_000, seed=0, alignment="a", sites=[0], max_shift=0.5)


def test_same_seed_same_members():
    first, again, other = (ensemble(host(), 25, 3, seed=seed) for seed in (5, 5, 6))
    assert first == again
    assert first != other


def test_alignment_and_sites_are_kept():
    for member in ensemble(host("fapbbr3"), 50, 4, seed=1, alignment="b", sites=[1, 2]):
        check_alignment(member, [0, 1, 0])
        kept = {tuple(np.round(site.frac_coords, 4)) for site in member if site.specie.symbol == "Cs"}
        assert kept == {tuple(np.round(host("fapbbr3")[i].frac_coords, 4)) for i in (0, 3)}


def test_a_supercell_gives_its_own_fractions():
    (member,) = ensemble(repeat(host(), (2, 1, 1)), 12.5, 1, seed=0)
    check_cell(member, 1, 7, 8)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"fa": 0}, "no FA to turn"),
        ({"fa": 30}, "does not divide"),
        ({"size": 0}, "size"),
        ({"seed": -1}, "seed"),
        ({"sites": [0, 1]}, "not 1 distinct"),
        ({"sites": [7]}, "numbered 0 to 3"),
        ({"alignment": "q"}, "not an axis"),
    ],
)
def test_impossible_ensembles_are_refused(arguments, said):
    with pytest.raises(InputError, match=said):
        ensemble(host(), **{"fa": 25, "size": 2, **arguments})
