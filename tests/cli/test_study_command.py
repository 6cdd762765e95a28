"""``corecrown study`` as a user calls it: bad input in one line, and a small study on the real pw.x."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

CORECROWN = Path(sys.executable).with_name("corecrown")

CUBIC = """data_CsPbBr3
_cell_length_a 5.87
_cell_length_b 5.87
_cell_length_c 5.87
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'P 1'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Cs1 Cs 0.5 0.5 0.5
Pb1 Pb 0.0 0.0 0.0
Br1 Br 0.5 0.0 0.0
Br2 Br 0.0 0.5 0.0
Br3 Br 0.0 0.0 0.5
"""

STUDY = """name: cubic
protocol: demo
steps: [scf, bands, pdos]
cells:
  - {file: cubic.cif, label: cubic}
overrides:
  all: {cutoff_wfc_ry: 25, kpoint_mesh: [2, 2, 2]}
  bands: {path_spacing: 0.4, conduction_bands: 3}
  pdos: {kpoint_mesh: [2, 2, 2], conduction_bands: 3}
experiment: null
"""


def corecrown(*arguments, **options):
    return subprocess.run(
        [CORECROWN, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=900, **options
    )


def write_study(folder, text=STUDY):
    (folder / "cubic.cif").write_text(CUBIC)
    (folder / "study.yaml").write_text(text)
    return folder / "study.yaml"


BAD = [
    ("", "not a mapping"),
    ("name: [", "not valid YAML"),
    ("- a\n- b\n", "not a mapping"),
    ("name: x\n", "field cells"),
    ("name: x\ncells: []\n", "field cells"),
    ("name: x\ncells: [{fa: 0}]\nstepps: [scf]\n", "field stepps"),
    ("name: x\ncells: [{fa: 0}]\nsteps: [scff]\n", "field steps.0"),
    ("name: x\ncells: [{fa: 30, alignment: b}]\n", "30 %"),
    ("name: x\ncells: [{fa: 25, alignment: d}]\n", "alignment"),
    ("name: x\ncells: [{fa: 25, alignement: b}]\n", "alignement"),
    ("name: x\ncells: [{file: nothing.cif, label: x}]\n", "nothing.cif"),
    ("name: x\ncells: [{fa: 0}]\nprotocol: quick\n", "field protocol"),
    ("name: x\ncells: [{fa: 0}]\nengine: siesta\n", "field engine"),
    ("name: x\ncells: [{fa: 0}]\noverrides: {relax: {kpoint_spacng: 0.3}}\n", "kpoint_spacng"),
    ("name: x\ncells: [{from: fa025-b, replace: {FA: Cs}}]\n", "fa025-b"),
]


@pytest.mark.parametrize(("text", "named"), BAD, ids=[named for _, named in BAD])
def test_bad_input_is_one_line_a_hint_and_exit_2(tmp_path, text, named):
    (tmp_path / "study.yaml").write_text(text)
    done = corecrown("study", "run", tmp_path / "study.yaml", "-d", tmp_path / "out")
    assert done.returncode == 2, done.stderr
    assert named in done.stderr.splitlines()[0]
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "out").exists()


def test_a_missing_file_is_named(tmp_path):
    done = corecrown("study", "plan", tmp_path / "none.yaml")
    assert done.returncode == 2
    assert "none.yaml" in done.stderr


def test_another_study_in_the_folder_is_left_alone(tmp_path):
    study = write_study(tmp_path)
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "study.yaml").write_text(STUDY.replace("name: cubic", "name: other"))
    done = corecrown("study", "run", study, "-d", folder)
    assert done.returncode == 2
    assert "'other'" in done.stderr
    assert (folder / "study.yaml").read_text() == STUDY.replace("name: cubic", "name: other")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("x")
    assert corecrown("study", "run", study, "-d", tmp_path / "full").returncode == 2


def test_status_of_a_folder_without_a_study_is_refused(tmp_path):
    done = corecrown("study", "status", tmp_path)
    assert done.returncode == 2
    assert "holds no study" in done.stderr


def test_no_program_is_said_with_its_cure(tmp_path):
    study = write_study(tmp_path)
    environment = {**os.environ, "CORECROWN_ESPRESSO_BIN": str(tmp_path / "nowhere")}
    done = corecrown("study", "run", study, "-d", tmp_path / "out", env=environment)
    assert done.returncode in {1, 2}
    assert "nowhere" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.espresso
def test_plan_writes_inputs_and_runs_nothing(tmp_path):
    study = write_study(tmp_path)
    done = corecrown("study", "plan", study, "--inputs", tmp_path / "inputs", "--json")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    scf = plan["cells"]["cubic"]["scf"]
    assert scf["n_electrons"] == 44  # Cs 9 + Pb 14 + 3 Br 7
    assert scf["n_kpoints"] == 4  # Γ, X, M, R
    assert scf["n_bands"] == 26
    assert not scf["reused"]
    assert plan["total_core_hours"] > 0
    text = (tmp_path / "inputs" / scf["folder"] / "pw.in").read_text()
    assert "2 2 2" in text
    assert (tmp_path / "inputs" / scf["folder"] / "pseudo" / "Pb.upf").is_file()
    assert not list((tmp_path / "inputs").glob("**/pw.out"))


@pytest.mark.espresso
def test_a_study_killed_in_the_middle_continues_and_repeats_nothing(tmp_path):
    study, folder = write_study(tmp_path), tmp_path / "out"
    process = subprocess.Popen(
        [CORECROWN, "study", "run", str(study), "-d", str(folder)],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    result = folder / "cells" / "cubic" / "scf" / "result.json"
    deadline = time.monotonic() + 600
    while not result.is_file():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = result.read_text()
    states = json.loads(corecrown("study", "status", folder, "--json").stdout)["cells"]["cubic"]
    assert states["scf"] == "done"
    assert states["pdos"] != "done"
    done = corecrown("study", "run", study, "-d", folder, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert result.read_text() == before, "the finished scf was not touched"
    assert [path.name for path in (folder / "cells/cubic/scf").glob("attempt-*")] == ["attempt-001"]
    cell = document["cells"][0]
    assert cell["edges"]["gap_ev"] == pytest.approx(1.7, abs=0.4)
    assert cell["levels"][0]["functional"] == "PBE"
    assert (folder / "report.html").is_file()
    stored = json.loads((folder / "study.json").read_text())
    assert stored == document

    forgotten = corecrown("study", "rerun", folder, "--cell", "cubic", "--step", "pdos", "--json")
    assert forgotten.returncode == 0, forgotten.stderr
    assert len(list((folder / "cells/cubic/pdos").glob("attempt-*"))) >= 2
    assert [path.name for path in (folder / "cells/cubic/scf").glob("attempt-*")] == ["attempt-001"]
    assert corecrown("study", "rerun", folder, "--cell", "cubic", "--step", "hybrid").returncode == 2


@pytest.mark.parametrize("arguments", [["bands", "--nope"], ["bands"], ["nope"], ["study", "run"]])
def test_a_mistyped_command_is_one_line_and_exit_2(arguments):
    done = corecrown(*arguments)
    assert done.returncode == 2
    assert "unforeseen" not in done.stderr
    assert done.stderr.startswith("corecrown: ")
