"""The part of the report on excitations: shares by scheme, statements, and pictures of densities."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from pymatgen.core import Structure

from corecrown.postprocess.excitation_cubes import read_density
from corecrown.postprocess.plots.cells import cell_title
from corecrown.postprocess.plots.excitation import plot_density_change, plot_frozen_orbitals, plot_shares
from corecrown.postprocess.report_text import NOTHING, Table, number_text
from corecrown.postprocess.results import CellResult, ChargePartition, Excitation

__all__ = [
    "CAPTIONS",
    "EXCITATION_TEXT",
    "SHARES_CAPTION",
    "density_figures",
    "excitation_statements",
    "partition_table",
    "shares_figure",
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
CAPTIONS = {
    "density-change": "Density of the excited state less that of the ground state: cuts through the strongest gain, "
    "above, and its sum along each axis, below. Red gains, blue loses; points are atoms, FA in one colour.",
    "orbitals": "|ψ|² of the emptied and the filled orbital of the ground state, summed along each axis.",
}


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
        f"{cell_title(cell.label)}, {found.kind}: {found.statement}"
        for cell in cells
        for found in cell.excitation
        if found.statement
    ]
    return [*said, EXCITATION_TEXT] if any(cell.excitation for cell in cells) else []


def shares_figure(cells: Sequence[CellResult]) -> Figure:
    """Return the figure of shares of the first excitation of each cell."""
    return plot_shares({cell.label: first for cell in cells if (first := _first(cell)) is not None})


def density_figures(cell: CellResult, folder: Path) -> dict[str, Figure]:
    """Return the pictures of the densities of a cell's first excitation, by name.

    Parameters
    ----------
    cell
        With the cubes among its ``files``.
    folder
        Of the study.
    """
    found = _first(cell)
    if found is None:
        return {}
    figures: dict[str, Figure] = {}
    title = f"{cell_title(cell.label)}, {found.kind}"
    changed = _file(cell, f"difference_{found.kind}")
    if changed is not None:
        density = read_density(folder / changed)
        figures["density-change"] = plot_density_change(density, _labelled(density.structure, cell), title)
    names = (found.orbitals or "").split(">")
    cubes = {name: file for name in names if (file := _file(cell, f"orbital_{name}")) is not None}
    orbitals = {name: read_density(folder / file) for name, file in cubes.items()}
    if orbitals:
        some = next(iter(orbitals.values())).structure
        figures["orbitals"] = plot_frozen_orbitals(orbitals, _labelled(some, cell), title)
    return figures


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
