"""Programs: where they are found, what is read from them, and the commands that run them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from corecrown.errors import InputError
from corecrown.settings import get_settings
from corecrown.workflows.espresso import programs
from corecrown.workflows.espresso.programs import (
    Program,
    blas_in_use,
    command,
    default_ranks,
    find_program,
    identify_blas,
    mpi_launcher,
    program_environment,
    program_family,
    program_version,
    read_banner,
)
from corecrown.workflows.processors import count_physical_cores, physical_cores, read_core_ids, read_cpu_quota

BANNER = "     Program {name} v.{version} starts on  1Jan2026 at  1: 2: 3\n\n     {kind}\n"
PARALLEL = "Parallel version (MPI), running on     1 processors"


def write_program(path: Path, version="7.2", kind=PARALLEL, name="PWSCF") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = BANNER.format(name=name, version=version, kind=kind)
    path.write_text(f"#!/bin/sh\ncat <<'END'\n{text}END\nexit 1\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def bin_folder(no_settings, monkeypatch, tmp_path) -> Path:
    """A PATH that holds nothing but the shell's own tools, and a folder first on it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("sh", "cat", "ldd"):
        target = next(Path(place, tool) for place in ("/usr/bin", "/bin") if Path(place, tool).exists())
        (tools / tool).symlink_to(target)
    monkeypatch.setenv("PATH", f"{folder}:{tools}")
    for name in (*programs.QUEUE_RANKS, *programs.QUEUE_JOBS):
        monkeypatch.delenv(name, raising=False)
    clear_caches()
    yield folder
    monkeypatch.undo()
    clear_caches()


def clear_caches() -> None:
    get_settings.cache_clear()
    programs._ends_with_parent.cache_clear()
    programs.mpi_flavour.cache_clear()
    programs.read_banner.cache_clear()


def set_setting(monkeypatch, **settings: str) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(f"CORECROWN_{name.upper()}", value)
    clear_caches()


def write_mpirun(folder: Path, said="mpirun (Open MPI) 4.1.4") -> Path:
    path = folder / "mpirun"
    path.write_text(f"#!/bin/sh\necho '{said}'\n")
    path.chmod(0o755)
    return path


class TestFind:
    def test_nowhere(self, bin_folder):
        with pytest.raises(InputError, match="of Quantum ESPRESSO was not found") as caught:
            find_program("pw.x")
        assert "quantum-espresso" in caught.value.hint
        assert program_family("pw.x") == "none"

    def test_on_path(self, bin_folder):
        path = write_program(bin_folder / "pw.x")
        assert find_program("pw.x") == Program("pw.x", (str(path),), "PATH")

    def test_folder_of_the_setting_wins_over_path(self, bin_folder, monkeypatch, tmp_path):
        write_program(bin_folder / "pw.x")
        path = write_program(tmp_path / "my qe" / "pw.x")
        set_setting(monkeypatch, espresso_bin=str(path.parent))
        assert find_program("pw.x").command == (str(path),)
        with pytest.raises(InputError, match=r"no projwfc\.x"):
            find_program("projwfc.x")

    def test_command_of_the_setting(self, bin_folder, monkeypatch):
        write_program(bin_folder / "apptainer")
        set_setting(monkeypatch, espresso_bin="apptainer exec 'my qe.sif' {program}")
        assert find_program("pw.x").command == ("apptainer", "exec", "my qe.sif", "pw.x")

    @pytest.mark.parametrize(
        ("setting", "reason"),
        [
            ("/not/there", "neither a folder nor a command"),
            ("nosuchtool {program}", "nosuchtool was not found"),
            ("sh 'unclosed {program}", "No closing quotation"),
        ],
    )
    def test_setting_that_leads_to_nothing(self, bin_folder, monkeypatch, setting, reason):
        set_setting(monkeypatch, espresso_bin=setting)
        with pytest.raises(InputError, match=reason):
            find_program("pw.x")

    def test_qepy_where_there_is_nothing_else(self, bin_folder, tmp_path):
        python = write_program(tmp_path / "data" / "corecrown" / "qepy" / "bin" / "python", kind="Serial version")
        found = find_program("projwfc.x")
        assert found.command == (str(python), "-m", "qepy", "--projwfc.x")
        assert found.is_qepy
        assert blas_in_use(found) == "reference"
        assert default_ranks(found) == 1


class TestBanner:
    @pytest.mark.parametrize(
        ("said", "name", "version", "family"),
        [
            ("6.7MaX", "PWSCF", "6.7MaX", "6.7"),
            ("7.3.1", "POST-PROC", "7.3.1", "7.3.1"),
            (" 6.7", "PWSCF", "6.7", "6.7"),
        ],
    )
    def test_version(self, bin_folder, said, name, version, family):
        write_program(bin_folder / "pw.x", said, name=name)
        assert program_version("pw.x") == version
        assert program_family("pw.x") == family

    @pytest.mark.parametrize(
        ("kind", "parallel"),
        [
            (PARALLEL, True),
            ("Parallel version (MPI & OpenMP), running on       1 processor cores", True),
            ("Serial version", False),
            ("Serial multi-threaded version, running on    2 processor cores", False),
            ("", None),
        ],
    )
    def test_parallel(self, bin_folder, kind, parallel):
        write_program(bin_folder / "pw.x", kind=kind)
        assert read_banner(find_program("pw.x")).parallel is parallel

    def test_program_that_does_not_start(self, bin_folder):
        (bin_folder / "pw.x").write_text("not a program")
        (bin_folder / "pw.x").chmod(0o755)
        assert program_version("pw.x") is None
        assert program_family("pw.x") == "unknown"


class TestCommand:
    def test_two_ranks_under_open_mpi(self, bin_folder):
        pw = write_program(bin_folder / "pw.x")
        mpirun = write_mpirun(bin_folder)
        assert command("pw.x", 2, ["-i", "a.in"])[-10:] == [
            str(mpirun), "--bind-to", "none", "--oversubscribe", "-n", "2", str(pw), "-i", "a.in",
        ][-10:]  # fmt: skip

    def test_slots_are_the_queues_in_a_queue(self, bin_folder, monkeypatch):
        write_mpirun(bin_folder)
        monkeypatch.setenv("SLURM_JOB_ID", "7")
        assert "--oversubscribe" not in mpi_launcher(2)

    def test_other_mpi_gets_no_options_of_open_mpi(self, bin_folder):
        mpirun = write_mpirun(bin_folder, "HYDRA build details:")
        assert mpi_launcher(3) == [str(mpirun), "-n", "3"]

    def test_one_rank_needs_no_launcher(self, bin_folder):
        assert mpi_launcher(1) == []

    def test_ranks_without_a_launcher(self, bin_folder):
        with pytest.raises(InputError, match="no mpirun"):
            mpi_launcher(2)

    def test_serial_program_gets_one_rank(self, bin_folder):
        pw = write_program(bin_folder / "pw.x", kind="Serial version")
        write_mpirun(bin_folder)
        assert command("pw.x", 4)[-1] == str(pw)
        assert "mpirun" not in " ".join(command("pw.x", 4))
        assert default_ranks("pw.x") == 1

    def test_launcher_of_the_setting(self, bin_folder, monkeypatch):
        write_program(bin_folder / "srun")
        set_setting(monkeypatch, mpi_command="srun --mpi=pmix -n {ranks}")
        assert mpi_launcher(1) == ["srun", "--mpi=pmix", "-n", "1"]

    def test_empty_launcher_means_serial(self, bin_folder, monkeypatch):
        write_program(bin_folder / "pw.x")
        set_setting(monkeypatch, mpi_command="")
        assert mpi_launcher(4) == []
        assert default_ranks("pw.x") == 1

    @pytest.mark.parametrize(("setting", "reason"), [("srun -n 2", "no {ranks}"), ("nosuch {ranks}", "not found")])
    def test_wrong_launcher(self, bin_folder, monkeypatch, setting, reason):
        set_setting(monkeypatch, mpi_command=setting)
        with pytest.raises(InputError, match=reason):
            mpi_launcher(2)

    def test_environment_has_one_thread_a_rank(self, monkeypatch):
        monkeypatch.setenv("OMP_NUM_THREADS", "8")
        environment = program_environment()
        assert environment["OMP_NUM_THREADS"] == environment["OPENBLAS_NUM_THREADS"] == "1"
        assert environment["PATH"] == os.environ["PATH"]
        assert ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM" in environment) or os.geteuid() != 0


class TestRanks:
    def test_setting_then_queue_then_cores(self, bin_folder, monkeypatch):
        write_program(bin_folder / "pw.x")
        write_mpirun(bin_folder)
        assert default_ranks("pw.x") == physical_cores()
        monkeypatch.setenv("SLURM_NTASKS", "48")
        assert default_ranks("pw.x") == 48
        set_setting(monkeypatch, mpi_ranks="3")
        assert default_ranks("pw.x") == 3

    def test_one_without_a_launcher(self, bin_folder):
        write_program(bin_folder / "pw.x")
        assert default_ranks("pw.x") == 1

    def test_hyper_threads_count_once(self):
        threads = {0: (0, 0), 1: (0, 1), 2: (0, 0), 3: (0, 1), 4: (1, 0)}
        assert count_physical_cores({0, 1, 2, 3}, threads) == 2
        assert count_physical_cores({0, 2}, threads) == 1
        assert count_physical_cores({0, 4}, threads) == 2
        assert count_physical_cores({0, 1, 2}, {}) == 3
        assert count_physical_cores(set(), {}) == 1

    def test_topology_is_read_and_gaps_left_out(self, tmp_path):
        for cpu, core in ((0, "0"), (1, "0"), (10, "5"), (11, "-1"), (12, "odd")):
            folder = tmp_path / f"cpu{cpu}" / "topology"
            folder.mkdir(parents=True)
            (folder / "physical_package_id").write_text("0\n")
            (folder / "core_id").write_text(f"{core}\n")
        (tmp_path / "cpufreq").mkdir()
        assert read_core_ids(tmp_path) == {0: (0, 0), 1: (0, 0), 10: (0, 5)}

    @pytest.mark.parametrize(
        ("group", "own", "quota"),
        [
            ("max 100000", "max 100000", None),
            ("150000 100000", "max 100000", 1.5),
            ("400000 100000", "200000 100000", 2),
        ],
    )
    def test_container_limit_of_version_2(self, tmp_path, group, own, quota):
        (tmp_path / "box" / "job").mkdir(parents=True)
        (tmp_path / "box" / "cpu.max").write_text(f"{group}\n")
        (tmp_path / "box" / "job" / "cpu.max").write_text(f"{own}\n")
        (tmp_path / "membership").write_text("0::/box/job\n")
        assert read_cpu_quota(tmp_path, tmp_path / "membership") == quota

    def test_container_limit_of_version_1(self, tmp_path):
        (tmp_path / "cpu" / "box").mkdir(parents=True)
        (tmp_path / "cpu" / "box" / "cpu.cfs_quota_us").write_text("200000\n")
        (tmp_path / "cpu" / "box" / "cpu.cfs_period_us").write_text("100000\n")
        (tmp_path / "membership").write_text("4:memory:/box\n3:cpu,cpuacct:/box\n0::/\n")
        assert read_cpu_quota(tmp_path, tmp_path / "membership") == 2

    def test_no_control_groups(self, tmp_path):
        assert read_cpu_quota(tmp_path, tmp_path / "none") is None


class TestBlas:
    @pytest.mark.parametrize(
        ("folder", "name"),
        [("openblas-pthread", "openblas"), ("blas", "reference"), ("atlas", "atlas"), ("blis-openmp", "blis")],
    )
    def test_where_debians_link_leads(self, tmp_path, folder, name):
        target = tmp_path / folder / "libblas.so.3"
        target.parent.mkdir()
        target.touch()
        link = tmp_path / "libblas.so.3"
        link.symlink_to(target)
        listing = f"\tlibmpi.so.40 => /lib/libmpi.so.40 (0x7f)\n\tlibblas.so.3 => {link} (0x7f0000000000)\n"
        assert identify_blas(listing) == name

    def test_linked_directly(self):
        assert identify_blas("\tlibmkl_core.so.2 => /opt/intel/libmkl_core.so.2 (0x7f)\n") == "mkl"

    def test_the_name_of_a_users_folder_does_not_count(self):
        assert identify_blas("\tlibblas.so.3 => /home/openblas-fan/lib/libblas.so.3 (0x7f)\n") == "reference"

    def test_static_or_not_a_program(self):
        assert identify_blas("\tnot a dynamic executable\n") is None


@pytest.mark.skipif(sys.platform != "linux", reason="the parent's end is told to a program on Linux only")
def test_program_ends_with_a_killed_parent(tmp_path):
    """A runner killed by kill -9 leaves no program behind."""
    if not programs._ends_with_parent():
        pytest.skip("setpriv is not here")
    pid_file = tmp_path / "pid"
    sleeper = f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(120)"
    words = [*programs._ends_with_parent(), sys.executable, "-c", sleeper]
    runner = subprocess.Popen(
        [sys.executable, "-c", f"import json, subprocess; subprocess.Popen(json.loads({json.dumps(words)!r})).wait()"]
    )
    try:
        assert wait_until(lambda: pid_file.exists() and pid_file.read_text().isdigit())
        child = int(pid_file.read_text())
        runner.send_signal(signal.SIGKILL)
        runner.wait()
        assert wait_until(lambda: not is_running(child))
    finally:
        if runner.poll() is None:
            runner.kill()


def is_running(pid: int) -> bool:
    """Whether a process is there and not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition, limit_s: float = 60) -> bool:
    for _ in range(int(limit_s / 0.05)):
        if condition():
            return True
        time.sleep(0.05)
    return False


@pytest.mark.espresso
class TestReal:
    @pytest.mark.parametrize("name", ["pw.x", "projwfc.x", "pp.x"])
    def test_says_its_version(self, name):
        assert program_version(name)[0].isdigit()
        assert program_family(name) in program_version(name)

    def test_runs_in_ranks(self, tmp_path):
        ranks = default_ranks("pw.x")
        done = subprocess.run(
            command("pw.x", ranks, ["-i", os.devnull]),
            cwd=tmp_path, env=program_environment(), capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert "PWSCF" in done.stdout
        if ranks > 1:
            assert f"running on {ranks:5d} processors" in done.stdout
