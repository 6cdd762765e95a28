"""Which atom belongs to which ion: the site properties ``molecule`` and ``group``."""

from pymatgen.core import Structure

from corecrown.structures.formamidinium import find_formamidinium

__all__ = ["CS", "FA", "FRAMEWORK", "GROUP_OF", "NO_MOLECULE", "group_members", "label_groups"]

FA = "FA"
CS = "Cs"
FRAMEWORK = "Pb-Br"
NO_MOLECULE = -1
"""Value of ``molecule`` for an atom that belongs to none."""

GROUP_OF = {"Cs": CS, "Pb": FRAMEWORK, "Br": FRAMEWORK}
"""Group of an atom that is in no FA ion; any other element is a group of its own."""


def label_groups(structure: Structure) -> Structure:
    """Return a copy whose site properties say what each atom belongs to.

    ``molecule`` is the number of the FA ion (0, 1, ...) or -1; ``group`` is "FA", "Cs", "Pb-Br" or, for anything else,
    the element. Both are found from the bonds, so files of any format can be labelled, and supercells are numbered
    anew. Other site properties stay.
    """
    molecule = [NO_MOLECULE] * len(structure)
    group = [GROUP_OF.get(site.specie.symbol, site.specie.symbol) for site in structure]
    for number, ion in enumerate(find_formamidinium(structure)):
        for i in ion:
            molecule[i] = number
            group[i] = FA
    labelled = structure.copy()
    labelled.add_site_property("molecule", molecule)
    labelled.add_site_property("group", group)
    return labelled


def group_members(structure: Structure) -> dict[str, list[int]]:
    """Return the atoms of each group, labelling the structure first if it is not."""
    labelled = structure if "group" in structure.site_properties else label_groups(structure)
    members: dict[str, list[int]] = {}
    for i, name in enumerate(labelled.site_properties["group"]):
        members.setdefault(name, []).append(i)
    return members
