"""Synthetic sweeps from a known density of states: for testing methods, never for a statement about a sample.

Everything made here is named synthetic: the sweeps carry ``synthetic=True`` and files say so in their first
line.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.constants import physical_constants
from scipy.special import erf

from corecrown.errors import InputError
from corecrown.postprocess.sts.model import Labels, Sweep, make_sweeps

__all__ = [
    "CORE",
    "CORE_CROWN",
    "CROWN_EDGE",
    "Hump",
    "Site",
    "Truth",
    "conductance",
    "generate",
    "true_edges",
    "write_csv",
    "write_example",
]

Array = NDArray[np.float64]
BOLTZMANN_EV = physical_constants["Boltzmann constant in eV/K"][0]


@dataclass(frozen=True, slots=True)
class Hump:
    """A Gaussian of the density of states: centre in eV from E_F, width (standard deviation), height."""

    centre_ev: float
    sigma_ev: float
    height: float


@dataclass(frozen=True, slots=True)
class Site:
    """The density of states of one kind of place, and how much it varies from platelet to platelet.

    Attributes
    ----------
    vbm_ev, cbm_ev
        Centres of the first peaks, from E_F.
    crown_vbm_ev, crown_cbm_ev, crown_weight
        A second set of edges with a part of the signal, or None.
    traps
        Humps in the gap.
    edge_spread_ev, amplitude_spread
        Standard deviation of each edge over platelets, and of the logarithm of the current.
    noise_a, relative_noise
        White noise of the current, and noise in proportion to it.
    drift
        Relative change of the current over one sweep, standard deviation.
    tip_change
        Chance that the tip changes during a sweep.
    ageing
        Growth of the traps, and closing of the gap in eV, from one sweep of a platelet to the next.
    """

    vbm_ev: float
    cbm_ev: float
    crown_vbm_ev: float | None = None
    crown_cbm_ev: float | None = None
    crown_weight: float = 0.5
    traps: tuple[Hump, ...] = ()
    peak_sigma_ev: float = 0.04
    edge_spread_ev: float = 0.02
    amplitude_spread: float = 0.25
    noise_a: float = 2e-12
    relative_noise: float = 0.002
    drift: float = 0.01
    tip_change: float = 0.02
    ageing: tuple[float, float] = (0.0, 0.0)
    temperature_k: float = 292.0
    current_scale_a: float = 1e-9


@dataclass(frozen=True, slots=True)
class Truth:
    """The edges of the noise-free spectrum averaged over all platelets, V."""

    vbm_v: float
    cbm_v: float
    trap_integral: float = field(default=math.nan)

    @property
    def gap_ev(self) -> float:
        """Distance between the edges, eV."""
        return self.cbm_v - self.vbm_v


DEEP_TRAPS = (Hump(-0.45, 0.12, 0.10), Hump(0.05, 0.15, 0.05), Hump(0.60, 0.12, 0.08))
"""Humps of the gap of a core, heights relative to an edge peak."""

CORE = Site(vbm_ev=-1.13, cbm_ev=1.53, traps=DEEP_TRAPS, ageing=(0.5, 0.15))
CORE_CROWN = Site(
    vbm_ev=-1.11, cbm_ev=1.59, traps=tuple(replace(t, height=0.53 * t.height) for t in DEEP_TRAPS), ageing=(0.02, 0.01)
)
CROWN_EDGE = replace(CORE_CROWN, crown_vbm_ev=-1.27, crown_cbm_ev=1.66)

EXAMPLE = {"core-centre": CORE, "core-crown-centre": CORE_CROWN, "core-crown-edge": CROWN_EDGE}
"""The three places of the source study, the reference first."""


def conductance(bias_v: Array, site: Site, vbm_ev: float, cbm_ev: float, trap_factor: float = 1.0) -> Array:
    """Return dI/dV of a site without noise, in units of one edge peak; thermal broadening is applied exactly.

    An edge is a Gaussian peak with a second, wider one 0.55 eV outside it and a step under both; the step is
    an error function. All parts are Gaussian, so temperature is added in quadrature: the kernel -df/dE has
    the standard deviation πkT/√3, to the second moment.
    """
    thermal = math.pi * BOLTZMANN_EV * site.temperature_k / math.sqrt(3)
    sets = [(vbm_ev, cbm_ev, 1.0)]
    if site.crown_vbm_ev is not None and site.crown_cbm_ev is not None:
        shift_v, shift_c = vbm_ev - site.vbm_ev, cbm_ev - site.cbm_ev
        weight = site.crown_weight
        sets = [
            (vbm_ev, cbm_ev, 1 - weight),
            (site.crown_vbm_ev + shift_v, site.crown_cbm_ev + shift_c, weight),
        ]
    total = np.zeros_like(bias_v)
    for low, high, weight in sets:
        for edge, sign, tall in ((low, -1.0, 1.6), (high, 1.0, 1.3)):
            first = Hump(edge, site.peak_sigma_ev, 1.0)
            second = Hump(edge + sign * 0.55, 3 * site.peak_sigma_ev, tall)
            total += weight * (_gaussian(bias_v, first, thermal) + _gaussian(bias_v, second, thermal))
            total += weight * 0.15 * _step(sign * (bias_v - edge), math.hypot(site.peak_sigma_ev, thermal))
    for trap in site.traps:
        total += trap_factor * _gaussian(bias_v, trap, thermal)
    return total


def generate(
    site: Site,
    n_platelets: int = 70,
    *,
    seed: int,
    name: str = "synthetic",
    sweeps_per_platelet: int = 1,
    points: int = 401,
    span_v: tuple[float, float] = (-2.4, 2.4),
    noise_factor: float = 1.0,
) -> list[Sweep]:
    """Return sweeps of many platelets.

    Parameters
    ----------
    site
        What they are like.
    n_platelets, sweeps_per_platelet
        How many; sweeps of one platelet age.
    seed
        The same seed gives the same sweeps.
    name
        Platelets are called ``NAME_000`` and so on.
    points, span_v
        Grid of the bias, V.
    noise_factor
        Multiplies noise, drift and the chance of a tip change; zero for none.
    """
    random = np.random.default_rng(seed)
    bias = np.linspace(*span_v, points)
    sweeps: list[Sweep] = []
    for platelet in range(n_platelets):
        shift_v, shift_c = random.normal(0.0, site.edge_spread_ev, 2)
        amplitude = site.current_scale_a * math.exp(random.normal(0.0, site.amplitude_spread))
        for number in range(1, sweeps_per_platelet + 1):
            growth, closing = site.ageing[0] * (number - 1), site.ageing[1] * (number - 1)
            clean = conductance(
                bias, site, site.vbm_ev + shift_v + closing / 2, site.cbm_ev + shift_c - closing / 2, 1 + growth
            )
            current = amplitude * _integrate(bias, clean)
            labels = Labels(
                platelet=f"{name}_{platelet:03d}",
                number=number,
                set_point_v=0.1,
                set_point_a=1e-9,
                temperature_k=site.temperature_k,
                synthetic=True,
                metadata={"synthetic": "true"},
            )
            sweeps += make_sweeps(bias, _disturb(current, site, random, noise_factor), labels)
    return sweeps


def true_edges(site: Site, window_v: tuple[float, float] = (-0.8, 1.0)) -> Truth:
    """Return the first peaks of the noise-free dI/dV averaged over the distribution of platelets.

    The spread of the edges is a Gaussian, so the average is computed by widening; the trap integral is over
    the window and in units of the tallest valence peak.
    """
    bias = np.linspace(-2.4, 2.4, 48001)
    nodes, weights = np.polynomial.hermite_e.hermegauss(41)
    mean = np.zeros_like(bias)
    for node, weight in zip(nodes, weights / weights.sum(), strict=True):
        shift = node * site.edge_spread_ev
        mean += weight * conductance(bias, site, site.vbm_ev + shift, site.cbm_ev + shift)
    peaks = np.flatnonzero((mean[1:-1] > mean[:-2]) & (mean[1:-1] > mean[2:])) + 1
    high = [p for p in peaks if mean[p] > 0.2 * mean.max()]
    first_v = max((p for p in high if bias[p] < 0), key=lambda p: bias[p])
    first_c = min((p for p in high if bias[p] > 0), key=lambda p: bias[p])
    tallest = max(mean[p] for p in high if bias[p] < 0)
    inside = (bias >= window_v[0]) & (bias <= window_v[1])
    integral = float(np.trapezoid(mean[inside], bias[inside]) / tallest)
    return Truth(float(bias[first_v]), float(bias[first_c]), integral)


def write_csv(sweeps: Sequence[Sweep], folder: Path) -> list[Path]:
    """Write one CSV a sweep, ``PLATELET_sweepN.csv``, each saying that it is synthetic.

    Returns
    -------
    list of Path
        The files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for sweep in sweeps:
        file = folder / f"{sweep.platelet}_sweep{sweep.number}.csv"
        head = ["# synthetic: true"]
        for key, value in (
            ("temperature_K", sweep.temperature_k),
            ("set_point_V", sweep.set_point_v),
            ("set_point_A", sweep.set_point_a),
        ):
            if value is not None:
                head.append(f"# {key}: {value:g}")
        rows = [f"{v:.6f},{i:.6e}" for v, i in zip(sweep.bias_v, sweep.current_a, strict=True)]
        file.write_text("\n".join([*head, "bias_V,current_A", *rows]) + "\n", encoding="utf-8")
        files.append(file)
    return files


def write_example(folder: Path, n_platelets: int = 70, seed: int = 0) -> dict[str, Path]:
    """Write synthetic sweeps of the three places of the source study: one a platelet, and five of one platelet a place.

    Returns
    -------
    dict
        Folder of each place, the reference first.

    Raises
    ------
    InputError
        If the folder holds something already, or cannot be written.
    """
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(f"{folder}: holds something already", "give a new folder for synthetic sweeps")
        made = {}
        for index, (place, site) in enumerate(EXAMPLE.items()):
            many = generate(site, n_platelets - 1, seed=seed + 2 * index, name=f"{place}-a")
            repeated = generate(site, 1, seed=seed + 2 * index + 1, name=f"{place}-b", sweeps_per_platelet=5)
            write_csv([*many, *repeated], folder / place)
            made[place] = folder / place
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error.strerror}", "check the folder") from error
    return made


def _disturb(current: Array, site: Site, random: np.random.Generator, factor: float) -> Array:
    """Return a current with drift, perhaps a tip change, and noise."""
    points = len(current)
    drifting = 1 + factor * site.drift * random.normal() * np.linspace(-1, 1, points)
    changed = np.ones(points)
    if random.random() < factor * site.tip_change:
        changed[int(random.integers(points // 5, 4 * points // 5)) :] *= math.exp(random.normal(0.0, 0.5))
    noise = random.normal(0.0, 1.0, points) * np.hypot(site.noise_a, site.relative_noise * np.abs(current))
    return np.asarray(current * drifting * changed + factor * noise, dtype=np.float64)


def _gaussian(x: Array, hump: Hump, extra_sigma: float) -> Array:
    """Return a Gaussian convolved with another one; its area is kept."""
    sigma = math.hypot(hump.sigma_ev, extra_sigma)
    peak = hump.height * hump.sigma_ev / sigma
    return np.asarray(peak * np.exp(-0.5 * ((x - hump.centre_ev) / sigma) ** 2), dtype=np.float64)


def _step(x: Array, sigma: float) -> Array:
    return np.asarray(0.5 * (1 + erf(x / (math.sqrt(2) * sigma))), dtype=np.float64)


def _integrate(bias: Array, didv: Array) -> Array:
    """Return I(V) with I(0) = 0."""
    total = np.concatenate([[0.0], np.cumsum((didv[1:] + didv[:-1]) / 2 * np.diff(bias))])
    return np.asarray(total - np.interp(0.0, bias, total), dtype=np.float64)
