"""Excited states run from the ground state, checked against it, and tried again where they slide back."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from corecrown.errors import RunError
from corecrown.workflows.espresso.base import PW_OUTPUT, XML
from corecrown.workflows.espresso.excitation_held import Held, check_state, maximum_overlap_order
from corecrown.workflows.espresso.excitation_inputs import electron_pairs, state_input, with_occupations
from corecrown.workflows.espresso.excitation_orbitals import Orbitals, read_spin_orbitals
from corecrown.workflows.espresso.excitation_states import ExcitedState, Occupations, share_levels
from corecrown.workflows.espresso.inputs import PwInput
from corecrown.workflows.espresso.outputs import PwRun, read_run
from corecrown.workflows.espresso.run import RunInterruptedError, copy_density, run_pw
from corecrown.workflows.protocols import ExcitationSettings

__all__ = ["GroundRun", "Relaxed", "StateRun", "read_converged", "read_ground", "relax_state", "run_state"]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class GroundRun:
    """A ground state: its input, what it gave, and its orbitals, up and down."""

    folder: Path
    inputs: PwInput
    run: PwRun
    orbitals: tuple[Orbitals, Orbitals]

    @property
    def pairs(self) -> int:
        """Electron pairs."""
        return electron_pairs(self.inputs)

    @property
    def energies_ev(self) -> FloatArray:
        """Eigenvalues at Γ, shape (2, n_bands), eV."""
        return self.run.eigenvalues_ev[:, 0, :]

    @property
    def gap_ev(self) -> float:
        """Kohn-Sham gap at Γ, eV: lowest empty less highest filled level of either channel."""
        return float(self.energies_ev[:, self.pairs].min() - self.energies_ev[:, self.pairs - 1].max())


@dataclass(frozen=True)
class StateRun:
    """An excited state after its last try.

    Parameters
    ----------
    state
        What was asked for.
    folder
        Folder of the last try.
    run
        What that gave; None where it did not even converge.
    given
        Occupations it ran with.
    held
        Whether it is the state; None where there is nothing to judge.
    tries
        How many runs it took.
    wall_s
        Of all of them.
    told
        What went wrong on the way.
    """

    state: ExcitedState
    folder: Path
    run: PwRun | None
    given: Occupations
    held: Held | None
    tries: int
    wall_s: float
    told: tuple[str, ...]

    @property
    def kept(self) -> bool:
        """Whether the state is the one that was asked for."""
        return self.run is not None and self.held is not None and self.held.kept


@dataclass(frozen=True)
class Relaxed:
    """An excited state at its own geometry.

    Parameters
    ----------
    excited_ev
        Its total energy, eV.
    ground
        The ground state there.
    ground_ev
        Its total energy, eV.
    ionic_steps
        How many it took.
    kept
        Whether the state still is the one that was asked for.
    why_not
        What is wrong; empty where nothing is.
    wall_s
        Of both runs.
    """

    excited_ev: float
    ground: GroundRun
    ground_ev: float
    ionic_steps: int
    kept: bool
    why_not: str
    wall_s: float


def read_converged(folder: Path, what: str) -> PwRun:
    """Read a run.

    Raises
    ------
    RunError
        If it did not converge.
    """
    run = read_run(folder / XML)
    if not run.scf_converged:
        raise RunError(f"the scf of {what} did not converge", f"see {folder / PW_OUTPUT}")
    return run


def read_ground(folder: Path, inputs: PwInput) -> GroundRun:
    """Read a ground state that has run.

    Raises
    ------
    RunError
        If it did not converge, or left no orbitals.
    """
    run = read_converged(folder, "the ground state")
    return GroundRun(folder, inputs, run, read_spin_orbitals((folder / XML).parent))


def run_state(attempt: Path, ground: GroundRun, state: ExcitedState, settings: ExcitationSettings) -> StateRun:
    """Run an excited state until it holds, or the tries are used up.

    Each try starts from the density and orbitals of the ground state. One that slid away is followed by one with the
    occupations reordered by maximum overlap, from where it ended, if that changes them, and else by one that mixes half
    as much.
    """
    wanted = state.occupations(ground.pairs, ground.orbitals[0].n_bands)
    wanted = share_levels(state, ground.pairs, wanted, ground.energies_ev)
    given, start, beta, wall_s = wanted, ground.folder, settings.mixing_beta, 0.0
    told: list[str] = []
    folder, run, held = attempt, None, None
    for number in range(1, settings.max_tries + 1):
        folder = attempt / (state.folder if number == 1 else f"{state.folder}-try{number}")
        folder.mkdir()
        copy_density(start, folder, wavefunctions=True)
        pw = with_occupations(state_input(ground.inputs, state), given).with_keywords("electrons", mixing_beta=beta)
        try:
            wall_s += run_pw(folder, pw)
            run = read_converged(folder, state.name)
        except RunInterruptedError:
            raise
        except RunError as error:
            run, held = None, None
            told.append(f"try {number}: {error.message}")
            given, start, beta = wanted, ground.folder, beta / 2
            continue
        orbitals = read_spin_orbitals((folder / XML).parent)
        held = _check(state, ground, run, given, orbitals, settings.degeneracy_ev)
        if held.kept:
            return StateRun(state, folder, run, given, held, number, wall_s, tuple(told))
        told.append(f"try {number}: {held.why_not}")
        order = maximum_overlap_order(wanted, ground.orbitals, orbitals)
        if np.array_equal(order.channels, given.channels):
            given, start, beta = wanted, ground.folder, beta / 2
        else:
            given, start = order, folder
    return StateRun(state, folder, run, given, held, settings.max_tries, wall_s, tuple(told))


def _check(
    state: ExcitedState,
    ground: GroundRun,
    run: PwRun,
    given: Occupations,
    orbitals: tuple[Orbitals, Orbitals],
    degeneracy_ev: float,
) -> Held:
    written = run.occupations[:, 0, :]
    return check_state(
        state, ground.pairs, given, written, ground.orbitals, orbitals, ground.energies_ev, degeneracy_ev
    )


def relax_state(attempt: Path, ground: GroundRun, excited: StateRun, settings: ExcitationSettings) -> Relaxed:
    """Relax the atoms in an excited state, at fixed lattice, and compute the ground state where they come to rest.

    Raises
    ------
    RunError
        If the atoms do not come to rest, or a run does not converge.
    """
    state = excited.state
    folder, below = attempt / f"{state.folder}-relaxed", attempt / f"{state.folder}-relaxed-ground"
    folder.mkdir()
    copy_density(excited.folder, folder, wavefunctions=True)
    pw = with_occupations(state_input(ground.inputs, state), excited.given)
    pw = pw.with_keywords(
        "control",
        calculation="relax",
        tprnfor=True,
        nstep=settings.max_ionic_steps,
        forc_conv_thr=settings.force_threshold_ry_bohr,
        etot_conv_thr=1e-4,
    )
    wall_s = run_pw(folder, pw.with_keywords("ions", ion_dynamics="bfgs"))
    run = read_converged(folder, f"{state.name}, relaxed")
    if not run.relax_converged:
        raise RunError(
            f"{state.name}: not relaxed after {run.ionic_steps} ionic steps", "raise excitation.max_ionic_steps"
        )
    there = run.structure.copy(site_properties=dict(ground.inputs.structure.site_properties))
    below.mkdir()
    wall_s += run_pw(below, ground.inputs.with_structure(there))
    at_rest = read_ground(below, ground.inputs.with_structure(there))
    orbitals = read_spin_orbitals((folder / XML).parent)
    held = _check(state, at_rest, run, excited.given, orbitals, settings.degeneracy_ev)
    if run.energy_ev is None or at_rest.run.energy_ev is None:
        raise RunError(f"{state.name}: a run left no total energy", f"see {folder / PW_OUTPUT}")
    steps = run.ionic_steps or 0
    return Relaxed(run.energy_ev, at_rest, at_rest.run.energy_ev, steps, held.kept, held.why_not, wall_s)
