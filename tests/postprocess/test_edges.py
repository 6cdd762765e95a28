import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.core import Lattice
from pymatgen.electronic_structure.bandstructure import BandStructure
from pymatgen.electronic_structure.core import Spin

from corecrown.errors import InputError
from corecrown.postprocess.edges import find_edges, is_metal, same_kpoint, tighter_edges
from corecrown.postprocess.results import BandEdges

RECIPROCAL = Lattice.orthorhombic(8.2, 8.3, 11.8).reciprocal_lattice
LINE = [[0.0, 0.0, 0.0], [0.25, 0.0, 0.0], [0.5, 0.0, 0.0]]


def bands(up, down=None, kpoints=LINE, efermi=0.0):
    eigenvalues = {Spin.up: np.array(up, dtype=float)}
    if down is not None:
        eigenvalues[Spin.down] = np.array(down, dtype=float)
    return BandStructure(kpoints, eigenvalues, RECIPROCAL, efermi)


def test_direct_gap_at_gamma():
    edges = find_edges(bands([[-3, -3.1, -3.2], [-1, -1.2, -1.5], [1.2, 1.5, 1.9]]), "bands", n_electrons=4)
    assert edges.vbm_ev == -1
    assert edges.cbm_ev == 1.2
    assert edges.gap_ev == pytest.approx(2.2)
    assert edges.direct is True
    assert edges.vbm_kpoint == edges.cbm_kpoint == (0, 0, 0)
    assert edges.vbm_band == 1
    assert edges.source == "bands"
    assert edges.notes == []


def test_indirect_gap():
    edges = find_edges(bands([[-1, -1.2, -1.5], [1.9, 1.5, 1.2]]), "mesh", n_electrons=2)
    assert edges.direct is False
    assert edges.vbm_kpoint == (0, 0, 0)
    assert edges.cbm_kpoint == (0.5, 0, 0)
    assert edges.gap_ev == pytest.approx(2.2)


def test_kpoints_that_differ_by_a_reciprocal_lattice_vector_are_one():
    kpoints = [[0.5, 0, 0], [0.25, 0, 0], [-0.5, 1, 0]]
    edges = find_edges(bands([[-1, -1.2, -1.1], [1.9, 1.5, 1.2]], kpoints=kpoints), "bands", n_electrons=2)
    assert edges.direct is True
    assert same_kpoint([0.5, 0.999999, -1], [-0.5, 0, 0])
    assert not same_kpoint([0.5, 0, 0], [0.25, 0, 0])


def test_equal_extrema_are_matched_before_a_gap_is_called_indirect():
    edges = find_edges(bands([[-1, -1.2, -1], [1.9, 1.5, 1.2]]), "bands", n_electrons=2)
    assert edges.direct is True
    assert edges.vbm_kpoint == (0.5, 0, 0)


def test_fermi_energy_at_the_valence_edge_counts_it_as_occupied():
    # programs with fixed occupations report the highest occupied level as the Fermi energy
    edges = find_edges(bands([[-1, -1.2, -1.5], [1.2, 1.5, 1.9]], efermi=-1.0), "bands")
    assert edges.gap_ev == pytest.approx(2.2)


@pytest.mark.parametrize("n_electrons", [None, 2, 3])
def test_metal_has_nulls_and_a_note(n_electrons):
    edges = find_edges(bands([[-1, 0.5, 1.5], [0.1, 0.7, 1.9]], efermi=0.3), "bands", n_electrons=n_electrons)
    assert is_metal(edges)
    assert edges.vbm_ev is edges.cbm_ev is edges.gap_ev is edges.direct is edges.vbm_kpoint is None


def test_without_empty_bands_there_is_only_a_valence_edge():
    edges = find_edges(bands([[-1, -1.2, -1.5]], efermi=-1), "mesh", n_electrons=2)
    assert edges.vbm_ev == -1
    assert edges.cbm_ev is None
    assert edges.gap_ev is None
    assert "empty bands" in edges.notes[0]
    assert not is_metal(edges)


def test_spinor_bands_hold_one_electron():
    structure = bands([[-1, -1.2, -1.5], [-1, -1.2, -1.5], [1.2, 1.5, 1.9], [1.2, 1.5, 1.9]])
    assert find_edges(structure, "bands", n_electrons=2, spin_orbit=True).vbm_band == 1
    assert find_edges(structure, "bands", n_electrons=2).gap_ev is None


def test_fermi_energy_far_from_the_counted_gap_is_said():
    structure = bands([[-9, -9, -9], [-5, -5, -5], [1, 1, 1], [3, 3, 3]], efermi=2)
    notes = find_edges(structure, "bands", n_electrons=2).notes
    assert "spinors" in notes[0]


def test_two_spins_share_electrons_so_that_a_gap_is_left():
    # a triplet: three electrons up, one down
    up = [[-3, -3, -3], [-2, -2, -2], [-1, -1.1, -1.2], [4, 4, 4]]
    down = [[-2.5, -2.5, -2.5], [1, 1.1, 1.2], [2, 2, 2], [5, 5, 5]]
    for n_electrons in (4, None):
        edges = find_edges(bands(up, down), "mesh", n_electrons=n_electrons)
        assert edges.vbm_ev == -1
        assert edges.cbm_ev == 1
        assert edges.vbm_band == 2


def test_two_spins_gap_between_channels_that_overlap_is_a_metal():
    edges = find_edges(bands([[-1, 0, 2], [3, 3, 3]], [[-2, 0, 1], [3, 3, 3]], efermi=0.5), "mesh", n_electrons=1)
    assert is_metal(edges)


def test_too_few_bands_is_an_input_error():
    with pytest.raises(InputError, match="1 bands cannot hold 4 electrons"):
        find_edges(bands([[-1, -1.2, -1.5]]), "mesh", n_electrons=4)


@pytest.mark.parametrize("n_electrons", [0, -2, float("nan")])
def test_senseless_electron_number_is_an_input_error(n_electrons):
    with pytest.raises(InputError, match="n_electrons"):
        find_edges(bands([[-1, -1.2, -1.5]]), "mesh", n_electrons=n_electrons)


def test_energies_that_are_not_numbers_are_an_input_error():
    with pytest.raises(InputError, match="not numbers"):
        find_edges(bands([[-1, float("nan"), -1.5]]), "mesh", n_electrons=2)


@given(
    st.lists(st.lists(st.floats(-10, 10), min_size=3, max_size=3), min_size=1, max_size=6),
    st.integers(1, 12),
)
def test_edges_bound_every_state(energies, n_electrons):
    """For any insulator: no occupied state above the VBM, no empty one below the CBM, gap = CBM - VBM."""
    if n_electrons > 2 * len(energies):
        return
    edges = find_edges(bands(energies), "mesh", n_electrons=n_electrons)
    ordered = np.sort(np.array(energies), axis=0)
    if edges.gap_ev is not None:
        n = n_electrons // 2
        assert (ordered[:n] <= edges.vbm_ev).all()
        assert (ordered[n:] >= edges.cbm_ev).all()
        assert edges.gap_ev == pytest.approx(edges.cbm_ev - edges.vbm_ev)
        assert edges.gap_ev > 0


def edges_of(gap, source="bands", notes=()):
    return BandEdges(vbm_ev=0, cbm_ev=gap, gap_ev=gap, source=source, notes=list(notes))


def test_the_tighter_gap_wins():
    path, mesh = edges_of(2.0), edges_of(1.9, "mesh")
    assert tighter_edges(path, mesh) is mesh
    assert tighter_edges(mesh, path) is mesh


def test_path_wins_a_tie():
    path, mesh = edges_of(2.0), edges_of(2.0, "mesh")
    assert tighter_edges(mesh, path) is path


def test_edges_without_a_gap_give_way_but_a_metal_does_not():
    metal = find_edges(bands([[-1, 0.5, 1.5]], efermi=0.3), "mesh")
    valence_only = find_edges(bands([[-1, -1.2, -1.5]]), "mesh")
    path = edges_of(2.0)
    assert tighter_edges(valence_only, path) is path
    assert tighter_edges(path, metal) is metal
    assert tighter_edges(None, valence_only) is valence_only
    assert tighter_edges(None, None) is None
