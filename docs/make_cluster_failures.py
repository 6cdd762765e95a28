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
        self.failed: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the rows of a test that passed."""
        if report.when == "call" and report.passed:
            self.rows += [value for name, value in report.user_properties if name == PROPERTY]
        if report.failed:
            self.failed.append(report.nodeid)


def main() -> int:
    """Write the table of what passed, and return pytest's exit code."""
    collector = Collector()
    code = pytest.main([*(str(ROOT / test) for test in TESTS), "-q", *sys.argv[1:]], plugins=[collector])
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in collector.rows]
    if collector.failed:
        lines += [
            "",
            f"Tests that failed when this was made, so that their rows are missing: {', '.join(collector.failed)}",
        ]
    if collector.rows:
        (ROOT / "docs" / "cluster-failures.md").write_text(HEAD + "\n".join(lines) + "\n", encoding="utf-8")
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
