"""Collect what recorded runs of pw.x cost, and their sizes, into docs/cost/runs.csv.

Usage: python benchmarks/cost_runs.py [FOLDER ...]      (default: runs)

Every whole `pw.out` below the folders gives a row; nothing but what the program printed is read. Times are CPU seconds
times ranks: a machine that is shared lengthens the wall time, not these. A row that is in the table stays, wherever
its folder has gone.
"""

import csv
import re
import sys
from pathlib import Path

from scipy import constants

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "docs" / "cost" / "runs.csv"
FIELDS = ["run", "kind", "formula", "n_atoms", "volume_bohr3", "cutoff_ry", "n_kpoints", "n_bands", "n_electrons"]
FIELDS += ["n_projectors", "gamma_trick", "spinor", "n_q", "version", "ranks", "pools", "scf_iterations", "ionic_steps"]
FIELDS += ["from_density", "electrons_core_s", "forces_core_s", "stress_core_s", "exchange_core_s", "projwfc_core_s"]
FIELDS += ["core_s", "wall_s"]

TIME = re.compile(r"(?:(\d+)h)?\s*(?:(\d+)m)?\s*(?:([\d.]+)s)?")


def seconds(text):
    hours, minutes, rest = TIME.fullmatch(text.strip()).groups()
    return constants.hour * float(hours or 0) + constants.minute * float(minutes or 0) + float(rest or 0)


def cpu(text, routine):
    """CPU seconds of a routine in the table at the end; 0 where it was not called."""
    found = re.findall(rf"^ *{re.escape(routine)} +: +(\S.*?s) CPU", text, flags=re.MULTILINE)
    return seconds(found[-1]) if found else 0.0


def number(text, pattern, default=None):
    found = re.search(pattern, text)
    return default if found is None else float(found[1])


def projectors(text):
    """Beta functions of all atoms, each with its 2l + 1 components."""
    blocks = re.split(r"PseudoPot\. #", text)[1:]
    total = 0
    for block in blocks:
        symbol = re.match(r"\s*\d+ for (\S+)", block)[1]
        momenta = re.findall(
            r"^ +l\(\d+\) = +(\d)", block.split("Using radial grid")[1].split("PseudoPot")[0], re.MULTILINE
        )
        atoms = len(re.findall(rf"^ +\d+ +{symbol} +tau\(", text, re.MULTILINE))
        total += atoms * sum(2 * int(momentum) + 1 for momentum in momenta)
    return total


def kind_of(given, text):
    calculation = re.search(r"calculation\s*=\s*'([\w-]+)'", given)
    name = calculation[1] if calculation else "scf"
    if "EXX-fraction" in text:
        return "hybrid"
    return {"vc-relax": "relax", "relax": "relax", "nscf": "pdos"}.get(name, name)


def row_of(output):
    text = output.read_text(errors="replace")
    given = output.with_suffix(".in")
    if (
        "JOB DONE" not in text
        or not given.is_file()
        or ("BFGS Geometry Optimization" not in text and "vc-relax" in text)
    ):
        return None
    ends = re.findall(r"PWSCF +: +(\S.*?s) CPU +(\S.*?s) WALL", text)
    if not ends:
        return None
    ranks = int(number(text, r"running on +(\d+) processors", 1))
    given_text = given.read_text()
    composition = re.findall(
        r"^ +\d+ +([A-Z][a-z]?) +tau\(", text.split("site n.")[-1].split("number of k")[0], re.MULTILINE
    )
    formula = "".join(f"{name}{composition.count(name)}" for name in dict.fromkeys(composition))
    projected = output.with_name("projwfc.out")
    projwfc = 0.0
    if projected.is_file():
        found = re.findall(r"PROJWFC +: +(\S.*?s) CPU", projected.read_text(errors="replace"))
        projwfc = seconds(found[-1]) if found else 0.0
    q_mesh = re.search(r"q-point mesh: +(\d+) +(\d+) +(\d+)", text)
    spinor = "calculation with spin-orbit" in text
    return {
        "run": name_of(output),
        "kind": kind_of(given_text, text) + ("+soc" if spinor else ""),
        "formula": formula,
        "n_atoms": int(number(text, r"number of atoms/cell +=\s*(\d+)")),
        "volume_bohr3": round(number(text, r"unit-cell volume +=\s*([\d.]+)"), 2),
        "cutoff_ry": number(text, r"kinetic-energy cutoff +=\s*([\d.]+)"),
        "n_kpoints": int(number(text, r"number of k points=\s*(\d+)")),
        "n_bands": int(number(text, r"number of Kohn-Sham states=\s*(\d+)")),
        "n_electrons": round(number(text, r"number of electrons +=\s*([\d.]+)")),
        "n_projectors": projectors(text),
        "gamma_trick": int("gamma-point specific algorithms" in text),
        "spinor": int(spinor),
        "n_q": int(q_mesh[1]) * int(q_mesh[2]) * int(q_mesh[3]) if q_mesh else 0,
        "version": re.search(r"Program PWSCF v\.(\S+)", text)[1],
        "ranks": ranks,
        "pools": int(number(text, r"npool +=\s*(\d+)", 1)),
        "scf_iterations": len(re.findall(r"^ +iteration # ", text, re.MULTILINE)),
        "ionic_steps": len(re.findall(r"^!+ +total energy", text, re.MULTILINE)),
        "from_density": int("initial density is read from file" in text),
        "electrons_core_s": round(ranks * cpu(text, "electrons"), 2),
        "forces_core_s": round(ranks * cpu(text, "forces"), 2),
        "stress_core_s": round(ranks * cpu(text, "stress"), 2),
        "exchange_core_s": round(ranks * cpu(text, "vexx"), 2),
        "projwfc_core_s": round(ranks * projwfc, 2),
        "core_s": round(ranks * seconds(ends[-1][0]), 2),
        "wall_s": round(seconds(ends[-1][1]), 2),
    }


def name_of(output):
    path = output.resolve()
    parts = (
        path.parent.relative_to(ROOT / "runs").parts if path.is_relative_to(ROOT / "runs") else path.parent.parts[2:]
    )
    return "/".join(part for part in parts if part != "cells")


def main():
    folders = [Path(name) for name in sys.argv[1:]] or [ROOT / "runs"]
    known = {}
    if TABLE.is_file():
        with TABLE.open() as stream:
            known = {row["run"]: row for row in csv.DictReader(stream)}
    seen = set()
    for folder in folders:
        for output in sorted(folder.rglob("pw.out")):
            inode = output.stat().st_ino  # a calculation that two studies share is one file
            row = None if inode in seen else row_of(output)
            seen.add(inode)
            if row is not None:
                known[row["run"]] = row
    TABLE.parent.mkdir(parents=True, exist_ok=True)
    with TABLE.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(known[name] for name in sorted(known))
    print(f"{len(known)} runs in {TABLE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
