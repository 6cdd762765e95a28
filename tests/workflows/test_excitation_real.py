"""Delta-SCF on the real pw.x: hydrogen and carbon monoxide in small boxes."""

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from corecrown.errors import RunError
from corecrown.postprocess.cells import assemble_cell
from corecrown.postprocess.excitation_cubes import read_density
from corecrown.postprocess.excitation_level import excitation_level
from corecrown.postprocess.results import Step
from corecrown.workflows.espresso import excitation, excitation_run
from corecrown.workflows.espresso.base import XML
from corecrown.workflows.espresso.excitation import ExcitationMaker
from corecrown.workflows.espresso.excitation_inputs import with_occupations
from corecrown.workflows.espresso.excitation_run import read_converged
from corecrown.workflows.espresso.excitation_states import Occupations, parse_state
from corecrown.workflows.espresso.run import run_pw
from corecrown.workflows.protocols import load_protocol
from corecrown.workflows.record import StepFolder

pytestmark = pytest.mark.espresso

STRETCHED = 1.5
"""Length of the H-H bond, Å: far enough for the antibonding orbital to be bound."""

SIDES = (STRETCHED + 4.0, 4.5, 4.5)


def hydrogen(sides=SIDES):
    half = STRETCHED / 2 / sides[0]
    return Structure(Lattice.orthorhombic(*sides), ["H", "H"], [[0.5 - half, 0.5, 0.5], [0.5 + half, 0.5, 0.5]])


def settings(**changes):
    asked = {"cutoff_wfc_ry": 20, "conduction_bands": 3, "scf_threshold_ry_per_atom": 5e-7} | changes
    return load_protocol("demo", {"excitation": asked}).settings(Step.EXCITATION)


@pytest.fixture(scope="module")
def computed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("h2")
    kinds = ("triplet", "singlet", "hole")
    maker = ExcitationMaker(settings(dielectric_constant=2.0), kinds=kinds, folder=str(folder / "step"), label="h2")
    return folder / "step", maker.calculate(hydrogen()).result


def test_states_hold_and_energies_are_in_order(computed):
    _, result = computed
    triplet, singlet, hole = result.excitation
    assert all(found.occupations_kept for found in result.excitation)
    assert min(triplet.hole_kept, triplet.electron_kept, hole.hole_kept) > 0.8
    assert 0 < triplet.energy_ev < singlet.energy_ev
    # the triplet of H2 at 1.5 Å lies 3.2 eV above the ground state (Kolos and Wolniewicz, J. Chem. Phys. 43, 2429
    # (1965), from memory); a semilocal functional raises the stretched closed shell, and this cutoff is a third of what
    # is needed
    assert triplet.energy_ev == pytest.approx(3.2, abs=1.5)
    assert hole.charge_correction_ev > 0
    assert "Makov-Payne" in hole.charge_correction
    assert any("tends to the Kohn-Sham gap" in note for note in hole.notes)


def test_the_result_has_what_it_was_computed_with(computed):
    _, result = computed
    cell = assemble_cell(
        label="h2",
        fa_fraction=None,
        alignment=None,
        structure=hydrogen(),
        steps={Step.EXCITATION: result},
    )
    for found in cell.excitation:
        assert excitation_level(cell, found) == "PBE, no spin-orbit, 20 Ry, 1×1×1 mesh"
    assert cell.settings.cutoff_rho_ry == 80
    assert set(cell.settings.pseudopotentials) == {"H"}


def test_charge_is_conserved_in_every_scheme(computed):
    folder, result = computed
    added = {"triplet": 0, "hole": -1}
    for found in (one for one in result.excitation if one.kind in added):
        assert {one.scheme for one in found.partitions} >= {"Hirshfeld", "Bader", "Löwdin"}
        for partition in found.partitions:
            for name in ("hole", "electron"):
                shares = getattr(partition, name)
                assert shares is None or sum(shares.values()) == pytest.approx(1, abs=0.01)
            assert sum(partition.net.values()) == pytest.approx(added[found.kind], abs=0.01)
        kept = read_density(folder / result.folder / result.files[f"difference_{found.kind}"])
        assert kept.total == pytest.approx(added[found.kind], abs=0.01)


def test_equal_atoms_share_alike(computed):
    """One group alone holds everything, and the hole is spread over both atoms."""
    _, result = computed
    hole = result.excitation[2]
    assert hole.hole_by_group == pytest.approx({"H": 1.0}, abs=0.01)
    assert hole.participation["hole_atoms"] == pytest.approx(2, abs=0.05)


def test_the_triplet_of_carbon_monoxide_lies_where_it_is_known_to(tmp_path):
    """a³Π of CO lies 6.32 eV above the ground state, vertically.

    From experiment by Nielsen, Jørgensen and Oddershede, J. Chem. Phys. 73, 6238 (1980); adiabatically 6.04 eV. Both
    as the manual of DIRAC has them, where time-dependent PBE gives 5.77 eV. A box of 6 Å raises ours by 0.14 eV.
    """
    side, bond = 6.0, 1.128
    ends = [[side / 2, side / 2, (side - bond) / 2], [side / 2, side / 2, (side + bond) / 2]]
    molecule = Structure(Lattice.cubic(side), ["C", "O"], ends, coords_are_cartesian=True)
    asked = settings(cutoff_wfc_ry=40, conduction_bands=4, scf_threshold_ry_per_atom=1e-6)
    maker = ExcitationMaker(asked, kinds=("triplet",), folder=str(tmp_path), label="co")
    (found,) = maker.calculate(molecule).result.excitation
    assert found.occupations_kept
    assert min(found.hole_kept, found.electron_kept) > 0.95
    assert found.energy_ev == pytest.approx(6.32, abs=0.5)
    # the 5σ lone pair of carbon is emptied, and 2π, of which carbon has the larger part, is filled
    assert found.hole_by_group["C"] > 0.6
    assert found.electron_by_group["C"] > 0.5


def test_a_finished_step_is_given_back(computed, monkeypatch):
    folder, result = computed
    monkeypatch.setattr(excitation_run, "run_pw", None)
    maker = ExcitationMaker(
        settings(dielectric_constant=2.0), kinds=("triplet", "singlet", "hole"), folder=str(folder), label="h2"
    )
    assert maker.calculate(hydrogen()).result.key == result.key
    assert not list(folder.glob("**/wfc*")), "orbitals go when the last that needs them is done"
    assert not list(folder.glob("**/*-bare.save"))


def test_a_step_broken_off_goes_on_from_its_ground_state(tmp_path, monkeypatch):
    maker = ExcitationMaker(settings(), kinds=("triplet",), folder=str(tmp_path), label="h2")

    def broken(*_):
        raise RunError("broken off", "")

    with monkeypatch.context() as patched:
        patched.setattr(excitation, "run_state", broken)
        with pytest.raises(RunError, match="broken off"):
            maker.calculate(hydrogen())
    result = maker.calculate(hydrogen()).result
    assert result.notes == ["ground state taken over from attempt-001"]
    assert result.excitation[0].occupations_kept


def test_a_wrong_occupation_list_is_caught(tmp_path, monkeypatch):
    """The list of the ground state, handed in for that of the excited one: refused, however often it is tried."""
    state = type(parse_state("triplet"))

    def ground_state_list(self, pairs, n_bands):
        filled = np.zeros((2, n_bands))
        filled[:, :pairs] = 1
        return Occupations.of(filled)

    monkeypatch.setattr(state, "occupations", ground_state_list)
    monkeypatch.setattr(excitation_run, "share_levels", lambda state, pairs, occupations, energies: occupations)
    maker = ExcitationMaker(settings(max_tries=1), kinds=("triplet",), folder=str(tmp_path), label="h2")
    with pytest.raises(RunError, match=r"no excited state held.*only 0\.00 of the hole"):
        maker.calculate(hydrogen())
    assert "no excited state held" in StepFolder(tmp_path).failure()


def total_energies(folder, maker, occupations):
    """Energies of a cell with the given occupations, one run each."""
    ground = maker.inputs(hydrogen((SIDES[0], SIDES[1], 8.5)))
    energies = []
    for number, channels in enumerate(occupations):
        place = folder / str(number)
        place.mkdir()
        pw = with_occupations(ground, Occupations.of(channels))
        run_pw(place, pw)
        energies.append(read_converged(place, "a test").energy_ev)
        assert (place / XML).is_file()
    return energies


def test_two_copies_that_do_not_meet_cost_twice_as_much(tmp_path):
    """Exciting both of two distant molecules takes twice the energy of one."""
    coarse = settings(cutoff_wfc_ry=10)
    one, two = (ExcitationMaker(coarse, supercell=(1, 1, copies)) for copies in (1, 2))
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    closed, excited = total_energies(tmp_path / "one", one, [[[1, 0, 0, 0]] * 2, [[0, 1, 0, 0], [1, 0, 0, 0]]])
    pair = [[[1, 1, 0, 0, 0]] * 2, [[0, 0, 1, 1, 0], [1, 1, 0, 0, 0]]]
    both_closed, both_excited = total_energies(tmp_path / "two", two, pair)
    assert both_closed == pytest.approx(2 * closed, abs=0.05)
    assert both_excited - both_closed == pytest.approx(2 * (excited - closed), abs=0.05)
