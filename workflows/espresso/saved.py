"""What a run of pw.x saved for others to start from: its density and XML file."""

import shutil
import struct
from pathlib import Path

from monty.io import zopen

from corecrown.errors import RunError
from corecrown.settings import get_settings
from corecrown.workflows.espresso.inputs import OUTDIR, PREFIX

__all__ = ["copy_density", "density_is_whole", "make_outdir", "remove_wavefunctions", "xml_is_whole"]

XML_NAME = "data-file-schema.xml"


def make_outdir(folder: Path) -> Path:
    """Make and return the folder that pw.x keeps its files in; a link to the scratch disk where the settings say so."""
    outdir = folder / OUTDIR
    scratch = get_settings().scratch_dir
    if scratch is not None and not outdir.exists():
        elsewhere = scratch / "corecrown" / folder.resolve().as_posix().strip("/").replace("/", "_")
        elsewhere.mkdir(parents=True, exist_ok=True)
        outdir.symlink_to(elsewhere)
    outdir.mkdir(exist_ok=True)
    return outdir


def copy_density(source: Path, target: Path, wavefunctions: bool = False) -> None:
    """Copy what a run without self-consistency needs from the folder of the scf into a fresh folder.

    Raises
    ------
    RunError
        If the density is not there, or it or the XML file is cut off: pw.x 6.7 takes what there is of a density and
        goes on with it, so that nobody would notice.
    """
    save = source / OUTDIR / f"{PREFIX}.save"
    patterns = ["charge-density*", "spin-polarization*", f"{XML_NAME}*", "paw.txt", "*.upf", "*.UPF"]
    if wavefunctions:
        patterns.append("wfc*")
    found = [path for pattern in patterns for path in save.glob(pattern)] if save.is_dir() else []
    if not any(path.name.startswith("charge-density") for path in found):
        raise RunError(f"{save}: no charge density to start from", "run the scf step again (study rerun)")
    destination = make_outdir(target) / f"{PREFIX}.save"
    destination.mkdir(exist_ok=True)
    for path in found:
        if path.suffix == ".gz":
            with zopen(path, "rb") as packed:
                (destination / path.stem).write_bytes(packed.read())
        else:
            shutil.copyfile(path, destination / path.name)
    for name, is_whole in (("charge-density.dat", density_is_whole), (XML_NAME, xml_is_whole)):
        copied = destination / name
        if copied.is_file() and not is_whole(copied):
            shutil.rmtree(destination)
            raise RunError(f"{save / name}: cut off or damaged", "run the step that made it again (study rerun)")


def density_is_whole(path: Path) -> bool:
    """Return whether a file ``charge-density.dat`` holds as many bytes as its first record promises.

    It is a file of Fortran records, each between two copies of its length: flags and sizes, the reciprocal cell, the
    Miller indices of the G vectors, and the coefficients of each spin component (QEF/q-e, Modules/io_base.f90).
    """
    with path.open("rb") as stream:
        head = stream.read(20)
    if len(head) < 20:
        return False
    length, _, n_vectors, n_spin, again = map(int, struct.unpack("<5i", head))
    records = [12, 9 * 8, 3 * 4 * n_vectors, *[16 * n_vectors] * n_spin]
    return length == again == records[0] and path.stat().st_size >= sum(size + 8 for size in records)


def xml_is_whole(path: Path) -> bool:
    """Return whether an XML file of pw.x ends with its closing tag."""
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - 200))
        return stream.read().rstrip().endswith(b"espresso>")


def remove_wavefunctions(folder: Path) -> None:
    """Remove wavefunctions and other heavy scratch, keeping the XML and the density."""
    outdir = folder / OUTDIR
    for pattern in ("*.wfc*", "*.mix*", "*.hub*", "*.save/wfc*", "*.bfgs", "*.restart_*", "*.igk*"):
        for path in outdir.glob(pattern):
            path.unlink(missing_ok=True)
