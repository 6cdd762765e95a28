"""How far the field of the tip can move an edge on the bias axis: a one-dimensional stack of dielectrics.

Tip, vacuum, platelet, a layer (ligands, or nothing), metal. The platelet is undoped and holds no charge, so
the field is constant in each layer. Lengths in nm, potentials in V.
"""

import math

from pydantic import BaseModel, ConfigDict, Field
from scipy.constants import e, hbar, m_e, physical_constants

from corecrown.errors import InputError

__all__ = ["BandBending", "band_bending", "bias_fraction", "tip_distance_nm"]


class BandBending(BaseModel):
    """What the stack does to one edge."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    fraction: float = Field(description="part of the bias between the metal and the middle of the platelet")
    tip_distance_nm: float
    edge_v: float = Field(description="where the edge was seen, V of sample bias")
    edge_ev: float = Field(description="edge relative to E_F of the metal once the drop is taken off, eV")
    shift_v: float = Field(description="how far the drop moved the edge on the bias axis, V")
    zero_bias_shift_v: float = Field(description="potential in the platelet at zero bias, from the work functions, V")
    notes: list[str] = Field(default_factory=list)


def bias_fraction(
    *,
    tip_distance_nm: float,
    width_nm: float,
    permittivity: float,
    layer_nm: float = 0.0,
    layer_permittivity: float = 1.0,
) -> float:
    """Return which part of the bias falls between the metal and the middle of the platelet.

    f = (l/ε_l + d/2ε) / (s + d/ε + l/ε_l): plates in series, D constant.

    Parameters
    ----------
    tip_distance_nm
        Vacuum between tip and platelet, s.
    width_nm, permittivity
        Thickness d and relative permittivity ε of the platelet.
    layer_nm, layer_permittivity
        Thickness l and relative permittivity ε_l of what lies between platelet and metal.

    Returns
    -------
    float
        Between 0 and 1.
    """
    for name, value in (
        ("tip_distance_nm", tip_distance_nm),
        ("width_nm", width_nm),
        ("permittivity", permittivity),
        ("layer_permittivity", layer_permittivity),
    ):
        if not 0 < value < math.inf:
            raise InputError(f"{name} is {value}, not a positive number", "give a positive number")
    if not 0 <= layer_nm < math.inf:
        raise InputError(f"layer_nm is {layer_nm}", "zero for bare contact, or more")
    layer = layer_nm / layer_permittivity
    slab = width_nm / permittivity
    return (layer + slab / 2) / (tip_distance_nm + slab + layer)


def tip_distance_nm(set_point_a: float, set_point_v: float, barrier_ev: float = 4.5) -> float:
    """Estimate the vacuum gap from a set point: G = G₀ exp(-2κs), one channel at contact.

    Parameters
    ----------
    set_point_a, set_point_v
        Current and bias that the feedback held, A and V.
    barrier_ev
        Height of the tunnelling barrier, eV, about the mean of the work functions.

    Returns
    -------
    float
        Distance in nm, zero where the set point already means contact.

    Notes
    -----
    κ = sqrt(2 m φ)/ħ and G₀ = 2e²/h, as in C. J. Chen, Introduction to Scanning Tunneling Microscopy. With a
    set point inside the gap of a platelet the current had to pass the whole platelet, so the tip was nearer
    than this.
    """
    if not (set_point_a > 0 and set_point_v != 0 and barrier_ev > 0):
        raise InputError(
            "a set point needs a current and a barrier above zero and a bias", "give 1e-9 A and 0.1 V, say"
        )
    conductance = set_point_a / abs(set_point_v) / physical_constants["conductance quantum"][0]
    kappa_per_nm = math.sqrt(2 * m_e * barrier_ev * e) / hbar * 1e-9
    return max(0.0, float(-math.log(conductance) / (2 * kappa_per_nm)))


def band_bending(
    edge_v: float,
    *,
    width_nm: float,
    permittivity: float,
    set_point_a: float,
    set_point_v: float,
    layer_nm: float = 0.0,
    layer_permittivity: float = 1.0,
    barrier_ev: float = 4.5,
    contact_potential_v: float = 0.0,
    gap_v: tuple[float, float] | None = None,
) -> BandBending:
    """Estimate how far the drop of the bias inside the platelet moved an edge.

    Parameters
    ----------
    edge_v
        Where the edge was seen, V of sample bias.
    width_nm, permittivity, layer_nm, layer_permittivity
        The stack, as in `bias_fraction`.
    set_point_a, set_point_v, barrier_ev
        The set point and the barrier that give the tip distance.
    contact_potential_v
        Work function of the tip less that of the substrate, over e.
    gap_v
        Valence and conduction edge, V; a set point between them is noted.
    """
    distance = tip_distance_nm(set_point_a, set_point_v, barrier_ev)
    notes = []
    if gap_v is not None and gap_v[0] < set_point_v < gap_v[1]:
        notes.append("the set point lies inside the gap: the tip was nearer than estimated, so the drop is a lower end")
    if distance == 0:
        raise InputError("this set point means contact: there is no vacuum gap", "check current, bias and barrier")
    fraction = bias_fraction(
        tip_distance_nm=distance,
        width_nm=width_nm,
        permittivity=permittivity,
        layer_nm=layer_nm,
        layer_permittivity=layer_permittivity,
    )
    shift = fraction * (edge_v + contact_potential_v)
    return BandBending(
        fraction=fraction,
        tip_distance_nm=distance,
        edge_v=edge_v,
        edge_ev=edge_v - shift,
        shift_v=shift,
        zero_bias_shift_v=fraction * contact_potential_v,
        notes=notes,
    )
