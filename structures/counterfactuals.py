"""Cells that do not exist: one cause changed, the rest kept, so that a gap shift can be split into its causes.

Of the shift between 0 % and a substituted cell, ``strain`` is what the lattice alone does (0 % positions in the other
lattice), ``distortion`` what the Pb-Br framework adds (the other framework with Cs in place of FA), and the rest is
the chemistry of the A site.
"""

import numpy as np
from pymatgen.core import Structure
from scipy.linalg import polar

from corecrown.errors import InputError
from corecrown.structures.contacts import OVERLAP, check_contacts
from corecrown.structures.formamidinium import find_formamidinium, unwrap
from corecrown.structures.groups import label_groups

__all__ = ["replace_formamidinium", "strain_to"]

_MOST_STRAIN = 0.2


def replace_formamidinium(structure: Structure) -> Structure:
    """Put Cs at the centroid of every FA ion; lattice and Pb-Br framework stay exactly as they are.

    Raises
    ------
    InputError
        If the structure has no FA.
    """
    ions = find_formamidinium(structure)
    if not ions:
        raise InputError("the cell has no FA to replace", "take a substituted cell")
    in_ions = {i for ion in ions for i in ion}
    kept = [i for i in range(len(structure)) if i not in in_ions]
    cs = [i for i in kept if structure[i].specie.symbol == "Cs"]
    rest = [i for i in kept if structure[i].specie.symbol != "Cs"]
    centres = [structure.lattice.get_fractional_coords(unwrap(structure, ion).mean(axis=0)) % 1 for ion in ions]
    species = ["Cs"] * (len(cs) + len(ions)) + [structure[i].species for i in rest]
    coordinates = [*structure.frac_coords[cs], *centres, *structure.frac_coords[rest]]
    swapped = label_groups(Structure(structure.lattice, species, np.array(coordinates)))
    check_contacts(swapped, "Cs in place of FA", OVERLAP)
    return swapped


def strain_to(structure: Structure, other: Structure) -> Structure:
    """Put the fractional positions of one cell in the lattice of another; FA ions keep their shape.

    An ion's centroid keeps its fractional position; the ion turns with the lattice (the rotation of the polar
    decomposition of the deformation gradient) and is not stretched by it.

    Raises
    ------
    InputError
        If an axis would change by more than 20 %: the two are not the same number of cells.
    """
    ratio = np.array(other.lattice.abc) / np.array(structure.lattice.abc)
    if (np.abs(ratio - 1) > _MOST_STRAIN).any():
        before, after = (" ".join(f"{x:.2f}" for x in cell.lattice.abc) for cell in (structure, other))
        raise InputError(
            f"the lattices do not belong together: {before} Å and {after} Å",
            "take two cells of the same supercell",
        )
    fractional = structure.frac_coords.copy()
    rotation, _ = polar(other.lattice.matrix.T @ np.linalg.inv(structure.lattice.matrix.T))
    for ion in find_formamidinium(structure):
        atoms = unwrap(structure, ion)
        centre = atoms.mean(axis=0)
        fractional[list(ion)] = structure.lattice.get_fractional_coords(centre) + other.lattice.get_fractional_coords(
            (atoms - centre) @ rotation.T
        )
    strained = Structure(other.lattice, structure.species, fractional, site_properties=structure.site_properties)
    strained = strained if "group" in strained.site_properties else label_groups(strained)
    check_contacts(strained, "strained cell", OVERLAP)
    return strained
