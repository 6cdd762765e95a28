"""Colours of species, the same in every figure and viewer."""

__all__ = ["SPECIES_COLOURS"]

# Pb, Br, Cs and FA differ by ΔE 31 or more as seen with protanopia and deuteranopia too
SPECIES_COLOURS = {
    "Pb": "#2c6fb0",
    "Br": "#c8571b",
    "Cs": "#2a8c68",
    "FA": "#e8b400",
    "Cl": "#9aa51f",
    "I": "#6b3f8f",
    "C": "#4d4d4d",
    "N": "#5a4fcf",
    "H": "#b8b8b8",
    "Si": "#8d7a4f",
}
"""By element, or ``FA`` for formamidinium as one, as ``#rrggbb``."""
