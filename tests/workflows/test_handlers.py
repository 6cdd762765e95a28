"""Handlers on small recorded outputs: what each sees, what it changes, how often, and what it must leave alone."""

import errno
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from failures import TABLE_ROW, physics_of, seen_by

from corecrown.errors import InputError, RunError
from corecrown.settings import get_settings
from corecrown.workflows.espresso import handlers, run
from corecrown.workflows.espresso.base import EspressoMaker
from corecrown.workflows.espresso.handlers import (
    corrections,
    default_handlers,
    edit_keywords,
    limit_ranks,
    read_keyword,
    read_retry,
)
from corecrown.workflows.espresso.handlers.electrons import oscillates
from corecrown.workflows.espresso.handlers.inputs import continue_geometry
from corecrown.workflows.espresso.run import (
    EspressoJob,
    ParallelPlan,
    RunInterruptedError,
    run_program,
)

FIXTURES = Path(__file__).parent / "fixtures"
RECORDED = sorted(path.name for path in FIXTURES.glob("failed_*"))

EXPECTED = {
    "failed_scf_iterations": "ScfNotConverged",
    "failed_oscillation": "ElectronicOscillation",
    "failed_final_scf": "FinalScfNotConverged",
    "failed_final_scf_left_out": "IonicStepsUsedUp",
    "failed_cholesky": "CholeskyFailed",
    "failed_overlap": "OverlapNotPositive",
    "failed_bands": "BandsNotConverged",
    "failed_charge": "ChargeWrong",
    "failed_too_few_bands": "TooFewBands",
    "failed_ionic_steps": "IonicStepsUsedUp",
    "failed_bfgs": "BfgsFailed",
    "failed_fft_grid": "FftGridOutgrown",
    "failed_pools": "TooManyPools",
    "failed_ranks": "TooManyRanks",
    "failed_upf_missing": "MissingPseudopotential",
    "failed_upf_damaged": "PseudopotentialUnreadable",
    "failed_upf_cut_off": "PseudopotentialUnreadable",
    "failed_upf_functionals": "PseudopotentialsDisagree",
    "failed_xml_cut_off": "XmlUnreadable",
    "failed_walltime": "WalltimeNear",
    "failed_walltime_before_scf": "WalltimeNear",
    "failed_killed_rank": "Killed",
    "failed_killed_alone": "Killed",
    "failed_memory": "OutOfMemory",
}


@pytest.fixture
def failed(tmp_path, request):
    """Return a copy of a recorded failure that a handler may edit."""
    folder = tmp_path / "run"
    shutil.copytree(FIXTURES / request.param, folder, copy_function=shutil.copyfile)  # as if written just now
    return folder


def test_every_recorded_failure_is_expected_and_says_how_it_was_made():
    assert set(EXPECTED) == set(RECORDED)
    for name in RECORDED:
        made = (FIXTURES / name / "made.txt").read_text(encoding="utf-8")
        assert "pw.x 6.7" in made, f"{name} does not say what made it"


@pytest.mark.parametrize(("failed", "expected"), sorted(EXPECTED.items()), indirect=["failed"])
def test_the_right_handler_sees_a_failure_and_leaves_the_physics_alone(failed, expected, record_property):
    everyone = default_handlers("pw")
    assert seen_by(failed, everyone)[0] == expected
    handler = next(one for one in everyone if type(one).__name__ == expected)
    assert handler.reason(failed)
    before = physics_of((failed / "pw.in").read_text())
    output, said = (failed / "pw.out").read_bytes(), []
    for _ in range(20):
        told = handler.correct(str(failed))
        assert told["errors"] == [expected]
        if told["actions"] is None:
            break
        said += told["actions"]
        assert physics_of((failed / "pw.in").read_text()) == before
        (failed / "pw.out").write_bytes(output)
    else:
        pytest.fail(f"{expected} never gives up")
    assert len(said) <= handler.limit
    assert corrections(failed) == [f"{expected}: {line}" for line in said]
    assert handler.advice or said
    if "written" in (failed / "made.txt").read_text():
        found = f"{expected}: {handler.reason(failed).split(';')[-1].strip()}"
        record_property(TABLE_ROW, [found, "recorded output, its message as in the source", "; then ".join(said)])


def test_a_healthy_output_alarms_nobody():
    assert seen_by(FIXTURES / "healthy_scf", default_handlers("pw")) == []


@pytest.mark.parametrize(
    "remark",
    [
        "suboptimal parallelization: some nodes have no k-points",
        "some processors have no G-vectors for symmetrization",
        "No plane waves found: running on too many processors?",
    ],
)
def test_a_remark_in_a_healthy_output_is_no_error(tmp_path, remark):
    folder = tmp_path / "run"
    shutil.copytree(FIXTURES / "healthy_scf", folder)
    text = (folder / "pw.out").read_text()
    (folder / "pw.out").write_text(f"     Message from routine divide_et_impera:\n     {remark}\n{text}")
    assert seen_by(folder, default_handlers("pw")) == []


@pytest.mark.parametrize(("code", "expected"), [(0, None), (1, None), (62, None), (255, None), (-9, 9), (137, 9)])
def test_a_signal_is_told_by_the_return_code(code, expected):
    job = EspressoJob("pw.x", "pw", ParallelPlan(1, 1))
    assert job.signal is None
    job.process = subprocess.Popen(["true"])
    job.process.wait()
    job.process.returncode = code
    assert job.signal == expected


def test_outputs_of_cured_tries_are_kept(tmp_path):
    shutil.copytree(FIXTURES / "failed_bfgs", tmp_path / "run")
    folder, handler = tmp_path / "run", handlers.BfgsFailed()
    text = (folder / "pw.out").read_text()
    handler.correct(str(folder))
    assert (folder / "pw.try1.out").read_text() == text
    assert not (folder / "pw.out").exists()
    assert handlers.latest_output(folder, "pw").name == "pw.try1.out"
    (folder / "pw.out").write_text(text)
    handler.correct(str(folder))
    assert [path.name for path in handlers.outputs_newest_first(folder)] == ["pw.try2.out", "pw.try1.out"]


def test_a_relaxation_goes_on_from_the_geometry_it_printed_last(tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(FIXTURES / "failed_ionic_steps", folder)
    assert continue_geometry(folder, "pw")
    text, printed = (folder / "pw.in").read_text(), (folder / "pw.out").read_text()
    last = printed[printed.rindex("CELL_PARAMETERS") :].splitlines()
    cell = text[text.index("CELL_PARAMETERS") :].splitlines()
    assert cell[:4] == last[:4]
    assert text.count("CELL_PARAMETERS") == text.count("ATOMIC_POSITIONS") == 1
    positions = text[text.index("ATOMIC_POSITIONS") :].splitlines()
    assert positions[1].split() == last[last.index("ATOMIC_POSITIONS (crystal)") + 1].split()


def test_without_a_geometry_the_input_stays(tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(FIXTURES / "failed_scf_iterations", folder)
    before = (folder / "pw.in").read_text()
    assert not continue_geometry(folder, "pw")
    assert (folder / "pw.in").read_text() == before


def test_keywords_are_replaced_added_and_removed(tmp_path):
    path = tmp_path / "pw.in"
    path.write_text("&SYSTEM\n   nbnd = 8 ! bands\n/\n&ELECTRONS\n  Mixing_Beta=0.7\n/\n")
    edit_keywords(path, "electrons", {"mixing_beta": 0.3, "diagonalization": "cg"})
    edit_keywords(path, "system", {"nbnd": None})
    assert read_keyword(path, "mixing_beta") == "0.3"
    assert read_keyword(path, "diagonalization") == "cg"
    assert read_keyword(path, "nbnd") is None
    assert path.read_text().count("mixing_beta") == 1
    assert path.read_text().index("diagonalization") > path.read_text().index("&ELECTRONS")


@pytest.mark.parametrize(
    ("accuracies", "expected"),
    [
        ([1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7], False),
        ([1e-1, 3e-2, 1e-1, 3e-2, 1e-1, 3e-2, 1e-1, 3e-2], True),
        ([1e-1, 1.0, 10.0, 100.0, 1e3, 1e4, 1e5], True),
        ([1e-2, 2e-2, 1e-3, 2e-3, 1e-4, 2e-4, 1e-5], False),
        ([1e-1, 1.0], False),
        ([], False),
    ],
)
def test_an_oscillation_gets_nowhere(accuracies, expected):
    lines = [
        f"     iteration #{n:3d}\n     estimated scf accuracy    < {x:.8f} Ry" for n, x in enumerate(accuracies, 1)
    ]
    assert oscillates("\n".join(lines)) is expected


def test_numbers_that_did_not_fit_their_field_are_no_accident():
    stars = "iteration #  1 \n" + "     estimated scf accuracy    < ************** Ry\n" * 8
    assert oscillates(stars)


def test_mixing_that_is_no_fraction_starts_again_from_a_gentle_one(tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(FIXTURES / "failed_oscillation", folder)
    edit_keywords(folder / "pw.in", "electrons", {"mixing_beta": -0.7})
    assert handlers.ElectronicOscillation().correct(str(folder))["actions"]
    assert float(read_keyword(folder / "pw.in", "mixing_beta")) == pytest.approx(0.3)


def test_ranks_and_pools_are_limited_together(tmp_path):
    assert ParallelPlan(4, 4).limited(tmp_path) == ParallelPlan(4, 4)
    limit_ranks(tmp_path)
    assert not list(tmp_path.iterdir())
    limit_ranks(tmp_path, ranks=3)
    assert ParallelPlan(4, 2).limited(tmp_path) == ParallelPlan(3, 1)
    limit_ranks(tmp_path, pools=1)
    assert read_retry(tmp_path) == {"ranks": 3, "pools": 1}
    assert ParallelPlan(2, 2).limited(tmp_path) == ParallelPlan(2, 1)


class Impatient(handlers.PwHandler):
    """A handler of a user's own."""

    phrases = ("too few bands",)

    def cure(self, folder):
        return self.edit(folder, "system", nbnd=10)


def test_handlers_of_the_users_own_are_found_by_name(monkeypatch):
    found = run._extra_handlers(["test_handlers.Impatient", "custodian.custodian.ErrorHandler"], "scf")
    assert found[0].stem == "scf"
    for wrong in ("test_handlers.Nobody", "nowhere.Handler", "noname", ""):
        with pytest.raises(InputError, match="extra_handlers"):
            run._extra_handlers([wrong], "pw")


def make_program(folder: Path, monkeypatch, script: str) -> None:
    """Put a shell script in the place of pw.x."""
    program = folder / "bin" / "pw.x"
    program.parent.mkdir()
    asked_for_its_banner = 'case "$*" in *null*) exit;; esac'
    program.write_text(f"#!/bin/sh\n{asked_for_its_banner}\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("CORECROWN_ESPRESSO_BIN", str(program.parent))
    monkeypatch.setenv("CORECROWN_MPI_RANKS", "1")
    monkeypatch.setenv("CORECROWN_CUSTODIAN_POLLING_S", "0.02")
    get_settings.cache_clear()


def test_an_end_without_words_names_the_file(tmp_path, monkeypatch):
    make_program(tmp_path, monkeypatch, "echo 'Program PWSCF starts'; echo 'cannot find library' >&2; exit 3")
    (tmp_path / "pw.in").write_text("")
    with pytest.raises(RunError) as caught:
        run_program(tmp_path, "pw.x", "pw", ParallelPlan(1, 1))
    assert not isinstance(caught.value, RunInterruptedError)
    assert "cannot find library" in caught.value.message
    assert str(tmp_path / "pw.out") in caught.value.hint


def test_a_program_that_is_ended_by_a_signal_may_be_tried_again(tmp_path, monkeypatch):
    make_program(tmp_path, monkeypatch, "echo 'iteration # 3'; kill -9 $$")
    (tmp_path / "pw.in").write_text("")
    with pytest.raises(RunInterruptedError, match="killed"):
        run_program(tmp_path, "pw.x", "pw", ParallelPlan(1, 1))


def test_a_silent_program_is_ended_with_all_it_started(tmp_path, monkeypatch):
    make_program(tmp_path, monkeypatch, "sleep 600 & echo $! > child; wait")
    monkeypatch.setenv("CORECROWN_SILENCE_LIMIT_S", "0.3")
    get_settings.cache_clear()
    (tmp_path / "pw.in").write_text("")
    with pytest.raises(RunInterruptedError, match="without a word"):
        run_program(tmp_path, "pw.x", "pw", ParallelPlan(1, 1))
    child = int((tmp_path / "child").read_text())
    status = Path(f"/proc/{child}/status")
    assert not status.exists() or "zombie" in status.read_text()


def test_a_disk_that_fills_up_under_custodian_is_told_as_such(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    make_program(tmp_path, monkeypatch, "echo JOB DONE")
    (tmp_path / "pw.in").write_text("")
    monkeypatch.setattr("custodian.custodian.dumpfn", full)
    with pytest.raises(RunError, match="disk full"):
        run_program(tmp_path, "pw.x", "pw", ParallelPlan(1, 1))


def test_extra_handlers_are_asked_first(tmp_path, monkeypatch):
    script = (
        "grep -q 'nbnd.*= 10' pw.in && echo JOB DONE || printf '%s\\n' 'Error in routine setup (1):' 'too few bands'"
    )
    make_program(tmp_path, monkeypatch, script)
    monkeypatch.setenv("CORECROWN_EXTRA_HANDLERS", '["test_handlers.Impatient"]')
    get_settings.cache_clear()
    (tmp_path / "pw.in").write_text("&SYSTEM\n  nbnd = 3\n/\nK_POINTS gamma\n\n")
    run_program(tmp_path, "pw.x", "pw", ParallelPlan(1, 1))
    assert corrections(tmp_path) == ["Impatient: nbnd = 10"]


def test_no_walltime_left_starts_nothing(tmp_path, monkeypatch):
    make_program(tmp_path, monkeypatch, "touch started")
    monkeypatch.setenv("CORECROWN_WALLTIME_S", "0.5")
    get_settings.cache_clear()
    with pytest.raises(RunError, match="walltime"):
        run.run_pw(tmp_path, None)
    assert not (tmp_path / "started").exists()


class TestFreshFolders:
    """A Maker begins again in another folder where a program was ended from outside, and no more often than it may."""

    class Maker(EspressoMaker):
        def __init__(self, folder, ends):
            super().__init__(settings=None, folder=str(folder))
            self.ends = list(ends)

        def inputs(self, structure):
            return None

        def key(self, inputs, source):
            return "key"

        def run(self, launch):
            raise self.ends.pop(0)

    def attempts(self, folder):
        return {path.parent.name: json.loads(path.read_text()) for path in folder.glob("attempt-*/retry.json")}

    def test_half_the_ranks_each_time_and_then_it_is_told(self, tmp_path):
        ends = [RunInterruptedError("killed", ranks=ranks) for ranks in (4, 2, 1)]
        with pytest.raises(RunInterruptedError):
            self.Maker(tmp_path, ends).calculate(None)
        assert self.attempts(tmp_path) == {"attempt-002": {"ranks": 4}, "attempt-003": {"ranks": 2}}
        assert len(list(tmp_path.glob("attempt-*/failure.json"))) == 3

    def test_other_errors_are_told_at_once(self, tmp_path):
        with pytest.raises(RunError, match="nonsense"):
            self.Maker(tmp_path, [RunError("nonsense")]).calculate(None)
        assert len(list(tmp_path.glob("attempt-*"))) == 1

    def test_a_file_that_cannot_be_written_is_no_traceback(self, tmp_path):
        with pytest.raises(RunError, match="Read-only"):
            self.Maker(tmp_path, [OSError(errno.EROFS, "Read-only file system")]).calculate(None)


def test_a_job_that_never_ran_can_be_ended(tmp_path):
    EspressoJob("pw.x", "pw", ParallelPlan(1, 1)).terminate(str(tmp_path))
