"""Estimates of the ledger's terms between the gap of a bulk cell and that of a platelet on a metal."""

import itertools
import math

from corecrown.postprocess.confinement import finite_well_energy, slab_self_energy, well_width_nm
from corecrown.postprocess.experiment import Experiment, Place, Quantity
from corecrown.postprocess.results import CellResult, LedgerRow, MassTensor
from corecrown.postprocess.sts.bending import bias_fraction

__all__ = ["confinement", "image_screening", "junction", "self_energy", "span"]


def confinement(cell: CellResult, experiment: Experiment, bulk_gap: float | None) -> LedgerRow:
    """Return what a finite well of the platelet's thickness adds, with the cell's own masses."""
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
    top = "hard walls" if barrier.high is None else f"walls of {barrier.high:g} eV"
    bottom = f"walls of {barrier.low:g} eV to " if barrier.low is not None else "no low end is given; up to "
    notes = [f"range: {bottom}{top} with parabolic bands"]
    if any(m.nonparabolicity_per_ev is None for m, _ in across):
        notes.append("no fitted non-parabolicity: two mirrored bands, 1/gap, is used")
    if not all(m.converged for m, _ in across):
        notes.append("a mass is not converged")
    return LedgerRow(
        term=term,
        value_ev=gap_change(barrier.value),
        low_ev=None if barrier.low is None else gap_change(barrier.low),
        high_ev=gap_change(barrier.high if barrier.high is not None else math.inf, parabolic=True),
        source=(f"finite well of {width:.2f} nm, masses across it {kind}: {values}; barrier {barrier.value:g} eV"),
        notes=notes,
    )


def self_energy(cell: CellResult, experiment: Experiment) -> LedgerRow:
    """Return what the image charges in the medium around the platelet add."""
    term = "dielectric self-energy"
    width = _width(cell, experiment)
    inside, outside = experiment.model.permittivity_inside, experiment.model.permittivity_outside
    if width is None or inside is None or outside is None:
        notes = ["thickness or a permittivity is not given"]
        return LedgerRow(term=term, value_ev=None, source="image charges of a slab", notes=notes)
    corners = [2 * slab_self_energy(width, a, b, b) for a, b in itertools.product(span(inside), span(outside))]
    notes = [] if corners else ["a permittivity has neither value nor range"]
    value = None
    if inside.value is not None and outside.value is not None:
        value = 2 * slab_self_energy(width, inside.value, outside.value, outside.value)
    elif corners:
        notes.append("a permittivity has a range and no value, and so has this term")
    return LedgerRow(
        term=term,
        value_ev=value,
        low_ev=min(corners, default=None),
        high_ev=max(corners, default=None),
        source=f"image charges of a slab, permittivity inside {_shown(inside)}, outside {_shown(outside)}",
        notes=notes,
    )


def image_screening(cell: CellResult, experiment: Experiment) -> LedgerRow:
    """Return what the images in the metal below take off."""
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

    corners = [change(*point) for point in itertools.product(span(inside), span(outside), span(ligand))]
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


def junction(cell: CellResult, experiment: Experiment, place: Place | None) -> LedgerRow:
    """Return how far the part of the bias that falls in the platelet can move the gap, to either side."""
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
        for s, eps, lig in itertools.product(span(distance), span(static), span(ligand))
    ]
    if not fractions:
        notes = ["a parameter of the junction has neither value nor range"]
        return LedgerRow(term=term, value_ev=None, source="one-dimensional stack of dielectrics", notes=notes)
    largest = max(fractions) * gap
    at = experiment.conditions.set_point_v
    nearer = []
    if (
        at is not None
        and place
        and place.vbm_v is not None
        and place.cbm_v is not None
        and place.vbm_v < at < place.cbm_v
    ):
        nearer = [f"the set point ({at:g} V) lies inside the gap: the tip may have been nearer, and the range wider"]
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
            "the source takes it off (−): negative where carriers gather under the tip and tunnel before the edge",
            "the stack of an undoped platelet says the opposite (+): while depleted, it stretches the bias axis",
            "which of the two holds was not measured: no value, and a range to either side",
            *nearer,
        ],
    )


def _width(cell: CellResult, experiment: Experiment) -> float | None:
    layers = experiment.conditions.monolayers
    return None if layers is None else well_width_nm(layers, cell.lattice_c_angstrom)


def _mass_across(mass: MassTensor) -> float | None:
    value = mass.gamma_z if mass.gamma_z is not None else mass.path_gamma_z
    return value if value is not None and value > 0 else None


def span(quantity: Quantity) -> list[float]:
    """Return the different numbers a parameter may take: its ends, and its value."""
    return sorted({x for x in (quantity.low, quantity.value, quantity.high) if x is not None})


def _shown(quantity: Quantity) -> str:
    ends = [x for x in (quantity.low, quantity.high) if x is not None]
    span = f"{min(ends):g} to {max(ends):g}" if ends else ""
    if quantity.value is None:
        return span or "unknown"
    return f"{quantity.value:g} ({span})" if span else f"{quantity.value:g}"
