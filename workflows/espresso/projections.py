"""What projwfc.x left: squared projections of every state on atomic orbitals."""

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pymatgen.electronic_structure.dos import CompleteDos

from corecrown.errors import InputError, RunError
from corecrown.postprocess.pdos import AtomicState, complete_dos, edge_character
from corecrown.postprocess.results import EdgeCharacter
from corecrown.workflows.espresso.outputs import PwRun

__all__ = ["Projections", "find_projections", "projected_dos", "read_projections"]

_STATE = re.compile(
    r"state #\s*(\d+): atom\s*(\d+) \(\s*([A-Z][a-z]?)\d*\s*\), wfc\s*\d+ \(l=\s*(\d)"
    r"(?:\s+j=\s*(\d\.\d))?\s+m(?:_j)?=\s*(-?\d+(?:\.\d)?)\)"
)


@dataclass(frozen=True)
class Projections:
    """Squared projections and what they are on.

    Parameters
    ----------
    weights
        Shape (n_spin, n_kpoints, n_bands, n_states).
    states
        One an atomic orbital, in the order of the last axis.
    """

    weights: npt.NDArray[np.float64]
    states: list[AtomicState]


def read_projections(xml: Path, output: Path) -> Projections:
    """Read ``atomic_proj.xml`` and the list of states on the standard output of projwfc.x.

    Parameters
    ----------
    xml
        ``atomic_proj.xml`` in the ``.save`` folder.
    output
        Standard output of projwfc.x, which says what each state is.

    Raises
    ------
    RunError
        If a file is missing or cut off, or the two disagree.
    """
    try:
        root = ET.parse(xml).getroot()  # noqa: S314  (a local file that projwfc.x wrote)
        text = output.read_text(encoding="utf-8", errors="replace")
        header = root.find("HEADER")
        assert header is not None
        n_bands, n_kpoints = int(header.attrib["NUMBER_OF_BANDS"]), int(header.attrib["NUMBER_OF_K-POINTS"])
        n_states = int(header.attrib["NUMBER_OF_ATOMIC_WFC"])
        # one component each for up and down; a spinor's are summed by projwfc.x
        n_spin = 2 if int(header.attrib["NUMBER_OF_SPIN_COMPONENTS"]) == 2 else 1
        weights = np.zeros((n_spin, n_kpoints, n_bands, n_states))
        seen = -1
        blocks = root.findall("./EIGENSTATES/PROJS")
        for index, block in enumerate(blocks):
            spin, kpoint = divmod(index, n_kpoints) if len(blocks) == n_spin * n_kpoints else (0, index)
            for element in block.findall("ATOMIC_WFC"):
                values = np.array((element.text or "").split(), dtype=float).reshape(n_bands, 2)
                weights[spin, kpoint, :, int(element.attrib["index"]) - 1] += (values**2).sum(axis=1)
            seen = index
    except (OSError, ET.ParseError, AssertionError, KeyError, ValueError, IndexError) as error:
        raise RunError(f"{xml}: not a whole output of projwfc.x ({error})", "run the pdos step again") from error
    states = _read_states(text)
    if len(states) != n_states or seen + 1 < n_kpoints:
        raise RunError(
            f"{output}: {len(states)} states and {seen + 1} k-points, but {xml.name} has {n_states} and {n_kpoints}",
            "the run was cut off; run the pdos step again",
        )
    return Projections(weights, states)


def find_projections(xml: Path, folder: Path) -> tuple[Path, Path]:
    """Return ``atomic_proj.xml`` and the standard output of projwfc.x that belong to a run.

    Parameters
    ----------
    xml
        XML file of the run of pw.x.
    folder
        Folder to look for the output in.

    Raises
    ------
    InputError
        If either is missing.
    """
    projections = xml.with_name("atomic_proj.xml")
    if not projections.is_file():
        raise InputError(f"{xml.parent}: no atomic_proj.xml", "run projwfc.x on it first")
    around = [path for path in (folder, xml.parent, xml.parent.parent, xml.parent.parent.parent) if path.is_dir()]
    for place in around:
        for path in sorted(place.glob("*.out")):
            if "Atomic states used for projection" in path.read_text(encoding="utf-8", errors="replace"):
                return projections, path
    raise InputError(
        f"{folder}: no output of projwfc.x (*.out), which says what the states are", "keep it beside the run"
    )


def projected_dos(
    run: PwRun, projections: Projections, *, efermi_ev: float | None = None, sigma_ev: float, step_ev: float = 0.02
) -> tuple[CompleteDos, EdgeCharacter]:
    """Return the density of states of a run on a mesh, and what its edges are made of.

    Parameters
    ----------
    efermi_ev
        Kept as its Fermi energy; the highest filled state by default.
    sigma_ev, step_ev
        Gaussian broadening and step of the axis, eV.
    """
    occupied = round(run.n_electrons) if run.spin_orbit else round(run.n_electrons / 2)
    dos = complete_dos(
        run.structure,
        run.eigenvalues_ev,
        run.weights,
        projections.weights,
        projections.states,
        efermi_ev=float(run.eigenvalues_ev[:, :, occupied - 1].max()) if efermi_ev is None else efermi_ev,
        sigma_ev=sigma_ev,
        step_ev=step_ev,
        spin_orbit=run.spin_orbit,
    )
    return dos, edge_character(projections.weights, run.eigenvalues_ev, projections.states, occupied)


def _read_states(text: str) -> list[AtomicState]:
    states = []
    for number, atom, element, l, j, m in _STATE.findall(text):  # noqa: E741
        order = int(float(m)) if not j else int(number)
        states.append(AtomicState(int(atom) - 1, element, int(l), order, float(j) if j else None))
    return states
