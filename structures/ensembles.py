"""Ensembles: distinct orientations (and sites) of FA at a given fraction, no two alike by symmetry.

FA turns in the real crystal. Each ion of a member is drawn from a pool of poses that fit the cage of one A site and is
carried to its own site by an operation of the host. A member is therefore a set of pairs (pose, operation), on which
the host's group acts by multiplication: members that are alike by symmetry are found exactly, without comparing atoms.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Structure
from scipy.spatial.transform import Rotation

from corecrown.errors import InputError
from corecrown.structures.contacts import check_contacts
from corecrown.structures.pattern import Placement, mutual_contacts
from corecrown.structures.poses import (
    MAX_SHIFT,
    Cage,
    Pose,
    cage_around,
    describe_pose,
    map_pose,
    roll_reference,
    settle,
    without_threads,
)
from corecrown.structures.substitution import Alignment, alignment_vector, assemble, count_for_percentage
from corecrown.structures.symmetry import Operation, a_sites, find_operations, multiplication_table, site_permutation

__all__ = ["ensemble"]

FloatArray = NDArray[np.float64]

_POOL = 192
_TRIES_PER_POSE = 40
_DRAWS_WITHOUT_NEWS = 4000


@dataclass(frozen=True)
class _Ion:
    """An ion of a member: which pose of which site's pool, and which operation carries it to its own site."""

    origin: int
    pose: int
    operation: int


def ensemble(
    structure: Structure,
    fa: float,
    size: int,
    seed: int = 0,
    *,
    alignment: Alignment | None = None,
    sites: Sequence[int] | None = None,
    max_shift: float = MAX_SHIFT,
) -> list[Structure]:
    """Draw distinct configurations of FA on the A sites of a host.

    Parameters
    ----------
    structure
        Host with Cs on its A sites.
    fa
        Percentage of the A sites that carry FA.
    size
        How many configurations.
    seed
        Same seed, same configurations.
    alignment
        Keep every N-N axis along this direction and draw the roll alone; by default orientations are drawn uniformly.
    sites
        A sites to use in every member; drawn for each if None.
    max_shift
        Largest shift of an ion's centroid from its site, Å.

    Returns
    -------
    list of Structure
        As :func:`corecrown.structures.substitute` returns them; ``properties["ensemble"]`` says how each was drawn.

    Raises
    ------
    InputError
        If the fraction does not divide the sites, no orientation fits, or fewer distinct members exist than asked for.
    """
    if int(size) != size or not 1 <= size <= 10_000:
        raise InputError(f"ensemble size: {size} is not possible", "give a whole number from 1 to 10000")
    if int(seed) != seed or seed < 0:
        raise InputError(f"ensemble seed: {seed} is not possible", "give a whole number, 0 or more")
    atoms = a_sites(structure)
    count = count_for_percentage(fa, len(atoms))
    if count == 0:
        raise InputError(f"an ensemble of {fa:g} % has no FA to turn", "ask for a fraction above 0")
    if sites is not None and (len(set(sites)) != count or any(not 0 <= s < len(atoms) for s in sites)):
        raise InputError(
            f"sites: {list(sites)} are not {count} distinct A sites", f"A sites are numbered 0 to {len(atoms) - 1}"
        )
    draw = _Draw(structure, atoms, None if alignment is None else alignment_vector(structure, alignment), max_shift)
    random = np.random.default_rng(seed)
    members: list[Structure] = []
    seen: set[tuple[tuple[int, int, int], ...]] = set()
    without_news = 0
    while without_news < _DRAWS_WITHOUT_NEWS:
        without_news += 1
        ions = draw.member(random, count, sites)
        key = draw.canonical(ions)
        if key in seen:
            continue
        seen.add(key)
        placements = [draw.place(ion) for ion in ions]
        if mutual_contacts(structure, placements)[0] < 0:
            continue
        member = assemble(structure, placements)
        check_contacts(member, "ensemble member")
        member.properties = dict(structure.properties or {}) | {
            "ensemble": {
                "member": len(members) + 1,
                "seed": int(seed),
                "ions": [
                    {
                        "site": placement.site,
                        "axis": [round(float(x), 5) for x in placement.pose.rotation[:, 0]],
                        "head": [round(float(x), 5) for x in placement.pose.head],
                    }
                    for placement in placements
                ],
            }
        }
        members.append(member)
        without_news = 0
        if len(members) == size:
            return members
    raise InputError(
        f"only {len(members)} of {size} distinct configurations fit this cell",
        "ask for fewer, leave the alignment open, or take the larger lattice (lattice: fapbbr3)",
    )


class _Draw:
    """Pools of poses and the group that makes members of them."""

    def __init__(self, host: Structure, atoms: list[int], axis: FloatArray | None, max_shift: float) -> None:
        self.host = host
        self.atoms = atoms
        self.axis = axis
        self.max_shift = max_shift
        self.operations = [
            operation
            for operation in find_operations(host)
            if axis is None or abs(abs(float(axis @ operation.cartesian @ axis)) - 1) < 1e-6
        ]
        self.table = multiplication_table(self.operations)
        fractional = host.frac_coords[atoms]
        self.permutations = [site_permutation(operation, fractional) for operation in self.operations]
        self.origin = [min(permutation[site] for permutation in self.permutations) for site in range(len(atoms))]
        self.pools: dict[int, list[Pose]] = {}

    def pool(self, origin: int) -> list[Pose]:
        """Return the poses that fit the cage of a site; drawn once, from a seed of their own."""
        if origin not in self.pools:
            self.pools[origin] = _fill_pool(_PoolOf.site(self.host, self.atoms[origin], self.axis, self.max_shift))
        return self.pools[origin]

    def member(self, random: np.random.Generator, count: int, sites: Sequence[int] | None) -> list[_Ion]:
        chosen = sorted(random.choice(len(self.atoms), size=count, replace=False)) if sites is None else sorted(sites)
        ions = []
        for site in chosen:
            origin = self.origin[site]
            pose = int(random.integers(len(self.pool(origin))))
            carrying = [i for i, permutation in enumerate(self.permutations) if permutation[origin] == site]
            ions.append(_Ion(origin, pose, int(random.choice(carrying))))
        return ions

    def canonical(self, ions: list[_Ion]) -> tuple[tuple[int, int, int], ...]:
        """Return the same key for members that an operation of the host makes of each other."""
        return min(
            tuple(sorted((ion.origin, ion.pose, self.table[g][ion.operation]) for ion in ions))
            for g in range(len(self.operations))
        )

    def place(self, ion: _Ion) -> Placement:
        operation: Operation = self.operations[ion.operation]
        site = self.permutations[ion.operation][ion.origin]
        pose = map_pose(self.pool(ion.origin)[ion.pose], operation)
        return Placement(site, self.atoms[site], pose, pose.coordinates(self.host[self.atoms[site]].coords))


@dataclass(frozen=True)
class _PoolOf:
    """What a pool of poses depends on; equal ones share their pool, which takes seconds to fill."""

    crystal: bytes
    atom: int
    axis: tuple[float, ...] | None
    max_shift: float
    host: Structure = field(compare=False)

    @classmethod
    def site(cls, host: Structure, atom: int, axis: FloatArray | None, max_shift: float) -> "_PoolOf":
        """Return it for one A site of a host."""
        numbers = np.array(host.atomic_numbers, dtype=np.int64)
        crystal = host.lattice.matrix.tobytes() + host.frac_coords.tobytes() + numbers.tobytes()
        return cls(crystal, atom, None if axis is None else tuple(axis.tolist()), max_shift, host)


@lru_cache(maxsize=64)
@without_threads
def _fill_pool(of: _PoolOf) -> list[Pose]:
    host, max_shift = of.host, of.max_shift
    axis = None if of.axis is None else np.array(of.axis)
    cage: Cage = cage_around(host, of.atom)
    random = np.random.default_rng(0)
    pool: list[Pose] = []
    for _ in range(_POOL * _TRIES_PER_POSE):
        turn = Rotation.random(rng=random).as_matrix()
        if axis is not None:
            head = np.cross(axis, turn[:, 1])
            head /= np.linalg.norm(head)
            turn = np.column_stack([axis, head, np.cross(axis, head)])
        reference = roll_reference(host, turn[:, 0])
        pose = describe_pose(cage, *settle(cage, turn, None, np.eye(3), max_shift), reference)
        if pose.margin < 0:
            pose = describe_pose(cage, *settle(cage, turn, turn[:, 0], np.eye(3), max_shift), reference)
        if pose.margin >= 0:
            pool.append(pose)
        if len(pool) == _POOL:
            break
    if not pool:
        raise InputError(
            "no orientation of FA fits the cage of this A site without coming too near to Br",
            "take the larger lattice (lattice: fapbbr3), or leave the alignment open",
        )
    return pool
