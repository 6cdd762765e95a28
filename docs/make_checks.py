"""Run the checks against published values and write what they found as docs/checks.md.

Usage: python docs/make_checks.py [pytest options]      (some minutes; rows of checks that were not run stay)
"""

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "checks.md"
TESTS = ("tests/workflows/test_checks.py", "tests/workflows/test_excitation_checks.py")

HEAD = """\
# Checks against published values

Made by `python docs/make_checks.py`, which runs `tests/workflows/test_checks.py` and `test_excitation_checks.py`
(nightly) on the real pw.x, here version {version}, with PseudoDojo 0.4 pseudopotentials. The tests fail where a value
leaves the cited spread.

| Quantity | How | Ours | Cited | Source |
|---|---|---:|---:|---|
"""


class Collector:
    """A pytest plugin that keeps the rows tests leave in their properties."""

    def __init__(self) -> None:
        self.rows: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the rows of a test that passed."""
        if report.when == "call" and report.passed:
            for name, cells in report.user_properties:
                if name == "check":
                    self.rows[str(cells[0])] = "| " + " | ".join(str(cell) for cell in cells) + " |"


def main() -> int:
    """Write the table if the tests pass, and return pytest's exit code."""
    from corecrown.workflows.espresso.programs import program_version

    collector = Collector()
    code = pytest.main(
        [*(str(ROOT / path) for path in TESTS), "-q", "-m", "nightly", *sys.argv[1:]], plugins=[collector]
    )
    if code == pytest.ExitCode.OK:
        known = {}
        if PAGE.is_file():
            for line in PAGE.read_text(encoding="utf-8").splitlines():
                row = re.match(r"\| ([^|]+) \| .*\|$", line)
                if row and row[1] != "Quantity":
                    known[row[1]] = line
        rows = known | collector.rows
        text = HEAD.format(version=program_version("pw.x")) + "\n".join(rows.values()) + "\n"
        PAGE.write_text(text, encoding="utf-8")
    return int(code)


if __name__ == "__main__":
    raise SystemExit(main())
