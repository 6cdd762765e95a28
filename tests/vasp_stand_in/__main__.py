"""A stand-in for VASP: a test tool, not VASP, and no use for anything but tests.

It reads INCAR, KPOINTS, POSCAR and POTCAR, refuses what VASP would refuse, and writes well-formed outputs from a small
tight-binding model. Called as ``python tests/vasp_stand_in`` for vasp_std, with ``--ncl`` for vasp_ncl. The environment
variable VASP_STAND_IN_FAULT makes it fail on purpose, ``FAULT`` or ``FAULT:PART_OF_FOLDER``: ``truncate``,
``unconverged``, ``crash``, ``old-version`` or ``tetrahedron``.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy: its threads cost more than these matrices

from checks import Refused, check
from model import bands_of, relax_path
from outputs import write_all
from reading import read_inputs


def fault() -> str:
    """Return which failure is asked for in this folder, or nothing."""
    name, _, place = os.environ.get("VASP_STAND_IN_FAULT", "").partition(":")
    return name if place in str(Path.cwd()) else ""


def main() -> int:
    """Run in the working directory; returns 0, or 1 after a refusal."""
    noncollinear = "--ncl" in sys.argv[1:]
    print(" running on    1 total cores\n stand-in for VASP, a test tool of corecrown (not VASP)")
    try:
        inputs = read_inputs(Path.cwd())
        check(inputs, noncollinear=noncollinear)
    except (Refused, OSError, ValueError, IndexError, KeyError) as error:
        print(" " + "-" * 77 + "\n|" + " " * 77 + "|")
        print(f"|     ERROR: {error}     |")
        print(" " + "-" * 77)
        return 1
    if fault() == "tetrahedron" and int(inputs.number("ISMEAR", 1)) < -1:
        print(" WARNING: Tetrahedron method fails (said on purpose)")
    steps = relax_path(inputs)
    if fault() == "unconverged":
        inputs.incar["NELM"] = str(min(4, int(inputs.incar.get("NELM", "60"))))
    bands = bands_of(inputs, steps[-1].lattice)
    write_all(Path.cwd(), inputs, steps, bands, fault=fault())
    return 1 if fault() == "crash" else 0


if __name__ == "__main__":
    sys.exit(main())
