"""Files: what is written can be read again, and what is not a structure is refused by name."""

import numpy as np
import pytest
from cells_for_tests import ALIGNMENTS, check_alignment, check_cell, check_groups, site_choices
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from corecrown.errors import CorecrownError, InputError
from corecrown.structures import build, read_structure, write_structure
from corecrown.structures.crystals import host
from corecrown.structures.files import READ_SUFFIXES, check_writable, find_structure

ONE_FOLDER = settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
NAMES = ["cell.cif", "POSCAR", "cell.vasp", "cell.xyz", "cell.xsf", "cell.pwi", "cell.json"]


def sorted_sites(cell):
    """Return element and place of every atom, sorted, to compare cells whose atoms are in another order."""
    fractional = np.round(cell.frac_coords % 1, 4) % 1
    return sorted((site.specie.symbol, *place) for site, place in zip(cell, fractional.tolist(), strict=True))


@ONE_FOLDER
@given(choice=site_choices(), alignment=ALIGNMENTS, seed=st.integers(0, 99))
def test_any_cell_comes_back_from_cif_poscar_and_xyz(tmp_path, choice, alignment, seed):
    supercell, sites = choice
    cells = int(np.prod(supercell))
    cell = build(
        25 * len(sites) / cells, alignment, "fapbbr3", supercell, sites, heads="random", seed=seed, strain="auto"
    )
    for name in ("cell.cif", "POSCAR", "cell.xyz"):
        back = read_structure(write_structure(cell, tmp_path / name))
        assert back.lattice.parameters == pytest.approx(cell.lattice.parameters, abs=1e-6)
        assert_same_sites(back, cell)
        check_cell(back, len(sites), 4 * cells - len(sites), 4 * cells)
        check_groups(back)
        check_alignment(back, np.eye(3)["abc".index(alignment)] if isinstance(alignment, str) else alignment)


def assert_same_sites(back, cell):
    """Every atom stands where one of its kind stood, to 0.002 Å, whatever the order."""
    apart = cell.lattice.get_all_distances(cell.frac_coords, back.frac_coords)
    nearest = apart.argmin(axis=1)
    assert apart.min(axis=1).max() < 2e-3
    assert sorted(nearest) == list(range(len(back)))
    assert [back[i].specie.symbol for i in nearest] == [site.specie.symbol for site in cell]


@pytest.mark.parametrize("name", NAMES)
def test_every_format_comes_back(tmp_path, name):
    cell = build(25, "b")
    back = read_structure(write_structure(cell, tmp_path / "new" / name))
    assert back.lattice.parameters == pytest.approx(cell.lattice.parameters, abs=1e-5)
    assert back.composition == cell.composition
    check_groups(back)


def test_json_keeps_everything(tmp_path):
    cell = build(25, "b")
    back = read_structure(write_structure(cell, tmp_path / "cell.json"))
    assert back == cell
    assert back.properties == cell.properties


def test_extended_xyz_carries_the_groups(tmp_path):
    text = write_structure(build(25, "b"), tmp_path / "cell.xyz").read_text()
    assert "molecule:I:1" in text
    assert "group:S:1" in text
    assert "Pb-Br" in text


def test_the_input_of_quantum_espresso_says_it_is_no_finished_calculation(tmp_path):
    text = write_structure(host(), tmp_path / "cell.pwi").read_text()
    assert text.startswith("! A cell, not a finished calculation")
    assert "nat = 20" in text
    assert "ntyp = 3" in text


@pytest.mark.parametrize("name", ["cell", "cell.txt", "cell.cif.bak"])
def test_unknown_formats_are_refused_before_anything_is_built(name):
    with pytest.raises(InputError, match=r"\.cif, \.vasp"):
        check_writable(name)
    with pytest.raises(InputError):
        read_structure(name)


def test_a_place_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        write_structure(host(), tmp_path / "file" / "cell.cif")


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(suffix=st.sampled_from(READ_SUFFIXES), content=st.binary(max_size=400))
@example(suffix=".cif", content=b"data_x\nloop_\n_a\n")
@example(suffix=".vasp", content=b"x\n1.0\n1 0 0\n0 1 0\n0 0 1\nH\n1\nDirect\n")
@example(suffix=".json", content=b"[]")
@example(suffix=".json", content=b'{"@module": "os", "@class": "system"}')
@example(suffix=".xyz", content=b"1\n\nH 0 0 0\n")
@example(suffix=".pwi", content=b"&SYSTEM\n/\n")
@example(suffix=".xsf", content=b"CRYSTAL\nPRIMVEC\n")
def test_nonsense_is_always_an_error_of_ours(tmp_path, suffix, content):
    path = tmp_path / f"cell{suffix}"
    path.write_bytes(content)
    with pytest.raises(CorecrownError) as caught:
        read_structure(path)
    assert path.name in caught.value.message


@pytest.mark.parametrize("name", NAMES)
def test_a_file_cut_short_is_refused(tmp_path, name):
    cell = build(25, "b")
    path = write_structure(cell, tmp_path / name)
    lines = path.read_text().splitlines(keepends=True)
    pieces = lines if len(lines) > 1 else [lines[0][i : i + 200] for i in range(0, len(lines[0]), 200)]
    for kept in range(0, len(pieces), 3):
        path.write_text("".join(pieces[:kept]))
        try:
            back = read_structure(path)
        except InputError as error:
            assert path.name in error.message  # noqa: PT017
        else:  # all atoms stand before the cut
            assert back.composition == cell.composition


def test_a_poscar_without_elements_is_refused(tmp_path):
    path = tmp_path / "POSCAR"
    path.write_text("cell\n1.0\n5 0 0\n0 5 0\n0 0 5\n1 1\nDirect\n0 0 0\n0.5 0.5 0.5\n")
    with pytest.raises(InputError, match="does not name its elements"):
        read_structure(path)


def test_a_cif_whose_atoms_are_not_its_formula_is_refused(tmp_path):
    path = write_structure(build(25, "b"), tmp_path / "cell.cif")
    path.write_text("".join(line for line in path.read_text().splitlines(keepends=True) if "  H  " not in line))
    with pytest.raises(InputError, match="not those of its formula"):
        read_structure(path)


def test_a_cif_is_read_without_rounding_a_position(tmp_path):
    cell = host()
    cell.translate_sites([4], [0.33334, 0, 0])
    back = read_structure(write_structure(cell, tmp_path / "cell.cif"))
    assert back.frac_coords == pytest.approx(cell.frac_coords % 1, abs=1e-8)


def unexpected(path):
    raise AssertionError(f"{path} was read as output")


def test_a_folder_gives_its_last_structure(tmp_path):
    write_structure(build(), tmp_path / "POSCAR")
    (tmp_path / "CONTCAR").write_text("")  # what VASP leaves when it is killed
    assert find_structure(tmp_path, unexpected)[1].name == "POSCAR"
    write_structure(build(25, "b"), tmp_path / "CONTCAR")
    structure, where = find_structure(tmp_path, unexpected)
    assert where.name == "CONTCAR"
    assert len(structure) == 27


def test_output_goes_to_the_reader_that_is_handed_in(tmp_path):
    (tmp_path / "pwscf.save").mkdir()
    (tmp_path / "pwscf.save" / "data-file-schema.xml").write_text("<x/>")
    asked = []

    def read_output(path):
        asked.append(path)
        return host()

    structure, where = find_structure(tmp_path, read_output)
    assert asked == [tmp_path]
    assert where == tmp_path
    check_groups(structure)


def test_json_that_is_no_structure_is_passed_over(tmp_path):
    (tmp_path / "provenance.json").write_text('{"codes": []}')
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(InputError, match="holds no structure"):
        find_structure(tmp_path, unexpected)
    with pytest.raises(InputError, match="lattice and sites"):
        read_structure(tmp_path / "provenance.json")
    write_structure(build(), tmp_path / "zz.json")
    assert find_structure(tmp_path, unexpected)[1].name == "zz.json"


def test_a_folder_without_structures_says_what_was_looked_for(tmp_path):
    with pytest.raises(InputError, match="holds no structure"):
        find_structure(tmp_path, unexpected)
    with pytest.raises(InputError, match="no such file or folder"):
        find_structure(tmp_path / "none", unexpected)
