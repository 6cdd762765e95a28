"""Masses of a report: the tables with arrows, the figures there are, and the reasons for what is missing."""

from test_mass_table import CELLS

from corecrown.postprocess.mass_table import mass_table
from corecrown.postprocess.report_masses import mass_figures, refusals, trend_tables
from corecrown.postprocess.results import SameStructure


def test_the_table_has_arrows_from_the_cell_without_fa():
    (table,) = trend_tables(CELLS)
    rows = {(row[0], row[1]): row for row in table.rows}
    assert rows["fa000", "electron"][3] == "0.900"
    assert rows["fa025-b", "electron"][3] == "0.700 ↓ −22 %"
    assert rows["fa025-b", "electron"][-1] == "no"
    assert ("fa100-a", "hole") not in rows
    assert rows["fa025-b", "electron"][4] == "0.805 ≈ +1 %"
    assert "without spin-orbit" in table.caption
    assert "fa100-a, hole: degenerate" in table.notes
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


def test_captions_without_coupling_say_that_bands_differ():
    heavy = CELLS[0].masses.electron.model_copy(update={"gamma_x": 9.0})
    other = CELLS[0].model_copy(update={"masses": CELLS[0].masses.model_copy(update={"electron": heavy})})
    coupled = CELLS[1].model_copy(update={"masses_spin_orbit": CELLS[1].masses})
    captions = {figure.name: figure.caption for figure in mass_figures([other, coupled])}
    for name in ("masses", "electron-mass-in-plane"):
        assert "one of three Pb p bands" in captions[name]
        assert "+900 %" in captions[name]
        assert "the figure with coupling" in captions[name]
    for name in ("hole-mass-in-plane", "electron-mass-in-plane-spin-orbit"):
        assert "Pb p bands" not in captions[name]


def test_a_table_promises_changes_only_where_it_has_them():
    masses = CELLS[0].masses
    electron = masses.electron.model_copy(update={"path_gamma_x": 0.95})
    path = CELLS[0].model_copy(update={"masses": masses.model_copy(update={"electron": electron})})
    tensors, lines = trend_tables([path, *CELLS[1:]])
    assert "their change" in tensors.caption
    assert "no changes" in lines.caption


def test_cells_that_are_one_crystal_are_named():
    same = [SameStructure(first="fa025-b", second="fa100-a", rms_angstrom=0.01, lattice_difference=0.001)]
    caption = mass_figures(CELLS, same)[0].caption
    assert "25 % FA ∥ b and 100 % FA ∥ a are one crystal." in caption
