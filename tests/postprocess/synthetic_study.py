"""A study that was never computed: plausible cells, bands and densities of states, to try tables and figures on.

Lattice and positions of CsPbBr3 are those of a relaxed Pnma cell (LITERATURE: VASP-relaxed, a 8.420, b
11.764, c 8.078 Å) turned to Pbnm; the formamidinium ion has C-N 1.307, C-H 1.098, N-H 1.023 Å, N-C-N 125.9°.
Energies are invented and carry a seed.
"""

from itertools import pairwise
from pathlib import Path

import numpy as np
from monty.serialization import dumpfn
from pymatgen.core import Lattice, Structure
from pymatgen.electronic_structure.bandstructure import BandStructureSymmLine
from pymatgen.electronic_structure.core import Spin

from corecrown.postprocess.edges import find_edges
from corecrown.postprocess.pdos import AtomicState, complete_dos
from corecrown.postprocess.results import (
    BandEdges,
    CellResult,
    Comparison,
    ComparisonRow,
    Distortion,
    EdgeCharacter,
    Excitation,
    LedgerRow,
    Level,
    Masses,
    MassTensor,
    PdosSummary,
    Pseudopotential,
    RunSettings,
    StepTiming,
    StudyResult,
)
from corecrown.postprocess.study import write_study

VALENCE = {"Cs": 9, "Pb": 14, "Br": 7, "C": 4, "N": 5, "H": 1}
POINTS = {
    "Γ": (0, 0, 0),
    "X": (0.5, 0, 0),
    "S": (0.5, 0.5, 0),
    "Y": (0, 0.5, 0),
    "Z": (0, 0, 0.5),
    "U": (0.5, 0, 0.5),
    "R": (0.5, 0.5, 0.5),
    "T": (0, 0.5, 0.5),
}
PATH = [["X", "Γ", "Y", "S", "Γ", "Z"], ["Z", "T", "R", "U"]]
ORBITALS = {"Cs": (0, 1), "Pb": (0, 1, 2), "Br": (0, 1), "C": (0, 1), "N": (0, 1), "H": (0,)}
CELLS = {  # label: FA fraction, alignment, gap in eV, lattice in Å
    "fa000": (0.0, None, 1.962, (8.078, 8.420, 11.764)),
    "fa025-b": (0.25, "b", 2.006, (8.105, 8.492, 11.791)),
    "fa025-a": (0.25, "a", 2.011, (8.231, 8.437, 11.803)),
    "fa100-b": (1.0, "b", 2.021, (8.291, 8.866, 11.972)),
    "fa100-a": (1.0, "a", 2.103, (8.702, 8.401, 11.942)),
    "fapbbr3-a": (1.0, "a", 2.094, (8.673, 8.455, 11.973)),
}
PAPER_PLACES = {
    "fa000": ("core-centre", 2.66, 0.0),
    "fa025-b": ("core-crown-centre", 2.70, 0.04),
    "fa100-b": ("core-crown-edge", 2.93, 0.27),
}


def make_study(folder: Path, labels=tuple(CELLS), protocol="fast", *, rich=True) -> StudyResult:
    """Write a study with its band and density-of-states files; ``rich`` adds masses and an excitation."""
    cells = [make_cell(folder, label, rich=rich) for label in labels]
    rows = [_row(cell, cells[0]) for cell in cells]
    comparison = Comparison(
        rows=rows,
        experiment="sts-core-crown",
        ledger=[
            LedgerRow(term="bulk gap, PBE", value_ev=1.96, source="fa000"),
            LedgerRow(term="confinement along c", value_ev=0.55, low_ev=0.4, high_ev=0.7, source="masses"),
            LedgerRow(term="image screening by the gold", value_ev=None, source="not modelled"),
        ],
        flags=["The centre-to-centre shift is below the thermal width of 89 meV at 292 K."],
    )
    result = StudyResult(
        study="synthetic substitution",
        engine="espresso",
        protocol=protocol,
        corecrown_version="0.1.0",
        cells=cells,
        comparison=comparison,
        notes=["synthetic: none of these numbers was computed"],
    )
    write_study(result, folder)
    return result


def make_cell(folder: Path, label: str, *, rich=True) -> CellResult:
    fraction, alignment, gap, lengths = CELLS[label]
    structure = make_structure(fraction, alignment, lengths)
    n_electrons = sum(VALENCE[site.specie.symbol] for site in structure)
    random = np.random.default_rng(sum(map(ord, label)))
    bands = make_bands(structure, n_electrons, gap, random)
    dos = make_dos(structure, n_electrons, gap, random)
    files = {}
    for name, thing in (("bands", bands), ("dos", dos)):
        step = "bands" if name == "bands" else "pdos"
        relative = f"cells/{label}/{step}/attempt-1/{name}.json.gz"
        (folder / relative).parent.mkdir(parents=True, exist_ok=True)
        dumpfn(thing, folder / relative)
        files[name] = relative
    edges = find_edges(bands, "bands", n_electrons)
    settings = RunSettings(
        functional="PBE",
        cutoff_wfc_ry=60,
        cutoff_rho_ry=240,
        kpoint_mesh=(3, 3, 2),
        pseudopotentials={
            symbol: Pseudopotential(file=f"{symbol}.upf", sha256=f"{sum(map(ord, symbol)):064x}")
            for symbol in sorted({site.specie.symbol for site in structure})
        },
    )
    return CellResult(
        label=label,
        fa_fraction=fraction,
        alignment=alignment,
        formula=structure.composition.formula.replace(" ", ""),
        structure=structure.as_dict(),
        lattice_a_angstrom=lengths[0],
        lattice_b_angstrom=lengths[1],
        lattice_c_angstrom=lengths[2],
        volume_angstrom3=structure.volume,
        settings=settings,
        edges=edges,
        levels=_levels(edges, gap),
        masses=_masses(fraction) if rich else None,
        masses_spin_orbit=None,
        pdos=PdosSummary(
            edge_character=EdgeCharacter(
                vbm={"Br-p": 0.62, "Pb-s": 0.31, "Pb-d": 0.02}, cbm={"Pb-p": 0.71, "Br-s": 0.12, "Br-p": 0.08}
            ),
            file=files["dos"],
            spilling=0.011,
        ),
        distortion=Distortion(
            pb_br_pb_deg=[151.2 + 4 * fraction, 158.4 - 3 * fraction],
            bond_length_variance=(1.2 + 5 * fraction) * 1e-5,
            angle_variance_deg2=1.1 + 8 * fraction,
            tilts_deg={"a": 9.8, "b": 10.4, "c": 8.9},
            fa_axis_deg=[{axis: 0.0 if axis == alignment else 90.0 for axis in "abc"}] if fraction else None,
            notes=[] if fraction else ["fa_axis_deg: no formamidinium in this cell"],
        ),
        excitation=_excitation(fraction) if rich else [],
        timings={
            "relax": StepTiming(wall_s=5234, core_s=10400, scf_iterations=212, ionic_steps=19, attempts=2),
            "scf": StepTiming(wall_s=312, core_s=610, scf_iterations=13),
            "bands": StepTiming(wall_s=713, core_s=1411),
        },
        files=files,
    )


def make_structure(fraction, alignment, lengths) -> Structure:
    pnma = Structure.from_spacegroup(
        "Pnma",
        Lattice.orthorhombic(8.420, 11.764, 8.078),
        ["Cs", "Pb", "Br", "Br"],
        [[0.0639, 0.25, 0.4804], [0, 0, 0], [0.5063, 0.75, 0.4323], [0.2989, 0.4655, 0.1974]],
    )
    lattice = Lattice.orthorhombic(*lengths)
    species = [site.specie.symbol for site in pnma]
    coords = pnma.frac_coords[:, [2, 0, 1]] % 1
    replaced = [index for index, symbol in enumerate(species) if symbol == "Cs"][: round(4 * fraction)]
    structure = Structure(
        lattice,
        [symbol for index, symbol in enumerate(species) if index not in replaced],
        [coord for index, coord in enumerate(coords) if index not in replaced],
    )
    for index in replaced:
        for symbol, offset in _formamidinium(alignment):
            structure.append(symbol, lattice.get_cartesian_coords(coords[index]) + offset, coords_are_cartesian=True)
    return structure.get_sorted_structure()


def _formamidinium(axis):
    along = np.eye(3)["abc".index(axis)]
    across = np.eye(3)[("abc".index(axis) + 1) % 2]
    half = np.radians(125.9 / 2)
    carbon = 0.35 * across
    ion = [("C", carbon), ("H", carbon + 1.098 * across)]
    for side in (1, -1):
        nitrogen = carbon + 1.307 * (side * np.sin(half) * along - np.cos(half) * across)
        ion.append(("N", nitrogen))
        ion += [
            ("H", nitrogen + 1.023 * (side * np.cos(angle) * along + np.sin(angle) * across))
            for angle in (np.radians(27.1), np.radians(-90))
        ]
    return ion


def make_bands(structure, n_electrons, gap, random) -> BandStructureSymmLine:
    kpoints, labels = [], []
    for branch in PATH:
        for start, end in pairwise(branch):
            steps = np.linspace(0, 1, 21)[:, None]
            kpoints.extend(np.array(POINTS[start]) * (1 - steps) + np.array(POINTS[end]) * steps)
            labels += [start, *[None] * 19, end]
    kpoints = np.array(kpoints)
    n_occupied = n_electrons // 2
    n_bands = n_occupied + 12
    phase = 1 - np.cos(2 * np.pi * kpoints)
    energies = np.empty((n_bands, len(kpoints)))
    for band in range(n_bands):
        occupied = band < n_occupied
        depth = (n_occupied - 1 - band) if occupied else (band - n_occupied)
        start = 0.075 * depth + 0.15 * (depth > 0) if occupied else 0.16 * depth + 0.2 * (depth > 0)
        width = random.uniform(0.15, 0.45, 3) * (1 if depth < 3 else random.choice([1, 0.4, 0.2]))
        shape = start + phase @ width / (1 + 0.3 * depth)
        energies[band] = (-shape if occupied else gap + shape) + 3.1
    energies = np.sort(energies, axis=0)
    return BandStructureSymmLine(
        kpoints,
        {Spin.up: energies},
        structure.lattice.reciprocal_lattice,
        efermi=3.1,
        labels_dict={name: list(point) for name, point in POINTS.items()},
        structure=structure,
    )


def make_dos(structure, n_electrons, gap, random):
    states = [
        AtomicState(index, site.specie.symbol, angular, m)
        for index, site in enumerate(structure)
        for angular in ORBITALS[site.specie.symbol]
        for m in range(1, 2 * angular + 2)
    ]
    n_occupied = n_electrons // 2
    n_bands = n_occupied + 24
    centres = {  # energies from the VBM where each species has its states
        "Cs-s": (6.0, 1.0), "Cs-p": (-8.5, 0.2), "Pb-s": (-7.0, 1.5), "Pb-p": (gap + 1.0, 0.8),
        "Pb-d": (-15.5, 0.1), "Br-s": (-14.0, 0.3), "Br-p": (-1.7, 1.0), "C-s": (-9.0, 1.0),
        "C-p": (gap + 1.6, 0.3), "N-s": (-11.0, 0.8), "N-p": (-5.5, 1.0), "H-s": (-6.5, 1.5),
    }  # fmt: skip
    energies = np.concatenate(
        [
            -np.abs(np.sort(random.gamma(1.6, 1.3, size=(2, n_occupied)), axis=1)),
            gap + np.abs(np.sort(random.gamma(1.5, 0.9, size=(2, n_bands - n_occupied)), axis=1)),
        ],
        axis=1,
    )
    weights = np.empty((2, n_bands, len(states)))
    for column, state in enumerate(states):
        centre, width = centres[state.label]
        closeness = np.exp(-((energies - centre) ** 2) / (2 * (width + 0.7) ** 2)) + 0.01
        extra = 0.35 * np.exp(-(energies**2) / 0.5) if state.label == "Pb-s" else 0.0
        weights[:, :, column] = closeness + extra
    weights /= weights.sum(axis=2, keepdims=True) / 0.985
    return complete_dos(structure, energies + 3.1, [1, 1], weights, states, efermi_ev=3.1)


def _levels(edges: BandEdges, gap: float) -> list[Level]:
    def row(functional, shift, mesh, source, *, spin_orbit=False):
        return Level(
            functional=functional, spin_orbit=spin_orbit, kpoint_mesh=mesh, source=source,
            cutoff_wfc_ry=60, vbm_ev=edges.vbm_ev, cbm_ev=edges.vbm_ev + gap + shift, gap_ev=gap + shift,
        )  # fmt: skip

    return [
        row("PBE", 0.0, (3, 3, 2), "bands"),
        row("PBE", -1.08, (3, 3, 2), "bands", spin_orbit=True),
        row("HSE06", 0.59, (2, 2, 1), "mesh"),
    ]


def _masses(fraction) -> Masses:
    def tensor(carrier, x, y, z):
        return MassTensor(
            carrier=carrier, tensor_inverse=((1 / x, 0, 0), (0, 1 / y, 0), (0, 0, 1 / z)), principal=(x, y, z),
            axes=((1, 0, 0), (0, 1, 0), (0, 0, 1)), gamma_x=x, gamma_y=y, gamma_z=z,
            path_gamma_x=x + 0.01, path_gamma_y=y + 0.01, path_gamma_z=z, band_index=88, degeneracy=1,
            extremum_kpoint=(0, 0, 0), step_inv_bohr=0.01, fit_residual_ev=2e-6, converged=True,
        )  # fmt: skip

    return Masses(
        electron=tensor("electron", 0.98 - 0.2 * fraction, 1.02 - 0.2 * fraction, 0.11 + 0.02 * fraction),
        hole=tensor("hole", 0.21, 0.20, 0.19),
    )


def _excitation(fraction) -> list[Excitation]:
    groups = {"FA": 0.04, "Cs": 0.01, "Pb": 0.61, "Br": 0.34} if fraction else {"Cs": 0.02, "Pb": 0.64, "Br": 0.34}
    return [
        Excitation(
            kind="neutral", energy_ev=1.74, ks_gap_ev=1.75, occupations_kept=True, electron_by_group=groups,
            hole_by_group={**groups, "Pb": groups["Pb"] - 0.3, "Br": groups["Br"] + 0.3},
            gained_by_group={name: value * 0.8 for name, value in groups.items()},
            lost_by_group={name: value * 0.8 for name, value in groups.items()}, moved_e=0.8, scheme="voronoi",
        )
    ]  # fmt: skip


def _row(cell: CellResult, reference: CellResult) -> ComparisonRow:
    place, sts_gap, sts_shift = PAPER_PLACES.get(cell.label, (None, None, None))
    shift = cell.edges.gap_ev - reference.edges.gap_ev
    return ComparisonRow(
        cell=cell.label,
        place=place,
        gap_ev=cell.edges.gap_ev,
        shift_ev=shift,
        shift_uncertainty_ev=0.0 if cell is reference else 0.018,
        sts_gap_ev=sts_gap,
        sts_shift_ev=sts_shift,
        sts_shift_uncertainty_ev=None,
        difference_ev=None if sts_shift is None else shift - sts_shift,
        level="PBE, no spin-orbit, 60 Ry, 3×3×2 mesh, gap from bands",
    )
