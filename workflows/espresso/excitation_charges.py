"""Densities, orbitals and projections of a Delta-SCF, taken from what its runs left."""

import gzip
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pymatgen.core import Structure

from corecrown.errors import RunError
from corecrown.postprocess.excitation import AtomicCharges
from corecrown.postprocess.excitation_cubes import GridDensity, read_density, write_density
from corecrown.postprocess.excitation_partition import BaderBasins, Hirshfeld, Partition, PowerCells
from corecrown.workflows.espresso.base import XML
from corecrown.workflows.espresso.excitation_inputs import BARE_PREFIX, pp_input
from corecrown.workflows.espresso.excitation_orbitals import orbital_density
from corecrown.workflows.espresso.excitation_proatoms import read_proatom
from corecrown.workflows.espresso.excitation_run import GroundRun, StateRun
from corecrown.workflows.espresso.excitation_states import same_level
from corecrown.workflows.espresso.inputs import OUTDIR, PREFIX, projwfc_input
from corecrown.workflows.espresso.projections import Projections, read_projections
from corecrown.workflows.espresso.pseudopotentials import PseudopotentialFile
from corecrown.workflows.espresso.run import ParallelPlan, plan_parallel, run_program

__all__ = ["density_of", "frozen_orbital", "kept_density", "lowdin_charges", "partitions_of", "projections_of"]

FloatArray = npt.NDArray[np.float64]


def make_bare(folder: Path) -> None:
    """Lay a copy of a run beside it that pp.x and projwfc.x accept: its XML says that occupations are fixed.

    They read no run whose occupations were given by hand ("bad occupancies"), and use none.
    """
    save = (folder / XML).parent
    bare = folder / OUTDIR / f"{BARE_PREFIX}.save"
    if bare.is_dir():
        return
    bare.mkdir()
    for path in save.iterdir():
        if path.suffix != ".xml":
            (bare / path.name).symlink_to(Path("..") / save.name / path.name)
    text = (folder / XML).read_text(encoding="utf-8")
    for tag in ("occupations", "occupations_kind"):
        text = text.replace(f"<{tag}>from_input</{tag}>", f"<{tag}>fixed</{tag}>")
    (bare / Path(XML).name).write_text(text, encoding="utf-8")


def density_of(folder: Path) -> tuple[GridDensity, float]:
    """Return the valence density of a run, and the wall time that pp.x took; the cube is left gzipped beside it."""
    make_bare(folder)
    (folder / "pp.in").write_text(pp_input("density.cube"), encoding="utf-8")
    wall_s = run_program(folder, "pp.x", "pp", ParallelPlan(1, 1))
    cube, packed = folder / "density.cube", folder / "density.cube.gz"
    if not cube.is_file():
        raise RunError(f"{folder}: pp.x left no density", f"see {folder / 'pp.out'}")
    density = read_density(cube)
    with cube.open("rb") as plain, gzip.open(packed, "wb", compresslevel=6) as stream:
        shutil.copyfileobj(plain, stream)
    cube.unlink()
    (folder / "pp.tmp").unlink(missing_ok=True)
    return density, wall_s


def kept_density(path: Path, density: GridDensity, about: str) -> str:
    """Write a density as a gzipped cube and return its name."""
    return write_density(path, density, about).name


def projections_of(folder: Path, n_atoms: int) -> tuple[Projections, float]:
    """Return projections of all orbitals of a run on atomic orbitals, and the wall time that projwfc.x took."""
    make_bare(folder)
    text = projwfc_input().replace(f"'{PREFIX}'", f"'{BARE_PREFIX}'")
    (folder / "projwfc.in").write_text(text, encoding="utf-8")
    wall_s = run_program(folder, "projwfc.x", "projwfc", plan_parallel(1))
    found = read_projections(folder / OUTDIR / f"{BARE_PREFIX}.save" / "atomic_proj.xml", folder / "projwfc.out")
    for file in folder.glob("pdos.pdos_*"):
        file.unlink()
    if max(state.atom_index for state in found.states) >= n_atoms:
        raise RunError(f"{folder}: projections on atoms that are not in the cell", "run the excitation step again")
    return found, wall_s


def frozen_orbital(ground: GroundRun, channel: int, band: int, like: GridDensity) -> GridDensity:
    """Return |ψ|² of an orbital of the ground state on the grid of a density; of a degenerate level its mean, 1/Å³."""
    shape = like.values.shape
    bands = same_level(ground.energies_ev[channel], band, ground.pairs)
    volume = float(like.structure.volume)
    orbitals = ground.orbitals[channel]
    grid = (shape[0], shape[1], shape[2])
    values = sum(orbital_density(orbitals, one, grid, volume) for one in bands) / len(bands)
    return GridDensity(like.structure, np.asarray(values))


def partitions_of(
    structure: Structure, ground: GridDensity, pseudopotentials: Mapping[str, PseudopotentialFile]
) -> list[Partition]:
    """Return the ways space is shared out, on the grid of the ground state's density; the one quoted first is first."""
    shape = (ground.values.shape[0], ground.values.shape[1], ground.values.shape[2])
    proatoms = {element: read_proatom(file.path) for element, file in pseudopotentials.items()}
    return [
        Hirshfeld(structure, shape, proatoms),
        BaderBasins(structure, ground.values),
        PowerCells(structure, shape),
    ]


def lowdin_charges(ground: GroundRun, excited: StateRun, before: Projections, after: Projections) -> AtomicCharges:
    """Return what each atom has of an excitation in Löwdin's populations of atomic orbitals.

    Each state's projections are scaled to sum to 1, so that what they miss is shared out as what they find. Gained and
    lost charge are told by atomic orbital, not by point of space: a shift within one orbital does not show.
    """
    assert excited.run is not None
    first, second = (_scaled(found.weights) for found in (before, after))
    atoms = np.array([state.atom_index for state in before.states])
    n_atoms = len(ground.run.structure)
    change = np.einsum("sb,sbo->o", excited.run.occupations[:, 0, :], second)
    change -= np.einsum("sb,sbo->o", ground.run.occupations[:, 0, :], first)
    values = {"gained": np.clip(change, 0, None), "lost": np.clip(-change, 0, None)}
    hole, electron = excited.state.bands(ground.pairs)
    if excited.state.makes_hole:
        channel = excited.state.hole_channel
        bands = same_level(ground.energies_ev[channel], hole, ground.pairs)
        values["hole"] = first[channel, bands].mean(axis=0)
    if excited.state.adds_electron:
        values["electron"] = first[0, same_level(ground.energies_ev[0], electron, ground.pairs)].mean(axis=0)
    return AtomicCharges("Löwdin", {name: _by_atom(found, atoms, n_atoms) for name, found in values.items()})


def _by_atom(values: FloatArray, atoms: npt.NDArray[np.intp], n_atoms: int) -> FloatArray:
    return np.asarray(np.bincount(atoms, weights=values, minlength=n_atoms), dtype=np.float64)


def _scaled(weights: FloatArray) -> FloatArray:
    """Return weights at Γ, (n_spin, n_bands, n_states), each state's summing to 1."""
    at_gamma = weights[:, 0]
    return np.asarray(at_gamma / at_gamma.sum(axis=2, keepdims=True))
