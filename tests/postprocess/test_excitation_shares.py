"""What is said of the share of FA, and the figures and tables of the report."""

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from corecrown.errors import InputError
from corecrown.postprocess.excitation_cubes import GridDensity, write_density
from corecrown.postprocess.excitation_shares import fa_share, fa_statement
from corecrown.postprocess.paper import compare_with_paper
from corecrown.postprocess.plots.excitation import plot_density_change, plot_density_changes, plot_shares
from corecrown.postprocess.reference import read_reference
from corecrown.postprocess.report_excitation import (
    excitation_statements,
    excited_cell,
    partition_table,
    relaxed_table,
    shares_figure,
)
from corecrown.postprocess.results import CellResult, ChargePartition, Excitation


def partition(scheme, electron, gained, volume, n_fa=1):
    def table(share):
        return {"FA": share, "Cs": 0.1, "Pb": 0.3, "Br": round(0.6 - share, 5)}

    each = {"electron": electron / n_fa}
    return ChargePartition(
        scheme=scheme,
        electron=table(electron),
        hole=table(0.05),
        gained=table(gained),
        lost=table(0.02),
        net=table(gained - 0.02),
        volume=None if volume is None else table(volume),
        by_fa=[each] * n_fa,
    )


def excitation(*partitions, kept=True):
    return Excitation(
        kind="neutral",
        orbitals="vbm>cbm",
        energy_ev=1.7,
        ks_gap_ev=1.75,
        occupations_kept=kept,
        partitions=list(partitions),
    )


@pytest.mark.parametrize(
    ("electron", "gained", "said"),
    [
        (0.5, 0.4, "is supported"),
        (0.02, 0.03, "not supported"),
        (0.5, 0.03, "do not decide"),
        (0.2, 0.2, "do not decide"),
    ],
)
def test_the_statement_follows_the_numbers(electron, gained, said):
    found = excitation(partition("a", electron, gained, 0.2), partition("b", electron, gained, 0.2))
    assert said in fa_statement(found)


def test_schemes_that_disagree_decide_nothing():
    found = excitation(partition("a", 0.3, 0.3, 0.2), partition("b", 0.1, 0.3, 0.2))
    assert fa_share(found, "electron").verdict == "undecided"
    assert "do not decide" in fa_statement(found)


def test_a_scheme_without_volumes_widens_the_range_only():
    share = fa_share(excitation(partition("a", 0.3, 0.3, 0.2), partition("Löwdin", 0.01, 0.3, None)), "electron")
    assert (share.low, share.high) == pytest.approx((0.01, 0.3))
    assert share.over_uniform == pytest.approx((1.5,))


def test_each_ion_is_told_by_its_own_charge_and_not_by_the_mean():
    """One of two FA ions has all of it: a mean would say that both have the same."""
    one = partition("a", 0.3, 0.3, 0.2, n_fa=2)
    uneven = one.model_copy(update={"by_fa": [{"electron": 0.3}, {"electron": 0.0}]})
    share = fa_share(excitation(uneven), "electron")
    assert (share.each_low, share.each_high) == (0.0, 0.3)
    said = fa_statement(excitation(uneven))
    assert "0.300 of the frozen electron orbital, 0.000 to 0.300 on each, 1.50 times a uniform share" in said
    assert "gained by the relaxed density, 1.50 times" in said, "what single ions gained is not known here"


def test_both_alignments_of_both_fractions_are_answered():
    study = read_reference("excitation")
    cells = study.result.cells
    claim = next(one for one in compare_with_paper([("excitation", study)]).claims if one.name == "excited-charge")
    labels = ["fa025-b", "fa025-a", "fa100-b", "fa100-a"]
    assert [part.split(":")[0] for part in claim.ours.split("; ")] == labels
    assert claim.why.endswith("of 4 excitations")
    assert [row[0] for row in partition_table(cells).rows][::4] == ["fa000", *labels]
    said = excitation_statements(cells)
    assert len(said) == len(labels) + 1, "nothing is said of the cell without FA"
    assert said[1].startswith("25 % FA (placed ∥ a, now 42° off), neutral")
    assert len(shares_figure(cells).axes) == 4 * len(cells)


def test_nothing_is_said_without_fa_or_of_a_state_that_did_not_hold():
    none = ChargePartition(scheme="a", electron={"Pb": 0.5, "Br": 0.5}, volume={"Pb": 0.5, "Br": 0.5})
    assert fa_statement(excitation(none)) is None
    assert fa_share(excitation(none), "electron") is None
    assert "did not hold" in fa_statement(excitation(kept=False))


def structure():
    cell = Structure(Lattice.orthorhombic(5, 6, 7), ["N", "Pb"], [[0.1, 0.2, 0.3], [0.6, 0.5, 0.5]])
    cell.add_site_property("group", ["FA", "Pb-Br"])
    cell.add_site_property("molecule", [0, -1])
    return cell


def result(**changes):
    cell = structure()
    found = excitation(partition("Hirshfeld", 0.3, 0.3, 0.2), partition("Löwdin", 0.2, 0.3, None))
    found = found.model_copy(update={"statement": fa_statement(found)})
    lengths = {f"lattice_{axis}_angstrom": length for axis, length in zip("abc", cell.lattice.abc, strict=True)}
    fields = {"label": "fa025-b", "formula": "NPb", "structure": cell.as_dict(), "volume_angstrom3": cell.volume}
    return CellResult(**(fields | lengths | {"excitation": [found]} | changes))


def density(seed):
    values = np.random.default_rng(seed).normal(size=(10, 12, 14))
    return GridDensity(structure(), values - values.mean())


def test_the_table_has_a_row_a_scheme():
    table = partition_table([result()])
    assert [row[2] for row in table.rows] == ["Hirshfeld", "Löwdin"]
    assert table.header[3:] == ("FA", "Cs", "Pb", "Br")
    assert table.rows[0][3] == "0.30 / 0.05, +0.280 [0.20]"
    assert partition_table([result(excitation=[])]) is None


def test_relaxed_states_have_a_row_with_their_bonds():
    assert relaxed_table([result()]) is None
    bonds = {"Pb-Br": {"before": 3.0, "after": 3.02, "longest_gain": 0.1, "longest_loss": 0.05, "bonds": 24}}
    relaxed = {"relaxed_energy_ev": 1.6, "emission_ev": 1.5, "stokes_shift_ev": 0.2, "relaxation_angstrom": 0.12}
    found = excitation(partition("a", 0.3, 0.3, 0.2)).model_copy(update=relaxed | {"bond_changes": bonds})
    (row,) = relaxed_table([result(excitation=[found])]).rows
    assert row[2:7] == ("1.700", "1.600", "1.500", "0.200", "0.120")
    assert row[7] == "Pb-Br 3.000 → 3.020 (+0.100, −0.050)"


def test_the_statements_end_with_what_cannot_be_concluded():
    said = excitation_statements([result()])
    assert said[0].startswith("25 % FA ∥ b, neutral: FA has")
    assert "semilocal" in said[-1]
    assert excitation_statements([result(excitation=[])]) == []


def test_figures_are_drawn_from_files(tmp_path):
    files = {}
    for name in ("difference_neutral", "orbital_vbm", "orbital_cbm"):
        write_density(tmp_path / f"{name}.cube.gz", density(1), name)
        files[f"excitation_{name}"] = f"{name}.cube.gz"
    cell = excited_cell(result(files=files), tmp_path)
    assert set(cell.orbitals) == {"vbm", "cbm"}
    assert cell.difference.values == pytest.approx(density(1).values, abs=1e-5)
    figure = plot_density_changes([cell, cell])
    assert [ax.get_title() for ax in figure.axes[:3]] == [f"summed along {axis}" for axis in "abc"]
    colours = [ax.images[0].get_clim() for ax in figure.axes[:6]]
    assert len(set(colours)) == 1
    assert len({(ax.get_xlim(), ax.get_ylim()) for ax in figure.axes[:6:3]}) == 1
    width, height = plot_density_changes([cell] * 8).get_size_inches() * 25.4
    assert width <= 170.1
    assert height <= 230
    assert len(shares_figure([result()]).axes) == 4
    assert excited_cell(result(excitation=[]), tmp_path) is None


def test_a_projection_holds_the_charge():
    """The sum along an axis, summed over the plane, is the whole charge."""
    one = density(2)
    figure = plot_density_change(one, structure())
    image = figure.axes[3].images[0].get_array()
    area = 6 * 7 / image.size
    assert float(image.sum()) * area == pytest.approx(one.total, abs=1e-9)


def test_figures_without_anything_to_draw_are_refused():
    with pytest.raises(InputError):
        plot_shares({"fa000": excitation()})
