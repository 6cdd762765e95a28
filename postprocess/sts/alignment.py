"""How the edges of two materials lie to each other, and all energy scales of one experiment side by side."""

from dataclasses import dataclass

from corecrown.postprocess.experiment import Experiment, Place
from corecrown.postprocess.sts.bending import BandBending, band_bending
from corecrown.postprocess.sts.results import AlignmentKind, BandAlignment, Interval, SecondEdges

__all__ = [
    "AlignmentKind",
    "BandAlignment",
    "ScaleRow",
    "align",
    "alignment_of_pair",
    "alignment_of_places",
    "energy_scales",
    "tip_bending",
]


PAIR_NOTE = (
    "of two sets on one side the mixture calls the farther one the crown's: it cannot find type II or an inverted order"
)


@dataclass(frozen=True, slots=True)
class ScaleRow:
    """Edges on one energy scale, brought to E_F of the substrate as zero.

    Attributes
    ----------
    vbm_ev, cbm_ev
        eV; None where the scale gives only one of them.
    note
        How the scale was joined to the others, and how far it is from them.
    """

    label: str
    vbm_ev: float | None
    cbm_ev: float | None
    note: str = ""


def align(
    core: tuple[Interval | None, Interval | None], crown: tuple[Interval | None, Interval | None]
) -> BandAlignment:
    """Tell the kind of alignment from two sets of edges (valence, conduction) with their standard errors.

    An offset within twice its standard error, or without one, leaves the kind undecided; the offsets are given
    either way.
    """
    offsets = [_difference(crown[0], core[0], -1), _difference(crown[1], core[1], 1)]
    (valence, valence_error), (conduction, conduction_error) = offsets
    notes = []
    certain = True
    for name, (offset, error) in zip(("valence", "conduction"), offsets, strict=True):
        if offset is None:
            notes.append(f"{name}: an edge is missing")
            certain = False
        elif error is None:
            notes.append(f"{name}: an edge has no standard error, so the sign of the offset is not certain")
            certain = False
        elif abs(offset) <= 2 * error:
            notes.append(f"{name}: the offset {offset:+.3f} eV is within twice its standard error {error:.3f} eV")
            certain = False
    kind = AlignmentKind.UNDECIDED
    if valence is not None and conduction is not None:
        named = _kind(valence, conduction)
        kind = named if certain else AlignmentKind.UNDECIDED
        if not certain:
            notes.append(f"taken as they are, the offsets make type {named.value}")
    return BandAlignment(
        kind=kind,
        valence_offset_ev=valence,
        conduction_offset_ev=conduction,
        valence_error_ev=valence_error,
        conduction_error_ev=conduction_error,
        notes=notes,
    )


def alignment_of_pair(pair: SecondEdges) -> BandAlignment:
    """Tell the alignment of two sets of edges in one spectrum, the farther set taken for the crown's.

    Errors of the four edges are joined as if they were independent.
    """
    found = align((pair.nearer_vbm_v, pair.nearer_cbm_v), (pair.vbm_v, pair.cbm_v))
    return found.model_copy(update={"notes": [*found.notes, PAIR_NOTE]})


def alignment_of_places(core: Place, crown: Place) -> BandAlignment:
    """Tell the alignment of two places of an experiment file."""
    return align(_edges_of(core), _edges_of(crown))


def energy_scales(
    experiment: Experiment, dft_gaps_ev: dict[str, float] | None = None, optical: bool = True
) -> list[ScaleRow]:
    """Return the edges of an experiment on all its scales, for one diagram.

    STS is on the Fermi level of the substrate as it is. Photoemission gives the valence edge below E_F (ionisation
    energy less work function) and no conduction edge. An optical gap and a computed gap have no zero of their own:
    they are hung on the valence edge of the place they belong to, and the note says so.

    Parameters
    ----------
    dft_gaps_ev
        Computed gaps by cell label.
    optical
        Whether the optical gap gets a row.
    """
    measured = "synthetic" if experiment.source.synthetic else "STS"
    rows = [
        ScaleRow(
            f"{measured} {name}",
            place.vbm_v,
            place.cbm_v,
            f"E_F of {experiment.conditions.substrate or 'the substrate'}",
        )
        for name, place in experiment.places.items()
    ]
    for sample, ups in experiment.ups.items():
        work_function, ionisation = ups.work_function_ev.value, ups.ionisation_energy_ev.value
        if work_function is None or ionisation is None:
            continue
        below = work_function - ionisation
        place = _place_of(sample, experiment)
        gap = "" if place is None or place.vbm_v is None else f"; {abs(below - place.vbm_v):.2f} eV from STS"
        rows.append(ScaleRow(f"UPS {sample}", below, None, f"vacuum level at {work_function:.2f} eV{gap}"))
    first = next(iter(experiment.compare), None)
    origin = experiment.places[first.place].vbm_v if first else None
    if (
        optical
        and experiment.optical is not None
        and experiment.optical.gap_ev.value is not None
        and origin is not None
    ):
        rows.append(
            ScaleRow("optical gap", origin, origin + experiment.optical.gap_ev.value, "hung on the STS valence edge")
        )
    for pair in experiment.compare:
        gap_ev = (dft_gaps_ev or {}).get(pair.cell)
        vbm = experiment.places[pair.place].vbm_v
        if gap_ev is not None and vbm is not None:
            rows.append(
                ScaleRow(f"DFT {pair.cell}", vbm, vbm + gap_ev, f"bulk gap, hung on the valence edge of {pair.place}")
            )
    return rows


def tip_bending(experiment: Experiment, place: str, width_nm: float, permittivity: float) -> dict[str, BandBending]:
    """Return how far the drop of the bias inside a platelet moves both edges of a place, from its set point.

    Returns
    -------
    dict
        ``vbm_v`` and ``cbm_v``; empty where the edges or the set point are not given.
    """
    edges, conditions = experiment.places[place], experiment.conditions
    if None in (edges.vbm_v, edges.cbm_v, conditions.set_point_a, conditions.set_point_v):
        return {}
    values = {"vbm_v": edges.vbm_v, "cbm_v": edges.cbm_v}
    return {
        name: band_bending(
            float(value or 0.0),
            width_nm=width_nm,
            permittivity=permittivity,
            set_point_a=float(conditions.set_point_a or 0.0),
            set_point_v=float(conditions.set_point_v or 0.0),
            gap_v=(float(edges.vbm_v or 0.0), float(edges.cbm_v or 0.0)),
        )
        for name, value in values.items()
    }


def _kind(valence: float, conduction: float) -> AlignmentKind:
    if valence > 0 and conduction > 0:
        return AlignmentKind.TYPE_I
    if valence < 0 and conduction < 0:
        return AlignmentKind.INVERTED
    return AlignmentKind.TYPE_II


def _difference(a: Interval | None, b: Interval | None, sign: int) -> tuple[float | None, float | None]:
    if a is None or b is None or a.value is None or b.value is None:
        return None, None
    if a.standard_error is None or b.standard_error is None:
        return sign * (a.value - b.value), None
    return sign * (a.value - b.value), (a.standard_error**2 + b.standard_error**2) ** 0.5


def _edges_of(place: Place) -> tuple[Interval, Interval]:
    return (
        Interval(value=place.vbm_v, standard_error=place.vbm_standard_error_v),
        Interval(value=place.cbm_v, standard_error=place.cbm_standard_error_v),
    )


def _place_of(sample: str, experiment: Experiment) -> Place | None:
    """Return the first place that belongs to a sample and to no sample with a longer name."""
    for name, place in experiment.places.items():
        owners = [known for known in experiment.ups if name.startswith(known)]
        if owners and max(owners, key=len) == sample:
            return place
    return None
