"""Delta-SCF with VASP: occupations as they are written and kept, energies, and where electron and hole are."""

import gzip
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.io.vasp.inputs import Incar

from corecrown.errors import RunError
from corecrown.postprocess.cells import assemble_cell
from corecrown.postprocess.excitation_cubes import read_density
from corecrown.postprocess.excitation_level import excitation_level
from corecrown.postprocess.results import Step
from corecrown.settings import get_settings
from corecrown.workflows.protocols import load_protocol
from corecrown.workflows.record import StepFolder
from corecrown.workflows.vasp.collect import adopt_run
from corecrown.workflows.vasp.excitation import ExcitationMaker, Kind, occupations_of, repeated
from corecrown.workflows.vasp.excitation_charges import SPHERES, read_chgcar
from corecrown.workflows.vasp.preview import write_folder
from corecrown.workflows.vasp.run import run_vasp


def maker_of(folder, **fields):
    settings = load_protocol("demo").settings(Step.EXCITATION)
    return ExcitationMaker(settings=settings, folder=str(folder), **fields)


@given(pairs=st.integers(1, 40), empty=st.integers(1, 20), kind=st.sampled_from([None, *Kind]))
def test_occupations_hold_the_electrons_and_read_back(pairs, empty, kind):
    up, down = occupations_of(kind, pairs, pairs + empty)
    extra = {None: 0, Kind.NEUTRAL: 0, Kind.ELECTRON: 1, Kind.HOLE: -1}[kind]
    assert up.sum() + down.sum() == 2 * pairs + extra
    read = [float(value) for value in Incar.from_str(f"FERWE = {repeated(up)}\n")["FERWE"]]
    assert np.array_equal(read, up)


def test_neutral_excitation_promotes_the_highest_electron():
    up, down = occupations_of(Kind.NEUTRAL, 93, 104)
    assert repeated(up) == "92*1 1*0 1*1 10*0"
    assert repeated(down) == "93*1 11*0"


def test_energy_is_that_of_the_orbitals_of_the_stand_in(cubic, tmp_path, stand_in):
    output = maker_of(tmp_path / "x", kinds=("neutral", "electron", "hole")).calculate(cubic)
    found = {excitation.kind: excitation for excitation in output.result.excitation}
    assert set(found) == {"neutral", "electron", "hole"}
    neutral = found["neutral"]
    # the stand-in's orbitals do not relax: the promotion costs the Kohn-Sham gap, as electron and hole together do
    assert neutral.energy_ev == pytest.approx(neutral.ks_gap_ev, abs=2e-3)
    assert found["electron"].energy_ev + found["hole"].energy_ev == pytest.approx(neutral.energy_ev, abs=2e-3)
    assert all(excitation.occupations_kept for excitation in found.values())
    assert sum(neutral.electron_by_group.values()) == pytest.approx(1, abs=1e-5)
    assert neutral.electron_by_group["Pb-Br"] > 0.9
    assert found["electron"].hole_by_group is None
    assert found["hole"].electron_by_group is None
    folder = Path(output.dir_name)
    assert {output.result.files[name] for name in ("density", "density_neutral")} == {
        "CHGCAR.gz",
        "CHGCAR.neutral.gz",
    }
    assert not list(folder.glob("WAVECAR*"))
    written = Incar.from_file(str(folder / "INCAR"))
    assert written["ISMEAR"] == -2


def test_supercell_is_named_with_the_level(cubic, tmp_path, stand_in):
    output = maker_of(tmp_path / "x", supercell=(1, 1, 2)).calculate(cubic)
    assert output.result.n_electrons == 88
    found = output.result.excitation[0]
    assert found.occupations_kept
    assert (found.supercell, found.orbitals) == ((1, 1, 2), "vbm>cbm")
    cell = assemble_cell(
        label="cubic",
        fa_fraction=0,
        alignment=None,
        structure=cubic,
        steps={Step.EXCITATION: output.result},
    )
    encut = output.result.settings.encut_ev
    assert encut
    expected = f"PBE, no spin-orbit, {encut:g} eV, 1×1×1 mesh of the 1×1×2 supercell"
    assert excitation_level(cell, cell.excitation[0]) == expected


def test_number_of_occupations_must_be_that_of_the_bands(cubic, tmp_path, stand_in):
    inputs = maker_of(tmp_path).inputs(cubic).with_incar(NBANDS=48)
    with pytest.raises(RunError, match="FERWE has 40 entries instead of NBANDS x NKPTS = 48"):
        run_vasp(tmp_path / "x", inputs)


class TestSmearingIsNotReset:
    """custodian answers complaints about the tetrahedron method with ISMEAR = 0, whatever occupations were given."""

    @pytest.fixture
    def complaint(self, stand_in, monkeypatch):
        monkeypatch.setenv("VASP_STAND_IN_FAULT", "tetrahedron")

    def test_that_cure_is_left_out(self, cubic, tmp_path, complaint):
        output = maker_of(tmp_path / "x").calculate(cubic)
        assert output.result.excitation[0].occupations_kept
        said = gzip.decompress((Path(output.dir_name) / "vasp.out.neutral.gz").read_bytes())
        assert b"Tetrahedron method fails" in said
        assert Incar.from_file(str(Path(output.dir_name) / "INCAR"))["ISMEAR"] == -2

    def test_where_a_user_brings_it_back_the_run_is_refused(self, cubic, tmp_path, complaint, monkeypatch):
        monkeypatch.setenv("CORECROWN_EXTRA_HANDLERS", '["custodian.vasp.handlers.VaspErrorHandler"]')
        get_settings.cache_clear()
        with pytest.raises(RunError, match="an error handler changed what is computed: ISMEAR = 0 instead of -2"):
            maker_of(tmp_path / "x").calculate(cubic)
        assert StepFolder(tmp_path / "x").finished() is None


@pytest.fixture(scope="module")
def mixed(cubic):
    """A cell whose bromine atoms do not stand together."""
    return cubic.copy().get_sorted_structure(key=lambda site: site.frac_coords[0] - site.frac_coords[1])


@pytest.fixture(scope="module")
def output(mixed, tmp_path_factory, stand_in_for_all):
    folder = tmp_path_factory.mktemp("charge") / "x"
    return maker_of(folder, kinds=("neutral", "electron", "hole")).calculate(mixed)


class TestCharge:
    """Densities that the stand-in writes: a Gaussian of 1 Å on each atom, with what the filled states have there."""

    def test_gained_less_lost_is_what_was_added(self, output):
        for found in output.result.excitation:
            assert found.notes[:-1] == [] if found.kind != "neutral" else found.notes == []
            added = {"neutral": 0, "electron": 1, "hole": -1}[found.kind]
            for partition in found.partitions:
                tolerance = 1e-3 if partition.scheme == SPHERES else 1e-4
                assert sum(partition.net.values()) == pytest.approx(added, abs=tolerance)
        assert output.result.excitation[0].moved_e > 0.1

    def test_lead_gains_and_bromine_loses(self, output):
        (neutral, *_) = output.result.excitation
        assert {one.scheme for one in neutral.partitions} == {"Voronoi with ionic radii", "Bader", SPHERES}
        for partition in neutral.partitions:
            assert partition.net["Pb"] > 0.1
            assert partition.net["Br"] < -0.1
            assert abs(partition.net["Cs"]) < 0.1
        assert neutral.gained_by_group["Pb-Br"] > 0.9 * neutral.moved_e
        assert neutral.scheme.endswith("gained and lost: Voronoi with ionic radii")

    def test_each_charge_is_on_its_atom(self, output, mixed):
        """Atoms stand by element in CHGCAR, in another order in our cell: the difference is largest at lead."""
        symbols = [site.specie.symbol for site in mixed]
        assert symbols.index("Pb") not in (0, len(symbols) - 1)
        folder = Path(output.dir_name)
        difference = read_density(folder / output.result.files["difference_electron"])
        assert difference.total == pytest.approx(1, abs=1e-3)
        place = np.array(np.unravel_index(difference.values.argmax(), difference.values.shape))
        lead = next(site for site in difference.structure if site.specie.symbol == "Pb")
        distance, _ = lead.distance_and_image_from_frac_coords(place / np.array(difference.values.shape))
        assert distance < 0.5

    def test_a_density_that_is_cut_off_or_of_other_atoms(self, output, mixed, tmp_path):
        packed = Path(output.dir_name) / output.result.files["density"]
        inputs = maker_of(tmp_path).inputs(mixed)
        assert read_chgcar(packed, inputs).total == pytest.approx(44, abs=1e-6)
        text = gzip.decompress(packed.read_bytes())
        cut = tmp_path / "CHGCAR"
        cut.write_bytes(text[: len(text) // 4])
        with pytest.raises(RunError, match="CHGCAR: not a whole CHGCAR"):
            read_chgcar(cut, inputs)
        other = mixed.copy()
        other.replace_species({"Br": "I"})
        with pytest.raises(RunError, match="not of this cell"):
            read_chgcar(packed, maker_of(tmp_path).inputs(other))


def test_by_hand(cubic, tmp_path, stand_in):
    maker = maker_of(tmp_path)
    write_folder(tmp_path, maker.inputs(cubic), Step.EXCITATION)
    environment = {**os.environ, "VASP": os.environ["CORECROWN_VASP_STD_COMMAND"]}
    subprocess.run(["sh", str(tmp_path / "run.sh")], check=True, capture_output=True, env=environment)
    result = adopt_run(maker, StepFolder(tmp_path), cubic, None)
    assert result.excitation[0].energy_ev == pytest.approx(result.excitation[0].ks_gap_ev, abs=2e-3)
