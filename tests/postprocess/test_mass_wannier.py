"""The mass tensor from Wannier functions, on tight-binding Hamiltonians whose tensor is known in closed form."""

from itertools import product

import numpy as np
import pytest
from mass_models import HARTREE

from corecrown.errors import InputError
from corecrown.postprocess.mass_fit import BOHR_ANGSTROM
from corecrown.postprocess.mass_tensors import tensor_difference
from corecrown.postprocess.mass_wannier import WannierHamiltonian, read_wannier, wannier_mass
from corecrown.postprocess.masses import Carrier

EDGES = np.array([5.2, 5.9, 6.4])
AMPLITUDES = np.array([0.9, 0.7, 0.5])
AXES = np.eye(3, dtype=int)
CENTRE = np.array([0.21, -0.34, 0.08])


def per_m0(curvature_ev_angstrom2):
    return np.asarray(curvature_ev_angstrom2) / HARTREE / BOHR_ANGSTROM**2


def s_band(amplitudes=AMPLITUDES, centre=(0, 0, 0), level=0.0):
    """E = level + Σ t_i (1 - cos 2π (k_i - c_i)) as {R: matrix}: 1/m_i = t_i a_i² at the centre."""
    hops = {(0, 0, 0): np.array([[level + sum(amplitudes)]], dtype=complex)}
    for axis, t, c in zip(AXES, amplitudes, centre, strict=True):
        hops[tuple(axis)] = np.array([[-t / 2 * np.exp(-2j * np.pi * c)]])
        hops[tuple(-axis)] = hops[tuple(axis)].conj()
    return hops


def side_by_side(*bands):
    """Bands that do not talk to each other, one Wannier function each."""
    vectors = {vector for band in bands for vector in band}
    zero = np.zeros((1, 1))
    return {R: np.diag([complex(band.get(R, zero)[0, 0]) for band in bands]) for R in vectors}


def hamiltonian(hops, lattice=None, **fields):
    vectors = np.array(list(hops), dtype=float)
    matrices = np.array(list(hops.values()), dtype=complex)
    return WannierHamiltonian(np.diag(EDGES) if lattice is None else np.array(lattice), vectors, matrices, **fields)


def write(path, hops, lattice=None, degeneracies=None):
    """Write what wannier90 3.1 writes with write_tb, without the position operator (hamiltonian_write_tb)."""
    lattice = np.diag(EDGES) if lattice is None else lattice
    degeneracies = degeneracies or [1] * len(hops)
    lines = [" written on 22Nov2026 at 23:59:59", *(" ".join(map(str, row)) for row in lattice)]
    lines += [str(len(next(iter(hops.values())))), str(len(hops))]
    lines += ["".join(f"{n:5d}" for n in degeneracies[at : at + 15]) for at in range(0, len(hops), 15)]
    for (R, matrix), degeneracy in zip(hops.items(), degeneracies, strict=True):
        lines += ["", "".join(f"{x:5d}" for x in R)]
        for column, row in product(range(len(matrix)), repeat=2):
            value = matrix[row, column] * degeneracy
            lines.append(f"{row + 1:5d}{column + 1:5d}   {value.real:15.8E} {value.imag:15.8E}")
    path.write_text("\n".join(lines) + "\n")


def write_shifts(path, hops, shifts=None):
    """Write seedname_wsvec.dat: for each R and pair the shifts, by default none."""
    lines = ["## written on 22Nov2026 at 23:59:59 with use_ws_distance=.true."]
    for R, matrix in hops.items():
        for row, column in product(range(len(matrix)), repeat=2):
            given = (shifts or {}).get((R, row, column), [(0, 0, 0)])
            lines += ["".join(f"{x:5d}" for x in (*R, row + 1, column + 1)), f"{len(given):5d}"]
            lines += ["".join(f"{x:5d}" for x in shift) for shift in given]
    path.write_text("\n".join(lines) + "\n")


class TestKnownMasses:
    @pytest.mark.parametrize("carrier", list(Carrier))
    def test_s_band_with_its_edge_anywhere(self, carrier):
        hops = side_by_side(s_band(-AMPLITUDES, CENTRE, -9), s_band(AMPLITUDES, CENTRE))
        band = 1 if carrier is Carrier.ELECTRON else 0
        mass = wannier_mass(hamiltonian(hops), band, carrier)
        assert tensor_difference(mass.tensor_inverse, per_m0(np.diag(AMPLITUDES * EDGES**2))) < 1e-9
        assert mass.extremum_kpoint == pytest.approx(CENTRE, abs=1e-7)
        assert (mass.band_index, mass.degeneracy, mass.converged) == (band, 1, False)
        assert "no coarser mesh" in mass.notes[-1]

    def test_s_band_of_a_face_centred_lattice(self):
        # E = const - 2γ Σ cos over twelve neighbours: const + γ k² a² (Ashcroft and Mermin, eq. 10.23), so 1/m = 2γa²
        a, gamma = 5.43, 0.4
        lattice = a / 2 * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
        shells = [R for R in product((-1, 0, 1), repeat=3) if np.linalg.norm(R @ lattice) == pytest.approx(a / 2**0.5)]
        assert len(shells) == 12
        mass = wannier_mass(hamiltonian({R: [[-gamma]] for R in shells}, lattice), 0, Carrier.ELECTRON)
        assert mass.tensor_inverse == pytest.approx(per_m0(2 * gamma * a**2 * np.eye(3)), abs=1e-9)

    @pytest.mark.parametrize("carrier", list(Carrier))
    def test_two_bands_that_repel(self, carrier):
        # E = ±((Δ/2 + e)² + g²)^½ with g = Σ V_i sin 2πk_i: at Γ the curvature is e_ij + (2/Δ) g_i g_j, second order
        # perturbation theory being exact there
        gap, couplings = 1.3, np.array([0.8, 0.3, -0.5])
        up = s_band(level=gap / 2)
        hops = {R: np.diag([-complex(h[0, 0]), complex(h[0, 0])]) for R, h in up.items()}
        for axis, v in zip(AXES, couplings, strict=True):
            hops[tuple(axis)] = hops[tuple(axis)] + v / 2j * np.array([[0, 1], [1, 0]])
            hops[tuple(-axis)] = hops[tuple(-axis)] - v / 2j * np.array([[0, 1], [1, 0]])
        slopes = couplings * EDGES
        expected = np.diag(AMPLITUDES * EDGES**2) + 2 / gap * np.outer(slopes, slopes)
        mass = wannier_mass(hamiltonian(hops), 1 if carrier is Carrier.ELECTRON else 0, carrier)
        assert tensor_difference(mass.tensor_inverse, per_m0(expected)) < 1e-9

    def test_a_crossing_beside_the_edge_does_no_harm(self):
        # the band above dives below the edge's band near it: sorted energies have kinks there, the Hamiltonian none
        other = s_band(3 * AMPLITUDES, CENTRE + 0.12 * AXES[0], 0.05)
        mass = wannier_mass(hamiltonian(side_by_side(s_band(centre=CENTRE), other)), 0, Carrier.ELECTRON)
        assert tensor_difference(mass.tensor_inverse, per_m0(np.diag(AMPLITUDES * EDGES**2))) < 1e-9


@pytest.mark.parametrize("seed", range(5))
def test_derivatives_are_those_of_the_energies(seed):
    """Random Hermitian Hamiltonian of four functions on a triclinic lattice, beside central differences."""
    rng = np.random.default_rng(seed)
    lattice = 4 * np.eye(3) + rng.uniform(-1, 1, (3, 3))
    hops = {}
    for R in product((-1, 0, 1), repeat=3):
        matrix = rng.normal(size=(4, 4)) + 1j * rng.normal(size=(4, 4))
        hops[R] = hops.get(R, 0) + matrix
        back = tuple(-x for x in R)
        hops[back] = hops.get(back, 0) + matrix.conj().T
    wannier = hamiltonian(hops, lattice)
    kpoint = rng.uniform(size=3)
    to_fractional = lattice.T / BOHR_ANGSTROM / 2 / np.pi
    step = 1e-4 * np.eye(3)

    def energy(*moves):
        return wannier.energies(kpoint + np.array(moves) @ to_fractional)[:, 2] / HARTREE

    energies, slope, curvature = wannier.derivatives(kpoint, 2)
    assert energies[2] / HARTREE == pytest.approx(energy(np.zeros(3))[0])
    for i, j in product(range(3), repeat=2):
        pp, pm, mp, mm = energy(step[i] + step[j], step[i] - step[j], step[j] - step[i], -step[i] - step[j])
        assert curvature[i, j] == pytest.approx(
            (pp - pm - mp + mm) / 4e-8, rel=1e-3, abs=1e-3 * np.abs(curvature).max()
        )
    ahead, behind = energy(*step), energy(*-step)
    assert slope == pytest.approx((ahead - behind) / 2e-4, rel=1e-3, abs=1e-3)


class TestFiles:
    def test_weights_of_the_wigner_seitz_cell(self, tmp_path):
        path = tmp_path / "cell_tb.dat"
        hops = s_band(centre=CENTRE)
        write(path, hops, degeneracies=[1, 2, 2, 4, 4, 1, 1])
        read = read_wannier(path)
        mass = wannier_mass(read, 0, Carrier.ELECTRON)
        assert tensor_difference(mass.tensor_inverse, per_m0(np.diag(AMPLITUDES * EDGES**2))) < 1e-6
        assert any("no cell_wsvec.dat" in note for note in mass.notes)
        assert read.lattice == pytest.approx(np.diag(EDGES))

    def test_elements_go_to_the_nearest_lattice_vectors(self, tmp_path):
        """On a mesh of 4, R = -3 stands for 1, and R = 2 is as far as -2."""
        near = side_by_side(s_band(centre=CENTRE), s_band(level=7))
        for R in ((2, 0, 0), (-2, 0, 0)):
            near[R] = np.diag([0.02, -0.03]).astype(complex)
        folded = {R: matrix for R, matrix in near.items() if R not in {(1, 0, 0), (-1, 0, 0), (-2, 0, 0)}}
        folded[2, 0, 0] = near[2, 0, 0] * 2
        folded[-3, 0, 0], folded[3, 0, 0] = near[1, 0, 0], near[-1, 0, 0]
        pairs = list(product(range(2), repeat=2))
        shifts = {((-3, 0, 0), *pair): [(4, 0, 0)] for pair in pairs} | {
            ((3, 0, 0), *pair): [(-4, 0, 0)] for pair in pairs
        }
        shifts |= {((2, 0, 0), *pair): [(0, 0, 0), (-4, 0, 0)] for pair in pairs}
        path = tmp_path / "cell_tb.dat"
        write(path, folded)
        write_shifts(tmp_path / "cell_wsvec.dat", folded, shifts)
        expected = hamiltonian(near)
        kpoints = np.random.default_rng(0).uniform(size=(20, 3))
        assert read_wannier(path).energies(kpoints) == pytest.approx(expected.energies(kpoints), abs=1e-6)

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda text: text[: len(text) // 2],
            lambda text: "",
            lambda text: "\n".join(text.split("\n")[1:]),
            lambda text: text.replace("E+00", "E*00"),
            lambda text: text.replace("    1    2   ", "    2    1   "),
            lambda text: text.replace("    2    1   ", "    1    1   "),
            lambda text: text.replace(" 5.2", " nan"),
            lambda text: text.replace("5.2 0.0 0.0", "0.0 0.0 0.0"),
        ],
    )
    def test_a_spoilt_file_is_refused(self, tmp_path, spoil):
        path = tmp_path / "cell_tb.dat"
        write(path, side_by_side(s_band(), s_band(level=9)))
        read_wannier(path)
        text = path.read_text()
        spoilt = spoil(text.replace("5.2 0.0 0.0", " 5.2 0.0 0.0") if "nan" in spoil(" 5.2") else text)
        assert spoilt != text
        path.write_text(spoilt)
        with pytest.raises(InputError):
            read_wannier(path)

    def test_other_files_are_refused(self, tmp_path):
        with pytest.raises(InputError, match="cannot be read"):
            read_wannier(tmp_path / "cell_tb.dat")
        with pytest.raises(InputError, match="not a file seedname_tb"):
            read_wannier(tmp_path / "cell_hr.dat")
        (tmp_path / "cell_tb.dat").write_bytes(bytes(range(256)))
        with pytest.raises(InputError, match="cannot be read"):
            read_wannier(tmp_path / "cell_tb.dat")

    @pytest.mark.parametrize("level", [None, 9], ids=["other vectors", "other functions"])
    def test_shifts_of_another_run_are_refused(self, tmp_path, level):
        hops = s_band()
        write(tmp_path / "cell_tb.dat", hops)
        other = {tuple(2 * np.array(R)): m for R, m in hops.items()} if level is None else side_by_side(hops, hops)
        write_shifts(tmp_path / "cell_wsvec.dat", other)
        with pytest.raises(InputError, match="does not belong"):
            read_wannier(tmp_path / "cell_tb.dat")

    def test_half_of_the_shifts_is_refused(self, tmp_path):
        hops = s_band()
        write(tmp_path / "cell_tb.dat", hops)
        shifts = tmp_path / "cell_wsvec.dat"
        write_shifts(shifts, hops)
        shifts.write_text("\n".join(shifts.read_text().split("\n")[:-8]))
        with pytest.raises(InputError, match="cut off"):
            read_wannier(tmp_path / "cell_tb.dat")


class TestRefused:
    def test_a_missing_band(self):
        with pytest.raises(InputError, match="no band 1 among 1"):
            wannier_mass(hamiltonian(s_band()), 1, Carrier.ELECTRON)

    def test_a_metal(self):
        hops = side_by_side(s_band(), s_band(level=1))
        with pytest.raises(InputError, match="no band gap"):
            wannier_mass(hamiltonian(hops), 1, Carrier.ELECTRON)

    def test_a_degenerate_edge(self):
        hops = side_by_side(s_band(centre=CENTRE), s_band(2 * AMPLITUDES, CENTRE))
        with pytest.raises(InputError, match="degenerate"):
            wannier_mass(hamiltonian(hops), 0, Carrier.ELECTRON)

    @pytest.mark.parametrize("carrier", list(Carrier))
    def test_warped_p_bands(self, carrier):
        # three p orbitals on a cubic lattice, σ and π hops to nearest neighbours and E_xy sin sin to the next
        lattice = 5 * np.eye(3)
        sigma, pi, mixed = -1.0, -0.2, 0.1
        hops = {(0, 0, 0): np.zeros((3, 3), dtype=complex)}
        for i, sign in product(range(3), (1, -1)):
            hops[tuple(sign * AXES[i])] = np.diag([complex(sigma if i == j else pi) for j in range(3)])
        for i, j in ((0, 1), (1, 2), (0, 2)):
            for a, b in product((1, -1), repeat=2):
                matrix = np.zeros((3, 3), dtype=complex)
                matrix[i, j] = matrix[j, i] = -a * b * mixed
                hops[tuple(a * AXES[i] + b * AXES[j])] = matrix
        if carrier is Carrier.HOLE:
            hops = {R: -matrix for R, matrix in hops.items()}
        with pytest.raises(InputError, match="degenerate"):
            wannier_mass(hamiltonian(hops, lattice), 0 if carrier is Carrier.ELECTRON else 2, carrier)

    def test_a_flat_band_has_no_mass(self):
        mass = wannier_mass(hamiltonian({(0, 0, 0): np.ones((1, 1))}), 0, Carrier.ELECTRON)
        assert mass.principal is None
        assert mass.tensor_inverse is None

    def test_a_hamiltonian_that_is_not_hermitian(self):
        hops = {R: matrix for R, matrix in s_band().items() if R != (1, 0, 0)}
        with pytest.raises(InputError, match="not Hermitian"):
            hamiltonian(hops)


class TestConvergence:
    def test_beside_a_coarser_mesh(self):
        fine = hamiltonian(s_band(), n_kpoints=512)
        near = hamiltonian(s_band(1.04 * AMPLITUDES, [0.01, 0, 0]), n_kpoints=216)
        far = hamiltonian(s_band(1.1 * AMPLITUDES), n_kpoints=64)
        mass = wannier_mass(fine, 0, Carrier.ELECTRON, coarser=near)
        assert mass.converged
        assert mass.notes == [
            "Wannier interpolation of 512 k-points, 1 functions (wannier90)",
            "on the coarser mesh (216 k-points) the tensor differs by 4.0 %",
        ]
        assert not wannier_mass(fine, 0, Carrier.ELECTRON, coarser=far).converged

    def test_another_cell_is_refused(self):
        with pytest.raises(InputError, match="another cell"):
            wannier_mass(
                hamiltonian(s_band()), 0, Carrier.ELECTRON, coarser=hamiltonian(s_band(), np.diag(EDGES + 0.1))
            )
        with pytest.raises(InputError, match="another number"):
            wannier_mass(
                hamiltonian(s_band()), 0, Carrier.ELECTRON, coarser=hamiltonian(side_by_side(s_band(), s_band()))
            )
