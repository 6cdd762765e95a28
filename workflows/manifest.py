"""``DIR/cells.json``: the labels and steps of a study, so that its state is read without building its cells."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from corecrown.files import write_whole
from corecrown.postprocess.results import Step
from corecrown.structures.cells import Cell
from corecrown.workflows.owners import read_json
from corecrown.workflows.spec import StudySpec
from corecrown.workflows.study import steps_of

__all__ = ["MANIFEST", "belongs_to", "read_manifest", "write_manifest"]

MANIFEST = "cells.json"


def write_manifest(folder: Path, spec: StudySpec, cells: Sequence[Cell], steps: Sequence[Step]) -> None:
    """Note the cells of a study and their steps."""
    rows = {cell.label: [step.value for step in steps_of(cell, steps)] for cell in cells}
    content = {"study": _checksum(folder), "name": spec.name, "engine": spec.engine.value, "cells": rows}
    if read_json(folder / MANIFEST) != content:
        write_whole(folder / MANIFEST, json.dumps(content) + "\n")


def belongs_to(spec: StudySpec, folder: Path) -> bool:
    """Whether a folder is known to hold this study; False where its list of cells does not tell."""
    content = read_json(folder / MANIFEST)
    return (content.get("name"), content.get("engine")) == (spec.name, spec.engine.value)


def read_manifest(folder: Path) -> Mapping[str, Sequence[str]] | None:
    """Return label and steps of each cell, or None where there is no list or it is of another study file."""
    content = read_json(folder / MANIFEST)
    rows = content.get("cells")
    if not isinstance(rows, dict) or content.get("study") != _checksum(folder):
        return None
    return rows


def _checksum(folder: Path) -> str | None:
    """Return what tells study files apart; the first line says where it was read from and counts for nothing."""
    try:
        lines = (folder / "study.yaml").read_bytes().split(b"\n")
    except OSError:
        return None
    return hashlib.sha256(b"\n".join(line for line in lines if not line.startswith(b"#"))).hexdigest()
