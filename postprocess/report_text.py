"""Results as words and numbers of a report."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from corecrown.postprocess.cells import describe_level
from corecrown.postprocess.plots.cells import cell_title
from corecrown.postprocess.results import CellResult, Comparison, Result, SameStructure

__all__ = [
    "NOTHING",
    "Table",
    "bare_level",
    "common_level",
    "gap_source",
    "joined",
    "merged_notes",
    "notes_of",
    "number_text",
    "range_text",
    "readable",
    "reference_cell",
    "same_crystals",
    "shares_text",
    "shift_text",
    "unique",
    "without_empty_columns",
]

NOTHING = "–"

_SOURCE = re.compile(r", gap from (?P<source>\w+)$")
_LABEL = re.compile(r"(?<![\w/.-])fa\d{3}(-[abc])?(?![\w/-]|\.\w)")
_MINUS = re.compile(r"(?<![\w.)\]])-(?=\d)")
_POWER = re.compile(r"(?<![\w.])\d(\.\d+)?e[+−-]\d+\b")
_ONE = re.compile(r"(?<![\w.,×])1 (run|stencil|k-point|cell)s\b")
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_FIELDS = {
    "fa_axis_deg": "FA axes",
    "pb_br_pb_deg": "Pb-Br-Pb angles",
    "bond_length_variance": "bond length variance",
    "angle_variance_deg2": "angle variance",
    "tilts_deg": "tilts",
    "vbm_v": "valence edge",
    "cbm_v": "conduction edge",
    "gap_ev": "gap",
    "trap_integral": "trap integral",
}
"""What the names of result fields are called where a note begins with them."""
_FIELD = re.compile(rf"\b({'|'.join(_FIELDS)})(?=: )")


@dataclass(frozen=True)
class Table:
    """A table as text; the first column is a name, the others are aligned right unless they are ``wordy``."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()
    wordy: frozenset[int] = field(default_factory=frozenset)


def number_text(value: float | None, digits: int = 3, *, signed: bool = False) -> str:
    """Return a number as text with a true minus, or a dash where there is none."""
    if value is None:
        return NOTHING
    text = f"{value:{'+' if signed else ''}.{digits}f}"
    if float(text) == 0:
        text = text.replace("-", "").replace("+", "")
    return text.replace("-", "−")


def shift_text(value: float | None, uncertainty: float | None, digits: int = 3) -> str:
    """Return a shift with its sign and its uncertainty, or that the uncertainty is not known."""
    if value is None:
        return NOTHING
    if uncertainty is None:
        return f"{number_text(value, digits, signed=True)} (uncertainty not known)"
    return f"{number_text(value, digits, signed=True)} ± {number_text(uncertainty, digits)}"


def range_text(low: float | None, high: float | None, digits: int = 2) -> str:
    """Return a range as text, one end where only one is known, or a dash."""
    if low is None and high is None:
        return NOTHING
    if low is None or high is None:
        return f"from {number_text(low, digits)}" if high is None else f"to {number_text(high, digits)}"
    return f"{number_text(low, digits)} to {number_text(high, digits)}"


def shares_text(shares: dict[str, float] | None) -> str:
    """Name the shares, largest first, and leave out those that round to nothing."""
    if not shares:
        return NOTHING
    shown = sorted(((name, value) for name, value in shares.items() if value >= 0.005), key=lambda item: -item[1])
    return ", ".join(f"{name} {number_text(value, 2)}" for name, value in shown) or NOTHING


def notes_of(name: str, result: Result) -> list[str]:
    """Return the notes of a result, each after the name of what it is about."""
    return [f"{name}: {note}" for note in result.notes]


def unique(notes: Sequence[str]) -> list[str]:
    """Return each note once, in order."""
    return list(dict.fromkeys(notes))


def merged_notes(notes: Sequence[tuple[str, str]]) -> list[str]:
    """Return each text once, after the names of all it is said of.

    Parameters
    ----------
    notes
        Pairs of a name and what is said of it.
    """
    names: dict[str, list[str]] = {}
    for name, text in notes:
        names.setdefault(text, []).append(name)
    return [f"{', '.join(unique(found))}: {text}" for text, found in names.items()]


def joined(words: Sequence[str]) -> str:
    """Return words as a list in a sentence."""
    return " and ".join([part for part in (", ".join(words[:-1]), *words[-1:]) if part])


def readable(text: str) -> str:
    """Return a text as a reader should see it.

    Plain labels of cells become their titles (``fa025-b``: ``25 % FA ∥ b``), names of result fields become words,
    numbers get a true minus and no computer's powers of ten, and one is not many.
    """
    text = _FIELD.sub(lambda found: _FIELDS[found[0]], text)
    text = _LABEL.sub(lambda found: cell_title(found[0]), text)
    text = _POWER.sub(lambda found: _power_text(found[0]), text)
    return _ONE.sub(r"1 \1", _MINUS.sub("−", text))


def _power_text(number: str) -> str:
    mantissa, exponent = number.replace("−", "-").split("e")
    power = int(exponent)
    return (
        f"{float(mantissa) * 10**power:.0f}"
        if 0 <= power <= 4
        else f"{mantissa}×10{str(power).translate(_SUPERSCRIPT)}"
    )


def without_empty_columns(table: Table) -> Table:
    """Return a table without the columns that hold dashes throughout; the first one always stays."""
    kept = [
        index
        for index in range(len(table.header))
        if index == 0 or not table.rows or any(row[index] != NOTHING for row in table.rows)
    ]
    return replace(
        table,
        header=[table.header[index] for index in kept],
        rows=[[row[index] for index in kept] for row in table.rows],
        wordy=frozenset(place for place, index in enumerate(kept) if index in table.wordy),
    )


def bare_level(level: str | None) -> str | None:
    """Return a level of theory without where its gap was found."""
    return None if level is None else _SOURCE.sub("", level)


def gap_source(level: str | None) -> str | None:
    """Return where the gap of a level was found: bands, mesh or stencil."""
    found = _SOURCE.search(level or "")
    return found["source"] if found else None


def same_crystals(same: Sequence[SameStructure], labels: Sequence[str]) -> str:
    """Return a sentence for each two of the cells named that are one crystal, or nothing."""
    pairs = [pair for pair in same if pair.first in labels and pair.second in labels]
    return "".join(f" {cell_title(pair.first)} and {cell_title(pair.second)} are one crystal." for pair in pairs)


def reference_cell(comparison: Comparison | None) -> str | None:
    """Return the label of the cell that shifts are counted from: the first one whose shift is zero."""
    rows = comparison.rows if comparison is not None else []
    return next((row.cell for row in rows if row.shift_ev == 0), None)


def common_level(cells: Sequence[CellResult]) -> str | None:
    """Return the level of theory of all cells that have settings, or ``None`` where they differ."""
    names = {describe_level(cell.settings) for cell in cells if cell.settings is not None}
    return names.pop() if len(names) == 1 else None
