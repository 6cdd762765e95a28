import json

from typer.testing import CliRunner

from corecrown.cli.main import app

runner = CliRunner()


def test_prints_every_claim_of_the_shipped_results():
    shown = runner.invoke(app, ["paper"], terminal_width=200)
    assert shown.exit_code == 0
    for words in ("2.554", "+0.041", "agrees", "disagrees", "undecided", "HSE06"):
        assert words in shown.stdout


def test_notes_of_the_levels_are_printed_below_their_table():
    shown = runner.invoke(app, ["paper"], terminal_width=200)
    assert "\n  1  Γ only" in shown.stdout
    assert shown.stdout.rindex("Γ only") > shown.stdout.index("Gap without FA at each level")


def test_json_is_one_document():
    shown = runner.invoke(app, ["paper", "--json"])
    document = json.loads(shown.stdout)
    assert {"studies", "claims", "levels"} <= set(document)
    assert {"name", "theirs", "ours", "verdict", "why", "criterion"} <= set(document["claims"][0])


def test_a_folder_without_a_study_is_bad_input(tmp_path):
    shown = runner.invoke(app, ["paper", str(tmp_path)])
    assert shown.exit_code != 0
    assert "study.json" in str(shown.exception)
