"""VASP, on atomate2, to the same results."""
