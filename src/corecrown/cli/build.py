"""``corecrown build`` writes a cell; ``corecrown distortion`` measures one."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from corecrown.cli.common import AsJson, Verbose, print_json, print_table
from corecrown.cli.figures import FigureFile, check_figure, write_figure
from corecrown.cli.stored import stored_structure
from corecrown.errors import InputError

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from corecrown.postprocess.results import Distortion

__all__ = ["register"]

_VACUUM = 15.0


class _Axis(StrEnum):
    A = "a"
    B = "b"
    C = "c"


class _Lattice(StrEnum):
    CSPBBR3 = "cspbbr3"
    FAPBBR3 = "fapbbr3"


class _Heads(StrEnum):
    SYMMETRIC = "symmetric"
    PARALLEL = "parallel"
    RANDOM = "random"


class _Model(StrEnum):
    CHGNET = "chgnet"


class _Termination(StrEnum):
    AX = "AX"
    BX2 = "BX2"


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(build)
    app.command()(distortion)


def build(
    output: Annotated[
        Path, typer.Option("-o", "--output", help="File to write: .cif, POSCAR or .vasp, .xyz, .xsf, .pwi, .json.")
    ],
    fa: Annotated[
        float | None,
        typer.Option("--fa", help="Percentage of A sites that carry formamidinium (not with --core)."),
    ] = None,
    alignment: Annotated[
        _Axis | None, typer.Option("--alignment", help="Direction of the N-N axes; b if none is named.")
    ] = None,
    direction: Annotated[
        tuple[float, float, float] | None,
        typer.Option("--direction", help="Any direction of the N-N axes, x along a and z along c.", metavar="X Y Z"),
    ] = None,
    roll: Annotated[
        float | None, typer.Option("--roll", help="Degrees about the N-N axis; by default what fits the cage best.")
    ] = None,
    lattice: Annotated[
        _Lattice, typer.Option("--lattice", help="Whose lattice constants and framework.")
    ] = _Lattice.CSPBBR3,
    supercell: Annotated[
        tuple[int, int, int], typer.Option("--supercell", help="Repetitions along a, b and c.", metavar="NA NB NC")
    ] = (1, 1, 1),
    sites: Annotated[
        str | None, typer.Option("--sites", help="A sites to substitute, for example 0,2; the first ones if not said.")
    ] = None,
    heads: Annotated[
        _Heads, typer.Option("--heads", help="C-H directions: paired by symmetry, all parallel, or random.")
    ] = _Heads.SYMMETRIC,
    seed: Annotated[int, typer.Option("--seed", help="For random heads.")] = 0,
    strain: Annotated[
        str | None,
        typer.Option("--strain", help="auto: the smallest expansion that makes room; or a number, 0.01 for 1 %."),
    ] = None,
    monolayers: Annotated[
        int | None, typer.Option("--monolayers", help="Cut a slab of so many monolayers, or a platelet with --core.")
    ] = None,
    termination: Annotated[
        _Termination, typer.Option("--termination", help="Outer planes of a slab.")
    ] = _Termination.AX,
    core: Annotated[
        int | None, typer.Option("--core", help="Octahedra along the edge of a platelet's CsPbBr3 core.")
    ] = None,
    crown: Annotated[int, typer.Option("--crown", help="Octahedra of FAPbBr3 on each side of the core.")] = 0,
    vacuum: Annotated[float, typer.Option("--vacuum", help="Å around a slab or platelet.")] = _VACUUM,
    relax_with: Annotated[
        _Model | None, typer.Option("--relax-with", help="Relax cell and atoms with this potential first.")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option("--picture", help="Draw the cell down each axis (.pdf, .png or .svg).")
    ] = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Build a cell, say what was done to it, and write it."""
    from corecrown import structures
    from corecrown.structures.files import check_writable

    check_writable(output)
    check_figure(picture, "--picture")
    if alignment is not None and direction is not None:
        raise InputError("--alignment and --direction both name a direction", "give one of the two")
    axis = alignment.value if alignment is not None else direction
    wanted = _Wanted(
        fa, axis, roll, lattice, supercell, sites, heads, seed, strain, monolayers, termination, core, crown, vacuum
    )
    wanted.check()
    notes = [] if axis is not None or not (fa or core is not None) else ["no alignment was named: b was taken"]
    cell = wanted.made()
    notes += structures.describe(cell)
    if relax_with is not None:
        cell, report = structures.prerelax(cell)
        notes.append(report.sentence())
    structures.write_structure(cell, output)
    if picture is not None:
        _draw(cell, picture)
    _show_built(cell, output, picture, notes, as_json)


@dataclass(frozen=True)
class _Wanted:
    """The options of a cell, as they were given."""

    fa: float | None
    axis: str | tuple[float, float, float] | None
    roll: float | None
    lattice: _Lattice
    supercell: tuple[int, int, int]
    sites: str | None
    heads: _Heads
    seed: int
    strain: str | None
    monolayers: int | None
    termination: _Termination
    core: int | None
    crown: int
    vacuum: float

    def check(self) -> None:
        """Refuse options that would be left out of account by what is built: a platelet, a slab or a crystal."""
        given = {
            "--fa": self.fa is not None and self.fa != 100,
            "--sites": self.sites is not None,
            "--heads": self.heads is not _Heads.SYMMETRIC,
            "--seed": self.seed != 0,
            "--roll": self.roll is not None,
            "--supercell": self.supercell != (1, 1, 1),
            "--termination": self.termination is not _Termination.AX,
        }
        if self.core is not None:
            why = "a platelet has a CsPbBr3 core and an FAPbBr3 crown, both whole (--core, --crown)"
            _refuse(given, tuple(given), why)
        elif self.fa is None:
            raise InputError(
                "--fa is missing", "the percentage of A sites that carry formamidinium, for example --fa 25"
            )
        elif self.monolayers is not None:
            given["--supercell"] = self.supercell[2] != 1
            _refuse(
                given, ("--sites", "--heads", "--seed", "--roll", "--supercell"), "not of a slab; along c it is cut"
            )
        else:
            given |= {"--crown": self.crown != 0, "--vacuum": self.vacuum != _VACUUM}
            _refuse(given, ("--termination", "--crown", "--vacuum"), "it goes with --monolayers or --core")

    def made(self) -> "Structure":
        """Build the platelet, slab or crystal."""
        from corecrown import structures

        lattice, strain = self.lattice.value, _strain(self.strain)
        if self.core is not None:
            return structures.platelet(
                self.monolayers if self.monolayers is not None else 3,
                self.core,
                self.crown,
                alignment=self.axis or "b",
                lattice=lattice,
                vacuum=self.vacuum,
                strain=strain,
            )
        if self.monolayers is not None:
            return structures.slab(
                self.monolayers,
                self.termination.value,
                vacuum=self.vacuum,
                lateral=self.supercell[:2],
                fa=self.fa or 0,
                alignment=self.axis,
                lattice=lattice,
                strain=strain,
            )
        return structures.build(
            self.fa or 0,
            self.axis,
            lattice,
            self.supercell,
            _sites(self.sites),
            heads=self.heads.value,
            roll_deg=self.roll,
            seed=self.seed,
            strain=strain,
        )


def _refuse(given: dict[str, bool], names: tuple[str, ...], why: str) -> None:
    """Refuse options that would be left out of account."""
    for name in names:
        if given[name]:
            raise InputError(f"{name} has no meaning here", why)


def _draw(cell: "Structure", path: Path) -> None:
    from corecrown.structures.picture import draw_cell, ion_formula

    write_figure(draw_cell(cell, title=ion_formula(cell)), path)


def _strain(text: str | None) -> float | str | None:
    if text is None or text == "auto":
        return text
    try:
        return float(text)
    except ValueError as error:
        raise InputError(f"--strain: {text!r} is neither auto nor a number", "for example 0.01 for 1 %") from error


def _sites(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise InputError(f"--sites: {text!r} is not a list of numbers", "for example 0,2") from error


def _show_built(cell: "Structure", output: Path, picture: Path | None, notes: list[str], as_json: bool) -> None:
    a, b, c = cell.lattice.abc
    if as_json:
        print_json(
            {
                "file": str(output),
                "picture": None if picture is None else str(picture),
                "formula": cell.composition.formula,
                "n_atoms": len(cell),
                "lattice_angstrom": [a, b, c],
                "properties": cell.properties,
                "notes": notes,
            }
        )
        return
    typer.echo(f"{output}: {cell.composition.formula}, {len(cell)} atoms, a {a:.3f}  b {b:.3f}  c {c:.3f} Å")
    for name in ("slab", "platelet"):
        for key, value in (cell.properties.get(name) or {}).items():
            shown = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value
            typer.echo(f"  {key.replace('_', ' ')}: {shown}")
    for note in notes:
        typer.echo(f"  {note}")
    if picture is not None:
        typer.echo(f"  picture: {picture}")


def distortion(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="A structure file, or the folder of a calculation that is done.")
    ],
    figure: FigureFile = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Measure octahedra and the directions of FA, in the axes a, b and c of the file."""
    from corecrown.postprocess.distortion import measure_distortion

    check_figure(figure)
    structure, where = _structure_at(path)
    found = measure_distortion(structure)
    notes = [*found.notes]
    if found.tilts_deg is not None:
        from corecrown.structures.setting import to_pbnm

        _, notice = to_pbnm(structure)
        if notice is not None:
            notes.append(f"a, b and c are the file's axes, which are not Pbnm ({notice.split(':')[0]} elsewhere)")
    found = found.model_copy(update={"notes": notes})
    if figure is not None:
        _draw(structure, figure)
    if as_json:
        print_json(found)
    else:
        _show_distortion(found, where)


def _structure_at(path: Path) -> "tuple[Structure, Path]":
    """Return the structure of a file, a run or a cell of a study, and where it was read."""
    from corecrown.structures.files import find_structure
    from corecrown.workflows.readers import read_output_structure

    stored = stored_structure(path)
    return find_structure(path, read_output_structure) if stored is None else (stored, path)


def _show_distortion(found: "Distortion", where: Path) -> None:
    rows: list[tuple[str, str]] = []
    if found.pb_br_pb_deg:
        angles = sorted(found.pb_br_pb_deg)
        mean = sum(angles) / len(angles)
        rows.append(("Pb-Br-Pb / °", f"{mean:.1f} (mean of {len(angles)}; {angles[0]:.1f} to {angles[-1]:.1f})"))
    if found.bond_length_variance is not None:
        rows.append(("bond-length variance", f"{found.bond_length_variance:.2e}"))
    if found.angle_variance_deg2 is not None:
        rows.append(("angle variance / °²", f"{found.angle_variance_deg2:.2f}"))
    if found.tilts_deg is not None:
        rows.append(("tilts about a, b, c / °", "  ".join(f"{found.tilts_deg[axis]:.1f}" for axis in ("a", "b", "c"))))
    for number, angles_to in enumerate(found.fa_axis_deg or []):
        rows.append(
            (f"N-N of FA {number} to a, b, c / °", "  ".join(f"{angles_to[axis]:.1f}" for axis in ("a", "b", "c")))
        )
    print_table(str(where), ("", ""), rows)
    for note in found.notes:
        typer.echo(f"  ! {note}")
