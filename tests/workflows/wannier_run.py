"""From the density of an scf to a Wannier Hamiltonian: pw.x on a whole mesh, pw2wannier90.x, wannier90.x."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from corecrown.errors import InputError
from corecrown.postprocess.mass_wannier import WannierHamiltonian, read_wannier
from corecrown.workflows.espresso.base import XML
from corecrown.workflows.espresso.inputs import OUTDIR, PREFIX, nscf_input
from corecrown.workflows.espresso.outputs import read_run
from corecrown.workflows.espresso.programs import find_program, program_environment
from corecrown.workflows.espresso.pseudopotentials import find_pseudopotentials
from corecrown.workflows.espresso.run import ParallelPlan, copy_density, run_program, run_pw
from corecrown.workflows.protocols import Theory

SEED = "wannier"
ABOVE_MINIMUM_EV = 1.5
"""States up to so far above the conduction minimum are kept as they are (the frozen window)."""


def skip_without_wannier90() -> None:
    """Skip the test that asks, and say how to get what is missing."""
    if shutil.which("wannier90.x") is None:
        pytest.skip("no wannier90.x on PATH; as root: apt-get install wannier90")
    try:
        find_program("pw2wannier90.x")
    except InputError as error:
        pytest.skip(str(error))


def wannierise(
    structure, settings, density: Path, folder: Path, projections: str, functions: int
) -> WannierHamiltonian:
    """Make Wannier functions on ``settings.kpoint_mesh``; projections as wannier90 names them, a line each.

    pw2wannier90.x needs every k-point of the mesh, so symmetry is off, and the wavefunctions, which stay in the folder.
    """
    folder.mkdir()
    copy_density(density, folder)
    mesh = settings.kpoint_mesh
    kpoints = np.stack(np.meshgrid(*(np.arange(n) / n for n in mesh), indexing="ij"), axis=-1).reshape(-1, 3)
    elements = sorted({site.specie.symbol for site in structure})
    pw = nscf_input(structure, settings, Theory(), find_pseudopotentials(elements, "PBE", "SR"))
    run_pw(folder, replace(pw, mesh=None, kpoints=kpoints).with_keywords("system", nosym=True, noinv=True))
    run = read_run(folder / XML)
    conduction = run.eigenvalues_ev[0][:, round(run.n_electrons / 2) :]
    frozen_ev = conduction[:, 0].min() + ABOVE_MINIMUM_EV
    assert run.eigenvalues_ev[0][:, functions].min() > frozen_ev, "more frozen states than functions"
    lines = [
        f"num_wann = {functions}",
        f"num_bands = {run.eigenvalues_ev.shape[2]}",
        f"mp_grid = {' '.join(map(str, mesh))}",
        f"dis_froz_max = {frozen_ev}",
        "dis_num_iter = 200",
        "num_iter = 100",  # the wider the functions spread, the slower masses converge with the mesh
        "write_tb = .true.",
        *_block("projections", projections.splitlines()),
        *_block("unit_cell_cart", ["ang", *map(_numbers, structure.lattice.matrix)]),
        *_block("atoms_frac", [f"{site.specie.symbol} {_numbers(site.frac_coords)}" for site in structure]),
        *_block("kpoints", map(_numbers, kpoints)),
    ]
    (folder / f"{SEED}.win").write_text("\n".join(lines) + "\n")
    (folder / "pw2wannier90.in").write_text(
        f"&inputpp\n  prefix = '{PREFIX}'\n  outdir = '{OUTDIR}'\n  seedname = '{SEED}'\n"
        "  write_amn = .true.\n  write_mmn = .true.\n/\n"
    )
    _wannier90(folder, "-pp", SEED)
    run_program(folder, "pw2wannier90.x", "pw2wannier90", ParallelPlan(1, 1))
    _wannier90(folder, SEED)
    return read_wannier(folder / f"{SEED}_tb.dat")


def _wannier90(folder, *arguments):
    subprocess.run(["wannier90.x", *arguments], cwd=folder, env=program_environment(), check=True, capture_output=True)
    errors = list(folder.glob(f"{SEED}.werr"))
    assert not errors, errors[0].read_text()


def _block(name, lines):
    return [f"begin {name}", *lines, f"end {name}"]


def _numbers(values):
    return " ".join(f"{value:.12f}" for value in values)
