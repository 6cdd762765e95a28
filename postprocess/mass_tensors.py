"""From an inverse-mass tensor to the masses that are quoted: principal, along axes, of states, of conduction."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from corecrown.errors import InputError
from corecrown.postprocess.mass_fit import Carrier, FloatArray
from corecrown.postprocess.results import MassTensor, Matrix, Vector

__all__ = ["FLAT", "as_vector", "direction_text", "mass_along", "mass_tensor", "tensor_difference", "unknown_mass"]

FLAT = 2e-3
"""A direction whose inverse mass is below this share of the largest one has no finite mass."""


def mass_tensor(
    inverse_mass: npt.ArrayLike,
    carrier: Carrier,
    *,
    uncertainty: float = 0.0,
    converged: bool = False,
    notes: Sequence[str] = (),
    **fields: Any,
) -> MassTensor:
    """Turn an inverse-mass tensor into principal masses, axes, and the masses along x, y, z.

    Parameters
    ----------
    inverse_mass
        Shape (3, 3), symmetric, 1/m0, positive at an extremum of either carrier.
    carrier
        Electron or hole.
    uncertainty
        1/m0; an inverse mass that is not larger than this counts as zero.
    converged, notes
        Passed on.
    **fields
        Other fields of :class:`MassTensor`, passed on: ``band_index``, ``degeneracy``, ``extremum_kpoint``,
        ``step_inv_bohr``, ``fit_residual_ev``, ``nonparabolicity_per_ev``.

    Returns
    -------
    MassTensor
        Principal masses rise; each axis has its largest component positive. γ_i = 1/(M⁻¹)_ii is the mass that a
        parabola along i sees. Density-of-states mass (m₁m₂m₃)^⅓ of one valley and conductivity mass
        3/(1/m₁ + 1/m₂ + 1/m₃) (Sze, *Physics of Semiconductor Devices*, chapter 1). A flat direction leaves these
        null, a saddle everything.
    """
    tensor = np.asarray(inverse_mass, dtype=float)
    if tensor.shape != (3, 3) or not np.isfinite(tensor).all():
        raise InputError("inverse_mass: not a 3x3 tensor of finite numbers", "1/m0, Cartesian")
    scale = float(np.abs(tensor).max())
    if not np.allclose(tensor, tensor.T, rtol=0, atol=1e-6 * scale):
        raise InputError("inverse_mass: not symmetric", "second derivatives can be taken in any order")
    tensor = (tensor + tensor.T) / 2
    rising, vectors = np.linalg.eigh(tensor)
    values, axes = rising[::-1], vectors.T[::-1]
    axes = axes * np.sign(axes[np.arange(3), np.abs(axes).argmax(axis=1)])[:, None]
    threshold = max(uncertainty, FLAT * float(np.abs(values).max()))
    if values.min() < -threshold or values.max() <= 0:
        reason = f"no extremum: along {direction_text(axes[-1])} the band curves the other way"
        kept = {name: fields[name] for name in fields if name not in ("fit_residual_ev", "nonparabolicity_per_ev")}
        return unknown_mass(carrier, reason, notes=notes, **kept)
    flat = values < threshold
    said = list(notes)
    if flat.any():
        said.append(f"flat along {direction_text(axes[int(np.argmax(flat))])}: no finite principal mass there")
    principal = None if flat.any() else 1 / values
    gammas = [float(1 / value) if value >= threshold else None for value in np.diag(tensor)]
    return MassTensor(
        carrier=carrier.value,
        tensor_inverse=_as_matrix(tensor),
        principal=None if principal is None else as_vector(principal),
        axes=_as_matrix(axes),
        gamma_x=gammas[0],
        gamma_y=gammas[1],
        gamma_z=gammas[2],
        dos_mass=None if principal is None else float(np.prod(principal) ** (1 / 3)),
        conductivity_mass=None if principal is None else float(3 / values.sum()),
        converged=converged and principal is not None,
        notes=said,
        **fields,
    )


def unknown_mass(carrier: Carrier, reason: str, *, notes: Sequence[str] = (), **fields: Any) -> MassTensor:
    """Return a mass without numbers, and the reason; ``fields`` say where and what was looked at."""
    return MassTensor(carrier=carrier.value, notes=[reason, *notes], **fields)


def mass_along(mass: MassTensor, direction: npt.ArrayLike) -> float | None:
    """Return the mass 1/(n·M⁻¹·n) along a Cartesian direction (3,), or ``None`` where it is not known or not finite."""
    if mass.tensor_inverse is None:
        return None
    unit = np.asarray(direction, dtype=float)
    length = float(np.linalg.norm(unit))
    if unit.shape != (3,) or not np.isfinite(length) or length == 0:
        raise InputError("direction: not a direction", "three finite numbers, not all zero")
    unit = unit / length
    tensor = np.array(mass.tensor_inverse)
    value = float(unit @ tensor @ unit)
    return 1 / value if value > FLAT * float(np.abs(tensor).max()) else None


def tensor_difference(tensor: npt.ArrayLike, reference: npt.ArrayLike) -> float:
    """Return how far two inverse-mass tensors (3, 3) are apart, as a share of the reference (spectral norms)."""
    reference = np.asarray(reference, dtype=float)
    return float(np.linalg.norm(np.asarray(tensor) - reference, 2) / np.linalg.norm(reference, 2))


def direction_text(direction: npt.ArrayLike) -> str:
    """Return a Cartesian direction as text: a letter where it is an axis, else its components."""
    unit = np.asarray(direction, dtype=float)
    axis = int(np.abs(unit).argmax())
    if abs(unit[axis]) > 0.999 * np.linalg.norm(unit):
        return "xyz"[axis]
    return "(" + ", ".join(f"{value:.2f}" for value in unit + 0.0) + ")"


def as_vector(values: FloatArray) -> Vector:
    """Return three numbers as a tuple of floats."""
    x, y, z = (float(value) + 0.0 for value in values)
    return x, y, z


def _as_matrix(values: FloatArray) -> Matrix:
    return as_vector(values[0]), as_vector(values[1]), as_vector(values[2])
