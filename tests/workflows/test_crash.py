"""A study killed at random moments and continued: the same results as undisturbed, and nothing finished ran twice.

Also disks that fill, folders that cannot be written, clocks that are set, and files that are cut off.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from small_cluster import TABLE_ROW, holder, write_study

from corecrown.errors import CorecrownError, InputError, RunError
from corecrown.postprocess.study import read_study
from corecrown.settings import get_settings
from corecrown.workflows import owners
from corecrown.workflows.cluster import submit_study
from corecrown.workflows.cluster_queue import Scheduler
from corecrown.workflows.local import read_status, run_study
from corecrown.workflows.owners import Life, break_lock, cell_lock, life_of, step_lock, this_process
from corecrown.workflows.spec import load_study

SURVIVED = "the runner alone and its process tree in turn; same gap and lattice, nothing finished ran twice"

STEPS = "[relax, scf, bands]"


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """One rank, and no results of other studies."""
    monkeypatch.setenv("CORECROWN_MPI_COMMAND", "")
    monkeypatch.setenv("CORECROWN_MPI_RANKS", "1")
    monkeypatch.setenv("CORECROWN_REUSE", "false")
    monkeypatch.setenv("CORECROWN_CUSTODIAN_POLLING_S", "0.05")
    get_settings.cache_clear()


def start(study, folder):
    """Run a study in a child process with a session of its own; returns its process id."""
    child = os.fork()
    if child:
        return child
    code = 2
    try:
        os.setsid()
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
            result = run_study(study, folder)
        code = int(any(cell.failed for cell in result.cells))
    finally:
        os._exit(code)


def kill(child, whole_tree):
    """End a runner without a word, alone or with all it started; returns its exit code if it had ended before."""
    ended, status = os.waitpid(child, os.WNOHANG)
    if ended:
        return os.waitstatus_to_exitcode(status)
    below = psutil.Process(child).children(recursive=True) if whole_tree else []
    os.kill(child, signal.SIGKILL)
    for process in below:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    os.waitpid(child, 0)
    return None


def finished(folder):
    """Return what is stored of each finished step: key, attempt, and when it was written."""
    found = {}
    for path in folder.glob("cells/*/*/result.json"):
        content = json.loads(path.read_text())
        found[path.parent.name] = (content["key"], content["folder"], path.stat().st_mtime_ns)
    return found


def survive(tmp_path, kills, seed):
    """Kill a study at random moments until it was killed so often, beginning anew where it came to its end."""
    moments = random.Random(seed)
    # The lattice grows by 3 %: a relaxation that goes on has other plane waves than one from the start; at 24 Ry that
    # leaves 0.006 % between their lattices.
    study = write_study(tmp_path / "in", steps=STEPS, relax="relax_cell: true", cutoff_ry=24)
    began = time.monotonic()
    run_study(study, tmp_path / "whole")
    lasted = time.monotonic() - began
    whole = read_study(tmp_path / "whole")["si"]
    assert whole.lattice_a_angstrom > 1.02 * 5.44 / 2**0.5
    killed, rounds = 0, 0
    while killed < kills:
        rounds += 1
        folder = tmp_path / f"round{rounds}"
        known = {}
        while True:
            child = start(study, folder)
            if killed < kills:
                time.sleep(moments.uniform(0, 0.6 * lasted))
                code = kill(child, whole_tree=bool(killed % 2))
            else:
                code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            killed += code is None
            now = finished(folder)
            assert {step: now.get(step) for step in known} == known, "what was finished was not touched"
            known = now
            if code is not None:
                assert code == 0
                break
        continued = read_study(folder)["si"]
        assert continued.edges.gap_ev == pytest.approx(whole.edges.gap_ev, abs=5e-3)
        assert continued.lattice_a_angstrom == pytest.approx(whole.lattice_a_angstrom, rel=1e-3)
        for step, (key, attempt, _) in known.items():
            later = [path.name for path in (folder / "cells/si" / step).glob("attempt-*") if path.name > attempt]
            assert not later, "nothing ran after it was finished"
            assert key
        assert not list(folder.glob("cells/*/lock.json"))
    return rounds


@pytest.mark.espresso
def test_a_study_killed_five_times_ends_as_if_undisturbed(tmp_path, record_property):
    rounds = survive(tmp_path, kills=5, seed=5)
    record_property(TABLE_ROW, ["killed at random moments", f"SIGKILL 5 times in {rounds} studies", SURVIVED])


@pytest.mark.espresso
@pytest.mark.nightly
def test_a_study_killed_fifty_times_ends_as_if_undisturbed(tmp_path, record_property):
    rounds = survive(tmp_path, kills=50, seed=50)
    record_property(TABLE_ROW, ["killed at random moments", f"SIGKILL 50 times in {rounds} studies", SURVIVED])


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 16 MiB in memory; where none can be mounted, the test is left out."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk needs root")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(place):
    """Fill a disk to the last byte."""
    with (place / "filler").open("wb", buffering=0) as stream:
        for size in (1 << 16, 1):
            try:
                while True:
                    stream.write(bytes(size))
            except OSError:
                continue


@pytest.mark.espresso
def test_a_full_disk_is_told_and_costs_nothing_that_was_finished(small_disk, tmp_path, record_property):
    folder = small_disk / "out"
    run_study(write_study(tmp_path / "in"), folder)
    before = finished(folder)
    more = write_study(tmp_path / "in", steps="[scf, bands]")
    fill(small_disk)
    try:
        result = run_study(more, folder)
        reason = result.cells[0].failed["bands"]
    except CorecrownError as error:
        reason = str(error)
    assert "disk" in reason or "space" in reason
    assert finished(folder)["scf"] == before["scf"]
    said = reason.replace(str(small_disk), "DIR").split(" (")[0]
    record_property(
        TABLE_ROW, ["disk full", "a disk of 16 MiB, filled", f"{said}; after making room the same command goes on"]
    )
    (small_disk / "filler").unlink()
    result = run_study(more, folder)
    assert not result.cells[0].failed
    assert finished(folder)["scf"] == before["scf"]


@pytest.mark.espresso
def test_a_folder_that_cannot_be_written_is_told(small_disk, tmp_path, record_property):
    folder = small_disk / "out"
    run_study(write_study(tmp_path / "in"), folder)
    before = finished(folder)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(RunError, match="Read-only file system") as caught:
        run_study(write_study(tmp_path / "in", steps="[scf, bands]"), folder)
    assert {step.value for step in read_status(folder)["si"].values()} == {"done"}
    assert finished(folder) == before
    said = str(caught.value.message).replace(str(small_disk), "DIR")
    record_property(TABLE_ROW, ["folder cannot be written", "a disk mounted read-only", f"exit code 1: {said}"])


@pytest.mark.espresso
@pytest.mark.parametrize("what", ["result", "density", "xml"])
def test_a_file_that_was_cut_off_is_noticed(tmp_path, what, record_property):
    folder = tmp_path / "out"
    run_study(write_study(tmp_path / "in"), folder)
    record = folder / "cells" / "si" / "scf"
    content = json.loads((record / "result.json").read_text())
    path = record / "result.json" if what == "result" else record / content["folder"] / content["files"][what]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    result = run_study(write_study(tmp_path / "in", steps="[scf, bands]"), folder)
    if what == "result":
        assert not result.cells[0].failed, "what cannot be read is computed again"
        assert len(list(record.glob("attempt-*"))) == 2
        record_property(
            TABLE_ROW,
            ["result.json cut off", "half of it", "counts as not finished: computed again in a fresh attempt"],
        )
    else:
        said = result.cells[0].failed["bands"]
        assert "cut off or damaged" in said
        told = f"the step that needs it fails: ...{said.split(' (')[0][-70:]}"
        record_property(TABLE_ROW, [f"{what} of a finished scf cut off", "half of it", told])
        assert (record / "result.json").is_file()


@pytest.mark.espresso
def test_an_input_edited_under_a_finished_result_is_refused(tmp_path, record_property):
    study, folder = write_study(tmp_path / "in"), tmp_path / "out"
    run_study(study, folder)
    before = finished(folder)
    path = folder / "cells/si/scf/attempt-001/pw.in"
    path.write_text(path.read_text().replace("ecutwfc", "! ecutwfc"))
    kept = {name: (folder / name).read_bytes() for name in ("study.yaml", "study.json", "cells.json")}
    with pytest.raises(InputError, match=r"pw\.in: changed after") as caught:
        run_study(study, folder)
    with pytest.raises(InputError, match=r"pw\.in: changed after"):
        submit_study(load_study(write_study(tmp_path / "in", steps="[scf, bands]")), folder, Scheduler.SLURM)
    assert finished(folder) == before
    assert {name: (folder / name).read_bytes() for name in kept} == kept
    said = str(caught.value.message).replace(str(folder), "DIR")
    record_property(
        TABLE_ROW, ["input edited under a finished result", "pw.in", f"exit code 2: {said}; nothing changed"]
    )


@pytest.mark.parametrize("jump_s", [-1e9, 86400.0, 1e9])
def test_a_clock_that_is_set_neither_frees_nor_keeps_a_lock(tmp_path, monkeypatch, jump_s, record_property):
    process = holder(tmp_path)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + jump_s)
    os.utime(tmp_path / owners.LOCK, (max(0, real() - jump_s),) * 2)
    try:
        with pytest.raises(RunError, match=str(process.pid)), cell_lock(tmp_path):
            pass
        with pytest.raises(RunError, match="alive"):
            break_lock(tmp_path)
    finally:
        process.kill()
        process.wait()
    with cell_lock(tmp_path):
        assert owners.read_json(tmp_path / owners.LOCK)["pid"] == os.getpid()
    record_property(TABLE_ROW, ["clock set", f"by {jump_s:g} s", "locks stay with the living and leave the dead"])


def test_steps_of_a_cell_run_side_by_side_and_never_beside_their_cell(tmp_path):
    scf = tmp_path / "scf"
    scf.mkdir()
    process = holder(scf, lock="step_lock")
    try:
        with step_lock(tmp_path / "bands"):
            pass
        with pytest.raises(RunError, match=rf"scf: in use by process {process.pid}"), cell_lock(tmp_path):
            pass
        assert not (tmp_path / owners.LOCK).exists()
        with pytest.raises(RunError, match="alive"):
            break_lock(tmp_path)
    finally:
        process.kill()
        process.wait()
    with cell_lock(tmp_path):
        with step_lock(scf):
            assert str(process.pid) in (scf / owners.LOCK).read_text(), "who has the cell needs no lock of its steps"
        with pytest.raises(RunError, match="in use by"), cell_lock(tmp_path):
            pass
    process = holder(tmp_path)
    try:
        with pytest.raises(RunError, match=str(process.pid)), step_lock(scf):
            pass
        assert not (scf / owners.LOCK).exists()
    finally:
        process.kill()
        process.wait()
    (scf / owners.LOCK).write_text(json.dumps({"host": "node9", "pid": 1, "since": "today"}))
    assert "node9" in break_lock(tmp_path)
    assert not (scf / owners.LOCK).exists()


def test_the_dead_are_told_from_the_living():
    mine = this_process()
    assert life_of(mine) is Life.ALIVE
    assert life_of(mine | {"ticks": mine["ticks"] - 1}) is Life.DEAD, "the number was given to another process"
    assert life_of(mine | {"boot": "before"}) is Life.DEAD
    assert life_of(mine | {"host": "elsewhere"}) is Life.UNKNOWN
    assert life_of({}) is Life.DEAD
    assert life_of(mine | {"pid": "nonsense"}) is Life.DEAD


def test_a_job_that_was_queued_again_takes_its_own_lock_back(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    (tmp_path / owners.LOCK).write_text(json.dumps({"host": "node9", "pid": 1, "job": "slurm:77", "since": "today"}))
    with cell_lock(tmp_path):
        pass
    (tmp_path / owners.LOCK).write_text(json.dumps({"host": "node9", "pid": 1, "job": "slurm:78", "since": "today"}))
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(RunError, match=r"node9.*slurm:78"), cell_lock(tmp_path):
        pass
    assert "node9" in break_lock(tmp_path)
    with cell_lock(tmp_path):
        pass


def test_twenty_processes_after_one_dead_lock_get_it_one_after_the_other(tmp_path):
    process = holder(tmp_path)
    process.kill()
    process.wait()
    shutil.copy(tmp_path / owners.LOCK, tmp_path / "kept.json")
    children = []
    for _ in range(20):
        child = os.fork()
        if not child:
            code = 0
            try:
                with cell_lock(tmp_path):
                    with (tmp_path / "log").open("a") as stream:
                        stream.write(f"in {os.getpid()}\n")
                    time.sleep(0.02)
                    with (tmp_path / "log").open("a") as stream:
                        stream.write(f"out {os.getpid()}\n")
            except RunError:
                code = 3
            os._exit(code)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert set(codes) <= {0, 3}
    assert 0 in codes
    lines = (tmp_path / "log").read_text().split()
    pairs = list(zip(lines[::4], lines[2::4], lines[1::4], lines[3::4], strict=True))
    assert all((first, second) == ("in", "out") and one == other for first, second, one, other in pairs)
