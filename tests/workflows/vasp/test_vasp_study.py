"""Whole studies with engine: vasp: plan, run, read back what ran by hand; and the same fields as Quantum ESPRESSO's."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from monty.serialization import loadfn
from pymatgen.core import Structure
from pymatgen.io.vasp.inputs import Incar, Kpoints, Poscar

from corecrown.postprocess.results import Step, StepResult
from corecrown.postprocess.study import read_study
from corecrown.resources import read_yaml
from corecrown.workflows.collection import collect_study
from corecrown.workflows.electronic import ElectronicStructureMaker
from corecrown.workflows.local import read_status, run_study
from corecrown.workflows.plan import plan_study
from corecrown.workflows.record import StepFolder
from corecrown.workflows.spec import load_study
from corecrown.workflows.study import build_cells

STEPS = ["relax", "scf", "bands", "pdos", "hybrid", "spin_orbit"]

SMALL = {
    "all": {"kpoint_mesh": [2, 2, 2]},
    "relax": {"kpoint_mesh": [2, 2, 1], "relax_cell": True},
    "bands": {"path": [["X", "Γ", "Y"]], "path_spacing": 0.3},
    "pdos": {"kpoint_mesh": [2, 2, 2]},
}


def study_file(folder, cubic, skewed, steps=STEPS):
    """Write a study of a cell that symmetry keeps orthogonal and one that it does not."""
    cubic.to(filename=str(folder / "cubic.cif"), significant_figures=10)
    plain = skewed.copy()
    plain.remove_site_property("molecule")
    (folder / "skewed.vasp").write_text(Poscar(plain, sort_structure=True).get_str(significant_figures=12))
    content = {
        "name": "two cells",
        "engine": "vasp",
        "protocol": "demo",
        "steps": steps,
        "cells": [{"file": "cubic.cif", "label": "cubic"}, {"file": "skewed.vasp", "label": "skewed"}],
        "overrides": SMALL,
        "experiment": None,
    }
    path = folder / "study.yaml"
    path.write_text(json.dumps(content))
    return load_study(path)


@pytest.fixture
def spec(tmp_path, cubic, skewed):
    folder = tmp_path / "given"
    folder.mkdir()
    return study_file(folder, cubic, skewed)


class TestPlan:
    def test_whole_folders_without_potcars(self, spec, tmp_path, no_potcars):
        planned = plan_study(spec, inputs=tmp_path / "plan")
        assert set(planned.cells) == {"cubic", "skewed"}
        for label, steps in planned.cells.items():
            assert list(steps) == STEPS
            for name, step in steps.items():
                folder = tmp_path / "plan" / step.folder
                assert folder == tmp_path / "plan" / "cells" / label / name
                left = {path.name for path in folder.iterdir()}
                assert {"INCAR", "KPOINTS", "POSCAR", "POTCAR.spec", "run.sh"} <= left
                assert "POTCAR" not in left
                assert int(Incar.from_file(str(folder / "INCAR"))["NBANDS"]) == step.n_bands
                assert Poscar.from_file(str(folder / "POSCAR"), check_for_potcar=False).structure
                assert Kpoints.from_file(str(folder / "KPOINTS"))
                assert "e-" not in (folder / "KPOINTS").read_text().partition("\n")[2]  # no rounding errors
                assert "pmg potcar -f PBE_54 -s" in (folder / "run.sh").read_text()
        assert planned.cells["cubic"]["spin_orbit"].program == "vasp_ncl"
        assert planned.cells["cubic"]["scf"].n_electrons == 44
        assert planned.total_core_hours >= 0

    def test_potcars_where_they_are(self, spec, tmp_path, with_potcars):
        plan_study(spec, inputs=tmp_path / "plan")
        folder = tmp_path / "plan" / "cells" / "skewed" / "scf"
        titles = [line.split()[-2] for line in (folder / "POTCAR").read_text().splitlines() if "TITEL" in line]
        assert titles == (folder / "POTCAR.spec").read_text().split()

    def test_finished_steps_are_counted_as_reused(self, spec, tmp_path, stand_in):
        fewer = spec.changed(steps=["scf", "bands"])
        assert not plan_study(fewer, tmp_path / "run").cells["cubic"]["scf"].reused
        run_study(fewer, tmp_path / "run", ["cubic"])
        planned = plan_study(fewer, tmp_path / "run")
        assert {name: step.reused for name, step in planned.cells["cubic"].items()} == {"scf": True, "bands": True}
        assert not planned.cells["skewed"]["scf"].reused


class TestRun:
    def test_two_cells_through_all_steps(self, spec, tmp_path, stand_in):
        result = run_study(spec, tmp_path / "run")
        assert result.engine == "vasp"
        for cell in result.cells:
            assert cell.failed == {}
            assert set(cell.timings) == set(STEPS)
            assert cell.edges.gap_ev > 0
            assert [(level.functional, level.spin_orbit) for level in cell.levels] == [
                ("PBE", False),
                ("PBE", True),
                ("HSE06", False),
            ]
            for path in cell.files.values():
                assert (tmp_path / "run" / path).is_file()
            on_lines = cell.edges_by_source["bands"]
            assert loadfn(tmp_path / "run" / cell.files["bands"]).efermi == pytest.approx(on_lines.mid_gap_ev)
        read = read_study(tmp_path / "run")
        assert read.bands("cubic").is_spin_polarized is False
        assert read.dos("skewed").pdos
        assert {state.value for row in read_status(tmp_path / "run").values() for state in row.values()} == {"done"}
        before = sorted(path for path in (tmp_path / "run").rglob("attempt-*"))
        run_study(spec, tmp_path / "run")
        assert sorted(path for path in (tmp_path / "run").rglob("attempt-*")) == before

    def test_a_failed_cell_does_not_stop_the_others(self, spec, tmp_path, stand_in, monkeypatch):
        fewer = spec.changed(steps=["scf", "bands"])
        monkeypatch.setenv("VASP_STAND_IN_FAULT", "truncate:cubic/scf")
        result = {cell.label: cell for cell in run_study(fewer, tmp_path / "run").cells}
        assert "vasp_std did not come to a good end" in result["cubic"].failed["scf"]
        assert result["cubic"].edges is None
        assert result["skewed"].failed == {}
        monkeypatch.setenv("VASP_STAND_IN_FAULT", "")
        assert all(cell.failed == {} for cell in run_study(fewer, tmp_path / "run").cells)

    @pytest.mark.nightly
    def test_the_substitution_study(self, tmp_path, stand_in):
        spec = load_study("substitution").changed(engine="vasp", protocol="demo", steps=STEPS)
        result = run_study(spec, tmp_path / "run")
        assert len(result.cells) == 6
        assert all(cell.failed == {} and cell.edges.gap_ev > 0 for cell in result.cells)


class TestByHand:
    """Folders of a plan, run elsewhere with their run.sh, and read back."""

    @pytest.fixture
    def planned(self, spec, tmp_path, stand_in):
        plan_study(spec, inputs=tmp_path / "plan")
        return tmp_path / "plan"

    def run(self, planned, label, steps=STEPS, extra=None):
        for step in steps:
            program = "NCL" if step == "spin_orbit" else "STD"
            command = os.environ[f"CORECROWN_VASP_{program}_COMMAND"]
            script = planned / "cells" / label / step / "run.sh"
            environment = {**os.environ, "VASP": command, **(extra or {})}
            subprocess.run(["sh", str(script)], check=True, capture_output=True, env=environment)

    def test_same_results_as_ours(self, spec, planned, tmp_path):
        ours = {cell.label: cell for cell in run_study(spec, tmp_path / "run", ["cubic"]).cells}["cubic"]
        self.run(planned, "cubic")
        theirs = {cell.label: cell for cell in collect_study(spec, build_cells(spec), planned).cells}
        assert theirs["cubic"].failed == {}
        assert theirs["cubic"].edges.gap_ev == pytest.approx(ours.edges.gap_ev, abs=2e-4)
        assert [level.functional for level in theirs["cubic"].levels] == [level.functional for level in ours.levels]
        assert theirs["cubic"].lattice_a_angstrom == pytest.approx(ours.lattice_a_angstrom, abs=1e-3)
        assert set(theirs["skewed"].failed) == set(STEPS)
        stored = StepFolder(planned / "cells" / "cubic" / "bands").finished()
        assert "run by hand and read back" in stored.notes

    def test_axes_stay_where_symmetry_does_not_keep_them(self, spec, planned):
        self.run(planned, "skewed", ["relax"])
        cells = {cell.label: cell for cell in collect_study(spec, build_cells(spec), planned).cells}
        assert cells["skewed"].timings.keys() == {"relax"}
        assert Structure.from_dict(cells["skewed"].structure).lattice.angles == pytest.approx((90, 90, 90), abs=1e-6)

    def test_other_settings_are_not_taken(self, spec, planned):
        self.run(planned, "cubic", ["relax", "scf"])
        incar = planned / "cells" / "cubic" / "scf" / "INCAR"
        incar.write_text(incar.read_text().replace("ENCUT = 300.0", "ENCUT = 250.0"))
        cells = {cell.label: cell for cell in collect_study(spec, build_cells(spec), planned).cells}
        assert "ENCUT = 250.0 instead of 300.0" in cells["cubic"].failed["scf"]

    def test_another_geometry_is_not_taken(self, spec, planned):
        self.run(planned, "cubic", ["scf", "relax"])  # the scf ran at the cell before it was relaxed
        cells = {cell.label: cell for cell in collect_study(spec, build_cells(spec), planned).cells}
        assert "another geometry" in cells["cubic"].failed["scf"]

    def test_unconverged_and_cut_off_runs_are_not_taken(self, spec, planned):
        self.run(planned, "cubic", ["relax"])
        self.run(planned, "cubic", ["scf"], {"VASP_STAND_IN_FAULT": "unconverged"})
        self.run(planned, "skewed", ["relax"], {"VASP_STAND_IN_FAULT": "truncate"})
        cells = {cell.label: cell for cell in collect_study(spec, build_cells(spec), planned).cells}
        assert "did not converge" in cells["cubic"].failed["scf"]
        assert "not a whole vasprun.xml" in cells["skewed"].failed["relax"]
        attempts = len(list(planned.rglob("attempt-*")))
        collect_study(spec, build_cells(spec), planned)
        assert len(list(planned.rglob("attempt-*"))) == attempts  # said once


def shape(value):
    """Return keys and kinds of a document, numbers and text taken out."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def silicon():
    half = 5.43 / 2
    return Structure([[0, half, half], [half, 0, half], [half, half, 0]], ["Si", "Si"], [[0, 0, 0], [0.25, 0.25, 0.25]])


@pytest.mark.espresso
def test_both_engines_fill_the_same_fields(tmp_path, stand_in):
    """The real pw.x and the stand-in on silicon: the same fields of the same kinds, but for an engine's own."""
    from corecrown.workflows.protocols import load_protocol

    overrides = {
        "all": {"cutoff_wfc_ry": 20, "kpoint_mesh": [2, 2, 2]},
        "pdos": {"kpoint_mesh": [2, 2, 2], "conduction_bands": 4},
        "bands": {"path_spacing": 0.3, "conduction_bands": 4},
    }
    protocol = load_protocol("demo", overrides)
    shapes = {}
    for name in ("espresso", "vasp"):
        make = getattr(ElectronicStructureMaker, f"for_{name}")
        makers = make(protocol, ["scf", "bands", "pdos"])
        source = None
        for step in makers.steps:
            maker = getattr(makers, step.value)
            maker.folder = str(tmp_path / name / step.value)
            output = maker.calculate(silicon(), source)
            source = output if step is Step.SCF else source
            document = output.result.model_dump(mode="json")
            assert set(document) == set(StepResult.model_fields)
            own = {"cutoff_wfc_ry", "cutoff_rho_ry", "encut_ev"}
            document["settings"] = {key: value for key, value in document["settings"].items() if key not in own}
            document["notes"], document["timing"]["notes"] = [], []
            if document["pdos"]:
                document["pdos"]["notes"], document["pdos"]["edge_character"] = [], {}
            shapes[name, step] = shape(document)
    for step in (Step.SCF, Step.BANDS, Step.PDOS):
        assert shapes["vasp", step] == shapes["espresso", step]


def test_study_files_that_ship_can_be_planned_with_vasp(no_potcars):
    planned = plan_study(load_study("substitution").changed(engine="vasp"))
    assert len(planned.cells) == 6
    assert {step.n_electrons for step in planned.cells["fa000"].values()} == {4 * 9 + 4 * 14 + 12 * 7}
    # 19 valence electrons of FA, CH(NH2)2, for the 9 of Cs
    assert {step.n_electrons for step in planned.cells["fa100-b"].values()} == {4 * 19 + 4 * 14 + 12 * 7}


def test_plan_writes_a_study_that_can_be_read_back(spec, tmp_path, no_potcars):
    plan_study(spec, inputs=tmp_path / "plan")
    assert read_yaml(tmp_path / "plan" / "study.yaml")["engine"] == "vasp"
    assert Path(load_study(tmp_path / "plan" / "study.yaml").source).is_file()
