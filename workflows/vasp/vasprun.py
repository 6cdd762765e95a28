"""One run of VASP as its vasprun.xml tells it, gzipped or not, whole runs only, in arrays in eV and Å."""

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from monty.io import zopen
from pymatgen.core import Structure
from pymatgen.electronic_structure.core import Spin
from pymatgen.io.vasp.inputs import Kpoints
from pymatgen.io.vasp.outputs import Vasprun

from corecrown.errors import InputError, RunError
from corecrown.postprocess.edges import METAL_NOTE
from corecrown.postprocess.pdos import AtomicState, edge_character
from corecrown.postprocess.results import EdgeCharacter
from corecrown.workflows.vasp.xml_reader import VasprunReader

__all__ = [
    "VaspRun",
    "atomic_states",
    "edge_character_of",
    "functional_name",
    "parse_vasprun",
    "points_on_lines",
    "read_core_count",
    "read_elapsed_s",
    "read_run",
    "version_tuple",
]

FloatArray = npt.NDArray[np.float64]

ORBITALS: tuple[tuple[int, int], ...] = (
    *((0, 1),),
    *((1, 3), (1, 1), (1, 2)),
    *((2, 5), (2, 3), (2, 1), (2, 2), (2, 4)),
    *((3, 7), (3, 5), (3, 3), (3, 1), (3, 2), (3, 4), (3, 6)),
)
"""l and m of VASP's projections, which stand in the order s, py pz px, dxy dyz dz2 dxz dx2-y2, f(-3) to f(3); m counts
as in :class:`~corecrown.postprocess.pdos.AtomicState`."""


@dataclass(frozen=True)
class VaspRun:
    """One run of VASP.

    Parameters
    ----------
    structure
        Final geometry, Å, atoms in the order of POSCAR.
    energy_ev
        Total energy without the entropy term, eV, or None for a run without self-consistency.
    eigenvalues_ev
        Shape (n_spin, n_kpoints, n_bands), eV.
    occupations
        Shape as ``eigenvalues_ev``, 0 to 1.
    kpoints
        Shape (n_kpoints, 3), fractional in the reciprocal cell of ``structure``.
    weights
        Shape (n_kpoints,), summing to 1; zero for points that only bands were wanted at.
    stress_kbar
        Shape (3, 3), positive under compression, or None.
    projections
        Shape (n_spin, n_kpoints, n_bands, n_states), or None.
    on_lines
        Whether bands were computed along lines, all k-points or those of zero weight.
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
    functional: str
    encut_ev: float
    mesh: tuple[int, int, int] | None
    on_lines: bool
    code_version: str
    scf_converged: bool
    ionic_converged: bool
    scf_iterations: int
    ionic_steps: int
    stress_kbar: FloatArray | None
    incar: dict[str, Any] = field(repr=False)
    potcar_titles: tuple[str, ...] = ()
    projections: FloatArray | None = field(default=None, repr=False)

    @property
    def spins(self) -> dict[Spin, FloatArray]:
        """Eigenvalues as pymatgen keeps them: by spin, shape (n_bands, n_kpoints)."""
        return {spin: bands.T for spin, bands in zip((Spin.up, Spin.down), self.eigenvalues_ev, strict=False)}

    @property
    def pressure_kbar(self) -> float | None:
        """A third of the trace of the stress, kbar."""
        return None if self.stress_kbar is None else float(np.trace(self.stress_kbar)) / 3

    def at(self, chosen: npt.NDArray[np.bool_]) -> "VaspRun":
        """Return the same run with some of its k-points."""
        weights = self.weights[chosen]
        return replace(
            self,
            eigenvalues_ev=self.eigenvalues_ev[:, chosen],
            occupations=self.occupations[:, chosen],
            kpoints=self.kpoints[chosen],
            weights=weights / weights.sum() if weights.sum() > 0 else weights,
            projections=None if self.projections is None else self.projections[:, chosen],
        )

    @property
    def of_mesh(self) -> "VaspRun":
        """The same run at the k-points that carry weight."""
        return self.at(self.weights > 0)

    @property
    def of_lines(self) -> "VaspRun":
        """The same run at the k-points along lines: those of zero weight where there are any, otherwise all."""
        without = self.weights == 0
        return self.at(without) if without.any() and not without.all() else self


def read_run(path: Path, *, projections: bool = False) -> VaspRun:
    """Read a vasprun.xml.

    Parameters
    ----------
    path
        The file, gzipped or not.
    projections
        Whether to read the projections on orbitals (LORBIT = 11), which takes long.

    Raises
    ------
    InputError
        If there is no such file.
    RunError
        If the file is cut off, or is not one that VASP wrote.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file", "give the folder of a run of VASP")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an unconverged run is told by its fields
            run = VasprunReader(str(path), parse_potcar_file=False, parse_projected_eigen=projections)
            return parse_vasprun(run)
    except Exception as error:
        said = str(error).splitlines()[0][:100] if str(error) else ""
        raise RunError(
            f"{path}: not a whole vasprun.xml ({type(error).__name__}: {said})",
            "the run was cut off or the file is damaged; run it again",
        ) from error


def parse_vasprun(run: Vasprun) -> VaspRun:
    """Return what pymatgen read of a run; raises ValueError where it has no whole eigenvalues."""
    if not run.ionic_steps or run.eigenvalues is None:
        raise ValueError("no calculation with eigenvalues in it")
    spins = [spin for spin in (Spin.up, Spin.down) if spin in run.eigenvalues]
    kpoints, weights, eigenvalues = run.actual_kpoints, run.actual_kpoints_weights, run.eigenvalues
    projected, on_lines = run.projected_eigenvalues, _lies_on_lines(run)
    extra = run.kpoints_opt_props
    if extra is not None and extra.eigenvalues is not None and extra.actual_kpoints is not None:
        kpoints, weights, eigenvalues = extra.actual_kpoints, np.zeros(len(extra.actual_kpoints)), extra.eigenvalues
        projected, on_lines = extra.projected_eigenvalues, True
    levels = np.array([eigenvalues[spin][:, :, 0] for spin in spins])
    if not np.isfinite(levels).all():
        raise ValueError("levels that VASP could not print")
    weights = np.asarray(weights, dtype=float)
    parameters = run.parameters
    self_consistent = int(run.incar.get("ICHARG", 0)) < 10
    last = run.ionic_steps[-1]
    stress = last.get("stress")
    return VaspRun(
        structure=run.final_structure,
        energy_ev=float(run.final_energy) if self_consistent else None,
        eigenvalues_ev=levels,
        occupations=np.array([eigenvalues[spin][:, :, 1] for spin in spins]),
        kpoints=np.round(np.asarray(kpoints, dtype=float), 10) + 0.0,
        weights=weights / weights.sum() if weights.sum() > 0 else weights,
        fermi_ev=None if run.efermi is None else float(run.efermi),
        n_electrons=float(parameters["NELECT"]),
        spin_orbit=bool(parameters.get("LSORBIT", False)),
        functional=_functional(run),
        encut_ev=float(parameters.get("ENMAX", run.incar.get("ENCUT", 0))),
        mesh=_mesh(run),
        on_lines=on_lines,
        code_version=str(run.vasp_version).strip(),
        scf_converged=bool(run.converged_electronic),
        ionic_converged=bool(run.converged_ionic),
        scf_iterations=sum(len(step["electronic_steps"]) for step in run.ionic_steps),
        ionic_steps=len(run.ionic_steps),
        stress_kbar=None if stress is None else np.array(stress, dtype=float),
        incar={str(tag): value for tag, value in dict(run.incar).items()},
        potcar_titles=tuple(str(title).strip() for title in run.potcar_symbols),
        projections=None if not projected else _projections(projected, spins, levels),
    )


def _projections(projected: Any, spins: Sequence[Spin], levels: FloatArray) -> FloatArray:
    return np.array([projected[spin].reshape(*levels.shape[1:], -1) for spin in spins])


def _lies_on_lines(run: Vasprun) -> bool:
    """Tell whether k-points lie along lines: line mode, points of zero weight, or a list with a given density."""
    style = run.kpoints.style
    if style == Kpoints.supported_modes.Line_mode:
        return True
    listed = style not in {Kpoints.supported_modes.Gamma, Kpoints.supported_modes.Monkhorst}
    given_density = int(run.incar.get("ICHARG", 0)) >= 10
    weights = np.asarray(run.actual_kpoints_weights, dtype=float)
    return points_on_lines(weights, listed=listed, given_density=given_density)


def points_on_lines(weights: FloatArray, *, listed: bool, given_density: bool) -> bool:
    """Tell from weights (n,) whether k-points lie along lines: some without weight, or a list with a given density."""
    if (weights == 0).any() and (weights > 0).any():
        return True
    return bool(listed and given_density and len(weights) > 2 and np.allclose(weights, weights[0]))


def _mesh(run: Vasprun) -> tuple[int, int, int] | None:
    if run.kpoints.style not in {Kpoints.supported_modes.Gamma, Kpoints.supported_modes.Monkhorst}:
        return None
    divisions = np.ravel(run.kpoints.kpts[0])
    if len(divisions) != 3:
        return None
    n_a, n_b, n_c = (int(number) for number in divisions)
    return n_a, n_b, n_c


def _functional(run: Vasprun) -> str:
    """Return the functional as a result names it: PBE, PBEsol, LDA, HSE06, or what pymatgen calls it."""
    parameters = run.parameters
    gga = str(parameters.get("GGA", "")).strip().upper()
    said = str(run.run_type)
    if gga in {"", "--"}:
        title = str(run.potcar_symbols[0]) if run.potcar_symbols else ""
        gga = next((tag for head, tag in _OF_POTCAR.items() if title.startswith(head)), gga)
    return functional_name(
        gga if parameters.get("LHFCALC", False) or said.startswith(("GGA", "PBE", "LDA", "unknown")) else "",
        hybrid=bool(parameters.get("LHFCALC", False)),
        screening=float(parameters.get("HFSCREEN", 0)),
        exact=float(parameters.get("AEXX", 0.25)),
        dispersion=int(run.incar.get("IVDW", 0)),
        otherwise=said,
    )


_OF_POTCAR = {"PAW_PBE": "PE", "PAW_GGA": "91", "PAW_LDA": "CA", "PAW ": "CA"}
"""What POTCARs were made with, by how their titles begin: the functional where INCAR names none."""

_GGA_NAMES = {"PE": "PBE", "PS": "PBEsol", "CA": "LDA", "91": "PW91", "RP": "RPBE", "RE": "revPBE", "AM": "AM05"}


def functional_name(
    gga: str, *, hybrid: bool, screening: float, exact: float, dispersion: int, otherwise: str = ""
) -> str:
    """Return the functional as a result names it.

    Parameters
    ----------
    gga
        VASP's GGA tag, or what stands for it in the POTCARs (LEXCH).
    hybrid, screening, exact
        LHFCALC, HFSCREEN in 1/Å and AEXX.
    dispersion
        IVDW.
    otherwise
        What it is called where these do not tell.
    """
    if hybrid:
        is_hse06 = abs(screening - 0.2) < 0.011 and abs(exact - 0.25) < 1e-6
        name = "HSE06" if is_hse06 else otherwise or "hybrid"
    else:
        name = _GGA_NAMES.get(gga) or otherwise or gga or "unknown"
    return f"{name}+D3" if dispersion in {11, 12} and "+" not in name else name


def atomic_states(structure: Structure, n_states: int) -> list[AtomicState]:
    """Return what the last axis of projections counts.

    Parameters
    ----------
    structure
        The cell, atoms in the order of POSCAR.
    n_states
        Length of that axis: 4, 9 or 16 an atom (LORBIT = 11), or 3 or 4 where only l was kept (LORBIT = 10).
    """
    per_atom = n_states // len(structure)
    known = ORBITALS[:per_atom] if per_atom in {1, 4, 9, 16} else tuple((letter, 1) for letter in range(per_atom))
    return [
        AtomicState(index, site.specie.symbol, momentum, m)
        for index, site in enumerate(structure)
        for momentum, m in known
    ]


def edge_character_of(run: VaspRun) -> EdgeCharacter:
    """Return what the edge states of a run are made of."""
    if run.projections is None:
        return EdgeCharacter(vbm=None, cbm=None, notes=["vasprun.xml has no projected eigenvalues (LORBIT = 11)"])
    states = atomic_states(run.structure, run.projections.shape[-1])
    if len(run.eigenvalues_ev) == 1:
        filled: int | tuple[int, int] = round(run.n_electrons if run.spin_orbit else run.n_electrons / 2)
    else:
        up, down = (round(float(channel.sum(axis=1).mean())) for channel in run.occupations)
        filled = (up, down)
    if _overlap(run.eigenvalues_ev, [filled] if isinstance(filled, int) else list(filled)):
        return EdgeCharacter(vbm=None, cbm=None, notes=[METAL_NOTE])
    found = edge_character(run.projections, run.eigenvalues_ev, states, filled)
    parts = {edge: getattr(found, edge) for edge in ("vbm", "cbm")}
    present = {edge: part and {label: share for label, share in part.items() if share} for edge, part in parts.items()}
    return found.model_copy(update=present)


def _overlap(levels: FloatArray, filled: Sequence[int]) -> bool:
    """Tell whether filled and empty bands overlap; levels are (n_spin, n_kpoints, n_bands)."""
    tops = [of_spin[:, n - 1].max() for of_spin, n in zip(levels, filled, strict=True) if n > 0]
    bottoms = [of_spin[:, n].min() for of_spin, n in zip(levels, filled, strict=True) if n < levels.shape[2]]
    return bool(tops and bottoms and max(tops) >= min(bottoms))


def version_tuple(version: str) -> tuple[int, int]:
    """Return major and minor number of a version such as 6.4.3; (0, 0) where there are none."""
    match = re.match(r"(\d+)\.(\d+)", version)
    return (int(match.group(1)), int(match.group(2))) if match else (0, 0)


def read_core_count(folder: Path) -> int:
    """Return on how many cores a run says it ran; 1 where its OUTCAR does not say."""
    match = re.search(r"running on\s+(\d+)\s+(?:total cores|nodes|mpi-ranks)", _outcar(folder)[:20_000], re.IGNORECASE)
    return int(match.group(1)) if match else 1


def read_elapsed_s(folder: Path) -> float | None:
    """Return how long a run says it took, s, or None where its OUTCAR does not say."""
    match = re.search(r"Elapsed time \(sec\):\s+([\d.]+)", _outcar(folder)[-20_000:])
    return float(match.group(1)) if match else None


def _outcar(folder: Path) -> str:
    for name in ("OUTCAR", "OUTCAR.gz"):
        path = folder / name
        if path.is_file():
            with zopen(path, "rt", errors="replace") as stream:
                return str(stream.read())
    return ""
