"""One run of VASP as OUTCAR and the eigenvalues beside it tell it, for folders whose vasprun.xml was not kept.

OUTCAR says what was computed and whether it came to an end; its own eigenvalues have four decimals, too few for masses,
so they are taken from PROCAR (eight decimals) or EIGENVAL (six).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from monty.io import zopen
from pymatgen.core import Lattice, Structure
from pymatgen.io.vasp.inputs import Kpoints

from corecrown.errors import InputError, RunError
from corecrown.workflows.vasp.vasprun import VaspRun, functional_name, points_on_lines

__all__ = ["find_outcars", "read_outcar_run"]

FloatArray = npt.NDArray[np.float64]

LEVEL_FILES = ("PROCAR", "EIGENVAL")
"""Where eigenvalues are looked for, the file with more decimals first."""

_NUMBER = re.compile(r"[-+]?\d+\.\d+(?:[eE][-+]?\d+)?")
_EXCHANGE = {"PE": "PE", "91": "91", "CA": "CA", "PS": "PS"}


@dataclass(frozen=True)
class _Levels:
    """Eigenvalues (n_spin, n_kpoints, n_bands) in eV, occupations alike, k-points (n, 3) and weights (n,)."""

    eigenvalues_ev: FloatArray
    occupations: FloatArray
    kpoints: FloatArray
    weights: FloatArray


def find_outcars(path: Path) -> list[Path]:
    """Return the folder, or its ``split-*`` folders, that hold OUTCAR and eigenvalues beside it.

    Parameters
    ----------
    path
        A folder, or an OUTCAR in it.

    Returns
    -------
    list
        Empty where there is no such run.
    """
    if path.is_file():
        named = path.name.removesuffix(".gz") == "OUTCAR"
        return [path.parent] if named and _levels_file(path.parent) is not None else []
    if _in(path, "OUTCAR") is not None and _levels_file(path) is not None:
        return [path]
    parts = [folder for folder in sorted(path.glob("split-*")) if folder.is_dir()]
    complete = [folder for folder in parts if _in(folder, "OUTCAR") is not None and _levels_file(folder) is not None]
    if complete and len(complete) < len(parts):
        missing = next(folder.name for folder in parts if folder not in complete)
        raise InputError(
            f"{path}: {missing} holds no OUTCAR with PROCAR or EIGENVAL", "one part of the bands is missing"
        )
    return complete


def read_outcar_run(folder: Path) -> VaspRun:
    """Read a run from OUTCAR and PROCAR or EIGENVAL, each packed or not.

    Raises
    ------
    InputError
        If a file is not there.
    RunError
        If one is cut off, or they are not of one run.
    """
    outcar, levels_file = _in(folder, "OUTCAR"), _levels_file(folder)
    if outcar is None or levels_file is None:
        raise InputError(
            f"{folder}: no OUTCAR with PROCAR or EIGENVAL beside it",
            "give the folder of a run of VASP, with vasprun.xml",
        )
    try:
        with zopen(outcar, "rt", errors="replace") as stream:
            said = str(stream.read())
        spinor = _flag(said, "LSORBIT")
        levels = _read_levels(levels_file, collinear=not spinor)
        return _run(folder, said, levels, spin_orbit=spinor)
    except (ValueError, IndexError, EOFError, OSError) as error:
        raise RunError(
            f"{outcar} and {levels_file.name}: not a whole run of VASP ({type(error).__name__}: {error})",
            "the run was cut off or a file is damaged; run it again",
        ) from error


def _run(folder: Path, said: str, levels: _Levels, *, spin_orbit: bool) -> VaspRun:
    if "General timing and accounting" not in said:
        raise ValueError("OUTCAR ends before the run does")
    head, found, told = said.partition("Dimension of arrays")  # what stands before echoes the wish, not what was run
    told = told if found else head
    points, bands = (int(_value(told, tag)) for tag in ("NKPTS", "NBANDS"))
    if levels.eigenvalues_ev.shape[1:] != (points, bands):
        raise ValueError(f"OUTCAR tells of {points} k-points and {bands} bands, not {levels.eigenvalues_ev.shape[1:]}")
    icharg, nsw = int(_value(told, "ICHARG")), int(_value(told, "NSW"))
    energies = re.findall(r"energy  without entropy\s*=\s*(\S+)", said)
    iterations = re.findall(r"-+ Iteration\s+(\d+)\(\s*(\d+)\)", said)
    fermi = re.findall(r"E-fermi\s*:\s*(\S+)", said)
    gga = _word(told, "GGA")
    return VaspRun(
        structure=_structure(said),
        energy_ev=float(energies[-1]) if energies and icharg < 10 else None,
        eigenvalues_ev=levels.eigenvalues_ev,
        occupations=levels.occupations,
        kpoints=levels.kpoints,
        weights=levels.weights / levels.weights.sum() if levels.weights.sum() > 0 else levels.weights,
        fermi_ev=float(fermi[-1]) if fermi else None,
        n_electrons=float(_value(told, "NELECT")),
        spin_orbit=spin_orbit,
        functional=functional_name(
            _EXCHANGE.get(_word(said, "LEXCH"), "") if gga == "--" else gga,
            hybrid=_flag(told, "LHFCALC"),
            screening=float(_value(told, "HFSCREEN", "0")),
            exact=float(_value(told, "AEXX", "0")),
            dispersion=int(float(_value(told, "IVDW", "0"))),
        ),
        encut_ev=float(_value(told, "ENCUT")),
        mesh=None,
        on_lines=_is_line_mode(folder) or points_on_lines(levels.weights, listed=True, given_density=icharg >= 10),
        code_version=said.split(maxsplit=1)[0].removeprefix("vasp."),
        scf_converged=_scf_converged(said, iterations, int(_value(told, "NELM"))),
        ionic_converged=nsw <= 1 or "reached required accuracy" in said,
        scf_iterations=len(iterations),
        ionic_steps=int(iterations[-1][0]) if iterations else 1,
        stress_kbar=None,
        incar={"ICHARG": icharg},
        potcar_titles=tuple(title.strip() for title in re.findall(r"TITEL\s*=\s*(.+)", said)),
    )


def _scf_converged(said: str, iterations: list[tuple[str, str]], allowed: int) -> bool:
    """Tell whether the last electronic iterations reached EDIFF, out of as many as NELM allows.

    VASP 5 writes that EDIFF is reached whenever the loop ends, so that their number has to be asked as well.
    """
    ends = re.findall(r"aborting loop(?: because)? (EDIFF[^-\n]*)", said)
    return bool(ends) and "not reached" not in ends[-1] and bool(iterations) and int(iterations[-1][1]) < allowed


def _structure(said: str) -> Structure:
    """Return the last geometry that OUTCAR writes."""
    cells = [match.end() for match in re.finditer(r"direct lattice vectors\s+reciprocal lattice vectors[^\n]*\n", said)]
    lattice = np.array([_numbers(line)[:3] for line in said[cells[-1] :].splitlines()[:3]])
    species = re.findall(r"VRHFIN\s*=\s*([A-Za-z]+)", said)
    counts = [int(word) for word in _line(said, r"ions per type =").split()]
    symbols = [symbol for symbol, count in zip(species, counts, strict=True) for _ in range(count)]
    initial = re.search(r"position of ions in fractional coordinates[^\n]*\n", said)
    if initial is None or int(_value(said, "NSW")) > 1:
        moved = [match.end() for match in re.finditer(r"POSITION +TOTAL-FORCE[^\n]*\n[^\n]*\n", said)]
        rows = [_numbers(line)[:3] for line in said[moved[-1] :].splitlines()[: len(symbols)]]
        return Structure(Lattice(lattice), symbols, rows, coords_are_cartesian=True)
    rows = [_numbers(line)[:3] for line in said[initial.end() :].splitlines()[: len(symbols)]]
    return Structure(Lattice(lattice), symbols, rows)


def _read_levels(path: Path, *, collinear: bool) -> _Levels:
    with zopen(path, "rt", errors="replace") as stream:
        read = _procar if path.name.startswith("PROCAR") else _eigenval
        levels = read(iter(stream))
    if collinear and len(levels.eigenvalues_ev) == 1 and levels.occupations.max(initial=0) > 1.001:
        return _Levels(levels.eigenvalues_ev, levels.occupations / 2, levels.kpoints, levels.weights)
    return levels


def _procar(lines: Iterator[str]) -> _Levels:
    points: list[list[float]] = []
    levels: list[list[float]] = []
    shape = (0, 0)
    for line in lines:
        if line.startswith("band"):
            levels.append([float(word) for word in line.replace("#", " ").split()[3::2]])
        elif line.lstrip().startswith("k-point "):
            points.append(_numbers(line.partition(":")[2]))
        elif line.startswith("# of k-points"):
            counts = [int(word) for word in re.findall(r":\s*(\d+)", line)]
            shape = counts[0], counts[1]
    return _shaped(np.array(levels, dtype=float), np.array(points, dtype=float), shape)


def _eigenval(lines: Iterator[str]) -> _Levels:
    header = [next(lines, "") for _ in range(6)]
    spins = int(header[0].split()[3])
    _, n_kpoints, n_bands = (int(word) for word in header[5].split())
    points: list[list[float]] = []
    levels: list[list[float]] = []
    for line in lines:
        words = line.split()
        if not words:
            continue
        if len(points) * n_bands == len(levels) and len(words) == 4:
            points.append([float(word) for word in words])
        else:
            levels.append([float(word) for word in words[1:]])
    found = np.array(levels, dtype=float).reshape(len(points), n_bands, -1)
    if found.shape[2] == spins:
        raise ValueError("EIGENVAL of this version of VASP has no occupations; keep PROCAR or vasprun.xml")
    by_spin = np.moveaxis(found.reshape(len(points), n_bands, 2, spins), 3, 0)
    flat = by_spin.reshape(-1, 2)
    return _shaped(flat, np.array(points * spins, dtype=float), (n_kpoints, n_bands))


def _shaped(levels: FloatArray, points: FloatArray, shape: tuple[int, int]) -> _Levels:
    """Return energies and occupations (n, 2) and k-points with weights (m, 4), spin by spin, in their shapes."""
    n_kpoints, n_bands = shape
    spins = len(points) // n_kpoints if n_kpoints else 0
    if spins not in {1, 2} or len(points) != spins * n_kpoints or len(levels) != spins * n_kpoints * n_bands:
        raise ValueError(f"{len(points)} k-points and {len(levels)} levels instead of {n_kpoints} times {n_bands}")
    by_spin = levels.reshape(spins, n_kpoints, n_bands, 2)
    first = points[:n_kpoints]
    return _Levels(by_spin[..., 0], by_spin[..., 1], np.round(first[:, :3], 10) + 0.0, first[:, 3])


def _is_line_mode(folder: Path) -> bool:
    path = _in(folder, "KPOINTS")
    try:
        return path is not None and Kpoints.from_file(str(path)).style == Kpoints.supported_modes.Line_mode
    except (ValueError, IndexError, OSError, UnicodeDecodeError):
        return False


def _levels_file(folder: Path) -> Path | None:
    return next((found for name in LEVEL_FILES if (found := _in(folder, name)) is not None), None)


def _in(folder: Path, name: str) -> Path | None:
    return next((folder / file for file in (name, f"{name}.gz") if (folder / file).is_file()), None)


def _numbers(text: str) -> list[float]:
    """Return the numbers of a line of VASP's, which may stand without a space between them."""
    return [float(number) for number in _NUMBER.findall(text)]


def _line(said: str, head: str) -> str:
    match = re.search(head + r"([^\n]*)", said)
    if match is None:
        raise ValueError(f"OUTCAR says no {head}")
    return match.group(1)


def _value(said: str, tag: str, default: str | None = None) -> str:
    match = re.search(rf"\b{tag}\s*=\s*([-+\d.E]+)", said)
    if match is not None:
        return match.group(1)
    if default is None:
        raise ValueError(f"OUTCAR says no {tag}")
    return default


def _word(said: str, tag: str) -> str:
    match = re.search(rf"\b{tag}\s*=\s*(\S+)", said)
    return match.group(1) if match else ""


def _flag(said: str, tag: str) -> bool:
    return _word(said, tag).upper().strip(".").startswith("T")
