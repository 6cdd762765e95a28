"""``corecrown build`` and ``corecrown distortion`` as a user calls them."""

import json

import pytest

from corecrown.cli.main import main
from corecrown.structures import build, read_structure, write_structure


def run(monkeypatch, capsys, *arguments):
    monkeypatch.setattr("sys.argv", ["corecrown", *map(str, arguments)])
    code = 0
    try:
        main()
    except SystemExit as leave:
        code = leave.code or 0
    printed = capsys.readouterr()
    return code, printed.out, printed.err


@pytest.mark.parametrize("name", ["cell.cif", "POSCAR", "cell.vasp", "cell.xyz", "cell.xsf", "cell.pwi"])
def test_build_writes_the_format_of_the_suffix(monkeypatch, capsys, tmp_path, name):
    code, out, _ = run(monkeypatch, capsys, "build", "--fa", 25, "--alignment", "b", "-o", tmp_path / name)
    assert code == 0
    assert "27 atoms" in out
    assert "shortest H-Br" in out
    assert read_structure(tmp_path / name).composition == build(25, "b").composition


def test_build_as_json_with_lattice_supercell_and_picture(monkeypatch, capsys, tmp_path):
    target, picture = tmp_path / "cell.cif", tmp_path / "cell.png"
    arguments = ("--fa", 100, "--alignment", "a", "--lattice", "fapbbr3", "--supercell", 1, 1, 2)
    code, out, _ = run(monkeypatch, capsys, "build", *arguments, "-o", target, "--picture", picture, "--json")
    assert code == 0
    document = json.loads(out)
    assert document["n_atoms"] == 96
    assert document["lattice_angstrom"][2] == pytest.approx(2 * 11.98)
    assert document["properties"]["substitution"]["alignment"] == "a"
    assert picture.stat().st_size > 1000


def test_build_cuts_slabs_and_platelets(monkeypatch, capsys, tmp_path):
    code, out, _ = run(monkeypatch, capsys, "build", "--fa", 0, "--monolayers", 3, "-o", tmp_path / "slab.cif")
    assert code == 0
    assert "monolayers: 3" in out
    arguments = ("--fa", 100, "--monolayers", 2, "--core", 1, "--crown", 1, "--json")
    code, out, _ = run(monkeypatch, capsys, "build", *arguments, "-o", tmp_path / "platelet.xyz")
    assert code == 0
    assert json.loads(out)["properties"]["platelet"]["charge"] == 0


def test_build_takes_any_direction_and_a_roll(monkeypatch, capsys, tmp_path):
    arguments = ("--fa", 25, "--direction", 1, 1, 0, "--roll", 40)
    code, out, _ = run(monkeypatch, capsys, "build", *arguments, "-o", tmp_path / "cell.cif", "--json")
    assert code == 0
    report = json.loads(out)["properties"]["substitution"]
    assert report["alignment"] == "(1, 1, 0)"
    assert report["ions"][0]["roll_deg"] == pytest.approx(40, abs=0.01)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--fa", "30", "-o", "x.cif"), "does not divide 4 A sites"),
        (("--fa", "25", "-o", "x.foo"), ".foo is not a structure format"),
        (("--fa", "25", "--alignment", "d", "-o", "x.cif"), "'d'"),
        (("--fa", "25", "--sites", "one", "-o", "x.cif"), "not a list of numbers"),
        (("--fa", "25", "--strain", "much", "-o", "x.cif"), "neither auto nor a number"),
        (("--fa", "25", "--picture", "x.doc", "-o", "x.cif"), "unknown suffix '.doc'"),
        (("--fa", "25", "--picture", "/proc/none/x.png", "-o", "y.cif"), "cannot be written"),
        (("--fa", "25", "--alignment", "b", "--direction", 1, 1, 0, "-o", "x.cif"), "both name a direction"),
        (("--fa", "25", "--direction", 0, 0, 0, "-o", "x.cif"), "not a direction"),
        (("--fa", "0", "--crown", 2, "-o", "x.cif"), "--crown has no meaning"),
        (("--core", 2, "--heads", "random", "-o", "x.cif"), "--heads has no meaning"),
        (("--fa", "50", "--monolayers", 2, "--sites", "1,2", "-o", "x.cif"), "--sites has no meaning"),
        (("--fa", "100", "--alignment", "b", "--heads", "parallel", "-o", "x.cif"), "atoms overlap: Br-H"),
        (("-o", "x.cif"), "--fa"),
        (("--fa", "25"), "--output"),
    ],
)
def test_bad_input_leaves_with_code_2_and_one_line(monkeypatch, capsys, tmp_path, arguments, said):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(monkeypatch, capsys, "build", *arguments)
    assert code == 2
    assert out == ""
    assert said in err
    assert "Traceback" not in err
    assert not (tmp_path / "x.cif").exists()


def test_distortion_of_a_file_and_of_a_folder(monkeypatch, capsys, tmp_path):
    write_structure(build(25, "b"), tmp_path / "CONTCAR")
    code, out, _ = run(monkeypatch, capsys, "distortion", tmp_path, "--json")
    assert code == 0
    document = json.loads(out)
    assert len(document["pb_br_pb_deg"]) == 12
    assert set(document) >= {"bond_length_variance", "angle_variance_deg2", "tilts_deg", "fa_axis_deg", "notes"}
    assert document["fa_axis_deg"][0]["b"] == pytest.approx(0, abs=0.1)
    code, out, _ = run(monkeypatch, capsys, "distortion", tmp_path / "CONTCAR", "--figure", tmp_path / "cell.pdf")
    assert code == 0
    assert "Pb-Br-Pb" in out
    assert (tmp_path / "cell.pdf").stat().st_size > 1000


def test_distortion_without_octahedra_is_null_with_a_note(monkeypatch, capsys, tmp_path):
    (tmp_path / "POSCAR").write_text("Si\n1.0\n0 2.7 2.7\n2.7 0 2.7\n2.7 2.7 0\nSi\n2\nDirect\n0 0 0\n.25 .25 .25\n")
    code, out, _ = run(monkeypatch, capsys, "distortion", tmp_path / "POSCAR", "--json")
    assert code == 0
    document = json.loads(out)
    assert document["pb_br_pb_deg"] is None
    assert any("no Pb-Br octahedra" in note for note in document["notes"])


def test_distortion_of_nothing_is_an_error(monkeypatch, capsys, tmp_path):
    (tmp_path / "empty.cif").write_text("")
    for path, said in ((tmp_path / "none", "no such file"), (tmp_path / "empty.cif", "is empty")):
        code, _, err = run(monkeypatch, capsys, "distortion", path)
        assert code == 2
        assert said in err
