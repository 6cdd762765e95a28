"""Which of custodian's cures a run of VASP gets, and what they must not touch.

custodian knows many errors of VASP, and cures some of them by changing the physics: smearing instead of fixed
occupations, another k-mesh, other POTCARs' metals. Those cures are left out here, and what is left is checked after the
run all the same: no result is taken from a run whose smearing, occupations, functional, cutoff or k-points are not
those that were asked for.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from custodian.custodian import ErrorHandler
from custodian.vasp.handlers import (
    FrozenJobErrorHandler,
    NonConvergingErrorHandler,
    PositiveEnergyErrorHandler,
    PotimErrorHandler,
    StdErrHandler,
    UnconvergedErrorHandler,
    VaspErrorHandler,
)
from pymatgen.io.vasp.inputs import Incar, Kpoints

from corecrown.errors import RunError
from corecrown.settings import get_settings
from corecrown.workflows.silence import SilenceMeter
from corecrown.workflows.vasp.incar import physics_of

__all__ = ["CHANGE_PHYSICS", "SilentVasp", "default_handlers", "require_same_physics"]

CHANGE_PHYSICS = frozenset(
    {
        "algo_tet",  # smearing instead of the tetrahedron method or fixed occupations
        "dentet",  # smearing, or another mesh
        "incorrect_shift",  # another mesh
        "ksymm",  # another mesh
        "tet",  # smearing
        "tetirr",  # another mesh
        "triple_product",  # other axes
        "zpotrf",  # another volume
    }
)
"""Errors of custodian's VaspErrorHandler whose cure would compute something else."""


class SilentVasp(FrozenJobErrorHandler):
    """custodian's cure of a run that writes nothing; how long it has been silent is not asked of a clock that is set.

    Parameters
    ----------
    output_filename, timeout
        As custodian has them.
    """

    def __init__(self, output_filename: str = "vasp.out", timeout: float = 21_600) -> None:
        super().__init__(output_filename, timeout)
        self._meter = SilenceMeter()

    def check(self, directory: str = "./") -> bool:
        """Return whether no output changed, look after look, within the limit."""
        names = (self.output_filename, "OSZICAR", "OUTCAR")
        return bool(self._meter.look(Path(directory, name) for name in names) > self.timeout)


def default_handlers(*, fixed_occupations: bool = False) -> list[ErrorHandler]:
    """Return the handlers a run of VASP gets, in the order they are asked.

    Parameters
    ----------
    fixed_occupations
        Whether occupations are given (Delta-SCF, ISMEAR = -2): then nothing that changes algorithm or smearing is
        tried, since another algorithm can find another state.
    """
    kept = [error for error in VaspErrorHandler.error_msgs if error not in CHANGE_PHYSICS]
    common = [
        VaspErrorHandler(errors_subset_to_catch=kept),
        SilentVasp(timeout=get_settings().silence_limit_s),
        StdErrHandler(),
    ]
    if fixed_occupations:
        return common
    return [
        *common,
        UnconvergedErrorHandler(),
        NonConvergingErrorHandler(),
        PotimErrorHandler(),
        PositiveEnergyErrorHandler(),
    ]


def require_same_physics(folder: Path, asked: Mapping[str, Any], kpoints: str) -> None:
    """Check that what ran is what was asked for, whatever a handler did on the way.

    Parameters
    ----------
    folder
        Folder of the run; its INCAR and KPOINTS are those of the last try.
    asked
        The INCAR that was written first.
    kpoints
        The KPOINTS that was written first, as text.

    Raises
    ------
    RunError
        Naming what a handler changed.
    """
    before = physics_of(asked)
    after = physics_of(dict(Incar.from_file(str(folder / "INCAR"))))
    changed = [
        f"{tag} = {after.get(tag, 'not set')} instead of {before.get(tag, 'not set')}"
        for tag in sorted(before.keys() | after.keys())
        if before.get(tag) != after.get(tag)
    ]
    if str(Kpoints.from_file(str(folder / "KPOINTS"))) != str(Kpoints.from_str(kpoints)):
        changed.append("other k-points")
    if changed:
        raise RunError(
            f"{folder}: an error handler changed what is computed: {'; '.join(changed)}",
            "the result is not taken; see custodian.json there for the error that VASP met",
        )
