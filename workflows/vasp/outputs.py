"""What VASP left: vasprun.xml through pymatgen, gzipped or not."""

from pathlib import Path
from typing import Any

from pymatgen.electronic_structure.core import Spin
from pymatgen.io.vasp.outputs import BSVasprun, Vasprun

from corecrown.errors import InputError, RunError
from corecrown.postprocess.pdos import AtomicState, edge_character
from corecrown.postprocess.results import EdgeCharacter

__all__ = ["read_vasp_bands", "read_vasp_dos"]

_L_OF_ORBITAL = {"s": 0, "p": 1, "d": 2, "f": 3}


def read_vasp_bands(vasprun: Path) -> dict[str, Any]:
    """Read bands from vasprun.xml; k-points of zero weight are taken as the lines of a hybrid run.

    Raises
    ------
    RunError
        If the file is cut off or not a vasprun.xml.
    """
    run = _parse(vasprun, projections=False)
    kpoints = vasprun.with_name("KPOINTS")
    on_lines = str(run.kpoints.style).lower().startswith("line") or _has_zero_weights(run)
    try:
        bands = run.get_band_structure(
            kpoints_filename=str(kpoints) if kpoints.is_file() else None, line_mode=on_lines and kpoints.is_file()
        )
    except (ValueError, KeyError, IndexError, AttributeError) as error:
        raise RunError(f"{vasprun}: bands cannot be put together: {error}", "keep KPOINTS beside it") from error
    return {
        "bands": bands,
        "on_lines": on_lines and kpoints.is_file(),
        "n_electrons": float(run.parameters["NELECT"]),
        "functional": str(run.run_type),
        "spin_orbit": bool(run.parameters.get("LSORBIT", False)),
        "code": "VASP",
        "code_version": str(run.vasp_version),
        "notes": [] if run.converged_electronic else ["the electronic iterations of this run did not converge"],
    }


def read_vasp_dos(vasprun: Path) -> dict[str, Any]:
    """Read the projected density of states from vasprun.xml (LORBIT 11).

    Raises
    ------
    InputError
        If the run has no projections.
    """
    run = _parse(vasprun, projections=True)
    dos = run.complete_dos
    if not dos.pdos:
        raise InputError(f"{vasprun}: no projected density of states", "run VASP with LORBIT = 11")
    return {"dos": dos, "edge_character": _character(run), "code": "VASP", "notes": []}


def _character(run: Vasprun) -> EdgeCharacter:
    if not run.projected_eigenvalues:
        return EdgeCharacter(vbm=None, cbm=None, notes=["vasprun.xml has no projected eigenvalues (LORBIT = 11)"])
    spins = [spin for spin in (Spin.up, Spin.down) if spin in run.projected_eigenvalues]
    orbitals = [str(name)[0] for name in _orbital_names(run.projected_eigenvalues[spins[0]].shape[-1])]
    states = [
        AtomicState(index, site.specie.symbol, _L_OF_ORBITAL[letter], order + 1)
        for index, site in enumerate(run.final_structure)
        for order, letter in enumerate(orbitals)
    ]
    import numpy as np

    weights = np.array([run.projected_eigenvalues[spin].reshape(*run.eigenvalues[spin].shape[:2], -1) for spin in spins])
    energies = np.array([run.eigenvalues[spin][:, :, 0] for spin in spins])
    occupied = [int((run.eigenvalues[spin][0, :, 1] > 0.5).sum()) for spin in spins]
    return edge_character(weights, energies, states, occupied[0] if len(spins) == 1 else (occupied[0], occupied[1]))


def _orbital_names(count: int) -> list[str]:
    names = ["s", "py", "pz", "px", "dxy", "dyz", "dz2", "dxz", "dx2", "f1", "f2", "f3", "f4", "f5", "f6", "f7"]
    return ["s", "p", "d", "f"][:count] if count in (3, 4) else names[:count]


def _has_zero_weights(run: Vasprun) -> bool:
    weights = run.actual_kpoints_weights
    return any(weight == 0 for weight in weights) and any(weight > 0 for weight in weights)


def _parse(vasprun: Path, projections: bool) -> Vasprun:
    try:
        kind = Vasprun if projections else BSVasprun
        options = {"parse_potcar_file": False, "parse_projected_eigen": projections}
        return kind(str(vasprun), **options)
    except Exception as error:
        raise RunError(
            f"{vasprun}: not a whole vasprun.xml ({type(error).__name__})", "the run was cut off; run it again"
        ) from error
