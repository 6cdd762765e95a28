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


BAD = [
    (["--scheduler", "lsf"], {}, 2, "'lsf'"),
    ([], {}, 2, "--scheduler"),
    (["--scheduler", "slurm", "--worker", "here"], {}, 2, "--worker"),
    (["--scheduler", "slurm"], {"CORECROWN_CLUSTER": '{"walltime": "soon"}'}, 2, "soon"),
    (["--scheduler", "slurm"], {"CORECROWN_CLUSTER": '{"partition": "x"}'}, 2, "partition"),
    (["--scheduler", "slurm", "--dry-run"], {"CORECROWN_CLUSTER": '{"resources": {"quue": "x"}}'}, 2, "quue"),
    (["--scheduler", "slurm"], {"PATH": "/nowhere"}, 1, "not found"),
]


@pytest.mark.parametrize(("arguments", "environment", "code", "named"), BAD, ids=[named for *_, named in BAD])
def test_bad_input_is_one_line_and_a_hint(tmp_path, arguments, environment, code, named):
    done = submit(tmp_path, *arguments, **environment)
    assert done.returncode == code, done.stderr
    assert named in done.stderr
    assert "Traceback" not in done.stderr
    assert "unforeseen" not in done.stderr
    assert done.stdout == ""


def test_a_dry_run_prints_scripts_and_writes_nothing(tmp_path):
    done = submit(tmp_path, "--scheduler", "slurm", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "#SBATCH --time" in done.stdout
    assert "would run: sbatch" in done.stdout
    assert not (tmp_path / "out").exists()
    document = json.loads(submit(tmp_path, "--scheduler", "pbs", "--dry-run", "--json").stdout)
    assert document["dry_run"]
    assert document["tasks"] == [["fa000"]]


def test_a_folder_of_another_study_is_left_alone(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "study.yaml").write_text(STUDY.replace("name: x", "name: y"))
    done = submit(tmp_path, "--scheduler", "slurm")
    assert done.returncode == 2
    assert "'y'" in done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["study.yaml"]


def test_in_queue_is_for_folders_that_were_submitted(tmp_path):
    (tmp_path / "study.yaml").write_text(STUDY)
    command = [CORECROWN, "study", "run", tmp_path / "study.yaml", "-d", tmp_path / "out"]
    done = subprocess.run([*command, "--in-queue"], capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 2
    assert "does not hold study" in done.stderr
    assert not (tmp_path / "out").exists()
    step = subprocess.run([*command, "--step", "scf"], capture_output=True, text=True, check=False, timeout=900)
    assert (step.returncode, "--in-queue" in step.stderr) == (2, True)
