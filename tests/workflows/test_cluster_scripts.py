"""Scripts for PBS and SGE run by hand, with the variables that these queues set: the scripts, not the queues.

What stands in for ``qsub`` says what the manuals of OpenPBS and SGE let it say, and keeps what it was asked.
"""

import json
import os
import subprocess

import pytest
from small_cluster import write_study

from corecrown.settings import get_settings
from corecrown.workflows.cluster import submit_study
from corecrown.workflows.cluster_queue import Scheduler
from corecrown.workflows.local import read_status
from corecrown.workflows.spec import load_study

pytestmark = pytest.mark.espresso

SAID = {Scheduler.PBS: "12[].head", Scheduler.SGE: 'Your job-array 12.1-2:1 ("x") has been submitted'}

SET = {
    Scheduler.PBS: {"PBS_JOBID": "12[2].head", "PBS_ARRAY_INDEX": "2", "PBS_ENVIRONMENT": "PBS_BATCH"},
    Scheduler.SGE: {"JOB_ID": "12", "SGE_TASK_ID": "2", "SGE_ROOT": "/sge", "JOB_NAME": "x"},
}

OWNER = {Scheduler.PBS: "pbs:12[2].head", Scheduler.SGE: "sge:12.2"}


@pytest.fixture
def queue(tmp_path, monkeypatch):
    """A folder on the path with commands that take every job and know of none."""
    place = tmp_path / "bin"
    place.mkdir()

    def say(scheduler):
        for name, said in (("qsub", SAID[scheduler]), ("qselect", ""), ("qstat", "")):
            path = place / name
            path.write_text(f"#!/bin/sh\necho \"{name} $*\" >>'{place}/asked'\ncat <<'END'\n{said}\nEND\n")
            path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")
        monkeypatch.setenv("CORECROWN_REUSE", "false")
        return place / "asked"

    return say


def run_as_the_queue_would(script, asked, scheduler):
    """Run a script as job 2 of an array, with the variables that were carried along."""
    carried = dict(pair.split("=") for pair in asked.split("-v ")[1].split()[0].split(","))
    environment = os.environ | carried | SET[scheduler]
    return subprocess.run(["bash", script], env=environment, capture_output=True, text=True, check=False, timeout=600)


@pytest.mark.parametrize("scheduler", [Scheduler.PBS, Scheduler.SGE])
def test_a_job_of_an_array_runs_its_cell_and_submits_itself_again(queue, tmp_path, monkeypatch, scheduler):
    asked = queue(scheduler)
    study, folder = load_study(write_study(tmp_path / "in", ("si", "si2"))), tmp_path / "out"

    def submit(walltime):
        model = {"model": "mpi 1"} if scheduler is Scheduler.SGE else {}
        content = {"ranks": 1, "mpi_command": "", "walltime": walltime, "resources": model}
        monkeypatch.setenv("CORECROWN_CLUSTER", json.dumps(content))
        get_settings.cache_clear()
        return submit_study(study, folder, scheduler).folder, asked.read_text().splitlines()[-1]

    place, command = submit("00:00:03")
    ended = run_as_the_queue_would(place / "stage-1.sh", command, scheduler)
    assert ended.returncode in {75, 124}, ended.stderr
    again = asked.read_text().splitlines()[-1]
    assert "CC_TASK=2,CC_ROUND=2" in again
    assert again.endswith(f" {place / 'stage-1.sh'}")
    assert read_status(folder) == {"si": {"scf": "waiting"}, "si2": {"scf": "waiting"}}

    place, command = submit("00:10:00")
    ended = run_as_the_queue_would(place / "stage-1.sh", command, scheduler)
    assert ended.returncode == 0, (place / "logs" / "task-2.log").read_text()
    assert read_status(folder) == {"si": {"scf": "waiting"}, "si2": {"scf": "done"}}
    newest = max(folder.glob("cells/si2/scf/attempt-*/attempt.json"))
    assert json.loads(newest.read_text())["job"] == OWNER[scheduler]
