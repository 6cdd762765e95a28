"""Pre-relaxation with CHGNet: cell and atoms, axes kept orthogonal, before DFT takes over (extra ``mlip``)."""

import contextlib
import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import version
from typing import Any

import numpy as np
from ase import units
from pydantic import BaseModel, ConfigDict, Field
from pymatgen.core import Lattice, Structure
from pymatgen.io.ase import AseAtomsAdaptor

from corecrown.errors import InputError, RunError
from corecrown.structures.formamidinium import find_formamidinium, measure_axes, unwrap
from corecrown.structures.groups import label_groups

__all__ = ["FORCE_LIMIT", "PrerelaxMinimum", "PrerelaxReport", "Route", "prerelax"]

FORCE_LIMIT = 1e-3
"""Force to stop at, eV/Å. The lattice of these crystals is soft: octahedra tilt while a grows and b shrinks, at little
cost. At 0.03 eV/Å a relaxation stops wherever it began (a of CsPbBr3 8.26 or 8.35 Å, 20 meV apart); at 0.001 eV/Å five
starts, one of them with a and b exchanged, end within 0.008 Å and 0.03 meV."""

_RIGHT_ANGLE_TOLERANCE_DEG = 0.5
_SYMPREC = 1e-3
_LONGEST_STEP = 0.1
_MOVED_TOO_FAR_ANGSTROM = 2.5
_ROUGH = 10
_KEPT_AXIS_DEG = 20.0
_SAME_MINIMUM_MEV = 2.0
_SAME_MINIMUM_ANGSTROM = 0.05


class Route(StrEnum):
    """Ways down to a minimum: FA lies in a valley of its own, and which one it ends in depends on the way."""

    ALL_AT_ONCE = "all at once"
    CAGE_FIRST = "cage first, then FA too"


class PrerelaxMinimum(BaseModel):
    """Where one route ended."""

    model_config = ConfigDict(frozen=True)

    route: Route
    energy_ev: float = Field(description="of the cell, by the potential")
    lattice_angstrom: tuple[float, float, float]
    largest_turn_deg: float | None = Field(None, description="of the N-N axis of an FA ion; null without FA")
    steps: int
    converged: bool


class PrerelaxReport(BaseModel):
    """What pre-relaxation did."""

    model_config = ConfigDict(frozen=True)

    model: str = Field(description="name and version of the potential")
    steps: int = Field(description="steps of the optimiser")
    converged: bool
    fmax_ev_per_angstrom: float = Field(description="largest force that was asked for, eV/Å")
    energy_before_ev: float = Field(description="of the cell, by the potential")
    energy_after_ev: float = Field(description="of the cell, by the potential")
    largest_force_ev_per_angstrom: float = Field(description="left on an atom at the end, eV/Å")
    largest_stress_gpa: float = Field(description="left along the axes that relaxed, GPa")
    lattice_before_angstrom: tuple[float, float, float]
    lattice_after_angstrom: tuple[float, float, float]
    largest_displacement_angstrom: float = Field(description="of an atom, fractional positions compared, drift removed")
    largest_turn_deg: float | None = Field(None, description="of the N-N axis of an FA ion; null without FA")
    symmetry_kept: str = Field(description="space group that was kept; P1 where none was")
    minima: tuple[PrerelaxMinimum, ...] = Field((), description="where each route ended, the one that was taken first")

    def sentence(self) -> str:
        """Say it in a line."""
        before = " ".join(f"{x:.3f}" for x in self.lattice_before_angstrom)
        after = " ".join(f"{x:.3f}" for x in self.lattice_after_angstrom)
        end = "converged" if self.converged else "NOT converged"
        turned = "" if self.largest_turn_deg is None else f"; N-N axes turned by up to {self.largest_turn_deg:.1f}°"
        return (
            f"pre-relaxed with {self.model}, axes kept orthogonal, symmetry {self.symmetry_kept} kept: {end} to "
            f"{self.fmax_ev_per_angstrom:g} eV/Å in {self.steps} steps, {self.largest_stress_gpa:.3f} GPa left; a b c "
            f"{before} -> {after} Å{turned}{self._others()}"
        )

    def _others(self) -> str:
        """Tell of the minima that were not taken."""
        said = ""
        for other in self.minima[1:]:
            above = 1000 * (other.energy_ev - self.energy_after_ev)
            apart = max(abs(x - y) for x, y in zip(other.lattice_angstrom, self.lattice_after_angstrom, strict=True))
            if abs(above) > _SAME_MINIMUM_MEV or apart > _SAME_MINIMUM_ANGSTROM:
                lengths = " ".join(f"{x:.3f}" for x in other.lattice_angstrom)
                turned = "" if other.largest_turn_deg is None else f", N-N axes turned by {other.largest_turn_deg:.1f}°"
                side = "higher" if above > 0 else "lower"
                said += (
                    f"; another minimum {abs(above):.0f} meV a cell {side}: a b c {lengths} Å{turned} ({other.route})"
                )
        return said


def prerelax(
    structure: Structure,
    *,
    fmax_ev_per_angstrom: float = FORCE_LIMIT,
    max_steps: int = 1000,
    keep_symmetry: bool = True,
    free_axes: str | None = None,
    both_routes: bool = True,
) -> tuple[Structure, PrerelaxReport]:
    """Relax cell lengths and atoms with CHGNet.

    Parameters
    ----------
    structure
        Cell with orthogonal axes; they stay orthogonal.
    fmax_ev_per_angstrom
        Largest force on an atom to stop at, eV/Å; the stress times the volume of an atom (eV) stops at the same
        number, about 0.004 GPa for 0.001.
    max_steps
        Steps of the optimiser (BFGS) at most; the report says whether that was enough.
    keep_symmetry
        Keep the space group that the structure has within 0.001 Å.
    free_axes
        Lattice constants that relax, for example "ab". By default all three; of a slab those in its plane, of a
        platelet none, since their vacuum is no crystal.
    both_routes
        Where there is FA, go down twice: everything at once, and with FA held until the cage around it has relaxed.
        The lower end in which every FA keeps its N-N axis to within 20° is returned (the lower one where none does):
        a cell that was built with FA along b stays one. Both are reported. False: everything at once only, in half
        the time.

    Returns
    -------
    Structure
        Atoms in their order, with site properties; ``properties["prerelaxed"]`` holds the report.
    PrerelaxReport
        What was done.

    Notes
    -----
    One thread of torch computes, whatever the machine has, so that sums are taken in one order and the same cell ends
    in the same place. FA is free to turn within the symmetry that is kept: ``largest_turn_deg`` says how far it did,
    and ``minima`` what it would have gained by turning.

    Raises
    ------
    InputError
        If CHGNet is not installed or the axes are not orthogonal.
    RunError
        If the potential loses the structure.
    """
    if not np.allclose(structure.lattice.angles, 90, atol=_RIGHT_ANGLE_TOLERANCE_DEG):
        raise InputError(
            f"the axes of this cell are not orthogonal: {', '.join(f'{x:.2f}' for x in structure.lattice.angles)}°",
            "pre-relaxation keeps orthogonal axes; give such a cell",
        )
    free = _free_axes(structure) if free_axes is None else free_axes
    if set(free) - set("abc"):
        raise InputError(f"free_axes: {free!r} are not axes", "letters of 'abc', for example 'ab'")
    chgnet_model, chgnet_calculator = _chgnet()
    ions = find_formamidinium(structure)
    with _one_thread(), warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        calculator = chgnet_calculator(chgnet_model.load(verbose=False), use_device="cpu")
        run = _Run(structure, calculator, fmax_ev_per_angstrom, max_steps, free, keep_symmetry)
        ends = [run.relax(Route.ALL_AT_ONCE)]
        if ions and both_routes:
            ends.append(run.relax(Route.CAGE_FIRST))
    ends.sort(key=lambda end: preference(end.minimum))
    best = ends[0]
    moved = _largest_displacement(structure, best.structure)
    if not np.isfinite(best.minimum.energy_ev) or moved > _MOVED_TOO_FAR_ANGSTROM:
        raise RunError(
            f"CHGNet moved an atom by {moved:.1f} Å: the structure it ended in is not the one it began with",
            "look at the cell that was built; start DFT from it without pre-relaxation",
        )
    relaxed = best.structure if "group" in best.structure.site_properties else label_groups(best.structure)
    report = PrerelaxReport(
        model=f"CHGNet (chgnet {version('chgnet')})",
        steps=best.minimum.steps,
        converged=best.minimum.converged,
        fmax_ev_per_angstrom=fmax_ev_per_angstrom,
        energy_before_ev=run.energy_before_ev,
        energy_after_ev=best.minimum.energy_ev,
        largest_force_ev_per_angstrom=best.force,
        largest_stress_gpa=best.stress_gpa,
        lattice_before_angstrom=structure.lattice.abc,
        lattice_after_angstrom=best.minimum.lattice_angstrom,
        largest_displacement_angstrom=moved,
        largest_turn_deg=best.minimum.largest_turn_deg,
        symmetry_kept=_space_group(structure) if keep_symmetry else "P1",
        minima=tuple(end.minimum for end in ends),
    )
    relaxed.properties = dict(structure.properties or {}) | {"prerelaxed": report.model_dump(mode="json")}
    return relaxed, report


@dataclass(frozen=True)
class _End:
    """Where a route ended: what is reported of it, the structure, and force (eV/Å) and stress (GPa) that are left."""

    minimum: PrerelaxMinimum
    structure: Structure
    force: float
    stress_gpa: float


class _Run:
    """Relaxations of one cell with one calculator."""

    def __init__(
        self, structure: Structure, calculator: Any, fmax: float, max_steps: int, free: str, keep_symmetry: bool
    ) -> None:
        self.structure = structure
        self.fmax = fmax
        self.max_steps = max_steps
        self.mask = [int(axis in free) for axis in "abc"] + [0, 0, 0]
        self.keep_symmetry = keep_symmetry
        self.start = AseAtomsAdaptor.get_atoms(
            Structure(structure.lattice, structure.species, structure.frac_coords), msonable=False
        )
        self.start.calc = calculator
        self.energy_before_ev = float(self.start.get_potential_energy())

    def relax(self, route: Route) -> _End:
        """Go one route to its end."""
        atoms = self.start.copy()
        atoms.calc = self.start.calc
        steps = 0
        if route is Route.CAGE_FIRST:
            held = [i for ion in find_formamidinium(self.structure) for i in ion]
            steps += self._descend(atoms, held, _ROUGH * self.fmax)[0]
        more, converged = self._descend(atoms, [], self.fmax)
        lengths = tuple(float(x) for x in atoms.cell.lengths())
        ended = Structure(
            Lattice.orthorhombic(*lengths),
            self.structure.species,
            atoms.get_scaled_positions(wrap=False),
            site_properties=self.structure.site_properties,
        )
        minimum = PrerelaxMinimum(
            route=route,
            energy_ev=float(atoms.get_potential_energy()),
            lattice_angstrom=lengths,
            largest_turn_deg=_largest_turn(self.structure, ended),
            steps=steps + more,
            converged=converged,
        )
        force = float(np.linalg.norm(atoms.get_forces(), axis=1).max())
        stress = float(np.abs(atoms.get_stress()[:3] * self.mask[:3]).max() / units.GPa)
        return _End(minimum, ended, force, stress)

    def _descend(self, atoms: Any, held: list[int], fmax: float) -> tuple[int, bool]:
        from ase.constraints import FixAtoms, FixSymmetry
        from ase.filters import FrechetCellFilter
        from ase.optimize import BFGS

        constraints = [FixSymmetry(atoms, symprec=_SYMPREC)] if self.keep_symmetry else []
        atoms.set_constraint([*constraints, *([FixAtoms(held)] if held else [])])
        optimiser = BFGS(FrechetCellFilter(atoms, mask=self.mask), logfile=None, maxstep=_LONGEST_STEP)
        converged = bool(optimiser.run(fmax, self.max_steps))
        return int(optimiser.nsteps), converged


def _free_axes(structure: Structure) -> str:
    made = structure.properties or {}
    return "" if "platelet" in made else "ab" if "slab" in made else "abc"


def _chgnet() -> tuple[Any, Any]:
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            from chgnet.model import CHGNet
            from chgnet.model.dynamics import CHGNetCalculator
    except ImportError as error:
        raise InputError(
            f"CHGNet is not installed ({error})", "pip install 'corecrown[mlip]', or leave pre-relaxation out"
        ) from error
    return CHGNet, CHGNetCalculator


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch compute on one thread: the order of a sum, and so its last bits, no longer depend on the machine."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _largest_turn(before: Structure, after: Structure) -> float | None:
    """Return the largest angle (degrees) between the N-N axes of an ion before and after, None without ions."""
    turns = []
    for ion in find_formamidinium(before):
        axes = [measure_axes(unwrap(structure, ion)).nn for structure in (before, after)]
        turns.append(float(np.rad2deg(np.arccos(min(1.0, abs(float(axes[0] @ axes[1])))))))
    return max(turns, default=None)


def preference(minimum: PrerelaxMinimum) -> tuple[bool, float]:
    """Return what minima are sorted by: those in which FA kept its axis (to 20°) first, of these the lowest (eV)."""
    turn = minimum.largest_turn_deg
    return turn is not None and turn > _KEPT_AXIS_DEG, minimum.energy_ev


def _largest_displacement(before: Structure, after: Structure) -> float:
    offsets = after.frac_coords - before.frac_coords
    offsets -= np.round(offsets)
    offsets -= offsets.mean(axis=0)
    return float(np.linalg.norm(after.lattice.get_cartesian_coords(offsets), axis=1).max())


def _space_group(structure: Structure) -> str:
    symbol, number = structure.get_space_group_info(symprec=_SYMPREC)
    return f"{symbol} ({number})"
