"""Claims of the source study on structure: lattice, octahedra, and which part of it widens the gap."""

from collections.abc import Callable

from corecrown.postprocess.cells import MOST_TURN_DEG, turned_deg
from corecrown.postprocess.paper import REFERENCE, Basis, Claim, Verdict
from corecrown.postprocess.paper_claims import filled, joined, new_claim
from corecrown.postprocess.results import CellResult, ShiftSplit
from corecrown.postprocess.shifts import split_shifts

__all__ = ["STRUCTURE"]

ELONGATED = 0.001
"""Relative change of a lattice constant below which it counts as the same."""
NOT_RELAXED = "but these lattices are those of the start and were not relaxed here"


def elongation_claim(basis: Basis) -> Claim:
    """Ask whether the lattice constant along the FA axis grows, and more than the others."""
    claim = new_claim(
        basis,
        "elongation",
        "Lattice constant along the FA axis",
        "Table S11 (not available), main text",
        "elongates",
        "agrees where it grows by more than 0.1 % in every cell; disagrees where it does not in one; cells whose FA "
        f"ends more than {MOST_TURN_DEG:.0f}° off the axis do not count",
    )
    reference = basis.cell(REFERENCE)
    aligned = [cell for cell in basis.substituted() if cell.alignment in ("a", "b", "c")]
    turned = {cell.label: angle for cell in aligned if (angle := turned_deg(cell)) is not None}
    cells = [cell for cell in aligned if cell.label not in turned]
    if reference is None or not cells:
        return filled(claim, Verdict.NOT_COMPUTED, [], "needs fa000 and cells with aligned FA")
    ours, verdicts, others = [], [], []
    for cell in cells:
        strains = {axis: _length(cell, axis) / _length(reference, axis) - 1 for axis in "abc"}
        along = strains[cell.alignment or "b"]
        ours.append(f"{cell.label}: " + ", ".join(f"{axis} {strain:+.1%}" for axis, strain in strains.items()))
        verdicts.append(Verdict.AGREES if along > ELONGATED else Verdict.DISAGREES)
        if along < max(strains.values()):
            others.append(cell.label)
    why = f"{verdicts.count(Verdict.AGREES)} of {len(cells)} cells elongate along FA"
    if others:
        why += f"; another axis grows more in {', '.join(others)}"
    if turned:
        why += f"; not counted, FA off its axis: {', '.join(f'{one} by {angle:.0f}°' for one, angle in turned.items())}"
    if basis.lattice_relaxed is not True:
        return filled(claim, Verdict.UNDECIDED, ours, f"{why}; {NOT_RELAXED}")
    return filled(claim, joined(verdicts), ours, why)


def _length(cell: CellResult, axis: str) -> float:
    return float(getattr(cell, f"lattice_{axis}_angstrom"))


def octahedra_claim(basis: Basis) -> Claim:
    """Ask whether FA distorts the octahedra."""
    claim = new_claim(
        basis,
        "octahedra",
        "Distortion of the Pb-Br octahedra with FA",
        "Figs S20-S21 (not available), main text",
        "grows",
        "agrees where the variances of bond lengths and of angles both grow in every cell with FA; disagrees where "
        "both shrink in one",
    )
    reference = basis.cell(REFERENCE)
    base = reference.distortion if reference is not None else None
    ours, verdicts = [], []
    for cell in basis.substituted():
        mine = cell.distortion
        if base is None or mine is None or mine.angle_variance_deg2 is None or base.angle_variance_deg2 is None:
            continue
        if mine.bond_length_variance is None or base.bond_length_variance is None:
            continue
        grown = (
            mine.angle_variance_deg2 > base.angle_variance_deg2,
            mine.bond_length_variance > base.bond_length_variance,
        )
        verdicts.append(Verdict.AGREES if all(grown) else Verdict.UNDECIDED if any(grown) else Verdict.DISAGREES)
        ours.append(
            f"{cell.label}: angles {base.angle_variance_deg2:.1f} to {mine.angle_variance_deg2:.1f} deg², lengths "
            f"{base.bond_length_variance:.1e} to {mine.bond_length_variance:.1e}"
        )
    if not verdicts:
        return filled(claim, Verdict.NOT_COMPUTED, [], "needs fa000 and a cell with FA")
    why = f"{verdicts.count(Verdict.AGREES)} of {len(verdicts)} cells"
    if basis.lattice_relaxed is not True:
        why += f"; {NOT_RELAXED}, though the atoms in them were"
    return filled(claim, joined(verdicts), ours, why)


def cause_claim(basis: Basis) -> Claim:
    """Ask whether distortion, and not A-site chemistry, widens the gap."""
    claim = new_claim(
        basis,
        "cause",
        "What widens the gap: strain, distortion or A-site chemistry / eV",
        "main text, Figs S20-S21 (not available)",
        "the distortion of the octahedra, not A-site states",
        "agrees where the distortion's part widens the gap and exceeds the A site's part, in size, by more than the "
        "uncertainty; disagrees where it falls short of it, or narrows the gap, by more than that",
    )
    splits = split_shifts(basis.result.cells, REFERENCE, basis.gap_uncertainty_ev)
    ours = [_parts(split) for split in splits]
    verdicts = [_cause(split) for split in splits if split.distortion_ev is not None and split.a_site_ev is not None]
    if not verdicts:
        needed = "needs the cells fa025-b-framework and fa000-strained (bands), beside fa000 and fa025-b"
        return filled(claim, Verdict.NOT_COMPUTED, ours, needed)
    said = [f"{split.cell}: {_effect(split)}" for split in splits if split.distortion_ev is not None]
    return filled(claim, joined(verdicts), ours, "; ".join(said))


def _effect(split: ShiftSplit) -> str:
    """Say whether the distortion widens or narrows the gap, as far as that is known."""
    error = split.uncertainty_ev
    if error is None:
        return "how well the parts are known is not known"
    distortion = split.distortion_ev or 0.0
    if abs(distortion) <= error:
        return f"the distortion's part is smaller than its uncertainty of at least {error:.3f} eV"
    does = "widens" if distortion > 0 else "narrows"
    return f"the distortion {does} the gap by more than its uncertainty of at least {error:.3f} eV"


def _parts(split: ShiftSplit) -> str:
    parts = {
        "strain": split.strain_ev,
        "distortion": split.distortion_ev,
        "A site": split.a_site_ev,
        "total": split.total_ev,
    }
    return f"{split.cell}: " + ", ".join(f"{n} {'–' if v is None else f'{v:+.3f}'}" for n, v in parts.items())


def _cause(split: ShiftSplit) -> Verdict:
    distortion, site, error = split.distortion_ev or 0.0, split.a_site_ev or 0.0, split.uncertainty_ev
    if error is None:
        return Verdict.UNDECIDED
    if distortion < -error or abs(distortion) - abs(site) < -error:
        return Verdict.DISAGREES
    return Verdict.AGREES if distortion > error and abs(distortion) - abs(site) > error else Verdict.UNDECIDED


STRUCTURE: tuple[Callable[[Basis], Claim], ...] = (elongation_claim, octahedra_claim, cause_claim)
