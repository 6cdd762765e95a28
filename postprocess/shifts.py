"""Shifts of a gap between cells: what they are worth, and which part of them comes from what."""

import itertools
from collections.abc import Sequence
from typing import get_args

from corecrown.postprocess.results import CellResult, EdgeSource, Level, RunSettings, ShiftSplit, StudyResult
from corecrown.resources import input_folder, input_names, read_yaml

__all__ = [
    "gap_of",
    "known_gap_uncertainty",
    "level_differs",
    "level_text",
    "shift_uncertainty",
    "split_shifts",
    "why_no_gap",
]


def shift_uncertainty(
    cell: CellResult, reference: CellResult, gap_uncertainty_ev: float | None = None
) -> tuple[float | None, list[str]]:
    """Estimate how far the shift of a gap may be off, and say what from.

    Added in quadrature, each where it can be had: the difference between the shift from the bands and the
    shift from the mesh (one functional); half the range of the shift over levels of theory; √2 times
    ``gap_uncertainty_ev``.

    Returns
    -------
    uncertainty, notes
        eV (``None`` where nothing is known), and the origin of each part.
    """
    parts: list[float] = []
    notes: list[str] = []
    by_source = _shifts_by_source(cell, reference)
    if by_source:
        name, worst = max(by_source.items(), key=lambda item: item[1])
        parts.append(worst)
        notes.append(f"shift uncertainty: bands against mesh at {name}, {worst:.3f} eV")
    by_level = _shifts_by_level(cell, reference)
    if len(by_level) > 1:
        half = (max(by_level.values()) - min(by_level.values())) / 2
        parts.append(half)
        shown = ", ".join(f"{name} {value:+.3f}" for name, value in by_level.items())
        notes.append(f"shift uncertainty: half the range over levels of theory, {half:.3f} eV (shifts: {shown} eV)")
    if gap_uncertainty_ev is not None:
        parts.append(2**0.5 * gap_uncertainty_ev)
        notes.append(
            f"shift uncertainty: the protocol leaves ±{gap_uncertainty_ev:g} eV on a gap (mesh, cutoff, "
            "relaxation), "
            f"√2 of it on a shift"
        )
    if not parts:
        return None, ["no shift uncertainty: one gap source, one level of theory, and no tolerance of the protocol"]
    if gap_uncertainty_ev is None:
        notes.append("shift uncertainty: cutoff and relaxation are not in it")
    return sum(part**2 for part in parts) ** 0.5, notes


def split_shifts(
    cells: Sequence[CellResult], reference_label: str | None, gap_uncertainty_ev: float | None = None
) -> list[ShiftSplit]:
    """Split the shift of each cell that has a ``-framework`` twin: strain, distortion, A-site chemistry.

    strain = gap(reference strained to the cell's lattice) - gap(reference); distortion = gap(the cell's
    framework with the reference's A-site ion) - gap(strained); A site = gap(cell) - gap(framework). The parts
    depend on this order; their sum does not.
    """
    by_label = {cell.label: cell for cell in cells}
    reference = by_label.get(reference_label or "")
    splits = []
    for cell in cells:
        framework = by_label.get(f"{cell.label}-framework")
        if framework is None or reference is None or cell.label == reference.label:
            continue
        strained = _strained_to(cell, reference, cells)
        gaps = [gap_of(c) if c is not None else None for c in (reference, strained, framework, cell)]
        steps = [b - a if a is not None and b is not None else None for a, b in itertools.pairwise(gaps)]
        uncertainty, notes = shift_uncertainty(cell, reference, gap_uncertainty_ev)
        if strained is None:
            notes.append(f"no cell {reference.label}-strained in the lattice of {cell.label}: strain not told apart")
        notes += [
            f"{c.label}: {why_no_gap(c)}"
            for c in (reference, strained, framework, cell)
            if c is not None and gap_of(c) is None
        ]
        notes += [
            f"{c.label} is not at the level of {reference.label}: {reason}"
            for c in (strained, framework, cell)
            if c is not None and (reason := level_differs(c, reference))
        ]
        splits.append(
            ShiftSplit(
                cell=cell.label,
                reference=reference.label,
                strain_ev=steps[0],
                distortion_ev=steps[1],
                a_site_ev=steps[2],
                total_ev=gaps[3] - gaps[0] if gaps[0] is not None and gaps[3] is not None else None,
                uncertainty_ev=uncertainty,
                level=level_text(cell),
                notes=notes,
            )
        )
    return splits


def known_gap_uncertainty(study: StudyResult) -> float | None:
    """Return what is known of how far the gaps of a study are from converged ones, eV.

    That is what the study was compared with before, or what the protocol that ships under its name says; ``None`` for
    a protocol that does not ship.
    """
    if study.comparison is not None and study.comparison.gap_uncertainty_ev is not None:
        return study.comparison.gap_uncertainty_ev
    if study.protocol not in input_names("protocols"):
        return None
    said = read_yaml(input_folder("protocols", f"{study.protocol}.yaml")).get("gap_uncertainty_ev")
    return None if said is None else float(said)


def gap_of(cell: CellResult) -> float | None:
    """Return the gap of a cell, eV, or ``None`` where it has none."""
    return cell.edges.gap_ev if cell.edges is not None else None


def why_no_gap(cell: CellResult) -> str:
    """Say why a cell has no gap."""
    if cell.failed:
        step, reason = next(iter(cell.failed.items()))
        return f"no gap: {step} failed: {reason}"
    known = [f"{_level_key(level)} {level.gap_ev:.3f} eV" for level in cell.levels if level.gap_ev is not None]
    if cell.edges is None and known:
        return f"no gap from bands or the mesh of an scf, which shifts are taken from; known: {', '.join(known)}"
    if cell.edges is None:
        return "no gap: no step that gives band edges has finished"
    return f"no gap: {'; '.join(cell.edges.notes) or 'the cell is a metal or has no empty bands'}"


def level_text(cell: CellResult) -> str | None:
    """Return one phrase for how a gap was computed: functional, spin-orbit, cutoff, mesh, source."""
    settings = cell.settings
    if settings is None or cell.edges is None:
        return None
    cutoff = (
        f"{settings.cutoff_wfc_ry:g} Ry"
        if settings.cutoff_wfc_ry is not None
        else f"{settings.encut_ev:g} eV"
        if settings.encut_ev is not None
        else "cutoff not recorded"
    )
    mesh = "×".join(str(n) for n in settings.kpoint_mesh) + " mesh" if settings.kpoint_mesh else "mesh not recorded"
    spin = "spin-orbit" if settings.spin_orbit else "no spin-orbit"
    return f"{settings.functional}, {spin}, {cutoff}, {mesh}, gap from {cell.edges.source}"


def level_differs(cell: CellResult, reference: CellResult) -> str | None:
    """Say in what the settings of two cells differ that should not; functional first."""
    mine, theirs = cell.settings, reference.settings
    if mine is None or theirs is None:
        return "settings not recorded"
    if (mine.functional, mine.spin_orbit) != (theirs.functional, theirs.spin_orbit):
        return f"functional {mine.functional}/{theirs.functional}, spin-orbit {mine.spin_orbit}/{theirs.spin_orbit}"
    for name in ("cutoff_wfc_ry", "encut_ev"):
        if getattr(mine, name) != getattr(theirs, name):
            return f"{name} {getattr(mine, name)}/{getattr(theirs, name)}"
    if mine.kpoint_mesh != theirs.kpoint_mesh:
        return f"mesh {mine.kpoint_mesh}/{theirs.kpoint_mesh}"
    return None


def _level_key(level: Level | RunSettings) -> str:
    return f"{level.functional}{'+SOC' if level.spin_orbit else ''}"


def _shifts_by_source(cell: CellResult, reference: CellResult) -> dict[str, float]:
    """Return |shift from bands - shift from mesh| for each level of theory that has both, in both cells."""
    mine, theirs = _gaps_by_level_and_source(cell), _gaps_by_level_and_source(reference)
    return {
        key: abs((mine[key, "bands"] - theirs[key, "bands"]) - (mine[key, "mesh"] - theirs[key, "mesh"]))
        for key in dict.fromkeys(name for name, _ in mine)
        if all((key, source) in gaps for gaps in (mine, theirs) for source in ("bands", "mesh"))
    }


def _shifts_by_level(cell: CellResult, reference: CellResult) -> dict[str, float]:
    """Return the shift at each level of theory that both cells have, from the same source in both."""
    mine, theirs = _gaps_by_level_and_source(cell), _gaps_by_level_and_source(reference)
    shifts: dict[str, float] = {}
    for source in get_args(EdgeSource):
        for key, place in mine:
            if place == source and (key, source) in theirs and key not in shifts:
                shifts[key] = mine[key, source] - theirs[key, source]
    return shifts


def _gaps_by_level_and_source(cell: CellResult) -> dict[tuple[str, str], float]:
    """Return the gap at each level of theory from each source that it has.

    ``levels`` keeps one row a level of theory, the tighter gap; both sources of the level of the cell's own bands are
    in ``edges_by_source``.
    """
    gaps: dict[tuple[str, str], float] = {}
    for level in cell.levels:
        if level.gap_ev is not None:
            key = (_level_key(level), level.source)
            gaps[key] = min(level.gap_ev, gaps.get(key, level.gap_ev))
    if cell.settings is not None:
        for source, edges in cell.edges_by_source.items():
            if edges.gap_ev is not None:
                gaps[_level_key(cell.settings), source] = edges.gap_ev
    return gaps


def _strained_to(cell: CellResult, reference: CellResult, cells: Sequence[CellResult]) -> CellResult | None:
    """Return the reference strained to the lattice of a cell: labelled so, same lattice constants."""

    def lattice(one: CellResult) -> tuple[float, float, float]:
        return one.lattice_a_angstrom, one.lattice_b_angstrom, one.lattice_c_angstrom

    for one in cells:
        named = one.label.startswith(f"{reference.label}-strained")
        if named and all(abs(a - b) < 0.005 for a, b in zip(lattice(one), lattice(cell), strict=True)):
            return one
    return None
