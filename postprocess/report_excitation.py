"""The part of the report on excitations: shares by scheme, statements, and pictures of densities."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from pymatgen.core import Structure

from corecrown.postprocess.excitation_cubes import read_density
from corecrown.postprocess.excitation_level import excitation_level
from corecrown.postprocess.plots.cells import result_title
from corecrown.postprocess.plots.excitation import ExcitedCell, plot_shares
from corecrown.postprocess.report_text import NOTHING, Table, joined, merged_notes, number_text, shares_text, unique
from corecrown.postprocess.results import CellResult, ChargePartition, Excitation

__all__ = [
    "CHANGES_CAPTION",
    "EXCITATION_TEXT",
    "SHARES_CAPTION",
    "excitation_statements",
    "excitation_table",
    "excited_cell",
    "partition_table",
    "relaxed_table",
    "shares_figure",
    "surfaces_caption",
]

EXCITATION_TEXT = (
    "What a semilocal functional can and cannot tell: it spreads charge too far, so that it may miss charge that "
    "would localise, on FA or elsewhere; its excited states hold no exciton; energies of charged cells depend on the "
    "cell. Differences between cells computed alike say more than the numbers of one."
)

_PREFIX = "excitation_"

SHARES_CAPTION = (
    "Shares of the groups in the orbitals of electron and hole (frozen, of the ground state) and in the charge gained "
    "and lost by the relaxed density. Bars: mean of the schemes; lines: their range; diamonds: share of the volume, "
    "which a uniform charge would have."
)
_CHANGE = "Δρ (yellow gains, cyan loses)"
CHANGES_CAPTION = (
    "Density of the excited state less that of the ground state, summed along each axis of the cell, to one scale of "
    "colours. Red gains, blue loses; points are atoms, FA in one colour."
)


def surfaces_caption(cells: Sequence[ExcitedCell]) -> str:
    """Say what the surfaces of cells are, of those densities that there are."""
    orbitals = [name for cell in cells for name in cell.orbitals]
    emptied = ["the emptied (cyan)"] if any(not name.startswith("cbm") for name in orbitals) else []
    filled = ["the filled orbital (yellow)"] if any(name.startswith("cbm") for name in orbitals) else []
    shown, enclosed = [], []
    if orbitals:
        drawn = joined([*emptied, *filled]) if filled else "the emptied orbital (cyan)"
        shown.append(f"|ψ|² of {drawn} of the ground state")
        enclosed.append("each electron")
    if any(cell.difference is not None for cell in cells):
        shown.append(f"{'' if orbitals else 'Density of the excited state less that of the ground state, '}{_CHANGE}")
        enclosed.append("∫|Δρ|")
    return (
        f"{', and '.join(shown)}, as surfaces that enclose half of {joined(enclosed)}, at the level below each; flat "
        "where the cell cuts them. Octahedra and molecules are drawn whole, beyond the cell where they reach."
    )


def excitation_table(cells: Sequence[CellResult]) -> Table | None:
    """Return excitations and where their charge sits."""
    rows = []
    notes: list[str] = []
    for cell in cells:
        for found in cell.excitation:
            kept = "yes" if found.occupations_kept else "no"
            moved = [shares_text(groups) for groups in (found.electron_by_group, found.hole_by_group)]
            changed = [shares_text(groups) for groups in (found.gained_by_group, found.lost_by_group)]
            energies = (number_text(found.energy_ev), number_text(found.ks_gap_ev))
            rows.append((cell.label, found.kind, *energies, kept, *moved, *changed, number_text(found.moved_e, 2)))
            level = excitation_level(cell, found)
            notes.append(f"computed with {level}" if level else f"{cell.label}: level of the excitation not recorded")
            if found.scheme:
                notes.append(f"space shared out by {found.scheme}")
    said = [(cell.label, note) for cell in cells for found in cell.excitation for note in found.notes]
    if not rows:
        return None
    return Table(
        "Delta-SCF excitations at Γ with two spins, energies in eV. "
        "Kept: whether the occupations stayed as set. Electron and hole: frozen orbitals, each sums to 1. "
        "Gained and lost: difference of the relaxed densities, in electrons.",
        ("Cell", "Kind", "Energy", "Kohn-Sham gap", "Kept", "Electron", "Hole", "Gained", "Lost", "Moved"),
        rows,
        [*unique(notes), *merged_notes(said)],
        frozenset({1, 5, 6, 7, 8}),
    )


def partition_table(cells: Sequence[CellResult]) -> Table | None:
    """Return how much of an excitation FA and each element have, a row a scheme."""
    groups: list[str] = []
    for partition in _all_partitions(cells):
        groups += [name for name in _some(partition) if name not in groups]
    rows = [
        (
            cell.label,
            found.kind,
            partition.scheme,
            *(_four(partition, group) for group in groups),
        )
        for cell in cells
        for found in cell.excitation
        for partition in found.partitions
    ]
    if not rows:
        return None
    return Table(
        "Shares by scheme: electron / hole (frozen orbitals, each sums to 1), net charge gained (electrons), and in "
        "brackets the share of the volume, which a uniform charge would have.",
        ("Cell", "Kind", "Scheme", *groups),
        rows,
        wordy=frozenset({1, 2}),
    )


def relaxed_table(cells: Sequence[CellResult]) -> Table | None:
    """Return what becomes of excited states at geometries of their own, a row a state."""
    rows = []
    for cell in cells:
        for found in cell.excitation:
            if found.relaxed_energy_ev is None:
                continue
            energies = (found.energy_ev, found.relaxed_energy_ev, found.emission_ev, found.stokes_shift_ev)
            bonds = "; ".join(
                f"{pair} {change['before']:.3f} → {change['after']:.3f} "
                f"(+{change['longest_gain']:.3f}, −{change['longest_loss']:.3f})"
                for pair, change in found.bond_changes.items()
            )
            moved = number_text(found.relaxation_angstrom)
            rows.append(
                (cell.label, found.kind, *(number_text(energy) for energy in energies), moved, bonds or NOTHING)
            )
    if not rows:
        return None
    return Table(
        "Excited states relaxed at fixed lattice, energies in eV, lengths in Å. Relaxed: excited state at its own "
        "geometry less ground state at its own. Emission: both at the excited state's. Bonds: mean before and after, "
        "and the most that a single one grows and shrinks.",
        ("Cell", "Kind", "Absorption", "Relaxed", "Emission", "Stokes shift", "Moved at most", "Bonds"),
        rows,
        wordy=frozenset({1, 7}),
    )


def _all_partitions(cells: Sequence[CellResult]) -> list[ChargePartition]:
    return [partition for cell in cells for found in cell.excitation for partition in found.partitions]


def _some(partition: ChargePartition) -> dict[str, float]:
    return partition.electron or partition.hole or partition.net or {}


def _four(partition: ChargePartition, group: str) -> str:
    if group not in _some(partition):
        return NOTHING
    electron, hole = (number_text((table or {}).get(group), 2) for table in (partition.electron, partition.hole))
    net = number_text((partition.net or {}).get(group), 3, signed=True)
    volume = f" [{number_text(partition.volume.get(group), 2)}]" if partition.volume else ""
    return f"{electron} / {hole}, {net}{volume}"


def excitation_statements(cells: Sequence[CellResult]) -> list[str]:
    """Return what the numbers say of the share of FA, a line an excitation, and what to keep in mind."""
    said = [
        f"{result_title(cell)}, {found.kind}: {found.statement}"
        for cell in cells
        for found in cell.excitation
        if found.statement
    ]
    return [*said, EXCITATION_TEXT] if any(cell.excitation for cell in cells) else []


def shares_figure(cells: Sequence[CellResult]) -> Figure:
    """Return the figure of shares of the first excitation of each cell."""
    excitations = {cell.label: first for cell in cells if (first := _first(cell)) is not None}
    return plot_shares(excitations, titles={cell.label: result_title(cell) for cell in cells})


def excited_cell(cell: CellResult, folder: Path) -> ExcitedCell | None:
    """Return the densities of a cell's first excitation, or None where there are none.

    Parameters
    ----------
    cell
        With the cubes among its ``files``.
    folder
        Of the study.

    Raises
    ------
    InputError
        If a cube is missing or cut off.
    """
    found = _first(cell)
    if found is None:
        return None
    changed = _file(cell, f"difference_{found.kind}")
    difference = read_density(folder / changed) if changed is not None else None
    names = (found.orbitals or "").split(">")
    cubes = {name: file for name in names if (file := _file(cell, f"orbital_{name}")) is not None}
    orbitals = {name: read_density(folder / file) for name, file in cubes.items()}
    known = [one for one in (difference, *orbitals.values()) if one is not None]
    if not known:
        return None
    return ExcitedCell(result_title(cell), _labelled(known[0].structure, cell), orbitals, difference)


def _first(cell: CellResult) -> Excitation | None:
    return next((found for found in cell.excitation if found.partitions), None)


def _file(cell: CellResult, name: str) -> str | None:
    return cell.files.get(name) or cell.files.get(f"{_PREFIX}{name}")


def _labelled(structure: Structure, cell: CellResult) -> Structure:
    """Return a structure with the groups of the cell's own, where it is the same cell."""
    own = Structure.from_dict(cell.structure)
    if len(own) != len(structure) or "group" not in own.site_properties:
        return structure
    return structure.copy(site_properties={"group": own.site_properties["group"]})
