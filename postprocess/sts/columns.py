"""What the name of a column says: which signal, in which unit, of which sweep, in which direction."""

import re
from dataclasses import dataclass
from enum import StrEnum

from corecrown.postprocess.sts.model import Direction

__all__ = ["Column", "Signal", "parse_column"]


class Signal(StrEnum):
    """The signals that are read."""

    BIAS = "bias"
    CURRENT = "current"
    LOCKIN = "lock-in"


PREFIXES = {"f": 1e-15, "p": 1e-12, "n": 1e-9, "u": 1e-6, "µ": 1e-6, "μ": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3}
UNIT = re.compile(r"(?P<prefix>[fpnuµμmk]?)(?P<base>V|A|S|A/V|a\.u\.|arb)")
NAMES = (
    (Signal.LOCKIN, re.compile(r"\b(li|lix|liy|lock ?in|demod|di ?dv|conductance)\b")),
    (Signal.BIAS, re.compile(r"\b(bias|voltage|sample bias|v|u|vbias|v bias)\b")),
    (Signal.CURRENT, re.compile(r"\b(current|i|it|tunnel current)\b")),
)
BACKWARD = re.compile(r"\b(bwd|backward|retrace)\b")
FORWARD = re.compile(r"\b(fwd|forward|trace)\b")
ORTHOGONAL = re.compile(r"\b(y|liy|phase|phi|theta)\b")


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a file of sweeps."""

    name: str
    signal: Signal | None
    unit: str | None = None
    scale: float = 1.0
    sweep: int | None = None
    direction: Direction = "forward"
    average: bool = False
    filtered: bool = False


def parse_column(name: str) -> Column:
    """Read the name of a column.

    Parameters
    ----------
    name
        For example ``bias_mV``, ``Current (nA)``, ``LI Demod 1 X [bwd] (A)``, ``Current [00002] (A)``,
        ``I/nA``.

    Returns
    -------
    Column
        ``signal`` is None for a column that is none of bias, current and lock-in; ``scale`` takes a number of
        the file to V, A or the unit of the lock-in channel.
    """
    text = name.strip().strip("\"'").strip()
    unit, rest = _split_unit(text)
    tags = [tag.strip() for tag in re.findall(r"\[([^\]]*)\]", rest)]
    words = re.sub(r"[\[\]_/\-.:]+", " ", rest).lower()
    words = re.sub(r"\s+", " ", words).strip()
    signal = next((kind for kind, pattern in NAMES if pattern.search(words)), None)
    if signal is Signal.LOCKIN and ORTHOGONAL.search(words):
        signal = None
    numbers = [int(tag) for tag in tags if tag.isdecimal()]
    scale, base = _scale(unit)
    if signal in (Signal.BIAS, Signal.CURRENT) and base is not None and base not in ("V", "A"):
        signal = None
    return Column(
        name=text,
        signal=signal,
        unit=base,
        scale=scale,
        sweep=numbers[0] if numbers else None,
        direction="backward" if BACKWARD.search(words) and not FORWARD.search(words) else "forward",
        average=any(tag.upper() == "AVG" for tag in tags),
        filtered=any(tag.lower() == "filt" for tag in tags),
    )


def _split_unit(text: str) -> tuple[str | None, str]:
    for pattern in (r"\(([^()]*)\)\s*$", r"\[([^\[\]]*)\]\s*$", r"[_/]([^_/\s]+)$"):
        match = re.search(pattern, text)
        if match and UNIT.fullmatch(match[1].strip()):
            return match[1].strip(), text[: match.start()]
        if match and pattern.startswith(r"\("):
            return match[1].strip(), text[: match.start()]
    return None, text


def _scale(unit: str | None) -> tuple[float, str | None]:
    if unit is None:
        return 1.0, None
    match = UNIT.fullmatch(unit)
    if match is None:
        return 1.0, unit
    return PREFIXES[match["prefix"]], match["base"]
