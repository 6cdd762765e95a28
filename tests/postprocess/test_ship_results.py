"""Shipping a study: what arrives is the study, whole, with nothing of the machine it ran on."""

import hashlib
import importlib.util
import json
import shutil
import sys
from pathlib import Path

import pytest
from synthetic_study import make_study

from corecrown.postprocess.reference import read_provenance
from corecrown.postprocess.study import read_study
from corecrown.resources import input_folder

SCRIPT = Path(__file__).parents[2] / "scripts" / "ship_results.py"


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def script():
    return load(SCRIPT)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    make_study(folder, labels=("fa000", "fa025-b"))
    return folder


@pytest.fixture
def study(tmp_path, finished):
    return shutil.copytree(finished, tmp_path / "run")


def check_sums(folder):
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    named = {name: digest for digest, name in (line.split("  ") for line in lines)}
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {"SHA256SUMS"}
    assert set(named) == files
    for name, digest in named.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest


def test_what_ships_reads_as_any_study(script, study, tmp_path):
    target = script.ship(study, "mine", root=tmp_path / "reference")
    before, after = read_study(study), read_study(target)
    assert after.labels == before.labels
    for label in after.labels:
        assert after.cell(label).edges == before.cell(label).edges
        assert after.bands(label).nb_bands == before.bands(label).nb_bands
        assert after.dos(label).energies.shape == before.dos(label).energies.shape
    check_sums(target)


def test_a_study_without_files_or_records_ships_and_says_what_is_missing(script, study, tmp_path):
    for path in study.rglob("*.gz"):
        path.unlink()
    (study / "study.yaml").write_text("name: mine\nsteps: [scf, bands]\ncells: [{fa: 0}]\n")
    target = script.ship(study, "mine", root=tmp_path / "reference")
    about = read_provenance(target)["cells"]["fa000"]
    assert set(about["missing"]) == {"scf", "bands"}
    assert "hybrid" in about["not_asked"]
    assert "scf (not finished)" in (target / "README.md").read_text()
    assert read_study(target).cell("fa000").files == {}


def test_what_a_cell_does_not_ask_for_is_not_called_missing(script, study, tmp_path):
    (study / "study.yaml").write_text("name: mine\nsteps: [scf, pdos]\ncells: [{fa: 0, steps: [scf]}]\n")
    about = read_provenance(script.ship(study, "mine", root=tmp_path / "reference"))["cells"]["fa000"]
    assert "pdos" not in about["missing"]
    assert "hybrid" in about["not_asked"]


def test_shipping_again_replaces_and_too_much_is_refused(script, study, tmp_path):
    root = tmp_path / "reference"
    first = script.ship(study, "mine", root=root)
    sums = (first / "SHA256SUMS").read_text()
    assert (script.ship(study, "mine", root=root) / "SHA256SUMS").read_text() == sums
    assert script.main([str(study), "mine", "--root", str(root), "--limit", "0.0001"]) == 2
    assert (first / "SHA256SUMS").read_text() == sums
    assert [path.name for path in root.iterdir()] == ["mine"]


@pytest.mark.parametrize("name", ["../out", "Big Name", "", "-x"])
def test_a_name_must_be_a_plain_one(script, study, tmp_path, name):
    assert script.main([str(study), "--root", str(tmp_path / "r"), "--", name]) == 2


def test_committed_results_are_whole_small_and_name_no_machine():
    folders = [path.parent for path in input_folder("reference").glob("*/study.json")]
    assert folders
    total = 0
    for folder in folders:
        check_sums(folder)
        assert {"codes", "commands", "packages", "cells"} <= set(read_provenance(folder))
        for path in folder.rglob("*"):
            total += path.stat().st_size if path.is_file() else 0
            if path.suffix in {".json", ".yaml", ".in", ".md"}:
                assert not any(word in path.read_text() for word in ("/work/", "/root/", "/home/"))
        study = read_study(folder)
        for cell in study.cells:
            for name in cell.files:
                assert study.file(cell.label, name).is_file()
    assert total < 20e6


def test_study_json_is_json(script, study, tmp_path):
    target = script.ship(study, "mine", root=tmp_path / "reference")
    assert json.loads((target / "study.json").read_text())["study"]


def test_a_rerun_is_held_against_what_ships(tmp_path, capsys):
    check = load(SCRIPT.with_name("check_rerun.py"))
    shipped = input_folder("reference", "demo")
    assert check.main(["demo", str(shipped)]) == 0
    other = tmp_path / "study.json"
    other.write_text((shipped / "study.json").read_text().replace('"gap_ev": 2.13', '"gap_ev": 2.23'))
    assert check.main(["demo", str(tmp_path)]) == 1
    assert "differs by more than" in capsys.readouterr().out
    assert check.main(["nothing", str(shipped)]) == 2


def test_a_cell_that_waits_is_not_run_again(tmp_path, capsys):
    check = load(SCRIPT.with_name("check_rerun.py"))
    content = json.loads((input_folder("reference", "demo") / "study.json").read_text())
    content["cells"][1]["timings"] = {}
    (tmp_path / "study.json").write_text(json.dumps(content))
    assert check.main(["demo", str(tmp_path)]) == 0
    assert f"not run again: ['{content['cells'][1]['label']}']" in capsys.readouterr().out
