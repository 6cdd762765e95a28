"""Delta-SCF with VASP: occupations as they are written and kept, energies, and where electron and hole are."""

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
from corecrown.postprocess.excitation_level import excitation_level
from corecrown.postprocess.results import Step
from corecrown.workflows.protocols import load_protocol
from corecrown.workflows.record import StepFolder
from corecrown.workflows.vasp.collect import adopt_run
from corecrown.workflows.vasp.excitation import ExcitationMaker, Kind, occupations_of, repeated
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
    assert neutral.gained_by_group is None
    assert "densities are kept" in neutral.notes[0]
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


def test_smearing_that_was_reset_is_refused(cubic, tmp_path, stand_in, monkeypatch):
    """As if a handler of the user's set ISMEAR = 0 on the way: the run ends well, and is not taken."""
    from corecrown.workflows.vasp import handlers

    inputs = maker_of(tmp_path).inputs(cubic)
    plain = inputs.with_incar(ISMEAR=0, FERWE=None, FERDO=None)
    run_vasp(tmp_path, plain)
    with pytest.raises(RunError, match="ISMEAR = 0 instead of -2"):
        handlers.require_same_physics(tmp_path, inputs.incar, inputs.files()["KPOINTS"])


def test_by_hand(cubic, tmp_path, stand_in):
    maker = maker_of(tmp_path)
    write_folder(tmp_path, maker.inputs(cubic), Step.EXCITATION)
    environment = {**os.environ, "VASP": os.environ["CORECROWN_VASP_STD_COMMAND"]}
    subprocess.run(["sh", str(tmp_path / "run.sh")], check=True, capture_output=True, env=environment)
    result = adopt_run(maker, StepFolder(tmp_path), cubic, None)
    assert result.excitation[0].energy_ev == pytest.approx(result.excitation[0].ks_gap_ev, abs=2e-3)
