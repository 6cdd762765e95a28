"""Cells of a study that go through some of its steps alone."""

import re

import pytest
import yaml

from corecrown.errors import InputError
from corecrown.postprocess.results import Step
from corecrown.workflows.local import read_status
from corecrown.workflows.manifest import write_manifest
from corecrown.workflows.plan import plan_study
from corecrown.workflows.spec import load_study
from corecrown.workflows.study import StudyInfo, SubstitutionStudyMaker, build_cells, steps_of

STUDY = {
    "name": "some",
    "protocol": "demo",
    "steps": ["relax", "scf", "bands", "pdos", "masses", "spin_orbit"],
    "cells": [
        {"fa": 0},
        {"fa": 25, "steps": ["relax", "bands"]},
        {"from": "fa025-b", "replace": {"FA": "Cs"}, "steps": ["bands"]},
    ],
    "experiment": None,
}
EVERY = ["relax", "scf", "bands", "pdos", "masses", "spin_orbit", "masses_spin_orbit"]
EXPECTED = {"fa000": EVERY, "fa025-b": ["relax", "scf", "bands"], "fa025-b-framework": ["scf", "bands"]}


@pytest.fixture
def study(tmp_path):
    def write(**changed):
        path = tmp_path / "some.yaml"
        path.write_text(yaml.safe_dump(STUDY | changed))
        return load_study(path)

    return write


def test_what_a_cell_needs_is_added_and_nothing_else_is_computed(study, tmp_path):
    spec = study()
    maker = SubstitutionStudyMaker.from_spec(spec)
    cells = build_cells(spec)
    assert {cell.label: [step.value for step in steps_of(cell, maker.electronic.steps)] for cell in cells} == EXPECTED
    flow = maker.make(cells, StudyInfo.of(spec), tmp_path / "out")
    names = {job.name for job, _ in flow.iterflow()}
    steps = {step.value for step in Step}
    assert {name for name in names if name.split()[-1] in steps} == {
        f"{label} {step}" for label, steps_there in EXPECTED.items() for step in steps_there
    }


def test_a_cell_made_from_others_is_relaxed_where_it_says_so_but_not_its_lattice(study, tmp_path):
    made = {"from": "fa025-b", "strain_to": "fa000", "label": "host"}
    cells = [{"fa": 0}, {"fa": 25, "steps": ["relax"]}, made | {"steps": ["relax", "scf"]}]
    spec = study(protocol="fast", cells=cells)
    assert list(plan_study(spec, None, tmp_path / "inputs").cells["host"]) == ["relax", "scf"]

    def calculation(label):
        (path,) = (tmp_path / "inputs" / "cells" / label / "relax").glob("pw.in")
        return re.search(r"calculation *= *'([a-z-]+)'", path.read_text()).group(1)

    assert calculation("fa025-b") == "vc-relax"
    assert calculation("host") == "relax"
    as_made = study(protocol="fast", cells=[*cells[:2], made])
    assert "relax" not in plan_study(as_made).cells["host"]


def test_plan_and_status_say_the_same(study, tmp_path):
    spec = study()
    assert {label: list(steps) for label, steps in plan_study(spec).cells.items()} == EXPECTED
    write_manifest(tmp_path, spec, build_cells(spec), SubstitutionStudyMaker.from_spec(spec).electronic.steps)
    assert {label: list(steps) for label, steps in read_status(tmp_path).items()} == EXPECTED


@pytest.mark.parametrize(("steps", "said"), [(["hybrid"], "'hybrid'"), (["band"], "'band'"), ([], "names none")])
def test_steps_that_the_study_does_not_have_are_refused(study, steps, said):
    with pytest.raises(InputError, match=r"cells\.0\.steps") as caught:
        study(cells=[{"fa": 0, "steps": steps}])
    assert said in caught.value.message
