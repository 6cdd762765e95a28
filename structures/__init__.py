"""Atoms in, atoms out: reference crystals, formamidinium, substitution, ensembles and platelets."""

from importlib import import_module
from typing import Any

_HOME = {
    "build": "builder",
    "repeat": "builder",
    "substitute": "substitution",
    "load_crystal": "crystals",
    "host": "crystals",
    "to_pbnm": "setting",
    "is_pbnm": "setting",
    "CellSpec": "cells",
    "expand_cells": "cells",
    "platelet": "platelets",
    "slab": "platelets",
    "ensemble": "ensembles",
    "prerelax": "prerelaxation",
    "describe": "substitution",
    "draw_cell": "picture",
    "read_structure": "files",
    "write_structure": "files",
}

__all__ = sorted(_HOME)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: pymatgen takes seconds."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
