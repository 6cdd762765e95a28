"""Locks whose owner cannot be asked: told by status, respected by run, broken on request alone."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

CORECROWN = Path(sys.executable).with_name("corecrown")

POSCAR = "silicon\n5.44\n0.0 0.5 0.5\n0.5 0.0 0.5\n0.5 0.5 0.0\nSi\n2\ndirect\n0 0 0\n0.25 0.25 0.25\n"


def corecrown(*arguments):
    return subprocess.run([CORECROWN, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=900)


@pytest.mark.espresso
def test_a_lock_of_another_host_is_told_respected_and_broken_on_request(tmp_path, record_property):
    (tmp_path / "si.vasp").write_text(POSCAR)
    study, folder = tmp_path / "study.yaml", tmp_path / "out"
    study.write_text(
        "name: silicon\nprotocol: demo\nsteps: [scf]\nexperiment: null\n"
        "overrides: {all: {cutoff_wfc_ry: 16, kpoint_mesh: [2, 2, 2]}}\n"
        f"cells: [{{file: {tmp_path / 'si.vasp'}, label: si}}]\n"
    )
    lock = folder / "cells" / "si" / "lock.json"
    lock.parent.mkdir(parents=True)
    lock.write_text(json.dumps({"host": "node9", "pid": 1, "since": "today"}))
    (folder / "study.yaml").write_text(study.read_text())

    told = corecrown("study", "status", folder)
    assert told.returncode == 0, told.stderr
    assert "si: locked by process 1 on node9 since today" in told.stdout
    refused = corecrown("study", "run", study, "-d", folder)
    assert refused.returncode == 1
    assert "node9" in refused.stderr
    assert "--break-locks" in refused.stderr
    assert lock.is_file()

    done = corecrown("study", "run", study, "-d", folder, "--break-locks")
    assert done.returncode == 0, done.stderr
    assert "si: lock broken of process 1 on node9" in done.stderr
    assert not lock.exists()
    record_property(
        "cluster failure",
        [
            "lock of another host that cannot be asked",
            "a lock file of node9",
            "status tells it; run: exit code 1; with --break-locks the cell is taken over, and whose it was is said",
        ],
    )
