import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest
from synthetic_study import make_study
from typer.testing import CliRunner

from corecrown.errors import InputError
from corecrown.postprocess import read_study
from corecrown.postprocess.report import make_report, write_report
from corecrown.postprocess.report_tables import comparison_table, lattice_table, levels_table
from corecrown.postprocess.report_text import (
    number_text,
    reference_cell,
    shift_text,
)
from corecrown.postprocess.results import (
    BandEdges,
    CellResult,
    Comparison,
    ComparisonRow,
    Distortion,
    EdgeCharacter,
    Excitation,
    LedgerRow,
    Masses,
    MassTensor,
    PdosSummary,
    ShiftSplit,
    StudyResult,
)
from corecrown.postprocess.scene import build_scene
from corecrown.postprocess.study import Study, write_study

VOID = {"meta", "link", "br", "hr", "img", "input", "path", "use"}
HOSTILE = '<script>alert("x")</script>&\u2225"\''


class Page(HTMLParser):
    """Checks that elements close in order, and collects text, identifiers and references."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.references, self.words, self.scripts = [], [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self._collect(attributes)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self._collect(attributes)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        place = self.open[-1] if self.open else ""
        if place == "script":
            self.scripts.append(data)
        elif place != "style":
            self.words.append(data)

    def _collect(self, attributes):
        for name, value in attributes:
            if name == "id":
                self.ids.append(value)
            if name in {"href", "src", "xlink:href"}:
                self.references.append(value)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def read_page(path):
    return Page(path.read_text(encoding="utf-8"))


def small_study(folder, *cells, **fields):
    defaults = {"study": "small", "engine": "espresso", "protocol": "fast", "corecrown_version": "0.1.0"}
    result = StudyResult(**{**defaults, **fields}, cells=list(cells))
    write_study(result, folder)
    return Study(result=result, folder=folder)


def bare_cell(label, structure, **fields):
    return CellResult(
        label=label, formula="Cs4Pb4Br12", structure=structure, lattice_a_angstrom=8.1, lattice_b_angstrom=8.4,
        lattice_c_angstrom=11.8, volume_angstrom3=802.9, **fields,
    )  # fmt: skip


FIGURES = {
    "electronic-structure", "gap-shifts", "level-shifts", "lattice", "energy-scales",
    "masses", "electron-mass-in-plane", "hole-mass-in-plane",
}  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    make_study(folder, ("fa000", "fa025-b"))
    return folder, make_report(read_study(folder))


@pytest.fixture(scope="module")
def page(whole):
    return read_page(whole[1].report)


@pytest.fixture(scope="module")
def structure(whole):
    return read_study(whole[0]).cells[0].structure


def test_report_and_figures_are_written(whole):
    folder, written = whole
    assert written.report == folder / "report.html"
    names = {path.name for path in written.figures}
    assert names == {f"{name}.{suffix}" for name in FIGURES for suffix in ("pdf", "png")}
    assert {path.name for path in (folder / "figures").iterdir()} == names
    assert written.troubles == []
    assert written.report.stat().st_size < 2_500_000


def test_page_needs_nothing_from_elsewhere(whole, page):
    outside = [one for one in page.references if not one.startswith(("#", "figures/"))]
    assert outside == []
    text = whole[1].report.read_text(encoding="utf-8")
    addresses = set(re.findall(r"https?://[^\s\"'<>]+", text)) - {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert addresses == set()
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)


def test_identifiers_are_unique_and_references_meet_them(page):
    assert len(page.ids) == len(set(page.ids))
    assert {one[1:] for one in page.references if one.startswith("#")} <= set(page.ids)


def test_figures_named_on_the_page_are_there(whole, page):
    linked = {one for one in page.references if one.startswith("figures/")}
    assert linked == {f"figures/{path.name}" for path in whole[1].figures}


def test_page_says_what_matters(page):
    for said in (
        "25 % FA ∥ b: the gap shifts by +0.044 ± 0.018 eV (same level); measured at core-crown-centre: +0.04 eV",
        "PBE, no spin-orbit, 60 Ry, 3×3×2 mesh, gap from bands",
        "HSE06, no spin-orbit, 60 Ry, 2×2×1 mesh, gap from mesh",
        "Br-p 0.62, Pb-s 0.31",
        f"{sum(map(ord, 'Pb')):064x}",
        "below the thermal width",
        "1:27:14 (2)",
    ):
        assert said in page.text
    assert page.text.index("Summary") < page.text.index("Comparison with STS") < page.text.index("Settings and")


def test_summary_stands_before_any_table(page):
    assert page.text.index("Gap of the reference 0 % FA") < page.text.index("Table 1.")
    assert "Figure 4." in page.text


def test_structures_are_there_to_turn(page):
    scenes = [json.loads(text) for text in page.scripts if text.startswith("{")]
    assert len(scenes) == 2
    assert {element["symbol"] for element in scenes[1]["elements"]} == {"Pb", "Cs", "Br", "C", "N", "H"}


def test_the_same_study_gives_the_same_page(whole, tmp_path):
    folder, written = whole
    shutil.copytree(folder, tmp_path / "again", ignore=shutil.ignore_patterns("figures", "report.html"))
    assert write_report(read_study(tmp_path / "again")).read_bytes() == written.report.read_bytes()


def test_demo_says_first_that_it_is_not_converged(tmp_path, structure):
    study = small_study(tmp_path, bare_cell("fa000", structure), protocol="demo", study="demo")
    page = read_page(write_report(study))
    body = page.text.removeprefix("demo: report").strip()
    assert body.startswith(
        "demo This study ran with the protocol 'demo'. Its settings show the machinery and are not converged"
    )


def test_failed_cells_and_nulls_leave_gaps_and_say_so(tmp_path, structure):
    empty = MassTensor(notes=["no minimum in the stencil"])
    cell = bare_cell(
        "fa100-a",
        structure,
        edges=BandEdges(vbm_ev=None, cbm_ev=None, gap_ev=None, notes=["metal: no gap on these k-points"]),
        masses=Masses(electron=empty, hole=None),
        masses_spin_orbit=Masses(),
        pdos=PdosSummary(edge_character=EdgeCharacter()),
        distortion=Distortion(notes=["no octahedra"]),
        excitation=[Excitation(kind="neutral", energy_ev=None, ks_gap_ev=None, occupations_kept=False)],
        failed={"scf": "pw.x did not converge in 200 iterations"},
        files={"bands": "cells/fa100-a/bands/attempt-1/bands.json.gz"},
    )
    row = ComparisonRow(cell="fa100-a", place="core-crown-edge", gap_ev=None, notes=["no gap: scf failed"])
    ledger = LedgerRow(term="bulk gap", value_ev=None, source="study", notes=["nothing was computed"])
    split = ShiftSplit(cell="fa100-a", reference="fa000", notes=["no cell fa000-strained"])
    study = small_study(tmp_path, cell, comparison=Comparison(rows=[row], ledger=[ledger], splits=[split]))
    written = make_report(study)
    page = read_page(written.report)
    for said in (
        "fa100-a: scf failed: pw.x did not converge in 200 iterations",
        "bands.json.gz: not found",
        "no gap: scf failed",
        "nothing was computed",
        "no cell fa000-strained",
        "no minimum in the stencil",
        "no octahedra",
    ):
        assert said in page.text
    assert "None" not in page.text
    assert "nan" not in page.text.lower().split()


def test_study_without_cells_or_comparison_still_has_a_page(tmp_path):
    page = read_page(write_report(small_study(tmp_path)))
    assert "the study has no cells" in page.text
    assert "0 cells" in page.text


def test_cell_alone_without_comparison(tmp_path, structure):
    page = read_page(write_report(small_study(tmp_path, bare_cell("fa000", structure))))
    assert "has not been set beside an experiment" in page.text
    assert "Excitations" not in page.text
    assert "Effective masses" not in page.text


@pytest.mark.parametrize("structure_dict", [{}, {"lattice": 1}, {"@module": "pymatgen.core.structure", "sites": []}])
def test_structure_that_is_none_is_left_out(tmp_path, structure_dict):
    written = make_report(small_study(tmp_path, bare_cell("fa000", structure_dict)))
    assert any("field structure" in trouble for trouble in written.troubles)


def test_everything_that_is_text_is_escaped(tmp_path, structure):
    cell = bare_cell(
        HOSTILE, structure, alignment=HOSTILE, failed={HOSTILE: HOSTILE}, notes=[HOSTILE],
        pdos=PdosSummary(edge_character=EdgeCharacter(vbm={HOSTILE: 0.5})),
    )  # fmt: skip
    row = ComparisonRow(cell=HOSTILE, place=HOSTILE, gap_ev=1.0, shift_ev=0.1, level=HOSTILE, notes=[HOSTILE])
    comparison = Comparison(
        rows=[row],
        ledger=[LedgerRow(term=HOSTILE, value_ev=1.0, source=HOSTILE)],
        flags=[HOSTILE],
        experiment=HOSTILE,
    )
    study = small_study(tmp_path, cell, study=HOSTILE, comparison=comparison, notes=[HOSTILE])
    path = write_report(study)
    assert '<script>alert("x")' not in path.read_text(encoding="utf-8")
    assert HOSTILE in read_page(path).text


def test_folder_that_cannot_be_written_is_an_input_error(tmp_path, structure):
    study = small_study(tmp_path, bare_cell("fa000", structure))
    (tmp_path / "report.html").mkdir()
    (tmp_path / "report.html" / "full").touch()
    with pytest.raises(InputError, match=r"report\.html: cannot be written"):
        write_report(study)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".report")]


@pytest.mark.parametrize(
    ("value", "options", "text"),
    [
        (None, {}, "–"),
        (-0.0004, {}, "0.000"),
        (-0.0004, {"signed": True}, "0.000"),
        (0.04, {"signed": True}, "+0.040"),
        (-1.5, {"digits": 1}, "−1.5"),
    ],
)
def test_numbers_as_text(value, options, text):
    assert number_text(value, **options) == text


def test_shift_without_uncertainty_says_so():
    assert shift_text(0.04, None) == "+0.040 (uncertainty not known)"
    assert shift_text(0.04, 0.02) == "+0.040 ± 0.020"
    assert shift_text(None, 0.02) == "–"


def test_reference_is_the_cell_that_shifts_are_counted_from():
    rows = [
        ComparisonRow(cell="lost", place="core", gap_ev=None),
        ComparisonRow(cell="fa000", place=None, gap_ev=2.0, shift_ev=0.0),
        ComparisonRow(cell="fa025-b", place=None, gap_ev=2.0, shift_ev=0.0),
    ]
    comparison = Comparison(rows=rows)
    assert reference_cell(comparison) == "fa000"
    assert reference_cell(None) is None
    table = comparison_table(comparison)
    assert [row[3] for row in table.rows] == ["–", "reference", "0.000 (uncertainty not known)"]


def test_tables_count_changes_from_the_first_cell(whole):
    cells = read_study(whole[0]).cells
    b = lattice_table(cells, {}).rows[1][5]
    assert b == "8.492 (+0.86 %)"
    assert levels_table(cells).rows[1][1] == "2.006 (+0.044)"
    assert levels_table([]) is None


def test_scene_completes_octahedra_and_molecules(whole):
    study = read_study(whole[0])
    scene = build_scene(study.structure("fa025-b"))
    symbols = [scene["elements"][atom[3]]["symbol"] for atom in scene["atoms"]]
    assert symbols.count("N") == 2
    assert symbols.count("H") == 5
    # 4 Pb a cell at 1/2 and corners: 8 corners of the cell and of its middle, 4 a face and the centre; 15 shown
    assert symbols.count("Pb") == 15
    assert len(scene["faces"]) == 15 * 8
    partners = {index: 0 for index, symbol in enumerate(symbols) if symbol == "Pb"}
    for pair in scene["bonds"]:
        for index in pair:
            if index in partners:
                partners[index] += 1
    assert set(partners.values()) == {6}


def test_command_prints_what_it_wrote(whole):
    from corecrown.cli.main import app

    result = CliRunner().invoke(app, ["report", str(whole[0]), "--json"])
    assert result.exit_code == 0
    printed = json.loads(result.stdout)
    assert printed["report"] == str(whole[0] / "report.html")
    assert len(printed["figures"]) == 2 * len(FIGURES)


PROBE = """
<script>
window.addEventListener("error", (e) => { document.title = "error: " + e.message; });
window.addEventListener("load", () => {
  const inked = [...document.querySelectorAll("canvas.structure")].map((canvas) => {
    const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    return data.filter((value, index) => index % 4 === 3 && value > 0).length;
  });
  document.title = "inked: " + inked.map((n) => n > 1000).join(",");
});
</script>
"""


@pytest.mark.nightly
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
def test_structures_are_drawn_by_a_real_browser(whole, tmp_path):
    text = whole[1].report.read_text(encoding="utf-8")
    (tmp_path / "page.html").write_text(text.replace("</body>", PROBE + "</body>"), encoding="utf-8")
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=3000", "--dump-dom"]
    shown = subprocess.run(
        [*command, f"file://{tmp_path}/page.html"], capture_output=True, text=True, timeout=300, check=True
    )
    assert "<title>inked: true,true</title>" in shown.stdout


def test_contents_lead_to_every_section(page):
    sections = {"comparison", "levels", "lattice", "masses", "structures", "provenance", "summary"}
    assert {f"#{name}" for name in sections} <= set(page.references)
