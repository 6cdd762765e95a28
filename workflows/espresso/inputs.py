"""What to write for pw.x and projwfc.x: pure functions from a cell, settings and a level of theory to an input."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from ase.io.espresso import write_espresso_in
from pymatgen.core import Structure
from pymatgen.io.ase import AseAtomsAdaptor

from corecrown.errors import InputError
from corecrown.workflows.espresso.pseudopotentials import PseudopotentialFile
from corecrown.workflows.kpoints import count_irreducible, mesh_from_spacing
from corecrown.workflows.protocols import HybridSettings, RelaxSettings, StepSettings, Theory

__all__ = [
    "OUTDIR",
    "PREFIX",
    "PSEUDO_DIR",
    "PwInput",
    "bands_input",
    "hybrid_input",
    "mesh_of",
    "nscf_input",
    "projwfc_input",
    "relax_input",
    "scf_input",
    "spin_orbit_input",
]

FloatArray = npt.NDArray[np.float64]

PREFIX = "corecrown"
OUTDIR = "./out"
PSEUDO_DIR = "./pseudo"


@dataclass(frozen=True)
class PwInput:
    """One input of pw.x.

    Parameters
    ----------
    structure
        The cell.
    namelists
        By namelist, then keyword; without what ASE adds (ibrav, nat, ntyp).
    mesh, shift
        Monkhorst-Pack mesh and its shift (1 for half a step), or None where ``kpoints`` are listed.
    kpoints
        Shape (n, 3), fractional; listed points with equal weights.
    pseudopotentials
        By element.
    cards
        Further cards, as text.
    """

    structure: Structure
    namelists: Mapping[str, Mapping[str, Any]]
    pseudopotentials: Mapping[str, PseudopotentialFile]
    mesh: tuple[int, int, int] | None = None
    shift: tuple[int, int, int] = (0, 0, 0)
    kpoints: FloatArray | None = field(default=None, compare=False)
    cards: str = ""

    @property
    def gamma_trick(self) -> bool:
        """Whether Γ is the only k-point, so that real wavefunctions halve the work."""
        noncollinear = bool(self.namelists["system"].get("noncolin", False))
        return self.kpoints is None and self.mesh == (1, 1, 1) and self.shift == (0, 0, 0) and not noncollinear

    @property
    def n_kpoints(self) -> int:
        """Number of k-points that the program will have to treat."""
        if self.kpoints is not None:
            return len(self.kpoints)
        if self.mesh is None:
            return 1
        if self.namelists["system"].get("nosym"):
            return int(np.prod(self.mesh)) // 2 + 1
        return count_irreducible(self.structure, self.mesh, self.shift)

    @property
    def n_electrons(self) -> float:
        """Number of valence electrons of the cell."""
        return count_electrons(self.structure, self.pseudopotentials)

    def text(self) -> str:
        """Return the whole input file."""
        atoms = AseAtomsAdaptor.get_atoms(self.structure, msonable=False)
        atoms.set_initial_magnetic_moments(None)
        stream = io.StringIO()
        kpts: Any = self.mesh
        if self.gamma_trick:
            kpts = None
        elif self.kpoints is not None:
            kpts = np.column_stack([self.kpoints, np.full(len(self.kpoints), 1 / len(self.kpoints))])
        write_espresso_in(
            stream,
            atoms,
            input_data={name: dict(keywords) for name, keywords in self.namelists.items()},
            pseudopotentials={element: file.path.name for element, file in self.pseudopotentials.items()},
            kpts=kpts,
            koffset=self.shift,
            crystal_coordinates=True,
            additional_cards=[self.cards] if self.cards else None,
        )
        return stream.getvalue()

    def identity(self) -> dict[str, Any]:
        """Return all that determines the result, for hashing: physics, not paths, threads or time limits."""
        return {
            "lattice": np.round(self.structure.lattice.matrix, 8).tolist(),
            "species": [site.specie.symbol for site in self.structure],
            "positions": np.round(self.structure.frac_coords % 1.0, 8).tolist(),
            "namelists": {
                name: {key: value for key, value in sorted(keywords.items()) if key not in _NOT_PHYSICS}
                for name, keywords in sorted(self.namelists.items())
            },
            "mesh": self.mesh,
            "shift": self.shift,
            "kpoints": None if self.kpoints is None else np.round(self.kpoints, 8).tolist(),
            "pseudopotentials": {element: file.sha256 for element, file in sorted(self.pseudopotentials.items())},
            "cards": self.cards,
        }

    def with_structure(self, structure: Structure) -> "PwInput":
        """Return the same input for another geometry of the same cell content."""
        return replace(self, structure=structure)

    def with_keywords(self, namelist: str, **keywords: Any) -> "PwInput":
        """Return the same input with keywords of a namelist set."""
        changed = {**self.namelists, namelist: {**self.namelists.get(namelist, {}), **keywords}}
        return replace(self, namelists=changed)


EIGENVALUE_THRESHOLD_RY = 1e-9
"""Accuracy of eigenvalues without self-consistency, Ry; pw.x would take 0.1 conv_thr / electrons, far below need."""

_NOT_PHYSICS = {
    "outdir",
    "pseudo_dir",
    "prefix",
    "max_seconds",
    "restart_mode",
    "startingpot",
    "startingwfc",
    "verbosity",
    "disk_io",
    "mixing_beta",
    "mixing_mode",
    "mixing_ndim",
    "electron_maxstep",
    "diagonalization",
    "diago_thr_init",
    "nstep",
}
"""How a result is reached or where it is kept, not what it is."""


def count_electrons(structure: Structure, pseudopotentials: Mapping[str, PseudopotentialFile]) -> float:
    """Return the number of valence electrons of a cell."""
    return float(sum(pseudopotentials[site.specie.symbol].z_valence for site in structure))


def mesh_of(structure: Structure, settings: StepSettings) -> tuple[int, int, int]:
    """Return the mesh that settings mean for a cell."""
    if settings.kpoint_mesh is not None:
        return settings.kpoint_mesh
    assert settings.kpoint_spacing is not None
    return mesh_from_spacing(structure, settings.kpoint_spacing)


def _namelists(
    calculation: str,
    structure: Structure,
    settings: StepSettings,
    theory: Theory,
    pseudopotentials: Mapping[str, PseudopotentialFile],
) -> dict[str, dict[str, Any]]:
    """Return the namelists that all calculations of pw.x share."""
    electrons = count_electrons(structure, pseudopotentials)
    if electrons % 2:
        raise InputError(
            f"{structure.formula}: {electrons:g} electrons, an odd number, cannot fill bands in pairs",
            "a neutral cell of closed-shell ions has an even number; check the cell",
        )
    occupied = int(electrons) if theory.spin_orbit else int(electrons) // 2
    empty = settings.conduction_bands * (2 if theory.spin_orbit else 1)
    system: dict[str, Any] = {
        "ecutwfc": settings.cutoff_wfc_ry,
        "ecutrho": settings.cutoff_rho_ry or 4 * settings.cutoff_wfc_ry,
        "occupations": "fixed",
        "nbnd": occupied + empty,
    }
    if theory.spin_orbit:
        system |= {"noncolin": True, "lspinorb": True}
    if theory.dispersion:
        system |= {"vdw_corr": "grimme-d3", "dftd3_version": 4}
    return {
        "control": {
            "calculation": calculation,
            "prefix": PREFIX,
            "outdir": OUTDIR,
            "pseudo_dir": PSEUDO_DIR,
            "disk_io": "low",
            "tprnfor": True,
            "tstress": calculation in {"scf", "vc-relax"} and theory.hybrid is None,
        },
        "system": system,
        "electrons": {
            "conv_thr": settings.scf_threshold_ry_per_atom * len(structure),
            "electron_maxstep": settings.max_scf_iterations,
            "mixing_beta": settings.mixing_beta,
        },
    }


def relax_input(
    structure: Structure,
    settings: RelaxSettings,
    theory: Theory,
    pseudopotentials: Mapping[str, PseudopotentialFile],
) -> PwInput:
    """Return the input of a relaxation of cell and atoms, or of the atoms alone where the settings say so.

    Orthogonal axes stay orthogonal and keep their directions.

    Raises
    ------
    InputError
        If the axes are orthogonal but do not lie along x, y and z, so that they could not be kept.
    """
    orthogonal = np.allclose(structure.lattice.angles, 90, atol=1e-3)
    if orthogonal and not np.allclose(structure.lattice.matrix, np.diag(structure.lattice.abc), atol=1e-6):
        raise InputError(
            f"relax: the axes of {structure.formula} do not lie along x, y and z",
            "give the orthorhombic cell with a along x, b along y and c along z",
        )
    calculation = "vc-relax" if settings.relax_cell else "relax"
    namelists = _namelists(calculation, structure, settings, theory, pseudopotentials)
    namelists["control"] |= {
        "nstep": settings.max_ionic_steps,
        "forc_conv_thr": settings.force_threshold_ry_bohr,
        "etot_conv_thr": settings.energy_threshold_ry_per_atom * len(structure),
    }
    namelists["ions"] = {"ion_dynamics": "bfgs"}
    if settings.relax_cell:
        namelists["cell"] = {
            "cell_dynamics": "bfgs",
            "cell_dofree": "xyz" if orthogonal else "all",
            "press_conv_thr": settings.pressure_threshold_kbar,
        }
    return PwInput(
        structure, namelists, pseudopotentials, mesh=mesh_of(structure, settings), shift=settings.kpoint_shift
    )


def scf_input(
    structure: Structure, settings: StepSettings, theory: Theory, pseudopotentials: Mapping[str, PseudopotentialFile]
) -> PwInput:
    """Return the input of a self-consistent calculation at fixed atoms."""
    namelists = _namelists("scf", structure, settings, theory, pseudopotentials)
    return PwInput(
        structure, namelists, pseudopotentials, mesh=mesh_of(structure, settings), shift=settings.kpoint_shift
    )


def spin_orbit_input(
    structure: Structure, settings: StepSettings, theory: Theory, pseudopotentials: Mapping[str, PseudopotentialFile]
) -> PwInput:
    """Return the input of a self-consistent calculation with spin-orbit coupling, for its levels alone."""
    return _levels_only(scf_input(structure, settings, theory, pseudopotentials))


def hybrid_input(
    structure: Structure, settings: HybridSettings, theory: Theory, pseudopotentials: Mapping[str, PseudopotentialFile]
) -> PwInput:
    """Return the input of a self-consistent calculation with HSE06 (J. Chem. Phys. 125, 224106 (2006)).

    The program's own defaults are HSE06: a quarter of exact exchange, screened with 0.106 / bohr. Its integrable
    divergence is treated as by Gygi and Baldereschi, with the grid extrapolated to q = 0.

    Raises
    ------
    InputError
        If Γ is not on the mesh (there are no bands after a hybrid scf, so edges come from its mesh), the q mesh does
        not fit into the k mesh, or the cutoff of the exchange is out of the program's bounds.
    """
    pw = _levels_only(scf_input(structure, settings, theory, pseudopotentials))
    if pw.shift != (0, 0, 0):
        raise InputError(
            f"hybrid.kpoint_shift: {list(pw.shift)} leaves Γ off the mesh, and edges can come from the mesh alone",
            "leave kpoint_shift at [0, 0, 0] for the hybrid step",
        )
    mesh = pw.mesh or (1, 1, 1)
    if any(k % q for k, q in zip(mesh, settings.q_mesh, strict=True)):
        raise InputError(
            f"hybrid.q_mesh: {list(settings.q_mesh)} does not fit into the k mesh {list(mesh)}",
            "each number of the q mesh divides that of the k mesh",
        )
    fock = settings.cutoff_fock_ry or settings.cutoff_wfc_ry
    lowest, highest = pw.namelists["system"]["ecutwfc"], pw.namelists["system"]["ecutrho"]
    if not lowest <= fock <= highest:
        raise InputError(
            f"hybrid.cutoff_fock_ry: {fock:g} Ry is not between the cutoffs of wavefunctions and density",
            f"{lowest:g} to {highest:g} Ry; by default the lower one",
        )
    return pw.with_keywords(
        "system",
        input_dft="HSE",
        ecutfock=fock,
        exxdiv_treatment="gygi-baldereschi",
        x_gamma_extrapolation=True,
        **{f"nqx{axis}": n for axis, n in enumerate(settings.q_mesh, start=1)},
    )


def _levels_only(pw: PwInput) -> PwInput:
    """Return the same input without forces and stress."""
    return pw.with_keywords("control", tprnfor=False, tstress=False)


def bands_input(
    structure: Structure,
    settings: StepSettings,
    theory: Theory,
    pseudopotentials: Mapping[str, PseudopotentialFile],
    kpoints: FloatArray,
) -> PwInput:
    """Return the input of bands on listed k-points, from the density of an earlier scf."""
    namelists = _namelists("bands", structure, settings, theory, pseudopotentials)
    namelists["control"] |= {"tprnfor": False}
    namelists["electrons"]["diago_thr_init"] = EIGENVALUE_THRESHOLD_RY
    return PwInput(structure, namelists, pseudopotentials, kpoints=kpoints)


def nscf_input(
    structure: Structure, settings: StepSettings, theory: Theory, pseudopotentials: Mapping[str, PseudopotentialFile]
) -> PwInput:
    """Return the input of bands on a uniform mesh, from the density of an earlier scf."""
    namelists = _namelists("nscf", structure, settings, theory, pseudopotentials)
    namelists["control"] |= {"tprnfor": False}
    namelists["electrons"]["diago_thr_init"] = EIGENVALUE_THRESHOLD_RY
    return PwInput(
        structure, namelists, pseudopotentials, mesh=mesh_of(structure, settings), shift=settings.kpoint_shift
    )


def projwfc_input() -> str:
    """Return the input of projwfc.x: projections only; the density of states is broadened afterwards."""
    return (
        "&PROJWFC\n"
        f"  prefix = '{PREFIX}'\n"
        f"  outdir = '{OUTDIR}'\n"
        "  filpdos = 'pdos'\n"
        "  degauss = 0.01\n"
        "  DeltaE = 0.1\n"
        "/\n"
    )
