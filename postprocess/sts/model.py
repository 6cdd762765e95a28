"""A sweep: current against sample bias at one place, checked once and never changed afterwards."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from corecrown.errors import InputError

__all__ = ["MIN_POINTS", "Direction", "Skipped", "Sweep", "SweepSet", "make_sweeps"]

Array = NDArray[np.float64]
Direction = Literal["forward", "backward"]

MIN_POINTS = 16
MAX_BIAS_V = 12.0
MAX_CURRENT_A = 1e-4
SATURATED_RUN = 4


@dataclass(frozen=True, eq=False, slots=True)
class Sweep:
    """One sweep of the bias.

    Attributes
    ----------
    bias_v : (n,) float
        Sample bias, V, strictly ascending whatever the direction it was swept in.
    current_a : (n,) float
        Current, A.
    lockin : (n,) float or None
        Lock-in channel as recorded, in ``lockin_unit``; proportional to dI/dV once calibrated.
    platelet : str
        What it was measured on; sweeps of one platelet share it.
    number : int
        Which sweep of that platelet, from 1.
    """

    bias_v: Array
    current_a: Array
    lockin: Array | None = None
    lockin_unit: str | None = None
    platelet: str = ""
    number: int = 1
    direction: Direction = "forward"
    file: Path | None = None
    set_point_v: float | None = None
    set_point_a: float | None = None
    modulation_v: float | None = None
    temperature_k: float | None = None
    synthetic: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict)
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file or sweep that was left out, and why."""

    file: str
    reason: str


@dataclass(frozen=True, slots=True)
class SweepSet:
    """What a batch of files gave: the sweeps, and what was skipped."""

    sweeps: tuple[Sweep, ...]
    skipped: tuple[Skipped, ...] = ()

    def __len__(self) -> int:
        return len(self.sweeps)


@dataclass(frozen=True, slots=True)
class Labels:
    """Everything about a sweep that is not a column of numbers."""

    platelet: str
    number: int = 1
    direction: Direction = "forward"
    file: Path | None = None
    lockin_unit: str | None = None
    set_point_v: float | None = None
    set_point_a: float | None = None
    modulation_v: float | None = None
    temperature_k: float | None = None
    synthetic: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict)


def make_sweeps(
    bias_v: Array,
    current_a: Array,
    labels: Labels,
    *,
    lockin: Array | None = None,
    lines: Sequence[int] | None = None,
) -> list[Sweep]:
    """Check columns of numbers and return the sweeps they hold: two where the bias goes there and back.

    Parameters
    ----------
    bias_v, current_a, lockin
        (n,) columns, V, A and as recorded.
    labels
        Where they come from.
    lines
        Line of the file each row stands on, for messages.

    Raises
    ------
    InputError
        If there are too few points, a number is missing or infinite, the bias repeats or jumps to and fro,
        the current does not vary, or the numbers cannot be volts and amperes.
    """
    where = _Place(labels.file, lines)
    if len(bias_v) < MIN_POINTS:
        raise InputError(f"{where}: only {len(bias_v)} points", f"a sweep needs at least {MIN_POINTS}")
    for name, column in (("bias", bias_v), ("current", current_a), ("lock-in", lockin)):
        if column is None:
            continue
        bad = np.flatnonzero(~np.isfinite(column))
        if bad.size:
            raise InputError(f"{where.at(bad[0])}: {name} is {column[bad[0]]}", "remove or repair the sweep")
    _check_magnitudes(bias_v, current_a, where)
    sweeps = []
    for leg in _legs(bias_v, where):
        rows = leg if bias_v[leg[-1]] > bias_v[leg[0]] else leg[::-1]
        kept, flags = _unsaturated(current_a[rows])
        rows = rows[kept]
        if len(rows) < MIN_POINTS:
            raise InputError(f"{where}: the current is saturated nearly everywhere", "measure with a lower gain")
        bias = bias_v[rows]
        if bias[0] >= 0 or bias[-1] <= 0:
            flags.append(f"one-sided: bias from {bias[0]:g} to {bias[-1]:g} V")
        direction = labels.direction if len(leg) == len(bias_v) else _flip(labels.direction, leg[0] > 0)
        sweeps.append(
            Sweep(
                bias_v=bias,
                current_a=current_a[rows],
                lockin=None if lockin is None else lockin[rows],
                lockin_unit=labels.lockin_unit if lockin is not None else None,
                platelet=labels.platelet,
                number=labels.number,
                direction=direction,
                file=labels.file,
                set_point_v=labels.set_point_v,
                set_point_a=labels.set_point_a,
                modulation_v=labels.modulation_v,
                temperature_k=labels.temperature_k,
                synthetic=labels.synthetic,
                metadata=labels.metadata,
                flags=tuple(flags),
            )
        )
    return sweeps


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in which file, for messages."""

    file: Path | None
    lines: Sequence[int] | None

    def __str__(self) -> str:
        return str(self.file) if self.file else "sweep"

    def at(self, row: int) -> str:
        if self.lines is not None:
            return f"{self}:{self.lines[row]}"
        return f"{self}, point {row + 1}"


def _check_magnitudes(bias_v: Array, current_a: Array, where: _Place) -> None:
    widest, largest = float(np.abs(bias_v).max()), float(np.abs(current_a).max())
    if widest > MAX_BIAS_V:
        raise InputError(f"{where}: bias reaches {widest:g} V", "if these are mV, name the unit in the header: bias_mV")
    if widest < 1e-3:
        raise InputError(f"{where}: bias stays below {widest:g} V", "name the unit in the header, for example bias_V")
    if largest > MAX_CURRENT_A:
        raise InputError(f"{where}: current reaches {largest:g} A", "if these are nA or pA, name the unit: current_nA")
    if float(np.ptp(current_a)) == 0:
        raise InputError(f"{where}: the current does not vary", "check which columns hold bias and current")


def _legs(bias_v: Array, where: _Place) -> list[NDArray[np.intp]]:
    """Return the rows of each run of the bias in one direction: all of them, or there and back."""
    steps = np.diff(bias_v)
    rows = np.arange(len(bias_v))
    if (steps > 0).all() or (steps < 0).all():
        return [rows]
    turns = np.flatnonzero(np.diff(np.sign(steps)) != 0)
    still = np.flatnonzero(steps == 0)
    at_turn = still.size == 1 and steps[0] * steps[-1] < 0 and turns.size == 2 and still[0] == turns[1]
    if (turns.size == 1 and not still.size) or at_turn:
        turn = int(turns[0]) + 1
        first, second = rows[: turn + 1], rows[turn + 1 :]
        if min(len(first), len(second)) >= MIN_POINTS:
            return [first, second]
    if still.size:
        row = int(still[0]) + 1
        raise InputError(f"{where.at(row)}: bias repeats ({bias_v[row]:g} V)", "give each bias once")
    row = int(turns[0]) + 2
    raise InputError(
        f"{where.at(row)}: bias is not monotonic ({bias_v[row - 1]:g} V, then {bias_v[row]:g} V)",
        "sort the rows, or give each sweep a file of its own",
    )


def _unsaturated(current_a: Array) -> tuple[NDArray[np.bool_], list[str]]:
    """Return which points are not at the end stop of the amplifier, and what to say of it."""
    kept = np.ones(len(current_a), dtype=bool)
    flags = []
    for end, stop in ((slice(None), current_a[0]), (slice(None, None, -1), current_a[-1])):
        same = current_a[end] == stop
        run = len(same) if same.all() else int(np.argmin(same))
        if run >= SATURATED_RUN and abs(stop) >= 0.99 * np.abs(current_a).max():
            kept[end][:run] = False
            flags.append(f"saturated: {run} points at {stop:.3g} A cut off")
    return kept, flags


def _flip(direction: Direction, second: bool) -> Direction:
    if not second:
        return direction
    return "backward" if direction == "forward" else "forward"
