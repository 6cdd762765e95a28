"""Pre-relaxation with CHGNet: cell and atoms, axes kept orthogonal, before DFT takes over (extra ``mlip``)."""

import contextlib
import io
import warnings
from importlib.metadata import version
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from pymatgen.core import Lattice, Structure
from pymatgen.io.ase import AseAtomsAdaptor

from corecrown.errors import InputError, RunError
from corecrown.structures.groups import label_groups

__all__ = ["PrerelaxReport", "prerelax"]

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
    lattice_before_angstrom: tuple[float, float, float]
    lattice_after_angstrom: tuple[float, float, float]
    largest_displacement_angstrom: float = Field(description="of an atom, fractional positions compared, drift removed")
    symmetry_kept: str = Field(description="space group that was kept; P1 where none was")

    def sentence(self) -> str:
        """Say it in a line."""
        before = " ".join(f"{x:.3f}" for x in self.lattice_before_angstrom)
        after = " ".join(f"{x:.3f}" for x in self.lattice_after_angstrom)
        end = "converged" if self.converged else "NOT converged"
        return (
            f"pre-relaxed with {self.model}, axes kept orthogonal, symmetry {self.symmetry_kept} kept: {end} to "
            f"{self.fmax_ev_per_angstrom} eV/Å in {self.steps} steps; a b c {before} -> {after} Å"
        )


def prerelax(
    structure: Structure,
    *,
    fmax_ev_per_angstrom: float = 0.03,
    max_steps: int = 500,
    keep_symmetry: bool = True,
) -> tuple[Structure, PrerelaxReport]:
    """Relax cell lengths and atoms with CHGNet.

    Parameters
    ----------
    structure
        Cell with orthogonal axes; they stay orthogonal.
    fmax_ev_per_angstrom
        Largest force on an atom, and on the cell, to stop at, eV/Å.
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
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        atoms = AseAtomsAdaptor.get_atoms(bare, msonable=False)
        atoms.calc = chgnet_calculator(chgnet_model.load(verbose=False), use_device="cpu")
        if keep_symmetry:
            atoms.set_constraint(FixSymmetry(atoms, symprec=_SYMPREC))
        before = float(atoms.get_potential_energy())
        optimiser = BFGS(FrechetCellFilter(atoms, mask=[1, 1, 1, 0, 0, 0]), logfile=None, maxstep=_LONGEST_STEP)
        converged = bool(optimiser.run(fmax_ev_per_angstrom, max_steps))
        after = float(atoms.get_potential_energy())
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
        lattice_before_angstrom=structure.lattice.abc,
        lattice_after_angstrom=lengths,
        largest_displacement_angstrom=moved,
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


def _largest_displacement(structure: Structure, fractional: np.ndarray, lengths: np.ndarray) -> float:
    offsets = fractional - structure.frac_coords
    offsets -= np.round(offsets)
    offsets -= offsets.mean(axis=0)
    return float(np.linalg.norm(offsets * lengths, axis=1).max())


def _space_group(structure: Structure) -> str:
    symbol, number = structure.get_space_group_info(symprec=_SYMPREC)
    return f"{symbol} ({number})"
