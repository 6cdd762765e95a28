"""Surfaces of equal density: known spheres, closed surfaces, skewed cells, and levels that enclose what they say."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from corecrown.errors import InputError
from corecrown.postprocess.excitation_cubes import GridDensity
from corecrown.postprocess.isosurfaces import enclosed_part, isosurface, level_enclosing, on_coarser_grid

SHAPE = (40, 36, 44)
WIDTH = 0.8
RADIUS = 1.1


def blob(centre, lattice=None, shape=SHAPE):
    """A Gaussian about a point (fractional), with its nearest images: spheres of known radius."""
    lattice = lattice or Lattice.from_parameters(7.0, 6.4, 7.6, 84, 98, 93)
    structure = Structure(lattice, ["Pb"], [centre])
    points = np.stack(np.meshgrid(*[np.arange(n) / n for n in shape], indexing="ij"), axis=-1)
    apart = points - np.array(centre)
    apart -= np.round(apart)
    distance2 = ((apart @ lattice.matrix) ** 2).sum(axis=-1)
    return GridDensity(structure, np.exp(-distance2 / (2 * WIDTH**2)))


def level_at(radius):
    return float(np.exp(-(radius**2) / (2 * WIDTH**2)))


def edges_of(surface):
    """How often each edge is used, degenerate triangles left out, vertices at one place counted as one."""
    _, same = np.unique(np.round(surface.vertices, 6), axis=0, return_inverse=True)
    faces = same.reshape(-1)[surface.faces]
    faces = faces[[len(set(face)) == 3 for face in faces]]
    return Counter(frozenset(pair) for face in faces for pair in (face[[0, 1]], face[[1, 2]], face[[2, 0]]))


def test_a_sphere_in_a_skewed_cell_is_a_sphere():
    surface = isosurface(blob([0.5, 0.5, 0.5]), level_at(RADIUS))
    centre = surface.vertices.mean(axis=0)
    assert np.linalg.norm(surface.vertices - centre, axis=1) == pytest.approx(RADIUS, abs=0.02)
    assert surface.volume == pytest.approx(4 / 3 * np.pi * RADIUS**3, rel=0.025)
    assert surface.area == pytest.approx(4 * np.pi * RADIUS**2, rel=0.02)


@hypothesis_settings(max_examples=15, deadline=None)
@given(centre=st.tuples(*[st.floats(0, 1, exclude_max=True, width=32)] * 3))
def test_where_the_cell_cuts_a_surface_it_is_closed(centre):
    """Wherever the sphere is, its parts in the cell hold its volume, and no edge is open."""
    surface = isosurface(blob(list(centre)), level_at(RADIUS))
    assert surface.volume == pytest.approx(4 / 3 * np.pi * RADIUS**3, rel=0.025)
    fractional = np.linalg.solve(Lattice.from_parameters(7.0, 6.4, 7.6, 84, 98, 93).matrix.T, surface.vertices.T)
    assert fractional.min() > -1e-9
    assert fractional.max() < 1 + 1e-9


def test_no_edge_of_a_surface_is_open():
    surface = isosurface(blob([0.0, 0.02, 0.97]), level_at(RADIUS))
    assert set(edges_of(surface).values()) <= {2, 4}


def test_a_left_handed_cell_has_normals_that_point_outwards():
    lattice = Lattice([[0, 6.0, 0], [6.0, 0, 0], [0, 0, 6.0]])
    assert np.linalg.det(lattice.matrix) < 0
    assert isosurface(blob([0.5, 0.5, 0.5], lattice), level_at(RADIUS)).volume > 0


def test_what_is_lost_has_a_surface_below_zero():
    density = blob([0.5, 0.5, 0.5])
    lost = isosurface(GridDensity(density.structure, -density.values), -level_at(RADIUS))
    assert lost.level < 0
    assert lost.volume == pytest.approx(4 / 3 * np.pi * RADIUS**3, rel=0.025)


@given(part=st.floats(0.02, 0.98), seed=st.integers(0, 99))
def test_a_level_encloses_the_part_it_is_asked_for(part, seed):
    values = np.random.default_rng(seed).normal(size=(9, 10, 11))
    assert enclosed_part(values, level_enclosing(values, part)) == pytest.approx(part, abs=0.01)


def test_the_level_of_a_gaussian_is_that_of_its_integral():
    """A Gaussian holds erf(x) - 2x exp(-x²)/√π of itself within x √2 widths: a half within 1.5382 widths."""
    assert level_enclosing(blob([0.5, 0.5, 0.5]).values, 0.5) == pytest.approx(np.exp(-(1.5382**2) / 2), rel=0.03)


def test_a_coarser_grid_holds_the_same_charge_and_surface():
    fine = blob([0.3, 0.6, 0.1], shape=(60, 60, 60))
    coarse = on_coarser_grid(fine, 0.2)
    assert coarse.values.shape == (35, 32, 38)
    assert coarse.total == pytest.approx(fine.total, rel=1e-6)
    level = level_at(RADIUS)
    assert isosurface(coarse, level).volume == pytest.approx(isosurface(fine, level).volume, rel=0.02)
    assert on_coarser_grid(coarse, 0.1) == coarse


@pytest.mark.parametrize("level", [0.0, float("nan"), 2.0, -0.1])
def test_a_level_without_a_surface_is_refused(level):
    with pytest.raises(InputError, match=r"level|beyond"):
        isosurface(blob([0.5, 0.5, 0.5]), level)


@pytest.mark.parametrize("part", [0, 1, -0.1, float("nan")])
def test_a_part_that_is_none_is_refused(part):
    with pytest.raises(InputError, match="between 0 and 1"):
        level_enclosing([1.0, 2.0], part)


def test_nothing_has_no_level():
    with pytest.raises(InputError, match="nowhere above zero"):
        level_enclosing(np.zeros((3, 3, 3)))
