"""Cells made from others read the finished geometry of their parents and leave the parents to whoever works on them."""

from collections import Counter
from types import SimpleNamespace

import pytest
from small_cluster import POSCAR, attempts, holder
from stored_results import result

from corecrown.errors import RunError
from corecrown.postprocess.results import Step
from corecrown.settings import ClusterSettings, get_settings
from corecrown.workflows import cluster_remote
from corecrown.workflows.cluster import plan_submission, write_submission
from corecrown.workflows.cluster_queue import Scheduler
from corecrown.workflows.cluster_task import run_task
from corecrown.workflows.collection import collect_study
from corecrown.workflows.geometries import needed_cells
from corecrown.workflows.local import claim_folder, forget_step, read_status, run_study
from corecrown.workflows.manifest import write_manifest
from corecrown.workflows.plan import plan_study
from corecrown.workflows.record import StepFolder
from corecrown.workflows.spec import load_study
from corecrown.workflows.study import SubstitutionStudyMaker, build_cells, cell_folder

pytestmark = pytest.mark.espresso

STUDY = """
name: derived
protocol: demo
steps: [relax, scf]
experiment: null
overrides: {all: {cutoff_wfc_ry: 16, kpoint_mesh: [2, 2, 2]}}
cells:
  - {from: made, strain_to: large, label: twice}
  - {from: small, strain_to: large, label: made}
  - {from: large, strain_to: small, label: other}
  - {file: small.vasp, label: small}
  - {file: large.vasp, label: large}
"""
"""Silicon twice, and what is made from it; what comes first is made from what comes later."""

PARENTS = ("small", "large")


@pytest.fixture(autouse=True)
def one_rank(monkeypatch):
    monkeypatch.setenv("CORECROWN_MPI_COMMAND", "")
    monkeypatch.setenv("CORECROWN_MPI_RANKS", "1")
    monkeypatch.setenv("CORECROWN_REUSE", "false")
    monkeypatch.setenv("CORECROWN_CUSTODIAN_POLLING_S", "0.05")
    get_settings.cache_clear()


@pytest.fixture
def study(tmp_path):
    place = tmp_path / "in"
    place.mkdir()
    (place / "small.vasp").write_text(POSCAR)
    (place / "large.vasp").write_text(POSCAR.replace("5.44", "5.52").replace("0.25 0.25 0.25", "0.251 0.25 0.25"))
    (place / "study.yaml").write_text(STUDY)
    return load_study(place / "study.yaml")


def lattice(found, label):
    return next(cell for cell in found.cells if cell.label == label).lattice_a_angstrom


def all_attempts(folder):
    return {label: attempts(folder, label) for label in ("small", "large", "made", "other", "twice")}


def test_parents_are_relaxed_once_and_then_only_read(study, tmp_path):
    folder = tmp_path / "out"
    found = run_study(study, folder, ["made"])
    assert lattice(found, "made") == pytest.approx(lattice(found, "large"), abs=1e-6)
    done = read_status(folder)
    assert {label for label in done if done[label]["scf"] == "done"} == {"made"}, "of its parents the geometry alone"
    relaxations = {label: attempts(folder, label, "relax") for label in PARENTS}
    assert list(relaxations.values()) == [["attempt-001"]] * 2

    someone = [holder(cell_folder(folder, label)) for label in (*PARENTS, "made")]
    try:
        found = run_study(study, folder, ["other"])
        assert lattice(found, "other") == pytest.approx(lattice(found, "small"), abs=1e-6)
        outcome = run_task(study, folder, ["twice"], None)
        assert outcome.exit_code == 0, outcome.reasons
        assert set(outcome.states) == {"twice"}
        with pytest.raises(RunError, match="small: in use by"):
            run_study(study, folder, ["small", "other"])
    finally:
        for process in someone:
            process.kill()
            process.wait()
    made = {label: attempts(folder, label) for label in ("made", "other", "twice")}
    assert list(made.values()) == [["attempt-001"]] * 3

    planned = plan_study(study, folder)
    left = {(label, step) for label, steps in planned.cells.items() for step in steps if not steps[step].reused}
    assert left == {(label, Step.SCF) for label in PARENTS}
    found = run_study(study, folder)
    assert not any(cell.failed for cell in found.cells)
    assert all_attempts(folder) == made | {key: ["attempt-001"] for key in PARENTS}, "what is read is handed on"
    assert {label: attempts(folder, label, "relax") for label in PARENTS} == relaxations

    forgotten = forget_step(folder, "small", Step.RELAX)
    assert forgotten == {
        "small": [Step.RELAX, Step.SCF], "twice": [Step.SCF], "made": [Step.SCF], "other": [Step.SCF]
    }  # fmt: skip
    states = read_status(folder)
    assert {label for label in states if states[label]["scf"] == "done"} == {"large"}
    with_someone = holder(cell_folder(folder, "small"))
    try:
        with pytest.raises(RunError, match="small: in use by"):
            run_study(study, folder, ["other"])
    finally:
        with_someone.kill()
        with_someone.wait()


def test_atoms_of_a_cell_made_from_others_relax_in_the_lattice_it_was_given(study, tmp_path):
    folder = tmp_path / "out"
    text = STUDY.replace("label: made}", "label: made, steps: [relax, scf]}")
    path = tmp_path / "in" / "study.yaml"
    path.write_text(text.replace("overrides: {", "overrides: {relax: {relax_cell: true, pressure_threshold_kbar: 5}, "))
    study = load_study(path)
    run_study(study, folder, ["twice"])
    assert attempts(folder, "made", "relax") == ["attempt-001"], "what twice is made from is relaxed"
    assert attempts(folder, "made") == []
    found = run_study(study, folder)
    assert not any(cell.failed for cell in found.cells)
    assert lattice(found, "made") == pytest.approx(lattice(found, "large"), abs=1e-7)
    assert [len(attempts(folder, "made", step)) for step in ("relax", "scf")] == [1, 1]
    assert all(step.reused for steps in plan_study(study, folder).cells.values() for step in steps.values())
    assert collect_study(study, build_cells(study), folder).cells == found.cells


def finish(study, folder, **steps):
    """Leave finished steps of cells in a folder, as far as they are read here; relaxations by the key they have."""
    maker = SubstitutionStudyMaker.from_spec(study)
    claim_folder(study, folder)
    write_manifest(folder, study, build_cells(study), maker.electronic.steps)
    for cell in build_cells(study, list(steps)):
        for step in steps[cell.label]:
            record = StepFolder(cell_folder(folder, cell.label) / step.value)
            relax = maker.electronic.relax
            key = relax.key(relax.inputs(cell.structure), None) if step is Step.RELAX else "a key"
            attempt = record.begin(key)
            record.finish(result(key, attempt.name).model_copy(update={"structure": cell.structure.as_dict()}))


def test_a_geometry_of_another_protocol_is_not_read(study, tmp_path):
    folder = tmp_path / "out"
    finish(study, folder, small=[Step.RELAX], large=[Step.RELAX])

    def needed(spec, *labels):
        cells, geometries = needed_cells(spec, SubstitutionStudyMaker.from_spec(spec), labels, folder)
        return [cell.label for cell in cells], set(geometries)

    assert needed(study, "twice") == (["twice"], {"small", "large", "made"})
    assert needed(study, "other", "large") == (["other", "large"], {"small"})
    finer = study.changed(overrides={"all": {"cutoff_wfc_ry": 18, "kpoint_mesh": [2, 2, 2]}})
    assert needed(finer, "twice") == (["twice", "made", "small", "large"], set())
    assert not plan_study(finer, folder).cells["twice"]["scf"].reused


@pytest.mark.parametrize(
    ("done", "jobs"),
    [
        ({}, {"large": 3, "small": 3, "made": 3, "other": 3, "twice": 3}),
        ({"large": [Step.RELAX, Step.SCF], "small": [Step.RELAX, Step.SCF]}, {"made": 3, "other": 3, "twice": 3}),
        (
            {"large": [Step.RELAX, Step.SCF], "small": [Step.RELAX, Step.SCF], "made": [Step.SCF], "other": [Step.SCF]},
            {"twice": 2},
        ),
    ],
    ids=["nothing done", "parents done", "one left"],
)
def test_what_is_handed_to_a_worker_does_not_touch_finished_parents(study, tmp_path, monkeypatch, done, jobs):
    jobflow_remote = pytest.importorskip("jobflow_remote", reason="jobflow-remote is not installed")
    manager = SimpleNamespace(get_project=lambda name: SimpleNamespace(workers={"here": None}))
    monkeypatch.setattr(jobflow_remote, "ConfigManager", lambda: manager)
    flows = []
    monkeypatch.setattr(cluster_remote, "_submit", lambda flow, worker, project: flows.append(flow) or {})
    folder = tmp_path / "out"
    finish(study, folder, **done)
    cluster_remote.submit_to_worker(study, folder, "here")
    submitted = [job for flow in flows for job, _ in flow.iterflow()]
    assert Counter(job.name.split()[0] for job in submitted) == jobs
    known = {job.uuid for job in submitted}
    assert all(set(job.input_uuids) <= known for job in submitted), "what a job waits for is submitted, too"


def test_the_study_file_of_a_job_holds_all_that_its_cells_are_made_from(study, tmp_path):
    cells = build_cells(study)
    planned = plan_submission(study, tmp_path / "out", Scheduler.SLURM, cells, ClusterSettings(), {"twice"})
    write_submission(planned, study, cells)
    (cell, *parents) = build_cells(load_study(planned.folder / "tasks" / "1.yaml"))
    assert (cell.label, [parent.label for parent in parents]) == ("twice", ["made", "small", "large"])
