"""Pictures: a view down each axis, every ion drawn as a molecule."""

from matplotlib.collections import LineCollection
from matplotlib.patches import Circle, Polygon

from corecrown.structures import build, draw_cell, platelet


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
