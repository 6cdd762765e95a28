"""Orbitals at Γ as pw.x leaves them: read, set against those of another run, and put on a grid."""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from scipy import fft

from corecrown.errors import InputError, RunError

__all__ = ["Orbitals", "orbital_density", "overlaps", "read_orbitals", "read_spin_orbitals"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int32]
ComplexArray = npt.NDArray[np.complex128]


@dataclass(frozen=True)
class Orbitals:
    """Orbitals of one spin channel at Γ.

    Parameters
    ----------
    miller
        Shape (n_waves, 3); half of the sphere, the other half being the complex conjugate.
    coefficients
        Shape (n_bands, n_waves).
    """

    miller: IntArray
    coefficients: ComplexArray

    @property
    def n_bands(self) -> int:
        """Number of bands."""
        return len(self.coefficients)

    @property
    def norms(self) -> FloatArray:
        """Norm of each orbital, (n_bands,); 1 with norm-conserving pseudopotentials."""
        return np.asarray(np.real(np.diag(overlaps(self, self))))


def read_orbitals(path: Path) -> Orbitals:
    """Read a file ``wfc*.dat`` of pw.x 6.4 to 7.5, of a run at Γ with ``K_POINTS gamma``.

    It is a file of Fortran records, each between two copies of its length: k-point, spin and flags; numbers of plane
    waves and bands; the reciprocal cell; the Miller indices; and the coefficients, a record a band (QEF/q-e,
    Modules/io_base.f90).

    Raises
    ------
    InputError
        If the file holds spinors, another k-point or plane waves of the whole sphere, or is HDF5.
    RunError
        If it is missing or cut off.
    """
    if path.suffix == ".hdf5" or not path.is_file():
        if path.with_suffix(".hdf5").is_file():
            raise InputError(
                f"{path.with_suffix('.hdf5')}: orbitals in HDF5 are not read", "use a pw.x built without HDF5"
            )
        raise RunError(f"{path}: no orbitals", "pw.x leaves them with disk_io = 'low' or more")
    try:
        with path.open("rb") as stream:
            head = _record(stream)
            gamma_only = struct.unpack("<i", head[32:36])[0] != 0
            _, n_waves, n_spinor, n_bands = struct.unpack("<4i", _record(stream))
            if not gamma_only or n_spinor != 1:
                raise InputError(f"{path}: not orbitals of K_POINTS gamma", "run pw.x at Γ alone, without spinors")
            _record(stream)
            miller = np.frombuffer(_record(stream), dtype="<i4").reshape(n_waves, 3)
            bands = [np.frombuffer(_record(stream), dtype="<c16") for _ in range(n_bands)]
        coefficients = np.array(bands).reshape(n_bands, n_waves)
    except (OSError, struct.error, ValueError) as error:
        raise RunError(f"{path}: cut off or damaged ({error})", "run the excitation step again") from error
    return Orbitals(miller, coefficients)


def _record(stream: BinaryIO) -> bytes:
    """Read one Fortran record."""
    length = struct.unpack("<i", stream.read(4))[0]
    content = stream.read(length)
    if len(content) != length or struct.unpack("<i", stream.read(4))[0] != length:
        raise ValueError("a record does not end as it says")
    return content


def read_spin_orbitals(save: Path) -> tuple[Orbitals, Orbitals]:
    """Read the orbitals of both spin channels from a ``.save`` folder."""
    return read_orbitals(save / "wfcup1.dat"), read_orbitals(save / "wfcdw1.dat")


def overlaps(first: Orbitals, second: Orbitals) -> FloatArray:
    """Return ⟨first_i|second_j⟩, shape (n_bands of first, n_bands of second).

    With half of the sphere, ⟨a|b⟩ = 2 Re Σ_G a*(G) b(G) - a*(0) b(0): the term of G = 0 has no partner.

    Raises
    ------
    InputError
        If the orbitals are of different cells or cutoffs.
    """
    theirs = second.coefficients
    if not np.array_equal(first.miller, second.miller):
        theirs = theirs[:, _same_order(first.miller, second.miller)]
    mine = first.coefficients
    summed = 2 * np.real(mine.conj() @ theirs.T)
    origin = np.flatnonzero((first.miller == 0).all(axis=1))
    if len(origin):
        summed -= np.real(np.outer(mine[:, origin[0]].conj(), theirs[:, origin[0]]))
    return np.asarray(summed)


def _same_order(wanted: IntArray, given: IntArray) -> npt.NDArray[np.intp]:
    """Return the places of ``wanted`` rows in ``given``."""
    places = {tuple(row): place for place, row in enumerate(given.tolist())}
    found = [places.get(tuple(row)) for row in wanted.tolist()]
    order = [place for place in found if place is not None]
    if len(order) != len(given) or len(order) != len(wanted):
        raise InputError(
            f"orbitals of {len(wanted)} and {len(given)} plane waves that are not the same",
            "both runs need the same cell and cutoff",
        )
    return np.array(order)


def orbital_density(orbitals: Orbitals, band: int, shape: tuple[int, int, int], volume: float) -> FloatArray:
    """Return |ψ|² on a grid.

    Parameters
    ----------
    orbitals
        Of the spin channel.
    band
        0-based.
    shape
        The grid.
    volume
        Of the cell; the density integrates to the norm of the orbital over it.

    Returns
    -------
    Shape ``shape``, in 1 / the unit of ``volume``.
    """
    if not 0 <= band < orbitals.n_bands:
        raise InputError(f"band {band} is not one of 0 to {orbitals.n_bands - 1}", "bands are counted from 0")
    if np.any(2 * np.abs(orbitals.miller).max(axis=0) >= np.array(shape)):
        raise InputError(f"grid {shape} is too coarse for the plane waves", "use the grid of the density")
    waves = np.zeros(shape, dtype=complex)
    rows, values = orbitals.miller, orbitals.coefficients[band]
    waves[tuple(-rows.T)] = values.conj()
    waves[tuple(rows.T)] = values
    psi = fft.ifftn(waves) * waves.size
    return np.asarray(np.real(psi * psi.conj()) / volume)
