"""Pages that are made from results: what is committed is what the results say."""

import importlib.util
from pathlib import Path

from corecrown.postprocess.paper import compare_with_paper
from corecrown.postprocess.reference import read_reference, reference_names

DOCS = Path(__file__).parents[2] / "docs"


def load(name):
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_beside_the_paper_is_that_of_the_shipped_results():
    found = compare_with_paper([(name, read_reference(name)) for name in reference_names()])
    made = load("make_paper").render(found)
    assert made == (DOCS / "paper.md").read_text(encoding="utf-8"), "run: python docs/make_paper.py"
