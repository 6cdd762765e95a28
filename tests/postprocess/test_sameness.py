"""Cells that ended as one structure: found whatever the axes, the origin and the order; others are not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Structure

from corecrown.postprocess.cells import assemble_cell
from corecrown.postprocess.comparison import compare_study
from corecrown.postprocess.experiment import load_experiment
from corecrown.postprocess.results import StudyResult
from corecrown.postprocess.sameness import compare_structures, find_same_cells, find_same_structures
from corecrown.structures import build
from corecrown.structures.crystals import host
from corecrown.structures.setting import permute_axes
from corecrown.structures.symmetry import find_operations

CELL = build(25, "b")
OPERATIONS = find_operations(host())
ORDERS = [(0, 1, 2), (1, 2, 0), (2, 0, 1), (1, 0, 2)]


def cell(label, structure, made_from=()):
    return assemble_cell(
        label=label, fa_fraction=None, alignment=None, structure=structure, steps={}, made_from=made_from
    )


@settings(max_examples=25, deadline=None)
@given(
    operation=st.sampled_from(OPERATIONS),
    shift=st.tuples(*[st.floats(-1, 1)] * 3),
    order=st.permutations(range(len(CELL))),
    axes=st.sampled_from(ORDERS),
)
def test_one_structure_is_found_however_it_is_written(operation, shift, order, axes):
    fractional = operation.map_points(CELL.frac_coords)[list(order)] + shift
    other = Structure(CELL.lattice, [CELL[i].specie for i in order], fractional)
    assert compare_structures(CELL, permute_axes(other, axes)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("size", [0.02, 0.1])
def test_the_distance_is_that_of_the_atoms(size):
    random = np.random.default_rng(3)
    moves = random.normal(size=(len(CELL), 3))
    moves -= moves.mean(axis=0)
    moves *= size / np.sqrt((moves**2).sum(axis=1).mean())
    moved = Structure(CELL.lattice, CELL.species, CELL.cart_coords + moves, coords_are_cartesian=True)
    assert compare_structures(CELL, moved) == pytest.approx(size, abs=1e-6)


def test_other_structures_are_others():
    a, b, own = build(100, "a"), build(100, "b"), build(100, "a", "fapbbr3")
    assert find_same_structures({"fa025-b": CELL, "fa025-a": build(25, "a"), "fa000": build()}) == []
    assert compare_structures(a, b) is None
    assert compare_structures(a, own) is None  # lattices differ by 3 % before they are relaxed
    assert compare_structures(CELL, CELL * (2, 1, 1)) is None


def test_two_cells_that_relaxed_to_one_are_said_in_the_comparison():
    own = build(100, "a", "fapbbr3")
    relaxed = {"fa100-a": own.copy().perturb(0.01), "fapbbr3-a": own}
    cells = [cell(label, structure) for label, structure in relaxed.items()]
    (pair,) = find_same_cells(cells)
    assert (pair.first, pair.second) == ("fa100-a", "fapbbr3-a")
    assert 0 < pair.rms_angstrom < 0.02
    study = StudyResult(
        study="x", engine="espresso", protocol="fast", corecrown_version="0", cells=cells, same_structures=[pair]
    )
    flags = compare_study(study, load_experiment()).flags
    assert any("fa100-a and fapbbr3-a are one structure" in flag for flag in flags)


def test_cells_made_from_others_are_alike_on_purpose():
    first, strained = cell("fa000", build()), cell("fa000-strained", build(), made_from=("fa000", "fa025-b"))
    assert find_same_cells([first, strained]) == []
    assert len(find_same_cells([first, cell("again", build())])) == 1
