"""What the file and the protocol of a study say of its results, as far as they are at hand."""

from collections.abc import Mapping
from typing import Any

from corecrown.errors import CorecrownError
from corecrown.postprocess.study import Study
from corecrown.resources import input_folder, read_yaml

__all__ = ["part_of", "protocol_of", "relaxes_lattice", "study_input"]

STUDY_INPUT = "study.yaml"


def study_input(study: Study) -> dict[str, Any]:
    """Return what the study was asked for; empty where its file is missing or broken."""
    try:
        return read_yaml(study.folder / STUDY_INPUT)
    except CorecrownError:
        return {}


def protocol_of(study: Study) -> dict[str, Any]:
    """Return the protocol of a study; empty where it is none of those that ship."""
    path = input_folder("protocols", f"{study.result.protocol}.yaml")
    return read_yaml(path) if path.is_file() else {}


def part_of(content: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return a part of a file that has keys of its own; empty where there is none."""
    part = content.get(key)
    return part if isinstance(part, dict) else {}


def relaxes_lattice(study: Study) -> bool | None:
    """Tell whether lattices were relaxed where atoms were; ``None`` where the protocol is not at hand."""
    chosen = part_of(part_of(study_input(study), "overrides"), "relax").get("relax_cell")
    if chosen is not None:
        return bool(chosen)
    protocol = protocol_of(study)
    return bool(part_of(protocol, "relax").get("relax_cell", True)) if protocol else None
