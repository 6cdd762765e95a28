"""Run the convergence studies behind the protocols, and write their tables into docs/convergence.md.

Usage: python docs/make_convergence.py [--tables] [NAME ...]

Each study is one `corecrown converge` in runs/convergence/NAME, which continues where it was stopped; its results are
kept in docs/convergence/. With --tables nothing is run: the kept results are set into the page again.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from pymatgen.core import Lattice, Structure

from corecrown.postprocess.convergence import ConvergenceResult, ConvergenceRow, ConvergenceSeries, Quantity
from corecrown.postprocess.results import Step
from corecrown.structures.crystals import Crystal, load_crystal
from corecrown.structures.files import write_structure
from corecrown.structures.substitution import substitute
from corecrown.workflows.convergence import PointMaker
from corecrown.workflows.espresso.outputs import PwRun, read_run
from corecrown.workflows.protocols import load_protocol

ROOT = Path(__file__).resolve().parent.parent
PAGE, KEPT, RUNS = ROOT / "docs" / "convergence.md", ROOT / "docs" / "convergence", ROOT / "runs" / "convergence"
CELLS = KEPT / "cells"
"""The cells of the study as they were when this was measured."""

CUTOFFS = ["--protocol", "fast", "--cutoffs", "40,50,60,80,100,120"]
GAMMA = ["--protocol", "fast", "--vary", "cutoff", "--cutoffs", "40,50,60,80,100", "--at-mesh", "1x1x1"]
MESHES = ["--protocol", "fast", "--at-cutoff", "40", "--meshes"]
STUDIES: dict[str, tuple[str, list[str]]] = {
    "cspbbr3-cubic": (
        "cspbbr3-cubic.cif",
        [*CUTOFFS, "--at-mesh", "2x2x2", *MESHES, "1x1x1,2x2x2,3x3x3,4x4x4,6x6x6"],
    ),
    "fapbbr3-cubic": ("fapbbr3-cubic.cif", [*CUTOFFS, "--at-mesh", "2x2x2", *MESHES, "1x1x1,2x2x2,3x3x3,4x4x4"]),
    "fa000-cutoff": ("fa000.json", GAMMA),
    "fa025-b-cutoff": ("fa025-b.json", GAMMA),
    "fa000-mesh": ("fa000.json", [*MESHES, "1x1x1,2x2x1,2x2x2,3x3x2", "--vary", "mesh", "--no-stress"]),
}
"""Cell, and what `corecrown converge` is told, by the name of the study."""

SHIFTED = "fa000-shifted"
SHIFTED_MESHES = [([2, 2, 1], [1, 1, 0]), ([2, 2, 2], [1, 1, 1])]
DENSEST_MESH = ([3, 3, 2], [0, 0, 0])


def make_cells(folder: Path) -> None:
    """Write the cubic cells: the measured one of CsPbBr3, and FAPbBr3 with one FA along b in the same framework."""
    caesium = load_crystal(Crystal.CSPBBR3_CUBIC)
    larger = Structure(Lattice.cubic(5.99), caesium.species, caesium.frac_coords)
    cells = {"cspbbr3-cubic": caesium, "fapbbr3-cubic": substitute(larger, [0], "b", fa=100)}
    for name, cell in cells.items():
        if not (folder / f"{name}.cif").is_file():
            write_structure(cell, folder / f"{name}.cif")


def run(name: str) -> int:
    """Run one study, and keep its results."""
    cell, options = STUDIES[name]
    cell = str((RUNS if cell.endswith(".cif") else CELLS) / cell)
    folder = RUNS / name
    command = [str(Path(sys.executable).with_name("corecrown")), "converge", cell, *options, "-d", str(folder)]
    code = subprocess.run([*command, "--figure", str(KEPT / f"{name}.svg")], check=False).returncode
    for kind in ("json", "csv"):
        if (folder / f"convergence.{kind}").is_file():
            shutil.copyfile(folder / f"convergence.{kind}", KEPT / f"{name}.{kind}")
    return code


def run_shifted() -> None:
    """Compute `fa000` on meshes shifted by half a step, and keep what their forces and pressure miss of the densest."""
    structure = Structure.from_file(CELLS / "fa000.json")
    runs = [_compute_mesh(structure, mesh, shift) for mesh, shift in [*SHIFTED_MESHES, DENSEST_MESH]]
    densest = runs[-1]
    rows = [
        {
            "cutoff_wfc_ry": 40.0,
            "kpoint_mesh": mesh,
            "kpoint_shift": shift,
            "n_kpoints": len(run.kpoints),
            "force_difference_ev_angstrom": _largest(_forces(run) - _forces(densest)),
            "pressure_difference_kbar": round(run.pressure_kbar - densest.pressure_kbar, 3),
            "energy_difference_mev_per_atom": round(1000 * (run.energy_ev - densest.energy_ev) / len(structure), 4),
        }
        for (mesh, shift), run in zip(SHIFTED_MESHES, runs, strict=False)
    ]
    content = {
        "cell": "fa000",
        "compared_with": DENSEST_MESH[0],
        "largest_force_there_ev_angstrom": _largest(_forces(densest)),
        "pressure_there_kbar": round(densest.pressure_kbar, 3),
        "rows": rows,
    }
    (KEPT / f"{SHIFTED}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _compute_mesh(structure: Structure, mesh: list[int], shift: list[int]) -> PwRun:
    settings = load_protocol("demo", {"scf": {"kpoint_mesh": mesh, "kpoint_shift": shift}}).settings(Step.SCF)
    done = PointMaker(settings=settings, folder=str(RUNS / SHIFTED / _times(mesh))).calculate(structure)
    return read_run(Path(done.dir_name) / done.result.files["xml"])


def _forces(run: PwRun) -> np.ndarray:
    return np.array(run.forces_ev_angstrom)


def _largest(vectors: np.ndarray) -> float:
    return round(float(np.linalg.norm(vectors, axis=1).max()), 5)


def table(result: ConvergenceResult, series: ConvergenceSeries) -> str:
    """Return a series as Markdown."""
    cutoff = series.vary is Quantity.CUTOFF
    pressure = any(row.pressure_kbar is not None for row in series.rows)
    header = ["cutoff / Ry" if cutoff else "mesh", "k-points", "gap / eV", "Δ gap / meV"]
    header += ["Δ gap at Γ / meV"]
    header += ["pressure / kbar", "Δ / kbar"] if pressure else []
    header += ["max \\|ΔF\\| / meV/Å", "ΔE / meV/atom"]
    rows = [_cells(row, cutoff=cutoff, pressure=pressure) for row in series.rows]
    held = f"mesh {_times(series.fixed_mesh or ())}" if cutoff else f"cutoff {series.fixed_cutoff_ry:g} Ry"
    title = f"**{result.cell}** ({result.formula}, {result.n_atoms} atoms, {result.functional}, {held}):"
    lines = ["| " + " | ".join(line) + " |" for line in [header, ["---:"] * len(header), *rows]]
    notes = [f"*{note}*" for note in series.notes]
    return "\n".join([title, "", *lines, *(["", *notes] if notes else [])])


def _cells(row: ConvergenceRow, *, cutoff: bool, pressure: bool) -> list[str]:
    cells = [f"{row.cutoff_wfc_ry:g}" if cutoff else _times(row.kpoint_mesh), str(row.n_kpoints or "–")]
    cells += [_value(row.gap_ev, 1, 4), _value(row.gap_difference_ev, 1000, 1)]
    cells += [_value(row.gap_gamma_difference_ev, 1000, 1)]
    if pressure:
        cells += [_value(row.pressure_kbar, 1, 2), _value(row.pressure_difference_kbar, 1, 2)]
    return [
        *cells,
        _value(row.force_difference_ev_angstrom, 1000, 1),
        _value(row.energy_difference_mev_per_atom, 1, 2),
    ]


def _times(mesh: Sequence[int]) -> str:
    return "×".join(str(n) for n in mesh)


def _value(value: float | None, factor: float, digits: int) -> str:
    return "–" if value is None else f"{value * factor:.{digits}f}"


def set_tables() -> None:
    """Set the kept results between the marks ``<!-- NAME -->`` and ``<!-- end -->`` of the page."""
    text = PAGE.read_text(encoding="utf-8")
    for name in STUDIES:
        kept = KEPT / f"{name}.json"
        if not kept.is_file():
            continue
        result = ConvergenceResult.model_validate_json(kept.read_text(encoding="utf-8"))
        tables = "\n\n".join(table(result, series) for series in result.series)
        pattern = re.compile(rf"(<!-- {re.escape(name)} -->\n).*?(<!-- end -->)", re.DOTALL)
        text = pattern.sub(partial(_between, tables), text)
    PAGE.write_text(text, encoding="utf-8")


def _between(content: str, found: re.Match[str]) -> str:
    return f"{found[1]}\n{content}\n\n{found[2]}"


def main() -> int:
    """Run the studies that are named (all where none is), and set the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(STUDIES))
    parser.add_argument("--tables", action="store_true", help="only set the kept results into the page")
    asked = parser.parse_args()
    unknown = [name for name in asked.names if name not in {*STUDIES, SHIFTED}]
    if unknown:
        parser.error(f"study {unknown[0]!r} is unknown; known: {', '.join(STUDIES)}")
    codes = [0]
    if not asked.tables:
        RUNS.mkdir(parents=True, exist_ok=True)
        KEPT.mkdir(parents=True, exist_ok=True)
        make_cells(RUNS)
        codes = [run(name) for name in asked.names or STUDIES if name != SHIFTED]
        if not asked.names or SHIFTED in asked.names:
            run_shifted()
    if PAGE.is_file():
        set_tables()
    return max(codes, default=0)


if __name__ == "__main__":
    raise SystemExit(main())
