"""What is told of an excited state at its own geometry: energies, Stokes shift, bonds, how spread its orbitals are."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import units

from corecrown.errors import RunError
from corecrown.postprocess.excitation import volume_participation
from corecrown.postprocess.excitation_cubes import GridDensity
from corecrown.postprocess.excitation_geometry import bond_changes, largest_displacement
from corecrown.workflows.espresso.excitation_charges import frozen_orbital
from corecrown.workflows.espresso.excitation_run import GroundRun, Relaxed, StateRun, relax_state
from corecrown.workflows.espresso.excitation_states import ExcitedState
from corecrown.workflows.espresso.run import RunInterruptedError
from corecrown.workflows.protocols import ExcitationSettings

__all__ = ["RelaxedFacts", "relaxed_facts", "unrest_note"]

EV_ANGSTROM = units.Ry / units.Bohr
"""A Ry/bohr in eV/Å."""


@dataclass(frozen=True)
class RelaxedFacts:
    """What a relaxation in an excited state adds to its result.

    Parameters
    ----------
    fields
        Of :class:`~corecrown.postprocess.results.Excitation`.
    files
        Name of a file to its path in the folder of the attempt.
    notes
        What to say.
    wall_s
        That the programs took.
    """

    fields: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    wall_s: float = 0.0


def relaxed_facts(
    attempt: Path, ground: GroundRun, run: StateRun, settings: ExcitationSettings, like: GridDensity
) -> RelaxedFacts:
    """Relax an excited state and return what is told of it; where that does not end well, why, and nothing else.

    Parameters
    ----------
    attempt
        Folder of the attempt.
    ground, run
        Ground and excited state at the first geometry.
    settings
        When the atoms are at rest.
    like
        A density on the grid that orbitals are drawn on.
    """
    try:
        relaxed = relax_state(attempt, ground, run, settings)
    except RunInterruptedError:
        raise
    except RunError as error:
        return RelaxedFacts(notes=[f"no relaxed energy: {error.message}; {error.hint}"])
    notes = [note] if (note := unrest_note(ground, settings)) else []
    if not relaxed.kept:
        notes.append(f"relaxed in the excited state, it did not hold: {relaxed.why_not}")
        return RelaxedFacts(notes=notes, wall_s=relaxed.wall_s)
    assert run.run is not None
    assert run.run.energy_ev is not None
    assert ground.run.energy_ev is not None
    before, after = ground.inputs.structure, relaxed.ground.inputs.structure
    name = f"relaxed-{run.state.folder}.cif"
    after.to(filename=str(attempt / name))
    vertical_ev, emission_ev = run.run.energy_ev - ground.run.energy_ev, relaxed.excited_ev - relaxed.ground_ev
    fields = {
        "relaxed_energy_ev": relaxed.excited_ev - ground.run.energy_ev,
        "emission_ev": emission_ev,
        "stokes_shift_ev": vertical_ev - emission_ev,
        "relaxation_angstrom": round(largest_displacement(before, after), 5),
        "bond_changes": bond_changes(before, after),
        "relaxed_participation": _participation(run.state, relaxed, like),
    }
    notes.append(f"relaxed in the excited state in {relaxed.ionic_steps} ionic steps")
    return RelaxedFacts(fields, {f"structure_{run.state.name}": name}, notes, relaxed.wall_s)


def unrest_note(ground: GroundRun, settings: ExcitationSettings) -> str | None:
    """Return what to say where the ground state itself is not at rest; its own relaxation is then counted as well."""
    forces = ground.run.forces_ev_angstrom
    if forces is None:
        return None
    largest = float(np.linalg.norm(forces, axis=1).max())
    limit = settings.force_threshold_ry_bohr * EV_ANGSTROM
    if largest <= 2 * limit:
        return None
    return (
        f"forces of up to {largest:.2f} eV/Å act in the ground state where the relaxation starts (at rest: "
        f"{limit:.2f}): a part of the relaxation and of the Stokes shift is the ground state's own; put relax before "
        "excitation, with its cutoff, its Γ and a fixed lattice"
    )


def _participation(state: ExcitedState, relaxed: Relaxed, like: GridDensity) -> dict[str, float]:
    """Return on what part of the volume hole and electron are at the relaxed geometry."""
    hole, electron = state.bands(relaxed.ground.pairs)
    found = {}
    if state.adds_electron:
        found["electron_volume"] = volume_participation(frozen_orbital(relaxed.ground, 0, electron, like).values)
    if state.makes_hole:
        orbital = frozen_orbital(relaxed.ground, state.hole_channel, hole, like)
        found["hole_volume"] = volume_participation(orbital.values)
    return {name: round(value, 5) for name, value in found.items()}
