"""Quantum ESPRESSO 6.7 and 7.2: the same XML, and the same tests of the real layer."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from corecrown.errors import CorecrownError
from corecrown.settings import get_settings
from corecrown.workflows.espresso.outputs import read_run
from corecrown.workflows.espresso.programs import program_family, qepy_python

RECORDED = Path(__file__).parent / "fixtures" / "two_versions"
HERE = Path(__file__).parent
INSTALL = (
    "PYTHON -m venv FOLDER; FOLDER/bin/pip install 'qepy==7.2.0' 'numpy<2'; QEPY=FOLDER/bin/python,"
    " with a Python from 3.9 to 3.12"
)


@pytest.fixture(params=["relax", "scf", "nscf"])
def both(request):
    return [read_run(RECORDED / f"{request.param}-{version}.xml.gz") for version in ("6.7", "7.2")]


def test_the_versions_are_told_apart(both):
    assert [run.code_version.split("MaX")[0] for run in both] == ["6.7", "7.2"]


def test_what_is_read_is_the_same(both):
    old, new = both
    assert new.structure.cart_coords == pytest.approx(old.structure.cart_coords, abs=1e-5)
    assert new.structure.lattice.matrix == pytest.approx(old.structure.lattice.matrix, abs=1e-5)
    assert new.eigenvalues_ev == pytest.approx(old.eigenvalues_ev, abs=1e-5)
    assert new.occupations == pytest.approx(old.occupations)
    assert new.kpoints == pytest.approx(old.kpoints, abs=1e-6)
    assert new.weights == pytest.approx(old.weights, abs=1e-8)
    same = ("n_electrons", "spin_orbit", "spin_polarised", "gamma_only", "functional", "mesh", "shift", "calculation")
    same += ("pseudopotential_files", "scf_converged", "relax_converged", "ionic_steps")
    for name in same:
        assert getattr(new, name) == getattr(old, name), name
    assert new.cutoff_wfc_ry == pytest.approx(old.cutoff_wfc_ry)
    assert new.cutoff_rho_ry == pytest.approx(old.cutoff_rho_ry)
    for name, accuracy in (("energy_ev", 1e-6), ("fermi_ev", 1e-5), ("pressure_kbar", 0.02)):
        mine, theirs = getattr(new, name), getattr(old, name)
        assert (mine is None) == (theirs is None), name
        assert mine is None or mine == pytest.approx(theirs, abs=accuracy), name
    if old.forces_ev_angstrom is not None:
        assert new.forces_ev_angstrom == pytest.approx(old.forces_ev_angstrom, abs=1e-4)


@pytest.mark.espresso
@pytest.mark.nightly
def test_the_real_layer_passes_with_7_2():
    """Serial and with the reference BLAS: silicon alone. ``QEPY`` names an interpreter that has qepy 7.2."""
    python = os.environ.get("QEPY") or str(qepy_python())
    if not os.access(python, os.X_OK):
        pytest.fail(f"no interpreter with qepy: {INSTALL}", pytrace=False)
    environment = os.environ | {"CORECROWN_ESPRESSO_BIN": f"{python} -m qepy --{{program}}"}
    os.environ["CORECROWN_ESPRESSO_BIN"] = environment["CORECROWN_ESPRESSO_BIN"]
    try:
        get_settings.cache_clear()
        assert program_family("pw.x") == "7.2"
    except CorecrownError as error:
        pytest.fail(f"{error}; {INSTALL}", pytrace=False)
    finally:
        del os.environ["CORECROWN_ESPRESSO_BIN"]
        get_settings.cache_clear()
    chosen = [str(HERE / "test_espresso_real.py"), str(HERE / "test_convergence_runs.py")]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "espresso and not nightly", "-k", "not perovskite", *chosen],
        env=environment, capture_output=True, text=True, check=False, timeout=3600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
