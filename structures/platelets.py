"""Slabs of n monolayers, and core-crown platelets: a CsPbBr3 core in an FAPbBr3 crown, finite and neutral."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Lattice, Structure

from corecrown.errors import InputError
from corecrown.structures.builder import DEFAULT_ALIGNMENT, build
from corecrown.structures.contacts import check_contacts
from corecrown.structures.crystals import HostLattice, host
from corecrown.structures.formamidinium import CHARGE, SYMBOLS, find_formamidinium, unwrap
from corecrown.structures.groups import FA, NO_MOLECULE, label_groups
from corecrown.structures.poses import MAX_SHIFT
from corecrown.structures.substitution import Alignment, Strain, substitute
from corecrown.structures.symmetry import a_sites

__all__ = ["Termination", "platelet", "slab", "total_charge"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int_]

_CHARGE = {"Cs": 1, "Pb": 2, "Br": -1}
_ANGSTROM_PER_NM = 10.0
_MOST_MONOLAYERS = 60
_MOST_ATOMS = 200_000


class Termination(StrEnum):
    """What the outer planes of a slab are made of."""

    AX = "AX"
    BX2 = "BX2"


def total_charge(structure: Structure) -> int:
    """Return the sum of formal charges: Cs +1, FA +1, Pb +2, Br -1.

    Raises
    ------
    InputError
        If an atom is of none of these.
    """
    ions = find_formamidinium(structure)
    in_ions = {i for ion in ions for i in ion}
    charge = CHARGE * len(ions)
    for i, site in enumerate(structure):
        if i not in in_ions:
            symbol = site.specie.symbol
            if symbol not in _CHARGE:
                raise InputError(f"atom {i} ({symbol}) has no formal charge here", "only Cs, FA, Pb and Br have")
            charge += _CHARGE[symbol]
    return charge


def slab(
    monolayers: int,
    termination: Termination | str = Termination.AX,
    *,
    vacuum: float = 15.0,
    lateral: Sequence[int] = (1, 1),
    fa: float = 0,
    alignment: Alignment | None = None,
    lattice: HostLattice | str = HostLattice.CSPBBR3,
    strain: Strain = None,
) -> Structure:
    """Cut a slab normal to c.

    Parameters
    ----------
    monolayers
        Layers of octahedra, each c/2 thick.
    termination
        ``AX``: n + 1 planes of A and Br around n planes of Pb and Br (A(n+1) Pb(n) Br(3n+1)). ``BX2``: n planes of Pb
        and Br around n - 1 planes of A and Br. Both are neutral.
    vacuum
        Å between the outermost atoms of the slab and of its image.
    lateral
        Repetitions of the Pbnm cell along a and b.
    fa, alignment, lattice, strain
        Of the bulk cell that is cut, as in :func:`corecrown.structures.build`.

    Returns
    -------
    Structure
        Axes a and b as in the bulk, slab in the middle of c. ``properties["slab"]`` reports thickness and planes.
    """
    layers = _count(monolayers, "monolayers", _MOST_MONOLAYERS)
    try:
        ends = Termination(termination)
    except ValueError as error:
        raise InputError(
            f"termination: {termination!r} is not known", f"one of {', '.join(item.value for item in Termination)}"
        ) from error
    if ends is Termination.BX2 and layers < 2:
        raise InputError("a slab of one monolayer with BX2 termination has no A site", "ask for two or more")
    _check_vacuum(vacuum)
    if len(lateral) != 2:
        raise InputError(f"lateral: {list(lateral)} is not two numbers", "repetitions along a and b")
    bulk = build(fa, alignment, lattice, (*lateral, 1), strain=strain)
    first, last = (-1, 2 * layers - 1) if ends is Termination.AX else (0, 2 * layers - 2)
    symbols: list[str] = []
    positions: list[FloatArray] = []
    for unit in _units(bulk):
        plane = round(4 * float(unit.centre[2]))
        for cell in range(-1, layers // 2 + 2):
            if first <= plane + 4 * cell <= last:
                symbols += unit.symbols
                positions.append(unit.positions + cell * bulk.lattice.matrix[2])
    coordinates = np.concatenate(positions)
    heights = coordinates[:, 2]
    thickness = float(heights.max() - heights.min())
    coordinates[:, 2] += vacuum / 2 - heights.min()
    a, b, _ = bulk.lattice.abc
    cut = _assemble(Lattice.orthorhombic(a, b, thickness + vacuum), symbols, coordinates)
    check_contacts(cut, "slab")
    cut.properties = dict(bulk.properties or {}) | {
        "slab": {
            "monolayers": layers,
            "termination": ends.value,
            "thickness_angstrom": round(thickness, 4),
            "vacuum_angstrom": float(vacuum),
            "charge": total_charge(cut),
        }
    }
    return cut


def platelet(
    monolayers: int,
    core: int,
    crown: int = 0,
    *,
    alignment: Alignment = DEFAULT_ALIGNMENT,
    lattice: HostLattice | str = HostLattice.CSPBBR3,
    vacuum: float = 12.0,
    max_shift: float = MAX_SHIFT,
    strain: Strain = None,
) -> Structure:
    """Build a square platelet: a CsPbBr3 core inside a lateral FAPbBr3 crown.

    Core and crown share one coherent lattice; relaxation decides how the mismatch is taken up. All faces end in A and
    Br. Such a block is positive by one charge for every octahedron along its three edges plus one, so that many A ions
    are left out where they are furthest from the middle: corners first, then edges.

    Parameters
    ----------
    monolayers
        Octahedra along c.
    core
        Octahedra along each lateral edge of the core.
    crown
        Octahedra on each side of the core; 0 for a bare core.
    alignment
        Direction of the N-N axes, in the axes of the Pbnm crystal.
    lattice
        Whose lattice constants the whole platelet has.
    vacuum
        Å around the platelet.
    max_shift, strain
        As in :func:`corecrown.structures.substitute`.

    Returns
    -------
    Structure
        The box has c along the crystal's c and its other axes along the edges of the platelet, the pseudo-cubic
        [110] and [-110] of Pbnm. ``properties["platelet"]`` reports sizes, composition, mismatch and vacancies.
    """
    layers = _count(monolayers, "monolayers", _MOST_MONOLAYERS)
    inner = _count(core, "core", 1000)
    ring = _count(crown, "crown", 1000, least=0)
    _check_vacuum(vacuum)
    across = inner + 2 * ring
    if 5 * across**2 * layers > _MOST_ATOMS:
        raise InputError(f"a platelet of {across} x {across} x {layers} octahedra is too large", "ask for less")
    empty = host(lattice)
    filled = substitute(empty, alignment=alignment, max_shift=max_shift, strain=strain)
    if strain:
        empty = Structure(filled.lattice, empty.species, empty.frac_coords)
    blocks = _Blocks(empty, filled, across, layers)
    is_core = blocks.lateral_distance() <= inner / 2 + 1e-6
    kept = blocks.neutral_sites(across, layers)
    symbols, coordinates = blocks.framework()
    for number in np.flatnonzero(kept & is_core):
        symbols.append("Cs")
        coordinates.append(blocks.a_positions[number][None, :])
    for number in np.flatnonzero(kept & ~is_core):
        symbols += SYMBOLS
        coordinates.append(blocks.ion(int(number)))
    built = _box(symbols, np.concatenate(coordinates), blocks.to_edges, vacuum)
    check_contacts(built, "platelet")
    built.properties = {
        "platelet": _platelet_report(built, blocks, inner, ring, layers, int((~kept).sum())),
        "substitution": filled.properties["substitution"],
    }
    return built


class _Blocks:
    """The sites of a block of octahedra, Cartesian in the crystal's axes (Å), and what can stand on them."""

    def __init__(self, empty: Structure, filled: Structure, across: int, layers: int) -> None:
        a, b, c = empty.lattice.matrix
        self.edges = np.array([(a + b) / 2, (b - a) / 2, c / 2])
        self._empty = empty
        self._ions = [unwrap(filled, ion) for ion in find_formamidinium(filled)]
        self._across = across
        self._layers = layers
        normals = self.edges[:2] / np.linalg.norm(self.edges[:2], axis=1)[:, None]
        along = normals[0]
        self.to_edges = np.array([along, np.cross([0, 0, 1.0], along), [0, 0, 1.0]])
        sites = a_sites(empty)
        self.a_index, self.a_kind, self.a_shift = self._tile(empty.frac_coords[sites], -1, half=True)
        self.a_positions = empty.lattice.get_cartesian_coords(empty.frac_coords[sites][self.a_kind] + self.a_shift)

    def _tile(self, fractional: FloatArray, start: int, *, half: bool) -> tuple[IntArray, IntArray, IntArray]:
        """Return pseudo-cubic index, kind and cell of all images of some sites within the block.

        A sites (``half``) lie in the middle between octahedra: index i is between octahedra i and i + 1.
        """
        reach = self._across + self._layers + 2
        grid = np.array(
            np.meshgrid(
                np.arange(-reach, reach + 1),
                np.arange(-1, reach + 1),
                np.arange(-1, self._layers // 2 + 2),
                indexing="ij",
            )
        ).reshape(3, -1)
        cells = np.repeat(grid.T, len(fractional), axis=0)
        kinds = np.tile(np.arange(len(fractional)), grid.shape[1])
        ideal = fractional[kinds] + cells
        pseudo_cubic = np.column_stack([ideal[:, 0] + ideal[:, 1], ideal[:, 1] - ideal[:, 0], 2 * ideal[:, 2]])
        index: IntArray = (np.floor(pseudo_cubic) if half else np.round(pseudo_cubic)).astype(int)
        top = np.array([self._across, self._across, self._layers])
        inside = ((index >= start) & (index < top)).all(axis=1)
        return index[inside], kinds[inside], cells[inside]

    def framework(self) -> tuple[list[str], list[FloatArray]]:
        """Return symbols and positions of the Pb of the block and of every Br bonded to them."""
        cell = self._empty
        lead = [i for i, site in enumerate(cell) if site.specie.symbol == "Pb"]
        _, kinds, cells = self._tile(cell.frac_coords[lead], 0, half=False)
        bonds: dict[int, list[tuple[int, FloatArray]]] = {}
        for n, i in enumerate(lead):
            near = sorted(cell.get_neighbors(cell[i], 4.5), key=lambda atom: atom.nn_distance)
            bromine = [atom for atom in near if atom.specie.symbol == "Br"][:6]
            bonds[n] = [(atom.index, np.round(atom.frac_coords - cell[atom.index].frac_coords)) for atom in bromine]
        br = {
            (index, *(int(x) for x in image + shift))
            for kind, shift in zip(kinds, cells, strict=True)
            for index, image in bonds[int(kind)]
        }
        ordered = np.array(sorted(br))
        pb = cell.frac_coords[lead][kinds] + cells
        bridging = cell.frac_coords[ordered[:, 0]] + ordered[:, 1:]
        positions = [cell.lattice.get_cartesian_coords(pb), cell.lattice.get_cartesian_coords(bridging)]
        return ["Pb"] * len(pb) + ["Br"] * len(bridging), positions

    def ion(self, number: int) -> FloatArray:
        """Return the FA atoms of an A site, shape (8, 3)."""
        shift = self._empty.lattice.get_cartesian_coords(self.a_shift[number])
        positions: FloatArray = self._ions[int(self.a_kind[number])] + shift
        return positions

    def lateral_distance(self) -> FloatArray:
        """Return how many octahedra each A site is from the middle, along the edge it is further away on."""
        offsets = self.a_index[:, :2] + 0.5 - (self._across - 1) / 2
        distances: FloatArray = np.abs(offsets).max(axis=1)
        return distances

    def neutral_sites(self, across: int, layers: int) -> NDArray[np.bool_]:
        """Return which A sites stay, so that the block is neutral: those furthest out go."""
        surplus = 2 * across + layers + 1
        middle = np.array([(across - 1) / 2, (across - 1) / 2, (layers - 1) / 2])
        offsets = np.abs(self.a_index + 0.5 - middle)
        outside = offsets >= np.array([across, across, layers]) / 2 - 1e-6
        rank = np.lexsort((*self.a_index.T, -offsets.sum(axis=1), -outside.sum(axis=1)))
        kept = np.ones(len(self.a_index), dtype=bool)
        kept[rank[:surplus]] = False
        return kept


def _box(symbols: list[str], coordinates: FloatArray, to_edges: FloatArray, vacuum: float) -> Structure:
    turned = coordinates @ to_edges.T
    low, high = turned.min(axis=0), turned.max(axis=0)
    return _assemble(Lattice.orthorhombic(*(high - low + vacuum)), symbols, turned - low + vacuum / 2)


def _platelet_report(
    built: Structure, blocks: _Blocks, inner: int, ring: int, layers: int, vacancies: int
) -> dict[str, Any]:
    edge = float(np.linalg.norm(blocks.edges[0]))
    height = float(np.linalg.norm(blocks.edges[2]))
    cs, fa = (np.array(host(lattice).lattice.abc) for lattice in (HostLattice.CSPBBR3, HostLattice.FAPBBR3))
    counts = {group: built.site_properties["group"].count(group) for group in ("Cs", "Pb-Br")}
    return {
        "monolayers": layers,
        "core_octahedra": inner,
        "crown_octahedra": ring,
        "core_edge_nm": round(inner * edge / _ANGSTROM_PER_NM, 3),
        "crown_width_nm": round(ring * edge / _ANGSTROM_PER_NM, 3),
        "edge_nm": round((inner + 2 * ring) * edge / _ANGSTROM_PER_NM, 3),
        "thickness_nm": round(layers * height / _ANGSTROM_PER_NM, 3),
        "atoms": len(built),
        "cs": counts["Cs"],
        "fa": built.site_properties["group"].count(FA) // len(SYMBOLS),
        "a_site_vacancies": vacancies,
        "charge": total_charge(built),
        "mismatch_percent": {
            axis: round(float(100 * (y / x - 1)), 3) for axis, x, y in zip("abc", cs, fa, strict=True)
        },
    }


@dataclass(frozen=True)
class _Unit:
    """An atom or a whole ion of a bulk cell: Cartesian positions (Å) and the fractional place that counts for it."""

    symbols: list[str]
    positions: FloatArray
    centre: FloatArray


def _units(bulk: Structure) -> list[_Unit]:
    ions = find_formamidinium(bulk)
    in_ions = {i for ion in ions for i in ion}
    units = [
        _Unit([site.specie.symbol], bulk.lattice.get_cartesian_coords(site.frac_coords)[None, :], site.frac_coords)
        for i, site in enumerate(bulk)
        if i not in in_ions
    ]
    for ion in ions:
        positions = unwrap(bulk, ion)
        units.append(_Unit(list(SYMBOLS), positions, bulk.lattice.get_fractional_coords(positions.mean(axis=0))))
    return units


def _assemble(lattice: Lattice, symbols: list[str], coordinates: FloatArray) -> Structure:
    """Return a structure with inorganic atoms by element first, then the ions."""
    plain = label_groups(Structure(lattice, symbols, coordinates, coords_are_cartesian=True))
    rank = {"Cs": 0, "Pb": 1, "Br": 2}
    molecule = plain.site_properties["molecule"]
    order = sorted(
        range(len(plain)),
        key=lambda i: (molecule[i] != NO_MOLECULE, rank.get(symbols[i], 3) if molecule[i] == NO_MOLECULE else 0, i),
    )
    return Structure.from_sites([plain[i] for i in order])


def _count(value: int, name: str, most: int, least: int = 1) -> int:
    if int(value) != value or not least <= value <= most:
        raise InputError(f"{name}: {value} is not possible", f"give a whole number from {least} to {most}")
    return int(value)


def _check_vacuum(vacuum: float) -> None:
    if not 0 < vacuum <= 100:
        raise InputError(f"vacuum: {vacuum} Å is not possible", "give more than 0 and at most 100 Å")
