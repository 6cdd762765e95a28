"""Pictures: a view down each axis, every ion drawn as a molecule."""

from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.patches import Circle, Polygon

from corecrown.palette import SPECIES_COLOURS
from corecrown.structures import build, draw_cell, platelet
from corecrown.structures.picture import ion_formula


def test_three_views_with_octahedra_and_molecules(tmp_path):
    figure = draw_cell(build(100, "b"), title="fa100-b")
    assert [panel.get_title() for panel in figure.axes] == ["down a", "down b", "down c"]
    for panel in figure.axes:
        molecules = [item for item in panel.collections if isinstance(item, LineCollection)]
        assert len(molecules) >= 4
        assert all(len(item.get_segments()) == 7 for item in molecules)  # C-N, C-N, C-H and four N-H
        assert sum(isinstance(item, Polygon) for item in panel.patches) >= 4
        assert sum(isinstance(item, Circle) for item in panel.patches) >= 48
    figure.savefig(tmp_path / "cell.png", dpi=40)
    assert (tmp_path / "cell.png").stat().st_size > 1000


def test_a_finite_platelet_is_drawn_once():
    built = platelet(1, 1)
    down_c = draw_cell(built).axes[2]
    assert sum(isinstance(item, Circle) for item in down_c.patches) == len(built)


def test_colours_are_those_of_all_figures():
    panel = draw_cell(build(100, "b")).axes[0]
    drawn = {to_hex(item.get_facecolor()) for item in panel.patches if isinstance(item, Circle)}
    assert drawn == {SPECIES_COLOURS[symbol] for symbol in ("Pb", "Br", "C", "N", "H")}


def test_ions_are_written_in_the_formula():
    assert ion_formula(build(25, "b")) == "Cs3(CH5N2)Pb4Br12"
    assert ion_formula(build(100, "b")) == "(CH5N2)PbBr3"
    assert ion_formula(build(0)) == "CsPbBr3"
