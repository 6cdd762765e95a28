"""What pw.x says on its standard output: progress while it runs, the last geometry, and the reason of an end."""

import re
from pathlib import Path

import numpy as np
from ase import units
from pymatgen.core import Lattice, Structure

from corecrown.workflows.progress import Progress

__all__ = ["last_geometry", "read_progress", "reason_of_failure"]

_TAIL_BYTES = 200_000
_NEW_EXCHANGE = "EXX: now go back to refine exchange"
_ERROR_BLOCK = re.compile(r"%{20,}\s*\n(.*?)\n\s*%{20,}", re.DOTALL)


def read_progress(output: Path) -> Progress:
    """Read how far a run is from the end of its output; a missing file means it has not begun."""
    text = _tail(output)
    cycles = re.findall(r"number of scf cycles\s*=\s*(\d+)", text)
    last_geometry_at = max(text.rfind("ATOMIC_POSITIONS ("), 0)
    scf = text[max(last_geometry_at, text.rfind(_NEW_EXCHANGE)) :]
    iterations = re.findall(r"iteration #\s*(\d+)", scf)
    accuracies = re.findall(r"estimated scf accuracy\s*<\s*(\S+)\s*Ry", scf)
    kpoints = re.findall(r"Computing kpt #:\s*(\d+)", text)
    return Progress(
        ionic_step=(int(cycles[-1]) + 1 if cycles else 1 + (last_geometry_at > 0)) + ("Begin final" in text),
        scf_iteration=int(iterations[-1]) if iterations else 0,
        accuracy_ry=_as_float(accuracies[-1]) if accuracies else None,
        exchange_round=text.count(_NEW_EXCHANGE, last_geometry_at),
        kpoint=int(kpoints[-1]) if kpoints else None,
    )


def last_geometry(output: Path, start: Structure) -> Structure | None:
    """Return the last complete geometry that a relaxation printed, or None if it printed none.

    Parameters
    ----------
    output
        Standard output of pw.x, whole or broken off anywhere.
    start
        The structure the relaxation began with: gives species and their order, and site properties.
    """
    if not output.is_file():
        return None
    text = output.read_text(encoding="utf-8", errors="replace")
    n_atoms = len(start)
    cell_pattern = r"CELL_PARAMETERS \((?P<unit>[^)]*)\)\n(?P<rows>(?:[^\n]*\n){3})"
    atoms_pattern = rf"(?P<atoms>(?:[A-Z][a-z]?\d*\s[^\n]*\n){{{n_atoms}}})"
    pattern = re.compile(rf"(?:{cell_pattern}\n*)?ATOMIC_POSITIONS \((?P<kind>\w+)\)\n{atoms_pattern}")
    geometries = list(pattern.finditer(text))
    if not geometries:
        return None
    found = geometries[-1]
    lattice = start.lattice
    if found["rows"]:
        rows = np.array([row.split() for row in found["rows"].splitlines()], dtype=float)
        lattice = Lattice(rows * _unit_in_angstrom(found["unit"]))
    coords = np.array([line.split()[1:4] for line in found["atoms"].splitlines()], dtype=float)
    if found["kind"] == "bohr":
        coords = coords * units.Bohr
    return Structure(
        lattice,
        start.species,
        coords,
        coords_are_cartesian=found["kind"] != "crystal",
        site_properties=start.site_properties,
    )


def reason_of_failure(folder: Path, output: str) -> str:
    """Return the lines of an output (or CRASH file) that tell why a program ended, at most a few."""
    for path in (folder / output, folder / "CRASH"):
        if path.is_file():
            blocks = _ERROR_BLOCK.findall(_tail(path))
            if blocks:
                lines = [line.strip() for line in blocks[0].splitlines() if line.strip()]
                return "; ".join(lines[:4])
    text = _tail(folder / output)
    for phrase in (
        "convergence NOT achieved",
        "The maximum number of steps has been reached",
        "Maximum CPU time exceeded",
    ):
        if phrase in text:
            return phrase
    errors = _tail(folder / output.replace(".out", ".err")).strip().splitlines()
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = [line.strip() for line in errors if line.strip()][:2] or lines[-2:]
    return "; ".join(said) if said else "it said nothing"


def _tail(path: Path) -> str:
    if not path.is_file():
        return ""
    with path.open("rb") as stream:
        stream.seek(0, 2)
        stream.seek(max(0, stream.tell() - _TAIL_BYTES))
        return stream.read().decode("utf-8", errors="replace")


def _as_float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _unit_in_angstrom(unit: str) -> float:
    if unit == "angstrom":
        return 1.0
    bohr = float(units.Bohr)
    return float(unit.split("=")[1]) * bohr if unit.startswith("alat") else bohr
