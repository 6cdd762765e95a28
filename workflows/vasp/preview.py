"""What a calculation with VASP will take, and its folder for people to run it elsewhere."""

from pathlib import Path

import numpy as np
from ase import units

from corecrown.postprocess.results import Step
from corecrown.workflows.vasp.inputs import ISIF_ATOMS, Program, VaspInput
from corecrown.workflows.vasp.potcars import potcar_release
from corecrown.workflows.vasp.relaxation import axes_are_orthogonal, symmetry_keeps_axes
from corecrown.workflows.vasp.run import write_inputs

__all__ = ["RUN_SCRIPT", "count_plane_waves", "estimate_memory_gib", "write_folder"]

RUN_SCRIPT = "run.sh"

POINTS_PER_WAVE = 4**3 / (4 * np.pi / 3)
"""Grid points a plane wave, where the grid holds all products of two: a cube around a sphere of twice the radius."""

_HEAD = """#!/bin/sh
# Runs this step: VASP="srun {program}" sh run.sh. Without POTCAR, make it first:
#     pmg potcar -f {release} -s $(cat POTCAR.spec)
set -e
cd "$(dirname "$0")"
VASP="${{VASP:-{program}}}"
"""

_RELAXED = "if [ -s ../relax/CONTCAR ]; then cp ../relax/CONTCAR POSCAR; fi\n"

_DENSITY = "cp ../{step}/CHGCAR .\n"

DENSITY_OF = {Step.MASSES_SPIN_ORBIT: Step.SPIN_ORBIT}
"""Steps that start from another density than that of the scf."""

_TWICE = """# Twice, the second time with the plane waves of the relaxed cell.
for round in 1 2; do
    $VASP
    cp CONTCAR POSCAR
done
"""

_AXIS_BY_AXIS = """# Symmetry does not keep the axes of this cell orthogonal: one axis after the other, twice round.
# This needs VASP 6.5 or later; 'corecrown study run' also does it with older ones.
cp INCAR INCAR.all
for free in ".TRUE. .FALSE. .FALSE." ".FALSE. .TRUE. .FALSE." ".FALSE. .FALSE. .TRUE." \\
            ".TRUE. .FALSE. .FALSE." ".FALSE. .TRUE. .FALSE." ".FALSE. .FALSE. .TRUE."; do
    cp INCAR.all INCAR
    echo "LATTICE_CONSTRAINTS = $free" >> INCAR
    $VASP
    cp CONTCAR POSCAR
done
"""

_WITH_START = """# First without exact exchange, then with it from those wavefunctions.
cp INCAR INCAR.after
cp INCAR.before INCAR
$VASP
cp INCAR.after INCAR
echo "ISTART = 1" >> INCAR
$VASP
rm -f WAVECAR
"""


_WITH_EXCITED = """# The ground state, then each excited state from its wavefunctions.
cp INCAR INCAR.ground
$VASP
for file in WAVECAR CHGCAR CONTCAR OSZICAR OUTCAR vasprun.xml; do cp $file $file.ground; done
for kind in {kinds}; do
    cp INCAR.$kind INCAR
    cp WAVECAR.ground WAVECAR
    $VASP
    for file in CHGCAR CONTCAR OSZICAR OUTCAR vasprun.xml; do cp $file $file.$kind; done
done
for file in *.ground; do mv $file ${{file%.ground}}; done
rm -f WAVECAR
"""


def count_plane_waves(inputs: VaspInput) -> int:
    """Return the number of plane waves at a k-point: volume of the cutoff sphere times cell volume over (2π)³."""
    cutoff = float(inputs.incar["ENCUT"]) / units.Rydberg  # |G|² in Ry and 1/bohr²
    count = inputs.structure.volume / units.Bohr**3 * cutoff**1.5 / (6 * np.pi**2)
    return int((2 if inputs.program is Program.NCL else 1) * count)


def estimate_memory_gib(inputs: VaspInput) -> float:
    """Return about how much memory all ranks of a run take together, GiB.

    Wavefunctions of all k-points, work space for one of them (five arrays of its size), and twelve grids that hold
    products of plane waves, over a base of 0.3 GiB.
    """
    waves = count_plane_waves(inputs)
    wavefunctions = 16 * waves * inputs.n_bands
    grids = 12 * 16 * waves * POINTS_PER_WAVE
    return float((wavefunctions * (inputs.n_kpoints + 5) + grids) / 2**30 + 0.3)


def write_folder(folder: Path, inputs: VaspInput, step: Step) -> None:
    """Write the inputs of a step and a script that runs it, for a machine without this package."""
    write_inputs(folder, inputs)
    parts = [_HEAD.format(program=inputs.program.value, release=potcar_release())]
    if step is Step.RELAX:
        structure = inputs.structure
        if int(inputs.incar["ISIF"]) == ISIF_ATOMS:
            parts.append("$VASP\n")
        elif not axes_are_orthogonal(structure) or symmetry_keeps_axes(structure):
            parts.append(_TWICE)
        else:
            parts.append(_AXIS_BY_AXIS)
    else:
        parts.append(_RELAXED)
        if int(inputs.incar.get("ICHARG", 0)) >= 10:
            parts.append(_DENSITY.format(step=DENSITY_OF.get(step, Step.SCF).value))
        if inputs.after:
            parts.append(_WITH_EXCITED.format(kinds=" ".join(inputs.after)))
        else:
            parts.append("$VASP\n" if inputs.before is None else _WITH_START)
    (folder / RUN_SCRIPT).write_text("".join(parts), encoding="utf-8")
