"""The ledger: which terms lie between the gap of the bulk crystal and the gap that a tip measures."""

import itertools
import math
from collections.abc import Iterable

from corecrown.postprocess.confinement import finite_well_energy, slab_self_energy, well_width_nm
from corecrown.postprocess.experiment import Experiment, Place, Quantity
from corecrown.postprocess.results import CellResult, LedgerRow, Level, MassTensor
from corecrown.postprocess.sts.bending import bias_fraction

__all__ = ["best_level", "build_ledger", "describe_level"]

HYBRIDS = ("HSE", "PBE0", "B3LYP", "GW", "EXX")


def describe_level(level: Level) -> str:
    """Return one phrase for a level of theory: functional, spin-orbit coupling, cutoff, mesh, gap source."""
    parts = [level.functional, "spin-orbit" if level.spin_orbit else "no spin-orbit"]
    if level.cutoff_wfc_ry is not None:
        parts.append(f"{level.cutoff_wfc_ry:g} Ry")
    if level.kpoint_mesh is not None:
        parts.append("×".join(str(n) for n in level.kpoint_mesh) + " mesh")
    if level.q_mesh is not None:
        parts.append("×".join(str(n) for n in level.q_mesh) + " exchange mesh")
    return ", ".join([*parts, f"gap from {level.source}"])


def best_level(levels: Iterable[Level]) -> Level | None:
    """Return the highest level with a gap: hybrid with spin-orbit coupling, hybrid, semilocal with, without.

    Functional and spin-orbit coupling count together because their effects do not add. Of several rows of one
    level the smaller gap wins: more k-points can only find a tighter one.
    """

    def rank(level: Level) -> tuple[bool, bool, float]:
        return _is_hybrid(level.functional), level.spin_orbit, -(level.gap_ev or 0.0)

    return max((level for level in levels if level.gap_ev is not None), key=rank, default=None)


def build_ledger(cell: CellResult, place: Place | None, experiment: Experiment) -> list[LedgerRow]:
    """Return the terms from the computed bulk gap to the measured gap, their sum, and the optical gap beside.

    STS gap = bulk gap + confinement along c + dielectric self-energy - image screening by the substrate -
    voltage dropped in the junction and tip-induced band bending + what the peak adds over the onset. A term
    without a value is not in the sum but its range is, where it has one. Excitons are not in it: tunnelling
    sees the quasiparticle gap.

    Parameters
    ----------
    cell
        The cell that stands for the place; its levels, masses and lattice constant c are used.
    place
        What was measured there; ``None`` leaves the measured rows empty.
    experiment
        Conditions, and the parameters of the estimates (``model``).
    """
    bulk = _bulk(cell)
    terms = [
        bulk,
        _confinement(cell, experiment, bulk.value_ev),
        _self_energy(cell, experiment),
        _image(cell, experiment),
        _junction(cell, experiment, place),
        _peak(place),
    ]
    total = _sum(terms)
    measured = _measured(place)
    return [*terms, total, measured, _remainder(measured, total), *_beside(total, experiment)]


def _is_hybrid(functional: str) -> bool:
    return functional.upper().startswith(HYBRIDS)


def _bulk(cell: CellResult) -> LedgerRow:
    best = best_level(cell.levels)
    known = [level.gap_ev for level in cell.levels if level.gap_ev is not None]
    if best is None and cell.edges is not None and cell.edges.gap_ev is not None:
        functional = cell.settings.functional if cell.settings else "functional not recorded"
        return LedgerRow(
            term="bulk gap",
            value_ev=cell.edges.gap_ev,
            source=f"{cell.label}, {functional}",
            notes=["one level of theory only: no range"],
        )
    if best is None:
        return LedgerRow(term="bulk gap", value_ev=None, source=cell.label, notes=["the cell has no computed gap"])
    notes = ["range: all levels of theory computed for this cell"] if len(known) > 1 else ["one level only: no range"]
    if not (_is_hybrid(best.functional) and best.spin_orbit):
        notes.append("not a hybrid with spin-orbit coupling, so this gap may be off by an electronvolt")
    return LedgerRow(
        term="bulk gap",
        value_ev=best.gap_ev,
        low_ev=min(known) if len(known) > 1 else None,
        high_ev=max(known) if len(known) > 1 else None,
        source=f"{cell.label}, {describe_level(best)}",
        notes=notes,
    )


def _confinement(cell: CellResult, experiment: Experiment, bulk_gap: float | None) -> LedgerRow:
    term = "confinement along c"
    width = _width(cell, experiment)
    barrier = experiment.model.barrier_ev
    masses = cell.masses_spin_orbit or cell.masses
    carriers = [m for m in (masses.electron, masses.hole) if m is not None] if masses else []
    across = [(m, mass) for m in carriers if (mass := _mass_across(m)) is not None]
    missing = [
        reason
        for absent, reason in (
            (width is None, "the number of monolayers is not known"),
            (len(across) < 2, "the cell lacks an electron or a hole mass along c"),
            (barrier is None or barrier.value is None, "no barrier is given (model.barrier_ev)"),
        )
        if absent
    ]
    if missing or width is None or barrier is None or barrier.value is None:
        return LedgerRow(term=term, value_ev=None, source="finite well, own masses", notes=missing)
    kane = 1 / bulk_gap if bulk_gap else 0.0

    def gap_change(wall: float, *, parabolic: bool = False) -> float:
        return sum(
            finite_well_energy(
                width,
                mass,
                wall,
                nonparabolicity_per_ev=0.0
                if parabolic
                else kane
                if m.nonparabolicity_per_ev is None
                else max(m.nonparabolicity_per_ev, 0.0),
            )
            for m, mass in across
        )

    kind = "with spin-orbit coupling" if cell.masses_spin_orbit else "without spin-orbit coupling"
    values = ", ".join(f"{m.carrier or 'carrier'} {mass:.3f} m0" for m, mass in across)
    notes = ["range: low barrier, to hard walls with parabolic bands"]
    if any(m.nonparabolicity_per_ev is None for m, _ in across):
        notes.append("no fitted non-parabolicity: two mirrored bands, 1/gap, is used")
    if not all(m.converged for m, _ in across):
        notes.append("a mass is not converged")
    return LedgerRow(
        term=term,
        value_ev=gap_change(barrier.value),
        low_ev=gap_change(barrier.low if barrier.low is not None else barrier.value),
        high_ev=gap_change(barrier.high if barrier.high is not None else math.inf, parabolic=True),
        source=(f"finite well of {width:.2f} nm, masses across it {kind}: {values}; barrier {barrier.value:g} eV"),
        notes=notes,
    )


def _self_energy(cell: CellResult, experiment: Experiment) -> LedgerRow:
    term = "dielectric self-energy"
    width = _width(cell, experiment)
    inside, outside = experiment.model.permittivity_inside, experiment.model.permittivity_outside
    if width is None or inside is None or outside is None:
        notes = ["thickness or a permittivity is not given"]
        return LedgerRow(term=term, value_ev=None, source="image charges of a slab", notes=notes)
    corners = [2 * slab_self_energy(width, a, b, b) for a, b in itertools.product(_span(inside), _span(outside))]
    value = None
    if inside.value is not None and outside.value is not None:
        value = 2 * slab_self_energy(width, inside.value, outside.value, outside.value)
    return LedgerRow(
        term=term,
        value_ev=value,
        low_ev=min(corners, default=None),
        high_ev=max(corners, default=None),
        source=f"image charges of a slab, permittivity inside {_shown(inside)}, outside {_shown(outside)}",
    )


def _image(cell: CellResult, experiment: Experiment) -> LedgerRow:
    substrate = experiment.conditions.substrate
    term = f"image screening by {substrate or 'the substrate'}"
    width = _width(cell, experiment)
    model = experiment.model
    inside, outside, ligand = model.permittivity_inside, model.permittivity_outside, model.ligand_nm
    if substrate is None:
        return LedgerRow(term=term, value_ev=None, source="no substrate is given", notes=["nothing to estimate"])
    if width is None or inside is None or outside is None or ligand is None:
        notes = ["thickness, a permittivity or the distance to the metal is not given"]
        return LedgerRow(term=term, value_ev=None, source="image charges of a slab", notes=notes)

    def change(a: float, b: float, distance: float) -> float:
        with_metal = slab_self_energy(width, a, b, b, metal_distance_nm=distance)
        return 2 * (with_metal - slab_self_energy(width, a, b, b))

    corners = [change(*point) for point in itertools.product(_span(inside), _span(outside), _span(ligand))]
    value = None
    if inside.value is not None and outside.value is not None and ligand.value is not None:
        value = change(inside.value, outside.value, ligand.value)
    notes = [] if value is not None else ["the layer between platelet and metal is not known: range only"]
    return LedgerRow(
        term=term,
        value_ev=value,
        low_ev=min(corners, default=None),
        high_ev=max(corners, default=None),
        source=f"negative: images in a perfect metal below the slab, behind {_shown(ligand)} nm",
        notes=notes,
    )


def _junction(cell: CellResult, experiment: Experiment, place: Place | None) -> LedgerRow:
    term = "voltage dropped in the junction and tip-induced band bending"
    width = _width(cell, experiment)
    model = experiment.model
    gap = place.gap if place else None
    static, distance, ligand = model.permittivity_static, model.tip_distance_nm, model.ligand_nm
    outside = model.permittivity_outside
    if width is None or gap is None or static is None or distance is None or ligand is None or outside is None:
        notes = ["a measured gap, a thickness or a parameter of the junction is not given"]
        return LedgerRow(term=term, value_ev=None, source="one-dimensional stack of dielectrics", notes=notes)
    layer = outside.value if outside.value is not None else 1.0
    fractions = [
        bias_fraction(tip_distance_nm=s, width_nm=width, permittivity=eps, layer_nm=lig, layer_permittivity=layer)
        for s, eps, lig in itertools.product(_span(distance), _span(static), _span(ligand))
    ]
    if not fractions:
        notes = ["a parameter of the junction has neither value nor range"]
        return LedgerRow(term=term, value_ev=None, source="one-dimensional stack of dielectrics", notes=notes)
    largest = max(fractions) * gap
    return LedgerRow(
        term=term,
        value_ev=None,
        low_ev=-largest,
        high_ev=largest,
        source=(
            f"one-dimensional stack: {min(fractions):.0%} to {max(fractions):.0%} of the bias falls between "
            "the metal and the middle of the platelet"
        ),
        notes=[
            "positive where the platelet stays depleted: the bias axis is stretched",
            "negative where carriers gather under the tip and tunnel before the edge is reached",
            "which of the two holds was not measured, so there is no value",
        ],
    )


def _peak(place: Place | None) -> LedgerRow:
    term = "peak rather than onset"
    if place is None or place.gap is None or place.onset_gap_ev is None:
        return LedgerRow(
            term=term,
            value_ev=None,
            low_ev=0.0,
            source="positive: a peak lies outside the onset",
            notes=["the onset was not given beside the peak: no value and no upper end"],
        )
    return LedgerRow(term=term, value_ev=place.gap - place.onset_gap_ev, source="measured: peak gap less onset gap")


def _sum(terms: list[LedgerRow]) -> LedgerRow:
    if terms[0].value_ev is None:
        return LedgerRow(term="sum", value_ev=None, source="terms above", notes=["without a bulk gap there is no sum"])
    valued = [row for row in terms if row.value_ev is not None]
    low = sum(_first_known(row.low_ev, row.value_ev) for row in terms)
    high = sum(_first_known(row.high_ev, row.value_ev) for row in terms)
    left_out = [row.term for row in terms if row.value_ev is None]
    notes = [f"not a full sum: these terms have no value, at most a range: {', '.join(left_out)}"] if left_out else []
    total = sum(row.value_ev for row in valued if row.value_ev is not None)
    return LedgerRow(
        term="sum",
        value_ev=total,
        low_ev=low,
        high_ev=high,
        source="terms above; ends of the ranges added",
        notes=notes,
    )


def _measured(place: Place | None) -> LedgerRow:
    term = "measured STS gap"
    gap = place.gap if place else None
    if place is None or gap is None:
        return LedgerRow(term=term, value_ev=None, source="not given")
    error = place.gap_error
    return LedgerRow(
        term=term,
        value_ev=gap,
        low_ev=None if error is None else gap - error,
        high_ev=None if error is None else gap + error,
        source=place.source or place.method or "experiment file",
        notes=["no standard error is given: no range"] if error is None else ["range: one standard error"],
    )


def _remainder(measured: LedgerRow, total: LedgerRow) -> LedgerRow:
    term = "measured less sum"
    if measured.value_ev is None or total.value_ev is None:
        return LedgerRow(term=term, value_ev=None, source="measured STS gap, sum", notes=["one of the two is missing"])
    return LedgerRow(
        term=term,
        value_ev=measured.value_ev - total.value_ev,
        low_ev=None if total.high_ev is None else _first_known(measured.low_ev, measured.value_ev) - total.high_ev,
        high_ev=None if total.low_ev is None else _first_known(measured.high_ev, measured.value_ev) - total.low_ev,
        source="what the terms leave unexplained; zero inside the range means nothing is",
    )


def _beside(total: LedgerRow, experiment: Experiment) -> list[LedgerRow]:
    """Return the rows that are not in the sum: optical gap and measured bulk gap."""
    optical, model = experiment.optical, experiment.model
    binding = optical.exciton_binding_ev if optical and optical.exciton_binding_ev else model.exciton_binding_ev
    known = binding is not None and binding.value is not None and total.value_ev is not None
    rows = [
        LedgerRow(
            term="optical gap (not in the sum): quasiparticle gap less exciton binding",
            value_ev=total.value_ev - binding.value
            if known and binding and binding.value is not None and total.value_ev is not None
            else None,
            source=binding.source if binding else "exciton binding energy not given",
            notes=[] if known else ["the exciton binding energy of this sample is not known"],
        )
    ]
    if optical is not None:
        rows.append(_beside_row("optical gap, measured (not in the sum)", optical.gap_ev))
    if model.bulk_gap_ev is not None:
        rows.append(_beside_row("bulk gap, measured (not in the sum)", model.bulk_gap_ev))
    return rows


def _beside_row(term: str, quantity: Quantity) -> LedgerRow:
    return LedgerRow(
        term=term, value_ev=quantity.value, low_ev=quantity.low, high_ev=quantity.high, source=quantity.source
    )


def _width(cell: CellResult, experiment: Experiment) -> float | None:
    layers = experiment.conditions.monolayers
    return None if layers is None else well_width_nm(layers, cell.lattice_c_angstrom)


def _mass_across(mass: MassTensor) -> float | None:
    value = mass.gamma_z if mass.gamma_z is not None else mass.path_gamma_z
    return value if value is not None and value > 0 else None


def _span(quantity: Quantity) -> list[float]:
    """Return the different numbers a parameter may take: its ends, and its value."""
    return sorted({x for x in (quantity.low, quantity.value, quantity.high) if x is not None})


def _shown(quantity: Quantity) -> str:
    ends = [x for x in (quantity.low, quantity.high) if x is not None]
    span = f"{min(ends):g} to {max(ends):g}" if ends else ""
    if quantity.value is None:
        return span or "unknown"
    return f"{quantity.value:g} ({span})" if span else f"{quantity.value:g}"


def _first_known(*values: float | None) -> float:
    return next((value for value in values if value is not None), 0.0)
