"""vasprun.xml as pymatgen reads it, with what some versions of VASP write that it stumbles over."""

from pathlib import Path
from typing import Any

from monty.io import zopen
from pymatgen.io.vasp.outputs import Vasprun

__all__ = ["VasprunReader", "is_vasprun"]

HEAD_BYTES = 300
"""How much of a file is looked at for the element that a vasprun.xml begins with."""


class VasprunReader(Vasprun):
    """pymatgen's reader, for two things more.

    VASP prints asterisks where a number is too long for its field, in KINTER and MAGMOM above all: such tags count as
    not written, so that whoever needs one misses it. And ALGO may be a number.
    """

    def _parse_params(self, elem: Any) -> Any:
        for tag in list(elem.iter("i", "v")):
            if "*" in (tag.text or "") and tag.get("type") != "string":
                tag.getparent().remove(tag)
        return super()._parse_params(elem)

    @property
    def converged_electronic(self) -> bool:
        """Whether the last electronic iterations converged."""
        if "ALGO" in self.incar:
            self.incar.data["ALGO"] = str(self.incar.data["ALGO"])
        return bool(super().converged_electronic)


def is_vasprun(path: Path) -> bool:
    """Tell whether a file, packed or not, begins as a vasprun.xml does, whatever it is called."""
    try:
        with zopen(path, "rb") as stream:
            return b"<modeling>" in stream.read(HEAD_BYTES)
    except (OSError, EOFError):
        return False
