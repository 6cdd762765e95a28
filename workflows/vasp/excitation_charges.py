"""Where the charge of an excited state of VASP goes: densities of two CHGCAR, and projections in the PAW spheres."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pymatgen.io.vasp.outputs import Chgcar

from corecrown.errors import RunError
from corecrown.postprocess.excitation import AtomicCharges, ChargeAnalysis, analyse_charge, shares_on_grid
from corecrown.postprocess.excitation_cubes import GridDensity
from corecrown.postprocess.excitation_partition import BaderBasins, Partition, PowerCells
from corecrown.workflows.vasp.inputs import VaspInput
from corecrown.workflows.vasp.vasprun import VaspRun

__all__ = ["SPHERES", "charges_of", "read_chgcar", "sphere_charges", "sphere_populations"]

FloatArray = npt.NDArray[np.float64]

SPHERES = "PAW spheres"
HINT = "run the excitation step again"


def read_chgcar(path: Path, inputs: VaspInput) -> GridDensity:
    """Return the valence density of a CHGCAR, both spins together, in 1/Å³.

    Raises
    ------
    RunError
        If the file is cut off, or of other atoms.
    """
    try:
        found: Any = Chgcar.from_file(str(path))
        values = np.asarray(found.data["total"], dtype=np.float64)
    except Exception as error:
        raise RunError(
            f"{path}: not a whole CHGCAR ({type(error).__name__})", "run the excitation step again"
        ) from error
    if [site.specie.symbol for site in found.structure] != [site.specie.symbol for site in inputs.grouped]:
        raise RunError(f"{path}: a density of {found.structure.formula}, not of this cell", HINT)
    return GridDensity(inputs.structure, values / found.structure.volume)


def charges_of(
    ground: VaspRun,
    excited: VaspRun,
    densities: tuple[GridDensity, GridDensity],
    orbitals: dict[str, int],
    inputs: VaspInput,
) -> tuple[ChargeAnalysis, GridDensity]:
    """Return where charge went between two states, and the difference of their densities.

    Parameters
    ----------
    ground, excited
        Runs at Γ with two spins and projections.
    densities
        Of the ground and of the excited state, on one grid.
    orbitals
        ``electron`` and ``hole``: bands of the up channel of the ground state.
    """
    before, after = densities
    difference = after.minus(before)
    n_a, n_b, n_c = before.values.shape
    partitions: list[Partition] = [
        PowerCells(inputs.structure, (n_a, n_b, n_c)),
        BaderBasins(inputs.structure, before.values),
    ]
    on_grid = [shares_on_grid(partition, difference=difference) for partition in partitions]
    spheres = sphere_charges(ground, excited, orbitals, inputs)
    return analyse_charge(inputs.structure, [*on_grid, spheres], difference=difference), difference


def sphere_charges(ground: VaspRun, excited: VaspRun, orbitals: dict[str, int], inputs: VaspInput) -> AtomicCharges:
    """Return what each atom has of an excitation by projections in the PAW spheres, atoms in our order.

    Each state's projections are scaled to sum to 1, so that what lies between the spheres is shared out as what is in
    them. Gained and lost charge are told by projection, not by point of space.
    """
    first, second = sphere_populations(ground), sphere_populations(excited)
    change = np.einsum("sb,sbap->ap", excited.occupations[:, 0], second)
    change -= np.einsum("sb,sbap->ap", ground.occupations[:, 0], first)
    values = {"gained": np.clip(change, 0, None).sum(axis=1), "lost": np.clip(-change, 0, None).sum(axis=1)}
    values |= {name: first[0, band].sum(axis=1) for name, band in orbitals.items()}
    ordered = np.argsort(inputs.order)
    return AtomicCharges(SPHERES, {name: found[ordered] for name, found in values.items()})


def sphere_populations(run: VaspRun) -> FloatArray:
    """Return projections at Γ, (n_spin, n_bands, n_atoms, n_orbitals), each state's summing to 1 unless it has none."""
    assert run.projections is not None
    found = run.projections[:, 0].reshape(*run.eigenvalues_ev.shape[::2], len(run.structure), -1)
    totals = found.sum(axis=(2, 3), keepdims=True)
    return np.asarray(found / np.where(totals > 0, totals, 1))
