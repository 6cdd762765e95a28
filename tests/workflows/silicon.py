"""A study of two-atom silicon that takes seconds, and the command line as a user calls it."""

import json
import os
import subprocess
import sys
from pathlib import Path

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


def write_study(folder, labels=("si",), steps="[scf]", scf="", name="silicon"):
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
        "  all: {cutoff_wfc_ry: 16, kpoint_mesh: [2, 2, 2]}\n"
        f"  scf: {{{scf}}}\n"
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
        timeout=300,
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
