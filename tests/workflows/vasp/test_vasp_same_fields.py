"""Shipped results of the real Quantum ESPRESSO and results with the stand-in for VASP: the same fields, of one kind."""

import json

import pytest

from corecrown.postprocess.results import CellResult, Step
from corecrown.resources import input_folder
from corecrown.workflows.local import run_study
from corecrown.workflows.spec import load_study

STEPS = ["relax", "scf", "bands", "pdos", "masses", "hybrid", "excitation"]

SMALL = {
    "all": {"kpoint_mesh": [1, 1, 1]},
    "bands": {"path": [["X", "Γ", "Y"]], "path_spacing": 0.1},
    "pdos": {"kpoint_mesh": [1, 1, 1]},
}

AN_ENGINES_OWN = {"cutoff_wfc_ry", "cutoff_rho_ry", "encut_ev"}
NOT_COMPARED = ("structure.properties", "files.", "masses.electron", "timings.")
"""Where a cell and its runs came from, names of an engine's files, and the stand-in's warped conduction edge."""

ONLY_ESPRESSO = {
    "settings.q_mesh[]",
    "excitation[].electron_kept",
    "excitation[].hole_kept",
    "excitation[].tries",
    *(f"excitation[].participation.{name}" for name in ("electron_atoms", "electron_volume")),
    *(f"excitation[].participation.{name}" for name in ("hole_atoms", "hole_volume")),
    *(f"excitation[].spread.{name}.{group}" for name in ("electron", "hole") for group in ("Br", "Cs", "Pb")),
}
"""VASP sums exact exchange over its whole mesh, and leaves no orbitals on a grid that are read here."""

TEXT = {"notes", "formula", "setting", "label"}


def kinds(value, path=""):
    """Return by path what kind a value has: elements of a list, names of orbitals and steps under one path each.

    Masses with spin-orbit coupling are of the type of those without it, and count with them.
    """
    if isinstance(value, dict):
        if path == "step_settings":
            value = {"*": list(value.values())}
        if path.endswith(("edge_character.vbm", "edge_character.cbm", "_by_group")):
            return {f"{path}.*": {type(item).__name__ for item in value.values()}}
        found = {}
        for key, item in value.items():
            if key not in AN_ENGINES_OWN | TEXT:
                name = "masses" if key == "masses_spin_orbit" and not path else key
                merge(found, kinds(item, f"{path}.{name}" if path else name))
        return found
    if isinstance(value, list):
        found = {}
        for item in value:
            merge(found, kinds(item, f"{path}[]"))
        return found
    return {
        path: {"number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__}
    }


def merge(into, more):
    for path, names in more.items():
        into.setdefault(path, set()).update(names)


def shipped():
    """Return what kinds the fields of all shipped cells of cesium lead bromide have."""
    found = {}
    for path in sorted(input_folder("reference").glob("*/study.json")):
        study = json.loads(path.read_text())
        assert study["engine"] == "espresso"
        for cell in study["cells"]:
            if cell["label"] == "fa000":
                assert set(cell) <= set(CellResult.model_fields)
                merge(found, kinds(cell))
    return found


@pytest.fixture(scope="module")
def with_vasp(tmp_path_factory, stand_in_for_all):
    folder = tmp_path_factory.mktemp("fields")
    content = {
        "name": "fields",
        "engine": "vasp",
        "protocol": "demo",
        "steps": STEPS,
        "cells": [{"fa": 0}],
        "overrides": SMALL,
        "experiment": None,
    }
    (folder / "study.yaml").write_text(json.dumps(content))
    (cell,) = run_study(load_study(folder / "study.yaml"), folder / "run").cells
    assert cell.failed == {}
    assert set(cell.timings) == {Step(step).value for step in STEPS}
    document = cell.model_dump(mode="json")
    assert set(document) == set(CellResult.model_fields)
    return kinds(document)


def filled(fields):
    """Return the paths that hold something in some cell."""
    return {path for path, names in fields.items() if names != {"NoneType"}}


def test_both_engines_fill_the_same_fields_of_a_cell(with_vasp):
    real = shipped()
    only_real = {path for path in filled(real) - filled(with_vasp) if not path.startswith(NOT_COMPARED)}
    assert only_real == ONLY_ESPRESSO
    both = filled(real) & filled(with_vasp)
    apart = {path: (real[path] - {"NoneType"}, with_vasp[path] - {"NoneType"}) for path in both}
    assert {path: pair for path, pair in apart.items() if pair[0] != pair[1]} == {}
