"""Pre-relaxation with CHGNet: axes stay orthogonal, symmetry and labels stay, the report says what was done."""

import builtins

import numpy as np
import pytest
from cells_for_tests import check_groups
from pymatgen.core import Lattice, Structure

from corecrown.errors import InputError
from corecrown.structures import build, load_crystal
from corecrown.structures.prerelax import prerelax
from corecrown.structures.symmetry import find_operations


def test_cubic_cspbbr3_finds_the_minimum_of_the_potential():
    pytest.importorskip("chgnet")
    crystal = load_crystal("CsPbBr3-cubic")
    relaxed, report = prerelax(crystal, fmax_ev_per_angstrom=0.01)
    assert report.converged
    assert report.energy_after_ev <= report.energy_before_ev
    # CHGNet is fitted to PBE, which gives cubic CsPbBr3 a lattice constant of about 6.0 Å
    assert relaxed.lattice.a == pytest.approx(6.0, abs=0.1)
    assert np.ptp(relaxed.lattice.abc) < 1e-6
    assert relaxed.properties["prerelaxed"]["model"].startswith("CHGNet")
    assert "axes kept orthogonal" in report.sentence()


def test_symmetry_axes_and_labels_of_a_substituted_cell_stay():
    pytest.importorskip("chgnet")
    cell = build(25, "b")
    relaxed, report = prerelax(cell, max_steps=4)
    assert not report.converged
    assert report.steps == 4
    assert report.symmetry_kept == "Pm (6)"
    assert len(find_operations(relaxed)) == 2
    assert np.allclose(relaxed.lattice.angles, 90, atol=1e-10)
    assert [site.specie for site in relaxed] == [site.specie for site in cell]
    check_groups(relaxed)
    assert report.energy_after_ev < report.energy_before_ev


def test_axes_that_are_not_orthogonal_are_refused():
    with pytest.raises(InputError, match="not orthogonal"):
        prerelax(Structure(Lattice.from_parameters(5, 5, 5, 90, 90, 80), ["Cs"], [[0, 0, 0]]))


def test_without_chgnet_the_cure_is_said(monkeypatch):
    real = builtins.__import__

    def without(name, *arguments, **named):
        if name.startswith("chgnet"):
            raise ImportError(name)
        return real(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match="CHGNet is not installed") as caught:
        prerelax(load_crystal("CsPbBr3-cubic"))
    assert "corecrown[mlip]" in caught.value.hint
