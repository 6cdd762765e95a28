"""Silence and durations are measured by a clock that nobody sets."""

import os
import time

import pytest
from small_cluster import TABLE_ROW

from corecrown.settings import get_settings
from corecrown.workflows.espresso import handlers
from corecrown.workflows.espresso.run import _lasted_s, remaining_walltime_s
from corecrown.workflows.vasp.handlers import SilentVasp


class Clocks:
    """A clock that only runs on, which is what is counted by, and one that people and servers set."""

    def __init__(self, monkeypatch):
        self.run_s = 100.0
        self.said_s = time.time()
        monkeypatch.setattr(time, "monotonic", lambda: self.run_s)
        monkeypatch.setattr(time, "time", lambda: self.said_s)

    def pass_by(self, seconds, looks, handler, folder):
        """Let time go by with a look now and then; returns what the last look said."""
        for _ in range(looks):
            self.run_s += seconds / looks
            self.said_s += seconds / looks
            silent = handler.check(str(folder))
        return silent


@pytest.fixture
def clocks(monkeypatch):
    return Clocks(monkeypatch)


@pytest.fixture
def running(tmp_path, monkeypatch):
    monkeypatch.setenv("CORECROWN_SILENCE_LIMIT_S", "60")
    get_settings.cache_clear()
    (tmp_path / "pw.out").write_text("iteration # 1\n")
    (tmp_path / "out").mkdir()
    return tmp_path


def test_silence_counts_the_programs_own_files_only(running, clocks):
    silence = handlers.Silence("pw")
    assert not silence.check(str(running)), "nothing is known on the first look"
    assert not clocks.pass_by(59, 20, silence, running)
    (running / "custodian.json").write_text("[]")
    assert clocks.pass_by(2, 1, silence, running)
    (running / "out" / "corecrown.wfc1").write_text("wavefunctions")
    assert not silence.check(str(running))
    assert not clocks.pass_by(59, 20, silence, running)


@pytest.mark.parametrize("jump_s", [-1e9, -7200, 7200, 1e9])
def test_a_clock_that_is_set_ends_no_healthy_run(running, clocks, jump_s, record_property):
    silence = handlers.Silence("pw")
    silence.check(str(running))
    assert not clocks.pass_by(30, 15, silence, running)
    clocks.said_s += jump_s
    assert not clocks.pass_by(20, 10, silence, running)
    assert clocks.pass_by(20, 10, silence, running), "nor does it keep a dead one"
    told = "a healthy program goes on, a silent one is ended after the time that passed"
    record_property(TABLE_ROW, ["clock set while a program runs", f"by {jump_s:g} s", told])


@pytest.mark.parametrize("written_s", [-1e9, 1e9])
def test_a_file_server_with_another_clock_ends_no_healthy_run(running, clocks, written_s, record_property):
    silence = handlers.Silence("pw")
    silence.check(str(running))
    for number in range(1, 5):
        assert not clocks.pass_by(50, 10, silence, running)
        os.utime(running / "pw.out", (time.time() + written_s + number,) * 2)
    record_property(
        TABLE_ROW, ["file server with another clock", f"{written_s:g} s apart", "a healthy program goes on"]
    )


def test_a_node_that_was_suspended_ends_no_healthy_run(running, clocks, record_property):
    silence = handlers.Silence("pw")
    silence.check(str(running))
    assert not clocks.pass_by(7200, 1, silence, running), "it was not looked at for two hours: it did not run either"
    assert clocks.pass_by(60, 30, silence, running)
    record_property(TABLE_ROW, ["node suspended", "for 7200 s", "a healthy program goes on"])


def test_a_silent_vasp_is_told_by_the_same_clock(tmp_path, clocks):
    (tmp_path / "vasp.out").write_text("running\n")
    silence = SilentVasp(timeout=60)
    assert not silence.check(str(tmp_path))
    clocks.said_s += 1e6
    assert not clocks.pass_by(59, 20, silence, tmp_path)
    (tmp_path / "OSZICAR").write_text("DAV:   1\n")
    assert not clocks.pass_by(59, 20, silence, tmp_path)
    assert clocks.pass_by(9, 3, silence, tmp_path)


@pytest.mark.parametrize("jump_s", [-7200, 7200])
def test_the_time_a_program_took_and_has_left_is_not_that_of_a_clock_that_is_set(tmp_path, monkeypatch, jump_s):
    output = tmp_path / "pw.out"
    output.write_text("JOB DONE")
    began = time.monotonic() - 100
    monkeypatch.setenv("CORECROWN_WALLTIME_S", "7200")
    get_settings.cache_clear()
    before = remaining_walltime_s()
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + jump_s)
    assert 99 < _lasted_s(began, output, polling_s=0.5) < 110
    assert before - 10 < remaining_walltime_s() <= before
