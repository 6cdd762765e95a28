"""The record of a step: what is finished is found by its key, whatever else happened in the folder."""

import json
import os
import subprocess
import sys
from datetime import datetime

import pytest
from stored_results import result

from corecrown.errors import RunError
from corecrown.files import write_whole
from corecrown.workflows.record import StepFolder, StepState, cell_lock, make_key


def test_key_depends_on_content_and_not_on_order():
    assert make_key({"a": 1, "b": [2, 3]}) == make_key({"b": [2, 3], "a": 1})
    assert make_key({"a": 1}) != make_key({"a": 2})


def test_a_finished_step_is_found_by_its_key_only(tmp_path):
    record = StepFolder(tmp_path / "scf")
    attempt = record.begin("k1")
    assert record.state() is StepState.RUNNING
    record.finish(result(folder=attempt.name))
    assert record.finished("k1") == result(folder=attempt.name)
    assert record.finished("k2") is None
    assert record.state() is StepState.DONE


def test_a_result_whose_files_are_gone_is_not_finished(tmp_path):
    record = StepFolder(tmp_path)
    attempt = record.begin("k1")
    (attempt / "bands.json.gz").write_bytes(b"x")
    record.finish(result(folder=attempt.name, files={"bands": "bands.json.gz"}))
    assert record.finished("k1") is not None
    (attempt / "bands.json.gz").unlink()
    assert record.finished("k1") is None
    assert record.state() is not StepState.DONE


def test_changing_the_settings_and_back_finds_the_first_result_again(tmp_path):
    record = StepFolder(tmp_path)
    first, second = record.begin("k1"), None
    record.finish(result("k1", first.name))
    second = record.begin("k2")
    assert record.finished() is None, "while another calculation runs, the old result is not this step's"
    record.finish(result("k2", second.name))
    assert record.finished("k1") == result("k1", first.name)
    assert record.finished("k2") == result("k2", second.name)


@pytest.mark.parametrize("content", ["", "{", '{"step": "scf"}', "[]"])
def test_a_damaged_result_counts_as_not_finished(tmp_path, content):
    (tmp_path / "result.json").write_text(content)
    assert StepFolder(tmp_path).finished() is None


def test_every_attempt_gets_a_fresh_folder(tmp_path):
    record = StepFolder(tmp_path)
    assert [record.begin("k").name for _ in range(3)] == ["attempt-001", "attempt-002", "attempt-003"]
    assert len(record.attempts("k")) == 3
    assert record.attempts("other") == []


def test_time_of_earlier_attempts_counts(tmp_path):
    """From the beginning of each to the last file it wrote; other keys are other calculations."""
    record = StepFolder(tmp_path)
    for key, lived in (("k", 40), ("other", 1000), ("k", 2.5)):
        attempt = record.begin(key)
        began = datetime.fromisoformat(json.loads((attempt / "attempt.json").read_text())["started"]).timestamp()
        (attempt / "pw.out").write_text("")
        os.utime(attempt / "pw.out", (began + lived, began + lived))
    last = record.begin("k")
    assert record.spent_before(last, "k") == pytest.approx(42.5)
    assert record.spent_before(attempt, "k") == pytest.approx(40)
    assert record.spent_before(last, "none") == 0


def test_a_failure_is_told_and_a_dead_attempt_waits(tmp_path):
    record = StepFolder(tmp_path)
    attempt = record.begin("k")
    record.fail(attempt, "the scf did not converge")
    assert record.state() is StepState.FAILED
    assert record.failure() == "the scf did not converge"
    attempt = record.begin("k")
    about = json.loads((attempt / "attempt.json").read_text())
    (attempt / "attempt.json").write_text(json.dumps(about | {"pid": dead_process()}))
    assert record.state() is StepState.WAITING


def test_forgetting_keeps_the_files(tmp_path):
    record = StepFolder(tmp_path)
    attempt = record.begin("k1")
    record.finish(result(folder=attempt.name))
    record.forget()
    assert record.finished("k1") is None
    assert attempt.is_dir()
    assert record.attempts("k1") == [], "a forgotten attempt is not continued"


def test_a_cell_is_locked_once_and_a_dead_owner_is_replaced(tmp_path):
    with cell_lock(tmp_path), pytest.raises(RunError, match=str(os.getpid())), cell_lock(tmp_path):
        pass
    assert not (tmp_path / "lock.json").exists()
    import socket

    stale = {"host": socket.gethostname(), "pid": dead_process(), "since": "2026-01-01T00:00:00+00:00"}
    (tmp_path / "lock.json").write_text(json.dumps(stale))
    with cell_lock(tmp_path):
        assert json.loads((tmp_path / "lock.json").read_text())["pid"] == os.getpid()


def test_a_lock_of_another_host_is_respected(tmp_path):
    (tmp_path / "lock.json").write_text(json.dumps({"host": "elsewhere", "pid": 1, "since": "today"}))
    with pytest.raises(RunError, match="elsewhere"), cell_lock(tmp_path):
        pass


def test_an_atomic_write_leaves_the_old_file_when_it_fails(tmp_path):
    path = tmp_path / "file.json"
    write_whole(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "\ud800")
    assert path.read_text() == "old"


def dead_process():
    process = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    return int(process.stdout)
