"""Rows of the failure tables, as tests leave them in their properties."""

from collections.abc import Iterable, Sequence

import pytest

__all__ = ["Collector", "as_lines"]


class Collector:
    """A pytest plugin that keeps the rows that tests leave.

    Parameters
    ----------
    name
        Name of the property that holds a row.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.rows: list[list[str]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the rows of a test that passed."""
        if report.when == "call" and report.passed:
            self.rows += [value for name, value in report.user_properties if name == self.name]


def as_lines(rows: Iterable[Sequence[str]]) -> list[str]:
    """Return rows as lines of a Markdown table."""
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
