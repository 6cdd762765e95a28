"""The quadratic search for a band edge, from paths and meshes, on bands whose extremum is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mass_models import CUBIC, FCC, HARTREE, PBNM, kane, line_kpoints, parabola, rashba

from corecrown.errors import InputError
from corecrown.postprocess.masses import Carrier, SearchState, refine_extremum


def path(n=12):
    corners = [(0.5, 0, 0), (0, 0, 0), (0, 0.5, 0), (0.5, 0.5, 0), (0, 0, 0), (0, 0, 0.5)]
    return line_kpoints([(None, corner) for corner in corners], n)


def mesh(*divisions):
    axes = [np.arange(n) / n for n in divisions]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


def follow(kpoints, band, carrier, lattice=PBNM, **options):
    """Compute what is asked for until the search ends."""
    for _ in range(12):
        estimate = refine_extremum(kpoints, band(kpoints @ lattice), lattice, carrier, extend=True, **options)
        if estimate.state is not SearchState.CONTINUE:
            return estimate
        assert estimate.reason
        kpoints = np.vstack([kpoints, estimate.next_kpoints])
    raise AssertionError("the search did not end")


@pytest.mark.parametrize("n", [6, 12, 40])
@pytest.mark.parametrize("carrier", list(Carrier))
def test_rashba_split_edge_off_gamma_is_found(n, carrier):
    alpha = 0.8
    estimate = follow(path(n), lambda k: carrier.sign * rashba(k, (0.15, 0.12, 0.3), alpha, 0.3)[:, 0], carrier)
    assert estimate.state is SearchState.FOUND
    assert abs(estimate.kpoint[0]) * PBNM[0, 0] == pytest.approx(0.15 * alpha / HARTREE, abs=5e-4)
    assert np.abs(estimate.kpoint[1:] @ PBNM[1:, 1:]).max() < 5e-4


def test_an_edge_at_gamma_stays_there():
    estimate = follow(path(), lambda k: kane(k, np.diag([9.0, 5.0, 1.5]), 0.5), Carrier.ELECTRON)
    assert estimate.kpoint == pytest.approx((0, 0, 0), abs=1e-9)
    assert estimate.inside


def test_an_edge_off_every_line_is_found_from_a_mesh():
    true = np.array([0.31, 0.12, 0.07])

    def band(k):
        inverse = np.array([[2.0, 0.5, 0.3], [0.5, 5.0, -0.4], [0.3, -0.4, 4.0]])
        return np.minimum(kane(k, inverse, 0.5, true @ PBNM), kane(k, inverse, 0.5, -true @ PBNM))

    estimate = follow(np.vstack([path(), mesh(6, 6, 4)]), band, Carrier.ELECTRON)
    assert estimate.state is SearchState.FOUND
    assert estimate.kpoint @ PBNM == pytest.approx(true @ PBNM, abs=5e-4)


def test_the_valley_of_silicon_is_found_inside_gamma_x():
    true = np.array([0.425, 0, 0.425])

    def band(k):
        along = true @ FCC / np.linalg.norm(true @ FCC)
        inverse = np.outer(along, along) / 0.95 + (np.eye(3) - np.outer(along, along)) / 0.19
        return parabola(k, inverse, true @ FCC) + 8 * (((k - true @ FCC) @ along) ** 3)

    kpoints = line_kpoints([(None, (0.5, 0.5, 0.5)), (None, (0, 0, 0)), (None, (0.5, 0, 0.5))], 21)
    estimate = follow(kpoints, band, Carrier.ELECTRON, FCC)
    assert estimate.kpoint @ FCC == pytest.approx(true @ FCC, abs=5e-4)


def test_a_corner_of_the_zone_is_its_own_mirror_image():
    corner = np.array([0.5, 0.5, 0.5])
    kpoints = line_kpoints([(None, (0, 0, 0)), (None, tuple(corner))], 30)

    def band(k):
        return -kane(k - np.round((k @ np.linalg.inv(CUBIC)) / 2 - 0.25) @ CUBIC, np.eye(3) / 0.2, 0.4, corner @ CUBIC)

    estimate = refine_extremum(kpoints, band(kpoints @ CUBIC), CUBIC, Carrier.HOLE)
    assert estimate.inside
    assert estimate.kpoint == pytest.approx(corner, abs=1e-9)
    # only one line was computed, so the search has to go on
    assert estimate.state is SearchState.CONTINUE
    assert estimate.sampled_directions == 1


def test_rotations_show_what_was_not_computed():
    kpoints = line_kpoints([(None, (0, 0, 0)), (None, (0.5, 0, 0))], 200)
    fourfold = [np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]]), np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]])]
    energies = parabola(kpoints @ CUBIC, np.eye(3) / 0.2)
    estimate = refine_extremum(kpoints, energies, CUBIC, Carrier.ELECTRON, rotations=fourfold)
    assert estimate.state is SearchState.FOUND
    assert estimate.sampled_directions == 3


def line_ending_early():
    kpoints = np.outer(np.linspace(0, 0.3, 10), [1, 0, 0])
    return kpoints, parabola(kpoints @ PBNM, np.eye(3), np.array([0.4, 0, 0]) @ PBNM)


def test_an_edge_at_the_end_of_what_was_computed_is_refused():
    estimate = refine_extremum(*line_ending_early(), PBNM, Carrier.ELECTRON)
    assert estimate.state is SearchState.REFUSED
    assert estimate.kpoint is None
    assert "edge of what was computed" in estimate.reason
    assert not estimate.inside


def test_who_can_compute_more_may_go_on_beyond_it():
    kpoints, _ = line_ending_early()
    estimate = follow(kpoints, lambda k: parabola(k, np.eye(3), np.array([0.4, 0, 0]) @ PBNM), Carrier.ELECTRON)
    assert estimate.kpoint == pytest.approx((0.4, 0, 0), abs=1e-4)


@pytest.mark.parametrize(
    ("kpoints", "words"),
    [
        ([[0, 0, 0]], "only one k-point"),
        (mesh(2, 2, 1), "too coarse"),
        ([[0.1, 0, 0], [0.12, 0, 0]], "too coarse"),
    ],
)
def test_too_few_k_points_are_refused(kpoints, words):
    energies = parabola(np.asarray(kpoints) @ PBNM, np.eye(3) * 5)
    estimate = refine_extremum(kpoints, energies, PBNM, Carrier.ELECTRON)
    assert estimate.state is SearchState.REFUSED
    assert words in estimate.reason


@pytest.mark.parametrize(
    ("kpoints", "energies"), [([[0, 0]], [0]), ([[0, 0, 0]], [0, 1]), ([[0, 0, 0]], [np.nan]), (np.empty((0, 3)), [])]
)
def test_nonsense_is_refused(kpoints, energies):
    with pytest.raises(InputError):
        refine_extremum(kpoints, energies, PBNM, Carrier.HOLE)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.booleans())
def test_any_points_give_a_guess_or_a_reason(seed, count, extend):
    generator = np.random.default_rng(seed)
    kpoints = np.round(generator.uniform(-1, 1, size=(count, 3)), generator.integers(1, 5))
    energies = generator.normal(scale=0.1, size=count)
    estimate = refine_extremum(kpoints, energies, PBNM, Carrier.HOLE, extend=extend)
    if estimate.state is SearchState.REFUSED:
        assert estimate.reason
        assert estimate.kpoint is None
    else:
        assert np.isfinite(estimate.kpoint).all()
        assert np.isfinite(estimate.next_kpoints).all()
        assert energies[estimate.best_index] == energies.max()
