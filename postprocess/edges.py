"""Valence and conduction edges of a band structure, on the k-points that were computed and no others."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corecrown.errors import InputError
from corecrown.postprocess.results import BandEdges, EdgeSource

__all__ = [
    "METAL_NOTE",
    "NO_EMPTY_BANDS_NOTE",
    "find_edges",
    "is_metal",
    "mesh_holds",
    "same_kpoint",
    "tighter_edges",
]

METAL_NOTE = "metal: no gap on these k-points"
NO_EMPTY_BANDS_NOTE = "no empty bands were computed, so there is no conduction edge: raise the number of bands"

ENERGY_TOLERANCE_EV = 1e-4
"""States closer than this are taken as one extremum; eigenvalues are written to about 1e-4 eV."""

KPOINT_TOLERANCE = 1e-4
"""Fractional coordinates closer than this are the same k-point."""

Energies = NDArray[np.float64]


@dataclass(frozen=True)
class _Extremum:
    energy_ev: float
    kpoints: Energies  # (n, 3): every k-point that has it, within the tolerance
    band: int


def find_edges(
    band_structure: Any,
    source: EdgeSource,
    n_electrons: float | None = None,
    *,
    spin_orbit: bool = False,
) -> BandEdges:
    """Find the highest occupied and the lowest empty state.

    With ``n_electrons`` the bands are filled by counting, which needs no Fermi energy. Without it a band
    counts as occupied where it lies at or below the Fermi energy.

    Parameters
    ----------
    band_structure
        pymatgen ``BandStructure`` or ``BandStructureSymmLine``; energies in eV, one or two spin channels.
    source
        What its k-points are.
    n_electrons
        Electrons in the cell.
    spin_orbit
        Whether the bands are spinors, which hold one electron each; otherwise one spin channel holds two.

    Returns
    -------
    BandEdges
        k-points are fractional coordinates of the reciprocal cell of ``band_structure``. A metal has only
        nulls, a run without empty bands has a valence edge only; notes say so. ``direct`` compares k-points
        modulo a reciprocal lattice vector.

    Raises
    ------
    InputError
        If there are fewer bands than the electrons need.
    """
    channels = _channels(band_structure)
    kpoints = np.array([kpoint.frac_coords for kpoint in band_structure.kpoints], dtype=float)
    efermi = float(band_structure.efermi)
    if n_electrons is None:
        filling = _filling_below(channels, efermi)
    else:
        filling = _filling_by_count(
            channels, n_electrons, electrons_per_band=2 if len(channels) == 1 and not spin_orbit else 1
        )
    if filling is None:
        return _null_edges(source, METAL_NOTE)
    vbm = _extremum(channels, kpoints, [n - 1 for n in filling], highest=True)
    cbm = _extremum(channels, kpoints, list(filling), highest=False)
    if vbm is None:
        return _null_edges(source, "no occupied bands: the Fermi energy lies below every state")
    if cbm is None:
        return BandEdges(
            vbm_ev=vbm.energy_ev,
            cbm_ev=None,
            gap_ev=None,
            vbm_kpoint=_as_vector(vbm.kpoints[0]),
            vbm_band=vbm.band,
            source=source,
            notes=[NO_EMPTY_BANDS_NOTE],
        )
    gap = cbm.energy_ev - vbm.energy_ev
    if gap <= ENERGY_TOLERANCE_EV:
        return _null_edges(source, METAL_NOTE)
    vbm_kpoint, cbm_kpoint, direct = _matching_kpoints(vbm.kpoints, cbm.kpoints)
    return BandEdges(
        vbm_ev=vbm.energy_ev,
        cbm_ev=cbm.energy_ev,
        gap_ev=gap,
        direct=direct,
        vbm_kpoint=_as_vector(vbm_kpoint),
        cbm_kpoint=_as_vector(cbm_kpoint),
        source=source,
        vbm_band=vbm.band,
        notes=_fermi_notes(efermi, vbm.energy_ev, cbm.energy_ev) if n_electrons is not None else [],
    )


def tighter_edges(a: BandEdges | None, b: BandEdges | None) -> BandEdges | None:
    """Return the edges with the smaller gap: a finite set of k-points can only make it too large.

    A metal on either set of k-points is a metal. Edges without a gap give way to edges with one; of equal
    gaps those along the path win.
    """
    known = [edges for edges in (a, b) if edges is not None]
    if not known:
        return None
    metals = [edges for edges in known if is_metal(edges)]
    if metals:
        return metals[0]
    gapped = [edges for edges in known if edges.gap_ev is not None]
    if not gapped:
        return known[0]
    return min(gapped, key=lambda edges: (round(edges.gap_ev or 0.0, 6), edges.source != "bands"))


def is_metal(edges: BandEdges) -> bool:
    """Tell whether the edges are null because there is no gap, and not for want of bands."""
    return edges.gap_ev is None and METAL_NOTE in edges.notes


def same_kpoint(first: Any, second: Any) -> bool:
    """Tell whether two fractional k-points (3,) differ by a reciprocal lattice vector only."""
    difference = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    return bool(np.all(np.abs(difference - np.round(difference)) < KPOINT_TOLERANCE))


def mesh_holds(mesh: Any, shift: Any, kpoint: Any) -> bool:
    """Tell whether a uniform mesh has a k-point among its own, modulo reciprocal lattice vectors.

    Parameters
    ----------
    mesh
        (3,), divisions.
    shift
        (3,), 1 where the mesh is shifted by half a step, 0 elsewhere.
    kpoint
        (3,), fractional.
    """
    steps = np.asarray(kpoint, dtype=float) * np.asarray(mesh) - np.asarray(shift) / 2
    return bool(np.all(np.abs(steps - np.round(steps)) < KPOINT_TOLERANCE * np.max(mesh)))


def _channels(band_structure: Any) -> list[Energies]:
    """Return energies (n_bands, n_k) of each spin channel, bands sorted by energy at every k-point."""
    spins = sorted(band_structure.bands, key=int, reverse=True)
    channels = [np.sort(np.asarray(band_structure.bands[spin], dtype=float), axis=0) for spin in spins]
    if not channels or any(channel.size == 0 for channel in channels):
        raise InputError(
            "band structure: holds no bands or no k-points", "check that the calculation wrote eigenvalues"
        )
    if not all(np.isfinite(channel).all() for channel in channels):
        raise InputError("band structure: some energies are not numbers", "check the output file for a broken line")
    return channels


def _filling_below(channels: list[Energies], efermi: float) -> list[int] | None:
    """Count the bands up to the Fermi energy; None where the count differs between k-points (a metal)."""
    filling = []
    for energies in channels:
        counts = np.count_nonzero(energies <= efermi + ENERGY_TOLERANCE_EV, axis=0)
        if counts.min() != counts.max():
            return None
        filling.append(int(counts[0]))
    return filling


def _filling_by_count(channels: list[Energies], n_electrons: float, electrons_per_band: int) -> list[int] | None:
    """Fill bands with electrons; None where they cannot be filled as an insulator."""
    if not np.isfinite(n_electrons) or n_electrons <= 0:
        raise InputError(f"n_electrons: {n_electrons} is not a number of electrons", "give the electrons of the cell")
    n_filled = n_electrons / electrons_per_band
    n_total = sum(len(energies) for energies in channels)
    if n_filled > n_total + 1e-6:
        raise InputError(
            f"band structure: {n_total} bands cannot hold {n_electrons:g} electrons",
            "bands of a run with spin-orbit coupling hold one electron each, others two",
        )
    if abs(n_filled - round(n_filled)) > 1e-3:
        return None
    total = round(n_filled)
    if len(channels) == 1:
        return [total]
    return _split_between_spins(channels[0], channels[1], total)


def _split_between_spins(up: Energies, down: Energies, total: int) -> list[int] | None:
    """Share electrons between two channels; at most one share leaves a gap."""
    tops = [np.concatenate(([-np.inf], channel.max(axis=1))) for channel in (up, down)]
    bottoms = [np.concatenate((channel.min(axis=1), [np.inf])) for channel in (up, down)]
    for n_up in range(max(0, total - len(down)), min(len(up), total) + 1):
        n_down = total - n_up
        valence = max(tops[0][n_up], tops[1][n_down])
        conduction = min(bottoms[0][n_up], bottoms[1][n_down])
        if conduction > valence + ENERGY_TOLERANCE_EV:
            return [n_up, n_down]
    return None


def _extremum(channels: list[Energies], kpoints: Energies, bands: list[int], *, highest: bool) -> _Extremum | None:
    """Return the highest (lowest) state of one band of each channel, or None where no channel has it."""
    sign = 1.0 if highest else -1.0
    candidates = [
        (sign * energies[band], band)
        for energies, band in zip(channels, bands, strict=True)
        if 0 <= band < len(energies)
    ]
    if not candidates:
        return None
    best, band = max(candidates, key=lambda candidate: float(candidate[0].max()))
    top = float(best.max())
    reached = np.any([values >= top - ENERGY_TOLERANCE_EV for values, _ in candidates], axis=0)
    # the true extremum first, then those that equal it within the tolerance
    order = np.argsort(-best[reached], kind="stable")
    return _Extremum(energy_ev=sign * top, kpoints=kpoints[reached][order], band=band)


def _matching_kpoints(vbm: Energies, cbm: Energies) -> tuple[Energies, Energies, bool]:
    for valence in vbm:
        for conduction in cbm:
            if same_kpoint(valence, conduction):
                return valence, conduction, True
    return vbm[0], cbm[0], False


def _fermi_notes(efermi: float, vbm_ev: float, cbm_ev: float) -> list[str]:
    """Say so where the Fermi energy lies well outside the gap that counting electrons gave."""
    slack = max(0.5, cbm_ev - vbm_ev)
    if vbm_ev - slack <= efermi <= cbm_ev + slack:
        return []
    counted = f"({vbm_ev:.3f} to {cbm_ev:.3f} eV)"
    note = f"the Fermi energy {efermi:.3f} eV lies far from the gap {counted} that counting electrons gives"
    return [f"{note}: check the number of electrons and whether the bands are spinors"]


def _null_edges(source: EdgeSource, note: str) -> BandEdges:
    return BandEdges(vbm_ev=None, cbm_ev=None, gap_ev=None, source=source, notes=[note])


def _as_vector(kpoint: Energies) -> tuple[float, float, float]:
    x, y, z = (float(value) + 0.0 for value in kpoint)
    return x, y, z
