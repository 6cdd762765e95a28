import pytest

from corecrown.errors import InputError
from corecrown.postprocess.reference import read_provenance, read_reference
from corecrown.postprocess.report_paper import paper_table, programs_text
from corecrown.postprocess.study import Study


def without_reference(study):
    cells = [cell for cell in study.cells if cell.label != "fa000"]
    return Study(result=study.result.model_copy(update={"cells": cells}), folder=study.folder)


def without_programs(study, folder):
    """As results were before each cell said what computed it."""
    cells = [cell.model_copy(update={"programs": []}) for cell in study.result.cells]
    return Study(result=study.result.model_copy(update={"cells": cells}), folder=folder)


def test_claims_with_numbers_are_rows_and_the_others_are_named():
    table = paper_table(read_reference("demo"))
    assert all(len(row) == len(table.header) for row in table.rows)
    assert "not computed" not in {row[3] for row in table.rows}
    assert any("excited charge" in note for note in table.notes)


def test_without_the_reference_cell_there_is_no_table():
    assert paper_table(without_reference(read_reference("demo"))) is None


def test_programs_are_named_with_their_versions(tmp_path):
    study = read_reference("demo")
    assert "Quantum ESPRESSO 6.7" in programs_text(study)
    assert "Quantum ESPRESSO 6.7" in programs_text(Study(result=study.result, folder=tmp_path))
    assert "Quantum ESPRESSO 6.7" in programs_text(without_programs(study, study.folder))
    assert "not recorded" in programs_text(without_programs(study, tmp_path))


def test_a_broken_provenance_is_told_and_does_not_stop_a_report(tmp_path):
    study = without_programs(read_reference("demo"), tmp_path)
    for text in ("{", "[1]", ""):
        (tmp_path / "provenance.json").write_text(text)
        with pytest.raises(InputError, match="provenance"):
            read_provenance(tmp_path)
        assert "not recorded" in programs_text(study)
