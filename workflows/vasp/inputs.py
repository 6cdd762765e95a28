"""What to write for VASP: from a cell, settings and a level of theory to INCAR, KPOINTS, POSCAR and POTCAR.

The INCAR begins with atomate2's input set of the kind of calculation; whatever decides the physics is set here, so that
both engines compute the same thing and a new default of atomate2 changes nothing unseen.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import units
from pymatgen.core import Lattice, Structure
from pymatgen.io.vasp.inputs import Kpoints, Poscar

from corecrown.errors import InputError
from corecrown.workflows.kpoints import KpointPath, count_irreducible, mesh_from_spacing
from corecrown.workflows.protocols import Functional, RelaxSettings, StepSettings, Theory
from corecrown.workflows.vasp.incar import changed, incar_text, physics_of
from corecrown.workflows.vasp.potcars import PotcarFile, find_potcars

__all__ = [
    "BANDS_MULTIPLE",
    "GGA_TAG",
    "ISIF_ATOMS",
    "ISIF_CELL",
    "Program",
    "VaspInput",
    "bands_per_electron_pair",
    "grouped_order",
    "make_input",
    "mesh_of",
    "path_kpoints",
    "relax_tags",
]

FloatArray = npt.NDArray[np.float64]


class Program(StrEnum):
    """The programs of VASP that are called."""

    STD = "vasp_std"
    NCL = "vasp_ncl"


ISIF_CELL, ISIF_ATOMS = 3, 2
"""VASP's ISIF where cell and atoms relax, and where the atoms do alone; the stress is computed in both."""

BANDS_MULTIPLE = 8
"""NBANDS is a multiple of this, so that the usual ways to spread bands over ranks leave it alone."""

SPARE_BANDS = 8
"""Empty bands beyond those that are wanted: VASP's iterative diagonalisation converges the highest ones last."""

GGA_TAG = {Functional.PBE: "PE", Functional.PBESOL: "PS"}

_ASCII = {"Γ": "\\Gamma"}

_COMMON: dict[str, Any] = {
    "ADDGRID": None,
    "ALGO": "Normal",
    "ISMEAR": 0,
    "SIGMA": 0.05,
    "ISPIN": 1,
    "LAECHG": False,
    "LASPH": True,
    "LMIXTAU": None,
    "LORBIT": None,
    "LREAL": False,
    "LVTOT": False,
    "LWAVE": False,
    "MAGMOM": None,
    "NEDOS": None,
    "PREC": "Accurate",
}
"""Set for every calculation; None takes a tag out of atomate2's set."""


@dataclass(frozen=True)
class VaspInput:
    """The four inputs of one calculation with VASP.

    Parameters
    ----------
    structure
        The cell, atoms in our order.
    incar
        Tags and values.
    potcars
        By element.
    program
        Which program is called.
    mesh, shift
        Γ-centred mesh and its shift (1 for half a step), or None where ``kpoints`` are listed.
    kpoints
        Shape (n, 3), fractional; listed points.
    weights
        Shape (n,), of the listed points; zero for points that only bands are wanted at.
    labels
        Names of the listed points, empty where they have none; for programs that read the folder.
    before
        Tags of a run before this one, from whose wavefunctions it starts (hybrids), as changes to ``incar``.
    after
        Tags of runs that start from this one's wavefunctions (excited states), by name, as changes to ``incar``.
    """

    structure: Structure
    incar: Mapping[str, Any]
    potcars: Mapping[str, PotcarFile]
    program: Program = Program.STD
    mesh: tuple[int, int, int] | None = None
    shift: tuple[int, int, int] = (0, 0, 0)
    kpoints: FloatArray | None = field(default=None, compare=False)
    weights: FloatArray | None = field(default=None, compare=False)
    labels: Sequence[str] = ()
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def order(self) -> list[int]:
        """Index in our cell of each atom of POSCAR, where atoms of an element stand together."""
        return grouped_order(self.structure)

    @property
    def grouped(self) -> Structure:
        """The cell with its atoms in the order of POSCAR."""
        lattice = self.structure.lattice.matrix
        exact = Lattice(np.where(np.abs(lattice) < 1e-10, 0.0, lattice))  # rounding would look like lost symmetry
        sites = [self.structure[index] for index in self.order]
        return Structure(exact, [site.specie for site in sites], [site.frac_coords for site in sites])

    @property
    def elements(self) -> list[str]:
        """Elements in the order of POSCAR and POTCAR."""
        return list(dict.fromkeys(site.specie.symbol for site in self.structure))

    @property
    def n_electrons(self) -> float:
        """Number of valence electrons of the cell."""
        return float(sum(self.potcars[site.specie.symbol].z_valence for site in self.structure))

    @property
    def n_bands(self) -> int:
        """Number of bands that are asked for."""
        return int(self.incar["NBANDS"])

    @property
    def n_kpoints(self) -> int:
        """Number of k-points that the program will have to treat."""
        if self.kpoints is not None:
            return len(self.kpoints)
        assert self.mesh is not None
        if int(self.incar.get("ISYM", 2)) < 0:
            return int(np.prod(self.mesh))
        if int(self.incar.get("ISYM", 2)) == 0:
            return (int(np.prod(self.mesh)) + 1) // 2
        return count_irreducible(self.structure, self.mesh, self.shift)

    def files(self) -> dict[str, str]:
        """Return INCAR, KPOINTS, POSCAR and POTCAR.spec as text, and POTCAR where it is in reach."""
        files = {
            "INCAR": incar_text(self.incar),
            "KPOINTS": str(self._kpoints()),
            "POSCAR": Poscar(self.grouped, comment=self.structure.formula).get_str(significant_figures=16),
            "POTCAR.spec": "".join(f"{self.potcars[element].symbol}\n" for element in self.elements),
        }
        texts = [self.potcars[element].text for element in self.elements]
        if all(texts):
            files["POTCAR"] = "".join(f"{text}".rstrip("\n") + "\n" for text in texts)
        if self.before is not None:
            files["INCAR.before"] = incar_text(self.incar_before())
        for name, tags in self.after.items():
            files[f"INCAR.{name}"] = incar_text(changed(self.incar, tags))
        return files

    def incar_before(self) -> dict[str, Any]:
        """Return the tags of the run before this one."""
        return changed(self.incar, self.before or {})

    def with_incar(self, **tags: Any) -> "VaspInput":
        """Return the same input with tags set, or taken out where they are None."""
        return replace(self, incar=changed(self.incar, tags))

    def with_structure(self, structure: Structure) -> "VaspInput":
        """Return the same input for another geometry of the same atoms."""
        return replace(self, structure=structure)

    def identity(self) -> dict[str, Any]:
        """Return all that determines the result, for hashing: physics, not how it is reached."""
        return {
            "lattice": np.round(self.structure.lattice.matrix, 8).tolist(),
            "species": [site.specie.symbol for site in self.structure],
            "positions": np.round(self.structure.frac_coords % 1.0, 8).tolist(),
            "incar": physics_of(self.incar),
            "program": self.program.value,
            "mesh": self.mesh,
            "shift": self.shift,
            "kpoints": None if self.kpoints is None else np.round(self.kpoints, 8).tolist(),
            "weights": None if self.weights is None else np.round(self.weights, 8).tolist(),
            "potcars": {element: [potcar.title, potcar.sha256] for element, potcar in sorted(self.potcars.items())},
        }

    def _kpoints(self) -> Kpoints:
        if self.kpoints is None:
            assert self.mesh is not None
            shift = tuple(step / 2 for step in self.shift)
            return Kpoints(
                comment="Gamma-centred mesh",
                style=Kpoints.supported_modes.Gamma,
                kpts=(self.mesh,),
                kpts_shift=shift,
            )
        weights = np.ones(len(self.kpoints)) if self.weights is None else self.weights
        return Kpoints(
            comment="listed k-points",
            style=Kpoints.supported_modes.Reciprocal,
            num_kpts=len(self.kpoints),
            kpts=tuple(tuple(float(value) + 0.0 for value in point) for point in np.round(self.kpoints, 12)),
            kpts_weights=[float(weight) for weight in weights],
            labels=[_ASCII.get(label, label) for label in self.labels] or None,
        )


def grouped_order(structure: Structure) -> list[int]:
    """Return atom indices such that the atoms of an element follow each other, elements as they first appear."""
    elements = list(dict.fromkeys(site.specie.symbol for site in structure))
    return sorted(range(len(structure)), key=lambda index: (elements.index(structure[index].specie.symbol), index))


def mesh_of(structure: Structure, settings: StepSettings) -> tuple[int, int, int]:
    """Return the mesh that settings mean for a cell."""
    if settings.kpoint_mesh is not None:
        return settings.kpoint_mesh
    assert settings.kpoint_spacing is not None
    return mesh_from_spacing(structure, settings.kpoint_spacing)


def path_kpoints(path: KpointPath) -> dict[str, Any]:
    """Return the k-points of a path as fields of an input: corners twice, as in VASP's line mode, and named.

    pymatgen and sumo tell lines by corners that stand twice.
    """
    places = list(range(len(path.points)))
    for place in reversed(range(1, len(path.points) - 1)):
        before, here, after = path.labels[place - 1 : place + 2]
        if here and not before and not after:
            places.insert(place, place)
    labels = [path.labels[place] for place in places]
    return {"kpoints": np.asarray(path.points)[places], "weights": np.ones(len(places)), "labels": labels}


def bands_per_electron_pair(theory: Theory) -> int:
    """Return how many bands an electron pair fills: two spinors, or one band without spin-orbit coupling."""
    return 2 if theory.spin_orbit else 1


def make_input(
    generator: str,
    structure: Structure,
    settings: StepSettings,
    theory: Theory,
    tags: Mapping[str, Any] | None = None,
    *,
    mode: str | None = None,
    **fields: Any,
) -> VaspInput:
    """Return the input of a calculation.

    Parameters
    ----------
    generator
        Name of a set of :mod:`atomate2.vasp.sets.core` that the INCAR begins with.
    structure
        The cell, neutral and of closed shells.
    settings, theory
        How carefully, and at which level of theory.
    tags
        INCAR tags of this calculation; they win over all others.
    mode
        Mode of the set, where it has modes.
    fields
        ``kpoints``, ``weights`` and ``labels`` where k-points are listed; without them the mesh of the settings.

    Raises
    ------
    InputError
        If the electrons cannot fill bands in pairs, or a POTCAR is unknown.
    """
    potcars = find_potcars(site.specie.symbol for site in structure)
    electrons = sum(potcars[site.specie.symbol].z_valence for site in structure)
    if electrons % 2:
        raise InputError(
            f"{structure.formula}: {electrons:g} electrons, an odd number, cannot fill bands in pairs",
            "a neutral cell of closed-shell ions has an even number; check the cell",
        )
    own: dict[str, Any] = {
        **_COMMON,
        "GGA": GGA_TAG[theory.functional],
        "ENCUT": settings.encut_ev,
        "EDIFF": float(f"{settings.scf_threshold_ry_per_atom * len(structure) * units.Rydberg:.3e}"),
        "NELM": settings.max_scf_iterations,
        "NBANDS": count_bands(electrons, settings.conduction_bands, theory),
        "ICHARG": None,
        **(tags or {}),
    }
    if theory.dispersion:
        own["IVDW"] = 12
    program = Program.STD
    if theory.spin_orbit:
        program = Program.NCL
        own |= {"LSORBIT": True, "ISPIN": None, "ISYM": -1, "GGA_COMPAT": False}
    if "kpoints" not in fields:
        fields |= {"mesh": mesh_of(structure, settings), "shift": settings.kpoint_shift}
    plain = VaspInput(structure, own, potcars, program, **fields)
    incar = _from_atomate2(generator, mode, plain)
    if theory.spin_orbit:
        incar["MAGMOM"] = f"{3 * len(structure)}*0"
    return replace(plain, incar=incar)


def count_bands(electrons: float, empty: int, theory: Theory) -> int:
    """Return NBANDS: the filled bands, the empty ones that are wanted, spare ones, rounded up."""
    pairs = ceil(electrons / 2)
    wanted = (pairs + empty + max(SPARE_BANDS, ceil(0.05 * pairs))) * bands_per_electron_pair(theory)
    return BANDS_MULTIPLE * ceil(wanted / BANDS_MULTIPLE)


def _from_atomate2(name: str, mode: str | None, inputs: VaspInput) -> dict[str, Any]:
    """Return the INCAR that atomate2's set gives with our tags over its own, machine settings of the user included."""
    from atomate2 import SETTINGS
    from atomate2.vasp.sets import core

    options: dict[str, Any] = {} if mode is None else {"mode": mode}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about sets of Materials Project, which these are not meant to equal
        made = getattr(core, name)(
            user_incar_settings=dict(inputs.incar),
            user_kpoints_settings=inputs._kpoints(),
            sort_structure=False,
            auto_ismear=False,
            auto_metal_kpoints=False,
            inherit_incar=False,
            validate_magmom=False,
            **options,
        )
        written = made.get_input_set(inputs.grouped, potcar_spec=True)
    machine = {str(tag).upper(): value for tag, value in dict(SETTINGS.VASP_INCAR_UPDATES).items()}
    return changed({str(tag): value for tag, value in dict(written["INCAR"]).items()}, {**inputs.incar, **machine})


def relax_tags(settings: RelaxSettings) -> dict[str, Any]:
    """Return the tags of a relaxation: forces in eV/Å, as a negative EDIFFG."""
    force = settings.force_threshold_ry_bohr * units.Rydberg / units.Bohr
    return {
        "EDIFFG": -float(f"{force:.4g}"),
        "IBRION": 2,
        "ISIF": ISIF_CELL if settings.relax_cell else ISIF_ATOMS,
        "LCHARG": False,
        "NSW": settings.max_ionic_steps,
    }
