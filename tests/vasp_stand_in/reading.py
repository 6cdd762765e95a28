"""Reading the four inputs; part of a test tool that stands in for VASP."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass
class Dataset:
    """One dataset of POTCAR."""

    element: str
    title: str
    lexch: str
    zval: float


@dataclass
class Inputs:
    """What the four files say."""

    folder: Path
    incar: dict[str, str]
    lattice: np.ndarray
    species: list[str]
    counts: list[int]
    frac: np.ndarray
    datasets: list[Dataset]
    kpoints_mode: str
    mesh: tuple[int, int, int] | None
    shift: np.ndarray
    kpoints: np.ndarray
    weights: np.ndarray

    @property
    def symbols(self) -> list[str]:
        """One element an atom."""
        return [name for name, count in zip(self.species, self.counts, strict=True) for _ in range(count)]

    @property
    def n_electrons(self) -> float:
        """Valence electrons."""
        zval = {dataset.element: dataset.zval for dataset in self.datasets}
        return float(self.incar.get("NELECT", sum(zval[symbol] for symbol in self.symbols)))

    def flag(self, tag: str) -> bool:
        """Whether a logical tag is set."""
        return self.incar.get(tag, ".FALSE.").strip(".").upper().startswith("T")

    def number(self, tag: str, default: float) -> float:
        """Return a number."""
        return float(self.incar.get(tag, default))

    def numbers(self, tag: str) -> list[float]:
        """Return a list such as ``93*1 0 1``."""
        found: list[float] = []
        for word in self.incar.get(tag, "").split():
            count, star, value = word.rpartition("*")
            found += [float(value)] * (int(count) if star else 1)
        return found


def read_inputs(folder: Path) -> Inputs:
    """Read INCAR, POSCAR, POTCAR and KPOINTS."""
    incar = read_incar((folder / "INCAR").read_text())
    lattice, species, counts, frac = read_poscar((folder / "POSCAR").read_text())
    datasets = read_potcar((folder / "POTCAR").read_text())
    mode, mesh, shift, kpoints, weights = read_kpoints((folder / "KPOINTS").read_text())
    if mesh is not None:
        symbols = [name for name, count in zip(species, counts, strict=True) for _ in range(count)]
        kpoints, weights = reduce_mesh(mesh, shift, lattice, symbols, frac, int(float(incar.get("ISYM", 2))))
    return Inputs(
        folder, incar, lattice, species, counts, frac, datasets, mode, mesh, shift, kpoints, weights / weights.sum()
    )


def read_incar(text: str) -> dict[str, str]:
    """Return tags and values; a tag that stands twice keeps its first value, as in VASP."""
    tags: dict[str, str] = {}
    for line in text.splitlines():
        for part in re.split(r"[#!]", line)[0].split(";"):
            if "=" in part:
                tag, _, value = part.partition("=")
                tags.setdefault(tag.strip().upper(), value.strip())
    return tags


def read_poscar(text: str) -> tuple[np.ndarray, list[str], list[int], np.ndarray]:
    """Return lattice, species, counts and fractional positions."""
    lines = text.splitlines()
    lattice = float(lines[1]) * np.array([[float(word) for word in line.split()[:3]] for line in lines[2:5]])
    species, counts = lines[5].split(), [int(word) for word in lines[6].split()]
    cartesian = lines[7].strip()[0].lower() in "ck"
    rows = np.array([[float(word) for word in line.split()[:3]] for line in lines[8 : 8 + sum(counts)]])
    if rows.shape != (sum(counts), 3):
        raise ValueError("POSCAR has fewer positions than atoms")
    return lattice, species, counts, rows @ np.linalg.inv(lattice) if cartesian else rows


def read_potcar(text: str) -> list[Dataset]:
    """Return the datasets in order."""
    found = []
    for part in text.split("End of Dataset"):
        if not part.strip():
            continue
        title = re.search(r"TITEL\s*=\s*(.+)", part)
        valence = re.search(r"ZVAL\s*=\s*([\d.]+)", part)
        lexch = re.search(r"LEXCH\s*=\s*(\S+)", part)
        element = re.search(r"VRHFIN\s*=\s*([A-Za-z]+)", part)
        if not (title and valence and lexch and element):
            raise ValueError("POTCAR holds a dataset without TITEL, VRHFIN, LEXCH or ZVAL")
        found.append(Dataset(element.group(1), title.group(1).strip(), lexch.group(1), float(valence.group(1))))
    return found


def read_kpoints(text: str) -> tuple[str, tuple[int, int, int] | None, np.ndarray, np.ndarray, np.ndarray]:
    """Return mode, mesh, shift, points and weights."""
    lines = text.splitlines()
    count, mode = int(lines[1].split()[0]), lines[2].strip()
    nothing = np.zeros((0, 3)), np.ones(0)
    if count == 0 and mode[0] in "GgMm":
        n_a, n_b, n_c = (int(word) for word in lines[3].split()[:3])
        shift = np.array([float(word) for word in lines[4].split()[:3]]) if len(lines) > 4 and lines[4].split() else 0
        extra = np.array([(1 - n % 2) / 2 for n in (n_a, n_b, n_c)]) if mode[0] in "Mm" else np.zeros(3)
        return mode, (n_a, n_b, n_c), np.zeros(3) + shift + extra, *nothing
    if count > 0 and mode[0] in "RrFf":
        rows = [line.split() for line in lines[3 : 3 + count]]
        if len(rows) < count or any(len(row) < 4 for row in rows):
            raise ValueError(f"KPOINTS announces {count} k-points and lists fewer, or some without weight")
        values = np.array([[float(word) for word in row[:4]] for row in rows])
        return mode, None, np.zeros(3), values[:, :3], values[:, 3]
    raise ValueError(f"KPOINTS mode {mode!r} with {count} k-points is not understood by the stand-in")


def reduce_mesh(
    mesh: tuple[int, int, int], shift: np.ndarray, lattice: np.ndarray, symbols: list[str], frac: np.ndarray, isym: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the k-points of a mesh that symmetry leaves: all for ISYM < 0, k and -k alike for 0."""
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in mesh], indexing="ij"), axis=-1).reshape(-1, 3)
    points = (grid + shift) / np.array(mesh)
    points -= np.round(points - 1e-9)
    if isym < 0:
        return points, np.ones(len(points))
    if isym > 0:
        import spglib

        numbers = [sorted(set(symbols)).index(symbol) + 1 for symbol in symbols]
        twice = np.round(2 * shift).astype(int)
        mapping, grid = spglib.get_ir_reciprocal_mesh(mesh, (lattice, frac, numbers), is_shift=twice, symprec=1e-5)
        first, counts = np.unique(mapping, return_counts=True)
        points = (grid[first] + twice / 2) / np.array(mesh)
        return points - np.round(points - 1e-9), counts.astype(float)
    kept, weights = [], []
    for point in points:
        opposite = [place for place, other in enumerate(kept) if _same(point, -other)]
        if opposite:
            weights[opposite[0]] += 1
        else:
            kept.append(point)
            weights.append(1.0)
    return np.array(kept), np.array(weights)


def _same(first: np.ndarray, second: np.ndarray) -> bool:
    apart = first - second
    return bool(np.abs(apart - np.round(apart)).max() < 1e-8)
