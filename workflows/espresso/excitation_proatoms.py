"""Isolated atoms as pseudopotentials carry them: the valence density their generation started from."""

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
from ase import units

from corecrown.errors import InputError
from corecrown.postprocess.excitation_partition import ProAtom

__all__ = ["read_proatom"]


def read_proatom(path: Path) -> ProAtom:
    """Read the density of the isolated atom from a UPF file (PP_RHOATOM is 4πr²ρ in 1/bohr on the mesh PP_R).

    Raises
    ------
    InputError
        If the file has none.
    """
    text = path.read_text(encoding="utf-8", errors="replace")
    radii, shells = _numbers(text, "PP_R", path), _numbers(text, "PP_RHOATOM", path)
    n = min(len(radii), len(shells))
    radii, shells = radii[:n], shells[:n]
    beyond = radii > 1e-6
    if not beyond.any() or shells.max(initial=0) <= 0:
        raise InputError(f"{path}: no density of the atom in it", "the Hirshfeld partition needs PP_RHOATOM")
    radii, shells = radii[beyond], shells[beyond]
    density = np.clip(shells, 0, None) / (4 * np.pi * radii**2)
    return ProAtom(radii * units.Bohr, density / units.Bohr**3)


def _numbers(text: str, tag: str, path: Path) -> npt.NDArray[np.float64]:
    found = re.search(rf"<{tag}(?:\s[^>]*)?>(.*?)</{tag}>", text, flags=re.DOTALL)
    if found is None:
        raise InputError(f"{path}: no {tag} in it", "the Hirshfeld partition needs a UPF file with PP_RHOATOM")
    try:
        return np.array(found[1].replace("D", "E").split(), dtype=float)
    except ValueError as error:
        raise InputError(f"{path}: {tag} is damaged ({error})", "fetch the file again: corecrown setup") from error
