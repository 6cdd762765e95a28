"""Results that ship with the package: finished studies in ``inputs/reference``, read like any other."""

import json
from pathlib import Path
from typing import Any

from corecrown.errors import InputError
from corecrown.postprocess.study import STUDY_FILE, Study, read_study
from corecrown.resources import input_folder

__all__ = ["read_provenance", "read_reference", "reference_names"]

BEST_FIRST = ("precise", "balanced", "fast", "demo")


def reference_names() -> list[str]:
    """Return the names of the shipped results: best protocol first, then most cells, then most kinds of steps.

    Examples
    --------
    >>> "demo" in reference_names()
    True
    """
    root = input_folder("reference")
    studies = {path.parent.name: read_study(path).result for path in sorted(root.glob(f"*/{STUDY_FILE}"))}

    def rank(name: str) -> tuple[int, int, int, str]:
        result = studies[name]
        place = BEST_FIRST.index(result.protocol) if result.protocol in BEST_FIRST else len(BEST_FIRST)
        steps = {step for cell in result.cells for step in cell.timings}
        return place, -len(result.cells), -len(steps), name

    return sorted(studies, key=rank)


def read_reference(name: str) -> Study:
    """Read shipped results by their name.

    Raises
    ------
    InputError
        If nothing of that name ships; the message names what does.

    Examples
    --------
    >>> study = read_reference("demo")
    >>> round(study["fa000"].edges.gap_ev, 2)  # PBE without spin-orbit coupling at 40 Ry: not converged
    2.13
    """
    if name not in {path.parent.name for path in input_folder("reference").glob(f"*/{STUDY_FILE}")}:
        raise InputError(f"no results named {name!r} ship", f"shipped: {', '.join(reference_names()) or 'none'}")
    return read_study(input_folder("reference", name))


def read_provenance(folder: Path | str) -> dict[str, Any] | None:
    """Return how a study came about (versions, commands, costs), or ``None`` where its folder does not say.

    Raises
    ------
    InputError
        If there is a ``provenance.json`` that is none.
    """
    path = Path(folder) / "provenance.json"
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read: {error}", "ship the results again") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds {type(content).__name__}, not an object", "ship the results again")
    return content
