"""INCAR as text and as physics: how tags are written, and which of them decide what is computed."""

from collections.abc import Mapping
from typing import Any

from pymatgen.io.vasp.inputs import Incar

__all__ = ["NOT_PHYSICS", "changed", "incar_text", "physics_of"]

NOT_PHYSICS = frozenset(
    {
        "ALGO",
        "AMIN",
        "AMIX",
        "AMIX_MAG",
        "BMIX",
        "BMIX_MAG",
        "IALGO",
        "IBRION",
        "IMIX",
        "ISEARCH",
        "ISTART",
        "ISYM",
        "KPAR",
        "LCHARG",
        "LELF",
        "LPLANE",
        "LSCALAPACK",
        "LWAVE",
        "MAXMIX",
        "NCORE",
        "NELM",
        "NELMDL",
        "NELMIN",
        "NPAR",
        "NSIM",
        "NSW",
        "POTIM",
        "SYMPREC",
        "SYSTEM",
        "TIME",
    }
)
"""Tags that say how a result is reached or what is kept, not what it is: a handler may change them."""


def physics_of(incar: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags that decide a result, as text that does not depend on how they were written."""
    read = Incar.from_str(incar_text(incar))
    if int(read.get("ICHARG", 0)) < 10:  # where iterations begin, not where they end
        read.pop("ICHARG", None)
    return {tag: str(read[tag]) for tag in sorted(read) if tag not in NOT_PHYSICS}


def incar_text(incar: Mapping[str, Any]) -> str:
    """Return an INCAR as text."""
    return "".join(f"{tag} = {_value(value)}\n" for tag, value in sorted(incar.items()))


def changed(incar: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return tags with some set, or taken out where they are None."""
    merged = {**incar, **changes}
    return {tag: value for tag, value in sorted(merged.items()) if value is not None}


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return ".TRUE." if value else ".FALSE."
    if isinstance(value, (list, tuple)):
        return " ".join(_value(item) for item in value)
    return str(value)
