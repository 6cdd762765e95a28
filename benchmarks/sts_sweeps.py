"""STS analysis against truth, and against the clock.

    python benchmarks/sts_sweeps.py accuracy --repeats 200
    python benchmarks/sts_sweeps.py speed --sweeps 10000 --points 1024

``accuracy``: synthetic groups of 70 platelets at realistic noise (2 pA and 0.2 % of the current at 1 nA, drift, tip
changes); errors of the edges and of the change of the trap integral, and how often the 95 % intervals hold the truth,
the first peak of the noise-free averaged spectrum. ``speed``: files written, then read and analysed in this process;
wall and processor time (the same on a machine with nothing else to do) and peak
memory. Everything is synthetic.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from corecrown.postprocess.sts.analysis import analyse_groups
from corecrown.postprocess.sts.model import SweepSet
from corecrown.postprocess.sts.options import StsOptions
from corecrown.postprocess.sts.readers import read_sweeps
from corecrown.postprocess.sts.synthetic import CORE, CORE_CROWN, CROWN_EDGE, generate, true_edges, write_csv

QUANTITIES = ("vbm_v", "cbm_v", "gap_ev")


def accuracy(repeats: int, resamples: int) -> dict[str, float]:
    """Return the worst error of edges (meV) and of the trap change (points), and the coverage of each interval (%)."""
    truth = {"core": true_edges(CORE), "core-crown": true_edges(CORE_CROWN)}
    true_change = 100 * (truth["core-crown"].trap_integral / truth["core"].trap_integral - 1)
    errors: dict[str, list[float]] = {name: [] for name in (*QUANTITIES, "traps")}
    held: dict[str, list[bool]] = {name: [] for name in errors}
    for repeat in range(repeats):
        groups = {
            "core": SweepSet(tuple(generate(CORE, 70, seed=2 * repeat))),
            "core-crown": SweepSet(tuple(generate(CORE_CROWN, 70, seed=2 * repeat + 1))),
        }
        result = analyse_groups(groups, StsOptions(n_resamples=resamples, seed=repeat)).result
        for group, known in truth.items():
            for quantity in QUANTITIES:
                found, true = getattr(result.groups[group], quantity), getattr(known, quantity)
                errors[quantity].append(found.value - true)
                held[quantity].append(found.low <= true <= found.high)
        change = result.traps.changes[0]
        errors["traps"].append(change.percent - true_change)
        held["traps"].append(change.low <= true_change <= change.high)
    report = {}
    for name, values in errors.items():
        scale = 1.0 if name == "traps" else 1e3
        report[f"{name} mean error"] = scale * float(np.mean(values))
        report[f"{name} worst error"] = scale * float(np.abs(values).max())
        report[f"{name} coverage %"] = 100 * float(np.mean(held[name]))
    return report


def speed(sweeps: int, points: int) -> dict[str, float]:
    """Return times (s) and peak memory (GiB) of reading and analysing many sweeps in three groups."""
    sites = {"core": CORE, "core-crown": CORE_CROWN, "edge": CROWN_EDGE}
    report: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        with _timed("write (not counted)", report):
            for index, (name, site) in enumerate(sites.items()):
                count = sweeps // 3 + (index < sweeps % 3)
                for begin in range(0, count, 500):
                    part = generate(site, min(500, count - begin), seed=begin, name=f"{name}{begin}", points=points)
                    write_csv(part, Path(folder) / name)
        del part
        with _timed("read", report):
            groups = {name: read_sweeps(Path(folder) / name) for name in sites}
        with _timed("analyse", report):
            result = analyse_groups(groups).result
    for clock in ("wall", "processor"):
        report[f"read and analyse, {clock} s"] = report[f"read, {clock} s"] + report[f"analyse, {clock} s"]
    report["peak memory GiB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    report["sweeps"] = sum(group.n_sweeps for group in result.groups.values())
    return report


@contextmanager
def _timed(name: str, report: dict[str, float]) -> Iterator[None]:
    start, own = time.perf_counter(), time.process_time()
    yield
    report[f"{name}, wall s"] = time.perf_counter() - start
    report[f"{name}, processor s"] = time.process_time() - own


def main() -> None:
    """Run one benchmark and print its numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("accuracy", "speed"))
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--resamples", type=int, default=400)
    parser.add_argument("--sweeps", type=int, default=10_000)
    parser.add_argument("--points", type=int, default=1024)
    arguments = parser.parse_args()
    report = (
        accuracy(arguments.repeats, arguments.resamples)
        if arguments.what == "accuracy"
        else speed(arguments.sweeps, arguments.points)
    )
    for name, value in report.items():
        print(f"{name:32s} {value:10.3f}")


if __name__ == "__main__":
    main()
