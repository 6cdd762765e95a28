"""Results in, physics and pictures out."""
