"""Pre-relaxation with CHGNet: axes stay orthogonal, symmetry and labels stay, the report says what was done."""

import builtins

import numpy as np
import pytest
from cells_for_tests import check_groups
from pymatgen.core import Lattice, Structure

from corecrown.errors import InputError
from corecrown.structures import build, load_crystal, slab
from corecrown.structures.prerelaxation import PrerelaxMinimum, PrerelaxReport, Route, preference, prerelax
from corecrown.structures.symmetry import find_operations


def test_cubic_cspbbr3_finds_the_minimum_of_the_potential():
    pytest.importorskip("chgnet")
    crystal = load_crystal("CsPbBr3-cubic")
    relaxed, report = prerelax(crystal)
    assert report.converged
    assert report.largest_stress_gpa < 0.01
    assert report.largest_turn_deg is None
    assert report.energy_after_ev <= report.energy_before_ev
    # CHGNet is fitted to PBE, which gives cubic CsPbBr3 a lattice constant of about 6.0 Å
    assert relaxed.lattice.a == pytest.approx(6.0, abs=0.1)
    assert np.ptp(relaxed.lattice.abc) < 1e-6
    assert relaxed.properties["prerelaxed"]["model"].startswith("CHGNet")
    assert "axes kept orthogonal" in report.sentence()


def test_the_same_cell_ends_in_the_same_place_and_another_start_in_the_same_minimum():
    pytest.importorskip("chgnet")
    crystal = load_crystal("CsPbBr3-cubic")
    (first, report), (again, same) = prerelax(crystal), prerelax(crystal)
    assert np.array_equal(first.lattice.matrix, again.lattice.matrix)
    assert report == same
    larger = crystal.copy()
    larger.scale_lattice(1.05**3 * crystal.volume)
    other, _ = prerelax(larger)
    assert other.lattice.a == pytest.approx(first.lattice.a, abs=2e-3)


@pytest.mark.nightly
def test_the_soft_valley_of_cspbbr3_has_one_bottom():
    """CHGNet 0.3.0: a 8.246(4), b 8.658(3), c 11.853(2) Å from five starts; at 0.03 eV/Å ends lay 0.2 Å apart."""
    pytest.importorskip("chgnet")
    cell = build()
    exchanged = Structure(Lattice.orthorhombic(8.75, 8.20, 11.85), cell.species, cell.frac_coords)
    ends = [prerelax(start) for start in (cell, exchanged)]
    assert ends[0][0].lattice.abc == pytest.approx(ends[1][0].lattice.abc, abs=0.02)
    assert ends[0][1].energy_after_ev == pytest.approx(ends[1][1].energy_after_ev, abs=1e-3)


def test_a_slab_keeps_its_vacuum():
    pytest.importorskip("chgnet")
    cut = slab(1, vacuum=12.0)
    relaxed, report = prerelax(cut, max_steps=1)
    assert relaxed.lattice.c == pytest.approx(cut.lattice.c, abs=1e-9)
    assert relaxed.lattice.a != cut.lattice.a
    assert report.steps == 1
    with pytest.raises(InputError, match="not axes"):
        prerelax(cut, free_axes="xy")


def ended(energy, a, turn, route=Route.ALL_AT_ONCE):
    return PrerelaxMinimum(
        route=route, energy_ev=energy, lattice_angstrom=(a, 8.5, 12.0), largest_turn_deg=turn, steps=9, converged=True
    )


def report_of(*minima):
    return PrerelaxReport(
        model="CHGNet", steps=9, converged=True, fmax_ev_per_angstrom=0.001, energy_before_ev=-9.0,
        energy_after_ev=minima[0].energy_ev, largest_force_ev_per_angstrom=0.001, largest_stress_gpa=0.0,
        lattice_before_angstrom=(8.2, 8.3, 11.8), lattice_after_angstrom=minima[0].lattice_angstrom,
        largest_displacement_angstrom=0.1, largest_turn_deg=minima[0].largest_turn_deg,
        symmetry_kept="Pm (6)", minima=minima,
    )  # fmt: skip


def test_an_end_in_which_fa_keeps_its_axis_comes_before_a_lower_one():
    turned, along = ended(-10.0, 8.44, 38.0), ended(-9.964, 8.15, 4.0, Route.CAGE_FIRST)
    lower_along = ended(-9.97, 8.16, 3.0)
    assert sorted([turned, along, lower_along], key=preference) == [lower_along, along, turned]
    assert min([turned, ended(-9.0, 8.4, 21.0)], key=preference) == turned
    assert min([ended(-9.0, 8.4, None), ended(-9.1, 8.4, None)], key=preference).energy_ev == -9.1


def test_another_minimum_is_told():
    minima = ended(-10.0, 8.44, 4.0), ended(-9.964, 8.15, 2.0, Route.CAGE_FIRST)
    report = report_of(*minima)
    assert "another minimum 36 meV a cell higher" in report.sentence()
    assert "cage first" in report.sentence()
    assert "another minimum 36 meV a cell lower" in report_of(*reversed(minima)).sentence()
    alone = report.model_copy(update={"minima": (minima[0], minima[0])})
    assert "another minimum" not in alone.sentence()


def test_symmetry_axes_and_labels_of_a_substituted_cell_stay():
    pytest.importorskip("chgnet")
    cell = build(25, "b")
    relaxed, report = prerelax(cell, max_steps=2)
    assert not report.converged
    assert [minimum.steps for minimum in report.minima if minimum.route is Route.ALL_AT_ONCE] == [2]
    assert len(report.minima) == 2
    assert list(report.minima) == sorted(report.minima, key=preference)
    assert report.minima[0].energy_ev == report.energy_after_ev
    assert 0 <= report.largest_turn_deg < 5
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


def test_names_of_the_room_are_functions_whatever_was_imported_before():
    import corecrown.structures as room

    for name in room.__all__:
        assert callable(getattr(room, name)), name
        assert callable(getattr(room, name)), name  # the second time too
