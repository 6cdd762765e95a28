"""Which bands share an edge, and how bands are followed by their projections."""

import numpy as np
import pytest

from corecrown.errors import InputError
from corecrown.postprocess.mass_edge import EdgeNature, edge_group, edge_nature, follow_bands
from corecrown.postprocess.masses import Carrier

LEVELS = [-2.0, -0.0003, 0.0, 1.5, 1.5002, 1.56]


def test_group_of_an_edge_and_the_next_band():
    hole = edge_group(LEVELS, 2, Carrier.HOLE)
    assert hole.bands == (2, 1)
    assert hole.nearest_band_gap_ev == pytest.approx(1.5)
    electron = edge_group(LEVELS, 3, Carrier.ELECTRON)
    assert electron.bands == (3, 4)
    assert electron.nearest_band_gap_ev == pytest.approx(0.0598)


def test_a_lone_band_has_no_next_one():
    assert edge_group([0.0], 0, Carrier.HOLE).nearest_band_gap_ev is None


@pytest.mark.parametrize("band", [-1, 6])
def test_a_band_that_is_not_there(band):
    with pytest.raises(InputError, match="no band"):
        edge_group(LEVELS, band, Carrier.ELECTRON)


def test_nature_of_an_edge():
    rise = np.linspace(0, 0.02, 5)
    assert edge_nature(np.column_stack([rise]), (0,)) is EdgeNature.SINGLE
    assert edge_nature(np.column_stack([rise, rise + 1e-5]), (0, 1)) is EdgeNature.TOGETHER
    assert edge_nature(np.column_stack([rise, 2 * rise]), (0, 1)) is EdgeNature.SPLIT


def test_bands_are_followed_through_a_crossing():
    orbitals = np.eye(2) + 0.1
    projections = np.array([orbitals, orbitals, orbitals[::-1], orbitals[::-1]])
    assert follow_bands(projections).tolist() == [[0, 1], [0, 1], [1, 0], [1, 0]]


def test_overlaps_may_be_complex():
    states = np.array([[1, 1j], [1j, 1]]) / np.sqrt(2)
    assert follow_bands(np.array([states, states[::-1] * 1j])).tolist() == [[0, 1], [1, 0]]


def test_states_that_look_alike_are_not_followed():
    alike = np.array([[1.0, 0.05], [1.0, 0.0]])
    assert follow_bands(np.array([alike, alike])).tolist() == [[0, 1], [-1, -1]]


def test_a_band_that_is_lost_stays_lost():
    a, b, other = [1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]
    order = follow_bands(np.array([[a, b], [a, other], [a, b]]))
    assert order.tolist() == [[0, 1], [0, -1], [0, -1]]


@pytest.mark.parametrize("projections", [np.zeros((2, 2)), np.zeros((2, 2, 0)), np.zeros((2, 2, 3))])
def test_projections_of_another_shape_or_of_nothing(projections):
    with pytest.raises(InputError):
        follow_bands(projections)
