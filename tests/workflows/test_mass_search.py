"""The search for masses on bands that are known in closed form: what it asks for, what it finds, what it refuses."""

import numpy as np
import pytest
from ase import units
from pymatgen.core import Lattice, Structure

from corecrown.postprocess.masses import Carrier
from corecrown.workflows.mass_record import read_earlier_rounds, read_rounds, write_rounds
from corecrown.workflows.mass_search import (
    KnownBands,
    MassSearch,
    nominal_kpoints,
    nominal_stencil,
    shared,
)
from corecrown.workflows.mass_symmetry import EnergyStore, operations_of
from corecrown.workflows.record import StepFolder

EDGES = np.array([8.2, 8.4, 11.8])
BOX = Structure(Lattice.orthorhombic(*EDGES), ["Pb"], [[0, 0, 0]])
SKEWED = Structure(Lattice.orthorhombic(*EDGES), ["Pb", "Br", "Cs"], [[0, 0, 0], [0.3, 0.1, 0.2], [0.6, 0.45, 0.71]])


AMPLITUDES = (0.9, 0.7, 0.5)


def up(kpoints, centre=(0, 0, 0)):
    """Bands with minima at ±k0, eV: t (1 - cos 2πk) along an axis where k0 is its own image, with 1/m = t a², and
    t (cos 2πk - cos 2πk0)² elsewhere, with 1/m = 2 t a² sin² 2πk0; E(-k) = E(k) as time reversal wants it."""
    kpoints, total = np.asarray(kpoints), 0.0
    for axis, (amplitude, place) in enumerate(zip(AMPLITUDES, centre, strict=True)):
        cosine = np.cos(2 * np.pi * kpoints[:, axis])
        own_image = place in (0, 0.5)
        total = total + amplitude * (
            1 - cosine * np.cos(2 * np.pi * place) if own_image else (cosine - np.cos(2 * np.pi * place)) ** 2
        )
    return total


def masses_of(centre=(0, 0, 0)):
    place = np.asarray(centre)
    factor = np.where(np.isin(place, (0, 0.5)), 1.0, 2 * np.sin(2 * np.pi * place) ** 2)
    return units.Hartree / (factor * np.array(AMPLITUDES) * (EDGES / units.Bohr) ** 2)


def bands(kpoints, centre=(0, 0, 0), gap=2.0):
    rise = up(kpoints, centre)
    return np.column_stack([-3 - 0.2 * rise, -0.5 * up(kpoints), gap + rise, gap + 4 + rise])


def path(n=9):
    steps = np.linspace(0, 0.5, n)
    return np.vstack([np.outer(steps, axis) for axis in np.eye(3)])


def mesh(n=4):
    axes = np.arange(n) / n
    return np.stack(np.meshgrid(axes, axes, axes, indexing="ij"), axis=-1).reshape(-1, 3)


AT_GAMMA = {carrier: [(0.0, 0.0, 0.0)] for carrier in Carrier}


def split_by_spin(kpoints, along=0.25, across=0.1):
    """Spinor bands E = Σ t (1 - cos θ) ± sqrt(αx² sin² θx + αy² sin² θy) above a hole without splitting, eV."""
    sines = np.sin(2 * np.pi * np.asarray(kpoints))
    rise, odd = up(kpoints), np.hypot(along * sines[:, 0], across * sines[:, 1])
    hole = -0.5 * up(kpoints)
    return np.column_stack([hole, hole, 2 + rise - odd, 2 + rise + odd, 6 + rise, 6 + rise])


class Program:
    """Stands for the program: counts what it is asked."""

    def __init__(self, energies):
        self.energies = energies
        self.asked = []

    def __call__(self, kpoints):
        self.asked.append(np.array(kpoints))
        return self.energies(kpoints)


def search(structure=BOX, energies=bands, known=None, **options):
    program = Program(energies)
    known = [path(), mesh()] if known is None else known
    found = MassSearch(
        structure=structure, n_filled=2, known=[KnownBands(k, energies(k)) for k in known], compute=program, **options
    )
    return found, program


class TestSymmetry:
    def test_operations_of_a_box_and_of_a_cell_without_symmetry(self):
        assert len(operations_of(BOX)) == 8
        assert len(operations_of(SKEWED)) == 2  # time reversal alone

    def test_a_cubic_cell_has_48(self):
        assert len(operations_of(Structure(Lattice.cubic(5.87), ["Pb"], [[0, 0, 0]]))) == 48

    @pytest.mark.parametrize(("structure", "count"), [(BOX, 13), (SKEWED, 19)])
    def test_kpoints_that_are_equal_are_computed_once(self, structure, count):
        assert len(nominal_kpoints(structure)) == count

    def test_energies_come_back_for_every_image(self):
        store = EnergyStore(operations_of(BOX))
        store.add([[0.1, 0.2, 0.3]], [[1.0, 0.5]])
        for image in ([0.1, -0.2, 0.3], [-0.1, -0.2, -0.3], [0.9, 0.2, -0.3], [1.1, 0.2, 0.3]):
            assert store.energies(np.array([image])).tolist() == [[0.5, 1.0]]
        assert store.find(np.array([0.2, 0.1, 0.3])) is None, "a and b are not the same"
        assert len(store.missing(np.array([[0.1, 0.2, 0.3], [0.2, 0.1, 0.3], [-0.2, 0.1, 0.3]]))) == 1

    def test_rotations_of_a_hexagonal_cell_keep_the_length_of_k(self):
        hexagonal = Structure(Lattice.hexagonal(4.0, 6.5), ["Pb"], [[0, 0, 0]])
        k = np.array([0.11, 0.07, 0.2])
        lengths = [
            np.linalg.norm(hexagonal.lattice.reciprocal_lattice.get_cartesian_coords(operation @ k))
            for operation in operations_of(hexagonal)
        ]
        assert np.ptp(lengths) < 1e-10


class TestMasses:
    def test_both_edges_at_gamma_share_their_kpoints(self):
        found, program = search()
        masses = found.run()
        assert sorted(masses.electron.principal) == pytest.approx(sorted(masses_of()), rel=2e-3)
        assert sorted(masses.hole.principal) == pytest.approx(sorted(2 * masses_of()), rel=2e-3)
        assert [len(asked) for asked in program.asked] == [13]
        assert "13 k-points computed around the edges, in 1 runs" in masses.notes

    @pytest.mark.parametrize("centre", [(0.21, 0, 0), (0.5, 0, 0.5), (0.2, 0.2, 0.3)])
    def test_an_electron_elsewhere_is_found(self, centre):
        found, program = search(SKEWED, lambda k: bands(k, centre), known=[path(), mesh(8)])
        electron = found.run().electron
        assert sorted(electron.principal) == pytest.approx(sorted(masses_of(centre)), rel=5e-3)
        assert np.abs(electron.extremum_kpoint) == pytest.approx(centre, abs=1e-3)
        assert len(program.asked) <= 5

    def test_it_gives_up_in_the_end_and_says_so(self):
        # a valley that runs away: the energy falls along x wherever one looks
        def sliding(kpoints):
            return bands(kpoints) + np.array([0, 0, 1, 1]) * (-400 * kpoints[:, :1] * (np.abs(kpoints[:, :1]) < 0.4))

        found, program = search(
            SKEWED, sliding, known=[0.05 * path(), np.array([[0.01, 0.02, 0.01]])], max_refinements=2
        )
        electron = found.run().electron
        assert electron.principal is None
        assert electron.notes
        assert len(program.asked) <= 3

    def test_the_best_of_given_starts_and_the_mesh_is_taken(self):
        found, program = search(known=[mesh(2)], starts={Carrier.ELECTRON: [(0.02, 0, 0)], Carrier.HOLE: [(0, 0, 0)]})
        masses = found.run()
        assert masses.electron.extremum_kpoint == pytest.approx((0, 0, 0), abs=1e-6)
        assert masses.hole.principal is not None
        assert len(program.asked[0]) == 1, "the start alone, to choose"

    def test_spin_orbit_coupling_that_moves_the_edge_off_gamma(self):
        # lowest at tan θx = αx/tx, with the curvatures a² sqrt(tx² + αx²) along x and b² (ty - αy²/(αx sin θx)) along y
        along, across = 0.25, 0.1
        found, program = search(energies=split_by_spin, known=[mesh(2) + 0.25], starts=AT_GAMMA, spin_orbit=True)
        masses = found.run()
        angle = np.arctan(along / AMPLITUDES[0])
        curvatures = np.array(
            [np.hypot(AMPLITUDES[0], along), AMPLITUDES[1] - across**2 / (along * np.sin(angle)), AMPLITUDES[2]]
        )
        expected = np.diag(curvatures * (EDGES / units.Bohr) ** 2 / units.Hartree)
        assert np.abs(masses.electron.extremum_kpoint) == pytest.approx((angle / (2 * np.pi), 0, 0), abs=1e-3)
        assert np.array(masses.electron.tensor_inverse) == pytest.approx(expected, rel=5e-3, abs=1e-2)
        assert masses.electron.degeneracy == 1
        assert masses.electron.converged
        assert masses.hole.degeneracy == 2
        assert masses.hole.principal == pytest.approx(sorted(2 * masses_of()), rel=2e-3)
        assert all(len(asked) <= 45 for asked in program.asked)

    def test_where_that_edge_cannot_be_reached_the_mean_of_both_spins_is_told_as_not_converged(self):
        found, program = search(
            energies=split_by_spin, known=[mesh(2) + 0.25], starts=AT_GAMMA, spin_orbit=True, max_refinements=0
        )
        electron = found.run().electron
        assert electron.principal == pytest.approx(sorted(masses_of()), rel=0.05)
        assert electron.extremum_kpoint == pytest.approx((0, 0, 0), abs=1e-6)
        assert electron.degeneracy == 2
        assert not electron.converged
        said = "; ".join(electron.notes)
        assert "mean of two spins" in said
        assert "spin-orbit coupling moves the edge off this k-point along x" in said
        assert "given up after 1 stencils" in said
        assert len(program.asked) == 2, "the start, and one stencil"

    def test_edges_are_those_of_what_was_computed(self):
        # a mesh shifted by half a step holds no extremum; the search ends at Γ for the hole and at the electron's own
        centre = (0.2, 0.2, 0.3)
        found, _ = search(
            SKEWED,
            lambda k: bands(k, centre),
            known=[mesh(2) + 0.25],
            starts={Carrier.ELECTRON: [(0.21, 0.19, 0.3)], Carrier.HOLE: [(0, 0, 0)]},
        )
        found.run()
        edges = found.edges()
        assert edges.source == "stencil"
        # the electron lies within the inner step, over which the energy changes by a quarter of 30 meV at most
        assert 2.0 <= edges.gap_ev < 2.0075
        assert edges.vbm_kpoint == (0, 0, 0)
        assert np.abs(edges.cbm_kpoint) == pytest.approx(centre, abs=0.02)
        assert edges.direct is False
        assert edges.notes == []

    def test_there_are_no_edges_before_anything_is_computed(self):
        assert search()[0].edges() is None

    def test_a_tensor_that_is_not_converged_is_measured_again_with_smaller_steps(self):
        # a band 50 meV above: the chord to the next k-point is that of a band bent by it
        def repelled(kpoints):
            low, high, mixing = 2 + up(kpoints), 2.05 + 0.02 * up(kpoints), 0.4 * np.sin(2 * np.pi * kpoints[:, 0])
            mean, half = (low + high) / 2, np.hypot((high - low) / 2, mixing)
            return np.column_stack([-3 - up(kpoints), -0.5 * up(kpoints), mean + half, mean + half + 0.05])

        found, program = search(energies=repelled)
        electron = found.run().electron
        assert len(program.asked) > 1
        assert electron.converged or electron.notes

    def test_a_nominal_stencil_serves_where_the_edge_is_at_its_centre(self):
        found, program = search(nominal=nominal_stencil(BOX))
        found.store.add(nominal_kpoints(BOX), bands(nominal_kpoints(BOX)))
        assert found.run().electron.principal is not None
        assert not program.asked

    def test_edges_with_very_different_stencils_keep_their_own(self):
        found, _ = search()
        wide, narrow = nominal_stencil(BOX), nominal_stencil(BOX).model_copy(update={"steps_inv_bohr": (1e-4,) * 3})
        assert shared({Carrier.ELECTRON: wide, Carrier.HOLE: narrow})[Carrier.ELECTRON] is wide
        assert set(map(id, shared({Carrier.ELECTRON: wide, Carrier.HOLE: wide}).values())) == {id(wide)}
        assert found.rounds == []


class TestRefusals:
    def reasons(self, **options):
        found, program = search(**options)
        masses = found.run()
        for mass in (masses.electron, masses.hole):
            assert mass.principal is None or mass.tensor_inverse is not None
        return masses, program

    def test_a_metal(self):
        masses, program = self.reasons(energies=lambda k: bands(k, gap=-0.3))
        assert "no band gap" in masses.electron.notes[0]
        assert "no band gap" in masses.hole.notes[0]
        assert not program.asked

    def test_no_conduction_bands(self):
        masses, _ = self.reasons(energies=lambda k: bands(k)[:, :2])
        assert "no conduction bands" in masses.electron.notes[0]
        assert masses.hole.principal is not None

    def test_no_bands_at_all(self):
        masses, program = self.reasons(energies=lambda k: bands(k)[:, :1])
        assert "2 would be filled" in masses.hole.notes[0]
        assert not program.asked

    def test_kpoints_too_coarse(self):
        masses, _ = self.reasons(known=[mesh(2)])
        assert "too coarse" in masses.electron.notes[0]

    def test_a_degenerate_edge_has_masses_by_direction_alone(self):
        def degenerate(kpoints):
            rise = up(kpoints)
            return np.column_stack([-3 - rise, -0.5 * rise, 2 + rise, 2 + 2.5 * rise])

        masses, _ = self.reasons(energies=degenerate)
        assert masses.electron.tensor_inverse is None
        assert masses.electron.degeneracy == 2
        assert "no tensor exists" in masses.electron.notes[0]
        assert masses.electron.path_gamma_x is not None

    def test_a_band_too_near(self):
        def near(kpoints):
            rise = up(kpoints)
            return np.column_stack([-3 - rise, -0.5 * rise, 2 + rise, 2.0015 + 1.2 * rise])

        masses, _ = self.reasons(energies=near)
        assert "meV away" in masses.electron.notes[0]


class TestRecord:
    def test_an_interrupted_search_goes_on(self, tmp_path):
        record = StepFolder(tmp_path)
        first = record.begin("key")
        found, program = search()
        found.on_round = lambda _: write_rounds(first, "density", found.rounds)
        whole = found.run()
        second = record.begin("key")
        again, repeated = search()
        again.remember(read_earlier_rounds(record, second, "density"))
        assert again.run().electron == whole.electron
        assert program.asked
        assert not repeated.asked

    def test_rounds_on_another_density_are_not_taken(self, tmp_path):
        record = StepFolder(tmp_path)
        first = record.begin("key")
        found, _ = search()
        found.run()
        write_rounds(first, "density", found.rounds)
        assert read_rounds(first) == found.rounds
        assert read_earlier_rounds(record, record.begin("key"), "another") == []
        (first / "stencils.json").write_text("{ half")
        assert read_rounds(first) == []
