"""A whole study on disk: writing it, reading it back, and what hangs on it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pymatgen.core import Structure

from corecrown.errors import InputError, known_names
from corecrown.files import write_whole
from corecrown.postprocess.cells import assemble_cell, describe_level
from corecrown.postprocess.results import CellResult, StudyResult

__all__ = ["STUDY_FILE", "Study", "assemble_cell", "describe_level", "read_study", "write_study"]

STUDY_FILE = "study.json"


def write_study(result: StudyResult, folder: Path) -> Path:
    """Write ``study.json``: whole or not at all, whatever happens in between.

    Returns
    -------
    Path
        The file that was written.
    """
    return write_whole(
        Path(folder) / STUDY_FILE,
        result.model_dump_json(indent=1) + "\n",
        InputError,
        "check the disk and the permissions",
    )


def read_study(folder: Path | str) -> "Study":
    """Read a study back from its folder.

    Parameters
    ----------
    folder
        Where ``study.json`` is, or that file itself.

    Raises
    ------
    InputError
        If there is no study, or the file is not one; the message names the field.
    """
    folder = Path(folder)
    path = folder if folder.is_file() else folder / STUDY_FILE
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise InputError(
            f"{path}: not found", "give the folder that 'corecrown study run STUDY.yaml -d DIR' made"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not text", "give the folder of a study, or its study.json") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}", "check the path") from error
    try:
        content = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        where = f"{path}:{error.lineno}" if isinstance(error, json.JSONDecodeError) else str(path)
        raise InputError(
            f"{where}: not valid JSON", "was the file cut off? 'corecrown study run' writes it anew"
        ) from error
    try:
        result = StudyResult.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "top level"
        raise InputError(
            f"{path}, field {field}: {first['msg']}",
            "the file is not the study.json of this version of corecrown",
        ) from error
    return Study(result=result, folder=path.parent)


@dataclass(frozen=True)
class Study:
    """A study and the folder its files are in.

    What ``StudyResult`` has (``cells``, ``protocol``, ``comparison`` and so on) is had from the study too,
    and a cell by its label: ``study["fa025-b"]``, or ``study.fa025_b`` with underscores for hyphens.
    """

    result: StudyResult
    folder: Path

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in {"result", "folder"}:
            raise AttributeError(name)
        if name in StudyResult.model_fields:
            return getattr(self.result, name)
        for cell in self.result.cells:
            if cell.label.replace("-", "_") == name:
                return cell
        raise AttributeError(f"a study has no {name!r}; cells: {', '.join(self.labels) or 'none'}")

    def __getitem__(self, label: str) -> CellResult:
        return self.cell(label)

    def __dir__(self) -> list[str]:
        cells = [label.replace("-", "_") for label in self.labels]
        return sorted({*super().__dir__(), *StudyResult.model_fields, *cells})

    @property
    def labels(self) -> list[str]:
        """Labels of all cells, in the order of the study."""
        return [cell.label for cell in self.result.cells]

    def cell(self, label: str) -> CellResult:
        """Return one cell by its label."""
        for cell in self.result.cells:
            if cell.label == label:
                return cell
        raise InputError(f"{self.folder / STUDY_FILE}: no cell {label!r}", known_names(label, self.labels, "cells"))

    def structure(self, label: str) -> Structure:
        """Return the pymatgen Structure of a cell, relaxed where it was relaxed."""
        cell = self.cell(label)
        try:
            return Structure.from_dict(cell.structure)
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise InputError(
                f"{self.folder / STUDY_FILE}, cell {label}, field structure: not a pymatgen structure",
                str(error),
            ) from error

    def bands(self, label: str) -> Any:
        """Return the pymatgen BandStructureSymmLine of a cell, its Fermi energy in the middle of the gap.

        Bands without self-consistency do not know it: older files hold the valence edge of the scf, which may lie some
        tenths of a meV below that of the lines, and pymatgen would call the cell a metal.
        """
        bands, edges = self._load(label, "bands"), self.cell(label).edges
        if edges is not None and edges.mid_gap_ev is not None:
            bands.efermi = edges.mid_gap_ev
        return bands

    def dos(self, label: str) -> Any:
        """Return the pymatgen CompleteDos of a cell."""
        return self._load(label, "dos")

    def compare(self, experiment: Any, gap_uncertainty_ev: float | None = None) -> Any:
        """Set the study beside an experiment.

        Parameters
        ----------
        experiment
            Name of a file of ``inputs/experiments``, a path, or an experiment that was read before.
        gap_uncertainty_ev
            How far the gaps are from converged ones, eV; by default what the study's protocol says.

        Returns
        -------
        Comparison
        """
        from corecrown.postprocess.comparison import compare_study, load_experiment
        from corecrown.postprocess.shifts import known_gap_uncertainty

        if isinstance(experiment, str | Path):
            experiment = load_experiment(experiment)
        known = known_gap_uncertainty(self.result) if gap_uncertainty_ev is None else gap_uncertainty_ev
        return compare_study(self.result, experiment, known)

    def to_dataframe(self) -> Any:
        """Return a pandas DataFrame, a row a cell, indexed by label, units in the names of its columns."""
        try:
            import pandas as pd
        except ModuleNotFoundError as error:
            raise InputError("to_dataframe needs pandas", "pip install 'corecrown[notebooks]'") from error
        return pd.DataFrame([_flat_row(cell) for cell in self.result.cells], columns=_COLUMNS).set_index("label")

    def file(self, label: str, name: str) -> Path:
        """Return where a file of a cell is.

        Raises
        ------
        InputError
            If the cell has none of that name, or it is gone.
        """
        cell = self.cell(label)
        relative = cell.files.get(name)
        if relative is None:
            reason = "; ".join(f"{step} failed: {why}" for step, why in cell.failed.items())
            raise InputError(
                f"{self.folder / STUDY_FILE}, cell {label}: files has no {name!r}" + (f" ({reason})" if reason else ""),
                f"it has: {', '.join(cell.files) or 'none'}",
            )
        path = self.folder / relative
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise InputError(
                f"{self.folder / STUDY_FILE}, cell {label}: file {name} lies outside the study: {relative}",
                "paths of files are relative to the study folder",
            )
        if not path.is_file():
            raise InputError(
                f"{path}: not found, though cell {label} names it as its {name} file",
                "copy the study folder with its cells, or run the study again",
            )
        return path

    def _load(self, label: str, name: str) -> Any:
        from monty.serialization import loadfn

        path = self.file(label, name)
        try:
            loaded = loadfn(path)
        except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: cannot be read as {name}: {error}", "run the step again") from error
        if isinstance(loaded, dict | list | str):
            raise InputError(f"{path}: holds no pymatgen {name}", "run the step again")
        return loaded


_COLUMNS = [
    "label",
    "fa_fraction",
    "alignment",
    "formula",
    "level",
    "gap_ev",
    "vbm_ev",
    "cbm_ev",
    "direct",
    "lattice_a_angstrom",
    "lattice_b_angstrom",
    "lattice_c_angstrom",
    "volume_angstrom3",
    "pb_br_pb_deg",
    "bond_length_variance",
    "angle_variance_deg2",
    "electron_gamma_x",
    "electron_gamma_y",
    "electron_gamma_z",
    "hole_gamma_x",
    "hole_gamma_y",
    "hole_gamma_z",
    "excitation_ev",
    "core_s",
    "failed",
]


def _flat_row(cell: CellResult) -> dict[str, Any]:
    row = {name: getattr(cell, name) for name in _COLUMNS if name in CellResult.model_fields}
    row["level"] = describe_level(cell.settings) if cell.settings else None
    if cell.edges is not None:
        row |= {name: getattr(cell.edges, name) for name in ("gap_ev", "vbm_ev", "cbm_ev", "direct")}
    if cell.distortion is not None:
        angles = cell.distortion.pb_br_pb_deg
        row["pb_br_pb_deg"] = sum(angles) / len(angles) if angles else None
        row["bond_length_variance"] = cell.distortion.bond_length_variance
        row["angle_variance_deg2"] = cell.distortion.angle_variance_deg2
    for carrier in ("electron", "hole"):
        mass = getattr(cell.masses, carrier, None)
        row |= {f"{carrier}_gamma_{axis}": getattr(mass, f"path_gamma_{axis}", None) for axis in "xyz"}
    row["excitation_ev"] = cell.excitation[0].energy_ev if cell.excitation else None
    row["core_s"] = sum(timing.core_s for timing in cell.timings.values()) if cell.timings else None
    row["failed"] = ", ".join(cell.failed)
    return row
