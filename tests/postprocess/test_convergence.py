"""Differences to the densest point, on points whose answer is known beforehand."""

import csv
import io

import pytest

from corecrown.errors import InputError
from corecrown.postprocess.convergence import (
    ConvergencePoint,
    ConvergenceResult,
    Quantity,
    analyse_convergence,
    converged_from,
    to_csv,
)
from corecrown.postprocess.plots.convergence import plot_convergence
from corecrown.postprocess.plots.style import figure_bytes


def point(cutoff=40.0, mesh=(2, 2, 2), *, off=0.0, **fields):
    """A point of two atoms whose every quantity is off by a multiple of the same number."""
    known = {
        "energy_ev": -100 + off,
        "gap_ev": 1.5 + off,
        "gap_gamma_ev": 2.5 - off,
        "vbm_kpoint": (0.5, 0.5, 0.5),
        "cbm_kpoint": (0.5, 0.5, 0.5),
        "pressure_kbar": 3.0 - 10 * off,
        "forces_ev_angstrom": [(3 * off, 4 * off, 0.0), (0.0, 0.0, 0.0)],
    }
    return ConvergencePoint(cutoff_wfc_ry=cutoff, kpoint_mesh=mesh, **(known | fields))


def result_of(*series):
    return ConvergenceResult(
        cell="x", formula="Si", n_atoms=2, volume_angstrom3=40.0, functional="PBE", corecrown_version="0",
        series=list(series), points=[],
    )  # fmt: skip


def cutoffs():
    points = [point(80), point(40, off=0.1), point(60, off=0.01), point(40, (4, 4, 4))]
    return analyse_convergence(points, Quantity.CUTOFF, (2, 2, 2))


def test_rows_stand_in_order_and_differ_from_the_densest():
    rows = cutoffs().rows
    assert [row.cutoff_wfc_ry for row in rows] == [40, 60, 80]
    first, _, last = rows
    assert first.gap_difference_ev == pytest.approx(0.1)
    assert first.gap_gamma_difference_ev == pytest.approx(-0.1)
    assert first.pressure_difference_kbar == pytest.approx(-1)
    assert first.force_difference_ev_angstrom == pytest.approx(0.5)  # a 3-4-5 triangle
    assert first.energy_difference_mev_per_atom == pytest.approx(50)
    assert (last.gap_difference_ev, last.pressure_difference_kbar, last.force_difference_ev_angstrom) == (0, 0, 0)


def test_points_with_another_fixed_value_are_another_series():
    assert all(row.kpoint_mesh == (2, 2, 2) for row in cutoffs().rows)
    series = analyse_convergence([point(40), point(40, (4, 4, 4)), point(80)], Quantity.MESH, 40.0)
    assert [row.kpoint_mesh for row in series.rows] == [(2, 2, 2), (4, 4, 4)]
    with pytest.raises(InputError, match="no point"):
        analyse_convergence([point(40)], Quantity.MESH, 50.0)


def test_gaps_between_other_k_points_are_not_compared():
    gamma = {"vbm_kpoint": (0.0, 0.0, 0.0), "cbm_kpoint": (0.0, 0.0, 0.0)}
    points = [point(40, (1, 1, 1), **gamma), point(40), point(40, (4, 4, 4), vbm_kpoint=(-0.5, 0.5, -0.5))]
    series = analyse_convergence(points, Quantity.MESH, 40.0)
    assert [row.gap_difference_ev for row in series.rows] == [None, 0, 0]
    assert series.rows[0].gap_gamma_difference_ev == 0
    assert any("other k-points" in note for note in series.notes)


def test_a_failed_point_is_told_and_left_out():
    broken = ConvergencePoint(cutoff_wfc_ry=80, kpoint_mesh=(2, 2, 2), failed="killed")
    series = analyse_convergence([point(40, off=0.1), point(60), broken], Quantity.CUTOFF, (2, 2, 2))
    assert [row.cutoff_wfc_ry for row in series.rows] == [40, 60]
    assert any("80 Ry" in note and "killed" in note for note in series.notes)
    assert any("densest" in note and "60 Ry" in note for note in series.notes)


def test_what_was_not_measured_stays_null():
    bare = {"pressure_kbar": None, "forces_ev_angstrom": None, "gap_ev": None}
    row = analyse_convergence([point(40, **bare), point(60, **bare)], Quantity.CUTOFF, (2, 2, 2)).rows[0]
    assert row.pressure_difference_kbar is None
    assert row.force_difference_ev_angstrom is None
    assert row.gap_difference_ev is None
    assert row.energy_difference_mev_per_atom is None


def test_converged_is_where_it_stays_within_and_never_the_last_row_alone():
    series = cutoffs()
    assert converged_from(series, "gap", 0.02).cutoff_wfc_ry == 60
    assert converged_from(series, "gap", 0.2).cutoff_wfc_ry == 40
    assert converged_from(series, "gap", 0.001) is None
    # within, out of, and within again: only what follows the last excess counts
    points = [point(40, off=0.001), point(50, off=0.1), point(60, off=0.001), point(80)]
    back = analyse_convergence(points, Quantity.CUTOFF, (2, 2, 2))
    assert converged_from(back, "gap", 0.01).cutoff_wfc_ry == 60


def test_the_table_has_a_line_a_row():
    lines = list(csv.DictReader(io.StringIO(to_csv(result_of(cutoffs())))))
    assert [line["cutoff_wfc_ry"] for line in lines] == ["40.0", "60.0", "80.0"]
    assert {line["vary"] for line in lines} == {"cutoff"}
    assert lines[0]["kpoint_mesh"] == "2x2x2"


def test_a_result_survives_its_file():
    result = result_of(cutoffs())
    assert ConvergenceResult.model_validate_json(result.model_dump_json()) == result


def test_the_figure_has_a_column_a_series_and_a_row_a_quantity():
    meshes = analyse_convergence([point(40, off=0.1), point(40, (4, 4, 4))], Quantity.MESH, 40.0)
    figure = plot_convergence(result_of(cutoffs(), meshes))
    assert len(figure.axes) == 6
    assert figure_bytes(figure, "svg").startswith(b"<?xml")
    bare = [point(cutoff, pressure_kbar=None, off=1 / cutoff) for cutoff in (40, 60)]
    assert len(plot_convergence(result_of(analyse_convergence(bare, Quantity.CUTOFF, (2, 2, 2)))).axes) == 2
    with pytest.raises(InputError, match="two points"):
        plot_convergence(result_of(analyse_convergence([point()], Quantity.MESH, 40.0)))
