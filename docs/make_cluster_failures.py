"""Run the tests that disturb studies and queues and write what happened as docs/cluster-failures.md.

Usage: python docs/make_cluster_failures.py [pytest options]
"""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TESTS = ["tests/workflows/test_cluster_slurm.py", "tests/workflows/test_crash.py"]
PROPERTY = "cluster failure"

HEAD = """\
# What goes wrong on clusters, and what becomes of it

Made by `python docs/make_cluster_failures.py`, which runs `tests/workflows/test_cluster_slurm.py` (a real Slurm on one
machine, silicon through the real pw.x, both ways of submitting) and `tests/workflows/test_crash.py`.

| Event | How it was provoked | What happened |
|---|---|---|
"""


class Collector:
    """A pytest plugin that keeps the rows tests leave in their properties."""

    def __init__(self) -> None:
        self.rows: list[list[str]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the rows of a test that passed."""
        if report.when == "call" and report.passed:
            self.rows += [value for name, value in report.user_properties if name == PROPERTY]


def _rows(page: Path) -> list[str]:
    """Return the rows of a page that was made before; those of tests that are not run again stay."""
    text = page.read_text(encoding="utf-8") if page.is_file() else HEAD
    return [line for line in text.removeprefix(HEAD).splitlines() if line.startswith("| ")]


def main() -> int:
    """Write the table of what passed, and return pytest's exit code."""
    collector = Collector()
    code = pytest.main([*(str(ROOT / test) for test in TESTS), "-q", *sys.argv[1:]], plugins=[collector])
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in collector.rows]
    page = ROOT / "docs" / "cluster-failures.md"
    if collector.rows:
        made = {(row[0], row[1]) for row in collector.rows}
        kept = [line for line in _rows(page) if tuple(cell.strip() for cell in line.split("|")[1:3]) not in made]
        page.write_text(HEAD + "\n".join([*lines, *kept]) + "\n", encoding="utf-8")
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
