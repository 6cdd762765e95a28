"""Scripts for queues, tasks and stages, and what queues answer, without a queue."""

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from small_cluster import write_study

from corecrown.errors import InputError, RunError
from corecrown.settings import ClusterSettings, get_settings
from corecrown.workflows import cluster, cluster_queue
from corecrown.workflows.cluster import cells_in_queue, families, plan_submission, submit_study
from corecrown.workflows.cluster_queue import QueuedJob, Scheduler, is_over, queued_jobs
from corecrown.workflows.cluster_task import TaskOutcome
from corecrown.workflows.local import claim_folder, read_status
from corecrown.workflows.manifest import read_manifest, write_manifest
from corecrown.workflows.record import StepState
from corecrown.workflows.spec import load_study
from corecrown.workflows.study import SubstitutionStudyMaker, build_cells


def planned(tmp_path, scheduler, labels=("si",), steps="[scf]", **settings):
    spec = load_study(write_study(tmp_path / "in", labels, steps))
    return plan_submission(spec, tmp_path / "out", scheduler, build_cells(spec), ClusterSettings(**settings))


def header(script):
    return [line for line in script.splitlines() if line.startswith(("#SBATCH", "#PBS", "#$"))]


@pytest.mark.parametrize("scheduler", list(Scheduler))
def test_scripts_are_whole_and_nothing_is_written(tmp_path, scheduler):
    resources = {"model": "mpi 8"} if scheduler is Scheduler.SGE else {"account": "me"}
    done = planned(
        tmp_path, scheduler, ("a", "b", "c"), ranks=8, walltime="1-02:03:04", modules=["qe/7.2"], max_running=2,
        mpi_command="srun -n {ranks}", resources=resources,
    )  # fmt: skip
    script = done.scripts["stage-1.sh"]
    checked = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert "$$" not in "\n".join(header(script))
    assert "module load qe/7.2" in script
    assert "export CORECROWN_MPI_COMMAND='srun -n {ranks}'" in script
    times = {"slurm": "--time=1-02:03:04", "pbs": "walltime=26:03:04", "sge": "h_rt=26:03:04"}
    assert any(times[scheduler.value] in line for line in header(script))
    arrays = {"slurm": "--array=1-3%2", "pbs": "-J 1-3 -W max_run_subjobs=2", "sge": "-t 1-3 -tc 2"}
    assert arrays[scheduler.value] in done.commands[0]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("walltime", "seconds"), [("00:10:00", 600), (600, 600), ("2-00:00:00", 172800), ("90", 90)])
def test_walltimes_are_read_as_queues_write_them(walltime, seconds):
    assert ClusterSettings(walltime=walltime).walltime == seconds


@pytest.mark.parametrize("walltime", ["soon", "10m", "1:2", "-5", 0, "00:70:00"])
def test_other_walltimes_are_refused(walltime):
    with pytest.raises(ValueError, match="walltime"):
        ClusterSettings(walltime=walltime)


def test_unknown_options_of_the_queue_and_steps_are_named(tmp_path):
    with pytest.raises(InputError, match="'partitoin'"):
        planned(tmp_path, Scheduler.SLURM, resources={"partitoin": "x"})
    with pytest.raises(InputError, match="'hybird'"):
        plan_with_step(tmp_path, "hybird")


def plan_with_step(tmp_path, name):
    spec = load_study(write_study(tmp_path / "in"))
    settings = ClusterSettings(steps={name: {"ranks": 2}})
    return plan_submission(spec, tmp_path / "out", Scheduler.SLURM, build_cells(spec), settings)


def test_steps_with_resources_of_their_own_become_stages(tmp_path):
    spec = load_study(write_study(tmp_path / "in", steps="[relax, scf, bands]"))
    settings = ClusterSettings(ranks=4, steps={"scf": {"ranks": 16, "walltime": "02:00:00"}})
    done = plan_submission(spec, tmp_path / "out", Scheduler.SLURM, build_cells(spec), settings)
    assert list(done.scripts) == ["stage-1.sh", "stage-2.sh", "stage-3.sh"]
    assert "--step relax" in done.scripts["stage-1.sh"]
    assert "stage-2.sh" in done.scripts["stage-1.sh"], "each stage submits the next"
    assert "#SBATCH --ntasks=16" in header(done.scripts["stage-2.sh"])
    assert "--step bands" in done.scripts["stage-3.sh"]
    assert "stage-4.sh" not in done.scripts["stage-3.sh"]


@pytest.fixture
def documented():
    """What the page on clusters says to write into settings and project files, in its order."""
    text = (Path(__file__).parents[2] / "docs" / "clusters.md").read_text()
    return [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)]


def test_the_documented_settings_are_valid(tmp_path, documented):
    spec = load_study(write_study(tmp_path / "in", steps="[scf, hybrid]"))
    settings = ClusterSettings(**documented[0]["cluster"])
    done = plan_submission(spec, tmp_path / "out", Scheduler.SLURM, build_cells(spec), settings)
    first, second = (header(done.scripts[f"stage-{number}.sh"]) for number in (1, 2))
    assert {"#SBATCH --ntasks=64", "#SBATCH --time=0-12:00:00", "#SBATCH --partition=normal"} <= set(first)
    assert {"#SBATCH --ntasks=256", "#SBATCH --time=1-00:00:00", "#SBATCH --nodes=4"} <= set(second)


def test_the_documented_projects_are_valid(documented):
    config = pytest.importorskip("jobflow_remote.config.base", reason="jobflow-remote is not installed")
    _, one, several = documented
    assert list(config.Project(**one).workers) == ["cluster"]
    project = config.Project(**{**one, **several})
    assert [worker.type for worker in project.workers.values()] == ["local", "remote"]
    assert project.workers["cluster"].resources["time"] == "12:00:00"


def test_arrays_keep_within_the_largest(tmp_path):
    labels = [f"c{number}" for number in range(7)]
    done = planned(tmp_path, Scheduler.SLURM, labels, max_array_size=3)
    assert done.arrays == [(0, 3), (3, 3), (6, 1)]
    assert "CC_OFFSET=3" in done.commands[1]
    assert "CC_TASK=7" in done.commands[2]
    assert "--array" not in done.commands[2]
    packed = planned(tmp_path, Scheduler.PBS, labels, cells_per_job=4)
    assert packed.tasks == [labels[:4], labels[4:]]


def test_cells_made_from_one_another_share_a_job(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(
        "name: x\nsteps: [scf]\ncells:\n  - {fa: 0}\n  - {fa: 25, alignment: b, sites: [0], label: q}\n"
        "  - {from: q, replace: {FA: Cs}}\n  - {from: fa000, strain_to: q}\n  - {fa: 100, alignment: a}\n"
    )
    cells = build_cells(load_study(path))
    everything = {cell.label for cell in cells}
    assert families(cells, everything, 1) == [["fa000", "q", "q-framework", "fa000-strained"], ["fa100-a"]]
    assert families(cells, {"q-framework", "fa000-strained"}, 1) == [["q-framework", "fa000-strained"]]


def claimed(tmp_path, labels=("a", "b", "c")):
    spec, folder = load_study(write_study(tmp_path / "in", labels)), tmp_path / "out"
    cells = build_cells(spec)
    claim_folder(spec, folder)
    write_manifest(folder, spec, cells, SubstitutionStudyMaker.from_spec(spec).electronic.steps)
    return spec, folder, cells


def test_status_needs_no_cells_and_notices_another_study_file(tmp_path):
    spec, folder, _ = claimed(tmp_path)
    assert read_manifest(folder) == {label: ["scf"] for label in "abc"}
    (tmp_path / "in" / "a.vasp").unlink()
    assert set(read_status(folder)) == set("abc")
    claim_folder(spec.changed(steps=["scf", "pdos"]), folder)
    assert read_manifest(folder) is None


def test_a_submission_writes_a_study_file_a_job(tmp_path, monkeypatch):
    _, folder, _ = claimed(tmp_path)
    asked = []
    monkeypatch.setattr(cluster, "submit_script", lambda *arguments: asked.append(arguments) or "17")
    done = submit_study(load_study(tmp_path / "in" / "silicon.yaml"), folder, Scheduler.SLURM)
    assert len(asked) == 1
    assert done.jobs == ["17"]
    assert (done.folder / "tasks" / "cells.txt").read_text() == "--cell a\n--cell b\n--cell c\n"
    second = load_study(done.folder / "tasks" / "2.yaml")
    assert [cell.label for cell in build_cells(second)] == ["b"]
    assert json.loads((done.folder / "submission.json").read_text())["jobs"] == ["17"]
    name = done.name

    def answer(scheduler, prefix):
        assert prefix == f"{name}."
        return [QueuedJob(f"{name}.o0", (2, 3), is_running=False), QueuedJob(f"{name}.t1", None, is_running=True)]

    monkeypatch.setattr(cluster, "queued_jobs", answer)
    assert cells_in_queue(folder) == {"a": True, "b": False, "c": False}
    with pytest.raises(InputError, match=r"1 cell\(s\) running, 2 waiting"):
        submit_study(load_study(tmp_path / "in" / "silicon.yaml"), folder, Scheduler.SLURM)

    def silent(scheduler, prefix):
        raise RunError("slurm cannot be asked: no squeue", "")

    monkeypatch.setattr(cluster, "queued_jobs", silent)
    with pytest.raises(RunError, match="submitted before"):
        submit_study(load_study(tmp_path / "in" / "silicon.yaml"), folder, Scheduler.SLURM)
    assert len(asked) == 1
    submit_study(load_study(tmp_path / "in" / "silicon.yaml"), folder, Scheduler.SLURM, again=True)
    assert len(list(folder.glob("cluster/*"))) == 2, "nothing of the first was touched"


def test_a_folder_of_another_study_is_refused_before_anything_is_written(tmp_path):
    _, folder, _ = claimed(tmp_path)
    other = load_study(write_study(tmp_path / "in", name="other"))
    for dry_run in (True, False):
        with pytest.raises(InputError, match="holds study 'silicon'"):
            submit_study(other, folder, Scheduler.SLURM, dry_run=dry_run)
    assert "silicon" in (folder / "study.yaml").read_text()
    assert not (folder / "cluster").exists()


def test_a_queue_that_takes_only_some_arrays_is_told(tmp_path, monkeypatch):
    _, folder, _ = claimed(tmp_path)
    monkeypatch.setenv("CORECROWN_CLUSTER", json.dumps({"max_array_size": 2}))
    get_settings.cache_clear()

    def refuse(scheduler, script, name, *rest):
        if name.endswith("t3"):
            raise RunError("slurm did not take the job: QOSMaxSubmitJobPerUserLimit", "")
        return "1"

    monkeypatch.setattr(cluster, "submit_script", refuse)
    with pytest.raises(RunError, match="QOSMaxSubmit") as caught:
        submit_study(load_study(tmp_path / "in" / "silicon.yaml"), folder, Scheduler.SLURM)
    assert "1 of 2 arrays" in caught.value.hint
    monkeypatch.setattr(cluster, "queued_jobs", lambda _, prefix: [QueuedJob(f"{prefix}o0", (1, 2), is_running=False)])
    monkeypatch.setattr(cluster, "submit_script", lambda *arguments: "2")
    rest = submit_study(load_study(tmp_path / "in" / "silicon.yaml"), folder, Scheduler.SLURM)
    assert rest.tasks == [["c"]]


@pytest.mark.parametrize(
    ("job_id", "indices"),
    [
        ("123", None),
        ("123_4", (4,)),
        ("123_[1-3]", (1, 2, 3)),
        ("123_[1-3,7%2]", (1, 2, 3, 7)),
        ("123_[1-5:2]", (1, 3, 5)),
        ("123[4].server", (4,)),
        ("123[].server", None),
    ],
)
def test_ids_of_array_jobs_are_read(job_id, indices):
    assert cluster_queue._indices(job_id) == indices


SGE_JOB = "<job_list><JB_job_number>{}</JB_job_number><JB_name>{}</JB_name><state>{}</state>{}</job_list>"

SGE_LIST = "\n".join(
    [
        "<?xml version='1.0'?>\n<job_info><queue_info>",
        SGE_JOB.format(3, "ccx.o0", "r", "<tasks>2</tasks>"),
        SGE_JOB.format(4, "ccx.t8", "dr", ""),
        "</queue_info><job_info>",
        SGE_JOB.format(3, "ccx.o0", "qw", "<tasks>4-6:1,8</tasks>"),
        SGE_JOB.format(5, "ccx.t9", "Eqw", ""),
        SGE_JOB.format(6, "other", "hqw", ""),
        "</job_info></job_info>",
    ]
)
"""In the form in which qstat -xml of SGE 8.1.9 lists arrays."""

PBS_LIST = """Job Id: 12[].head
    Job_Name = ccx.o0
    Job_Owner = me@head
    job_state = B
    queue = work

Job Id: 12[1].head
    Job_Name = ccx.o0
    Job_Owner = me@head
    job_state = X
    queue = work

Job Id: 12[2].head
    Job_Name = ccx.o0
    Job_Owner = me@head
    job_state = R
    queue = work

Job Id: 12[3].head
    Job_Name = ccx.o0
    Job_Owner = me@head
    job_state = Q
    queue = work

Job Id: 13.head
    Job_Name = ccx.t9
    Job_Owner = me@head
    job_state = H
    queue = work
"""
"""In the form of qstat -f -t -w, as the manual of OpenPBS has it."""


@pytest.mark.parametrize(
    ("scheduler", "said", "running", "waiting"),
    [(Scheduler.SGE, SGE_LIST, [(2,), None], [(4, 5, 6, 8)]), (Scheduler.PBS, PBS_LIST, [(2,)], [(3,), None])],
)
def test_jobs_of_arrays_are_told_apart(monkeypatch, scheduler, said, running, waiting):
    answering(monkeypatch, said)
    jobs = queued_jobs(scheduler, "ccx.")
    assert [job.indices for job in jobs if job.is_running] == running
    assert [job.indices for job in jobs if not job.is_running] == waiting


def test_an_empty_queue_lists_nothing(monkeypatch):
    answering(monkeypatch, "")
    assert [queued_jobs(scheduler, "ccx.") for scheduler in Scheduler] == [[], [], []]


def test_a_pbs_job_that_ends_while_it_is_asked_for_is_no_error(monkeypatch):
    answering(monkeypatch, PBS_LIST, "qstat: Unknown Job Id 14.head", 153)
    assert len(queued_jobs(Scheduler.PBS, "ccx.")) == 3


def test_ranks_without_a_parallel_environment_are_refused_by_sge(tmp_path):
    with pytest.raises(InputError, match="where 8 ranks go") as caught:
        planned(tmp_path, Scheduler.SGE, ranks=8)
    assert "mpi 8" in caught.value.hint


def answering(monkeypatch, stdout="", stderr="", code=0):
    said = subprocess.CompletedProcess([], code, stdout, stderr)
    monkeypatch.setattr(cluster_queue, "_ask", lambda command: said)


def test_submissions_are_understood(monkeypatch, tmp_path):
    for scheduler, said, job in [
        (Scheduler.SLURM, "Submitted batch job 12\n", "12"),
        (Scheduler.PBS, "12[].server\n", "12[].server"),
        (Scheduler.SGE, 'Your job-array 12.1-3:1 ("x") has been submitted\n', "12"),
        (Scheduler.SGE, 'Your job 13 ("x") has been submitted\n', "13"),
    ]:
        answering(monkeypatch, said)
        assert cluster_queue.submit_script(scheduler, tmp_path / "x.sh", "x", {}) == job
    answering(monkeypatch, stderr="sbatch: error: invalid partition specified: x\n", code=1)
    with pytest.raises(RunError, match="invalid partition"):
        cluster_queue.submit_script(Scheduler.SLURM, tmp_path / "x.sh", "x", {})


@pytest.mark.parametrize(
    ("job", "stdout", "stderr", "code", "over"),
    [
        ("pbs:1[3].x", "Job Id: 1[3].x\n    Job_Name = c\n    job_state = X\n", "", 0, True),
        ("pbs:1[3].x", "Job Id: 1[3].x\n    Job_Name = c\n    job_state = R\n", "", 0, False),
        ("pbs:1", "", "qstat: 1.x Job has finished, use -x or -H to obtain historical job information", 35, True),
        ("sge:3", SGE_LIST, "", 0, False),
        ("sge:3.2", SGE_LIST, "", 0, False),
        ("sge:3.1", SGE_LIST, "", 0, True),
        ("sge:9", SGE_LIST, "", 0, True),
        ("sge:9", "", "error: commlib error: got select error (Connection refused)", 1, None),
        ("sge:9", "no xml", "", 0, None),
        ("slurm:1", "", "slurm_load_jobs error: Invalid job id specified", 1, True),
        ("slurm:1", "R\n", "", 0, False),
        ("slurm:1", "", "", 0, True),
        ("slurm:1", "", "Unable to contact slurm controller", 1, None),
        ("pbs:1", "", "qstat: Unknown Job Id 1", 153, True),
        ("pbs:1", "1.server x", "", 0, False),
        ("mine:1", "", "", 0, None),
    ],
)
def test_whether_a_job_is_over(monkeypatch, job, stdout, stderr, code, over):
    answering(monkeypatch, stdout, stderr, code)
    assert is_over(job) is over


def test_a_queue_that_cannot_be_asked_is_told(monkeypatch):
    answering(monkeypatch, stderr="sh: 1: squeue: not found\n", code=127)
    with pytest.raises(RunError, match="squeue: not found"):
        queued_jobs(Scheduler.SLURM, "x")


@pytest.mark.parametrize(
    ("states", "reasons", "code"),
    [
        ({"scf": StepState.DONE}, {}, 0),
        ({"scf": StepState.FAILED}, {"a scf": "stopped by itself after the 5 s that were left of the walltime"}, 75),
        ({"scf": StepState.FAILED, "bands": StepState.WAITING}, {"a scf": "did not converge", "a bands": ""}, 1),
    ],
)
def test_exit_codes_tell_time_from_failure(states, reasons, code):
    assert TaskOutcome({"a": states}, reasons).exit_code == code
