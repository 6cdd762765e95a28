"""What becomes of bonds between two geometries: each counted once, followed across the faces of the cell."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from corecrown.errors import InputError
from corecrown.postprocess.excitation_geometry import bond_changes, largest_displacement
from corecrown.structures import build


def cubic(a=5.9):
    """Cubic CsPbBr3: three Pb-Br bonds a formula along the axes, each twice."""
    places = [[0.5, 0.5, 0.5], [0, 0, 0], [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5]]
    return Structure(Lattice.cubic(a), ["Cs", "Pb", "Br", "Br", "Br"], places)


def test_every_bond_is_counted_once():
    (pair,) = bond_changes(cubic(), cubic())
    found = bond_changes(cubic(), cubic())[pair]
    assert pair == "Pb-Br"
    assert found == {"before": 2.95, "after": 2.95, "longest_gain": 0, "longest_loss": 0, "bonds": 6}


def test_a_bond_that_grows_lets_its_neighbour_shrink():
    after = cubic()
    after.translate_sites([2], [0.1, 0, 0], frac_coords=False)
    found = bond_changes(cubic(), after)["Pb-Br"]
    assert (found["longest_gain"], found["longest_loss"]) == pytest.approx((0.1, 0.1))
    assert found["after"] == pytest.approx(found["before"])
    assert largest_displacement(cubic(), after) == pytest.approx(0.1)


def test_bonds_of_formamidinium_are_named_and_counted():
    cell = build(100, "b")
    found = bond_changes(cell, cell)
    # four FA: two C-N, one C-H and four N-H each; four Pb with six Br each
    assert {pair: change["bonds"] for pair, change in found.items()} == {"C-N": 8, "C-H": 4, "N-H": 16, "Pb-Br": 24}


@hypothesis_settings(deadline=None, max_examples=20)
@given(shift=st.tuples(*[st.floats(-2, 2, width=32)] * 3), seed=st.integers(0, 99))
def test_moving_everything_changes_no_bond(shift, seed):
    """However the atoms are wrapped into the cell."""
    before = cubic()
    before.perturb(0.1, seed=seed)
    after = before.copy()
    after.translate_sites(range(len(after)), shift, to_unit_cell=True)
    for change in bond_changes(before, after).values():
        assert change["longest_gain"] < 1e-4
        assert change["longest_loss"] < 1e-4
    assert largest_displacement(before, after) < np.sqrt(3) * 5.9 / 2 + 1e-6


def test_other_atoms_are_refused():
    with pytest.raises(InputError, match="different atoms"):
        bond_changes(cubic(), build(0))
