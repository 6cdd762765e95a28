"""Scanning tunnelling spectroscopy: sweeps, spectra, edges, traps and stability."""
