"""Nanonis files: bias spectroscopy ``.dat`` (text) and grids of spectra ``.3ds`` (binary).

The libraries on PyPI that read them (nanonispy, nanonispy2, nanonis-xarray) were tried with files whose
headers hold latin-1 letters, as instruments write them: all three stop at the first one in a ``.dat``, and a
grid that was aborted comes back full of zeros without a word. So these are read here.
"""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.constants import zero_Celsius

from corecrown.errors import InputError
from corecrown.postprocess.sts.columns import Column, Signal, parse_column
from corecrown.postprocess.sts.model import Sweep
from corecrown.postprocess.sts.readers import decode, metadata_number, sweep_format, sweeps_of_table
from corecrown.postprocess.sts.tables import parse_rows

__all__ = ["read_grid", "read_point_spectrum"]

HEADER_END = b":HEADER_END:"
MAX_GRID_POINTS = 1_000_000


@sweep_format("nanonis-dat", lambda path, head: path.suffix.lower() == ".dat" and b"[DATA]" in head)
def read_point_spectrum(path: Path, content: bytes) -> list[Sweep]:
    """Read a ``.dat`` of bias spectroscopy: header, ``[DATA]``, a line of column names, numbers between tabs.

    Columns such as ``Current [00002] (A)`` are sweeps of their own, ``[bwd]`` is the way back.
    """
    lines = decode(path, content).splitlines()
    start = next((i for i, line in enumerate(lines) if line.strip() == "[DATA]"), None)
    if start is None:
        raise InputError(f"{path}: no [DATA] line", "export it again")
    metadata: dict[str, str] = {}
    for line in lines[:start]:
        key, _, value = line.partition("\t")
        if key.strip():
            metadata[key.strip()] = value.strip()
    kind = metadata.get("Experiment", "bias spectroscopy").lower()
    if "bias" not in kind:
        raise InputError(f"{path}: an experiment of kind {kind!r}, not bias spectroscopy", "leave it out of the batch")
    rest = [(number, line) for number, line in enumerate(lines[start + 1 :], start=start + 2) if line.strip()]
    if len(rest) < 2:
        raise InputError(f"{path}: nothing after [DATA]", "the measurement was aborted: leave it out")
    (names_line, names), rows = rest[0], rest[1:]
    numbers = parse_rows(path, [row.strip() for _, row in rows], [number for number, _ in rows], "\t")
    columns = [parse_column(name) for name in names.strip().split("\t")]
    if len(columns) != numbers.shape[1]:
        raise InputError(
            f"{path}:{names_line}: {len(columns)} names over {numbers.shape[1]} columns", "export it again"
        )
    return sweeps_of_table(path, columns, numbers, [number for number, _ in rows], _common(metadata))


@sweep_format("nanonis-3ds", lambda path, head: path.suffix.lower() == ".3ds" or head.startswith(b"Grid dim"))
def read_grid(path: Path, content: bytes) -> list[Sweep]:
    """Read a ``.3ds`` grid: text header, then big-endian 32-bit floats for each point.

    Each grid point counts as a place of its own. Points that an aborted grid lacks are left out; the sweeps
    carry a flag that says so.
    """
    head, mark, body = content.partition(HEADER_END)
    if not mark:
        raise InputError(f"{path}: no {HEADER_END.decode()} in it", "the file is cut off or not a .3ds")
    metadata = _grid_header(head.decode("latin-1"))
    body = body[2:] if body[:2] == b"\r\n" else body.removeprefix(b"\n")
    shape = re.fullmatch(r"(\d{1,6})\s*x\s*(\d{1,6})", metadata.get("Grid dim", "").strip())
    n_points, n_parameters = _count(path, metadata, "Points"), _count(path, metadata, "# Parameters (4 byte)")
    names = [name for name in metadata.get("Channels", "").split(";") if name.strip()]
    if shape is None or not names:
        raise InputError(f"{path}: the header lacks 'Grid dim' or 'Channels'", "the file is cut off or not a .3ds")
    if "bias" not in metadata.get("Sweep Signal", "Bias (V)").lower():
        raise InputError(f"{path}: swept {metadata['Sweep Signal']!r}, not the bias", "leave it out of the batch")
    total = int(shape[1]) * int(shape[2])
    size = n_parameters + len(names) * n_points
    if not (0 < total <= MAX_GRID_POINTS and n_points > 0):
        raise InputError(f"{path}: a grid of {shape[1]} x {shape[2]} with {n_points} points", "check the header")
    n_read = min(total, len(body) // (4 * size))
    if n_read == 0:
        raise InputError(f"{path}: not one complete spectrum in it", "the grid was aborted: leave it out")
    with np.errstate(invalid="ignore"):  # signalling NaNs of a damaged file are refused further down
        values = np.frombuffer(body, dtype=">f4", count=n_read * size).reshape(n_read, size).astype(np.float64)
    columns = [parse_column(name) for name in names]
    ends = None
    if not any(column.signal is Signal.BIAS for column in columns):
        ends = _sweep_ends(path, metadata)
        columns = [Column("Bias (V)", Signal.BIAS, "V"), *columns]
    sweeps: list[Sweep] = []
    reasons = [] if n_read == total else [f"grid aborted: {n_read} of {total} spectra"]
    common = _common(metadata)
    for index, row in enumerate(values):
        table = row[n_parameters:].reshape(len(names), n_points).T
        if ends is not None:
            table = np.column_stack([np.linspace(row[ends[0]], row[ends[1]], n_points), table])
        place = f"{path.stem}[{index % int(shape[1])},{index // int(shape[1])}]"
        try:
            sweeps += sweeps_of_table(path, columns, table, None, common | {"platelet": place})
        except InputError as error:
            reasons.append(f"{place} left out: {error.message.removeprefix(f'{path}: ')}")
    if not sweeps:
        raise InputError(f"{path}: no usable spectrum: {reasons[0]}", "leave it out of the batch")
    return [replace(sweep, flags=(*sweep.flags, *reasons)) for sweep in sweeps]


def _grid_header(text: str) -> dict[str, str]:
    metadata = {}
    for line in text.splitlines():
        key, _, value = line.partition("=")
        if key.strip():
            metadata[key.strip()] = value.strip().strip('"')
    return metadata


def _count(path: Path, metadata: dict[str, str], name: str) -> int:
    text = metadata.get(name, "").strip()
    if not (text.isascii() and text.isdecimal() and len(text) < 8):
        raise InputError(f"{path}: header entry {name!r} is {text[:40]!r}, not a number", "the file is cut off")
    return int(text)


def _sweep_ends(path: Path, metadata: dict[str, str]) -> tuple[int, int]:
    """Return which parameters of a grid point hold start and end of its sweep."""
    names = f"{metadata.get('Fixed parameters', '')};{metadata.get('Experiment parameters', '')}".split(";")
    names = [name.strip() for name in names if name.strip()]
    known = int(metadata["# Parameters (4 byte)"])
    if "Sweep Start" in names[:known] and "Sweep End" in names[:known]:
        return names.index("Sweep Start"), names.index("Sweep End")
    raise InputError(f"{path}: neither a bias channel nor 'Sweep Start' and 'Sweep End'", "export it with the bias")


def _common(metadata: dict[str, str]) -> dict[str, str]:
    """Return the header with the entries every format shares under their common names."""
    common = dict(metadata)
    for name in metadata:
        match = re.fullmatch(r"Temperature(?: \d+)?(?:>Temperature(?: \d+)?)? \((K|°C)\)", name)
        if match and (value := metadata_number(metadata, name)) is not None:
            common["temperature_K"] = str(value + (zero_Celsius if match[1] == "°C" else 0.0))
    return common
