"""Reading folders of VASP that anyone left: packed or not, in parts, cut off, without projections."""

import gzip
import json
import re
import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymatgen.io.vasp.outputs import Vasprun
from typer.testing import CliRunner

from corecrown.cli.main import app
from corecrown.errors import InputError, RunError
from corecrown.postprocess.edges import find_edges
from corecrown.postprocess.results import Step
from corecrown.workflows.protocols import load_protocol
from corecrown.workflows.readers import read_band_structure, read_dos
from corecrown.workflows.vasp.jobs import MAKERS
from corecrown.workflows.vasp.outputs import find_vaspruns, read_vasp_bands, read_vasp_dos
from corecrown.workflows.vasp.run import copy_density, run_vasp
from corecrown.workflows.vasp.vasprun import ORBITALS, read_core_count, read_elapsed_s, read_run, version_tuple

OVERRIDES = {
    "all": {"kpoint_mesh": [2, 2, 2]},
    "bands": {"path": [["X", "Γ", "Y"], ["Γ", "Z"]], "path_spacing": 0.2},
    "pdos": {"kpoint_mesh": [2, 2, 2]},
    "hybrid": {"path": [["X", "Γ", "Z"]], "path_spacing": 0.3},
}


def inputs_of(step, structure):
    return MAKERS[step](settings=load_protocol("demo", OVERRIDES).settings(step)).inputs(structure)


@pytest.fixture(scope="module")
def computed(cubic, tmp_path_factory, stand_in_for_all):
    """Folders of an scf, bands and projections as VASP leaves them, nothing removed or packed."""
    folder = tmp_path_factory.mktemp("runs")
    run_vasp(folder / "scf", inputs_of(Step.SCF, cubic))
    for name, step in (("bands", Step.BANDS), ("pdos", Step.PDOS)):
        (folder / name).mkdir()
        copy_density(folder / "scf", folder / name)
        run_vasp(folder / name, inputs_of(step, cubic))
    return folder


@pytest.fixture
def runs(computed, tmp_path, stand_in):
    """A copy of them for each test."""
    shutil.copytree(computed, tmp_path, dirs_exist_ok=True)
    return tmp_path


def edges(found):
    return find_edges(
        found["bands"], "bands" if found["on_lines"] else "mesh", found["n_electrons"], spin_orbit=found["spin_orbit"]
    )


def pack(path):
    with gzip.open(f"{path}.gz", "wb") as packed:
        packed.write(path.read_bytes())
    path.unlink()


class TestWholeFolders:
    def test_bands_agree_with_pymatgen(self, runs):
        found = read_vasp_bands(runs / "bands")
        theirs = Vasprun(str(runs / "bands" / "vasprun.xml"), parse_potcar_file=False).get_band_structure(
            line_mode=True
        )
        mine = edges(found)
        assert mine.gap_ev == pytest.approx(theirs.get_band_gap()["energy"], abs=1e-9)
        assert mine.vbm_ev == pytest.approx(theirs.get_vbm()["energy"], abs=1e-9)
        assert mine.cbm_ev == pytest.approx(theirs.get_cbm()["energy"], abs=1e-9)
        assert [branch["name"] for branch in found["bands"].branches] == ["X-Γ", "Γ-Y", "Γ-Z"]
        assert (found["code"], found["functional"], found["n_electrons"]) == ("VASP", "PBE", 44)

    def test_packed_or_not_and_file_or_folder(self, runs):
        plain = edges(read_vasp_bands(runs / "bands"))
        assert edges(read_vasp_bands(runs / "bands" / "vasprun.xml")) == plain
        pack(runs / "bands" / "vasprun.xml")
        pack(runs / "bands" / "KPOINTS")
        assert edges(read_vasp_bands(runs / "bands")) == plain
        assert read_band_structure(runs / "bands").code == "VASP"

    def test_mesh_is_no_line(self, runs):
        found = read_vasp_bands(runs / "scf")
        assert not found["on_lines"]
        assert edges(found).source == "mesh"

    def test_functional_is_that_of_the_potcars_where_incar_names_none(self, runs):
        path = runs / "scf" / "vasprun.xml"
        text = path.read_text().replace('name="GGA">PE<', 'name="GGA">--<')
        path.write_text(text)
        assert read_run(path).functional == "PBE"
        path.write_text(text.replace("PAW_PBE ", "PAW "))  # titles of LDA's begin so
        assert read_run(path).functional == "LDA"

    @pytest.mark.parametrize(
        "tag",
        [
            '<i type="int" name="KINTER">******</i>',
            '<v name="MAGMOM"> 0.00000000************************ 0.00000000</v>',
            '<i type="string" name="ALGO"> 38</i>',
        ],
    )
    def test_what_versions_of_vasp_write(self, runs, tag):
        """Numbers too long for their field, and ALGO as a number."""
        plain = edges(read_vasp_bands(runs / "scf"))
        path = runs / "scf" / "vasprun.xml"
        name = re.search(r'name="\w+"', tag).group()
        text = re.sub(rf" *<[iv][^>]*{name}[^>]*>[^<]*</[iv]>\n", "", path.read_text())
        path.write_text(text.replace("</incar>", f"{tag}\n</incar>").replace("<parameters>", f"<parameters>\n{tag}"))
        assert edges(read_vasp_bands(runs / "scf")) == plain

    def test_a_needed_number_that_is_too_long_is_missed(self, runs):
        path = runs / "scf" / "vasprun.xml"
        path.write_text(re.sub(r'(name="NELECT">)[^<]*', r"\g<1>******", path.read_text()))
        with pytest.raises(RunError, match="KeyError: 'NELECT'"):
            read_run(path)

    def test_a_file_of_another_name(self, runs):
        plain = edges(read_vasp_bands(runs / "bands"))
        other = (runs / "bands" / "vasprun.xml").rename(runs / "bands" / "silicon.xml")
        assert edges(read_vasp_bands(other)) == plain
        assert read_band_structure(other).code == "VASP"
        assert find_vaspruns(runs / "bands" / "INCAR") == []

    def test_pdos(self, runs):
        found = read_vasp_dos(runs / "pdos")
        # the stand-in projects nine tenths of a state
        assert sum(found["edge_character"].vbm.values()) == pytest.approx(0.9, abs=2e-3)
        assert set(found["edge_character"].cbm) <= {
            f"{element}-{letter}" for element in ("Cs", "Pb", "Br") for letter in "spd"
        }
        assert read_dos(runs / "pdos").code == "VASP"

    def test_no_projections(self, runs):
        with pytest.raises(InputError, match="LORBIT = 11"):
            read_vasp_dos(runs / "bands")

    def test_what_a_run_took(self, runs):
        assert read_core_count(runs / "scf") == 1
        assert read_elapsed_s(runs / "scf") == 1.0
        assert read_elapsed_s(runs) is None


class TestParts:
    def test_split_folders_are_put_together(self, runs):
        whole = read_vasp_bands(runs / "bands")
        split = runs / "split"
        lines = (runs / "bands" / "KPOINTS").read_text().splitlines()
        points = lines[3:]
        for number, part in enumerate((points[:7], points[7:]), start=1):
            folder = split / f"split-0{number}"
            shutil.copytree(runs / "bands", folder)
            (folder / "KPOINTS").write_text("\n".join([lines[0], str(len(part)), lines[2], *part]) + "\n")
            rerun(folder)
        found = read_vasp_bands(split)
        assert edges(found).model_dump() == edges(whole).model_dump()
        assert len(found["bands"].kpoints) == len(whole["bands"].kpoints)
        assert "2 split folders" in found["notes"][-1]
        (split / "split-02" / "vasprun.xml").unlink()
        with pytest.raises(InputError, match="split-02"):
            read_vasp_bands(split)

    def test_points_of_zero_weight_are_the_lines(self, cubic, tmp_path, stand_in):
        inputs = inputs_of(Step.HYBRID, cubic)
        run_vasp(tmp_path, inputs)
        found = read_vasp_bands(tmp_path)
        assert found["on_lines"]
        assert found["functional"] == "HSE06"
        assert len(found["bands"].kpoints) == int((inputs.weights == 0).sum())
        assert [branch["name"] for branch in found["bands"].branches] == ["X-Γ", "Γ-Z"]

    def test_last_of_several_relaxations(self, tmp_path):
        for name in ("vasprun.xml.relax1", "vasprun.xml.relax2.gz", "vasprun.xml.relax10"):
            (tmp_path / name).touch()
        assert [path.name for path in find_vaspruns(tmp_path)] == ["vasprun.xml.relax10"]


def rerun(folder):
    """Run the stand-in where a run was, with the files that lie there."""
    import os
    import shlex
    import subprocess

    command = shlex.split(os.environ["CORECROWN_VASP_STD_COMMAND"])
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


class TestDamaged:
    @pytest.mark.parametrize("fraction", [0.0, 0.1, 0.5, 0.9, 0.999])
    def test_cut_off_anywhere(self, runs, fraction):
        path = runs / "scf" / "vasprun.xml"
        content = path.read_bytes()
        path.write_bytes(content[: int(fraction * len(content))])
        with pytest.raises(RunError, match=r"vasprun.xml: not a whole vasprun.xml"):
            read_vasp_bands(runs / "scf")
        with pytest.raises(RunError):
            read_vasp_dos(runs / "scf")

    def test_cut_off_while_packed(self, runs):
        path = runs / "scf" / "vasprun.xml"
        pack(path)
        packed = path.with_name("vasprun.xml.gz")
        packed.write_bytes(packed.read_bytes()[:2000])
        with pytest.raises(RunError, match="run it again"):
            read_vasp_bands(runs / "scf")

    def test_empty_folder(self, tmp_path):
        with pytest.raises(InputError, match=r"no vasprun\.xml"):
            read_vasp_bands(tmp_path)
        with pytest.raises(InputError, match="no such file"):
            read_run(tmp_path / "vasprun.xml")

    def test_unconverged_run_is_refused(self, cubic, tmp_path, stand_in, monkeypatch):
        from corecrown.workflows.vasp.run import write_inputs

        write_inputs(tmp_path, inputs_of(Step.SCF, cubic))
        monkeypatch.setenv("VASP_STAND_IN_FAULT", "unconverged")
        rerun(tmp_path)
        for read in (read_vasp_bands, read_vasp_dos):
            with pytest.raises(RunError, match=r"vasprun\.xml: the electronic iterations did not converge.*NELM"):
                read(tmp_path)

    def test_unconverged_relaxation_is_told(self, runs):
        path = runs / "scf" / "vasprun.xml"
        text = path.read_text()
        path.write_text(re.sub(r'(name="NSW"> *)\d+', r"\g<1>2", re.sub(r'(name="IBRION"> *)-?\d+', r"\g<1>2", text)))
        assert read_vasp_bands(runs / "scf")["notes"] == []
        step = re.search(r" <calculation>.*</calculation>\n", text, re.DOTALL).group()
        path.write_text(path.read_text().replace(step, step + step))
        (note,) = read_vasp_bands(runs / "scf")["notes"]
        assert note == f"{path}: the relaxation did not converge; this is its last geometry, go on from CONTCAR"

    def test_levels_that_vasp_could_not_print(self, runs):
        path = runs / "scf" / "vasprun.xml"
        path.write_text(
            re.sub(r"<r> -?\d+\.\d{4} 1\.0000 </r>", "<r> ********* 1.0000 </r>", path.read_text(), count=1)
        )
        with pytest.raises(RunError, match="could not print"):
            read_run(path)

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(text=st.binary(max_size=300))
    def test_nonsense_is_refused(self, tmp_path, text):
        path = tmp_path / "vasprun.xml"
        path.write_bytes(text)
        with pytest.raises(RunError):
            read_run(path)


def test_orbitals_are_each_named_once():
    assert len(set(ORBITALS)) == 16
    for momentum in range(4):
        assert sorted(m for other, m in ORBITALS if other == momentum) == list(range(1, 2 * momentum + 2))


@pytest.mark.parametrize(
    ("text", "pair"), [("6.5.0", (6, 5)), ("5.4.4.18apr17-6-g9f103f2a35", (5, 4)), ("6.4.3 ", (6, 4)), ("none", (0, 0))]
)
def test_versions(text, pair):
    assert version_tuple(text) == pair


def test_commands_on_a_folder(runs):
    for command, folder in (("bands", "bands"), ("pdos", "pdos"), ("masses", "bands")):
        done = CliRunner().invoke(app, [command, str(runs / folder), "--json"])
        assert done.exit_code == 0, done.output
        document = json.loads(done.stdout)
        assert document
        if command == "bands":
            assert document["code"] == "VASP"
            assert np.isfinite(document["edges"]["gap_ev"])
