"""The mass tensor a second way: from a Fourier interpolation of the bands on a uniform mesh.

The interpolation is that of BoltzTraP2 (G. K. H. Madsen, J. Carrete and M. J. Verstraete, Comput. Phys. Commun. 231,
140 (2018)), installed with ``corecrown[interpolation]``. It passes through every k-point of the mesh and is as
smooth as it can be in between; its second derivatives are known in closed form. It shares nothing with a stencil but
the density.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from corecrown.errors import InputError
from corecrown.postprocess.mass_edge import DEGENERACY_EV, edge_group
from corecrown.postprocess.mass_fit import BOHR_ANGSTROM, HARTREE_EV, Carrier, FloatArray, as_kpoints
from corecrown.postprocess.mass_tensors import as_vector, mass_tensor, tensor_difference
from corecrown.postprocess.results import MassTensor

__all__ = ["interpolate_mass"]

CONVERGED = 0.15
"""Converged if the mesh with every other k-point gives the tensor to within this share: the whole one is far closer."""

TOO_COARSE = 0.5
"""Refused if they differ by more than this."""

_BANDS_AROUND = 2
"""Bands on either side of the edge that are interpolated with it, to see whether they meet it."""


def interpolate_mass(
    structure: Any,
    kpoints: npt.ArrayLike,
    energies_ev: npt.ArrayLike,
    band_index: int,
    carrier: Carrier,
    *,
    stars_per_kpoint: float = 10.0,
) -> MassTensor:
    """Return the mass tensor of a band edge from energies on a uniform mesh.

    Parameters
    ----------
    structure
        pymatgen ``Structure``; its symmetry is used, so the mesh may be reduced by it.
    kpoints
        Shape (n, 3), fractional: a mesh through Γ, whole or reduced by symmetry and time reversal.
    energies_ev
        Shape (n, n_bands), eV, one spin channel; bands are sorted here.
    band_index
        0-based index of the highest valence band (hole) or the lowest conduction band (electron).
    carrier
        Electron or hole.
    stars_per_kpoint
        Plane waves (stars of lattice vectors) for each k-point of the mesh.

    Returns
    -------
    MassTensor
        ``converged`` compares with the tensor from every other k-point of the mesh.

    Raises
    ------
    InputError
        If BoltzTraP2 is missing, the edge is degenerate, the mesh is no mesh or too coarse, or the interpolated edge
        has no extremum near the mesh's.
    """
    points = as_kpoints(kpoints, "kpoints")
    energies = np.asarray(energies_ev, dtype=float)
    if energies.ndim != 2 or len(energies) != len(points) or not np.isfinite(energies).all():
        raise InputError(
            f"energies_ev: shape {energies.shape} is not ({len(points)}, n_bands), or not finite",
            "all bands of every k-point of the mesh",
        )
    energies = np.sort(energies, axis=1)
    if not 0 <= band_index < energies.shape[1]:
        raise InputError(f"band_index: there is no band {band_index} among {energies.shape[1]}", "compute empty bands")
    _check_gap(energies, band_index, carrier)
    divisions = _mesh_divisions(points)
    first = max(0, band_index - _BANDS_AROUND)
    chosen = slice(first, band_index + _BANDS_AROUND + 1)
    offset = band_index - first
    best = points[int(np.argmin(carrier.sign * energies[:, band_index]))]
    whole = _Interpolation.of(structure, points, energies[:, chosen], stars_per_kpoint)
    kpoint, tensor, levels = whole.extremum(best, 0.5 / np.array(divisions), offset, carrier)
    if len(edge_group(levels, offset, carrier).bands) > 1:
        raise InputError(
            f"the edge is degenerate within {1e3 * DEGENERACY_EV:g} meV: interpolated bands cannot be told apart there",
            "use a stencil, which says what kind of degeneracy it is",
        )
    notes = [f"Fourier interpolation of {len(points)} k-points of a {'×'.join(map(str, divisions))} mesh (BoltzTraP2)"]
    converged = False
    halved = _every_other(points, divisions)
    if halved is None:
        notes.append("the mesh cannot be halved, so its convergence is not known")
    else:
        half = _Interpolation.of(structure, points[halved], energies[halved][:, chosen], stars_per_kpoint)
        coarser = carrier.sign * half.derivatives(kpoint, offset)[1]
        difference = tensor_difference(coarser, tensor)
        if difference > TOO_COARSE:
            raise InputError(
                f"k-points too coarse: with every other one the tensor differs by {100 * difference:.0f} %",
                "use a finer mesh",
            )
        notes.append(f"with every other k-point the tensor differs by {100 * difference:.1f} %")
        converged = difference <= CONVERGED
    return mass_tensor(
        tensor,
        carrier,
        converged=converged,
        notes=notes,
        band_index=band_index,
        degeneracy=1,
        extremum_kpoint=as_vector(kpoint),
    )


@dataclass(frozen=True)
class _Interpolation:
    """Bands as Fourier series E(k) = Σ c exp(2πi k·R).

    ``vectors`` R has shape (n, 3), ``coefficients`` (n_bands, n) in Hartree, ``lattice`` its vectors as columns, bohr.
    """

    vectors: FloatArray
    coefficients: npt.NDArray[np.complex128]
    lattice: FloatArray

    @classmethod
    def of(
        cls, structure: Any, kpoints: FloatArray, energies_ev: FloatArray, stars_per_kpoint: float
    ) -> "_Interpolation":
        sphere, fite = _boltztrap()
        lattice = np.array(structure.lattice.matrix).T / BOHR_ANGSTROM
        stars = sphere.get_equivalences(_as_atoms(structure), None, int(np.ceil(stars_per_kpoint * len(kpoints))))
        by_star = fite.fitde3D(_Bands(kpoints, energies_ev.T / HARTREE_EV, lattice), stars)
        sizes = np.array([len(star) for star in stars])
        return cls(np.vstack(stars).astype(float), np.repeat(by_star / sizes, sizes, axis=1), lattice)

    def energies(self, kpoints: FloatArray) -> FloatArray:
        """Return energies (n_bands, n_k) at k-points (n_k, 3), Hartree."""
        waves = np.exp(2j * np.pi * self.vectors @ kpoints.T)
        values: FloatArray = (self.coefficients @ waves).real
        return values

    def derivatives(self, kpoint: FloatArray, band: int) -> tuple[FloatArray, FloatArray]:
        """Return slope (3,) and curvature (3, 3) of one band with respect to Cartesian k, atomic units."""
        terms = self.coefficients[band] * np.exp(2j * np.pi * self.vectors @ kpoint)
        places = self.vectors @ self.lattice.T
        slope = (1j * terms @ places).real
        curvature = -np.einsum("n,ni,nj->ij", terms, places, places).real
        return slope, curvature

    def extremum(
        self, start: FloatArray, reach: FloatArray, band: int, carrier: Carrier
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Climb to the extremum: k-point, inverse mass and the energies (eV) of all bands there."""
        shares = np.linspace(-1, 1, 5)
        around = start + reach * np.stack(np.meshgrid(shares, shares, shares, indexing="ij"), axis=-1).reshape(-1, 3)
        kpoint = around[int(np.argmin(carrier.sign * self.energies(around)[band]))]
        to_fractional = self.lattice / (2 * np.pi)
        for _ in range(50):
            slope, curvature = self.derivatives(kpoint, band)
            tensor = carrier.sign * curvature
            step = -np.linalg.pinv(tensor, rcond=1e-3) @ (carrier.sign * slope) @ to_fractional
            kpoint = kpoint + step * min(1.0, float((0.5 * reach / np.maximum(np.abs(step), 1e-12)).min()))
            if np.abs(step).max() < 1e-9:
                return kpoint, tensor, self.energies(kpoint[None])[:, 0] * HARTREE_EV
            if np.any(np.abs(kpoint - start) > 2.5 * reach):
                break
        raise InputError(
            "the interpolated band has no extremum near that of the mesh: k-points too coarse", "use a finer mesh"
        )


@dataclass(frozen=True)
class _Bands:
    """What BoltzTraP2 wants to know of a calculation, by its own names."""

    kpoints: FloatArray
    ebands: FloatArray
    lattice: FloatArray
    mommat: None = None

    def get_lattvec(self) -> FloatArray:
        return self.lattice


def _boltztrap() -> tuple[Any, Any]:
    try:
        from BoltzTraP2 import fite, sphere
    except ModuleNotFoundError as error:
        raise InputError("BoltzTraP2 is not installed", "pip install 'corecrown[interpolation]'") from error
    return sphere, fite


def _as_atoms(structure: Any) -> Any:
    from ase import Atoms

    return Atoms(
        numbers=[site.specie.Z for site in structure],
        cell=structure.lattice.matrix,
        scaled_positions=structure.frac_coords,
        pbc=True,
    )


def _check_gap(energies: FloatArray, band_index: int, carrier: Carrier) -> None:
    """Refuse where the bands beyond the edge overlap it: a metal on this mesh."""
    other = band_index + (1 if carrier is Carrier.HOLE else -1)
    if not 0 <= other < energies.shape[1]:
        return
    overlap = (carrier.sign * (energies[:, other])).max() - (carrier.sign * energies[:, band_index]).min()
    if overlap >= 0:
        raise InputError("no band gap on this mesh: a metal has no band-edge masses", "give an insulator")


def _mesh_divisions(points: FloatArray) -> tuple[int, int, int]:
    """Find how often each reciprocal vector is divided, from a whole or reduced mesh through Γ."""
    wrapped = points - np.round(points)
    divisions = []
    for axis in range(3):
        values = np.abs(wrapped[:, axis])
        smallest = values[values > 1e-6].min(initial=1.0)
        divisions.append(round(1 / smallest))
    steps = wrapped * divisions
    if np.abs(steps - np.round(steps)).max() > 1e-3 or not np.any(np.abs(wrapped).max(axis=1) < 1e-6):
        raise InputError("kpoints: not a uniform mesh through Γ", "interpolate the scf or an nscf mesh without shift")
    if min(divisions) < 2:
        raise InputError(
            f"k-points too coarse: a mesh of {'×'.join(map(str, divisions))} says nothing along a reciprocal vector",
            "use a finer mesh",
        )
    return divisions[0], divisions[1], divisions[2]


def _every_other(points: FloatArray, divisions: tuple[int, int, int]) -> npt.NDArray[np.bool_] | None:
    """Mark the k-points of the mesh with half as many divisions, or ``None`` where it has none."""
    if any(number % 2 or number < 4 for number in divisions):
        return None
    steps = np.round(points * divisions).astype(int)
    marked: npt.NDArray[np.bool_] = np.all(steps % 2 == 0, axis=1)
    return marked
