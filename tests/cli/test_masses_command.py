"""``corecrown masses`` on real bands of silicon (tests/workflows/fixtures/silicon)."""

import json
from pathlib import Path

import pytest

from corecrown.cli import masses as command
from corecrown.cli.main import main
from corecrown.postprocess.mass_paths import PathMethod

BANDS = Path(__file__).parents[1] / "workflows" / "fixtures" / "silicon" / "bands.xml.gz"
MESH = BANDS.with_name("mesh.xml.gz")


def run(monkeypatch, capsys, *arguments):
    monkeypatch.setattr("sys.argv", ["corecrown", "masses", *map(str, arguments)])
    code = 0
    try:
        main()
    except SystemExit as leave:
        code = leave.code or 0
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_json_is_one_document_with_the_agreed_fields(monkeypatch, capsys):
    code, out, _ = run(monkeypatch, capsys, BANDS, "--json")
    assert code == 0
    document = json.loads(out)
    rows = document["path_masses"]
    assert {"carrier", "band_index", "kpoint", "direction", "mass", "method", "fit_residual_ev"} <= set(rows[0])
    electron = next(row for row in rows if row["carrier"] == "electron")
    # the valley of silicon: at 0.85 Γ-X with m_l about 0.95 (PBE); these bands are of 20 Ry and 3×3×3 k-points
    assert electron["mass"] == pytest.approx(0.95, rel=0.04)
    assert electron["kpoint"][0] == pytest.approx(0.425, abs=0.01)
    assert electron["direction"][1] in ("Γ", "X")
    assert all(row["mass"] > 0 for row in rows)
    assert any("too coarse" in note for note in document["notes"])


@pytest.mark.parametrize("method", [method.value for method in PathMethod])
def test_table_names_the_method(monkeypatch, capsys, method):
    code, out, _ = run(monkeypatch, capsys, BANDS, "--method", method)
    assert code == 0
    assert f"method {method}" in out


def test_methods_of_the_command_are_those_of_the_function():
    assert {method.value for method in command.Method} == {method.value for method in PathMethod}


@pytest.mark.parametrize("suffix", ["pdf", "png", "svg"])
def test_figure_is_written(monkeypatch, capsys, tmp_path, suffix):
    figure = tmp_path / f"masses.{suffix}"
    assert run(monkeypatch, capsys, BANDS, "--figure", figure)[0] == 0
    assert figure.stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([MESH], "mesh"),
        (["no-such-folder"], "no such file"),
        ([BANDS, "--figure", "masses.docx"], "suffix"),
        ([BANDS, "--figure", "/proc/none/masses.pdf"], "cannot be written"),
    ],
)
def test_bad_input_leaves_with_two_and_one_line(monkeypatch, capsys, arguments, words):
    code, out, err = run(monkeypatch, capsys, *arguments)
    assert code == 2
    assert out == ""
    assert words in err
    assert "Traceback" not in err
