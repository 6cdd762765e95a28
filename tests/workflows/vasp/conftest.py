"""What the tests of VASP share: made-up POTCARs, and the stand-in as the command of VASP. No VASP is used or needed."""

import importlib.util
import sys
from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.io.vasp import inputs as pymatgen_inputs

from corecrown.settings import get_settings
from corecrown.workflows.vasp import potcars

STAND_IN = Path(__file__).parents[2] / "vasp_stand_in"


def load_made_up_potcars():
    """Import the module of the stand-in that writes POTCARs, which is not part of any package."""
    spec = importlib.util.spec_from_file_location("made_up_potcars", STAND_IN / "potcars.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


made_up = load_made_up_potcars()


@pytest.fixture(scope="session")
def make_library():
    """Write a library of made-up POTCARs."""
    return made_up.write_library


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    """A library of made-up POTCARs."""
    return made_up.write_library(tmp_path_factory.mktemp("potcars"))


@pytest.fixture
def no_potcars(monkeypatch):
    """No POTCARs in reach."""
    monkeypatch.delitem(pymatgen_inputs.SETTINGS, "PMG_VASP_PSP_DIR", raising=False)
    monkeypatch.delitem(pymatgen_inputs.SETTINGS, "PMG_DEFAULT_FUNCTIONAL", raising=False)


@pytest.fixture
def with_potcars(monkeypatch, library, no_potcars):
    """The made-up POTCARs in reach."""
    monkeypatch.setitem(pymatgen_inputs.SETTINGS, "PMG_VASP_PSP_DIR", str(library))
    return library


def call_stand_in(monkeypatch, library):
    """Set the environment so that the stand-in is called where VASP would be; returns its command."""
    command = f"{sys.executable} {STAND_IN}"
    monkeypatch.setitem(pymatgen_inputs.SETTINGS, "PMG_VASP_PSP_DIR", str(library))
    monkeypatch.setenv("CORECROWN_VASP_STD_COMMAND", command)
    monkeypatch.setenv("CORECROWN_VASP_NCL_COMMAND", f"{command} --ncl")
    monkeypatch.setenv("CORECROWN_CUSTODIAN_POLLING_S", "0.05")
    monkeypatch.delenv("VASP_STAND_IN_FAULT", raising=False)
    get_settings.cache_clear()
    return command


@pytest.fixture
def stand_in(monkeypatch, with_potcars):
    """The stand-in called where VASP would be; returns its command."""
    return call_stand_in(monkeypatch, with_potcars)


@pytest.fixture(scope="module")
def stand_in_for_all(library):
    """The same for fixtures that serve all tests of a module."""
    with pytest.MonkeyPatch.context() as patch:
        yield call_stand_in(patch, library)
    get_settings.cache_clear()


@pytest.fixture(scope="session")
def cubic():
    """Five atoms, axes of three lengths, all symmetry of an orthorhombic box."""
    fractions = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    return Structure(Lattice([[5.82, 0, 0], [0, 5.93, 0], [0, 0, 6.01]]), ["Cs", "Pb", "Br", "Br", "Br"], fractions)


@pytest.fixture
def skewed(cubic):
    """The same with atoms moved so that no symmetry is left, and elements not side by side."""
    moved = cubic.copy().get_sorted_structure(key=lambda site: -site.frac_coords[0])
    for index, shift in enumerate([(0.01, 0.02, 0.03), (-0.02, 0.01, 0.015), (0.013, -0.017, 0.01)]):
        moved.translate_sites([index], shift)
    moved.add_site_property("molecule", list(range(len(moved))))
    return moved


@pytest.fixture(autouse=True)
def fresh_potcars():
    """Read POTCARs anew in each test."""
    potcars._from_library.cache_clear()
    yield
    potcars._from_library.cache_clear()
