"""HSE06 with spin-orbit coupling: from a study file, alone or beside HSE06 without it."""

import pytest
from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore
from pymatgen.core import Lattice, Structure
from scipy.constants import physical_constants

from corecrown.errors import InputError
from corecrown.postprocess.results import Step
from corecrown.settings import get_settings
from corecrown.workflows.electronic import ElectronicStructureMaker
from corecrown.workflows.espresso.outputs import read_run
from corecrown.workflows.protocols import load_protocol
from corecrown.workflows.spec import load_study
from corecrown.workflows.study import SubstitutionStudyMaker

EV_PER_INVERSE_CM = physical_constants["inverse meter-electron volt relationship"][0] * 100

STUDY = """name: levels
protocol: demo
steps: [{steps}]
cells: [{{fa: 0}}]
overrides: {{hybrid: {{{override}}}}}
experiment: null
"""


def study(folder, steps, override):
    (folder / "study.yaml").write_text(STUDY.format(steps=steps, override=override))
    return SubstitutionStudyMaker.from_spec(load_study(folder / "study.yaml")).electronic


def test_an_override_couples_the_hybrid_step(tmp_path):
    assert study(tmp_path, "hybrid", "spin_orbit: true").hybrid.level.spin_orbit
    assert not study(tmp_path, "hybrid", "kpoint_mesh: [1, 1, 1]").hybrid.level.spin_orbit


def test_both_are_steps_of_one_study_with_the_same_settings(tmp_path):
    maker = study(tmp_path, "hybrid, hybrid_spin_orbit", "kpoint_mesh: [1, 1, 1], q_mesh: [1, 1, 1]")
    assert maker.steps == [Step.HYBRID, Step.HYBRID_SPIN_ORBIT]
    assert maker.hybrid.settings == maker.hybrid_spin_orbit.settings
    assert [one.level.spin_orbit for one in (maker.hybrid, maker.hybrid_spin_orbit)] == [False, True]
    assert {one.level.name for one in (maker.hybrid, maker.hybrid_spin_orbit)} == {"HSE06"}


def test_a_misspelt_key_is_told(tmp_path):
    with pytest.raises(InputError, match="spin_orbits"):
        study(tmp_path, "hybrid", "spin_orbits: true")


def test_vasp_couples_it_alike():
    settings = {"hybrid": {"spin_orbit": True}}
    assert ElectronicStructureMaker.for_vasp(load_protocol("demo", settings), ["hybrid"]).hybrid.level.spin_orbit
    maker = ElectronicStructureMaker.for_vasp("demo", ["hybrid", "hybrid_spin_orbit"])
    assert [one.level.spin_orbit for one in (maker.hybrid, maker.hybrid_spin_orbit)] == [False, True]


@pytest.mark.espresso
@pytest.mark.nightly
def test_each_is_a_row_of_levels(tmp_path, monkeypatch):
    monkeypatch.setenv("CORECROWN_MPI_RANKS", "1")
    monkeypatch.setenv("CORECROWN_CUSTODIAN_POLLING_S", "0.05")
    get_settings.cache_clear()
    # r_e of HBr: 1.4144 Å (Huber and Herzberg, Constants of Diatomic Molecules, NIST WebBook)
    molecule = Structure(Lattice.orthorhombic(5, 5, 6), ["H", "Br"], [[0, 0, 1.4144 / 6], [0, 0, 0]])
    overrides = {
        "all": {
            "cutoff_wfc_ry": 20,
            "kpoint_mesh": [1, 1, 1],
            "scf_threshold_ry_per_atom": 1e-6,
        },
        "hybrid": {"conduction_bands": 1},
    }
    maker = ElectronicStructureMaker.for_espresso(load_protocol("demo", overrides), ["hybrid", "hybrid_spin_orbit"])
    flow = maker.make(molecule, "HBr", tmp_path)
    cell = run_locally(flow, store=JobStore(MemoryStore()), log=False, ensure_success=True)[flow.output.uuid][1].output
    assert [(row.functional, row.spin_orbit, row.q_mesh) for row in cell.levels] == [
        ("HSE06", False, (1, 1, 1)),
        ("HSE06", True, (1, 1, 1)),
    ]
    files = sorted((tmp_path / "hybrid_spin_orbit").glob("attempt-*/out/*.save/data-file-schema.xml"))
    levels = read_run(files[-1]).eigenvalues_ev[0, 0]
    # splitting of the lone pair of DBr+: 2651.45 / cm (NIST WebBook); Kohn-Sham comes within some per cent of it
    assert levels[7] - levels[5] == pytest.approx(2651.45 * EV_PER_INVERSE_CM, rel=0.12)
    # it opens downwards and upwards: the highest level rises by a third to a half of the splitting
    plain = sorted((tmp_path / "hybrid").glob("attempt-*/out/*.save/data-file-schema.xml"))
    assert levels[7] > read_run(plain[-1]).eigenvalues_ev[0, 0, 3]
