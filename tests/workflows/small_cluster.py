"""What tests of clusters share: a Slurm of one node on loopback, and a study of silicon that takes seconds."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

TABLE_ROW = "cluster failure"
"""Name of the property that docs/make_cluster_failures.py collects from the tests."""

CONF = """ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={place}/munge.sock
SlurmctldPort={control}
SlurmdPort={node}
StateSaveLocation={place}/state
SlurmdSpoolDir={place}/spool
SlurmctldPidFile={place}/slurmctld.pid
SlurmdPidFile={place}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=1,batch_sched_delay=0
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
KillWait=5
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=2000 State=UNKNOWN
PartitionName=debug Nodes={host} Default=YES MaxTime=60 State=UP
"""


def missing_slurm() -> str | None:
    """Say what keeps a Slurm from running here, with its cure, or None."""
    if os.geteuid() != 0:
        return "a Slurm of one's own needs root"
    for program in ("munged", "slurmctld", "slurmd", "sbatch"):
        if shutil.which(program) is None and not Path("/usr/sbin", program).exists():
            return f"no {program}: apt-get install slurm-wlm munge (make install-dev does)"
    return None


ON_SLURM = [
    pytest.mark.espresso,
    pytest.mark.slurm,
    pytest.mark.skipif(missing_slurm() is not None, reason=str(missing_slurm())),
]
"""Marks of a module whose tests run jobs of a real Slurm."""


class Slurm:
    """Daemons of one Slurm in a folder; :meth:`stop` ends those it started and no others."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.started: list[subprocess.Popen[bytes]] = []
        for name in ("state", "spool", "log"):
            (place / name).mkdir(parents=True)
        place.chmod(0o755)
        host = socket.gethostname().split(".")[0]
        self.conf = place / "slurm.conf"
        self.conf.write_text(CONF.format(host=host, place=place, control=free_port(), node=free_port()))
        self.environment = {"SLURM_CONF": str(self.conf), "PATH": f"{os.environ['PATH']}:/usr/sbin"}
        key = place / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        try:
            files = {"key-file": key, "socket": f"{place}/munge.sock", "pid-file": f"{place}/munged.pid"}
            files |= {"log-file": f"{place}/log/munged.log", "seed-file": f"{place}/munge.seed"}
            self._start("munged", "--foreground", "--force", *(f"--{name}={file}" for name, file in files.items()))
            self._until((place / "munge.sock").exists, "munged")
            self._start("slurmctld", "-D", "-c")
            self._start("slurmd", "-D", "-c", "-N", host)
            self._until(lambda: "idle" in self.ask("sinfo", "-h", "-o", "%T"), "a node")
        except BaseException:
            self.stop()
            raise

    def _start(self, *command: str) -> None:
        with (self.place / "log" / f"{command[0]}.out").open("wb") as log:
            self.started.append(
                subprocess.Popen(
                    command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=os.environ | self.environment
                )
            )

    def _until(self, is_so, what: str) -> None:
        deadline = time.monotonic() + 300
        while not is_so():
            if time.monotonic() > deadline:
                logs = "\n".join(path.read_text(errors="replace")[-500:] for path in (self.place / "log").glob("*.out"))
                pytest.fail(f"Slurm: {what} is not there after 300 s\n{logs}")
            time.sleep(0.1)

    def ask(self, *command: str) -> str:
        """Return what a command of Slurm says."""
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=300, env=os.environ | self.environment
        )
        return done.stdout + done.stderr

    def jobs(self, *options: str) -> list[str]:
        """Return a line a job that is not over: id, state, name."""
        return self.ask("squeue", "-h", "-r", "-o", "%i %t %j", *options).splitlines()

    def until_empty(self, within: float = 900) -> None:
        """Wait until no job is left, resubmitted ones included."""
        deadline = time.monotonic() + within
        while self.jobs():
            assert time.monotonic() < deadline, self.jobs()
            time.sleep(0.2)

    def stop(self) -> None:
        """End the daemons, the last one first."""
        for process in reversed(self.started):
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


CORECROWN = Path(sys.executable).with_name("corecrown")

POSCAR = """silicon
5.44
0.0 0.5 0.5
0.5 0.0 0.5
0.5 0.5 0.0
Si
2
direct
0.0 0.0 0.0
0.25 0.25 0.25
"""


def write_study(folder, labels=("si",), steps="[scf]", scf="", name="silicon", relax="", cutoff_ry=16):
    """Write a study of cells of silicon, each with a lattice constant of its own; returns its file."""
    folder.mkdir(parents=True, exist_ok=True)
    cells = []
    for number, label in enumerate(labels):
        (folder / f"{label}.vasp").write_text(POSCAR.replace("5.44", f"{5.44 + 0.01 * number:.2f}"))
        cells.append(f"  - {{file: {label}.vasp, label: {label}}}\n")
    path = folder / "silicon.yaml"
    path.write_text(
        f"name: {name}\nprotocol: demo\nsteps: {steps}\ncells:\n{''.join(cells)}"
        "overrides:\n"
        f"  all: {{cutoff_wfc_ry: {cutoff_ry}, kpoint_mesh: [2, 2, 2]}}\n"
        f"  scf: {{{scf}}}\n"
        f"{f'  relax: {{{relax}}}' if relax else ''}\n"
        "  bands: {path_spacing: 0.5, conduction_bands: 4}\n"
        "experiment: null\n".replace("  bands", "  bands" if "bands" in steps else "#  bands")
    )
    return path


def corecrown(*arguments, **environment):
    """Run the command line; settings as keywords."""
    return subprocess.run(
        [CORECROWN, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
        env=os.environ
        | {name: value if isinstance(value, str) else json.dumps(value) for name, value in environment.items()},
    )


def states(folder, **environment):
    """Return the states that ``study status`` tells."""
    done = corecrown("study", "status", folder, "--json", **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["cells"]


def attempts(folder, label="si", step="scf"):
    """Return the names of the attempts of a step."""
    return sorted(path.name for path in (folder / "cells" / label / step).glob("attempt-*"))


def holder(folder, lock="cell_lock"):
    """Start a process that holds the lock of a folder until it is ended."""
    code = (
        f"import sys, time\nfrom pathlib import Path\nfrom corecrown.workflows.owners import {lock}\n"
        f"with {lock}(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(600)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline()
    return process


def result(folder, label="si", step="scf"):
    """Return the stored result of a step."""
    return json.loads((folder / "cells" / label / step / "result.json").read_text())


def said_of(text):
    """Return the first line of an error, without the folders of the test."""
    return re.sub(r"/\S+/", "", text.removeprefix("corecrown: ").splitlines()[0])


def until(is_so, within=600):
    """Wait until something is so."""
    deadline = time.monotonic() + within
    while not is_so():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
