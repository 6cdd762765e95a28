"""An ensemble through a whole study: members know their ensemble, results get mean and spread, likes are told."""

import json
from statistics import fmean

import pytest

from corecrown.postprocess.study import read_study
from corecrown.workflows.collection import collect_study
from corecrown.workflows.local import run_study
from corecrown.workflows.spec import load_study
from corecrown.workflows.study import build_cells


@pytest.fixture
def spec(tmp_path, cubic):
    folder = tmp_path / "given"
    folder.mkdir()
    cubic.to(filename=str(folder / "cubic.cif"), significant_figures=10)
    content = {
        "name": "ensemble",
        "engine": "vasp",
        "protocol": "demo",
        "steps": ["scf"],
        "cells": [
            {"fa": 25, "lattice": "fapbbr3", "label": "fa025", "ensemble": {"size": 2, "seed": 1}},
            {"file": "cubic.cif", "label": "one"},
            {"file": "cubic.cif", "label": "two"},
        ],
        "overrides": {"all": {"kpoint_mesh": [1, 1, 1]}},
        "experiment": None,
    }
    path = folder / "study.yaml"
    path.write_text(json.dumps(content))
    return load_study(path)


def test_results_get_mean_and_spread_and_likes_are_told(spec, tmp_path, stand_in):
    result = run_study(spec, tmp_path / "run")
    cells = {cell.label: cell for cell in result.cells}
    assert [cell.ensemble for cell in cells.values()] == ["fa025-e", "fa025-e", None, None]
    (found,) = result.ensembles
    assert found.members == ["fa025-e01", "fa025-e02"]
    gaps = [cells[label].edges.gap_ev for label in found.members]
    assert found.values["edges.gap_ev"].mean == pytest.approx(fmean(gaps))
    assert found.values["energy_ev"].n == 2
    assert {"lattice_a_angstrom", "distortion.pb_br_pb_deg", "distortion.fa_axis_deg.a"} <= set(found.values)
    assert [(pair.first, pair.second) for pair in result.same_structures] == [("one", "two")]
    assert read_study(tmp_path / "run").result.ensembles == result.ensembles
    assert collect_study(spec, build_cells(spec), tmp_path / "run").ensembles == result.ensembles
