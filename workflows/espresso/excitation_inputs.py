"""Inputs of a Delta-SCF: ground state and excited states of given occupations, at Γ, with two spins, no symmetry."""

from collections.abc import Mapping
from dataclasses import replace

from pymatgen.core import Structure

from corecrown.errors import InputError
from corecrown.workflows.espresso.excitation_states import (
    ExcitedState,
    Occupations,
    check_occupations,
    ground_occupations,
    occupations_card,
)
from corecrown.workflows.espresso.inputs import PREFIX, PwInput, scf_input
from corecrown.workflows.espresso.pseudopotentials import PseudopotentialFile
from corecrown.workflows.protocols import ExcitationSettings, Theory

__all__ = ["BARE_PREFIX", "electron_pairs", "ground_input", "pp_input", "state_input", "with_occupations"]

BARE_PREFIX = f"{PREFIX}-bare"
"""Prefix of the copy of a run that pp.x and projwfc.x read."""


def ground_input(
    structure: Structure,
    settings: ExcitationSettings,
    theory: Theory,
    pseudopotentials: Mapping[str, PseudopotentialFile],
) -> PwInput:
    """Return the input of the ground state, occupations given, so that excited states differ in them alone.

    Raises
    ------
    InputError
        If the cell has an odd number of electrons, or the level of theory takes spinors or exact exchange.
    """
    if theory.spin_orbit or theory.hybrid is not None:
        raise InputError(
            f"excitation: {theory.name}{' with spin-orbit coupling' if theory.spin_orbit else ''} is not done",
            "Delta-SCF runs with a semilocal functional without spin-orbit coupling",
        )
    at_gamma = settings.model_copy(update={"kpoint_mesh": (1, 1, 1), "kpoint_spacing": None, "kpoint_shift": (0, 0, 0)})
    pw = scf_input(structure, at_gamma, theory, pseudopotentials)
    pw = pw.with_keywords("control", tprnfor=False, tstress=False)
    pw = pw.with_keywords("system", nspin=2, nosym=True, noinv=True)
    n_bands = int(pw.namelists["system"]["nbnd"])
    return with_occupations(pw, ground_occupations(electron_pairs(pw), n_bands))


def electron_pairs(pw: PwInput) -> int:
    """Return the electron pairs of the neutral cell."""
    return round(pw.n_electrons) // 2


def state_input(ground: PwInput, state: ExcitedState) -> PwInput:
    """Return the input of an excited state, started from the ground state's density and orbitals.

    Raises
    ------
    InputError
        If a band is not there.
    """
    n_bands = int(ground.namelists["system"]["nbnd"])
    pw = ground.with_keywords("electrons", startingpot="file", startingwfc="file")
    if state.charge:
        pw = pw.with_keywords("system", tot_charge=state.charge)
    return with_occupations(pw, state.occupations(electron_pairs(ground), n_bands))


def with_occupations(pw: PwInput, occupations: Occupations) -> PwInput:
    """Return the same input with these occupations.

    Raises
    ------
    InputError
        If they do not fit the electrons and bands of the input, or it has more k-points than Γ.
    """
    if not pw.gamma_trick:
        raise InputError(
            f"occupations: {pw.n_kpoints} k-points, mesh {pw.mesh}; pw.x takes given occupations at one k-point",
            "Γ alone: kpoint_mesh [1, 1, 1] without a shift; a supercell samples more",
        )
    system = pw.namelists["system"]
    charge = float(system.get("tot_charge", 0))
    check_occupations(occupations, pw.n_electrons - charge, int(system["nbnd"]))
    pw = pw.with_keywords("system", occupations="from_input")
    return replace(pw, cards=occupations_card(occupations))


def pp_input(cube: str) -> str:
    """Return the input of pp.x for the valence density as a cube file."""
    return (
        "&INPUTPP\n"
        f"  prefix = '{BARE_PREFIX}'\n"
        "  outdir = './out'\n"
        "  filplot = 'pp.tmp'\n"
        "  plot_num = 0\n"
        "/\n"
        "&PLOT\n"
        "  iflag = 3\n"
        "  output_format = 6\n"
        f"  fileout = '{cube}'\n"
        "/\n"
    )
