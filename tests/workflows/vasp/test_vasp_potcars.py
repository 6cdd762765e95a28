"""POTCARs that are missing, of another functional or element, or out of reach."""

import shutil
import sys

import pytest
from pymatgen.io.vasp import inputs as pymatgen_inputs

from corecrown.errors import InputError
from corecrown.postprocess.results import Step
from corecrown.settings import get_settings
from corecrown.workflows.protocols import load_protocol
from corecrown.workflows.vasp.base import cutoff_notes
from corecrown.workflows.vasp.jobs import MAKERS
from corecrown.workflows.vasp.potcars import find_potcars, load_potcar_table, potcar_release, require_potcars


def test_table_is_enough_to_plan_and_not_to_run(no_potcars):
    found = find_potcars(["Cs", "Pb", "Br", "Pb"])
    assert {element: (one.symbol, one.z_valence) for element, one in found.items()} == {
        "Cs": ("Cs_sv", 9),
        "Pb": ("Pb_d", 14),
        "Br": ("Br", 7),
    }
    with pytest.raises(InputError, match="PMG_VASP_PSP_DIR is not set"):
        require_potcars(found.values())


def test_element_beyond_the_table_needs_its_file(no_potcars):
    with pytest.raises(InputError, match="POTCAR of U"):
        find_potcars(["U"])


def test_files_are_read_and_hashed(with_potcars):
    found = find_potcars(["Pb"])["Pb"]
    assert (found.symbol, found.z_valence, found.title) == ("Pb_d", 14, "PAW_PBE Pb_d 01Jan2000")
    assert len(found.sha256) == 64
    assert "VRHFIN =Pb" in found.text


def test_a_cutoff_below_that_of_a_potcar_is_said(with_potcars, cubic):
    def inputs(encut_ev):
        settings = load_protocol("demo", {"scf": {"encut_ev": encut_ev}}).settings(Step.SCF)
        return MAKERS[Step.SCF](settings=settings).inputs(cubic)

    assert find_potcars(["Pb"])["Pb"].enmax_ev == 200
    assert cutoff_notes(inputs(200)) == []
    assert "ENCUT = 150 eV is below ENMAX of Cs_sv (200 eV), Pb_d (200 eV)" in cutoff_notes(inputs(150))[0]


@pytest.mark.parametrize("symbol", ["Cs_sv", "Pb_d"])
def test_missing_file_is_named(tmp_path, monkeypatch, no_potcars, make_library, symbol):
    folder = make_library(tmp_path)
    shutil.rmtree(folder / "POT_GGA_PAW_PBE_54" / symbol)
    monkeypatch.setitem(pymatgen_inputs.SETTINGS, "PMG_VASP_PSP_DIR", str(folder))
    with pytest.raises(InputError, match=f"no POTCAR of {symbol}"):
        find_potcars([symbol.split("_")[0]])


def test_another_functional_is_refused(tmp_path, monkeypatch, no_potcars, make_library):
    folder = make_library(tmp_path, lexch="CA")
    monkeypatch.setitem(pymatgen_inputs.SETTINGS, "PMG_VASP_PSP_DIR", str(folder))
    with pytest.raises(InputError, match="Perdew-Zunger81, not PBE"):
        find_potcars(["Pb"])


def test_another_element_is_refused(tmp_path, monkeypatch, no_potcars, make_library):
    folder = make_library(tmp_path)
    path = folder / "POT_GGA_PAW_PBE_54" / "Pb_d" / "POTCAR"
    path.write_text(path.read_text().replace("VRHFIN =Pb", "VRHFIN =Sn"))
    monkeypatch.setitem(pymatgen_inputs.SETTINGS, "PMG_VASP_PSP_DIR", str(folder))
    with pytest.raises(InputError, match="is of Sn, not Pb"):
        find_potcars(["Pb"])


@pytest.mark.parametrize("text", ["", "nonsense\n", "   VRHFIN =Pb: \n   ZVAL = many\n"])
def test_damaged_file_is_refused(tmp_path, monkeypatch, no_potcars, make_library, text):
    folder = make_library(tmp_path)
    (folder / "POT_GGA_PAW_PBE_54" / "Pb_d" / "POTCAR").write_text(text)
    monkeypatch.setitem(pymatgen_inputs.SETTINGS, "PMG_VASP_PSP_DIR", str(folder))
    with pytest.raises(InputError, match="POTCAR of Pb_d"):
        find_potcars(["Pb"])


def test_missing_folder_is_told(tmp_path, monkeypatch, no_potcars):
    monkeypatch.setitem(pymatgen_inputs.SETTINGS, "PMG_VASP_PSP_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="nowhere"):
        find_potcars(["Pb"])


def test_release_is_that_of_pymatgen_where_it_is_pbe(monkeypatch, no_potcars):
    assert potcar_release() == "PBE_54"
    monkeypatch.setitem(pymatgen_inputs.SETTINGS, "PMG_DEFAULT_FUNCTIONAL", "PBE_64")
    assert potcar_release() == "PBE_64"
    monkeypatch.setitem(pymatgen_inputs.SETTINGS, "PMG_DEFAULT_FUNCTIONAL", "LDA_54")
    assert potcar_release() == "PBE_54"


def test_table_agrees_with_the_sets_of_atomate2():
    from atomate2.vasp.sets.base import _BASE_VASP_SET

    for element, (symbol, _) in load_potcar_table().elements.items():
        assert _BASE_VASP_SET["POTCAR"].get(element, element) == symbol


def test_a_step_knows_before_it_runs_what_is_missing(cubic, monkeypatch, no_potcars):
    """Program first, then POTCARs; no input is made for it."""
    maker = MAKERS[Step.SCF](settings=load_protocol("demo").settings(Step.SCF))
    monkeypatch.setattr(type(maker), "inputs", None)
    monkeypatch.setenv("CORECROWN_VASP_STD_COMMAND", "no-such-program")
    get_settings.cache_clear()
    with pytest.raises(InputError, match="vasp_std_command"):
        maker.require_ready(cubic)
    monkeypatch.setenv("CORECROWN_VASP_STD_COMMAND", sys.executable)
    get_settings.cache_clear()
    with pytest.raises(InputError, match="no POTCAR of Cs_sv, Pb_d, Br"):
        maker.require_ready(cubic)
    monkeypatch.setitem(pymatgen_inputs.SETTINGS, "PMG_VASP_PSP_DIR", "/no/such/folder")
    with pytest.raises(InputError, match="no such folder"):
        maker.require_ready(cubic)
    get_settings.cache_clear()
