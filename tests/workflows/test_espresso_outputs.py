"""Reading what pw.x and projwfc.x left, on real files of silicon (fixtures/silicon/README.md)."""

import gzip
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from pymatgen.electronic_structure.plotter import BSPlotter

from corecrown.errors import InputError, RunError
from corecrown.postprocess.edges import find_edges
from corecrown.workflows import engines
from corecrown.workflows.bandstructure import line_band_structure
from corecrown.workflows.espresso.outputs import find_xml, read_run
from corecrown.workflows.espresso.projections import read_projections
from corecrown.workflows.espresso.stdout import last_geometry, read_progress, reason_of_failure

SILICON = Path(__file__).parent / "fixtures" / "silicon"


@pytest.fixture(scope="module")
def relaxed():
    return read_run(SILICON / "relax.xml.gz")


def test_the_relaxation_is_read_whole(relaxed):
    assert relaxed.structure.formula == "Si2"
    assert relaxed.relax_converged
    assert relaxed.scf_converged
    assert relaxed.n_electrons == 8
    assert relaxed.functional == "PBE"
    assert relaxed.code_version.startswith("6.7")
    assert relaxed.weights.sum() == pytest.approx(1)
    assert relaxed.eigenvalues_ev.shape == (1, len(relaxed.kpoints), 4)
    assert (relaxed.occupations == 1).all()


def test_the_xml_agrees_with_what_was_printed(relaxed):
    text = (SILICON / "relax.out").read_text()
    printed = [float(line.split("=")[1].split()[0]) for line in text.splitlines() if line.startswith("!")]
    assert relaxed.energy_ev == pytest.approx(printed[-1] * 13.605693, abs=1e-5)
    pressures = [float(line.split("P=")[1]) for line in text.splitlines() if "P=" in line]
    assert relaxed.pressure_kbar == pytest.approx(pressures[-1], abs=0.01)
    geometry = last_geometry(SILICON / "relax.out", relaxed.structure)
    assert np.allclose(geometry.lattice.matrix, relaxed.structure.lattice.matrix, atol=1e-6)
    assert np.allclose(geometry.cart_coords, relaxed.structure.cart_coords, atol=1e-6)


def test_an_output_cut_off_anywhere_gives_its_last_whole_geometry(relaxed, tmp_path):
    text = (SILICON / "relax.out").read_text()
    for end in range(0, len(text), 997):
        (tmp_path / "pw.out").write_text(text[:end])
        geometry = last_geometry(tmp_path / "pw.out", relaxed.structure)
        assert geometry is None or 30 < geometry.volume < 60
        progress = read_progress(tmp_path / "pw.out")
        assert progress.ionic_step >= 1


def test_progress_is_that_of_the_output_written_last(tmp_path):
    shutil.copy(SILICON / "relax.out", tmp_path / "pw.out")
    assert engines.read_progress(tmp_path) == read_progress(SILICON / "relax.out")
    (tmp_path / "neutral").mkdir()
    later = tmp_path / "neutral" / "pw.out"
    later.write_text("     iteration #  3     ecut=    40.00 Ry\n     estimated scf accuracy    <  2.0E-04 Ry\n")
    os.utime(tmp_path / "pw.out", (1, 1))
    progress = engines.read_progress(tmp_path)
    assert (progress.part, progress.scf_iteration, progress.accuracy_ry) == ("neutral", 3, 2e-4)


def test_progress_counts_ionic_steps():
    progress = read_progress(SILICON / "relax.out")
    text = (SILICON / "relax.out").read_text()
    assert progress.ionic_step == text.count("!    total energy"), "the final scf counts as a step"


@pytest.mark.parametrize("keep", [0, 100, 5000, 20000])
def test_a_truncated_xml_is_refused(tmp_path, keep):
    whole = gzip.decompress((SILICON / "relax.xml.gz").read_bytes())
    (tmp_path / "data-file-schema.xml").write_bytes(whole[:keep])
    with pytest.raises(RunError, match="not a whole XML"):
        read_run(tmp_path)


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="no data-file-schema"):
        find_xml(tmp_path)


def test_silicon_bands_have_their_indirect_gap_on_gamma_x():
    # PBE: about 0.6 eV, between Γ and a point near 0.85 of Γ-X
    run = read_run(SILICON / "bands.xml.gz")
    bands = line_band_structure(run.structure, run.kpoints, run.spins, 5.9)
    assert [branch["name"] for branch in bands.branches] == ["L-Γ", "Γ-X"]
    edges = find_edges(bands, "bands", run.n_electrons)
    assert edges.gap_ev == pytest.approx(0.6, abs=0.1)
    assert not edges.direct
    assert edges.vbm_kpoint == (0, 0, 0)
    x, y, z = edges.cbm_kpoint
    assert (x, y) == pytest.approx((z, 0))
    assert 2 * x == pytest.approx(0.85, abs=0.06)


def test_pymatgen_draws_the_bands_unchanged():
    run = read_run(SILICON / "bands.xml.gz")
    bands = line_band_structure(run.structure, run.kpoints, run.spins, 5.9)
    data = BSPlotter(bands).bs_plot_data()
    assert data["ticks"]["label"][0] == "L"


def test_projections_are_read_with_what_they_are_on():
    projections = read_projections(SILICON / "atomic_proj.xml", SILICON / "projwfc.out")
    run = read_run(SILICON / "mesh.xml.gz")
    assert projections.weights.shape == (*run.eigenvalues_ev.shape, 8)
    assert [state.label for state in projections.states] == ["Si-s", "Si-p", "Si-p", "Si-p"] * 2
    total = projections.weights[0, :, :4].sum(axis=2)
    assert (total < 1 + 1e-6).all()
    assert total.mean() > 0.95  # occupied states of silicon are s and p
    # at Γ the lowest band is s, the next three p
    assert projections.weights[0, 0, 0, [0, 4]].sum() > 0.9
    assert projections.weights[0, 0, 1:4, [1, 2, 3, 5, 6, 7]].sum() > 2.7


def test_projections_cut_off_are_refused(tmp_path):
    text = (SILICON / "atomic_proj.xml").read_text()
    (tmp_path / "atomic_proj.xml").write_text(text[: len(text) // 2])
    with pytest.raises(RunError, match="projwfc"):
        read_projections(tmp_path / "atomic_proj.xml", SILICON / "projwfc.out")


def test_the_reason_of_a_crash_is_found(tmp_path):
    banner = " " + "%" * 78
    (tmp_path / "pw.out").write_text(
        f"{banner}\n     Error in routine readpp (1):\n     file ./pseudo/Si.upf not found\n{banner}\n"
    )
    assert "file ./pseudo/Si.upf not found" in reason_of_failure(tmp_path, "pw.out")


def test_progress_counts_how_often_exact_exchange_was_computed(tmp_path):
    text = (SILICON / "hybrid.out").read_text()
    assert read_progress(SILICON / "hybrid.out").exchange_round == 4
    (tmp_path / "pw.out").write_text(text[: text.index("EXX: now go back")])
    assert read_progress(tmp_path / "pw.out").exchange_round == 0
    after_second = text[: text.index("iteration #  2", text.index("est. exchange err"))]
    (tmp_path / "pw.out").write_text(after_second)
    progress = read_progress(tmp_path / "pw.out")
    assert (progress.exchange_round, progress.scf_iteration, progress.accuracy_ry) == (2, 1, 3.16e-6)
