"""Compare a rerun of shipped results with them: ``python scripts/check_rerun.py NAME DIR``; exit 1 where they differ.

Only cells and quantities that both have are compared. Tolerances are for the same release of the program: two runs of
``demo`` with pw.x 6.7, one of them killed three times, differed by 0.02 meV in gaps and 3e-6 in shares.
"""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from corecrown.errors import CorecrownError
from corecrown.postprocess.reference import read_reference
from corecrown.postprocess.results import CellResult, MassTensor
from corecrown.postprocess.study import read_study

GAP_EV, LENGTH_ANGSTROM, SHARE, MASS = 1e-3, 1e-3, 1e-3, 1e-2
"""Largest differences; of masses relative to the mass."""


@dataclass(frozen=True)
class Difference:
    """One number of a cell, as shipped and as computed again."""

    cell: str
    name: str
    shipped: float
    again: float
    tolerance: float

    @property
    def within(self) -> bool:
        """Whether the two agree."""
        return abs(self.again - self.shipped) <= self.tolerance


def differences(shipped: CellResult, again: CellResult) -> Iterator[Difference]:
    """Yield what two results of one cell both have."""
    before, after = dict(_numbers(shipped)), dict(_numbers(again))
    for name, (value, tolerance) in before.items():
        if name in after:
            yield Difference(shipped.label, name, value, after[name][0], tolerance)


def _numbers(cell: CellResult) -> Iterator[tuple[str, tuple[float, float]]]:
    for axis in "abc":
        yield f"lattice {axis} / Å", (getattr(cell, f"lattice_{axis}_angstrom"), LENGTH_ANGSTROM)
    for source, edges in cell.edges_by_source.items():
        if edges.gap_ev is not None:
            yield f"gap from {source} / eV", (edges.gap_ev, GAP_EV)
    for level in cell.levels:
        if level.gap_ev is not None:
            coupling = " + spin-orbit" if level.spin_orbit else ""
            yield f"gap, {level.functional}{coupling}, {level.source} / eV", (level.gap_ev, GAP_EV)
    for edge in ("vbm", "cbm"):
        shares: Mapping[str, float] = (getattr(cell.pdos.edge_character, edge) if cell.pdos else None) or {}
        for orbital, share in shares.items():
            yield f"{edge} {orbital}", (share, SHARE)
    for carrier in ("electron", "hole"):
        mass: MassTensor | None = getattr(cell.masses, carrier, None)
        for axis in "xyz":
            value = getattr(mass, f"gamma_{axis}", None)
            if value is not None:
                yield f"{carrier} mass {axis}", (value, MASS * abs(value))
    for found in cell.excitation:
        if found.energy_ev is not None:
            yield f"excitation {found.kind} / eV", (found.energy_ev, 10 * GAP_EV)


def main(arguments: list[str]) -> int:
    """Print every difference, and say whether all are within tolerance."""
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        shipped, again = read_reference(arguments[0]), read_study(arguments[1])
    except CorecrownError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    both = [label for label in shipped.labels if label in again.labels and again[label].timings]
    found = [one for label in both for one in differences(shipped[label], again[label])]
    for one in found:
        mark = "" if one.within else f"   differs by more than {one.tolerance:.1g}"
        print(f"{one.cell:20} {one.name:28} {one.shipped:12.6f} {one.again:12.6f} {one.again - one.shipped:+.1e}{mark}")
    missing = [label for label in shipped.labels if label not in both]
    print(f"{sum(one.within for one in found)} of {len(found)} numbers agree; cells not run again: {missing or 'none'}")
    return 0 if found and all(one.within for one in found) else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
