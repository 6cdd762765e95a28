"""A study through a user's jobflow-remote project: the same flows, one a family of cells, run by their workers.

Where the worker sees the folder of the study, each step keeps its record there as in every other way of running.
Where it does not, steps keep their records in their working directories, and :func:`fetch_results` brings them here.
"""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jobflow import Flow

from corecrown.errors import CorecrownError, InputError, RunError
from corecrown.files import write_whole
from corecrown.postprocess.results import Step
from corecrown.workflows.cluster import CLUSTER, WORKER, asks_of, cells_to_submit, families, remote_submissions
from corecrown.workflows.cluster_task import without_comparison
from corecrown.workflows.geometries import needed_cells
from corecrown.workflows.local import claim_folder, require_own_folder, require_unedited
from corecrown.workflows.manifest import write_manifest
from corecrown.workflows.owners import cell_lock, read_json
from corecrown.workflows.record import StepFolder, StepOutput, StepState
from corecrown.workflows.spec import StudySpec
from corecrown.workflows.study import StudyInfo, SubstitutionStudyMaker, build_cells, cell_folder

__all__ = ["WorkerSubmission", "cells_at_workers", "fetch_results", "states_at_workers", "submit_to_worker"]

OVER = {"COMPLETED", "FAILED", "REMOTE_ERROR", "STOPPED", "USER_STOPPED"}
"""States of jobflow-remote in which nothing happens of itself any more."""


@dataclass(frozen=True)
class WorkerSubmission:
    """What is handed to a worker.

    Attributes
    ----------
    shared
        Whether the worker sees the folder of the study.
    labels
        The cells.
    jobs
        Ids in the queue of jobflow-remote, by ``LABEL STEP``.
    """

    folder: Path
    worker: str
    project: str | None
    shared: bool
    labels: list[str]
    jobs: dict[str, str]

    def about(self) -> dict[str, Any]:
        """Return it for a file or for people."""
        return {
            "worker": self.worker,
            "project": self.project,
            "shared": self.shared,
            "labels": self.labels,
            "jobs": self.jobs,
        }


def submit_to_worker(
    spec: StudySpec,
    folder: Path,
    worker: str,
    project: str | None = None,
    shared: bool = True,
    dry_run: bool = False,
    again: bool = False,
) -> WorkerSubmission:
    """Add the cells of a study that are not finished to the queue of a jobflow-remote project.

    Parameters
    ----------
    spec
        The study.
    folder
        Where it is kept.
    worker, project
        Of the user's jobflow-remote; its default project if None.
    shared
        Whether the worker sees ``folder`` under the same path.
    dry_run
        Only look whether it could be done.
    again
        Submit finished cells too.

    Raises
    ------
    InputError
        If jobflow-remote is not installed, project or worker are unknown, or nothing is left to submit.
    RunError
        If the database of the project cannot be reached.
    """
    folder = folder.resolve()
    with _told():
        from jobflow_remote import ConfigManager

        known = ConfigManager().get_project(project).workers
    if worker not in known:
        raise InputError(f"worker {worker!r} is unknown", f"workers of the project: {', '.join(known) or 'none'}")
    cells = build_cells(spec)
    maker = SubstitutionStudyMaker.from_spec(spec)
    require_own_folder(spec, folder)
    require_unedited(folder, cells, maker.electronic.steps)
    if dry_run:
        return WorkerSubmission(folder, worker, project, shared, [cell.label for cell in cells], {})
    claim_folder(spec, folder)
    with cell_lock(folder / CLUSTER):
        write_manifest(folder, spec, cells, maker.electronic.steps)
        chosen = cells_to_submit(folder, again)
        number = 1 + max(
            (int(path.name) for path in (folder / CLUSTER).glob("[0-9]*") if path.name.isdigit()), default=0
        )
        place = folder / CLUSTER / f"{number:03d}"
        place.mkdir(parents=True)
        jobs: dict[str, str] = {}
        for labels in families(cells, chosen, 1):
            needed, finished = needed_cells(spec, maker, labels, folder)
            flow = without_comparison(maker.make(needed, StudyInfo.of(spec), folder if shared else None, finished))
            if len(needed) == 1:
                _leave_out_collecting(flow)
            jobs |= _submit(flow, worker, project)
            done = WorkerSubmission(place, worker, project, shared, sorted(chosen), jobs)
            _note(done)
    return done


def _leave_out_collecting(flow: Flow) -> None:
    """Take away the last job of each cell, which puts its steps together: ``study collect`` does that here."""
    for cell in flow.jobs:
        if isinstance(cell, Flow):
            cell.output = None
            cell.remove_jobs(len(cell.jobs) - 1)


def _submit(flow: Flow, worker: str, project: str | None) -> dict[str, str]:
    """Submit a flow; returns the ids by the names of its jobs."""
    with _told():
        from jobflow_remote import set_run_config, submit_flow
        from jobflow_remote.config.base import ExecutionConfig

        jobs = [job for job, _ in flow.iterflow()]
        for job in jobs:
            asked = asks_of(job.name.split()[-1])
            export: dict[str, Any] = {}
            if asked.ranks is not None:
                export["CORECROWN_MPI_RANKS"] = asked.ranks
            if asked.mpi_command is not None:
                export["CORECROWN_MPI_COMMAND"] = f"'{asked.mpi_command}'"
            if asked.walltime is not None:
                export["CORECROWN_WALLTIME_S"] = asked.walltime
            execution = ExecutionConfig(
                modules=asked.modules, export=export or None, pre_run="\n".join(asked.before or []) or None
            )
            set_run_config(job, exec_config=execution, resources=dict(asked.resources) or None, dynamic=False)
        ids = {job.uuid: job.name for job in jobs}
        submitted = submit_flow(flow, worker=worker, project=project)
    with _controller(project) as controller, _told():
        return {ids[info.uuid]: info.db_id for info in controller.get_jobs_info(db_ids=submitted)}


def _note(done: WorkerSubmission) -> None:
    about = {**done.about(), "submitted": datetime.now(UTC).isoformat(timespec="seconds")}
    write_whole(done.folder / WORKER, json.dumps(about) + "\n")


def states_at_workers(folder: Path) -> dict[str, tuple[str, str]]:
    """Return state and error of each ``LABEL STEP`` that was submitted to a worker; the last submission counts."""
    found: dict[str, tuple[str, str]] = {}
    for path in remote_submissions(folder):
        about = read_json(path)
        names = {str(db_id): name for name, db_id in about.get("jobs", {}).items()}
        if not names:
            continue
        with _controller(about.get("project")) as controller, _told():
            for info in controller.get_jobs_info(db_ids=list(names)):
                said = (info.error or "").strip().splitlines()
                found[names[info.db_id]] = (info.state.value, said[-1] if said else "")
    return found


def cells_at_workers(folder: Path) -> dict[str, bool]:
    """Return the cells of which a worker has steps that wait or run, and whether one of them runs."""
    found: dict[str, bool] = {}
    for what, (state, _) in states_at_workers(folder).items():
        if state not in OVER:
            label = what.split()[0]
            found[label] = found.get(label, False) or state == "RUNNING"
    return found


def fetch_results(folder: Path) -> list[str]:
    """Bring finished steps from workers that do not see a study's folder; says what was brought and what failed."""
    told = []
    for path in remote_submissions(folder):
        about = read_json(path)
        names = {str(db_id): name for name, db_id in about.get("jobs", {}).items()}
        with _controller(about.get("project")) as controller, _told():
            for info in controller.get_jobs_info(db_ids=list(names)):
                label, _, step = names[info.db_id].partition(" ")
                if info.state.value in OVER - {"COMPLETED"}:
                    reason = ((info.error or "no reason given").strip().splitlines() or [""])[-1]
                    told.append(f"{label} {step}: {info.state.value}: {reason}; jf job rerun {info.db_id}")
                    _record_failure(folder, label, step, told[-1])
                if about.get("shared") or info.state.value != "COMPLETED" or step not in list(Step):
                    continue
                output = StepOutput.model_validate(_plain(controller.jobstore.get_output(info.uuid, load=True)))
                if _fetch(folder, label, step, output, info.worker, about.get("project")):
                    told.append(f"{label} {step}: fetched from {info.worker}")
    return told


def _plain(output: Any) -> Any:
    return output.model_dump() if hasattr(output, "model_dump") else output


def _record_failure(folder: Path, label: str, step: str, reason: str) -> None:
    record = StepFolder(cell_folder(folder, label) / step)
    if step not in list(Step) or record.state() in {StepState.DONE, StepState.FAILED, StepState.RUNNING}:
        return
    with record.alone():
        attempts = record.attempts()
        record.fail(attempts[-1] if attempts else record.begin("at a worker"), reason)


def _fetch(folder: Path, label: str, step: str, output: StepOutput, worker: str, project: str | None) -> bool:
    """Copy a result and the files it names into a fresh attempt here; False if it is here already."""
    record = StepFolder(cell_folder(folder, label) / step)
    if record.stored_here(output.result.key) is not None:
        return False
    from jobflow_remote import ConfigManager
    from paramiko import SSHException

    host = ConfigManager().get_worker(worker, project).get_host()
    with record.alone():
        attempt = record.begin(output.result.key)
        try:
            host.connect()
            for name in output.result.files.values():
                (attempt / name).parent.mkdir(parents=True, exist_ok=True)
                host.get(f"{output.dir_name}/{name}", str(attempt / name))
        except (OSError, SSHException) as error:
            record.fail(attempt, f"not fetched from worker {worker}: {error}")
            raise RunError(f"{label} {step}: not fetched from worker {worker}: {error}", "collect again") from error
        finally:
            host.close()
        record.finish(output.result.model_copy(update={"folder": attempt.name}))
    return True


@contextlib.contextmanager
def _controller(project: str | None) -> Iterator[Any]:
    with _told():
        from jobflow_remote import JobController

        controller = JobController.from_project_name(project)
        controller.jobstore.connect()
    try:
        yield controller
    finally:
        controller.close()


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Turn what jobflow-remote and its database say into our errors."""
    try:
        from jobflow_remote.config.base import ConfigError
        from pymongo.errors import PyMongoError
    except ImportError as error:
        raise InputError("jobflow-remote is not installed", "pip install 'corecrown[cluster]'") from error
    try:
        yield
    except CorecrownError:
        raise
    except ConfigError as error:
        raise InputError(
            f"jobflow-remote: {error or type(error).__name__}", "jf project list shows projects"
        ) from error
    except PyMongoError as error:
        said = str(error).split(",", maxsplit=1)[0]
        raise RunError(f"the database of jobflow-remote: {said}", "does it run? jf project check -q tells") from error
