"""Protocols: every one that ships is valid, and overrides are checked before anything runs."""

import pytest

from corecrown.errors import InputError
from corecrown.postprocess.results import Step
from corecrown.resources import input_names
from corecrown.workflows.protocols import Theory, load_protocol


@pytest.mark.parametrize("name", input_names("protocols"))
def test_every_protocol_covers_every_step(name):
    protocol = load_protocol(name)
    assert protocol.name == name
    for step in Step:
        assert protocol.settings(step).cutoff_wfc_ry > 0


def test_care_grows_from_demo_to_precise():
    protocols = [load_protocol(name) for name in ("demo", "fast", "balanced", "precise")]
    cutoffs = [protocol.settings(Step.SCF).cutoff_wfc_ry for protocol in protocols]
    assert cutoffs == sorted(cutoffs)
    uncertainties = [protocol.gap_uncertainty_ev for protocol in protocols]
    assert uncertainties == sorted(uncertainties, reverse=True)


def test_naming_a_spacing_replaces_the_mesh_and_its_shift():
    settings = load_protocol("demo", {"relax": {"kpoint_spacing": 0.3}}).settings(Step.RELAX)
    assert settings.kpoint_mesh is None
    assert settings.kpoint_spacing == 0.3
    assert settings.kpoint_shift == (0, 0, 0)


def test_override_for_all_reaches_every_step():
    protocol = load_protocol("demo", {"all": {"cutoff_wfc_ry": 55}})
    assert {protocol.settings(step).cutoff_wfc_ry for step in Step} == {55}


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        ({"relax": {"cutof_wfc_ry": 50}}, "relax.cutof_wfc_ry"),
        ({"relaxation": {"cutoff_wfc_ry": 50}}, "relaxation"),
        ({"scf": {"cutoff_wfc_ry": -3}}, "scf.cutoff_wfc_ry"),
        ({"scf": {"kpoint_mesh": [2, 2, 0]}}, "scf"),
        ({"scf": {"kpoint_mesh": [2, 2, 1], "kpoint_spacing": 0.2}}, "scf"),
        ({"scf": {"path_spacing": 0.1}}, "scf.path_spacing"),
    ],
)
def test_a_wrong_override_is_named(overrides, named):
    with pytest.raises(InputError) as caught:
        load_protocol("demo", overrides)
    assert named in caught.value.message
    assert caught.value.hint


def test_an_unknown_protocol_is_refused_naming_the_known():
    with pytest.raises(InputError, match="demo, fast, precise"):
        load_protocol("quick")


def test_theory_is_named_as_results_name_it():
    assert Theory(hybrid="HSE06", dispersion=True).name == "HSE06+D3"
    assert Theory(functional="PBEsol").name == "PBEsol"


def test_geometries_with_fa_are_computed_at_no_less_than_80_ry_where_results_are_meant_to_hold():
    # docs/convergence.md: below that, forces on nitrogen and pressures are off by more than the thresholds
    for name in ("fast", "balanced", "precise"):
        assert load_protocol(name).settings(Step.RELAX).cutoff_wfc_ry >= 80
    assert not load_protocol("demo").settings(Step.RELAX).relax_cell
