"""One cell: what its calculations gave, put together."""

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from pymatgen.core import Structure

from corecrown.errors import CorecrownError, InputError
from corecrown.postprocess.edges import mesh_holds, tighter_edges
from corecrown.postprocess.results import (
    BandEdges,
    CellResult,
    Distortion,
    Level,
    Masses,
    PdosSummary,
    RunSettings,
    Step,
    StepResult,
)

__all__ = ["MOST_TURN_DEG", "assemble_cell", "describe_level", "turned_deg"]

MOST_TURN_DEG = 30.0
"""A cell whose FA ends farther than this from the axis it was placed along is said to have turned."""

_HOME_OF_FILE = {"bands": Step.BANDS, "dos": Step.PDOS}
"""The step whose file goes by the plain name; from any other step it is called STEP_name."""


def assemble_cell(
    *,
    label: str,
    fa_fraction: float | None,
    alignment: str | None,
    structure: Structure,
    steps: Mapping[Step, StepResult],
    failed: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
    ensemble: str | None = None,
    made_from: Sequence[str] = (),
) -> CellResult:
    """Put together all that is known of one cell.

    Parameters
    ----------
    label, fa_fraction, alignment
        Which cell it is; the fraction of A sites is 0 to 1.
    structure
        The cell as it was started from; a relaxed one in ``steps`` takes its place.
    steps
        What finished.
    failed
        Steps that did not finish, and why.
    notes
        What is to be said of the cell besides.
    ensemble
        Label of the ensemble it is a member of.
    made_from
        Labels of the cells it was made from.

    Returns
    -------
    CellResult
        Edges are the tighter of path and mesh; paths of files are relative to the study folder.
    """
    if fa_fraction is not None and not 0 <= fa_fraction <= 1:
        raise InputError(f"cell {label}: fraction of FA {fa_fraction} is not 0 to 1", "give a fraction, not percent")
    steps = {Step(step): result for step, result in steps.items()}
    final = _final_structure(structure, steps)
    lengths = final.lattice.abc
    bands, scf = steps.get(Step.BANDS), steps.get(Step.SCF)
    setting = "Pbnm" if _looks_pbnm(final) else None
    said = list(notes)
    if setting is None:
        said.append("setting: the lattice is not that of one Pbnm cell of 20 to 48 atoms with c long")
    return CellResult(
        label=label,
        fa_fraction=fa_fraction,
        alignment=alignment,
        ensemble=ensemble,
        made_from=list(made_from),
        formula=final.composition.formula.replace(" ", ""),
        setting=setting,
        structure=final.as_dict(),
        lattice_a_angstrom=lengths[0],
        lattice_b_angstrom=lengths[1],
        lattice_c_angstrom=lengths[2],
        volume_angstrom3=final.volume,
        energy_ev=_energy(steps),
        settings=_settings(steps),
        step_settings={step.value: steps[step].settings for step in Step if step in steps},
        edges=tighter_edges(bands.edges if bands else None, scf.edges if scf else None),
        edges_by_source={
            found.edges.source: found.edges for found in (scf, bands) if found is not None and found.edges is not None
        },
        levels=_levels(steps),
        masses=_masses(steps, spin_orbit=False),
        masses_spin_orbit=_masses(steps, spin_orbit=True),
        pdos=_pdos(label, steps.get(Step.PDOS)),
        distortion=_distortion(final),
        excitation=list(steps[Step.EXCITATION].excitation) if Step.EXCITATION in steps else [],
        timings={step.value: steps[step].timing for step in Step if step in steps},
        files=_files(label, steps),
        failed=dict(failed or {}),
        programs=sorted({f"{step.code} {step.code_version}" for step in steps.values()}),
        notes=said,
    )


def describe_level(settings: RunSettings | Level) -> str:
    """Say in one line what a number was computed with: functional, spin-orbit coupling, cutoff, mesh."""
    parts = [settings.functional, "spin-orbit" if settings.spin_orbit else "no spin-orbit"]
    encut = getattr(settings, "encut_ev", None)
    if settings.cutoff_wfc_ry is not None:
        parts.append(f"{settings.cutoff_wfc_ry:g} Ry")
    elif encut is not None:
        parts.append(f"{encut:g} eV")
    else:
        parts.append("cutoff not recorded")
    mesh = settings.kpoint_mesh
    parts.append("×".join(str(number) for number in mesh) + " mesh" if mesh else "mesh not recorded")
    if mesh and any(settings.kpoint_shift):
        parts[-1] += f" shifted by {' '.join(str(number) for number in settings.kpoint_shift)}"
    if settings.q_mesh is not None:
        parts.append("q " + "×".join(str(number) for number in settings.q_mesh))
    return ", ".join(parts)


def _final_structure(structure: Structure, steps: Mapping[Step, StepResult]) -> Structure:
    """Return the cell that was computed; an excitation may be one of a supercell of it."""
    for step in (Step.RELAX, Step.SCF, *(other for other in steps if other is not Step.EXCITATION)):
        if step in steps:
            return Structure.from_dict(steps[step].structure)
    return structure


def _looks_pbnm(structure: Structure) -> bool:
    """Tell whether the lattice is that of one Pbnm cell: orthogonal, and c about √2 times a and b."""
    a, b, c = structure.lattice.abc
    orthogonal = all(abs(angle - 90) < 0.5 for angle in structure.lattice.angles)
    return orthogonal and 1.2 < c / (a * b) ** 0.5 < 1.65 and 0.8 < a / b < 1.25


def _energy(steps: Mapping[Step, StepResult]) -> float | None:
    return next((steps[step].energy_ev for step in (Step.SCF, Step.RELAX) if step in steps), None)


def _settings(steps: Mapping[Step, StepResult]) -> RunSettings | None:
    for step in (Step.SCF, *Step):
        if step in steps:
            return steps[step].settings
    return None


def _levels(steps: Mapping[Step, StepResult]) -> list[Level]:
    """Return one row a level of theory.

    Of lines and mesh the lines win where they have a gap. With spin-orbit coupling there are no lines: there the
    k-points on which the masses were measured may have a tighter gap than the mesh.
    """
    rows: dict[tuple[str, bool], Level] = {}
    for step in (Step.BANDS, Step.SCF, Step.SPIN_ORBIT, Step.HYBRID, Step.HYBRID_SPIN_ORBIT):
        result = steps.get(step)
        if result is None or result.edges is None:
            continue
        key = (result.settings.functional, result.settings.spin_orbit)
        if key in rows and rows[key].gap_ev is not None:
            continue
        base = steps.get(Step.SCF, result) if step is Step.BANDS else result
        stencils = steps.get(Step.MASSES_SPIN_ORBIT) if step is Step.SPIN_ORBIT else None
        edges = tighter_edges(result.edges, stencils.edges if stencils else None) or result.edges
        rows[key] = Level(
            functional=result.settings.functional,
            spin_orbit=result.settings.spin_orbit,
            kpoint_mesh=base.settings.kpoint_mesh,
            kpoint_shift=base.settings.kpoint_shift,
            source=edges.source,
            vbm_ev=edges.vbm_ev,
            cbm_ev=edges.cbm_ev,
            gap_ev=edges.gap_ev,
            q_mesh=result.settings.q_mesh,
            cutoff_wfc_ry=result.settings.cutoff_wfc_ry,
            notes=[*edges.notes, *_off_the_mesh(edges, base.settings, steps)],
        )
    return list(rows.values())


def _off_the_mesh(edges: BandEdges, settings: RunSettings, steps: Mapping[Step, StepResult]) -> list[str]:
    """Say so where edges are those of a mesh that lacks the k-point of an edge without spin-orbit coupling."""
    lines = steps.get(Step.BANDS)
    if edges.source != "mesh" or settings.kpoint_mesh is None or lines is None or lines.edges is None:
        return []
    known = {"valence": lines.edges.vbm_kpoint, "conduction": lines.edges.cbm_kpoint}
    return [
        f"the mesh does not hold the k-point of the {name} edge along lines, so the gap may be too large"
        for name, kpoint in known.items()
        if kpoint is not None and not mesh_holds(settings.kpoint_mesh, settings.kpoint_shift, kpoint)
    ]


def _masses(steps: Mapping[Step, StepResult], *, spin_orbit: bool) -> Masses | None:
    for step in (Step.MASSES, Step.MASSES_SPIN_ORBIT, Step.SPIN_ORBIT, Step.BANDS):
        result = steps.get(step)
        if result is not None and result.masses is not None and result.settings.spin_orbit is spin_orbit:
            return result.masses
    return None


def _pdos(label: str, result: StepResult | None) -> PdosSummary | None:
    if result is None or result.pdos is None:
        return None
    name = result.files.get("dos", result.pdos.file)
    return result.pdos.model_copy(update={"file": None if name is None else _study_path(label, result, name)})


def _files(label: str, steps: Mapping[Step, StepResult]) -> dict[str, str]:
    files: dict[str, str] = {}
    for step in Step:
        result = steps.get(step)
        if result is None:
            continue
        for name, path in result.files.items():
            plain = _HOME_OF_FILE.get(name, step) is step and name not in files
            files[name if plain else f"{step.value}_{name}"] = _study_path(label, result, path)
    return files


def _study_path(label: str, result: StepResult, name: str) -> str:
    return str(PurePosixPath("cells", label, result.step.value, result.folder, name))


def _distortion(structure: Structure) -> Distortion:
    from corecrown.postprocess.distortion import measure_distortion

    try:
        measured: Distortion = measure_distortion(structure)
    except CorecrownError as error:
        return Distortion(notes=[error.message])
    return measured


def turned_deg(cell: CellResult) -> float | None:
    """Return how far (degrees) the FA of a cell lies from the axis it was placed along, where that is above 30°.

    Of several FA it is the one farthest off. None where no axis was asked for, or none was measured.
    """
    measured = None if cell.distortion is None else cell.distortion.fa_axis_deg
    angles = [angle for ion in measured or [] for axis, angle in ion.items() if axis == cell.alignment]
    if not angles:
        return None
    farthest = max(angles)
    return farthest if farthest > MOST_TURN_DEG else None
