"""Jobs of VASP with the stand-in under custodian: results, resume, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from monty.serialization import loadfn
from pymatgen.core import Structure
from pymatgen.io.vasp import inputs as pymatgen_inputs

from corecrown.errors import InputError, RunError
from corecrown.postprocess.results import Step
from corecrown.settings import get_settings
from corecrown.workflows.protocols import load_protocol
from corecrown.workflows.record import StepFolder, StepState
from corecrown.workflows.vasp.handlers import CHANGE_PHYSICS, default_handlers, require_same_physics
from corecrown.workflows.vasp.jobs import MAKERS
from corecrown.workflows.vasp.run import find_command, write_inputs

pytestmark = pytest.mark.usefixtures("stand_in")

SMALL = {
    "all": {"kpoint_mesh": [2, 2, 2]},
    "relax": {"kpoint_mesh": [2, 2, 2], "relax_cell": True},
    "bands": {"path": [["X", "Γ", "Y"], ["Γ", "Z"]], "path_spacing": 0.2},
    "pdos": {"kpoint_mesh": [2, 2, 2]},
}


def maker_of(step, folder, overrides=SMALL):
    return MAKERS[step](settings=load_protocol("demo", overrides).settings(step), folder=str(folder), label="cell")


def attempts(folder):
    return [path.name for path in StepFolder(Path(folder)).attempts()]


def restarted(monkeypatch, fault=""):
    monkeypatch.setenv("VASP_STAND_IN_FAULT", fault)


class TestSteps:
    """A cell of high symmetry through all steps."""

    @pytest.fixture
    def scf(self, cubic, tmp_path):
        return maker_of(Step.SCF, tmp_path / "scf").calculate(cubic)

    def test_scf(self, scf, cubic):
        result = scf.result
        assert (result.engine, result.code, result.code_version) == ("vasp", "VASP", "6.5.0")
        assert result.n_electrons == 9 + 14 + 3 * 7
        assert result.settings.encut_ev == 300
        assert result.settings.pseudopotentials["Pb"].file == "PAW_PBE Pb_d 01Jan2000"
        assert result.edges.source == "mesh"
        assert result.edges.gap_ev > 0
        assert (Path(scf.dir_name) / result.files["density"]).is_file()
        left = {path.name for path in Path(scf.dir_name).iterdir()}
        assert not left & {"WAVECAR", "POTCAR", "CHG", "vasprun.xml"}

    def test_relaxation_keeps_the_axes(self, cubic, tmp_path):
        output = maker_of(Step.RELAX, tmp_path / "relax").calculate(cubic)
        relaxed = Structure.from_dict(output.structure)
        assert np.allclose(relaxed.lattice.angles, 90, atol=1e-6)
        # the stand-in's cells come to rest at multiples of 0.05 Å
        steps = np.array(relaxed.lattice.abc) / 0.05
        assert np.allclose(steps, np.round(steps), atol=2e-3)
        assert output.result.notes == []
        assert (Path(output.dir_name) / "INCAR.relax1.gz").is_file()
        assert output.result.timing.ionic_steps > 2

    def test_atoms_alone(self, skewed, tmp_path):
        kept = SMALL | {"relax": {"kpoint_mesh": [2, 2, 2], "relax_cell": False}}
        output = maker_of(Step.RELAX, tmp_path / "relax", kept).calculate(skewed)
        assert np.allclose(Structure.from_dict(output.structure).lattice.matrix, skewed.lattice.matrix, atol=1e-7)
        assert not list(Path(output.dir_name).glob("*.relax*"))
        assert output.result.notes == []

    def test_bands_and_pdos_start_from_the_density(self, scf, cubic, tmp_path):
        bands = maker_of(Step.BANDS, tmp_path / "bands").calculate(cubic, scf)
        assert bands.result.edges.source == "bands"
        line = loadfn(Path(bands.dir_name) / bands.result.files["bands"])
        assert [branch["name"] for branch in line.branches] == ["X-Γ", "Γ-Y", "Γ-Z"]
        pdos = maker_of(Step.PDOS, tmp_path / "pdos").calculate(cubic, scf)
        summary = pdos.result.pdos
        # the stand-in projects nine tenths of every state
        assert summary.spilling == pytest.approx(0.1, abs=1e-3)
        assert sum(summary.edge_character.vbm.values()) == pytest.approx(0.9, abs=1e-3)
        dos = loadfn(Path(pdos.dir_name) / summary.file)
        step = dos.energies[1] - dos.energies[0]
        filled = dos.energies <= pdos.result.edges.vbm_ev + 0.9
        total = sum(np.asarray(values)[filled].sum() for values in dos.densities.values()) * step
        assert total == pytest.approx(44, abs=0.2)  # the electrons of the cell

    def test_bands_need_an_scf_of_the_same_cell(self, scf, cubic, tmp_path):
        other = cubic.copy()
        other.scale_lattice(cubic.volume * 1.05)
        with pytest.raises(RunError, match="not of this calculation"):
            maker_of(Step.BANDS, tmp_path / "bands").calculate(other, scf)
        with pytest.raises(RunError, match="no scf to start from"):
            maker_of(Step.BANDS, tmp_path / "bands2").calculate(cubic, None)

    def test_hybrid_starts_from_a_run_without_exchange(self, cubic, tmp_path, scf):
        output = maker_of(Step.HYBRID, tmp_path / "hybrid").calculate(cubic)
        assert output.result.settings.functional == "HSE06"
        # the stand-in's hybrid opens the gap by 0.8 eV
        assert output.result.edges.gap_ev - scf.result.edges.gap_ev == pytest.approx(0.8, abs=0.01)
        assert (Path(output.dir_name) / "vasprun.xml.before.gz").is_file()

    def test_hybrid_bands_along_lines(self, cubic, tmp_path):
        overrides = SMALL | {"hybrid": {"path": [["X", "Γ", "Z"]], "path_spacing": 0.3}}
        output = maker_of(Step.HYBRID, tmp_path / "hybrid", overrides).calculate(cubic)
        line = loadfn(Path(output.dir_name) / output.result.files["bands"])
        assert [branch["name"] for branch in line.branches] == ["X-Γ", "Γ-Z"]

    def test_spin_orbit_is_run_by_vasp_ncl_and_lowers_the_gap(self, scf, cubic, tmp_path):
        output = maker_of(Step.SPIN_ORBIT, tmp_path / "so").calculate(cubic)
        assert output.result.settings.spin_orbit
        assert output.result.edges.gap_ev < scf.result.edges.gap_ev - 0.1

    def test_spin_orbit_at_gamma_alone_is_not_left_to_another_program(self, cubic, tmp_path):
        """custodian would call vasp_gam for a mesh of one point; the stand-in takes LSORBIT as vasp_ncl alone."""
        gamma = SMALL | {"spin_orbit": {"kpoint_mesh": [1, 1, 1]}}
        output = maker_of(Step.SPIN_ORBIT, tmp_path / "so", gamma).calculate(cubic)
        assert (output.result.settings.spin_orbit, output.result.settings.kpoint_mesh) == (True, (1, 1, 1))

    def test_hybrid_with_spin_orbit(self, cubic, tmp_path, scf):
        output = maker_of(Step.HYBRID_SPIN_ORBIT, tmp_path / "both").calculate(cubic)
        assert (output.result.settings.functional, output.result.settings.spin_orbit) == ("HSE06", True)
        coupled = maker_of(Step.SPIN_ORBIT, tmp_path / "so").calculate(cubic).result.edges.gap_ev
        # the stand-in's hybrid opens the gap by 0.8 eV
        assert output.result.edges.gap_ev - coupled == pytest.approx(0.8, abs=0.01)


class TestAxesWithoutSymmetry:
    """A cell that would shear."""

    def test_axis_by_axis_from_vasp_6_5_on(self, skewed, tmp_path):
        output = maker_of(Step.RELAX, tmp_path / "relax").calculate(skewed)
        relaxed = Structure.from_dict(output.structure)
        assert np.allclose(relaxed.lattice.angles, 90, atol=1e-8)
        assert "LATTICE_CONSTRAINTS" in output.result.notes[0]
        assert relaxed.species == skewed.species
        assert relaxed.site_properties["molecule"] == skewed.site_properties["molecule"]
        assert np.allclose(relaxed.frac_coords, skewed.frac_coords, atol=1e-6)  # the stand-in moves no atoms

    def test_squared_with_an_older_version(self, skewed, tmp_path, monkeypatch):
        monkeypatch.setenv("VASP_STAND_IN_FAULT", "old-version")
        output = maker_of(Step.RELAX, tmp_path / "relax").calculate(skewed)
        assert np.allclose(Structure.from_dict(output.structure).lattice.angles, 90, atol=1e-8)
        assert "angles set back to 90°" in output.result.notes[0]
        assert "shear held" in output.result.notes[0]


class TestResume:
    def test_a_finished_step_is_given_back(self, cubic, tmp_path):
        first = maker_of(Step.SCF, tmp_path / "scf").calculate(cubic)
        again = maker_of(Step.SCF, tmp_path / "scf").calculate(cubic)
        assert again.dir_name == first.dir_name
        assert again.result.model_dump(mode="json") == first.result.model_dump(mode="json")
        assert attempts(tmp_path / "scf") == ["attempt-001"]

    def test_another_setting_is_computed_anew(self, cubic, tmp_path):
        maker_of(Step.SCF, tmp_path / "scf").calculate(cubic)
        changed = SMALL | {"scf": {"encut_ev": 320}}
        assert maker_of(Step.SCF, tmp_path / "scf", changed).calculate(cubic).result.settings.encut_ev == 320
        assert attempts(tmp_path / "scf") == ["attempt-001", "attempt-002"]

    def test_a_broken_relaxation_goes_on_from_its_last_geometry(self, skewed, tmp_path, monkeypatch):
        maker = maker_of(Step.RELAX, tmp_path / "relax")
        restarted(monkeypatch, "crash")
        with pytest.raises(RunError):
            maker.calculate(skewed)
        assert StepFolder(tmp_path / "relax").state() is StepState.FAILED
        restarted(monkeypatch)
        output = maker.calculate(skewed)
        assert output.result.folder == "attempt-002"
        assert output.result.notes[0] == "went on from the last geometry of attempt-001"
        assert output.result.timing.attempts == 2
        relaxed = Structure.from_dict(output.structure)
        assert relaxed.species == skewed.species


class TestRefused:
    def test_truncated_vasprun(self, cubic, tmp_path, monkeypatch):
        restarted(monkeypatch, "truncate")
        with pytest.raises(RunError, match="vasp_std did not come to a good end"):
            maker_of(Step.SCF, tmp_path / "scf").calculate(cubic)
        assert StepFolder(tmp_path / "scf").finished() is None
        assert StepFolder(tmp_path / "scf").failure()

    def test_unconverged_run(self, cubic, tmp_path, monkeypatch):
        restarted(monkeypatch, "unconverged")
        with pytest.raises(RunError, match="did not converge"):
            maker_of(Step.SCF, tmp_path / "scf").calculate(cubic)
        assert StepFolder(tmp_path / "scf").finished() is None

    def test_too_few_ionic_steps_are_continued(self, cubic, tmp_path):
        few = SMALL | {
            "relax": {
                "relax_cell": True,
                "kpoint_mesh": [2, 2, 2],
                "max_ionic_steps": 3,
                "force_threshold_ry_bohr": 5e-3,
            }
        }
        output = maker_of(Step.RELAX, tmp_path / "relax", few).calculate(cubic)
        errors = [
            correction["errors"]
            for log in sorted(Path(output.dir_name).glob("custodian.json*"))
            for job in json.loads(log.read_text())
            for correction in job["corrections"]
        ]
        assert len(output.result.notes) == 0
        assert all(error == ["Unconverged"] for error in errors)

    @pytest.mark.parametrize("command", ["", "no-such-program --flag"])
    def test_no_command(self, cubic, tmp_path, monkeypatch, command):
        monkeypatch.setenv("CORECROWN_VASP_STD_COMMAND", command)
        get_settings.cache_clear()
        with pytest.raises(InputError, match="vasp_std"):
            maker_of(Step.SCF, tmp_path / "scf").calculate(cubic)
        assert "CORECROWN_VASP_STD_COMMAND" in StepFolder(tmp_path / "scf").failure()

    def test_nothing_on_the_path(self, monkeypatch):
        monkeypatch.delenv("CORECROWN_VASP_STD_COMMAND")
        monkeypatch.setenv("PATH", "")
        get_settings.cache_clear()
        from corecrown.workflows.vasp.inputs import Program

        with pytest.raises(InputError, match="no command for vasp_std"):
            find_command(Program.STD)

    def test_no_potcars(self, cubic, tmp_path, monkeypatch):
        monkeypatch.delitem(pymatgen_inputs.SETTINGS, "PMG_VASP_PSP_DIR")
        with pytest.raises(InputError, match="PMG_VASP_PSP_DIR"):
            maker_of(Step.SCF, tmp_path / "scf").calculate(cubic)

    def test_missing_potcar_is_said_in_the_record(self, cubic, tmp_path, monkeypatch):
        monkeypatch.setitem(pymatgen_inputs.SETTINGS, "PMG_VASP_PSP_DIR", str(tmp_path))
        for _ in range(2):
            with pytest.raises(InputError, match="no POTCAR of"):
                maker_of(Step.SCF, tmp_path / "scf").calculate(cubic)
        assert "no POTCAR of" in StepFolder(tmp_path / "scf").failure()
        assert attempts(tmp_path / "scf") == ["attempt-001"]

    def test_what_vasp_refuses_is_told_in_its_words(self, cubic, tmp_path):
        maker = maker_of(Step.SPIN_ORBIT, tmp_path / "so")
        inputs = maker.inputs(cubic).with_incar(MAGMOM="3*0")
        from corecrown.workflows.vasp.run import run_vasp

        with pytest.raises(RunError, match="MAGMOM has 3 entries instead of 15"):
            run_vasp(tmp_path / "so", inputs)


class TestHandlers:
    def test_none_changes_smearing_or_mesh(self):
        names = {type(handler).__name__ for handler in default_handlers()}
        assert not names & {"IncorrectSmearingHandler", "LargeSigmaHandler", "KspacingMetalHandler"}
        assert "MeshSymmetryErrorHandler" not in names
        caught = set(default_handlers()[0].errors_subset_to_catch)
        assert not caught & CHANGE_PHYSICS
        assert {"tet", "dentet", "algo_tet"} <= CHANGE_PHYSICS

    def test_fixed_occupations_leave_the_algorithm_alone(self):
        names = {type(handler).__name__ for handler in default_handlers(fixed_occupations=True)}
        assert not names & {"UnconvergedErrorHandler", "NonConvergingErrorHandler"}

    def test_changed_physics_is_refused(self, cubic, tmp_path):
        inputs = maker_of(Step.SCF, tmp_path).inputs(cubic)
        write_inputs(tmp_path, inputs)
        kpoints = inputs.files()["KPOINTS"]
        require_same_physics(tmp_path, inputs.incar, kpoints)
        write_inputs(tmp_path, inputs.with_incar(ALGO="All", ISYM=0))
        require_same_physics(tmp_path, inputs.incar, kpoints)
        write_inputs(tmp_path, inputs.with_incar(ISMEAR=1))
        with pytest.raises(RunError, match="ISMEAR = 1 instead of 0"):
            require_same_physics(tmp_path, inputs.incar, kpoints)
        write_inputs(tmp_path, inputs)
        (tmp_path / "KPOINTS").write_text("other\n0\nGamma\n1 1 1\n")
        with pytest.raises(RunError, match="other k-points"):
            require_same_physics(tmp_path, inputs.incar, kpoints)
