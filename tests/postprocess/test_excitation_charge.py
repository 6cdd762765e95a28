"""Charge shared out among atoms: sums that hold in every scheme, densities whose shares are known, cube files."""

import gzip

import numpy as np
import pytest
from ase import units
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from corecrown.errors import InputError
from corecrown.postprocess.excitation import (
    AtomicCharges,
    analyse_charge,
    atom_participation,
    merge_framework,
    owners_of,
    shares_on_grid,
    volume_participation,
)
from corecrown.postprocess.excitation_correction import madelung_potential, makov_payne_ev
from corecrown.postprocess.excitation_cubes import GridDensity, read_density, write_density
from corecrown.postprocess.excitation_partition import BaderBasins, Hirshfeld, PowerCells, ProAtom, ionic_radius

SHAPE = (24, 20, 28)


def cell():
    """Cs, Pb, Br and a fragment counted as FA, in a skewed cell: nothing may depend on right angles."""
    structure = Structure(
        Lattice.from_parameters(6.2, 5.4, 7.1, 85, 97, 92),
        ["Cs", "Pb", "Br", "N", "H"],
        [[0.02, 0.01, 0.05], [0.5, 0.52, 0.47], [0.55, 0.5, 0.02], [0.05, 0.5, 0.5], [0.18, 0.55, 0.55]],
    )
    structure.add_site_property("group", ["Cs", "Pb-Br", "Pb-Br", "FA", "FA"])
    structure.add_site_property("molecule", [-1, -1, -1, 0, 0])
    return structure


def gaussian(structure, index, width, shape=SHAPE):
    """A normalised Gaussian on an atom, with its images."""
    axes = [np.arange(n) / n for n in shape]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    apart = points - structure[index].frac_coords
    apart -= np.round(apart)
    distance = np.linalg.norm(apart @ structure.lattice.matrix, axis=-1)
    values = np.exp(-(distance**2) / (2 * width**2))
    return GridDensity(structure, values / (values.sum() * structure.volume / values.size))


def proatoms():
    radii = np.linspace(0.01, 6, 300)
    widths = {"Cs": 1.2, "Pb": 0.9, "Br": 0.8, "N": 0.5, "H": 0.4}
    return {symbol: ProAtom(radii, np.exp(-radii / width)) for symbol, width in widths.items()}


def partitions(structure, shape=SHAPE):
    density = np.sum([gaussian(structure, i, 0.6, shape).values for i in range(len(structure))], axis=0)
    return [
        PowerCells(structure, shape),
        Hirshfeld(structure, shape, proatoms()),
        BaderBasins(structure, density),
    ]


@pytest.fixture(scope="module")
def schemes():
    return partitions(cell())


@given(seed=st.integers(0, 10_000))
@hypothesis_settings(max_examples=10)
def test_every_scheme_shares_out_the_whole_charge(schemes, seed):
    fields = np.random.default_rng(seed).normal(size=(2, *SHAPE))
    whole = fields.reshape(2, -1).sum(axis=1) * cell().volume / fields[0].size
    for scheme in schemes:
        np.testing.assert_allclose(scheme.integrate(fields).sum(axis=0), whole, atol=1e-9)


def test_a_charge_on_one_atom_is_that_atoms(schemes):
    structure = cell()
    for index in range(3):
        narrow = gaussian(structure, index, 0.25).values
        for scheme in schemes:
            found = scheme.integrate(narrow[None])[:, 0]
            assert int(np.argmax(found)) == index
            assert found[index] > 0.75, scheme.name


def test_equal_atoms_have_equal_volumes():
    """Two sorts of atoms on equivalent sites of CsCl halve the cell where their radii are equal."""
    structure = Structure(Lattice.cubic(4.1), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    ones = np.full((1, 20, 20, 20), 1 / structure.volume)
    same = PowerCells(structure, (20, 20, 20), {"Cs": 1.5, "Cl": 1.5}).integrate(ones)[:, 0]
    assert same == pytest.approx([0.5, 0.5], abs=0.06)  # points on the boundary go to one of the two
    larger = PowerCells(structure, (20, 20, 20), {"Cs": 1.9, "Cl": 1.5}).integrate(ones)[:, 0]
    assert larger[0] > same[0]


def test_power_cells_are_what_the_distances_say():
    structure = cell()
    radius = np.array([ionic_radius(site.specie.symbol) for site in structure])
    rng = np.random.default_rng(1)
    labels = PowerCells(structure, SHAPE).labels
    for _ in range(40):
        place = tuple(int(rng.integers(n)) for n in SHAPE)
        fractional = np.array(place) / np.array(SHAPE)
        distances = structure.lattice.get_all_distances([fractional], structure.frac_coords)[0]
        assert labels[place] == int(np.argmin(distances**2 - radius**2))


def test_shannon_and_bondi_radii():
    # Shannon, Acta Cryst. A 32, 751 (1976); Bondi, J. Phys. Chem. 68, 441 (1964)
    assert ionic_radius("Cs") == pytest.approx(1.88)
    assert ionic_radius("Pb") == pytest.approx(1.19)
    assert ionic_radius("Br") == pytest.approx(1.96)
    assert ionic_radius("N") == pytest.approx(1.55)


def test_basins_of_two_gaussians_meet_half_way():
    structure = Structure(Lattice.cubic(8), ["H", "H"], [[0.25, 0.5, 0.5], [0.75, 0.5, 0.5]])
    shape = (32, 32, 32)
    density = gaussian(structure, 0, 0.9, shape).values + gaussian(structure, 1, 0.9, shape).values
    basins = BaderBasins(structure, density)
    assert basins.n_maxima == 2
    assert basins.integrate(density[None])[:, 0] == pytest.approx([1, 1], abs=0.02)


def test_a_hirshfeld_sum_of_its_own_atoms_is_exact():
    """The promolecule's own density gives each atom its own electrons back, whatever the overlap."""
    structure = cell()
    scheme = Hirshfeld(structure, SHAPE, proatoms())
    total = scheme._total.reshape(SHAPE)
    found = scheme.integrate(total[None])[:, 0]
    for index, site in enumerate(structure):
        proatom = proatoms()[site.specie.symbol]
        whole = np.trapezoid(4 * np.pi * proatom.radii**2 * proatom.density, proatom.radii)
        assert found[index] == pytest.approx(whole, rel=0.05)


def test_hirshfeld_needs_every_element():
    with pytest.raises(InputError, match="Cs"):
        Hirshfeld(cell(), SHAPE, {"Pb": proatoms()["Pb"]})


def excitation_densities():
    structure = cell()
    hole, electron = gaussian(structure, 2, 0.5), gaussian(structure, 3, 0.4)
    return structure, hole, electron, electron.minus(hole)


def test_an_electron_moved_from_bromine_to_fa(schemes):
    structure, hole, electron, difference = excitation_densities()
    atomic = [shares_on_grid(scheme, electron=electron, hole=hole, difference=difference) for scheme in schemes]
    found = analyse_charge(structure, atomic, electron=electron, hole=hole, difference=difference)
    assert found.notes == []
    assert found.added_e == pytest.approx(0, abs=1e-6)
    assert 0.9 < found.moved_e <= 1
    for partition in found.partitions:
        for name in ("electron", "hole", "volume"):
            assert sum(getattr(partition, name).values()) == pytest.approx(1, abs=1e-3)
        for name in ("gained", "lost"):
            assert sum(getattr(partition, name).values()) == pytest.approx(found.moved_e, abs=1e-3)
        assert sum(partition.net.values()) == pytest.approx(0, abs=1e-3)
        assert list(partition.electron) == ["FA", "Cs", "Pb", "Br"]
        assert len(partition.by_fa) == 1
        assert partition.by_fa[0]["electron"] == partition.electron["FA"] > 0.5
    fields = found.fields()
    assert set(fields["electron_by_group"]) == {"FA", "Cs", "Pb-Br"}
    assert set(found.spread) == {"electron", "hole", "net", "volume"}


def test_sums_that_do_not_hold_are_told():
    structure, hole, electron, difference = excitation_densities()
    wrong = AtomicCharges("made up", {"electron": np.array([0.2, 0, 0, 0.5, 0]), "volume": np.full(5, 0.2)})
    found = analyse_charge(structure, [wrong], electron=electron, hole=hole, difference=difference)
    assert found.notes == ["made up: electron sums to 0.700 instead of 1.000"]


def test_participation():
    assert atom_participation(np.array([0.25] * 4)) == pytest.approx(4)
    assert atom_participation(np.array([1.0, 0, 0])) == pytest.approx(1)
    assert volume_participation(np.full((4, 4, 4), 2.0)) == pytest.approx(1)
    half = np.zeros((4, 4, 4))
    half[:2] = 1
    assert volume_participation(half) == pytest.approx(0.5)


def test_lead_and_bromine_make_the_framework():
    merged = merge_framework({"FA": 0.1, "Cs": 0.2, "Pb": 0.3, "Br": 0.4})
    assert merged == {"FA": 0.1, "Cs": 0.2, "Pb-Br": 0.7}
    assert merge_framework(None) is None
    plain = Structure(Lattice.cubic(3), ["C"], [[0, 0, 0]])
    assert owners_of(plain) == (["C"], [-1])


@pytest.mark.parametrize("name", ["density.cube", "density.cube.gz"])
def test_a_cube_file_is_read_back(tmp_path, name):
    structure, _, electron, difference = excitation_densities()
    write_density(tmp_path / name, difference, "a\ndifference")
    read = read_density(tmp_path / name)
    assert read.total == pytest.approx(0, abs=1e-4)
    np.testing.assert_allclose(read.values, difference.values, atol=1e-5)
    np.testing.assert_allclose(read.structure.lattice.matrix, structure.lattice.matrix, atol=1e-4)
    assert [site.specie.symbol for site in read.structure] == [site.specie.symbol for site in structure]
    with pytest.raises(InputError, match="grids"):
        read.minus(GridDensity(structure, electron.values[:-1]))


def test_values_are_in_atomic_units(tmp_path):
    structure = Structure(Lattice.cubic(2), ["H"], [[0, 0, 0]])
    write_density(tmp_path / "d.cube", GridDensity(structure, np.ones((2, 2, 2))), "ones")
    last = (tmp_path / "d.cube").read_text().split()[-1]
    assert float(last) == pytest.approx(units.Bohr**3, rel=1e-4)


@pytest.mark.parametrize("damage", [b"", b"not a cube", b"\n\n 1 0 0 0\n 2 1 0 0\n"])
def test_a_damaged_cube_file_is_told(tmp_path, damage):
    (tmp_path / "d.cube").write_bytes(damage)
    (tmp_path / "d.cube.gz").write_bytes(gzip.compress(damage)[:-5])
    for name in ("d.cube", "d.cube.gz", "none.cube"):
        with pytest.raises(InputError, match=name):
            read_density(tmp_path / name)


def test_madelung_of_known_lattices():
    # point charge in a uniform background: -2.837297 / L cubic (Makov and Payne, Phys. Rev. B 51, 4014 (1995));
    # fcc and bcc from their Wigner-Seitz energies -0.895873615 / r_s and -0.895929256 / r_s (Fuchs 1935)
    assert madelung_potential(np.eye(3)) == pytest.approx(-2.837297, abs=1e-6)
    fcc = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2
    bcc = np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]]) / 2
    for lattice, energy in ((fcc, -0.895873615), (bcc, -0.895929256)):
        radius = (3 * abs(np.linalg.det(lattice)) / (4 * np.pi)) ** (1 / 3)
        assert madelung_potential(lattice) * radius / 2 == pytest.approx(energy, abs=1e-6)


@given(scale=st.floats(0.2, 50), charge=st.sampled_from([-2, -1, 1, 2]), constant=st.floats(1, 30))
def test_the_correction_scales_as_it_should(scale, charge, constant):
    lattice = cell().lattice.matrix
    once = makov_payne_ev(lattice, 1, 1)
    assert once > 0
    assert makov_payne_ev(lattice * scale, charge, constant) == pytest.approx(once * charge**2 / constant / scale)


def test_correction_refuses_what_makes_no_sense():
    with pytest.raises(InputError, match="dielectric"):
        makov_payne_ev(np.eye(3), 1, 0.5)
    with pytest.raises(InputError, match="volume"):
        makov_payne_ev(np.zeros((3, 3)), 1, 5)
