"""Flows that turn a cell into results, the engines that run them, and the runners."""

from importlib import import_module
from typing import Any

__all__ = ["StudySpec", "load_study", "run_study"]

_HOMES = {
    "StudySpec": "corecrown.workflows.spec",
    "load_study": "corecrown.workflows.spec",
    "run_study": "corecrown.workflows.local",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: pymatgen and jobflow take seconds."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'corecrown.workflows' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
