"""Claims of the source study: the numbers of theirs are those of its main text, ours are made up to decide each way."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from corecrown.errors import InputError
from corecrown.postprocess.paper import PaperComparison, Verdict, compare_with_paper, judge
from corecrown.postprocess.reference import read_reference, reference_names
from corecrown.postprocess.results import CellResult, Excitation, Level, Masses, MassTensor, RunSettings
from corecrown.postprocess.study import Study

EXPECTED = {
    "gap-fa000",
    "gap-fa025-b",
    "shift-25",
    "widening-range",
    "alignment",
    "elongation",
    "edge-states",
    "edge-lead",
    "edge-shape",
    "masses",
    "masses-spin-orbit",
    "excited-charge",
    "octahedra",
    "cause",
    "functional",
}


@pytest.fixture(scope="module")
def study() -> Study:
    """The demonstration: real cells, to which the tests add what it lacks."""
    return read_reference("demo")


def answers(*studies: Study) -> dict:
    found = compare_with_paper([(f"study-{n}", study) for n, study in enumerate(studies)])
    return {claim.name: claim for claim in found.claims}


def changed(study: Study, **fields) -> Study:
    return Study(result=study.result.model_copy(update=fields), folder=study.folder)


def with_gap(cell: CellResult, label: str, gap: float) -> CellResult:
    edges = cell.edges.model_copy(update={"gap_ev": gap})
    return cell.model_copy(update={"label": label, "edges": edges, "levels": [], "edges_by_source": {}})


def test_every_claim_is_answered_with_a_rule_and_a_reason(study):
    found = answers(study)
    assert set(found) == EXPECTED
    assert all(claim.criterion and claim.why and claim.theirs for claim in found.values())


def test_numbers_of_the_main_text(study):
    found = answers(study)
    assert found["gap-fa000"].their_value == 2.554
    assert found["gap-fa025-b"].their_value == 2.595
    assert found["shift-25"].their_value == 0.041
    assert found["alignment"].their_value == 0.08


@pytest.mark.parametrize(
    ("value", "uncertainty", "verdict"),
    [
        (2.554, 0.01, Verdict.AGREES),
        (2.2, 0.05, Verdict.DISAGREES),
        (2.5, None, Verdict.UNDECIDED),
    ],
)
def test_a_gap_is_judged_by_its_uncertainty(value, uncertainty, verdict):
    assert judge(value, uncertainty, 2.554, 0.0005)[0] is verdict


@pytest.mark.parametrize(
    ("value", "verdict"),
    [(-0.034, Verdict.UNDECIDED), (0.08, Verdict.UNDECIDED), (-0.462, Verdict.DISAGREES), (0.1, Verdict.UNDECIDED)],
)
def test_an_effect_smaller_than_what_is_known_is_undecided(value, verdict):
    assert judge(value, 0.071, 0.041, 0.0005, effect=True)[0] is verdict


@given(st.floats(-1, 1), st.floats(0, 1))
@example(0.08, 0.05)
def test_a_shift_that_is_not_known_never_agrees(value, uncertainty):
    verdict, _ = judge(value, uncertainty, 0.041, 0.0005, effect=True)
    if verdict is Verdict.AGREES:
        assert uncertainty < 0.041
        assert abs(value - 0.041) <= uncertainty + 0.0005


def test_a_study_without_fa_says_what_is_missing(study):
    found = answers(changed(study, cells=study.result.cells[:1]))
    assert found["shift-25"].verdict is Verdict.NOT_COMPUTED
    assert "fa025-b" in found["shift-25"].why
    assert found["gap-fa000"].verdict is not Verdict.NOT_COMPUTED
    assert found["excited-charge"].verdict is Verdict.NOT_COMPUTED


def test_a_study_without_cells_computes_nothing(study):
    found = compare_with_paper([("empty", changed(study, cells=[], comparison=None))])
    assert {claim.verdict for claim in found.claims} == {Verdict.NOT_COMPUTED}


def test_no_study_is_an_error():
    with pytest.raises(InputError):
        compare_with_paper([])


def test_the_first_study_that_can_answers(study):
    part = changed(study, cells=study.result.cells[:1])
    found = answers(part, study)
    assert found["gap-fa000"].study == "study-0"
    assert found["shift-25"].study == "study-1"


def test_causes_are_told_apart(study):
    reference, cell = study.cell("fa000"), study.cell("fa025-b")
    same = cell.model_copy(update={"fa_fraction": 0.0, "alignment": None})
    lattice = {f"lattice_{axis}_angstrom": getattr(cell, f"lattice_{axis}_angstrom") for axis in "abc"}
    cells = {
        "by distortion": (1.98, 2.16, Verdict.AGREES),
        "by the A site": (1.98, 1.98, Verdict.DISAGREES),
    }
    for strained, framework, verdict in cells.values():
        built = [
            with_gap(reference, "fa000", 1.96),
            with_gap(reference.model_copy(update=lattice), "fa000-strained", strained),
            with_gap(same, "fa025-b-framework", framework),
            with_gap(cell, "fa025-b", 2.17),
        ]
        found = answers(changed(study, cells=built))["cause"]
        assert found.verdict is verdict
        assert "strain +0.020" in found.ours


def test_elongation_rests_on_relaxed_lattices(study):
    relaxed = Study(result=study.result.model_copy(update={"protocol": "fast"}), folder=study.folder.parent)
    assert answers(relaxed)["elongation"].verdict is Verdict.AGREES
    kept = answers(study)["elongation"]
    assert kept.verdict is Verdict.UNDECIDED
    assert "not relaxed" in kept.why


def test_a_cell_whose_fa_turned_off_its_axis_does_not_count(study):
    cell = study.cell("fa025-b")
    distortion = cell.distortion.model_copy(update={"fa_axis_deg": [{"a": 48.0, "b": 42.0, "c": 90.0}]})
    shrunk = cell.model_copy(update={"label": "fa025-b-other", "lattice_b_angstrom": 1.0, "distortion": distortion})
    relaxed = study.result.model_copy(update={"protocol": "fast", "cells": [*study.result.cells, shrunk]})
    found = answers(Study(result=relaxed, folder=study.folder.parent))["elongation"]
    assert found.verdict is Verdict.AGREES
    assert "fa025-b-other by 42°" in found.why


def test_a_cell_made_from_others_is_no_substituted_cell(study):
    strained = with_gap(study.cell("fa025-b"), "fa025-b-strained", 9.0)
    strained = strained.model_copy(update={"made_from": ["fa025-b", "fa000"]})
    assert answers(changed(study, cells=[*study.result.cells, strained])) == answers(study)


def test_excited_charge_compares_fa_with_the_framework(study):
    cell = study.cell("fa025-b")
    for share, verdict in ((0.7, Verdict.AGREES), (0.1, Verdict.DISAGREES)):
        gained = {"FA": share * 0.8, "Pb-Br": (1 - share) * 0.8}
        excitation = [
            Excitation(kind="neutral", energy_ev=2.2, ks_gap_ev=2.2, occupations_kept=True, gained_by_group=gained)
        ]
        found = answers(changed(study, cells=[study.cell("fa000"), cell.model_copy(update={"excitation": excitation})]))
        assert found["excited-charge"].verdict is verdict


def test_mass_trends_are_told_direction_by_direction(study):
    def cell(label, x, y, z):
        mass = MassTensor(path_gamma_x=x, path_gamma_y=y, path_gamma_z=z)
        return study.cell(label).model_copy(update={"masses": Masses(electron=mass)})

    light = cell("fa000", 0.20, 0.20, 0.20)
    as_stated, other = cell("fa025-b", 0.18, 0.17, 0.23), cell("fa025-b", 0.18, 0.23, 0.23)
    assert answers(changed(study, cells=[light, as_stated]))["masses"].verdict is Verdict.AGREES
    assert answers(changed(study, cells=[light, other]))["masses"].verdict is Verdict.DISAGREES
    assert (
        answers(changed(study, cells=[light, light.model_copy(update={"label": "fa025-b"})]))["masses"].verdict
        is Verdict.NOT_COMPUTED
    )
    slight = cell("fa025-b", 0.199, 0.17, 0.23)
    assert answers(changed(study, cells=[light, slight]))["masses"].verdict is Verdict.UNDECIDED


def test_the_change_of_a_tensor_that_is_not_converged_is_undecided(study):
    def cell(label, x, y, z, *, converged):
        inverse = ((1 / x, 0, 0), (0, 1 / y, 0), (0, 0, 1 / z))
        mass = MassTensor(
            tensor_inverse=inverse, gamma_x=x, gamma_y=y, gamma_z=z, converged=converged, notes=["mean of two spins"]
        )
        masses = {"masses_spin_orbit": Masses(electron=mass)}
        settings = {"spin_orbit": RunSettings(functional="PBE", spin_orbit=True, kpoint_mesh=(2, 2, 2))}
        return study.cell(label).model_copy(update={**masses, "step_settings": settings})

    light = cell("fa000", 0.20, 0.20, 0.20, converged=True)
    for converged, verdict in ((True, Verdict.AGREES), (False, Verdict.UNDECIDED)):
        cells = [light, cell("fa025-b", 0.18, 0.17, 0.23, converged=converged)]
        claim = answers(changed(study, cells=cells))["masses-spin-orbit"]
        assert claim.verdict is verdict
        assert claim.level == "PBE, spin-orbit, cutoff not recorded, 2×2×2 mesh"
        assert ("fa025-b: not converged; mean of two spins" in claim.notes) is not converged


def test_the_functional_is_found_only_when_all_six_are_known(study):
    def levels(gaps):
        return [
            Level(
                functional=name,
                spin_orbit=coupled,
                kpoint_mesh=(2, 2, 1),
                source="mesh",
                vbm_ev=0.0,
                cbm_ev=gap,
                gap_ev=gap,
                cutoff_wfc_ry=60,
            )
            for (name, coupled), gap in gaps.items()
        ]

    gaps = {
        ("PBE", False): 2.0,
        ("PBE", True): 0.9,
        ("PBEsol", False): 1.7,
        ("PBEsol", True): 0.7,
        ("HSE06", True): 1.5,
    }
    some = study.cell("fa000").model_copy(update={"levels": levels(gaps)})
    found = answers(changed(study, cells=[some]))["functional"]
    assert found.verdict is Verdict.UNDECIDED
    assert "HSE06 without spin-orbit coupling" in found.why
    every = study.cell("fa000").model_copy(update={"levels": levels({**gaps, ("HSE06", False): 2.55})})
    found = answers(changed(study, cells=[every]))["functional"]
    assert found.verdict is Verdict.AGREES
    assert "HSE06 without spin-orbit coupling" in found.ours


def test_meshes_of_one_level_widen_its_uncertainty(study):
    def level(mesh, gap):
        return Level(
            functional="HSE06", spin_orbit=False, kpoint_mesh=mesh, source="mesh", vbm_ev=0.0, cbm_ev=gap, gap_ev=gap
        )

    meshes = [level((1, 1, 1), 2.55), level((2, 2, 1), 2.90), level((2, 2, 2), 2.78)]
    cell = study.cell("fa000").model_copy(update={"levels": meshes})
    found = compare_with_paper([("made", changed(study, cells=[cell]))])
    rows = [row for row in found.levels if row.functional == "HSE06" and row.gap_ev is not None]
    assert [row.uncertainty_ev for row in rows] == pytest.approx([0.16, 0.12, 0.12]), "Γ alone is no mesh"
    assert "Γ only" in " ".join(rows[0].notes)
    assert "2.780 ± 0.120" in next(claim for claim in found.claims if claim.name == "functional").ours


def test_what_the_q_mesh_of_exact_exchange_leaves_is_in_the_uncertainty(study):
    fields = {"functional": "HSE06", "spin_orbit": False, "source": "mesh", "vbm_ev": 0.0}
    level = Level(kpoint_mesh=(2, 2, 1), q_mesh=(2, 2, 1), cbm_ev=2.6, gap_ev=2.6, **fields)
    cell = study.cell("fa000").model_copy(update={"levels": [level]})
    found = compare_with_paper([("made", changed(study, cells=[cell]))]).levels
    row = next(row for row in found if row.gap_ev is not None)
    assert row.uncertainty_ev == pytest.approx((0.05**2 + 0.04**2) ** 0.5)
    assert "the q mesh" in " ".join(row.notes)


def test_a_gap_of_another_lattice_says_nothing_of_meshes(study):
    def cell(mesh, gap, stretched):
        level = Level(
            functional="HSE06", spin_orbit=False, kpoint_mesh=mesh, source="mesh", vbm_ev=0.0, cbm_ev=gap, gap_ev=gap
        )
        lattice = {"lattice_a_angstrom": study.cell("fa000").lattice_a_angstrom + stretched}
        return study.cell("fa000").model_copy(update={"levels": [level], **lattice})

    def rows(stretched):
        studies = [("one", cell((2, 2, 2), 2.70, 0.0)), ("two", cell((2, 2, 1), 2.90, stretched))]
        found = compare_with_paper([(name, changed(study, cells=[one])) for name, one in studies]).levels
        return sorted((row for row in found if row.gap_ev is not None), key=lambda row: row.gap_ev)

    assert [row.uncertainty_ev for row in rows(0.0)] == pytest.approx([0.2, 0.2])
    first, second = rows(0.1)
    assert first.uncertainty_ev == second.uncertainty_ev == 0.05
    assert second.notes[-1].startswith("another lattice: ")


def test_shipped_results_answer_and_round_trip():
    found = compare_with_paper([(name, read_reference(name)) for name in reference_names()])
    assert PaperComparison.model_validate_json(found.model_dump_json()) == found
    assert next(claim for claim in found.claims if claim.name == "edge-states").verdict is Verdict.AGREES


def test_a_name_that_does_not_ship_is_refused():
    with pytest.raises(InputError, match="nothing"):
        read_reference("nothing")
    with pytest.raises(InputError):
        read_reference("../experiments")
