"""What a cell begins with, where that takes a job of its own: CHGNet's pre-relaxation, or other cells as relaxed."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jobflow import job
from pymatgen.core import Structure

from corecrown.files import write_whole
from corecrown.workflows.record import make_key

__all__ = ["PRERELAXED", "prerelax_cell", "remember_failure", "start_failure", "start_note", "stored_start"]

START = "start.json"
FAILED_START = "start-failure.json"
PRERELAXED = "pre-relaxed with CHGNet before the first step"
"""Note of a cell that is pre-relaxed; :func:`start_note` says more once that is done."""

_VERSION = 3
"""Raised where pre-relaxation changes, so that what it gave before is not taken."""


@job
def prerelax_cell(structure: Structure, folder: str | None = None) -> Structure:
    """Relax cell and atoms with CHGNet, or give back what it gave before for the same structure.

    Parameters
    ----------
    structure
        The cell as it was built.
    folder
        Folder of the cell, where the result is kept; nothing is kept if None.
    """
    stored = None if folder is None else stored_start(structure, Path(folder))
    if stored is not None:
        return stored
    from corecrown.structures.prerelaxation import prerelax

    with remember_failure(folder):
        relaxed, report = prerelax(structure)
    if folder is not None:
        content = {"key": _key(structure), "report": report.model_dump(mode="json"), "structure": relaxed.as_dict()}
        write_whole(Path(folder) / START, json.dumps(content))
    return relaxed


@contextmanager
def remember_failure(folder: str | None) -> Iterator[None]:
    """Keep beside the cell why its start could not be made, since no step is there to say so."""
    path = None if folder is None else Path(folder) / FAILED_START
    try:
        yield
    except Exception as error:
        if path is not None:
            write_whole(path, json.dumps({"message": str(error)}))
        raise
    if path is not None:
        path.unlink(missing_ok=True)


def start_failure(folder: Path) -> str | None:
    """Return why the start of the cell in this folder could not be made, None if it could."""
    try:
        return str(json.loads((folder / FAILED_START).read_text(encoding="utf-8"))["message"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def stored_start(structure: Structure, folder: Path) -> Structure | None:
    """Return the pre-relaxed cell that is kept for a structure, or None."""
    try:
        content = json.loads((folder / START).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return Structure.from_dict(content["structure"]) if content.get("key") == _key(structure) else None


def start_note(folder: Path) -> str | None:
    """Say what pre-relaxation did to the cell in this folder, None if it did not run there."""
    from corecrown.structures.prerelaxation import PrerelaxReport

    try:
        content = json.loads((folder / START).read_text(encoding="utf-8"))
        return PrerelaxReport.model_validate(content["report"]).sentence()
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _key(structure: Structure) -> str:
    return make_key(
        {
            "version": _VERSION,
            "lattice": np.round(structure.lattice.matrix, 8).tolist(),
            "species": [site.specie.symbol for site in structure],
            "positions": np.round(structure.frac_coords % 1.0, 8).tolist(),
        }
    )
