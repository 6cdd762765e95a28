"""Put formamidinium on chosen A sites of any host, with a chosen alignment."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Lattice, Structure

from corecrown.errors import InputError
from corecrown.structures.contacts import check_contacts, shortest_contact
from corecrown.structures.formamidinium import SYMBOLS
from corecrown.structures.groups import FA, GROUP_OF, NO_MOLECULE, label_groups
from corecrown.structures.pattern import Heads, Placement, arrange
from corecrown.structures.poses import MAX_SHIFT, measure_roll, roll_reference
from corecrown.structures.setting import has_rows_along_another_axis, to_pbnm
from corecrown.structures.symmetry import a_sites

__all__ = [
    "Alignment",
    "Heads",
    "Strain",
    "alignment_vector",
    "allowed_percentages",
    "assemble",
    "count_for_percentage",
    "describe",
    "substitute",
]

FloatArray = NDArray[np.float64]
Alignment = str | Sequence[float]
Strain = float | str | None

_COARSE_STRAIN = 0.01
_FINE_PER_COARSE = 4
_MOST_STRAIN = 0.08


class _Auto(StrEnum):
    AUTO = "auto"


@dataclass(frozen=True)
class _Request:
    """What is asked of every ion of a substitution."""

    sites: tuple[int, ...]
    axis: FloatArray
    heads: Heads
    roll_deg: float | None
    max_shift: float
    seed: int


def alignment_vector(structure: Structure, alignment: Alignment) -> FloatArray:
    """Return the Cartesian unit vector of an alignment.

    Parameters
    ----------
    structure
        The cell whose axes are meant.
    alignment
        "a", "b" or "c" for the axes of the cell, or three Cartesian components (x along a, z along c).
    """
    if isinstance(alignment, str):
        if alignment not in {"a", "b", "c"}:
            raise InputError(f"alignment: {alignment!r} is not an axis", "one of a, b, c, or three numbers")
        vector = structure.lattice.matrix["abc".index(alignment)]
    else:
        vector = np.array([float(component) for component in alignment])
        if vector.shape != (3,) or not np.isfinite(vector).all() or np.linalg.norm(vector) < 1e-8:
            raise InputError(f"alignment: {list(alignment)} is not a direction", "give a, b, c, or three numbers")
    unit: FloatArray = vector / np.linalg.norm(vector)
    return unit


def allowed_percentages(n_sites: int) -> list[float]:
    """Return the percentages of FA that a number of A sites can hold."""
    return [100 * count / n_sites for count in range(n_sites + 1)]


def count_for_percentage(fa: float, n_sites: int) -> int:
    """Return how many of some A sites carry FA at a percentage.

    Raises
    ------
    InputError
        If the percentage does not divide the sites; says which percentages do.
    """
    if not np.isfinite(fa) or not 0 <= fa <= 100:
        raise InputError(f"fa: {fa} is not a percentage", "give 0 to 100")
    count = round(fa * n_sites / 100)
    if abs(100 * count / n_sites - fa) > 0.01:
        possible = allowed_percentages(n_sites)
        shown = possible if len(possible) <= 17 else [p for p in possible if abs(p - fa) < 200 / n_sites]
        raise InputError(
            f"fa: {fa:g} % does not divide {n_sites} A sites",
            f"possible: {', '.join(f'{p:.4g}' for p in shown)}; or another supercell",
        )
    return count


def substitute(
    structure: Structure,
    sites: Sequence[int] | None = None,
    alignment: Alignment = "b",
    *,
    fa: float | None = None,
    heads: Heads | str = Heads.SYMMETRIC,
    roll_deg: float | None = None,
    max_shift: float = MAX_SHIFT,
    strain: Strain = None,
    seed: int = 0,
) -> Structure:
    """Replace Cs by formamidinium.

    Parameters
    ----------
    structure
        Host with Cs on its A sites; any cell or supercell. A Pnma cell is converted to Pbnm, with a warning.
    sites
        A sites to substitute, by their number among the Cs of the host. By default the first ``fa`` percent.
    alignment
        Direction of the N-N axis of every ion: "a", "b", "c", or three Cartesian components.
    fa
        Percentage of the A sites, instead of ``sites``; 100 if neither is given.
    heads
        What the C-H directions do: ``symmetric`` (the host's operations make one ion of another, with an inversion
        wherever the sites allow it, so that dipoles cancel), ``parallel``, or ``random`` with ``seed``.
    roll_deg
        Angle about the N-N axis from a (from b for alignment a); chosen by the contacts if None.
    max_shift
        Largest shift of an ion's centroid from its A site, Å; at most 0.8.
    strain
        None: the lattice is kept and too short contacts are refused. "auto": the smallest expansion, alike along a, b
        and c, that makes room. A number: that expansion (0.01 is 1 %).
    seed
        For ``heads="random"``.

    Returns
    -------
    Structure
        Host atoms in their order, then the ions by site; site properties ``molecule`` and ``group``;
        ``properties["substitution"]`` reports every ion, the strain and the shortest H-Br contact.

    Raises
    ------
    InputError
        For impossible input, and for atoms that would overlap, naming two of them and their distance.
    """
    if has_rows_along_another_axis(structure):
        converted, notice = to_pbnm(structure)
        warnings.warn(f"host {notice}", UserWarning, stacklevel=2)
        structure = converted.copy()
        structure.properties = dict(structure.properties or {}) | {"notice": notice}
    request = _request(structure, sites, alignment, fa, heads, roll_deg, max_shift, seed)
    if not request.sites:
        return _expand(label_groups(structure), 0.0 if strain == _Auto.AUTO else _given_strain(strain))
    if strain != _Auto.AUTO:
        return _place(structure, request, _given_strain(strain), alignment)
    return _smallest_strain(structure, request, alignment)


def _place(structure: Structure, request: _Request, strain: float, alignment: Alignment) -> Structure:
    """Place the ions at one strain; refuse the cell if atoms overlap."""
    host = _expand(structure, strain)
    placements = arrange(
        host, request.sites, request.axis, request.heads, request.roll_deg, request.max_shift, request.seed
    )
    built = assemble(host, placements)
    check_contacts(built, f"{len(placements)} FA, N-N along {_axis_name(alignment)}")
    built.properties = dict(structure.properties or {}) | {
        "substitution": _report(built, placements, alignment, request.heads, strain)
    }
    return built


def _smallest_strain(structure: Structure, request: _Request, alignment: Alignment) -> Structure:
    """Find the smallest expansion that makes room: by 1 % first, then by quarters of it."""
    fine = range(1, _FINE_PER_COARSE)
    for coarse in range(round(_MOST_STRAIN / _COARSE_STRAIN) + 1):
        upper = coarse * _COARSE_STRAIN
        try:
            built = _place(structure, request, upper, alignment)
        except InputError as error:
            last = error
            continue
        for part in fine if coarse else ():
            lower = upper - _COARSE_STRAIN * (1 - part / _FINE_PER_COARSE)
            try:
                return _place(structure, request, round(lower, 6), alignment)
            except InputError:
                continue
        return built
    raise InputError(f"{last.message}, even {100 * _MOST_STRAIN:.0f} % larger", last.hint)


def _request(
    structure: Structure,
    sites: Sequence[int] | None,
    alignment: Alignment,
    fa: float | None,
    heads: Heads | str,
    roll_deg: float | None,
    max_shift: float,
    seed: int,
) -> _Request:
    available = a_sites(structure)
    if sites is None:
        if not available:
            raise InputError("the host has no Cs to replace", "give a structure with Cs on its A sites")
        chosen = tuple(range(count_for_percentage(100.0 if fa is None else fa, len(available))))
    elif fa is not None and count_for_percentage(fa, len(available)) != len(sites):
        raise InputError(f"sites: {len(sites)} sites are not {fa:g} % of {len(available)}", "give one of the two")
    else:
        chosen = tuple(int(site) for site in sites)
    wrong = [site for site in chosen if not 0 <= site < len(available)]
    if wrong or len(set(chosen)) != len(chosen):
        raise InputError(
            f"sites: {list(chosen)} are not distinct A sites of this cell",
            f"A sites are numbered 0 to {len(available) - 1}",
        )
    if not 0 <= max_shift <= MAX_SHIFT:
        raise InputError(f"max_shift: {max_shift} Å is out of range", f"give 0 to {MAX_SHIFT} Å")
    if roll_deg is not None and not np.isfinite(roll_deg):
        raise InputError(f"roll_deg: {roll_deg} is not an angle", "give degrees")
    try:
        pattern = Heads(heads)
    except ValueError as error:
        raise InputError(
            f"heads: {heads!r} is not known", f"one of {', '.join(item.value for item in Heads)}"
        ) from error
    return _Request(chosen, alignment_vector(structure, alignment), pattern, roll_deg, max_shift, seed)


def _given_strain(strain: Strain) -> float:
    if strain is None:
        return 0.0
    if isinstance(strain, str) or not np.isfinite(strain) or abs(strain) > _MOST_STRAIN:
        raise InputError(f"strain: {strain!r} is not possible", f"'auto', or a number within ±{_MOST_STRAIN}")
    return float(strain)


def _expand(structure: Structure, strain: float) -> Structure:
    if strain == 0.0:
        return structure
    expanded = Structure(
        Lattice(structure.lattice.matrix * (1 + strain)),
        structure.species,
        structure.frac_coords,
        site_properties=structure.site_properties,
    )
    expanded.properties = dict(structure.properties)
    return expanded


def assemble(host: Structure, placements: Sequence[Placement]) -> Structure:
    """Return the host with some Cs replaced by the ions placed there; host atoms first, then the ions."""
    replaced = {placement.atom for placement in placements}
    kept = [i for i in range(len(host)) if i not in replaced]
    symbols = [host[i].specie.symbol for i in kept]
    ions = [host.lattice.get_fractional_coords(placement.coordinates) for placement in placements]
    species = symbols + [symbol for _ in placements for symbol in SYMBOLS]
    coordinates = np.concatenate([host.frac_coords[kept], *ions])
    if "C" in symbols:
        return label_groups(Structure(host.lattice, species, coordinates))
    return Structure(
        host.lattice,
        species,
        coordinates,
        site_properties={
            "molecule": [NO_MOLECULE] * len(kept) + [n for n in range(len(ions)) for _ in SYMBOLS],
            "group": [GROUP_OF.get(symbol, symbol) for symbol in symbols] + [FA] * (len(ions) * len(SYMBOLS)),
        },
    )


def _axis_name(alignment: Alignment) -> str:
    return alignment if isinstance(alignment, str) else f"({', '.join(f'{float(x):g}' for x in alignment)})"


def _report(
    built: Structure, placements: Sequence[Placement], alignment: Alignment, heads: Heads, strain: float
) -> dict[str, Any]:
    nearest = shortest_contact(built, "H", "Br")
    reference = roll_reference(built, alignment_vector(built, alignment))
    return {
        "alignment": _axis_name(alignment),
        "heads": heads.value,
        "strain": strain,
        "shortest_h_br_angstrom": None if nearest is None else round(nearest.distance, 4),
        "ions": [
            {
                "site": placement.site,
                "roll_deg": round(measure_roll(placement.pose.rotation, reference), 2) % 360,
                "shift_angstrom": [round(float(x), 4) + 0.0 for x in placement.pose.offset],
                "head": [round(float(x), 4) + 0.0 for x in placement.pose.head],
                "keeps_mirror": placement.pose.keeps_mirror,
            }
            for placement in placements
        ],
    }


def describe(structure: Structure) -> list[str]:
    """Say in sentences what substitution did to a cell: shifts, rolls, strain, shortest contact."""
    report = (structure.properties or {}).get("substitution")
    if not report:
        return []
    contact = report["shortest_h_br_angstrom"]
    lines = [f"{len(report['ions'])} {FA}, N-N along {report['alignment']}, heads {report['heads']}"]
    lines.append(f"shortest H-Br {contact:.3f} Å" if contact else "no H-Br contact below 3.9 Å")
    if report["strain"]:
        lines.append(f"lattice expanded by {100 * report['strain']:.2f} % along a, b and c to make room")
    lines += [
        f"site {ion['site']}: roll {ion['roll_deg']:.1f}°, "
        f"centre shifted by {float(np.linalg.norm(ion['shift_angstrom'])):.3f} Å"
        for ion in report["ions"]
    ]
    return lines
