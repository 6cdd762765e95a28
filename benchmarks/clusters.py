"""What studies on clusters cost of our own time: ten thousand trivial flows, state of ten thousand, one job, memory.

Nothing is submitted and no program runs: results are written as a finished calculation would write them.

    python benchmarks/clusters.py [NUMBER]
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

POSCAR = "silicon\n5.44\n0.0 0.5 0.5\n0.5 0.0 0.5\n0.5 0.5 0.0\nSi\n2\ndirect\n0 0 0\n0.25 0.25 0.25\n"

LIMITS = {"plan and collect": 300.0, "status": 10.0, "per job": 0.030, "memory": 300.0}
"""Seconds, and MiB of the runner."""


def timed(what: str, began: tuple[float, float], limit: float | None = None) -> float:
    """Print and return how long something took; time of the processor beside it, since machines are shared."""
    lasted, worked = time.perf_counter() - began[0], time.process_time() - began[1]
    print(f"{what:<44} {lasted:9.3f} s ({worked:.3f} s of the processor)" + (f", at most {limit:g}" if limit else ""))
    return worked


def now() -> tuple[float, float]:
    """Return the time, and the processor's time of this process."""
    return time.perf_counter(), time.process_time()


def write_inputs(folder: Path, number: int) -> Path:
    """Write a study of silicon cells, each from the same file under a label of its own."""
    folder.mkdir()
    (folder / "si.vasp").write_text(POSCAR)
    lines = [f"  - {{file: si.vasp, label: c{index:05d}}}\n" for index in range(number)]
    study = folder / "study.yaml"
    study.write_text(
        "name: many\nprotocol: demo\nsteps: [scf]\nexperiment: null\n"
        "overrides: {all: {cutoff_wfc_ry: 16, kpoint_mesh: [2, 2, 2]}}\ncells:\n" + "".join(lines)
    )
    return study


def write_results(folder: Path, labels: list[str]) -> None:
    """Leave what a finished scf leaves, less its large files."""
    from pymatgen.core import Structure

    from corecrown.postprocess.results import BandEdges, RunSettings, Step, StepResult, StepTiming
    from corecrown.workflows.record import StepFolder

    structure = Structure.from_str(POSCAR, fmt="poscar").as_dict()
    edges = BandEdges(vbm_ev=6.0, cbm_ev=6.6, gap_ev=0.6, direct=False, source="mesh")
    for index, label in enumerate(labels):
        record = StepFolder(folder / "cells" / label / "scf")
        attempt = record.begin(f"key{index}")
        for name in ("pw.in", "pw.out"):
            (attempt / name).write_text("x\n")
        record.finish(
            StepResult(
                step=Step.SCF,
                label=label,
                key=f"key{index}",
                folder=attempt.name,
                engine="espresso",
                code="Quantum ESPRESSO",
                code_version="6.7",
                settings=RunSettings(functional="PBE", cutoff_wfc_ry=16, kpoint_mesh=(2, 2, 2)),
                timing=StepTiming(wall_s=1, core_s=1),
                structure=structure,
                edges=edges,
                files={"output": "pw.out"},
            )
        )


def many(place: Path, number: int) -> None:
    """Plan an array of flows, read their state, and collect them."""
    from corecrown.settings import ClusterSettings
    from corecrown.workflows import cluster
    from corecrown.workflows.cluster_queue import Scheduler
    from corecrown.workflows.collection import collect_study
    from corecrown.workflows.local import claim_folder, read_status, stored_study
    from corecrown.workflows.manifest import write_manifest
    from corecrown.workflows.spec import load_study
    from corecrown.workflows.study import SubstitutionStudyMaker, build_cells

    path, folder = write_inputs(place / "in", number), place / "out"
    began = now()
    spec = load_study(path)
    cells = build_cells(spec)
    claim_folder(spec, folder)
    write_manifest(folder, spec, cells, SubstitutionStudyMaker.from_spec(spec).electronic.steps)
    planned = cluster.plan_submission(spec, folder, Scheduler.SLURM, cells, ClusterSettings())
    cluster.write_submission(planned, spec, cells)
    ours = timed(f"plan {number} flows into {len(planned.arrays)} arrays", began)

    began = now()
    write_results(folder, [cell.label for cell in cells])
    timed("  (write what the jobs would: records, index)", began)

    began = now()
    states = read_status(folder)
    assert all(row["scf"] == "done" for row in states.values())
    timed(f"state of {number} calculations", began, LIMITS["status"])

    began = now()
    spec = stored_study(folder)
    collect_study(spec, build_cells(spec), folder)
    ours += timed("collect them into study.json", began)
    print(f"{'plan and collect, in all':<44} {ours:9.3f} s of the processor (at most {LIMITS['plan and collect']:g})")


def one_job(place: Path) -> None:
    """Run a task whose step is finished in this process: what a job costs beyond starting Python and the program."""
    from corecrown.settings import get_settings
    from corecrown.workflows.cluster_task import run_task
    from corecrown.workflows.local import run_study
    from corecrown.workflows.spec import load_study

    get_settings()
    spec, folder = load_study(write_inputs(place / "in", 1)), place / "out"
    run_study(spec, folder)
    run_task(spec, folder, None, None)
    n_times = 20
    began, worked = time.perf_counter(), time.process_time()
    for _ in range(n_times):
        assert run_task(spec, folder, None, None).exit_code == 0
    each, busy = (time.perf_counter() - began) / n_times, (time.process_time() - worked) / n_times
    told = f"{1e3 * each:9.1f} ms  (at most {1e3 * LIMITS['per job']:g}; {1e3 * busy:.1f} ms of the processor)"
    print(f"{'a job whose result is there (20 times)':<44} {told}")


def memory(place: Path) -> None:
    """Run silicon from nothing through the command line; memory of the runner, not of its programs."""
    study = write_inputs(place / "in", 1)
    code = (
        "import sys, re, pathlib\nfrom corecrown.cli.main import main\n"
        f"sys.argv = ['corecrown', 'study', 'run', {str(study)!r}, '-d', {str(place / 'first')!r}, '--json']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "sys.stderr.write(re.search(r'VmHWM:\\s+(\\d+)', pathlib.Path('/proc/self/status').read_text())[1])\n"
    )
    for kind, text in (
        ("study run, with its report", code),
        ("a job of a queue", code.replace("'--json'", "'--in-queue'")),
    ):
        done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
        kib = int(done.stderr.splitlines()[-1])
        print(f"{'memory of ' + kind:<44} {kib / 1024:9.0f} MiB (at most {LIMITS['memory']:g})")


def main() -> None:
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    for measure in (lambda place: many(place, number), one_job, memory):
        with tempfile.TemporaryDirectory() as folder:
            measure(Path(folder))


if __name__ == "__main__":
    main()
