"""``bands``, ``pdos``, ``masses``, ``distortion`` and ``study status`` on the results of a study."""

import json

import pytest

from corecrown.cli.main import main
from corecrown.cli.stored import dos_at
from corecrown.resources import input_folder

STUDY = input_folder("reference", "reference")
CELL = STUDY / "cells" / "fa000"


@pytest.fixture
def run(monkeypatch, capsys):
    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["corecrown", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as leave:
            code = leave.code or 0
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


@pytest.mark.parametrize("place", [CELL, CELL / "bands", CELL / "bands" / "bands.json.gz"], ids=lambda path: path.name)
def test_bands_are_those_that_the_study_stored(run, place):
    code, out, _ = run("bands", place, "--json")
    found = json.loads(out)
    cell = next(one for one in json.loads((STUDY / "study.json").read_text())["cells"] if one["label"] == "fa000")
    assert code == 0
    assert found["edges"]["gap_ev"] == pytest.approx(cell["edges_by_source"]["bands"]["gap_ev"])
    assert found["n_electrons"] == 2 * (cell["edges"]["vbm_band"] + 1)
    assert (found["functional"], found["spin_orbit"], found["code"]) == ("PBE", False, "Quantum ESPRESSO")


def test_pdos_and_masses_have_their_usual_fields(run):
    code, out, _ = run("pdos", CELL, "--json")
    assert code == 0
    assert json.loads(out)["edge_character"]["vbm"]["Br-p"] > 0.5
    code, out, _ = run("masses", CELL, "--json")
    assert code == 0
    assert {"carrier", "mass", "method"} <= set(json.loads(out)["path_masses"][0])


def test_the_figure_of_pdos_has_the_edges():
    found, edges = dos_at(CELL)
    assert edges.gap_ev > 1
    assert edges.vbm_ev == pytest.approx(found.dos.efermi, abs=1e-3)


@pytest.mark.parametrize("command", ["bands", "pdos", "masses", "distortion"])
def test_a_study_folder_names_what_to_give(run, command):
    code, _, err = run(command, STUDY)
    assert code == 2
    assert "cells/LABEL" in err
    assert "corecrown report" in err


@pytest.mark.parametrize("command", ["bands", "pdos", "masses"])
def test_a_folder_without_output_names_both_programs_files(run, tmp_path, command):
    code, _, err = run(command, tmp_path)
    assert code == 2
    assert "data-file-schema.xml" in err
    assert "vasprun.xml" in err


def test_masses_without_bands_say_what_is_needed(run):
    code, _, err = run("masses", input_folder("reference", "pbesol") / "cells" / "fa000")
    assert code == 2
    assert "step bands" in err


def test_distortion_of_a_cell_is_that_of_the_study(run):
    code, out, _ = run("distortion", STUDY / "cells" / "fa025-b", "--json")
    assert code == 0
    assert len(json.loads(out)["fa_axis_deg"]) == 1


@pytest.mark.parametrize("name", ["demo", "hybrid"])
def test_finished_steps_of_shipped_results_are_done(run, name):
    code, out, _ = run("study", "status", input_folder("reference", name), "--json")
    assert code == 0
    states = json.loads(out)["cells"]
    assert {state for row in states.values() for state in row.values()} == {"done"}


def test_a_step_that_was_tried_since_is_not_called_done(tmp_path):
    from corecrown.cli.submit import _has_record

    assert not _has_record(tmp_path)
    (tmp_path / "attempt-001").mkdir()
    assert _has_record(tmp_path)
