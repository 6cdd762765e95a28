"""Edge-finding methods, intervals and histograms against spectra with known edges."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corecrown.errors import InputError
from corecrown.postprocess.sts.edges import (
    EDGE_METHODS,
    EdgeOptions,
    edge_method,
    find_edges,
    fit_histogram,
    peak_position,
    platelet_weights,
)
from corecrown.postprocess.sts.mixture import fit_side
from corecrown.postprocess.sts.spectra import differentiate, stack_sweeps
from corecrown.postprocess.sts.synthetic import CORE, CROWN_EDGE, generate

BIAS = np.linspace(-2.4, 2.4, 961)
OPTIONS = EdgeOptions(bandwidth_v=0.05)


def bell(centre, width=0.07, height=1.0):
    return height * np.exp(-0.5 * ((BIAS - centre) / width) ** 2)


def spectrum(vbm=-1.13, cbm=1.53):
    return 1e-9 * (bell(vbm) + bell(cbm) + bell(vbm - 0.6, 0.12, 2) + bell(cbm + 0.55, 0.12, 1.5))


@given(st.floats(-1.5, -0.6), st.floats(0.6, 1.6))
@settings(max_examples=30, deadline=None)
def test_first_peaks_are_found_where_they_are_and_mirror(vbm, cbm):
    edges = find_edges(BIAS, spectrum(vbm, cbm), "first-peak", OPTIONS)
    assert edges.vbm_v == pytest.approx(vbm, abs=0.003)
    assert edges.cbm_v == pytest.approx(cbm, abs=0.003)
    mirrored = find_edges(-BIAS[::-1], spectrum(vbm, cbm)[::-1], "first-peak", OPTIONS)
    assert mirrored.vbm_v == pytest.approx(-edges.cbm_v, abs=1e-9)
    assert edges.gap_ev == pytest.approx(edges.cbm_v - edges.vbm_v)


def test_without_a_prominence_a_trap_hump_wins():
    with_trap = spectrum() + 1e-9 * bell(-0.5, 0.1, 0.1)
    assert find_edges(BIAS, with_trap, "first-peak", OPTIONS).vbm_v == pytest.approx(-1.13, abs=0.003)
    bare = EdgeOptions(prominence=0.0, bandwidth_v=0.05)
    assert find_edges(BIAS, with_trap, "first-peak", bare).vbm_v == pytest.approx(-0.5, abs=0.02)


def test_noise_alone_has_no_edges():
    noise = np.random.default_rng(0).normal(0, 1e-12, len(BIAS))
    edges = find_edges(BIAS, noise, "first-peak", EdgeOptions(noise=2e-12))
    assert edges.vbm_v is edges.cbm_v is edges.gap_ev is None


def test_a_straight_flank_meets_the_floor_at_the_onset():
    """A ramp from 1.0 V up to 1.4 V on a floor of 0.02, then down: the line meets the floor at 1.0 V."""
    ramp = np.interp(np.abs(BIAS), [0, 1.0, 1.4, 1.8, 3], [0.02, 0.02, 1.02, 0.1, 0.1])
    edges = find_edges(BIAS, ramp, "onset-linear", OPTIONS)
    assert edges.cbm_v == pytest.approx(1.0, abs=0.005)
    assert edges.vbm_v == pytest.approx(-1.0, abs=0.005)


def test_an_exponential_flank_meets_the_floor_at_the_log_onset():
    """exp rising by three decades from 1.0 V to 1.4 V over the floor."""
    rising = 10 ** np.interp(np.abs(BIAS), [0, 1.0, 1.4, 1.8, 3], [-3, -3, 0, -1, -1])
    edges = find_edges(BIAS, rising, "onset-log", OPTIONS)
    assert edges.cbm_v == pytest.approx(1.0, abs=0.005)


@pytest.mark.parametrize("method", sorted(EDGE_METHODS))
@given(values=st.lists(st.floats(-1, 1), min_size=16, max_size=60))
@settings(max_examples=25, deadline=None)
def test_methods_give_a_number_on_their_side_or_none(method, values):
    bias = np.linspace(-1, 1, len(values))
    edges = find_edges(bias, np.array(values), method, EdgeOptions())
    assert edges.vbm_v is None or -1 - 1e-9 <= edges.vbm_v <= 0
    assert edges.cbm_v is None or 0 <= edges.cbm_v <= 1 + 1e-9


def test_a_method_of_ones_own_is_a_function_registered_by_name():
    @edge_method("half-volt")
    def half_volt(distance_v, didv, options):
        return 0.5

    try:
        assert find_edges(BIAS, spectrum(), "half-volt", OPTIONS).gap_ev == 1.0
    finally:
        del EDGE_METHODS["half-volt"]
    with pytest.raises(InputError, match="half-volt"):
        find_edges(BIAS, spectrum(), "half-volt", OPTIONS)


def test_a_peak_is_located_between_grid_points():
    x = np.linspace(0, 2, 101)
    y = np.exp(-0.5 * ((x - 1.0071) / 0.1) ** 2)
    assert peak_position(x, y, int(np.argmax(y)), 0.1) == pytest.approx(1.0071, abs=5e-4)


def test_resampling_draws_platelets_not_sweeps():
    weights = platelet_weights(["a", "a", "b", "c", "c", "c"], 500, seed=1)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    np.testing.assert_allclose(weights[:, 0], weights[:, 1])
    np.testing.assert_allclose(weights[:, 3], weights[:, 5])
    assert weights[:, :2].sum(axis=1).mean() == pytest.approx(1 / 3, abs=0.04)


def test_a_histogram_s_gaussian():
    values = np.random.default_rng(2).normal(1.5, 0.03, 400)
    fit = fit_histogram(values)
    assert fit.centre == pytest.approx(1.5, abs=0.006)
    assert fit.sigma == pytest.approx(0.03, rel=0.2)
    assert fit.centre_error == pytest.approx(0.03 / 20, rel=0.5)
    assert fit_histogram(np.ones(50)) is None
    assert fit_histogram(values[:5]) is None


def averaged(site, seed):
    stack, _ = stack_sweeps(generate(site, 70, seed=seed, noise_factor=0.5))
    didv, bandwidth = differentiate(stack.bias_v, stack.current_a, 0.05)
    return stack.bias_v, didv.mean(axis=0), EdgeOptions(bandwidth_v=bandwidth)


def test_two_sets_of_edges_are_told_apart_with_the_line_shape_of_one():
    """Sites of the generator: core at -1.11 and 1.59 eV, crown at -1.27 and 1.66 eV, half of the signal each."""
    bias, single, options = averaged(CORE, 1)
    shapes = {}
    for sign in (-1, 1):
        fit = fit_side(bias, single, sign, options)
        assert not fit.two
        shapes[sign] = fit.shape
    bias, double, options = averaged(CROWN_EDGE, 2)
    for sign, near, far in ((-1, 1.11, 1.27), (1, 1.59, 1.66)):
        fit = fit_side(bias, double, sign, options, shapes[sign])
        assert fit.two
        assert fit.pair_v == pytest.approx((near, far), abs=0.02)
        assert fit.shares[1] == pytest.approx(0.5, abs=0.15)
