"""Folders that VASP left, anyone's: bands and projected density of states, from one vasprun.xml or from parts.

Bands are read from OUTCAR and PROCAR or EIGENVAL where vasprun.xml was not kept.
"""

import re
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pymatgen.electronic_structure.bandstructure import BandStructure, BandStructureSymmLine
from pymatgen.io.vasp.inputs import Kpoints

from corecrown.errors import InputError, RunError
from corecrown.workflows.bandstructure import line_band_structure, mesh_band_structure
from corecrown.workflows.vasp.outcar import find_outcars, read_outcar_run
from corecrown.workflows.vasp.vasprun import VaspRun, edge_character_of, parse_vasprun, read_run
from corecrown.workflows.vasp.xml_reader import VasprunReader, is_vasprun

__all__ = ["find_vaspruns", "read_vasp_bands", "read_vasp_dos"]

FloatArray = npt.NDArray[np.float64]

OUT_OF_ORDER_EV = 1e-3
"""Levels that stand the wrong way round by less than this count as degenerate."""


def find_vaspruns(path: Path) -> list[Path]:
    """Return the vasprun.xml of a folder, or those of its ``split-*`` folders (bands that were computed in parts).

    Parameters
    ----------
    path
        A folder, or the file itself. Of several runs that followed each other in a folder (``.relax1``, ``.relax2``)
        the last counts.

    Returns
    -------
    list
        Empty where VASP did not run.
    """
    if path.is_file():
        return [path] if "vasprun" in path.name or is_vasprun(path) else []
    own = _last_vasprun(path)
    if own is not None:
        return [own]
    parts = [_last_vasprun(folder) for folder in sorted(path.glob("split-*")) if folder.is_dir()]
    missing = [folder.name for folder, part in zip(sorted(path.glob("split-*")), parts, strict=False) if part is None]
    if parts and missing:
        raise InputError(f"{path}: {missing[0]} holds no vasprun.xml", "one part of the bands did not run")
    return [part for part in parts if part is not None]


def _last_vasprun(folder: Path) -> Path | None:
    for name in ("vasprun.xml", "vasprun.xml.gz"):
        if (folder / name).is_file():
            return folder / name
    numbered = {
        int(match.group(1)): found
        for found in folder.glob("vasprun.xml.*")
        if (match := re.fullmatch(r"vasprun\.xml\.[a-z]*(\d+)(\.gz)?", found.name))
    }
    return numbered[max(numbered)] if numbered else None


def read_vasp_bands(path: Path) -> dict[str, Any]:
    """Read bands from a folder or a vasprun.xml; k-points of zero weight are taken as the lines of a hybrid run.

    Where there is no vasprun.xml, OUTCAR with PROCAR or EIGENVAL tells the same.

    Raises
    ------
    InputError
        If the folder holds no run, or parts that do not belong together.
    RunError
        If a file is cut off or not a vasprun.xml, or a run did not converge.
    """
    files = find_vaspruns(path)
    folders = [file.parent for file in files] or find_outcars(path)
    if not folders:
        raise InputError(
            f"{path}: no vasprun.xml in it or in split-* folders below, nor OUTCAR with PROCAR or EIGENVAL",
            "give the folder of a run of VASP",
        )
    runs = [read_run(file) for file in files] or [read_outcar_run(folder) for folder in folders]
    sources = files or [folder / "OUTCAR" for folder in folders]
    for one, source in zip(runs, sources, strict=True):
        _require_converged(one, source)
    run = runs[0]
    part = run.of_lines if run.on_lines else run.of_mesh
    if len(runs) > 1:
        part = _joined([one.of_lines for one in runs], path)
    occupied = part.eigenvalues_ev[part.occupations > 0.5]
    fermi = run.fermi_ev if run.fermi_ev is not None else float(occupied.max() if occupied.size else 0)
    make = line_band_structure if run.on_lines else mesh_band_structure
    bands = make(part.structure, part.kpoints, part.spins, fermi)
    if isinstance(bands, BandStructureSymmLine):
        bands = _with_labels(bands, folders[0], fermi)
    return {
        "bands": bands,
        "on_lines": run.on_lines,
        "n_electrons": run.n_electrons,
        "functional": run.functional,
        "spin_orbit": run.spin_orbit,
        "code": "VASP",
        "code_version": run.code_version,
        "notes": [*_notes(runs, sources), *_order_notes(part)],
    }


def _joined(parts: Sequence[VaspRun], path: Path) -> VaspRun:
    first = parts[0]
    for part in parts[1:]:
        if part.structure.species != first.structure.species or not np.allclose(
            part.structure.lattice.matrix, first.structure.lattice.matrix, atol=1e-4
        ):
            raise InputError(f"{path}: its split-* folders hold different cells", "give one of them")
    n_bands = min(part.eigenvalues_ev.shape[2] for part in parts)
    return replace(
        first,
        eigenvalues_ev=np.concatenate([part.eigenvalues_ev[:, :, :n_bands] for part in parts], axis=1),
        occupations=np.concatenate([part.occupations[:, :, :n_bands] for part in parts], axis=1),
        kpoints=np.concatenate([part.kpoints for part in parts]),
        weights=np.concatenate([part.weights for part in parts]),
        projections=None,
    )


def _require_converged(run: VaspRun, source: Path) -> None:
    """Raise if the electronic iterations did not converge: the levels of such a run are those of no density."""
    if not run.scf_converged:
        raise RunError(
            f"{source}: the electronic iterations did not converge",
            "raise NELM, or change ALGO or the mixing, and run it again",
        )


def _notes(runs: Sequence[VaspRun], sources: Sequence[Path]) -> list[str]:
    notes = [
        f"{source}: the relaxation did not converge; this is its last geometry, go on from CONTCAR"
        for run, source in zip(runs, sources, strict=True)
        if not run.ionic_converged
    ]
    if len(runs) > 1:
        notes.append(f"bands of {len(runs)} split folders, put together")
    return notes


def _order_notes(run: VaspRun) -> list[str]:
    """Say so where levels do not stand in the order of their energies, as hybrid runs leave them now and then."""
    wrong = int((np.diff(run.eigenvalues_ev, axis=2) < -OUT_OF_ORDER_EV).any(axis=(0, 2)).sum())
    if not wrong:
        return []
    places = f"{wrong} of {len(run.kpoints)} k-points"
    what = "they are taken by energy; programs that follow the order of the file find other masses"
    return [f"VASP wrote the levels of {places} out of order: {what}"]


def _with_labels(bands: BandStructureSymmLine, folder: Path, fermi: float) -> BandStructure:
    """Name corners as the KPOINTS beside the run does, where there is one with names."""
    named = _labels_in(folder)
    if not named:
        return bands
    labels: dict[str, tuple[float, float, float]] = {}
    for old, kpoint in bands.labels_dict.items():
        new = next((name for name, point in named if np.allclose(point, kpoint.frac_coords, atol=1e-4)), old)
        x, y, z = (float(value) for value in kpoint.frac_coords)
        labels[new] = (x, y, z)
    return BandStructureSymmLine(
        np.array([kpoint.frac_coords for kpoint in bands.kpoints]),
        bands.bands,
        bands.lattice_rec,
        fermi,
        labels,
        structure=bands.structure,
    )


def _labels_in(folder: Path) -> list[tuple[str, FloatArray]]:
    """Return names and fractional k-points of a KPOINTS file, or nothing where it has no names or cannot be read."""
    found = next((folder / name for name in ("KPOINTS", "KPOINTS.gz") if (folder / name).is_file()), None)
    if found is None:
        return []
    try:
        kpoints = Kpoints.from_file(str(found))
        labels = kpoints.labels or []
        greek = {"\\Gamma": "Γ", "GAMMA": "Γ", "Gamma": "Γ", "G": "Γ"}
        return [
            (greek.get(label.strip(), label.strip()), np.asarray(point, dtype=float))
            for label, point in zip(labels, kpoints.kpts, strict=False)
            if label and label.strip() and kpoints.coord_type != "Cartesian"
        ]
    except (ValueError, IndexError, OSError, UnicodeDecodeError):
        return []


def read_vasp_dos(path: Path) -> dict[str, Any]:
    """Read the projected density of states from a folder or a vasprun.xml (LORBIT 11).

    Raises
    ------
    InputError
        If the run has no projections.
    RunError
        If the file is cut off, or the run did not converge.
    """
    files = find_vaspruns(path)
    if not files and find_outcars(path):
        raise InputError(f"{path}: no vasprun.xml", "the density of states is read from it; keep it beside OUTCAR")
    if len(files) != 1:
        raise InputError(f"{path}: {len(files)} runs of VASP", "give the folder of one run")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parsed = VasprunReader(str(files[0]), parse_potcar_file=False, parse_projected_eigen=True)
            dos = parsed.complete_dos
            run = parse_vasprun(parsed)
    except Exception as error:
        raise RunError(
            f"{files[0]}: not a whole vasprun.xml with a density of states ({type(error).__name__})",
            "the run was cut off; run it again",
        ) from error
    _require_converged(run, files[0])
    if not dos.pdos:
        raise InputError(f"{files[0]}: no projected density of states", "run VASP with LORBIT = 11")
    return {"dos": dos, "edge_character": edge_character_of(run), "code": "VASP", "notes": _notes([run], files)}
