"""The report of a study: one self-contained page, and each figure as pdf and png."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from corecrown.errors import CorecrownError, InputError
from corecrown.files import write_whole
from corecrown.postprocess.plots import (
    CellPanel,
    plot_band_structures,
    plot_electronic_structure,
    plot_lattice,
    plot_level_shifts,
    plot_pdos_stack,
    plot_shifts,
    result_title,
)
from corecrown.postprocess.plots.excitation import ExcitedCell, plot_density_changes
from corecrown.postprocess.plots.isosurfaces import CELLS_ABREAST, plot_excitation_surfaces
from corecrown.postprocess.report_ensembles import ensemble_tables
from corecrown.postprocess.report_excitation import (
    CHANGES_CAPTION,
    SHARES_CAPTION,
    excitation_statements,
    excitation_table,
    excited_cell,
    partition_table,
    relaxed_table,
    shares_figure,
    surfaces_caption,
)
from corecrown.postprocess.report_figures import UNWRITABLE, ReportFigure, draw_figures
from corecrown.postprocess.report_geometry import RELAXED, geometries_of, geometry_sentence
from corecrown.postprocess.report_masses import mass_figures, trend_tables, untabled_notes
from corecrown.postprocess.report_page import facts_of, render_page, script_json
from corecrown.postprocess.report_paper import paper_table, programs_text
from corecrown.postprocess.report_sts import (
    alignment_part,
    scales_of,
    sts_figures,
    sts_remarks,
    sts_tables,
)
from corecrown.postprocess.report_tables import (
    character_table,
    comparison_table,
    distortion_table,
    lattice_table,
    ledger_table,
    levels_table,
    provenance_tables,
    split_table,
)
from corecrown.postprocess.report_text import (
    Table,
    common_level,
    reference_cell,
    same_crystals,
    without_empty_columns,
)
from corecrown.postprocess.results import CellResult, Comparison, StudyResult
from corecrown.postprocess.scene import MOST_ATOMS, build_scene
from corecrown.postprocess.sts.storage import read_analysis
from corecrown.postprocess.study import Study

__all__ = ["REPORT_FILE", "ReportFiles", "make_report", "write_report"]

REPORT_FILE = "report.html"


@dataclass(frozen=True)
class ReportFiles:
    """What was written, and what could not be shown."""

    report: Path
    figures: list[Path]
    troubles: list[str]


@dataclass
class _Section:
    name: str
    title: str
    tables: list[Table] = field(default_factory=list)
    figures: list[ReportFigure] = field(default_factory=list)
    scenes: list[dict[str, Any]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    listed: list[str] = field(default_factory=list)

    def holds_something(self) -> bool:
        return bool(self.tables or self.figures or self.scenes or self.remarks or self.text or self.listed)


def write_report(study: Study) -> Path:
    """Write ``report.html`` and ``figures/`` into the folder of a study.

    A failed cell, a null or a file that is gone leaves a gap in the report and a line that says so.

    Returns
    -------
    Path
        The report.
    """
    return make_report(study).report


def make_report(study: Study) -> ReportFiles:
    """Write the report of a study as :func:`write_report` does, and return all that was written."""
    writer = _Writer(study)
    sections = writer.sections()
    figures = [figure for section in sections for figure in section.figures]
    written, undrawn = draw_figures(figures, study.folder)
    troubles = [*writer.troubles, *undrawn]
    for section in sections:
        section.figures = [figure for figure in section.figures if figure.svg]
        section.tables = [without_empty_columns(table) for table in section.tables]
    sections = [section for section in sections if section.holds_something()]
    page = render_page(study.result, sections, troubles)
    path = study.folder / REPORT_FILE
    write_whole(path, page, InputError, UNWRITABLE)
    return ReportFiles(path, written, troubles)


class _Writer:
    """Collects the sections of one report; its figures are told and not drawn yet."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.cells = study.result.cells
        self.geometries = geometries_of(study)
        self.troubles = [
            f"{cell.label}: {step} failed: {reason}" for cell in self.cells for step, reason in cell.failed.items()
        ]

    def sections(self) -> list[_Section]:
        if not self.cells:
            self.troubles.append("the study has no cells")
            return []
        electronic = self._electronic_figures()
        comparison = self._comparison()
        return [
            comparison,
            self._sts(),
            _Section("paper", "Beside the source study", _present([paper_table(self.study)])),
            _Section("levels", "Levels of theory", _present([levels_table(self.cells)]), self._level_figures()),
            _Section("lattice", "Lattice", [lattice_table(self.cells, self.geometries)], self._lattice_figures()),
            _Section(
                "electronic-structure", "Electronic structure", _present([character_table(self.cells)]), electronic
            ),
            _Section("distortion", "Octahedra", _present([distortion_table(self.cells)])),
            _Section(
                "masses",
                "Effective masses",
                trend_tables(self.cells),
                mass_figures(self.cells, self.study.result.same_structures),
                listed=untabled_notes(self.cells),
            ),
            _Section(
                "excitation",
                "Excitations",
                _present([excitation_table(self.cells), relaxed_table(self.cells), partition_table(self.cells)]),
                self._excitation_figures(),
                text=excitation_statements(self.cells),
            ),
            _Section("ensembles", "Ensembles", ensemble_tables(self.study.result.ensembles)),
            _Section("structures", "Structures", scenes=self._scenes(), text=[_SCENE_TEXT]),
            _Section(
                "provenance",
                "Settings and provenance",
                provenance_tables(self.study.result),
                text=[facts_of(self.study.result), programs_text(self.study)],
                listed=_cell_notes(self.study.result),
            ),
        ]

    def _comparison(self) -> _Section:
        comparison = _in_order(self.study.result)
        if comparison is None:
            return _Section(
                "comparison",
                "Comparison with STS",
                text=["This study has not been set beside an experiment."],
                remarks=[pair.sentence() for pair in self.study.result.same_structures],
            )
        tables = _present([comparison_table(comparison), ledger_table(comparison), split_table(comparison)])
        figures = []
        if any(row.shift_ev for row in comparison.rows):
            same = self.study.result.same_structures
            known = any(row.shift_uncertainty_ev for row in comparison.rows)
            figures = [
                ReportFigure(
                    "gap-shifts",
                    f"Shift of the band gap from {reference_cell(comparison) or 'the reference cell'}: computed "
                    f"(circles) and measured by STS (squares).{_level_sentence(self.cells)}"
                    f" {'Bars are the uncertainties of the table.' if known else 'Uncertainties are not known.'}"
                    f"{same_crystals(same, [row.cell for row in comparison.rows])}",
                    lambda: plot_shifts(comparison, cells=self.cells),
                )
            ]
        scales = scales_of(self.study.result)
        if scales:
            table, figure = alignment_part(scales, comparison)
            tables.append(table)
            figures = [*figures, figure]
        return _Section("comparison", "Comparison with STS", tables, figures, remarks=list(comparison.flags))

    def _sts(self) -> _Section:
        section = _Section("sts", "Sweeps of the bias")
        try:
            stored = read_analysis(self.study.folder)
        except CorecrownError as error:
            self.troubles.append(error.message)
            return section
        if stored is not None:
            section.tables = sts_tables(stored)
            section.figures = sts_figures(stored, self.study)
            section.remarks = sts_remarks(stored.analysis.result)
        return section

    def _level_figures(self) -> list[ReportFigure]:
        reference = self.cells[0].label
        known = _levels_with_gap(self.cells[0])
        shared = {level for cell in self.cells[1:] for level in _levels_with_gap(cell) & known}
        if not shared or (len(shared) == 1 and self._has_shifts()):
            return []
        drawn = [cell.label for cell in self.cells if cell.levels]
        return [
            ReportFigure(
                "level-shifts",
                f"Shift of the band gap from {reference} at each level of theory; cutoffs and meshes as in the table."
                f"{same_crystals(self.study.result.same_structures, drawn)}",
                lambda: plot_level_shifts(self.cells, reference, comparison=self.study.result.comparison),
            )
        ]

    def _has_shifts(self) -> bool:
        """Tell whether shifts at one level are drawn beside the experiment."""
        comparison = self.study.result.comparison
        return comparison is not None and any(row.shift_ev for row in comparison.rows)

    def _lattice_figures(self) -> list[ReportFigure]:
        if len(self.cells) < 2:
            return []
        relaxed = set(self.geometries.values()) == {RELAXED}
        level = _level_sentence(self.cells) if relaxed else ""
        return [
            ReportFigure(
                "lattice",
                "Lattice constants as edges of the pseudo-cubic cell. A ring marks the axis along which the "
                "formamidinium was put; where it lies now is in the table of octahedra."
                f"{geometry_sentence(self.geometries)}{level}",
                lambda: plot_lattice(self.cells),
            )
        ]

    def _electronic_figures(self) -> list[ReportFigure]:
        panels = [
            CellPanel(
                result_title(cell),
                self._load(cell, "bands", self.study.bands),
                self._load(cell, "dos", self.study.dos),
                cell.edges,
            )
            for cell in self.cells
        ]
        panels = [panel for panel in panels if panel.bands is not None or panel.dos is not None]
        bands = any(panel.bands is not None for panel in panels)
        dos = any(panel.dos is not None for panel in panels)
        note = common_level(self.cells) or ""
        level = _level_sentence(self.cells)
        of_bands = (
            "Band structures of the cells, energies from the valence edge; large dots mark the edges, small ones the "
            "k-points that were computed."
        )
        of_dos = (
            "Projected densities of states, stacked by species and orbital; the line is the total, with what the "
            "projections miss."
        )
        if any(cell.fa_fraction for cell in self.cells):
            of_dos += " FA is C, N and H together."
        if bands and dos:
            return [
                ReportFigure(
                    "electronic-structure",
                    f"{of_bands} Below each: its projected density of states. {of_dos}{level}",
                    lambda: plot_electronic_structure(panels, note=note),
                    wide=True,
                )
            ]
        if bands:
            return [
                ReportFigure("bands", f"{of_bands}{level}", lambda: plot_band_structures(panels, note=note), wide=True)
            ]
        if dos:
            return [ReportFigure("pdos", f"{of_dos}{level}", lambda: plot_pdos_stack(panels, note=note))]
        return []

    def _excitation_figures(self) -> list[ReportFigure]:
        if not any(found.partitions for cell in self.cells for found in cell.excitation):
            return []
        pictures = [ReportFigure("excitation-shares", SHARES_CAPTION, lambda: shares_figure(self.cells), wide=True)]
        excited = self._excited_cells()
        for first in range(0, len(excited), CELLS_ABREAST):
            cells = excited[first : first + CELLS_ABREAST]
            ending = f"-from-{first + 1}" if first else ""
            surfaces = partial(plot_excitation_surfaces, cells)
            pictures.append(ReportFigure(f"excitation-surfaces{ending}", surfaces_caption(cells), surfaces, wide=True))
            if any(cell.difference is not None for cell in cells):
                changes = partial(plot_density_changes, cells)
                pictures.append(ReportFigure(f"density-change{ending}", CHANGES_CAPTION, changes, wide=True))
        return pictures

    def _excited_cells(self) -> list[ExcitedCell]:
        found = []
        for cell in self.cells:
            try:
                found.append(excited_cell(cell, self.study.folder))
            except CorecrownError as error:
                self.troubles.append(error.message)
        return [cell for cell in found if cell is not None]

    def _load(self, cell: CellResult, name: str, read: Callable[[str], Any]) -> Any:
        if name not in cell.files:
            return None
        try:
            return read(cell.label)
        except CorecrownError as error:
            self.troubles.append(error.message)
            return None

    def _scenes(self) -> list[dict[str, Any]]:
        scenes = []
        for cell in self.cells:
            try:
                structure = self.study.structure(cell.label)
            except CorecrownError as error:
                self.troubles.append(error.message)
                continue
            if len(structure) > MOST_ATOMS:
                self.troubles.append(f"{cell.label}: {len(structure)} atoms are too many to draw")
                continue
            scene = build_scene(structure)
            names = {"label": cell.label, "title": result_title(cell)}
            scenes.append({**names, "elements": scene["elements"], "json": script_json(scene)})
        return scenes


_SCENE_TEXT = (
    "Drag or use the arrow keys to turn a structure; zoom with + and −, or with the wheel while Ctrl is held or after "
    "a click into it; a double click resets."
)


def _cell_notes(result: StudyResult) -> list[str]:
    return [*result.notes, *(f"{cell.label}: {note}" for cell in result.cells for note in cell.notes)]


def _in_order(result: StudyResult) -> Comparison | None:
    """Return the comparison with its rows in the order of the cells."""
    if result.comparison is None:
        return None
    places = {cell.label: place for place, cell in enumerate(result.cells)}
    rows = sorted(result.comparison.rows, key=lambda row: places.get(row.cell, len(places)))
    return result.comparison.model_copy(update={"rows": rows})


def _levels_with_gap(cell: CellResult) -> set[tuple[str, bool]]:
    return {(level.functional, level.spin_orbit) for level in cell.levels if level.gap_ev is not None}


def _level_sentence(cells: Sequence[CellResult]) -> str:
    level = common_level(cells)
    return f" {level}." if level else " Levels of theory differ between cells; see the tables."


def _present(tables: Sequence[Table | None]) -> list[Table]:
    return [table for table in tables if table is not None]
