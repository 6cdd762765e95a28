"""The second way to a tensor, Fourier interpolation of a mesh, on tight-binding bands whose tensor is known."""

import numpy as np
import pytest
from mass_models import HARTREE, tight_binding
from pymatgen.core import Lattice, Structure

from corecrown.errors import InputError
from corecrown.postprocess.mass_fit import BOHR_ANGSTROM
from corecrown.postprocess.mass_tensors import tensor_difference
from corecrown.postprocess.masses import Carrier, mass_from_stencil, plan_stencil

pytest.importorskip("BoltzTraP2")

from corecrown.postprocess.mass_interpolation import interpolate_mass

EDGES = np.array([5.2, 5.9, 6.4])
AMPLITUDES = np.array([0.9, 0.7, 0.5])
STRUCTURE = Structure(Lattice.orthorhombic(*EDGES), ["Pb"], [[0, 0, 0]])


def mesh(*divisions):
    axes = [np.arange(n) / n for n in divisions]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


def bands(kpoints, centre=(0, 0, 0)):
    up = tight_binding(kpoints - np.array(centre), AMPLITUDES)
    return np.column_stack([-3 - 0.5 * up, up, 9 + up])


def expected():
    # E = t (1 - cos k a): the curvature at the minimum is t a²
    return np.diag(AMPLITUDES / HARTREE * (EDGES / BOHR_ANGSTROM) ** 2)


@pytest.mark.parametrize("carrier", list(Carrier))
def test_tensor_of_a_tight_binding_band(carrier):
    kpoints = mesh(8, 8, 6)
    band = 1 if carrier is Carrier.ELECTRON else 0
    mass = interpolate_mass(STRUCTURE, kpoints, bands(kpoints), band, carrier)
    target = expected() * (1.0 if carrier is Carrier.ELECTRON else 0.5)
    assert tensor_difference(mass.tensor_inverse, target) < 0.01
    assert mass.extremum_kpoint == pytest.approx((0, 0, 0), abs=1e-6)
    assert mass.converged


def test_stencil_and_interpolation_agree_away_from_the_mesh():
    centre = (0.5, 0, 0)
    kpoints = mesh(8, 8, 6)
    second = interpolate_mass(STRUCTURE, kpoints, bands(kpoints, centre), 1, Carrier.ELECTRON)
    lattice = STRUCTURE.lattice.reciprocal_lattice.matrix * BOHR_ANGSTROM
    stencil = plan_stencil(lattice, centre, 3.0)
    first = mass_from_stencil(stencil, bands(np.array(stencil.kpoints), centre), 1, Carrier.ELECTRON).mass
    assert tensor_difference(second.tensor_inverse, first.tensor_inverse) < 0.05
    assert np.abs(second.extremum_kpoint) == pytest.approx(np.abs(first.extremum_kpoint), abs=1e-3)


def test_half_of_the_zone_is_enough():
    whole = mesh(6, 6, 4)
    half = whole[[i for i, k in enumerate(whole) if tuple(k) <= tuple((-k) % 1 % 1)]]
    assert len(half) < len(whole)
    both = [interpolate_mass(STRUCTURE, k, bands(k), 1, Carrier.ELECTRON).tensor_inverse for k in (whole, half)]
    assert tensor_difference(*both) < 0.02


@pytest.mark.parametrize(
    ("kpoints", "words"),
    [
        (mesh(3, 3, 1), "too coarse"),
        (mesh(4, 4, 4) + 0.125, "not a uniform mesh"),
        (np.random.default_rng(0).uniform(size=(30, 3)), "not a uniform mesh"),
    ],
)
def test_what_is_no_good_mesh_is_refused(kpoints, words):
    with pytest.raises(InputError, match=words):
        interpolate_mass(STRUCTURE, kpoints, bands(kpoints), 1, Carrier.ELECTRON)


def test_a_degenerate_edge_and_a_metal_are_refused():
    kpoints = mesh(4, 4, 4)
    up = tight_binding(kpoints, AMPLITUDES)
    with pytest.raises(InputError, match="degenerate"):
        interpolate_mass(STRUCTURE, kpoints, np.column_stack([up - 9, up, 2 * up]), 1, Carrier.ELECTRON)
    with pytest.raises(InputError, match="metal"):
        interpolate_mass(STRUCTURE, kpoints, np.column_stack([up - 1, up, up + 9]), 1, Carrier.ELECTRON)


def test_missing_bands_and_wrong_shapes():
    kpoints = mesh(4, 4, 4)
    with pytest.raises(InputError, match="no band 3"):
        interpolate_mass(STRUCTURE, kpoints, bands(kpoints), 3, Carrier.ELECTRON)
    with pytest.raises(InputError, match="shape"):
        interpolate_mass(STRUCTURE, kpoints, bands(kpoints)[:5], 1, Carrier.ELECTRON)
