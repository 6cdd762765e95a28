"""What the tests of failures share: a row of the failure table, and what a handler must never touch."""

import re
from pathlib import Path

TABLE_ROW = "failure"
"""Name of the property that docs/make_failures.py collects from the tests."""

PHYSICS = ("input_dft", "occupations", "smearing", "degauss", "ecutwfc", "ecutrho", "ecutfock", "exx_fraction",
           "vdw_corr", "noncolin", "lspinorb", "nspin", "nqx1", "nqx2", "nqx3", "tot_charge")  # fmt: skip


def physics_of(text: str) -> tuple[list[tuple[str, str]], list[str]]:
    """Return what a handler must leave alone in an input: keywords of the physics, and the card of k-points."""
    keywords = re.findall(r"^\s*(\w+)\s*=\s*([^\s,!]+)", text, flags=re.MULTILINE)
    lines = text.splitlines()
    card = next(index for index, line in enumerate(lines) if line.startswith("K_POINTS"))
    return sorted(pair for pair in keywords if pair[0].lower() in PHYSICS), lines[card : card + 2]


def seen_by(folder: Path, handlers) -> list[str]:
    """Return the names of the handlers that see their error in a folder."""
    return [type(handler).__name__ for handler in handlers if handler.check(str(folder))]
