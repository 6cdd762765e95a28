import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure
from pymatgen.electronic_structure.core import Orbital, OrbitalType, Spin
from pymatgen.electronic_structure.dos import CompleteDos

from corecrown.errors import InputError
from corecrown.postprocess.pdos import (
    AtomicState,
    complete_dos,
    dos_by_element_orbital,
    edge_character,
    state_character,
)

CELL = Structure(Lattice.cubic(6.0), ["Pb", "Br"], [[0, 0, 0], [0.5, 0.5, 0.5]])
STATES = [
    AtomicState(0, "Pb", 0, 1),
    AtomicState(1, "Br", 1, 1),
    AtomicState(1, "Br", 1, 2),
    AtomicState(1, "Br", 1, 3),
]


def test_character_sums_orbitals_of_one_letter():
    character = state_character([[0.3, 0.1, 0.2, 0.3]], [0.0], STATES, 0)
    assert character == {"Br-p": pytest.approx(0.6), "Pb-s": pytest.approx(0.3)}
    assert list(character) == ["Br-p", "Pb-s"]


def test_degenerate_states_are_averaged_and_others_are_not():
    weights = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]
    assert state_character(weights, [0.0, 0.004, 0.006], STATES, 0) == {"Pb-s": 0.5, "Br-p": 0.5}


@given(st.integers(0, 2**32 - 1))
def test_character_does_not_depend_on_the_mixing_within_a_degenerate_set(seed):
    """The projector onto a degenerate set is invariant under a rotation of its members."""
    random = np.random.default_rng(seed)
    amplitudes = random.normal(size=(2, 4))
    angle = random.uniform(0, np.pi)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    before = state_character(amplitudes**2, [0.0, 0.0], STATES, 0)
    after = state_character((rotation @ amplitudes) ** 2, [0.0, 0.0], STATES, 1)
    assert after == pytest.approx(before)


def test_edges_are_taken_at_their_own_kpoints():
    energies = [[-1.0, 2.0], [-0.5, 3.0]]
    projections = np.zeros((2, 2, 4))
    projections[1, 0, 1] = 0.9
    projections[0, 1, 0] = 0.8
    character = edge_character(projections, energies, STATES, 1)
    assert character.vbm == {"Br-p": 0.9, "Pb-s": 0.0}
    assert character.cbm == {"Pb-s": 0.8, "Br-p": 0.0}


def test_edge_kpoint_can_be_given():
    projections = np.zeros((2, 2, 4))
    projections[0, 0, 0] = 0.7
    character = edge_character(projections, [[-1.0, 2.0], [-0.5, 3.0]], STATES, 1, vbm_kpoint=0)
    assert character.vbm["Pb-s"] == 0.7


def test_edge_in_either_spin_channel():
    energies = [[[-2.0, 3.0]], [[-1.0, 4.0]]]
    projections = np.zeros((2, 1, 2, 4))
    projections[1, 0, 0, 1] = 0.9
    projections[0, 0, 1, 0] = 0.8
    character = edge_character(projections, energies, STATES, (1, 1))
    assert character.vbm["Br-p"] == 0.9
    assert character.cbm["Pb-s"] == 0.8


def test_missing_conduction_band_is_null_with_a_note():
    character = edge_character(np.zeros((1, 1, 4)), [[-1.0]], STATES, 1)
    assert character.cbm is None
    assert character.notes == ["cbm: its band was not computed"]


def make_dos(energies, weights, **options):
    return complete_dos(CELL, energies, [0.5, 0.5], weights, STATES, efermi_ev=0.0, **options)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 2),
    st.floats(0.01, 0.5),
    st.floats(0.005, 0.3),
    st.booleans(),
)
def test_density_of_states_integrates_to_the_electrons_the_bands_hold(seed, n_spin, sigma, step, spin_orbit):
    """Sum rule: 2 electrons a band (1 with two spins or spinors), and of each projection its own weight."""
    random = np.random.default_rng(seed)
    energies = random.uniform(-10, 5, size=(n_spin, 2, 3))
    weights = random.uniform(0, 0.25, size=(n_spin, 2, 3, 4))
    dos = make_dos(energies, weights, sigma_ev=sigma, step_ev=step, spin_orbit=spin_orbit)
    width = dos.energies[1] - dos.energies[0]
    held = 2 if n_spin == 1 and not spin_orbit else 1
    whole = sum(densities.sum() for densities in dos.densities.values()) * width
    assert whole == pytest.approx(held * n_spin * 3, abs=1e-3)
    parts = dos_by_element_orbital(dos)
    assert parts["Pb-s"].sum() * width == pytest.approx(held * weights[..., 0].sum() / 2, abs=1e-3)
    assert parts["Br-p"].sum() * width == pytest.approx(held * weights[..., 1:].sum() / 2, abs=1e-3)


def test_electrons_below_the_gap_are_the_occupied_ones():
    energies = [[-3.0, -1.0, 2.0], [-3.2, -1.2, 2.5]]
    dos = make_dos(energies, np.full((2, 3, 4), 0.25))
    below = dos.energies < 0.5
    assert dos.densities[Spin.up][below].sum() * 0.02 == pytest.approx(4, abs=1e-4)


def test_result_is_a_complete_dos_that_pymatgen_reads_back():
    dos = make_dos([[-1.0], [-1.5]], np.full((2, 1, 4), 0.2))
    assert isinstance(dos, CompleteDos)
    again = CompleteDos.from_dict(dos.as_dict())
    assert again.get_element_spd_dos("Br")[OrbitalType.p].densities[Spin.up] == pytest.approx(
        dos_by_element_orbital(dos)["Br-p"]
    )


def test_orbitals_follow_the_order_of_projwfc():
    # INPUT_PROJWFC, "Order of m-components for each l": p is z, x, y
    weights = np.zeros((2, 1, 4))
    weights[..., 1] = 1.0
    dos = make_dos([[-1.0], [-1.0]], weights)
    assert dos.pdos[CELL[1]][Orbital.pz][Spin.up].sum() > 0
    assert dos.pdos[CELL[1]][Orbital.px][Spin.up].sum() == 0


def test_spinor_states_share_their_weight_among_the_orbitals_of_l():
    states = [AtomicState(1, "Br", 1, m, j=0.5) for m in (1, 2)] + [AtomicState(1, "Br", 1, m, j=1.5) for m in (1, 2)]
    dos = complete_dos(CELL, [[-1.0]], [1.0], np.full((1, 1, 4), 0.25), states, efermi_ev=0.0, spin_orbit=True)
    assert dos_by_element_orbital(dos)["Br-p"].sum() * 0.02 == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"energies_ev": [[-1.0]]}, "projections: shape"),
        ({"kpoint_weights": [1.0]}, "kpoint_weights: shape"),
        ({"kpoint_weights": [0.0, 0.0]}, "kpoint_weights"),
        ({"states": [AtomicState(7, "Br", 1, 1)] * 4}, "atom 7"),
        ({"states": [AtomicState(0, "Br", 1, 1)] * 4}, "atom 0 is Pb"),
        ({"states": [AtomicState(1, "Br", 1, 4)] * 4}, "m 4"),
        ({"states": [AtomicState(1, "Br", 5, 1)] * 4}, "angular momentum 5"),
        ({"sigma_ev": 0.0}, "sigma_ev"),
        ({"energies_ev": [[-1.0], [np.inf]]}, "not numbers"),
    ],
)
def test_input_that_does_not_fit_is_refused(change, message):
    arguments = {
        "energies_ev": [[-1.0], [-1.5]],
        "kpoint_weights": [1.0, 1.0],
        "projections": np.full((2, 1, 4), 0.2),
        "states": STATES,
        "efermi_ev": 0.0,
    }
    with pytest.raises(InputError, match=message):
        complete_dos(CELL, **{**arguments, **change})
