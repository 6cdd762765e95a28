"""DFT against STS: rows, uncertainties, ledger, splits and flags; experiment files and their errors."""

import json

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from corecrown.errors import InputError
from corecrown.postprocess.comparison import compare_study, load_experiment
from corecrown.postprocess.experiment import Experiment
from corecrown.postprocess.flags import thermal_width_ev
from corecrown.postprocess.ledger import best_level
from corecrown.postprocess.results import (
    BandEdges,
    CellResult,
    Comparison,
    Level,
    Masses,
    MassTensor,
    RunSettings,
    StudyResult,
)
from corecrown.postprocess.shifts import known_gap_uncertainty, shift_uncertainty
from corecrown.resources import input_folder


def level(gap, functional="PBE", spin_orbit=False, source="bands"):
    return Level(
        functional=functional,
        spin_orbit=spin_orbit,
        kpoint_mesh=(2, 2, 1),
        source=source,
        vbm_ev=0.0,
        cbm_ev=gap,
        gap_ev=gap,
    )


def cell(label, gap=2.0, levels=(), c=11.76, **fields):
    content = {
        "label": label,
        "formula": "Cs4Pb4Br12",
        "structure": {},
        "lattice_a_angstrom": 8.2,
        "lattice_b_angstrom": 8.25,
        "lattice_c_angstrom": c,
        "volume_angstrom3": 796.0,
        "settings": RunSettings(functional="PBE", cutoff_wfc_ry=40, kpoint_mesh=(2, 2, 1)),
        "edges": None if gap is None else BandEdges(vbm_ev=0.0, cbm_ev=gap, gap_ev=gap),
        "levels": list(levels),
    }
    return CellResult(**(content | fields))


def study(*cells):
    return StudyResult(study="s", engine="espresso", protocol="demo", corecrown_version="0", cells=list(cells))


def rows(comparison):
    return {row.cell: row for row in comparison.rows}


def terms(comparison):
    return {row.term: row for row in comparison.ledger}


def test_the_shipped_experiment_holds_the_numbers_of_the_main_text():
    experiment = load_experiment()
    edges = {name: (place.vbm_v, place.cbm_v) for name, place in experiment.places.items()}
    assert edges == {
        "core-centre": (-1.13, 1.53),
        "core-crown-centre": (-1.11, 1.59),
        "core-crown-edge": (-1.27, 1.66),
    }
    gaps = [round(place.gap, 2) for place in experiment.places.values()]
    assert gaps == [2.66, 2.70, 2.93]
    assert [pair.cell for pair in experiment.compare] == ["fa000", "fa025-b", "fa100-b"]
    assert experiment.conditions.monolayers == 3
    assert experiment.conditions.temperature_k == 292
    assert experiment.conditions.modulation_v is None


def test_every_number_of_the_shipped_experiment_names_its_source():
    content = yaml.safe_load(input_folder("experiments", "sts-core-crown.yaml").read_text(encoding="utf-8"))

    def quantities(node):
        if isinstance(node, dict):
            if "value" in node:
                yield node
            for child in node.values():
                yield from quantities(child)
        elif isinstance(node, list):
            for child in node:
                yield from quantities(child)

    found = list(quantities(content))
    assert len(found) > 20
    assert all(quantity["source"] for quantity in found)
    assert all(place["source"] for place in content["places"].values())


def test_rows_shift_and_difference_from_the_reference():
    comparison = compare_study(study(cell("fa025-b", 2.05), cell("fa000", 2.0)), load_experiment())
    assert [row.cell for row in comparison.rows] == ["fa000", "fa025-b", "fa100-b"]
    row = rows(comparison)["fa025-b"]
    assert row.shift_ev == pytest.approx(0.05)
    assert row.sts_gap_ev == pytest.approx(2.70)
    assert row.sts_shift_ev == pytest.approx(0.04)
    assert row.difference_ev == pytest.approx(0.01)
    assert row.level == "PBE, no spin-orbit, 40 Ry, 2×2×1 mesh, gap from bands"
    assert row.sts_shift_uncertainty_ev is None
    assert any("no standard error of the measured shift" in note for note in row.notes)
    missing = rows(comparison)["fa100-b"]
    assert missing.gap_ev is None
    assert missing.sts_shift_ev == pytest.approx(0.27)
    assert any("no such cell" in note for note in missing.notes)


def test_cells_without_a_place_and_failed_cells_get_rows_with_reasons():
    broken = cell("fa050-b-s02", None, failed={"scf": "not converged"})
    metal = cell("metal", None, edges=BandEdges(vbm_ev=None, cbm_ev=None, gap_ev=None, notes=["a metal"]))
    found = rows(compare_study(study(cell("fa000"), broken, metal), load_experiment()))
    assert found["fa050-b-s02"].place is None
    assert found["fa050-b-s02"].sts_gap_ev is None
    assert "scf failed: not converged" in found["fa050-b-s02"].notes[0]
    assert "a metal" in found["metal"].notes[0]
    assert found["metal"].shift_ev is None


@pytest.mark.parametrize("cells", [(), (cell("other"),), (cell("fa000", None),), (cell("fa025-b"),)])
def test_nothing_missing_raises(cells):
    comparison = compare_study(study(*cells), load_experiment())
    assert Comparison.model_validate_json(comparison.model_dump_json()) == comparison
    assert comparison.flags
    assert comparison.ledger


def test_shift_uncertainty_adds_mesh_level_and_protocol_in_quadrature():
    reference = cell("fa000", 2.0, [level(2.0), level(2.02, source="mesh"), level(2.6, "HSE06", source="mesh")])
    other = cell("fa025-b", 2.05, [level(2.05), level(2.10, source="mesh"), level(2.69, "HSE06", source="mesh")])
    row = rows(compare_study(study(reference, other), load_experiment(), gap_uncertainty_ev=0.03))["fa025-b"]
    from_sources, from_levels, from_protocol = 0.03, (0.09 - 0.05) / 2, 2**0.5 * 0.03
    expected = (from_sources**2 + from_levels**2 + from_protocol**2) ** 0.5
    assert row.shift_uncertainty_ev == pytest.approx(expected)
    assert sum(note.startswith("shift uncertainty") for note in row.notes) == 3


def test_without_anything_to_estimate_from_there_is_no_uncertainty():
    comparison = compare_study(study(cell("fa000"), cell("fa025-b", 2.05)), load_experiment())
    row = rows(comparison)["fa025-b"]
    assert row.shift_uncertainty_ev is None
    assert any("no shift uncertainty" in note for note in row.notes)
    assert any("has no uncertainty" in flag for flag in comparison.flags)


def test_cells_of_different_functionals_are_not_subtracted():
    other = cell("fa025-b", 2.6, settings=RunSettings(functional="HSE06", cutoff_wfc_ry=40))
    row = rows(compare_study(study(cell("fa000"), other), load_experiment()))["fa025-b"]
    assert row.shift_ev is None
    assert any("functional HSE06/PBE" in note for note in row.notes)
    coarser = cell("fa025-b", 2.1, settings=RunSettings(functional="PBE", cutoff_wfc_ry=30, kpoint_mesh=(2, 2, 1)))
    row = rows(compare_study(study(cell("fa000"), coarser), load_experiment()))["fa025-b"]
    assert row.shift_ev == pytest.approx(0.1)
    assert any("cutoff_wfc_ry 30" in note for note in row.notes)


def test_an_ensemble_is_its_mean_with_its_spread():
    members = [cell(f"fa025-e{i:02d}", gap) for i, gap in enumerate((2.02, 2.06, 2.10), start=1)]
    row = rows(compare_study(study(cell("fa000"), *members), load_experiment()))["fa025-e"]
    assert row.gap_ev == pytest.approx(2.06)
    assert row.shift_uncertainty_ev == pytest.approx(0.04 / 3**0.5)


def test_the_split_adds_up_to_the_shift():
    cells = [cell("fa000", 2.0), cell("fa000-strained", 2.02, c=11.9)]
    cells += [cell("fa025-b-framework", 2.06, c=11.9), cell("fa025-b", 2.05, c=11.9)]
    (split,) = compare_study(study(*cells), load_experiment()).splits
    assert (split.strain_ev, split.distortion_ev, split.a_site_ev) == pytest.approx((0.02, 0.04, -0.01))
    assert split.strain_ev + split.distortion_ev + split.a_site_ev == pytest.approx(split.total_ev)


def test_a_strained_cell_of_another_lattice_is_not_used():
    cells = [cell("fa000", 2.0), cell("fa000-strained", 2.02, c=11.5)]
    cells += [cell("fa025-b-framework", 2.06, c=11.9), cell("fa025-b", 2.05, c=11.9)]
    (split,) = compare_study(study(*cells), load_experiment()).splits
    assert split.strain_ev is None
    assert split.total_ev == pytest.approx(0.05)
    assert any("strain not told apart" in note for note in split.notes)


def test_the_best_level_is_the_hybrid_with_spin_orbit():
    levels = [level(2.0), level(0.9, spin_orbit=True), level(2.6, "HSE06"), level(1.5, "HSE06", spin_orbit=True)]
    assert best_level(levels).gap_ev == 1.5
    assert best_level(levels[:3]).gap_ev == 2.6
    assert best_level([]) is None


def massive(gap=2.0, mass=0.15):
    def tensor(carrier):
        return MassTensor(carrier=carrier, gamma_z=mass, converged=True)

    masses = Masses(electron=tensor("electron"), hole=tensor("hole"))
    return cell("fa000", gap, [level(gap)], masses=masses)


def test_the_ledger_has_the_terms_signs_and_sum_of_the_source():
    found = terms(compare_study(study(massive()), load_experiment()))
    assert list(found)[:6] == [
        "bulk gap",
        "confinement along c",
        "dielectric self-energy",
        "image screening by Au(111)",
        "voltage dropped in the junction and tip-induced band bending",
        "peak rather than onset",
    ]
    assert found["confinement along c"].value_ev > 0
    assert found["dielectric self-energy"].value_ev > 0
    assert found["image screening by Au(111)"].high_ev < 0
    assert found["measured STS gap"].value_ev == pytest.approx(2.66)
    valued = [row.value_ev for row in list(found.values())[:6] if row.value_ev is not None]
    assert found["sum"].value_ev == pytest.approx(sum(valued))
    assert found["measured less sum"].value_ev == pytest.approx(2.66 - sum(valued))
    assert all(row.source for row in found.values())
    assert "not in the sum" in next(name for name in found if name.startswith("optical gap"))


def test_ledger_terms_lie_within_their_ranges():
    for row in compare_study(study(massive()), load_experiment()).ledger:
        ends = [row.low_ev, row.high_ev]
        if None not in ends:
            assert row.low_ev <= row.high_ev
        if row.value_ev is not None and None not in ends:
            assert row.low_ev - 1e-9 <= row.value_ev <= row.high_ev + 1e-9


def test_without_masses_confinement_has_no_value_and_a_reason():
    row = terms(compare_study(study(cell("fa000", 2.0, [level(2.0)])), load_experiment()))["confinement along c"]
    assert row.value_ev is None
    assert any("mass along c" in note for note in row.notes)


def test_flags_of_the_source_s_own_numbers():
    flags = " | ".join(compare_study(study(massive(), cell("fa025-b", 2.05)), load_experiment()).flags)
    assert "3.53 kT = 89 meV" in flags
    assert "A line width does not bound a shift between centres" in flags
    assert "for any linear filter" in flags
    assert "without a stated prominence" in flags
    assert "2.66 eV does not exceed" in flags
    assert "differ by 1.45 eV" in flags
    assert "are bulk" in flags
    assert "-0.8 to 1 V" in flags
    assert "set point (0.1 V) lies inside the gap" in flags


def test_a_measured_standard_error_lets_the_flags_decide():
    experiment = load_experiment()
    places = {
        name: place.model_copy(update={"gap_standard_error_ev": 0.004}) for name, place in experiment.places.items()
    }
    experiment = experiment.model_copy(update={"places": places})
    far = cell("fa025-b", 2.5)
    comparison = compare_study(study(cell("fa000"), far), experiment, gap_uncertainty_ev=0.01)
    row = rows(comparison)["fa025-b"]
    assert row.sts_shift_uncertainty_ev == pytest.approx(0.004 * 2**0.5)
    assert any("differ by more than the combined uncertainty" in flag for flag in comparison.flags)


def test_thermal_width():
    """2 ln(3 + 2√2) = 3.5255; at 292 K 88.7 meV."""
    assert thermal_width_ev(292) == pytest.approx(0.0887, abs=1e-4)


def broken(tmp_path, change):
    content = yaml.safe_load(input_folder("experiments", "sts-core-crown.yaml").read_text(encoding="utf-8"))
    change(content)
    path = tmp_path / "broken.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("change", "message", "hint"),
    [
        (lambda c: c.update(colour="red"), "field colour: unknown key", "places"),
        (lambda c: c["places"]["core-centre"].update(vbm=1), "places.core-centre.vbm: unknown key", "vbm_v"),
        (lambda c: c["model"]["barrier_ev"].update(unit="eV"), "model.barrier_ev.unit: unknown key", "value"),
        (lambda c: c["places"]["core-centre"].update(vbm_v=9), "not below cbm_v", ""),
        (lambda c: c["compare"].append({"cell": "x", "place": "moon"}), "no place 'moon'", ""),
        (lambda c: c["compare"].append({"cell": "fa000", "place": "core-centre"}), "listed twice", ""),
        (lambda c: c["conditions"].update(temperature_k="cold"), "conditions.temperature_k", ""),
        (lambda c: c.pop("places"), "field places", ""),
    ],
)
def test_wrong_experiment_files_name_file_field_and_what_is_allowed(tmp_path, change, message, hint):
    path = broken(tmp_path, change)
    with pytest.raises(InputError) as caught:
        load_experiment(path)
    assert str(path) in caught.value.message
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_experiments_are_found_by_name_and_by_path_from_a_folder(tmp_path):
    path = broken(tmp_path, lambda content: content.update(name="mine"))
    assert load_experiment("broken.yaml", base_dir=tmp_path).name == "mine"
    assert load_experiment(str(path)).name == "mine"
    with pytest.raises(InputError, match="no such file") as caught:
        load_experiment("nothing")
    assert "sts-core-crown" in caught.value.hint


gaps = st.one_of(st.none(), st.floats(0, 5))


@given(st.lists(st.tuples(st.sampled_from(["fa000", "fa025-b", "fa100-b", "x", "fa025-e01"]), gaps), max_size=5))
@settings(max_examples=40, deadline=None)
def test_any_set_of_cells_gives_a_comparison_that_goes_to_json(found):
    cells = {label: cell(label, gap, [level(gap)] if gap is not None else []) for label, gap in found}
    comparison = compare_study(study(*cells.values()), load_experiment(), 0.03)
    json.dumps(comparison.model_dump(mode="json"), allow_nan=False)
    assert {row.cell for row in comparison.rows} >= set(cells)


def test_an_experiment_without_pairs_compares_from_the_first_cell():
    bare = Experiment(name="bare", places={})
    comparison = compare_study(study(cell("a", 1.0), cell("b", 1.2)), bare)
    assert rows(comparison)["b"].shift_ev == pytest.approx(0.2)
    assert rows(comparison)["b"].place is None


def test_bands_against_mesh_counts_where_levels_keep_the_tighter_gap_alone():
    """Shifts of 0.04 eV along the path and 0.10 eV on the mesh differ by 0.06 eV."""

    def both(label, bands, mesh):
        settings = RunSettings(functional="PBE", cutoff_wfc_ry=40, kpoint_mesh=(2, 2, 1))
        found = {"bands": BandEdges(vbm_ev=0, cbm_ev=bands, gap_ev=bands)}
        found["mesh"] = BandEdges(vbm_ev=0, cbm_ev=mesh, gap_ev=mesh, source="mesh")
        return cell(label, bands, [level(bands)]).model_copy(update={"settings": settings, "edges_by_source": found})

    uncertainty, notes = shift_uncertainty(both("fa025-b", 2.04, 2.20), both("fa000", 2.00, 2.10))
    assert uncertainty == pytest.approx(0.06)
    assert notes[0].startswith("shift uncertainty: bands against mesh at PBE")


def test_the_uncertainty_of_the_protocol_is_known_from_its_name():
    assert known_gap_uncertainty(study(massive())) is not None
    other = study(massive()).model_copy(update={"protocol": "mine"})
    assert known_gap_uncertainty(other) is None


def test_signs_are_those_of_the_source_and_an_unknown_term_leaves_the_sum_without_range():
    found = terms(compare_study(study(massive()), load_experiment()))
    assert [row.sign for row in list(found.values())[:6]] == ["+", "+", "+", "-", "-", "+"]
    junction = found["voltage dropped in the junction and tip-induced band bending"]
    assert junction.value_ev is None
    assert junction.low_ev == -junction.high_ev
    assert found["peak rather than onset"].high_ev is None
    assert found["sum"].high_ev is None
    assert any("peak rather than onset" in note for note in found["sum"].notes)
    assert found["measured less sum"].low_ev is None
