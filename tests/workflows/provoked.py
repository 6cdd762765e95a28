"""Two-atom silicon for failures that are provoked on the real pw.x, and what the table of failures says of them."""

import re
from pathlib import Path

from pymatgen.core import Lattice, Structure

from corecrown.errors import RunError
from corecrown.postprocess.results import Step
from corecrown.workflows.espresso.handlers import corrections
from corecrown.workflows.espresso.inputs import PwInput, relax_input, scf_input
from corecrown.workflows.espresso.outputs import read_run
from corecrown.workflows.espresso.pseudopotentials import find_pseudopotentials
from corecrown.workflows.protocols import Theory, load_protocol

SMALL = {
    "all": {"cutoff_wfc_ry": 16, "kpoint_mesh": [2, 2, 2]},
    "relax": {"kpoint_mesh": [2, 2, 2], "force_threshold_ry_bohr": 1e-3, "relax_cell": True},
    "pdos": {"kpoint_mesh": [2, 2, 2], "conduction_bands": 4},
    "bands": {"path_spacing": 0.5, "conduction_bands": 4},
}
XML = "out/corecrown.save/data-file-schema.xml"


def silicon(a=5.44, moved=0.0):
    half = a / 2
    lattice = Lattice([[0, half, half], [half, 0, half], [half, half, 0]])
    return Structure(lattice, ["Si", "Si"], [[0, 0, 0], [0.25 + moved, 0.25, 0.25]])


def settings(step):
    return load_protocol("demo", SMALL).settings(step)


def upf(*elements):
    return find_pseudopotentials(elements or ["Si"], "PBE", "SR")


def scf(structure=None, **electrons) -> PwInput:
    pw = scf_input(structure or silicon(), settings(Step.SCF), Theory(), upf())
    return pw.with_keywords("electrons", **electrons)


def relax(structure, **ions) -> PwInput:
    return relax_input(structure, settings(Step.RELAX), Theory(), upf()).with_keywords("ions", **ions)


def told(folder: Path) -> str:
    """Return what the handlers did, for the table."""
    return "cured: " + "; ".join(corrections(folder))


def said(error: RunError) -> str:
    """Return what a person is told, for the table, without the folders of the test."""
    message = error.message.removeprefix("pw.x did not come to a good end: ")
    return "told: " + re.sub(r"\.?(/[\w.-]+)+/", "", message)


def energy(folder: Path) -> float:
    return read_run(folder / XML).energy_ev
