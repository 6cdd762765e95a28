"""The mass tensor of an edge whose band crosses the next one, from the energies of a uniform mesh.

Where two bands cross, sorted energies have kinks that no mesh resolves. Their sum S and the square of their difference
D are the trace of a 2x2 Hamiltonian and its squared trace less four times its determinant: smooth wherever both are
apart from a third band. Both are interpolated by polynomials through the k-points around the edge, and E = S/2 ∓ √D/2
is differentiated in closed form. Nothing of it is shared with a stencil but the density.
"""

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from corecrown.errors import InputError
from corecrown.postprocess.kpoint_symmetry import operations_of
from corecrown.postprocess.mass_edge import DEGENERACY_EV, as_band_energies
from corecrown.postprocess.mass_fit import (
    HARTREE_EV,
    Carrier,
    FloatArray,
    as_kpoints,
    reciprocal_lattice_inv_bohr,
)
from corecrown.postprocess.mass_tensors import as_vector, mass_tensor, tensor_difference
from corecrown.postprocess.results import MassTensor

__all__ = ["crossing_mass"]

IntArray = npt.NDArray[np.int64]

_ORDER = 6
_EXPONENTS: IntArray = np.array([powers for powers in product(range(_ORDER + 1), repeat=3) if sum(powers) <= _ORDER])
_POINTS_PER_TERM = 1.75
"""The nearest k-points that are fitted, for each of the 84 terms of sixth order: few, so that the fit nearly passes
through them and its error falls with their distance."""

CONVERGED = 0.15
"""Converged if twice as many k-points give the tensor to within this share: the nearer ones alone are far closer."""

TOO_COARSE = 0.5
"""Refused if they differ by more than this."""

_APART_EV = 0.1
"""A third band nearer than this may meet the pair between the k-points."""


def crossing_mass(
    structure: Any, kpoints: npt.ArrayLike, energies_ev: npt.ArrayLike, band_index: int, carrier: Carrier
) -> MassTensor:
    """Return the mass tensor of a band edge from a uniform mesh, the next band interpolated with it.

    Parameters
    ----------
    structure
        pymatgen ``Structure``; its symmetry is used, so the mesh may be reduced by it.
    kpoints
        Shape (n, 3), fractional: a mesh, whole or reduced by symmetry and time reversal.
    energies_ev
        Shape (n, n_bands), eV, one spin channel; bands are sorted here.
    band_index
        0-based index of the highest valence band (hole) or the lowest conduction band (electron). Two more bands
        beyond it are needed: the one that it crosses, and one that says how far the pair is from others.
    carrier
        Electron or hole.

    Returns
    -------
    MassTensor
        ``converged`` compares with a fit to twice as many k-points.

    Raises
    ------
    InputError
        If bands are missing, there is no gap, the edge is degenerate, a third band is too near, or the k-points are
        too few or too coarse.
    """
    points = as_kpoints(kpoints, "kpoints")
    energies = as_band_energies(energies_ev, len(points), "energies_ev")
    beyond, third, below = (band_index + carrier.sign * steps for steps in (1, 2, -1))
    n_bands = energies.shape[1]
    if not (0 <= band_index < n_bands and 0 <= beyond < n_bands and 0 <= third < n_bands):
        raise InputError(
            f"band_index: of band {band_index} and two beyond it not all are among {n_bands}", "compute more bands"
        )
    rising = carrier.sign * energies
    if 0 <= below < n_bands and rising[:, below].max() >= rising[:, band_index].min():
        raise InputError("no band gap on this mesh: a metal has no band-edge masses", "give an insulator")
    lattice = reciprocal_lattice_inv_bohr(structure.lattice.reciprocal_lattice.matrix)
    centre = points[int(np.argmin(rising[:, band_index]))]
    offsets, rows = _around(points, centre, operations_of(structure), lattice)
    number = _number_fitted(offsets)
    chosen = rising[:, [band_index, beyond, third]][rows]
    near = _Pair.fit(offsets, chosen, number)
    place = near.minimum()
    tensor = near.derivatives(place)[2]
    wide = _Pair.fit(offsets, chosen, 2 * number).derivatives(place)[2]
    difference = tensor_difference(wide, tensor)
    if difference > TOO_COARSE:
        raise InputError(
            f"k-points too coarse: with twice as many around the edge the tensor differs by {100 * difference:.0f} %",
            "use a finer mesh",
        )
    kpoint = centre + place @ np.linalg.inv(lattice)
    notes = [
        f"sum and squared difference of bands {band_index} and {beyond}, sixth order within {near.radius:.3f}/bohr",
        f"through twice as many the tensor differs by {100 * difference:.1f} %",
    ]
    return mass_tensor(
        tensor,
        carrier,
        converged=difference <= CONVERGED,
        notes=notes,
        band_index=band_index,
        degeneracy=1,
        extremum_kpoint=as_vector(kpoint - np.round(kpoint)),
    )


@dataclass(frozen=True)
class _Polynomial:
    """A polynomial of q (3,), lengths in units of ``scale``."""

    exponents: IntArray
    coefficients: FloatArray
    scale: float

    def value(self, place: FloatArray) -> float:
        return float(_powers(place[None] / self.scale, self.exponents)[0] @ self.coefficients)

    def along(self, axis: int) -> "_Polynomial":
        """Return the derivative along an axis."""
        powers = self.exponents[:, axis]
        lowered = self.exponents - np.eye(3, dtype=int)[axis]
        return _Polynomial(np.maximum(lowered, 0), self.coefficients * powers / self.scale, self.scale)

    def derivatives(self, place: FloatArray) -> tuple[float, FloatArray, FloatArray]:
        """Return value, gradient (3,) and second derivatives (3, 3)."""
        first = [self.along(axis) for axis in range(3)]
        second = [[one.along(axis).value(place) for axis in range(3)] for one in first]
        return self.value(place), np.array([one.value(place) for one in first]), np.array(second)


@dataclass(frozen=True)
class _Pair:
    """Sum and squared difference of two bands around a k-point, in Hartree, upwards from the edge."""

    total: _Polynomial
    squared: _Polynomial
    radius: float
    spacing: float

    @classmethod
    def fit(cls, offsets: FloatArray, rising_ev: FloatArray, number: int) -> "_Pair":
        """Fit to the nearest of the k-points, whole shells; ``rising_ev`` (n, 3) holds both bands and a third."""
        lengths = np.linalg.norm(offsets, axis=1)
        radius = float(np.sort(lengths)[number - 1]) * (1 + 1e-6)
        inside = lengths <= radius
        edge, beyond, third = rising_ev[inside].T / HARTREE_EV
        nearest_ev = HARTREE_EV * float((third - beyond).min())
        if nearest_ev < _APART_EV:
            raise InputError(
                f"a third band comes within {1e3 * nearest_ev:.3g} meV of the pair around the edge",
                "use a finer mesh, or a stencil",
            )
        weights = np.exp(-2 * (lengths[inside] / radius) ** 2)
        design = _powers(offsets[inside] / radius) * weights[:, None]
        values = np.column_stack([edge + beyond, (edge - beyond) ** 2]) * weights[:, None]
        fitted = np.linalg.lstsq(design, values, rcond=1e-12)[0]
        total, squared = (_Polynomial(_EXPONENTS, column, radius) for column in fitted.T)
        return cls(total, squared, radius, float(lengths[lengths > 1e-6].min()))

    def derivatives(self, place: FloatArray) -> tuple[float, FloatArray, FloatArray]:
        """Return energy, slope and curvature of the lower band, E = S/2 - √D/2."""
        total, total_slope, total_curvature = self.total.derivatives(place)
        squared, slope, curvature = self.squared.derivatives(place)
        if squared < (DEGENERACY_EV / HARTREE_EV) ** 2:
            raise InputError(
                f"the edge is degenerate within {1e3 * DEGENERACY_EV:g} meV: it has no tensor of its own",
                "use a stencil, which says what kind of degeneracy it is",
            )
        apart = np.sqrt(squared)
        parting = curvature / (2 * apart) - np.outer(slope, slope) / (4 * apart**3)
        energy = (total - apart) / 2
        return float(energy), (total_slope - slope / (2 * apart)) / 2, (total_curvature - parting) / 2

    def minimum(self) -> FloatArray:
        """Return where the lower band is lowest (3,), 1/bohr from the best k-point, by Newton's method."""
        place: FloatArray = np.zeros(3)
        for _ in range(50):
            _, slope, curvature = self.derivatives(place)
            values, axes = np.linalg.eigh(curvature)
            stiffness = np.maximum(np.abs(values), 1e-3 * np.abs(values).max())
            step = -axes @ ((axes.T @ slope) / stiffness)
            place = place + step * min(1.0, 0.3 * self.spacing / max(float(np.linalg.norm(step)), 1e-12))
            if np.linalg.norm(step) < 1e-9:
                return place
            if np.linalg.norm(place) > 1.5 * self.spacing:
                break
        raise InputError("the interpolated band has no extremum near that of the mesh", "use a finer mesh")


def _powers(places: FloatArray, exponents: IntArray = _EXPONENTS) -> FloatArray:
    """Return products of powers of places (n, 3), shape (n, n_terms)."""
    products: FloatArray = np.prod(places[:, None, :] ** exponents, axis=-1)
    return products


def _number_fitted(offsets: FloatArray) -> int:
    """Return how many of the nearest k-points determine all terms; refuse where twice as many are not there."""
    lengths = np.linalg.norm(offsets, axis=1)
    scaled = offsets[np.argsort(lengths)] / lengths.max()
    number = round(_POINTS_PER_TERM * len(_EXPONENTS))
    while 2 * number <= len(offsets):
        design = _powers(scaled[:number] / np.linalg.norm(scaled[number - 1]))
        if np.linalg.matrix_rank(design, tol=1e-6) == len(_EXPONENTS):
            return number
        number += len(_EXPONENTS) // 4
    raise InputError(
        f"k-points too coarse: the {len(offsets)} of the mesh, or half of them, do not determine sixth order",
        "use a finer mesh, as fine along each direction",
    )


def _around(
    points: FloatArray, centre: FloatArray, operations: FloatArray, lattice: FloatArray
) -> tuple[FloatArray, IntArray]:
    """Return the mesh around a k-point: displacements (n, 3) in 1/bohr, each once, and which point each is equal to."""
    images = np.concatenate([points @ operation.T for operation in operations])
    whole = images - centre
    whole = whole - np.round(whole - 1e-9)
    _, first = np.unique(np.round(whole, 6), axis=0, return_index=True)
    shifts = np.array(list(product((-1, 0, 1), repeat=3)))
    candidates = (whole[first][:, None] + shifts) @ lattice
    nearest = np.argmin(np.linalg.norm(candidates, axis=-1), axis=1)
    return candidates[np.arange(len(first)), nearest], first % len(points)
