"""Data that ships with the package (the ``inputs`` room): where it is and how YAML of it is read."""

from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from corecrown.errors import InputError

__all__ = ["input_folder", "input_names", "read_yaml"]


def input_folder(*parts: str) -> Path:
    """Return the path of a file or folder of the ``inputs`` room.

    Parameters
    ----------
    *parts
        Path below ``inputs``, for example ``"crystals", "CsPbBr3-Pbnm.cif"``.
    """
    return Path(str(files("corecrown").joinpath("inputs"))).joinpath(*parts)


def input_names(kind: str, suffix: str = ".yaml") -> list[str]:
    """Return the names (without suffix) of what ships in one folder of the ``inputs`` room."""
    return sorted(path.stem for path in input_folder(kind).glob(f"*{suffix}"))


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file whose top level is a mapping.

    Raises
    ------
    InputError
        If the file is missing, is not YAML, or holds something else than a mapping; the message names file and line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not a text file (UTF-8)", "see inputs/ for examples") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}", "check the path") from error
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or "not YAML"
        raise InputError(f"{where}: not valid YAML: {problem}", "see inputs/ for examples") from error
    if not isinstance(content, dict):
        found = "is empty" if content is None else f"holds a {type(content).__name__}"
        raise InputError(f"{path}: {found}, not a mapping of keys", "see inputs/ for examples")
    return content
