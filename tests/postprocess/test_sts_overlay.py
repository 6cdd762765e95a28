"""DFT beside STS: a computed density of states through the junction, alignment of edges, energy scales."""

import numpy as np
import pytest
from pymatgen.electronic_structure.core import Spin
from pymatgen.electronic_structure.dos import Dos

from corecrown.errors import InputError
from corecrown.postprocess.experiment import load_experiment
from corecrown.postprocess.sts.alignment import AlignmentKind, align, alignment_of_places, energy_scales, tip_bending
from corecrown.postprocess.sts.figures import alignment_figure, overlay_figure
from corecrown.postprocess.sts.groups import analyse_group
from corecrown.postprocess.sts.model import SweepSet
from corecrown.postprocess.sts.options import StsOptions
from corecrown.postprocess.sts.overlay import Junction, OverlayDos, fit_overlay, overlay_dos, simulate_didv
from corecrown.postprocess.sts.results import Interval
from corecrown.postprocess.sts.synthetic import CORE, generate

BIAS = np.linspace(-2, 2.4, 401)
ENERGIES = np.linspace(-6, 8, 2801)
GAP = 2.0


def semiconductor():
    density = np.sqrt(np.clip(-ENERGIES, 0, None)) + np.sqrt(np.clip(ENERGIES - GAP, 0, None))
    return OverlayDos(ENERGIES, density, GAP, {"Pb": 0.3 * density})


def test_shift_and_scissor_are_recovered():
    junction = Junction(292, distance_nm=0.6, bandwidth_v=0.05)
    measured = simulate_didv(BIAS, semiconductor(), junction, -1.1, 0.66)
    noisy = measured + np.random.default_rng(0).normal(0, 0.003 * measured.max(), len(BIAS))
    fit = fit_overlay(BIAS, noisy, semiconductor(), junction, (-1.2, 1.6))
    assert fit.shift_ev == pytest.approx(-1.1, abs=0.02)
    assert fit.scissor_ev == pytest.approx(0.66, abs=0.03)
    assert fit.scissor_error_ev < 0.02
    assert fit.r_squared > 0.98


def test_the_deepest_of_several_minima_is_taken_and_the_others_are_told():
    """The measured peak is the second one of the density of states: with equal gaps the first lies under it."""
    peaks = ((-0.1, 1.0), (2.35, 0.4), (2.7, 1.0))
    density = sum(height * np.exp(-(((ENERGIES - place) / 0.1) ** 2)) for place, height in peaks)
    dos = OverlayDos(ENERGIES, density, 2.25)
    junction = Junction(292, bandwidth_v=0.05)
    bias = np.linspace(-2, 2.2, 421)
    measured = simulate_didv(bias, dos, junction, -1.05, 0.0) * np.where(np.abs(bias - 1.3) < 0.12, 0.3, 1.0)
    fit = fit_overlay(bias, measured, dos, junction, (-1.15, 1.65))
    assert fit.scissor_ev == pytest.approx(0.0, abs=0.05)
    assert fit.r_squared > 0.9
    assert any(note.startswith("another minimum") for note in fit.notes)
    assert fit.range_v == pytest.approx((-1.45, 1.95), abs=0.02)


def test_a_flat_density_of_states_without_a_barrier_is_an_ohmic_contact():
    flat = OverlayDos(ENERGIES, np.ones_like(ENERGIES), GAP)
    np.testing.assert_allclose(simulate_didv(BIAS, flat, Junction(292), 0.0), 1.0, rtol=1e-3)


def test_a_step_is_broadened_to_3_53_kt():
    """The derivative of the broadened step is -df/dE, of full width 3.53 kT = 88.7 meV at 292 K."""
    step = OverlayDos(ENERGIES, (ENERGIES > GAP).astype(float), GAP)
    bias = np.linspace(0.5, 1.5, 1001)
    slope = np.gradient(simulate_didv(bias, step, Junction(292), -1.0), bias)
    above = bias[slope > slope.max() / 2]
    assert above[-1] - above[0] == pytest.approx(0.0887, abs=0.004)


def test_transmission_favours_states_far_from_the_fermi_level_on_the_empty_side():
    flat = OverlayDos(ENERGIES, np.ones_like(ENERGIES), GAP)
    didv = simulate_didv(BIAS, flat, Junction(292, distance_nm=0.6), 0.0)
    assert didv[-1] > 2 * didv[len(didv) // 2]


def test_a_density_of_states_that_ends_too_early_is_an_error():
    short = OverlayDos(ENERGIES[:1500], semiconductor().total[:1500], GAP)
    with pytest.raises(InputError, match="more empty bands"):
        simulate_didv(BIAS, short, Junction(292), -1.0)
    with pytest.raises(InputError, match="no projection"):
        simulate_didv(BIAS, semiconductor(), Junction(292), -1.0, part="Cs")


def test_pymatgen_density_of_states():
    density = semiconductor().total
    dos = Dos(0.5, ENERGIES - 1.0, {Spin.up: density, Spin.down: density})
    taken = overlay_dos(dos)
    assert taken.gap_ev == pytest.approx(GAP, abs=0.02)
    np.testing.assert_allclose(taken.total, 2 * density)
    with pytest.raises(InputError, match="no gap"):
        overlay_dos(dos, gap_ev=0.0)


def test_overlay_figure_on_synthetic_sweeps():
    _, spectra = analyse_group(SweepSet(tuple(generate(CORE, 8, seed=1))), StsOptions(n_resamples=0))
    junction = Junction(292, bandwidth_v=0.05)
    fit = fit_overlay(spectra.bias_v, spectra.mean_didv, semiconductor(), junction, (-1.13, 1.53))
    figure = overlay_figure(spectra, semiconductor(), junction, fit)
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["synthetic", "DFT", "Pb", "fitted"]


def test_a_poor_fit_is_said_to_be_one_and_has_no_error():
    _, spectra = analyse_group(SweepSet(tuple(generate(CORE, 8, seed=1))), StsOptions(n_resamples=0))
    junction = Junction(292, bandwidth_v=0.05)
    fit = fit_overlay(spectra.bias_v, spectra.mean_didv, semiconductor(), junction, (-1.13, 1.53))
    good = fit.model_copy(update={"r_squared": 0.95, "scissor_error_ev": 0.003, "scissor_ev": 0.18})
    poor = good.model_copy(update={"r_squared": 0.72})
    title = overlay_figure(spectra, semiconductor(), junction, good).axes[0].get_title(loc="left")
    assert title.endswith("R² 0.95\nscissor +0.18 ± 0.003 eV")
    figure = overlay_figure(spectra, semiconductor(), junction, poor, measured_gap_ev=GAP + 0.54)
    title = figure.axes[0].get_title(loc="left")
    assert title.endswith("R² 0.72: shapes differ\nscissor +0.18 eV; equal gaps need +0.54 eV")


def edge(value, error=0.005):
    return Interval(value=value, standard_error=error)


@pytest.mark.parametrize(
    ("crown", "kind"),
    [
        ((-1.27, 1.66), AlignmentKind.TYPE_I),
        ((-0.9, 1.4), AlignmentKind.INVERTED),
        ((-1.27, 1.4), AlignmentKind.TYPE_II),
        ((-1.115, 1.66), AlignmentKind.UNDECIDED),
    ],
)
def test_kinds_of_alignment(crown, kind):
    found = align((edge(-1.11), edge(1.59)), (edge(crown[0]), edge(crown[1])))
    assert found.kind is kind


def test_the_paper_s_edges_are_type_one_but_without_errors_not_certain():
    """Derived offsets of the source: 0.16 and 0.07 eV."""
    experiment = load_experiment()
    found = alignment_of_places(experiment.places["core-crown-centre"], experiment.places["core-crown-edge"])
    assert found.valence_offset_ev == pytest.approx(0.16)
    assert found.conduction_offset_ev == pytest.approx(0.07)
    assert found.kind is AlignmentKind.UNDECIDED
    assert "taken as they are, the offsets make type I" in found.notes
    assert align((None, None), (None, None)).kind is AlignmentKind.UNDECIDED


def test_all_scales_in_one_diagram_with_the_mismatch_said():
    rows = energy_scales(load_experiment(), {"fa000": 2.0})
    by_label = {row.label: row for row in rows}
    assert by_label["UPS core"].vbm_ev == pytest.approx(-2.58)
    assert "1.45 eV from STS" in by_label["UPS core"].note
    assert by_label["DFT fa000"].cbm_ev == pytest.approx(-1.13 + 2.0)
    assert len(alignment_figure(rows).axes[0].get_xticklabels()) == len(rows)
    with pytest.raises(InputError):
        alignment_figure([])


def test_band_bending_of_the_paper_s_set_point():
    bent = tip_bending(load_experiment(), "core-centre", 1.76, 8.7)
    assert bent["cbm_v"].shift_v > 0 > bent["vbm_v"].shift_v
    assert any("inside the gap" in note for note in bent["cbm_v"].notes)
