"""POTCARs: which one stands for an element, where it is, and whether it is what is asked for.

POTCARs are VASP's and cannot ship with this package. Where pymatgen's ``PMG_VASP_PSP_DIR`` is set they are found and
checked; where it is not, a table of valence electrons is enough to plan, not to run.
"""

import hashlib
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from corecrown.errors import InputError
from corecrown.resources import input_folder, read_yaml

__all__ = ["PotcarFile", "PotcarTable", "find_potcars", "load_potcar_table", "potcar_release", "require_potcars"]

DEFAULT_RELEASE = "PBE_54"
TABLE = "potpaw-pbe"
HINT = "set PMG_VASP_PSP_DIR to your folder of POTCARs, arranged as 'pmg config -p' leaves it"


class PotcarTable(BaseModel):
    """Which POTCAR is used for an element, and how many valence electrons it has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    source: str
    elements: dict[str, tuple[str, float]] = Field(description="element to symbol and valence electrons")


@dataclass(frozen=True)
class PotcarFile:
    """The POTCAR of one element.

    Parameters
    ----------
    element
        Chemical symbol.
    symbol
        Its name in VASP's library, such as ``Pb_d``.
    z_valence
        Valence electrons.
    title
        TITEL of the file, or its symbol where the file is out of reach.
    sha256
        Of its text, or None where the file is out of reach.
    text
        The file itself, or None.
    enmax_ev
        Its ENMAX, the cutoff that it was made for, eV; None where the file is out of reach.
    """

    element: str
    symbol: str
    z_valence: float
    title: str
    sha256: str | None = None
    text: str | None = None
    enmax_ev: float | None = None


@cache
def load_potcar_table() -> PotcarTable:
    """Read the table of POTCARs from ``inputs/pseudopotentials``."""
    path = input_folder("pseudopotentials", f"{TABLE}.yaml")
    try:
        return PotcarTable.model_validate(read_yaml(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"{path}, field {where}: {first['msg']}", "each element: [symbol, valence electrons]"
        ) from error


def potcar_release() -> str:
    """Return the release of POTCARs in pymatgen's words: its PMG_DEFAULT_FUNCTIONAL where that is a PBE one.

    PBEsol and HSE06 are computed with PBE POTCARs, as VASP means it.
    """
    chosen = str(_pymatgen_settings().get("PMG_DEFAULT_FUNCTIONAL") or "")
    return chosen if chosen.startswith("PBE_") else DEFAULT_RELEASE


def find_potcars(elements: Iterable[str]) -> dict[str, PotcarFile]:
    """Return the POTCAR of each element: the file where it is in reach, and otherwise what the table says of it.

    Raises
    ------
    InputError
        If the folder of POTCARs is set but lacks one or holds another functional or element, or if none is set and
        the table does not know an element.
    """
    wanted = list(dict.fromkeys(elements))
    if not _pymatgen_settings().get("PMG_VASP_PSP_DIR"):
        return {element: _from_table(element) for element in wanted}
    folder = str(_pymatgen_settings()["PMG_VASP_PSP_DIR"])
    if not Path(folder).is_dir():
        raise InputError(f"PMG_VASP_PSP_DIR is {folder}: no such folder", HINT)
    return {element: _from_library(element, potcar_release(), folder) for element in wanted}


def require_potcars(potcars: Iterable[PotcarFile]) -> None:
    """Raise if a POTCAR is out of reach, since VASP cannot run without.

    Raises
    ------
    InputError
        Naming the first that is missing.
    """
    missing = [potcar.symbol for potcar in potcars if potcar.text is None]
    if missing:
        raise InputError(f"no POTCAR of {', '.join(missing)}: PMG_VASP_PSP_DIR is not set", HINT)


def _symbol(element: str) -> str:
    known = load_potcar_table().elements
    return known[element][0] if element in known else element


def _from_table(element: str) -> PotcarFile:
    known = load_potcar_table().elements
    if element not in known:
        raise InputError(f"POTCAR of {element}: how many valence electrons it has is not known without the file", HINT)
    symbol, electrons = known[element]
    return PotcarFile(element, symbol, electrons, symbol)


@cache
def _from_library(element: str, release: str, folder: str) -> PotcarFile:
    from pymatgen.io.vasp.inputs import POTCAR_FUNCTIONAL_MAP, PotcarSingle

    if release not in POTCAR_FUNCTIONAL_MAP:
        raise InputError(f"POTCAR release {release!r} is unknown to pymatgen", "set PMG_DEFAULT_FUNCTIONAL: PBE_54")
    symbol = _symbol(element)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pymatgen knows not every release; what matters is checked below
            found = PotcarSingle.from_symbol_and_functional(symbol, release)
            element_found, electrons = found.element, float(found.nelectrons)
            functional, title = found.functional, str(found.keywords["TITEL"])
            enmax = float(found.keywords["ENMAX"])
    except FileNotFoundError as error:
        raise InputError(
            f"{folder}: no POTCAR of {symbol} of release {release}",
            "'pmg config -p' arranges VASP's archives; PMG_DEFAULT_FUNCTIONAL names another release",
        ) from error
    except (AttributeError, KeyError, ValueError, IndexError, OSError) as error:
        raise InputError(
            f"{folder}: the POTCAR of {symbol} ({release}) is damaged: {error}", "copy it again"
        ) from error
    if element_found != element:
        raise InputError(f"{folder}: the POTCAR of {symbol} is of {element_found}, not {element}", "copy the right one")
    if functional != "PBE":
        raise InputError(
            f"{folder}: the POTCAR of {symbol} ({title}) was made with {functional}, not PBE",
            f"put the {release} one there; PBEsol and HSE06 use PBE POTCARs too",
        )
    digest = hashlib.sha256(found.data.encode()).hexdigest()
    return PotcarFile(element, symbol, electrons, title, digest, str(found), enmax)


def _pymatgen_settings() -> dict[str, Any]:
    from pymatgen.io.vasp import inputs

    settings: dict[str, Any] = inputs.SETTINGS
    return settings
