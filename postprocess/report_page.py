"""The page of a report: its template filled, and pieces that may stand inside HTML."""

import json
import re
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from corecrown import __version__
from corecrown.postprocess.cells import describe_level
from corecrown.postprocess.report_text import bare_level, number_text, readable, reference_cell, shift_text
from corecrown.postprocess.results import CellResult, Comparison, StudyResult

__all__ = ["facts_of", "inline_svg", "render_page", "script_json"]

DEMO_WARNING = (
    "This study ran with the protocol 'demo'. Its settings show the machinery and are not converged: do not use these "
    "numbers as results."
)

_UNKNOWN = "level not recorded"

ENGINES = {"espresso": "Quantum ESPRESSO", "vasp": "VASP"}


def render_page(result: StudyResult, sections: Sequence[Any], troubles: Sequence[str]) -> str:
    """Return the page as HTML; a section has what the template asks of it."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=False)
    environment.filters["readable"] = readable
    template = environment.from_string(_shipped("report_template.html"))
    return template.render(
        study=result,
        style=Markup(_shipped("report_style.css")),  # noqa: S704 - our own file
        viewer=Markup(_shipped("report_viewer.js")),  # noqa: S704 - our own file
        warning=DEMO_WARNING if result.protocol == "demo" else "",
        facts=facts_of(result),
        summary=_summary(result),
        sections=sections,
        troubles=troubles,
        version=__version__,
        counter=_Counter,
    )


def facts_of(result: StudyResult) -> str:
    """Say with what a study was computed."""
    engine = ENGINES.get(result.engine, result.engine)
    return f"Computed with {engine}, protocol {result.protocol}, by corecrown {result.corecrown_version}."


def inline_svg(svg: bytes, name: str) -> Markup:
    """Return a figure for use inside the page: no prolog, no metadata, and names that no other figure has."""
    text = svg.decode("utf-8")
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", text)
    return Markup(text)  # noqa: S704 - drawn by matplotlib, which escapes letters itself


def script_json(document: Any) -> Markup:
    """Return JSON that may stand inside a script element."""
    text = json.dumps(document, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))  # noqa: S704


class _Counter:
    """Numbers tables and figures in the order they stand on the page."""

    def __init__(self) -> None:
        self._last = 0

    def next(self) -> int:
        self._last += 1
        return self._last


def _summary(result: StudyResult) -> list[str]:
    """Say in a few lines what came out."""
    failed = sum(bool(cell.failed) for cell in result.cells)
    cells = f"{len(result.cells)} cell{'s' if len(result.cells) != 1 else ''}"
    lines = [f"{cells}, {failed} of them with a failed step." if failed else f"{cells}, no step failed."]
    gaps = _shift_lines(result.comparison) or _gap_lines(result.cells) or _level_lines(result.cells)
    return [*lines, *gaps, *_excitation_lines(result.cells)]


def _shift_lines(comparison: Comparison | None) -> list[str]:
    """Return the gap of the reference and the shifts from it, where a comparison has them."""
    reference = reference_cell(comparison)
    if comparison is None or reference is None:
        return []
    rows = {row.cell: row for row in comparison.rows}
    base = rows[reference]
    level = bare_level(base.level)
    lines = [f"Gap of the reference {reference}: {number_text(base.gap_ev)} eV ({level or _UNKNOWN})."]
    for label, row in rows.items():
        if label == reference or row.shift_ev is None:
            continue
        measured = ""
        if row.sts_shift_ev is not None:
            measured = (
                f"; measured at {row.place}: {number_text(row.sts_shift_ev, 2, signed=True)} eV, difference "
                f"{number_text(row.difference_ev, signed=True)} eV"
            )
        shift = shift_text(row.shift_ev, row.shift_uncertainty_ev)
        same = "same level" if bare_level(row.level) == level else bare_level(row.level) or _UNKNOWN
        lines.append(f"{label}: the gap shifts by {shift} eV ({same}){measured}.")
    return lines


def _gap_lines(cells: Sequence[CellResult]) -> list[str]:
    """Return the gap of each cell from lines or the mesh of its own."""
    return [
        f"Gap of {cell.label}: {number_text(cell.edges.gap_ev)} eV "
        f"({describe_level(cell.settings) if cell.settings else _UNKNOWN}, from {cell.edges.source})."
        for cell in cells
        if cell.edges is not None and cell.edges.gap_ev is not None
    ]


def _level_lines(cells: Sequence[CellResult]) -> list[str]:
    """Return a line a level of theory: the gap of the first cell that has it, and the shifts from that."""
    gaps: dict[str, dict[str, float]] = {}
    for cell in cells:
        for level in cell.levels:
            if level.gap_ev is not None:
                gaps.setdefault(describe_level(level), {})[cell.label] = level.gap_ev
    lines = []
    for level_name, known in gaps.items():
        (first, base), *others = known.items()
        shifts = [f"{label} by {number_text(gap - base, signed=True)} eV" for label, gap in others]
        ending = f"; from there it shifts in {', '.join(shifts)}" if shifts else ""
        lines.append(f"Gap of {first}: {number_text(base)} eV ({level_name}){ending}.")
    return lines


def _excitation_lines(cells: Sequence[CellResult]) -> list[str]:
    """Return a line a kind of excitation: its energy in each cell."""
    energies: dict[str, list[str]] = {}
    for cell in cells:
        for found in cell.excitation:
            if found.energy_ev is not None:
                energies.setdefault(found.kind, []).append(f"{number_text(found.energy_ev)} eV in {cell.label}")
    return [f"Excitation energy, {kind}: {', '.join(known)}." for kind, known in energies.items()]


def _shipped(name: str) -> str:
    return files("corecrown.postprocess").joinpath(name).read_text(encoding="utf-8")
