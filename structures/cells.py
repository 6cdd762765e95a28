"""Cells as a study file names them: what an entry may say, the labels it gets, and the structures it stands for."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from corecrown.errors import InputError
from corecrown.resources import input_folder

if TYPE_CHECKING:
    from pymatgen.core import Structure

__all__ = ["Cell", "CellSpec", "EnsembleSpec", "committed_relaxed", "derive_cell", "expand_cells"]

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_BUILT_ONLY = ("alignment", "sites", "lattice", "ensemble", "supercell", "heads", "roll_deg", "strain")
_N_SITES = 4


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _only_known_keys(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            known = [item.alias or name for name, item in cls.model_fields.items()]
            allowed = {*known, *cls.model_fields}
            unknown = [str(key) for key in data if key not in allowed]
            if unknown:
                raise ValueError(f"unknown key {unknown[0]!r}; allowed: {', '.join(known)}")
        return data


class EnsembleSpec(_Strict):
    """How many configurations, and from which seed."""

    size: int = Field(ge=1, le=10_000)
    seed: int = Field(0, ge=0)


class CellSpec(_Strict):
    """One entry of ``cells:`` in a study file.

    It is one of: a cell to build (``fa``), one made from another cell of the study (``from`` with ``replace`` or
    ``strain_to``), or a structure of the user's (``file``).
    """

    fa: float | None = Field(None, ge=0, le=100, description="percentage of A sites that carry FA")
    alignment: Literal["a", "b", "c"] | tuple[float, float, float] | None = Field(
        None, description="direction of the N-N axes: a, b, c, or three Cartesian components"
    )
    sites: tuple[int, ...] | None = Field(None, description="A sites to substitute; without: every distinct choice")
    lattice: Literal["cspbbr3", "fapbbr3"] = "cspbbr3"
    supercell: tuple[int, int, int] = (1, 1, 1)
    label: str | None = None
    ensemble: EnsembleSpec | None = None
    heads: Literal["symmetric", "parallel", "random"] = "symmetric"
    roll_deg: float | None = None
    strain: float | Literal["auto"] | None = None
    from_: str | None = Field(None, alias="from", description="label of another cell of the study")
    replace: dict[str, str] | None = None
    strain_to: str | None = Field(None, description="label of the cell whose lattice is taken")
    file: Path | None = Field(None, description="a structure file, relative to the study file")

    @field_validator("label", "from_", "strain_to")
    @classmethod
    def _is_label(cls, value: str | None) -> str | None:
        if value is not None and not _LABEL.fullmatch(value):
            raise ValueError(f"{value!r} is not a label: letters, digits, '.', '_' and '-', it names a folder")
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> "CellSpec":
        kinds = [
            name for name, value in (("fa", self.fa), ("from", self.from_), ("file", self.file)) if value is not None
        ]
        if len(kinds) != 1:
            raise ValueError(
                f"a cell says exactly one of fa, from and file; this one says {' and '.join(kinds) or 'none'}"
            )
        if kinds[0] != "fa":
            extra = sorted(set(_BUILT_ONLY) & self.model_fields_set)
            if extra:
                raise ValueError(f"{extra[0]} goes with fa, not with {kinds[0]}")
        if kinds[0] == "from" and (self.replace is None) == (self.strain_to is None):
            raise ValueError("from needs exactly one of replace and strain_to")
        if kinds[0] != "from" and (self.replace is not None or self.strain_to is not None):
            raise ValueError("replace and strain_to need from")
        if self.replace is not None and self.replace != {"FA": "Cs"}:
            raise ValueError("replace: only {FA: Cs} is known")
        if self.from_ is not None and self.from_ == self.strain_to:
            raise ValueError("strain_to names the cell itself")
        if self.fa is not None:
            self._check_built()
        return self

    def _check_built(self) -> None:
        if self.fa == 0:
            extra = sorted({"alignment", "sites", "ensemble", "heads", "roll_deg"} & self.model_fields_set)
            if extra:
                raise ValueError(f"{extra[0]}: a cell of 0 % has no FA")
        if any(not 1 <= n <= 20 for n in self.supercell):
            raise ValueError("supercell: three whole numbers from 1 to 20")
        if self.sites is not None and len(set(self.sites)) != len(self.sites):
            raise ValueError("sites: a site is named twice")
        if self.ensemble is not None and ({"heads", "roll_deg", "strain"} & self.model_fields_set):
            raise ValueError("an ensemble draws heads and rolls itself and keeps the lattice")
        if isinstance(self.alignment, tuple) and self.label is None:
            raise ValueError("alignment: a cell with a direction of its own needs a label")

    @property
    def is_derived(self) -> bool:
        """Whether it is made from other cells of the study, once those are relaxed."""
        return self.from_ is not None

    @property
    def depends_on(self) -> tuple[str, ...]:
        """Labels of the cells it is made from."""
        return tuple(label for label in (self.from_, self.strain_to) if label is not None)

    def base_label(self) -> str:
        """Return the label of the entry, before what tells the cells of one entry apart."""
        if self.label is not None:
            return self.label
        if self.file is not None:
            return re.sub(r"[^A-Za-z0-9._-]+", "-", self.file.stem).strip("-.") or "file"
        if self.from_ is not None:
            return f"{self.from_}-{'framework' if self.replace is not None else 'strained'}"
        fa = self.fa or 0.0
        parts = [f"fa{round(fa):03d}" if abs(fa - round(fa)) < 0.005 else f"fa{fa:06.2f}".rstrip("0")]
        if isinstance(self.alignment, str):
            parts.append(self.alignment)
        elif fa and self.ensemble is None:
            parts.append("b")
        if self.lattice != "cspbbr3":
            parts.append(self.lattice)
        if self.supercell != (1, 1, 1):
            parts.append("x".join(str(n) for n in self.supercell))
        if self.heads != "symmetric":
            parts.append(self.heads)
        return "-".join(parts)


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
        Label of the ensemble it belongs to; results are averaged over a group.
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
            group=base,
            notes=(f"member {number} of {len(members)}, orientations drawn with seed {spec.ensemble.seed}",),
            spec=spec,
        )
        for number, member in enumerate(members, start=1)
    ]


def _built(spec: CellSpec) -> list[Cell]:
    from corecrown.structures.builder import DEFAULT_ALIGNMENT, build
    from corecrown.structures.substitution import describe

    assert spec.fa is not None
    alignment = spec.alignment
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
        Structures by label, normally as relaxed: what comes out is meant to be computed as it is, since relaxing it
        would undo what was changed.

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
    if not _LABEL.fullmatch(label) or not path.is_file():
        return None
    from corecrown.structures.files import read_structure

    return read_structure(path)
