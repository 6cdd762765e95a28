"""Where a stencil lies, how many points it has, and that it can be asked for by a workflow."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mass_models import FCC, HARTREE, PBNM, parabola

from corecrown.errors import InputError
from corecrown.postprocess.mass_stencil import (
    MAX_KPOINTS,
    Stencil,
    combine_stencils,
    directional_curvatures,
    finite_difference_tensor,
    is_time_reversal_invariant,
    plan_stencil,
)
from corecrown.postprocess.masses import Carrier

GENERAL = (0.21, 0.07, 0.4)


@pytest.mark.parametrize(("centre", "count"), [((0, 0, 0), 19), ((0.5, 0.5, 0), 19), (GENERAL, 22)])
def test_number_of_points(centre, count):
    stencil = plan_stencil(PBNM, centre, 1.0)
    assert len(stencil.kpoints) == count
    assert len(set(stencil.kpoints)) == count
    assert stencil.kpoints[0] == pytest.approx(centre)
    assert stencil.mirrored == (count == 19)


def test_without_time_reversal_both_sides_are_computed():
    assert len(plan_stencil(PBNM, (0, 0, 0), 1.0, time_reversal=False).kpoints) == 22


@settings(max_examples=50, deadline=None)
@given(
    st.floats(0.02, 3.0), st.tuples(*[st.floats(0.05, 2.0)] * 3),
    st.sampled_from([(0.0, 0.0, 0.0), (0.5, 0.0, 0.5), GENERAL]), st.sampled_from([PBNM, FCC]),
)  # fmt: skip
def test_energy_stays_below_a_tenth_of_the_distance_to_the_next_band(gap, masses, centre, lattice):
    stencil = plan_stencil(lattice, centre, gap, mass_guess=masses)
    offsets = stencil.offsets_inv_bohr()
    change = parabola(offsets, np.diag(1 / np.array(masses))).max()
    assert change <= 0.1 * gap * (1 + 1e-9)
    assert change <= 0.03 * (1 + 1e-9)
    moved = np.array(stencil.kpoints) - np.array(centre)
    assert np.abs(moved).max() <= 0.12 + 1e-9
    assert moved @ lattice == pytest.approx(offsets, abs=1e-12)


def test_both_edges_together_are_within_the_limit():
    for electron_at, hole_at, count in (((0, 0, 0), (0, 0, 0), 37), (GENERAL, (0.1, 0.2, 0.3), 44)):
        stencils = {
            Carrier.ELECTRON: plan_stencil(PBNM, electron_at, 0.5, mass_guess=0.2),
            Carrier.HOLE: plan_stencil(PBNM, hole_at, 0.9),
        }
        kpoints, indices = combine_stencils(stencils)
        assert len(kpoints) == count <= MAX_KPOINTS
        for carrier, stencil in stencils.items():
            assert kpoints[indices[carrier]] == pytest.approx(np.array(stencil.kpoints))


def test_stencil_goes_through_json():
    stencil = plan_stencil(PBNM, GENERAL, 0.4)
    assert Stencil.model_validate_json(stencil.model_dump_json()) == stencil


@pytest.mark.parametrize("centre", [(0, 0, 0), GENERAL])
def test_quartic_terms_are_removed_and_cubic_ones_do_not_matter(centre):
    stencil = plan_stencil(PBNM, centre, None, mass_guess=(0.1, 0.2, 0.5))
    d = stencil.offsets_inv_bohr()
    tensor = np.array([[8.0, 0.7, -0.4], [0.7, 4.0, 0.3], [-0.4, 0.3, 2.0]])
    x, y, z = d.T
    quartic = 300 * x**4 + 150 * x**2 * y**2 - 200 * z**4 + 120 * y**3 * z
    energies = HARTREE * (0.5 * np.einsum("ni,ij,nj->n", d, tensor, d) + quartic)
    if not stencil.mirrored:
        energies += HARTREE * (20 * x**3 - 30 * x * y * z + 15 * y**2 * z + 0.01 * x - 0.02 * y)
    inner, outer, extrapolated = finite_difference_tensor(stencil, energies, Carrier.ELECTRON)
    assert extrapolated == pytest.approx(tensor, rel=1e-9, abs=1e-9)
    assert np.abs(outer - tensor).max() == pytest.approx(4 * np.abs(inner - tensor).max(), rel=0.3)
    if not stencil.mirrored:
        slopes = [row.slope_ev_bohr for row in directional_curvatures(stencil, energies, Carrier.ELECTRON)[:3]]
        assert slopes == pytest.approx([0.01 * HARTREE, -0.02 * HARTREE, 0], abs=1e-9)


def test_time_reversal_invariant_points():
    assert is_time_reversal_invariant((0.5, -0.5, 1.0))
    assert not is_time_reversal_invariant((0.25, 0, 0))


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        ((PBNM, (0, 0, 0), 0.0), {}, "not above 0"),
        ((PBNM, (0, 0, 0), -1.0), {}, "not above 0"),
        ((PBNM, (0, 0, 0), float("nan")), {}, "not above 0"),
        ((PBNM, (0, 0, 0), 1e-3), {}, "noise"),
        ((PBNM, (0, 0, 0), 1.0), {"mass_guess": -0.1}, "mass_guess"),
        ((PBNM, (0, 0, 0), 1.0), {"mass_guess": (0.1, float("nan"), 1)}, "mass_guess"),
        ((PBNM, (0, 0), 1.0), {}, "extremum"),
        ((PBNM, (0, 0, float("inf")), 1.0), {}, "extremum"),
        ((np.zeros((3, 3)), (0, 0, 0), 1.0), {}, "reciprocal_lattice"),
        ((PBNM, (0, 0, 0), 1.0), {"change_fraction": 1.5}, "change_fraction"),
    ],
)
def test_nonsense_is_refused(arguments, options, words):
    with pytest.raises(InputError) as error:
        plan_stencil(*arguments, **options)
    assert words in error.value.message
