"""``corecrown build`` writes a cell; ``corecrown distortion`` measures one."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from corecrown.cli.common import AsJson, Verbose, print_json, print_table
from corecrown.errors import InputError

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from corecrown.postprocess.results import Distortion

__all__ = ["register"]

PICTURE_SUFFIXES = (".png", ".pdf", ".svg")
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
        Path | None, typer.Option("--picture", help="Draw the cell down each axis (png, pdf or svg).")
    ] = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Build a cell, say what was done to it, and write it."""
    from corecrown import structures
    from corecrown.structures.files import check_writable

    check_writable(output)
    _check_picture(picture)
    given = {
        "--fa": fa is not None and fa != 100,
        "--sites": sites is not None,
        "--heads": heads is not _Heads.SYMMETRIC,
        "--seed": seed != 0,
        "--roll": roll is not None,
        "--supercell": supercell != (1, 1, 1),
        "--termination": termination is not _Termination.AX,
    }
    if core is not None:
        _refuse(given, tuple(given), "a platelet has a CsPbBr3 core and an FAPbBr3 crown, both whole (--core, --crown)")
    elif fa is None:
        raise InputError("--fa is missing", "the percentage of A sites that carry formamidinium, for example --fa 25")
    elif monolayers is not None:
        given["--supercell"] = supercell[2] != 1
        _refuse(given, ("--sites", "--heads", "--seed", "--roll", "--supercell"), "not of a slab; along c it is cut")
    else:
        given |= {"--crown": crown != 0, "--vacuum": vacuum != _VACUUM}
        _refuse(given, ("--termination", "--crown", "--vacuum"), "it goes with --monolayers or --core")
    if alignment is not None and direction is not None:
        raise InputError("--alignment and --direction both name a direction", "give one of the two")
    notes: list[str] = []
    axis: str | tuple[float, float, float] | None = alignment.value if alignment is not None else direction
    if (fa or core is not None) and axis is None:
        notes.append("no alignment was named: b was taken")
    expansion = _strain(strain)
    if core is not None:
        cell = structures.platelet(
            monolayers if monolayers is not None else 3,
            core,
            crown,
            alignment=axis or "b",
            lattice=lattice.value,
            vacuum=vacuum,
            strain=expansion,
        )
    elif monolayers is not None:
        cell = structures.slab(
            monolayers,
            termination.value,
            vacuum=vacuum,
            lateral=supercell[:2],
            fa=fa or 0,
            alignment=axis,
            lattice=lattice.value,
            strain=expansion,
        )
    else:
        cell = structures.build(
            fa or 0,
            axis,
            lattice.value,
            supercell,
            _sites(sites),
            heads=heads.value,
            roll_deg=roll,
            seed=seed,
            strain=expansion,
        )
    notes += structures.describe(cell)
    if relax_with is not None:
        cell, report = structures.prerelax(cell)
        notes.append(report.sentence())
    structures.write_structure(cell, output)
    if picture is not None:
        _draw(cell, picture)
    _show_built(cell, output, picture, notes, as_json)


def _refuse(given: dict[str, bool], names: tuple[str, ...], why: str) -> None:
    """Refuse options that would be left out of account."""
    for name in names:
        if given[name]:
            raise InputError(f"{name} has no meaning here", why)


def _check_picture(path: Path | None) -> None:
    if path is not None and path.suffix.lower() not in PICTURE_SUFFIXES:
        raise InputError(f"{path}: pictures are not written as {path.suffix}", f"{', '.join(PICTURE_SUFFIXES)}")


def _draw(cell: "Structure", path: Path) -> None:
    from corecrown.structures.picture import draw_cell

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draw_cell(cell, title=cell.composition.reduced_formula).savefig(path, dpi=200)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}", "choose another place") from error


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
            typer.echo(f"  {key.replace('_', ' ')}: {value}")
    for note in notes:
        typer.echo(f"  {note}")
    if picture is not None:
        typer.echo(f"  picture: {picture}")


def distortion(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="A structure file, or the folder of a calculation that is done.")
    ],
    figure: Annotated[
        Path | None, typer.Option("--figure", help="Draw the structure down each axis (png, pdf or svg).")
    ] = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Measure octahedra and the directions of FA, in the axes a, b and c of the file."""
    from corecrown.postprocess.distortion import measure_distortion
    from corecrown.structures.files import find_structure

    _check_picture(figure)
    structure, where = find_structure(path, _read_output)
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


def _read_output(path: Path) -> "Structure":
    """Read the structure of a calculation's output: Quantum ESPRESSO XML or vasprun.xml."""
    if "vasprun" in path.name:
        from corecrown.workflows.vasp.vasprun import read_run as read_vasprun

        return read_vasprun(path).structure
    from corecrown.workflows.espresso.outputs import read_run

    return read_run(path).structure


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
