"""Bands from OUTCAR and PROCAR or EIGENVAL, written here in VASP's formats from a band model with known masses."""

import gzip
import json

import numpy as np
import pytest
from ase import units
from pymatgen.core import Lattice, Structure
from typer.testing import CliRunner

from corecrown.cli.main import app
from corecrown.errors import InputError, RunError
from corecrown.workflows.readers import read_band_structure
from corecrown.workflows.vasp.outcar import find_outcars, read_outcar_run
from corecrown.workflows.vasp.vasprun import functional_name

CELL = Structure(Lattice(np.diag([5.8, 5.9, 6.0])), ["Cs", "Pb", "Br", "Br", "Br"],
                 [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])  # fmt: skip

CONDUCTION, VALENCE = 0.25, -0.4
"""Masses in m0 of the two bands, of energies 2 eV + ħ²k²/2m and ħ²k²/2m."""

LINE = np.array([[x, 0, 0] for x in np.linspace(0.5, 0, 21)] + [[0, 0, z] for z in np.linspace(0, 0.5, 21)])

HARTREE_BOHR2 = units.Hartree * units.Bohr**2


def levels(spinor):
    """Two valence and two conduction bands, (n_kpoints, 4); spinors in pairs."""
    squared = (CELL.lattice.reciprocal_lattice.get_cartesian_coords(LINE) ** 2).sum(axis=1)
    rise = HARTREE_BOHR2 * squared / 2
    top, bottom = rise / VALENCE, 2 + rise / CONDUCTION
    other = [top, bottom] if spinor else [top - 1, bottom + 1]
    return np.array([other[0], top, bottom, other[1]]).T


def outcar(spins=1, spinor=False, mesh=0, gga="PE", hybrid=False, iterations=9):
    kpoints = len(LINE) + mesh
    rows = [
        " vasp.5.4.4.18Apr17-6-g9f103f2a35 (made up by a test of corecrown, not by VASP) complex",
        " running on    4 total cores",
        *(f"   VRHFIN ={name}: s\n   LEXCH  = PE\n   TITEL  = PAW_PBE {name} 06Sep2000" for name in ("Cs", "Pb", "Br")),
        "|      I found NBANDS    =        3  now  NBANDS  =       4                   |",
        " Dimension of arrays:",
        f"   k-points           NKPTS = {kpoints:6d}   k-points in BZ   NKDIM = {kpoints:6d}  bands   NBANDS=      4",
        "   ions per type =               1   1   3",
        f"   ICHARG = {0 if hybrid else 11:6d}    charge: 1-file 2-atom 10-const",
        f"   ISPIN  = {spins:6d}    spin polarized calculation?",
        f"   LSORBIT = {'T' if spinor else 'F':>6s}    spin-orbit coupling",
        "   ENCUT  =  400.0 eV  29.40 Ry    5.42 a.u.   7.29  7.29  7.29*2*pi/ulx,y,z",
        "   NELM   =     60;   NELMIN=  2; NELMDL= -5     # of ELM steps",
        "   NSW    =      0    number of steps for IOM",
        f"   NELECT = {2.0 if spinor else 4.0:12.4f}    total number of electrons",
        f"   GGA     = {gga:>5s}    GGA type",
        f"   LHFCALC = {'T' if hybrid else 'F':>5s}    Hartree Fock is set to",
        *(["   AEXX    = 0.2500", "   HFSCREEN=    0.2000 screening length"] if hybrid else []),
        "      direct lattice vectors                 reciprocal lattice vectors",
        *(" ".join(f"{x:13.9f}" for x in (*vector, 0, 0, 0)) for vector in CELL.lattice.matrix),
        " position of ions in fractional coordinates (direct lattice) ",
        *(" ".join(f"{x:11.8f}" for x in position) for position in CELL.frac_coords),
        f"----------------------------------- Iteration    1({iterations:4d})  -----------------------------------",
        " E-fermi :   1.0000     XC(G=0):  -9.0000     alpha+bet : -9.0000",
        "------------------------ aborting loop because EDIFF is reached ----------------------------------------",
        "  energy  without entropy=      -30.12345678  energy(sigma->0) =      -30.12345678",
        " General timing and accounting informations for this job:",
    ]
    return "\n".join(rows) + "\n"


def with_mesh(energies, mesh):
    """Put k-points of a mesh first, which carry all weight; without a mesh each point weighs the same."""
    points = np.vstack([np.full((mesh, 3), 0.25), LINE])
    weights = (
        np.concatenate([np.full(mesh, 1 / mesh), np.zeros(len(LINE))]) if mesh else np.full(len(LINE), 1 / len(LINE))
    )
    return points, weights, np.vstack([np.tile([-2.0, -1.0, 3.0, 4.0], (mesh, 1)), energies])


def procar(spins=1, spinor=False, mesh=0, sign=1):
    points, weights, energies = with_mesh(levels(spinor), mesh)
    full = 1.0 if spinor or spins == 2 else 2.0
    filled = 2
    rows = ["PROCAR lm decomposed"]
    for channel in range(spins):
        rows.append(f"# of k-points: {len(points):4d}         # of bands:   4         # of ions:   5\n")
        for number, (point, weight, bands) in enumerate(zip(points, weights, energies, strict=True), start=1):
            glued = "".join(f"{x:11.8f}" for x in sign * point)
            rows.append(f" k-point {number:4d} :    {glued}     weight = {weight:10.8f}\n")
            for band, energy in enumerate(bands + 0.5 * channel, start=1):
                occupation = full if band <= filled else 0
                rows += [f"band {band:3d} # energy {energy:13.8f} # occ. {occupation:11.8f}", " ", "ion      s    tot"]
                rows += ["  1  0.100  0.100", "tot  0.100  0.100", " "]
    return "\n".join(rows) + "\n"


def eigenval(spins=1, occupations=True):
    points, weights, energies = with_mesh(levels(spinor=False), 0)
    rows = [f"    5    5    1    {spins}", " 0.1 0.1", " 1E-4", "  CAR", " made up", f"    4   {len(points)}     4"]
    for point, weight, bands in zip(points, weights, energies, strict=True):
        rows += ["", "  ".join(f"{x:14.7E}" for x in (*point, weight))]
        for band, energy in enumerate(bands, start=1):
            values = [f"{energy + 0.5 * channel:13.6f}" for channel in range(spins)]
            values += [f"{1.0 if band <= 2 else 0.0:9.6f}"] * spins if occupations else []
            rows.append(f"  {band:4d} " + " ".join(values))
    return "\n".join(rows) + "\n"


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def masses(folder, method="sumo"):
    done = CliRunner().invoke(app, ["masses", str(folder), "--method", method, "--json"])
    assert done.exit_code == 0, done.output
    return {(row["carrier"], row["direction"][1]): row["mass"] for row in json.loads(done.stdout)["path_masses"]}


class TestOutcarAndProcar:
    def test_edges_and_masses_of_the_model(self, tmp_path):
        write(tmp_path, OUTCAR=outcar(), PROCAR=procar())
        found = read_band_structure(tmp_path)
        assert (found.code, found.code_version, found.functional) == ("VASP", "5.4.4.18Apr17-6-g9f103f2a35", "PBE")
        assert (found.on_lines, found.n_electrons, found.spin_orbit) == (True, 4, False)
        assert found.bands.get_band_gap()["energy"] == pytest.approx(2, abs=1e-7)
        for method in ("ours", "sumo", "effmass-ls"):
            said = masses(tmp_path, method)
            assert {direction for _, direction in said} == {"X", "Z"}
            for (carrier, _), mass in said.items():
                assert mass == pytest.approx(CONDUCTION if carrier == "electron" else -VALENCE, rel=1e-4)

    def test_structure_and_occupations(self, tmp_path):
        run = read_outcar_run(write(tmp_path, OUTCAR=outcar(), PROCAR=procar()))
        assert np.allclose(run.structure.lattice.matrix, CELL.lattice.matrix)
        assert run.structure.species == CELL.species
        assert np.allclose(run.structure.frac_coords, CELL.frac_coords)
        assert run.occupations.max() == 1
        assert run.energy_ev is None  # bands of a given density
        assert (run.scf_converged, run.ionic_converged, run.encut_ev) == (True, True, 400)

    def test_packed(self, tmp_path):
        for name, text in (("OUTCAR", outcar()), ("PROCAR", procar())):
            with gzip.open(tmp_path / f"{name}.gz", "wt") as packed:
                packed.write(text)
        assert read_band_structure(tmp_path).bands.get_band_gap()["energy"] == pytest.approx(2, abs=1e-7)

    def test_a_hybrid_run_has_its_lines_at_points_without_weight(self, tmp_path):
        write(tmp_path, OUTCAR=outcar(mesh=8, hybrid=True, gga="--"), PROCAR=procar(mesh=8))
        found = read_band_structure(tmp_path)
        assert (found.functional, found.on_lines, len(found.bands.kpoints)) == ("HSE06", True, len(LINE))
        assert read_outcar_run(tmp_path).energy_ev == pytest.approx(-30.12345678)

    def test_spinors(self, tmp_path):
        write(tmp_path, OUTCAR=outcar(spinor=True), PROCAR=procar(spinor=True))
        found = read_band_structure(tmp_path)
        assert (found.spin_orbit, found.n_electrons) == (True, 2)
        assert masses(tmp_path)["hole", "X"] == pytest.approx(-VALENCE, rel=1e-4)

    def test_levels_out_of_order_are_taken_by_energy(self, tmp_path):
        """Hybrid runs of VASP leave some k-points like this: sumo and effmass then follow one band into another."""
        lines = procar().splitlines()
        second = [index for index, line in enumerate(lines) if line.startswith(("band   2", "band   3"))][44:46]
        energies = [lines[index][18:31] for index in second]
        for index, energy in zip(second, reversed(energies), strict=True):
            lines[index] = lines[index][:18] + energy + lines[index][31:]
        write(tmp_path, OUTCAR=outcar(), PROCAR="\n".join(lines) + "\n")
        found = read_band_structure(tmp_path)
        assert "1 of 42 k-points out of order" in found.notes[0]
        for (carrier, _), mass in masses(tmp_path).items():
            assert mass == pytest.approx(CONDUCTION if carrier == "electron" else -VALENCE, rel=1e-4)

    def test_numbers_that_stand_without_a_space_between(self, tmp_path):
        text = procar(sign=-1)
        assert "-0.50000000-0.00000000" in text
        run = read_outcar_run(write(tmp_path, OUTCAR=outcar(), PROCAR=text))
        assert np.allclose(run.kpoints, -LINE, atol=1e-8)

    def test_two_spins(self, tmp_path):
        run = read_outcar_run(write(tmp_path, OUTCAR=outcar(spins=2), PROCAR=procar(spins=2)))
        assert run.eigenvalues_ev.shape == (2, len(LINE), 4)
        assert np.allclose(run.eigenvalues_ev[1] - run.eigenvalues_ev[0], 0.5)


class TestOutcarAndEigenval:
    @pytest.mark.parametrize("spins", [1, 2])
    def test_same_as_procar_but_for_decimals(self, tmp_path, spins):
        first = read_outcar_run(write(tmp_path / "a", OUTCAR=outcar(spins), PROCAR=procar(spins)))
        second = read_outcar_run(write(tmp_path / "b", OUTCAR=outcar(spins), EIGENVAL=eigenval(spins)))
        assert np.allclose(first.eigenvalues_ev, second.eigenvalues_ev, atol=6e-7)
        assert np.array_equal(first.occupations > 0.5, second.occupations > 0.5)
        assert np.allclose(second.kpoints, LINE, atol=1e-7)

    def test_without_occupations_it_is_refused(self, tmp_path):
        with pytest.raises(RunError, match="no occupations"):
            read_outcar_run(write(tmp_path, OUTCAR=outcar(), EIGENVAL=eigenval(occupations=False)))


class TestDamaged:
    @pytest.mark.parametrize("name", ["OUTCAR", "PROCAR"])
    @pytest.mark.parametrize("fraction", [0.0, 0.3, 0.97])
    def test_cut_off(self, tmp_path, name, fraction):
        write(tmp_path, OUTCAR=outcar(), PROCAR=procar())
        path = tmp_path / name
        path.write_text(path.read_text()[: int(fraction * len(path.read_text()))])
        with pytest.raises(RunError, match="not a whole run of VASP"):
            read_outcar_run(tmp_path)

    def test_all_iterations_that_are_allowed(self, tmp_path):
        """VASP 5 writes "because EDIFF is reached" then, too."""
        write(tmp_path, OUTCAR=outcar(iterations=60), PROCAR=procar())
        with pytest.raises(InputError, match="OUTCAR: the electronic iterations did not converge"):
            read_band_structure(tmp_path)

    def test_threshold_not_reached(self, tmp_path):
        said = outcar().replace("loop because EDIFF is reached", "loop EDIFF was not reached (unconverged)")
        write(tmp_path, OUTCAR=said, PROCAR=procar())
        assert not read_outcar_run(tmp_path).scf_converged
        before = said.index("----------------------------------- Iteration")
        earlier_step_only = said[:before] + said[before:].split(" General")[0] + outcar()[before:]
        write(tmp_path, OUTCAR=earlier_step_only)
        assert read_outcar_run(tmp_path).scf_converged

    def test_files_of_two_runs(self, tmp_path):
        write(tmp_path, OUTCAR=outcar(mesh=8), PROCAR=procar())
        with pytest.raises(RunError, match="50 k-points"):
            read_outcar_run(tmp_path)

    def test_one_part_missing(self, tmp_path):
        write(tmp_path / "split-01", OUTCAR=outcar(), PROCAR=procar())
        assert len(find_outcars(tmp_path)) == 1
        write(tmp_path / "split-02", OUTCAR=outcar())
        with pytest.raises(InputError, match="split-02"):
            find_outcars(tmp_path)

    def test_no_density_of_states_without_vasprun(self, tmp_path):
        write(tmp_path, OUTCAR=outcar(), PROCAR=procar())
        done = CliRunner().invoke(app, ["pdos", str(tmp_path)])
        assert "no vasprun.xml" in str(done.exception)


@pytest.mark.parametrize(
    ("gga", "hybrid", "screening", "exact", "name"),
    [
        ("PE", False, 0, 0, "PBE"),
        ("PS", False, 0, 0, "PBEsol"),
        ("CA", False, 0, 0, "LDA"),
        ("PE", True, 0.207, 0.25, "HSE06"),
        ("PE", True, 0.0, 0.25, "hybrid"),
    ],
)
def test_functionals_have_their_names(gga, hybrid, screening, exact, name):
    assert functional_name(gga, hybrid=hybrid, screening=screening, exact=exact, dispersion=0) == name
