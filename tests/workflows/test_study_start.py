"""The cell that a study reports is the one that it computed."""

import json

import pytest
from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore

from corecrown.postprocess.cells import assemble_cell
from corecrown.postprocess.results import Step
from corecrown.workflows import start
from corecrown.workflows.collection import collect_study
from corecrown.workflows.record import StepFolder
from corecrown.workflows.spec import load_study
from corecrown.workflows.study import build_cells, cell_folder, derive_structure

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


DERIVED = """
name: derived
protocol: demo
steps: [scf]
cells:
  - {fa: 0}
  - {fa: 25, alignment: b}
  - {from: fa025-b, replace: {FA: Cs}}
  - {from: fa000, strain_to: fa025-b}
experiment: null
"""


@pytest.fixture
def derived(tmp_path):
    (tmp_path / "study.yaml").write_text(DERIVED)
    spec = load_study(tmp_path / "study.yaml")
    return spec, {cell.label: cell for cell in build_cells(spec)}


def as_results(cells, **failed):
    return {
        label: assemble_cell(
            label=label, fa_fraction=cell.fa_fraction, alignment=cell.alignment, structure=cell.structure, steps={},
            failed=failed, notes=[],
        )
        for label, cell in cells.items() if not cell.depends_on
    }  # fmt: skip


@pytest.mark.parametrize("label", ["fa025-b-framework", "fa000-strained"])
def test_an_entry_made_from_other_cells_survives_the_way_into_its_job(derived, tmp_path, label):
    _, cells = derived
    made = derive_structure(cells[label].spec.as_written(), as_results(cells), str(tmp_path / "cell"))
    outputs = run_locally(made, store=JobStore(MemoryStore()), log=False, ensure_success=True)
    structure = outputs[made.uuid][1].output
    assert structure.composition.reduced_formula == "CsPbBr3"
    assert structure.lattice.abc == pytest.approx(cells["fa025-b"].structure.lattice.abc)
    assert start.start_failure(tmp_path / "cell") is None


def test_why_a_cell_could_not_be_begun_is_said_by_its_steps(derived, tmp_path):
    spec, cells = derived
    place = cell_folder(tmp_path, "fa000-strained")
    parents = as_results(cells, relax="out of memory")
    made = derive_structure(cells["fa000-strained"].spec.as_written(), parents, str(place))
    run_locally(made, store=JobStore(MemoryStore()), log=False)
    StepFolder(cell_folder(tmp_path, "fa000") / Step.SCF.value).begin("a key")
    results = {cell.label: cell for cell in collect_study(spec, list(cells.values()), tmp_path).cells}
    assert "out of memory" in results["fa000-strained"].failed["scf"]
    assert "out of memory" not in results["fa025-b-framework"].failed["scf"]
