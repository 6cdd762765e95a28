"""Charged cells: what the interaction of a charge with its images and the background costs."""

import numpy as np
import numpy.typing as npt
from ase import units
from scipy.special import erfc

from corecrown.errors import InputError

__all__ = ["madelung_potential", "makov_payne_ev"]

REACH = 6.0
"""How many widths of its Gaussian either sum of the Ewald method goes out to."""


def makov_payne_ev(lattice: npt.ArrayLike, charge: float, dielectric_constant: float) -> float:
    """Return the leading correction of Makov and Payne for a charged cell, eV, to be added to its energy.

    It is -q² v_M / 2ε, with v_M the (negative) potential at a point charge of its images and the background; of a cubic
    cell q² 2.837 / 2εL (Phys. Rev. B 51, 4014 (1995), eq. 15, first term). It holds for a charge much smaller than the
    cell; for one that spreads over the cell it is too large.

    Parameters
    ----------
    lattice
        Shape (3, 3), rows are the vectors, Å.
    charge
        In units of the elementary charge.
    dielectric_constant
        Of the solid, isotropic: with clamped ions where the atoms do not move.
    """
    if dielectric_constant < 1:
        raise InputError(f"dielectric constant {dielectric_constant}: below 1", "that of vacuum is 1")
    hartree_bohr_to_ev_angstrom = units.Hartree * units.Bohr
    return float(-(charge**2) * madelung_potential(lattice) * hartree_bohr_to_ev_angstrom / (2 * dielectric_constant))


def madelung_potential(lattice: npt.ArrayLike) -> float:
    """Return the potential at a unit point charge of its periodic images and a uniform background, 1/Å (Ewald's sum).

    Parameters
    ----------
    lattice
        Shape (3, 3), rows are the vectors, Å.
    """
    matrix = np.asarray(lattice, dtype=float)
    volume = abs(float(np.linalg.det(matrix)))
    if volume < 1e-6:
        raise InputError("lattice: the vectors span no volume", "give three vectors as rows")
    eta = np.sqrt(np.pi) / volume ** (1 / 3)
    reciprocal = 2 * np.pi * np.linalg.inv(matrix).T
    near = np.linalg.norm(_vectors(matrix, REACH / eta), axis=1)
    far = (_vectors(reciprocal, 2 * eta * REACH) ** 2).sum(axis=1)
    direct = float((erfc(eta * near) / near).sum())
    inverse = float(4 * np.pi / volume * (np.exp(-far / (4 * eta**2)) / far).sum())
    self_term = 2 * eta / np.sqrt(np.pi) + np.pi / (volume * eta**2)
    return float(direct + inverse - self_term)


def _vectors(matrix: npt.NDArray[np.float64], cutoff: float) -> npt.NDArray[np.float64]:
    """Return all vectors of a lattice within a cutoff, the origin left out, (n, 3)."""
    heights = 1 / np.linalg.norm(np.linalg.inv(matrix), axis=0)
    axes = [np.arange(-int(np.ceil(cutoff / h)), int(np.ceil(cutoff / h)) + 1) for h in heights]
    numbers = np.array(np.meshgrid(*axes, indexing="ij")).reshape(3, -1).T
    vectors = numbers @ matrix
    lengths = np.linalg.norm(vectors, axis=1)
    return np.asarray(vectors[(lengths > 1e-9) & (lengths <= cutoff)])
