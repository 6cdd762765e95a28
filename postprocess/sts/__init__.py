"""Scanning tunnelling spectroscopy: sweeps, spectra, edges, traps and stability."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from corecrown.postprocess.sts.analysis import StsOptions, StsResult, analyse_groups
    from corecrown.postprocess.sts.edges import EDGE_METHODS, edge_method
    from corecrown.postprocess.sts.model import Skipped, Sweep, SweepSet
    from corecrown.postprocess.sts.readers import SWEEP_FORMATS, read_sweep_file, read_sweeps, sweep_format

__all__ = [
    "EDGE_METHODS",
    "SWEEP_FORMATS",
    "Skipped",
    "StsOptions",
    "StsResult",
    "Sweep",
    "SweepSet",
    "analyse_groups",
    "edge_method",
    "read_sweep_file",
    "read_sweeps",
    "sweep_format",
]

_MODULES = {
    "model": ("Skipped", "Sweep", "SweepSet"),
    "readers": ("SWEEP_FORMATS", "read_sweep_file", "read_sweeps", "sweep_format"),
    "edges": ("EDGE_METHODS", "edge_method"),
    "analysis": ("StsOptions", "StsResult", "analyse_groups"),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
