"""What every command does with bad input: exit code 2, one line and a hint, JSON where JSON was asked for."""

import json

import pytest

from corecrown.cli.common import print_json, state
from corecrown.cli.main import main
from corecrown.errors import known_names

STUDY = "name: x\nprotocol: demo\nsteps: [scf]\ncells:\n  - {fa: 0}\n"


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "binary.xml").write_bytes(bytes(range(256)))
    (tmp_path / "empty.yaml").write_text("")
    (tmp_path / "binary.yaml").write_bytes(bytes(range(256)))
    (tmp_path / "empty").mkdir()

    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["corecrown", *map(str, arguments)])
        with pytest.raises(SystemExit) as leave:
            main()
        printed = capsys.readouterr()
        return leave.value.code, printed.out, printed.err

    return call


@pytest.mark.parametrize(
    "command",
    [
        ("bands", "nothere"),
        ("bands", "binary.xml"),
        ("pdos", "binary.xml"),
        ("masses", "empty"),
        ("distortion", "binary.xml"),
        ("distortion", "größe 名前.cif"),
        ("report", "empty"),
        ("compare", "empty"),
        ("paper", "nothere"),
        ("study", "status", "empty"),
        ("study", "collect", "empty"),
        ("study", "rerun", "empty", "--cell", "x", "--step", "scf"),
        ("study", "plan", "empty.yaml"),
        ("study", "plan", "binary.yaml"),
        ("study", "plan", "dmeo"),
        ("study", "submit", "demo", "-d", "runs"),
        ("study", "submit", "demo", "-d", "runs", "--scheduler", "slrum"),
        ("build", "--fa", "25"),
        ("build", "--fa", "many", "-o", "cell.cif"),
        ("converge", "fa000", "--vary", "cutof", "--plan"),
        ("sts", "nothere.csv"),
        ("sts", "nothere.csv", "--bandwidth", "-1"),
        ("setup", "--wheel", "nothere.whl"),
        ("stduy",),
        ("bands", "--fgure", "x.png"),
    ],
    ids=" ".join,
)
def test_bad_input_is_one_line_a_hint_and_json(run, command):
    code, out, err = run(*command, "--json")
    assert code == 2
    lines = err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("corecrown: ")
    assert lines[1].startswith("  hint: ")
    told = json.loads(out)["error"]
    assert told == {"message": lines[0][11:], "hint": lines[1][8:], "exit_code": 2}


@pytest.mark.parametrize("window", [["-1,1"], ["1", "-1"], ["a", "b"]])
def test_a_window_that_is_given_wrongly_is_shown_how(run, window):
    code, _, err = run("sts", "x.csv", "--window", *window)
    assert code == 2
    assert "--window -1 1" in err


def test_without_json_nothing_is_printed_on_stdout(run):
    code, out, err = run("study", "status", "empty")
    assert (code, out) == (2, "")
    assert "Traceback" not in err


def test_verbose_shows_where_an_error_came_from(run, monkeypatch):
    from corecrown.errors import InputError

    monkeypatch.setattr("sys.argv", ["corecrown", "--verbose", "study", "status", "empty"])
    with pytest.raises(InputError):
        main()


@pytest.mark.parametrize("command", [(), ("bands",), ("study", "run")])
def test_every_command_tells_the_version(run, command):
    code, out, err = run(*command, "--version")
    assert (code, err) == (0, "")
    assert out.startswith("corecrown ")


def test_no_command_shows_the_help_and_says_no_more(run):
    code, out, err = run()
    assert code == 2
    assert "Usage: corecrown" in out
    assert err == ""


@pytest.mark.parametrize(
    ("wrong", "right", "meant"),
    [
        ("protocol:", "protocoll:", "protocol"),
        ("{fa: 0}", "{fa: 25, aligment: b}", "alignment"),
        ("[scf]", "[scff]", "scf"),
        ("demo", "dmeo", "demo"),
        ("steps: [scf]", "steps: [scf]\noverrides: {scf: {kpoint_spaccing: 0.3}}", "kpoint_spacing"),
        ("steps: [scf]", "steps: [scf]\noverrides: {scff: {kpoint_spacing: 0.3}}", "scf"),
        ("steps: [scf]", "steps: [scf]\nexperiment: sts-core-crwn", "sts-core-crown"),
    ],
)
def test_a_misspelt_key_is_told_what_it_may_have_been(run, tmp_path, wrong, right, meant):
    (tmp_path / "study.yaml").write_text(STUDY.replace(wrong, right))
    code, _, err = run("study", "plan", "study.yaml")
    assert code == 2
    assert f"did you mean {meant}?" in err


def test_inputs_that_cannot_be_written_are_bad_input(run, tmp_path):
    (tmp_path / "study.yaml").write_text(STUDY)
    code, _, err = run("study", "plan", "study.yaml", "--inputs", "empty.yaml")
    assert code == 2
    assert "cannot be written" in err


def test_a_right_word_is_not_guessed_at():
    assert known_names("scf", ["relax", "scf"]) == "known: relax, scf"
    assert known_names("quick", ["fast"]) == "known: fast"
    assert known_names("x", []) == "known: none"


def test_json_holds_null_for_what_is_no_number_and_any_name(capsys):
    print_json({"a": [float("nan"), 1.5, (float("inf"),)], "name\udcff": "größe"})
    assert json.loads(capsys.readouterr().out) == {"a": [None, 1.5, [None]], "name?": "größe"}
    assert state.printed
