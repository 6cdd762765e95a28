"""Finished calculations found again by their key in the studies beside this one, and only by it."""

import gzip
import json
import os
import shutil
import struct

import pytest
from stored_results import result

from corecrown.errors import InputError
from corecrown.settings import get_settings
from corecrown.workflows import reuse
from corecrown.workflows.record import StepFolder


def density(n_vectors=5000):
    """Bytes as pw.x writes them: four Fortran records, each between two copies of its length."""
    records = [struct.pack("<3i", 0, n_vectors, 1), bytes(72), bytes(12 * n_vectors), bytes(16 * n_vectors)]
    return b"".join(struct.pack("<i", len(body)) + body + struct.pack("<i", len(body)) for body in records)


FILES = {"density": "out/pwscf.save/charge-density.dat", "bands": "bands.json.gz"}


def study(root, name):
    folder = root / name
    folder.mkdir()
    (folder / "study.yaml").write_text(f"name: {name}\n")
    return folder


def step(study, label="fa000", name="scf"):
    return StepFolder(study / "cells" / label / name)


def compute(record, key="k1"):
    attempt = record.begin(key)
    (attempt / "out" / "pwscf.save").mkdir(parents=True)
    (attempt / FILES["density"]).write_bytes(density())
    (attempt / FILES["bands"]).write_bytes(gzip.compress(b"{}"))
    (attempt / "pw.in").write_text("&control\n/\n")
    record.finish(result(key, attempt.name, files=FILES))
    return attempt


@pytest.fixture
def two(tmp_path):
    first, second = study(tmp_path, "first"), study(tmp_path, "second")
    compute(step(first))
    return first, second


def test_a_result_beside_this_study_is_taken_over_and_says_where_from(two):
    first, second = two
    record = step(second, "other")
    assert record.stored("k1") is not None
    assert not record.path.exists(), "looking changes nothing"
    found = record.finished("k1")
    assert found.timing.reused_from == "first/cells/fa000/scf"
    assert found.label == "other"
    shutil.rmtree(first)
    again = StepFolder(record.path).finished("k1")
    assert again == found
    assert (record.path / found.folder / FILES["density"]).read_bytes() == density(), "readable without the first study"


def test_another_key_and_a_folder_that_is_no_study_take_nothing(two, tmp_path):
    _, second = two
    assert step(second).finished("k2") is None
    assert StepFolder(second / "cells" / "fa000").finished("k1") is None
    outside = tmp_path / "third" / "cells" / "fa000" / "scf"
    assert StepFolder(outside).finished("k1") is None, "no study.yaml, no study"


def test_another_cell_of_the_same_study_is_found(two):
    first, _ = two
    assert step(first, "same-atoms").finished("k1").timing.reused_from == "first/cells/fa000/scf"


def test_what_was_forgotten_is_not_found_elsewhere(two):
    first, second = two
    record = step(second)
    assert record.finished("k1") is not None
    record.forget()
    assert record.finished("k1") is None
    assert step(first).finished("k1").timing.reused_from is None
    compute(record)
    assert record.finished("k1").timing.reused_from is None


@pytest.mark.parametrize("damage", ["cut density", "cut bands", "no density", "no index", "result gone", "set aside"])
def test_what_is_damaged_is_passed_over(two, damage):
    first, second = two
    record = step(first)
    attempt = record.path / "attempt-001"
    if damage == "cut density":
        (attempt / FILES["density"]).write_bytes(density()[:-1000])
    elif damage == "cut bands":
        (attempt / FILES["bands"]).write_bytes(gzip.compress(os.urandom(1000))[:-5])
    elif damage == "no density":
        (attempt / FILES["density"]).unlink()
    elif damage == "no index":
        shutil.rmtree(first / reuse.INDEX)
    elif damage == "result gone":
        (record.path / "result.json").unlink()
    else:
        record.begin("k2")
    found = step(second).finished("k1")
    if damage in {"no index", "set aside"}:
        assert found.timing.reused_from == "first/cells/fa000/scf"
        assert (first / reuse.INDEX / "k1").is_file(), "made once, for the next"
    else:
        assert found is None
        assert not list(step(second).path.glob("attempt-*"))


def test_reuse_can_be_turned_off(two, monkeypatch):
    monkeypatch.setenv("CORECROWN_REUSE", "false")
    get_settings.cache_clear()
    assert step(two[1]).finished("k1") is None


def test_scratch_elsewhere_is_followed(tmp_path):
    first, second = study(tmp_path, "first"), study(tmp_path, "second")
    record = step(first)
    attempt = record.begin("k1")
    (tmp_path / "scratch" / "pwscf.save").mkdir(parents=True)
    (tmp_path / "scratch" / "pwscf.save" / "charge-density.dat").write_bytes(density())
    (attempt / "out").symlink_to(tmp_path / "scratch")
    record.finish(result("k1", attempt.name, files={"density": FILES["density"]}))
    found = step(second).finished("k1")
    shutil.rmtree(tmp_path / "scratch")
    assert (step(second).path / found.folder / FILES["density"]).is_file()


def test_an_input_edited_under_a_finished_result_is_refused(two):
    first, _ = two
    record = step(first)
    path = record.path / "attempt-001" / "pw.in"
    before = (record.path / "result.json").read_text()
    path.write_text("&control\n calculation = 'relax'\n/\n")
    with pytest.raises(InputError, match=r"pw\.in"):
        record.finished("k1")
    assert (record.path / "result.json").read_text() == before
    path.write_text("&control\n/\n")
    assert record.finished("k1") is not None


def test_editing_here_leaves_the_other_study_as_it_was(two):
    first, second = two
    found = step(second).finished("k1")
    (step(second).path / found.folder / "pw.in").write_text("edited")
    assert step(first).finished("k1") is not None


def test_many_studies_cost_one_look_each(tmp_path):
    for number in range(50):
        compute(step(study(tmp_path, f"study{number}")), f"k{number}")
    mine = step(study(tmp_path, "mine"))
    assert mine.finished("k49").timing.reused_from == "study49/cells/fa000/scf"
    assert json.loads((mine.path / "result.json").read_text())["key"] == "k49"
