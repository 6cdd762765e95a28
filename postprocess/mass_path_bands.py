"""A band structure along lines, taken apart: lines without repeated points, bands sorted and counted."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from corecrown.errors import InputError
from corecrown.postprocess.edges import find_edges, is_metal
from corecrown.postprocess.mass_fit import Carrier, FloatArray, reciprocal_lattice_inv_bohr

__all__ = ["PathBands", "coordinates_text", "path_lines", "plain_label", "read_path_bands"]

_SAME = 1e-6
"""k-points closer than this (1/bohr) are one."""


@dataclass(frozen=True)
class PathBands:
    """Bands along lines.

    Attributes
    ----------
    kpoints
        Shape (n, 3), fractional.
    cartesian
        Shape (n, 3), 1/bohr, 2π included.
    labels
        Name of each k-point, or ``None``.
    energies
        One array a spin channel, shape (n_bands, n), eV, sorted at each k-point.
    filled
        How many bands of each channel are valence bands.
    spins
        Name of each channel; ``None`` where there is one.
    lines
        Indices of the k-points between two named points, in order.
    projections
        One array a channel, shape (n_bands, n, n_orbitals), or ``None``.
    notes
        What is to be said of all this.
    """

    kpoints: FloatArray
    cartesian: FloatArray
    labels: list[str | None]
    energies: list[FloatArray]
    filled: list[int]
    spins: list[str | None]
    lines: list[list[int]]
    projections: list[FloatArray] | None
    notes: list[str]

    def edge_bands(self, carrier: Carrier, channel: int) -> FloatArray:
        """Return the valence (hole) or conduction (electron) bands of a channel, shape (m, n)."""
        energies, filled = self.energies[channel], self.filled[channel]
        return energies[:filled] if carrier is Carrier.HOLE else energies[filled:]

    def has_edge(self, carrier: Carrier) -> bool:
        """Tell whether there are bands of that kind."""
        return any(len(self.edge_bands(carrier, channel)) for channel in range(len(self.energies)))

    def edge(self, carrier: Carrier) -> tuple[float, int]:
        """Return the energy of the edge and the k-point it is at: of equals the first, band by band."""
        best: tuple[float, int] | None = None
        for channel in range(len(self.energies)):
            bands = self.edge_bands(carrier, channel)
            if not len(bands):
                continue
            signed = carrier.sign * bands
            _, position = np.unravel_index(int(np.argmin(signed)), signed.shape)
            value = float(signed.min())
            if best is None or value < carrier.sign * best[0]:
                best = carrier.sign * value, int(position)
        if best is None:
            raise InputError(f"no bands for {carrier.value}s", "raise the number of bands")
        return best

    def end_name(self, position: int) -> str:
        """Return the name of a k-point, or its coordinates."""
        return self.labels[position] or coordinates_text(self.kpoints[position])


def coordinates_text(kpoint: FloatArray) -> str:
    """Return a fractional k-point (3,) as text, for points without a name."""
    return "(" + ", ".join(f"{value:.4g}" for value in kpoint + 0.0) + ")"


def plain_label(name: str) -> str:
    """Return a label as it is printed: Γ for its spellings, no LaTeX."""
    plain = name.strip().strip("$").replace("\\mathrm", "").replace("\\", "").strip("{}")
    return "Γ" if plain.lower() in {"g", "gamma", "γ"} else plain


def read_path_bands(band_structure: Any, n_electrons: float | None, *, spin_orbit: bool) -> PathBands:
    """Take a pymatgen ``BandStructureSymmLine`` apart.

    Raises
    ------
    InputError
        If it has no gap, no valence bands, or energies that are not numbers.
    """
    edges = find_edges(band_structure, "bands", n_electrons, spin_orbit=spin_orbit)
    if is_metal(edges):
        raise InputError("no band gap along this path: a metal has no band-edge masses", "give an insulator")
    if edges.vbm_ev is None:
        raise InputError("; ".join(edges.notes) or "no valence edge", "check the Fermi energy of the calculation")
    spins = sorted(band_structure.bands, key=int, reverse=True)
    raw = [np.asarray(band_structure.bands[spin], dtype=float) for spin in spins]
    order = [np.argsort(values, axis=0, kind="stable") for values in raw]
    energies = [np.take_along_axis(values, ranks, axis=0) for values, ranks in zip(raw, order, strict=True)]
    top = edges.vbm_ev + (1e-4 if edges.gap_ev is None else min(1e-4, 0.5 * edges.gap_ev))
    kpoints = np.array([kpoint.frac_coords for kpoint in band_structure.kpoints], dtype=float)
    lattice = reciprocal_lattice_inv_bohr(band_structure.lattice_rec.matrix)
    labels = [plain_label(kpoint.label) if kpoint.label else None for kpoint in band_structure.kpoints]
    cartesian = kpoints @ lattice
    return PathBands(
        kpoints=kpoints,
        cartesian=cartesian,
        labels=labels,
        energies=energies,
        filled=[int(np.count_nonzero(values.max(axis=1) <= top)) for values in energies],
        spins=[None] if len(spins) == 1 else ["up" if int(spin) > 0 else "down" for spin in spins],
        lines=path_lines(cartesian, labels),
        projections=_projections(band_structure, spins, order),
        notes=list(edges.notes),
    )


def path_lines(cartesian: FloatArray, labels: list[str | None]) -> list[list[int]]:
    """Cut a path of k-points (n, 3) at its named points; one that stands twice in a row ends a line and begins another.

    Returns the indices of the k-points of each line, in order.
    """
    lines: list[list[int]] = [[0]]
    for index in range(1, len(cartesian)):
        repeated = np.linalg.norm(cartesian[index] - cartesian[index - 1]) < _SAME
        named, named_before = labels[index] is not None, labels[index - 1] is not None
        if repeated or (named and named_before):
            lines.append([index])
            continue
        if named_before and len(lines[-1]) > 1:
            lines.append([index - 1])
        lines[-1].append(index)
    return [line for line in lines if len(line) > 1]


def _projections(band_structure: Any, spins: list[Any], order: list[npt.NDArray[np.int64]]) -> list[FloatArray] | None:
    """Return projections (n_bands, n_kpoints, n_orbitals) in the order of the sorted bands."""
    given = getattr(band_structure, "projections", None)
    if not given or any(spin not in given or np.size(given[spin]) == 0 for spin in spins):
        return None
    found = []
    for spin, ranks in zip(spins, order, strict=True):
        values = np.asarray(given[spin], dtype=float)
        flat = values.reshape(*values.shape[:2], -1)
        found.append(np.take_along_axis(flat, ranks[:, :, None], axis=0))
    return found
