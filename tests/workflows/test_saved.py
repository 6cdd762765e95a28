"""What a program saved: whether it is whole, and where a copy of a density goes."""

import pytest

from corecrown.settings import get_settings
from corecrown.workflows.espresso.saved import copy_density, density_is_whole, xml_is_whole


@pytest.mark.parametrize("missing", [0, 1, 100, 60_000])
def test_a_density_that_is_cut_off_is_noticed(tmp_path, missing):
    n_vectors = 2397
    records = [12, 72, 12 * n_vectors, 16 * n_vectors]
    whole = b"".join(size.to_bytes(4, "little") + bytes(size) + size.to_bytes(4, "little") for size in records)
    head = b"".join(number.to_bytes(4, "little") for number in (12, 0, n_vectors, 1, 12))
    path = tmp_path / "charge-density.dat"
    path.write_bytes((head + whole[20:])[: len(whole) - missing])
    assert density_is_whole(path) is (missing == 0)
    path.write_bytes(b"")
    assert not density_is_whole(path)


def test_an_xml_file_that_is_cut_off_is_noticed(tmp_path):
    path = tmp_path / "data-file-schema.xml"
    path.write_text("<qes:espresso>\n</qes:espresso>\n")
    assert xml_is_whole(path)
    path.write_text("<qes:espresso>\n<output>")
    assert not xml_is_whole(path)


def test_a_density_goes_to_the_scratch_disk_with_the_rest(tmp_path, monkeypatch):
    monkeypatch.setenv("CORECROWN_SCRATCH_DIR", str(tmp_path / "scratch"))
    get_settings.cache_clear()
    saved = tmp_path / "scf" / "out" / "corecrown.save"
    saved.mkdir(parents=True)
    (saved / "charge-density.hdf5").write_bytes(b"density")
    (tmp_path / "bands").mkdir()
    copy_density(tmp_path / "scf", tmp_path / "bands")
    assert (tmp_path / "bands" / "out").is_symlink()
    assert len(list((tmp_path / "scratch").rglob("charge-density.hdf5"))) == 1
