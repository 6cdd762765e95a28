"""A study's densities of states over the spectra of an analysis: which goes with which, and how each is fitted."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from corecrown.errors import CorecrownError, InputError, known_names
from corecrown.postprocess.experiment import load_experiment
from corecrown.postprocess.results import StudyResult
from corecrown.postprocess.sts.analysis import StsAnalysis
from corecrown.postprocess.sts.bending import tip_distance_nm
from corecrown.postprocess.sts.overlay import Junction, OverlayDos, OverlayFit, fit_overlay, overlay_dos

if TYPE_CHECKING:
    from corecrown.postprocess.study import Study

__all__ = ["Overlay", "cell_dos", "overlays", "paired_cells"]


GOOD_FIT = 0.9
"""R² below which the shapes of a computed and a measured spectrum are said to differ."""


class Overlay(BaseModel):
    """The density of states of one cell, moved and broadened onto the spectrum of one group."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    group: str
    cell: str
    junction: Junction | None = None
    fit: OverlayFit | None = Field(None, description="null where it could not be fitted")
    notes: list[str] = Field(default_factory=list)


def paired_cells(analysis: StsAnalysis, study: StudyResult, cells: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return which cell stands for which group.

    Parameters
    ----------
    cells
        Group to cell, as given; otherwise groups named like places of the shipped experiment are paired as there.

    Raises
    ------
    InputError
        If a given cell is not in the study, or no group has a cell.
    """
    labels = [cell.label for cell in study.cells]
    for group, cell in (cells or {}).items():
        if cell not in labels:
            raise InputError(f"--cell {group}={cell}: the study has no such cell", known_names(cell, labels, "cells"))
    pairs = dict(cells or {}) or {pair.place: pair.cell for pair in load_experiment().compare if pair.cell in labels}
    found = {group: pairs[group] for group in analysis.spectra if group in pairs}
    if not found:
        raise InputError(
            "no group of sweeps stands for a cell of the study",
            f"--cell GROUP=CELL; groups: {', '.join(analysis.spectra)}; cells: {', '.join(labels) or 'none'}",
        )
    return found


def cell_dos(study: "Study", cell: str) -> OverlayDos:
    """Return the projected density of states of a cell from its valence edge, the gap as its bands give it.

    Raises
    ------
    CorecrownError
        If the cell has no density of states on disk, or no gap.
    """
    dos = study.dos(cell)
    edges = study.cell(cell).edges
    if edges is None or edges.gap_ev is None:
        raise InputError(f"cell {cell}: no gap", "an overlay needs a valence and a conduction edge")
    # the density of states has its Fermi energy at the valence edge of its own mesh; the axis is its own too
    return overlay_dos(dos, gap_ev=edges.gap_ev, vbm_ev=float(dos.efermi))


def overlays(analysis: StsAnalysis, study: "Study", cells: Mapping[str, str] | None = None) -> list[Overlay]:
    """Fit the densities of states of a study to the spectra of the groups their cells stand for.

    The junction has the temperature of the group, the bandwidth of the derivative, and the distance that the set point
    means; where one is not known it is left out and the overlay says so.

    Returns
    -------
    list
        One a pair; one that cannot be fitted has no fit and the reason.
    """
    made = []
    for group, cell in paired_cells(analysis, study.result, cells).items():
        try:
            made.append(_overlay(analysis, study, group, cell))
        except CorecrownError as error:
            made.append(Overlay(group=group, cell=cell, notes=[error.message]))
    return made


def _overlay(analysis: StsAnalysis, study: "Study", group: str, cell: str) -> Overlay:
    result, spectrum = analysis.result.groups[group], analysis.spectra[group]
    vbm, cbm = result.vbm_v.value, result.cbm_v.value
    if vbm is None or cbm is None:
        raise InputError(f"group {group}: both edges are needed", "see its flags")
    if result.temperature_k is None:
        raise InputError(f"group {group}: the temperature is not known", "give --temperature")
    notes = []
    distance = None
    if spectrum.set_point is None:
        notes.append("the set point is not known: no tunnelling transmission")
    else:
        distance = tip_distance_nm(*spectrum.set_point)
        notes.append(
            f"transmission through {distance:.2f} nm at a barrier of 4.5 eV, from the set point; nearer where that "
            "lies inside the gap"
        )
    junction = Junction(
        temperature_k=result.temperature_k,
        distance_nm=distance or None,
        bandwidth_v=spectrum.edge_options.bandwidth_v,
    )
    dos = cell_dos(study, cell)
    fit = fit_overlay(spectrum.bias_v, spectrum.mean_didv, dos, junction, (vbm, cbm), resampled=spectrum.resampled_didv)
    if fit.r_squared < GOOD_FIT:
        notes.append(
            f"the shapes differ (R² {fit.r_squared:.2f}): the standard errors are of the spectrum alone, and shift "
            "and scissor are worth less than they say"
        )
    return Overlay(group=group, cell=cell, junction=junction, fit=fit, notes=[*notes, *fit.notes])
