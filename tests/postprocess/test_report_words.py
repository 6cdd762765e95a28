"""Words of a report: what captions, summary and tables say of what a study knows."""

import re

import numpy as np
import pytest
from synthetic_study import make_study
from test_report import read_page, small_study

from corecrown.postprocess import read_study
from corecrown.postprocess.excitation_cubes import GridDensity
from corecrown.postprocess.plots.excitation import ExcitedCell
from corecrown.postprocess.report import make_report, write_report
from corecrown.postprocess.report_excitation import surfaces_caption
from corecrown.postprocess.report_geometry import RELAXED, geometries_of
from corecrown.postprocess.report_sts import alignment_part
from corecrown.postprocess.report_tables import comparison_table, levels_table
from corecrown.postprocess.report_text import Table, readable, without_empty_columns
from corecrown.postprocess.results import Comparison, ComparisonRow
from corecrown.postprocess.sts.alignment import ScaleRow
from corecrown.postprocess.study import Study


@pytest.fixture
def study(tmp_path):
    make_study(tmp_path / "study", ("fa000", "fa025-b"))
    return read_study(tmp_path / "study")


def test_geometry_is_credited_to_what_relaxed_it(study):
    assert set(geometries_of(study).values()) == {RELAXED}
    (study.folder / "study.yaml").write_text(
        "start: {prerelax: chgnet}\noverrides: {relax: {relax_cell: false}}\n", encoding="utf-8"
    )
    assert geometries_of(study)["fa025-b"] == "lattice kept (CHGNet's), atoms relaxed"
    unrelaxed = study.cells[0].model_copy(update={"timings": {}, "made_from": ["fa025-b"]})
    built = Study(result=study.result.model_copy(update={"cells": [unrelaxed]}), folder=study.folder)
    assert geometries_of(built) == {"fa000": "as built"}
    caption = read_page(write_report(study)).text.split("A ring marks the axis")[1].split("figures/lattice")[0]
    assert "lattice kept (CHGNet's), atoms relaxed" in caption
    assert "PBE" not in caption


def test_where_a_gap_was_found_is_no_part_of_its_level(study):
    cells = study.cells
    level = cells[1].levels[0]
    mesh = cells[1].model_copy(update={"levels": [level.model_copy(update={"source": "mesh"})]})
    table = levels_table([cells[0], mesh])
    assert table.rows[1][1] == "2.006 (+0.044)"
    assert len(table.header) == 1 + len(cells[0].levels)
    rows = [
        ComparisonRow(cell="fa000", place=None, gap_ev=2.0, shift_ev=0.0, level="PBE, 40 Ry, gap from mesh"),
        ComparisonRow(
            cell="fa025-b", place=None, gap_ev=2.1, shift_ev=0.1, level="PBE, 40 Ry, gap from bands",
            notes=["shift uncertainty: bands against mesh at PBE, 0.000 eV", "said"],
        ),
        ComparisonRow(cell="fa025-a", place=None, gap_ev=2.1, shift_ev=0.1, notes=["said"]),
    ]  # fmt: skip
    table = without_empty_columns(comparison_table(Comparison(rows=rows)))
    assert table.header[-1] == "Gap from"
    assert "PBE, 40 Ry." in table.caption
    assert table.notes == ["fa025-b, fa025-a: said"]


def test_columns_of_dashes_are_left_out():
    table = Table("", ("Cell", "Gap", "Place"), [("fa000", "–", "core"), ("fa025-b", "–", "–")], wordy=frozenset({2}))
    shown = without_empty_columns(table)
    assert list(shown.header) == ["Cell", "Place"]
    assert shown.wordy == {1}


def test_study_of_levels_alone_has_gaps_and_shifts_in_its_summary(study, tmp_path):
    cells = [cell.model_copy(update={"edges": None, "levels": cell.levels[-1:], "files": {}}) for cell in study.cells]
    written = make_report(small_study(tmp_path, *cells))
    text = read_page(written.report).text
    assert re.search(r"Gap of 0 % FA: 2\.\d+ eV \(HSE06.*\); from there it shifts in 25 % FA ∥ b by \S+ eV\.", text)
    assert "Excitation energy, neutral: " in text
    assert "level-shifts.pdf" in {path.name for path in written.figures}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("fa025-b: shift -0.034 eV", "25 % FA ∥ b: shift −0.034 eV"),
        ("cells/fa025-b/scf/attempt-1/x.json", "cells/fa025-b/scf/attempt-1/x.json"),
        ("fapbbr3-a, window (-0.8 to 1 V)", "fapbbr3-a, window (−0.8 to 1 V)"),
        ("misses by 5.3 meV of 1.8e+02 meV", "misses by 5.3 meV of 180 meV"),
        ("lengths 3.9e-05", "lengths 3.9×10⁻⁵"),
        ("in 1 runs, after 1 stencils, in 11 runs", "in 1 run, after 1 stencil, in 11 runs"),
        ("fa000: fa_axis_deg: no FA in this structure", "0 % FA: FA axes: no FA in this structure"),
        ("C-1 and 2-3, Pb-Br, E_mixed - E_T, arXiv 2307.07035", "C-1 and 2-3, Pb-Br, E_mixed - E_T, arXiv 2307.07035"),
    ],
)
def test_text_as_a_reader_sees_it(text, shown):
    assert readable(text) == shown


def test_caption_of_surfaces_names_what_there_is(study):
    structure = study.structure("fa000")
    change = GridDensity(structure, values=np.zeros((2, 2, 2)))
    alone = surfaces_caption([ExcitedCell("0 % FA", structure, {}, change)])
    assert "|ψ|²" not in alone
    assert "half of ∫|Δρ|," in alone
    both = surfaces_caption([ExcitedCell("0 % FA", structure, {"vbm": change, "cbm": change}, None)])
    assert both.startswith(
        "|ψ|² of the emptied (cyan) and the filled orbital (yellow) of the ground state, as surfaces"
    )
    assert "Δρ" not in both


def test_caption_of_energy_scales_names_the_rows_and_the_level():
    rows = [ScaleRow("STS core", -1.0, 1.5), ScaleRow("optical gap", -1.0, 1.7)]
    assert "Edges by STS and optics, hung" in alignment_part(rows)[1].caption
    row = ComparisonRow(cell="fa000", place="core", gap_ev=2.0, level="PBE, 40 Ry, gap from mesh")
    caption = alignment_part([*rows, ScaleRow("DFT fa000", -1.0, 1.0)], Comparison(rows=[row]))[1].caption
    assert "Edges by STS, optics and DFT, hung" in caption
    assert caption.endswith("PBE, 40 Ry.")
