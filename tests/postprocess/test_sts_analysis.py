"""The whole analysis against the truth of the generator, and on groups that are wrong."""

import contextlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corecrown.errors import InputError
from corecrown.postprocess.experiment import load_experiment
from corecrown.postprocess.sts.analysis import analyse_groups
from corecrown.postprocess.sts.figures import (
    histogram_figure,
    spectra_figure,
    stability_figure,
    sts_figure,
    trap_figure,
    trap_map_figure,
)
from corecrown.postprocess.sts.model import Labels, Skipped, SweepSet, make_sweeps
from corecrown.postprocess.sts.options import SpectrumNormalisation, StsOptions
from corecrown.postprocess.sts.saving import save_experiment, to_experiment
from corecrown.postprocess.sts.synthetic import CORE, CORE_CROWN, CROWN_EDGE, generate, true_edges

FEW = StsOptions(n_resamples=120)


def group(site, seed, name, n=70, repeats=1, **options):
    return SweepSet(tuple(generate(site, n, seed=seed, name=name, sweeps_per_platelet=repeats, **options)))


@pytest.fixture(scope="module")
def analysis():
    return analyse_groups(
        {
            "core-centre": group(CORE, 1, "a", repeats=2),
            "core-crown-centre": group(CORE_CROWN, 2, "b"),
            "core-crown-edge": group(CROWN_EDGE, 3, "c"),
        },
        FEW,
    )


def test_edges_lie_within_20_mev_of_the_truth_with_intervals(analysis):
    for name, site in (("core-centre", CORE), ("core-crown-centre", CORE_CROWN)):
        truth, found = true_edges(site), analysis.result.groups[name]
        for quantity in ("vbm_v", "cbm_v", "gap_ev"):
            interval = getattr(found, quantity)
            assert interval.value == pytest.approx(getattr(truth, quantity), abs=0.02)
            assert interval.low < interval.value < interval.high
            assert 0.001 < interval.standard_error < 0.01
        assert found.by_sweep.gap_ev.n > 60
        assert found.by_sweep.gap_ev.mean == pytest.approx(truth.gap_ev, abs=0.02)


def test_a_47_percent_reduction_of_traps_is_found_within_3_points(analysis):
    truth = 100 * (true_edges(CORE_CROWN).trap_integral / true_edges(CORE).trap_integral - 1)
    assert truth == pytest.approx(-47, abs=0.5)
    change = analysis.result.traps.changes[0]
    assert (change.reference, change.group) == ("core-centre", "core-crown-centre")
    assert change.percent == pytest.approx(truth, abs=3)
    assert change.low < change.percent < change.high


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    """14 groups, three intervals each, at 95 %: fewer than 33 of 42 would be a chance below 1e-4."""
    held = 0
    for seed in range(14):
        batch = group(CORE, 100 + seed, "a", points=241)
        found = analyse_groups({"a": batch}, FEW.model_copy(update={"seed": seed})).result.groups["a"]
        truth = true_edges(CORE)
        for quantity in ("vbm_v", "cbm_v", "gap_ev"):
            interval = getattr(found, quantity)
            held += interval.low <= getattr(truth, quantity) <= interval.high
    assert held >= 33


def test_shifts_come_with_standard_error_and_width_beside(analysis):
    shift = next(s for s in analysis.result.shifts if (s.group, s.quantity) == ("core-crown-centre", "cbm_v"))
    assert shift.value == pytest.approx(0.06, abs=0.02)
    assert shift.exceeds_standard_error
    assert shift.line_width_ev > 0.089 > shift.standard_error


def test_the_edge_site_has_two_sets_and_the_others_one(analysis):
    groups = analysis.result.groups
    assert groups["core-centre"].second_edges is None
    second = groups["core-crown-edge"].second_edges
    assert second.vbm_v.value == pytest.approx(-1.27, abs=0.02)
    assert second.cbm_v.value == pytest.approx(1.66, abs=0.02)
    assert second.vbm_v.low < second.vbm_v.value < second.vbm_v.high


def test_flags_say_what_an_honest_reader_wants_to_know(analysis):
    flags = " ".join(analysis.result.groups["core-centre"].flags)
    assert "set point (0.1 V) lies inside the gap" in flags
    assert "without a prominence" in flags
    assert any("synthetic" in flag for flag in analysis.result.flags)
    assert analysis.result.groups["core-centre"].resolution_ev == pytest.approx(np.hypot(0.0887, 0.0424), abs=0.002)


def test_the_result_is_json_and_the_stability_is_there(analysis):
    document = json.loads(json.dumps(analysis.result.model_dump(mode="json"), allow_nan=False))
    assert list(document["stability"]) == ["core-centre"]
    assert document["traps"]["normalised_by"] == "tallest valence peak"
    assert document["traps"]["window_v"] == [-0.8, 1.0]


def test_the_same_seed_gives_the_same_result():
    batch = {"a": group(CORE, 7, "a", n=10, points=201)}
    assert analyse_groups(batch, FEW).result == analyse_groups(batch, FEW).result


def test_figures_have_journal_width_and_say_synthetic(analysis):
    result = analysis.result
    for figure in (spectra_figure(analysis), histogram_figure(analysis), trap_figure(analysis)):
        assert figure.get_size_inches()[0] == pytest.approx(85 / 25.4)
        assert any("synthetic" in ax.get_title(loc="right") for ax in figure.axes)
    assert sts_figure(analysis).get_size_inches()[0] == pytest.approx(170 / 25.4)
    assert stability_figure(result.stability, synthetic=True).axes
    assert trap_map_figure([m for m in result.traps.maps if m.group == "core-crown-centre"]).axes
    with pytest.raises(InputError):
        stability_figure({})
    with pytest.raises(InputError):
        trap_map_figure([])


def test_saved_experiments_are_read_back_and_pair_places_by_name(analysis, tmp_path):
    save_experiment(analysis.result, tmp_path / "mine.yaml")
    read = load_experiment(tmp_path / "mine.yaml")
    assert read.source.synthetic
    assert [(pair.cell, pair.place) for pair in read.compare] == [
        ("fa000", "core-centre"),
        ("fa025-b", "core-crown-centre"),
        ("fa100-b", "core-crown-edge"),
    ]
    assert read.places["core-centre"].gap_error > 0
    assert read.places["core-crown-edge-second"].cbm_v == pytest.approx(1.66, abs=0.02)
    chosen = to_experiment(analysis.result, "x", {"core-centre": "mine"})
    assert [(pair.cell, pair.place) for pair in chosen.compare] == [("mine", "core-centre")]


@pytest.mark.parametrize("normalisation", [SpectrumNormalisation.CONDUCTANCE, SpectrumNormalisation.NONE])
def test_normalised_routes_find_edges(normalisation):
    """Dividing by I/V lifts the states in the gap, so a peak needs more prominence there."""
    options = FEW.model_copy(update={"normalisation": normalisation, "n_resamples": 30, "prominence": 0.4})
    found = analyse_groups({"a": group(CORE, 1, "a", n=20)}, options).result.groups["a"]
    assert found.cbm_v.value == pytest.approx(1.53, abs=0.12)


def test_a_set_point_in_the_gap_cannot_normalise():
    options = FEW.model_copy(update={"normalisation": SpectrumNormalisation.SET_POINT})
    quiet = SweepSet(tuple(generate(CORE, 8, seed=1, points=201)))
    with pytest.raises(InputError, match="set point"):
        analyse_groups({"a": quiet}, options)


def test_one_platelet_gives_values_without_intervals():
    found = analyse_groups({"a": group(CORE, 1, "a", n=1)}, FEW).result.groups["a"]
    assert found.gap_ev.value is not None
    assert found.gap_ev.low is None
    assert any("without intervals" in flag for flag in found.flags)


def test_a_group_that_cannot_be_analysed_says_why_and_the_others_go_on():
    result = analyse_groups(
        {"good": group(CORE, 1, "a", n=8, points=201), "bad": SweepSet((), (Skipped("x.csv", "line 3: what"),))},
        FEW,
    ).result
    assert result.groups["bad"].gap_ev.value is None
    assert "line 3: what" in result.groups["bad"].flags[0]
    with pytest.raises(InputError, match="line 3: what"):
        analyse_groups({"bad": SweepSet((), (Skipped("x.csv", "line 3: what"),))}, FEW)
    with pytest.raises(InputError, match="no groups"):
        analyse_groups({}, FEW)


def test_one_sided_sweeps_give_one_edge_and_a_window_without_data_is_flagged():
    bias = np.linspace(0.0, 2.4, 301)
    batch = []
    for sweep in generate(CORE, 10, seed=1):
        batch += make_sweeps(bias, np.interp(bias, sweep.bias_v, sweep.current_a), Labels(platelet=sweep.platelet))
    found = analyse_groups({"a": SweepSet(tuple(batch))}, FEW).result.groups["a"]
    assert found.vbm_v.value is None
    assert found.cbm_v.value == pytest.approx(1.53, abs=0.03)
    assert found.trap_integral.value is None
    assert any("no trap integral" in flag for flag in found.flags)
    assert any("no valence edge" in flag for flag in found.flags)


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_any_readable_sweeps_give_json_or_a_reason(data):
    """Steps, spikes, noise, lines and tiny or lopsided ranges: never a traceback, never a number that is none."""
    batch = []
    for index in range(data.draw(st.integers(1, 7))):
        points = data.draw(st.sampled_from([16, 17, 40, 120]))
        low, high = data.draw(st.sampled_from([(-2, 2), (-1e-3, 2), (0, 2), (-2, 0), (0.5, 1), (-0.01, 0.01)]))
        bias = np.linspace(low, high, points)
        random = np.random.default_rng(data.draw(st.integers(0, 99)))
        shape = data.draw(st.sampled_from(["noise", "line", "step", "spike", "cube", "flat"]))
        current = {
            "noise": random.normal(0, 1e-12, points),
            "line": 1e-9 * bias,
            "step": 1e-9 * (bias > bias.mean()),
            "spike": np.where(np.arange(points) == points // 3, 1e-5, 1e-12),
            "cube": 1e-9 * bias**3 + random.normal(0, 1e-13, points),
            "flat": np.full(points, 1e-12) + (np.arange(points) == 0) * 1e-13,
        }[shape]
        with contextlib.suppress(InputError):
            batch += make_sweeps(bias, current, Labels(platelet=f"p{index % 3}", number=index // 3 + 1))
    normalisation = data.draw(st.sampled_from(list(SpectrumNormalisation)))
    options = StsOptions(n_resamples=20, normalisation=normalisation, window_v=(-0.5, 0.5))
    try:
        analysis = analyse_groups({"a": SweepSet(tuple(batch)), "b": SweepSet(tuple(batch[:1]))}, options)
    except InputError:
        return
    json.dumps(analysis.result.model_dump(mode="json"), allow_nan=False)
    assert sts_figure(analysis).axes
