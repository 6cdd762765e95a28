"""Cells that cannot have a gap, told before anything runs."""

from pymatgen.core import Structure

__all__ = ["NEEDS_GAP", "why_no_gap_is_expected"]

NEEDS_GAP = "a Delta-SCF needs a cell with a gap: put scf or bands before excitation in steps, which looks"
"""Hint where nothing looked for a gap."""


def why_no_gap_is_expected(structure: Structure) -> str | None:
    """Say why a cell is taken for a metal although no step looked, or return None.

    Parameters
    ----------
    structure
        The cell; a gap at Γ alone would not tell that it has one elsewhere.
    """
    if not all(element.is_metal for element in structure.composition.elements):
        return None
    return (
        f"{structure.composition.reduced_formula} is made of metals alone, and a gap at Γ would not tell that it has "
        "one elsewhere"
    )
