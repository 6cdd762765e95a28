"""Masses along lines as sumo and effmass define them, written afresh so that their users can compare."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from corecrown.postprocess.mass_edge import DEGENERACY_EV
from corecrown.postprocess.mass_fit import HARTREE_EV, Carrier, FloatArray
from corecrown.postprocess.mass_path_bands import PathBands

__all__ = ["PathRow", "effmass_rows", "sumo_rows"]

SUMO_POINTS = 3
"""Neighbours of the extremum that sumo takes (its option --sample-points)."""

EFFMASS_DEPTH_EV = 0.025
"""effmass looks for extrema so far from the band edge (Settings.extrema_search_depth)."""

EFFMASS_RANGE_EV = 0.25
"""and follows a band for so long (Settings.energy_range)."""


@dataclass(frozen=True)
class PathRow:
    """One mass along a line; ``inverse_mass`` in 1/m0 with the carrier's sign, ``kpoint`` (3,) fractional."""

    band: int
    kpoint: FloatArray
    direction: tuple[str, str]
    inverse_mass: float
    residual_ev: float | None
    n_points: int
    spin: str | None


def sumo_rows(bands: PathBands, carrier: Carrier) -> tuple[list[PathRow], list[str]]:
    """Fit a parabola with slope and offset through four points and their mirror images.

    The extremum is the k-point with the extreme energy, wherever its name recurs on the path; every band within 1 meV
    of it there is taken; a line with fewer than three further points is passed over.
    """
    energy, position = bands.edge(carrier)
    label = bands.labels[position]
    places = [position] if label is None else [i for i, name in enumerate(bands.labels) if name == label]
    rows, notes = [], []
    for channel, spin in enumerate(bands.spins):
        values = bands.energies[channel]
        for band in np.flatnonzero(np.abs(values[:, position] - energy) <= DEGENERACY_EV):
            for place in places:
                for line in _outward(bands, place):
                    if len(line) <= SUMO_POINTS:
                        ends = f"{bands.end_name(line[0])} to {bands.end_name(line[-1])}"
                        notes.append(f"{ends}: fewer than {SUMO_POINTS} k-points beyond the edge")
                        continue
                    taken = line[: SUMO_POINTS + 1]
                    curvature, residual = _mirrored_parabola(bands, values[band], taken, through_edge=False)
                    rows.append(
                        PathRow(
                            band=int(band),
                            kpoint=bands.kpoints[place],
                            direction=(bands.end_name(place), bands.end_name(line[-1])),
                            inverse_mass=carrier.sign * curvature,
                            residual_ev=residual,
                            n_points=len(taken),
                            spin=spin,
                        )
                    )
    return rows, notes


def effmass_rows(bands: PathBands, carrier: Carrier) -> tuple[list[PathRow], list[str]]:
    """Fit E = k²/2m through three points and their mirror images at every extremum within 25 meV of the edge.

    A k-point is an extremum of a band if its neighbours on the path lie strictly higher (lower, for holes), or more
    than 25 meV from the edge. From it the band is followed both ways while it stays within 0.25 eV and the path goes
    straight on. A k-point that stands twice in a row counts once, as effmass has it where it reads FHI-aims; with it
    twice effmass finds no extremum there.
    """
    energy, _ = bands.edge(carrier)
    kept = [0] + [
        i for i in range(1, len(bands.cartesian)) if np.linalg.norm(bands.cartesian[i] - bands.cartesian[i - 1]) > 1e-6
    ]
    rows: list[PathRow] = []
    notes: list[str] = []
    for channel, spin in enumerate(bands.spins):
        first = bands.filled[channel] if carrier is Carrier.ELECTRON else 0
        for offset, values in enumerate(bands.edge_bands(carrier, channel)):
            height = carrier.sign * (values[kept] - energy)
            for k in np.flatnonzero(_is_minimum(height)):
                for step in (-1, 1):
                    segment = _straight_segment(bands.cartesian[kept], height, int(k), step)
                    places = [kept[i] for i in segment]
                    if len(places) < 3:
                        if len(places) == 2:
                            notes.append(f"{bands.end_name(kept[k])}: k-points too coarse, fewer than three in 0.25 eV")
                        continue
                    curvature, residual = _mirrored_parabola(bands, values, places[:3], through_edge=True)
                    rows.append(
                        PathRow(
                            band=first + offset,
                            kpoint=bands.kpoints[kept[k]],
                            direction=(bands.end_name(kept[k]), _name_ahead(bands, places)),
                            inverse_mass=carrier.sign * curvature,
                            residual_ev=residual,
                            n_points=3,
                            spin=spin,
                        )
                    )
    return rows, notes


def _outward(bands: PathBands, place: int) -> list[list[int]]:
    """Return the k-points from a place to either end of each line it stands on, itself first: forward, then back."""
    found = []
    for line in bands.lines:
        if place in line:
            at = line.index(place)
            found += [line[at:], line[at::-1]]
    return [line for line in found if len(line) > 1]


def _mirrored_parabola(
    bands: PathBands, energies: FloatArray, places: list[int], *, through_edge: bool
) -> tuple[float, float]:
    """Return curvature in 1/m0 and misfit in eV of a parabola through points and their mirror images."""
    steps = np.linalg.norm(np.diff(bands.cartesian[places], axis=0), axis=1)
    distances = np.concatenate([[0.0], np.cumsum(steps)])
    x = np.concatenate([-distances[:0:-1], distances])
    rise = energies[places] - energies[places[0]]
    y = np.concatenate([rise[:0:-1], rise])
    powers = [2] if through_edge else [0, 1, 2]
    scale = distances[-1]
    design = np.column_stack([(x / scale) ** power for power in powers])
    solution = np.linalg.lstsq(design, y, rcond=None)[0]
    misfit = y - design @ solution
    return 2 * float(solution[-1]) / scale**2 / HARTREE_EV, float(np.sqrt(np.mean(misfit**2)))


def _is_minimum(height: FloatArray) -> npt.NDArray[np.bool_]:
    """Mark the points near the edge whose neighbours are strictly higher or far from the edge."""
    near = np.abs(height) <= EFFMASS_DEPTH_EV
    minimum = near.copy()
    for step in (-1, 1):
        neighbour, neighbour_near = np.roll(height, step), np.roll(near, step)
        beaten = neighbour_near & (neighbour <= height)
        end = 0 if step == 1 else -1
        beaten[end] = False
        minimum &= ~beaten
    return minimum


def _straight_segment(cartesian: FloatArray, height: FloatArray, start: int, step: int) -> list[int]:
    segment = [start]
    direction: FloatArray | None = None
    following = start + step
    while 0 <= following < len(cartesian) and abs(height[following] - height[start]) < EFFMASS_RANGE_EV:
        ahead = cartesian[following] - cartesian[segment[-1]]
        ahead = ahead / np.linalg.norm(ahead)
        if direction is None:
            direction = ahead
        elif ahead @ direction < 1 - 1e-6:
            break
        segment.append(following)
        following += step
    return segment


def _name_ahead(bands: PathBands, places: list[int]) -> str:
    """Return the name of the end of the line that a segment runs along, or of its own last point."""
    for line in bands.lines:
        if places[1] in line:
            forward = places[1] > places[0]
            return bands.end_name(line[-1] if forward else line[0])
    return bands.end_name(places[-1])
