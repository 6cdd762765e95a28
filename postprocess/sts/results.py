"""What an analysis of sweeps gives: frozen models that go to JSON as they are."""

from enum import StrEnum
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "AlignmentKind",
    "BandAlignment",
    "BySweep",
    "EdgeSet",
    "GaussianCentre",
    "GroupResult",
    "GroupShift",
    "Interval",
    "SecondEdges",
    "SkippedFile",
    "Spread",
    "StabilityPoint",
    "StsResult",
    "TrapChange",
    "TrapMap",
    "Traps",
    "interval_of",
]


NOT_RESAMPLED = "one platelet, or no resamples"
FEWEST_RESAMPLES = 20


class _Result(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Interval(_Result):
    """A value with the interval that resampling platelets gives it; null where it cannot be had."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    standard_error: float | None = Field(None, description="standard deviation over resamples")
    reason: str | None = Field(None, description="why there is no interval, or no value")


class AlignmentKind(StrEnum):
    """Where the edges of the crown lie to those of the core."""

    TYPE_I = "I"
    TYPE_II = "II"
    INVERTED = "inverted I"
    UNDECIDED = "undecided"


class BandAlignment(_Result):
    """Offsets between two sets of edges, and what kind of alignment they make."""

    kind: AlignmentKind
    valence_offset_ev: float | None = Field(None, description="positive where the crown's valence edge is lower")
    conduction_offset_ev: float | None = Field(None, description="positive where the crown's conduction edge is higher")
    valence_error_ev: float | None = None
    conduction_error_ev: float | None = None
    notes: list[str] = Field(default_factory=list)


class EdgeSet(_Result):
    """Edges of an averaged spectrum."""

    vbm_v: Interval = Field(default_factory=Interval)
    cbm_v: Interval = Field(default_factory=Interval)
    gap_ev: Interval = Field(default_factory=Interval)


class GaussianCentre(_Result):
    """A Gaussian fitted to a histogram."""

    centre: float
    sigma: float
    centre_error: float


class Spread(_Result):
    """A quantity over individual sweeps."""

    mean: float | None = None
    std: float | None = None
    n: int = 0
    gaussian: GaussianCentre | None = None


class BySweep(_Result):
    """Edges of individual sweeps."""

    vbm_v: Spread
    cbm_v: Spread
    gap_ev: Spread
    bandwidth_v: float | None = Field(None, description="of the derivative of individual sweeps")


class SecondEdges(_Result):
    """The farther of two sets of edges found by a mixture of two line shapes, and the nearer beside it."""

    vbm_v: Interval | None = None
    cbm_v: Interval | None = None
    nearer_vbm_v: Interval | None = None
    nearer_cbm_v: Interval | None = None
    notes: list[str] = Field(default_factory=list)


class SkippedFile(_Result):
    """A file or sweep that was left out."""

    file: str
    reason: str


class GroupResult(_Result):
    """One group of sweeps."""

    n_sweeps: int
    n_platelets: int
    n_averaged: int = Field(description="sweeps in the average: the first of each platelet, less those set aside")
    skipped: list[SkippedFile] = Field(default_factory=list)
    vbm_v: Interval = Field(default_factory=Interval)
    cbm_v: Interval = Field(default_factory=Interval)
    gap_ev: Interval = Field(default_factory=Interval)
    by_sweep: BySweep | None = None
    onset: dict[str, EdgeSet] = Field(default_factory=dict, description="by method")
    second_edges: SecondEdges | None = None
    alignment: BandAlignment | None = Field(None, description="the farther set of two against the nearer one")
    resolution_ev: float | None = Field(None, description="full width: thermal, modulation or derivative")
    trap_integral: Interval = Field(default_factory=Interval, description="V, after normalising")
    method: str = "first-peak"
    prominence: float | None = None
    temperature_k: float | None = None
    synthetic: bool = False
    flags: list[str] = Field(default_factory=list)


class GroupShift(_Result):
    """How far an edge or the gap of a group lies from the reference's."""

    reference: str
    group: str
    quantity: Literal["vbm_v", "cbm_v", "gap_ev"]
    value: float | None
    low: float | None = None
    high: float | None = None
    standard_error: float | None = None
    exceeds_standard_error: bool | None = Field(None, description="whether |value| exceeds twice its standard error")
    line_width_ev: float | None = Field(None, description="beside it; does not bound a shift between centres")
    reason: str | None = Field(None, description="why there is no standard error, or no value")


class TrapChange(_Result):
    """Change of the trap integral between two groups."""

    reference: str
    group: str
    percent: float | None
    low: float | None = None
    high: float | None = None
    reason: str | None = Field(None, description="why there is no interval, or no value")


class TrapMap(_Result):
    """How a change depends on the window, for one normalisation; rows are lower ends, columns upper ends."""

    reference: str
    group: str
    normalised_by: str
    low_ends_v: list[float]
    high_ends_v: list[float]
    percent: list[list[float | None]]


class Traps(_Result):
    """States in the gap."""

    window_v: tuple[float, float]
    normalised_by: str
    changes: list[TrapChange] = Field(default_factory=list)
    maps: list[TrapMap] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)


class StabilityPoint(_Result):
    """One sweep number of a platelet or group that was swept repeatedly."""

    sweep: int
    gap_ev: float | None
    in_gap_dos: float | None = Field(description="integral of dI/dV over the gap of the first sweep, A")
    relative_dos: float | None = Field(None, description="the same over that of the first sweep")
    n_platelets: int
    gap_error_ev: float | None = Field(None, description="standard error by resampling platelets")
    relative_dos_error: float | None = Field(None, description="the same")
    reason: str | None = Field(None, description="why there is no standard error")


class StsResult(_Result):
    """All groups, and what sets them apart."""

    groups: dict[str, GroupResult]
    traps: Traps
    stability: dict[str, list[StabilityPoint]] = Field(default_factory=dict)
    shifts: list[GroupShift] = Field(default_factory=list)
    options: dict[str, str | float | int | bool | None] = Field(default_factory=dict)
    flags: list[str] = Field(default_factory=list)


def interval_of(value: float | None, resampled: NDArray[np.float64] | None, confidence: float) -> Interval:
    """Return a value with its percentile interval; without one where fewer than nine in ten resamples have a value."""
    if value is None or not np.isfinite(value):
        return Interval(reason="not found")
    if resampled is None:
        return Interval(value=value, reason=NOT_RESAMPLED)
    known = resampled[np.isfinite(resampled)]
    if len(known) < 0.9 * len(resampled) or len(known) < FEWEST_RESAMPLES:
        return Interval(value=value, reason=f"found in {len(known)} of {len(resampled)} resamples only")
    low, high = np.quantile(known, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(value=value, low=float(low), high=float(high), standard_error=float(np.std(known, ddof=1)))
