"""The step masses with VASP's stand-in, whose tight-binding bands are exact: inputs, runs, and folders run by hand."""

import json
import os
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from pymatgen.io.vasp.inputs import Incar, Kpoints

from corecrown.errors import RunError
from corecrown.postprocess.results import MassTensor, Step
from corecrown.workflows.beside import with_beside
from corecrown.workflows.collection import collect_study
from corecrown.workflows.electronic import ElectronicStructureMaker
from corecrown.workflows.local import run_study
from corecrown.workflows.mass_record import read_rounds
from corecrown.workflows.plan import plan_study
from corecrown.workflows.protocols import Theory, load_protocol
from corecrown.workflows.spec import load_study
from corecrown.workflows.study import build_cells
from corecrown.workflows.vasp.jobs import BandsMaker, PdosMaker
from corecrown.workflows.vasp.masses import NEXT_KPOINTS, MassesMaker

STEPS = ["scf", "bands", "pdos", "masses"]
SMALL = {
    "all": {"kpoint_mesh": [2, 2, 2]},
    "bands": {"path": [["X", "Γ", "Y"], ["Γ", "Z", "T", "R"], ["Γ", "S"]], "path_spacing": 0.12},
    "pdos": {"kpoint_mesh": [2, 2, 2]},
}


@pytest.fixture
def spec(tmp_path, cubic):
    cubic.to(filename=str(tmp_path / "cubic.cif"), significant_figures=10)
    content = {
        "name": "masses", "engine": "vasp", "protocol": "demo", "steps": STEPS,
        "cells": [{"file": "cubic.cif", "label": "cubic"}], "overrides": SMALL, "experiment": None,
    }  # fmt: skip
    (tmp_path / "study.yaml").write_text(json.dumps(content))
    return load_study(tmp_path / "study.yaml")


def numbers(mass):
    return mass.principal, mass.extremum_kpoint, mass.degeneracy


def test_the_kpoints_of_a_plan_stand_at_gamma(cubic, no_potcars):
    maker = MassesMaker(settings=load_protocol("demo").settings(Step.MASSES))
    inputs = maker.inputs(cubic)
    # 19 points, of which the two diagonals of each face are one: mmm
    assert inputs.n_kpoints == 13
    assert inputs.incar["ICHARG"] == 11
    assert inputs.incar["EDIFF"] <= 1e-8
    assert not inputs.kpoints[0].any()
    assert (inputs.weights > 0).all()


def test_a_hybrid_has_them_without_weight_beside_its_mesh(cubic, no_potcars):
    settings = load_protocol("demo", {"all": {"kpoint_mesh": [2, 2, 2]}}).settings(Step.MASSES)
    inputs = MassesMaker(settings=settings, theory=Theory(hybrid="HSE06")).inputs(cubic)
    assert "ICHARG" not in inputs.incar
    assert inputs.incar["LHFCALC"]
    assert (inputs.weights == 0).sum() == 13
    assert inputs.weights.sum() == 8
    assert inputs.before is not None


def test_masses_of_a_study(spec, tmp_path, stand_in):
    cell = run_study(spec, tmp_path / "run").cells[0]
    assert cell.failed == {}
    for mass in (cell.masses.electron, cell.masses.hole):
        assert isinstance(mass, MassTensor)
        assert mass.extremum_kpoint is not None
        assert mass.converged or mass.notes
    assert any(mass.principal is not None for mass in (cell.masses.electron, cell.masses.hole))
    assert read_rounds(tmp_path / "run" / "cells" / "cubic" / "masses" / "attempt-001")


def test_spin_orbit_masses_come_where_spin_orbit_is_a_step(spec, tmp_path, stand_in):
    without = ElectronicStructureMaker.for_vasp(spec.load_protocol(), STEPS)
    assert without.masses_spin_orbit is None
    both = spec.changed(steps=[*STEPS, "spin_orbit"])
    cell = run_study(both, tmp_path / "run").cells[0]
    assert cell.failed == {}
    for mass in (cell.masses_spin_orbit.electron, cell.masses_spin_orbit.hole):
        assert mass.principal is None or mass.degeneracy == 2, "Kramers pairs"


def test_masses_do_without_the_projected_mesh_but_not_without_bands(spec, tmp_path, stand_in, monkeypatch):
    def broken(*_, **__):
        raise RunError("broken on purpose")

    with monkeypatch.context() as patch:
        patch.setattr(BandsMaker, "gather", broken)
        patch.setattr(PdosMaker, "gather", broken)
        cell = run_study(spec, tmp_path / "run").cells[0]
    assert set(cell.failed) == {"bands", "pdos", "masses"}
    assert "no bands" in cell.failed["masses"]
    assert cell.masses is None
    monkeypatch.setattr(PdosMaker, "gather", broken)
    cell = run_study(spec, tmp_path / "run").cells[0]
    assert set(cell.failed) == {"pdos"}
    assert cell.masses.hole is not None


class TestByHand:
    @pytest.fixture
    def planned(self, spec, tmp_path, stand_in):
        plan_study(spec, inputs=tmp_path / "plan")
        return tmp_path / "plan"

    def run(self, planned, *steps):
        for step in steps:
            script = planned / "cells" / "cubic" / step / "run.sh"
            environment = {**os.environ, "VASP": os.environ["CORECROWN_VASP_STD_COMMAND"]}
            subprocess.run(["sh", str(script)], check=True, capture_output=True, env=environment)

    def test_collect_asks_for_what_the_edges_need_until_they_have_it(self, spec, planned, tmp_path):
        ours = run_study(spec, tmp_path / "run").cells[0].masses
        self.run(planned, *STEPS)
        folder = planned / "cells" / "cubic" / "masses"
        for _ in range(8):
            cell = collect_study(spec, build_cells(spec), planned).cells[0]
            if not cell.failed:
                break
            assert "more k-points" in cell.failed["masses"]
            shutil.copyfile(folder / NEXT_KPOINTS, folder / "KPOINTS")
            self.run(planned, "masses")
        assert not cell.failed
        for theirs, mine in ((cell.masses.electron, ours.electron), (cell.masses.hole, ours.hole)):
            assert (theirs.principal is None) == (mine.principal is None)
            if mine.principal is not None:
                assert theirs.principal == pytest.approx(mine.principal, rel=0.02)
                assert np.abs(theirs.extremum_kpoint) == pytest.approx(np.abs(mine.extremum_kpoint), abs=2e-3)

    def test_the_plan_writes_a_whole_folder(self, planned):
        folder = planned / "cells" / "cubic" / "masses"
        assert len(Kpoints.from_file(str(folder / "KPOINTS")).kpts) == 13
        assert Incar.from_file(str(folder / "INCAR"))["ICHARG"] == 11
        assert "cp ../scf/CHGCAR" in (folder / "run.sh").read_text()


def test_a_maker_is_given_what_it_looks_at():
    maker = MassesMaker(settings=load_protocol("demo").settings(Step.MASSES))
    assert with_beside(maker, {}).beside == {}
    assert replace(maker, beside={}).extra_identity()["beside"] == {}
