"""The inverse-mass tensor of one band from energies around its extremum: by least squares and by differences.

Everything here works in Hartree atomic units of k (1/bohr, 2π included) and in eV, and knows no file and no code.
The inverse mass is the curvature in Hartree·bohr², so that a free electron has 1 (Ashcroft and Mermin,
*Solid State Physics*, eq. 12.29); for holes its sign is turned, so that masses of both carriers are positive.
"""

from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations_with_replacement

import numpy as np
import numpy.typing as npt
from scipy.constants import angstrom, physical_constants

from corecrown.errors import InputError

__all__ = [
    "BOHR_ANGSTROM",
    "HARTREE_EV",
    "Carrier",
    "TensorFit",
    "as_energies",
    "as_kpoints",
    "fit_kane",
    "fit_mass_tensor",
    "reciprocal_lattice_inv_bohr",
]

FloatArray = npt.NDArray[np.float64]

HARTREE_EV: float = physical_constants["Hartree energy in eV"][0]
BOHR_ANGSTROM: float = physical_constants["Bohr radius"][0] / angstrom

_UNDETERMINED = 1e-6
"""A coefficient with a larger share in the null space of the fit is not determined by the points."""


class Carrier(StrEnum):
    """Whose mass it is: electrons sit at a minimum, holes at a maximum."""

    ELECTRON = "electron"
    HOLE = "hole"

    @property
    def sign(self) -> int:
        """Return +1 for a minimum and -1 for a maximum."""
        return 1 if self is Carrier.ELECTRON else -1


@dataclass(frozen=True)
class TensorFit:
    """A polynomial surface through energies around an extremum.

    Attributes
    ----------
    inverse_mass
        Shape (3, 3), 1/m0, Cartesian; positive at a true extremum of either carrier.
    stationary_inv_bohr
        Shape (3,), where the fitted surface is stationary, in the coordinates of the k-points.
    stationary_energy_ev
        Energy there.
    inside
        Whether that is within the points.
    residual_ev
        Root of the squared misfit per degree of freedom; ``None`` where there are as many terms as points.
    degrees_of_freedom
        Points less independent terms.
    order
        Highest power of k in the fit.
    """

    inverse_mass: FloatArray
    stationary_inv_bohr: FloatArray
    stationary_energy_ev: float
    inside: bool
    residual_ev: float | None
    degrees_of_freedom: int
    order: int


def reciprocal_lattice_inv_bohr(reciprocal_lattice_inv_angstrom: npt.ArrayLike) -> FloatArray:
    """Return a reciprocal lattice in 1/bohr.

    Parameters
    ----------
    reciprocal_lattice_inv_angstrom
        Shape (3, 3), one vector a row, 1/Å, with 2π (pymatgen's ``lattice.reciprocal_lattice.matrix``).
    """
    return np.asarray(reciprocal_lattice_inv_angstrom, dtype=float) * BOHR_ANGSTROM


def fit_mass_tensor(
    kpoints_cart_inv_bohr: npt.ArrayLike,
    energies_ev: npt.ArrayLike,
    carrier: Carrier,
    *,
    order: int = 2,
    centre: npt.ArrayLike | None = None,
    even: bool = False,
) -> TensorFit:
    """Fit a polynomial in k by least squares and return the tensor at its extremum.

    Parameters
    ----------
    kpoints_cart_inv_bohr
        Shape (n, 3), Cartesian, 1/bohr, 2π included; any set of points that determines the tensor.
    energies_ev
        Shape (n,), eV, of one band.
    carrier
        Minimum (electron) or maximum (hole).
    order
        2 for a paraboloid, 3 and 4 for cubic and quartic terms besides. Of the higher terms those that the points
        cannot tell apart are shared out by least norm; that leaves the tensor alone, which is checked.
    centre
        Shape (3,), the point expanded about; by default the one with the extreme energy.
    even
        Whether E(centre + d) = E(centre - d), as time reversal has it where twice the centre is a reciprocal lattice
        vector: odd powers are left out and each point stands for two.

    Raises
    ------
    InputError
        If shapes differ, numbers are not finite, or the points do not determine the six components.
    """
    points = as_kpoints(kpoints_cart_inv_bohr, "kpoints_cart_inv_bohr")
    energies = as_energies(energies_ev, len(points), "energies_ev")
    if order not in (2, 3, 4):
        raise InputError(f"order: {order} is not 2, 3 or 4", "2 is a paraboloid, 4 adds cubic and quartic terms")
    origin = points[int(np.argmin(carrier.sign * energies))] if centre is None else np.asarray(centre, dtype=float)
    displacements = points - origin
    scales = np.abs(displacements).max(axis=0)
    if np.any(scales < 1e-8):
        raise InputError(
            "kpoints_cart_inv_bohr: all points lie in a plane or on a line",
            "a tensor needs points on both sides along three directions",
        )
    exponents = _exponents(order, even=even)
    scaled = displacements / scales
    coefficients, rank, kernel = _solve(_monomials(scaled, exponents), energies)
    low = exponents.sum(axis=1) <= 2
    if kernel.size and np.abs(kernel[:, low]).max() > _UNDETERMINED:
        raise InputError(
            f"{len(points)} k-points do not determine the mass tensor to order {order}",
            "lay a stencil with plan_stencil, or lower the order",
        )
    stationary, found = _stationary_point(coefficients, exponents)
    curvature = _hessian(coefficients, exponents, stationary)
    misfit = energies - _monomials(scaled, exponents) @ coefficients
    freedom = len(points) - rank
    return TensorFit(
        inverse_mass=carrier.sign * curvature / np.outer(scales, scales) / HARTREE_EV,
        stationary_inv_bohr=origin + stationary * scales,
        stationary_energy_ev=float((_monomials(stationary[None], exponents) @ coefficients)[0]),
        inside=found,
        residual_ev=float(np.sqrt(misfit @ misfit / freedom)) if freedom > 0 else None,
        degrees_of_freedom=freedom,
        order=order,
    )


def fit_kane(
    displacements_inv_bohr: npt.ArrayLike, energies_ev: npt.ArrayLike, carrier: Carrier
) -> tuple[FloatArray, float]:
    """Fit Kane's band, ½ k·M⁻¹·k = E (1 + αE), which is linear in M⁻¹ and α.

    Parameters
    ----------
    displacements_inv_bohr
        Shape (n, 3), Cartesian k-points relative to the extremum, 1/bohr.
    energies_ev
        Shape (n,), relative to the extremum, eV; falling for holes.
    carrier
        Electron or hole.

    Returns
    -------
    inverse_mass
        Shape (3, 3), 1/m0.
    alpha
        1/eV, positive where the band is flatter than its parabola (E. O. Kane, J. Phys. Chem. Solids 1, 249 (1957)).

    Raises
    ------
    InputError
        If the points do not determine the seven numbers.
    """
    displacements = as_kpoints(displacements_inv_bohr, "displacements_inv_bohr")
    energies = carrier.sign * as_energies(energies_ev, len(displacements), "energies_ev")
    span, height = np.abs(displacements).max(), np.abs(energies).max()
    if span == 0 or height == 0:
        raise InputError("energies_ev: the band is flat on these k-points", "use a larger step")
    pairs = list(combinations_with_replacement(range(3), 2))
    columns = [displacements[:, i] * displacements[:, j] / span**2 * (0.5 if i == j else 1.0) for i, j in pairs]
    design = np.column_stack([*columns, -((energies / height) ** 2)])
    solution, rank, _ = _solve(design, energies / height)
    if rank < design.shape[1]:
        raise InputError(
            f"{len(displacements)} k-points do not determine a tensor and a non-parabolicity",
            "points at two distances from the extremum are needed",
        )
    inverse_mass = np.zeros((3, 3))
    for (i, j), value in zip(pairs, solution[:6], strict=True):
        inverse_mass[i, j] = inverse_mass[j, i] = value * height / span**2 / HARTREE_EV
    return inverse_mass, float(solution[6] / height)


def as_kpoints(values: npt.ArrayLike, name: str) -> FloatArray:
    """Return k-points as an array (n, 3), or say what is wrong with them."""
    try:
        points = np.asarray(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: not numbers", "give an array of shape (n, 3)") from error
    if points.ndim != 2 or points.shape[1] != 3 or len(points) == 0:
        raise InputError(f"{name}: shape {points.shape} is not (n, 3)", "one k-point a row")
    if not np.isfinite(points).all():
        raise InputError(f"{name}: some coordinates are not finite", "check how the k-points were read")
    return points


def as_energies(values: npt.ArrayLike, count: int, name: str) -> FloatArray:
    """Return energies as an array (n,), or say what is wrong with them."""
    try:
        energies = np.asarray(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: not numbers", "give an array of shape (n,)") from error
    if energies.shape != (count,):
        raise InputError(f"{name}: shape {energies.shape} is not ({count},)", "one energy a k-point, of one band")
    if not np.isfinite(energies).all():
        raise InputError(f"{name}: some energies are not finite", "check the output for a broken line")
    return energies


def _exponents(order: int, *, even: bool) -> npt.NDArray[np.int64]:
    """Return the powers of x, y, z of every term, shape (n_terms, 3)."""
    degrees = [degree for degree in range(order + 1) if not (even and degree % 2)]
    terms = [axes for degree in degrees for axes in combinations_with_replacement(range(3), degree)]
    return np.array([[axes.count(axis) for axis in range(3)] for axes in terms])


def _monomials(points: FloatArray, exponents: npt.NDArray[np.int64]) -> FloatArray:
    values: FloatArray = np.prod(points[:, None, :] ** exponents[None, :, :], axis=2)
    return values


def _derivative(
    coefficients: FloatArray, exponents: npt.NDArray[np.int64], axis: int
) -> tuple[FloatArray, npt.NDArray[np.int64]]:
    lowered = exponents.copy()
    lowered[:, axis] = np.maximum(lowered[:, axis] - 1, 0)
    return coefficients * exponents[:, axis], lowered


def _gradient(coefficients: FloatArray, exponents: npt.NDArray[np.int64], point: FloatArray) -> FloatArray:
    values = []
    for axis in range(3):
        factor, powers = _derivative(coefficients, exponents, axis)
        values.append((_monomials(point[None], powers) @ factor)[0])
    return np.array(values)


def _hessian(coefficients: FloatArray, exponents: npt.NDArray[np.int64], point: FloatArray) -> FloatArray:
    rows = []
    for axis in range(3):
        factor, powers = _derivative(coefficients, exponents, axis)
        rows.append(_gradient(factor, powers, point))
    return np.array(rows)


def _solve(design: FloatArray, values: FloatArray) -> tuple[FloatArray, int, FloatArray]:
    """Solve by least squares and least norm; return the solution, the rank, and the null space (m, n_terms)."""
    n_missing = max(0, design.shape[1] - len(design))
    square = np.vstack([design, np.zeros((n_missing, design.shape[1]))])  # so that the null space comes out whole
    left, singular, right = np.linalg.svd(square, full_matrices=False)
    rank = int(np.count_nonzero(singular > 1e-9 * singular[0]))
    projected = left[: len(design)].T[:rank] @ values / singular[:rank]
    return right[:rank].T @ projected, rank, right[rank:]


def _stationary_point(coefficients: FloatArray, exponents: npt.NDArray[np.int64]) -> tuple[FloatArray, bool]:
    """Follow Newton's steps from the centre to where the gradient vanishes, in units of the largest displacement.

    Returns the point and whether it was reached within the points; a flat direction is not moved along.
    """
    point = np.zeros(3)
    for _ in range(30):
        hessian = _hessian(coefficients, exponents, point)
        step = -np.linalg.pinv(hessian, rcond=1e-6) @ _gradient(coefficients, exponents, point)
        length = float(np.linalg.norm(step))
        if length > 0.5:
            step *= 0.5 / length
        point = point + step
        if np.abs(point).max() > 2.0:
            return np.clip(point, -2.0, 2.0), False
        if length < 1e-12:
            break
    return point, bool(np.abs(point).max() <= 1.0)
