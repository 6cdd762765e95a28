"""Results in, physics and pictures out."""

from importlib import import_module
from typing import Any

__all__ = ["read_reference", "read_study", "read_sweeps"]

_HOMES = {
    "read_reference": "corecrown.postprocess.reference",
    "read_study": "corecrown.postprocess.study",
    "read_sweeps": "corecrown.postprocess.sts.readers",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: pymatgen takes seconds."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'corecrown.postprocess' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
