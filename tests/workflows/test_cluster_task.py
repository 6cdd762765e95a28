"""What a job of a queue does, in this process on the real pw.x: stages, exit codes, and results of other studies."""

import json
import shutil

import pytest
from small_cluster import attempts, write_study

from corecrown.errors import InputError
from corecrown.settings import get_settings
from corecrown.workflows.cluster_task import run_task
from corecrown.workflows.local import claim_folder, run_study
from corecrown.workflows.manifest import write_manifest
from corecrown.workflows.spec import load_study
from corecrown.workflows.study import SubstitutionStudyMaker, build_cells

pytestmark = pytest.mark.espresso


@pytest.fixture(autouse=True)
def one_rank(monkeypatch):
    monkeypatch.setenv("CORECROWN_MPI_COMMAND", "")
    monkeypatch.setenv("CORECROWN_MPI_RANKS", "1")
    get_settings.cache_clear()


def test_stages_one_after_the_other_and_a_scf_of_another_study(tmp_path, monkeypatch):
    first = run_study(write_study(tmp_path / "in"), tmp_path / "first")
    assert first.cells[0].timings["scf"].reused_from is None

    spec = load_study(write_study(tmp_path / "in", steps="[scf, bands]"))
    folder = tmp_path / "second"
    claim_folder(spec, folder)
    write_manifest(folder, spec, build_cells(spec), SubstitutionStudyMaker.from_spec(spec).electronic.steps)
    outcome = run_task(spec, folder, ["si"], ["scf"])
    assert (outcome.exit_code, set(outcome.states["si"])) == (0, {"scf"})
    assert not (folder / "cells/si/bands").exists()
    assert not (folder / "study.json").exists(), "study collect writes it"
    stored = json.loads((folder / "cells/si/scf/result.json").read_text())
    assert stored["timing"]["reused_from"] == "first/cells/si/scf"

    shutil.rmtree(tmp_path / "first")
    monkeypatch.setenv("CORECROWN_WALLTIME_S", "0.01")
    get_settings.cache_clear()
    assert run_task(spec, folder, ["si"], ["bands"]).exit_code == 75
    monkeypatch.delenv("CORECROWN_WALLTIME_S")
    get_settings.cache_clear()
    outcome = run_task(spec, folder, ["si"], ["bands"])
    assert outcome.exit_code == 0, outcome.reasons
    assert attempts(folder) == ["attempt-001"], "the scf was not repeated, its density was read here"

    with pytest.raises(InputError, match="'hybrid'"):
        run_task(spec, folder, ["si"], ["hybrid"])
    with pytest.raises(InputError, match="does not hold"):
        run_task(spec.changed(name="other"), folder, None, None)
