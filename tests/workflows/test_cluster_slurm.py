"""Studies of silicon as jobs of a real Slurm on this machine, without a database, and what can go wrong on the way."""

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest
from small_cluster import (
    CORECROWN,
    ON_SLURM,
    TABLE_ROW,
    attempts,
    corecrown,
    result,
    said_of,
    until,
    write_study,
)

from corecrown.cli.submit import status_of
from corecrown.errors import InputError, RunError
from corecrown.settings import get_settings
from corecrown.workflows.cluster import submit_study
from corecrown.workflows.cluster_queue import Scheduler
from corecrown.workflows.cluster_script import margin_s
from corecrown.workflows.spec import load_study

pytestmark = ON_SLURM

ONE_RANK = {"ranks": 1, "mpi_command": "", "walltime": "00:10:00"}

LONG = "kpoint_mesh: [6, 6, 6], cutoff_wfc_ry: 40, mixing_beta: 0.015, scf_threshold_ry_per_atom: 1.0e-13"
"""An scf of many short iterations, so that it can be stopped in the middle."""


@pytest.fixture
def settings(slurm, monkeypatch):
    """Set the section cluster of the settings, here and for the processes of the test."""

    def choose(**fields):
        monkeypatch.setenv("CORECROWN_CLUSTER", json.dumps({**ONE_RANK, **fields}))
        monkeypatch.setenv("CORECROWN_REUSE", "false")
        monkeypatch.setenv("CORECROWN_CUSTODIAN_POLLING_S", "0.1")
        for name, value in slurm.environment.items():
            monkeypatch.setenv(name, value)
        get_settings.cache_clear()

    choose()
    return choose


def submit(study, folder):
    return submit_study(load_study(study), folder, Scheduler.SLURM)


def states_here(folder):
    """Return the states that ``study status`` tells, without the seconds that another Python takes to start."""
    return status_of(folder)[0]


def logs(folder):
    return "\n".join(path.read_text() for path in sorted(folder.glob("cluster/*/logs/*")))


def iterations(folder):
    """Number of scf iterations that the newest attempt has printed."""
    outputs = sorted(folder.glob("cells/si/scf/attempt-*/pw.out"))
    return outputs[-1].read_text(errors="replace").count("iteration #") if outputs else 0


def test_an_array_of_cells_one_of_which_fails_submitted_twice_at_once(slurm, settings, tmp_path, record_property):
    study, folder = write_study(tmp_path / "in", ("si", "si2", "bad")), tmp_path / "out"
    bad = (tmp_path / "in" / "bad.vasp").read_text().replace("Si", "Xe")
    (tmp_path / "in" / "bad.vasp").write_text(bad)
    command = [CORECROWN, "study", "submit", str(study), "-d", str(folder), "--scheduler", "slurm"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [(process.communicate(timeout=600), process.returncode) for process in both]
    assert sorted(code for _, code in said) in ([0, 1], [0, 2]), said
    refusal = next(text for (_, text), code in said if code)
    assert "in use by" in refusal or "submitted already" in refusal
    assert len(list(folder.glob("cluster/*/submission.json"))) == 1
    slurm.until_empty()
    found = states_here(folder)
    assert found == {"si": {"scf": "done"}, "si2": {"scf": "done"}, "bad": {"scf": "failed"}}, logs(folder)
    assert [attempts(folder, label) for label in ("si", "si2")] == [["attempt-001"]] * 2
    assert "Xe" in json.loads((folder / "cells/bad/scf/attempt-001/failure.json").read_text())["reason"]
    assert logs(folder).count("exit code 1,") == 1, "what fails is not submitted again"
    collected = corecrown("study", "collect", folder, "--json")
    assert collected.returncode == 0, collected.stderr
    cells = {cell["label"]: cell for cell in json.loads(collected.stdout)["cells"]}
    assert cells["si"]["edges"]["gap_ev"] == pytest.approx(0.6, abs=0.2)
    assert "Xe" in cells["bad"]["failed"]["scf"]
    record_property(
        TABLE_ROW, ["two submits of one study at once", "two processes", f"one submits; the other: {said_of(refusal)}"]
    )
    told = f"that cell failed, the others done, not submitted again: {cells['bad']['failed']['scf'].split(' (')[0]}"
    record_property(TABLE_ROW, ["a job raises", "an element without pseudopotential", told])
    with pytest.raises(InputError, match="every cell is finished"):
        submit(write_study(tmp_path / "in2", ("si", "si2")), folder)


@pytest.mark.parametrize("page", ["README.md", "docs/clusters.md"])
def test_the_documentation_is_followed_word_by_word(slurm, settings, tmp_path, page):
    text = (Path(__file__).parents[2] / page).read_text()
    block = re.search(r"```console\n(\$ corecrown study submit .*?)```", text, flags=re.DOTALL)[1]
    commands = [line.removeprefix("$ ") for line in block.splitlines()]
    named, folder = re.search(r"submit (\S+) -d (\S+) --scheduler slurm", commands[0]).groups()
    # the study of that name takes hours: here silicon goes by it
    write_study((tmp_path / named).parent).rename(tmp_path / named)
    environment = os.environ | {"PATH": f"{CORECROWN.parent}:{os.environ['PATH']}"}
    for command in commands:
        if " collect " in command:
            slurm.until_empty()
        done = subprocess.run(
            command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
    assert [command.split()[2] for command in commands][-3:] == ["submit", "status", "collect"]
    assert states_here(tmp_path / folder) == {"si": {"scf": "done"}}
    assert (tmp_path / folder / "report.html").is_file()


def test_scancel_of_a_waiting_and_of_a_running_job(slurm, settings, tmp_path, record_property):
    study, folder = write_study(tmp_path / "in", scf=LONG), tmp_path / "out"
    slurm.ask("scontrol", "update", "partitionname=debug", "state=down")
    submit(study, folder)
    assert [line.split()[1] for line in slurm.jobs()] == ["PD"]
    assert states_here(folder) == {"si": {"scf": "queued"}}
    with pytest.raises(InputError, match="1 waiting"):
        submit(study, folder)
    slurm.ask("scancel", slurm.jobs()[0].split()[0])
    slurm.until_empty()
    slurm.ask("scontrol", "update", "partitionname=debug", "state=up")
    assert states_here(folder) == {"si": {"scf": "waiting"}}
    record_property(
        TABLE_ROW, ["scancel of a waiting job", "partition down", "status: queued, then waiting; submit again"]
    )

    submit(study, folder)
    until(lambda: iterations(folder) >= 3)
    assert states_here(folder) == {"si": {"scf": "running"}}
    slurm.ask("scancel", slurm.jobs()[0].split()[0])
    slurm.until_empty()
    # ranks outlive the job by seconds
    until(lambda: states_here(folder)["si"]["scf"] in {"waiting", "failed"}, within=60)
    after = states_here(folder)["si"]["scf"]
    record_property(
        TABLE_ROW,
        [
            "scancel of a running job",
            "in the middle of an scf",
            f"status: {after}; not submitted again by itself; submit again goes on in a fresh attempt",
        ],
    )
    assert not (folder / "cells/si/scf/result.json").exists()
    assert not slurm.jobs(), "what was cancelled is not submitted again by itself"


def test_a_killed_runner_and_a_walltime_that_ends_in_the_middle_of_an_scf(slurm, settings, tmp_path, record_property):
    study, folder = write_study(tmp_path / "in", scf=LONG), tmp_path / "out"
    submit(study, folder)
    until(lambda: list(folder.glob("cells/si/scf/attempt-*/attempt.json")))
    began = time.monotonic()
    owner = json.loads((folder / "cells/si/scf/attempt-001/attempt.json").read_text())
    assert re.fullmatch(r"slurm:\d+", owner["job"])
    until(lambda: iterations(folder) >= 8)
    eight = time.monotonic() - began
    os.kill(owner["pid"], signal.SIGKILL)
    until(lambda: "Submitted batch job" in logs(folder))
    assert "exit code 137" in logs(folder)
    again = re.search(r"Submitted batch job (\d+)", logs(folder))[1]
    slurm.ask("scancel", again)
    slurm.until_empty()
    assert not (folder / "cells/si/scf/result.json").exists()

    # As long as it takes to start Python, and for some of the iterations. The machine may be quicker by now than it was
    # when that was measured: less is then allowed.
    log = next(folder.glob("cluster/001/logs/task-1.log"))
    first = datetime.fromisoformat(re.search(r"round 1, (\S+) on", log.read_text())[1]).timestamp()
    start = datetime.fromisoformat(owner["started"]).timestamp() - first
    for share in (1.6, 1.0, 0.5, 0.25):
        folder = tmp_path / f"walltime-{share}"
        allowed = math.ceil(start + share * eight) + margin_s(0) + 1
        settings(walltime=str(allowed))
        submit(study, folder)
        slurm.until_empty()
        told = logs(folder)
        out_of_time = re.search(r"left of the walltime.*\n.*exit code (75|124)", told)
        if out_of_time:
            break
    assert out_of_time, "out of time, and submitted again"
    assert states_here(folder) == {"si": {"scf": "done"}}, told
    done = result(folder)
    assert any(note.startswith("went on from the density of attempt-") for note in done["notes"]), told
    assert done["timing"]["attempts"] >= 2
    record_property(
        TABLE_ROW,
        [
            "runner of a job killed",
            "kill -9 in the middle of an scf",
            "exit code 137; the job submits itself again and goes on in a fresh attempt",
        ],
    )
    note = next(note for note in done["notes"] if note.startswith("went on"))
    record_property(
        TABLE_ROW,
        [
            "walltime reached",
            f"{allowed} s, in the middle of an scf",
            f"pw.x stops in time, the job submits itself again: {note}",
        ],
    )


def test_a_queue_that_refuses_or_is_not_there(slurm, settings, tmp_path, monkeypatch, record_property):
    study = write_study(tmp_path / "in")
    settings(resources={"partition": "nowhere"})
    with pytest.raises(RunError, match="invalid partition") as refused:
        submit(study, tmp_path / "out")
    record_property(
        TABLE_ROW,
        ["the queue refuses", "a partition that is not there", f"exit code 1: {said_of(refused.value.message)}"],
    )
    settings()
    submit(study, tmp_path / "out")
    slurm.ask("scancel", "--name", slurm.jobs()[0].split()[2])
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    with pytest.raises(RunError, match=r"sbatch: not found|cannot be asked"):
        submit(study, tmp_path / "out")
