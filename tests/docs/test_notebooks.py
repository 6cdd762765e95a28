"""Every notebook runs from start to end on the results that ship, and ends in a figure."""

import re
import runpy
from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.py"))

SAID = {
    "1": ("fa025-b: b built", "its uncertainty"),
    "2": ("with spin-orbit coupling:",),
    "3": ("from the Kohn-Sham gap", "of the volume"),
    "4": ("between first peaks", "- transmission through"),
    "5": ("Pb-Br-Pb",),
}
"""What each notebook prints of its answer, by its number."""


@pytest.fixture(autouse=True)
def without_windows():
    with mpl.rc_context():
        mpl.use("Agg")
        yield


def test_there_are_five():
    assert [path.name[0] for path in NOTEBOOKS] == list("12345")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_and_ends_in_a_figure(path, capsys):
    found = runpy.run_path(str(path))
    figure = found["figure"]
    assert isinstance(figure, Figure)
    assert figure.axes
    told = capsys.readouterr().out
    for words in SAID[path.name[0]]:
        assert words in told


def test_every_step_from_the_computed_to_the_measured_gap_is_printed(capsys):
    found = runpy.run_path(str(NOTEBOOKS[3]))
    told = capsys.readouterr().out
    rows = {
        line.split(maxsplit=1)[1]: line.split()[0]
        for line in told.splitlines()
        if re.match(r"\s+[+-]\d\.\d{3}  ", line)
    }
    assert found["fit"].scissor_error_ev > 0
    assert float(rows["bulk gap"]) == pytest.approx(found["dos"].gap_ev, abs=1e-3)
    assert float(rows["measured STS gap"]) == pytest.approx(found["measured"], abs=1e-3)
    terms = list(rows.items())
    before = [float(value) for _, value in terms[: [name for name, _ in terms].index("sum")]]
    assert sum(before) == pytest.approx(float(rows["sum"]), abs=2e-3)
    bridged = found["dos"].gap_ev + found["fit"].scissor_ev + (found["measured"] - found["moved"])
    assert bridged == pytest.approx(found["measured"])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_in_percent_format_with_a_title(path):
    cells = re.split(r"(?m)^# %%", path.read_text(encoding="utf-8"))
    assert cells[1].startswith(" [markdown]\n# # ")
    assert cells[-1].rstrip().endswith("\nfigure")
