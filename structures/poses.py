"""Where and how one FA ion stands in the cage of Pb and Br around an A site.

A pose keeps the N-N axis where it was asked to be. What is left, the roll about that axis and a shift of the centre,
is chosen to keep the ion away from the cage; poses that keep a mirror plane through the site come first.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Structure
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation
from threadpoolctl import threadpool_limits

from corecrown.structures.contacts import AIM, SHORTEST
from corecrown.structures.formamidinium import SYMBOLS, ion_coordinates
from corecrown.structures.symmetry import Operation

__all__ = [
    "MAX_SHIFT",
    "Cage",
    "Pose",
    "cage_around",
    "describe_pose",
    "distinct_poses",
    "find_poses",
    "map_pose",
    "measure_roll",
    "pose_rank",
    "roll_reference",
    "settle",
    "without_threads",
]

FloatArray = NDArray[np.float64]

MAX_SHIFT = 0.8
"""Largest distance (Å) of the centroid of an ion from the A site it takes."""

without_threads = threadpool_limits.wrap(limits=1, user_api="blas")
"""Decorator of what settles ions many times: with four unknowns the threads of BLAS only wait for each other."""

_CAGE_RADIUS = 7.5
_SOFTNESS = 0.12
_SHIFT_STIFFNESS = 100.0
_ROLL_STARTS = 24
_SAME_POSE_ANGSTROM = 0.15


@dataclass(frozen=True)
class Cage:
    """Pb and Br around an A site.

    Attributes
    ----------
    positions
        Shape (m, 3), Å, from the A site.
    aim, limit
        Shape (8, m), Å: distance aimed at and shortest distance allowed, for every atom of the ion.
    """

    positions: FloatArray
    aim: FloatArray
    limit: FloatArray


@dataclass(frozen=True)
class Pose:
    """How an ion stands on an A site.

    Attributes
    ----------
    rotation
        Shape (3, 3): its columns are the N-N axis, the C-H direction and the normal, Cartesian.
    offset
        Centroid of the ion from the A site, Cartesian, Å.
    roll_deg
        Angle about the N-N axis from the reference direction, see :func:`roll_reference`.
    penalty
        How far the worst contact falls short of what is aimed at, smoothed, Å; smaller is better.
    margin
        Smallest difference of a distance to the cage and its limit, Å; negative for an overlap.
    keeps_mirror
        Whether a mirror plane through the A site maps the ion onto itself.
    """

    rotation: FloatArray
    offset: FloatArray
    roll_deg: float
    penalty: float
    margin: float
    keeps_mirror: bool

    @property
    def head(self) -> FloatArray:
        """Direction from C to its H, Cartesian unit vector."""
        head: FloatArray = self.rotation[:, 1]
        return head

    def coordinates(self, site: FloatArray) -> FloatArray:
        """Return the atoms of the ion on an A site at ``site``, shape (8, 3), Å."""
        positions: FloatArray = site + self.offset + ion_coordinates() @ self.rotation.T
        return positions


def cage_around(structure: Structure, site: int) -> Cage:
    """Collect the Pb and Br around an A site."""
    near = structure.get_neighbors(structure[site], _CAGE_RADIUS)
    framework = [atom for atom in near if atom.specie.symbol in {"Pb", "Br"}]
    centre = structure[site].coords
    positions = np.array([atom.coords - centre for atom in framework]).reshape(-1, 3)
    pairs = [[tuple(sorted((ion, atom.specie.symbol))) for atom in framework] for ion in SYMBOLS]
    aim = np.array([[AIM[a, b] for a, b in row] for row in pairs]).reshape(len(SYMBOLS), -1)
    limit = np.array([[SHORTEST[a, b] for a, b in row] for row in pairs]).reshape(len(SYMBOLS), -1)
    return Cage(positions, aim, limit)


def roll_reference(structure: Structure, axis: FloatArray) -> FloatArray:
    """Return the direction of C-H at roll 0: a, or b where a is within 30° of the axis, made normal to the axis."""
    directions = structure.lattice.matrix / np.array(structure.lattice.abc)[:, None]
    along = directions[0] if abs(directions[0] @ axis) < np.cos(np.deg2rad(30)) else directions[1]
    normal = along - (along @ axis) * axis
    unit: FloatArray = normal / np.linalg.norm(normal)
    return unit


def settle(
    cage: Cage,
    start: FloatArray,
    axis: FloatArray | None,
    shift_basis: FloatArray,
    max_shift: float = MAX_SHIFT,
) -> tuple[FloatArray, FloatArray, float]:
    """Turn an ion about one axis and shift it until its worst contact with the cage is as good as it gets.

    Parameters
    ----------
    cage
        What surrounds the ion.
    start
        Rotation to begin with, shape (3, 3).
    axis
        Cartesian unit vector the ion may turn about; None if it may not turn.
    shift_basis
        Shape (k, 3): orthonormal directions the ion may shift along.
    max_shift
        Å.

    Returns
    -------
    rotation, offset, penalty
        As in :class:`Pose`.
    """
    ion = ion_coordinates() @ start.T
    turns = axis is not None
    spin = np.zeros(3) if axis is None else axis

    def energy(parameters: FloatArray) -> tuple[float, FloatArray]:
        angle = parameters[0] if turns else 0.0
        turned = Rotation.from_rotvec(angle * spin).apply(ion) if turns else ion
        shift = parameters[int(turns) :] @ shift_basis
        vectors = (turned + shift)[:, None, :] - cage.positions[None, :, :]
        distances = np.sqrt((vectors**2).sum(axis=2))
        exponent = (cage.aim - distances) / _SOFTNESS
        top = float(exponent.max())
        weights = np.exp(exponent - top)
        total = float(weights.sum())
        value = _SOFTNESS * (top + np.log(total))
        forces = -((weights / total / distances)[:, :, None] * vectors).sum(axis=1)
        by_shift = forces.sum(axis=0)
        length = float(np.linalg.norm(shift))
        if length > max_shift:
            value += _SHIFT_STIFFNESS * (length - max_shift) ** 2
            by_shift = by_shift + 2 * _SHIFT_STIFFNESS * (length - max_shift) * shift / length
        gradient = shift_basis @ by_shift
        if turns:
            gradient = np.concatenate([[float(np.cross(turned, forces).sum(axis=0) @ spin)], gradient])
        return value, gradient

    begin = np.zeros(int(turns) + len(shift_basis))
    if not begin.size or not len(cage.positions):
        return start, np.zeros(3), energy(begin)[0] if len(cage.positions) else -np.inf
    found = minimize(energy, begin, jac=True, method="L-BFGS-B", options={"maxiter": 200})
    offset = found.x[int(turns) :] @ shift_basis
    length = float(np.linalg.norm(offset))
    if length > max_shift:
        offset = offset * (max_shift / length)
    rotation = Rotation.from_rotvec(found.x[0] * spin).as_matrix() @ start if turns else start
    return rotation, offset, float(found.fun)


def describe_pose(
    cage: Cage,
    rotation: FloatArray,
    offset: FloatArray,
    penalty: float,
    reference: FloatArray,
    keeps_mirror: bool = False,
) -> Pose:
    """Describe a placed ion: its roll from the reference direction and its margin to the cage."""
    roll = measure_roll(rotation, reference)
    atoms = offset + ion_coordinates() @ rotation.T
    distances = np.linalg.norm(atoms[:, None, :] - cage.positions[None, :, :], axis=2)
    margin = float((distances - cage.limit).min()) if distances.size else np.inf
    return Pose(rotation, offset, roll, penalty, margin, keeps_mirror)


def _frame(axis: FloatArray, head: FloatArray) -> FloatArray:
    return np.column_stack([axis, head, np.cross(axis, head)])


@without_threads
def find_poses(
    structure: Structure,
    site: int,
    axis: FloatArray,
    operations: list[Operation],
    roll_deg: float | None = None,
    max_shift: float = MAX_SHIFT,
) -> list[Pose]:
    """Find the poses an ion can take on an A site with its N-N axis along a direction.

    Parameters
    ----------
    structure
        Host.
    site
        Place of the A site in the host.
    axis
        Cartesian unit vector.
    operations
        Symmetry operations of the host: a mirror through the site is kept where the contacts allow it.
    roll_deg
        Roll to be kept; chosen if None.
    max_shift
        Å.

    Returns
    -------
    list of Pose
        Distinct poses: those that do not overlap with the cage first, among them those that keep a mirror, then by
        penalty.
    """
    cage = cage_around(structure, site)
    reference = roll_reference(structure, axis)
    side = np.cross(axis, reference)
    angles = np.arange(_ROLL_STARTS) * (2 * np.pi / _ROLL_STARTS) if roll_deg is None else [np.deg2rad(roll_deg)]
    heads = [np.cos(angle) * reference + np.sin(angle) * side for angle in angles]
    poses: list[Pose] = []
    for normal in _mirror_normals(structure, site, operations):
        in_plane = _plane_basis(normal)
        across = abs(float(normal @ axis))
        if across > 1 - 1e-6:
            for head in heads:
                turning = axis if roll_deg is None else None
                settled = settle(cage, _frame(axis, head), turning, in_plane, max_shift)
                poses.append(describe_pose(cage, *settled, reference, keeps_mirror=True))
        elif across < 1e-6:
            flat = np.cross(normal, axis)
            for head in (flat, -flat):
                if roll_deg is None or any(float(head @ wanted) > 1 - 1e-6 for wanted in heads):
                    settled = settle(cage, _frame(axis, head), None, in_plane, max_shift)
                    poses.append(describe_pose(cage, *settled, reference, keeps_mirror=True))
    for head in heads:
        settled = settle(cage, _frame(axis, head), axis if roll_deg is None else None, np.eye(3), max_shift)
        poses.append(describe_pose(cage, *settled, reference))
    return distinct_poses(sorted(poses, key=pose_rank))


def pose_rank(pose: Pose) -> tuple[bool, bool, float, float]:
    """Order poses: no overlap, then a mirror kept, then a small penalty, then a small roll."""
    return pose.margin < 0, not pose.keeps_mirror, round(pose.penalty, 4), round(pose.roll_deg, 3)


def _mirror_normals(structure: Structure, site: int, operations: list[Operation]) -> list[FloatArray]:
    fractional = structure.frac_coords[site]
    normals = []
    for operation in operations:
        offset = operation.map_points(fractional[None, :])[0] - fractional
        offset -= np.round(offset)
        is_mirror = np.linalg.det(operation.rotation) < 0 and round(float(np.trace(operation.rotation))) == 1
        if is_mirror and np.abs(offset).max() < 1e-3:
            values, vectors = np.linalg.eigh((operation.cartesian + operation.cartesian.T) / 2)
            normals.append(vectors[:, int(values.argmin())])
    return normals


def _plane_basis(normal: FloatArray) -> FloatArray:
    return np.linalg.svd(normal[None, :])[2][1:]


def distinct_poses(poses: list[Pose]) -> list[Pose]:
    """Return the first of every pose whose like comes again: no atom of the two further apart than 0.15 Å."""
    kept: list[Pose] = []
    for pose in poses:
        atoms = pose.coordinates(np.zeros(3))
        if all(np.abs(atoms - other.coordinates(np.zeros(3))).max() > _SAME_POSE_ANGSTROM for other in kept):
            kept.append(pose)
    return kept


def map_pose(pose: Pose, operation: Operation) -> Pose:
    """Return the pose that a symmetry operation makes of a pose, on the site it takes the first site to."""
    rotation = operation.cartesian @ pose.rotation
    if np.linalg.det(rotation) < 0:
        rotation = rotation * np.array([1.0, 1.0, -1.0])
    return replace(pose, rotation=rotation, offset=operation.cartesian @ pose.offset)


def measure_roll(rotation: FloatArray, reference: FloatArray) -> float:
    """Return the angle (degrees, 0 to 360) of the C-H direction about the N-N axis from a reference direction."""
    axis, head = rotation[:, 0], rotation[:, 1]
    roll = float(np.rad2deg(np.arctan2(float(np.cross(reference, head) @ axis), float(reference @ head))))
    return round(roll % 360, 6) % 360
