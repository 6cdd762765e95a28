"""Bands with known masses, as functions of Cartesian k (n, 3) in 1/bohr; energies in eV. Only numpy is needed."""

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
