"""The table of masses against FA content, and the figures: what stands in them, not how they look."""

import numpy as np
import pytest
from test_mass_paths import case

from corecrown.errors import InputError
from corecrown.postprocess.mass_paths import PathMasses, path_masses
from corecrown.postprocess.mass_plots import plot_inplane_masses, plot_masses, plot_path_masses
from corecrown.postprocess.mass_table import mass_table, mass_table_markdown, reference_cell
from corecrown.postprocess.masses import Carrier, mass_tensor, unknown_mass
from corecrown.postprocess.plots.style import COLUMN_MM, MM_PER_INCH, figure_bytes
from corecrown.postprocess.results import CellResult, Masses


def cell(label, fa, alignment, electron, hole=None, converged=True):
    tensors = {
        "electron": mass_tensor(np.diag(1 / np.array(electron)), Carrier.ELECTRON, converged=converged),
        "hole": unknown_mass(Carrier.HOLE, "degenerate")
        if hole is None
        else mass_tensor(np.diag(1 / np.array(hole)), Carrier.HOLE, converged=converged),
    }
    return CellResult(
        label=label, fa_fraction=fa, alignment=alignment, formula="CsPbBr3", structure={}, lattice_a_angstrom=8.2,
        lattice_b_angstrom=8.3, lattice_c_angstrom=11.8, volume_angstrom3=800.0, masses=Masses(**tensors),
    )  # fmt: skip


CELLS = [
    cell("fa025-b", 0.25, "b", (0.7, 0.805, 0.15), (0.22, 0.2, 0.19), converged=False),
    cell("fa000", 0.0, None, (0.9, 0.8, 0.12), (0.2, 0.21, 0.19)),
    cell("fa100-a", 1.0, "a", (0.6, 0.72, 0.18)),
]


def test_changes_are_those_from_the_cell_without_fa():
    rows = mass_table(CELLS)
    assert reference_cell(CELLS).label == "fa000"
    assert [(row.carrier.value, row.cell) for row in rows][:3] == [
        ("electron", "fa025-b"), ("electron", "fa000"), ("electron", "fa100-a"),
    ]  # fmt: skip
    assert rows[0].changes == pytest.approx((0.7 / 0.9 - 1, 0.805 / 0.8 - 1, 0.25))
    assert rows[-1].masses == (None, None, None)
    assert rows[-1].notes == ["degenerate"]


def test_markdown_has_arrows_and_says_what_is_not_converged():
    text = mass_table_markdown(mass_table(CELLS))
    assert "| electron | fa025-b * | 25 | 0.700 ↓ -22 % | 0.805 → +1 % | 0.150 ↑ +25 % |" in text
    assert "| electron | fa000 | 0 | 0.900 | 0.800 | 0.120 |" in text
    assert "| hole | fa100-a | 100 | – | – | – |" in text
    assert "not converged" in text


def test_masses_with_spin_orbit_coupling_are_another_table():
    assert mass_table(CELLS, spin_orbit=True) == []
    assert reference_cell(CELLS, spin_orbit=True) is None


def test_masses_along_lines_are_another_source():
    masses = CELLS[1].masses
    electron = masses.electron.model_copy(update={"path_gamma_x": 0.95})
    with_path = CELLS[1].model_copy(update={"masses": masses.model_copy(update={"electron": electron})})
    assert mass_table([with_path], source="path")[0].masses == (0.95, None, None)


def width_mm(figure):
    return figure.get_size_inches()[0] * MM_PER_INCH


def test_figure_of_all_cells():
    figure = plot_masses(CELLS)
    assert width_mm(figure) == pytest.approx(COLUMN_MM)
    electrons, holes = figure.axes
    assert electrons.get_ylabel().startswith("electron")
    assert [label.get_text() for label in holes.get_xticklabels()] == ["0", "25\n∥ b", "100\n∥ a"]
    assert figure_bytes(figure, "pdf").startswith(b"%PDF")
    sizes = {text.get_fontsize() for ax in figure.axes for text in (*ax.get_xticklabels(), ax.yaxis.label)}
    assert sizes <= {8.0, 9.0}


def test_changes_within_the_convergence_have_no_arrow():
    def arrows(change):
        cells = [cell("fa000", 0, None, (1.0, 1.0, 1.0)), cell("fa025-b", 0.25, "b", (1.0, 1.0, 1.0 + change))]
        return [len([text for text in ax.texts if text.arrow_patch]) for ax in plot_masses(cells).axes]

    assert arrows(0.04) == [0, 0]
    assert max(arrows(0.06)) == 1


def test_lines_in_the_plane_differ_without_colour():
    mass = CELLS[1].masses.electron
    lines = plot_inplane_masses(dict.fromkeys("abcde", mass)).axes[0].lines
    assert len({str(line._unscaled_dash_pattern) for line in lines}) == 5


def test_polar_figure_shows_the_mass_in_the_plane():
    figure = plot_inplane_masses({"fa000": CELLS[1].masses.electron, "unknown": CELLS[2].masses.hole})
    (line,) = figure.axes[0].lines
    angles, radii = line.get_data()
    assert radii[0] == pytest.approx(0.9)
    assert radii[np.argmin(np.abs(angles - np.pi / 2))] == pytest.approx(0.8)
    assert width_mm(figure) == pytest.approx(COLUMN_MM)
    assert figure_bytes(figure, "png")


@pytest.mark.parametrize("name", ["anisotropic", "valley", "two spins"])
def test_figure_of_a_path_draws_points_that_lie_on_its_parabolas(name):
    bands = case(name)
    result = path_masses(bands)
    figure = plot_path_masses(bands, result)
    lines = figure.axes[0].lines
    for dots, curve in zip(lines[0 : 2 * len(result.path_masses) : 2], lines[1::2], strict=False):
        x, y = dots.get_data()
        near = (np.abs(y) < 15) & (np.abs(y) > 0)
        assert near.any()
        assert np.interp(x[near], *curve.get_data()) == pytest.approx(y[near], rel=0.08, abs=0.6)


def test_nothing_to_draw_is_refused():
    with pytest.raises(InputError, match="none has masses"):
        plot_masses([cell("a", 0, None, (1, 1, 1)).model_copy(update={"masses": None})])
    with pytest.raises(InputError, match="none has a tensor"):
        plot_inplane_masses({"a": unknown_mass(Carrier.HOLE, "degenerate")})
    with pytest.raises(InputError, match="no masses"):
        plot_path_masses(case("valley"), PathMasses(path_masses=[]))
