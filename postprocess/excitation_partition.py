"""Space shared out among atoms: by distance and radii, by isolated atoms, by the density's own basins."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from ase.data import atomic_numbers, vdw_radii
from pymatgen.core import Species, Structure
from scipy.spatial import cKDTree

from corecrown.errors import InputError

__all__ = ["BaderBasins", "Hirshfeld", "Partition", "PowerCells", "ProAtom", "ionic_radius"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]

IONS = {"Cs": (1, "XII"), "Pb": (2, "VI"), "Br": (-1, "VI"), "I": (-1, "VI"), "Cl": (-1, "VI")}
"""Charge and coordination of the ions, for Shannon's radii (Acta Cryst. A 32, 751 (1976))."""

NEGLIGIBLE = 1e-7
"""Density of an isolated atom, 1/Å³, below which it is left out."""


class Partition(Protocol):
    """A way to share space out among atoms."""

    name: str

    def integrate(self, fields: FloatArray) -> FloatArray:
        """Return integrals, shape (n_atoms, n_fields), of fields of shape (n_fields, n_a, n_b, n_c) per Å³."""
        ...


def ionic_radius(symbol: str) -> float:
    """Return the radius of an atom in Å: Shannon's for the ions of the framework, Bondi's van der Waals otherwise."""
    if symbol in IONS:
        charge, coordination = IONS[symbol]
        return float(Species(symbol, charge).get_shannon_radius(coordination, radius_type="ionic"))
    radius = float(vdw_radii[atomic_numbers[symbol]])
    if not np.isfinite(radius):
        raise InputError(f"no radius is known for {symbol}", "the geometric partition needs one for each element")
    return radius


class _Labelled:
    """A partition that gives each grid point to one atom."""

    name = "labels"

    def __init__(self, labels: IntArray, n_atoms: int, voxel: float) -> None:
        self.labels = labels
        self._n_atoms, self._voxel = n_atoms, voxel

    def integrate(self, fields: FloatArray) -> FloatArray:
        """Return integrals, shape (n_atoms, n_fields)."""
        flat = self.labels.ravel()
        columns = [np.bincount(flat, weights=field.ravel(), minlength=self._n_atoms) for field in fields]
        return np.asarray(np.array(columns).T * self._voxel, dtype=np.float64)


class PowerCells(_Labelled):
    """Each point goes to the atom with the least d² - R²: a Voronoi partition with radii (a power diagram).

    Parameters
    ----------
    structure
        The cell.
    shape
        The grid.
    radii
        By element, Å; :func:`ionic_radius` by default.
    """

    name = "Voronoi with ionic radii"

    def __init__(
        self, structure: Structure, shape: tuple[int, int, int], radii: Mapping[str, float] | None = None
    ) -> None:
        symbols = [site.specie.symbol for site in structure]
        chosen = {symbol: ionic_radius(symbol) for symbol in set(symbols)} if radii is None else dict(radii)
        radius = np.array([chosen[symbol] for symbol in symbols])
        images, owners = _periodic_images(structure, margin=_largest_hole(structure) + float(radius.max()))
        # least d² - R² is the nearest point in a fourth dimension of height √(R_max² - R²)
        height = np.sqrt(radius.max() ** 2 - radius**2)[owners]
        points = grid_points(structure, shape).reshape(-1, 3)
        tree = cKDTree(np.column_stack([images, height]))
        _, nearest = tree.query(np.column_stack([points, np.zeros(len(points))]))
        super().__init__(owners[nearest].reshape(shape), len(structure), structure.volume / points.shape[0])


def _largest_hole(structure: Structure) -> float:
    """Return a distance within which every point of the cell has an atom: half the longest diagonal is enough."""
    corners = np.array([[i, j, k] for i in (-1, 1) for j in (-1, 1) for k in (-1, 1)]) / 2
    return float(np.linalg.norm(corners @ structure.lattice.matrix, axis=1).max())


def _periodic_images(structure: Structure, margin: float) -> tuple[FloatArray, IntArray]:
    """Return atoms and images within a margin of the cell, Cartesian (n, 3), and whose image each is."""
    fractional = structure.frac_coords % 1.0
    reach = margin / _heights(structure)
    counts = np.ceil(reach).astype(int)
    shifts = np.array(np.meshgrid(*[np.arange(-n, n + 1) for n in counts], indexing="ij")).reshape(3, -1).T
    every = (fractional[None, :, :] + shifts[:, None, :]).reshape(-1, 3)
    owners = np.tile(np.arange(len(structure)), len(shifts))
    inside = np.all((every >= -reach) & (every <= 1 + reach), axis=1)
    return np.asarray(structure.lattice.get_cartesian_coords(every[inside])), owners[inside]


def _heights(structure: Structure) -> FloatArray:
    """Return the distances between opposite faces of the cell, (3,), Å."""
    return np.asarray(1 / np.linalg.norm(np.linalg.inv(structure.lattice.matrix), axis=0))


def grid_points(structure: Structure, shape: tuple[int, int, int]) -> FloatArray:
    """Return the points of the grid, Cartesian, shape (n_a, n_b, n_c, 3), Å."""
    axes = [np.arange(n) / n for n in shape]
    fractional = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    return np.asarray(fractional @ structure.lattice.matrix)


@dataclass(frozen=True)
class ProAtom:
    """The spherical density of an isolated atom.

    Parameters
    ----------
    radii
        Shape (n,), rising, Å.
    density
        Shape (n,), 1/Å³.
    """

    radii: FloatArray
    density: FloatArray

    @property
    def reach(self) -> float:
        """Radius beyond which the density is negligible, Å."""
        matters = np.flatnonzero(self.density > NEGLIGIBLE)
        return float(self.radii[matters[-1]]) if len(matters) else 0.0

    def at(self, distances: FloatArray) -> FloatArray:
        """Return the density at distances in Å; zero beyond the reach."""
        return np.asarray(np.interp(distances, self.radii, self.density, right=0.0))


class Hirshfeld:
    """Each point is shared out as the densities of isolated atoms are (Theor. Chim. Acta 44, 129 (1977)).

    Parameters
    ----------
    structure
        The cell.
    shape
        The grid.
    proatoms
        By element; those of the pseudopotentials for valence densities.
    """

    name = "Hirshfeld"

    def __init__(self, structure: Structure, shape: tuple[int, int, int], proatoms: Mapping[str, ProAtom]) -> None:
        missing = {site.specie.symbol for site in structure} - set(proatoms)
        if missing:
            raise InputError(f"no isolated atom of {', '.join(sorted(missing))}", "give one for each element")
        self._structure, self._shape, self._proatoms = structure, shape, proatoms
        total = np.zeros(int(np.prod(shape)))
        for index in range(len(structure)):
            places, values = self._around(index)
            total += np.bincount(places, weights=values, minlength=total.size)
        self._total = total
        self._nowhere = total <= 0
        self._voxel = structure.volume / total.size
        self._nearest: IntArray | None = None
        if self._nowhere.any():
            places = np.column_stack(np.nonzero(self._nowhere.reshape(shape)))
            self._nearest = _owners(structure, places / np.array(shape))

    def integrate(self, fields: FloatArray) -> FloatArray:
        """Return integrals, shape (n_atoms, n_fields); points that no atom reaches go to the nearest one."""
        flat = fields.reshape(len(fields), -1)
        shares = np.divide(flat, self._total, out=np.zeros_like(flat), where=~self._nowhere)
        found = np.zeros((len(self._structure), len(fields)))
        for index in range(len(self._structure)):
            places, values = self._around(index)
            found[index] = shares[:, places] @ values
        if self._nearest is not None:
            for column, field in enumerate(flat):
                weights = field[self._nowhere]
                found[:, column] += np.bincount(self._nearest, weights=weights, minlength=len(found))
        return np.asarray(found * self._voxel)

    def _around(self, index: int) -> tuple[IntArray, FloatArray]:
        """Return the grid points an atom reaches, as flat places in the cell (some more than once), and its density."""
        site, shape = self._structure[index], np.array(self._shape)
        proatom = self._proatoms[site.specie.symbol]
        matrix = self._structure.lattice.matrix
        centre = site.frac_coords * shape
        reach = proatom.reach / _heights(self._structure) * shape
        axes = [np.arange(int(np.ceil(c - r)), int(np.floor(c + r)) + 1) for c, r in zip(centre, reach, strict=True)]
        steps = matrix / shape[:, None]
        parts = [np.multiply.outer(axis - c, step) for axis, c, step in zip(axes, centre, steps, strict=True)]
        away = parts[0][:, None, None, :] + parts[1][None, :, None, :] + parts[2][None, None, :, :]
        distances = np.sqrt(np.einsum("...i,...i->...", away, away)).ravel()
        wrapped = [axis % n for axis, n in zip(axes, shape, strict=True)]
        places = (
            (wrapped[0][:, None, None] * shape[1] + wrapped[1][None, :, None]) * shape[2] + wrapped[2][None, None, :]
        ).ravel()
        near = distances <= proatom.reach
        return places[near], proatom.at(distances[near])


class BaderBasins(_Labelled):
    """Each point goes to the maximum of the density that a climb on the grid ends at, and with it to the nearest atom.

    The climb takes the steepest of the 26 neighbours (Henkelman, Arnaldsson and Jónsson, Comput. Mater. Sci. 36, 354
    (2006)). Valence densities have their maxima beside the nuclei, or in shells around them, many a nucleus; each
    belongs to the atom nearest to it. A hydrogen without a maximum of its own is counted with its neighbour.

    Parameters
    ----------
    structure
        The cell.
    density
        Shape (n_a, n_b, n_c); of the ground state.
    """

    name = "Bader"

    def __init__(self, structure: Structure, density: FloatArray) -> None:
        shape = density.shape
        uphill = _steepest(density, structure.lattice.matrix / np.array(shape)[:, None])
        while True:
            further = uphill[uphill]
            if np.array_equal(further, uphill):
                break
            uphill = further
        maxima, basin = np.unique(uphill, return_inverse=True)
        points = np.column_stack(np.unravel_index(maxima, shape)) / np.array(shape)
        owner = _owners(structure, points)
        labels = owner[basin].reshape(shape)
        super().__init__(labels, len(structure), structure.volume / density.size)
        self.n_maxima = len(maxima)


def _steepest(density: FloatArray, steps: FloatArray) -> IntArray:
    """Return for each point, flat, its steepest uphill neighbour, or itself at a maximum."""
    indices = np.arange(density.size).reshape(density.shape)
    best = np.zeros_like(density)
    target = indices.copy()
    offsets = [(i, j, k) for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1) if (i, j, k) != (0, 0, 0)]
    for offset in offsets:
        away = float(np.linalg.norm(np.array(offset) @ steps))
        back = tuple(-n for n in offset)
        slope = (np.roll(density, back, axis=(0, 1, 2)) - density) / away
        better = slope > best
        best[better] = slope[better]
        target[better] = np.roll(indices, back, axis=(0, 1, 2))[better]
    return target.ravel()


def _owners(structure: Structure, points: FloatArray) -> IntArray:
    """Return the atom nearest to each fractional point."""
    images, owners = _periodic_images(structure, _largest_hole(structure))
    _, nearest = cKDTree(images).query(structure.lattice.get_cartesian_coords(points))
    return np.asarray(owners[nearest])


def by_owner(integrals: FloatArray, owners: Sequence[str]) -> dict[str, FloatArray]:
    """Sum integrals of shape (n_atoms, n_fields) by what each atom belongs to."""
    return {
        owner: integrals[[place for place, mine in enumerate(owners) if mine == owner]].sum(axis=0)
        for owner in dict.fromkeys(owners)
    }
