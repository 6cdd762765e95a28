"""What a convergence study asks for: the cell, the cutoffs and the meshes, each checked before anything runs."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pymatgen.core import Structure

from corecrown.errors import InputError, known_names
from corecrown.postprocess.convergence import Quantity
from corecrown.postprocess.results import Step
from corecrown.structures.cells import CellSpec, committed_relaxed, expand_cells
from corecrown.workflows.kpoints import mesh_from_spacing
from corecrown.workflows.protocols import Functional, StepSettings, load_protocol

__all__ = ["ConvergenceRequest", "Point", "choose_cell", "make_request"]

Mesh = tuple[int, int, int]

CUTOFFS_RY = (40.0, 50.0, 60.0, 80.0, 100.0)
SPACINGS = (0.80, 0.55, 0.40, 0.28)
"""Meshes of a cell where none are named, 1/Å with 2π: Γ alone for 20 atoms, then those of fast and balanced."""
_BUILT = re.compile(r"fa(\d{1,3}(?:\.\d+)?)(?:-([abc]))?(?:-(fapbbr3))?(?:-s(\d+(?:\.\d+)*))?")


@dataclass(frozen=True)
class Point:
    """One cutoff and mesh, and its label, which names its folder."""

    cutoff_ry: float
    mesh: Mesh

    @property
    def label(self) -> str:
        """For example ``040Ry-2x2x1``, so that folders sort by cutoff."""
        whole, _, part = f"{self.cutoff_ry:g}".partition(".")
        return f"{whole:0>3}{'.' + part if part else ''}Ry-{'x'.join(str(n) for n in self.mesh)}"


class ConvergenceRequest(BaseModel):
    """What is to be varied, and what stays."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    cell: str
    vary: tuple[Quantity, ...] = Field((Quantity.CUTOFF, Quantity.MESH), min_length=1)
    protocol: str = "fast"
    functional: Functional = Functional.PBE
    cutoffs_ry: tuple[float, ...] = ()
    meshes: tuple[Mesh, ...] = ()
    fixed_cutoff_ry: float = Field(gt=0, description="of the mesh series")
    fixed_mesh: Mesh = Field(description="of the cutoff series")
    stress: bool = True

    @property
    def points(self) -> list[Point]:
        """Every point once, cheap ones first within a series."""
        found: list[Point] = []
        if Quantity.CUTOFF in self.vary:
            found += [Point(cutoff, self.fixed_mesh) for cutoff in sorted(self.cutoffs_ry)]
        if Quantity.MESH in self.vary:
            by_size = sorted(self.meshes, key=lambda mesh: mesh[0] * mesh[1] * mesh[2])
            found += [Point(self.fixed_cutoff_ry, mesh) for mesh in by_size]
        return list(dict.fromkeys(found))

    @property
    def fixed(self) -> dict[Quantity, float | Mesh]:
        """What stays fixed while each quantity is varied."""
        held: dict[Quantity, float | Mesh] = {
            Quantity.CUTOFF: self.fixed_mesh,
            Quantity.MESH: self.fixed_cutoff_ry,
        }
        return {quantity: held[quantity] for quantity in self.vary}


def choose_cell(cell: str) -> tuple[str, Structure]:
    """Return label and structure of a cell: a structure file, or a label such as ``fa000`` or ``fa025-b``.

    A label means the relaxed cell that ships with the package, where there is one, and otherwise the cell as built.

    Raises
    ------
    InputError
        If it is neither.
    """
    path = Path(cell)
    if path.is_file():
        spec = CellSpec(file=path.resolve())
        found = expand_cells([spec], Path.cwd())[0]
        return found.label, found.structure
    relaxed = committed_relaxed(cell)
    if relaxed is not None:
        return cell, relaxed
    match = _BUILT.fullmatch(cell)
    if match:
        percent, alignment, lattice, sites = match.groups()
        keys = {"fa": float(percent), "alignment": alignment, "lattice": lattice, "sites": _sites(sites)}
        try:
            spec = CellSpec.model_validate({key: value for key, value in keys.items() if value is not None})
        except ValidationError as error:
            message = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
            raise InputError(f"cell {cell!r}: {message}", "see corecrown build --help for what can be built") from error
        relaxed = committed_relaxed(spec.base_label())
        if relaxed is not None:
            return spec.base_label(), relaxed
        built = {one.label: one.structure for one in expand_cells([spec], Path.cwd())}
        if len(built) == 1:
            return next(iter(built.items()))
        raise InputError(f"cell {cell!r} stands for several cells", f"choose one: {', '.join(built)}")
    raise InputError(
        f"cell {cell!r} is neither a structure file nor the label of a cell", "for example fa000, fa025-b, or mine.cif"
    )


def _sites(text: str | None) -> tuple[int, ...] | None:
    """Return the sites that a label names: one digit each, or with points between where there are ten or more."""
    return None if text is None else tuple(int(part) for part in (text.split(".") if "." in text else text))


def make_request(
    cell: str,
    structure: Structure,
    vary: Sequence[str] = ("cutoff", "mesh"),
    *,
    protocol: str = "fast",
    functional: str = "PBE",
    cutoffs_ry: Sequence[float] | None = None,
    meshes: Sequence[Mesh] | None = None,
    fixed_cutoff_ry: float | None = None,
    fixed_mesh: Mesh | None = None,
    stress: bool = True,
) -> ConvergenceRequest:
    """Return a request with what was not said filled in from the protocol and the cell.

    Parameters
    ----------
    cell
        Label.
    structure
        The cell; its meshes follow from it where none are named.
    vary
        ``cutoff``, ``mesh`` or both.
    protocol
        Gives the cutoff of the mesh series, the mesh of the cutoff series, and the thresholds of all.
    cutoffs_ry, meshes
        Points of the two series.
    fixed_cutoff_ry, fixed_mesh
        In place of the protocol's.
    stress
        Whether the pressure is computed; without it points cost less.

    Raises
    ------
    InputError
        If a name is unknown or a value not allowed.
    """
    if not vary:
        raise InputError("vary: nothing is named", f"known: {', '.join(Quantity)}")
    for name in vary:
        if name not in list(Quantity):
            raise InputError(f"vary: {name!r} cannot be varied", known_names(name, Quantity))
    if functional not in list(Functional):
        raise InputError(f"functional {functional!r} is unknown", known_names(functional, Functional))
    settings: StepSettings = load_protocol(protocol).settings(Step.SCF)
    own_mesh = settings.kpoint_mesh or mesh_from_spacing(structure, settings.kpoint_spacing or 1.0)
    wanted = tuple(dict.fromkeys(cutoffs_ry if cutoffs_ry is not None else CUTOFFS_RY))
    if meshes is None:
        meshes = [mesh_from_spacing(structure, spacing) for spacing in SPACINGS]
    grids = tuple(dict.fromkeys(meshes))
    fixed_cutoff = settings.cutoff_wfc_ry if fixed_cutoff_ry is None else fixed_cutoff_ry
    for cutoff in (*wanted, fixed_cutoff):
        if not 5 <= cutoff <= 1000:
            raise InputError(f"cutoff: {cutoff:g} Ry is not possible", "from 5 to 1000 Ry")
    for mesh in (*grids, fixed_mesh or own_mesh):
        if any(not 1 <= n <= 50 for n in mesh):
            raise InputError(f"mesh: {'x'.join(map(str, mesh))} is not possible", "three numbers from 1 to 50")
    for name, values in ((Quantity.CUTOFF, wanted), (Quantity.MESH, grids)):
        if name.value in vary and len(values) < 2:
            raise InputError(f"{name.value}: one point tells nothing of convergence", "give two or more")
    try:
        return ConvergenceRequest(
            cell=cell,
            vary=tuple(Quantity(name) for name in dict.fromkeys(vary)),
            protocol=protocol,
            functional=Functional(functional),
            cutoffs_ry=wanted if "cutoff" in vary else (),
            meshes=grids if "mesh" in vary else (),
            fixed_cutoff_ry=fixed_cutoff,
            fixed_mesh=fixed_mesh or own_mesh,
            stress=stress,
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{first['loc'][0]}: {first['msg']}", "check the options") from error
