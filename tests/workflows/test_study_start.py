"""The cell that a study reports is the one that it computed."""

import json

from corecrown.postprocess.results import Step
from corecrown.workflows import start
from corecrown.workflows.record import StepFolder
from corecrown.workflows.spec import load_study
from corecrown.workflows.study import build_cells, cell_folder, collect_study

STUDY = """
name: start
protocol: demo
steps: [excitation]
cells: [{fa: 0}]
start: {prerelax: chgnet}
experiment: null
"""


def test_a_pre_relaxed_cell_that_is_not_relaxed_further_is_reported_as_it_was_computed(tmp_path):
    (tmp_path / "study.yaml").write_text(STUDY)
    spec = load_study(tmp_path / "study.yaml")
    (cell,) = build_cells(spec)
    wider = cell.structure.copy()
    wider.scale_lattice(1.02 * wider.volume)
    place = cell_folder(tmp_path, cell.label)
    StepFolder(place / Step.EXCITATION.value).begin("a key")
    content = {"key": start._key(cell.structure), "structure": wider.as_dict()}
    (place / start.START).write_text(json.dumps(content))
    assert start.stored_start(cell.structure, place) is not None
    (result,) = collect_study(spec, [cell], tmp_path).cells
    assert abs(result.volume_angstrom3 / cell.structure.volume - 1.02) < 1e-6
