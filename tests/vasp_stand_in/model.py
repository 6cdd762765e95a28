"""A small tight-binding crystal and a springy cell; part of a test tool that stands in for VASP.

Energies of orbitals and their decay with distance (d to the power of -2) follow Harrison's universal parameters
(Electronic Structure and the Properties of Solids, 1980), rounded: the aim is a crystal with a gap, not a number to
believe.
"""

from dataclasses import dataclass

import numpy as np
from reading import Inputs

HBAR2_OVER_M = 7.62  # eV Å²
ETA = {"sss": -1.32, "sps": 1.42, "pps": 2.22, "ppp": -0.63}

ORBITALS = {
    "Cs": [("s", -30.0), ("p", -16.0), ("s", -1.0)],
    "Rb": [("s", -31.0), ("p", -17.0), ("s", -1.0)],
    "Pb": [("s", -12.0), ("p", -5.5), ("d", -24.0)],
    "Sn": [("s", -12.5), ("p", -5.9), ("d", -26.0)],
    "Br": [("s", -23.0), ("p", -10.5)],
    "I": [("s", -20.0), ("p", -9.5)],
    "Cl": [("s", -25.0), ("p", -11.7)],
    "C": [("s", -14.0), ("p", -4.0)],
    "N": [("s", -26.0), ("p", -14.0)],
    "H": [("s", -14.0)],
    "Si": [("s", -14.8), ("p", -7.6)],
}
RADII = {"Cs": 2.44, "Rb": 2.2, "Pb": 1.46, "Sn": 1.39, "Br": 1.20, "I": 1.39, "Cl": 1.02, "C": 0.76, "N": 0.71}
RADII |= {"H": 0.31, "Si": 1.11}
SPIN_ORBIT = {"Pb": 0.7, "Sn": 0.3, "Br": 0.2, "I": 0.35}
REACH = 1.25  # of the sum of two radii
COLUMNS = {"s": 1, "p": 3, "d": 5}
PLACE_IN_PROJECTION = {"s": [0], "p": [1, 2, 3], "d": [4, 5, 6, 7, 8]}  # p as y, z, x
P_AXES = [1, 2, 0]
HYBRID_WIDENING_EV = 0.8
FLOOR_EV, FLOOR_STEP_EV = 12.0, 0.15
STIFFNESS_KBAR = 400.0
SHEAR = 0.004


@dataclass
class Bands:
    """Eigenvalues (spins, k, bands), occupations alike, projections (spins, k, bands, atoms, 9), Fermi energy."""

    levels: np.ndarray
    occupations: np.ndarray
    projections: np.ndarray
    fermi: float


@dataclass
class IonicStep:
    """A geometry on the way, with its forces, stress (kbar) and energy."""

    lattice: np.ndarray
    forces: np.ndarray
    stress: np.ndarray
    energy: float


def bands_of(inputs: Inputs, lattice: np.ndarray) -> Bands:
    """Return the bands at the k-points of the inputs."""
    wanted = int(inputs.number("NBANDS", 0))
    spinor = inputs.flag("LSORBIT")
    basis = _basis(inputs)
    hoppings = _hoppings(basis, _bonds(inputs, lattice))
    coupling = _spin_orbit(basis, inputs.symbols) if spinor else None
    levels, projections = [], []
    for kpoint in inputs.kpoints:
        matrix = _hamiltonian(basis, hoppings, kpoint)
        if coupling is not None:
            matrix = np.kron(np.eye(2), matrix) + coupling
        values, vectors = np.linalg.eigh(matrix)
        values, weights = _padded(values, np.abs(vectors) ** 2, wanted)
        levels.append(values)
        projections.append(_by_atom(weights, basis, len(inputs.frac), spinor))
    spins = 2 if int(inputs.number("ISPIN", 1)) == 2 and not spinor else 1
    eigen = np.repeat(np.array(levels)[None], spins, axis=0)
    filled = round(inputs.n_electrons if spinor else inputs.n_electrons / 2)
    if inputs.flag("LHFCALC"):
        eigen[:, :, filled:] += HYBRID_WIDENING_EV
    occupations = np.zeros_like(eigen)
    occupations[:, :, :filled] = 1
    if int(inputs.number("ISMEAR", 1)) == -2:
        for channel, tag in enumerate(["FERWE", "FERDO"][:spins]):
            occupations[channel] = np.array(inputs.numbers(tag)).reshape(len(inputs.kpoints), -1)
    top = float(eigen[:, :, filled - 1].max())
    return Bands(eigen, occupations, np.repeat(np.array(projections)[None], spins, axis=0), top + 0.05)


def _basis(inputs: Inputs) -> list[tuple[int, str, float, int]]:
    """Return (atom, kind, energy, component) of each orbital."""
    return [
        (atom, kind, energy, component)
        for atom, symbol in enumerate(inputs.symbols)
        for kind, energy in ORBITALS[symbol]
        for component in range(COLUMNS[kind])
    ]


def _bonds(inputs: Inputs, lattice: np.ndarray) -> list[tuple[int, int, np.ndarray, np.ndarray]]:
    """Return (atom, atom, cells between them, vector in Å) of each bond, both ways."""
    symbols, frac = inputs.symbols, inputs.frac
    radii = np.array([RADII[symbol] for symbol in symbols])
    found = []
    cells = np.array([(i, j, k) for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1)])
    for first in range(len(frac)):
        apart = frac[None, :, :] - frac[first] + cells[:, None, :]
        vectors = apart @ lattice
        distances = np.linalg.norm(vectors, axis=2)
        near = (distances > 0.1) & (distances < REACH * (radii[first] + radii)[None, :])
        for cell, second in zip(*np.nonzero(near), strict=True):
            found.append((first, int(second), cells[cell], vectors[cell, second]))
    return found


def _hoppings(basis: list, pairs: list) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return rows, columns, cells and values of all matrix elements between orbitals; d states keep to themselves."""
    of_atom: dict[int, list[int]] = {}
    for place, (atom, kind, _, _) in enumerate(basis):
        if kind != "d":
            of_atom.setdefault(atom, []).append(place)
    rows, columns, cells, values = [], [], [], []
    for first, second, cell, vector in pairs:
        distance = np.linalg.norm(vector)
        direction, strength = vector / distance, HBAR2_OVER_M / distance**2
        for row in of_atom[first]:
            for column in of_atom[second]:
                rows.append(row)
                columns.append(column)
                cells.append(cell)
                values.append(strength * _hopping(basis[row], basis[column], direction))
    return np.array(rows), np.array(columns), np.array(cells), np.array(values)


def _hamiltonian(basis: list, hoppings: tuple, kpoint: np.ndarray) -> np.ndarray:
    matrix = np.diag([energy for _, _, energy, _ in basis]).astype(complex)
    rows, columns, cells, values = hoppings
    if len(rows):
        np.add.at(matrix, (rows, columns), values * np.exp(2j * np.pi * (cells @ kpoint)))
    return (matrix + matrix.conj().T) / 2


def _hopping(first: tuple, second: tuple, direction: np.ndarray) -> float:
    kinds = first[1] + second[1]
    if first[2] < -28 or second[2] < -28 or -2 < first[2] < 0 or -2 < second[2] < 0:
        return 0.0  # semicore states and the high s state of the alkali metals hardly take part
    if kinds == "ss":
        return ETA["sss"]
    if kinds == "sp":
        return ETA["sps"] * direction[P_AXES[second[3]]]
    if kinds == "ps":
        return -ETA["sps"] * direction[P_AXES[first[3]]]
    one, other = direction[P_AXES[first[3]]], direction[P_AXES[second[3]]]
    same = 1.0 if first[3] == second[3] else 0.0
    return one * other * ETA["pps"] + (same - one * other) * ETA["ppp"]


def _spin_orbit(basis: list, symbols: list[str]) -> np.ndarray:
    """Return λ L·S on p states, spin the slower index."""
    size = len(basis)
    levi = np.zeros((3, 3, 3))
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        levi[i, j, k], levi[i, k, j] = 1, -1
    pauli = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])
    total = np.zeros((2 * size, 2 * size), dtype=complex)
    starts = [place for place, (_, kind, _, component) in enumerate(basis) if kind == "p" and component == 0]
    for axis in range(3):
        orbital = np.zeros((size, size), dtype=complex)
        block = -1j * levi[axis][np.ix_(P_AXES, P_AXES)]
        for start in starts:
            orbital[start : start + 3, start : start + 3] = SPIN_ORBIT.get(symbols[basis[start][0]], 0.0) * block
        total += np.kron(pauli[axis] / 2, orbital)
    return total


def _padded(values: np.ndarray, weights: np.ndarray, wanted: int) -> tuple[np.ndarray, np.ndarray]:
    """Return exactly the wanted number of bands: high flat ones without projection stand for plane waves."""
    missing = wanted - len(values)
    if missing > 0:
        start = max(FLOOR_EV, float(values.max()) + FLOOR_STEP_EV)
        values = np.concatenate([values, start + FLOOR_STEP_EV * np.arange(missing)])
        weights = np.hstack([weights, np.zeros((len(weights), missing))])
    return values[:wanted], weights[:, :wanted]


def _by_atom(weights: np.ndarray, basis: list, n_atoms: int, spinor: bool) -> np.ndarray:
    """Return (bands, atoms, 9); a tenth is missing, as what lies between the spheres is."""
    if spinor:
        half = len(weights) // 2
        weights = weights[:half] + weights[half:]
    found = np.zeros((weights.shape[1], n_atoms, 9))
    for place, (atom, kind, _, component) in enumerate(basis):
        found[:, atom, PLACE_IN_PROJECTION[kind][component]] += 0.9 * weights[place]
    return found


def relax_path(inputs: Inputs) -> list[IonicStep]:
    """Return the ionic steps: one at fixed atoms, and otherwise towards the nearest rest of the springs.

    Lengths come to rest at multiples of 0.05 Å; a cell of low symmetry wants to shear.
    """
    allowed = max(1, int(inputs.number("NSW", 0)))
    isif = int(inputs.number("ISIF", 2))
    threshold = abs(inputs.number("EDIFFG", -0.05))
    free = np.ones((3, 3))
    if "LATTICE_CONSTRAINTS" in inputs.incar:
        held = [not word.strip(".").upper().startswith("T") for word in inputs.incar["LATTICE_CONSTRAINTS"].split()]
        free[held, :] = 0
        free[:, held] = 0
    lattice, steps = inputs.lattice.copy(), []
    rest = _rest_lattice(inputs)
    pattern = np.array([[1.0, -0.5, 0.25]]) * (-1.0) ** np.arange(len(inputs.frac))[:, None]
    for number in range(allowed):
        strain = (rest - lattice) @ np.linalg.inv(lattice)
        strain = (strain + strain.T) / 2
        force = 0.4 * 0.3**number * pattern * (1 if allowed > 1 else 0.01)
        elastic = 10.0 * float((strain**2).sum())
        steps.append(IonicStep(lattice.copy(), force, STIFFNESS_KBAR * strain, elastic))
        moving = strain * free if isif == 3 else np.zeros((3, 3))
        at_rest = np.abs(force).max() < threshold and np.abs(STIFFNESS_KBAR * moving).max() < 0.05
        if at_rest or allowed == 1:
            break
        lattice = lattice @ (np.eye(3) + 0.8 * moving)
    return steps


def _rest_lattice(inputs: Inputs) -> np.ndarray:
    lengths = np.linalg.norm(inputs.lattice, axis=1)
    directions = inputs.lattice / lengths[:, None]
    orthogonal = np.allclose(directions @ directions.T, np.eye(3), atol=0.02)
    rest = directions * (np.round(lengths / 0.05) * 0.05)[:, None]
    if orthogonal and not _symmetric(inputs):
        rest = np.diag(np.round(lengths / 0.05) * 0.05)
        rest[2, 1] += SHEAR * lengths[2]
    return rest


def _symmetric(inputs: Inputs) -> bool:
    import spglib

    numbers = [inputs.species.index(symbol) + 1 for symbol in inputs.symbols]
    dataset = spglib.get_symmetry((inputs.lattice, inputs.frac, numbers), symprec=1e-5)
    rotations = np.abs(np.array(dataset["rotations"]).sum(axis=0))
    return bool(np.count_nonzero(rotations - np.diag(np.diag(rotations))) == 0 and len(dataset["rotations"]) >= 4)
