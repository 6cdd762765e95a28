"""What an excitation was computed with is told wherever its numbers are."""

import pytest

from corecrown.postprocess.excitation_level import excitation_level, excitation_settings
from corecrown.postprocess.paper import compare_with_paper
from corecrown.postprocess.reference import read_reference
from corecrown.postprocess.report_excitation import excitation_table
from corecrown.postprocess.results import RunSettings

LEVEL = "PBE, no spin-orbit, 40 Ry, 1×1×1 mesh"


@pytest.fixture(scope="module")
def study():
    return read_reference("excitation")


def charge_claim(study):
    found = compare_with_paper([("excitation", study)])
    return next(claim for claim in found.claims if claim.name == "excited-charge")


def test_cells_with_excitations_alone_have_their_level(study):
    for cell in study.result.cells:
        assert excitation_level(cell, cell.excitation[0]) == LEVEL


def test_the_settings_of_another_step_are_not_those_of_the_excitation(study):
    cell = study.result.cells[0]
    timings = cell.timings | {"scf": cell.timings["excitation"]}
    before = cell.model_copy(update={"timings": timings, "step_settings": {}})
    assert excitation_settings(before) is None
    assert excitation_level(before, cell.excitation[0]) is None
    denser = RunSettings(functional="PBE", cutoff_wfc_ry=40, kpoint_mesh=(2, 2, 2))
    settings = {"scf": denser, "excitation": cell.settings}
    today = cell.model_copy(update={"timings": timings, "settings": denser, "step_settings": settings})
    assert excitation_level(today, cell.excitation[0]) == LEVEL


def test_a_supercell_is_named(study):
    cell = study.result.cells[0]
    doubled = cell.excitation[0].model_copy(update={"supercell": (1, 1, 2)})
    assert excitation_level(cell, doubled) == f"{LEVEL} of the 1×1×2 supercell"


def test_the_claim_beside_the_paper_has_the_level_of_its_excitations(study):
    assert charge_claim(study).level == LEVEL
    cells = list(study.result.cells)
    finer = RunSettings(functional="PBEsol", cutoff_wfc_ry=60, kpoint_mesh=(1, 1, 1))
    cells[1] = cells[1].model_copy(update={"settings": finer, "step_settings": {}})
    mixed = type(study)(result=study.result.model_copy(update={"cells": cells}), folder=study.folder)
    assert charge_claim(mixed).level == f"PBEsol, no spin-orbit, 60 Ry, 1×1×1 mesh; {LEVEL}"


def test_the_claim_names_each_cell_and_what_an_even_charge_would_be(study):
    claim = charge_claim(study)
    cells = [cell for cell in study.result.cells if cell.fa_fraction]
    assert [part.split(":")[0] for part in claim.ours.split("; ")] == [cell.label for cell in cells]
    assert claim.ours.count("FA's share of the volume") == len(cells)
    assert [note.split(":")[0] for note in claim.notes] == [cell.label for cell in cells]


def test_the_report_has_the_level_beside_the_energies(study):
    assert f"computed with {LEVEL}" in excitation_table(study.result.cells).notes
