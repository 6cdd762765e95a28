"""What the thickness of a platelet adds to the bulk gap: a finite well, and image charges.

Both are estimates of an effective-mass kind for a slab of one material, lengths in nm, energies in eV, masses
in electron masses.
"""

import math

from scipy.constants import e, epsilon_0, hbar, m_e
from scipy.integrate import quad
from scipy.optimize import brentq

from corecrown.errors import InputError

__all__ = [
    "HBAR2_OVER_2M_EV_NM2",
    "finite_well_energy",
    "slab_self_energy",
    "well_width_nm",
]

HBAR2_OVER_2M_EV_NM2 = hbar**2 / (2 * m_e) / e * 1e18
"""ħ²/2m₀ in eV nm²."""

COULOMB_EV_NM = e / (4 * math.pi * epsilon_0) * 1e9
"""e²/4πε₀ in eV nm."""


def well_width_nm(monolayers: int, lattice_c_angstrom: float) -> float:
    """Return the thickness of a platelet in nm; in the Pbnm setting c holds two monolayers."""
    _positive(monolayers=monolayers, lattice_c_angstrom=lattice_c_angstrom)
    return monolayers * lattice_c_angstrom / 2 / 10


def finite_well_energy(
    width_nm: float,
    mass: float,
    barrier_ev: float = math.inf,
    *,
    barrier_mass: float = 1.0,
    nonparabolicity_per_ev: float = 0.0,
) -> float:
    """Return the ground-state energy of a carrier in a finite square well, above its bulk band edge.

    The band in the well follows ħ²k²/2m = E (1 + αE) and the mass that enters the boundary condition is
    m (1 + αE), the two-band Kane form; the condition is continuity of ψ and of ψ'/m(E).

    Parameters
    ----------
    width_nm
        Width of the well, nm.
    mass
        Mass across the well at the band edge, m0.
    barrier_ev
        Height of the walls above the band edge, eV; infinite for hard walls.
    barrier_mass
        Mass in the walls, m0.
    nonparabolicity_per_ev
        Kane's α, 1/eV; zero for a parabolic band, 1/gap for two bands that mirror each other.

    Returns
    -------
    float
        Energy in eV.

    Raises
    ------
    InputError
        If a length, a mass or the barrier is not positive, or α is negative.

    Notes
    -----
    G. Bastard, Wave Mechanics Applied to Semiconductor Heterostructures (1988), chapter III.
    """
    _positive(width_nm=width_nm, mass=mass, barrier_mass=barrier_mass)
    if not barrier_ev > 0:
        raise InputError(f"barrier_ev is {barrier_ev}, not above zero", "give the height of the wall in eV")
    if not 0 <= nonparabolicity_per_ev < math.inf:
        raise InputError(f"nonparabolicity_per_ev is {nonparabolicity_per_ev}", "zero for a parabolic band, or more")
    alpha = nonparabolicity_per_ev
    k_hard = math.pi / width_nm
    if math.isinf(barrier_ev):
        return _energy(k_hard, mass, alpha)

    def mismatch(k: float) -> float:
        energy = _energy(k, mass, alpha)
        kappa = math.sqrt(barrier_mass * max(barrier_ev - energy, 0.0) / HBAR2_OVER_2M_EV_NM2)
        well = k * barrier_mass * math.sin(k * width_nm / 2)
        return well - kappa * mass * (1 + alpha * energy) * math.cos(k * width_nm / 2)

    k_top = math.sqrt(mass * barrier_ev * (1 + alpha * barrier_ev) / HBAR2_OVER_2M_EV_NM2)
    return _energy(float(brentq(mismatch, 0.0, min(k_hard, k_top), xtol=1e-12)), mass, alpha)


def slab_self_energy(
    width_nm: float,
    permittivity: float,
    permittivity_above: float,
    permittivity_below: float,
    *,
    metal_distance_nm: float = math.inf,
) -> float:
    """Return the image-charge self-energy of one carrier in the ground state of a slab with hard walls.

    The image potential of a slab between two media whose reflections are r_b(q) and r_t(q), averaged over
    (2/d) sin²(πz/d), with a perfect metal at a distance below the slab:

    E = e²/(8πε₀ε) ∫dq [(r_b + r_t) F(q) + 2 r_b r_t exp(-2qd)] / (1 - r_b r_t exp(-2qd)),
    F(q) = (1 - exp(-2qd)) b² / (2qd (4q² + b²)), b = 2π/d.

    Parameters
    ----------
    width_nm
        Thickness d of the slab, nm.
    permittivity, permittivity_above, permittivity_below
        Relative permittivity of the slab and of the media above and below it.
    metal_distance_nm
        Thickness of the medium below, between slab and metal, nm; infinite for no metal, zero for contact.

    Returns
    -------
    float
        Energy in eV; the gap changes by twice as much (electron and hole).

    Raises
    ------
    InputError
        If a thickness or permittivity is not positive.

    Notes
    -----
    For constant reflections this is the usual series of images, for example Kumagai and Takagahara, Phys.
    Rev. B 40, 12359 (1989).
    """
    _positive(
        width_nm=width_nm,
        permittivity=permittivity,
        permittivity_above=permittivity_above,
        permittivity_below=permittivity_below,
    )
    if not metal_distance_nm >= 0:
        raise InputError(f"metal_distance_nm is {metal_distance_nm}", "zero for contact, or more")
    above = (permittivity - permittivity_above) / (permittivity + permittivity_above)
    bare = (permittivity - permittivity_below) / (permittivity + permittivity_below)
    b = 2 * math.pi / width_nm

    def integrand(x: float) -> float:
        q = x / width_nm
        metal = math.exp(-2 * q * metal_distance_nm) if math.isfinite(metal_distance_nm) else 0.0
        below = (bare - metal) / (1 - bare * metal)
        decay = math.exp(-2 * x)
        average = (-math.expm1(-2 * x)) / (2 * x) * b**2 / (4 * q**2 + b**2)
        return ((above + below) * average + 2 * above * below * decay) / (1 - above * below * decay)

    integral = quad(integrand, 1e-12, math.inf, limit=400)[0]
    return float(COULOMB_EV_NM / (2 * permittivity) * integral / width_nm)


def _energy(k: float, mass: float, alpha: float) -> float:
    """Return E of ħ²k²/2m = E (1 + αE)."""
    parabolic = HBAR2_OVER_2M_EV_NM2 * k**2 / mass
    return float(parabolic if alpha == 0 else 2 * parabolic / (1 + math.sqrt(1 + 4 * alpha * parabolic)))


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not 0 < value < math.inf:
            raise InputError(f"{name} is {value}, not a positive number", "give a positive number")
