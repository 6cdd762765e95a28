"""A study that is changed and run again: only what the change concerns runs, on the real pw.x."""

import pytest
from small_cluster import attempts, write_study

from corecrown.settings import get_settings
from corecrown.workflows.local import run_study

pytestmark = pytest.mark.espresso

STEPS = ("scf", "bands", "pdos")


@pytest.fixture(autouse=True)
def one_rank(monkeypatch):
    monkeypatch.setenv("CORECROWN_MPI_COMMAND", "")
    monkeypatch.setenv("CORECROWN_MPI_RANKS", "1")
    monkeypatch.setenv("CORECROWN_REUSE", "false")
    monkeypatch.setenv("CORECROWN_CUSTODIAN_POLLING_S", "0.05")
    get_settings.cache_clear()


def test_only_what_a_change_concerns_runs(tmp_path):
    folder = tmp_path / "out"

    def run(labels=("si",), scf="", path_spacing="0.5"):
        path = write_study(tmp_path / "in", labels, f"[{', '.join(STEPS)}]", scf)
        path.write_text(path.read_text().replace("path_spacing: 0.5", f"path_spacing: {path_spacing}"))
        result = run_study(path, folder)
        assert not any(cell.failed for cell in result.cells)
        return {label: [len(attempts(folder, label, step)) for step in STEPS] for label in labels}

    assert run() == {"si": [1, 1, 1]}
    assert run() == {"si": [1, 1, 1]}, "nothing runs twice"
    finer_path = {"path_spacing": "0.2"}
    assert run(**finer_path) == {"si": [1, 2, 1]}, "nothing depends on bands here"
    assert run(scf="kpoint_mesh: [3, 3, 3]", **finer_path) == {"si": [2, 3, 2]}, "bands and pdos start from the scf"
    assert run() == {"si": [2, 3, 2]}, "what was computed before the changes is found again"
    assert run(("si", "si2")) == {"si": [2, 3, 2], "si2": [1, 1, 1]}, "a cell that is added runs alone"


def test_results_of_other_settings_are_told(tmp_path):
    folder = tmp_path / "out"
    path = write_study(tmp_path / "in", ("si", "si2"), "[scf, bands]", "")
    said = [cell.notes for cell in run_study(path, folder).cells]
    assert not any("other settings" in note for notes in said for note in notes)
    for change, steps in (
        (("path_spacing: 0.5", "path_spacing: 0.2"), "bands"),
        (("[2, 2, 2]", "[1, 1, 1]"), "scf, bands"),
    ):
        assert change[0] in path.read_text()
        path.write_text(path.read_text().replace(*change))
        first, second = run_study(path, folder, ["si2"]).cells
        told = [note for note in first.notes if "other settings" in note]
        assert [note.partition(":")[0] for note in told] == [steps]
        assert not any("other settings" in note for note in second.notes)
