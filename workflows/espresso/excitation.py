"""Delta-SCF with Quantum ESPRESSO: excited states of given occupations at Γ, and where their charge goes."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pymatgen.core import Structure

from corecrown.errors import CorecrownError, InputError, RunError
from corecrown.postprocess.edges import is_metal
from corecrown.postprocess.excitation import ChargeAnalysis, analyse_charge, shares_on_grid
from corecrown.postprocess.excitation_correction import makov_payne_ev
from corecrown.postprocess.excitation_cubes import GridDensity
from corecrown.postprocess.excitation_partition import Partition
from corecrown.postprocess.excitation_shares import fa_statement
from corecrown.postprocess.results import Excitation, Step, StepResult
from corecrown.structures.groups import label_groups
from corecrown.workflows.cost import TYPICAL_IONIC_STEPS
from corecrown.workflows.espresso.base import PW_OUTPUT, EspressoMaker, scf_files
from corecrown.workflows.espresso.excitation_charges import (
    density_of,
    frozen_orbital,
    kept_density,
    lowdin_charges,
    partitions_of,
    projections_of,
)
from corecrown.workflows.espresso.excitation_inputs import electron_pairs, ground_input, state_input
from corecrown.workflows.espresso.excitation_relaxed import RelaxedFacts, relaxed_facts
from corecrown.workflows.espresso.excitation_run import (
    GroundRun,
    StateRun,
    read_ground,
    run_state,
)
from corecrown.workflows.espresso.excitation_states import ExcitedState, Kind, parse_state
from corecrown.workflows.espresso.inputs import OUTDIR, PwInput
from corecrown.workflows.espresso.projections import Projections
from corecrown.workflows.espresso.run import copy_density, remove_wavefunctions, run_pw
from corecrown.workflows.jobs_base import Launch
from corecrown.workflows.metals import NEEDS_GAP, why_no_gap_is_expected
from corecrown.workflows.protocols import ExcitationSettings
from corecrown.workflows.record import StepFolder

__all__ = ["ExcitationMaker", "combined_singlet"]

GROUND_COST, EXCITED_COST = 1.6, 2.4
"""In plain scf at Γ."""

LEAST_GAP_EV = 0.05
"""A Kohn-Sham gap at Γ below this leaves no edges to move an electron between."""

MIXED_NOTE = (
    "the mixed state is half singlet, half triplet; with the triplet it gives the singlet, E_S = 2 E_mixed - E_T"
)
BACKGROUND_NOTE = (
    "a charged cell in a uniform compensating background: its energy depends on the size of the cell and on the zero "
    "of the potential, which is the average over the cell"
)
NOT_A_GAP_NOTE = (
    "E(N+1) + E(N-1) - 2E(N) of a periodic cell with a semilocal functional tends to the Kohn-Sham gap as the cell "
    "grows"
)
NO_CORRECTION = "none: overrides.excitation.dielectric_constant is not given"


@dataclass
class ExcitationMaker(EspressoMaker):
    """A ground state and excited states of the same cell, at Γ, with two spins and no symmetry.

    Parameters
    ----------
    kinds
        Which excitations: ``neutral``, ``triplet``, ``singlet``, ``electron``, ``hole``, alone or with bands, as
        ``neutral:vbm-1>cbm``.
    supercell
        How often the cell is repeated along each axis first.
    """

    settings: ExcitationSettings
    kinds: tuple[str, ...] = (Kind.NEUTRAL.value,)
    supercell: tuple[int, int, int] = (1, 1, 1)
    name: str = "excitation"
    step: ClassVar[Step] = Step.EXCITATION

    @property
    def states(self) -> list[ExcitedState]:
        """The excitations that are asked for, each once."""
        return list(dict.fromkeys(parse_state(str(kind)) for kind in self.kinds))

    @property
    def runs(self) -> list[ExcitedState]:
        """The states that are computed for them."""
        return list(dict.fromkeys(run for state in self.states for run in state.runs))

    @property
    def cost_factor(self) -> float:
        """How many plain scf at Γ this costs: 30 s and 46 s for ground and excited state against 19 s (27 atoms).

        A step of a relaxation starts from the density of the last one and takes about half of a first scf.
        """
        relaxing = 0.5 * EXCITED_COST * TYPICAL_IONIC_STEPS + GROUND_COST if self.settings.relax_excited else 0.0
        return GROUND_COST + (EXCITED_COST + relaxing) * len(self.runs)

    def inputs(self, structure: Structure) -> PwInput:
        """Return the input of the ground state, after checking that each excited state can be written.

        Raises
        ------
        InputError
            If a band is not there, a name means nothing, or nothing is asked for.
        """
        if not self.states:
            raise InputError("excitation.kinds: nothing is asked for", "name at least one, as in kinds: [neutral]")
        if min(self.supercell) < 1:
            raise InputError(f"excitation.supercell: {list(self.supercell)}", "three numbers of at least 1")
        cell = structure.copy()
        if tuple(self.supercell) != (1, 1, 1):
            cell.make_supercell(self.supercell)
        cell = label_groups(cell)
        ground = ground_input(cell, self.settings, self.level, self.pseudopotentials(cell))
        if self.settings.relax_excited:
            # the forces tell whether the ground state itself is at rest
            ground = ground.with_keywords("control", tprnfor=True)
        for state in self.runs:
            state_input(ground, state)
        return ground

    def all_inputs(self, structure: Structure) -> dict[str, PwInput]:
        """Return the input of each state by its name; each but the ground state's starts from the ground state."""
        ground = self.inputs(structure)
        return {"ground": ground} | {state.name: state_input(ground, state) for state in self.runs}

    def extra_identity(self) -> dict[str, Any]:
        """Return which excitations, of which supercell, and how they are judged."""
        settings = self.settings
        relax = (settings.force_threshold_ry_bohr, settings.max_ionic_steps) if settings.relax_excited else None
        return {
            "kinds": [state.name for state in self.states],
            "supercell": list(self.supercell),
            "degeneracy_ev": settings.degeneracy_ev,
            "dielectric_constant": settings.dielectric_constant,
            "relax": relax,
        }

    def run(self, launch: Launch[PwInput]) -> StepResult:
        """Run the ground state, then each excited state from its density and orbitals, and share out the charge.

        Raises
        ------
        RunError
            If the cell is a metal, or no excited state held.
        """
        self._refuse_metal(launch.record, launch.inputs.structure)
        ground, wall_s, notes = self._ground(launch)
        if ground.gap_ev < LEAST_GAP_EV:
            raise RunError(
                f"{self.label}: a Kohn-Sham gap of {ground.gap_ev:.3f} eV at Γ: no edges to move an electron between",
                "a Delta-SCF needs a cell with a gap",
            )
        runs = {state: run_state(launch.folder, ground, state, self.settings) for state in self.runs}
        wall_s += sum(run.wall_s for run in runs.values())
        if not any(run.kept for run in runs.values()):
            tidy(launch.folder)
            told = "; ".join(f"{state.name}: {', '.join(run.told)}" for state, run in runs.items())
            raise RunError(
                f"{self.label}: no excited state held ({told})",
                "smaller overrides.excitation.mixing_beta, or other bands",
            )
        charges = _Charges(launch.folder, ground, launch.inputs)
        found: dict[ExcitedState, Excitation] = {}
        for state, run in runs.items():
            found[state] = self._excitation(launch.folder, ground, run, charges)
        wall_s += charges.wall_s
        excitations = [
            found[state] if state in found else combined_singlet(state, found, ground, self.supercell)
            for state in self.states
        ]
        files = scf_files(launch.folder) | charges.files
        tidy(launch.folder)
        return self.result(ground.run, launch, wall_s, excitation=excitations, files=files, notes=notes)

    @staticmethod
    def _ground(launch: Launch[PwInput]) -> tuple[GroundRun, float, list[str]]:
        """Return the ground state, of an attempt that was broken off after it or a new one; its time; what to say."""
        for earlier in reversed(launch.record.attempts(launch.key)[:-1]):
            try:
                read_ground(earlier, launch.inputs)
                copy_density(earlier, launch.folder, wavefunctions=True)
                shutil.copyfile(earlier / PW_OUTPUT, launch.folder / PW_OUTPUT)
                return read_ground(launch.folder, launch.inputs), 0.0, [f"ground state taken over from {earlier.name}"]
            except (CorecrownError, OSError):
                continue
        wall_s = run_pw(launch.folder, launch.inputs)
        return read_ground(launch.folder, launch.inputs), wall_s, []

    def _refuse_metal(self, record: StepFolder, structure: Structure) -> None:
        """Raise if an earlier step of this cell found a metal, or none looked and its elements are metals all."""
        hint = "a Delta-SCF needs a cell with a gap"
        looked = False
        for step in (Step.BANDS, Step.SCF):
            earlier = StepFolder(record.path.parent / step.value).finished()
            if earlier is None or earlier.edges is None:
                continue
            looked = True
            if is_metal(earlier.edges):
                raise RunError(f"{self.label}: its {step.value} has no gap: no edges to move an electron between", hint)
        reason = None if looked else why_no_gap_is_expected(structure)
        if reason is not None:
            raise RunError(f"{self.label}: {reason}", NEEDS_GAP)

    def _excitation(self, attempt: Path, ground: GroundRun, run: StateRun, charges: "_Charges") -> Excitation:
        """Return what is known of one state; of one that did not hold, why."""
        state = run.state
        common: dict[str, Any] = {
            "kind": state.name,
            "orbitals": state.orbitals,
            "ks_gap_ev": _orbital_gap(ground, state),
            "supercell": self.supercell,
            "tries": run.tries,
            "hole_kept": None if run.held is None or run.held.hole is None else round(run.held.hole, 4),
            "electron_kept": None if run.held is None or run.held.electron is None else round(run.held.electron, 4),
        }
        notes = list(run.told)
        if not run.kept:
            notes.append(f"the state did not hold after {run.tries} tries, so it has no energy and no charge")
            return Excitation(energy_ev=None, occupations_kept=False, notes=notes, **common)
        assert run.run is not None
        energy = None
        if run.run.energy_ev is not None and ground.run.energy_ev is not None:
            energy = run.run.energy_ev - ground.run.energy_ev
        if state.kind is Kind.NEUTRAL:
            notes.append(MIXED_NOTE)
        common |= self._correction(state, ground, notes)
        if self.settings.relax_excited and energy is not None:
            relaxed = relaxed_facts(attempt, ground, run, self.settings, charges.density)
            charges.add(relaxed)
            common |= relaxed.fields
            notes += relaxed.notes
        analysis = charges.of(run)
        notes += analysis.notes
        excitation = Excitation(energy_ev=energy, occupations_kept=True, notes=notes, **common, **analysis.fields())
        return excitation.model_copy(update={"statement": fa_statement(excitation)})

    def _correction(self, state: ExcitedState, ground: GroundRun, notes: list[str]) -> dict[str, Any]:
        if not state.charge:
            return {}
        notes += [BACKGROUND_NOTE, NOT_A_GAP_NOTE]
        constant = self.settings.dielectric_constant
        if constant is None:
            return {"charge_correction": NO_CORRECTION}
        value = makov_payne_ev(ground.inputs.structure.lattice.matrix, state.charge, constant)
        return {
            "charge_correction": f"Makov-Payne, leading term, dielectric constant {constant:g}; not in the energy",
            "charge_correction_ev": round(value, 5),
        }


def combined_singlet(
    state: ExcitedState,
    found: Mapping[ExcitedState, Excitation],
    ground: GroundRun,
    supercell: tuple[int, int, int],
) -> Excitation:
    """Return the singlet, E_S = 2 E_mixed - E_T, from the two states it takes; its density is not computed."""
    mixed, triplet = (found[run] for run in state.runs)
    kept = mixed.occupations_kept and triplet.occupations_kept
    energy = None
    if kept and mixed.energy_ev is not None and triplet.energy_ev is not None:
        energy = 2 * mixed.energy_ev - triplet.energy_ev
    notes = ["from the energies of the mixed state and the triplet; where its charge goes is told by those"]
    if not kept:
        notes.append("a state that it takes did not hold, so it has no energy")
    return Excitation(
        kind=state.name,
        orbitals=state.orbitals,
        energy_ev=energy,
        ks_gap_ev=_orbital_gap(ground, state),
        occupations_kept=kept,
        supercell=supercell,
        notes=notes,
    )


def _orbital_gap(ground: GroundRun, state: ExcitedState) -> float:
    """Return the Kohn-Sham gap between the orbitals of a state; of a charged one that of the edges, eV."""
    if state.charge:
        return ground.gap_ev
    hole, electron = state.bands(ground.pairs)
    return float(ground.energies_ev[0, electron] - ground.energies_ev[state.hole_channel, hole])


class _Charges:
    """Shares out the charge of the states of one ground state; what they have in common is made once."""

    def __init__(self, attempt: Path, ground: GroundRun, inputs: PwInput) -> None:
        self._attempt, self._ground, self._structure = attempt, ground, inputs.structure
        self.density, self.wall_s = density_of(attempt)
        self._before, wall_s = projections_of(attempt, len(inputs.structure))
        self.wall_s += wall_s
        self._partitions: Sequence[Partition] = partitions_of(inputs.structure, self.density, inputs.pseudopotentials)
        self._orbitals: dict[tuple[int, int], GridDensity] = {}
        self.files = {"density_ground": "density.cube.gz"}

    def add(self, relaxed: RelaxedFacts) -> None:
        """Keep files and time of a relaxation with those of the charges."""
        self.files |= relaxed.files
        self.wall_s += relaxed.wall_s

    def of(self, run: StateRun) -> ChargeAnalysis:
        """Return where the charge of a state that held is."""
        state, pairs = run.state, self._ground.pairs
        hole_band, electron_band = state.bands(pairs)
        hole = self._orbital(state.hole_channel, hole_band) if state.makes_hole else None
        electron = self._orbital(0, electron_band) if state.adds_electron else None
        density, wall_s = density_of(run.folder)
        (run.folder / "density.cube.gz").unlink()
        after, more_s = projections_of(run.folder, len(self._structure))
        self.wall_s += wall_s + more_s
        difference = density.minus(self.density)
        name = f"difference-{state.folder}.cube.gz"
        self.files[f"difference_{state.name}"] = kept_density(
            self._attempt / name, difference, f"density of {state.name} less that of the ground state"
        )
        on_grid = [
            shares_on_grid(partition, electron=electron, hole=hole, difference=difference)
            for partition in self._partitions
        ]
        lowdin = lowdin_charges(self._ground, run, self._before, _as_before(after, self._before))
        return analyse_charge(self._structure, [*on_grid, lowdin], electron=electron, hole=hole, difference=difference)

    def _orbital(self, channel: int, band: int) -> GridDensity:
        """Return a frozen orbital, kept as a cube the first time."""
        if (channel, band) not in self._orbitals:
            found = frozen_orbital(self._ground, channel, band, self.density)
            self._orbitals[channel, band] = found
            offset = band - electron_pairs(self._ground.inputs)
            name = (
                f"cbm+{offset}"
                if offset > 0
                else "cbm"
                if offset == 0
                else "vbm"
                if offset == -1
                else f"vbm{offset + 1}"
            )
            label = f"orbital_{name}"
            if label not in self.files:
                path = self._attempt / f"orbital-{name}.cube.gz"
                self.files[label] = kept_density(path, found, f"|psi|^2 of {name}, ground state")
        return self._orbitals[channel, band]


def _as_before(after: Projections, before: Projections) -> Projections:
    """Return projections after checking that they are on the orbitals of the others."""
    if after.states != before.states or after.weights.shape != before.weights.shape:
        raise RunError("projections of ground and excited state differ in their orbitals", "run the step again")
    return after


def tidy(attempt: Path) -> None:
    """Remove what nobody reads any more: orbitals, copies for pp.x, and densities but that of the ground state."""
    tries = [path for path in attempt.iterdir() if (path / OUTDIR).is_dir()]
    for folder in (attempt, *tries):
        remove_wavefunctions(folder)
        for bare in (folder / OUTDIR).glob("*-bare.save"):
            for path in bare.iterdir():
                path.unlink()
            bare.rmdir()
    for folder in tries:
        for path in (folder / OUTDIR).glob("*.save/charge-density*"):
            path.unlink()
