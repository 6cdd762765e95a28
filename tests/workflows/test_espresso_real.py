"""The engine on the real pw.x: two-atom silicon and five-atom cubic CsPbBr3, seconds each."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore
from monty.serialization import loadfn
from pymatgen.core import Lattice, Structure

from corecrown.errors import RunError
from corecrown.postprocess.results import Step
from corecrown.workflows.electronic import ElectronicStructureMaker
from corecrown.workflows.espresso.jobs import BandsMaker, RelaxMaker, ScfMaker
from corecrown.workflows.protocols import load_protocol
from corecrown.workflows.record import StepFolder

pytestmark = pytest.mark.espresso

SMALL = {
    "all": {"cutoff_wfc_ry": 20, "kpoint_mesh": [3, 3, 3]},
    "relax": {"kpoint_mesh": [3, 3, 3]},
    "pdos": {"kpoint_mesh": [3, 3, 3], "conduction_bands": 4},
    "bands": {"path_spacing": 0.15, "conduction_bands": 4},
}


def silicon(a=5.44):
    half = a / 2
    lattice = Lattice([[0, half, half], [half, 0, half], [half, half, 0]])
    return Structure(lattice, ["Si", "Si"], [[0, 0, 0], [0.25, 0.25, 0.25]])


def attempts(folder):
    return sorted(str(path.relative_to(folder)) for path in Path(folder).glob("**/attempt-*"))


@pytest.fixture(scope="module")
def protocol():
    return load_protocol("demo", SMALL)


@pytest.fixture(scope="module")
def computed(tmp_path_factory, protocol):
    folder = tmp_path_factory.mktemp("silicon")
    return folder, run_flow(folder, protocol)


def run_flow(folder, protocol):
    maker = ElectronicStructureMaker.for_espresso(protocol, ["scf", "bands", "pdos"])
    flow = maker.make(silicon(), "si", folder)
    return run_locally(flow, store=JobStore(MemoryStore()), log=False, ensure_success=True)[flow.output.uuid][1].output


def test_silicon_through_scf_bands_and_pdos(computed):
    folder, cell = computed
    # PBE gap of silicon: 0.57-0.62 eV (e.g. Heyd et al., J. Chem. Phys. 123, 174101 (2005)), looser for this cutoff
    assert cell.edges.source == "bands"
    assert cell.edges.gap_ev == pytest.approx(0.6, abs=0.12)
    assert cell.edges.vbm_kpoint == (0, 0, 0)
    assert cell.pdos.edge_character.vbm["Si-p"] > 0.9
    assert 0 <= cell.pdos.spilling < 0.05
    assert cell.settings.cutoff_wfc_ry == 20
    assert cell.settings.pseudopotentials["Si"].sha256.startswith("39822757")
    assert set(cell.timings) == {"scf", "bands", "pdos"}
    assert not list(folder.glob("**/wfc*")), "wavefunctions go when the last step that needs them is done"


def test_the_file_of_bands_says_where_the_gap_is(computed):
    folder, cell = computed
    record = StepFolder(folder / "bands")
    result = record.finished()
    bands = loadfn(record.path / result.folder / result.files["bands"])
    assert bands.efermi == pytest.approx(cell.edges.mid_gap_ev)
    assert not bands.is_metal()


def test_the_density_of_states_holds_the_electrons(computed):
    folder, cell = computed
    record = StepFolder(folder / "pdos")
    result = record.finished()
    dos = loadfn(record.path / result.folder / result.files["dos"])
    energies, total = dos.energies, sum(dos.densities.values())
    below = energies < cell.edges.mid_gap_ev
    step = energies[1] - energies[0]
    # all eight electrons lie below the gap, less the tails of the Gaussians
    assert total[below].sum() * step == pytest.approx(8, abs=0.25)


def test_a_second_run_starts_no_program(computed, protocol):
    folder, cell = computed
    before = attempts(folder)
    again = run_flow(folder, protocol)
    assert again == cell
    assert attempts(folder) == before


def test_a_density_of_another_cell_is_refused(computed, protocol, tmp_path):
    folder, _ = computed
    scf = ScfMaker(settings=protocol.settings(Step.SCF), folder=str(folder / "scf")).calculate(silicon())
    bands = BandsMaker(settings=protocol.settings(Step.BANDS), folder=str(tmp_path / "bands"), label="si")
    with pytest.raises(RunError, match="lattice"):
        bands.calculate(silicon(5.5), scf)
    moved = silicon()
    moved.translate_sites([1], [0.01, 0, 0])
    with pytest.raises(RunError, match="positions"):
        bands.calculate(moved, scf)
    finer = BandsMaker(
        settings=load_protocol("demo", SMALL | {"bands": {"cutoff_wfc_ry": 22}}).settings(Step.BANDS),
        folder=str(tmp_path / "finer"),
        label="si",
    )
    with pytest.raises(RunError, match="cutoff"):
        finer.calculate(silicon(), scf)
    assert StepFolder(tmp_path / "bands").failure()


def test_a_killed_relaxation_goes_on_from_its_last_geometry(tmp_path, protocol):
    start = silicon(5.75)
    start.translate_sites([1], [0.03, 0.0, 0.0])
    undisturbed = RelaxMaker(settings=protocol.settings(Step.RELAX), folder=str(tmp_path / "whole")).calculate(start)
    start.to(filename=str(tmp_path / "start.json"))
    script = (
        "import sys\n"
        "from pymatgen.core import Structure\n"
        "from corecrown.workflows.espresso.jobs import RelaxMaker\n"
        "from corecrown.workflows.protocols import load_protocol\n"
        f"protocol = load_protocol('demo', {SMALL!r})\n"
        "maker = RelaxMaker(settings=protocol.settings('relax'), folder=sys.argv[2])\n"
        "maker.calculate(Structure.from_file(sys.argv[1]))\n"
    )
    folder = tmp_path / "killed"
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "start.json"), str(folder)], start_new_session=True
    )
    output = folder / "attempt-001" / "pw.out"
    deadline = time.monotonic() + 300
    while not (output.is_file() and output.read_text(errors="replace").count("ATOMIC_POSITIONS (") >= 2):
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline, "it never came to its second geometry"
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    maker = RelaxMaker(settings=protocol.settings(Step.RELAX), folder=str(folder))
    continued = maker.calculate(start)
    assert continued.result.folder == "attempt-002"
    assert continued.result.timing.attempts == 2
    assert "went on from the last geometry of attempt-001" in continued.result.notes
    lengths = [np.array(Structure.from_dict(one.structure).lattice.abc) for one in (undisturbed, continued)]
    assert lengths[1] == pytest.approx(lengths[0], rel=1e-3)
    assert continued.result.key == undisturbed.result.key


def test_cubic_perovskite_has_its_direct_gap_at_r(tmp_path):
    # cubic CsPbBr3, a = 5.87 Å: direct at R, 1.6-1.8 eV in PBE without spin-orbit coupling; edges Br-p/Pb-s and Pb-p
    cubic = Structure(
        Lattice.cubic(5.87),
        ["Cs", "Pb", "Br", "Br", "Br"],
        [[0.5, 0.5, 0.5], [0, 0, 0], [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5]],
    )
    overrides = {
        "all": {"cutoff_wfc_ry": 30, "kpoint_mesh": [2, 2, 2]},
        "pdos": {"kpoint_mesh": [2, 2, 2], "conduction_bands": 4},
    }
    maker = ElectronicStructureMaker.for_espresso(load_protocol("demo", overrides), ["scf", "pdos"])
    flow = maker.make(cubic, "cubic", tmp_path)
    cell = run_locally(flow, store=JobStore(MemoryStore()), log=False, ensure_success=True)[flow.output.uuid][1].output
    assert cell.edges.direct
    assert np.abs(cell.edges.vbm_kpoint) == pytest.approx(0.5)  # R, whichever of its equivalents pw.x chose
    assert cell.edges.gap_ev == pytest.approx(1.7, abs=0.3)
    valence, conduction = cell.pdos.edge_character.vbm, cell.pdos.edge_character.cbm
    assert valence["Br-p"] > valence["Pb-s"] > 0.1
    assert conduction["Pb-p"] > 0.5
    assert valence.get("Cs-s", 0) < 0.02


def test_a_failure_names_the_file_and_what_was_said(tmp_path):
    settings = load_protocol("demo", SMALL | {"scf": {"cutoff_wfc_ry": 0.5}}).settings(Step.SCF)
    maker = ScfMaker(settings=settings, folder=str(tmp_path), label="si")
    with pytest.raises(RunError) as caught:
        maker.calculate(silicon())
    assert "pw.x" in caught.value.message
    assert "pw.out" in caught.value.hint
    state = json.loads((tmp_path / "attempt-001" / "failure.json").read_text())
    assert state["reason"]
