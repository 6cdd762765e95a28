"""How far the Pb-Br framework of a structure is from cubic, and how its FA ions lie."""

from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Structure
from scipy.spatial.transform import Rotation

from corecrown.postprocess.results import Distortion

__all__ = ["measure_distortion"]

FloatArray = NDArray[np.float64]
AxisAngles = dict[Literal["a", "b", "c"], float]

_LONGEST_PB_BR = 4.0
_CN_BOND = 1.75


@dataclass(frozen=True)
class _Octahedron:
    """A Pb with six Br: ``vectors`` to them, shape (6, 3), Å; ``beyond``, to the next Pb, NaN where there is none."""

    vectors: FloatArray
    beyond: FloatArray


def measure_distortion(structure: Structure) -> Distortion:
    """Measure the distortion of the Pb-Br octahedra and the directions of the FA ions.

    Parameters
    ----------
    structure
        Any structure, bulk or slab; site properties are not needed.

    Returns
    -------
    Distortion
        ``pb_br_pb_deg`` in the order of the Br in the structure. Bond-length variance is the mean over the octahedra
        of 1/6 Σ((d-d̄)/d̄)² (the distortion index Δ of R. D. Shannon, Acta Cryst. A32, 751 (1976), eq. for six bonds),
        angle variance the mean of 1/11 Σ(θ-90°)² over the twelve angles of neighbouring bonds (K. Robinson,
        G. V. Gibbs and P. H. Ribbe, Science 172, 567 (1971)). Tilts are the mean absolute components, along a, b and
        c, of the rotation vector that takes the rows of Pb through an octahedron into its Br-Br diagonals. Without
        octahedra these are None and a note says so.
    """
    notes: list[str] = []
    bonds = _bonds(structure)
    octahedra = _octahedra(structure, bonds)
    n_lead = sum(site.specie.symbol == "Pb" for site in structure)
    if n_lead and 0 < len(octahedra) < n_lead:
        notes.append(f"{n_lead - len(octahedra)} of {n_lead} Pb do not have six Br within {_LONGEST_PB_BR} Å: left out")
    angles = _bridge_angles(structure, bonds)
    lengths = angle_variance = tilts = None
    if octahedra:
        lengths = float(np.mean([_length_variance(octahedron) for octahedron in octahedra]))
        angle_variance = float(np.mean([_angle_variance(octahedron) for octahedron in octahedra]))
        tilts = _tilts(structure, octahedra)
        if tilts is None:
            notes.append("tilts_deg: no octahedron shares corners along three directions")
    else:
        notes.append(f"no Pb-Br octahedra: no Pb with six Br within {_LONGEST_PB_BR} Å")
    if not angles and octahedra:
        notes.append("pb_br_pb_deg: no Br bridges two Pb")
    axes = _fa_axes(structure)
    if not axes:
        notes.append("fa_axis_deg: no FA in this structure")
    return Distortion(
        pb_br_pb_deg=angles or None,
        bond_length_variance=lengths,
        angle_variance_deg2=angle_variance,
        tilts_deg=tilts,
        fa_axis_deg=axes or None,
        notes=notes,
    )


@dataclass(frozen=True)
class _Bond:
    """A Pb-Br bond: places of both in the structure, the cell the Br is in, seen from the Pb, and its length (Å)."""

    lead: int
    bromine: int
    image: tuple[int, int, int]
    length: float


def _bonds(structure: Structure) -> list[_Bond]:
    """Return the bonds of every Pb, six at most, shortest first."""
    part = [i for i, site in enumerate(structure) if site.specie.symbol in {"Pb", "Br"}]
    if not part:
        return []
    symbols = [structure[i].specie.symbol for i in part]
    framework = Structure.from_sites([structure[i] for i in part])
    found: dict[int, list[_Bond]] = {}
    for i, j, image, distance in zip(*framework.get_neighbor_list(_LONGEST_PB_BR), strict=True):
        if symbols[i] == "Pb" and symbols[j] == "Br":
            cell = (int(image[0]), int(image[1]), int(image[2]))
            found.setdefault(part[i], []).append(_Bond(part[i], part[j], cell, float(distance)))
    return [bond for bonds in found.values() for bond in sorted(bonds, key=lambda bond: bond.length)[:6]]


def _partners(bonds: list[_Bond]) -> dict[int, list[tuple[int, tuple[int, int, int]]]]:
    """Return, for every Br, its Pb and the cells they are in, seen from the Br."""
    partners: dict[int, list[tuple[int, tuple[int, int, int]]]] = {}
    for bond in bonds:
        x, y, z = bond.image
        partners.setdefault(bond.bromine, []).append((bond.lead, (-x, -y, -z)))
    return partners


def _bridge_angles(structure: Structure, bonds: list[_Bond]) -> list[float]:
    angles = []
    fractional = structure.frac_coords
    for bromine, leads in sorted(_partners(bonds).items()):
        if len(leads) != 2:
            continue
        ends = [
            structure.lattice.get_cartesian_coords(fractional[lead] + image - fractional[bromine])
            for lead, image in leads
        ]
        angles.append(_angle_deg(ends[0], ends[1]))
    return angles


def _octahedra(structure: Structure, bonds: list[_Bond]) -> list[_Octahedron]:
    fractional = structure.frac_coords
    partners = _partners(bonds)
    by_lead: dict[int, list[_Bond]] = {}
    for bond in bonds:
        by_lead.setdefault(bond.lead, []).append(bond)
    octahedra = []
    for lead, own in sorted(by_lead.items()):
        if len(own) != 6:
            continue
        vectors, beyond = [], []
        for bond in own:
            cell = np.array(bond.image)
            vectors.append(fractional[bond.bromine] + cell - fractional[lead])
            others = [
                fractional[other] + np.array(image) + cell - fractional[lead]
                for other, image in partners[bond.bromine]
                if not (other == lead and np.array_equal(np.array(image), -cell))
            ]
            beyond.append(others[0] if len(others) == 1 else np.full(3, np.nan))
        cartesian = structure.lattice.get_cartesian_coords
        octahedra.append(_Octahedron(cartesian(np.array(vectors)), cartesian(np.array(beyond))))
    return octahedra


def _length_variance(octahedron: _Octahedron) -> float:
    lengths = np.linalg.norm(octahedron.vectors, axis=1)
    return float((((lengths - lengths.mean()) / lengths.mean()) ** 2).mean())


def _angle_variance(octahedron: _Octahedron) -> float:
    angles = sorted(_angle_deg(u, v) for u, v in combinations(octahedron.vectors, 2))
    return float(sum((angle - 90) ** 2 for angle in angles[:12]) / 11)


def _angle_deg(u: FloatArray, v: FloatArray) -> float:
    cosine = float(u @ v) / float(np.linalg.norm(u) * np.linalg.norm(v))
    return float(np.rad2deg(np.arccos(np.clip(cosine, -1, 1))))


def _tilts(structure: Structure, octahedra: list[_Octahedron]) -> AxisAngles | None:
    directions = structure.lattice.matrix / np.array(structure.lattice.abc)[:, None]
    turns = [turn for turn in map(_rotation_vector, octahedra) if turn is not None]
    if not turns:
        return None
    mean = np.abs(np.rad2deg(np.array(turns)) @ directions.T).mean(axis=0)
    return {"a": float(mean[0]), "b": float(mean[1]), "c": float(mean[2])}


def _rotation_vector(octahedron: _Octahedron) -> FloatArray | None:
    """Return the rotation vector (rad) from the rows of Pb to the diagonals of an octahedron, None if rows lack."""
    diagonals, rows = [], []
    left = list(range(6))
    while left:
        first = left.pop(0)
        opposite = max(left, key=lambda i: _angle_deg(octahedron.vectors[first], octahedron.vectors[i]))
        left.remove(opposite)
        diagonals.append(octahedron.vectors[first] - octahedron.vectors[opposite])
        ends = np.array([octahedron.beyond[first], -octahedron.beyond[opposite]])
        known = ends[~np.isnan(ends).any(axis=1)]
        if not len(known):
            return None
        rows.append(known.mean(axis=0))
    turn = _orthonormal(np.array(diagonals).T) @ _orthonormal(np.array(rows).T).T
    vector: FloatArray = Rotation.from_matrix(turn).as_rotvec()
    return vector


def _orthonormal(columns: FloatArray) -> FloatArray:
    """Return the orthonormal frame nearest to three directions (polar decomposition)."""
    left, _, right = np.linalg.svd(columns / np.linalg.norm(columns, axis=0))
    frame: FloatArray = left @ right
    return frame


def _fa_axes(structure: Structure) -> list[AxisAngles]:
    """Return the angle of the N-N axis of every FA to a, b and c, 0 to 90 degrees."""
    light = [i for i, site in enumerate(structure) if site.specie.symbol in {"C", "N"}]
    if not light:
        return []
    part = Structure.from_sites([structure[i] for i in light])
    symbols = [site.specie.symbol for site in part]
    nitrogens: dict[int, list[FloatArray]] = {}
    for i, j, image, _ in zip(*part.get_neighbor_list(_CN_BOND), strict=True):
        if symbols[i] == "C" and symbols[j] == "N":
            nitrogens.setdefault(int(i), []).append(part.frac_coords[j] + image)
    axes: list[AxisAngles] = []
    for _, ends in sorted(nitrogens.items()):
        if len(ends) == 2:
            axis = structure.lattice.get_cartesian_coords(ends[0] - ends[1])
            a, b, c = (_angle_deg(axis, row) for row in structure.lattice.matrix)
            axes.append({"a": min(a, 180 - a), "b": min(b, 180 - b), "c": min(c, 180 - c)})
    return axes
