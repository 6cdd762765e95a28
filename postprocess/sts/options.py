"""How sweeps are analysed: every choice that can change a number, in one place."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field, field_validator

from corecrown.postprocess.sts.spectra import DerivativeKind
from corecrown.postprocess.sts.traps import Normalisation

__all__ = ["SpectrumNormalisation", "StsOptions"]


class SpectrumNormalisation(StrEnum):
    """What individual sweeps are divided by before they are averaged."""

    NONE = "none"
    SET_POINT = "set-point"
    CONDUCTANCE = "conductance"


class StsOptions(BaseModel):
    """Choices of an analysis."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    method: str = Field("first-peak", description="how edges are found")
    prominence: float = Field(0.1, ge=0, lt=1, description="of a peak, part of the largest on its side")
    sweep_prominence: float = Field(0.2, ge=0, lt=1, description="the same for individual, noisier sweeps")
    derivative: DerivativeKind = DerivativeKind.SAVITZKY_GOLAY
    bandwidth_v: float = Field(0.05, gt=0, description="of the derivative of averages, full width, V")
    sweep_bandwidth_v: float = Field(0.1, gt=0, description="of the derivative of individual sweeps, full width, V")
    normalisation: SpectrumNormalisation = SpectrumNormalisation.NONE
    broadening_v: float = Field(1.0, gt=0, description="of I/V in (dI/dV)/(I/V), V")
    set_aside_outliers: bool = Field(default=True, description="leave tip changes and drift out of averages")
    window_v: tuple[float, float] = Field((-0.8, 1.0), description="of the trap integral, V")
    trap_normalisation: Normalisation = Normalisation.TALLEST_VALENCE
    n_resamples: int = Field(1000, ge=0, description="of platelets, for intervals; 0 for none")
    confidence: float = Field(0.95, gt=0, lt=1)
    seed: int = Field(0, ge=0)
    temperature_k: float | None = Field(None, gt=0, description="where the files do not say")
    modulation_v: float | None = Field(None, ge=0, description="peak amplitude, where the lock-in channel is used")
    use_lockin: bool = Field(default=False, description="dI/dV from the calibrated lock-in channel")

    @field_validator("window_v")
    @classmethod
    def _ends_in_order(cls, window_v: tuple[float, float]) -> tuple[float, float]:
        if window_v[0] >= window_v[1]:
            raise ValueError(f"{window_v[0]:g} to {window_v[1]:g} V: the lower end comes first")
        return window_v
