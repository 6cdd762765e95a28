"""Fit the cost model to the recorded runs of docs/cost/runs.csv.

Usage: python benchmarks/fit_cost.py      (writes inputs/cost/espresso.yaml, docs/cost/fit.json, docs/cost.md)

Least squares of log(model / recorded). Every run above five core-seconds counts; ten of them, drawn by the hash of
their names, are held back and only compared. Then each cell in turn is left out whole, to see how the model carries
over to a cell it has never seen.
"""

import csv
import hashlib
import json
from pathlib import Path

import numpy as np
import yaml
from scipy.optimize import least_squares

from corecrown.workflows.cost import CostModel, Kind, RunSize, core_seconds, waves_in_sphere

ROOT = Path(__file__).resolve().parent.parent
TABLE, MODEL, REPORT = ROOT / "docs/cost/runs.csv", ROOT / "inputs/cost/espresso.yaml", ROOT / "docs/cost/fit.json"
PAGE, MARKS = ROOT / "docs" / "cost.md", ("<!-- results -->\n", "\n<!-- end -->")
HELD_BACK, SMALLEST_S = 10, 5.0
MACHINE = "2 cores of a shared virtual machine, 2 MPI ranks, OpenBLAS"
CONSTANTS = ["start", "fft", "projector", "subspace", "stress", "exchange", "spinor"]
KINDS = [Kind.SCF_FROM_DENSITY, Kind.RELAX, Kind.BANDS, Kind.PDOS, Kind.HYBRID]
GUESS = {
    "start": 3.0, "fft": 1.3e-6, "projector": 2e-8, "subspace": 6.5e-8, "stress": 8e-9, "exchange": 2e-8, "spinor": 1.0,
    Kind.SCF_FROM_DENSITY: 0.5, Kind.RELAX: 0.6, Kind.BANDS: 0.7, Kind.PDOS: 0.7, Kind.HYBRID: 3.0,
}  # fmt: skip
"""From the times of the routines (vloc_psi, calbec and add_vuspsi, what is left of cegterg, stress, vexx) in the hybrid
run of fa000 at 2×2×1."""

LOOSE = 0.3
"""Weight of the guess, in the logarithm: it holds what the runs say little of, and yields to what they say."""


def read_runs():
    with TABLE.open() as stream:
        rows = [row for row in csv.DictReader(stream) if float(row["core_s"]) >= SMALLEST_S]
    unique = {}
    for row in rows:  # the same run can be found in two folders, by links
        unique.setdefault((row["kind"], row["formula"], row["core_s"], row["wall_s"]), row)
    return sorted(unique.values(), key=lambda row: hashlib.sha256(row["run"].encode()).hexdigest())


def kind_of(row):
    name = row["kind"].removesuffix("+soc")
    return Kind.SCF_FROM_DENSITY if name == "scf" and row["from_density"] == "1" else Kind(name)


def size_of_row(row):
    spinor, gamma = row["spinor"] == "1", row["gamma_trick"] == "1"
    waves = waves_in_sphere(float(row["volume_bohr3"]), float(row["cutoff_ry"]))
    return RunSize(
        kind=kind_of(row),
        plane_waves=waves * (2 if spinor else 1) / (2 if gamma else 1),
        bands=int(row["n_bands"]),
        occupied=int(row["n_electrons"]) / (1 if spinor else 2),
        k_points=int(row["n_kpoints"]),
        projectors=int(row["n_projectors"]),
        gamma_trick=gamma,
        spin_orbit=spinor,
        q_points=int(row["n_q"]),
        ionic_steps=max(1, int(row["ionic_steps"])) if kind_of(row) is Kind.RELAX else 1,
        stress=float(row["stress_core_s"]) > 0,
    )


def core_s(row):
    return float(row["core_s"]) + float(row["projwfc_core_s"])


def model_of(logarithms, **error):
    values = dict(zip([*CONSTANTS, *KINDS], np.exp(logarithms), strict=True))
    rounds = {Kind.SCF: 1.0} | {kind: float(values[kind]) for kind in KINDS}
    known = {"runs_fitted": 0, "runs_held_back": 0, "within_factor_2": 0, "largest_factor": 1, "typical_factor": 1}
    return CostModel(**{name: float(values[name]) for name in CONSTANTS}, rounds=rounds, machine=MACHINE,
                     program="pw.x 6.7", **(known | error))  # fmt: skip


def fit(rows):
    start = np.log([GUESS[name] for name in [*CONSTANTS, *KINDS]])
    sizes, recorded = [size_of_row(row) for row in rows], np.log([core_s(row) for row in rows])

    def residuals(logarithms):
        model = model_of(logarithms)
        off = np.log([core_seconds(model, size) for size in sizes]) - recorded
        return np.concatenate([off, LOOSE * (logarithms - start)])

    return least_squares(residuals, start).x


def factors(logarithms, rows):
    model = model_of(logarithms)
    return np.array([core_seconds(model, size_of_row(row)) / core_s(row) for row in rows])


def summary(ratios):
    off = np.exp(np.abs(np.log(ratios)))
    return {"runs": len(ratios), "within_factor_2": int((off <= 2).sum()), "largest_factor": round(float(off.max()), 2),
            "typical_factor": round(float(np.exp(np.sqrt((np.log(ratios) ** 2).mean()))), 2)}  # fmt: skip


def page(report, model):
    """The results as Markdown."""
    held, fitted = report["held_back_summary"], report["fitted_summary"]
    said = (
        f"Fitted to {fitted['runs']} runs, {fitted['within_factor_2']} of which lie within a factor of 2 (typically "
        f"{fitted['typical_factor']}). Of the {held['runs']} held back **{held['within_factor_2']} lie within a factor "
        f"of 2**; the worst is off by {held['largest_factor']}:"
    )
    lines = [
        said,
        "",
        "| Run held back | kind | cell | recorded / core-s | model / core-s | factor |",
        "|---|---|---|---:|---:|---:|",
    ]
    lines += [
        f"| {row['run']} | {row['kind']} | {row['formula']} | {row['recorded_core_s']:.0f} | {row['model_core_s']:.0f} "
        f"| {row['factor']:.2f} |"
        for row in report["held_back"]
    ]
    lines += ["", "With all runs of a cell left out of the fit, and of each kind with the fit as it stands:", ""]
    lines += ["| Left out, or kind | runs | within 2 | worst factor |", "|---|---:|---:|---:|"]
    for name, one in [*report["cell_left_out"].items(), *report["kind_fitted"].items()]:
        lines.append(f"| {name} | {one['runs']} | {one['within_factor_2']} | {one['largest_factor']} |")
    rounds = ", ".join(f"{kind.value} {value:.2g}" for kind, value in model.rounds.items())
    lines += ["", f"Rounds: {rounds}; with spin-orbit coupling times {model.spinor:.2g}."]
    return "\n".join(lines)


def main():
    rows = read_runs()
    held, used = rows[:HELD_BACK], rows[HELD_BACK:]
    found = fit(used)
    ratios = factors(found, held)
    said = summary(ratios)
    report = {
        "held_back": [
            {name: row[name] for name in ("run", "kind", "formula")}
            | {"recorded_core_s": round(core_s(row), 1), "model_core_s": round(core_s(row) * ratio, 1)}
            | {"factor": round(float(ratio), 2)}
            for row, ratio in zip(held, ratios, strict=True)
        ],
        "held_back_summary": said,
        "fitted_summary": summary(factors(found, used)),
        "cell_left_out": {
            formula: summary(factors(fit([row for row in rows if row["formula"] != formula]),
                                     [row for row in rows if row["formula"] == formula]))
            for formula in sorted({row["formula"] for row in rows})
        },
        "kind_fitted": {
            kind: summary(factors(found, [row for row in rows if row["kind"] == kind]))
            for kind in sorted({row["kind"] for row in rows})
        },
    }  # fmt: skip
    model = model_of(found, runs_fitted=len(used), runs_held_back=said["runs"],
                     **{key: value for key, value in said.items() if key != "runs"})  # fmt: skip
    content = model.model_dump(mode="json")
    for name in CONSTANTS:
        content[name] = float(f"{content[name]:.3g}")
    content["rounds"] = {kind: float(f"{value:.3g}") for kind, value in content["rounds"].items()}
    MODEL.parent.mkdir(parents=True, exist_ok=True)
    head = "# Made by benchmarks/fit_cost.py from docs/cost/runs.csv; the formula is in workflows/cost.py.\n"
    MODEL.write_text(head + yaml.safe_dump(content, sort_keys=False))
    REPORT.write_text(json.dumps(report, indent=1) + "\n")
    text = PAGE.read_text()
    start, end = text.index(MARKS[0]) + len(MARKS[0]), text.index(MARKS[1])
    PAGE.write_text(f"{text[:start]}\n{page(report, model)}\n{text[end:]}")
    print(json.dumps(report, indent=1))
    print(MODEL.read_text())


if __name__ == "__main__":
    main()
