"""Studies of silicon through jobflow-remote and a real Slurm on this machine, and what can go wrong on the way."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from small_cluster import (
    ON_SLURM,
    TABLE_ROW,
    attempts,
    corecrown,
    free_port,
    holder,
    result,
    said_of,
    states,
    until,
    write_study,
)

pytestmark = ON_SLURM

SECANTUS = Path(sys.executable).parent.parent / "secantus" / "bin" / "secantusd-py"


@pytest.fixture(scope="module")
def project(slurm, tmp_path_factory):
    """A jobflow-remote project with this Slurm as its worker; its queue is a server that talks as MongoDB does."""
    pytest.importorskip("jobflow_remote", reason="jobflow-remote is not installed (pip install 'corecrown[cluster]')")
    if not SECANTUS.exists():
        pytest.skip("no MongoDB-protocol server for tests (make install-dev installs one in .venv/secantus)")
    place, port = tmp_path_factory.mktemp("remote"), free_port()
    with (place / "db.log").open("wb") as log:
        server = subprocess.Popen(
            [SECANTUS, "--port", str(port), "--storage-path", ":memory:", "--log-level", "WARNING"],
            stdout=log, stderr=log, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    store = {"type": "MongoStore", "host": "127.0.0.1", "port": port, "database": "jf"}
    store["mongoclient_kwargs"] = {"directConnection": True}
    activate = Path(sys.executable).with_name("activate")
    content = {
        "name": "test",
        "workers": {
            "here": {
                "type": "local",
                "scheduler_type": "slurm",
                "work_dir": str(place / "work"),
                "pre_run": f"source {activate}\nexport CORECROWN_MPI_COMMAND= CORECROWN_MPI_RANKS=1 "
                "CORECROWN_CUSTODIAN_POLLING_S=0.1",
                "resources": {"nodes": 1, "ntasks": 1, "time": "00:10:00"},
            }
        },
        "queue": {"store": {**store, "collection_name": "jobs"}},
        "jobstore": {"docs_store": {**store, "collection_name": "outputs"}},
        "runner": {
            "delay_checkout": 0.3,
            "delay_check_run_status": 0.3,
            "delay_advance_status": 0.3,
            "delta_retry": [1, 2, 5],
        },
    }
    (place / "projects").mkdir()
    (place / "projects" / "test.yaml").write_text(yaml.safe_dump(content))
    names = {"JFREMOTE_PROJECTS_FOLDER": str(place / "projects"), "JFREMOTE_PROJECT": "test", **slurm.environment}
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(names)
    jf = Path(sys.executable).with_name("jf")
    try:
        until(lambda: subprocess.run([jf, "admin", "reset", "--yes"], capture_output=True, check=False).returncode == 0)
        yield jf
    finally:
        server.terminate()
        server.wait(timeout=20)
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)


def run_jobs():
    """Run what waits in the project until nothing is left, in a process of its own: settings are read on import."""
    code = "from jobflow_remote.jobs.runner import Runner; Runner(project_name='test').run_all_jobs(max_seconds=600)"
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=900)


def test_a_worker_of_jobflow_remote_whose_runner_is_killed(project, tmp_path, record_property):
    study, folder = write_study(tmp_path / "in", ("si", "bad", "busy")), tmp_path / "out"
    bad = tmp_path / "in" / "bad.vasp"
    bad.write_text(bad.read_text().replace("Si", "Xe"))
    unknown = corecrown("study", "submit", study, "-d", folder, "--worker", "nowhere")
    assert unknown.returncode == 2
    assert "here" in unknown.stderr
    assert not folder.exists()
    done = corecrown("study", "submit", study, "-d", folder, "--worker", "here")
    assert done.returncode == 0, done.stderr
    assert states(folder) == {label: {"scf": "queued"} for label in ("si", "bad", "busy")}
    someone = holder(folder / "cells" / "busy")
    twice = corecrown("study", "submit", study, "-d", folder, "--worker", "here")
    assert (twice.returncode, "submitted already" in twice.stderr) == (2, True)
    other = corecrown("study", "submit", study, "-d", folder, "--scheduler", "slurm")
    assert (other.returncode, "submitted already" in other.stderr) == (2, True), "whichever way was taken first"
    runner = subprocess.Popen([project, "runner", "run"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: list(folder.glob("cells/*/scf/attempt-*")))
    runner.kill()
    runner.wait()
    run_jobs()
    someone.kill()
    someone.wait()
    told = corecrown("study", "status", folder, "--json")
    found = json.loads(told.stdout)
    assert found["cells"] == {"si": {"scf": "done"}, "bad": {"scf": "failed"}, "busy": {"scf": "failed"}}
    refused = next(note for note in found["notes"] if note.startswith("busy scf"))
    assert f"in use by process {someone.pid}" in refused
    assert (attempts(folder), attempts(folder, "busy")) == (["attempt-001"], [])
    collected = corecrown("study", "collect", folder, "--json")
    assert collected.returncode == 0, collected.stderr
    cells = {cell["label"]: cell for cell in json.loads(collected.stdout)["cells"]}
    assert cells["si"]["edges"]["gap_ev"] == pytest.approx(0.6, abs=0.2)
    assert "Xe" in cells["bad"]["failed"]["scf"]
    record_property(
        TABLE_ROW,
        [
            "jobflow-remote: someone else works on the cell",
            "study run of that cell goes on",
            "failed: in use by that process; nothing was written; jf job rerun ID once it is done",
        ],
    )
    record_property(
        TABLE_ROW, ["jobflow-remote: unknown worker", "--worker nowhere", f"exit code 2: {said_of(unknown.stderr)}"]
    )
    record_property(
        TABLE_ROW,
        ["jobflow-remote: submitted twice", "one submit after the other", f"exit code 2: {said_of(twice.stderr)}"],
    )
    record_property(
        TABLE_ROW,
        [
            "jobflow-remote: runner killed",
            "kill -9 while a job runs",
            "nothing lost: the Slurm job goes on, the next runner reads it back",
        ],
    )
    record_property(
        TABLE_ROW,
        [
            "jobflow-remote: a job raises",
            "an element without pseudopotential",
            "failed, with its reason in the record; mend and jf job rerun ID",
        ],
    )


def test_a_worker_that_does_not_see_the_folder(project, tmp_path):
    study, folder = write_study(tmp_path / "in"), tmp_path / "out"
    done = corecrown("study", "submit", study, "-d", folder, "--worker", "here", "--elsewhere")
    assert done.returncode == 0, done.stderr
    run_jobs()
    assert not list(folder.glob("cells/*/*"))
    collected = corecrown("study", "collect", folder)
    assert collected.returncode == 0, collected.stderr
    assert "si scf: fetched from here" in collected.stdout
    found = result(folder)
    assert all((folder / "cells/si/scf" / found["folder"] / name).stat().st_size for name in found["files"].values())
