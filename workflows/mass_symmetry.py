"""Energies by k-point with the crystal's symmetry: what is equal is computed once."""

import numpy as np
import numpy.typing as npt

from corecrown.errors import InputError
from corecrown.postprocess.kpoint_symmetry import operations_of

__all__ = ["SAME_KPOINT", "EnergyStore", "find_equivalent", "operations_of"]

FloatArray = npt.NDArray[np.float64]

SAME_KPOINT = 1e-7
"""K-points are one if their fractional coordinates differ by no more than this, modulo whole numbers."""


class EnergyStore:
    """Energies by k-point, with symmetry: asks only for what is not known yet.

    Parameters
    ----------
    operations
        Shape (m, 3, 3), from :func:`operations_of`.
    """

    def __init__(self, operations: FloatArray) -> None:
        self._operations = operations
        self._kpoints = np.empty((0, 3))
        self._energies: list[FloatArray] = []

    @property
    def kpoints(self) -> FloatArray:
        """All k-points that are known, as they were computed; shape (n, 3), fractional."""
        return self._kpoints

    def add(self, kpoints: npt.ArrayLike, energies_ev: npt.ArrayLike) -> None:
        """Take in what was computed: k-points (n, 3), energies (n, n_bands) in eV, sorted here."""
        self._kpoints = np.vstack([self._kpoints, np.asarray(kpoints, dtype=float).reshape(-1, 3)])
        self._energies += [np.sort(np.asarray(row, dtype=float)) for row in np.asarray(energies_ev, dtype=float)]

    def find(self, kpoint: FloatArray) -> int | None:
        """Return the place of an equivalent k-point, or None."""
        return find_equivalent(kpoint, self._kpoints, self._operations)

    def missing(self, kpoints: FloatArray) -> FloatArray:
        """Return those of k-points (n, 3) that have to be computed: one of each set of equals, shape (m, 3)."""
        wanted = np.empty((0, 3))
        for kpoint in kpoints:
            if self.find(kpoint) is None and find_equivalent(kpoint, wanted, self._operations) is None:
                wanted = np.vstack([wanted, kpoint])
        return wanted

    def energies(self, kpoints: FloatArray) -> FloatArray:
        """Return energies (n, n_bands) of k-points that are all known."""
        places = [self.find(kpoint) for kpoint in kpoints]
        rows = [self._energies[place] for place in places if place is not None]
        if len(rows) != len(kpoints):
            raise InputError("a k-point of the stencil was not computed", "run the step again")
        n_bands = min(len(row) for row in rows)
        return np.array([row[:n_bands] for row in rows])


def find_equivalent(kpoint: FloatArray, among: FloatArray, operations: FloatArray) -> int | None:
    """Return the place of a k-point (3,) that symmetry makes equal to another among some (n, 3), or None."""
    if not len(among):
        return None
    images = operations @ np.asarray(kpoint, dtype=float)
    apart = images[:, None, :] - among[None, :, :]
    apart -= np.round(apart)
    same = np.abs(apart).max(axis=2).min(axis=0) < SAME_KPOINT
    return int(np.argmax(same)) if same.any() else None
