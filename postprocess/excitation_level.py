"""What an excitation was computed with, in one line."""

from corecrown.postprocess.cells import describe_level
from corecrown.postprocess.results import CellResult, Excitation, RunSettings, Step

__all__ = ["excitation_level", "excitation_settings"]


def excitation_settings(cell: CellResult) -> RunSettings | None:
    """Return what the excitations of a cell were computed with, or None where that is not known.

    Results of before kept the settings of the scf alone, or of the only step.
    """
    own = cell.step_settings.get(Step.EXCITATION.value)
    alone = set(cell.timings) == {Step.EXCITATION.value}
    return own or (cell.settings if alone else None)


def excitation_level(cell: CellResult, found: Excitation) -> str | None:
    """Say in one line what an excitation was computed with: functional, coupling, cutoff, mesh, supercell.

    Parameters
    ----------
    cell
        The cell that was excited.
    found
        One of its excitations.

    Returns
    -------
    str or None
        None where it is not recorded.
    """
    settings = excitation_settings(cell)
    if settings is None:
        return None
    level = describe_level(settings)
    if found.supercell is not None and found.supercell != (1, 1, 1):
        level += f" of the {'×'.join(str(number) for number in found.supercell)} supercell"
    return level
