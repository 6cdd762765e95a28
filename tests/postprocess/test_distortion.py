"""Distortion of octahedra: a published structure, tilts of known angle, and structures that have none."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from corecrown.postprocess.distortion import measure_distortion
from corecrown.structures import build
from corecrown.structures.setting import permute_axes

# CsPbBr3 Pnma relaxed with VASP: ThijsSmolders/CsPbBr3_CCS, DFT.db, id 1; its Pb-Br-Pb angles are 158.8° and 152.4°
PNMA = Structure.from_spacegroup(
    "Pnma",
    Lattice.orthorhombic(8.420, 11.764, 8.078),
    ["Cs", "Pb", "Br", "Br"],
    [[0.0639, 0.25, 0.4804], [0, 0, 0], [0.5063, 0.75, 0.4323], [0.2989, 0.4655, 0.1974]],
)


def cubic(lattice=None):
    lattice = Lattice.cubic(6.0) if lattice is None else lattice
    positions = [[0, 0, 0], [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5]]
    return Structure(lattice, ["Pb", "Br", "Br", "Br"], positions)


def tilted_about_c(angle_deg, bond=3.0):
    """P4/mbm, tilt a0a0c+ of rigid octahedra: turns the four bonds normal to c by the angle."""
    angle = np.deg2rad(angle_deg)
    edge = 2 * np.sqrt(2) * bond * np.cos(angle)
    x = (1 - np.tan(angle)) / 4
    bridging = [[x, x + 0.5, 0], [-x, 0.5 - x, 0], [0.5 - x, x, 0], [0.5 + x, -x, 0]]
    return Structure(
        Lattice.tetragonal(edge, 2 * bond),
        ["Pb"] * 2 + ["Br"] * 6,
        [[0, 0, 0], [0.5, 0.5, 0], *bridging, [0, 0, 0.5], [0.5, 0.5, 0.5]],
    )


def test_the_published_structure_gives_its_published_angles():
    found = measure_distortion(PNMA)
    angles = sorted(found.pb_br_pb_deg)
    assert len(angles) == 12
    assert angles[:8] == pytest.approx([152.4] * 8, abs=0.05)
    assert angles[8:] == pytest.approx([158.8] * 4, abs=0.05)
    assert found.bond_length_variance < 1e-5  # bonds of 2.992 to 3.007 Å
    assert found.fa_axis_deg is None


def test_the_cubic_structure_has_no_distortion():
    found = measure_distortion(cubic())
    assert found.pb_br_pb_deg == pytest.approx([180] * 3)
    assert found.bond_length_variance == pytest.approx(0, abs=1e-12)
    assert found.angle_variance_deg2 == pytest.approx(0, abs=1e-9)
    assert list(found.tilts_deg.values()) == pytest.approx([0, 0, 0], abs=1e-6)


@given(angle=st.floats(0.5, 20))
def test_rigid_octahedra_turned_about_c_give_that_tilt(angle):
    found = measure_distortion(tilted_about_c(angle))
    assert found.tilts_deg == pytest.approx({"a": 0, "b": 0, "c": angle}, abs=1e-6)
    assert sorted(found.pb_br_pb_deg) == pytest.approx([180 - 2 * angle] * 4 + [180] * 2, abs=1e-6)
    assert found.bond_length_variance == pytest.approx(0, abs=1e-12)
    assert found.angle_variance_deg2 == pytest.approx(0, abs=1e-9)


def test_variances_are_those_of_their_definitions():
    longer = measure_distortion(cubic(Lattice.tetragonal(6.0, 6.6)))
    mean = (4 * 3.0 + 2 * 3.3) / 6
    expected = (4 * ((3.0 - mean) / mean) ** 2 + 2 * ((3.3 - mean) / mean) ** 2) / 6
    assert longer.bond_length_variance == pytest.approx(expected)
    sheared = measure_distortion(cubic(Lattice.from_parameters(6, 6, 6, 90, 90, 85)))
    assert sheared.angle_variance_deg2 == pytest.approx(4 * 25 / 11)


@given(order=st.permutations(range(20)))
def test_the_order_of_the_atoms_does_not_matter(order):
    shuffled = measure_distortion(Structure.from_sites([PNMA[i] for i in order]))
    found = measure_distortion(PNMA)
    assert sorted(shuffled.pb_br_pb_deg) == pytest.approx(sorted(found.pb_br_pb_deg))
    assert shuffled.bond_length_variance == pytest.approx(found.bond_length_variance)
    assert shuffled.angle_variance_deg2 == pytest.approx(found.angle_variance_deg2)
    assert shuffled.tilts_deg == pytest.approx(found.tilts_deg)


def test_a_supercell_measures_the_same_and_axes_keep_their_tilts():
    found = measure_distortion(PNMA)
    larger = measure_distortion(PNMA * (2, 1, 1))
    assert larger.tilts_deg == pytest.approx(found.tilts_deg)
    assert larger.bond_length_variance == pytest.approx(found.bond_length_variance)
    renamed = measure_distortion(permute_axes(PNMA, (2, 0, 1)))
    assert [renamed.tilts_deg[axis] for axis in "abc"] == pytest.approx([found.tilts_deg[axis] for axis in "cab"])


def test_other_structures_have_none_and_say_so():
    silicon = Structure.from_spacegroup("Fd-3m", Lattice.cubic(5.43), ["Si"], [[0, 0, 0]])
    found = measure_distortion(silicon)
    assert found.pb_br_pb_deg is None
    assert found.bond_length_variance is None
    assert found.angle_variance_deg2 is None
    assert found.tilts_deg is None
    assert found.fa_axis_deg is None
    assert any("no Pb-Br octahedra" in note for note in found.notes)


@pytest.mark.parametrize(("axis", "angles"), [("a", (0, 90, 90)), ("b", (90, 0, 90)), ("c", (90, 90, 0))])
def test_the_direction_of_each_ion_is_measured_from_its_atoms(axis, angles):
    found = measure_distortion(build(100, axis))
    assert len(found.fa_axis_deg) == 4
    for ion in found.fa_axis_deg:
        assert [ion[name] for name in "abc"] == pytest.approx(angles, abs=0.1)
