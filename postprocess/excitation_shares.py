"""What the numbers say of the claim that FA takes the excited charge: shares against those of a uniform charge."""

from collections.abc import Sequence
from dataclasses import dataclass

from corecrown.postprocess.excitation import FA
from corecrown.postprocess.results import ChargePartition, Excitation

__all__ = ["FaShare", "fa_share", "fa_statement"]

DIFFERENT = 0.05
"""Shares that differ by less than this part of the uniform one count as equal to it."""


@dataclass(frozen=True)
class FaShare:
    """The share of FA in a quantity, over the schemes that tell it.

    Parameters
    ----------
    quantity
        ``electron``, ``hole``, ``gained`` or ``lost``.
    low, high
        Smallest and largest share of the whole, 0 to 1.
    uniform_low, uniform_high
        The same of a charge spread evenly over the volume.
    over_uniform
        Share over uniform share, one number a scheme that knows volumes.
    n_fa
        FA ions in the cell.
    each_low, each_high
        Smallest and largest share of a single FA ion, over ions and schemes; None where single ions are not told.
    """

    quantity: str
    low: float
    high: float
    uniform_low: float
    uniform_high: float
    over_uniform: tuple[float, ...]
    n_fa: int
    each_low: float | None = None
    each_high: float | None = None

    @property
    def verdict(self) -> str:
        """``more``, ``less`` or ``undecided``: FA against a uniform share, in all schemes that know volumes."""
        if all(ratio > 1 + DIFFERENT for ratio in self.over_uniform):
            return "more"
        if all(ratio < 1 - DIFFERENT for ratio in self.over_uniform):
            return "less"
        return "undecided"


def fa_share(excitation: Excitation, quantity: str) -> FaShare | None:
    """Return the share of FA in a quantity, or None where there is no FA or it is not known."""
    shares, uniform, ratios, each = [], [], [], []
    for partition in excitation.partitions:
        share = _share(partition, quantity)
        if share is None:
            continue
        shares.append(share)
        each += _of_single_ions(partition, quantity)
        volume = _share(partition, "volume")
        if volume:
            uniform.append(volume)
            ratios.append(share / volume)
    if not ratios:
        return None
    n_fa = len(excitation.partitions[0].by_fa)
    return FaShare(
        quantity,
        min(shares),
        max(shares),
        min(uniform),
        max(uniform),
        tuple(ratios),
        n_fa,
        min(each, default=None),
        max(each, default=None),
    )


def _share(partition: ChargePartition, quantity: str) -> float | None:
    parts: dict[str, float] | None = getattr(partition, quantity)
    if parts is None or FA not in parts or sum(parts.values()) <= 0:
        return None
    return parts[FA] / sum(parts.values())


def _of_single_ions(partition: ChargePartition, quantity: str) -> list[float]:
    """Return the share of each FA ion, of the whole of all groups."""
    parts: dict[str, float] = getattr(partition, quantity)
    whole = sum(parts.values())
    return [ion[quantity] / whole for ion in partition.by_fa if quantity in ion]


def fa_statement(excitation: Excitation) -> str | None:
    """Say in words whether FA takes more of the excited charge than its volume would; None without FA or densities.

    The claim (the source study, Fig. S23) is that on excitation the charge sits preferentially on FA, so that the Pb-Br
    framework is spared. It is held against the frozen orbital of the electron, and the charge that the relaxed density
    gains; where these disagree, or the schemes do, the statement says so.
    """
    if not excitation.occupations_kept:
        return "The state did not hold: nothing can be said of its charge."
    found: Sequence[FaShare] = [
        share for quantity in ("electron", "hole", "gained") if (share := fa_share(excitation, quantity)) is not None
    ]
    if not found:
        return None
    parts = [_sentence(share) for share in found]
    tested = [share.verdict for share in found if share.quantity != "hole"]
    if tested and all(verdict == "more" for verdict in tested):
        ending = "At this level the claim that FA takes the excited charge is supported."
    elif tested and all(verdict == "less" for verdict in tested):
        ending = "At this level the claim that FA takes the excited charge is not supported: the framework takes it."
    else:
        ending = "At this level the numbers do not decide the claim that FA takes the excited charge."
    return " ".join([*parts, ending])


_NAMES = {
    "electron": "of the frozen electron orbital",
    "hole": "of the frozen hole orbital",
    "gained": "of the charge gained by the relaxed density",
}


def _sentence(share: FaShare) -> str:
    ratios = f"{_range(min(share.over_uniform), max(share.over_uniform), 2)} times a uniform share"
    each = ""
    if share.n_fa > 1 and share.each_low is not None and share.each_high is not None:
        each = f", {_range(share.each_low, share.each_high, 3)} on each"
    return f"FA has {_range(share.low, share.high, 3)} {_NAMES[share.quantity]}{each}, {ratios}."


def _range(low: float, high: float, digits: int) -> str:
    first, last = f"{low:.{digits}f}", f"{high:.{digits}f}"
    return first if first == last else f"{first} to {last}"
