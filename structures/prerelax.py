"""Pre-relaxation with CHGNet: cell and atoms, axes kept orthogonal, before DFT takes over (extra ``mlip``)."""

import contextlib
import io
import warnings
from collections.abc import Iterator
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

__all__ = ["FORCE_LIMIT", "PrerelaxReport", "prerelax"]

FORCE_LIMIT = 1e-3
"""Force to stop at, eV/Å. The lattice of these crystals is soft: octahedra tilt while a grows and b shrinks, at little
cost. At 0.03 eV/Å a relaxation stops wherever it began (a of CsPbBr3 8.26 or 8.35 Å, 20 meV apart); at 0.001 eV/Å five
starts, one of them with a and b exchanged, end within 0.008 Å and 0.03 meV."""

_RIGHT_ANGLE_TOLERANCE_DEG = 0.5
_SYMPREC = 1e-3
_LONGEST_STEP = 0.1
_MOVED_TOO_FAR_ANGSTROM = 2.5


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
    largest_stress_gpa: float = Field(description="left along a, b or c at the end, GPa")
    lattice_before_angstrom: tuple[float, float, float]
    lattice_after_angstrom: tuple[float, float, float]
    largest_displacement_angstrom: float = Field(description="of an atom, fractional positions compared, drift removed")
    largest_turn_deg: float | None = Field(None, description="of the N-N axis of an FA ion; null without FA")
    symmetry_kept: str = Field(description="space group that was kept; P1 where none was")

    def sentence(self) -> str:
        """Say it in a line."""
        before = " ".join(f"{x:.3f}" for x in self.lattice_before_angstrom)
        after = " ".join(f"{x:.3f}" for x in self.lattice_after_angstrom)
        end = "converged" if self.converged else "NOT converged"
        turned = "" if self.largest_turn_deg is None else f"; N-N axes turned by up to {self.largest_turn_deg:.1f}°"
        return (
            f"pre-relaxed with {self.model}, axes kept orthogonal, symmetry {self.symmetry_kept} kept: {end} to "
            f"{self.fmax_ev_per_angstrom:g} eV/Å in {self.steps} steps, {self.largest_stress_gpa:.3f} GPa left; a b c "
            f"{before} -> {after} Å{turned}"
        )


def prerelax(
    structure: Structure,
    *,
    fmax_ev_per_angstrom: float = FORCE_LIMIT,
    max_steps: int = 1000,
    keep_symmetry: bool = True,
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

    Returns
    -------
    Structure
        Atoms in their order, with site properties; ``properties["prerelaxed"]`` holds the report.
    PrerelaxReport
        What was done.

    Notes
    -----
    One thread of torch computes, whatever the machine has, so that sums are taken in one order and the same cell ends
    in the same place. FA is free to turn within the symmetry that is kept: ``largest_turn_deg`` says how far it did.

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
    chgnet_model, chgnet_calculator = _chgnet()
    from ase.constraints import FixSymmetry
    from ase.filters import FrechetCellFilter
    from ase.optimize import BFGS

    bare = Structure(structure.lattice, structure.species, structure.frac_coords)
    with _one_thread(), warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        atoms = AseAtomsAdaptor.get_atoms(bare, msonable=False)
        atoms.calc = chgnet_calculator(chgnet_model.load(verbose=False), use_device="cpu")
        if keep_symmetry:
            atoms.set_constraint(FixSymmetry(atoms, symprec=_SYMPREC))
        before = float(atoms.get_potential_energy())
        optimiser = BFGS(FrechetCellFilter(atoms, mask=[1, 1, 1, 0, 0, 0]), logfile=None, maxstep=_LONGEST_STEP)
        converged = bool(optimiser.run(fmax_ev_per_angstrom, max_steps))
        after = float(atoms.get_potential_energy())
        force = float(np.linalg.norm(atoms.get_forces(), axis=1).max())
        stress = float(np.abs(atoms.get_stress()[:3]).max() / units.GPa)
    lengths = tuple(float(x) for x in atoms.cell.lengths())
    fractional = atoms.get_scaled_positions(wrap=False)
    moved = _largest_displacement(structure, fractional, np.array(lengths))
    if not np.isfinite(after) or moved > _MOVED_TOO_FAR_ANGSTROM:
        raise RunError(
            f"CHGNet moved an atom by {moved:.1f} Å: the structure it ended in is not the one it began with",
            "look at the cell that was built; start DFT from it without pre-relaxation",
        )
    relaxed = Structure(
        Lattice.orthorhombic(*lengths), structure.species, fractional, site_properties=structure.site_properties
    )
    if "group" not in relaxed.site_properties:
        relaxed = label_groups(relaxed)
    report = PrerelaxReport(
        model=f"CHGNet (chgnet {version('chgnet')})",
        steps=int(optimiser.nsteps),
        converged=converged,
        fmax_ev_per_angstrom=fmax_ev_per_angstrom,
        energy_before_ev=before,
        energy_after_ev=after,
        largest_force_ev_per_angstrom=force,
        largest_stress_gpa=stress,
        lattice_before_angstrom=structure.lattice.abc,
        lattice_after_angstrom=lengths,
        largest_displacement_angstrom=moved,
        largest_turn_deg=_largest_turn(structure, relaxed),
        symmetry_kept=_space_group(structure) if keep_symmetry else "P1",
    )
    relaxed.properties = dict(structure.properties or {}) | {"prerelaxed": report.model_dump(mode="json")}
    return relaxed, report


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


def _largest_displacement(structure: Structure, fractional: np.ndarray, lengths: np.ndarray) -> float:
    offsets = fractional - structure.frac_coords
    offsets -= np.round(offsets)
    offsets -= offsets.mean(axis=0)
    return float(np.linalg.norm(offsets * lengths, axis=1).max())


def _space_group(structure: Structure) -> str:
    symbol, number = structure.get_space_group_info(symprec=_SYMPREC)
    return f"{symbol} ({number})"
