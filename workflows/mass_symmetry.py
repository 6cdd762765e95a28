"""Energies by k-point with the crystal's symmetry: what is equal is computed once."""

import numpy as np
import numpy.typing as npt
import spglib
from pymatgen.core import Structure

from corecrown.errors import InputError

__all__ = ["SAME_KPOINT", "EnergyStore", "find_equivalent", "operations_of"]

FloatArray = npt.NDArray[np.float64]

SAME_KPOINT = 1e-7
"""K-points are one if their fractional coordinates differ by no more than this, modulo whole numbers."""

SYMPREC_ANGSTROM = 1e-5
"""Atoms that symmetry moves by more than this break it: the energies would differ by more than their noise."""


def operations_of(structure: Structure) -> FloatArray:
    """Return what the crystal's point group and time reversal do to fractional k-points, shape (n, 3, 3).

    A rotation W of fractional coordinates takes k to W⁻ᵀ k, so the transposes of the group are the operations. Time
    reversal adds -k: E(-k) = E(k) for the sorted energies of a crystal without magnetism, with spin-orbit coupling
    and without inversion too (Kramers).
    """
    cell = (structure.lattice.matrix, structure.frac_coords, [site.specie.Z for site in structure])
    found = spglib.get_symmetry(cell, symprec=SYMPREC_ANGSTROM)
    rotations = [np.eye(3, dtype=int)] if found is None else list(found["rotations"])
    both = np.array([sign * rotation.T for rotation in rotations for sign in (1, -1)])
    return np.unique(both, axis=0).astype(float)


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
