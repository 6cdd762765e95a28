"""Run the tests that disturb studies and queues and write what happened as docs/cluster-failures.md.

Usage: python docs/make_cluster_failures.py [pytest options]
"""

import sys
from pathlib import Path

import pytest
from failure_rows import Collector, as_lines

ROOT = Path(__file__).resolve().parent.parent
TESTS = [
    "tests/workflows/test_cluster_slurm.py",
    "tests/workflows/test_cluster_remote.py",
    "tests/workflows/test_crash.py",
    "tests/workflows/test_silence.py",
    "tests/cli/test_submit_command.py",
    "tests/cli/test_break_locks.py",
]
PROPERTY = "cluster failure"

HEAD = """\
# What goes wrong on clusters, and what becomes of it

Made by `python docs/make_cluster_failures.py`, which runs tests and writes down what they saw: a real Slurm on one
machine with silicon through the real pw.x, by both ways of submitting (`test_cluster_slurm.py`,
`test_cluster_remote.py`), studies that are killed and disks that fill (`test_crash.py`), clocks (`test_silence.py`),
bad input (`test_submit_command.py`, `test_break_locks.py`).

| Event | How it was provoked | What happened |
|---|---|---|
"""


def _rows(page: Path) -> list[str]:
    """Return the rows of a page that was made before."""
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    return [line for line in text.partition("|---|\n")[2].splitlines() if line.startswith("| ")]


def main() -> int:
    """Write the table of what passed, and return pytest's exit code.

    With options of pytest, which may leave tests out, rows of other events stay as they were.
    """
    collector = Collector(PROPERTY)
    code = pytest.main([*(str(ROOT / test) for test in TESTS), "-q", *sys.argv[1:]], plugins=[collector])
    lines = as_lines(collector.rows)
    page = ROOT / "docs" / "cluster-failures.md"
    if collector.rows:
        made = {row[0] for row in collector.rows}
        kept = [line for line in _rows(page) if line.split("|")[1].strip() not in made] if sys.argv[1:] else []
        page.write_text(HEAD + "\n".join([*lines, *kept]) + "\n", encoding="utf-8")
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
