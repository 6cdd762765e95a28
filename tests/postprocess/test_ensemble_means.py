"""Ensembles: mean and spread of every result, and which member lacks what."""

import json
from statistics import fmean, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corecrown.postprocess.ensembles import cell_values, summarise_ensembles
from corecrown.postprocess.report_ensembles import ensemble_tables
from corecrown.postprocess.results import (
    BandEdges,
    CellResult,
    Distortion,
    EdgeCharacter,
    Excitation,
    Level,
    Masses,
    MassTensor,
    PdosSummary,
    RunSettings,
    StudyResult,
)


def member(number, gap=2.0, **fields):
    defaults = {
        "label": f"fa025-e{number:02d}",
        "ensemble": "fa025-e",
        "formula": "x",
        "structure": {},
        "lattice_a_angstrom": 8.2 + 0.1 * number,
        "lattice_b_angstrom": 8.3,
        "lattice_c_angstrom": 11.8,
        "volume_angstrom3": 800.0,
        "energy_ev": -3000.0 - number,
        "settings": RunSettings(functional="PBE", cutoff_wfc_ry=60, kpoint_mesh=(2, 2, 1)),
        "edges": None if gap is None else BandEdges(vbm_ev=4.0, cbm_ev=4.0 + gap, gap_ev=gap),
    }
    return CellResult(**{**defaults, **fields})


def rich(number):
    mesh = (2, 2, 1)
    mass = MassTensor(gamma_x=0.2 * number, path_gamma_z=0.3, converged=number != 2)
    return member(
        number,
        levels=[
            Level(functional="HSE06", spin_orbit=True, kpoint_mesh=mesh, source="mesh", vbm_ev=1, cbm_ev=2, gap_ev=1)
        ],
        masses=Masses(hole=mass),
        pdos=PdosSummary(edge_character=EdgeCharacter(vbm={"Br-p": 0.6, **({"Pb-d": 0.1} if number == 1 else {})})),
        distortion=Distortion(
            pb_br_pb_deg=[150.0, 150.0 + 2 * number], tilts_deg={"a": 1, "b": 2, "c": 3},
            fa_axis_deg=[{"a": 10.0 * number, "b": 90, "c": 90}],
        ),
        excitation=[Excitation(kind="neutral", energy_ev=1.7, ks_gap_ev=1.8, occupations_kept=True,
                               electron_by_group={"FA": 0.1 * number})],
    )  # fmt: skip


def test_every_kind_of_result_gets_mean_and_spread():
    (found,) = summarise_ensembles([rich(1), rich(2), rich(3)])
    assert found.label == "fa025-e"
    assert found.members == ["fa025-e01", "fa025-e02", "fa025-e03"]
    values = found.values
    assert (values["masses.hole.gamma_x"].mean, values["masses.hole.gamma_x"].std) == pytest.approx((0.4, 0.2))
    assert values["levels.HSE06+SOC.gap_ev"].mean == 1
    assert values["distortion.pb_br_pb_deg"].mean == pytest.approx(152)  # of 151, 152, 153
    assert values["distortion.fa_axis_deg.a"].high == pytest.approx(30)
    assert values["excitation.neutral.electron_by_group.FA"].mean == pytest.approx(0.2)
    assert values["energy_ev"].std == pytest.approx(1)
    # a share that a member does not name is zero there
    assert values["pdos.edge_character.vbm.Pb-d"].n == 3
    assert values["pdos.edge_character.vbm.Pb-d"].mean == pytest.approx(0.1 / 3)
    assert "masses not converged: fa025-e02" in found.notes
    assert found.level == "PBE, no spin-orbit, 60 Ry, 2×2×1 mesh"


def test_members_without_a_value_are_named():
    (found,) = summarise_ensembles([member(1, 2.0), member(2, None), member(3, 2.2)])
    assert found.values["edges.gap_ev"].n == 2
    assert any(note.startswith("fa025-e02 without edges.gap_ev") for note in found.notes)
    other = RunSettings(functional="PBEsol")
    (mixed,) = summarise_ensembles([member(1), member(2, settings=other)])
    assert mixed.level is None
    assert any("one level of theory" in note for note in mixed.notes)


def test_cells_of_no_ensemble_have_no_summary_and_one_member_no_spread():
    assert summarise_ensembles([member(1, ensemble=None)]) == []
    (alone,) = summarise_ensembles([member(1)])
    assert alone.values["edges.gap_ev"].std is None


@given(gaps=st.lists(st.floats(0, 10), min_size=2, max_size=12))
def test_mean_and_spread_are_those_of_the_members(gaps):
    (found,) = summarise_ensembles([member(n, gap) for n, gap in enumerate(gaps, start=1)])
    spread = found.values["edges.gap_ev"]
    assert spread.mean == pytest.approx(fmean(gaps))
    assert spread.std == pytest.approx(stdev(gaps), abs=1e-12)
    assert (spread.low, spread.high, spread.n) == (min(gaps), max(gaps), len(gaps))


def test_it_goes_through_json_and_into_a_table():
    cells = [rich(1), rich(2)]
    study = StudyResult(
        study="x", engine="espresso", protocol="fast", corecrown_version="0", cells=cells,
        ensembles=summarise_ensembles(cells),
    )  # fmt: skip
    assert StudyResult.model_validate(json.loads(study.model_dump_json())) == study
    (table,) = ensemble_tables(study.ensembles)
    assert {row[0] for row in table.rows} == set(cell_values(cells[0])) | set(cell_values(cells[1]))
    assert ("edges.gap_ev", "2", "2.000", "0.000", "2.000", "2.000") in table.rows
