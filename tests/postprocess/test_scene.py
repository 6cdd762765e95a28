"""Scenes of relaxed cells: complete although their sublattices are displaced from the faces of the cell."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Structure

from corecrown.postprocess.scene import build_scene

RELAXED = sorted((Path(__file__).parents[2] / "inputs/crystals/relaxed").glob("*.json"))
LEAD_IN_PICTURE = 8 + 4 + 2 + 1
"""Of a cell of four formula units: on its corners, the middles of four edges, two faces, and within."""


@pytest.mark.parametrize("path", RELAXED, ids=lambda path: path.stem)
def test_every_lead_column_of_a_relaxed_cell_has_its_image(path):
    structure = Structure.from_dict(json.loads(path.read_text()))
    scene = build_scene(structure)
    symbols = [scene["elements"][int(atom[3])]["symbol"] for atom in scene["atoms"]]
    lead = np.array([atom[:3] for atom, symbol in zip(scene["atoms"], symbols, strict=True) if symbol == "Pb"])
    assert len(lead) == LEAD_IN_PICTURE
    columns = Counter(tuple(np.round(2 * place).astype(int)) for place in lead @ structure.lattice.inv_matrix)
    assert len(columns) == LEAD_IN_PICTURE
    assert len(scene["faces"]) == 8 * LEAD_IN_PICTURE


@pytest.mark.parametrize("path", RELAXED, ids=lambda path: path.stem)
def test_no_bromine_of_a_relaxed_cell_is_without_lead(path):
    scene = build_scene(Structure.from_dict(json.loads(path.read_text())))
    symbols = [scene["elements"][int(atom[3])]["symbol"] for atom in scene["atoms"]]
    bonded = {atom for bond in scene["bonds"] for atom in bond}
    assert all(index in bonded for index, symbol in enumerate(symbols) if symbol == "Br")
