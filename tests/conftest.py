"""What all tests share: settings read afresh, and the rule for tests that need the real Quantum ESPRESSO."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from corecrown.errors import CorecrownError
from corecrown.settings import get_settings

WITHOUT_ESPRESSO = "WITHOUT_ESPRESSO"

# a shared machine: no test may fail for being slow
settings.register_profile("corecrown", deadline=None)
settings.load_profile("corecrown")


@pytest.fixture(autouse=True)
def fresh_settings() -> Iterator[None]:
    """Read settings anew in each test, so that a test may change the environment."""
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


@pytest.fixture
def no_settings(monkeypatch, tmp_path) -> None:
    """Take every setting of this user away, and give an empty home, data and settings folder."""
    for name in [name for name in os.environ if name.startswith("CORECROWN_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    get_settings.cache_clear()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Run a test marked espresso only where pw.x and pseudopotentials are; fail where they are not.

    A missing program is a failure with its cure, so that no run of the tests passes by leaving the real layer out;
    WITHOUT_ESPRESSO=1 in the environment leaves it out on purpose.
    """
    if item.get_closest_marker("espresso") is None:
        return
    if os.environ.get(WITHOUT_ESPRESSO):
        pytest.skip(f"{WITHOUT_ESPRESSO} is set")
    problem = missing_espresso()
    if problem:
        pytest.fail(f"{problem}; or set {WITHOUT_ESPRESSO}=1 to leave these tests out", pytrace=False)


def missing_espresso() -> str | None:
    """Say what keeps the real layer from running, with its cure, or None."""
    from corecrown.workflows.espresso.programs import find_program
    from corecrown.workflows.espresso.pseudopotentials import find_pseudopotentials

    get_settings.cache_clear()
    try:
        find_program("pw.x")
        find_program("projwfc.x")
        find_pseudopotentials(["Si", "Cs", "Pb", "Br"], "PBE", "SR")
    except CorecrownError as error:
        return str(error)
    return None


def pytest_terminal_summary(terminalreporter) -> None:
    """Say how long the tests of the real programs took, of all."""
    reports = [
        report for name in ("passed", "failed", "error") for report in terminalreporter.stats.get(name, [])
        if hasattr(report, "duration")
    ]  # fmt: skip
    if not reports:
        return
    spent = {"all": sum(report.duration for report in reports)}
    for marker in ("espresso", "slurm"):
        spent[marker] = sum(report.duration for report in reports if marker in report.keywords)
    terminalreporter.write_line(", ".join(f"{name} {seconds:.0f} s" for name, seconds in spent.items()))
