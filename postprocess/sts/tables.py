"""Text tables of sweeps: CSV and TSV with named columns, and plain columns without names."""

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from corecrown.errors import InputError
from corecrown.postprocess.sts.columns import Column, Signal, parse_column
from corecrown.postprocess.sts.model import Sweep
from corecrown.postprocess.sts.readers import decode, sweep_format, sweeps_of_table

__all__ = ["parse_rows", "read_table"]

SUFFIXES = (".csv", ".tsv", ".txt", ".dat", ".xy", ".asc", ".iv")
COMMENT = "#%;"
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eEdD][+-]?\d+)?|[+-]?(nan|inf(inity)?)", re.IGNORECASE)


def _is_table(path: Path, head: bytes) -> bool:
    return path.suffix.lower() in SUFFIXES and b"[DATA]" not in head


@sweep_format("table", _is_table)
def read_table(path: Path, content: bytes) -> list[Sweep]:
    """Read a table: commas, tabs, semicolons or blanks between columns, names with units in the header.

    Comment lines (``#``) before the numbers may hold ``name: value`` entries, for example ``# temperature_K:
    292``. Without a header the first two columns are bias in V and current in A.
    """
    text = decode(path, content)
    metadata: dict[str, str] = {}
    header: str | None = None
    kept: list[str] = []
    lines: list[int] = []
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if not stripped:
            continue
        if stripped[0] in COMMENT:
            key, _, value = stripped.lstrip(COMMENT).partition(":")
            if value.strip():
                metadata[key.strip()] = value.strip()
        elif not kept and header is None and not _starts_with_number(stripped):
            header = stripped
        else:
            kept.append(stripped)
            lines.append(number)
    if not kept:
        raise InputError(f"{path}: no numbers in it", "two columns, bias and current, are needed")
    delimiter = _delimiter(header or kept[0])
    numbers = parse_rows(path, kept, lines, delimiter)
    columns = _columns(path, header, delimiter, numbers.shape[1])
    return sweeps_of_table(path, columns, numbers, lines, metadata)


def parse_rows(path: Path, rows: list[str], lines: list[int], delimiter: str | None) -> NDArray[np.float64]:
    """Turn rows of text into (n, m) numbers.

    Raises
    ------
    InputError
        If a row is longer or shorter than the first, or holds something else than a number; names file and
        line.
    """
    fields = [row.split(delimiter) for row in rows]
    width = len(fields[0])
    for row, line in zip(fields, lines, strict=True):
        if len(row) != width:
            raise InputError(f"{path}:{line}: {len(row)} columns, not {width}", "check the row")
    flat = [field for row in fields for field in row]
    if delimiter != "," and any("," in row for row in rows):
        flat = [field.replace(",", ".") for field in flat]
    text = "".join(flat)
    if text.isascii() and "_" not in text:
        try:
            return np.array(list(map(float, flat)), dtype=np.float64).reshape(len(rows), width)
        except ValueError:
            pass
    for index, field in enumerate(flat):
        if not NUMBER.fullmatch(field.strip()):
            line = lines[index // width]
            raise InputError(f"{path}:{line}: {field.strip()[:40]!r} is not a number", "check the row")
    exponents = [field.strip().lower().replace("d", "e") for field in flat]
    return np.array(list(map(float, exponents)), dtype=np.float64).reshape(len(rows), width)


def _starts_with_number(line: str) -> bool:
    first = re.split(r"[,;\t ]", line, maxsplit=1)[0]
    return bool(NUMBER.fullmatch(first))


def _delimiter(line: str) -> str | None:
    """Return what separates columns: tab, semicolon, comma, or blanks (None)."""
    return next((mark for mark in ("\t", ";", ",") if mark in line), None)


def _columns(path: Path, header: str | None, delimiter: str | None, width: int) -> list[Column]:
    if width < 2:
        raise InputError(f"{path}: one column only", "two columns, bias and current, are needed")
    if header is None:
        return [
            Column("bias", Signal.BIAS, "V"),
            Column("current", Signal.CURRENT, "A"),
            *(Column(f"column {i + 1}", None) for i in range(2, width)),
        ]
    names = header.split(delimiter)
    if len(names) != width:
        raise InputError(
            f"{path}: the header names {len(names)} columns, the rows have {width}",
            "name each column, with its unit",
        )
    columns = [parse_column(name) for name in names]
    for column in columns:
        if column.signal in (Signal.BIAS, Signal.CURRENT) and column.unit is None:
            example = "bias_V" if column.signal is Signal.BIAS else "current_A"
            raise InputError(f"{path}: column {column.name!r} has no unit", f"name it with its unit, like {example}")
    return columns
