"""The mass tensor from Wannier functions: a Hamiltonian that wannier90 wrote, differentiated in closed form.

For bands that cross. Interpolating sorted energies (:mod:`corecrown.postprocess.mass_interpolation`) rounds off every
crossing; the Hamiltonian between Wannier functions is smooth where its eigenvalues are not (I. Souza, N. Marzari and
D. Vanderbilt, Phys. Rev. B 65, 035109 (2001); J. R. Yates, X. Wang, D. Vanderbilt and I. Souza, Phys. Rev. B 75,
195121 (2007)). How to get it from Quantum ESPRESSO: docs/masses.md.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from corecrown.errors import InputError
from corecrown.postprocess.mass_edge import DEGENERACY_EV
from corecrown.postprocess.mass_fit import BOHR_ANGSTROM, HARTREE_EV, Carrier, FloatArray
from corecrown.postprocess.mass_tensors import as_vector, mass_tensor, tensor_difference
from corecrown.postprocess.results import MassTensor

__all__ = ["WannierHamiltonian", "read_wannier", "wannier_mass"]

IntArray = npt.NDArray[np.int64]

CONVERGED = 0.05
"""Converged if a coarser mesh gives the tensor to within this share."""

_TABLE = "_tb.dat"
_SHIFTS = "_wsvec.dat"
_HOW_TO_WRITE = "run wannier90.x with write_tb = .true. and give the seedname_tb.dat that it writes"

_SEARCH_DIVISIONS = 16
_OFF_SYMMETRY = np.array([0.31, 0.17, 0.23])
"""The search starts on a mesh shifted by this share of its step: bands that touch by symmetry do so elsewhere."""

_HERMITIAN_EV = 1e-3

_SMALLEST_GAP_EV = 1e-6
"""Bands that are nearer count as this far: what they do to each other is refused afterwards."""


@dataclass(frozen=True)
class WannierHamiltonian:
    """The Hamiltonian between Wannier functions, H(k) = Σ H(R) exp(2πi k·R).

    Parameters
    ----------
    lattice
        Shape (3, 3), its vectors as rows, Å.
    vectors
        Shape (n, 3), lattice vectors R in units of ``lattice``, each once.
    matrices
        Shape (n, n_functions, n_functions), H(R) in eV, complex, the weights of R included.
    n_kpoints
        K-points of the mesh that it was made from; ``None`` if that is not known.
    notes
        What is to be known of where it comes from.
    """

    lattice: FloatArray
    vectors: FloatArray
    matrices: npt.NDArray[np.complex128]
    n_kpoints: int | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n, functions = len(self.vectors), self.matrices.shape[-1]
        if self.lattice.shape != (3, 3) or self.vectors.shape != (n, 3) or not n:
            raise InputError("Wannier Hamiltonian: not three lattice vectors and a list of vectors R (n, 3)", "")
        if self.matrices.shape != (n, functions, functions) or not functions:
            raise InputError(f"Wannier Hamiltonian: {self.matrices.shape} is not ({n}, n_functions, n_functions)", "")
        if not all(np.isfinite(values).all() for values in (self.lattice, self.vectors, self.matrices)):
            raise InputError("Wannier Hamiltonian: numbers that are not finite", _HOW_TO_WRITE)
        if abs(np.linalg.det(self.lattice)) < 1e-6:
            raise InputError("Wannier Hamiltonian: its lattice vectors span no volume", _HOW_TO_WRITE)
        matrix = self._sum(_OFF_SYMMETRY[None])[0]
        if np.abs(matrix - matrix.conj().T).max() > _HERMITIAN_EV:
            raise InputError(
                "Wannier Hamiltonian: not Hermitian, so parts of it are missing or of another calculation",
                _HOW_TO_WRITE,
            )

    @property
    def n_bands(self) -> int:
        """Number of bands, that of Wannier functions."""
        return int(self.matrices.shape[-1])

    def energies(self, kpoints: FloatArray) -> FloatArray:
        """Return sorted energies (n_k, n_bands) at fractional k-points (n_k, 3), eV."""
        parts = [kpoints[start : start + 1000] for start in range(0, len(kpoints), 1000)]
        return np.concatenate([np.linalg.eigvalsh(_hermitian(self._sum(part))) for part in parts])

    def derivatives(self, kpoint: FloatArray, band: int) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return energies of all bands, and slope and curvature of one, at a k-point.

        With V_i and W_ij the first and second derivatives of H(k) between its eigenvectors, perturbation theory to
        second order gives E_i = V_i,nn and E_ij = Re W_ij,nn + 2 Re Σ V_i,nm V_j,mn / (E_n - E_m), the sum over all
        other bands m (Yates *et al.* (2007), section III). The band must not be degenerate.

        Parameters
        ----------
        kpoint
            Shape (3,), fractional.
        band
            0-based.

        Returns
        -------
        energies, slope, curvature
            Shapes (n_bands,) in eV, (3,) and (3, 3) with respect to Cartesian k in Hartree atomic units.
        """
        places = self.vectors @ self.lattice / BOHR_ANGSTROM
        waves = np.exp(2j * np.pi * self.vectors @ kpoint)
        weights = np.concatenate([np.ones((1, len(places))), places.T, _pairs(places)]) * waves
        sums = np.tensordot(weights, self.matrices, axes=1)
        energies, states = np.linalg.eigh(_hermitian(sums[0]))
        first = states.conj().T @ _hermitian(1j * sums[1:4]) @ states
        state = states[:, band]
        second = np.einsum("m,amn,n->a", state.conj(), -sums[4:], state).real.reshape(3, 3)
        others = np.arange(len(energies)) != band
        gaps = energies[band] - energies[others]
        gaps = np.where(gaps < 0, -1, 1) * np.maximum(np.abs(gaps), _SMALLEST_GAP_EV)
        rows = first[:, band, others]
        curvature = second + 2 * np.einsum("im,jm,m->ij", rows, rows.conj(), 1 / gaps).real
        return energies, first[:, band, band].real / HARTREE_EV, curvature / HARTREE_EV

    def _sum(self, kpoints: FloatArray) -> npt.NDArray[np.complex128]:
        """Return H(k), shape (n_k, n_bands, n_bands), eV."""
        sums: npt.NDArray[np.complex128] = np.tensordot(
            np.exp(2j * np.pi * kpoints @ self.vectors.T), self.matrices, axes=1
        )
        return sums


def read_wannier(path: Path) -> WannierHamiltonian:
    """Read the Hamiltonian that wannier90 wrote with ``write_tb = .true.``.

    Each H(R) is divided by the degeneracy of R on the surface of the Wigner-Seitz supercell. Where
    ``seedname_wsvec.dat`` lies beside it, each element goes to the nearest of the equivalent lattice vectors, or to all
    that are equally near (``use_ws_distance``: G. Pizzi *et al.*, J. Phys.: Condens. Matter 32, 165902 (2020)).

    Parameters
    ----------
    path
        ``seedname_tb.dat``.

    Raises
    ------
    InputError
        If the file is not there, is not one of these, is cut off, or does not fit the file beside it.
    """
    if not path.name.endswith(_TABLE):
        raise InputError(f"{path}: not a file seedname{_TABLE}", _HOW_TO_WRITE)
    header = _words(path, skipped=1)
    try:
        lattice = np.array(header[:9], dtype=float).reshape(3, 3)
        functions, n_vectors = (int(word) for word in header[9:11])
        degeneracies = np.array(header[11 : 11 + n_vectors], dtype=int)
        size = 3 + 4 * functions**2
        blocks = np.array(header[11 + n_vectors : 11 + n_vectors * (1 + size)], dtype=float).reshape(n_vectors, size)
    except ValueError as error:
        raise InputError(f"{path}: cut off, or not what wannier90 writes ({error})", _HOW_TO_WRITE) from error
    elements = blocks[:, 3:].reshape(n_vectors, functions, functions, 4)
    expected = np.indices((functions, functions))[::-1].transpose(1, 2, 0) + 1
    if not elements.size or (degeneracies < 1).any() or (elements[..., :2] != expected).any():
        raise InputError(f"{path}: not in the order in which wannier90 writes", _HOW_TO_WRITE)
    vectors = blocks[:, :3]
    matrices = (elements[..., 2] + 1j * elements[..., 3]).transpose(0, 2, 1) / degeneracies[:, None, None]
    notes = []
    beside = path.with_name(path.name.removesuffix(_TABLE) + _SHIFTS)
    if beside.is_file():
        vectors, matrices = _shifted(vectors, matrices, beside)
    else:
        notes.append(f"no {beside.name} beside {path.name}: lattice vectors as they stand")
    return WannierHamiltonian(lattice, vectors, matrices, round(float((1 / degeneracies).sum())), tuple(notes))


def wannier_mass(
    hamiltonian: WannierHamiltonian,
    band_index: int,
    carrier: Carrier,
    *,
    coarser: WannierHamiltonian | None = None,
) -> MassTensor:
    """Return the mass tensor of a band edge of a Wannier Hamiltonian.

    Parameters
    ----------
    hamiltonian
        From :func:`read_wannier`.
    band_index
        0-based index, among the bands of the Hamiltonian, of the highest valence band (hole) or the lowest conduction
        band (electron).
    carrier
        Electron or hole.
    coarser
        The same from a coarser mesh of k-points.

    Returns
    -------
    MassTensor
        ``converged`` if the coarser mesh gives the tensor to within 5 %; false without one.

    Raises
    ------
    InputError
        If there is no such band, no gap, the edge is degenerate, or it has no extremum.
    """
    if not 0 <= band_index < hamiltonian.n_bands:
        raise InputError(
            f"band_index: there is no band {band_index} among {hamiltonian.n_bands}",
            "bands are counted from 0 within the Wannier functions, without the bands that were excluded",
        )
    kpoint, tensor = _extremum(hamiltonian, _start(hamiltonian, band_index, carrier), band_index, carrier)
    of_what = f" of {hamiltonian.n_kpoints} k-points" if hamiltonian.n_kpoints else ""
    notes = [f"Wannier interpolation{of_what}, {hamiltonian.n_bands} functions (wannier90)", *hamiltonian.notes]
    converged = False
    if coarser is None:
        notes.append("no coarser mesh to compare with, so its convergence is not known")
    elif coarser.n_bands != hamiltonian.n_bands or not np.allclose(coarser.lattice, hamiltonian.lattice, atol=1e-4):
        raise InputError("coarser: another cell or another number of Wannier functions", "give it on another mesh only")
    else:
        difference = tensor_difference(_extremum(coarser, kpoint, band_index, carrier)[1], tensor)
        beside = f" ({coarser.n_kpoints} k-points)" if coarser.n_kpoints else ""
        notes.append(f"on the coarser mesh{beside} the tensor differs by {100 * difference:.1f} %")
        converged = difference <= CONVERGED
    return mass_tensor(
        tensor,
        carrier,
        converged=converged,
        notes=notes,
        band_index=band_index,
        degeneracy=1,
        extremum_kpoint=as_vector(kpoint - np.round(kpoint)),
    )


def _start(hamiltonian: WannierHamiltonian, band: int, carrier: Carrier) -> FloatArray:
    """Return the best k-point (3,) of a mesh over the whole zone; refuse a metal."""
    axis = np.arange(_SEARCH_DIVISIONS)
    steps = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    kpoints = (steps + _OFF_SYMMETRY) / _SEARCH_DIVISIONS
    energies = carrier.sign * hamiltonian.energies(kpoints)
    beyond = band - carrier.sign
    if 0 <= beyond < hamiltonian.n_bands and energies[:, beyond].max() >= energies[:, band].min():
        raise InputError("no band gap: a metal has no band-edge masses", "check band_index, or give an insulator")
    best: FloatArray = kpoints[int(np.argmin(energies[:, band]))]
    return best


def _extremum(
    hamiltonian: WannierHamiltonian, start: FloatArray, band: int, carrier: Carrier
) -> tuple[FloatArray, FloatArray]:
    """Climb to the extremum by Newton's method; k-point (3,), fractional, and inverse mass (3, 3), 1/m0.

    Where the band curves the other way the step goes downhill all the same, and none is longer than the mesh's.
    """
    to_fractional = (hamiltonian.lattice / BOHR_ANGSTROM).T / (2 * np.pi)
    kpoint = start
    for _ in range(100):
        energies, slope, curvature = hamiltonian.derivatives(kpoint, band)
        values, axes = np.linalg.eigh(curvature)
        stiffness = np.maximum(np.abs(values), max(1e-3 * np.abs(values).max(), 1e-9))
        step = -carrier.sign * (axes @ ((axes.T @ slope) / stiffness)) @ to_fractional
        step *= min(1.0, 1 / _SEARCH_DIVISIONS / max(np.abs(step).max(), 1e-12))
        if np.abs(step).max() < 1e-9:
            break
        before = carrier.sign * energies[band]
        shares = 0.5 ** np.arange(12)
        ahead = carrier.sign * hamiltonian.energies(kpoint + shares[:, None] * step)[:, band]
        falls = ahead <= before + 1e-12
        kpoint = kpoint + shares[int(np.argmax(falls)) if falls.any() else -1] * step
    else:
        raise InputError("the interpolated band has no smooth extremum near its best k-point", "use a finer mesh")
    if np.abs(np.delete(energies, band) - energies[band]).min(initial=np.inf) < DEGENERACY_EV:
        raise InputError(
            f"the edge is degenerate within {1e3 * DEGENERACY_EV:g} meV: it has no tensor of its own",
            "use a stencil, which says what kind of degeneracy it is",
        )
    return kpoint, carrier.sign * curvature


def _hermitian(matrices: npt.NDArray[np.complex128]) -> npt.NDArray[np.complex128]:
    result: npt.NDArray[np.complex128] = (matrices + matrices.conj().swapaxes(-1, -2)) / 2
    return result


def _pairs(places: FloatArray) -> FloatArray:
    """Return the products r_i r_j of vectors (n, 3), shape (9, n)."""
    products: FloatArray = np.einsum("ni,nj->ijn", places, places).reshape(9, -1)
    return products


def _words(path: Path, skipped: int) -> list[str]:
    """Return all words of a text file after its first lines."""
    try:
        return path.read_text(encoding="ascii").split("\n", skipped)[-1].split()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})", _HOW_TO_WRITE) from error


def _shifted(
    vectors: FloatArray, matrices: npt.NDArray[np.complex128], path: Path
) -> tuple[FloatArray, npt.NDArray[np.complex128]]:
    """Put each element of H(R) at the lattice vectors that ``seedname_wsvec.dat`` names, in equal parts."""
    functions = matrices.shape[1]
    places: list[IntArray] = []
    elements: list[tuple[int, int, complex, int]] = []
    for home, row, column, shifts in _shifts(path, len(vectors) * functions**2):
        number = len(elements) // functions**2
        if not np.array_equal(home, vectors[number]) or not (0 < row <= functions and 0 < column <= functions):
            raise _other_run(path, "other vectors or functions")
        places.append(home + shifts)
        elements.append((row - 1, column - 1, matrices[number, row - 1, column - 1] / len(shifts), len(shifts)))
    rows, columns, values, copies = (np.array(column) for column in zip(*elements, strict=True))
    unique, where = np.unique(np.concatenate(places), axis=0, return_inverse=True)
    shifted = np.zeros((len(unique), functions, functions), dtype=complex)
    np.add.at(
        shifted, (where.ravel(), *(np.repeat(column, copies) for column in (rows, columns))), values.repeat(copies)
    )
    return unique.astype(float), shifted


def _shifts(path: Path, number: int) -> Iterator[tuple[IntArray, int, int, IntArray]]:
    """Yield R (3,), row and column from 1, and the shifts (n, 3) of each of so many elements."""
    try:
        words = np.array(_words(path, skipped=1), dtype=int)
    except ValueError as error:
        raise _other_run(path, str(error)) from error
    at = 0
    for _ in range(number):
        head = words[at : at + 6]
        end = at + 6 + 3 * int(head[-1]) if len(head) == 6 and head[-1] > 0 else len(words) + 1
        if end > len(words):
            raise _other_run(path, "cut off")
        yield head[:3], int(head[3]), int(head[4]), words[at + 6 : end].reshape(-1, 3)
        at = end
    if at < len(words):
        raise _other_run(path, "more vectors or functions")


def _other_run(path: Path, why: str) -> InputError:
    return InputError(f"{path}: does not belong to the {_TABLE} beside it ({why})", "take both from the same run")
