"""What is known after a calculation, in one shape for both engines.

Every model is frozen and round-trips through JSON. A value that cannot be had is ``None`` and ``notes``
beside it says why. Energies are in eV, lengths in Å, angles in degrees, masses in electron masses, unless a
name says otherwise.
"""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

__all__ = [
    "BandEdges",
    "CellResult",
    "ChargePartition",
    "Comparison",
    "ComparisonRow",
    "Distortion",
    "EdgeCharacter",
    "EdgeSource",
    "EnsembleResult",
    "Excitation",
    "LedgerRow",
    "Level",
    "MassTensor",
    "Masses",
    "PdosSummary",
    "Pseudopotential",
    "RunSettings",
    "SameStructure",
    "ShiftSplit",
    "Spread",
    "Step",
    "StepResult",
    "StepTiming",
    "StructureDict",
    "StudyResult",
]


def _as_plain_dict(structure: Any) -> Any:
    """Take a pymatgen Structure where its dict is meant: jobflow decodes one into the other on the way."""
    return structure.as_dict() if hasattr(structure, "as_dict") else structure


StructureDict = Annotated[dict[str, Any], BeforeValidator(_as_plain_dict)]
Vector = tuple[float, float, float]
Matrix = tuple[Vector, Vector, Vector]


class Result(BaseModel):
    """Base of all results: frozen, unknown fields refused, numbers that are not numbers refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    notes: list[str] = Field(default_factory=list, description="why a field is null, or what to keep in mind")


class Step(StrEnum):
    """The calculations a cell can go through, in the order they run."""

    RELAX = "relax"
    SCF = "scf"
    BANDS = "bands"
    PDOS = "pdos"
    MASSES = "masses"
    HYBRID = "hybrid"
    HYBRID_SPIN_ORBIT = "hybrid_spin_orbit"
    SPIN_ORBIT = "spin_orbit"
    MASSES_SPIN_ORBIT = "masses_spin_orbit"
    EXCITATION = "excitation"


class Pseudopotential(Result):
    """Which pseudopotential stood for an element."""

    file: str
    sha256: str


class RunSettings(Result):
    """What determines the physics of a calculation."""

    functional: str = Field(description="PBE, PBEsol, HSE06; with +D3 where a dispersion correction was added")
    spin_orbit: bool = False
    cutoff_wfc_ry: float | None = Field(None, description="plane-wave cutoff of the wavefunctions, Ry")
    cutoff_rho_ry: float | None = Field(None, description="plane-wave cutoff of the density, Ry")
    encut_ev: float | None = Field(None, description="VASP's plane-wave cutoff, eV")
    kpoint_mesh: tuple[int, int, int] | None = None
    kpoint_shift: tuple[int, int, int] = Field((0, 0, 0), description="1 where the mesh is shifted by half a step")
    q_mesh: tuple[int, int, int] | None = Field(None, description="q mesh of the exact exchange (hybrids)")
    pseudopotentials: dict[str, Pseudopotential] = Field(default_factory=dict, description="by element")


EdgeSource = Literal["bands", "mesh", "stencil"]
"""Lines, a mesh, or the k-points round the extrema that masses were measured on."""


class BandEdges(Result):
    """Valence and conduction edge on the k-points that were computed."""

    vbm_ev: float | None
    cbm_ev: float | None
    gap_ev: float | None
    direct: bool | None = None
    vbm_kpoint: Vector | None = Field(None, description="fractional, of our reciprocal cell")
    cbm_kpoint: Vector | None = Field(None, description="fractional, of our reciprocal cell")
    source: EdgeSource = Field(
        "bands", description="lines, mesh, or the k-points round the extrema that masses were measured on"
    )
    vbm_band: int | None = Field(None, description="0-based index of the highest valence band")

    @property
    def mid_gap_ev(self) -> float | None:
        """The middle of the gap, eV; None where an edge is not known."""
        return None if self.vbm_ev is None or self.cbm_ev is None else (self.vbm_ev + self.cbm_ev) / 2


class Level(Result):
    """The gap at one level of theory."""

    functional: str
    spin_orbit: bool
    kpoint_mesh: tuple[int, int, int] | None
    source: EdgeSource
    vbm_ev: float | None
    cbm_ev: float | None
    gap_ev: float | None
    kpoint_shift: tuple[int, int, int] = Field((0, 0, 0), description="1 where the mesh is shifted by half a step")
    q_mesh: tuple[int, int, int] | None = None
    cutoff_wfc_ry: float | None = None


class MassTensor(Result):
    """Effective mass of one carrier at its extremum; hole masses are positive."""

    carrier: Literal["electron", "hole"] | None = None
    tensor_inverse: Matrix | None = Field(None, description="(3, 3), 1/m0, Cartesian axes of our cell")
    principal: Vector | None = Field(None, description="principal masses, m0")
    axes: Matrix | None = Field(None, description="(3, 3), rows are the principal axes, Cartesian")
    gamma_x: float | None = Field(None, description="1/(M^-1)_xx, m0")
    gamma_y: float | None = Field(None, description="1/(M^-1)_yy, m0")
    gamma_z: float | None = Field(None, description="1/(M^-1)_zz, m0")
    path_gamma_x: float | None = Field(None, description="parabola along the path from Γ to X, m0")
    path_gamma_y: float | None = Field(None, description="parabola along the path from Γ to Y, m0")
    path_gamma_z: float | None = Field(None, description="parabola along the path from Γ to Z, m0")
    dos_mass: float | None = Field(None, description="density-of-states mass of one band, m0")
    conductivity_mass: float | None = Field(None, description="conductivity mass, m0")
    nonparabolicity_per_ev: float | None = Field(None, description="Kane's alpha, 1/eV")
    band_index: int | None = Field(None, description="0-based")
    degeneracy: int | None = None
    extremum_kpoint: Vector | None = Field(None, description="fractional, of our reciprocal cell")
    step_inv_bohr: float | None = Field(None, description="stencil step, 1/bohr")
    fit_residual_ev: float | None = Field(None, description="root mean square of the fit, eV")
    converged: bool = False


class Masses(Result):
    """Masses of both carriers."""

    electron: MassTensor | None = None
    hole: MassTensor | None = None


class EdgeCharacter(Result):
    """Projections of the edge states at their k-point; each sums to 1 less spilling."""

    vbm: dict[str, float] | None = Field(None, description='for example {"Br-p": 0.6, "Pb-s": 0.3}')
    cbm: dict[str, float] | None = None


class PdosSummary(Result):
    """What the edges are made of, and where the whole projected density of states is."""

    edge_character: EdgeCharacter
    file: str | None = Field(None, description="pymatgen CompleteDos as JSON, relative to the study folder")
    spilling: float | None = Field(None, description="part of the charge that the projection misses")


class Distortion(Result):
    """How far the Pb-Br framework is from cubic."""

    pb_br_pb_deg: list[float] | None = Field(None, description="one angle a bridging Br")
    bond_length_variance: float | None = Field(None, description="mean over octahedra of 1/6 Σ((d-d̄)/d̄)²")
    angle_variance_deg2: float | None = Field(None, description="mean over octahedra of 1/11 Σ(θ-90°)²")
    tilts_deg: dict[Literal["a", "b", "c"], float] | None = Field(None, description="rotation about a, b, c")
    fa_axis_deg: list[dict[Literal["a", "b", "c"], float]] | None = Field(
        None, description="angle of each FA's N-N axis to a, b, c"
    )


class ChargePartition(Result):
    """Where the charge of an excitation is, by one way of sharing it out: FA, and each element outside it."""

    scheme: str
    electron: dict[str, float] | None = Field(None, description="frozen |ψ|², sums to 1")
    hole: dict[str, float] | None = Field(None, description="frozen |ψ|², sums to 1")
    gained: dict[str, float] | None = Field(None, description="∫Δρ⁺ of relaxed densities, electrons")
    lost: dict[str, float] | None = Field(None, description="∫Δρ⁻ of relaxed densities, electrons")
    net: dict[str, float] | None = Field(None, description="gained less lost, electrons")
    volume: dict[str, float] | None = Field(None, description="share of the cell's volume: that of a uniform charge")
    by_fa: list[dict[str, float]] = Field(default_factory=list, description="the same numbers for each FA alone")


class Excitation(Result):
    """A Delta-SCF pair: energy, and where the charge went."""

    kind: str
    energy_ev: float | None
    ks_gap_ev: float | None
    occupations_kept: bool
    electron_by_group: dict[str, float] | None = Field(None, description="frozen |ψ|², sums to 1")
    hole_by_group: dict[str, float] | None = Field(None, description="frozen |ψ|², sums to 1")
    gained_by_group: dict[str, float] | None = Field(None, description="∫Δρ⁺ of relaxed densities, electrons")
    lost_by_group: dict[str, float] | None = Field(None, description="∫Δρ⁻ of relaxed densities, electrons")
    moved_e: float | None = Field(None, description="total of either, electrons")
    scheme: str | None = None
    orbitals: str | None = Field(None, description="bands counted from the edges, as vbm>cbm")
    supercell: tuple[int, int, int] | None = None
    hole_kept: float | None = Field(None, description="part of the hole found in the orbitals that were emptied")
    electron_kept: float | None = Field(None, description="part of the electron found in the orbitals that were filled")
    tries: int | None = Field(None, description="runs of the program it took")
    partitions: list[ChargePartition] = Field(default_factory=list)
    spread: dict[str, dict[str, float]] = Field(
        default_factory=dict, description="largest less smallest number of the partitions, by quantity and group"
    )
    participation: dict[str, float] = Field(
        default_factory=dict,
        description="electron_atoms, hole_atoms: 1 / Σp²; electron_volume, hole_volume: 1 / (Ω ∫|ψ|⁴)",
    )
    charge_correction_ev: float | None = Field(None, description="to be added to the energy of a charged cell")
    charge_correction: str | None = Field(None, description="its method, or that there is none")
    relaxed_energy_ev: float | None = Field(None, description="excited at its own geometry less ground at its own")
    emission_ev: float | None = Field(None, description="excited less ground, both at the excited state's geometry")
    relaxation_angstrom: float | None = Field(None, description="largest displacement of an atom on relaxing")
    stokes_shift_ev: float | None = Field(None, description="energy_ev less emission_ev")
    bond_changes: dict[str, dict[str, float]] = Field(
        default_factory=dict,
        description="on relaxing, by pair of elements: before, after (means, Å), longest_gain, longest_loss, bonds",
    )
    relaxed_participation: dict[str, float] = Field(
        default_factory=dict, description="electron_volume, hole_volume at the excited state's geometry"
    )
    statement: str | None = Field(None, description="what the numbers say of the share of FA")


class StepTiming(Result):
    """What a step cost."""

    wall_s: float = Field(description="of the programs themselves, all attempts that are recorded")
    core_s: float
    scf_iterations: int | None = None
    ionic_steps: int | None = None
    attempts: int = 1
    reused_from: str | None = Field(
        None,
        description="where this was computed, if not here: STUDY/cells/LABEL/STEP, below the folder of the studies",
    )


class StepResult(Result):
    """What one calculation gives: small facts here, arrays in the files that are named."""

    step: Step
    label: str
    key: str = Field(description="hash of all that determines this result")
    folder: str = Field(description="attempt folder the files are in, relative to the step's folder")
    engine: str
    code: str
    code_version: str
    settings: RunSettings
    timing: StepTiming
    structure: StructureDict = Field(description="pymatgen Structure as dict: relaxed, or as computed")
    energy_ev: float | None = Field(None, description="total energy of the cell")
    n_electrons: float | None = None
    n_bands: int | None = None
    edges: BandEdges | None = None
    pdos: PdosSummary | None = None
    masses: Masses | None = None
    excitation: list[Excitation] = Field(default_factory=list)
    converged: bool = True
    files: dict[str, str] = Field(default_factory=dict, description="name to file in the attempt folder")


class CellResult(Result):
    """All that is known of one cell."""

    label: str
    fa_fraction: float | None = Field(None, ge=0, le=1)
    alignment: str | None = None
    ensemble: str | None = Field(None, description="label of the ensemble this cell is a member of")
    made_from: list[str] = Field(
        default_factory=list, description="labels of the relaxed cells it was made from (counterfactual cells)"
    )
    formula: str
    setting: str | None = "Pbnm"
    structure: StructureDict = Field(description="pymatgen Structure as dict, relaxed where it was relaxed")
    lattice_a_angstrom: float
    lattice_b_angstrom: float
    lattice_c_angstrom: float
    volume_angstrom3: float
    energy_ev: float | None = Field(None, description="total energy of the cell: of the scf, else of the relaxation")
    settings: RunSettings | None = Field(None, description="of the scf, else of the first step")
    step_settings: dict[str, RunSettings] = Field(
        default_factory=dict, description="what each step was computed with, by its name"
    )
    edges: BandEdges | None = None
    edges_by_source: dict[Literal["bands", "mesh"], BandEdges] = Field(
        default_factory=dict,
        description="edges on the path and on the mesh of the scf, of which the tighter is `edges`",
    )
    levels: list[Level] = Field(default_factory=list)
    masses: Masses | None = None
    masses_spin_orbit: Masses | None = None
    pdos: PdosSummary | None = None
    distortion: Distortion | None = None
    excitation: list[Excitation] = Field(default_factory=list)
    timings: dict[str, StepTiming] = Field(default_factory=dict)
    files: dict[str, str] = Field(
        default_factory=dict, description="bands, dos and so on: path relative to the study folder"
    )
    failed: dict[str, str] = Field(default_factory=dict, description="step to the reason it failed")
    programs: list[str] = Field(default_factory=list, description="program and version, of all steps")


class ComparisonRow(Result):
    """One cell beside the place it stands for."""

    cell: str
    place: str | None
    gap_ev: float | None
    shift_ev: float | None = Field(None, description="gap less the reference cell's gap")
    shift_uncertainty_ev: float | None = None
    sts_gap_ev: float | None = None
    sts_shift_ev: float | None = None
    sts_shift_uncertainty_ev: float | None = None
    difference_ev: float | None = Field(None, description="computed shift less measured shift")
    level: str | None = Field(None, description="functional, spin-orbit, cutoff and mesh of the gap")


class LedgerRow(Result):
    """One term between the bulk gap and the measured gap."""

    term: str
    value_ev: float | None
    low_ev: float | None = None
    high_ev: float | None = None
    source: str
    sign: Literal["+", "-"] | None = Field(
        None, description="with which the term stands in the ledger's equation; value and range carry it already"
    )


class ShiftSplit(Result):
    """A shift of the gap in three parts, from counterfactual cells; the parts add up to the total."""

    cell: str
    reference: str
    strain_ev: float | None = Field(None, description="the reference's fractional positions in the cell's lattice")
    distortion_ev: float | None = Field(None, description="the cell's Pb-Br framework, before A sites change")
    a_site_ev: float | None = Field(None, description="A-site chemistry: FA instead of Cs in that framework")
    total_ev: float | None = None
    uncertainty_ev: float | None = Field(None, description="of the total; each part has at least as much")
    level: str | None = None


class Comparison(Result):
    """DFT against STS."""

    rows: list[ComparisonRow] = Field(default_factory=list)
    ledger: list[LedgerRow] = Field(default_factory=list)
    flags: list[str] = Field(default_factory=list)
    splits: list[ShiftSplit] = Field(default_factory=list)
    experiment: str | None = None
    gap_uncertainty_ev: float | None = Field(
        None, description="what the protocol leaves on a gap, as it entered the shifts"
    )


class SameStructure(Result):
    """Two cells that are one structure: same lattice within 1 %, same atoms within 0.15 Å (root mean square)."""

    first: str
    second: str
    rms_angstrom: float = Field(description="root mean square distance of an atom from its like, Å")
    lattice_difference: float = Field(description="largest relative difference of a lattice constant")

    def sentence(self) -> str:
        """Say it in a line."""
        return (
            f"{self.first} and {self.second} are one structure: lattice constants within "
            f"{100 * self.lattice_difference:.2f} %, atoms within {self.rms_angstrom:.3f} Å (root mean square); what "
            "differs between their results is how well they are converged"
        )


class Spread(Result):
    """One number over the members of an ensemble, in the unit that its name says."""

    n: int = Field(description="members that have it")
    mean: float
    std: float | None = Field(None, description="sample standard deviation (n - 1); null for one member")
    low: float = Field(description="smallest")
    high: float = Field(description="largest")


class EnsembleResult(Result):
    """Mean and spread of every result over the cells of one ensemble."""

    label: str = Field(description="what the labels of its members begin with, for example fa025-e")
    members: list[str] = Field(description="labels of the cells")
    values: dict[str, Spread] = Field(
        default_factory=dict,
        description="by the name that a result has in CellResult, for example edges.gap_ev or masses.hole.gamma_x; "
        "lists of one kind (angles, ions) count by their mean in a cell",
    )
    level: str | None = Field(None, description="functional, spin-orbit, cutoff and mesh, where all members share them")


class StudyResult(Result):
    """All cells of a study and how they compare with the experiment."""

    study: str
    engine: str
    protocol: str
    corecrown_version: str
    cells: list[CellResult]
    ensembles: list[EnsembleResult] = Field(default_factory=list, description="one an ensemble, in the study's order")
    same_structures: list[SameStructure] = Field(
        default_factory=list, description="cells that were built apart and are one structure"
    )
    comparison: Comparison | None = None
