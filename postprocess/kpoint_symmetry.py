"""What a crystal's symmetry does to k-points."""

from typing import Any

import numpy as np
import numpy.typing as npt
import spglib

__all__ = ["operations_of"]

SYMPREC_ANGSTROM = 1e-5
"""Atoms that symmetry moves by more than this break it: the energies would differ by more than their noise."""


def operations_of(structure: Any) -> npt.NDArray[np.float64]:
    """Return what the crystal's point group and time reversal do to fractional k-points, shape (n, 3, 3).

    A rotation W of fractional coordinates takes k to W⁻ᵀ k, so the transposes of the group are the operations. Time
    reversal adds -k: E(-k) = E(k) for the sorted energies of a crystal without magnetism, with spin-orbit coupling
    and without inversion too (Kramers).

    Parameters
    ----------
    structure
        pymatgen ``Structure``.
    """
    cell = (structure.lattice.matrix, structure.frac_coords, [site.specie.Z for site in structure])
    found = spglib.get_symmetry(cell, symprec=SYMPREC_ANGSTROM)
    rotations = [np.eye(3, dtype=int)] if found is None else list(found["rotations"])
    both = np.array([sign * rotation.T for rotation in rotations for sign in (1, -1)])
    return np.unique(both, axis=0).astype(float)
