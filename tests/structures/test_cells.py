"""Entries of a study file: labels, what goes together, ensembles, and cells made from other cells."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from cells_for_tests import check_groups, ion_shape
from pydantic import ValidationError
from pymatgen.core import Structure
from scipy.spatial.transform import Rotation

from corecrown.errors import InputError
from corecrown.resources import input_folder, read_yaml
from corecrown.structures import build, write_structure
from corecrown.structures.cells import CellSpec, committed_relaxed, derive_cell, expand_cells
from corecrown.structures.crystals import pbnm_to_pnma
from corecrown.structures.formamidinium import find_formamidinium, measure_axes, unwrap

ROLL = Rotation.from_euler("zx", [30, 20], degrees=True).as_matrix()

CONTRACT = """
- {fa: 0}
- {fa: 25, alignment: b}
- {fa: 50, alignment: b, sites: [0, 2]}
- {fa: 100, alignment: a, lattice: fapbbr3, label: fapbbr3-a}
- {fa: 25, ensemble: {size: 8, seed: 1}}
- {from: fa025-b, replace: {FA: Cs}}
- {from: fa000, strain_to: fa025-b}
- {file: mine.cif, label: mine}
"""


def specs(text):
    return [CellSpec.model_validate(entry) for entry in yaml.safe_load(text)]


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    write_structure(pbnm_to_pnma(build()), folder / "mine.cif")
    return {cell.label: cell for cell in expand_cells(specs(CONTRACT), folder)}


def test_labels_are_those_agreed_on_and_in_order(cells):
    members = [f"fa025-e{n:02d}" for n in range(1, 9)]
    assert list(cells) == [
        "fa000",
        "fa025-b",
        "fa050-b-s02",
        "fapbbr3-a",
        *members,
        "fa025-b-framework",
        "fa000-strained",
        "mine",
    ]


def test_cells_know_fraction_alignment_ensemble_and_parent(cells):
    assert [cells[label].fa_fraction for label in ("fa000", "fa025-b", "fa050-b-s02", "fapbbr3-a")] == [0, 0.25, 0.5, 1]
    assert cells["fa000"].alignment is None
    assert cells["fapbbr3-a"].alignment == "a"
    assert {cells[f"fa025-e{n:02d}"].group for n in range(1, 9)} == {"fa025-e"}
    assert cells["fa025-b"].group is None
    assert cells["fa025-b-framework"].parent == "fa025-b"
    assert cells["fa025-b-framework"].fa_fraction == 0
    assert cells["fa000-strained"].depends_on == ("fa000", "fa025-b")
    for cell in cells.values():
        check_groups(cell.structure)


def test_a_pnma_file_is_converted_with_a_note(cells):
    assert cells["mine"].structure.lattice.abc == pytest.approx(build().lattice.abc, abs=1e-6)
    assert any("Pnma" in note for note in cells["mine"].notes)


def test_every_cell_of_the_study_builds():
    study = input_folder("studies", "substitution.yaml")
    entries = [CellSpec.model_validate(entry) for entry in read_yaml(study)["cells"]]
    labels = [cell.label for cell in expand_cells(entries, study.parent)]
    assert {"fa000", "fa025-b", "fa100-a", "fa100-b", "fapbbr3-a"} <= set(labels)


def test_without_sites_every_distinct_choice_is_a_cell():
    found = expand_cells(specs("[{fa: 50, alignment: b}, {fa: 75, alignment: b}]"), Path())
    assert [cell.label for cell in found] == ["fa050-b-s01", "fa050-b-s02", "fa050-b-s03", "fa075-b"]


def test_other_labels():
    found = expand_cells(specs("[{fa: 12.5, alignment: b, supercell: [2, 1, 1]}, {fa: 25}]"), Path())
    assert [cell.label for cell in found] == ["fa012.5-b-2x1x1", "fa025-b"]
    assert any("no alignment was named" in note for note in found[1].notes)


def test_the_framework_cell_keeps_lattice_and_framework_of_its_parent():
    parent = build(50, "b", sites=[0, 2])
    spec = CellSpec.model_validate({"from": "p", "replace": {"FA": "Cs"}})
    cell = derive_cell(spec, {"p": parent})
    assert cell.lattice == parent.lattice
    assert cell.composition.formula == "Cs4 Pb4 Br12"
    kept = [[site.frac_coords for site in part if site.specie.symbol in {"Pb", "Br"}] for part in (cell, parent)]
    assert np.array_equal(*kept)


def test_the_strained_cell_has_its_own_positions_in_the_other_lattice():
    spec = CellSpec.model_validate({"from": "x", "strain_to": "y"})
    x, y = build(), build(25, "b", strain=0.03)
    cell = derive_cell(spec, {"x": x, "y": y})
    assert cell.lattice == y.lattice
    assert np.array_equal(cell.frac_coords, x.frac_coords)
    with pytest.raises(InputError, match="do not belong together"):
        derive_cell(spec, {"x": x, "y": build(supercell=(2, 1, 1))})
    with pytest.raises(InputError, match="the structure of x is missing"):
        derive_cell(spec, {"y": y})
    with pytest.raises(InputError, match="not made from another"):
        derive_cell(CellSpec(fa=0), {})


def test_a_strained_cell_keeps_the_shape_of_its_ions():
    spec = CellSpec.model_validate({"from": "x", "strain_to": "y"})
    x = build(25, "b", "fapbbr3", strain=0.03)
    turned = build(25, "a", "fapbbr3", strain=0.05)
    turned = Structure(turned.lattice.matrix @ ROLL.T, turned.species, turned.frac_coords)  # axes not along x, y, z
    cell = derive_cell(spec, {"x": x, "y": turned})
    assert cell.lattice == turned.lattice
    before, after = (unwrap(structure, find_formamidinium(structure)[0]) for structure in (x, cell))
    assert ion_shape(after) == pytest.approx(ion_shape(before), abs=1e-6)
    centres = [
        structure.lattice.get_fractional_coords(atoms.mean(axis=0)) for structure, atoms in ((x, before), (cell, after))
    ]
    assert centres[1] == pytest.approx(centres[0], abs=1e-9)
    axes = [measure_axes(atoms).nn @ structure.lattice.matrix[1] for structure, atoms in ((x, before), (cell, after))]
    lengths = [structure.lattice.b for structure in (x, cell)]
    assert np.abs(np.array(axes) / lengths) == pytest.approx([1, 1], abs=1e-6)  # along b still


def test_derived_cells_may_stand_before_their_parents():
    found = expand_cells(specs("[{from: fa025-b, replace: {FA: Cs}}, {fa: 25, alignment: b}]"), Path())
    assert [cell.label for cell in found] == ["fa025-b-framework", "fa025-b"]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"fa": 25, "algnment": "b"}, "unknown key 'algnment'; did you mean alignment? allowed: fa, alignment"),
        ({"fa": 25, "ensemble": {"size": 2, "sed": 1}}, "unknown key 'sed'; did you mean seed? allowed: size, seed"),
        ({}, "exactly one of fa, from and file"),
        ({"fa": 25, "file": "x.cif"}, "exactly one of fa, from and file"),
        ({"fa": 120}, "less than or equal to 100"),
        ({"fa": float("nan")}, "finite"),
        ({"fa": 25, "alignment": "d"}, "'a', 'b' or 'c'"),
        ({"fa": 25, "alignment": [1, 1, 0]}, "needs a label"),
        ({"fa": 0, "alignment": "b"}, "0 % has no FA"),
        ({"fa": 0, "ensemble": {"size": 2}}, "0 % has no FA"),
        ({"fa": 25, "ensemble": {"size": 2}, "heads": "random"}, "draws heads"),
        ({"fa": 50, "sites": [1, 1]}, "named twice"),
        ({"fa": 25, "supercell": [0, 1, 1]}, "supercell"),
        ({"fa": 25, "label": "../up"}, "not a label"),
        ({"from": "a"}, "exactly one of replace and strain_to"),
        ({"from": "a", "replace": {"FA": "Cs"}, "strain_to": "b"}, "exactly one of replace and strain_to"),
        ({"from": "a", "replace": {"Cs": "FA"}}, "only {FA: Cs}"),
        ({"from": "a", "strain_to": "a"}, "the cell itself"),
        ({"from": "a", "strain_to": "b", "alignment": "b"}, "alignment goes with fa"),
        ({"file": "x.cif", "supercell": [2, 1, 1]}, "supercell goes with fa"),
        ({"fa": 25, "strain_to": "b"}, "need from"),
    ],
)
def test_entries_that_do_not_fit_together_are_refused(entry, said):
    with pytest.raises(ValidationError) as caught:
        CellSpec.model_validate(entry)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[{fa: 30}]", "cell fa030-b: fa: 30 % does not divide"),
        ("[{fa: 0}, {fa: 0}]", r"cells\[1\]: label fa000 is taken"),
        ("[{fa: 0}, {from: nowhere, replace: {FA: Cs}}]", "nowhere, which is not a cell of this study"),
        ("[{fa: 0}, {from: fa000, replace: {FA: Cs}}]", "no FA to replace"),
        ("[{file: none.cif}]", "cell none: .*none.cif: cannot be read"),
        (
            "[{from: p, strain_to: q, label: q}, {from: q, strain_to: p, label: p}]",
            "is made from it in turn",
        ),
    ],
)
def test_studies_that_cannot_be_built_are_refused(tmp_path, text, said):
    with pytest.raises(InputError, match=said):
        expand_cells(specs(text), tmp_path)


def test_specs_are_light_and_round_trip():
    for entry in yaml.safe_load(CONTRACT):
        spec = CellSpec.model_validate(entry)
        assert CellSpec.model_validate(spec.model_dump(by_alias=True, exclude_unset=True)) == spec


def test_cells_that_do_not_ship_relaxed_are_none():
    assert committed_relaxed("no-such-cell") is None
    assert committed_relaxed("../CsPbBr3-Pbnm") is None
