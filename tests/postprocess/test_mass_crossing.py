"""The tensor of a band that crosses the next one, from a uniform mesh, on bands whose tensor is known."""

import numpy as np
import pytest
from mass_models import HARTREE, tight_binding
from pymatgen.core import Lattice, Structure

from corecrown.errors import InputError
from corecrown.postprocess.kpoint_symmetry import operations_of
from corecrown.postprocess.mass_crossing import crossing_mass
from corecrown.postprocess.mass_fit import BOHR_ANGSTROM
from corecrown.postprocess.mass_tensors import tensor_difference
from corecrown.postprocess.masses import Carrier

EDGES = np.array([5.2, 5.9, 6.4])
AMPLITUDES = np.array([0.9, 0.7, 0.5])
STRUCTURE = Structure(Lattice.orthorhombic(*EDGES), ["Pb"], [[0, 0, 0]])
VALLEY = 0.42
"""As silicon's valley: beside the border of the zone, where the band meets its image."""


def mesh(*divisions):
    axes = [np.arange(n) / n for n in divisions]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


def bands(kpoints, carrier=Carrier.ELECTRON, valley=VALLEY, gap=1.0, third=9.0):
    """Two bands with valleys at ±k cross at the border of the zone; sorted and seen upwards from the edge."""
    one, other = (tight_binding(kpoints - np.array([side * valley, 0, 0]), AMPLITUDES) for side in (1, -1))
    return np.sort(carrier.sign * np.column_stack([-gap - 0.3 * one, one, other, third + 0 * one]), axis=1)


def edge_of(carrier):
    return 1 if carrier is Carrier.ELECTRON else 2


EXPECTED = np.diag(AMPLITUDES / HARTREE * (EDGES / BOHR_ANGSTROM) ** 2)
"""E = t (1 - cos k a): the curvature at the minimum is t a²."""


@pytest.mark.parametrize("carrier", list(Carrier))
def test_tensor_of_a_band_that_crosses_the_next_one(carrier):
    kpoints = mesh(16, 16, 16)
    mass = crossing_mass(STRUCTURE, kpoints, bands(kpoints, carrier), edge_of(carrier), carrier)
    assert tensor_difference(mass.tensor_inverse, EXPECTED) < 0.01
    assert np.abs(mass.extremum_kpoint) == pytest.approx((VALLEY, 0, 0), abs=1e-3)
    assert mass.converged


def test_the_error_falls_with_the_mesh():
    errors = []
    for n in (10, 14, 18):
        kpoints = mesh(n, n, n)
        found = crossing_mass(STRUCTURE, kpoints, bands(kpoints), 1, Carrier.ELECTRON)
        errors.append(tensor_difference(found.tensor_inverse, EXPECTED))
    assert errors[2] < errors[1] < errors[0]
    assert errors[2] < 5e-3


def test_a_mesh_that_symmetry_reduces_is_enough():
    whole = mesh(14, 14, 14)
    images = np.round(np.abs(np.stack([whole @ one.T for one in operations_of(STRUCTURE)]) % 1), 9) % 1
    keys = [min(map(tuple, images[:, place])) for place in range(len(whole))]
    reduced = whole[np.unique(keys, axis=0, return_index=True)[1]]
    assert len(reduced) == 8**3
    both = [
        crossing_mass(STRUCTURE, kpoints, bands(kpoints), 1, Carrier.ELECTRON).tensor_inverse
        for kpoints in (whole, reduced)
    ]
    assert tensor_difference(*both) < 1e-6


def test_sorted_bands_alone_would_be_wrong():
    # the same mesh, the upper band too far off to be the partner: what is left is a kinked band
    kpoints = mesh(14, 14, 14)
    kinked = bands(kpoints)
    kinked[:, 2] = 7 + 0.1 * np.cos(2 * np.pi * kpoints[:, 1])
    wrong = crossing_mass(STRUCTURE, kpoints, kinked, 1, Carrier.ELECTRON).tensor_inverse
    right = crossing_mass(STRUCTURE, kpoints, bands(kpoints), 1, Carrier.ELECTRON).tensor_inverse
    assert tensor_difference(right, EXPECTED) < 0.02
    assert wrong is None or tensor_difference(wrong, EXPECTED) > 5 * tensor_difference(right, EXPECTED)


class TestRefused:
    def test_missing_bands(self):
        kpoints = mesh(8, 8, 8)
        for band, some in ((1, bands(kpoints)[:, :3]), (7, bands(kpoints)), (-1, bands(kpoints))):
            with pytest.raises(InputError, match="not all are among"):
                crossing_mass(STRUCTURE, kpoints, some, band, Carrier.ELECTRON)

    def test_a_metal(self):
        kpoints = mesh(8, 8, 8)
        with pytest.raises(InputError, match="metal"):
            crossing_mass(STRUCTURE, kpoints, bands(kpoints, gap=-0.5), 1, Carrier.ELECTRON)

    def test_too_few_kpoints(self):
        kpoints = mesh(6, 6, 6)
        with pytest.raises(InputError, match="too coarse"):
            crossing_mass(STRUCTURE, kpoints, bands(kpoints), 1, Carrier.ELECTRON)

    def test_a_sheet_of_kpoints(self):
        kpoints = mesh(40, 40, 1)
        with pytest.raises(InputError, match="do not determine"):
            crossing_mass(STRUCTURE, kpoints, bands(kpoints), 1, Carrier.ELECTRON)

    def test_a_third_band_too_near(self):
        kpoints = mesh(10, 10, 10)
        with pytest.raises(InputError, match="third band"):
            crossing_mass(STRUCTURE, kpoints, bands(kpoints, third=0.5), 1, Carrier.ELECTRON)

    def test_a_degenerate_edge(self):
        kpoints = mesh(10, 10, 10)
        with pytest.raises(InputError, match="degenerate"):
            crossing_mass(STRUCTURE, kpoints, bands(kpoints, valley=0.5), 1, Carrier.ELECTRON)

    def test_energies_of_other_kpoints(self):
        with pytest.raises(InputError, match="shape"):
            crossing_mass(STRUCTURE, mesh(8, 8, 8), bands(mesh(6, 6, 6)), 1, Carrier.ELECTRON)
