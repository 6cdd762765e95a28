"""Folders that other people's runs left, of either code, read into pymatgen objects."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pymatgen.core import Structure
from pymatgen.electronic_structure.bandstructure import BandStructure
from pymatgen.electronic_structure.dos import CompleteDos

from corecrown.errors import InputError, RunError
from corecrown.postprocess.results import EdgeCharacter
from corecrown.workflows.bandstructure import line_band_structure, mesh_band_structure

__all__ = ["BandsFound", "DosFound", "read_band_structure", "read_dos", "read_output_structure"]


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
        If neither code's output is there, or it is damaged.
    """
    with _damaged_is_bad_input():
        return _read_band_structure(_existing(path))


def _read_band_structure(path: Path) -> BandsFound:
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
        If no projections are there, or the output is damaged.
    """
    with _damaged_is_bad_input():
        return _read_dos(_existing(path), sigma_ev)


def _read_dos(path: Path, sigma_ev: float) -> DosFound:
    vasprun = _vasprun_in(path)
    if vasprun is not None:
        from corecrown.workflows.vasp.outputs import read_vasp_dos

        return DosFound(**read_vasp_dos(vasprun))
    from corecrown.workflows.espresso.outputs import find_xml, read_run
    from corecrown.workflows.espresso.projections import find_projections, projected_dos, read_projections

    xml = find_xml(path)
    dos, character = projected_dos(read_run(xml), read_projections(*find_projections(xml, path)), sigma_ev=sigma_ev)
    return DosFound(dos, character, "Quantum ESPRESSO", [f"broadened by Gaussians of {sigma_ev} eV"])


def read_output_structure(path: Path) -> Structure:
    """Read the structure of a calculation's output file: Quantum ESPRESSO XML or vasprun.xml.

    Raises
    ------
    InputError
        If it is not such a file, or damaged.
    """
    with _damaged_is_bad_input():
        from corecrown.workflows.vasp.outputs import find_vaspruns

        if find_vaspruns(path):
            from corecrown.workflows.vasp.vasprun import read_run as read_vasprun

            return read_vasprun(path).structure
        from corecrown.workflows.espresso.outputs import read_run

        return read_run(path).structure


@contextmanager
def _damaged_is_bad_input() -> Iterator[None]:
    """Turn what a run of ours would have failed with into what is wrong with a folder that was given."""
    try:
        yield
    except RunError as error:
        raise InputError(error.message, error.hint) from error


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder", "give the folder of a Quantum ESPRESSO or VASP run")
    return path


def _vasprun_in(path: Path) -> Path | None:
    """Return the path if VASP's output is there, split folders and numbered relaxations included."""
    from corecrown.workflows.vasp.outcar import find_outcars
    from corecrown.workflows.vasp.outputs import find_vaspruns

    return path if find_vaspruns(path) or find_outcars(path) else None
