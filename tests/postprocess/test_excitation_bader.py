"""Basins of a density: closed cases that any Bader partition meets, and a published program where it is installed."""

import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from corecrown.postprocess.excitation_partition import BaderBasins

SHAPE = (48, 40, 48)
ELECTRONS = (3.0, 5.0)


def pair(side=9.0):
    """Two atoms as far from each other and from their images as a skewed cell lets them."""
    lattice = Lattice.from_parameters(side, 0.9 * side, 1.1 * side, 86, 95, 91)
    return Structure(lattice, ["Pb", "Br"], [[0.25, 0.25, 0.25], [0.75, 0.75, 0.75]])


def promolecule(structure, widths=(0.55, 0.5), shape=SHAPE):
    """Sum of spherical Gaussian atoms that hold their electrons on the grid exactly."""
    axes = [np.arange(n) / n for n in shape]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    total = np.zeros(shape)
    for site, width, electrons in zip(structure, widths, ELECTRONS, strict=True):
        apart = points - site.frac_coords
        apart -= np.round(apart)
        squares = ((apart @ structure.lattice.matrix) ** 2).sum(axis=-1)
        atom = np.exp(-squares / (2 * width**2))
        total += electrons * atom / (atom.sum() * structure.volume / total.size)
    return total


def charges(structure, density):
    return BaderBasins(structure, density).integrate(density[None])[:, 0]


def test_atoms_that_do_not_meet_hold_their_own_electrons():
    structure = pair()
    density = promolecule(structure)
    basins = BaderBasins(structure, density)
    assert basins.n_maxima == 2
    assert basins.integrate(density[None])[:, 0] == pytest.approx(ELECTRONS, abs=1e-3)


@given(shift=st.tuples(*(st.integers(0, n - 1) for n in SHAPE)))
@hypothesis_settings(max_examples=5)
def test_charges_do_not_know_where_the_cell_begins(shift):
    """Atoms and density moved together by whole points of the grid keep their charges, overlapping or not."""
    structure = pair(side=6.0)
    density = promolecule(structure, widths=(0.9, 0.8))
    moved = structure.copy()
    moved.translate_sites([0, 1], [n / points for n, points in zip(shift, SHAPE, strict=True)])
    rolled = np.roll(density, shift, axis=(0, 1, 2))
    assert charges(moved, rolled) == pytest.approx(charges(structure, density), abs=1e-9)


def test_charges_do_not_know_the_order_of_the_atoms():
    structure = pair(side=6.0)
    density = promolecule(structure, widths=(0.9, 0.8))
    turned = Structure.from_sites(list(structure)[::-1])
    assert charges(turned, density)[::-1] == pytest.approx(charges(structure, density), abs=1e-12)


def test_a_mirror_between_two_equal_atoms_halves_the_charge():
    """The dividing surface is the mirror plane, whose points may fall to either side."""
    lattice = Lattice.orthorhombic(8, 5, 5)
    structure = Structure(lattice, ["H", "H"], [[0.375, 0.5, 0.5], [0.625, 0.5, 0.5]])
    shape = (64, 40, 40)
    axes = [np.arange(n) / n for n in shape]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    density = np.zeros(shape)
    for site in structure:
        apart = points - site.frac_coords
        apart -= np.round(apart)
        density += np.exp(-((apart @ lattice.matrix) ** 2).sum(axis=-1) / (2 * 0.6**2))
    found = charges(structure, density)
    plane = density[[0, 32]].sum() * structure.volume / density.size
    assert abs(found[0] - found[1]) <= plane * (1 + 1e-9)
    assert found.sum() == pytest.approx(density.sum() * structure.volume / density.size)


@pytest.mark.parametrize("side", [6.0, 9.0])
def test_a_published_program_gives_the_same_charges(side):
    """Baderkit, by the same climb on the grid; see docs/excitation.md for how to put it beside this package."""
    baderkit = pytest.importorskip("baderkit", reason="baderkit cannot be installed beside today's pymatgen")
    logging.disable(logging.INFO)
    try:
        structure = pair(side)
        density = promolecule(structure, widths=(0.9, 0.8))
        grid = baderkit.Grid(structure=structure, data={"total": density * structure.volume})
        theirs = baderkit.Bader(charge_grid=grid, reference_grid=grid, method="ongrid", vacuum_tol=False)
        assert np.asarray(theirs.atom_charges) == pytest.approx(charges(structure, density), abs=1e-3)
    finally:
        logging.disable(logging.NOTSET)
