import json
import os
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure
from pymatgen.electronic_structure.bandstructure import BandStructureSymmLine
from pymatgen.electronic_structure.dos import CompleteDos
from synthetic_study import CELLS, make_structure, make_study

from corecrown.errors import InputError
from corecrown.postprocess import read_study
from corecrown.postprocess.reference import read_reference
from corecrown.postprocess.results import (
    BandEdges,
    EdgeCharacter,
    Excitation,
    Masses,
    MassTensor,
    PdosSummary,
    RunSettings,
    Step,
    StepResult,
    StepTiming,
    StudyResult,
)
from corecrown.postprocess.study import assemble_cell, describe_level, write_study


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("study")
    make_study(path, ("fa000", "fa025-b"))
    return path


START = make_structure(0.0, None, CELLS["fa000"][3])
RELAXED = make_structure(0.0, None, (8.1, 8.4, 11.8))


def step(which, **fields):
    defaults = {
        "step": which,
        "label": "fa000",
        "key": "0" * 8,
        "folder": "attempt-2",
        "engine": "espresso",
        "code": "pw.x",
        "code_version": "6.7",
        "settings": RunSettings(functional="PBE", cutoff_wfc_ry=40, kpoint_mesh=(2, 2, 1)),
        "timing": StepTiming(wall_s=10, core_s=20),
        "structure": RELAXED.as_dict(),
    }
    return StepResult(**{**defaults, **fields})


def edges(gap, source="bands"):
    return BandEdges(vbm_ev=0, cbm_ev=gap, gap_ev=gap, source=source)


def assemble(steps, **fields):
    defaults = {"label": "fa000", "fa_fraction": 0.0, "alignment": None, "structure": START}
    return assemble_cell(**{**defaults, **fields}, steps={one.step: one for one in steps})


def test_a_cell_without_any_step_is_what_it_was_started_from():
    cell = assemble([], failed={"scf": "pw.x did not converge"}, notes=["as sketched"])
    assert cell.lattice_a_angstrom == pytest.approx(8.078)
    assert cell.formula == "Cs4Pb4Br12"
    assert cell.setting == "Pbnm"
    assert cell.edges is cell.settings is cell.pdos is cell.masses is None
    assert cell.levels == cell.excitation == []
    assert cell.failed == {"scf": "pw.x did not converge"}
    assert cell.notes == ["as sketched"]


def test_a_gap_with_spin_orbit_coupling_is_the_tighter_of_its_mesh_and_its_stencils():
    shifted = {"functional": "PBE", "spin_orbit": True, "kpoint_mesh": (2, 2, 2), "kpoint_shift": (1, 1, 1)}
    lines = edges(2.1).model_copy(update={"vbm_kpoint": (0, 0, 0), "cbm_kpoint": (0, 0, 0)})
    coupled = step(Step.SPIN_ORBIT, edges=edges(1.9, "mesh"), settings=RunSettings(**shifted))
    alone = assemble([step(Step.BANDS, edges=lines), coupled]).levels[-1]
    assert assemble([coupled]).step_settings == {"spin_orbit": coupled.settings}
    assert (alone.gap_ev, alone.source, alone.kpoint_shift) == (1.9, "mesh", (1, 1, 1))
    assert [note.split(",")[0] for note in alone.notes] == [
        f"the mesh does not hold the k-point of the {name} edge along lines" for name in ("valence", "conduction")
    ]
    stencils = step(Step.MASSES_SPIN_ORBIT, edges=edges(0.9, "stencil"), settings=RunSettings(**shifted))
    found = assemble([step(Step.BANDS, edges=lines), coupled, stencils]).levels[-1]
    assert (found.gap_ev, found.source, found.notes) == (0.9, "stencil", [])


def test_relaxed_geometry_takes_the_place_of_the_start():
    cell = assemble([step(Step.RELAX)])
    assert cell.lattice_c_angstrom == pytest.approx(11.8)
    assert cell.volume_angstrom3 == pytest.approx(8.1 * 8.4 * 11.8)
    assert Structure.from_dict(cell.structure) == RELAXED


@pytest.mark.parametrize(("on_path", "on_mesh", "source"), [(2.0, 1.9, "mesh"), (1.9, 2.0, "bands")])
def test_the_tighter_gap_of_path_and_mesh_wins(on_path, on_mesh, source):
    cell = assemble([step(Step.SCF, edges=edges(on_mesh, "mesh")), step(Step.BANDS, edges=edges(on_path))])
    assert cell.edges.source == source
    assert cell.edges.gap_ev == 1.9
    assert cell.edges_by_source["bands"].gap_ev == on_path
    assert cell.edges_by_source["mesh"].gap_ev == on_mesh


def test_levels_are_one_row_a_level_of_theory_and_the_path_wins():
    hybrid = RunSettings(functional="HSE06", cutoff_wfc_ry=40, kpoint_mesh=(2, 2, 1), q_mesh=(1, 1, 1))
    coupled = RunSettings(functional="PBE", spin_orbit=True, cutoff_wfc_ry=40, kpoint_mesh=(2, 2, 1))
    cell = assemble(
        [
            step(Step.SCF, edges=edges(1.9, "mesh")),
            step(Step.BANDS, edges=edges(2.0), settings=RunSettings(functional="PBE", cutoff_wfc_ry=40)),
            step(Step.HYBRID, edges=edges(2.6, "mesh"), settings=hybrid),
            step(Step.SPIN_ORBIT, edges=edges(0.9), settings=coupled),
        ]
    )
    rows = [(row.functional, row.spin_orbit, row.source, row.gap_ev, row.kpoint_mesh) for row in cell.levels]
    assert rows == [
        ("PBE", False, "bands", 2.0, (2, 2, 1)),
        ("PBE", True, "bands", 0.9, (2, 2, 1)),
        ("HSE06", False, "mesh", 2.6, (2, 2, 1)),
    ]
    assert cell.settings.functional == "PBE"
    assert cell.settings.kpoint_mesh == (2, 2, 1)


def test_masses_go_where_their_spin_orbit_setting_says():
    scalar, coupled = Masses(electron=MassTensor(gamma_x=1.0)), Masses(electron=MassTensor(gamma_x=0.2))
    cell = assemble(
        [
            step(Step.MASSES, masses=scalar),
            step(Step.SPIN_ORBIT, masses=coupled, settings=RunSettings(functional="PBE", spin_orbit=True)),
        ]
    )
    assert cell.masses == scalar
    assert cell.masses_spin_orbit == coupled


def test_paths_of_files_are_relative_to_the_study_folder():
    summary = PdosSummary(edge_character=EdgeCharacter(vbm={"Br-p": 0.6}), file="dos.json.gz")
    cell = assemble(
        [
            step(Step.SCF, files={"bands": "mesh.json.gz", "density": "charge.hdf5"}),
            step(Step.BANDS, files={"bands": "bands.json.gz"}),
            step(Step.PDOS, files={"dos": "dos.json.gz"}, pdos=summary),
        ]
    )
    assert cell.files == {
        "scf_bands": "cells/fa000/scf/attempt-2/mesh.json.gz",
        "density": "cells/fa000/scf/attempt-2/charge.hdf5",
        "bands": "cells/fa000/bands/attempt-2/bands.json.gz",
        "dos": "cells/fa000/pdos/attempt-2/dos.json.gz",
    }
    assert cell.pdos.file == cell.files["dos"]
    assert cell.pdos.edge_character.vbm == {"Br-p": 0.6}


def test_excitation_and_timings_are_taken_over():
    found = Excitation(kind="neutral", energy_ev=1.7, ks_gap_ev=1.75, occupations_kept=True)
    cell = assemble([step(Step.EXCITATION, excitation=[found]), step(Step.SCF)])
    assert cell.excitation == [found]
    assert list(cell.timings) == ["scf", "excitation"]


def test_a_lattice_that_is_not_one_pbnm_cell_has_no_setting():
    cubic = Structure(Lattice.cubic(5.9), ["Cs", "Pb", "Br"], [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]])
    cell = assemble([], structure=cubic)
    assert cell.setting is None
    assert "setting" in cell.notes[-1]


def test_fraction_in_percent_is_refused():
    with pytest.raises(InputError, match="not 0 to 1"):
        assemble([], fa_fraction=25)


def test_distortion_is_measured_on_the_final_geometry():
    cell = assemble([step(Step.RELAX)])
    assert cell.distortion is not None


def test_level_text_says_functional_coupling_cutoff_and_mesh():
    assert describe_level(RunSettings(functional="PBE", cutoff_wfc_ry=60, kpoint_mesh=(3, 3, 2))) == (
        "PBE, no spin-orbit, 60 Ry, 3×3×2 mesh"
    )
    vasp = RunSettings(functional="HSE06", spin_orbit=True, encut_ev=400, q_mesh=(1, 1, 1))
    assert describe_level(vasp) == "HSE06, spin-orbit, 400 eV, mesh not recorded, q 1×1×1"


def test_a_study_comes_back_as_it_was_written(folder):
    study = read_study(folder)
    assert read_study(folder / "study.json").result == study.result
    assert write_study(study.result, folder / "copy") == folder / "copy" / "study.json"
    assert read_study(folder / "copy").result == study.result
    assert [path.name for path in (folder / "copy").iterdir()] == ["study.json"]


def test_a_failed_write_leaves_the_earlier_study(folder, tmp_path, monkeypatch):
    result = read_study(folder).result
    write_study(result, tmp_path)
    before = (tmp_path / "study.json").read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="No space left"):
        write_study(result.model_copy(update={"study": "other"}), tmp_path)
    assert (tmp_path / "study.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["study.json"]


def test_cells_and_fields_are_attributes(folder):
    study = read_study(folder)
    assert study.labels == ["fa000", "fa025-b"]
    assert study.protocol == "fast"
    assert study.fa025_b is study["fa025-b"] is study.cell("fa025-b") is study.cells[1]
    assert {"fa000", "fa025_b", "comparison", "bands"} <= set(dir(study))
    with pytest.raises(AttributeError, match="cells: fa000, fa025-b"):
        _ = study.fa050
    with pytest.raises(InputError, match="no cell 'fa050'"):
        study.cell("fa050")


def test_pymatgen_objects_come_back(folder):
    study = read_study(folder)
    assert isinstance(study.bands("fa000"), BandStructureSymmLine)
    assert isinstance(study.dos("fa000"), CompleteDos)
    assert study.structure("fa025-b").composition["N"] == 2


def test_dataframe_has_a_row_a_cell(folder):
    frame = read_study(folder).to_dataframe()
    assert list(frame.index) == ["fa000", "fa025-b"]
    assert frame.loc["fa025-b", "gap_ev"] == pytest.approx(2.006, abs=1e-3)
    assert frame.loc["fa000", "electron_gamma_x"] == 0.99


def test_dataframe_without_pandas_names_the_extra(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(InputError) as caught:
        read_study(folder).to_dataframe()
    assert "corecrown[notebooks]" in caught.value.hint


def test_missing_study_names_the_command(tmp_path):
    with pytest.raises(InputError, match="not found") as caught:
        read_study(tmp_path)
    assert "study run" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "study.json:1: not valid JSON"),
        ('{"study": 1,', "study.json:1: not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[]", "field top level"),
        ('{"study": "x"}', "field engine"),
        (
            '{"study":"x","engine":"e","protocol":"p","corecrown_version":"0","cells":[{"label":1}]}',
            "field cells.0.label",
        ),
        ('{"study":"x","engine":"e","protocol":"p","corecrown_version":"0","cells":[],"more":1}', "field more"),
    ],
)
def test_a_file_that_is_no_study_names_the_place(tmp_path, text, message):
    (tmp_path / "study.json").write_text(text)
    with pytest.raises(InputError, match=message):
        read_study(tmp_path)


def test_bytes_that_are_no_text_are_an_input_error(tmp_path):
    (tmp_path / "study.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="is not text"):
        read_study(tmp_path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_study_is_read_or_refused_but_never_crashes(folder, tmp_path, data):
    """Replace one value anywhere in a study by something else: either it is still a study, or the field is named."""
    document = json.loads((folder / "study.json").read_text())
    place = document
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if isinstance(place[key], dict | list) and place[key] and data.draw(st.booleans()):
            place = place[key]
        else:
            break
    place[key] = data.draw(st.sampled_from([None, "x", -1, 1e300, [], {}, True, "∥"]))
    (tmp_path / "study.json").write_text(json.dumps(document))
    try:
        study = read_study(tmp_path)
    except InputError as error:
        refusal = str(error)
    else:
        refusal = "field: none"
        for cell in study.cells:
            with pytest.raises(InputError):
                study.bands(cell.label)
    assert "field" in refusal


def edited(folder, tmp_path, **files):
    result = read_study(folder).result
    cell = result.cells[0].model_copy(update={"files": files})
    write_study(result.model_copy(update={"cells": [cell]}), tmp_path)
    return read_study(tmp_path)


def test_file_that_was_never_made_names_what_there_is(folder, tmp_path):
    with pytest.raises(InputError, match="files has no 'bands'") as caught:
        edited(folder, tmp_path, dos="dos.json").bands("fa000")
    assert caught.value.hint == "it has: dos"


def test_file_that_is_gone_names_its_path(folder, tmp_path):
    with pytest.raises(InputError, match=r"bands\.json\.gz: not found"):
        edited(folder, tmp_path, bands="bands.json.gz").bands("fa000")


def test_file_outside_the_study_is_refused(folder, tmp_path):
    with pytest.raises(InputError, match="lies outside the study"):
        edited(folder, tmp_path, bands="../../etc/passwd").bands("fa000")


@pytest.mark.parametrize("content", [b"", b"{", b"[1, 2]", b'{"@module": "os", "@class": "path"}', b"\x1f\x8b\x00\x00"])
def test_file_that_cannot_be_read_names_its_path(folder, tmp_path, content):
    (tmp_path / "bands.json").write_bytes(content)
    with pytest.raises(InputError, match=r"bands\.json: "):
        edited(folder, tmp_path, bands="bands.json").bands("fa000")
    (tmp_path / "bands.json.gz").write_bytes(content)
    with pytest.raises(InputError, match=r"bands\.json\.gz: "):
        edited(folder, tmp_path, bands="bands.json.gz").bands("fa000")


def test_compare_reads_an_experiment_by_name(folder, tmp_path):
    experiment = tmp_path / "mine.yaml"
    experiment.write_text(
        "name: mine\nsource: {paper: none}\n"
        "places:\n  core: {vbm_v: -1.13, cbm_v: 1.53}\n  crown: {vbm_v: -1.11, cbm_v: 1.59}\n"
        "compare:\n  - {cell: fa000, place: core}\n  - {cell: fa025-b, place: crown}\n"
        "conditions: {temperature_k: 292}\n"
    )
    comparison = read_study(folder).compare(experiment)
    row = next(row for row in comparison.rows if row.cell == "fa025-b")
    assert row.sts_shift_ev == pytest.approx(0.04)
    assert row.shift_ev == pytest.approx(0.044, abs=1e-3)


def test_empty_study_has_no_cells_and_says_so(tmp_path):
    write_study(
        StudyResult(study="empty", engine="espresso", protocol="fast", corecrown_version="0", cells=[]), tmp_path
    )
    with pytest.raises(InputError) as caught:
        read_study(tmp_path).cell("fa000")
    assert caught.value.hint == "cells: none"


def test_bands_of_an_insulator_are_those_of_an_insulator():
    """Their file holds the valence edge of the scf, 0.1 meV below that of the lines in one of these cells."""
    study = read_reference("reference")
    with_bands = [cell.label for cell in study.cells if "bands" in cell.files]
    assert with_bands == study.labels
    assert not any(study.bands(label).is_metal() for label in with_bands)
