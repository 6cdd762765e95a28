"""Excited states by name, as occupations of bands: pure bookkeeping that is checked before anything runs."""

import re
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from corecrown.errors import InputError

__all__ = [
    "ExcitedState",
    "Kind",
    "Occupations",
    "check_occupations",
    "occupations_card",
    "parse_state",
    "same_level",
    "share_levels",
]

FloatArray = npt.NDArray[np.float64]

_NAME = re.compile(
    r"(?P<kind>[a-z]+)"
    r"(?::(?:vbm(?:-(?P<hole>\d+))?)?(?P<arrow>>)?(?:cbm(?:\+(?P<electron>\d+))?)?)?"
)

NUMBERS_A_LINE = 20

SAME_LEVEL_EV = 0.005
"""Orbitals closer than this are one degenerate level: the program's choice within it is arbitrary."""


class Kind(StrEnum):
    """Excitations that can be asked for.

    ``neutral`` promotes an electron and keeps its spin, which is a mixture of singlet and triplet in equal parts;
    ``triplet`` promotes it into the other spin channel; ``singlet`` is the energy E_S = 2 E_mixed - E_T, purified of
    the triplet (Ziegler, Rauk and Baerends, Theor. Chim. Acta 43, 261 (1977)), and takes both runs; ``electron`` and
    ``hole`` add or remove one charge.
    """

    NEUTRAL = "neutral"
    TRIPLET = "triplet"
    SINGLET = "singlet"
    ELECTRON = "electron"
    HOLE = "hole"


@dataclass(frozen=True)
class Occupations:
    """Occupations of the two spin channels, each of shape (n_bands,), 0 to 1."""

    up: FloatArray
    down: FloatArray

    @property
    def channels(self) -> FloatArray:
        """Both, of shape (2, n_bands)."""
        return np.array([self.up, self.down])

    @property
    def electrons(self) -> float:
        """Electrons that the bands hold."""
        return float(self.channels.sum())

    @classmethod
    def of(cls, channels: npt.ArrayLike) -> "Occupations":
        """Return them from an array of shape (2, n_bands)."""
        up, down = np.asarray(channels, dtype=float)
        return cls(up, down)


@dataclass(frozen=True)
class ExcitedState:
    """One excited state.

    Parameters
    ----------
    kind
        What is done.
    hole
        How many bands below the valence edge the electron is taken from; 0 for the edge.
    electron
        How many bands above the conduction edge the electron is put; 0 for the edge.
    """

    kind: Kind
    hole: int = 0
    electron: int = 0

    @property
    def makes_hole(self) -> bool:
        """Whether an occupied band is emptied."""
        return self.kind is not Kind.ELECTRON

    @property
    def adds_electron(self) -> bool:
        """Whether an empty band is filled."""
        return self.kind is not Kind.HOLE

    @property
    def orbitals(self) -> str:
        """The bands in words, as ``vbm-1>cbm``."""
        hole = "vbm" + (f"-{self.hole}" if self.hole else "") if self.makes_hole else ""
        electron = "cbm" + (f"+{self.electron}" if self.electron else "") if self.adds_electron else ""
        return f"{hole}>{electron}" if hole and electron else hole or electron

    @property
    def name(self) -> str:
        """Name as in a study file: the kind alone for the band edges."""
        return f"{self.kind.value}:{self.orbitals}" if self.hole or self.electron else self.kind.value

    @property
    def folder(self) -> str:
        """Name as a folder."""
        return self.name.replace(":", "-").replace(">", "-")

    @property
    def charge(self) -> int:
        """Charge of the cell, in units of the elementary charge."""
        return {Kind.ELECTRON: -1, Kind.HOLE: 1}.get(self.kind, 0)

    @property
    def hole_channel(self) -> int:
        """Spin channel the electron is taken from: 0 up, 1 down."""
        return 1 if self.kind is Kind.TRIPLET else 0

    @property
    def runs(self) -> tuple["ExcitedState", ...]:
        """The states that are computed for this one: itself, or mixed state and triplet for the singlet."""
        if self.kind is not Kind.SINGLET:
            return (self,)
        return tuple(ExcitedState(kind, self.hole, self.electron) for kind in (Kind.NEUTRAL, Kind.TRIPLET))

    def bands(self, pairs: int) -> tuple[int, int]:
        """Return the 0-based bands of hole and electron for a number of electron pairs."""
        return pairs - 1 - self.hole, pairs + self.electron

    def occupations(self, pairs: int, n_bands: int) -> Occupations:
        """Return the occupations of this state.

        Parameters
        ----------
        pairs
            Electron pairs of the ground state.
        n_bands
            Bands of each channel.

        Raises
        ------
        InputError
            If a band is not there.
        """
        hole, electron = self.bands(pairs)
        if self.makes_hole and hole < 0:
            raise InputError(
                f"excitation {self.name}: no band lies {self.hole} below the valence edge; {pairs} are occupied",
                f"{'vbm' if pairs == 1 else f'vbm-{pairs - 1}'} is the lowest",
            )
        if self.adds_electron and electron >= n_bands:
            raise InputError(
                f"excitation {self.name}: the electron needs band {electron + 1}, but {n_bands} are computed",
                f"raise overrides.excitation.conduction_bands to at least {self.electron + 1}",
            )
        if self.kind is Kind.SINGLET:
            raise InputError(f"excitation {self.name}: no single set of occupations", "compute its states")
        channels = ground_occupations(pairs, n_bands).channels
        if self.makes_hole:
            channels[self.hole_channel, hole] = 0
        if self.adds_electron:
            channels[0, electron] = 1
        return Occupations.of(channels)


def share_levels(state: ExcitedState, pairs: int, occupations: Occupations, energies_ev: FloatArray) -> Occupations:
    """Return occupations with hole and electron shared evenly within a degenerate level.

    One of two equal orbitals, filled alone, is pushed above the other by its own field, the bands change places, and
    the scf goes in circles; shared, the level keeps its symmetry.

    Parameters
    ----------
    state
        Whose occupations they are.
    pairs
        Electron pairs of the ground state.
    occupations
        Of that state.
    energies_ev
        Eigenvalues of the ground state, shape (2, n_bands), eV.
    """
    channels = occupations.channels
    hole, electron = state.bands(pairs)
    if state.makes_hole:
        level = same_level(energies_ev[state.hole_channel], hole, pairs)
        channels[state.hole_channel, level] = 1 - 1 / len(level)
    if state.adds_electron:
        level = same_level(energies_ev[0], electron, pairs)
        channels[0, level] = 1 / len(level)
    return Occupations.of(channels)


def same_level(energies_ev: FloatArray, band: int, pairs: int) -> list[int]:
    """Return the bands of one level, on the same side of the gap as the one that is asked for."""
    near = np.flatnonzero(np.abs(energies_ev - energies_ev[band]) <= SAME_LEVEL_EV)
    return [int(other) for other in near if (other < pairs) == (band < pairs)]


def ground_occupations(pairs: int, n_bands: int) -> Occupations:
    """Return occupations of the ground state of closed shells."""
    filled = np.zeros(n_bands)
    filled[:pairs] = 1
    return Occupations(filled, filled.copy())


def parse_state(name: str) -> ExcitedState:
    """Return the state that a name means.

    Parameters
    ----------
    name
        A kind (``neutral``, ``triplet``, ``singlet``, ``electron``, ``hole``), alone or with bands counted from the
        edges: ``neutral:vbm-1>cbm+2``, ``electron:cbm+1``, ``hole:vbm-3``.

    Raises
    ------
    InputError
        If it means none.
    """
    found = _NAME.fullmatch(name)
    kinds = [kind.value for kind in Kind]
    if found is None or found["kind"] not in kinds:
        raise InputError(
            f"excitation {name!r} is not known", f"one of {', '.join(kinds)}, or with bands: neutral:vbm-1>cbm+2"
        )
    state = ExcitedState(Kind(found["kind"]), int(found["hole"] or 0), int(found["electron"] or 0))
    if ":" in name and name.partition(":")[2] not in _spellings(state):
        raise InputError(
            f"excitation {name!r}: {state.kind.value} does not take these bands", f"as in {_example(state.kind)}"
        )
    return state


def _spellings(state: ExcitedState) -> set[str]:
    """Return how the bands of a state may be written: ``vbm-0`` for ``vbm``, ``cbm+0`` for ``cbm``."""
    holes = {f"vbm-{state.hole}", "vbm" if state.hole == 0 else f"vbm-{state.hole}"} if state.makes_hole else {""}
    electrons = (
        {f"cbm+{state.electron}", "cbm" if state.electron == 0 else f"cbm+{state.electron}"}
        if state.adds_electron
        else {""}
    )
    arrow = ">" if state.makes_hole and state.adds_electron else ""
    return {f"{hole}{arrow}{electron}" for hole in holes for electron in electrons}


def _example(kind: Kind) -> str:
    return {Kind.ELECTRON: "electron:cbm+1", Kind.HOLE: "hole:vbm-1"}.get(kind, f"{kind.value}:vbm-1>cbm")


def check_occupations(occupations: Occupations, n_electrons: float, n_bands: int) -> None:
    """Raise where pw.x could not, or should not, run with these occupations.

    Parameters
    ----------
    occupations
        To be given to pw.x.
    n_electrons
        Electrons of the cell, its charge counted.
    n_bands
        Bands of each channel.

    Raises
    ------
    InputError
        If they are not one number of 0 to 1 a band and channel, or do not sum to the electrons.
    """
    channels = occupations.channels
    if channels.shape != (2, n_bands):
        raise InputError(
            f"occupations: {channels.shape[1]} bands a channel, but {n_bands} are computed", "give one number a band"
        )
    if not np.isfinite(channels).all() or channels.min() < 0 or channels.max() > 1:
        raise InputError("occupations: each is a number of 0 to 1", "a filled band of one spin channel is 1")
    if abs(occupations.electrons - n_electrons) > 1e-6:
        raise InputError(
            f"occupations: they sum to {occupations.electrons:g}, the cell has {n_electrons:g} electrons",
            "move electrons between bands, or say the charge",
        )


def occupations_card(occupations: Occupations) -> str:
    """Return the card ``OCCUPATIONS`` of pw.x: the up channel, then the down channel."""
    lines = ["OCCUPATIONS"]
    for channel in occupations.channels:
        words = [f"{value:.12g}" for value in channel]
        lines += [" ".join(words[i : i + NUMBERS_A_LINE]) for i in range(0, len(words), NUMBERS_A_LINE)]
    return "\n".join(lines) + "\n"
