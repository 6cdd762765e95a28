"""Claims of the source study that are gaps and shifts of gaps, and the question which functional gives them."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from corecrown.postprocess.cells import describe_level
from corecrown.postprocess.paper import REFERENCE, Basis, Claim, LevelGap, Verdict, judge
from corecrown.postprocess.paper_claims import joined
from corecrown.postprocess.results import CellResult, Level
from corecrown.postprocess.shifts import level_text

__all__ = ["GAPS", "functional_claim", "level_gaps"]

PART = "fa025-b"
WHOLE = ("fa100-a", "fa100-b")
FUNCTIONALS = ("PBE", "PBEsol", "HSE06")
TEXT, TENTH = "main text", 0.005
"""TENTH: half of the last digit of a number that is given as 0.04 eV."""

LATTICE_ANGSTROM = 0.02
"""Cells whose lattice constants differ by less are of one lattice: it moves their gaps by some 0.01 eV."""

GAMMA_ONLY_EV = 0.16
"""What Γ alone leaves on a gap: with PBE, from Γ to 2×2×2, gaps rise by 0.09 (fa000) to 0.16 eV (fa100-b)."""

GAMMA_ONLY = f"Γ only: not a converged mesh, ±{GAMMA_ONLY_EV} eV"

EXCHANGE_MESH_EV = 0.16
"""What exact exchange leaves on a gap, times the number of q-points: three quarters of it are the 0.12 eV by which the
gap of fa000 falls from 1 to 2×2×1 of them, on 2×2×1 k-points (docs/convergence.md)."""

WITHIN = "agrees where the difference is no more than our uncertainty"
EFFECT = f"{WITHIN}; undecided where that is as large as their effect, unless ours is larger and differs"
NOT_STATED = (
    "the main text does not state functional and spin-orbit coupling, which move a gap by up to an electronvolt"
)


def _level(basis: Basis, label: str) -> str | None:
    cell = basis.cell(label)
    return None if cell is None else level_text(cell)


def _gap_claim(label: str, title: str) -> Callable[[Basis], Claim]:
    def ask(basis: Basis) -> Claim:
        stated = basis.theirs("gaps_ev", label).value or 0.0
        gap = basis.gap(label)
        verdict, why = Verdict.NOT_COMPUTED, "; ".join(basis.missing(label))
        if gap is not None:
            verdict, why = judge(gap, basis.gap_uncertainty_ev, stated, 0.0005)
            why = f"{why}; {NOT_STATED}"
        return Claim(
            name=f"gap-{label}",
            title=title,
            where=f"{TEXT}, band structure",
            theirs=f"{stated:.3f}",
            their_value=stated,
            ours=_with_uncertainty(gap, basis.gap_uncertainty_ev),
            value=gap,
            uncertainty=basis.gap_uncertainty_ev if gap is not None else None,
            verdict=verdict,
            why=why,
            criterion=WITHIN,
            study=basis.name,
            level=_level(basis, label),
        )

    return ask


def shift_claim(basis: Basis) -> Claim:
    """Ask for the widening of the gap on 25 % FA."""
    stated = basis.theirs("shifts_ev", PART).value or 0.0
    shift, uncertainty, notes = basis.shift(PART)
    verdict, why = Verdict.NOT_COMPUTED, "; ".join(notes)
    if shift is not None:
        verdict, why = judge(shift, uncertainty, stated, 0.0005, effect=True)
    return Claim(
        name="shift-25",
        title="Widening of the gap on 25 % FA / eV",
        where=f"{TEXT}, derived: 2.595 less 2.554",
        theirs=f"{stated:+.3f}",
        their_value=stated,
        ours=_with_uncertainty(shift, uncertainty, signed=True),
        value=shift,
        uncertainty=uncertainty,
        verdict=verdict,
        why=why,
        criterion=EFFECT,
        study=basis.name,
        level=_level(basis, PART),
        notes=notes,
    )


def range_claim(basis: Basis) -> Claim:
    """Ask whether every substituted cell widens the gap by 0.04 to 0.13 eV."""
    stated = basis.theirs("other", "widening_over_cells_ev")
    low, high = stated.low or 0.0, stated.high or 0.0
    found = {cell.label: basis.shift(cell.label) for cell in basis.substituted()}
    shifts = {label: (value, error) for label, (value, error, _) in found.items() if value is not None}
    verdicts = [_inside(value, error, low - TENTH, high + TENTH) for value, error in shifts.values()]
    missing = [label for label in (PART, *WHOLE) if label not in shifts]
    verdict = joined(verdicts)
    if verdict is Verdict.AGREES and missing:
        verdict = Verdict.UNDECIDED
    why = "; ".join([*_range_words(verdicts), *([f"not computed: {', '.join(missing)}"] if missing else [])])
    return Claim(
        name="widening-range",
        title="Widening of the gap over the substituted cells / eV",
        where=TEXT,
        theirs=f"{low:+.2f} to {high:+.2f}",
        ours="; ".join(f"{label} {_with_uncertainty(*pair, signed=True)}" for label, pair in shifts.items()) or "–",
        verdict=verdict,
        why=why,
        criterion="agrees where every shift lies inside and is known better than 0.04 eV; disagrees where one lies "
        "outside by more than its uncertainty",
        study=basis.name,
        level=_level(basis, REFERENCE),
    )


def _inside(value: float, uncertainty: float | None, low: float, high: float) -> Verdict:
    if uncertainty is None:
        return Verdict.UNDECIDED
    if value < low - uncertainty or value > high + uncertainty:
        return Verdict.DISAGREES
    return Verdict.AGREES if low <= value <= high and uncertainty < 0.04 else Verdict.UNDECIDED


def _range_words(verdicts: Sequence[Verdict]) -> list[str]:
    words = {Verdict.AGREES: "inside", Verdict.DISAGREES: "outside", Verdict.UNDECIDED: "not known well enough to say"}
    return [
        f"{verdicts.count(verdict)} of {len(verdicts)} {word}" for verdict, word in words.items() if verdict in verdicts
    ]


def alignment_claim(basis: Basis) -> Claim:
    """Ask for the difference between the gaps of the a- and the b-aligned cell at 100 % FA."""
    stated = basis.theirs("other", "gap_difference_a_b_aligned_ev").value or 0.0
    shift, uncertainty, notes = basis.shift(*WHOLE)
    size = None if shift is None else abs(shift)
    verdict, why = Verdict.NOT_COMPUTED, "; ".join(notes)
    if size is not None:
        verdict, why = judge(size, uncertainty, stated, TENTH, effect=True)
        wider = WHOLE[0] if shift is not None and shift > 0 else WHOLE[1]
        why = f"{why}; the wider gap is that of {wider}"
    return Claim(
        name="alignment",
        title="Difference of the gaps of a- and b-aligned FA at 100 % / eV",
        where=f"{TEXT}, about",
        theirs=f"{stated:.2f}",
        their_value=stated,
        ours=_with_uncertainty(size, uncertainty),
        value=size,
        uncertainty=uncertainty,
        verdict=verdict,
        why=why,
        criterion=EFFECT,
        study=basis.name,
        level=_level(basis, WHOLE[0]),
        notes=notes,
    )


GAPS: tuple[Callable[[Basis], Claim], ...] = (
    _gap_claim(REFERENCE, "Gap without FA / eV"),
    _gap_claim(PART, "Gap with 25 % FA / eV"),
    shift_claim,
    range_claim,
    alignment_claim,
)


def level_gaps(bases: Sequence[Basis]) -> list[LevelGap]:
    """Return the gap of the reference cell at each level of theory that any study has, and where none has one.

    Functionals PBE, PBEsol and HSE06, each without and with spin-orbit coupling, then whatever else was computed.
    """
    known = [
        _level_gap(basis, cell, level) for basis in bases if (cell := basis.cell(REFERENCE)) for level in cell.levels
    ]
    unique = list({(row.functional, row.spin_orbit, row.level): row for row in reversed(known)}.values())
    usual = known[0].lattice_angstrom if known else None
    here = [row for row in unique if _same_lattice(row.lattice_angstrom, usual)]
    meshes = [row for row in here if GAMMA_ONLY not in row.notes]
    rows = [_with_spread(row, meshes) if row in here else _elsewhere(row) for row in unique]
    wanted = [(functional, coupled) for functional in FUNCTIONALS for coupled in (False, True)]
    rows += [
        LevelGap(functional=functional, spin_orbit=coupled, gap_ev=None, notes=["not computed"])
        for functional, coupled in wanted
        if not any((row.functional, row.spin_orbit) == (functional, coupled) for row in rows)
    ]
    order = {pair: index for index, pair in enumerate(wanted)}
    return sorted(rows, key=lambda row: (order.get((row.functional, row.spin_orbit), len(order)), row.level or ""))


def _level_gap(basis: Basis, cell: CellResult, level: Level) -> LevelGap:
    stated = basis.theirs("gaps_ev", REFERENCE).value or 0.0
    other = basis.cell(PART)
    twin = next((one for one in (other.levels if other else ()) if _same_level(one, level)), None)
    both = level.gap_ev is not None and twin is not None and twin.gap_ev is not None
    gamma_only = level.kpoint_mesh == (1, 1, 1)
    exchange = EXCHANGE_MESH_EV / math.prod(level.q_mesh) if level.q_mesh else 0.0
    notes = [GAMMA_ONLY] if gamma_only else []
    notes += [f"the q mesh of exact exchange leaves ±{exchange:.2f} eV"] if exchange else []
    uncertainty = basis.gap_uncertainty_ev
    if uncertainty is not None:
        uncertainty = math.hypot(max(uncertainty, GAMMA_ONLY_EV) if gamma_only else uncertainty, exchange)
    return LevelGap(
        functional=level.functional,
        spin_orbit=level.spin_orbit,
        gap_ev=level.gap_ev,
        difference_ev=None if level.gap_ev is None else level.gap_ev - stated,
        uncertainty_ev=uncertainty,
        shift_ev=twin.gap_ev - level.gap_ev if both and twin and twin.gap_ev and level.gap_ev else None,
        level=f"{describe_level(level)}, {level.source}",
        kpoint_mesh=level.kpoint_mesh,
        study=basis.name,
        lattice_angstrom=_lattice(cell),
        notes=[*notes, *level.notes],
    )


def _same_lattice(one: tuple[float, ...] | None, other: tuple[float, ...] | None) -> bool:
    return one is None or other is None or np.allclose(one, other, atol=LATTICE_ANGSTROM)


def _elsewhere(row: LevelGap) -> LevelGap:
    """Return the row of a lattice that is not the others', whose gap says nothing of meshes."""
    lengths = ", ".join(f"{length:.3f}" for length in row.lattice_angstrom or ())
    return row.model_copy(update={"notes": [*row.notes, f"another lattice: {lengths} Å"]})


def _with_spread(row: LevelGap, rows: Sequence[LevelGap]) -> LevelGap:
    """Return the row with at least the spread over meshes and cutoffs of its level as its uncertainty."""
    gaps = [
        one.gap_ev
        for one in rows
        if (one.functional, one.spin_orbit) == (row.functional, row.spin_orbit) and one.gap_ev is not None
    ]
    if len(gaps) > 1 and row.gap_ev is not None:
        spread = max(gaps) - min(gaps)
        note = f"{len(gaps)} meshes or cutoffs of this level spread over {spread:.3f} eV"
        larger = max(row.uncertainty_ev or 0.0, spread)
        return row.model_copy(update={"uncertainty_ev": larger, "notes": [*row.notes, note]})
    return row


def _same_level(one: Level, other: Level) -> bool:
    return all(
        getattr(one, name) == getattr(other, name)
        for name in ("functional", "spin_orbit", "kpoint_mesh", "q_mesh", "cutoff_wfc_ry", "source")
    )


def functional_claim(basis: Basis, levels: Sequence[LevelGap]) -> Claim:
    """Ask which functional gives the stated gap."""
    stated = basis.theirs("gaps_ev", REFERENCE).value or 0.0
    known = _best_known(levels, basis.cell(REFERENCE))
    missing = [_name(row) for row in levels if row.gap_ev is None]
    nearest = min(known, key=lambda row: abs(row.difference_ev or 0.0), default=None)
    found = None if nearest is None else _with_uncertainty(nearest.gap_ev, nearest.uncertainty_ev)
    verdict, why = Verdict.NOT_COMPUTED, "no level of theory was computed for the cell without FA"
    if nearest is not None and nearest.difference_ev is not None:
        candidates = [row for row in known if _may_be(row)]
        names = ", ".join(_name(row) for row in candidates)
        why = f"within uncertainty of {stated:.3f} eV: {names or 'none of those computed'}"
        verdict = Verdict.AGREES if len(candidates) == 1 else Verdict.UNDECIDED
        if not candidates:
            verdict = Verdict.DISAGREES
        if missing:
            verdict, why = Verdict.UNDECIDED, f"{why}; not computed: {', '.join(missing)}"
    return Claim(
        name="functional",
        title="Which functional gives 2.554 eV?",
        where="not stated in the main text",
        theirs="not stated",
        their_value=stated,
        ours="–" if nearest is None else f"nearest {_name(nearest)}, {found} eV",
        value=None if nearest is None else nearest.gap_ev,
        uncertainty=None if nearest is None else nearest.uncertainty_ev,
        verdict=verdict,
        why=why,
        criterion="agrees where all six levels are computed and exactly one gives the gap within its uncertainty; "
        "disagrees where none does; of several meshes of a level the one known best counts",
        study=None if nearest is None else nearest.study,
        level=None if nearest is None else nearest.level,
    )


def _best_known(levels: Sequence[LevelGap], cell: CellResult | None) -> list[LevelGap]:
    """Return a row for each functional, with and without coupling, that has a gap: of this cell, and known best."""

    def worth(row: LevelGap) -> tuple[bool, float, int]:
        elsewhere = cell is not None and not _same_lattice(row.lattice_angstrom, _lattice(cell))
        uncertainty = float("inf") if row.uncertainty_ev is None else row.uncertainty_ev
        return elsewhere, uncertainty, -math.prod(row.kpoint_mesh or (0,))

    best: dict[str, LevelGap] = {}
    for row in levels:
        if row.gap_ev is not None:
            best[_name(row)] = min(best.get(_name(row), row), row, key=worth)
    return list(best.values())


def _lattice(cell: CellResult) -> tuple[float, float, float]:
    return cell.lattice_a_angstrom, cell.lattice_b_angstrom, cell.lattice_c_angstrom


def _may_be(row: LevelGap) -> bool:
    return abs(row.difference_ev or 0.0) <= (row.uncertainty_ev or 0.0)


def _name(row: LevelGap) -> str:
    return f"{row.functional} {'with' if row.spin_orbit else 'without'} spin-orbit coupling"


def _with_uncertainty(value: float | None, uncertainty: float | None, *, signed: bool = False) -> str:
    if value is None:
        return "–"
    text = f"{value:+.3f}" if signed else f"{value:.3f}"
    return f"{text} ± {uncertainty:.3f}" if uncertainty is not None else f"{text} (uncertainty not known)"
