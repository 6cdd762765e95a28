"""Figures of surfaces: what they say of their level, solids that are closed, and what is near in front."""

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from corecrown.errors import InputError
from corecrown.postprocess.excitation_cubes import GridDensity
from corecrown.postprocess.plots.excitation import ExcitedCell
from corecrown.postprocess.plots.isosurfaces import plot_change_surfaces, plot_excitation_surfaces
from corecrown.postprocess.plots.solids import Solid, down, draw_solids, oblique, rod, sphere


def octahedron():
    """Cubic CsPbBr3 in a cell that is not quite cubic."""
    places = [[0.5, 0.5, 0.5], [0, 0, 0], [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5]]
    return Structure(Lattice.from_parameters(5.8, 5.9, 6.0, 88, 91, 93), ["Cs", "Pb", "Br", "Br", "Br"], places)


def moved(lost_height=1.0):
    """Charge that went from bromine to lead."""
    structure, shape = octahedron(), (24, 24, 26)
    points = np.stack(np.meshgrid(*[np.arange(n) / n for n in shape], indexing="ij"), axis=-1)
    values = np.zeros(shape)
    for index, height in ((1, 1.0), (2, -lost_height)):
        apart = points - structure[index].frac_coords
        apart -= np.round(apart)
        values += height * np.exp(-((apart @ structure.lattice.matrix) ** 2).sum(axis=-1))
    return GridDensity(structure, 0.02 * values)


def said(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_the_level_is_told_in_electrons_a_cubic_angstrom():
    density = moved()
    figure = plot_change_surfaces(density, density.structure, "a cell")
    labels = said(figure)
    assert labels[0].startswith("gained: Δρ = +0.00")
    assert labels[1].startswith("lost: Δρ = −0.00")
    assert all("e/Å³, 50 % of what is" in label for label in labels[:2])
    assert labels[2:] == ["Pb", "Cs", "Br"]
    assert figure.get_suptitle() == "a cell; surfaces enclose 50 % of ∫|Δρ|"
    assert [ax.get_title() for ax in figure.axes] == ["", "down b", "down c"]


def test_a_level_of_ones_own():
    density = moved()
    figure = plot_change_surfaces(density, density.structure, level=0.01)
    assert said(figure)[0].startswith("gained: Δρ = +0.01 e/Å³, ")
    assert not figure.get_suptitle()


def test_a_loss_that_does_not_reach_the_level_is_told():
    density = moved(lost_height=0.1)
    assert said(plot_change_surfaces(density, density.structure))[1].endswith("nowhere")


def test_cells_have_a_column_each():
    change = moved()
    orbital = GridDensity(octahedron(), change.values**2)
    whole = ExcitedCell("whole", change.structure, {"vbm": orbital, "cbm": orbital}, change)
    bare = ExcitedCell("bare", change.structure, {}, change)
    empty = ExcitedCell("empty", change.structure, {}, None)
    figure = plot_excitation_surfaces([whole, bare, empty])
    assert [ax.get_title() for ax in figure.axes] == ["whole", "bare", "", "", "", ""]
    below = [[text.get_text() for text in ax.texts if "e/Å³" in text.get_text()] for ax in figure.axes]
    assert [len(texts) for texts in below] == [1, 0, 1, 0, 1, 1]
    assert below[0][0].startswith("vbm, ")
    assert below[4] == below[5]
    assert said(figure)[:2] == ["filled; gained", "emptied; lost"]
    assert said(plot_excitation_surfaces([bare]))[:2] == ["gained", "lost"]
    assert below[4][0].startswith("±0.00")
    with pytest.raises(InputError, match="without densities"):
        plot_excitation_surfaces([empty])


def test_solids_face_outwards():
    for solid in (sphere([1, 2, 3], 0.5, "red"), rod([1, 2, 3], [1.5, 2.5, 4.5], 0.1, "red")):
        corners = solid.triangles
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        middle = np.array([1, 2, 3]) if len(corners) == 320 else None
        if middle is not None:
            assert ((corners.mean(axis=1) - middle) * normals).sum(axis=1).min() > 0
        else:
            axis = np.array([0.5, 0.5, 1.5]) / np.linalg.norm([0.5, 0.5, 1.5])
            out = corners.mean(axis=1) - [1, 2, 3]
            out -= (out @ axis)[:, None] * axis
            assert (out * normals).sum(axis=1).min() > 0
    assert len(rod([0, 0, 0], [0, 0, 0], 0.1, "red").triangles) == 0


def test_what_is_near_hides_what_is_far():
    solids = [sphere([0, 0, 2], 1, "#ff0000"), sphere([0, 0, -2], 1, "#0000ff")]
    for turn, near in ((down([0, 0, 1], [0, 1, 0]), 0), (down([0, 0, -1], [0, 1, 0]), 2)):
        pixels, span = draw_solids(solids, turn, 20)
        middle = pixels[pixels.shape[0] // 2, pixels.shape[1] // 2, :3]
        assert int(np.argmax(middle)) == near
        assert span == pytest.approx([-1.2, 1.2, -1.2, 1.2], abs=0.02)


def test_views_are_turns():
    lattice = octahedron().lattice.matrix
    for turn in (oblique(lattice), down(-lattice[1], lattice[2])):
        assert turn @ turn.T == pytest.approx(np.eye(3), abs=1e-12)
        assert np.linalg.det(turn) == pytest.approx(1)
        assert (turn @ lattice[2])[1] > 0


def test_slivers_are_not_drawn():
    sliver = Solid(np.array([[[0, 0, 0], [1, 0, 0], [0.5, 1e-6, 0]]], dtype=float), "#ff0000")
    backing = Solid(np.array([[[0, 0, -1], [1, 0, -1], [0, 1, -1]]], dtype=float), "#00ff00")
    pixels, _ = draw_solids([sliver, backing], np.eye(3), 50)
    assert not ((pixels[..., 0] > 150) & (pixels[..., 1] < 100)).any()
