"""Files of sweeps: formats registered by name, batches that go on when one file is wrong."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from corecrown.errors import InputError
from corecrown.postprocess.sts.columns import Column, Signal
from corecrown.postprocess.sts.model import Labels, Skipped, Sweep, SweepSet, make_sweeps

__all__ = [
    "SWEEP_FORMATS",
    "SweepFormat",
    "decode",
    "metadata_number",
    "platelet_and_number",
    "read_sweep_file",
    "read_sweeps",
    "sweep_format",
    "sweeps_of_table",
]

Array = NDArray[np.float64]
Reader = Callable[[Path, bytes], list[Sweep]]
Sniffer = Callable[[Path, bytes], bool]


@dataclass(frozen=True, slots=True)
class SweepFormat:
    """A file format: its name, how it is told, how it is read."""

    name: str
    matches: Sniffer
    read: Reader


SWEEP_FORMATS: dict[str, SweepFormat] = {}
"""File formats by name, in the order they are tried."""

SWEEP_SUFFIX = re.compile(r"[_\-. ]?sweep[_\- ]?(?P<number>\d{1,6})$", re.IGNORECASE)


def sweep_format(name: str, matches: Sniffer) -> Callable[[Reader], Reader]:
    """Register a reader of a file format.

    Parameters
    ----------
    name
        What the format is called.
    matches
        Says from the path and the first bytes whether a file is of this format.

    Returns
    -------
    callable
        Decorator of a function of path and content that returns sweeps or raises an `InputError` that names
        the file and the line.
    """

    def register(read: Reader) -> Reader:
        SWEEP_FORMATS[name] = SweepFormat(name, matches, read)
        return read

    return register


def read_sweep_file(path: str | Path) -> list[Sweep]:
    """Read the sweeps of one file.

    Raises
    ------
    InputError
        If the file cannot be read or is of no known format; the message names the file, the line and the
        reason.
    """
    path = Path(path)
    _load_formats()
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}", "check the path") from error
    if not content.strip():
        raise InputError(f"{path}: the file is empty", "remove it from the batch")
    for candidate in SWEEP_FORMATS.values():
        if candidate.matches(path, content[:4096]):
            return candidate.read(path, content)
    raise InputError(f"{path}: not a format of sweeps", f"known: {', '.join(SWEEP_FORMATS)}")


def read_sweeps(paths: str | Path | Iterable[str | Path]) -> SweepSet:
    """Read a batch of files; a wrong one is skipped with its reason and the rest goes on.

    Parameters
    ----------
    paths
        A file, a folder (all files in it), a glob pattern, or several of these.

    Raises
    ------
    InputError
        If nothing matches.
    """
    if isinstance(paths, str | Path):
        paths = [paths]
    files: list[Path] = []
    for path in paths:
        files += _expand(Path(path))
    files = list(dict.fromkeys(files))
    if not files:
        raise InputError("no files of sweeps were given", "name files, a folder or a glob pattern")
    sweeps: list[Sweep] = []
    skipped: list[Skipped] = []
    for file in files:
        try:
            sweeps += read_sweep_file(file)
        except InputError as error:
            skipped.append(Skipped(str(file), _reason(file, error.message)))
    return SweepSet(tuple(sweeps), tuple(skipped))


def decode(path: Path, content: bytes) -> str:
    """Return the text of a file: UTF-8, or latin-1 as instruments write it.

    Raises
    ------
    InputError
        If there are zero bytes in it.
    """
    if b"\0" in content:
        raise InputError(f"{path}: binary, not text", "name the format by its suffix, for example .3ds")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def platelet_and_number(path: Path, metadata: dict[str, str]) -> tuple[str, int]:
    """Return the platelet of a file and which sweep it is: from the file itself, else from its name."""
    stem = path.stem
    match = SWEEP_SUFFIX.search(stem)
    name, number = (stem[: match.start()] or stem, int(match["number"])) if match else (stem, 1)
    platelet = metadata.get("platelet", name)
    given = metadata.get("sweep")
    if given is not None and given.strip().isdecimal() and len(given.strip()) < 7:
        number = int(given)
    return platelet, max(number, 1)


def metadata_number(metadata: dict[str, str], *names: str) -> float | None:
    """Return the first of some entries of the metadata that is a finite number."""
    for name in names:
        text = metadata.get(name, "").strip().split(" ")[0]
        try:
            value = float(text)
        except ValueError:
            continue
        if np.isfinite(value):
            return value
    return None


def sweeps_of_table(
    path: Path,
    columns: Sequence[Column],
    numbers: Array,
    lines: Sequence[int] | None,
    metadata: dict[str, str],
) -> list[Sweep]:
    """Return the sweeps of a table: one for each current column, with the bias and lock-in of its direction.

    Parameters
    ----------
    columns
        One a column of ``numbers``.
    numbers
        (n, m) as in the file.
    lines
        Line of each row.
    metadata
        Entries of the header; ``temperature_K``, ``set_point_V``, ``set_point_A`` and ``modulation_V`` are
        used.
    """
    wrong = next((c for c in columns if c.signal is not None and not _unit_fits(c)), None)
    if wrong is not None:
        raise InputError(
            f"{path}: column {wrong.name!r}: {wrong.unit} is no unit of {wrong.signal}",
            "V for a bias, A for a current",
        )
    currents = _individual([i for i, c in enumerate(columns) if c.signal is Signal.CURRENT], columns)
    if not currents or not any(c.signal is Signal.BIAS for c in columns):
        missing = "bias" if currents else "current"
        shown = ", ".join(c.name for c in columns[:8])
        raise InputError(f"{path}: no column holds the {missing} (columns: {shown})", "name them bias_V and current_A")
    platelet, number = platelet_and_number(path, metadata)
    sweeps: list[Sweep] = []
    for index in currents:
        column = columns[index]
        bias = _partner(columns, Signal.BIAS, column)
        lockin = _partner(columns, Signal.LOCKIN, column, same=True)
        if bias is None:
            raise InputError(f"{path}: no bias column for {column.name!r}", "name it bias_V")
        labels = Labels(
            platelet=platelet,
            number=column.sweep if column.sweep is not None else number,
            direction=column.direction,
            file=path,
            lockin_unit=columns[lockin].unit if lockin is not None else None,
            set_point_v=metadata_number(metadata, "set_point_V", "Bias>Bias (V)", "Bias (V)"),
            set_point_a=metadata_number(metadata, "set_point_A", "Current>Current (A)", "Z-Controller>Setpoint"),
            modulation_v=metadata_number(metadata, "modulation_V", "Lock-in>Amplitude"),
            temperature_k=metadata_number(metadata, "temperature_K"),
            synthetic=metadata.get("synthetic", "").strip().lower() in ("true", "yes", "1"),
            metadata=metadata,
        )
        sweeps += make_sweeps(
            numbers[:, bias] * columns[bias].scale,
            numbers[:, index] * column.scale,
            labels,
            lockin=None if lockin is None else numbers[:, lockin] * columns[lockin].scale,
            lines=lines,
        )
    return sweeps


def _reason(file: Path, message: str) -> str:
    """Return a message without the name of its file, which stands beside it; a line number stays."""
    text = message.removeprefix(str(file))
    line = re.match(r":(\d+): ", text)
    return f"line {line[1]}: {text[line.end() :]}" if line else text.removeprefix(": ")


def _expand(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
    if any(character in str(path) for character in "*?[") and not path.exists():
        base = Path(path.anchor) if path.is_absolute() else Path()
        pattern = str(path.relative_to(path.anchor)) if path.is_absolute() else str(path)
        found = sorted(file for file in base.glob(pattern) if file.is_file())
        if not found:
            raise InputError(f"{path}: no file matches", "check the pattern, and quote it for the shell")
        return found
    return [path]


def _load_formats() -> None:
    """Import the modules that register the formats that ship."""
    from corecrown.postprocess.sts import nanonis, tables

    del nanonis, tables


def _unit_fits(column: Column) -> bool:
    allowed = {Signal.BIAS: ("V", None), Signal.CURRENT: ("A", None)}.get(column.signal) if column.signal else None
    return allowed is None or column.unit in allowed


def _individual(currents: list[int], columns: Sequence[Column]) -> list[int]:
    """Return the current columns that stand for sweeps: no filtered copies, no averages beside parts."""
    plain = [i for i in currents if not columns[i].filtered] or currents
    numbered = [i for i in plain if columns[i].sweep is not None]
    if numbered:
        return numbered
    return plain


def _partner(columns: Sequence[Column], signal: Signal, of: Column, *, same: bool = False) -> int | None:
    """Return the column that goes with a current: same sweep and direction, else the shared one."""
    candidates = [i for i, c in enumerate(columns) if c.signal is signal and not c.filtered]
    exact = [i for i in candidates if (columns[i].sweep, columns[i].direction) == (of.sweep, of.direction)]
    if exact or same:
        return exact[0] if exact else None
    direction = [i for i in candidates if columns[i].direction == of.direction and columns[i].sweep is None]
    shared = [i for i in candidates if columns[i].sweep is None]
    return next(iter(direction or shared), None)
