"""Cells as a study file names them: what an entry may say, the labels it gets, and the structures it stands for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from corecrown.errors import InputError
from corecrown.resources import input_folder
from corecrown.structures.cell_specs import LABEL, CellSpec, EnsembleSpec

if TYPE_CHECKING:
    from pymatgen.core import Structure

__all__ = ["Cell", "CellSpec", "EnsembleSpec", "committed_relaxed", "derive_cell", "expand_cells"]

_N_SITES = 4


@dataclass(frozen=True)
class Cell:
    """A cell of a study, ready to be computed.

    Attributes
    ----------
    label
        Its name in results and folders.
    structure
        As built. For a cell made from others (``spec.is_derived``) this is made from the others as built; before it is
        computed, :func:`derive_cell` makes it from the others as relaxed.
    fa_fraction
        Fraction (0 to 1) of the A sites that carry FA; None if the structure has neither Cs nor FA.
    alignment
        "a", "b", "c", a vector in words, or None where ions are turned at random or there are none.
    group
        Label of the ensemble it belongs to (``fa025-e``, of which ``fa025-e01`` is a member); results get mean and
        spread over a group.
    parent
        Label of the cell it is made from.
    depends_on
        Labels of all cells it is made from; they are relaxed first.
    notes
        What to keep in mind: conversion to Pbnm, shifts, strain.
    spec
        The entry of the study file.
    """

    label: str
    structure: "Structure"
    fa_fraction: float | None
    alignment: str | None
    group: str | None = None
    parent: str | None = None
    depends_on: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    spec: CellSpec = field(default_factory=lambda: CellSpec(fa=0))


def expand_cells(specs: Sequence[CellSpec], base_dir: Path) -> list[Cell]:
    """Build the cells that the entries of a study file stand for.

    Parameters
    ----------
    specs
        Entries, in their order.
    base_dir
        Folder that relative paths are relative to.

    Returns
    -------
    list of Cell
        In the order of the entries; an entry without ``sites`` gives a cell for every symmetry-distinct choice, an
        ensemble one for every member.

    Raises
    ------
    InputError
        If a cell cannot be built, two have the same label, or one is made from a label that is not there.
    """
    cells: dict[str, Cell] = {}
    places: dict[str, int] = {}
    waiting: list[tuple[int, CellSpec]] = []
    for place, spec in enumerate(specs):
        if spec.is_derived:
            waiting.append((place, spec))
            continue
        for cell in _expand(spec, base_dir):
            _add(cells, places, cell, place)
    while waiting:
        ready = [item for item in waiting if all(label in cells for label in item[1].depends_on)]
        if not ready:
            _refuse_missing(waiting[0][1], cells, [spec for _, spec in waiting])
        for place, spec in ready:
            _add(cells, places, _derived(spec, cells), place)
        waiting = [item for item in waiting if item not in ready]
    return sorted(cells.values(), key=lambda cell: places[cell.label])


def _add(cells: dict[str, Cell], places: dict[str, int], cell: Cell, place: int) -> None:
    if cell.label in cells:
        raise InputError(
            f"cells[{place}]: label {cell.label} is taken by cells[{places[cell.label]}]", "give one of them a label"
        )
    cells[cell.label] = cell
    places[cell.label] = place


def _refuse_missing(spec: CellSpec, cells: Mapping[str, Cell], waiting: Sequence[CellSpec]) -> None:
    missing = next(label for label in spec.depends_on if label not in cells)
    circular = missing in {other.base_label() for other in waiting}
    raise InputError(
        f"cell {spec.base_label()}: is made from {missing}, which "
        + ("is made from it in turn" if circular else "is not a cell of this study"),
        f"cells of this study: {', '.join(cells) or 'none'}",
    )


def _expand(spec: CellSpec, base_dir: Path) -> list[Cell]:
    try:
        if spec.file is not None:
            return [_from_file(spec, base_dir)]
        if spec.ensemble is not None:
            return _members(spec)
        return _built(spec)
    except InputError as error:
        raise InputError(f"cell {spec.base_label()}: {error.message}", error.hint) from error


def _from_file(spec: CellSpec, base_dir: Path) -> Cell:
    from corecrown.structures.files import read_structure
    from corecrown.structures.setting import to_pbnm

    assert spec.file is not None
    structure, notice = to_pbnm(read_structure(base_dir / spec.file))
    return Cell(
        spec.base_label(),
        structure,
        _fa_fraction(structure),
        None,
        notes=(f"from {spec.file.name}", *((notice,) if notice else ())),
        spec=spec,
    )


def _members(spec: CellSpec) -> list[Cell]:
    from corecrown.structures.builder import repeat
    from corecrown.structures.crystals import host
    from corecrown.structures.ensembles import ensemble

    assert spec.ensemble is not None
    assert spec.fa is not None
    members = ensemble(
        repeat(host(spec.lattice), spec.supercell),
        spec.fa,
        spec.ensemble.size,
        spec.ensemble.seed,
        alignment=spec.alignment,
        sites=spec.sites,
    )
    base = spec.base_label()
    width = max(2, len(str(len(members))))
    return [
        Cell(
            f"{base}-e{number:0{width}d}",
            member,
            _fa_fraction(member),
            spec.alignment if isinstance(spec.alignment, str) else None,
            group=f"{base}-e",
            notes=(f"member {number} of {len(members)}, orientations drawn with seed {spec.ensemble.seed}",),
            spec=spec,
        )
        for number, member in enumerate(members, start=1)
    ]


def _built(spec: CellSpec) -> list[Cell]:
    from corecrown.structures.builder import DEFAULT_ALIGNMENT, build
    from corecrown.structures.substitution import describe

    assert spec.fa is not None
    alignment: str | tuple[float, float, float] | None = spec.alignment
    notes: list[str] = []
    if spec.fa and alignment is None:
        alignment = DEFAULT_ALIGNMENT
        notes.append(f"no alignment was named: {DEFAULT_ALIGNMENT} was taken")
    base = spec.base_label()
    choices = _site_choices(spec)
    cells = []
    for sites in choices:
        structure = build(
            spec.fa,
            alignment,
            spec.lattice,
            spec.supercell,
            sites,
            heads=spec.heads,
            roll_deg=spec.roll_deg,
            strain=spec.strain,
        )
        named = sites is not None and (spec.sites is not None or len(choices) > 1)
        label = f"{base}-s{_join(sites)}" if named and sites is not None and spec.label is None else base
        if named and sites is not None and spec.label is not None and len(choices) > 1:
            label = f"{base}-s{_join(sites)}"
        cells.append(
            Cell(
                label,
                structure,
                _fa_fraction(structure),
                None if not spec.fa else alignment if isinstance(alignment, str) else f"{list(alignment or ())}",
                notes=(*notes, *describe(structure)),
                spec=spec,
            )
        )
    return cells


def _join(sites: Sequence[int]) -> str:
    return "".join(map(str, sites)) if max(sites, default=0) < 10 else ".".join(map(str, sites))


def _site_choices(spec: CellSpec) -> list[tuple[int, ...] | None]:
    """Return the choices of sites an entry stands for; None where all sites, or none, carry FA."""
    from corecrown.structures.builder import repeat
    from corecrown.structures.crystals import host
    from corecrown.structures.substitution import count_for_percentage
    from corecrown.structures.symmetry import distinct_site_choices

    if spec.sites is not None:
        return [spec.sites]
    assert spec.fa is not None
    n_sites = _N_SITES * spec.supercell[0] * spec.supercell[1] * spec.supercell[2]
    count = count_for_percentage(spec.fa, n_sites)
    if count in {0, n_sites}:
        return [None]
    return [*distinct_site_choices(repeat(host(spec.lattice), spec.supercell), count)]


def _derived(spec: CellSpec, cells: Mapping[str, Cell]) -> Cell:
    parent = cells[spec.from_ or ""]
    structure = derive_cell(spec, {label: cells[label].structure for label in spec.depends_on})
    if spec.replace is not None:
        note = f"lattice and Pb-Br framework of {spec.from_}, Cs in place of FA"
    else:
        note = f"fractional positions of {spec.from_} in the lattice of {spec.strain_to}"
    return Cell(
        spec.base_label(),
        structure,
        _fa_fraction(structure),
        None if spec.replace is not None else parent.alignment,
        parent=spec.from_,
        depends_on=spec.depends_on,
        notes=(note,),
        spec=spec,
    )


def derive_cell(spec: CellSpec, parents: Mapping[str, "Structure"]) -> "Structure":
    """Make a cell from other cells of the study.

    Parameters
    ----------
    spec
        An entry with ``from``.
    parents
        Structures by label, normally as relaxed: what comes out is meant to be computed as it is, or with its atoms
        relaxed in the lattice it was given; relaxing that too would undo what was changed.

    Raises
    ------
    InputError
        If the entry is not made from others, a parent is missing, or the cells do not fit.
    """
    from corecrown.structures.counterfactuals import replace_formamidinium, strain_to

    if spec.from_ is None:
        raise InputError(f"cell {spec.base_label()} is not made from another cell", "it is built by expand_cells")
    missing = [label for label in spec.depends_on if label not in parents]
    if missing:
        raise InputError(
            f"cell {spec.base_label()}: the structure of {missing[0]} is missing", "compute that cell first"
        )
    try:
        if spec.strain_to is not None:
            return strain_to(parents[spec.from_], parents[spec.strain_to])
        return replace_formamidinium(parents[spec.from_])
    except InputError as error:
        raise InputError(f"cell {spec.base_label()}: {error.message}", error.hint) from error


def _fa_fraction(structure: "Structure") -> float | None:
    from corecrown.structures.formamidinium import find_formamidinium

    n_fa = len(find_formamidinium(structure))
    n_cs = sum(site.specie.symbol == "Cs" for site in structure)
    return n_fa / (n_fa + n_cs) if n_fa + n_cs else None


def committed_relaxed(label: str) -> "Structure | None":
    """Return the relaxed cell of this label that ships with the package, or None.

    It is ``inputs/crystals/relaxed/LABEL.json``, a pymatgen structure with its site properties and, in
    ``properties``, how it was relaxed; the CIF beside it is for people.
    """
    path = input_folder("crystals", "relaxed", f"{label}.json")
    if not LABEL.fullmatch(label) or not path.is_file():
        return None
    from corecrown.structures.files import read_structure

    return read_structure(path)
