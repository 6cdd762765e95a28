"""``corecrown converge`` as a user calls it, up to the point where programs would run."""

import json

import pytest
from typer.testing import CliRunner

from corecrown.cli.main import app
from corecrown.errors import InputError


def called(*arguments):
    return CliRunner().invoke(app, ["converge", *arguments])


def test_the_plan_is_one_json_document_and_runs_nothing(tmp_path):
    folder = tmp_path / "new"
    done = called("fa000", "--plan", "--cutoffs", "40,60", "--meshes", "1x1x1,2x2x1", "-d", str(folder), "--json")
    assert done.exit_code == 0, done.output
    content = json.loads(done.stdout)
    assert set(content["points"]) == {"040Ry-2x2x2", "060Ry-2x2x2", "060Ry-1x1x1", "060Ry-2x2x1"}
    assert content["total_core_hours"] > 0
    assert "factor of 2" in content["cost_note"]
    assert not folder.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fa000", "--vary", "cutof"], "cutof"),
        (["fa000", "--cutoffs", "40,sixty"], "sixty"),
        (["fa000", "--meshes", "2x2"], "2x2"),
        (["fa000", "--at-mesh", "2x2x-1"], "2x2x-1"),
        (["fa000", "--meshes", "²x1x1,1x1x1"], "²x1x1"),
        (["fa000", "--vary", ","], "vary"),
        (["fa000", "--protocol", "fats"], "fats"),
        (["fa000", "--functional", "LDA"], "LDA"),
        (["nothing.cif"], "nothing.cif"),
        (["fa000", "--figure", "out.gif"], "out.gif"),
    ],
)
def test_a_mistake_is_told_before_hours_are_spent(arguments, said):
    done = called(*arguments)
    assert isinstance(done.exception, InputError)
    assert said in done.exception.message
    assert done.exception.hint
