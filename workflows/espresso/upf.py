"""The header of a pseudopotential in the Unified Pseudopotential Format, versions 1 and 2."""

import hashlib
import re
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from corecrown.errors import InputError

__all__ = ["Functional", "PseudopotentialFile", "Relativity", "read_upf"]

Functional = Literal["PBE", "PBEsol"]
Relativity = Literal["SR", "FR"]

# Quantum ESPRESSO names a functional as one short word or as its four parts, in any case and spacing
# (Modules/funct.f90); pbx is the older name of the exchange part of PBE.
FUNCTIONALS: dict[str, Functional] = {
    "pbe": "PBE",
    "sla pw pbx pbc": "PBE",
    "sla pw pbe pbe": "PBE",
    "pbesol": "PBEsol",
    "sla pw psx psc": "PBEsol",
}
RELATIVITIES: dict[str, Relativity] = {"scalar": "SR", "full": "FR"}


class PseudopotentialFile(BaseModel):
    """One pseudopotential on disk, as its own header describes it.

    ``functional`` and ``relativity`` hold the header's own words where they are none of ``PBE``, ``PBEsol``,
    ``SR`` and ``FR``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    element: str
    path: Path
    sha256: str = Field(description="of the file")
    z_valence: float = Field(gt=0, description="valence electrons")
    functional: str = Field(description="PBE or PBEsol")
    relativity: str = Field(description="SR scalar-relativistic, FR fully relativistic")
    pseudo_type: str = Field(description="NC norm-conserving, US ultrasoft, PAW, SL semilocal")


def read_upf(path: Path) -> PseudopotentialFile:
    """Read what a UPF file says of itself.

    Parameters
    ----------
    path
        A UPF file of version 1 or 2.

    Raises
    ------
    InputError
        If the file cannot be read, is not UPF, or its header lacks element, functional or valence.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}", "check the path and its permissions") from error
    text = content.decode("utf-8", errors="replace")
    attributes = re.search(r"<PP_HEADER\s((?:\"[^\"]*\"|'[^']*'|[^\"'>])*)>", text)
    block = re.search(r"<PP_HEADER>(.*?)</PP_HEADER>", text, flags=re.DOTALL)
    if attributes:
        header = _read_version_2(attributes[1])
    elif block:
        header = _read_version_1(block[1], text)
    else:
        raise InputError(f"{path}: no <PP_HEADER> in it, so not a UPF file", "use UPF pseudopotentials")
    missing = [name for name in ("element", "functional", "z_valence") if not header.get(name)]
    if missing:
        raise InputError(f"{path}: its header has no {missing[0]}", "use another file for this element")
    try:
        valence = float(header["z_valence"].replace("D", "E").replace("d", "e"))
    except ValueError as error:
        raise InputError(
            f"{path}: z_valence is {header['z_valence']!r}, not a number", "use another file for this element"
        ) from error
    if not 0 < valence < 120:
        raise InputError(f"{path}: z_valence is {valence:g}", "use another file for this element")
    named = re.sub(r"[\s+-]+", " ", header["functional"]).strip()
    relativity = header.get("relativistic", "").lower() or "not said"
    return PseudopotentialFile(
        element=header["element"].strip().capitalize(),
        path=path,
        sha256=hashlib.sha256(content).hexdigest(),
        z_valence=valence,
        functional=FUNCTIONALS.get(named.lower(), named),
        relativity=RELATIVITIES.get(relativity, relativity),
        pseudo_type=header.get("pseudo_type", "").strip().upper() or "not said",
    )


def _read_version_2(attributes: str) -> dict[str, str]:
    found = re.findall(r"([\w.]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')", attributes)
    return {name: (double or single).strip() for name, double, single in found}


def _read_version_1(block: str, text: str) -> dict[str, str]:
    """Read a header of lines such as ``14.000  Z valence``: the value stands first, its name behind it."""
    header: dict[str, str] = {}
    for line in block.splitlines():
        words = line.split()
        if line.rstrip().endswith("Element"):
            header["element"] = words[0]
        elif "Exchange-Correlation functional" in line:
            header["functional"] = " ".join(words[:4])
        elif "Z valence" in line:
            header["z_valence"] = words[0]
        elif "pseudopotential" in line:
            header["pseudo_type"] = words[0]
    # Version 1 says it nowhere in the header; spin-orbit data stand in a section of their own.
    header["relativistic"] = "full" if "<PP_ADDINFO>" in text else "scalar"
    return header
