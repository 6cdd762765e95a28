"""Ensembles of cells: mean and spread of every result over the orientations (or sites) that were drawn."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, stdev

from corecrown.postprocess.cells import describe_level
from corecrown.postprocess.results import (
    BandEdges,
    CellResult,
    Distortion,
    EnsembleResult,
    Excitation,
    Level,
    Masses,
    MassTensor,
    Spread,
)

__all__ = ["cell_values", "summarise_ensembles"]

_OF_CELL = (
    "lattice_a_angstrom",
    "lattice_b_angstrom",
    "lattice_c_angstrom",
    "volume_angstrom3",
    "energy_ev",
)
_OF_EDGES = ("gap_ev", "vbm_ev", "cbm_ev")
_OF_MASS = (
    "gamma_x", "gamma_y", "gamma_z", "path_gamma_x", "path_gamma_y", "path_gamma_z", "dos_mass", "conductivity_mass",
)  # fmt: skip
_OF_EXCITATION = ("energy_ev", "ks_gap_ev", "moved_e")
_BY_GROUP = ("electron_by_group", "hole_by_group", "gained_by_group", "lost_by_group")
_OWN_ZERO = "edges.vbm_ev and edges.cbm_ev: every cell has its own zero of energy, their spread is no physical one"


def summarise_ensembles(cells: Sequence[CellResult]) -> list[EnsembleResult]:
    """Return mean and spread of every result, for every ensemble among some cells.

    Parameters
    ----------
    cells
        The cells of a study; those whose ``ensemble`` is None belong to none.

    Returns
    -------
    list of EnsembleResult
        In the order of the cells. A member without a value (a step failed, a metal has no gap) is left out of that
        value's mean: ``n`` says how many have it, and a note which have not.
    """
    families: dict[str, list[CellResult]] = {}
    for cell in cells:
        if cell.ensemble is not None:
            families.setdefault(cell.ensemble, []).append(cell)
    return [_summarise(label, members) for label, members in families.items()]


def cell_values(cell: CellResult) -> dict[str, float]:
    """Return the numbers of a cell that a mean makes sense of, by the name they have in ``CellResult``.

    Lists of one kind (bridging angles, directions of ions) count by their mean. Shares of an edge state that are not
    named are zero where others of that state are.
    """
    found: dict[str, float | None] = {name: getattr(cell, name) for name in _OF_CELL}
    for parts in (
        _edges(cell.edges),
        *(_level(level) for level in cell.levels),
        _masses("masses", cell.masses),
        _masses("masses_spin_orbit", cell.masses_spin_orbit),
        _character(cell),
        _distortion(cell.distortion),
        *(_excitation(excitation) for excitation in cell.excitation),
    ):
        found.update(parts)
    return {name: float(value) for name, value in found.items() if value is not None}


def _summarise(label: str, members: Sequence[CellResult]) -> EnsembleResult:
    by_cell = {member.label: cell_values(member) for member in members}
    names = dict.fromkeys(name for values in by_cell.values() for name in values)
    values: dict[str, Spread] = {}
    without: dict[tuple[str, ...], list[str]] = {}
    for name in names:
        known = [_value(name, numbers) for numbers in by_cell.values()]
        values[name] = _spread([value for value in known if value is not None])
        lacking = tuple(cell for cell, value in zip(by_cell, known, strict=True) if value is None)
        if lacking:
            without.setdefault(lacking, []).append(name)
    notes = [f"{', '.join(cells)} without {_shortened(lost)}" for cells, lost in without.items()]
    if {"edges.vbm_ev", "edges.cbm_ev"} & values.keys():
        notes.append(_OWN_ZERO)
    loose = [member.label for member in members if not _masses_converged(member)]
    if loose:
        notes.append(f"masses not converged: {', '.join(loose)}")
    levels = {describe_level(member.settings) for member in members if member.settings is not None}
    if len(levels) > 1:
        notes.append(f"the members are not at one level of theory: {'; '.join(sorted(levels))}")
    return EnsembleResult(
        label=label,
        members=list(by_cell),
        values=values,
        level=levels.pop() if len(levels) == 1 else None,
        notes=notes,
    )


def _value(name: str, numbers: Mapping[str, float]) -> float | None:
    if name in numbers:
        return numbers[name]
    is_share = name.startswith("pdos.") or any(f".{kind}." in name for kind in _BY_GROUP)
    prefix = name.rsplit(".", 1)[0] + "."
    return 0.0 if is_share and any(other.startswith(prefix) for other in numbers) else None


def _spread(values: Sequence[float]) -> Spread:
    return Spread(
        n=len(values),
        mean=fmean(values),
        std=stdev(values) if len(values) > 1 else None,
        low=min(values),
        high=max(values),
    )


def _shortened(names: Sequence[str]) -> str:
    kinds = list(dict.fromkeys(name.split(".")[0] for name in names))
    return ", ".join(names) if len(names) <= 3 else f"{len(names)} values of {', '.join(kinds)}"


def _edges(edges: BandEdges | None) -> dict[str, float | None]:
    return {} if edges is None else {f"edges.{name}": getattr(edges, name) for name in _OF_EDGES}


def _level(level: Level) -> dict[str, float | None]:
    coupled = "+SOC" if level.spin_orbit else ""
    return {f"levels.{level.functional}{coupled}.gap_ev": level.gap_ev}


def _masses(kind: str, masses: Masses | None) -> dict[str, float | None]:
    return {
        f"{kind}.{carrier}.{name}": getattr(mass, name)
        for carrier, mass in _carriers(masses)
        for name in _OF_MASS
    }  # fmt: skip


def _carriers(masses: Masses | None) -> Iterator[tuple[str, MassTensor]]:
    if masses is not None:
        for carrier, mass in (("electron", masses.electron), ("hole", masses.hole)):
            if mass is not None:
                yield carrier, mass


def _masses_converged(cell: CellResult) -> bool:
    return all(mass.converged for masses in (cell.masses, cell.masses_spin_orbit) for _, mass in _carriers(masses))


def _character(cell: CellResult) -> dict[str, float | None]:
    if cell.pdos is None:
        return {}
    character = cell.pdos.edge_character
    return {
        f"pdos.edge_character.{edge}.{orbital}": share
        for edge, shares in (("vbm", character.vbm), ("cbm", character.cbm))
        for orbital, share in (shares or {}).items()
    }


def _distortion(distortion: Distortion | None) -> dict[str, float | None]:
    if distortion is None:
        return {}
    angles, ions = distortion.pb_br_pb_deg, distortion.fa_axis_deg
    found: dict[str, float | None] = {
        "distortion.pb_br_pb_deg": fmean(angles) if angles else None,
        "distortion.bond_length_variance": distortion.bond_length_variance,
        "distortion.angle_variance_deg2": distortion.angle_variance_deg2,
    }
    found |= {f"distortion.tilts_deg.{axis}": tilt for axis, tilt in (distortion.tilts_deg or {}).items()}
    if ions:
        found |= {f"distortion.fa_axis_deg.{axis}": fmean(ion[axis] for ion in ions) for axis in ions[0]}
    return found


def _excitation(excitation: Excitation) -> dict[str, float | None]:
    name = f"excitation.{excitation.kind}"
    found: dict[str, float | None] = {f"{name}.{field}": getattr(excitation, field) for field in _OF_EXCITATION}
    for field in _BY_GROUP:
        found |= {f"{name}.{field}.{group}": share for group, share in (getattr(excitation, field) or {}).items()}
    return found
