"""How the ions of a cell stand to each other: made of one another by symmetry, heads parallel, or at random."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Structure

from corecrown.structures.contacts import AIM, SHORTEST
from corecrown.structures.formamidinium import SYMBOLS
from corecrown.structures.poses import Pose, distinct_poses, find_poses, map_pose, pose_rank
from corecrown.structures.symmetry import (
    Operation,
    a_sites,
    find_operations,
    free_subgroups,
    site_permutation,
)

__all__ = ["Heads", "Placement", "arrange", "mutual_contacts"]

FloatArray = NDArray[np.float64]

_POSES_TRIED = 6
_PARALLEL_COSINE = 0.5
_MOST_STARTS = 4


class Heads(StrEnum):
    """What the C-H directions of the ions of a cell do."""

    SYMMETRIC = "symmetric"
    PARALLEL = "parallel"
    RANDOM = "random"


@dataclass(frozen=True)
class Placement:
    """An ion on its site.

    Attributes
    ----------
    site
        Number of the A site among the Cs of the host.
    atom
        Place of that Cs in the host.
    pose
        How the ion stands.
    coordinates
        Shape (8, 3), Å.
    """

    site: int
    atom: int
    pose: Pose
    coordinates: FloatArray


def arrange(
    host: Structure,
    sites: tuple[int, ...],
    axis: FloatArray,
    heads: Heads,
    roll_deg: float | None,
    max_shift: float,
    seed: int,
) -> list[Placement]:
    """Place an ion on each of some sites; the best arrangement found, even if its contacts are too short.

    Parameters
    ----------
    host
        Structure with Cs on its A sites.
    sites
        Numbers of the A sites.
    axis
        Cartesian unit vector of the N-N axes.
    heads, roll_deg, max_shift, seed
        As in :func:`corecrown.structures.substitute`.
    """
    operations = find_operations(host)
    library = _Library(host, axis, operations, roll_deg, max_shift)
    if heads is Heads.SYMMETRIC:
        candidates = _symmetric(library, sites)
    else:
        candidates = _headed(library, sites, heads, np.random.default_rng(seed))
    best: tuple[tuple[float, ...], list[Placement]] | None = None
    for rank, placements in candidates:
        margin, penalty = mutual_contacts(host, placements)
        margin = min(margin, *(placement.pose.margin for placement in placements))
        penalty = max(penalty, *(placement.pose.penalty for placement in placements))
        kept_mirrors = sum(placement.pose.keeps_mirror for placement in placements)
        if margin >= 0:
            key = (0.0, float(rank), float(-kept_mirrors), round(penalty, 3))
        else:
            key = (1.0, -margin, float(rank), 0.0)
        if best is None or key < best[0]:
            best = (key, placements)
        if best[0][0] == 0.0 and rank > best[0][1]:
            break
    if best is None:
        raise RuntimeError("no arrangement was tried")  # candidates always holds the identity group
    return sorted(best[1], key=lambda placement: placement.site)


class _Library:
    """Poses of one alignment on the A sites of a host, found once for each site and mapped to its like."""

    def __init__(
        self,
        host: Structure,
        axis: FloatArray,
        operations: list[Operation],
        roll_deg: float | None,
        max_shift: float,
    ) -> None:
        self.host = host
        self.axis = axis
        self.operations = operations
        self.atoms = a_sites(host)
        self._roll_deg = roll_deg
        self._max_shift = max_shift
        self._found: dict[int, list[Pose]] = {}
        fractional = host.frac_coords[self.atoms]
        self.permutations = [site_permutation(operation, fractional) for operation in operations]

    def keeps_axis(self, operation: Operation) -> bool:
        return abs(abs(float(self.axis @ operation.cartesian @ self.axis)) - 1) < 1e-6

    def poses(self, site: int) -> list[Pose]:
        """Return the poses on a site, best first; a fixed roll is kept as it was asked for on every site."""
        if site not in self._found:
            like = None if self._roll_deg is not None else self._like(site)
            if like is None:
                self._found[site] = find_poses(
                    self.host, self.atoms[site], self.axis, self.operations, self._roll_deg, self._max_shift
                )
            else:
                known, operation = like
                self._found[site] = [map_pose(pose, operation) for pose in self._found[known]]
        return self._found[site]

    def _like(self, site: int) -> tuple[int, Operation] | None:
        return next(
            (
                (known, operation)
                for operation, permutation in zip(self.operations, self.permutations, strict=True)
                if self.keeps_axis(operation)
                for known in self._found
                if permutation[known] == site
            ),
            None,
        )

    def images(self, site: int) -> list[Pose]:
        """Return every pose on a site and what the operations that leave the site in place make of it."""
        poses = list(self.poses(site))
        for operation, permutation in zip(self.operations, self.permutations, strict=True):
            if permutation[site] == site and self.keeps_axis(operation):
                poses += [map_pose(pose, operation) for pose in self.poses(site)]
        return sorted(poses, key=pose_rank)

    def place(self, site: int, pose: Pose) -> Placement:
        atom = self.atoms[site]
        return Placement(site, atom, pose, pose.coordinates(self.host[atom].coords))


def _symmetric(library: _Library, sites: tuple[int, ...]) -> Iterator[tuple[int, list[Placement]]]:
    """Yield arrangements whose ions a group of operations makes of one another, with the rank of the group."""
    fractional = library.host.frac_coords[[library.atoms[site] for site in sites]]
    ranks: dict[tuple[bool, int], int] = {}
    for group in free_subgroups(library.operations, fractional, library.axis):
        kind = (any(operation.is_inversion for operation in group), len(group))
        rank = ranks.setdefault(kind, len(ranks))
        orbits = _orbits(group, fractional)
        for choice in range(_POSES_TRIED):
            placements: list[Placement] = []
            for orbit in orbits:
                poses = library.poses(sites[orbit[0][0]])
                pose = poses[min(choice, len(poses) - 1)]
                placements += [library.place(sites[place], map_pose(pose, operation)) for place, operation in orbit]
            yield rank, placements


def _orbits(group: list[Operation], fractional: FloatArray) -> list[list[tuple[int, Operation]]]:
    """Return, for one site of each orbit, the sites that the group takes it to and the operation that does."""
    permutations = [site_permutation(operation, fractional) for operation in group]
    left = set(range(len(fractional)))
    orbits = []
    while left:
        first = min(left)
        orbit = [(permutation[first], operation) for permutation, operation in zip(permutations, group, strict=True)]
        orbits.append(orbit)
        left -= {place for place, _ in orbit}
    return orbits


def _headed(
    library: _Library, sites: tuple[int, ...], heads: Heads, random: np.random.Generator
) -> Iterator[tuple[int, list[Placement]]]:
    """Yield arrangements whose heads point the same way, or either way at random.

    First every ion stands as its cage likes best; after these (rank 1) those whose ions avoid each other.
    """
    signs = np.ones(len(sites)) if heads is Heads.PARALLEL else random.choice([-1.0, 1.0], size=len(sites))
    starts = library.images(sites[0])
    for rank, chosen in enumerate((starts[:_MOST_STARTS], distinct_poses(starts))):
        for start in chosen:
            towards = start.head * signs[0]
            placements = [library.place(sites[0], start)]
            for site, sign in zip(sites[1:], signs[1:], strict=True):
                fitting = _fitting(library.images(site), sign * towards)
                pose = _most_apart(library, site, distinct_poses(fitting), placements) if rank else fitting[0]
                placements.append(library.place(site, pose))
            yield rank, placements


def _fitting(poses: list[Pose], towards: FloatArray) -> list[Pose]:
    """Return the poses whose head points along a direction, best first; the nearest one where none does."""
    fitting = [pose for pose in poses if float(pose.head @ towards) > _PARALLEL_COSINE]
    return fitting or [max(poses, key=lambda pose: float(pose.head @ towards))]


def _most_apart(library: _Library, site: int, poses: list[Pose], placed: list[Placement]) -> Pose:
    """Return the best pose that overlaps with no ion placed before; the one farthest from them where all do."""

    def shortfall(pose: Pose) -> float:
        apart, _ = mutual_contacts(library.host, [*placed, library.place(site, pose)])
        return max(0.0, -apart)

    return min(poses, key=lambda pose: (shortfall(pose), pose_rank(pose)))


def mutual_contacts(host: Structure, placements: list[Placement]) -> tuple[float, float]:
    """Compare the distances among the ions, and of ions to the Cs left, with what is allowed and aimed at.

    Returns
    -------
    margin
        Smallest difference of a distance and its limit, Å; negative for an overlap.
    penalty
        Largest shortfall from what is aimed at, Å; negative if there is none.
    """
    replaced = {placement.atom for placement in placements}
    cs = [i for i in a_sites(host) if i not in replaced]
    lattice = host.lattice
    atoms = lattice.get_fractional_coords(np.concatenate([placement.coordinates for placement in placements]))
    owner = np.repeat(np.arange(len(placements)), len(SYMBOLS))
    symbols = list(SYMBOLS) * len(placements)
    others = np.concatenate([atoms, host.frac_coords[cs]]) if cs else atoms
    other_owner = np.concatenate([owner, np.full(len(cs), -1)])
    other_symbols = symbols + ["Cs"] * len(cs)
    distances = lattice.get_all_distances(atoms, others)
    kinds = sorted(set(other_symbols))
    number = np.array([kinds.index(symbol) for symbol in other_symbols])
    pairs = [[(min(a, b), max(a, b)) for b in kinds] for a in kinds]
    limit = np.array([[SHORTEST.get(pair, 0.0) for pair in row] for row in pairs])
    aim = np.array([[AIM.get(pair, 0.0) for pair in row] for row in pairs])
    mine = number[: len(atoms)]
    apart = owner[:, None] != other_owner[None, :]
    if not apart.any():
        return np.inf, -np.inf
    margins = (distances - limit[mine[:, None], number[None, :]])[apart]
    shortfalls = (aim[mine[:, None], number[None, :]] - distances)[apart]
    return float(margins.min()), float(shortfalls.max())
