"""Every notebook runs from start to end on the results that ship, and ends in a figure."""

import re
import runpy
from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.py"))


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
    assert capsys.readouterr().out


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_in_percent_format_with_a_title(path):
    cells = re.split(r"(?m)^# %%", path.read_text(encoding="utf-8"))
    assert cells[1].startswith(" [markdown]\n# # ")
    assert cells[-1].rstrip().endswith("\nfigure")
