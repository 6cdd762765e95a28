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
from corecrown.postprocess.report_text import number_text, reference_cell, shift_text
from corecrown.postprocess.results import StudyResult

__all__ = ["facts_of", "inline_svg", "render_page", "script_json"]

DEMO_WARNING = (
    "This study ran with the protocol 'demo'. Its settings show the machinery and are not converged: do not use these "
    "numbers as results."
)

ENGINES = {"espresso": "Quantum ESPRESSO", "vasp": "VASP"}


def render_page(result: StudyResult, sections: Sequence[Any], troubles: Sequence[str]) -> str:
    """Return the page as HTML; a section has what the template asks of it."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=False)
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
    complete = [cell for cell in result.cells if not cell.failed]
    failed = len(result.cells) - len(complete)
    cells = f"{len(result.cells)} cell{'s' if len(result.cells) != 1 else ''}"
    lines = [f"{cells}, {failed} of them with a failed step." if failed else f"{cells}, no step failed."]
    comparison = result.comparison
    reference = reference_cell(comparison)
    rows = {row.cell: row for row in comparison.rows} if comparison is not None else {}
    if reference is not None:
        row = rows[reference]
        level = row.level or "level not recorded"
        lines.append(f"Gap of the reference {reference}: {number_text(row.gap_ev)} eV ({level}).")
        for label, other in rows.items():
            if label == reference or other.shift_ev is None:
                continue
            measured = ""
            if other.sts_shift_ev is not None:
                measured = (
                    f"; measured at {other.place}: {number_text(other.sts_shift_ev, 2, signed=True)} eV, difference "
                    f"{number_text(other.difference_ev, signed=True)} eV"
                )
            shift = shift_text(other.shift_ev, other.shift_uncertainty_ev)
            same = "same level" if other.level == row.level else other.level or "level not recorded"
            lines.append(f"{label}: the gap shifts by {shift} eV ({same}){measured}.")
        return lines
    for cell in result.cells:
        if cell.edges is not None and cell.edges.gap_ev is not None:
            level = describe_level(cell.settings) if cell.settings else "level not recorded"
            gap = number_text(cell.edges.gap_ev)
            lines.append(f"Gap of {cell.label}: {gap} eV ({level}, from {cell.edges.source}).")
    return lines


def _shipped(name: str) -> str:
    return files("corecrown.postprocess").joinpath(name).read_text(encoding="utf-8")
