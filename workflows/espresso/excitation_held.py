"""Whether an excited state is what was asked for: its orbitals set against those of the ground state."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from corecrown.workflows.espresso.excitation_orbitals import Orbitals, overlaps
from corecrown.workflows.espresso.excitation_states import ExcitedState, Occupations

__all__ = ["LEAST_KEPT", "Held", "check_state", "maximum_overlap_order"]

FloatArray = npt.NDArray[np.float64]

LEAST_KEPT = 0.5
"""The part of hole and electron that must be found in the orbitals they were put in."""

OCCUPATION_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Held:
    """What was found of hole and electron after a run.

    Parameters
    ----------
    occupations
        Whether the occupations the program wrote are those it was given.
    hole
        Electrons missing from the ground-state orbitals that were to be emptied; None where none was.
    electron
        Electrons in the ground-state orbitals that were to be filled; None where none was.
    """

    occupations: bool
    hole: float | None
    electron: float | None

    @property
    def kept(self) -> bool:
        """Whether the state is the one that was asked for."""
        found = [part for part in (self.hole, self.electron) if part is not None]
        return self.occupations and all(part >= LEAST_KEPT for part in found)

    @property
    def why_not(self) -> str:
        """What is wrong, in words; empty where nothing is."""
        said = [] if self.occupations else ["the occupations in the XML file are not those that were given"]
        for name, part in (("hole", self.hole), ("electron", self.electron)):
            if part is not None and part < LEAST_KEPT:
                said.append(f"only {part:.2f} of the {name} is in the orbitals it was put in")
        return "; ".join(said)


def check_state(
    state: ExcitedState,
    pairs: int,
    given: Occupations,
    written: FloatArray,
    ground: tuple[Orbitals, Orbitals],
    excited: tuple[Orbitals, Orbitals],
    ground_energies_ev: FloatArray,
    degeneracy_ev: float,
) -> Held:
    """Compare a run with what was asked for.

    The population of a ground-state orbital j in the excited state is Σ_i f_i |⟨j|i⟩|², whatever the order of the
    excited bands; the hole is what is missing from it in the orbitals that were emptied.

    Parameters
    ----------
    state
        What was asked for.
    pairs
        Electron pairs of the ground state.
    given
        Occupations this run was given; reordered ones where bands have changed places.
    written
        Occupations the program wrote, shape (2, n_bands).
    ground, excited
        Orbitals of either run, up and down.
    ground_energies_ev
        Eigenvalues of the ground state, shape (2, n_bands), eV.
    degeneracy_ev
        Orbitals closer than this to the one asked for count with it: the excited state mixes them at will.
    """
    occupations_hold = written.shape == given.channels.shape and bool(
        np.allclose(written, given.channels, atol=OCCUPATION_TOLERANCE)
    )
    hole_band, electron_band = state.bands(pairs)
    hole = electron = None
    if state.makes_hole:
        channel = state.hole_channel
        populations = _populations(ground[channel], excited[channel], written[channel])
        members = _near(ground_energies_ev[channel], hole_band, degeneracy_ev)
        hole = float(np.clip((1 - populations[members[members < pairs]]).sum(), 0, 1))
    if state.adds_electron:
        populations = _populations(ground[0], excited[0], written[0])
        members = _near(ground_energies_ev[0], electron_band, degeneracy_ev)
        electron = float(np.clip(populations[members[members >= pairs]].sum(), 0, 1))
    return Held(occupations_hold, hole, electron)


def _populations(ground: Orbitals, excited: Orbitals, occupations: FloatArray) -> FloatArray:
    squares = overlaps(ground, excited) ** 2
    return np.asarray(squares @ occupations)


def _near(energies_ev: FloatArray, band: int, tolerance_ev: float) -> npt.NDArray[np.intp]:
    return np.flatnonzero(np.abs(energies_ev - energies_ev[band]) <= tolerance_ev)


def maximum_overlap_order(
    wanted: Occupations, ground: tuple[Orbitals, Orbitals], excited: tuple[Orbitals, Orbitals]
) -> Occupations:
    """Return occupations that follow the orbitals, where bands have changed places.

    Of the new orbitals those are filled that lie most in the space of the ground-state orbitals that were to be filled
    (maximum overlap with the initial orbitals: Gilbert, Besley and Gill, J. Phys. Chem. A 112, 13164 (2008); Barca,
    Gilbert and Gill, J. Chem. Theory Comput. 14, 1501 (2018)).

    Parameters
    ----------
    wanted
        Occupations of the ground-state orbitals, in their order.
    ground, excited
        Orbitals of the ground state and of the last run, up and down.
    """
    channels = []
    for filled, mine, theirs in zip(wanted.channels, ground, excited, strict=True):
        inside = filled @ overlaps(mine, theirs) ** 2
        new = np.zeros(len(filled))
        new[np.argsort(-inside, kind="stable")] = np.sort(filled)[::-1]
        channels.append(new)
    return Occupations.of(channels)
