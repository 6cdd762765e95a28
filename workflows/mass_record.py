"""What a search for masses leaves in its attempt folder: every stencil, its k-points and their energies."""

import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from corecrown.files import write_whole
from corecrown.workflows.mass_search import Round
from corecrown.workflows.record import StepFolder

__all__ = ["STENCILS", "read_earlier_rounds", "read_rounds", "write_rounds"]

STENCILS = "stencils.json"


def write_rounds(attempt: Path, density: str, rounds: Sequence[Round]) -> None:
    """Keep the runs of a search: ``density`` names what else determines the energies, as a hash."""
    content = {"density": density, "rounds": [one.model_dump(mode="json") for one in rounds]}
    write_whole(attempt / STENCILS, json.dumps(content, indent=1))


def read_earlier_rounds(record: StepFolder, attempt: Path, density: str) -> list[Round]:
    """Return the runs that earlier attempts left on the same density with the same input."""
    others = [earlier for earlier in record.attempts() if earlier != attempt]
    found = [done for earlier in others for done in read_rounds(earlier, density)]
    return list({done.model_dump_json(): done for done in found}.values())  # each attempt repeats those before it


def read_rounds(folder: Path, density: str | None = None) -> list[Round]:
    """Return the runs that a folder holds, on any density or on one; none where the file is not there or not whole."""
    try:
        content = json.loads((folder / STENCILS).read_text(encoding="utf-8"))
        if density not in (None, content["density"]):
            return []
        return [Round.model_validate(one) for one in content["rounds"]]
    except (OSError, ValueError, KeyError, TypeError, ValidationError):
        return []
