"""Excited states by name, their occupations, and inputs that are refused before anything runs."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from corecrown.errors import InputError, RunError
from corecrown.postprocess.results import BandEdges, Step
from corecrown.workflows.engines import require_ready
from corecrown.workflows.espresso import programs
from corecrown.workflows.espresso.excitation import ExcitationMaker
from corecrown.workflows.espresso.excitation_inputs import ground_input, state_input, with_occupations
from corecrown.workflows.espresso.excitation_states import (
    Occupations,
    check_occupations,
    ground_occupations,
    occupations_card,
    parse_state,
    share_levels,
)
from corecrown.workflows.espresso.pseudopotentials import PseudopotentialFile
from corecrown.workflows.protocols import Theory, load_protocol
from corecrown.workflows.record import StepFolder
from corecrown.workflows.spec import Engine, StudySpec, load_study


def hydrogen():
    return Structure(Lattice.cubic(5), ["H", "H"], [[0, 0, 0], [0.15, 0, 0]])


@pytest.fixture
def pseudopotentials(tmp_path):
    file = {"element": "H", "sha256": "0" * 64, "z_valence": 1, "functional": "PBE", "relativity": "SR"}
    return {"H": PseudopotentialFile(path=tmp_path / "H.upf", pseudo_type="NC", **file)}


@pytest.fixture
def settings():
    return load_protocol("demo").settings(Step.EXCITATION)


@pytest.fixture
def ground(settings, pseudopotentials):
    return ground_input(hydrogen(), settings, Theory(), pseudopotentials)


@pytest.mark.parametrize(
    ("name", "orbitals", "charge"),
    [
        ("neutral", "vbm>cbm", 0),
        ("triplet:vbm-1>cbm+2", "vbm-1>cbm+2", 0),
        ("electron:cbm+1", "cbm+1", -1),
        ("hole:vbm-3", "vbm-3", 1),
        ("neutral:vbm>cbm", "vbm>cbm", 0),
    ],
)
def test_a_name_means_bands(name, orbitals, charge):
    state = parse_state(name)
    assert (state.orbitals, state.charge) == (orbitals, charge)
    assert parse_state(state.name) == state


@pytest.mark.parametrize("name", ["", "exciton", "neutral:", "hole:cbm", "electron:vbm>cbm", "neutral:cbm>vbm", "Hole"])
def test_a_name_that_means_nothing_is_refused(name):
    with pytest.raises(InputError, match="excitation"):
        parse_state(name)


@given(
    kind=st.sampled_from(["neutral", "triplet", "electron", "hole"]),
    pairs=st.integers(1, 30),
    empty=st.integers(1, 10),
    below=st.integers(0, 5),
    above=st.integers(0, 5),
)
def test_occupations_hold_the_electrons_or_are_refused(kind, pairs, empty, below, above):
    bands = {"electron": f"cbm+{above}", "hole": f"vbm-{below}"}.get(kind, f"vbm-{below}>cbm+{above}")
    state = parse_state(f"{kind}:{bands}")
    there = (not state.makes_hole or below < pairs) and (not state.adds_electron or above < empty)
    if not there:
        with pytest.raises(InputError):
            state.occupations(pairs, pairs + empty)
        return
    occupations = state.occupations(pairs, pairs + empty)
    assert occupations.electrons == 2 * pairs - state.charge
    check_occupations(occupations, 2 * pairs - state.charge, pairs + empty)


def test_spins_of_mixed_state_and_triplet():
    up, down = parse_state("neutral").occupations(3, 5).channels.sum(axis=1)
    assert (up, down) == (3, 3)
    up, down = parse_state("triplet").occupations(3, 5).channels.sum(axis=1)
    assert (up, down) == (4, 2)


def test_a_degenerate_level_shares_its_electron():
    state = parse_state("triplet")
    energies = np.array([[-2.0, -1.0, 1.0, 1.001, 3.0]] * 2)
    shared = share_levels(state, 2, state.occupations(2, 5), energies)
    assert shared.up.tolist() == [1, 1, 0.5, 0.5, 0]
    assert shared.down.tolist() == [1, 0, 0, 0, 0]


@pytest.mark.parametrize(
    "channels",
    [
        [[1, 1, 0], [1, 0, 0]],
        [[2, 0, 0], [0, 0, 0]],
        [[1, 0], [1, 0]],
        [[float("nan"), 0, 1], [1, 0, 0]],
    ],
)
def test_occupations_that_do_not_fit_are_refused(channels):
    with pytest.raises(InputError, match="occupations"):
        check_occupations(Occupations.of(channels), 2, 3)


def test_occupations_that_fit():
    check_occupations(Occupations.of([[1, 0, 0], [1, 0, 0]]), 2, 3)


def test_the_card_has_a_block_a_channel():
    text = occupations_card(ground_occupations(13, 25))
    assert text.splitlines()[0] == "OCCUPATIONS"
    numbers = [float(word) for line in text.splitlines()[1:] for word in line.split()]
    assert numbers == [1.0] * 13 + [0.0] * 12 + [1.0] * 13 + [0.0] * 12
    assert max(len(line) for line in text.splitlines()) < 80


def test_the_input_of_an_excited_state(ground):
    text = state_input(ground, parse_state("triplet")).text()
    for line in ("nspin            = 2", "nosym            = .true.", "noinv            = .true.", "K_POINTS gamma"):
        assert line in text
    assert "occupations      = 'from_input'" in text
    assert "startingpot      = 'file'" in text
    assert text.rstrip().endswith("OCCUPATIONS\n1 1 0 0 0 0 0\n0 0 0 0 0 0 0")
    assert "tot_charge" not in text
    assert "tot_charge       = 1" in state_input(ground, parse_state("hole")).text()


def test_more_than_one_k_point_is_refused(ground):
    with pytest.raises(InputError, match="one k-point"):
        with_occupations(replace(ground, mesh=(2, 1, 1)), ground_occupations(1, 7))


def test_spinors_are_refused(settings, pseudopotentials):
    with pytest.raises(InputError, match="spin-orbit"):
        ground_input(hydrogen(), settings, Theory(spin_orbit=True), pseudopotentials)


def test_odd_electrons_are_refused(settings, pseudopotentials):
    with pytest.raises(InputError, match="odd"):
        ground_input(hydrogen().copy().remove_sites([1]), settings, Theory(), pseudopotentials)


@pytest.mark.parametrize(
    ("kinds", "said"),
    [((), "nothing"), (("neutral:vbm>cbm+9",), "conduction_bands"), (("neutral:vbm-1>cbm",), "no band lies 1 below")],
)
def test_a_maker_refuses_before_anything_runs(kinds, said, settings, pseudopotentials, monkeypatch, tmp_path):
    maker = ExcitationMaker(settings=settings, kinds=kinds, folder=str(tmp_path / "step"))
    monkeypatch.setattr(ExcitationMaker, "pseudopotentials", lambda self, structure: pseudopotentials)
    with pytest.raises(InputError, match=said):
        maker.inputs(hydrogen())


def test_a_supercell_has_its_own_number_of_electrons(settings, pseudopotentials, monkeypatch):
    monkeypatch.setattr(ExcitationMaker, "pseudopotentials", lambda self, structure: pseudopotentials)
    maker = ExcitationMaker(settings=settings, kinds=("singlet", "neutral"), supercell=(1, 1, 2))
    inputs = maker.all_inputs(hydrogen())
    assert list(inputs) == ["ground", "neutral", "triplet"]
    assert {pw.n_electrons for pw in inputs.values()} == {4}


def study(**changes):
    return StudySpec.model_validate({"name": "s", "steps": ["excitation"], "cells": [{"fa": 0}], **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"excitation": {"kinds": ["exciton"]}},
        {"excitation": {"kinds": []}},
        {"excitation": {"supercell": [0, 1, 1]}},
        {"engine": "vasp", "excitation": {"kinds": ["triplet"]}},
    ],
)
def test_a_study_that_asks_for_what_is_not_there_is_refused(changes):
    with pytest.raises(ValueError, match="excitation"):
        study(**changes)


@pytest.mark.parametrize(
    "asked", [{"kpoint_mesh": [2, 2, 1]}, {"kpoint_spacing": 0.3}, {"kpoint_shift": [1, 1, 0]}, {"max_tries": 0}]
)
def test_overrides_beyond_one_k_point_are_refused(asked):
    with pytest.raises(InputError, match=r"overrides\.excitation"):
        load_protocol("demo", {"excitation": asked})
    load_protocol("demo", {"excitation": {"kpoint_mesh": [1, 1, 1]}})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"excitation": {"kinds": "neutral"}}, r"excitation.kinds: 'neutral' is no list of names"),
        ({"excitation": {"supercell": 2}}, r"excitation.supercell: 2: three whole numbers"),
        ({"excitation": {"kind": ["neutral"]}}, r"excitation.kind: unknown key"),
        ({"engine": "vasp", "excitation": {"kinds": ["triplet"]}}, r"study.yaml: excitation.kinds triplet: VASP has"),
    ],
)
def test_a_file_that_asks_wrongly_is_told_where(changes, said, tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump({"name": "s", "steps": ["excitation"], "cells": [{"fa": 0}], **changes}))
    with pytest.raises(InputError, match=said):
        load_study(path)


def test_bands_that_are_not_there_are_found_before_the_steps_before(settings, pseudopotentials, monkeypatch):
    """A relaxation of hours does not run first."""
    monkeypatch.setattr(ExcitationMaker, "pseudopotentials", lambda self, structure: pseudopotentials)
    monkeypatch.setattr(programs, "find_program", lambda name: name)
    steps = [Step.RELAX, Step.EXCITATION]
    maker = ExcitationMaker(settings=settings, kinds=("neutral:vbm>cbm+9",))
    electronic = SimpleNamespace(steps=steps, relax=maker, excitation=maker)
    cell = SimpleNamespace(label="mine", structure=hydrogen())
    with pytest.raises(InputError, match="mine: excitation neutral:vbm>cbm"):
        require_ready(Engine.ESPRESSO, [(cell, steps)], electronic)


def test_metals_alone_are_refused_unless_a_step_found_a_gap(settings, tmp_path, monkeypatch):
    maker = ExcitationMaker(settings=settings, label="lead", folder=str(tmp_path / "excitation"))
    lead = Structure(Lattice.cubic(4.95), ["Pb"], [[0, 0, 0]])
    with pytest.raises(RunError, match=r"lead: Pb is made of metals alone.*gap at Γ"):
        maker._refuse_metal(StepFolder(tmp_path / "excitation"), lead)
    maker._refuse_metal(StepFolder(tmp_path / "excitation"), hydrogen())
    gap = SimpleNamespace(edges=BandEdges(vbm_ev=0, cbm_ev=1, gap_ev=1, direct=True, source="mesh"))
    monkeypatch.setattr(StepFolder, "finished", lambda self: gap)
    maker._refuse_metal(StepFolder(tmp_path / "excitation"), lead)


@pytest.mark.parametrize("engine", list(Engine))
def test_metals_alone_are_refused_before_the_steps_before(engine, settings, pseudopotentials, monkeypatch):
    monkeypatch.setattr(programs, "find_program", lambda name: name)
    maker = SimpleNamespace(
        pseudopotentials=lambda structure: pseudopotentials, inputs=lambda structure: None, require_ready=id
    )
    lead = SimpleNamespace(label="lead", structure=Structure(Lattice.cubic(4.95), ["Pb"], [[0, 0, 0]]))
    for steps in ([Step.RELAX, Step.EXCITATION], [Step.RELAX, Step.SCF, Step.EXCITATION], [Step.RELAX]):
        electronic = SimpleNamespace(steps=steps, relax=maker, scf=maker, excitation=maker)
        if steps == [Step.RELAX, Step.EXCITATION]:
            with pytest.raises(InputError, match=r"lead: Pb is made of metals alone"):
                require_ready(engine, [(lead, steps)], electronic)
        else:
            require_ready(engine, [(lead, steps)], electronic)


def test_relaxing_is_in_the_cost_of_the_plan(settings):
    still, moving = (
        ExcitationMaker(settings=settings.model_copy(update={"relax_excited": asked})) for asked in (False, True)
    )
    assert moving.cost_factor > 4 * still.cost_factor
