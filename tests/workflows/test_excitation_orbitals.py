"""Orbitals read from files, their overlaps, densities, and states that are told from those that slid away."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corecrown.errors import InputError, RunError
from corecrown.workflows.espresso.excitation_held import check_state, maximum_overlap_order
from corecrown.workflows.espresso.excitation_orbitals import Orbitals, orbital_density, overlaps, read_orbitals
from corecrown.workflows.espresso.excitation_states import Occupations, parse_state

SHAPE = (9, 9, 9)


def half_sphere(radius=3):
    axis = range(-radius, radius + 1)
    every = [(i, j, k) for i in axis for j in axis for k in axis if i * i + j * j + k * k <= radius * radius]
    return np.array([row for row in every if row >= (0, 0, 0)], dtype=np.int32)


def random_orbitals(seed, n_bands=6):
    """Real, orthonormal orbitals: the weight of a wave is doubled by its partner, but for G = 0."""
    miller = half_sphere()
    rng = np.random.default_rng(seed)
    origin = (miller == 0).all(axis=1)
    weight = np.where(origin, 1.0, 2.0)
    parts = rng.normal(size=(2 * len(miller), n_bands))
    parts[len(miller) :][origin] = 0
    q, _ = np.linalg.qr(parts)
    waves = (q[: len(miller)] + 1j * q[len(miller) :]).T / np.sqrt(weight)
    return Orbitals(miller, waves)


def mixed(orbitals, rotation):
    return Orbitals(orbitals.miller, rotation @ orbitals.coefficients)


def rotation(n, first, second, angle):
    matrix = np.eye(n)
    c, s = np.cos(angle), np.sin(angle)
    matrix[[first, first, second, second], [first, second, first, second]] = [c, -s, s, c]
    return matrix


def write_orbitals(path, orbitals, *, gamma_only=True, n_spinor=1):
    def record(content):
        return struct.pack("<i", len(content)) + content + struct.pack("<i", len(content))

    n_bands, n_waves = orbitals.coefficients.shape
    blocks = [struct.pack("<i3dii", 1, 0, 0, 0, 1, int(gamma_only)) + struct.pack("<d", 1.0)]
    blocks += [struct.pack("<4i", n_waves, n_waves, n_spinor, n_bands), np.eye(3).tobytes()]
    blocks += [orbitals.miller.astype("<i4").tobytes()]
    blocks += [band.astype("<c16").tobytes() for band in orbitals.coefficients]
    path.write_bytes(b"".join(record(block) for block in blocks))


def test_a_file_is_read_back(tmp_path):
    wrote = random_orbitals(1)
    write_orbitals(tmp_path / "wfcup1.dat", wrote)
    read = read_orbitals(tmp_path / "wfcup1.dat")
    np.testing.assert_array_equal(read.miller, wrote.miller)
    np.testing.assert_array_equal(read.coefficients, wrote.coefficients)


@pytest.mark.parametrize("kept", [0, 3, 50, 200, -1])
def test_a_file_that_is_cut_off_is_told(tmp_path, kept):
    path = tmp_path / "wfcup1.dat"
    write_orbitals(path, random_orbitals(1))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(RunError, match="wfcup1"):
        read_orbitals(path)


def test_files_that_are_not_of_gamma_are_refused(tmp_path):
    write_orbitals(tmp_path / "k.dat", random_orbitals(1), gamma_only=False)
    write_orbitals(tmp_path / "s.dat", random_orbitals(1), n_spinor=2)
    (tmp_path / "wfcup1.hdf5").touch()
    for name in ("k.dat", "s.dat", "wfcup1.dat"):
        with pytest.raises(InputError):
            read_orbitals(tmp_path / name)
    with pytest.raises(RunError, match="no orbitals"):
        read_orbitals(tmp_path / "wfcdw1.dat")


@given(seed=st.integers(0, 100), angle=st.floats(0, 3))
def test_overlaps_are_those_of_real_space(seed, angle):
    first = random_orbitals(seed)
    second = mixed(first, rotation(6, 1, 3, angle))
    found = overlaps(first, second)
    np.testing.assert_allclose(found, rotation(6, 1, 3, angle).T, atol=1e-10)
    np.testing.assert_allclose(first.norms, 1, atol=1e-10)


def test_overlaps_do_not_depend_on_the_order_of_waves():
    first = random_orbitals(3)
    order = np.random.default_rng(0).permutation(len(first.miller))
    shuffled = Orbitals(first.miller[order], first.coefficients[:, order])
    np.testing.assert_allclose(overlaps(first, shuffled), np.eye(6), atol=1e-10)
    with pytest.raises(InputError, match="plane waves"):
        overlaps(first, Orbitals(first.miller[:-1], first.coefficients[:, :-1]))


def test_a_density_holds_its_orbital():
    orbitals = random_orbitals(4)
    for band in range(6):
        density = orbital_density(orbitals, band, SHAPE, volume=7.0)
        assert density.min() >= -1e-12
        assert density.sum() * 7.0 / density.size == pytest.approx(1, abs=1e-10)
    with pytest.raises(InputError, match="band 6"):
        orbital_density(orbitals, 6, SHAPE, 1.0)
    with pytest.raises(InputError, match="too coarse"):
        orbital_density(orbitals, 0, (6, 9, 9), 1.0)


ENERGIES = np.array([[-3.0, -2.0, -1.0, 1.0, 2.0, 3.0]] * 2)
PAIRS = 3


def judged(state, excited_up, given=None, written=None, degeneracy_ev=0.1):
    ground = random_orbitals(5)
    wanted = given or state.occupations(PAIRS, 6)
    return ground, check_state(
        state,
        PAIRS,
        wanted,
        wanted.channels if written is None else written,
        (ground, ground),
        (mixed(ground, excited_up), ground),
        ENERGIES,
        degeneracy_ev,
    )


def test_a_state_that_holds():
    _, held = judged(parse_state("neutral"), rotation(6, 2, 4, 0.3))
    assert held.kept
    assert held.hole == pytest.approx(np.cos(0.3) ** 2 + 0, abs=0.1)
    assert held.electron == pytest.approx(1)
    assert held.why_not == ""


def test_a_state_that_slid_back_to_the_ground_state_is_told():
    """The orbitals of hole and electron have changed places, so that the old valence edge is filled again."""
    state = parse_state("neutral")
    ground, held = judged(state, rotation(6, 2, 3, np.pi / 2))
    assert not held.kept
    assert held.hole == pytest.approx(0, abs=1e-9)
    assert held.electron == pytest.approx(0, abs=1e-9)
    assert "hole" in held.why_not
    order = maximum_overlap_order(
        state.occupations(PAIRS, 6), (ground, ground), (mixed(ground, rotation(6, 2, 3, np.pi / 2)), ground)
    )
    assert order.up.tolist() == [1, 1, 1, 0, 0, 0], "the electron is now the third band"
    _, again = judged(state, rotation(6, 2, 3, np.pi / 2), given=order)
    assert again.kept


def test_occupations_that_are_not_those_that_were_given_are_told():
    state = parse_state("neutral")
    ground_state = Occupations.of([[1, 1, 1, 0, 0, 0]] * 2)
    _, held = judged(state, np.eye(6), written=ground_state.channels)
    assert not held.kept
    assert not held.occupations
    assert "XML" in held.why_not


def test_a_wrong_occupation_list_is_caught_by_the_orbitals():
    """The program did as it was told, but was told the ground state."""
    ground_state = Occupations.of([[1, 1, 1, 0, 0, 0]] * 2)
    for name in ("neutral", "triplet"):
        _, held = judged(parse_state(name), np.eye(6), given=ground_state)
        assert held.occupations
        assert not held.kept


def test_orbitals_close_in_energy_count_together():
    state = parse_state("electron")
    swapped = rotation(6, 3, 4, np.pi / 2)
    _, apart = judged(state, swapped, degeneracy_ev=0.1)
    _, together = judged(state, swapped, degeneracy_ev=1.5)
    assert not apart.kept
    assert together.kept


@given(seed=st.integers(0, 50), order=st.permutations(range(6)))
def test_maximum_overlap_follows_any_order_of_bands(seed, order):
    ground = random_orbitals(seed)
    shuffled = mixed(ground, np.eye(6)[list(order)])
    wanted = parse_state("triplet").occupations(PAIRS, 6)
    found = maximum_overlap_order(wanted, (ground, ground), (shuffled, shuffled))
    np.testing.assert_array_equal(found.channels, wanted.channels[:, list(order)])
