"""Finite wells and image charges against closed forms and limits."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.constants import e, epsilon_0, hbar, m_e
from scipy.integrate import quad

from corecrown.errors import InputError
from corecrown.postprocess.confinement import finite_well_energy, slab_self_energy, well_width_nm
from corecrown.postprocess.sts.bending import band_bending, bias_fraction, tip_distance_nm

widths = st.floats(0.5, 20)
masses = st.floats(0.05, 2)
barriers = st.floats(0.5, 20)
kane = st.floats(0, 1)


def test_hard_walls_give_the_textbook_energy():
    energy = hbar**2 * math.pi**2 / (2 * 0.2 * m_e * (1.76e-9) ** 2) / e
    assert finite_well_energy(1.76, 0.2) == pytest.approx(energy, rel=1e-12)


@given(widths, masses, barriers, kane)
@settings(max_examples=40, deadline=None)
def test_the_boundary_condition_holds(width, mass, barrier, alpha):
    energy = finite_well_energy(width, mass, barrier, nonparabolicity_per_ev=alpha)
    scale = hbar**2 / (2 * m_e) / e * 1e18
    k = math.sqrt(mass * energy * (1 + alpha * energy) / scale)
    kappa = math.sqrt((barrier - energy) / scale)
    inside = k / (mass * (1 + alpha * energy)) * math.sin(k * width / 2)
    assert inside == pytest.approx(kappa * math.cos(k * width / 2), rel=1e-5, abs=1e-6)
    assert 0 < energy < barrier


@given(widths, masses, barriers, kane)
@settings(max_examples=40, deadline=None)
def test_walls_and_bands_order_energies(width, mass, barrier, alpha):
    energy = finite_well_energy(width, mass, barrier, nonparabolicity_per_ev=alpha)
    assert energy <= finite_well_energy(width, mass, 2 * barrier, nonparabolicity_per_ev=alpha) + 1e-9
    assert energy <= finite_well_energy(width, mass, nonparabolicity_per_ev=alpha) + 1e-9
    assert energy <= finite_well_energy(0.9 * width, mass, barrier, nonparabolicity_per_ev=alpha) + 1e-9
    assert finite_well_energy(width, mass, nonparabolicity_per_ev=alpha) <= finite_well_energy(width, mass) + 1e-12


def test_high_walls_tend_to_hard_ones():
    assert finite_well_energy(2.0, 0.2, 1e6) == pytest.approx(finite_well_energy(2.0, 0.2), rel=0.02)


def test_three_monolayers_of_pbnm_are_one_and_a_half_c():
    assert well_width_nm(3, 11.76) == pytest.approx(1.764)


@pytest.mark.parametrize(("width", "mass"), [(0, 0.2), (-1, 0.2), (1, 0), (1, math.nan), (math.inf, 1)])
def test_impossible_wells_are_refused(width, mass):
    with pytest.raises(InputError):
        finite_well_energy(width, mass)


def test_no_dielectric_contrast_no_self_energy():
    assert slab_self_energy(2.0, 5.0, 5.0, 5.0) == pytest.approx(0, abs=1e-9)


def image_series(width, inside, outside, terms=200):
    """The same energy summed image by image for a slab between equal media, averaged over the ground state."""
    factor = (inside - outside) / (inside + outside)

    def potential(z):
        total = sum(2 * factor ** (2 * m) / (2 * m * width) for m in range(1, terms))
        total += sum(
            factor ** (2 * m + 1) * (1 / (2 * z + 2 * m * width) + 1 / (2 * (width - z) + 2 * m * width))
            for m in range(terms)
        )
        return total * 2 / width * math.sin(math.pi * z / width) ** 2

    coulomb = e / (4 * math.pi * epsilon_0) * 1e9
    return coulomb / (2 * inside) * quad(potential, 0, width, limit=200)[0]


@pytest.mark.parametrize(("width", "inside", "outside"), [(1.76, 8.7, 2.2), (3.0, 5.0, 1.0), (1.0, 2.0, 6.0)])
def test_self_energy_equals_the_series_of_images(width, inside, outside):
    assert slab_self_energy(width, inside, outside, outside) == pytest.approx(
        image_series(width, inside, outside), rel=1e-4
    )


def test_a_metal_lowers_the_self_energy_and_a_layer_keeps_it_away():
    free = slab_self_energy(1.76, 8.7, 2.2, 2.2)
    energies = [slab_self_energy(1.76, 8.7, 2.2, 2.2, metal_distance_nm=d) for d in (0.0, 0.5, 2.0, 50.0)]
    assert all(a < b for a, b in zip([*energies, free], [*energies[1:], free, math.inf], strict=False))
    assert energies[-1] == pytest.approx(free, abs=0.01)


def test_self_energy_scales_with_one_over_thickness():
    thin, thick = (slab_self_energy(w, 8.7, 2.2, 2.2) for w in (1.0, 4.0))
    assert thin == pytest.approx(4 * thick, rel=1e-6)


def test_bias_divides_like_capacitors_in_series():
    assert bias_fraction(tip_distance_nm=1, width_nm=2, permittivity=2) == pytest.approx(0.25)
    assert bias_fraction(tip_distance_nm=1, width_nm=1e-9, permittivity=1, layer_nm=1) == pytest.approx(0.5)


def test_tip_distance_of_the_paper_s_set_point():
    """G₀ = 77.5 µS falls to 10 nS (1 nA at 0.1 V) over 0.41 nm at a barrier of 4.5 eV, κ = 10.87 /nm."""
    assert tip_distance_nm(1e-9, 0.1) == pytest.approx(math.log(7.748e-5 / 1e-8) / (2 * 10.868), rel=1e-3)


def test_a_set_point_inside_the_gap_is_noted_and_the_edge_moves_inwards():
    bent = band_bending(1.53, width_nm=1.76, permittivity=8.7, set_point_a=1e-9, set_point_v=0.1, gap_v=(-1.13, 1.53))
    assert bent.edge_ev == pytest.approx(1.53 * (1 - bent.fraction))
    assert any("inside the gap" in note for note in bent.notes)
    assert np.sign(bent.shift_v) == 1
