"""Structures from files and to files: CIF, POSCAR, extended xyz, XSF, Quantum ESPRESSO input, pymatgen JSON."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import read as ase_read
from ase.io import write as ase_write
from pymatgen.core import Lattice, Structure
from pymatgen.core.periodic_table import Element
from pymatgen.io.cif import CifWriter
from pymatgen.io.vasp import Poscar
from pymatgen.io.vasp.inputs import BadPoscarWarning

from corecrown.errors import InputError
from corecrown.structures.crystals import read_cif, text_of
from corecrown.structures.groups import label_groups

__all__ = [
    "READ_SUFFIXES",
    "WRITE_SUFFIXES",
    "check_writable",
    "find_structure",
    "read_structure",
    "write_structure",
]

READ_SUFFIXES = (".cif", ".vasp", ".poscar", ".contcar", ".xyz", ".extxyz", ".xsf", ".pwi", ".json")
WRITE_SUFFIXES = (".cif", ".vasp", ".xyz", ".extxyz", ".xsf", ".pwi", ".json")
_VASP_NAMES = ("POSCAR", "CONTCAR")
_ASE_FORMATS = {".xyz": "extxyz", ".extxyz": "extxyz", ".xsf": "xsf", ".pwi": "espresso-in"}
_READ_ERRORS = (
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    AssertionError,
    RuntimeError,
    OSError,
    EOFError,
    StopIteration,
    ArithmeticError,
)


def _kind(path: Path) -> str:
    if path.name.upper().startswith(_VASP_NAMES):
        return ".vasp"
    suffix = path.suffix.lower()
    return ".vasp" if suffix in {".poscar", ".contcar"} else suffix


def read_structure(path: Path | str) -> Structure:
    """Read a structure and say which ion each atom belongs to.

    Parameters
    ----------
    path
        A file whose suffix is one of :data:`READ_SUFFIXES`, or whose name begins with POSCAR or CONTCAR.

    Returns
    -------
    Structure
        Axes and order of the atoms as in the file; site properties ``molecule`` and ``group``.

    Raises
    ------
    InputError
        For a file that is missing, empty, damaged, not periodic, or of an unknown kind.
    """
    path = Path(path)
    kind = _kind(path)
    if kind not in READ_SUFFIXES:
        raise InputError(
            f"{path}: {kind or 'a name without a suffix'} is not a structure format that is read",
            f"one of {', '.join(READ_SUFFIXES)}, POSCAR, CONTCAR",
        )
    if kind == ".cif":
        return label_groups(read_cif(path))
    text = text_of(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.filterwarnings("error", message="Elements in POSCAR cannot be determined")
            structure = _read_text(path, text, kind)
    except BadPoscarWarning as error:
        raise InputError(f"{path}: does not name its elements", "add the line of element symbols") from error
    except _READ_ERRORS as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: is not a complete {kind} file: {reason}", "write the file again") from error
    if not len(structure) or abs(structure.volume) < 1e-3 or not np.isfinite(structure.frac_coords).all():
        raise InputError(f"{path}: holds no periodic structure", "a cell with three axes and atoms is needed")
    return label_groups(structure)


def _read_text(path: Path, text: str, kind: str) -> Structure:
    if kind == ".vasp":
        structure: Structure = Poscar.from_str(text).structure
        for name in list(structure.site_properties):
            structure.remove_site_property(name)
        return structure
    if kind == ".json":
        content = json.loads(text)
        if not _is_structure(content):
            raise InputError(f"{path}: holds no structure", "a pymatgen Structure is needed, with lattice and sites")
        from_json: Structure = Structure.from_dict(content)
        return from_json
    atoms = ase_read(path, format=_ASE_FORMATS[kind], index=-1)
    if not atoms.cell.rank == 3:
        raise ValueError("it has no cell")
    return Structure(Lattice(atoms.cell.array), atoms.get_chemical_symbols(), atoms.get_scaled_positions(wrap=False))


def _is_structure(content: object) -> bool:
    """Whether what a JSON file holds may be a pymatgen Structure."""
    return isinstance(content, dict) and {"lattice", "sites"} <= content.keys()


def find_structure(path: Path | str, read_output: Callable[[Path], Structure]) -> tuple[Structure, Path]:
    """Read the structure in a file, or the last one in the folder of a calculation.

    Parameters
    ----------
    path
        A structure file, an output file (XML), or a folder.
    read_output
        Reads an output file (``vasprun.xml``), or what Quantum ESPRESSO left in a folder.

    Returns
    -------
    structure
        Labelled as :func:`read_structure` does.
    where
        The file (or folder) it was read from.

    Raises
    ------
    InputError
        If there is no structure; says what was looked for.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder", "check the path")
    if path.is_file():
        is_output = ".xml" in path.name.lower()
        return (label_groups(read_output(path)) if is_output else read_structure(path)), path
    finished = path / "CONTCAR"
    if finished.is_file() and finished.stat().st_size:
        return read_structure(finished), finished
    for output in sorted(path.glob("vasprun*.xml*")):
        return label_groups(read_output(output)), output
    if _has_espresso_output(path):
        return label_groups(read_output(path)), path
    names = ("POSCAR*", "*.vasp", "*.cif", "*.xyz")
    files = [file for pattern in names for file in sorted(path.glob(pattern))]
    files += [file for file in sorted(path.glob("*.json")) if _json_holds_structure(file)]
    if not files:
        raise InputError(
            f"{path}: holds no structure",
            "looked for CONTCAR, vasprun.xml, Quantum ESPRESSO XML, POSCAR, .cif, .xyz, and .json of a pymatgen "
            "Structure; give such a file, or the folder of a calculation",
        )
    return read_structure(files[0]), files[0]


def _json_holds_structure(file: Path) -> bool:
    """Whether a JSON file is a structure; others, such as logs and records, lie in folders of calculations too."""
    try:
        return _is_structure(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError):
        return False


def _has_espresso_output(folder: Path) -> bool:
    names = ("data-file-schema.xml*", "*.save/data-file-schema.xml*", "*.xml*", "*/*.save/data-file-schema.xml*")
    return any(next(folder.glob(name), None) is not None for name in names)


def check_writable(path: Path | str) -> None:
    """Refuse a file name whose format is not known, before anything is built.

    Raises
    ------
    InputError
        Names the formats.
    """
    path = Path(path)
    kind = _kind(path)
    if kind not in WRITE_SUFFIXES:
        raise InputError(
            f"{path}: {kind or 'a name without a suffix'} is not a structure format that is written",
            f"one of {', '.join(WRITE_SUFFIXES)}, or a name that begins with POSCAR",
        )


def write_structure(structure: Structure, path: Path | str) -> Path:
    """Write a structure in the format its suffix names.

    Parameters
    ----------
    structure
        Any ordered structure. Axes are written as they are; POSCAR, which wants atoms by element, gets them sorted by
        element in the order of their first appearance.
    path
        ``.cif``, ``POSCAR`` or ``.vasp``, ``.xyz`` (extended, with ``molecule`` and ``group``), ``.xsf``, ``.pwi``, or
        ``.json`` (pymatgen; keeps everything).

    Returns
    -------
    Path
        Where it was written.
    """
    path = Path(path)
    check_writable(path)
    writers: dict[str, Callable[[Structure, Path], None]] = {
        ".cif": _write_cif,
        ".vasp": _write_poscar,
        ".xyz": _write_xyz,
        ".extxyz": _write_xyz,
        ".xsf": lambda cell, target: ase_write(target, _bare_atoms(cell), format="xsf"),
        ".pwi": _write_pwi,
        ".json": lambda cell, target: _write_text(target, json.dumps(cell.as_dict()) + "\n"),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        writers[_kind(path)](structure, path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}", "choose another place") from error
    return path


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _write_cif(structure: Structure, path: Path) -> None:
    bare = Structure(structure.lattice, structure.species, structure.frac_coords)
    _write_text(path, str(CifWriter(bare, significant_figures=10)))


def _write_poscar(structure: Structure, path: Path) -> None:
    symbols = [site.specie.symbol for site in structure]
    first = {symbol: symbols.index(symbol) for symbol in dict.fromkeys(symbols)}
    order = sorted(range(len(symbols)), key=lambda i: (first[symbols[i]], i))
    grouped = Structure(structure.lattice, [structure[i].species for i in order], structure.frac_coords[order])
    _write_text(path, Poscar(grouped, sort_structure=False).get_str(significant_figures=12))


def _bare_atoms(structure: Structure) -> Atoms:
    return Atoms(
        [site.specie.symbol for site in structure],
        scaled_positions=structure.frac_coords,
        cell=structure.lattice.matrix,
        pbc=True,
    )


def _write_xyz(structure: Structure, path: Path) -> None:
    labelled = structure if "group" in structure.site_properties else label_groups(structure)
    atoms = _bare_atoms(labelled)
    atoms.new_array("molecule", np.array(labelled.site_properties["molecule"], dtype=int))
    atoms.new_array("group", np.array(labelled.site_properties["group"], dtype=str))
    ase_write(path, atoms, format="extxyz")


def _write_pwi(structure: Structure, path: Path) -> None:
    symbols = list(dict.fromkeys(site.specie.symbol for site in structure))
    lines = [
        "! A cell, not a finished calculation: set cutoff, pseudopotentials and k-points before running it.",
        "&CONTROL",
        "  calculation = 'scf'",
        "/",
        "&SYSTEM",
        "  ibrav = 0",
        f"  nat = {len(structure)}",
        f"  ntyp = {len(symbols)}",
        "  ecutwfc = 40",
        "/",
        "&ELECTRONS",
        "/",
        "ATOMIC_SPECIES",
        *(f"  {symbol} {float(Element(symbol).atomic_mass):.4f} {symbol}.upf" for symbol in symbols),
        "CELL_PARAMETERS angstrom",
        *("  " + " ".join(f"{x:16.10f}" for x in row) for row in structure.lattice.matrix),
        "ATOMIC_POSITIONS crystal",
        *(f"  {site.specie.symbol:2s} " + " ".join(f"{x:16.12f}" for x in site.frac_coords) for site in structure),
        "K_POINTS gamma",
    ]
    _write_text(path, "\n".join(lines) + "\n")
