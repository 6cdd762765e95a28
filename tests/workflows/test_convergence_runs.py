"""Convergence studies: what a request means, and a small one on the real pw.x."""

import json

import pytest
from pymatgen.core import Lattice, Structure

from corecrown.errors import InputError
from corecrown.postprocess.convergence import ConvergenceResult
from corecrown.settings import get_settings
from corecrown.structures.cells import committed_relaxed
from corecrown.workflows.convergence import (
    ConvergenceMaker,
    Point,
    choose_cell,
    make_request,
    plan_convergence,
    run_convergence,
)


def silicon():
    half = 5.43 / 2
    lattice = Lattice([[0, half, half], [half, 0, half], [half, half, 0]])
    return Structure(lattice, ["Si", "Si"], [[0, 0, 0], [0.26, 0.25, 0.25]])


class TestCells:
    def test_a_label_means_the_relaxed_cell_that_ships(self):
        label, structure = choose_cell("fa000")
        assert label == "fa000"
        assert structure == committed_relaxed("fa000")
        assert choose_cell("fa0")[0] == "fa000"

    def test_a_label_without_one_is_built(self):
        label, structure = choose_cell("fa100-a")
        assert label == "fa100-a"
        assert len(structure) == 48  # 4 PbBr3 and 4 FA of 8 atoms

    def test_one_of_several_choices_of_sites_needs_its_name(self):
        with pytest.raises(InputError, match="several") as caught:
            choose_cell("fa050-b")
        assert "fa050-b-s01, fa050-b-s02" in caught.value.hint

    def test_sites_can_be_in_the_label(self):
        label, structure = choose_cell("fa050-b-s02")
        assert label == "fa050-b-s02"
        assert len(structure) == 20 + 2 * 7  # two of four Cs replaced by the eight atoms of FA

    def test_a_file_is_a_cell(self, tmp_path):
        silicon().to(filename=str(tmp_path / "my si.json"))
        assert choose_cell(str(tmp_path / "my si.json"))[0] == "my-si"

    @pytest.mark.parametrize("name", ["fa", "fa101", "fa000-d", "missing.cif", "", "../x", "fa000-b"])
    def test_what_is_neither_is_refused(self, name):
        with pytest.raises(InputError) as caught:
            choose_cell(name)
        assert caught.value.hint


class TestRequest:
    def test_the_protocol_gives_what_is_not_said(self):
        _, structure = choose_cell("fa000")
        request = make_request("fa000", structure, protocol="fast")
        assert request.fixed_cutoff_ry == 60
        assert request.fixed_mesh == (2, 2, 2)  # 0.40 / Å in a cell of 8.3, 8.4 and 12.0 Å
        labels = [point.label for point in request.points]
        assert len(labels) == len(set(labels))
        assert labels[0] == "040Ry-2x2x2"
        assert "060Ry-1x1x1" in labels

    def test_a_point_of_both_series_is_computed_once(self):
        request = make_request("si", silicon(), cutoffs_ry=[40, 60], meshes=[(1, 1, 1), (2, 2, 2)],
                               fixed_cutoff_ry=40, fixed_mesh=(2, 2, 2))  # fmt: skip
        assert request.points == [Point(40, (2, 2, 2)), Point(60, (2, 2, 2)), Point(40, (1, 1, 1))]

    @pytest.mark.parametrize(
        ("words", "options", "said"),
        [
            (["cutof"], {}, "cutof"),
            (["cutoff"], {"cutoffs_ry": [40]}, "one point"),
            (["cutoff"], {"cutoffs_ry": [40, 40.0]}, "one point"),
            (["cutoff"], {"cutoffs_ry": [40, float("nan")]}, "nan"),
            (["cutoff"], {"cutoffs_ry": [-1, 40]}, "-1 Ry"),
            (["mesh"], {"meshes": [(1, 1, 1), (0, 1, 1)]}, "0x1x1"),
            (["mesh"], {"fixed_cutoff_ry": -3.0}, "-3 Ry"),
            (["mesh"], {"meshes": []}, "one point"),
            (["mesh"], {"protocol": "fats"}, "fats"),
            (["mesh"], {"functional": "PBE0"}, "PBE0"),
            ([], {}, "vary"),
        ],
    )
    def test_mistakes_are_told_before_anything_runs(self, words, options, said):
        with pytest.raises(InputError) as caught:
            make_request("si", silicon(), words, **options)
        assert said in str(caught.value)

    def test_the_stress_can_be_left_out_and_counts_in_the_key(self, tmp_path):
        keys = set()
        for stress in (True, False):
            request = make_request("si", silicon(), ["cutoff"], cutoffs_ry=[16, 20], stress=stress)
            maker = next(iter(ConvergenceMaker(request).makers(tmp_path).values()))
            control = maker.inputs(silicon()).namelists["control"]
            assert control["tstress"] is stress
            assert control["tprnfor"] is True
            keys.add(maker.key(maker.inputs(silicon()), None))
        assert len(keys) == 2

    def test_the_plan_tells_every_point(self, tmp_path):
        request = make_request("si", silicon(), ["cutoff"], cutoffs_ry=[16, 64], fixed_mesh=(2, 2, 2))
        plan = plan_convergence(request, silicon(), tmp_path)
        low, high = plan.points.values()
        # the cutoff sphere grows with the power 3/2 of the cutoff
        assert high.n_plane_waves / low.n_plane_waves == pytest.approx(8, rel=0.01)
        assert 0 < low.core_hours < high.core_hours
        assert not low.reused
        assert not list(tmp_path.iterdir())


@pytest.mark.espresso
class TestRealRuns:
    @pytest.fixture(autouse=True)
    def quick(self, monkeypatch):
        monkeypatch.setenv("CORECROWN_MPI_RANKS", "1")
        monkeypatch.setenv("CORECROWN_CUSTODIAN_POLLING_S", "0.05")
        get_settings.cache_clear()

    def test_points_are_computed_once_and_compared(self, tmp_path):
        asked = {"protocol": "demo", "fixed_mesh": (2, 2, 2), "fixed_cutoff_ry": 12.0}
        request = make_request("si", silicon(), ["cutoff"], cutoffs_ry=[12, 24], **asked)
        result = run_convergence(request, silicon(), tmp_path / "si")
        low, high = result.series[0].rows
        # plane waves are a variational basis: more of them lower the energy
        assert low.energy_difference_mev_per_atom > 0
        # an atom that is off its place feels a force along its shift; its two atoms pull each other
        assert result.points[0].forces_ev_angstrom[0] == pytest.approx(
            [-component for component in result.points[0].forces_ev_angstrom[1]], abs=1e-4
        )
        assert low.force_difference_ev_angstrom > high.force_difference_ev_angstrom == 0
        assert low.pressure_kbar is not None
        assert not list((tmp_path / "si").glob("**/charge-density*")), "scratch is kept small"
        stored = ConvergenceResult.model_validate(json.loads((tmp_path / "si" / "convergence.json").read_text()))
        assert stored == result

        before = sorted((tmp_path / "si").glob("cells/*/*/attempt-*"))
        more = make_request("si", silicon(), ["cutoff", "mesh"], cutoffs_ry=[12, 24],
                            meshes=[(1, 1, 1), (2, 2, 2)], **asked)  # fmt: skip
        extended = run_convergence(more, silicon(), tmp_path / "si")
        assert [series.vary.value for series in extended.series] == ["cutoff", "mesh"]
        after = sorted((tmp_path / "si").glob("cells/*/*/attempt-*"))
        assert len(after) == len(before) + 1, "only the mesh that was not there is computed"
        assert set(before) < set(after)
        with pytest.raises(InputError, match="holds the convergence"):
            run_convergence(request.model_copy(update={"cell": "other"}), silicon(), tmp_path / "si")

    def test_a_point_that_fails_leaves_the_others(self, tmp_path):
        request = make_request("si", silicon(), ["cutoff"], cutoffs_ry=[12, 16], protocol="demo", fixed_mesh=(1, 1, 1))
        blocked = tmp_path / "si" / "cells" / Point(16, (1, 1, 1)).label / "scf"
        blocked.parent.mkdir(parents=True)
        blocked.write_text("a file where a folder should be")
        (tmp_path / "si" / "convergence.yaml").write_text("cell: si\n")
        result = run_convergence(request, silicon(), tmp_path / "si")
        assert [point.failed is None for point in result.points] == [True, False]
        assert len(result.series[0].rows) == 1


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    request = make_request("si", silicon(), ["cutoff"], cutoffs_ry=[12, 16])
    with pytest.raises(InputError):
        run_convergence(request, silicon(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
