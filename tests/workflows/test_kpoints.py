"""Meshes and paths, against counts and lengths worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure
from pymatgen.electronic_structure.core import Spin

from corecrown.errors import InputError
from corecrown.workflows.bandstructure import line_band_structure
from corecrown.workflows.kpoints import band_path, count_irreducible, mesh_from_spacing

LENGTHS = st.floats(3, 30)


def orthorhombic(a=8.2, b=8.25, c=11.76):
    return Structure(Lattice.orthorhombic(a, b, c), ["Pb", "Br"], [[0, 0, 0], [0.1, 0.2, 0.3]])


@given(LENGTHS, LENGTHS, LENGTHS, st.floats(0.05, 1.0))
def test_mesh_is_the_coarsest_within_the_spacing(a, b, c, spacing):
    structure = orthorhombic(a, b, c)
    mesh = mesh_from_spacing(structure, spacing)
    for count, length in zip(mesh, structure.lattice.abc, strict=True):
        assert 2 * np.pi / length / count <= spacing * (1 + 1e-5)
        assert count == 1 or 2 * np.pi / length / (count - 1) > spacing * (1 - 1e-5)


def test_the_spacing_counts_two_pi():
    # |b| = 2π / 8.2 Å = 0.766 1/Å: two points at a spacing of 0.40, four at 0.20
    assert mesh_from_spacing(orthorhombic(), 0.40) == (2, 2, 2)
    assert mesh_from_spacing(orthorhombic(), 0.20) == (4, 4, 3)


def test_silicon_4x4x4_has_eight_irreducible_points():
    # the textbook count for a Γ-centred 4×4×4 mesh in Oh symmetry
    silicon = Structure(Lattice.from_parameters(3.85, 3.85, 3.85, 60, 60, 60), ["Si", "Si"], [[0, 0, 0], [0.25] * 3])
    assert count_irreducible(silicon, (4, 4, 4)) == 8


def test_path_visits_named_points_in_order_within_the_spacing():
    structure = orthorhombic()
    path = band_path(structure, [["Γ", "X", "S"], ["Γ", "Z"]], 0.05)
    assert [label for label in path.labels if label] == ["Γ", "X", "S", "Γ", "Z"]
    cartesian = structure.lattice.reciprocal_lattice.get_cartesian_coords(path.points)
    steps = np.linalg.norm(np.diff(cartesian, axis=0), axis=1)
    jump = path.labels.index("S")
    assert np.delete(steps, jump).max() <= 0.05 + 1e-9
    assert np.allclose(path.points[path.labels.index("S")], [0.5, 0.5, 0])


def test_unknown_point_is_refused_naming_the_known():
    with pytest.raises(InputError, match="Γ, X, Y, Z"):
        band_path(orthorhombic(), [["Γ", "L"]], 0.05)


def test_a_cell_without_named_points_is_refused():
    triclinic = Structure(Lattice.from_parameters(5, 6, 7, 80, 85, 95), ["Pb"], [[0, 0, 0]])
    with pytest.raises(InputError, match="no named points"):
        band_path(triclinic, [["Γ", "X"]], 0.05)


def test_corners_become_branches_and_jumps_stay_jumps():
    structure = orthorhombic()
    path = band_path(structure, [["Γ", "X", "S"], ["Γ", "Z"]], 0.05)
    bands = line_band_structure(structure, path.points, {Spin.up: np.zeros((2, len(path.points)))}, 0.0)
    assert [branch["name"] for branch in bands.branches] == ["Γ-X", "X-S", "Γ-Z"]
    assert len(bands.kpoints) == len(path.points) + 1  # X stands twice, S and Γ once each


def test_an_even_path_survives_when_corners_were_computed_twice():
    structure = orthorhombic()
    gamma_x = np.linspace([0, 0, 0], [0.5, 0, 0], 5)
    x_s = np.linspace([0.5, 0, 0], [0.5, 0.5, 0], 5)
    kpoints = np.vstack([gamma_x, x_s])
    bands = line_band_structure(structure, kpoints, {Spin.up: np.zeros((1, 10))}, 0.0)
    assert [branch["name"] for branch in bands.branches] == ["Γ-X", "X-S"]
