"""What the Makers of every engine share: a job that knows its key and its folder.

A job gives back the stored result where one with its key is there, and otherwise runs in a fresh attempt folder.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from jobflow import Maker, job
from pymatgen.core import Structure

from corecrown.errors import CorecrownError, RunError
from corecrown.postprocess.results import Step, StepResult
from corecrown.workflows.protocols import StepSettings, Theory, level_of_step
from corecrown.workflows.record import StepFolder, StepOutput, cannot_write

__all__ = [
    "Launch",
    "StepMaker",
    "attempt_in",
    "cell_mismatch",
    "said_in",
    "valence_edge",
]


Input = TypeVar("Input")


@dataclass(frozen=True)
class Launch(Generic[Input]):
    """One try at a calculation.

    Parameters
    ----------
    folder
        The fresh folder of this attempt.
    record
        Folder of the step, with earlier attempts.
    key
        Hash of all that determines the result.
    inputs
        Input of the program.
    source
        Output of the step whose density is used, if any.
    """

    folder: Path
    record: StepFolder
    key: str
    inputs: Input
    source: StepOutput | None = None


@dataclass
class StepMaker(Maker):
    """Base of the Makers of steps, whatever the engine.

    Parameters
    ----------
    settings
        How carefully the step is computed.
    theory
        Functional, dispersion, spin-orbit coupling.
    folder
        Where the record of this step is kept; the working directory if None.
    label
        Which cell this is, for people.
    name
        Name of the job.
    """

    settings: StepSettings
    theory: Theory = field(default_factory=Theory)
    folder: str | None = None
    label: str = "cell"
    name: str = "step"

    step: ClassVar[Step]
    version: ClassVar[int] = 1
    """Raised when the same inputs would give another result."""

    @job(output_schema=StepOutput)
    def make(self, structure: Structure, source: StepOutput | None = None) -> StepOutput:
        """Compute, or give back what was computed before.

        Parameters
        ----------
        structure
            The cell.
        source
            Output of the step whose density this one uses; a relaxation has none.
        """
        return self.calculate(structure, source)

    def calculate(self, structure: Structure, source: StepOutput | None = None) -> StepOutput:
        """Do what :meth:`make` does, at once and without a flow."""
        record = StepFolder(Path(self.folder) if self.folder else Path.cwd())
        with record.alone():
            with said_in(record):
                inputs = self.inputs(structure)
                key = self.key(inputs, source)
            stored = record.finished(key)
            if stored is None:
                stored = self.compute(record, key, inputs, source)
        return StepOutput(
            dir_name=str((record.path / stored.folder).resolve()), structure=stored.structure, result=stored
        )

    def compute(self, record: StepFolder, key: str, inputs: Any, source: StepOutput | None) -> StepResult:
        """Run in a fresh attempt folder and store the result."""
        with attempt_in(record, key) as attempt:
            stored = self.run(Launch(attempt, record, key, inputs, source))
            record.finish(stored)
        return stored

    @property
    def level(self) -> Theory:
        """The level of theory of this step."""
        return level_of_step(self.step, self.theory, self.settings)

    def inputs(self, structure: Structure) -> Any:
        """Return the input of the program for a cell."""
        raise RunError(f"{type(self).__name__} writes no input", "a Maker of a step says what it writes")

    def run(self, launch: Launch[Any]) -> StepResult:
        """Run the programs in a fresh folder and read the result."""
        raise RunError(f"{type(self).__name__} runs nothing", "a Maker of a step says what it runs")

    def key(self, inputs: Any, source: StepOutput | None) -> str:
        """Return the hash of all that determines the result of this step."""
        raise RunError(f"{type(self).__name__} has no key", "a Maker of an engine says what determines a result")

    def density(self, source: StepOutput | None, inputs: Any) -> StepOutput:
        """Return the scf that a run without self-consistency starts from, after checking that it fits.

        Raises
        ------
        RunError
            If there is none, or it is of another cell, other species, cutoffs, pseudopotentials or functional.
        """
        if source is None:
            raise RunError(f"{self.label}: no scf to start from", "hand the output of an ScfMaker job in as source")
        mismatch = self.density_mismatch(source.result, inputs)
        if mismatch:
            raise RunError(
                f"{self.label}: the density in {source.dir_name} is not of this calculation: {mismatch}",
                "run the scf again with the same cell and settings",
            )
        return source

    def density_mismatch(self, scf: StepResult, inputs: Any) -> str | None:
        """Return in what an scf differs from what an input asks for, or None."""
        raise RunError(f"{type(self).__name__} compares no densities", "a Maker of an engine says what has to fit")

    def extra_identity(self) -> dict[str, Any]:
        """Return what else determines the result, beyond the input of the program."""
        return {}


@contextmanager
def said_in(record: StepFolder) -> Iterator[None]:
    """Say in the record why not even the inputs could be made, in an attempt of its own; said once."""
    try:
        yield
    except CorecrownError as error:
        if record.failure() != str(error):
            record.fail(record.begin("no inputs"), str(error))
        raise


@contextmanager
def attempt_in(record: StepFolder, key: str) -> Iterator[Path]:
    """Open a fresh attempt; if it comes to nothing, its folder says why."""
    try:
        attempt = record.begin(key)
    except OSError as error:
        raise cannot_write(record.path, error) from error
    try:
        yield attempt
    except CorecrownError as error:
        record.fail(attempt, str(error))
        raise
    except OSError as error:
        record.fail(attempt, str(error))
        raise cannot_write(attempt, error) from error
    except Exception as error:
        record.fail(attempt, f"{type(error).__name__}: {error}")
        raise


def valence_edge(density: StepResult | None, fermi_ev: float | None) -> float:
    """Return the valence edge of an scf in eV, which bands without self-consistency cannot know."""
    if density is not None and density.edges is not None and density.edges.vbm_ev is not None:
        return density.edges.vbm_ev
    return fermi_ev or 0.0


def cell_mismatch(theirs: Structure, mine: Structure, tolerance: float = 1e-5) -> str | None:
    """Return in what two cells differ, or None.

    Parameters
    ----------
    theirs, mine
        The cells; atoms in the same order.
    tolerance
        Of lattice vectors in Å, and of fractional coordinates, which may differ by whole numbers.
    """
    if [site.specie for site in theirs] != [site.specie for site in mine]:
        return f"species {theirs.formula} instead of {mine.formula}"
    if not np.allclose(theirs.lattice.matrix, mine.lattice.matrix, atol=tolerance):
        return f"lattice {theirs.lattice.abc} instead of {mine.lattice.abc}"
    apart = mine.frac_coords - theirs.frac_coords
    apart -= np.round(apart)
    if np.abs(apart).max() > tolerance:
        return "other atomic positions"
    return None
