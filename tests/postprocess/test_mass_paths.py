"""Masses along lines: ours against known bands, sumo's and effmass's against what those programs say."""

import json
from pathlib import Path

import numpy as np
import pytest
from mass_models import CUBIC, PBNM, kane, line_kpoints, luttinger, parabola, path_cases, rashba
from pymatgen.core import Lattice
from pymatgen.electronic_structure.bandstructure import BandStructureSymmLine
from pymatgen.electronic_structure.core import Spin

from corecrown.errors import InputError
from corecrown.postprocess.mass_fit import BOHR_ANGSTROM
from corecrown.postprocess.mass_paths import PathMasses, path_masses, with_path_masses
from corecrown.postprocess.results import MassTensor

REFERENCE = json.loads((Path(__file__).parent / "mass_reference" / "path_masses.json").read_text(encoding="utf-8"))

GXYZ = [("X", (0.5, 0, 0)), ("Γ", (0, 0, 0)), ("Y", (0, 0.5, 0)), ("Γ", (0, 0, 0)), ("Z", (0, 0, 0.5))]


def band_structure(lattice, labels, kpoints, channels, efermi, projections=None):
    eigenvalues = dict(zip((Spin.up, Spin.down), [np.asarray(c) for c in channels], strict=False))
    extra = {}
    if projections is not None:
        extra = {"projections": {Spin.up: projections}, "structure": None}
    bands = BandStructureSymmLine(kpoints, eigenvalues, Lattice(lattice / BOHR_ANGSTROM), efermi, dict(labels))
    if extra:
        bands.projections = extra["projections"]
    return bands


def case(name):
    return band_structure(*path_cases()[name])


def doubled(lattice, labels, kpoints, channels, efermi):
    """The same path as VASP's line mode has it: every corner twice."""
    corners = {tuple(point) for point in labels.values()}
    order = []
    for index, kpoint in enumerate(kpoints):
        inner = 0 < index < len(kpoints) - 1
        order += [index, index] if inner and tuple(kpoint) in corners else [index]
    return band_structure(lattice, labels, kpoints[order], [np.asarray(c)[:, order] for c in channels], efermi)


@pytest.mark.parametrize("name", list(path_cases()))
@pytest.mark.parametrize("variant", ["once", "doubled"])
def test_sumo_by_name_equals_sumo(name, variant):
    bands = case(name) if variant == "once" else doubled(*path_cases()[name])
    found = path_masses(bands, "sumo")
    ours = [
        (row.carrier.value, row.band_index, row.spin or "up", *row.direction[-1:], row.mass)
        for row in found.path_masses
    ]
    theirs = [
        (row["carrier"], row["band_index"], row["spin"], row["to"], abs(row["mass"])) for row in REFERENCE[name]["sumo"]
    ]
    ours.sort()
    theirs.sort()
    assert [row[:-1] for row in ours] == [row[:-1] for row in theirs]
    np.testing.assert_allclose([row[-1] for row in ours], [row[-1] for row in theirs], rtol=1e-10)


@pytest.mark.parametrize("name", [name for name in path_cases() if "effmass-ls" in REFERENCE[name]])
@pytest.mark.parametrize("variant", ["once", "doubled"])
def test_effmass_by_name_equals_effmass(name, variant):
    kpoints = path_cases()[name][2]
    bands = case(name) if variant == "once" else doubled(*path_cases()[name])
    found = path_masses(bands, "effmass-ls")
    ours = sorted((r.carrier.value, r.band_index, *np.round(r.kpoint, 6), r.mass) for r in found.path_masses)
    theirs = sorted(
        (r["carrier"], r["band_index"], *np.round(kpoints[r["kpoint_index"]] + 0.0, 6), abs(r["mass"]))
        for r in REFERENCE[name]["effmass-ls"]
    )
    assert [row[:-1] for row in ours] == [row[:-1] for row in theirs]
    # effmass types its constants in to five digits
    np.testing.assert_allclose([row[-1] for row in ours], [row[-1] for row in theirs], rtol=1e-5)


def ours_of(name):
    found = path_masses(case(name))
    return {(r.carrier.value, r.band_index, *r.direction, r.spin): r for r in found.path_masses}, found.notes


def test_ours_gives_the_curvature_at_the_edge_of_nonparabolic_bands():
    rows, _ = ours_of("anisotropic")
    expected = {
        ("electron", 2, "Γ", "X", None): 0.21,
        ("electron", 2, "Γ", "Y", None): 0.26,
        ("electron", 2, "Γ", "Z", None): 0.14,
        ("hole", 1, "Γ", "X", None): 0.23,
        ("hole", 1, "Γ", "Z", None): 0.31,
    }
    for key, mass in expected.items():
        assert rows[key].mass == pytest.approx(mass, rel=1e-3)
        assert rows[key].fit_residual_ev < 1e-4


def test_ours_finds_an_edge_that_a_spin_orbit_field_moves_off_gamma():
    rows, notes = ours_of("rashba")
    # along x the lower branch is k²/2m - α|k|: its curvature is that of the parabola, its minimum at k = mα
    electrons = [row for key, row in rows.items() if key[0] == "electron"]
    assert electrons, notes
    k0 = 0.15 * 2.4 / 27.211386245981 / PBNM[0, 0]
    for row in electrons:
        assert row.mass == pytest.approx(0.15, rel=1e-3)
        assert row.kpoint == pytest.approx((k0, 0, 0), abs=1e-5)


def test_ours_takes_degenerate_bands_one_by_one_along_a_direction():
    rows, _ = ours_of("degenerate")
    # E = A k² ± sqrt(B²k⁴ + C²(...)) along (100) and (111): masses from Dresselhaus, Kip and Kittel, eq. (63)
    A, B, C = 6.9, 2.1, 3.8
    assert rows["hole", 1, "Γ", "X", None].mass == pytest.approx(1 / (A - B), rel=1e-3)
    assert rows["hole", 0, "Γ", "X", None].mass == pytest.approx(1 / (A + B), rel=1e-3)
    root = np.sqrt(B**2 + C**2 / 3)
    assert rows["hole", 1, "Γ", "R", None].mass == pytest.approx(1 / (A - root), rel=1e-3)
    assert rows["hole", 0, "Γ", "R", None].mass == pytest.approx(1 / (A + root), rel=1e-3)


def test_ours_finds_a_valley_inside_a_line():
    rows, _ = ours_of("valley")
    electron = [row for key, row in rows.items() if key[0] == "electron"]
    assert {row.direction[1] for row in electron} == {"Γ", "X"}
    for row in electron:
        assert row.mass == pytest.approx(0.95, rel=1e-3)
        assert row.kpoint == pytest.approx((0.425, 0, 0.425), abs=1e-4)


def test_two_spins_are_kept_apart():
    rows, _ = ours_of("two spins")
    assert rows["hole", 0, "Γ", "X", "down"].mass == pytest.approx(0.2, rel=1e-6)
    assert rows["electron", 1, "Γ", "X", "up"].mass == pytest.approx(1 / 7, rel=1e-6)
    assert {key[-1] for key in rows if key[0] == "hole"} == {"down"}


def straight(n=31, end=(0.5, 0, 0), lattice=PBNM):
    kpoints = line_kpoints([("Γ", (0, 0, 0)), ("E", end)], n)
    return kpoints, kpoints @ lattice, {"Γ": (0, 0, 0), "E": end}


def test_an_edge_at_the_end_of_the_path_is_refused():
    kpoints, k, labels = straight(end=(0.3, 0, 0))
    electron = 2 + parabola(k, np.eye(3) * 5, np.array([0.4, 0, 0]) @ PBNM)
    found = path_masses(band_structure(PBNM, labels, kpoints, [[-parabola(k, np.eye(3)), electron]], 0.5))
    assert {row.carrier.value for row in found.path_masses} == {"hole"}
    assert any("edge of what was computed" in note for note in found.notes)


def test_coarse_k_points_are_refused():
    kpoints, k, labels = straight(4)
    bands = band_structure(PBNM, labels, kpoints, [[-parabola(k, np.eye(3) * 6), 2 + parabola(k, np.eye(3) * 9)]], 1)
    found = path_masses(bands)
    assert found.path_masses == []
    assert all("too coarse" in note for note in found.notes)


def crossing(with_projections, alike=False):
    """A light hole band at the edge that falls through a flat one 12 meV below it."""
    kpoints, k, labels = straight(61)
    edge = -parabola(k, np.eye(3) * 8)
    flat = -0.012 - parabola(k, np.eye(3) * 0.3)
    assert (edge > flat)[:3].all()
    assert (edge < flat)[6:].all()
    valence = np.array([edge, flat])
    rank = np.argsort(valence, axis=0)
    orbitals = np.array([[1.0, 0.0], [0.0, 1.0]]) if not alike else np.full((2, 2), 0.5)
    projections = np.concatenate([orbitals[rank], np.full((1, len(kpoints), 2), 0.5)])[..., None]
    energies = np.vstack([np.sort(valence, axis=0), 3 + parabola(k, np.eye(3))])
    return band_structure(PBNM, labels, kpoints, [energies], 1.0, projections if with_projections else None)


def test_crossing_bands_are_followed_by_projections():
    found = path_masses(crossing(with_projections=True))
    holes = [row for row in found.path_masses if row.carrier.value == "hole"]
    assert [row.mass for row in holes] == [pytest.approx(1 / 8, rel=1e-3)]


@pytest.mark.parametrize("options", [(False, False), (True, True)])
def test_crossing_bands_that_cannot_be_followed_are_refused(options):
    found = path_masses(crossing(*options))
    assert not [row for row in found.path_masses if row.carrier.value == "hole"]
    assert any("cross" in note for note in found.notes)
    # sumo's definition takes whatever stands there
    assert [r for r in path_masses(crossing(*options), "sumo").path_masses if r.carrier.value == "hole"]


def test_bands_that_part_linearly_have_no_mass_at_the_point_they_part_from():
    kpoints, k, labels = straight(61)
    upper = -rashba(k, (0.2, 0.2, 0.2), 1.5, 1.5)
    valence = np.array([upper[:, 1] - 0.0, upper[:, 1] * 1.001 - 0.3])
    energies = np.vstack([np.sort(valence, axis=0), 3 + parabola(k, np.eye(3))])
    found = path_masses(band_structure(PBNM, labels, kpoints, [energies], 1.0))
    assert not [row for row in found.path_masses if row.carrier.value == "hole"]
    assert any("no parabola" in note for note in found.notes)


def test_a_metal_is_refused():
    kpoints, k, labels = straight()
    bands = band_structure(PBNM, labels, kpoints, [[parabola(k, np.eye(3)), 0.1 + parabola(k, np.eye(3))]], 0.2)
    for method in ("ours", "sumo", "effmass-ls"):
        with pytest.raises(InputError, match="no band gap"):
            path_masses(bands, method)


def test_a_run_without_empty_bands_has_hole_masses_only():
    kpoints, k, labels = straight()
    bands = band_structure(PBNM, labels, kpoints, [[-1 - parabola(k, np.eye(3)), -parabola(k, np.eye(3))]], 0.0)
    found = path_masses(bands)
    assert {row.carrier.value for row in found.path_masses} == {"hole"}
    assert any("no electron masses" in note for note in found.notes)


def test_an_unknown_method_names_the_known_ones():
    with pytest.raises(InputError) as error:
        path_masses(case("anisotropic"), "best")
    assert "effmass-ls" in error.value.hint


def test_filling_by_counting_needs_no_fermi_energy():
    lattice, labels, kpoints, channels, _ = path_cases()["anisotropic"]
    bands = band_structure(lattice, labels, kpoints, channels, -99.0)
    found = path_masses(bands, n_electrons=4)
    assert found.path_masses == path_masses(case("anisotropic")).path_masses


def test_result_goes_through_json():
    found = path_masses(case("anisotropic"))
    assert PathMasses.model_validate_json(found.model_dump_json()) == found
    row = found.model_dump(mode="json")["path_masses"][0]
    assert {"carrier", "band_index", "kpoint", "direction", "mass", "method", "fit_residual_ev"} <= set(row)


def test_lines_from_gamma_fill_the_fields_of_a_tensor():
    lattice, _, _, _, _ = path_cases()["anisotropic"]
    kpoints = line_kpoints(GXYZ, 24)
    k = kpoints @ lattice
    electron = 2 + kane(k, np.diag([1 / 0.21, 1 / 0.26, 1 / 0.14]), 0.45)
    rows = path_masses(band_structure(lattice, dict(GXYZ), kpoints, [[-parabola(k, np.eye(3)), electron]], 1.0))
    filled = with_path_masses(MassTensor(carrier="electron", band_index=1), rows)
    assert filled.path_gamma_x == pytest.approx(0.21, rel=1e-3)
    assert filled.path_gamma_y == pytest.approx(0.26, rel=1e-3)
    assert filled.path_gamma_z == pytest.approx(0.14, rel=1e-3)


def test_warped_bands_keep_their_names_where_they_do_not_meet_again():
    kpoints = line_kpoints([("Γ", (0, 0, 0)), ("X", (0, 0.5, 0))], 40)
    k = kpoints @ CUBIC
    holes = -luttinger(k, 6.9, 2.1, 3.8)
    energies = np.vstack([holes[:, ::-1].T, 2 + parabola(k, np.eye(3))])
    labels = {"Γ": (0, 0, 0), "X": (0, 0.5, 0)}
    found = path_masses(band_structure(CUBIC, labels, kpoints, [energies], 0.5))
    assert {row.band_index for row in found.path_masses if row.carrier.value == "hole"} == {0, 1}
