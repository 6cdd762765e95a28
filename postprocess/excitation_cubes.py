"""Densities on a grid: cube files, read gzipped or not, and written small enough to keep."""

import gzip
import io
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from ase import Atoms, units
from ase.io.cube import read_cube
from pymatgen.core import Structure
from pymatgen.io.ase import AseAtomsAdaptor

from corecrown.errors import InputError
from corecrown.files import write_whole

__all__ = ["GridDensity", "read_density", "write_density"]

FloatArray = npt.NDArray[np.float64]

NUMBERS_A_LINE = 6


@dataclass(frozen=True)
class GridDensity:
    """A density on the regular grid of a cell.

    Parameters
    ----------
    structure
        The cell.
    values
        Shape (n_a, n_b, n_c), 1/Å³; the first point is the origin, and the last one a step before the next cell.
    """

    structure: Structure
    values: FloatArray

    @property
    def voxel(self) -> float:
        """Volume of a grid point, Å³."""
        return float(self.structure.volume) / self.values.size

    @property
    def total(self) -> float:
        """Integral over the cell."""
        return float(self.values.sum()) * self.voxel

    def minus(self, other: "GridDensity") -> "GridDensity":
        """Return the difference of two densities of one cell.

        Raises
        ------
        InputError
            If their grids or lattices differ.
        """
        same = self.values.shape == other.values.shape and np.allclose(
            self.structure.lattice.matrix, other.structure.lattice.matrix, atol=1e-3
        )
        if not same:
            raise InputError(
                f"densities on grids {self.values.shape} and {other.values.shape} cannot be subtracted",
                "both need the same cell and cutoff",
            )
        return GridDensity(self.structure, self.values - other.values)


def read_density(path: Path) -> GridDensity:
    """Read a cube file, gzipped or not.

    Values are in 1/bohr³, as programs write densities; they come back in 1/Å³.

    Raises
    ------
    InputError
        If it is missing, cut off or no cube file.
    """
    try:
        data = path.read_bytes()
        text = gzip.decompress(data) if path.suffix == ".gz" else data
        lines = io.StringIO(text.decode("utf-8"))
        content = read_cube(lines, read_data=False)
        values = _numbers(lines.read()).reshape(_shape(text))
    except (OSError, EOFError, ValueError, IndexError, KeyError) as error:
        raise InputError(f"{path}: not a whole cube file ({error})", "make it again, or give another file") from error
    atoms: Atoms = content["atoms"]
    if not np.isfinite(values).all():
        raise InputError(f"{path}: not one density on a grid", "give a cube file of one density")
    structure = AseAtomsAdaptor.get_structure(atoms)
    return GridDensity(structure, values / units.Bohr**3)


def _numbers(text: str) -> FloatArray:
    """Return the numbers of a text; ase makes an object of each, which takes ten times as long.

    Raises
    ------
    ValueError
        If there is something else in it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # numpy will raise ValueError one day
        try:
            return np.fromstring(text, sep=" ")
        except DeprecationWarning as error:
            raise ValueError(str(error)) from error


def _shape(cube: bytes) -> list[int]:
    """Return the points along each axis, from the fourth to the sixth line of a cube file."""
    return [abs(int(line.split()[0])) for line in cube.split(b"\n", 6)[3:6]]


def write_density(path: Path, density: GridDensity, about: str) -> Path:
    """Write a cube file, gzipped where the name ends so; VESTA opens both, once unpacked.

    Parameters
    ----------
    path
        Such as ``difference.cube.gz``.
    density
        Written in 1/bohr³.
    about
        One line.
    """
    structure, values = density.structure, density.values * units.Bohr**3
    steps = structure.lattice.matrix / np.array(values.shape)[:, None] / units.Bohr
    lines = [about.replace("\n", " "), "density in 1/bohr^3, lengths in bohr"]
    lines.append(_row(len(structure), (0.0, 0.0, 0.0)))
    lines += [_row(number, step) for number, step in zip(values.shape, steps, strict=True)]
    lines += [
        f"{site.specie.Z:5d}{float(site.specie.Z):12.6f}" + "".join(f"{x:12.6f}" for x in site.coords / units.Bohr)
        for site in structure
    ]
    words = np.char.mod("%13.5E", values.reshape(-1, values.shape[2]))
    body = [
        "".join(row[start : start + NUMBERS_A_LINE]) for row in words for start in range(0, len(row), NUMBERS_A_LINE)
    ]
    text = "\n".join([*lines, *body, ""]).encode("utf-8")
    return write_whole(path, gzip.compress(text, compresslevel=6, mtime=0) if path.suffix == ".gz" else text)


def _row(number: int, vector: npt.ArrayLike) -> str:
    return f"{number:5d}" + "".join(f"{x:12.6f}" for x in np.asarray(vector, dtype=float))
