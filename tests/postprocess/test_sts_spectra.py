"""Derivatives, noise, normalisation and outliers against known spectra."""

import numpy as np
import pytest
from scipy.special import erf

from corecrown.errors import InputError
from corecrown.postprocess.sts.model import Labels, make_sweeps
from corecrown.postprocess.sts.spectra import (
    DerivativeKind,
    calibrate_lockin,
    current_noise,
    derivative_noise,
    differentiate,
    find_outliers,
    modulation_width_ev,
    normalise_to_set_point,
    normalised_conductance,
    stack_sweeps,
)
from corecrown.postprocess.sts.synthetic import CORE, generate

BIAS = np.linspace(-2, 2, 801)
KINDS = list(DerivativeKind)


def sweep(bias, current, name="a"):
    return make_sweeps(np.asarray(bias), np.asarray(current), Labels(platelet=name))[0]


@pytest.mark.parametrize("kind", KINDS)
def test_the_derivative_of_a_parabola_is_exact_inside(kind):
    didv, _ = differentiate(BIAS, 3e-9 * BIAS**2, 0.05, kind)
    inside = np.abs(BIAS) < 1.8
    np.testing.assert_allclose(didv[inside], 6e-9 * BIAS[inside], atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_the_stated_bandwidth_is_the_width_of_a_sharp_step(kind):
    """A step of the current is a delta of dI/dV: what comes out is the kernel itself."""
    step = 0.5 * (1 + erf((BIAS - 0.0025) / 0.002))
    didv, bandwidth = differentiate(BIAS, step, 0.1, kind)
    above = BIAS[didv > didv.max() / 2]
    assert above[-1] - above[0] == pytest.approx(bandwidth, abs=0.012)
    assert bandwidth == pytest.approx(0.1, rel=0.05)


def test_averaging_and_differentiating_commute():
    stack, _ = stack_sweeps(generate(CORE, 8, seed=3, points=201))
    each, _ = differentiate(stack.bias_v, stack.current_a, 0.1)
    mean, _ = differentiate(stack.bias_v, stack.current_a.mean(axis=0), 0.1)
    np.testing.assert_allclose(each.mean(axis=0), mean, rtol=1e-9, atol=1e-20)


def test_noise_is_estimated_under_a_smooth_signal_and_carried_to_the_derivative():
    random = np.random.default_rng(0)
    current = 1e-9 * BIAS**3 + random.normal(0, 3e-12, (200, len(BIAS)))
    assert current_noise(current).mean() == pytest.approx(3e-12, rel=0.03)
    didv, bandwidth = differentiate(BIAS, current, 0.05)
    middle = np.abs(BIAS) < 1.5
    assert didv[:, middle].std(axis=0).mean() == pytest.approx(
        float(derivative_noise(BIAS, 3e-12, bandwidth)), rel=0.05
    )


def test_an_ohmic_contact_has_normalised_conductance_one():
    didv = np.full_like(BIAS, 2e-9)
    value = normalised_conductance(BIAS, 2e-9 * BIAS, didv, 0.5)
    np.testing.assert_allclose(value, 1, rtol=1e-3)


def test_the_broadened_denominator_does_not_vanish_in_a_gap():
    didv = np.where(np.abs(BIAS) > 1, 1e-9, 0.0)
    current = np.where(np.abs(BIAS) > 1, (np.abs(BIAS) - 1) * np.sign(BIAS), 0) * 1e-9
    value = normalised_conductance(BIAS, current, didv, 1.0)
    assert np.isfinite(value).all()
    assert value[np.abs(BIAS) < 0.9].max() == 0


def test_lock_in_calibration_recovers_factor_and_offset():
    current = 1e-9 * (BIAS**3 + BIAS)
    true = 1e-9 * (3 * BIAS**2 + 1)
    fit = calibrate_lockin(BIAS, current, true / 4e-9 + 0.02, 0.05)
    assert fit.factor == pytest.approx(4e-9, rel=0.01)
    assert fit.offset == pytest.approx(0.02, abs=0.002)
    assert fit.r_squared > 0.999
    with pytest.raises(InputError, match="does not vary"):
        calibrate_lockin(BIAS, current, np.ones_like(BIAS), 0.05)


def test_a_set_point_in_the_noise_is_not_divided_by():
    random = np.random.default_rng(1)
    current = 1e-9 * BIAS**3 + random.normal(0, 1e-12, (2, len(BIAS)))
    scaled, reliable = normalise_to_set_point(BIAS, current, 1.5)
    assert reliable.all()
    assert np.interp(1.5, BIAS, scaled[0]) == pytest.approx(1)
    assert not normalise_to_set_point(BIAS, current, 0.05)[1].any()
    with pytest.raises(InputError, match="outside the sweep"):
        normalise_to_set_point(BIAS, current, 3.0)


def test_modulation_width_is_the_half_ellipse_s():
    """2√(V²-E²)/πV² has half its maximum at E = (√3/2) V."""
    assert modulation_width_ev(0.01) == pytest.approx(2 * 0.01 * np.sqrt(3) / 2)


def test_tip_changes_and_drift_are_found_and_nothing_else():
    sweeps = generate(CORE, 40, seed=5, points=401, noise_factor=0.5)
    assert not find_outliers(stack_sweeps(sweeps)[0])
    jump = sweeps[7].current_a.copy()
    jump[60:] *= 0.6
    lost = sweeps[9].current_a * np.where(sweeps[9].bias_v > 0, 0.01, 1.0)
    sweeps[7], sweeps[9] = sweep(sweeps[7].bias_v, jump), sweep(sweeps[9].bias_v, lost)
    found = {outlier.index: outlier.reason for outlier in find_outliers(stack_sweeps(sweeps)[0])}
    assert "tip change" in found[7]
    assert "positive bias" in found[9]
    assert set(found) == {7, 9}


def test_sweeps_that_do_not_cover_the_range_are_left_out_and_others_interpolated():
    short, other = np.linspace(0, 2, 401), np.linspace(-2, 2, 641)
    sweeps = [sweep(BIAS, BIAS**3 * 1e-9, f"p{i}") for i in range(18)]
    sweeps += [sweep(short, short**3 * 1e-9, "half"), sweep(other, other**3 * 1e-9, "fine")]
    stack, left_out = stack_sweeps(sweeps)
    assert [skipped.file for skipped in left_out] == ["half"]
    assert "does not cover" in left_out[0].reason
    np.testing.assert_allclose(stack.current_a[-1], stack.current_a[0], atol=1e-13)


def test_no_sweeps_and_impossible_bandwidths_are_errors():
    with pytest.raises(InputError, match="no usable sweep"):
        stack_sweeps([])
    with pytest.raises(InputError, match="bandwidth"):
        differentiate(BIAS, BIAS, 0.0)
    with pytest.raises(InputError, match=r"needs .* points"):
        differentiate(BIAS[:20], BIAS[:20], 1.0)
    with pytest.raises(InputError, match="not uniform"):
        differentiate(BIAS**3, BIAS, 0.05)
