"""Pbnm and Pnma: which setting a cell is in, and from one to the other for structures and k-points."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Lattice, Structure

__all__ = [
    "PNMA_TO_PBNM_LABELS",
    "has_rows_along_another_axis",
    "is_pbnm",
    "kpoint_to_pbnm",
    "label_to_pbnm",
    "label_to_pnma",
    "pbnm_to_pnma",
    "permute_axes",
    "pnma_to_pbnm",
    "to_pbnm",
]

FloatArray = NDArray[np.float64]

PNMA_TO_PBNM_LABELS: Mapping[str, str] = MappingProxyType(
    {"Γ": "Γ", "X": "Y", "Y": "Z", "Z": "X", "S": "T", "T": "U", "U": "S", "R": "R"}
)
"""Special points of the primitive orthorhombic zone: X (1/2,0,0), Y (0,1/2,0), Z (0,0,1/2), S (1/2,1/2,0),
T (0,1/2,1/2), U (1/2,0,1/2), R (1/2,1/2,1/2) in each setting's own axes."""

_ANGLE_TOLERANCE_DEG = 12.0
_RIGHT_ANGLE_TOLERANCE_DEG = 1.0
_UNTILTED_ANGSTROM = 0.03
_CLEAR_TILT_RATIO = 2.0
_AXIS_NAMES = "abc"


def permute_axes(structure: Structure, order: tuple[int, int, int]) -> Structure:
    """Name the axes of a cell anew, keeping atoms and their order.

    Parameters
    ----------
    structure
        Any structure.
    order
        Old axis that becomes the new a, b and c. An odd permutation turns the new c axis around, so that the axes stay
        right-handed and the crystal keeps its hand.
    """
    lengths = [structure.lattice.abc[i] for i in order]
    angles = [structure.lattice.angles[i] for i in order]
    fractional = structure.frac_coords[:, list(order)].copy()
    odd = round(float(np.linalg.det(np.eye(3)[list(order)]))) < 0
    if odd:
        fractional[:, 2] *= -1
        angles = [180 - angles[0], 180 - angles[1], angles[2]]
    if np.allclose(angles, 90, atol=1e-6):
        lattice = Lattice.orthorhombic(*lengths)
    else:
        lattice = Lattice.from_parameters(*lengths, *angles)
    renamed = Structure(
        lattice, structure.species_and_occu, fractional, site_properties=structure.site_properties, to_unit_cell=odd
    )
    renamed.properties = dict(structure.properties)
    return renamed


def pnma_to_pbnm(structure: Structure) -> Structure:
    """Convert a Pnma cell (b long) to Pbnm (c long): new (a, b, c) is old (c, a, b)."""
    return permute_axes(structure, (2, 0, 1))


def pbnm_to_pnma(structure: Structure) -> Structure:
    """Convert a Pbnm cell (c long) to Pnma (b long): new (a, b, c) is old (b, c, a)."""
    return permute_axes(structure, (1, 2, 0))


def kpoint_to_pbnm(kpoint: tuple[float, float, float]) -> tuple[float, float, float]:
    """Convert a k-point of a Pnma cell (fractional, of its reciprocal cell) to the Pbnm cell."""
    return (kpoint[2], kpoint[0], kpoint[1])


def label_to_pbnm(label: str) -> str:
    """Convert the label of a special point of a Pnma cell to the Pbnm cell: X becomes Y, Y becomes Z, Z becomes X."""
    return PNMA_TO_PBNM_LABELS[label]


def label_to_pnma(label: str) -> str:
    """Convert the label of a special point of a Pbnm cell to the Pnma cell: Y becomes X, Z becomes Y, X becomes Z."""
    return next(pnma for pnma, pbnm in PNMA_TO_PBNM_LABELS.items() if pbnm == label)


def is_pbnm(structure: Structure) -> bool:
    """Say whether a cell is in our Pbnm setting, so that a and b are in the plane of a platelet.

    The Pb-Br framework decides, not the symmetry, which substitution lowers: right angles, and straight rows of
    octahedra along c while those in the plane run between a and b. Which of a and b is longer, and about which the
    octahedra turn more, is left open: relaxation with FA changes both.
    """
    order = _order_to_pbnm(structure)
    return order is not None and order[2] == 2 and _right_angles(structure)


def has_rows_along_another_axis(structure: Structure) -> bool:
    """Say whether the straight rows of octahedra that belong along c run along a or b, as in a Pnma cell."""
    order = _order_to_pbnm(structure)
    return order is not None and order[2] != 2


def to_pbnm(structure: Structure) -> tuple[Structure, str | None]:
    """Bring a cell into the Pbnm setting.

    Parameters
    ----------
    structure
        Any structure.

    Returns
    -------
    structure
        The same object where nothing had to be done, else a new one with the axes renamed and no atom moved.
    notice
        What was done, or why the setting cannot be told; None if the cell was in Pbnm.

    Notes
    -----
    The rows of octahedra fix c. Which of the others is a is told by the bridging Br of those rows, which in Pbnm are
    displaced along a (the octahedra turn about b); where that is not clear, the cyclic renaming is taken. A cell with
    organic ions whose c is right is left as it is: relaxation may turn its octahedra about either axis.
    """
    order = _order_to_pbnm(structure)
    if order is None or not _right_angles(structure):
        return structure, (
            "the setting of this cell cannot be told (no rows of corner-sharing Pb-Br octahedra along one of three "
            "orthogonal axes): its axes are taken as they are and no direction is called in-plane"
        )
    if order == (0, 1, 2):
        return structure, None
    names = ", ".join(_AXIS_NAMES[i] for i in order)
    known = " (a Pnma cell)" if order == (2, 0, 1) else ""
    return permute_axes(structure, order), (
        f"converted to Pbnm{known}: the axes a, b, c are the file's {names}; no atom was moved"
    )


def _right_angles(structure: Structure) -> bool:
    return bool(np.allclose(structure.lattice.angles, 90, atol=_RIGHT_ANGLE_TOLERANCE_DEG))


def _order_to_pbnm(structure: Structure) -> tuple[int, int, int] | None:
    rows = _row_vectors(structure)
    if rows is None:
        return None
    midpoints, vectors = rows
    directions = structure.lattice.matrix / np.array(structure.lattice.abc)[:, None]
    cosines = np.abs(vectors @ directions.T) / np.linalg.norm(vectors, axis=1)[:, None]
    along = cosines > np.cos(np.deg2rad(_ANGLE_TOLERANCE_DEG))
    diagonal = np.abs(np.rad2deg(np.arccos(np.clip(cosines, 0, 1))) - 45) < _ANGLE_TOLERANCE_DEG
    long = next((k for k in range(3) if _is_row_axis(k, along, diagonal)), None)
    if long is None:
        return None
    first, second = (k for k in range(3) if k != long)
    default = {2: (0, 1, 2), 1: (2, 0, 1), 0: (1, 2, 0)}[long]
    if long == 2 and any(site.species_string == "C" for site in structure):
        return default
    displaced = _bridge_displacement(structure, midpoints[along[:, long]], directions)
    if displaced is None or max(displaced[first], displaced[second]) <= _UNTILTED_ANGSTROM:
        return default
    if displaced[first] > _CLEAR_TILT_RATIO * displaced[second]:
        return (first, second, long)
    if displaced[second] > _CLEAR_TILT_RATIO * displaced[first]:
        return (second, first, long)
    return default


def _is_row_axis(k: int, along: NDArray[np.bool_], diagonal: NDArray[np.bool_]) -> bool:
    others = [i for i in range(3) if i != k]
    in_plane = diagonal[:, others].all(axis=1)
    return bool((along[:, k] | in_plane).all() and in_plane.any())


def _row_vectors(structure: Structure) -> tuple[FloatArray, FloatArray] | None:
    """Return midpoint and vector (Å) of every pair of neighbouring Pb, or None if there are none."""
    lead = [i for i, site in enumerate(structure) if "Pb" in site.species_string]
    if not lead:
        return None
    part = Structure.from_sites([structure[i] for i in lead])
    centres, neighbours, images, distances = part.get_neighbor_list(8.0)
    if not len(distances):
        return None
    near = distances < 1.2 * distances.min()
    start = part.frac_coords[centres[near]]
    end = part.frac_coords[neighbours[near]] + images[near]
    vectors = part.lattice.get_cartesian_coords(end - start)
    return part.lattice.get_cartesian_coords((start + end) / 2), vectors


def _bridge_displacement(
    structure: Structure, midpoints: FloatArray, directions: FloatArray
) -> tuple[float, float, float] | None:
    """Return the root mean square distance (Å, along a, b, c) of the bridging Br from the midpoints of their Pb."""
    bromine = [i for i, site in enumerate(structure) if "Br" in site.species_string]
    if not bromine or not len(midpoints):
        return None
    lattice = structure.lattice
    offsets = structure.frac_coords[bromine][None, :, :] - lattice.get_fractional_coords(midpoints)[:, None, :]
    offsets -= np.round(offsets)
    vectors = lattice.get_cartesian_coords(offsets.reshape(-1, 3)).reshape(offsets.shape)
    nearest = np.linalg.norm(vectors, axis=2).argmin(axis=1)
    bridging = vectors[np.arange(len(midpoints)), nearest]
    spread = np.sqrt(((bridging @ directions.T) ** 2).mean(axis=0))
    return (float(spread[0]), float(spread[1]), float(spread[2]))
