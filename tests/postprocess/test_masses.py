"""Mass tensors of bands whose masses are known, to 0.1 %; and bands that have none, told apart."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mass_models import HARTREE, PBNM, kane, luttinger, parabola, rashba
from scipy.spatial.transform import Rotation

from corecrown.errors import CorecrownError, InputError
from corecrown.postprocess.mass_outcomes import StencilOutcome
from corecrown.postprocess.masses import (
    Carrier,
    EdgeNature,
    finite_difference_tensor,
    fit_kane,
    fit_mass_tensor,
    mass_along,
    mass_from_stencil,
    mass_tensor,
    plan_edge,
    plan_stencil,
)
from corecrown.postprocess.results import MassTensor

GAMMA = (0.0, 0.0, 0.0)
GENERAL = (0.23, 0.11, 0.05)
MASSES = (0.12, 0.21, 0.9)


def tilted(masses, angles=(0.3, 0.5, 0.2)):
    """An inverse-mass tensor whose axes are not those of the cell."""
    rotation = Rotation.from_euler("xyz", angles).as_matrix()
    return rotation @ np.diag(1 / np.asarray(masses)) @ rotation.T


def on_stencil(stencil, *bands):
    """Energies (n, n_bands) of functions of Cartesian k on a stencil's points."""
    k = np.array(stencil.kpoints) @ np.array(stencil.reciprocal_lattice_inv_bohr)
    columns = [np.atleast_2d(np.asarray(band(k)).T) for band in bands]
    return np.vstack(columns).T


def search(stencil, band_index, carrier, *bands, **options) -> StencilOutcome:
    """Follow the outcomes until the search ends, as a workflow does."""
    for _ in range(8):
        outcome = mass_from_stencil(stencil, on_stencil(stencil, *bands), band_index, carrier, **options)
        if outcome.next_stencil is None:
            return outcome
        stencil = outcome.next_stencil
    raise AssertionError("the search did not end")


def far_below(k):
    return np.full(len(k), -2.0)


def far_above(k):
    return np.full(len(k), 2.0)


@pytest.mark.parametrize("centre", [GAMMA, (0.5, 0.0, 0.5), GENERAL])
@pytest.mark.parametrize("carrier", list(Carrier))
def test_anisotropic_parabola_is_exact(centre, carrier):
    expected = tilted(MASSES)
    kc = np.array(centre) @ PBNM
    stencil = plan_stencil(PBNM, centre, 2.0)
    index, other = (1, far_below) if carrier is Carrier.ELECTRON else (0, far_above)
    energies = on_stencil(stencil, lambda k: carrier.sign * parabola(k, expected, kc), other)
    outcome = mass_from_stencil(stencil, energies, index, carrier)
    mass = outcome.mass
    assert mass.tensor_inverse == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert mass.principal == pytest.approx(MASSES, rel=1e-9)
    assert mass.converged
    assert mass.carrier == carrier.value
    assert mass.extremum_kpoint == pytest.approx(centre, abs=1e-9)
    assert mass.gamma_x == pytest.approx(1 / expected[0, 0])
    assert mass.dos_mass == pytest.approx(np.prod(MASSES) ** (1 / 3))
    assert mass.conductivity_mass == pytest.approx(3 / np.sum(1 / np.array(MASSES)))
    rotated_axes = np.array(mass.axes)
    assert rotated_axes @ np.array(mass.tensor_inverse) @ rotated_axes.T == pytest.approx(
        np.diag(1 / np.array(MASSES)), abs=1e-8
    )


@pytest.mark.parametrize("centre", [GAMMA, GENERAL])
@pytest.mark.parametrize("alpha", [0.3, 1.0])
def test_non_parabolic_band_to_a_thousandth(centre, alpha):
    expected = tilted(MASSES)
    kc = np.array(centre) @ PBNM
    stencil = plan_stencil(PBNM, centre, 1.0)
    energies = on_stencil(stencil, lambda k: kane(k, expected, alpha, kc), far_above)
    mass = mass_from_stencil(stencil, energies, 0, Carrier.ELECTRON).mass
    error = np.linalg.norm(np.array(mass.tensor_inverse) - expected, 2) / np.linalg.norm(expected, 2)
    assert error < 1e-3
    assert mass.principal == pytest.approx(MASSES, rel=1e-3)
    assert mass.nonparabolicity_per_ev == pytest.approx(alpha, rel=1e-6)
    assert mass.converged
    # both ways of fitting agree on it
    differences = finite_difference_tensor(stencil, energies[:, 0], Carrier.ELECTRON)[2]
    assert differences == pytest.approx(np.array(mass.tensor_inverse), rel=1e-3, abs=5e-3)


def test_the_stencil_finds_an_extremum_that_is_not_at_its_centre():
    expected = tilted((0.15, 0.2, 0.4))
    true = np.array([0.26, 0.1, 0.08])
    outcome = search(
        plan_stencil(PBNM, GENERAL, 1.0),
        1,
        Carrier.ELECTRON,
        far_below,
        lambda k: kane(k, expected, 0.5, true @ PBNM),
    )
    assert outcome.mass.extremum_kpoint == pytest.approx(true, abs=1e-4)
    assert outcome.mass.principal == pytest.approx((0.15, 0.2, 0.4), rel=1e-3)


def test_rashba_split_edge_is_found_off_gamma():
    masses, alpha_x, alpha_y = (0.15, 0.12, 0.3), 1.2, 0.5
    outcome = search(
        plan_stencil(PBNM, GAMMA, None, mass_guess=0.15),
        0,
        Carrier.ELECTRON,
        lambda k: rashba(k, masses, alpha_x, alpha_y),
        spin_orbit=True,
    )
    # E = k²/2m - sqrt(αx²kx² + αy²ky²): the minimum is at kx = mx αx and the curvature along y is
    # 1/my - αy²/(αx² mx), from the second derivative there
    assert outcome.mass.extremum_kpoint[0] * PBNM[0, 0] == pytest.approx(0.15 * alpha_x / HARTREE, rel=1e-3)
    expected = np.diag([1 / 0.15, 1 / 0.12 - (alpha_y / alpha_x) ** 2 / 0.15, 1 / 0.3])
    assert outcome.mass.tensor_inverse == pytest.approx(expected, rel=1e-3, abs=1e-2)
    assert outcome.nature is EdgeNature.SINGLE


def test_small_rashba_splitting_gives_the_mean_of_both_spins():
    masses = (0.15, 0.12, 0.3)
    stencil = plan_stencil(PBNM, GAMMA, None, mass_guess=0.15)
    outcome = mass_from_stencil(
        stencil, on_stencil(stencil, lambda k: rashba(k, masses, 0.2, 0.1)), 0, Carrier.ELECTRON, spin_orbit=True
    )
    assert outcome.mass.principal == pytest.approx(sorted(masses), rel=1e-6)
    assert outcome.mass.degeneracy == 2
    assert any("mean of two spins" in note for note in outcome.mass.notes)


def test_the_same_pair_without_spin_orbit_coupling_has_no_tensor():
    stencil = plan_stencil(PBNM, GAMMA, None, mass_guess=0.15)
    outcome = mass_from_stencil(
        stencil, on_stencil(stencil, lambda k: rashba(k, (0.15, 0.12, 0.3), 0.8, 0.4)), 0, Carrier.ELECTRON
    )
    assert outcome.nature is EdgeNature.SPLIT
    assert outcome.mass.tensor_inverse is None
    assert "linearly" in outcome.mass.notes[0]


def test_bands_that_stay_degenerate_share_a_tensor():
    expected = tilted(MASSES)
    stencil = plan_stencil(PBNM, GAMMA, 1.0)
    energies = on_stencil(stencil, *[lambda k: -kane(k, expected, 0.5)] * 2, far_above)
    outcome = mass_from_stencil(stencil, energies, 1, Carrier.HOLE)
    assert outcome.nature is EdgeNature.TOGETHER
    assert outcome.mass.degeneracy == 2
    assert outcome.mass.principal == pytest.approx(MASSES, rel=1e-3)


def test_degenerate_warped_edge_has_masses_by_direction_only():
    A, B, C = 6.9, 2.1, 3.8
    stencil = plan_stencil(PBNM, GAMMA, 1.0, mass_guess=0.15)
    energies = on_stencil(stencil, lambda k: -luttinger(k, A, B, C), far_above)
    outcome = mass_from_stencil(stencil, energies, 1, Carrier.HOLE)
    assert outcome.nature is EdgeNature.SPLIT
    mass = outcome.mass
    assert (mass.tensor_inverse, mass.principal, mass.gamma_x, mass.converged) == (None, None, None, False)
    assert mass.degeneracy == 2
    assert "quadratically" in mass.notes[0]
    assert mass.path_gamma_x == pytest.approx(1 / (A - B), rel=1e-3)
    # Dresselhaus, Kip and Kittel, eq. (63), along (100) and (110)
    for band, sign in ((1, -1), (0, 1)):
        found = {tuple(np.round(row.direction, 3)): row.extrapolated for row in outcome.directional[band]}
        assert found[1, 0, 0] == pytest.approx(A + sign * B, rel=1e-3)
        assert found[0.707, 0.707, 0] == pytest.approx(A + sign * np.sqrt(B**2 + C**2 / 4), rel=1e-3)


def test_degenerate_bands_that_cross_are_followed_by_projections_or_refused():
    stencil = plan_stencil(PBNM, GAMMA, 1.0, mass_guess=0.15)
    k = np.array(stencil.kpoints) @ PBNM
    k2 = (k**2).sum(axis=1)
    # a parabola, and a band that starts heavier and overtakes it between the two steps
    light = parabola(k, np.eye(3) * 6.0)
    steep = HARTREE * 0.5 * 5.5 * k2 * (1 + 0.05 * k2 / k2[1])
    crossing = np.column_stack([light, steep])
    assert light[1] > steep[1]
    assert light[10] < steep[10]
    rank = np.argsort(crossing, axis=1)
    states = np.eye(2)[rank]
    energies = np.hstack([np.sort(crossing, axis=1), np.full((len(k), 1), 2.0)])
    projections = np.concatenate([states, np.full((len(k), 1, 2), 0.6)], axis=1)
    followed = mass_from_stencil(stencil, energies, 0, Carrier.ELECTRON, projections=projections)
    inverse = sorted(rows[0].extrapolated for rows in followed.directional.values())
    assert inverse == pytest.approx([5.5, 6.0], rel=1e-3)
    with pytest.raises(InputError, match="projections"):
        mass_from_stencil(stencil, energies, 0, Carrier.ELECTRON, projections=projections[:4])


def test_single_warped_band_is_not_taken_for_a_tensor():
    stencil = plan_stencil(PBNM, GAMMA, 1.0, mass_guess=0.15)
    energies = on_stencil(stencil, lambda k: -luttinger(k, 6.9, 2.1, 3.8)[:, 0], far_above)
    outcome = mass_from_stencil(stencil, energies, 0, Carrier.HOLE)
    assert outcome.nature is EdgeNature.SINGLE
    assert outcome.mass.tensor_inverse is None
    assert outcome.mass.notes[0].startswith("warped")
    assert outcome.directional[0]


def test_flat_direction_leaves_the_principal_masses_null():
    tensor = np.diag([8.0, 5.0, 0.0])
    stencil = plan_stencil(PBNM, GAMMA, 1.0, mass_guess=0.15)
    mass = mass_from_stencil(
        stencil, on_stencil(stencil, lambda k: parabola(k, tensor), far_above), 0, Carrier.ELECTRON
    ).mass
    assert mass.tensor_inverse == pytest.approx(tensor, abs=1e-8)
    assert mass.principal is None
    assert mass.gamma_x == pytest.approx(1 / 8)
    assert mass.gamma_z is None
    assert any("flat along z" in note for note in mass.notes)


def test_a_neighbouring_band_makes_the_search_shrink_the_step():
    def near(k):
        return 0.02 + parabola(k, np.eye(3) / 0.15)

    outcome = search(plan_stencil(PBNM, GAMMA, 1.0), 0, Carrier.ELECTRON, lambda k: parabola(k, np.eye(3) / 0.1), near)
    assert outcome.mass.principal == pytest.approx((0.1, 0.1, 0.1), rel=1e-6)
    assert outcome.energy_change_ev <= 0.1 * 0.02 * 1.05


def test_a_tilted_tensor_beside_another_band_converges():
    expected = tilted((0.08, 0.2, 1.0), (0.8, 0.7, 0.4))

    def near(k):
        return 0.06 + parabola(k, expected / 2)

    outcome = search(
        plan_stencil(PBNM, GAMMA, 0.06, mass_guess=0.3), 0, Carrier.ELECTRON, lambda k: parabola(k, expected), near
    )
    assert outcome.mass.converged
    assert outcome.mass.principal == pytest.approx((0.08, 0.2, 1.0), rel=1e-6)


def test_a_band_too_near_to_be_told_apart_is_refused():
    def near(k):
        return 0.0015 + parabola(k, np.eye(3) / 0.15)

    outcome = search(plan_stencil(PBNM, GAMMA, 1.0), 0, Carrier.ELECTRON, lambda k: parabola(k, np.eye(3) / 0.1), near)
    assert outcome.mass.tensor_inverse is None
    assert "noise" in outcome.mass.notes[0]


def test_a_saddle_is_left_downhill():
    def double_well(k):
        x = k[:, 0]
        return HARTREE * (-3 * x**2 + 3000 * x**4 + 0.5 * 6 * (k[:, 1] ** 2 + k[:, 2] ** 2))

    outcome = search(plan_stencil(PBNM, GAMMA, 2.0, mass_guess=0.15), 0, Carrier.ELECTRON, double_well, far_above)
    assert abs(outcome.mass.extremum_kpoint[0]) * PBNM[0, 0] == pytest.approx(np.sqrt(6 / 12000), rel=1e-2)
    # E'' = -6 + 36000 x² = 12 there
    assert outcome.mass.tensor_inverse[0][0] == pytest.approx(12, rel=1e-2)


@settings(max_examples=25, deadline=None)
@given(
    st.floats(0, 2 * np.pi), st.floats(0, np.pi), st.floats(0, 2 * np.pi),
    st.tuples(*[st.floats(0.08, 1.0)] * 3), st.sampled_from([GAMMA, GENERAL]),
)  # fmt: skip
def test_rotating_the_crystal_rotates_the_tensor(a, b, c, masses, centre):
    rotation = Rotation.from_euler("zyz", (a, b, c)).as_matrix()
    inverse = tilted(masses)
    kc = np.array(centre) @ PBNM

    def mass_of(lattice, tensor, shift):
        stencil = plan_stencil(lattice, centre, 1.0)
        energies = on_stencil(stencil, lambda k: kane(k, tensor, 0.3, shift), far_above)
        return np.array(mass_from_stencil(stencil, energies, 0, Carrier.ELECTRON).mass.tensor_inverse)

    straight = mass_of(PBNM, inverse, kc)
    turned = mass_of(PBNM @ rotation.T, rotation @ inverse @ rotation.T, rotation @ kc)
    scale = np.linalg.norm(inverse, 2)
    assert np.linalg.norm(turned - rotation @ straight @ rotation.T, 2) < 1e-3 * scale
    assert np.linalg.norm(straight - inverse, 2) < 1e-3 * scale


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([GAMMA, GENERAL]), st.booleans(), st.floats(-6, 0))
def test_noise_gives_a_reason_and_never_a_wrong_kind_of_number(seed, centre, spin_orbit, exponent):
    generator = np.random.default_rng(seed)
    stencil = plan_stencil(PBNM, centre, 0.5)
    energies = generator.normal(scale=10**exponent, size=(len(stencil.kpoints), 4)) + np.array([-1, 0, 0, 1])
    outcome = mass_from_stencil(stencil, energies, 1, Carrier.HOLE, spin_orbit=spin_orbit)
    mass = outcome.mass
    if mass.tensor_inverse is None:
        assert mass.notes
        assert mass.principal is None
    if mass.principal is not None:
        assert min(mass.principal) > 0
    assert MassTensor.model_validate_json(mass.model_dump_json()) == mass


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_small_noise_moves_the_tensor_little(seed):
    expected = tilted(MASSES)
    stencil = plan_stencil(PBNM, GAMMA, 1.0)
    noise = np.random.default_rng(seed).normal(scale=1e-6, size=len(stencil.kpoints))
    energies = on_stencil(stencil, lambda k: kane(k, expected, 0.3) + noise, far_above)
    mass = mass_from_stencil(stencil, energies, 0, Carrier.ELECTRON).mass
    # eigenvalues good to 1e-6 eV at a step that lifts them by 7 meV: a part in a thousand
    error = np.linalg.norm(np.array(mass.tensor_inverse) - expected, 2) / np.linalg.norm(expected, 2)
    assert error < 2e-3


def test_least_squares_takes_any_set_of_points():
    generator = np.random.default_rng(0)
    k = generator.normal(scale=0.01, size=(40, 3)) + 0.1
    expected = tilted(MASSES)
    centre = np.array([0.102, 0.1, 0.097])
    fit = fit_mass_tensor(k, -parabola(k, expected, centre), Carrier.HOLE)
    assert fit.inverse_mass == pytest.approx(expected, rel=1e-8, abs=1e-8)
    assert fit.stationary_inv_bohr == pytest.approx(centre, abs=1e-8)
    assert fit.residual_ev < 1e-12
    assert fit.degrees_of_freedom == 30


def test_kane_fit_is_exact_for_kanes_band():
    k = np.random.default_rng(1).normal(scale=0.02, size=(30, 3))
    expected = tilted(MASSES)
    tensor, alpha = fit_kane(k, -kane(k, expected, 0.7), Carrier.HOLE)
    assert tensor == pytest.approx(expected, rel=1e-8)
    assert alpha == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("kpoints", "energies", "words"),
    [
        (np.zeros((4, 2)), np.zeros(4), "not (n, 3)"),
        (np.eye(3), np.zeros(4), "not (3,)"),
        (np.full((12, 3), np.nan), np.zeros(12), "not finite"),
        (np.eye(3), np.full(3, np.inf), "not finite"),
        (np.random.default_rng(0).normal(size=(8, 3)), np.zeros(8), "do not determine"),
        (np.outer(np.arange(20), [1, 0, 0]), np.zeros(20), "plane or on a line"),
        ([["a", "b", "c"]], [0], "not numbers"),
    ],
)
def test_bad_points_are_refused(kpoints, energies, words):
    with pytest.raises(InputError) as error:
        fit_mass_tensor(kpoints, energies, Carrier.ELECTRON)
    assert words in error.value.message
    assert error.value.hint


def test_bad_energies_on_a_stencil_are_refused():
    stencil = plan_stencil(PBNM, GAMMA, 1.0)
    good = np.zeros((19, 3)) + np.arange(3)
    for energies, band in ((good[:5], 0), (good, 3), (good * np.nan, 0), (good[:, 0], 0)):
        with pytest.raises(CorecrownError):
            mass_from_stencil(stencil, energies, band, Carrier.ELECTRON)
    outcome = mass_from_stencil(stencil, good, 0, Carrier.ELECTRON)
    assert outcome.mass.notes == ["the band does not change over the stencil"]


def test_a_saddle_tensor_is_refused_and_a_lopsided_one_too():
    assert mass_tensor(np.diag([1.0, 2.0, -1.0]), Carrier.HOLE).tensor_inverse is None
    with pytest.raises(InputError, match="symmetric"):
        mass_tensor([[1, 2, 0], [0, 1, 0], [0, 0, 1]], Carrier.HOLE)
    with pytest.raises(InputError, match="finite"):
        mass_tensor(np.full((3, 3), np.nan), Carrier.HOLE)


def test_mass_along_a_direction():
    mass = mass_tensor(np.diag([2.0, 4.0, 5.0]), Carrier.ELECTRON)
    assert mass_along(mass, (1, 1, 0)) == pytest.approx(1 / 3)
    assert mass_along(MassTensor(), (1, 0, 0)) is None
    with pytest.raises(InputError):
        mass_along(mass, (0, 0, 0))


def lines_and_mesh():
    lines = [np.outer(np.linspace(0, 0.5, 12), axis) for axis in np.eye(3)]
    axes = [np.arange(n) / n for n in (4, 4, 3)]
    return np.vstack([*lines, np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)])


def folded(kpoints):
    """Cartesian k-points of the first zone."""
    return (kpoints - np.round(kpoints)) @ PBNM


def test_from_a_path_and_a_mesh_to_a_tensor():
    expected = tilted(MASSES)
    kpoints = lines_and_mesh()
    energies = np.column_stack([np.full(len(kpoints), -2.0), kane(folded(kpoints), expected, 0.3)])
    plan = plan_edge(kpoints, energies, PBNM, 1, Carrier.ELECTRON)
    assert plan.stencil.centre == GAMMA
    assert len(plan.stencil.kpoints) == 19
    outcome = search(plan.stencil, 1, Carrier.ELECTRON, far_below, lambda k: kane(k, expected, 0.3))
    assert outcome.mass.principal == pytest.approx(MASSES, rel=1e-3)


def test_from_a_coarse_path_to_a_rashba_split_edge():
    masses, alpha = (0.15, 0.12, 0.3), 1.2

    def pair(k):
        return rashba(k, masses, alpha, 0.5)

    kpoints = lines_and_mesh()
    plan = plan_edge(kpoints, pair(folded(kpoints)), PBNM, 0, Carrier.ELECTRON)
    outcome = search(plan.stencil, 0, Carrier.ELECTRON, pair, spin_orbit=True)
    assert abs(outcome.mass.extremum_kpoint[0]) * PBNM[0, 0] == pytest.approx(0.15 * alpha / HARTREE, rel=1e-3)


def test_an_edge_that_cannot_be_planned_has_a_reason():
    kpoints = lines_and_mesh()
    band = parabola(folded(kpoints), np.eye(3) * 5)
    close = plan_edge(kpoints, np.column_stack([band, band + 1.2e-3]), PBNM, 0, Carrier.ELECTRON)
    assert close.stencil is None
    assert "noise" in close.refused.notes[0]
    lone = plan_edge(kpoints[:1], band[:1, None], PBNM, 0, Carrier.ELECTRON)
    assert "only one k-point" in lone.refused.notes[0]
    with pytest.raises(InputError, match="no band 4"):
        plan_edge(kpoints, band[:, None], PBNM, 4, Carrier.ELECTRON)
