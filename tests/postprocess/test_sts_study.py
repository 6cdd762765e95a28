"""Sweeps beside a study: densities of states over dI/dV, the analysis kept with it, its section in the report."""

import json

import pytest

from corecrown.errors import InputError
from corecrown.postprocess.report_sts import alignment_part, scales_of, sts_figures, sts_remarks, sts_tables
from corecrown.postprocess.results import Comparison, ComparisonRow, StudyResult
from corecrown.postprocess.sts.analysis import analyse_groups
from corecrown.postprocess.sts.beside import Overlay, overlays, paired_cells
from corecrown.postprocess.sts.figures import spectra_figure
from corecrown.postprocess.sts.model import SweepSet
from corecrown.postprocess.sts.options import StsOptions
from corecrown.postprocess.sts.overlay import Junction, fit_overlay
from corecrown.postprocess.sts.results import AlignmentKind, StabilityPoint, interval_of
from corecrown.postprocess.sts.storage import STS_FILE, StoredAnalysis, read_analysis, write_analysis
from corecrown.postprocess.sts.synthetic import CORE, CROWN_EDGE, EXAMPLE, generate, write_example


@pytest.fixture(scope="module")
def analysis():
    groups = {
        "core-centre": SweepSet(tuple(generate(CORE, 20, seed=1, points=241))),
        "core-crown-edge": SweepSet(tuple(generate(CROWN_EDGE, 40, seed=2, points=241))),
    }
    return analyse_groups(groups, StsOptions(n_resamples=60))


def bare_study(*labels):
    from test_comparison import cell

    return StudyResult(
        study="s", engine="espresso", protocol="fast", corecrown_version="0", cells=[cell(one, 2.0) for one in labels]
    )


def test_groups_are_paired_with_cells_by_the_names_of_places(analysis):
    study = bare_study("fa000", "fa100-b")
    assert paired_cells(analysis, study) == {"core-centre": "fa000", "core-crown-edge": "fa100-b"}
    assert paired_cells(analysis, study, {"core-centre": "fa100-b"}) == {"core-centre": "fa100-b"}
    with pytest.raises(InputError, match="no such cell"):
        paired_cells(analysis, study, {"core-centre": "fa050"})
    with pytest.raises(InputError, match="no group"):
        paired_cells(analysis, bare_study("mine"))


def test_a_cell_without_a_density_of_states_gives_an_overlay_without_fit_and_the_reason(analysis, tmp_path):
    from corecrown.postprocess.study import Study

    made = overlays(analysis, Study(bare_study("fa000"), tmp_path))
    assert [(one.group, one.cell, one.fit) for one in made] == [("core-centre", "fa000", None)]
    assert "no 'dos'" in made[0].notes[0]


def test_an_analysis_is_kept_whole_and_read_back(analysis, tmp_path):
    kept = [Overlay(group="core-centre", cell="fa000", notes=["no fit"])]
    assert read_analysis(tmp_path) is None
    write_analysis(tmp_path, analysis, kept)
    stored = read_analysis(tmp_path)
    assert stored.analysis.result == analysis.result
    assert stored.overlays == kept
    spectrum, original = stored.analysis.spectra["core-centre"], analysis.spectra["core-centre"]
    assert spectrum.mean_didv == pytest.approx(original.mean_didv, rel=1e-7)
    assert spectrum.set_point == (1e-9, 0.1)
    spectra_figure(stored.analysis)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content.pop("spectra"),
        lambda content: content["result"].update(groups=3),
        lambda content: content["spectra"]["core-centre"].update(bias_v=[0.0]),
        lambda content: content["spectra"]["core-centre"].update(mean_didv=None),
        lambda content: content.update(overlays=[{"group": 1}]),
    ],
)
def test_a_damaged_analysis_is_named(analysis, tmp_path, spoil):
    path = write_analysis(tmp_path, analysis)
    content = json.loads(path.read_text())
    spoil(content)
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=STS_FILE):
        read_analysis(tmp_path)


def test_the_report_has_tables_and_figures_of_what_is_there(analysis):
    stored = StoredAnalysis(analysis, [Overlay(group="core-centre", cell="fa000", notes=["no density of states"])])
    captions = [table.caption for table in sts_tables(stored)]
    starts = ("Edges of averaged", "Spectra that hold two", "Shifts from core", "Change of the states", "Computed dens")
    assert [any(caption.startswith(start) for caption in captions) for start in starts] == [True] * 5
    names = [figure.name for figure in sts_figures(stored, None)]
    assert names == ["sts-spectra", "sts-histograms", "sts-traps", "sts-trap-map-core-crown-edge"]
    assert all("Synthetic" in figure.caption for figure in sts_figures(stored, None))
    assert any("synthetic" in remark for remark in sts_remarks(analysis.result))


def test_all_scales_stand_in_the_report_of_a_study_that_was_compared():
    row = ComparisonRow(cell="fa000", place="core-centre", gap_ev=2.0)
    study = bare_study("fa000").model_copy(update={"comparison": Comparison(rows=[row], experiment="sts-core-crown")})
    table, figure = alignment_part(scales_of(study))
    assert {"UPS core", "optical gap", "DFT fa000"} <= {one[0] for one in table.rows}
    assert figure.draw() is not None
    assert scales_of(bare_study("fa000")) == []


def test_crown_over_core_is_type_i_with_offsets_and_errors(analysis):
    """Truth of the generator: the crown's valence edge 0.16 eV lower, its conduction edge 0.07 eV higher."""
    found = analysis.result.groups["core-crown-edge"].alignment
    assert found.valence_offset_ev == pytest.approx(0.16, abs=0.03)
    assert found.valence_error_ev > 0
    assert found.kind in {AlignmentKind.TYPE_I, AlignmentKind.UNDECIDED}
    assert any("type II" in note for note in found.notes)


def test_every_number_has_an_error_or_a_reason(analysis):
    result = analysis.result
    intervals = [
        getattr(group, name)
        for group in result.groups.values()
        for name in ("vbm_v", "cbm_v", "gap_ev", "trap_integral")
    ]
    assert all((one.standard_error is None) == (one.reason is not None) for one in intervals)
    assert all((one.standard_error is None) == (one.reason is not None) for one in result.shifts)
    assert interval_of(None, None, 0.95).reason == "not found"
    assert "resamples" in interval_of(1.0, None, 0.95).reason
    assert StabilityPoint.model_fields.keys() >= {"gap_error_ev", "relative_dos_error", "reason"}


def test_a_fit_over_another_shape_is_said_to_be_one(analysis):
    from test_sts_overlay import semiconductor

    spectrum = analysis.spectra["core-centre"]
    fit = fit_overlay(
        spectrum.bias_v,
        spectrum.mean_didv,
        semiconductor(),
        Junction(292, bandwidth_v=0.05),
        (-1.13, 1.53),
        resampled=spectrum.resampled_didv[:5],
    )
    assert fit.shift_error_ev > 0
    assert fit.r_squared <= 1


def test_the_example_has_three_places_and_repeated_sweeps(tmp_path):
    folders = write_example(tmp_path / "new", n_platelets=3)
    assert list(folders) == list(EXAMPLE)
    assert len(list(folders["core-centre"].glob("*.csv"))) == 2 + 5
    with pytest.raises(InputError, match="holds something already"):
        write_example(tmp_path / "new")
