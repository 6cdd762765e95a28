"""Atoms in, atoms out: reference crystals, formamidinium, substitution, ensembles and platelets."""
