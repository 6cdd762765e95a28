"""Errors of pw.x and their cures, as custodian handlers.

No handler changes the functional, occupations, smearing, cutoffs or the mesh: those are the physics that was asked
for. What a handler changes is how the same answer is reached: mixing, iterations, diagonalisation, ranks.
"""

from custodian.custodian import ErrorHandler

from corecrown.workflows.espresso.handlers.base import (
    FirstOf,
    PwHandler,
    corrections,
    has_ended_well,
    latest_output,
    limit_ranks,
    outputs_newest_first,
    read_retry,
)
from corecrown.workflows.espresso.handlers.electrons import (
    BandsNotConverged,
    ChargeWrong,
    CholeskyFailed,
    ElectronicOscillation,
    FinalScfNotConverged,
    OverlapNotPositive,
    ScfNotConverged,
    TooFewBands,
)
from corecrown.workflows.espresso.handlers.ends import (
    DiskFull,
    EndedFromOutside,
    Killed,
    OutOfMemory,
    Silence,
    StoppedOnRequest,
    WalltimeNear,
    was_stopped_in_time,
)
from corecrown.workflows.espresso.handlers.files import (
    MissingPseudopotential,
    PseudopotentialsDisagree,
    PseudopotentialUnreadable,
    XmlUnreadable,
)
from corecrown.workflows.espresso.handlers.inputs import edit_keywords, read_keyword
from corecrown.workflows.espresso.handlers.ions import BfgsFailed, FftGridOutgrown, IonicStepsUsedUp
from corecrown.workflows.espresso.handlers.parallel import TooManyPools, TooManyRanks

__all__ = [
    "BandsNotConverged",
    "BfgsFailed",
    "ChargeWrong",
    "CholeskyFailed",
    "DiskFull",
    "ElectronicOscillation",
    "EndedFromOutside",
    "FftGridOutgrown",
    "FinalScfNotConverged",
    "FirstOf",
    "IonicStepsUsedUp",
    "Killed",
    "MissingPseudopotential",
    "OutOfMemory",
    "OverlapNotPositive",
    "PseudopotentialUnreadable",
    "PseudopotentialsDisagree",
    "PwHandler",
    "ScfNotConverged",
    "Silence",
    "StoppedOnRequest",
    "TooFewBands",
    "TooManyPools",
    "TooManyRanks",
    "WalltimeNear",
    "XmlUnreadable",
    "common_handlers",
    "corrections",
    "default_handlers",
    "edit_keywords",
    "has_ended_well",
    "latest_output",
    "limit_ranks",
    "outputs_newest_first",
    "read_keyword",
    "read_retry",
    "was_stopped_in_time",
]

_OF_PW = (
    ScfNotConverged,
    ElectronicOscillation,
    FinalScfNotConverged,
    CholeskyFailed,
    OverlapNotPositive,
    BandsNotConverged,
    ChargeWrong,
    TooFewBands,
    IonicStepsUsedUp,
    BfgsFailed,
    FftGridOutgrown,
    MissingPseudopotential,
    PseudopotentialUnreadable,
    PseudopotentialsDisagree,
    XmlUnreadable,
)
_OF_ALL = (DiskFull, Silence, WalltimeNear, StoppedOnRequest, OutOfMemory, Killed, TooManyPools, TooManyRanks)


def default_handlers(stem: str) -> list[ErrorHandler]:
    """Return the handlers a run of pw.x gets, in the order they are asked."""
    return [DiskFull(stem), *(handler(stem) for handler in _OF_PW), *common_handlers(stem)[1:]]


def common_handlers(stem: str) -> list[ErrorHandler]:
    """Return the handlers of ends that any program of Quantum ESPRESSO can come to."""
    return [handler(stem) for handler in _OF_ALL]
