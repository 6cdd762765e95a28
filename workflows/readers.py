"""Folders that other people's runs left, of either code, read into pymatgen objects."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pymatgen.electronic_structure.bandstructure import BandStructure
from pymatgen.electronic_structure.dos import CompleteDos

from corecrown.errors import InputError
from corecrown.postprocess.results import EdgeCharacter
from corecrown.workflows.bandstructure import line_band_structure, mesh_band_structure

__all__ = ["BandsFound", "DosFound", "read_band_structure", "read_dos"]


@dataclass(frozen=True)
class BandsFound:
    """Bands that were found in a folder.

    Parameters
    ----------
    bands
        pymatgen's BandStructureSymmLine along lines, BandStructure on a mesh.
    on_lines
        Whether the k-points lie on lines.
    n_electrons, functional, spin_orbit, code, code_version
        As the output says.
    notes
        What to keep in mind.
    """

    bands: BandStructure
    on_lines: bool
    n_electrons: float
    functional: str
    spin_orbit: bool
    code: str
    code_version: str
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class DosFound:
    """A density of states that was found in a folder, and what the edges are made of."""

    dos: CompleteDos
    edge_character: EdgeCharacter
    code: str
    notes: list[str] = field(default_factory=list)


def read_band_structure(path: str | Path) -> BandsFound:
    """Read the bands in a folder (or file) that Quantum ESPRESSO or VASP wrote.

    Raises
    ------
    InputError
        If neither code's output is there.
    RunError
        If the output is damaged.
    """
    path = _existing(path)
    vasprun = _vasprun_in(path)
    if vasprun is not None:
        from corecrown.workflows.vasp.outputs import read_vasp_bands

        return BandsFound(**read_vasp_bands(vasprun))
    from corecrown.workflows.espresso.outputs import read_run

    run = read_run(path)
    on_lines = run.mesh is None and len(run.kpoints) > 2
    make = line_band_structure if on_lines else mesh_band_structure
    occupied = run.eigenvalues_ev[run.occupations > 0.5] if (run.occupations > 0.5).any() else run.eigenvalues_ev
    fermi = run.fermi_ev if run.fermi_ev is not None else float(np.max(occupied))
    return BandsFound(
        bands=make(run.structure, run.kpoints, run.spins, fermi),
        on_lines=on_lines,
        n_electrons=run.n_electrons,
        functional=run.functional,
        spin_orbit=run.spin_orbit,
        code="Quantum ESPRESSO",
        code_version=run.code_version,
    )


def read_dos(path: str | Path, sigma_ev: float = 0.1) -> DosFound:
    """Read the projected density of states in a folder that Quantum ESPRESSO (projwfc.x) or VASP wrote.

    Raises
    ------
    InputError
        If no projections are there.
    RunError
        If the output is damaged.
    """
    path = _existing(path)
    vasprun = _vasprun_in(path)
    if vasprun is not None:
        from corecrown.workflows.vasp.outputs import read_vasp_dos

        return DosFound(**read_vasp_dos(vasprun))
    from corecrown.workflows.espresso.outputs import find_xml, read_run
    from corecrown.workflows.espresso.projections import find_projections, projected_dos, read_projections

    xml = find_xml(path)
    dos, character = projected_dos(read_run(xml), read_projections(*find_projections(xml, path)), sigma_ev=sigma_ev)
    return DosFound(dos, character, "Quantum ESPRESSO", [f"broadened by Gaussians of {sigma_ev} eV"])


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder", "give the folder of a Quantum ESPRESSO or VASP run")
    return path


def _vasprun_in(path: Path) -> Path | None:
    """Return the path if VASP's output is there, split folders and numbered relaxations included."""
    from corecrown.workflows.vasp.outputs import find_vaspruns

    return path if find_vaspruns(path) else None
