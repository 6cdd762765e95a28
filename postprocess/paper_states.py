"""Claims of the source study on electronic states: what the edges are made of, masses, and excited charge."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from corecrown.postprocess.cells import describe_level
from corecrown.postprocess.excitation_level import excitation_level
from corecrown.postprocess.excitation_shares import FaShare, fa_share
from corecrown.postprocess.mass_outcomes import STEP_TOLERANCE
from corecrown.postprocess.paper import REFERENCE, Basis, Claim, Verdict
from corecrown.postprocess.paper_claims import filled, joined, new_claim
from corecrown.postprocess.results import CellResult, Excitation, Masses, MassTensor, Step

__all__ = ["STATES"]

FRAMEWORK = ("Pb", "Br")
MINOR = 0.05
"""Largest share of an edge state that counts as minor, and largest change that counts as unchanged."""
TRACE = 0.01
"""Share of an edge state below which an orbital is not in it."""
UNDECIDED = Verdict.UNDECIDED


def edges_claim(basis: Basis) -> Claim:
    """Ask whether both edges are states of Pb and Br, with the A site minor."""
    claim = new_claim(
        basis,
        "edge-states",
        "States at the band edges",
        "Fig. 4c",
        "Pb and Br; A site minor",
        "agrees where the A site has less than 5 % of every edge",
    )
    ours, verdicts = [], []
    for cell in basis.own_cells():
        for edge, shares in _characters(cell).items():
            site = sum(value for name, value in shares.items() if name.split("-")[0] not in FRAMEWORK)
            verdicts.append(Verdict.AGREES if site < MINOR else Verdict.DISAGREES)
            main = sorted((item for item in shares.items() if item[1] >= MINOR), key=lambda item: -item[1])
            ours.append(f"{cell.label} {edge}: {', '.join(f'{n} {v:.2f}' for n, v in main)}, A site {site:.3f}")
    if not verdicts:
        return filled(claim, Verdict.NOT_COMPUTED, [], "needs the step pdos")
    return filled(claim, joined(verdicts), ours, f"{verdicts.count(Verdict.AGREES)} of {len(verdicts)} edges")


def lead_claim(basis: Basis) -> Claim:
    """Ask whether the lead in the edges is p and d, as the source study names it."""
    claim = new_claim(
        basis,
        "edge-lead",
        "Orbitals of Pb at the band edges",
        "Fig. 4c",
        "p and d",
        "agrees where p and d each have more than 1 % of some edge and s has less than 5 % of every edge",
    )
    characters = [shares for cell in basis.own_cells() for shares in _characters(cell).values()]
    if not characters:
        return filled(claim, Verdict.NOT_COMPUTED, [], "needs the step pdos")
    most = {orbital: max(shares.get(f"Pb-{orbital}", 0.0) for shares in characters) for orbital in "spd"}
    agrees = most["p"] > TRACE and most["d"] > TRACE and most["s"] < MINOR
    absent = [orbital for orbital in "spd" if most[orbital] <= TRACE]
    why = f"the valence edge has s ({most['s']:.2f})" if most["s"] >= MINOR else "s is minor"
    why += f"; {', '.join(absent)} is in no edge" if absent else ""
    ours = [f"at most {', '.join(f'{orbital} {share:.4f}' for orbital, share in most.items())} of an edge"]
    return filled(claim, Verdict.AGREES if agrees else Verdict.DISAGREES, ours, why)


def shape_claim(basis: Basis) -> Claim:
    """Ask whether FA leaves the composition of the edges as it is."""
    claim = new_claim(
        basis,
        "edge-shape",
        "Change of the edge states with FA",
        "Fig. 4c",
        "unchanged",
        "agrees where no more than 5 % of either edge state changes its kind (half the sum of all changes of shares)",
    )
    reference = basis.cell(REFERENCE)
    base = _characters(reference) if reference is not None else {}
    found = {
        f"{cell.label} {edge}": _moved(base[edge], shares)
        for cell in basis.own_cells()
        if cell.fa_fraction
        for edge, shares in _characters(cell).items()
        if edge in base
    }
    if not found:
        return filled(claim, Verdict.NOT_COMPUTED, [], "needs the step pdos of fa000 and of a cell with FA")
    verdicts = [Verdict.AGREES if moved <= MINOR else Verdict.DISAGREES for moved in found.values()]
    ours = [f"{name}: {moved:.1%}" for name, moved in found.items()]
    return filled(claim, joined(verdicts), ours, f"largest change {max(found.values()):.1%}")


def _moved(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    return sum(abs(one.get(name, 0.0) - other.get(name, 0.0)) for name in {*one, *other}) / 2


def _characters(cell: CellResult) -> dict[str, dict[str, float]]:
    if cell.pdos is None:
        return {}
    character = cell.pdos.edge_character
    return {edge: shares for edge in ("vbm", "cbm") if (shares := getattr(character, edge)) is not None}


def _masses_claim(name: str, title: str, *, spin_orbit: bool) -> Callable[[Basis], Claim]:
    def ask(basis: Basis) -> Claim:
        claim = new_claim(
            basis,
            name,
            title,
            "Table S12 (not available), main text",
            "lower along Γ-X and Γ-Y, higher along Γ-Z",
            "a change of less than 5 % is undecided, since a mass counts as converged within that; so is the change of "
            "a tensor that is not converged",
        )
        field: Literal["masses_spin_orbit", "masses"] = "masses_spin_orbit" if spin_orbit else "masses"
        reference = basis.cell(REFERENCE)
        base = _electron(getattr(reference, field)) if reference is not None else None
        ours, verdicts, notes = [], [], []
        for cell in basis.substituted():
            mass = _electron(getattr(cell, field))
            for axis, sign in (("x", -1), ("y", -1), ("z", 1)):
                change = _mass_change(base, mass, f"path_gamma_{axis}")
                sure = change is not None
                if change is None:
                    change = _mass_change(base, mass, f"gamma_{axis}")
                    sure = bool(base and mass and base.converged and mass.converged)
                if change is not None:
                    ours.append(f"{cell.label} Γ-{axis.upper()} {change:+.0%}")
                    verdicts.append(_trend(change, sign) if sure else Verdict.UNDECIDED)
            if mass is not None and mass.tensor_inverse is not None and not mass.converged:
                notes.append("; ".join([f"{cell.label}: not converged", *mass.notes]))
        if not verdicts:
            return filled(
                claim,
                Verdict.NOT_COMPUTED,
                [],
                f"needs the step masses of fa000 and of cells with FA{_with(spin_orbit)}",
            )
        counts = {verdict.value: verdicts.count(verdict) for verdict in dict.fromkeys(verdicts)}
        words = ", ".join(f"{count} of {len(verdicts)} directions: {word}" for word, count in counts.items())
        answer = filled(claim, joined(verdicts), ours, words)
        coupled = reference.step_settings.get(Step.SPIN_ORBIT.value) if reference is not None and spin_orbit else None
        told = {"notes": [*answer.notes, *notes]} | ({"level": describe_level(coupled)} if coupled else {})
        return answer.model_copy(update=told)

    return ask


def _with(spin_orbit: bool) -> str:
    return ", with spin-orbit coupling" if spin_orbit else ""


def _electron(masses: Masses | None) -> MassTensor | None:
    return masses.electron if masses is not None else None


def _mass_change(base: MassTensor | None, mass: MassTensor | None, name: str) -> float | None:
    """Return the relative change of one of the masses of a tensor or along a line, where both have it."""
    before, after = getattr(base, name, None), getattr(mass, name, None)
    return float(after / before - 1) if before and after else None


def _trend(change: float, sign: int) -> Verdict:
    if abs(change) < STEP_TOLERANCE:
        return Verdict.UNDECIDED
    return Verdict.AGREES if change * sign > 0 else Verdict.DISAGREES


def charge_claim(basis: Basis) -> Claim:
    """Ask whether excited charge sits preferentially on FA."""
    claim = new_claim(
        basis,
        "excited-charge",
        "Share of FA in the excited charge",
        "Fig. S23 (not available), main text",
        "preferentially on FA, so that the Pb-Br lattice is spared",
        "agrees where FA has more of the frozen electron and of the charge gained than its share of the volume, in "
        "every scheme that divides space (of the atoms, where none does); disagrees where it has less of both",
    )
    ours, verdicts, said, levels = [], [], [], []
    for cell in basis.own_cells():
        for found in cell.excitation if cell.fa_fraction else ():
            compared = {name: _against_uniform(cell, found, name) for name in ("electron", "gained")}
            known = {name: pair for name, pair in compared.items() if pair is not None}
            if found.kind != "neutral" or not known:
                continue
            shown = ", ".join(f"{name} {share} on FA" for name, (share, _) in known.items())
            ours.append(f"{cell.label}: {shown}, {_uniform_text(cell, fa_share(found, 'electron'))}")
            verdicts.append(_preference([word for _, word in known.values()]) if found.occupations_kept else UNDECIDED)
            levels.append(excitation_level(cell, found) or f"level of {cell.label} not recorded")
            said += [f"{cell.label}: {found.statement}"] if found.statement else []
    if not verdicts:
        return filled(claim, Verdict.NOT_COMPUTED, [], "needs the step excitation of cells with FA")
    why = f"FA has more than its share in {verdicts.count(Verdict.AGREES)} of {len(verdicts)} excitations"
    told = {"notes": list(dict.fromkeys(said)), "level": "; ".join(dict.fromkeys(levels))}
    return filled(claim, joined(verdicts), ours, why).model_copy(update=told)


def _uniform_text(cell: CellResult, share: FaShare | None) -> str:
    """Say what FA would have of an even charge: over the volume, or the atoms where no scheme knows volumes."""
    if share is None:
        return f"FA's share of atoms {_atoms(cell):.1%}"
    each = f", {share.n_fa} FA" if share.n_fa > 1 else ""
    return f"FA's share of the volume {_range(share.uniform_low, share.uniform_high)}{each}"


def _against_uniform(cell: CellResult, found: Excitation, quantity: str) -> tuple[str, str] | None:
    """Return the share of FA in words, and ``more``, ``less`` or ``undecided`` against a uniform charge."""
    told = fa_share(found, quantity)
    groups = found.gained_by_group if quantity == "gained" else found.electron_by_group
    if told is not None:
        return _range(told.low, told.high), told.verdict
    if not groups or sum(groups.values()) <= 0:
        return None
    share, uniform = groups.get("FA", 0.0) / sum(groups.values()), _atoms(cell)
    verdict = "more" if share > uniform * (1 + MINOR) else "less" if share < uniform * (1 - MINOR) else "undecided"
    return f"{share:.1%}", verdict


def _range(low: float, high: float) -> str:
    return f"{low:.1%} to {high:.1%}"


def _preference(words: Sequence[str]) -> Verdict:
    if set(words) == {"more"}:
        return Verdict.AGREES
    return Verdict.DISAGREES if set(words) == {"less"} else UNDECIDED


def _atoms(cell: CellResult) -> float:
    groups = [(site.get("properties") or {}).get("group") for site in cell.structure.get("sites") or []]
    return groups.count("FA") / len(groups) if groups else 0.0


STATES: tuple[Callable[[Basis], Claim], ...] = (
    edges_claim,
    lead_claim,
    shape_claim,
    _masses_claim("masses", "Electron mass with FA", spin_orbit=False),
    _masses_claim("masses-spin-orbit", "Electron mass with FA, with spin-orbit coupling", spin_orbit=True),
    charge_claim,
)
