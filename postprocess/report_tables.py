"""The tables of a report: results as text, nothing computed that isn't a difference or a mean."""

import re
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from corecrown.postprocess.cells import describe_level
from corecrown.postprocess.report_text import (
    NOTHING,
    Table,
    bare_level,
    common_level,
    gap_source,
    merged_notes,
    notes_of,
    number_text,
    range_text,
    reference_cell,
    shares_text,
    shift_text,
)
from corecrown.postprocess.results import (
    CellResult,
    Comparison,
    ComparisonRow,
    RunSettings,
    Step,
    StudyResult,
)

__all__ = [
    "character_table",
    "comparison_table",
    "distortion_table",
    "lattice_table",
    "ledger_table",
    "levels_table",
    "provenance_tables",
    "split_table",
]

_OF_SOURCES = re.compile(r"gap from \w+, that of \S+ from \w+")


def comparison_table(comparison: Comparison) -> Table:
    """Return gaps and shifts beside what was measured; a level that all rows share stands in the caption."""
    levels = {bare_level(row.level) for row in comparison.rows if row.level is not None}
    shared = levels.pop() if len(levels) == 1 else None
    reference = reference_cell(comparison)
    rows = [
        (*_compared(row, is_reference=row.cell == reference), *_level_and_source(row, shared=shared is not None))
        for row in comparison.rows
    ]
    said = [(row.cell, note) for row in comparison.rows for note in row.notes if not _says_nothing(note)]
    against = f" beside {comparison.experiment}" if comparison.experiment else ""
    return Table(
        f"Gaps and their shifts from the reference cell{against}. Energies in eV; difference is the computed shift "
        f"less the measured one.{f' {shared}.' if shared else ''}",
        (
            "Cell", "Place", "Gap", "Shift", "STS gap", "STS shift", "Difference", "Level of theory", "Gap from",
        ),
        rows,
        [*merged_notes(said), *notes_of("comparison", comparison)],
        frozenset({1, 7, 8}),
    )  # fmt: skip


def _compared(row: ComparisonRow, *, is_reference: bool) -> tuple[str, ...]:
    return (
        row.cell,
        row.place or NOTHING,
        number_text(row.gap_ev),
        "reference" if is_reference else shift_text(row.shift_ev, row.shift_uncertainty_ev),
        number_text(row.sts_gap_ev, 2),
        _measured(row, is_reference=is_reference),
        NOTHING if is_reference else number_text(row.difference_ev, signed=True),
    )


def _level_and_source(row: ComparisonRow, *, shared: bool) -> tuple[str, str]:
    level = None if shared else bare_level(row.level)
    return level or NOTHING, gap_source(row.level) or NOTHING


def _measured(row: ComparisonRow, *, is_reference: bool) -> str:
    value, uncertainty = row.sts_shift_ev, row.sts_shift_uncertainty_ev
    if value is None:
        return NOTHING
    if is_reference or value == uncertainty == 0:
        return "reference"
    text = number_text(value, 2, signed=True)
    return text if uncertainty is None else f"{text} ± {number_text(uncertainty, 2)}"


def _says_nothing(note: str) -> bool:
    """Tell whether a note names a part of an uncertainty that is none, or repeats what a column says."""
    return note == "the reference" or note.endswith(", 0.000 eV") or _OF_SOURCES.fullmatch(note) is not None


def ledger_table(comparison: Comparison) -> Table | None:
    """Return what lies between the bulk gap and the measured one, term by term."""
    if not comparison.ledger:
        return None
    rows = [
        (
            row.term,
            (row.sign or NOTHING).replace("-", "−"),
            number_text(row.value_ev, 2, signed=True),
            range_text(row.low_ev, row.high_ev),
            row.source,
        )
        for row in comparison.ledger
    ]
    notes = merged_notes([(row.term, note) for row in comparison.ledger for note in row.notes])
    return Table(
        "Ledger: from the gap of the bulk to that of the platelet on gold, in eV. Values carry their sign; a dash is "
        "not known.",
        ("Term", "Sign", "Value", "Range", "Source"),
        rows,
        notes,
        frozenset({4}),
    )


def split_table(comparison: Comparison) -> Table | None:
    """Return shifts in three parts, where counterfactual cells were computed."""
    if not comparison.splits:
        return None
    rows = [
        (
            split.cell,
            number_text(split.strain_ev, signed=True),
            number_text(split.distortion_ev, signed=True),
            number_text(split.a_site_ev, signed=True),
            shift_text(split.total_ev, split.uncertainty_ev),
            bare_level(split.level) or NOTHING,
        )
        for split in comparison.splits
    ]
    notes = merged_notes(
        [(split.cell, note) for split in comparison.splits for note in split.notes if not _says_nothing(note)]
    )
    return Table(
        "Shift of the gap in parts, from counterfactual cells, in eV: strain (the reference's positions in the cell's "
        "lattice), distortion of the Pb-Br framework, A-site chemistry. They add up to the total.",
        ("Cell", "Strain", "Distortion", "A site", "Total", "Level of theory"),
        rows,
        notes,
        frozenset({5}),
    )


def levels_table(cells: Sequence[CellResult]) -> Table | None:
    """Return the gap at every level of theory, and its shift from the first cell at the same level.

    A level is a column, wherever its gap was found; where cells differ in that, notes say so.
    """
    gaps: dict[str, dict[str, float | None]] = {}
    sources: dict[str, dict[str, list[str]]] = {}
    for cell in cells:
        for level in cell.levels:
            name = describe_level(level)
            gaps.setdefault(name, {})[cell.label] = level.gap_ev
            sources.setdefault(name, {}).setdefault(level.source, []).append(cell.label)
    if not gaps:
        return None
    first = cells[0].label
    rows = [
        (cell.label, *(_gap_and_shift(found.get(cell.label), found.get(first)) for found in gaps.values()))
        for cell in cells
    ]
    notes = [
        f"{name}, gap from {source}: {', '.join(labels)}"
        for name, found in sources.items()
        if len(found) > 1
        for source, labels in found.items()
    ]
    said = [(cell.label, note) for cell in cells for level in cell.levels for note in level.notes]
    return Table(
        f"Gap at every level of theory, in eV; in brackets its shift from {first} at the same level.",
        ("Cell", *(_level_header(name, list(found)) for name, found in sources.items())),
        rows,
        [*notes, *merged_notes(said)],
    )


def _level_header(name: str, sources: Sequence[str]) -> str:
    return f"{name}, gap from {sources[0]}" if len(sources) == 1 else name


def lattice_table(cells: Sequence[CellResult], geometries: Mapping[str, str]) -> Table:
    """Return lattice constants and how they differ from those of the first cell.

    Parameters
    ----------
    cells
        In the order of the study.
    geometries
        By label, what was relaxed.
    """
    first = cells[0]
    rows = []
    for cell in cells:
        lengths = [
            f"{number_text(mine)} ({number_text(100 * (mine / theirs - 1), 2, signed=True)} %)"
            if cell is not first and cell.setting == first.setting
            else number_text(mine)
            for mine, theirs in (
                (getattr(cell, f"lattice_{axis}_angstrom"), getattr(first, f"lattice_{axis}_angstrom"))
                for axis in "abc"
            )
        ]
        share = NOTHING if cell.fa_fraction is None else f"{100 * cell.fa_fraction:.3g} %"
        rows.append(
            (
                cell.label,
                cell.formula,
                share,
                cell.alignment or NOTHING,
                *lengths,
                number_text(cell.volume_angstrom3, 1),
                geometries.get(cell.label, NOTHING),
            )
        )
    return Table(
        f"Lattice constants in Å ({first.setting or 'setting as given'}, c along the thickness); in brackets the "
        f"change from {first.label}.",
        ("Cell", "Formula", "FA", "FA along", "a", "b", "c", "Volume (Å³)", "Geometry"),
        rows,
        wordy=frozenset({1, 3, 8}),
    )


def character_table(cells: Sequence[CellResult]) -> Table | None:
    """Return what the edge states are made of."""
    rows = []
    notes = []
    for cell in cells:
        if cell.pdos is None:
            continue
        character = cell.pdos.edge_character
        rows.append(
            (cell.label, shares_text(character.vbm), shares_text(character.cbm), number_text(cell.pdos.spilling))
        )
        notes += [(cell.label, note) for note in [*cell.pdos.notes, *character.notes]]
    if not rows:
        return None
    level = common_level(cells)
    return Table(
        f"Character of the edge states{f' ({level})' if level else ''}: projections on atomic orbitals at the edge's "
        "k-point. They sum to 1 less what the projection misses.",
        ("Cell", "Valence edge", "Conduction edge", "Spilling"),
        rows,
        merged_notes(notes),
        frozenset({1, 2}),
    )


def distortion_table(cells: Sequence[CellResult]) -> Table | None:
    """Return how far the octahedra are from cubic."""
    rows = []
    notes = []
    for cell in cells:
        found = cell.distortion
        if found is None:
            continue
        angles = found.pb_br_pb_deg
        tilts = found.tilts_deg or {}
        variance = found.bond_length_variance
        rows.append(
            (
                cell.label,
                f"{number_text(fmean(angles), 1)} ({number_text(min(angles), 1)} to {number_text(max(angles), 1)})"
                if angles
                else NOTHING,
                NOTHING if variance is None else number_text(variance * 1e5, 2),
                number_text(found.angle_variance_deg2, 2),
                *(number_text(tilts.get(axis), 1) for axis in ("a", "b", "c")),
                _fa_axes(found.fa_axis_deg),
            )
        )
        notes += [(cell.label, note) for note in found.notes]
    if not rows:
        return None
    return Table(
        "Distortion of the octahedra: Pb-Br-Pb angles (mean and range), bond length variance, angle variance, "
        "rotations, and the angles of the formamidinium axes to a, b and c.",
        ("Cell", "Pb-Br-Pb (°)", "Δd (10⁻⁵)", "σ² (deg²)", "Tilt a (°)", "Tilt b (°)", "Tilt c (°)", "FA axes (°)"),
        rows,
        merged_notes(notes),
    )


def provenance_tables(result: StudyResult) -> list[Table]:
    """Return settings, pseudopotentials and costs."""
    settings = [(cell.label, cell.settings) for cell in result.cells if cell.settings is not None]
    tables = []
    if settings:
        tables.append(
            Table(
                "Settings of the self-consistent runs.",
                ("Cell", "Functional", "Spin-orbit", "Cutoff", "Density cutoff", "k-mesh", "Shift"),
                [(label, *_settings_row(one)) for label, one in settings],
            )
        )
        known = {
            (element, pseudo.file, pseudo.sha256): None
            for _, one in settings
            for element, pseudo in sorted(one.pseudopotentials.items())
        }
        if known:
            tables.append(
                Table("Pseudopotentials.", ("Element", "File", "sha256"), sorted(known), wordy=frozenset({1, 2}))
            )
    timed = [step.value for step in Step if any(step.value in cell.timings for cell in result.cells)]
    if timed:
        rows = [(cell.label, *(_cost(cell, step) for step in timed)) for cell in result.cells]
        tables.append(
            Table(
                "Wall time of the programs; in brackets the number of attempts where it took more than one.",
                ("Cell", *timed),
                rows,
            )
        )
    return tables


def _settings_row(one: RunSettings) -> tuple[str, ...]:
    cutoff = NOTHING
    if one.cutoff_wfc_ry is not None:
        cutoff = f"{one.cutoff_wfc_ry:g} Ry"
    elif one.encut_ev is not None:
        cutoff = f"{one.encut_ev:g} eV"
    density = NOTHING if one.cutoff_rho_ry is None else f"{one.cutoff_rho_ry:g} Ry"
    mesh = NOTHING if one.kpoint_mesh is None else "×".join(str(n) for n in one.kpoint_mesh)
    shift = ", ".join(str(n) for n in one.kpoint_shift)
    return (one.functional, "yes" if one.spin_orbit else "no", cutoff, density, mesh, shift)


def _cost(cell: CellResult, step: str) -> str:
    if step in cell.failed:
        return "failed"
    timing = cell.timings.get(step)
    if timing is None:
        return NOTHING
    seconds = round(timing.wall_s)
    text = f"{seconds // 3600}:{seconds % 3600 // 60:02d}:{seconds % 60:02d}"
    return f"{text} ({timing.attempts})" if timing.attempts > 1 else text


def _gap_and_shift(gap: float | None, base: float | None) -> str:
    if gap is None or base is None or gap == base:
        return number_text(gap)
    return f"{number_text(gap)} ({number_text(gap - base, signed=True)})"


def _fa_axes(axes: Sequence[Mapping[Any, float]] | None) -> str:
    if not axes:
        return NOTHING
    return "; ".join("/".join(number_text(axis.get(name), 0) for name in ("a", "b", "c")) for axis in axes)
