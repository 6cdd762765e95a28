"""Results as words and numbers of a report."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from corecrown.postprocess.cells import describe_level
from corecrown.postprocess.results import CellResult, Comparison, Result

__all__ = [
    "NOTHING",
    "Table",
    "common_level",
    "notes_of",
    "number_text",
    "range_text",
    "reference_cell",
    "shares_text",
    "shift_text",
    "unique",
]

NOTHING = "–"


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


def reference_cell(comparison: Comparison | None) -> str | None:
    """Return the label of the cell that shifts are counted from: the first one whose shift is zero."""
    rows = comparison.rows if comparison is not None else []
    return next((row.cell for row in rows if row.shift_ev == 0), None)


def common_level(cells: Sequence[CellResult]) -> str | None:
    """Return the level of theory of all cells that have settings, or ``None`` where they differ."""
    names = {describe_level(cell.settings) for cell in cells if cell.settings is not None}
    return names.pop() if len(names) == 1 else None
