"""What pw.x left: its XML, read into arrays in eV and Å, and into pymatgen's band structures."""

import gzip
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import qeschema
from ase import units
from pymatgen.core import Lattice, Structure
from pymatgen.electronic_structure.core import Spin

from corecrown.errors import InputError, RunError

__all__ = ["PwRun", "find_xml", "read_run"]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PwRun:
    """One run of pw.x.

    Parameters
    ----------
    structure
        Final geometry, Å.
    energy_ev
        Total energy, eV, or None for bands and nscf.
    eigenvalues_ev
        Shape (n_spin, n_kpoints, n_bands), eV.
    occupations
        Shape as ``eigenvalues_ev``, 0 to 1 (a spin-degenerate filled band is 1).
    kpoints
        Shape (n_kpoints, 3), fractional in the reciprocal cell of ``structure``.
    weights
        Shape (n_kpoints,), summing to 1.
    forces_ev_angstrom
        Shape (n_atoms, 3), or None.
    pressure_kbar
        A third of the trace of the stress, kbar, or None.
    """

    structure: Structure
    energy_ev: float | None
    eigenvalues_ev: FloatArray
    occupations: FloatArray
    kpoints: FloatArray
    weights: FloatArray
    fermi_ev: float | None
    n_electrons: float
    spin_orbit: bool
    spin_polarised: bool
    gamma_only: bool
    functional: str
    cutoff_wfc_ry: float
    cutoff_rho_ry: float
    mesh: tuple[int, int, int] | None
    shift: tuple[int, int, int]
    calculation: str
    pseudopotential_files: dict[str, str]
    code_version: str
    scf_converged: bool | None
    relax_converged: bool | None
    scf_iterations: int | None
    ionic_steps: int | None
    forces_ev_angstrom: FloatArray | None
    pressure_kbar: float | None
    wall_s: float | None

    @property
    def spins(self) -> dict[Spin, FloatArray]:
        """Eigenvalues as pymatgen keeps them: by spin, shape (n_bands, n_kpoints)."""
        return {spin: bands.T for spin, bands in zip((Spin.up, Spin.down), self.eigenvalues_ev, strict=False)}


def find_xml(folder: Path) -> Path:
    """Return the XML file of a run: given itself, in the folder, or in a ``.save`` folder below it; gzipped or not.

    Raises
    ------
    InputError
        If there is none, or more than one run.
    """
    if folder.is_file():
        return folder
    names = ("data-file-schema.xml", "data-file-schema.xml.gz")
    direct = [folder / name for name in names if (folder / name).is_file()]
    if direct:
        return direct[0]
    found = sorted(path for name in names for path in folder.rglob(name) if path.parent.suffix == ".save")
    if not found:
        found = sorted(path for name in names for path in folder.rglob(name))
    if not found:
        raise InputError(f"{folder}: no data-file-schema.xml in it or below", "give the folder of a run of pw.x")
    if len(found) > 1:
        raise InputError(f"{folder}: {len(found)} runs of pw.x below it", f"give one of them, for example {found[0]}")
    return found[0]


def read_run(path: Path) -> PwRun:
    """Read the XML of a run of pw.x 6.4 to 7.5.

    Parameters
    ----------
    path
        The XML file, gzipped or not, or a folder that holds one.

    Raises
    ------
    RunError
        If the file is truncated or not an output of pw.x.
    """
    path = find_xml(Path(path))
    document = qeschema.PwDocument()
    try:
        text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        document.from_xml(io.BytesIO(text), validation="lax")
        content = document.to_dict(validation="lax")
        content = content[0] if isinstance(content, tuple) else content
        return _run_from(content["qes:espresso"])
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error}", "check the path and the file's rights") from error
    except Exception as error:
        raise RunError(
            f"{path}: not a whole XML output of pw.x ({type(error).__name__}: {str(error).splitlines()[0][:100]})",
            "the run was cut off or the file is damaged; run it again",
        ) from error


def _run_from(content: dict[str, Any]) -> PwRun:
    output, given = content["output"], content["input"]
    bands = output["band_structure"]
    structure = _structure_from(output["atomic_structure"])
    alat = float(output["atomic_structure"]["@alat"])
    points = _as_list(bands["ks_energies"])
    spin_polarised = bool(bands["lsda"])
    n_spin = 2 if spin_polarised else 1
    eigenvalues = np.array([_values(point["eigenvalues"]) for point in points]) * units.Hartree
    occupations = np.array([_values(point["occupations"]) for point in points])
    n_bands = eigenvalues.shape[1] // n_spin
    eigenvalues = eigenvalues.reshape(len(points), n_spin, n_bands).transpose(1, 0, 2)
    occupations = occupations.reshape(len(points), n_spin, n_bands).transpose(1, 0, 2)
    # k-points are Cartesian in units of 2π / alat; reciprocal_lattice_crystallographic carries no 2π
    cartesian = np.array([point["k_point"]["$"] for point in points]) / (alat * units.Bohr)
    kpoints = structure.lattice.reciprocal_lattice_crystallographic.get_fractional_coords(cartesian)
    weights = np.array([float(point["k_point"]["@weight"]) for point in points])
    mesh, shift = _mesh_from(bands.get("starting_k_points") or given.get("k_points_IBZ") or {})
    convergence = output.get("convergence_info") or {}
    scf, relaxation = convergence.get("scf_conv") or {}, convergence.get("opt_conv") or {}
    calculation = str(given["control_variables"]["calculation"]).strip()
    energy = (output.get("total_energy") or {}).get("etot")
    fermi = bands.get("fermi_energy", bands.get("highestOccupiedLevel"))
    self_consistent = calculation not in {"bands", "nscf"}
    return PwRun(
        structure=structure,
        energy_ev=float(energy) * units.Hartree if energy is not None and self_consistent else None,
        eigenvalues_ev=eigenvalues,
        occupations=occupations,
        kpoints=np.round(kpoints, 10) + 0.0,
        weights=weights / weights.sum(),
        fermi_ev=None if fermi is None else float(fermi) * units.Hartree,
        n_electrons=float(bands["nelec"]),
        spin_orbit=bool(bands.get("spinorbit", False)),
        spin_polarised=spin_polarised,
        gamma_only=bool(output["basis_set"].get("gamma_only", False)),
        functional=str(output["dft"]["functional"]).strip(),
        cutoff_wfc_ry=2 * float(output["basis_set"]["ecutwfc"]),
        cutoff_rho_ry=2 * float(output["basis_set"].get("ecutrho", 4 * output["basis_set"]["ecutwfc"])),
        mesh=mesh,
        shift=shift,
        calculation=calculation,
        pseudopotential_files={
            str(species["@name"]): str(species["pseudo_file"]).strip()
            for species in _as_list(output["atomic_species"]["species"])
        },
        code_version=str(content["general_info"]["creator"]["@VERSION"]),
        scf_converged=scf.get("convergence_achieved") if self_consistent else None,
        relax_converged=relaxation.get("convergence_achieved") if "relax" in calculation else None,
        scf_iterations=sum(int(step["scf_conv"]["n_scf_steps"]) for step in _as_list(content.get("step")))
        or (int(scf["n_scf_steps"]) if "n_scf_steps" in scf else None),
        ionic_steps=len(_as_list(content.get("step"))) or None,
        forces_ev_angstrom=_matrix(output.get("forces"), units.Hartree / units.Bohr),
        pressure_kbar=_pressure(output.get("stress")),
        wall_s=_wall(content.get("timing_info")),
    )


def _structure_from(content: dict[str, Any]) -> Structure:
    cell = np.array([content["cell"][name] for name in ("a1", "a2", "a3")]) * units.Bohr
    atoms = _as_list(content["atomic_positions"]["atom"])
    symbols = ["".join(c for c in str(atom["@name"]) if c.isalpha()) for atom in atoms]
    coords = np.array([atom["$"] for atom in atoms]) * units.Bohr
    return Structure(Lattice(cell), symbols, coords, coords_are_cartesian=True)


def _mesh_from(content: dict[str, Any]) -> tuple[tuple[int, int, int] | None, tuple[int, int, int]]:
    mesh = content.get("monkhorst_pack")
    if not mesh:
        return None, (0, 0, 0)
    n_a, n_b, n_c = (int(mesh[f"@nk{i}"]) for i in (1, 2, 3))
    s_a, s_b, s_c = (int(mesh[f"@k{i}"]) for i in (1, 2, 3))
    return (n_a, n_b, n_c), (s_a, s_b, s_c)


def _pressure(content: dict[str, Any] | None) -> float | None:
    """Pressure in kbar: QE's stress is positive under compression, in Hartree / bohr³."""
    stress = _matrix(content, units.Hartree / units.Bohr**3)
    return None if stress is None else float(np.trace(stress)) / 3 / (1e-4 * units.GPa * 1e3)


def _wall(content: dict[str, Any] | None) -> float | None:
    return float(content["total"]["wall"]) if content and "total" in content else None


def _matrix(content: dict[str, Any] | None, unit: float) -> FloatArray | None:
    """Fortran-ordered (3, n) array of the XML as (n, 3)."""
    return None if content is None else np.array(content["$"]).reshape(-1, 3) * unit


def _values(content: Any) -> list[float]:
    return list(content["$"]) if isinstance(content, dict) else list(content)


def _as_list(content: Any) -> list[Any]:
    if content is None:
        return []
    return content if isinstance(content, list) else [content]
