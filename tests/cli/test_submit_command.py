"""``corecrown study submit`` as a user calls it, where there is no queue: bad input in one line, scripts to read."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CORECROWN = Path(sys.executable).with_name("corecrown")

STUDY = "name: x\nprotocol: demo\nsteps: [scf]\ncells: [{fa: 0}]\n"


def submit(tmp_path, *arguments, **environment):
    (tmp_path / "study.yaml").write_text(STUDY)
    return subprocess.run(
        [CORECROWN, "study", "submit", tmp_path / "study.yaml", "-d", tmp_path / "out", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
        env=os.environ | environment,
    )


ROW = "cluster failure"
"""Name of the property that docs/make_cluster_failures.py collects from the tests."""

BAD = [
    ("unknown scheduler", ["--scheduler", "lsf"], {}, 2, "'lsf'"),
    (None, [], {}, 2, "--scheduler"),
    (None, ["--scheduler", "slurm", "--worker", "here"], {}, 2, "--worker"),
    ("settings", ["--scheduler", "slurm"], {"CORECROWN_CLUSTER": '{"walltime": "soon"}'}, 2, "soon"),
    ("settings", ["--scheduler", "slurm"], {"CORECROWN_CLUSTER": '{"partition": "x"}'}, 2, "partition"),
    (
        "settings",
        ["--scheduler", "slurm", "--dry-run"],
        {"CORECROWN_CLUSTER": '{"resources": {"quue": "x"}}'},
        2,
        "quue",
    ),
    ("no queue on this machine", ["--scheduler", "slurm"], {"PATH": "/nowhere"}, 1, "not found"),
]


@pytest.mark.parametrize(("event", "arguments", "environment", "code", "named"), BAD, ids=[named for *_, named in BAD])
def test_bad_input_is_one_line_and_a_hint(tmp_path, event, arguments, environment, code, named, record_property):
    done = submit(tmp_path, *arguments, **environment)
    assert done.returncode == code, done.stderr
    assert named in done.stderr
    assert "Traceback" not in done.stderr
    assert "unforeseen" not in done.stderr
    assert done.stdout == ""
    if event is not None:
        how = environment.get("CORECROWN_CLUSTER") or " ".join([*map("=".join, environment.items()), *arguments])
        record_property(ROW, [event, f"`{how}`", f"exit code {code}: {said(done, tmp_path)}"])


def said(done, tmp_path):
    """First line of an error, without the folders of this test and this user."""
    line = done.stderr.removeprefix("corecrown: ").splitlines()[0]
    return line.replace(str(tmp_path), "DIR").replace(str(Path.home()), "~")


def test_a_dry_run_prints_scripts_and_writes_nothing(tmp_path):
    done = submit(tmp_path, "--scheduler", "slurm", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "#SBATCH --time" in done.stdout
    assert "would run: sbatch" in done.stdout
    assert not (tmp_path / "out").exists()
    document = json.loads(submit(tmp_path, "--scheduler", "pbs", "--dry-run", "--json").stdout)
    assert document["dry_run"]
    assert document["tasks"] == [["fa000"]]


def test_a_folder_of_another_study_is_left_alone(tmp_path, record_property):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "study.yaml").write_text(STUDY.replace("name: x", "name: y"))
    done = submit(tmp_path, "--scheduler", "slurm")
    assert done.returncode == 2
    assert "'y'" in done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["study.yaml"]
    record_property(
        ROW, ["folder of another study", "`-d` of that one", f"exit code 2: {said(done, tmp_path)}; nothing written"]
    )


def test_in_queue_is_for_folders_that_were_submitted(tmp_path):
    (tmp_path / "study.yaml").write_text(STUDY)
    command = [CORECROWN, "study", "run", tmp_path / "study.yaml", "-d", tmp_path / "out"]
    done = subprocess.run([*command, "--in-queue"], capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 2
    assert "does not hold study" in done.stderr
    assert not (tmp_path / "out").exists()
    step = subprocess.run([*command, "--step", "scf"], capture_output=True, text=True, check=False, timeout=900)
    assert (step.returncode, "--in-queue" in step.stderr) == (2, True)
