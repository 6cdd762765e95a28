"""Projected density of states: from projections of single states to what the band edges are made of."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pymatgen.core import Structure
from pymatgen.electronic_structure.core import Orbital, Spin
from pymatgen.electronic_structure.dos import CompleteDos, Dos
from scipy.special import erf

from corecrown.errors import InputError
from corecrown.postprocess.results import EdgeCharacter

__all__ = ["AtomicState", "complete_dos", "dos_by_element_orbital", "edge_character", "state_character"]

Array = NDArray[np.float64]

L_LETTERS = "spdf"

DEGENERACY_EV = 0.005
"""States closer than this at one k-point are one degenerate set, whose members the program mixes at will."""

TAIL_SIGMAS = 6.0
"""How far beyond the lowest and highest state the energy axis of a density of states reaches."""

DOS_DECIMALS = 6
"""Densities are rounded to this many decimals, so that files stay small."""

_ORBITALS = {
    0: (Orbital.s,),
    1: (Orbital.pz, Orbital.px, Orbital.py),
    2: (Orbital.dz2, Orbital.dxz, Orbital.dyz, Orbital.dx2_y2, Orbital.dxy),
    3: (Orbital.f0, Orbital.f1, Orbital.f_1, Orbital.f2, Orbital.f_2, Orbital.f3, Orbital.f_3),
}
"""Orbitals by l in the order of m that Quantum ESPRESSO's projwfc.x counts from 1."""


@dataclass(frozen=True)
class AtomicState:
    """One atomic orbital that states are projected on.

    Parameters
    ----------
    atom_index
        0-based index of the atom in the structure.
    element
        Its symbol.
    l
        Angular momentum, 0 to 3.
    m
        1 to 2l+1, in the order of projwfc.x (p: z, x, y; d: z², zx, zy, x²-y², xy); of spinor states, which
        have no such m, a running number.
    j
        Total angular momentum of a spinor state; None without spin-orbit coupling.
    """

    atom_index: int
    element: str
    l: int  # noqa: E741
    m: int
    j: float | None = None

    @property
    def label(self) -> str:
        """Element and letter of the angular momentum, as in ``Br-p``."""
        return f"{self.element}-{L_LETTERS[self.l]}"


def state_character(
    weights: ArrayLike,
    energies_ev: ArrayLike,
    states: Sequence[AtomicState],
    band: int,
    *,
    tolerance_ev: float = DEGENERACY_EV,
) -> dict[str, float]:
    """Sum the projections of one state by element and angular momentum.

    Parameters
    ----------
    weights
        (n_bands, n_states), squared projections at one k-point of one spin channel.
    energies_ev
        (n_bands,), eV.
    states
        What the last axis of ``weights`` counts.
    band
        0-based index of the state.
    tolerance_ev
        States closer than this are averaged: within a degenerate set the program's choice is arbitrary.

    Returns
    -------
    dict
        Such as ``{"Br-p": 0.6, "Pb-s": 0.3}``, largest first; sums to 1 less spilling.
    """
    weights = np.asarray(weights, dtype=float)
    energies = np.asarray(energies_ev, dtype=float)
    _check_shape("weights", weights, (len(energies), len(states)))
    if not 0 <= band < len(energies):
        raise InputError(f"band: {band} is not one of 0 to {len(energies) - 1}", "bands are counted from 0")
    mean = weights[np.abs(energies - energies[band]) <= tolerance_ev].mean(axis=0)
    character: dict[str, float] = {}
    for state, weight in zip(states, mean, strict=True):
        character[state.label] = character.get(state.label, 0.0) + float(weight)
    return dict(sorted(character.items(), key=lambda item: -item[1]))


def edge_character(
    projections: ArrayLike,
    energies_ev: ArrayLike,
    states: Sequence[AtomicState],
    n_occupied: int | tuple[int, int],
    *,
    vbm_kpoint: int | None = None,
    cbm_kpoint: int | None = None,
    tolerance_ev: float = DEGENERACY_EV,
) -> EdgeCharacter:
    """Tell what the edge states are made of, at their own k-points.

    Parameters
    ----------
    projections
        (n_spin, n_k, n_bands, n_states) or (n_k, n_bands, n_states), squared projections.
    energies_ev
        (n_spin, n_k, n_bands) or (n_k, n_bands), eV, bands in rising order.
    states
        What the last axis of ``projections`` counts.
    n_occupied
        Occupied bands, one number for each spin channel where there are two.
    vbm_kpoint, cbm_kpoint
        Index of the k-point of either edge; by default where the edge lies on these k-points.
    tolerance_ev
        States closer than this at the k-point are averaged.

    Returns
    -------
    EdgeCharacter
        An edge whose band was not computed is null, with a note.
    """
    energies, weights = _with_spin_axis(energies_ev, projections, len(states))
    filling = (n_occupied,) * len(energies) if isinstance(n_occupied, int) else tuple(n_occupied)
    if len(filling) != len(energies):
        raise InputError(
            f"n_occupied: {len(filling)} numbers for {len(energies)} spin channels",
            "give one for each channel",
        )
    found: dict[str, dict[str, float] | None] = {}
    notes = []
    for edge, sign, kpoint, bands in (
        ("vbm", 1.0, vbm_kpoint, [n - 1 for n in filling]),
        ("cbm", -1.0, cbm_kpoint, list(filling)),
    ):
        place = _edge_state(energies, bands, sign, kpoint)
        if place is None:
            found[edge] = None
            notes.append(f"{edge}: its band was not computed")
            continue
        spin, k, band = place
        found[edge] = state_character(weights[spin, k], energies[spin, k], states, band, tolerance_ev=tolerance_ev)
    return EdgeCharacter(vbm=found["vbm"], cbm=found["cbm"], notes=notes)


def complete_dos(
    structure: Structure,
    energies_ev: ArrayLike,
    kpoint_weights: ArrayLike,
    projections: ArrayLike,
    states: Sequence[AtomicState],
    *,
    efermi_ev: float,
    sigma_ev: float = 0.05,
    step_ev: float = 0.02,
    spin_orbit: bool = False,
) -> CompleteDos:
    r"""Broaden states into a density of states, whole and projected.

    Each state is a normalised Gaussian, :math:`\exp(-(E-\varepsilon)^2/2\sigma^2)/\sqrt{2\pi}\sigma`,
    averaged over each step of the energy axis, so that the sum over the axis times the step is the number of
    electrons the bands hold whatever the step.

    Parameters
    ----------
    structure
        The cell the states belong to.
    energies_ev
        (n_spin, n_k, n_bands) or (n_k, n_bands), eV.
    kpoint_weights
        (n_k,), of any norm.
    projections
        (n_spin, n_k, n_bands, n_states) or (n_k, n_bands, n_states), squared projections.
    states
        What the last axis of ``projections`` counts. Where ``j`` is set, the weight of a state is shared
        evenly among the orbitals of its l, since only l has a meaning there.
    efermi_ev
        Fermi energy, eV; kept in the result, the axis is not shifted.
    sigma_ev
        Standard deviation of the Gaussian, eV.
    step_ev
        Step of the energy axis, eV.
    spin_orbit
        Whether the states are spinors, which hold one electron each; otherwise those of one spin channel hold
        two.

    Returns
    -------
    CompleteDos
        Densities in electrons/eV a cell.
    """
    if not (sigma_ev > 0 and step_ev > 0):
        raise InputError(f"sigma_ev {sigma_ev} and step_ev {step_ev}: both must be positive", "0.05 and 0.02 are usual")
    energies, weights = _with_spin_axis(energies_ev, projections, len(states))
    of_kpoint = np.asarray(kpoint_weights, dtype=float)
    _check_shape("kpoint_weights", of_kpoint, (energies.shape[1],))
    _check_states(states, structure)
    if not np.isfinite(energies).all() or not np.isfinite(weights).all():
        raise InputError("energies_ev or projections: some are not numbers", "check the output files for a broken line")
    if of_kpoint.sum() <= 0:
        raise InputError("kpoint_weights: they sum to nothing", "check the k-points of the run")
    of_kpoint = of_kpoint * (2 if len(energies) == 1 and not spin_orbit else 1) / of_kpoint.sum()

    axis = _energy_axis(energies, sigma_ev, step_ev)
    total: dict[Spin, Array] = {}
    projected: dict[Spin, Array] = {}
    for spin, energies_of_spin, weights_of_spin in zip((Spin.up, Spin.down), energies, weights, strict=False):
        total[spin] = np.zeros(len(axis))
        projected[spin] = np.zeros((len(axis), len(states)))
        for energies_of_k, weights_of_k, share in zip(energies_of_spin, weights_of_spin, of_kpoint, strict=True):
            lines = share * _gaussians(axis, energies_of_k, sigma_ev, step_ev)
            total[spin] += lines.sum(axis=1)
            projected[spin] += lines @ weights_of_k

    by_site: dict[int, dict[Orbital, dict[Spin, Array]]] = {index: {} for index in range(len(structure))}
    for column, state in enumerate(states):
        orbitals = _orbitals_of(state)
        for orbital in orbitals:
            site = by_site[state.atom_index].setdefault(orbital, {spin: np.zeros(len(axis)) for spin in total})
            for spin in total:
                site[spin] += projected[spin][:, column] / len(orbitals)
    rounded = {
        structure[index]: {
            orbital: {spin: np.round(values, DOS_DECIMALS) for spin, values in spins.items()}
            for orbital, spins in of_site.items()
        }
        for index, of_site in by_site.items()
    }
    whole = Dos(efermi_ev, axis, {spin: np.round(values, DOS_DECIMALS) for spin, values in total.items()})
    return CompleteDos(structure, whole, rounded)


def dos_by_element_orbital(dos: CompleteDos) -> dict[str, Array]:
    """Sum a projected density of states by element and angular momentum, over sites and spins.

    Returns
    -------
    dict
        Such as ``{"Br-p": ...}``, each (n_energies,) in electrons/eV a cell.
    """
    summed: dict[str, Array] = {}
    for site, orbitals in dos.pdos.items():
        for orbital, spins in orbitals.items():
            label = f"{site.specie.symbol}-{str(orbital)[0]}"
            whole = summed.setdefault(label, np.zeros(len(dos.energies)))
            for densities in spins.values():
                whole += np.asarray(densities, dtype=float)
    return summed


def _with_spin_axis(energies_ev: ArrayLike, projections: ArrayLike, n_states: int) -> tuple[Array, Array]:
    energies = np.asarray(energies_ev, dtype=float)
    weights = np.asarray(projections, dtype=float)
    if energies.ndim == 2:
        energies = energies[None]
    if weights.ndim == 3:
        weights = weights[None]
    if energies.ndim != 3 or len(energies) not in (1, 2) or energies.size == 0:
        raise InputError(
            f"energies_ev: shape {energies.shape} is not (n_spin, n_k, n_bands)",
            "one or two spin channels are known",
        )
    _check_shape("projections", weights, (*energies.shape, n_states))
    return energies, weights


def _check_shape(name: str, array: Array, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise InputError(f"{name}: shape {array.shape}, expected {shape}", "energies, projections and states differ")


def _check_states(states: Sequence[AtomicState], structure: Structure) -> None:
    for state in states:
        if not 0 <= state.atom_index < len(structure):
            raise InputError(
                f"states: atom {state.atom_index} is not in a cell of {len(structure)} atoms",
                "atoms count from 0",
            )
        element = structure[state.atom_index].specie.symbol
        if element != state.element:
            raise InputError(
                f"states: atom {state.atom_index} is {element} in the cell, {state.element} here",
                "the order of atoms must be that of the calculation",
            )


def _orbitals_of(state: AtomicState) -> tuple[Orbital, ...]:
    if state.l not in _ORBITALS:
        raise InputError(f"states: angular momentum {state.l} is not one of 0 to 3", "s, p, d and f are known")
    orbitals = _ORBITALS[state.l]
    if state.j is not None:
        return orbitals
    if not 1 <= state.m <= len(orbitals):
        raise InputError(f"states: m {state.m} is not one of 1 to {len(orbitals)}", "m counts from 1")
    return (orbitals[state.m - 1],)


def _edge_state(energies: Array, bands: Sequence[int], sign: float, kpoint: int | None) -> tuple[int, int, int] | None:
    """Return (spin, k-point, band) of the highest (sign 1) or lowest (sign -1) of the given bands."""
    places = [
        (spin, int(np.argmax(sign * channel[:, band])) if kpoint is None else kpoint, band)
        for spin, (channel, band) in enumerate(zip(energies, bands, strict=True))
        if 0 <= band < channel.shape[1]
    ]
    return max(places, key=lambda place: float(sign * energies[place])) if places else None


def _energy_axis(energies: Array, sigma_ev: float, step_ev: float) -> Array:
    low = np.floor((energies.min() - TAIL_SIGMAS * sigma_ev) / step_ev) - 1
    high = np.ceil((energies.max() + TAIL_SIGMAS * sigma_ev) / step_ev) + 1
    axis: Array = np.arange(low, high + 1) * step_ev
    return axis


def _gaussians(axis: Array, centres: Array, sigma_ev: float, step_ev: float) -> Array:
    """Return normalised Gaussians (n_axis, n_centres), averaged over each step of the axis, in 1/eV."""
    edges = np.append(axis - step_ev / 2, axis[-1] + step_ev / 2)
    below = 0.5 * erf((edges[:, None] - centres[None, :]) / (np.sqrt(2) * sigma_ev))
    averaged: Array = np.diff(below, axis=0) / step_ev
    return averaged
