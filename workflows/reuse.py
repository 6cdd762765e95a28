"""Finished calculations found again by their key: in this study, and in the studies beside it under the same folder.

Each study keeps an index, ``DIR/.finished/KEY``: a small file a key that names the step's folder. Looking a key up
costs one look a study and reads no results. What is found is linked (or copied, from another disk) into a fresh attempt
folder here, after checking that it is whole, so that later steps find its density and the other study may be removed.
"""

import contextlib
import gzip
import json
import os
import shutil
import zlib
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from corecrown.settings import get_settings
from corecrown.workflows.owners import read_json

if TYPE_CHECKING:
    from corecrown.postprocess.results import StepResult
    from corecrown.workflows.record import StepFolder

__all__ = ["adopt", "find_elsewhere", "note_finished", "study_of"]

INDEX = ".finished"
OWN = {"attempt.json", "failure.json"}
"""What an attempt says of itself; never taken over."""

CHECKS = {
    ("espresso", "charge-density.dat"): ("corecrown.workflows.espresso.saved", "density_is_whole"),
    ("espresso", "data-file-schema.xml"): ("corecrown.workflows.espresso.saved", "xml_is_whole"),
}
"""What tells whether a file of an engine is whole; named, since engines are loaded only where they are used."""

LARGE_BYTES = 1 << 16
"""Files above this are linked rather than copied."""


def study_of(step: Path) -> Path | None:
    """Return the folder of the study that a step's folder ``DIR/cells/LABEL/STEP`` is part of, or None."""
    parents = step.absolute().parents
    if len(parents) < 4 or parents[1].name != "cells" or not (parents[2] / "study.yaml").is_file():
        return None
    return parents[2]


def note_finished(step: Path, key: str) -> None:
    """Enter a finished step in the index of its study; an index is only a help, so failure is no error."""
    study = study_of(step)
    if study is None:
        return
    with contextlib.suppress(OSError):
        (study / INDEX).mkdir(exist_ok=True)
        (study / INDEX / key).write_text(str(step.absolute().relative_to(study)), encoding="utf-8")


def find_elsewhere(record: "StepFolder", key: str) -> Iterator[tuple[Path, "StepResult"]]:
    """Yield study folder and result of finished calculations with a key outside a step's own folder."""
    mine = study_of(record.path)
    if mine is None or not get_settings().reuse:
        return
    for study in _studies(mine):
        place = _look_up(study, key)
        if place is None or _same(place, record.path):
            continue
        result = type(record)(place).stored_here(key)
        if result is not None:
            yield place, result


def _studies(mine: Path) -> Iterator[Path]:
    """Yield the folders of studies under the same root, one's own first."""
    yield mine
    try:
        with os.scandir(mine.parent) as entries:
            names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
    except OSError:
        return
    for name in names:
        other = mine.parent / name
        with contextlib.suppress(OSError):
            if name != mine.name and (other / "study.yaml").is_file():
                yield other


def _look_up(study: Path, key: str) -> Path | None:
    index = study / INDEX
    try:
        return study / (index / key).read_text(encoding="utf-8")
    except FileNotFoundError:
        if index.is_dir():
            return None
    except (OSError, ValueError):
        return None
    place = _crawled(study).get(key)
    return None if place is None else study / place


@cache
def _crawled(study: Path) -> dict[str, str]:
    """Return the index of a study that has none, made by reading its results; kept beside them where that can be."""
    found = {}
    for path in study.glob("cells/*/*/result*.json"):
        key = read_json(path).get("key")
        if isinstance(key, str):
            found[key] = str(path.parent.relative_to(study))
    temporary = study / f"{INDEX}.{os.getpid()}"
    try:
        temporary.mkdir()
        for key, place in found.items():
            (temporary / key).write_text(place, encoding="utf-8")
        temporary.rename(study / INDEX)
    except OSError:
        shutil.rmtree(temporary, ignore_errors=True)
    return found


def _same(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def adopt(record: "StepFolder", key: str) -> "StepResult | None":
    """Take over a finished calculation from elsewhere; returns the result that is now here, or None.

    The result says in ``timing.reused_from`` where it came from, relative to the folder that holds both studies.
    What is damaged there is passed over.
    """
    for place, theirs in find_elsewhere(record, key):
        source = place / theirs.folder
        if not all(_is_whole(source / name, theirs.engine) for name in theirs.files.values()):
            continue
        attempt = record.begin(key)
        try:
            _link_tree(source, attempt)
        except OSError:
            shutil.rmtree(attempt, ignore_errors=True)
            continue
        timing = theirs.timing.model_copy(update={"reused_from": theirs.timing.reused_from or _named(record, place)})
        fields = {"label": record.path.parent.name, "folder": attempt.name, "timing": timing}
        result = theirs.model_copy(update=fields)
        record.finish(result)
        return result
    return None


def _named(record: "StepFolder", place: Path) -> str:
    study = study_of(record.path)
    assert study is not None
    return str(place.absolute().relative_to(study.parent))


def _link_tree(source: Path, target: Path) -> None:
    """Give every file of an attempt a second name in another; files of other disks are copied."""
    for folder, _, names in os.walk(source, followlinks=True):  # the programs' folder may be a link to a scratch disk
        below = target / os.path.relpath(folder, source)
        below.mkdir(exist_ok=True)
        for name in names:
            theirs, mine = Path(folder) / name, below / name
            if name in OWN and Path(folder) == source:
                continue
            if theirs.is_symlink():
                mine.symlink_to(theirs.resolve())
                continue
            if theirs.stat().st_size > LARGE_BYTES:
                _link_or_copy(theirs, mine)
            else:
                shutil.copy2(theirs, mine)  # someone may edit it, and means one of the two
            if mine.stat().st_size != theirs.stat().st_size:
                raise OSError(f"{mine}: not all of {theirs} was copied")


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _is_whole(path: Path, engine: str) -> bool:
    """Return whether a file that later steps read is there and not cut off, as far as its kind lets one see."""
    try:
        if path.suffix == ".gz":
            with gzip.open(path) as stream:
                while stream.read(1 << 20):
                    pass
            return True
        if path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
        module, name = CHECKS.get((engine, path.name), (None, ""))
        if module is not None:
            return bool(getattr(import_module(module), name)(path))
        return path.stat().st_size > 0
    except (OSError, EOFError, ValueError, zlib.error):
        return False
