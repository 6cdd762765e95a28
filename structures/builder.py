"""Cells by the few words a study file uses: percentage, alignment, lattice, supercell."""

from collections.abc import Sequence
from functools import partial

import numpy as np
from pymatgen.core import Structure

from corecrown.errors import InputError
from corecrown.structures.contacts import check_contacts
from corecrown.structures.crystals import HostLattice, host, sort_atoms
from corecrown.structures.pattern import Heads
from corecrown.structures.poses import MAX_SHIFT
from corecrown.structures.substitution import Alignment, Strain, count_for_percentage, substitute
from corecrown.structures.symmetry import a_sites

__all__ = ["DEFAULT_ALIGNMENT", "build", "repeat"]

DEFAULT_ALIGNMENT = "b"
"""Alignment where none is named: that of the source study's 25 % cell."""


_MOST_REPEATS = 20


def repeat(structure: Structure, supercell: Sequence[int]) -> Structure:
    """Repeat a cell along a, b and c; ions are numbered anew and atoms sorted as in the reference crystals.

    Raises
    ------
    InputError
        If the numbers are not three positive integers.
    """
    counts = _checked(supercell)
    if counts == (1, 1, 1):
        return structure.copy()
    larger = structure.copy()
    larger.make_supercell(list(counts), to_unit_cell=False)
    for name in list(larger.site_properties):
        larger.remove_site_property(name)
    ordered = sort_atoms(larger)
    ordered.properties = dict(structure.properties)
    return ordered


def build(
    fa: float = 0,
    alignment: Alignment | None = None,
    lattice: HostLattice | str = HostLattice.CSPBBR3,
    supercell: Sequence[int] = (1, 1, 1),
    sites: Sequence[int] | None = None,
    *,
    heads: Heads | str = Heads.SYMMETRIC,
    roll_deg: float | None = None,
    max_shift: float = MAX_SHIFT,
    strain: Strain = None,
    seed: int = 0,
) -> Structure:
    """Build a cell of the study.

    Parameters
    ----------
    fa
        Percentage of the A sites that carry formamidinium, 0 to 100.
    alignment
        Direction of the N-N axes: "a", "b", "c", or three Cartesian components. Where it is None and there is FA, b.
    lattice
        ``cspbbr3`` or ``fapbbr3``: whose lattice constants and Pb-Br framework.
    supercell
        Repetitions of the 20-atom cell along a, b and c.
    sites
        A sites to substitute, 0 to 3 in the plain cell (of the supercell where there is one). Without it the first
        ones, which are the first of the symmetry-distinct choices.
    heads, roll_deg, max_shift, strain, seed
        As in :func:`substitute`.

    Returns
    -------
    Structure
        Pbnm axes, c long; see :func:`substitute` for what its properties hold.

    Examples
    --------
    >>> build(25, "b").composition.reduced_formula
    'Cs3H5Pb4C(Br6N)2'
    """
    unit = host(lattice)
    put = partial(substitute, heads=heads, roll_deg=roll_deg, max_shift=max_shift, strain=strain, seed=seed)
    direction: Alignment = DEFAULT_ALIGNMENT if alignment is None else alignment
    n_sites = len(a_sites(unit)) * int(np.prod(_checked(supercell)))
    whole = count_for_percentage(fa, n_sites) == n_sites
    if whole and sites is None and heads != Heads.RANDOM.value:
        cell = repeat(put(unit, alignment=direction, fa=100), supercell)
    else:
        larger = repeat(unit, supercell)
        count = count_for_percentage(fa, len(a_sites(larger)))
        if sites is None:
            sites = range(count)
        cell = put(larger, sites, direction, fa=fa)
    check_contacts(cell, "built cell")
    return cell


def _checked(supercell: Sequence[int]) -> tuple[int, int, int]:
    counts = tuple(supercell)
    if len(counts) != 3 or any(int(n) != n or not 1 <= n <= _MOST_REPEATS for n in counts):
        raise InputError(
            f"supercell: {list(supercell)} is not possible", f"give three whole numbers from 1 to {_MOST_REPEATS}"
        )
    return int(counts[0]), int(counts[1]), int(counts[2])
