"""Integrals over the gap, their changes and maps; stability of repeated sweeps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corecrown.errors import InputError
from corecrown.postprocess.sts.edges import EdgeOptions
from corecrown.postprocess.sts.model import Labels, make_sweeps
from corecrown.postprocess.sts.stability import stability
from corecrown.postprocess.sts.synthetic import CORE, CORE_CROWN, generate
from corecrown.postprocess.sts.traps import Normalisation, change_map, percent_changes, trap_integrals, window_integral

BIAS = np.linspace(-2, 2, 401)
OPTIONS = EdgeOptions(bandwidth_v=0.05)
SINGLE = EdgeOptions(0.2, 0.0, 0.1)


@given(st.floats(-1.9, 0), st.floats(0.05, 1.9))
@settings(max_examples=40, deadline=None)
def test_a_straight_line_is_integrated_exactly_whatever_the_window(low, high):
    total = window_integral(BIAS, 3 + 2 * BIAS, (low, high))
    assert float(total) == pytest.approx(3 * (high - low) + high**2 - low**2, rel=1e-9, abs=1e-12)


@given(st.floats(-1.9, -0.1), st.floats(-0.09, 0.9), st.floats(0.91, 1.9))
@settings(max_examples=30, deadline=None)
def test_windows_add_up(a, b, c):
    y = np.cos(BIAS) ** 2
    whole = window_integral(BIAS, y, (a, c))
    assert float(whole) == pytest.approx(float(window_integral(BIAS, y, (a, b)) + window_integral(BIAS, y, (b, c))))


def test_empty_windows_and_windows_beyond_the_data_are_errors():
    with pytest.raises(InputError, match="is empty"):
        window_integral(BIAS, BIAS, (1.0, 1.0))
    with pytest.raises(InputError, match="beyond the data"):
        window_integral(BIAS, BIAS, (-3.0, 1.0))


def spectrum(floor, first=1.0, tall=2.0):
    def bell(centre, height):
        return height * np.exp(-0.5 * ((BIAS - centre) / 0.08) ** 2)

    return bell(-1.2, first) + bell(-1.7, tall) + bell(1.5, 1.2) + np.where(np.abs(BIAS) < 0.9, floor, 0)


def test_normalisation_is_by_the_tallest_valence_peak_and_matters():
    window = (-0.5, 0.5)
    by_tallest = trap_integrals(BIAS, spectrum(0.1), window)[0]
    by_first = trap_integrals(BIAS, spectrum(0.1), window, Normalisation.FIRST_VALENCE, OPTIONS)[0]
    assert by_tallest == pytest.approx(0.1 / 2, rel=0.01)
    assert by_first == pytest.approx(0.1 / 1, rel=0.01)
    assert np.isnan(trap_integrals(BIAS, np.ones_like(BIAS), window)[0])


def test_changes_in_percent():
    np.testing.assert_allclose(percent_changes(np.array([2.0]), np.array([1.06])), [-47])
    assert np.isnan(percent_changes(np.array([0.0]), np.array([1.0])))


def test_the_map_knows_window_and_normalisation():
    base, group = spectrum(0.1), spectrum(0.05, first=0.5)
    maps = change_map((BIAS, BIAS), (base, group), [-0.5, -3.0], [0.5], (OPTIONS, OPTIONS))
    assert maps[Normalisation.TALLEST_VALENCE][0, 0] == pytest.approx(-50, abs=1)
    assert maps[Normalisation.FIRST_VALENCE][0, 0] == pytest.approx(0, abs=2)
    assert np.isnan(maps[Normalisation.NONE][1, 0])


def test_repeated_sweeps_of_an_ageing_core_and_a_stable_crown():
    """The generator's core closes its gap by 0.15 eV a sweep and its traps grow by half; the crown hardly changes."""
    series = {
        name: stability(
            generate(site, 12, seed=4, sweeps_per_platelet=3, noise_factor=0.3), "first-peak", OPTIONS, SINGLE
        )
        for name, site in (("core", CORE), ("crown", CORE_CROWN))
    }
    assert [point.sweep for point in series["core"]] == [1, 2, 3]
    closing = series["core"][0].gap_ev - series["core"][1].gap_ev
    assert closing == pytest.approx(0.15, abs=0.02)
    assert series["core"][2].relative_dos > 1.8
    assert series["crown"][2].relative_dos < 1.2
    assert abs(series["crown"][2].gap_ev - series["crown"][0].gap_ev) < 0.03
    assert all(point.n_platelets == 12 for point in series["core"])
    assert all(0 < point.gap_error_ev < 0.03 and point.reason is None for point in series["core"][:2])
    assert series["core"][2].gap_error_ev > 0, "grown traps take the place of an edge in some resamples"
    assert series["core"][0].relative_dos_error == 0
    assert series["core"][2].relative_dos_error > 0


def test_one_platelet_is_followed_as_a_noisy_spectrum_and_has_no_errors():
    """At the noise of single sweeps the bandwidth of averages would take ripples for edges: gaps of some 0.5 eV."""
    points = stability(generate(CORE, 1, seed=1, sweeps_per_platelet=5), "first-peak", OPTIONS, SINGLE)
    for point, before in zip(points[1:], points, strict=False):
        assert before.gap_ev - point.gap_ev == pytest.approx(0.15, abs=0.05)
    assert all(point.gap_error_ev is None and "one platelet" in point.reason for point in points)


def test_no_repeats_no_stability():
    assert stability(generate(CORE, 4, seed=1, points=101), "first-peak", OPTIONS, SINGLE) == []
    flat = make_sweeps(BIAS, 1e-10 * BIAS, Labels(platelet="a", number=1))
    flat += make_sweeps(BIAS, 1e-10 * BIAS, Labels(platelet="a", number=2))
    points = stability(flat, "first-peak", OPTIONS, SINGLE)
    assert [point.gap_ev for point in points] == [None, None]
    assert [point.in_gap_dos for point in points] == [None, None]
