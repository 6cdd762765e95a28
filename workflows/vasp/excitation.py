"""Delta-SCF with VASP: excited states of fixed occupations at Γ, from the wavefunctions of the ground state.

Occupations are given (ISMEAR = -2, FERWE and FERDO, one number a band at the only k-point), so the number of bands is
pinned; orbitals keep their places (LDIAG = .FALSE.), and no handler may change algorithm or smearing. After each run
the occupations in vasprun.xml are compared with those that were asked for.
"""

import shutil
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from pymatgen.core import Structure

from corecrown.errors import RunError
from corecrown.postprocess.excitation import CHARGE_TOLERANCE_E, ChargeAnalysis
from corecrown.postprocess.excitation_cubes import write_density
from corecrown.postprocess.excitation_shares import fa_statement
from corecrown.postprocess.results import Excitation, Step, StepResult
from corecrown.structures.groups import group_members
from corecrown.workflows.jobs_base import Launch
from corecrown.workflows.protocols import ExcitationSettings
from corecrown.workflows.vasp.base import VaspMaker, files_in
from corecrown.workflows.vasp.excitation_charges import charges_of, read_chgcar
from corecrown.workflows.vasp.inputs import VaspInput, make_input
from corecrown.workflows.vasp.run import keep_outputs, run_vasp
from corecrown.workflows.vasp.vasprun import VaspRun

__all__ = ["ExcitationMaker", "Kind", "occupations_of", "repeated"]

FloatArray = npt.NDArray[np.float64]

GROUND = "ground"

SAME_ORBITAL = 0.7
"""Overlap of projections above which two orbitals count as one."""

SCHEME = "projections in the PAW spheres, normalised"
CHARGED_NOTE = "a charged cell in a uniform background: its energy depends on the size of the cell"


class Kind(StrEnum):
    """Excitations that can be asked for."""

    NEUTRAL = "neutral"
    ELECTRON = "electron"
    HOLE = "hole"


ORBITALS = {Kind.NEUTRAL: "vbm>cbm", Kind.ELECTRON: "cbm", Kind.HOLE: "vbm"}
"""Bands that a kind takes from and fills."""


ADDED = {Kind.NEUTRAL: 0, Kind.ELECTRON: 1, Kind.HOLE: -1}
"""Electrons that a kind adds to the cell."""


def occupations_of(kind: Kind | None, pairs: int, bands: int) -> tuple[FloatArray, FloatArray]:
    """Return the occupations of the two spin channels, each (bands,), 0 to 1.

    Parameters
    ----------
    kind
        None for the ground state; otherwise the up channel is changed: its highest electron promoted, one electron
        more, or one less.
    pairs
        Electron pairs of the ground state.
    bands
        Bands a channel.
    """
    ground = np.zeros(bands)
    ground[:pairs] = 1
    up = ground.copy()
    if kind in {Kind.NEUTRAL, Kind.HOLE}:
        up[pairs - 1] = 0
    if kind in {Kind.NEUTRAL, Kind.ELECTRON}:
        up[pairs] = 1
    return up, ground


def repeated(occupations: FloatArray) -> str:
    """Return occupations as VASP reads them: ``93*1 1*0 1*1 9*0``."""
    words, start = [], 0
    for place in range(1, len(occupations) + 1):
        if place == len(occupations) or occupations[place] != occupations[start]:
            words.append(f"{place - start}*{occupations[start]:g}")
            start = place
    return " ".join(words)


@dataclass
class ExcitationMaker(VaspMaker):
    """A ground state and excited states of the same cell, at Γ, with two spins and no symmetry.

    Parameters
    ----------
    kinds
        Which excitations.
    supercell
        How often the cell is repeated along each axis first.
    """

    settings: ExcitationSettings
    kinds: tuple[str, ...] = (Kind.NEUTRAL.value,)
    supercell: tuple[int, int, int] = (1, 1, 1)
    name: str = "excitation"
    step: ClassVar[Step] = Step.EXCITATION
    version: ClassVar[int] = 2

    def inputs(self, structure: Structure) -> VaspInput:
        """Return the input of the ground state."""
        cell = structure.copy()
        if tuple(self.supercell) != (1, 1, 1):
            cell.make_supercell(self.supercell)
        settings = self.settings.model_copy(update={"kpoint_mesh": (1, 1, 1), "kpoint_spacing": None})
        tags = {"ISMEAR": -2, "ISPIN": 2, "ISYM": -1, "LCHARG": True, "LORBIT": 11, "LWAVE": True, "NSW": 0}
        plain = make_input("StaticSetGenerator", cell, settings, self.level, tags)
        ground = plain.with_incar(**occupation_tags(plain, None), MAGMOM=f"{len(cell)}*0", SIGMA=None)
        excited = {"ALGO": "All", "ISTART": 1, "LDIAG": False}
        after = {kind: occupation_tags(plain, Kind(kind)) | excited for kind in self.kinds}
        return replace(ground, after=after)

    def extra_identity(self) -> dict[str, Any]:
        """Return which excitations, and of which supercell."""
        return {"kinds": [str(kind) for kind in self.kinds], "supercell": list(self.supercell)}

    def execute(self, launch: Launch[VaspInput]) -> float:
        """Run the ground state, then each excited state from its wavefunctions."""
        wall_s = run_vasp(launch.folder, launch.inputs)
        self._checked(launch.folder, launch.inputs, None)
        _set_aside(launch.folder, GROUND)
        for kind, tags in launch.inputs.after.items():
            shutil.copyfile(launch.folder / f"WAVECAR.{GROUND}", launch.folder / "WAVECAR")
            wall_s += run_vasp(launch.folder, replace(launch.inputs.with_incar(**tags), after={}))
            _set_aside(launch.folder, kind)
        for path in launch.folder.glob(f"*.{GROUND}"):
            path.replace(path.with_suffix(""))
        return wall_s

    def gather(self, launch: Launch[VaspInput], wall_s: float) -> StepResult:
        """Read the ground state, and beside it the excited states, each in files with its name as suffix."""
        ground = self._checked(launch.folder, launch.inputs, None)
        excited = {Kind(kind): self._checked(launch.folder, launch.inputs, Kind(kind)) for kind in self.kinds}
        files = files_in(launch.folder, xml="vasprun.xml", output="OUTCAR", density="CHGCAR")
        files |= files_in(launch.folder, **{f"density_{kind}": f"CHGCAR.{kind}" for kind in self.kinds})
        before = read_chgcar(launch.folder / files["density"], launch.inputs)
        found = []
        for kind, run in excited.items():
            state = _excitation(kind, ground, run, launch.inputs).model_copy(
                update={"supercell": tuple(self.supercell)}
            )
            if state.occupations_kept:
                after = read_chgcar(launch.folder / files[f"density_{kind}"], launch.inputs)
                bands = orbitals_of(kind, round(float(ground.occupations[1].sum())))
                charges, difference = charges_of(ground, run, (before, after), bands, launch.inputs)
                about = f"density of {kind} less that of the ground state"
                place = write_density(launch.folder / f"difference-{kind}.cube.gz", difference, about)
                files[f"difference_{kind}"] = place.name
                state = _with_charges(state, charges, kind)
            found.append(state)
        return self.result(ground, launch, wall_s, excitation=found, files=files)

    def _checked(self, attempt: Path, inputs: VaspInput, kind: Kind | None) -> VaspRun:
        """Read a run, and refuse it if it did not keep two spins and the pinned number of bands."""
        run = self.read(attempt, projections=True, name="vasprun.xml" if kind is None else f"vasprun.xml.{kind.value}")
        if run.eigenvalues_ev.shape != (2, 1, inputs.n_bands):
            raise RunError(
                f"{self.label}: {run.eigenvalues_ev.shape[2]} bands, {len(run.kpoints)} k-points and "
                f"{len(run.eigenvalues_ev)} spins instead of {inputs.n_bands}, 1 and 2",
                "give VASP ranks whose number divides NBANDS (NCORE, KPAR)",
            )
        if kind is None and not _kept(run, None):
            raise RunError(f"{self.label}: the ground state did not keep its occupations", f"see {attempt / 'OUTCAR'}")
        return run


def occupation_tags(inputs: VaspInput, kind: Kind | None) -> dict[str, Any]:
    """Return the tags that give a state its occupations, and its number of electrons where it is charged."""
    pairs = round(inputs.n_electrons / 2)
    up, down = occupations_of(kind, pairs, inputs.n_bands)
    electrons = float(up.sum() + down.sum())
    charged = None if electrons == inputs.n_electrons else electrons
    return {"FERWE": repeated(up), "FERDO": repeated(down), "NELECT": charged}


def _kept(run: VaspRun, kind: Kind | None) -> bool:
    pairs = round(float(run.occupations[1].sum()))
    asked = np.array(occupations_of(kind, pairs, run.occupations.shape[2]))
    return bool(np.allclose(run.occupations[:, 0, :], asked, atol=1e-3))


def _excitation(kind: Kind, ground: VaspRun, excited: VaspRun, inputs: VaspInput) -> Excitation:
    pairs = round(float(ground.occupations[1].sum()))
    levels = ground.eigenvalues_ev[0, 0]
    notes = []
    kept = _kept(excited, kind)
    if not kept:
        notes.append("the occupations in vasprun.xml are not those that were asked for")
    for place, name in ((pairs - 1, "hole"), (pairs, "electron")):
        if kind in {Kind.NEUTRAL, Kind(name)} and _overlap(ground, excited, place) < SAME_ORBITAL:
            kept = False
            notes.append(f"the {name} is not in the orbital it was put in: bands have changed places")
    if kind is not Kind.NEUTRAL:
        notes.append(CHARGED_NOTE)
    energy = None
    if ground.energy_ev is not None and excited.energy_ev is not None:
        energy = excited.energy_ev - ground.energy_ev
    return Excitation(
        kind=kind.value,
        orbitals=ORBITALS[kind],
        energy_ev=energy,
        ks_gap_ev=float(levels[pairs] - levels[pairs - 1]),
        occupations_kept=kept,
        electron_by_group=None if kind is Kind.HOLE else _by_group(ground, pairs, inputs),
        hole_by_group=None if kind is Kind.ELECTRON else _by_group(ground, pairs - 1, inputs),
        scheme=SCHEME,
        notes=notes,
    )


def orbitals_of(kind: Kind, pairs: int) -> dict[str, int]:
    """Return the bands of the up channel that the electron and the hole of a kind are in."""
    hole = {} if kind is Kind.ELECTRON else {"hole": pairs - 1}
    electron = {} if kind is Kind.HOLE else {"electron": pairs}
    return electron | hole


def _with_charges(state: Excitation, charges: ChargeAnalysis, kind: Kind) -> Excitation:
    """Return an excitation with where its charge went; electron and hole stay those of the projections."""
    fields = charges.fields()
    for name in ("electron_by_group", "hole_by_group"):
        fields.pop(name)
    fields["scheme"] = f"electron and hole: {SCHEME}; gained and lost: {charges.partitions[0].scheme}"
    notes = [*state.notes, *charges.notes]
    added = charges.added_e
    if added is not None and abs(added - ADDED[kind]) > CHARGE_TOLERANCE_E:
        notes.append(f"the densities differ by {added:.3f} electrons instead of {ADDED[kind]}")
    found = state.model_copy(update={**fields, "notes": notes})
    return found.model_copy(update={"statement": fa_statement(found)})


def _of_atoms(run: VaspRun, band: int) -> FloatArray:
    """Return the projections of a band of the up channel, (n_atoms, orbitals)."""
    assert run.projections is not None
    found: FloatArray = run.projections[0, 0, band].reshape(len(run.structure), -1)
    return found


def _overlap(ground: VaspRun, excited: VaspRun, band: int) -> float:
    first, second = _of_atoms(ground, band).ravel(), _of_atoms(excited, band).ravel()
    norm = float(np.sqrt(first.sum() * second.sum()))
    return float(np.sqrt(np.clip(first * second, 0, None)).sum()) / norm if norm > 0 else 0.0


def _by_group(run: VaspRun, band: int, inputs: VaspInput) -> dict[str, float] | None:
    """Return where an orbital is, by ion; sums to 1."""
    weights = _of_atoms(run, band).sum(axis=1)
    if weights.sum() <= 0:
        return None
    places = {index: place for place, index in enumerate(inputs.order)}
    members = group_members(inputs.structure)
    return {
        group: round(float(sum(weights[places[index]] for index in atoms) / weights.sum()), 6)
        for group, atoms in members.items()
    }


def _set_aside(attempt: Path, suffix: str) -> None:
    keep_outputs(attempt, suffix)
    for name in ("CHGCAR", "WAVECAR"):
        if not (attempt / name).is_file():
            raise RunError(f"{attempt}: the run left no {name}", "LCHARG and LWAVE ask for it")
        shutil.copyfile(attempt / name, attempt / f"{name}.{suffix}")
