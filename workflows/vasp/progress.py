"""How far a running VASP is, from its OSZICAR."""

import re
from pathlib import Path

from ase import units

from corecrown.workflows.progress import Progress

__all__ = ["read_progress"]

_ELECTRONIC = re.compile(r"^(?:DAV|RMM|SDA|CG|ALL|DMP):\s+(\d+)\s+\S+\s+(\S+)", re.MULTILINE)
_IONIC = re.compile(r"^\s*(\d+) F=", re.MULTILINE)


def read_progress(oszicar: Path) -> Progress:
    """Read how far a run is; a missing file means it has not begun.

    The accuracy is the energy change of the last electronic iteration, which VASP writes in eV.
    """
    if not oszicar.is_file():
        return Progress()
    text = oszicar.read_text(encoding="utf-8", errors="replace")
    ionic = list(_IONIC.finditer(text))
    electronic = _ELECTRONIC.findall(text, ionic[-1].end() if ionic else 0)
    try:
        accuracy = abs(float(electronic[-1][1])) / float(units.Rydberg) if electronic else None
    except ValueError:
        accuracy = None
    return Progress(
        ionic_step=len(ionic) + 1, scf_iteration=int(electronic[-1][0]) if electronic else 0, accuracy_ry=accuracy
    )
