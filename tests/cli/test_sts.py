"""The commands sts and compare: what they print, write and refuse."""

import json

import pytest
from typer.testing import CliRunner

from corecrown.cli.main import app
from corecrown.errors import InputError
from corecrown.postprocess.experiment import load_experiment
from corecrown.postprocess.results import BandEdges, CellResult, RunSettings, StudyResult
from corecrown.postprocess.sts.synthetic import CORE, CORE_CROWN, generate, write_csv

FEW = ["--resamples", "60"]


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def document(*arguments):
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweeps")
    write_csv(generate(CORE, 12, seed=1, name="core", points=241, sweeps_per_platelet=2), folder / "core")
    write_csv(generate(CORE_CROWN, 12, seed=2, name="crown", points=241), folder / "crown")
    (folder / "core" / "broken.csv").write_text("bias_V,current_A\n1,2\n3,x\n", encoding="utf-8")
    return folder


def test_groups_give_the_document_that_others_rely_on(sweeps):
    found = document("sts", "-g", f"core-centre={sweeps}/core/*.csv", "-g", f"core-crown-centre={sweeps}/crown", *FEW)
    group = found["groups"]["core-centre"]
    assert group["n_sweeps"] == 24
    assert group["skipped"] == [{"file": f"{sweeps}/core/broken.csv", "reason": "line 3: 'x' is not a number"}]
    for quantity in ("vbm_v", "cbm_v", "gap_ev"):
        assert {"value", "low", "high"} <= set(group[quantity])
        assert {"mean", "std", "n"} <= set(group["by_sweep"][quantity])
    assert set(group["onset"]) == {"onset-log", "onset-linear"}
    assert group["second_edges"] is None
    assert group["resolution_ev"] > 0.089
    assert found["traps"]["window_v"] == [-0.8, 1.0]
    assert found["traps"]["normalised_by"] == "tallest valence peak"
    assert {"reference", "group", "percent", "low", "high"} <= set(found["traps"]["changes"][0])
    assert {"sweep", "gap_ev", "in_gap_dos"} <= set(found["stability"]["core-centre"][0])
    assert any("synthetic" in flag for flag in found["flags"])


def test_save_and_figure_are_written_and_the_tables_printed(sweeps, tmp_path):
    saved, drawn = tmp_path / "mine.yaml", tmp_path / "sts.pdf"
    result = run(
        *("sts", "-g", f"core={sweeps}/core", "-g", f"crown={sweeps}/crown", "--cell", "core=fa000", *FEW),
        *("--save", saved, "--figure", drawn),
    )
    assert result.exit_code == 0, result.output
    assert "Edges of averaged spectra" in result.stdout
    assert "synthetic sweeps" in result.stdout
    assert "skipped" in result.stdout
    assert load_experiment(saved).compare[0].cell == "fa000"
    content = drawn.read_bytes()
    assert content.startswith(b"%PDF")
    assert b"/Type3" not in content


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no sweeps were given"),
        (["missing.csv"], "none of 1 files could be read"),
        (["-g", "a=nothing*.csv"], "no file matches"),
        (["-g", "core"], "is not NAME=PATTERN"),
        (["-g", "a=x.csv", "-g", "a=y.csv"], "given twice"),
        (["x.csv", "-g", "a=x.csv"], "both given"),
        (["x.csv", "--method", "guess"], "'guess' is not known"),
        (["x.csv", "--prominence", "2"], "--prominence: "),
        (["x.csv", "--normalise", "nicely"], "--normalise: "),
        (["x.csv", "--figure", "x.doc"], "unknown suffix"),
        (["x.csv", "--temperature", "-3"], "--temperature: "),
    ],
)
def test_wrong_input_is_refused_with_a_reason(arguments, message):
    result = run("sts", *arguments)
    assert isinstance(result.exception, InputError)
    assert message in result.exception.message
    assert result.exception.hint


def a_cell(label, gap):
    return CellResult(
        label=label,
        formula="Cs4Pb4Br12",
        structure={},
        lattice_a_angstrom=8.2,
        lattice_b_angstrom=8.25,
        lattice_c_angstrom=11.76,
        volume_angstrom3=796.0,
        settings=RunSettings(functional="PBE", cutoff_wfc_ry=40, kpoint_mesh=(2, 2, 1)),
        edges=BandEdges(vbm_ev=0.0, cbm_ev=gap, gap_ev=gap),
    )


@pytest.fixture
def study_folder(tmp_path):
    study = StudyResult(
        study="s",
        engine="espresso",
        protocol="demo",
        corecrown_version="0",
        cells=[a_cell("fa000", 2.0), a_cell("fa025-b", 2.05)],
    )
    (tmp_path / "study.json").write_text(study.model_dump_json(), encoding="utf-8")
    return tmp_path


def test_compare_prints_rows_ledger_and_flags(study_folder):
    found = document("compare", study_folder)
    assert [row["cell"] for row in found["rows"]] == ["fa000", "fa025-b", "fa100-b"]
    assert found["rows"][1]["shift_ev"] == pytest.approx(0.05)
    assert found["ledger"][0]["term"] == "bulk gap"
    assert found["flags"]
    text = run("compare", study_folder)
    assert text.exit_code == 0
    assert "core-crown-centre" in text.stdout
    assert "bulk gap" in text.stdout
    assert "3.53 kT" in text.stdout


def test_compare_knows_what_the_protocol_leaves_on_a_gap(study_folder):
    known = document("compare", study_folder)
    given = document("compare", study_folder, "--gap-uncertainty", "0.001")
    assert known["gap_uncertainty_ev"] > 0.01
    assert given["rows"][1]["shift_uncertainty_ev"] == pytest.approx(0.001 * 2**0.5)


def test_compare_reads_what_sts_saved(study_folder, sweeps, tmp_path):
    saved = tmp_path / "mine.yaml"
    pairs = ["--cell", "core=fa000", "--cell", "crown=fa025-b"]
    groups = ["-g", f"core={sweeps}/core", "-g", f"crown={sweeps}/crown"]
    assert run("sts", *groups, *pairs, *FEW, "--save", saved).exit_code == 0
    found = document("compare", study_folder, "--experiment", saved)
    row = found["rows"][1]
    assert row["place"] == "crown"
    assert row["sts_shift_uncertainty_ev"] > 0
    assert any("synthetic" in flag for flag in found["flags"])
    (study_folder / "study.yaml").write_text(f"experiment: {saved}\n", encoding="utf-8")
    assert document("compare", study_folder)["rows"][1]["place"] == "crown"


def test_compare_without_a_study_or_with_a_wrong_experiment(study_folder, tmp_path):
    missing = run("compare", tmp_path / "nowhere")
    assert isinstance(missing.exception, InputError)
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("name: x\nplace: {}\n", encoding="utf-8")
    result = run("compare", study_folder, "--experiment", wrong)
    assert isinstance(result.exception, InputError)
    assert "wrong.yaml" in result.exception.message


def test_synthetic_sweeps_are_made_analysed_and_drawn(tmp_path):
    found = document("sts", "--synthetic", tmp_path / "sweeps", "--figures", tmp_path / "figures", "--resamples", "30")
    assert list(found["groups"]) == ["core-centre", "core-crown-centre", "core-crown-edge"]
    assert all(group["synthetic"] for group in found["groups"].values())
    assert [point["sweep"] for point in found["stability"]["core-centre"]] == [1, 2, 3, 4, 5]
    assert {path.name for path in (tmp_path / "figures").glob("*.png")} >= {"sts-spectra.png", "sts-stability.png"}
    again = run("sts", "--synthetic", tmp_path / "sweeps")
    assert isinstance(again.exception, InputError)
