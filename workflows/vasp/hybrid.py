"""HSE06 with VASP: bands at k-points of zero weight, from the wavefunctions of a run without exact exchange."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import spglib
from monty.serialization import dumpfn
from pymatgen.core import Structure

from corecrown.postprocess.edges import find_edges
from corecrown.postprocess.results import Step, StepResult
from corecrown.workflows.bandstructure import line_band_structure
from corecrown.workflows.jobs_base import Launch
from corecrown.workflows.kpoints import band_path, named_points
from corecrown.workflows.protocols import HybridSettings, Theory
from corecrown.workflows.vasp.base import VaspMaker, files_in, mesh_edges
from corecrown.workflows.vasp.inputs import GGA_TAG, VaspInput, make_input, mesh_of, path_kpoints
from corecrown.workflows.vasp.run import keep_outputs, run_vasp

__all__ = ["HybridMaker", "HybridSpinOrbitMaker", "hybrid_mesh", "irreducible_mesh"]

FloatArray = npt.NDArray[np.float64]


@dataclass
class HybridMaker(VaspMaker):
    """HSE06 on the mesh, and at k-points of zero weight: the named points, or the path that the settings name.

    HSE06 is built on PBE, whatever the functional of the other steps. VASP sums exact exchange over its whole mesh, so
    ``q_mesh`` of the settings is not used. With ``settings.spin_orbit`` (or ``theory.spin_orbit``) it is HSE06 with
    spin-orbit coupling, by vasp_ncl.
    """

    settings: HybridSettings
    name: str = "hybrid"
    step: ClassVar[Step] = Step.HYBRID

    def inputs(self, structure: Structure) -> VaspInput:
        """Return the input of the hybrid run, and of the run without exact exchange that it starts from."""
        mesh = mesh_of(structure, self.settings)
        kpoints, weights = hybrid_mesh(structure, mesh, self.settings.kpoint_shift, self.level)
        extra, names = self._extra_kpoints(structure, kpoints)
        listed = {
            "kpoints": np.vstack([kpoints, extra]),
            "weights": np.concatenate([weights, np.zeros(len(extra))]),
            "labels": [""] * len(kpoints) + names,
            "mesh": mesh,
            "shift": self.settings.kpoint_shift,
        }
        tags = {"GGA": "PE", "ISMEAR": 0, "SIGMA": 0.05, "LDAU": None, "NSW": 0, "LCHARG": False}
        made = make_input("HSEBSSetGenerator", structure, self.settings, self.level, tags, mode="gap", **listed)
        before = {
            "LHFCALC": None,
            "HFSCREEN": None,
            "PRECFOCK": None,
            "GGA": GGA_TAG[self.level.functional],
            "LWAVE": True,
        }
        return replace(made, before=before)

    def _extra_kpoints(self, structure: Structure, known: FloatArray) -> tuple[FloatArray, list[str]]:
        if self.settings.path:
            along = path_kpoints(band_path(structure, self.settings.path, self.settings.path_spacing))
            return along["kpoints"], along["labels"]
        named = named_points(structure)
        points = np.array(list(named.values()))
        apart = points[:, None, :] - known[None, :, :]
        new = np.abs(apart - np.round(apart)).max(axis=2).min(axis=1) > 1e-6
        return points[new], [name for name, is_new in zip(named, new, strict=True) if is_new]

    def execute(self, launch: Launch[VaspInput]) -> float:
        """Run without exact exchange first, then with it from those wavefunctions."""
        wall_s = run_vasp(launch.folder, replace(launch.inputs, incar=launch.inputs.incar_before(), before=None))
        self.read(launch.folder)
        keep_outputs(launch.folder, "before")
        wall_s += run_vasp(launch.folder, launch.inputs.with_incar(ISTART=1))
        return wall_s

    def gather(self, launch: Launch[VaspInput], wall_s: float) -> StepResult:
        """Read the edges on all k-points, and along the path where there is one."""
        run = self.read(launch.folder)
        files = files_in(launch.folder, xml="vasprun.xml", output="OUTCAR")
        edges = mesh_edges(run, run.fermi_ev)
        if self.settings.path:
            part = run.of_lines
            bands = line_band_structure(
                launch.inputs.structure, part.kpoints, part.spins, edges.vbm_ev or run.fermi_ev or 0.0
            )
            along = find_edges(bands, "bands", run.n_electrons, spin_orbit=run.spin_orbit)
            edges = along if along.gap_ev is not None and along.gap_ev <= (edges.gap_ev or np.inf) else edges
            dumpfn(bands.as_dict(), str(launch.folder / "bands.json.gz"))
            files |= {"bands": "bands.json.gz"}
        return self.result(run, launch, wall_s, edges=edges, files=files)


@dataclass
class HybridSpinOrbitMaker(HybridMaker):
    """Levels of HSE06 with spin-orbit coupling, beside those without it; its settings are those of ``hybrid``."""

    name: str = "hybrid_spin_orbit"
    step: ClassVar[Step] = Step.HYBRID_SPIN_ORBIT


def hybrid_mesh(
    structure: Structure, mesh: tuple[int, int, int], shift: tuple[int, int, int], theory: Theory
) -> tuple[FloatArray, FloatArray]:
    """Return the k-points (n, 3) of a mesh that a hybrid run lists, and how many each stands for (n,).

    With spin-orbit coupling VASP runs without symmetry here (ISYM = -1), time reversal included, and every k-point of
    the mesh is listed.
    """
    if not theory.spin_orbit:
        return irreducible_mesh(structure, mesh, shift)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in mesh), indexing="ij"), axis=-1).reshape(-1, 3)
    points = (grid + np.array(shift) / 2) / np.array(mesh)
    return points - np.round(points - 1e-9), np.ones(len(points))


def irreducible_mesh(
    structure: Structure, mesh: tuple[int, int, int], shift: tuple[int, int, int]
) -> tuple[FloatArray, FloatArray]:
    """Return the k-points (n, 3) of a mesh that symmetry leaves, and how many each stands for (n,)."""
    cell = (structure.lattice.matrix, structure.frac_coords, [site.specie.Z for site in structure])
    mapping, grid = spglib.get_ir_reciprocal_mesh(mesh, cell, is_shift=shift, symprec=1e-5)
    first, counts = np.unique(mapping, return_counts=True)
    points = (grid[first] + np.array(shift) / 2) / np.array(mesh)
    return points - np.round(points - 1e-9), counts.astype(float)
