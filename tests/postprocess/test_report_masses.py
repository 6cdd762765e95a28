"""Masses of a report: the tables with arrows, the figures there are, and the reasons for what is missing."""

from test_mass_table import CELLS

from corecrown.postprocess.mass_table import mass_table
from corecrown.postprocess.report_masses import mass_figures, refusals, trend_tables


def test_the_table_has_arrows_from_the_cell_without_fa():
    (table,) = trend_tables(CELLS)
    rows = {(row[0], row[1]): row for row in table.rows}
    assert rows["fa000", "electron"][3] == "0.900"
    assert rows["fa025-b", "electron"][3] == "0.700 ↓ −22 %"
    assert rows["fa025-b", "electron"][-1] == "no"
    assert ("fa100-a", "hole") not in rows
    assert "without spin-orbit" in table.caption
    assert len(table.rows) == sum(any(row.masses) for row in mass_table(CELLS))


def test_there_is_a_figure_where_there_is_something_to_draw():
    assert [figure.name for figure in mass_figures(CELLS)] == [
        "masses", "electron-mass-in-plane", "hole-mass-in-plane",
    ]  # fmt: skip
    assert [figure.name for figure in mass_figures(CELLS[1:2])] == ["electron-mass-in-plane", "hole-mass-in-plane"]
    assert mass_figures([]) == []
    for figure in mass_figures(CELLS):
        assert figure.draw().axes


def test_what_has_no_tensor_is_said():
    assert refusals(CELLS) == ["fa100-a, hole: degenerate"]
