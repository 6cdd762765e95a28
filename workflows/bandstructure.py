"""Eigenvalues on k-points as pymatgen's band structures, which pymatgen's and sumo's plotters draw unchanged."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from pymatgen.core import Lattice, Structure
from pymatgen.electronic_structure.bandstructure import BandStructure, BandStructureSymmLine
from pymatgen.electronic_structure.core import Spin

from corecrown.workflows.kpoints import named_points

__all__ = ["line_band_structure", "mesh_band_structure"]

FloatArray = npt.NDArray[np.float64]
Bands = Mapping[Spin, FloatArray]


def mesh_band_structure(structure: Structure, kpoints: FloatArray, bands: Bands, efermi_ev: float) -> BandStructure:
    """Return a band structure on a mesh.

    Parameters
    ----------
    structure
        The cell.
    kpoints
        Shape (n_kpoints, 3), fractional.
    bands
        By spin, shape (n_bands, n_kpoints), eV.
    efermi_ev
        Fermi energy or highest occupied level, eV.
    """
    return BandStructure(kpoints, dict(bands), _reciprocal(structure), efermi_ev, {}, structure=structure)


def line_band_structure(
    structure: Structure, kpoints: FloatArray, bands: Bands, efermi_ev: float
) -> BandStructureSymmLine:
    """Return a band structure along lines; corners are found from the k-points and named where they have a name.

    Parameters
    ----------
    structure, kpoints, bands, efermi_ev
        As for :func:`mesh_band_structure`; each k-point along the lines in order. A corner may stand once or twice.

    Notes
    -----
    pymatgen tells branches by two neighbouring k-points that both have a label, so a corner that was computed once
    is put in twice. A step that is more than 2.5 times as long as both its neighbours is a jump between lines.
    """
    order, corners = _corners(structure, np.asarray(kpoints, dtype=float))
    expanded = np.asarray(kpoints, dtype=float)[order]
    names = {tuple(np.round(point, 5)): name for name, point in named_points(structure).items()}
    labels: dict[str, tuple[float, float, float]] = {}
    for position in corners:
        x, y, z = (float(value) for value in expanded[position])
        key = tuple(np.round((x, y, z), 5) + 0.0)
        labels[names.get(key, f"({x:.3g}, {y:.3g}, {z:.3g})")] = (x, y, z)
    return BandStructureSymmLine(
        expanded,
        {spin: np.asarray(values)[:, order] for spin, values in bands.items()},
        _reciprocal(structure),
        efermi_ev,
        labels,
        structure=structure,
    )


def _reciprocal(structure: Structure) -> Lattice:
    return structure.lattice.reciprocal_lattice


def _corners(structure: Structure, kpoints: FloatArray) -> tuple[list[int], list[int]]:
    """Return the order of k-points with corners doubled, and the positions of corners in it."""
    steps = np.diff(structure.lattice.reciprocal_lattice.get_cartesian_coords(kpoints), axis=0)
    lengths = np.linalg.norm(steps, axis=1)
    n_steps = len(steps)
    jumps = set()
    for index in range(1, n_steps - 1):
        neighbours = max(lengths[index - 1], lengths[index + 1])
        if neighbours > 1e-8 and lengths[index] > 2.5 * neighbours:
            jumps.add(index)
    order: list[int] = []
    corners: list[int] = []
    for index in range(len(kpoints)):
        at_end = index in (0, len(kpoints) - 1)
        repeated = (index > 0 and lengths[index - 1] < 1e-8) or (index < n_steps and lengths[index] < 1e-8)
        beside_jump = index - 1 in jumps or index in jumps
        turns = False
        if not (at_end or repeated or beside_jump):
            before, after = steps[index - 1], steps[index]
            turns = bool(before @ after < (1 - 1e-6) * lengths[index - 1] * lengths[index])
        if at_end or repeated or beside_jump or turns:
            corners.append(len(order))
        order.append(index)
        if turns:
            corners.append(len(order))
            order.append(index)
    return order, corners
