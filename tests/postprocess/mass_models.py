"""Bands with known masses, as functions of Cartesian k (n, 3) in 1/bohr; energies in eV. Only numpy is needed."""

from itertools import pairwise

import numpy as np
from scipy.constants import physical_constants

HARTREE = physical_constants["Hartree energy in eV"][0]

PBNM = 2 * np.pi * np.diag(1 / (np.array([8.21, 8.26, 11.76]) / 0.529177210544))
"""Reciprocal lattice of a Pbnm cell of CsPbBr3 (Rodová 2003, rounded), 1/bohr."""


def parabola(k, inverse_mass, centre=(0, 0, 0)):
    """E = ½ k·M⁻¹·k."""
    d = np.asarray(k) - np.asarray(centre)
    return HARTREE * 0.5 * np.einsum("ni,ij,nj->n", d, np.asarray(inverse_mass), d)


def kane(k, inverse_mass, alpha_per_ev, centre=(0, 0, 0)):
    """E (1 + αE) = ½ k·M⁻¹·k."""
    gamma = parabola(k, inverse_mass, centre)
    return (np.sqrt(1 + 4 * alpha_per_ev * gamma) - 1) / (2 * alpha_per_ev)


def rashba(k, masses, alpha_x, alpha_y):
    """Both branches of k²/2m ± sqrt(αx²kx² + αy²ky²), lower first; α in eV·bohr."""
    even = parabola(k, np.diag(1 / np.asarray(masses)))
    odd = np.hypot(alpha_x * k[:, 0], alpha_y * k[:, 1])
    return np.column_stack([even - odd, even + odd])


def luttinger(k, A, B, C):
    """Heavy and light holes of Dresselhaus, Kip and Kittel (1955): A k² ± sqrt(B²k⁴ + C²(kx²ky² + ...)), 1/m0."""
    x, y, z = (np.asarray(k) ** 2).T
    k2 = x + y + z
    root = np.sqrt(B**2 * k2**2 + C**2 * (x * y + y * z + z * x))
    return HARTREE * 0.5 * np.column_stack([A * k2 - root, A * k2 + root])


def tight_binding(k_fractional, amplitudes):
    """E = Σ t_i (1 - cos 2π k_i), minimum at Γ; 1/m_i = t_i a_i²."""
    return ((1 - np.cos(2 * np.pi * np.asarray(k_fractional))) * np.asarray(amplitudes)).sum(axis=1)


FCC = 2 * np.pi / (5.43 / 0.529177210544) * np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]])
"""Reciprocal lattice of a face-centred cubic cell with a = 5.43 Å, 1/bohr."""

CUBIC = 2 * np.pi / (5.87 / 0.529177210544) * np.eye(3)


def line_kpoints(points, n_per_line):
    """K-points along lines between named points, each corner once."""
    kpoints = [points[0][1]]
    for (_, start), (_, end) in pairwise(points):
        fractions = np.linspace(0, 1, n_per_line)[1:, None]
        kpoints.extend(np.asarray(start) + fractions * (np.asarray(end) - np.asarray(start)))
    return np.array(kpoints, dtype=float)


def path_cases():
    """Band structures along lines whose masses sumo and effmass were asked for.

    Name to (reciprocal lattice in 1/bohr, labels, k-points (n, 3), one array (n_bands, n) a spin, Fermi energy in eV).
    """
    cases = {}

    points = [
        ("X", (0.5, 0, 0)),
        ("Γ", (0, 0, 0)),
        ("Y", (0, 0.5, 0)),
        ("S", (0.5, 0.5, 0)),
        ("Γ", (0, 0, 0)),
        ("Z", (0, 0, 0.5)),
    ]
    kpoints = line_kpoints(points, 24)
    k = kpoints @ PBNM
    electron = 2.31 + kane(k, np.diag([1 / 0.21, 1 / 0.26, 1 / 0.14]), 0.45)
    hole = -0.17 - kane(k, np.diag([1 / 0.23, 1 / 0.19, 1 / 0.31]), 0.55)
    cases["anisotropic"] = (PBNM, dict(points), kpoints, [np.array([hole - 1.3, hole, electron, electron + 0.9])], 1.0)

    odd = rashba(k, (0.15, 0.12, 0.3), 2.4, 1.1)
    cases["rashba"] = (
        PBNM, dict(points), kpoints, [np.array([hole - 1.3, hole, 1.8 + odd[:, 0], 1.8 + odd[:, 1]])], 1.0,
    )  # fmt: skip

    points = [("R", (0.5, 0.5, 0.5)), ("Γ", (0, 0, 0)), ("X", (0, 0.5, 0)), ("M", (0.5, 0.5, 0)), ("Γ", (0, 0, 0))]
    kpoints = line_kpoints(points, 40)
    k = kpoints @ CUBIC
    holes = -0.4 - luttinger(k, 6.9, 2.1, 3.8)
    cases["degenerate"] = (
        CUBIC, dict(points), kpoints, [np.vstack([holes[:, ::-1].T, 1.6 + parabola(k, np.eye(3) / 0.09)])], 0.5,
    )  # fmt: skip

    points = [("L", (0.5, 0.5, 0.5)), ("Γ", (0, 0, 0)), ("X", (0.5, 0, 0.5))]
    kpoints = line_kpoints(points, 41)
    k = kpoints @ FCC
    to_valley = np.array([0.425, 0, 0.425]) @ FCC
    along = to_valley / np.linalg.norm(to_valley)
    valley = np.outer(along, along) / 0.95 + (np.eye(3) - np.outer(along, along)) / 0.19
    electron = 0.71 + kane(k, valley, 0.3, to_valley)
    cases["valley"] = (FCC, dict(points), kpoints, [np.array([-0.06 - kane(k, np.eye(3) / 0.3, 0.4), electron])], 0.3)

    points = [("X", (0.5, 0, 0)), ("Γ", (0, 0, 0)), ("Z", (0, 0, 0.5))]
    kpoints = line_kpoints(points, 30)
    k = kpoints @ PBNM
    up = np.array([-0.31 - parabola(k, np.diag([3.0, 4.0, 2.0])), 1.1 + parabola(k, np.diag([7.0, 6.0, 5.0]))])
    down = np.array([-0.3 - parabola(k, np.diag([5.0, 4.0, 3.0])), 1.4 + parabola(k, np.diag([4.0, 6.0, 6.5]))])
    cases["two spins"] = (PBNM, dict(points), kpoints, [up, down], 0.4)
    return cases
