from io import BytesIO

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from PIL import Image
from pymatgen.core import Lattice
from pymatgen.electronic_structure.bandstructure import BandStructure, BandStructureSymmLine
from pymatgen.electronic_structure.core import Spin
from synthetic_study import CELLS, VALENCE, make_bands, make_dos, make_structure, make_study

from corecrown.errors import InputError
from corecrown.postprocess.edges import find_edges
from corecrown.postprocess.pdos import dos_by_element_orbital
from corecrown.postprocess.plots import (
    COLUMN_MM,
    PAGE_MM,
    CellPanel,
    cell_title,
    figure_bytes,
    plot_band_structures,
    plot_bands,
    plot_electronic_structure,
    plot_lattice,
    plot_level_shifts,
    plot_pdos,
    plot_pdos_stack,
    plot_shifts,
    result_title,
    species_colour,
)
from corecrown.postprocess.plots.bands import point_name
from corecrown.postprocess.plots.cells import wrap_title
from corecrown.postprocess.plots.pdos import group_species
from corecrown.postprocess.results import BandEdges, Comparison, ComparisonRow, Distortion

RECIPROCAL = Lattice.orthorhombic(8.2, 8.3, 11.8).reciprocal_lattice


@pytest.fixture(scope="module")
def panel():
    return make_panel("fa025-b")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return make_study(tmp_path_factory.mktemp("study"), ("fa000", "fa025-b", "fa100-a"))


def make_panel(label):
    fraction, alignment, gap, lengths = CELLS[label]
    structure = make_structure(fraction, alignment, lengths)
    n_electrons = sum(VALENCE[site.specie.symbol] for site in structure)
    random = np.random.default_rng(1)
    bands = make_bands(structure, n_electrons, gap, random)
    return CellPanel(
        label, bands, make_dos(structure, n_electrons, gap, random), find_edges(bands, "bands", n_electrons)
    )


def line(up, down=None, efermi=0.5, points=("Γ", "X", "Y", "Γ")):
    """Γ to X and, after a jump, Y to Γ; three k-points each."""
    places = {"Γ": (0, 0, 0), "X": (0.5, 0, 0), "Y": (0, 0.5, 0)}
    kpoints = [(0, 0, 0), (0.25, 0, 0), (0.5, 0, 0), (0, 0.5, 0), (0, 0.25, 0), (0, 0, 0)]
    energies = {Spin.up: np.array(up, dtype=float)}
    if down is not None:
        energies[Spin.down] = np.array(down, dtype=float)
    labels = {name: places[name] for name in points}
    return BandStructureSymmLine(kpoints, energies, RECIPROCAL, efermi, labels)


GAPPED = [[-1, -1.2, -1.5, -1.4, -1.2, -1], [1.2, 1.5, 1.9, 1.8, 1.4, 1.2]]


def texts(figure):
    return [text.get_text() for text in figure.findobj(mpl.text.Text) if text.get_text() and text.get_visible()]


def size_mm(figure):
    return tuple(round(float(inches) * 25.4, 1) for inches in figure.get_size_inches())


def assert_everything_inside(figure):
    """No letter reaches beyond the page: what is cut off cannot be printed."""
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    width, height = figure.get_size_inches()
    boxes = [figure.get_tightbbox(renderer)]  # inches; leaves out what takes no part in the layout
    boxes += [part.get_window_extent(renderer).transformed(figure.dpi_scale_trans.inverted())
              for part in (*figure.legends, *figure.texts)]  # fmt: skip
    for box in boxes:
        assert box.x0 > -0.02
        assert box.y0 > -0.02
        assert box.x1 < width + 0.02
        assert box.y1 < height + 0.02


def test_energies_are_counted_from_the_valence_edge_and_the_gap_is_written():
    figure = plot_bands(line(GAPPED), title="cell")
    ax = figure.axes[0]
    drawn = np.concatenate([path.vertices for lines in ax.collections for path in lines.get_paths()])
    assert drawn[drawn[:, 1] <= 0.1, 1].max() == pytest.approx(0)
    assert drawn[drawn[:, 1] > 0.1, 1].min() == pytest.approx(2.2)
    assert "2.200 eV\ndirect at Γ" in texts(figure)
    assert ax.get_title() == "cell"


def test_a_jump_in_the_path_takes_no_length_and_no_line_crosses_it():
    ax = plot_bands(line(GAPPED)).axes[0]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["Γ", "X|Y", "Γ"]
    lengths = np.diff(ax.get_xticks())
    assert lengths == pytest.approx([np.pi / 8.2, np.pi / 8.3])
    pieces = [path for lines in ax.collections for path in lines.get_paths()]
    assert len(pieces) == 4
    assert all(len(path.vertices) == 3 for path in pieces)


def test_metal_is_drawn_from_the_fermi_energy():
    figure = plot_bands(line([[-1, 0, 1, 1, 0, -1]]))
    assert "metal" in texts(figure)
    assert "mathrm{F}" in figure.axes[0].get_ylabel()


def test_missing_empty_bands_are_said():
    figure = plot_bands(line(GAPPED[:1], efermi=-1))
    assert "no empty bands" in texts(figure)


def test_edges_of_a_mesh_are_said_to_be_so():
    edges = BandEdges(vbm_ev=-1, cbm_ev=1.1, gap_ev=2.1, source="mesh", direct=False)
    assert "2.100 eV (mesh)\nindirect" in texts(plot_bands(line(GAPPED), edges))


def test_second_spin_is_dashed():
    ax = plot_bands(line(GAPPED, GAPPED)).axes[0]
    styles = {collection.get_linestyle()[0][1] is None for collection in ax.collections}
    assert styles == {True, False}


def test_bands_on_a_mesh_cannot_be_drawn_as_a_path():
    mesh = BandStructure([[0, 0, 0]], {Spin.up: np.array([[0.0]])}, RECIPROCAL, 0.0)
    with pytest.raises(InputError, match="no path"):
        plot_bands(mesh)


@pytest.mark.parametrize(
    ("written", "printed"), [("\\Gamma", "Γ"), ("GAMMA", "Γ"), ("G", "Γ"), ("$\\Gamma$", "Γ"), ("X", "X"), ("Γ", "Γ")]
)
def test_gamma_has_many_spellings_and_one_letter(written, printed):
    assert point_name(written) == printed


def test_functions_draw_into_axes_that_are_given(panel, study):
    figure = Figure()
    axes = figure.subplots(2, 3).ravel()
    drawings = [
        plot_bands(panel.bands, ax=axes[0]),
        plot_pdos(panel.dos, ax=axes[1]),
        plot_shifts(study.comparison, ax=axes[2]),
        plot_lattice(study.cells, ax=axes[3]),
        plot_level_shifts(study.cells, "fa000", ax=axes[4]),
    ]
    assert all(drawn is figure for drawn in drawings)
    assert len(figure.axes) == 6


def test_stack_of_projections_adds_up(panel):
    parts = dos_by_element_orbital(panel.dos)
    grouped = group_species(parts)
    assert np.sum(list(grouped.values()), axis=0) == pytest.approx(np.sum(list(parts.values()), axis=0))
    assert {name.split("-")[0] for name in grouped} == {"Br", "Pb", "Cs", "FA"}
    assert next(iter(grouped)).startswith("Br")


def test_carbon_alone_is_no_formamidinium():
    assert list(group_species({"C-p": np.ones(3)})) == ["C-p"]


def test_density_is_counted_from_the_valence_edge(panel):
    ax = plot_pdos(panel.dos, panel.edges).axes[0]
    total = ax.lines[0]
    below = total.get_xdata()[total.get_ydata() > 1]
    assert below[below < 1].max() == pytest.approx(0, abs=0.2)
    assert below[below > 1].min() == pytest.approx(panel.edges.gap_ev, abs=0.2)


def test_a_species_has_one_colour_and_species_differ():
    names = ["Pb", "Br", "Cs", "FA", "Cl", "I", "C", "N", "H", "Si", "Sn", "Rb"]
    colours = [species_colour(name) for name in names]
    assert len(set(colours)) == len(names)
    assert len({species_colour("Pb", orbital) for orbital in "spdf"}) == 4
    with pytest.raises(InputError, match="neither an element"):
        species_colour("Xx")
    with pytest.raises(InputError, match="orbital"):
        species_colour("Pb", "g")


@pytest.mark.parametrize(
    ("draw", "n_cells"),
    [(plot_electronic_structure, 1), (plot_electronic_structure, 5), (plot_band_structures, 4), (plot_pdos_stack, 2)],
)
def test_panels_fit_a_journal_page(panel, draw, n_cells):
    figure = draw([panel] * n_cells, note="PBE, no spin-orbit, 40 Ry, 2×2×1 mesh")
    width, height = size_mm(figure)
    assert width in {COLUMN_MM, PAGE_MM}
    assert height <= 240
    assert "PBE, no spin-orbit, 40 Ry, 2×2×1 mesh" in " ".join(texts(figure)).replace("\n", " ")
    assert_everything_inside(figure)


def test_panels_share_axes_and_letters_are_of_final_size(panel):
    figure = plot_electronic_structure([panel, make_panel("fa000")])
    tops = {ax.get_ylim() for ax in figure.axes[:2]}
    assert len(tops) == 1
    assert len({ax.get_ylim() for ax in figure.axes[2:4]}) == 1
    sizes = {text.get_fontsize() for text in figure.findobj(mpl.text.Text) if text.get_text().strip()}
    assert sizes <= {8.0, 9.0}


def test_cells_without_data_leave_a_panel_that_says_so(panel):
    figure = plot_electronic_structure([panel, CellPanel("failed")])
    assert "no bands" in texts(figure)
    assert "no PDOS" in texts(plot_pdos_stack([panel, CellPanel("failed")]))
    assert_everything_inside(plot_electronic_structure([CellPanel("failed")]))
    assert_everything_inside(plot_pdos_stack([CellPanel("failed")]))


def test_cells_without_a_density_of_states_come_last_with_bands_alone(panel):
    bare = CellPanel("bare", panel.bands, None, panel.edges)
    figure = plot_electronic_structure([bare, panel])
    assert "no PDOS" not in texts(figure)
    assert [ax.get_title() for ax in figure.axes if ax.axison] == ["fa025-b", "bare", ""]
    assert len(plot_electronic_structure([bare, bare]).axes) == 2


@pytest.mark.parametrize(("n_points", "marked"), [(14, True), (15, False)])
def test_computed_points_are_marked_where_a_segment_has_few(n_points, marked):
    kpoints = [(x, 0, 0) for x in np.linspace(0, 0.5, n_points)]
    energies = {Spin.up: np.array([np.linspace(0, -1, n_points), np.linspace(1, 2, n_points)])}
    bands = BandStructureSymmLine(kpoints, energies, RECIPROCAL, 0.5, {"Γ": (0, 0, 0), "X": (0.5, 0, 0)})
    dots = [line for line in plot_bands(bands).axes[0].lines if len(line.get_xdata()) == n_points]
    assert len(dots) == (2 if marked else 0)


def test_species_in_a_stack_differ_without_colour(panel):
    figure = plot_electronic_structure([panel])
    looks = {patch.get_label(): patch for patch in figure.legends[0].get_patches()}
    assert looks["Pb-p"].get_hatch()
    assert not looks["Br-p"].get_hatch()


@pytest.mark.parametrize("draw", [plot_electronic_structure, plot_band_structures, plot_pdos_stack, plot_lattice])
def test_nothing_to_draw_is_an_input_error(draw):
    with pytest.raises(InputError, match="no cell"):
        draw([])


def test_shifts_have_bars_where_an_uncertainty_is_known():
    rows = [
        ComparisonRow(cell="fa000", place="core", gap_ev=2.0, shift_ev=0.0, sts_shift_ev=0.0),
        ComparisonRow(cell="fa025-b", place="crown", gap_ev=2.04, shift_ev=0.04, shift_uncertainty_ev=0.02),
        ComparisonRow(cell="fa100-a", place=None, gap_ev=None),
    ]
    figure = plot_shifts(Comparison(rows=rows))
    ax = figure.axes[0]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["0 % FA", "25 % FA ∥ b"]
    bars = ax.containers[0].lines[2][0].get_segments()
    assert bars[1][:, 1] == pytest.approx([0.02, 0.06])
    assert len(ax.containers) == 2
    assert_everything_inside(figure)


def test_shifts_without_any_number_are_an_input_error():
    with pytest.raises(InputError, match="no row has a shift"):
        plot_shifts(Comparison(rows=[ComparisonRow(cell="fa000", place=None, gap_ev=None)]))


def test_level_shifts_compare_like_with_like(study):
    figure = plot_level_shifts(study.cells, "fa000")
    names = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert names == ["PBE", "PBE + SOC", "HSE06"]
    assert_everything_inside(figure)
    with pytest.raises(InputError, match="shares a level"):
        plot_level_shifts(study.cells, "nix")


def test_level_shifts_have_the_uncertainty_of_the_level_that_was_compared(study):
    gaps = {cell.label: next(row.gap_ev for row in cell.levels if not row.spin_orbit) for cell in study.cells}
    shift = gaps["fa025-b"] - gaps["fa000"]
    row = ComparisonRow(
        cell="fa025-b", place=None, gap_ev=1.0, shift_ev=shift, shift_uncertainty_ev=0.07,
        level="PBE, no spin-orbit, 40 Ry",
    )  # fmt: skip
    figure = plot_level_shifts(study.cells, "fa000", comparison=Comparison(rows=[row]))
    barred = [points for points in figure.axes[0].containers if points.has_yerr]
    assert len(barred) == 1
    assert barred[0].get_label() == "PBE"
    assert barred[0].lines[2][0].get_segments()[0][:, 1] == pytest.approx([shift - 0.07, shift + 0.07])


def turned(cell, angle):
    measured = Distortion(fa_axis_deg=[{"a": angle, "b": 90 - angle, "c": 90.0}])
    return cell.model_copy(update={"label": "fa025-a", "alignment": "a", "distortion": measured})


def test_a_title_says_that_formamidinium_left_its_axis(study):
    cell = study.cells[1]
    assert result_title(turned(cell, 41.6)) == "25 % FA (placed ∥ a, now 42° off)"
    assert result_title(turned(cell, 12.0)) == "25 % FA ∥ a"
    names = [text.get_text() for text in plot_lattice([cell, turned(cell, 41.6)]).axes[0].get_xticklabels()]
    assert names == ["25 % FA ∥ b", "25 % FA (placed ∥ a,\nnow 42° off)"]


def test_counterfactual_cells_are_called_by_what_they_were_made_from(study):
    cell = study.cells[0]
    framework = cell.model_copy(update={"label": "fa025-b-framework", "made_from": ["fa025-b"]})
    strained = cell.model_copy(update={"label": "fa000-strained", "made_from": ["fa000", "fa025-b"]})
    assert result_title(framework) == "25 % FA ∥ b, Cs for FA"
    assert result_title(strained) == "0 % FA in the lattice of 25 % FA ∥ b"
    assert_everything_inside(plot_lattice([cell, framework, strained, turned(cell, 41.6)]))


def test_a_long_title_is_never_broken_within_a_content_or_an_axis():
    lines = wrap_title("0 % FA in the lattice of 25 % FA ∥ b", 20).split("\n")
    assert lines == ["0 % FA in the", "lattice of", "25 % FA ∥ b"]


def test_lattice_is_pseudocubic_for_pbnm_only(study):
    ax = plot_lattice(study.cells).axes[0]
    a = study.cells[0].lattice_a_angstrom
    assert ax.lines[0].get_ydata()[0] == pytest.approx(a / 2**0.5)
    other = [cell.model_copy(update={"setting": None}) for cell in study.cells]
    assert plot_lattice(other).axes[0].lines[0].get_ydata()[0] == pytest.approx(a)


@pytest.mark.parametrize(
    ("label", "title"),
    [
        ("fa000", "0 % FA"),
        ("fa025-b", "25 % FA ∥ b"),
        ("fa100-a", "100 % FA ∥ a"),
        ("fa025-b-framework", "fa025-b-framework"),
        ("fapbbr3-a", "fapbbr3-a"),
        ("mine", "mine"),
    ],
)
def test_titles_write_plain_labels_out_and_leave_others(label, title):
    assert cell_title(label) == title


@pytest.mark.parametrize("count", [3, 20])
def test_names_of_many_cells_stay_on_the_page(study, count):
    cells = [study.cells[1].model_copy(update={"label": f"fa025-e{index:02d}-framework"}) for index in range(count)]
    assert_everything_inside(plot_lattice(cells))


def test_files_are_the_same_each_time_and_of_the_size_asked_for():
    first, second = (plot_bands(line(GAPPED)) for _ in range(2))
    for file_format in ("pdf", "svg", "png"):
        assert figure_bytes(first, file_format) == figure_bytes(second, file_format)
    picture = Image.open(BytesIO(figure_bytes(first, "png")))
    assert picture.info["dpi"][0] == pytest.approx(300, abs=0.1)
    assert picture.width == pytest.approx(COLUMN_MM / 25.4 * 300, abs=1)
    pdf = figure_bytes(first, "pdf")
    assert b"/Type /Font" in pdf
    assert b"/Subtype /Type3" not in pdf
    with pytest.raises(InputError, match="'bmp' is not known"):
        figure_bytes(first, "bmp")


def test_drawing_writes_nothing_and_leaves_settings_alone(panel, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = dict(mpl.rcParams)
    figure_bytes(plot_pdos(panel.dos), "pdf")
    assert list(tmp_path.iterdir()) == []
    assert dict(mpl.rcParams) == before


def test_users_settings_do_not_reach_the_figure():
    with mpl.rc_context({"font.size": 30, "axes.grid": True}):
        figure = plot_bands(line(GAPPED))
        loud = figure_bytes(figure, "svg")
    assert loud == figure_bytes(plot_bands(line(GAPPED)), "svg")


@settings(max_examples=10, deadline=None)
@given(st.lists(st.lists(st.floats(-50, 50), min_size=6, max_size=6), min_size=1, max_size=5))
def test_any_bands_can_be_drawn(energies):
    assert plot_bands(line(energies)).axes
