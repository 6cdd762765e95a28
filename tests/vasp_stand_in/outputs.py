"""Writing what VASP writes; part of a test tool that stands in for VASP, and every file says so."""

import json
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
from model import Bands, IonicStep
from reading import Inputs

WHO = "stand-in for VASP, a test tool of corecrown, not VASP"
VERSION, OLD_VERSION = "6.5.0", "6.3.2"
ORBITALS = ["s", "py", "pz", "px", "dxy", "dyz", "dz2", "dxz", "x2-y2"]
SCF_STEPS = 6
N_DOS = 301
INTEGERS = ("IBRION", "ICHARG", "ISIF", "ISMEAR", "ISPIN", "ISTART", "ISYM", "IVDW", "LORBIT", "LMAXMIX", "NBANDS")
INTEGERS += ("NELM", "NELMIN", "NSW", "KPAR", "NCORE", "NEDOS")
MASSES = {"H": 1.0, "C": 12.0, "N": 14.0, "Br": 79.9, "Cs": 132.9, "Pb": 207.2}


def write_all(folder: Path, inputs: Inputs, steps: list[IonicStep], bands: Bands, fault: str = "") -> None:
    """Write vasprun.xml, OUTCAR, OSZICAR, CONTCAR and XDATCAR, and CHGCAR and WAVECAR where they are asked for."""
    version = OLD_VERSION if fault == "old-version" else VERSION
    allowed = int(inputs.number("NELM", 60))
    iterations = allowed if fault == "unconverged" else min(allowed, SCF_STEPS)
    energies = [_energy(inputs, bands, step) for step in steps]
    (folder / "CONTCAR").write_text(_poscar(inputs, steps[-1].lattice))
    (folder / "XDATCAR").write_text("".join(_poscar(inputs, step.lattice) for step in steps))
    (folder / "OSZICAR").write_text(_oszicar(energies, iterations))
    if fault == "crash":
        print("forrtl: severe (174): SIGSEGV, segmentation fault occurred (on purpose)")
        return
    (folder / "OUTCAR").write_text(_outcar(inputs, bands, energies[-1], version))
    text = _vasprun(inputs, steps, energies, bands, iterations, version)
    (folder / "vasprun.xml").write_text(text[: int(0.7 * len(text))] if fault == "truncate" else text)
    if inputs.flag("LCHARG") or "LCHARG" not in inputs.incar:
        (folder / "CHGCAR").write_text(_chgcar(inputs, bands, steps[-1].lattice))
    if inputs.flag("LWAVE"):
        (folder / "WAVECAR").write_text(json.dumps({"who": WHO, "n_bands": bands.levels.shape[2]}))
    if fault == "":
        print(" writing wavefunctions")


def _energy(inputs: Inputs, bands: Bands, step: IonicStep) -> float:
    """Band energy of what is excited over the filled bands, on top of a reference and the springs."""
    filled = round(inputs.n_electrons if inputs.flag("LSORBIT") else inputs.n_electrons / 2)
    ground = np.zeros_like(bands.occupations)
    ground[:, :, :filled] = 1
    promoted = ((bands.occupations - ground) * bands.levels).sum(axis=(0, 2)) @ inputs.weights
    degeneracy = 1 if inputs.flag("LSORBIT") or len(bands.levels) == 2 else 2
    return -5.0 * len(inputs.frac) + float(promoted) * degeneracy + step.energy


def _poscar(inputs: Inputs, lattice: np.ndarray) -> str:
    rows = [WHO, "1.0"]
    rows += ["  ".join(f"{value:21.16f}" for value in vector) for vector in lattice]
    rows += ["  ".join(inputs.species), "  ".join(str(count) for count in inputs.counts), "Direct"]
    rows += ["  ".join(f"{value:19.16f}" for value in position) for position in inputs.frac]
    return "\n".join(rows) + "\n\n"


def _oszicar(energies: list[float], iterations: int) -> str:
    text = "       N       E                     dE             d eps       ncg     rms          rms(c)\n"
    for number, energy in enumerate(energies, start=1):
        for step in range(1, iterations + 1):
            text += f"DAV: {step:3d}    {energy + 10.0**-step:.12E}   {-(10.0**-step):.5E}  {-(10.0**-step):.5E}"
            text += f"  1000   {10.0**-step:.3E}\n"
        text += f"  {number:2d} F= {energy:.8E} E0= {energy:.8E}  d E ={0.0:.6E}\n"
    return text


def _outcar(inputs: Inputs, bands: Bands, energy: float, version: str) -> str:
    lines = [
        f" vasp.{version} {WHO}",
        " running on    1 total cores",
        f" NELECT = {inputs.n_electrons:12.4f}    total number of electrons",
        f"   k-points           NKPTS = {len(inputs.kpoints):6d}   number of bands    NBANDS= {bands.levels.shape[2]:6d}",
        f" E-fermi : {bands.fermi:10.4f}     XC(G=0):  -9.0000     alpha+bet : -9.0000",
        f"  energy  without entropy= {energy:16.8f}  energy(sigma->0) = {energy:16.8f}",
        " General timing and accounting informations for this job:",
        "                  Total CPU time used (sec):        1.000",
        "                            User time (sec):        1.000",
        "                          System time (sec):        0.000",
        "                         Elapsed time (sec):        1.000",
        "                   Maximum memory used (kb):       10000.",
        "                   Average memory used (kb):           0.",
    ]
    return "\n".join(lines) + "\n"


def _chgcar(inputs: Inputs, bands: Bands, lattice: np.ndarray) -> str:
    """Charge as Gaussians at the atoms, each with what the filled states have there; spin density after it for two."""
    grid = np.maximum(4, 2 * np.round(np.linalg.norm(lattice, axis=1)).astype(int))
    points = np.stack(np.meshgrid(*(np.arange(n) / n for n in grid), indexing="ij"), axis=-1).reshape(-1, 3)
    shapes = np.array([_gaussian(points, frac, lattice) for frac in inputs.frac])
    populations = bands.projections.sum(axis=4)
    populations /= np.maximum(populations.sum(axis=3, keepdims=True), 1e-12)
    each = 1 if inputs.flag("LSORBIT") or len(bands.levels) == 2 else 2
    of_atoms = each * np.einsum("skb,skba,k->sa", bands.occupations, populations, inputs.weights)
    densities = [of_atoms.sum(axis=0)] + ([of_atoms[0] - of_atoms[1]] if len(of_atoms) == 2 else [])
    header = " ".join(str(n) for n in grid) + "\n"
    text = _poscar(inputs, lattice)
    for charges in densities:
        values = (charges @ shapes).reshape(*grid).transpose(2, 1, 0).ravel()
        rows = [" ".join(f"{value:17.11E}" for value in values[i : i + 5]) for i in range(0, len(values), 5)]
        text += header + "\n".join(rows) + "\n"
    return text


def _gaussian(points: np.ndarray, frac: np.ndarray, lattice: np.ndarray) -> np.ndarray:
    """Return a periodic Gaussian of 1 Å around an atom; its mean over the points is 1, as one electron in CHGCAR."""
    apart = points - frac
    squared = (((apart - np.round(apart)) @ lattice) ** 2).sum(axis=1)
    values = np.exp(-squared / 2)
    return values / values.mean()


def _vasprun(
    inputs: Inputs, steps: list[IonicStep], energies: list[float], bands: Bands, iterations: int, version: str
) -> str:
    parts = ['<?xml version="1.0" encoding="ISO-8859-1"?>', "<modeling>", " <generator>"]
    for name, value in (("program", WHO), ("version", version), ("subversion", "stand-in"), ("platform", "test")):
        parts.append(f'  <i name="{name}" type="string">{escape(value)}</i>')
    parts += [' <i name="date" type="string">2000 01 01</i>', ' <i name="time" type="string">00:00:00</i>']
    parts += [" </generator>", " <incar>", *_tags(inputs.incar, inputs), " </incar>", *_kpoints(inputs)]
    parts += [*_parameters(inputs, bands), *_atominfo(inputs), *_structure(inputs, inputs.lattice, "initialpos")]
    for number, (step, energy) in enumerate(zip(steps, energies, strict=True)):
        parts.append(" <calculation>")
        for _ in range(iterations):
            parts += ["  <scstep>", *_energies(energy), "  </scstep>"]
        parts += _structure(inputs, step.lattice, None)
        parts += [*_varray("forces", step.forces), *_varray("stress", step.stress), *_energies(energy)]
        if number == len(steps) - 1:
            parts += [*_eigenvalues(bands), *_dos(inputs, bands), *_projected(inputs, bands)]
        parts.append(" </calculation>")
    parts += [*_structure(inputs, steps[-1].lattice, "finalpos"), "</modeling>"]
    return "\n".join(parts) + "\n"


def _tags(tags: dict[str, str], inputs: Inputs) -> list[str]:
    found = []
    for tag, value in tags.items():
        plain = value.strip(".").upper()
        if tag in {"FERWE", "FERDO", "MAGMOM"}:
            found.append(f'  <v name="{tag}"> {" ".join(f"{number:.4f}" for number in inputs.numbers(tag))}</v>')
        elif tag == "LATTICE_CONSTRAINTS":
            letters = " ".join("T" if word.strip(".").upper().startswith("T") else "F" for word in value.split())
            found.append(f'  <v type="logical" name="{tag}"> {letters}</v>')
        elif tag in INTEGERS:
            found.append(f'  <i type="int" name="{tag}"> {int(float(value))}</i>')
        elif plain in {"TRUE", "FALSE", "T", "F"}:
            found.append(f'  <i type="logical" name="{tag}"> {plain[0]}  </i>')
        elif _is_number(value):
            found.append(f'  <i name="{tag}"> {float(value):.8g}</i>')
        else:
            found.append(f'  <i type="string" name="{tag}">{escape(value)}</i>')
    return found


def _parameters(inputs: Inputs, bands: Bands) -> list[str]:
    logical = {tag: inputs.flag(tag) for tag in ("LSORBIT", "LHFCALC", "LWAVE", "LASPH")}
    nsw = int(inputs.number("NSW", 0))
    whole = {
        "ISPIN": int(inputs.number("ISPIN", 1)),
        "NELM": int(inputs.number("NELM", 60)),
        "NSW": nsw,
        "IBRION": int(inputs.number("IBRION", 0 if nsw > 1 else -1)),
        "ISIF": int(inputs.number("ISIF", 2)),
        "ISMEAR": int(inputs.number("ISMEAR", 1)),
        "NBANDS": bands.levels.shape[2],
    }
    real = {
        "NELECT": inputs.n_electrons,
        "ENMAX": inputs.number("ENCUT", 0),
        "EDIFFG": inputs.number("EDIFFG", -0.05),
        "HFSCREEN": inputs.number("HFSCREEN", 0),
        "AEXX": 0.25 if inputs.flag("LHFCALC") else 0.0,
    }
    gga = inputs.incar.get("GGA", "--").upper()
    return [
        " <parameters>",
        *(f'  <i type="logical" name="{tag}"> {"T" if value else "F"}  </i>' for tag, value in logical.items()),
        f'  <i type="logical" name="LNONCOLLINEAR"> {"T" if inputs.flag("LSORBIT") else "F"}  </i>',
        *(f'  <i type="int" name="{tag}"> {value}</i>' for tag, value in whole.items()),
        *(f'  <i name="{tag}"> {value:.8f}</i>' for tag, value in real.items()),
        f'  <i type="string" name="GGA">{gga}</i>',
        '  <i type="string" name="METAGGA">--</i>',
        " </parameters>",
    ]


def _kpoints(inputs: Inputs) -> list[str]:
    parts = [" <kpoints>"]
    if inputs.mesh is not None:
        parts += ['  <generation param="Gamma">', f'   <v type="int" name="divisions"> {_row(inputs.mesh, "d")}</v>']
        parts += [f'   <v name="usershift"> {_row(inputs.shift)}</v>']
        reciprocal = np.linalg.inv(inputs.lattice).T
        parts += [f'   <v name="genvec{i + 1}"> {_row(reciprocal[i] / inputs.mesh[i])}</v>' for i in range(3)]
        parts += ['   <v name="shift"> 0.0 0.0 0.0 </v>', "  </generation>"]
    parts += _varray("kpointlist", inputs.kpoints)
    parts += ['  <varray name="weights">', *(f"   <v> {weight:.8f} </v>" for weight in inputs.weights), "  </varray>"]
    return [*parts, " </kpoints>"]


def _atominfo(inputs: Inputs) -> list[str]:
    parts = [" <atominfo>", f"  <atoms> {len(inputs.frac)} </atoms>", f"  <types> {len(inputs.species)} </types>"]
    parts += ['  <array name="atoms">', '   <dimension dim="1">ion</dimension>']
    parts += ['   <field type="string">element</field>', '   <field type="int">atomtype</field>', "   <set>"]
    for symbol in inputs.symbols:
        parts.append(f"    <rc><c>{symbol:<2s}</c><c> {inputs.species.index(symbol) + 1}</c></rc>")
    parts += ["   </set>", "  </array>", '  <array name="atomtypes">', '   <dimension dim="1">type</dimension>']
    for kind, name in (("int", "atomspertype"), ("string", "element"), ("", "mass"), ("", "valence")):
        parts.append(f'   <field type="{kind}">{name}</field>' if kind else f"   <field>{name}</field>")
    parts += ['   <field type="string">pseudopotential</field>', "   <set>"]
    for dataset, count in zip(inputs.datasets, inputs.counts, strict=True):
        mass = MASSES.get(dataset.element, 50.0)
        parts.append(
            f"    <rc><c> {count}</c><c>{dataset.element:<2s}</c><c> {mass:.4f}</c><c> {dataset.zval:.4f}</c>"
            f"<c> {escape(dataset.title)}</c></rc>"
        )
    return [*parts, "   </set>", "  </array>", " </atominfo>"]


def _structure(inputs: Inputs, lattice: np.ndarray, name: str | None) -> list[str]:
    opening = f' <structure name="{name}">' if name else "  <structure>"
    reciprocal = np.linalg.inv(lattice).T
    volume = f'   <i name="volume"> {abs(np.linalg.det(lattice)):.8f}</i>'
    parts = [opening, "  <crystal>", *_varray("basis", lattice, 16), volume, *_varray("rec_basis", reciprocal)]
    return [*parts, "  </crystal>", *_varray("positions", inputs.frac, 16), " </structure>"]


def _energies(energy: float) -> list[str]:
    names = ("e_fr_energy", "e_wo_entrp", "e_0_energy")
    return ["   <energy>", *(f'    <i name="{name}"> {energy:.8f}</i>' for name in names), "   </energy>"]


def _eigenvalues(bands: Bands) -> list[str]:
    parts = ["  <eigenvalues>", "   <array>", '    <dimension dim="1">band</dimension>']
    parts += ['    <dimension dim="2">kpoint</dimension>', '    <dimension dim="3">spin</dimension>']
    parts += ["    <field>eigene</field>", "    <field>occ</field>", "    <set>"]
    for spin, (levels, occupations) in enumerate(zip(bands.levels, bands.occupations, strict=True), start=1):
        parts.append(f'     <set comment="spin {spin}">')
        for kpoint, (energies, filled) in enumerate(zip(levels, occupations, strict=True), start=1):
            parts.append(f'      <set comment="kpoint {kpoint}">')
            parts += [f"       <r> {e:.4f} {f:.4f} </r>" for e, f in zip(energies, filled, strict=True)]
            parts.append("      </set>")
        parts.append("     </set>")
    return [*parts, "    </set>", "   </array>", "  </eigenvalues>"]


def _dos(inputs: Inputs, bands: Bands) -> list[str]:
    axis = np.linspace(bands.levels.min() - 1, bands.levels.max() + 1, N_DOS)
    step = axis[1] - axis[0]
    edges = np.append(axis - step / 2, axis[-1] + step / 2)
    each = 1 if inputs.flag("LSORBIT") or len(bands.levels) == 2 else 2
    weights = np.broadcast_to(inputs.weights[None, :, None], bands.levels.shape)
    parts = ["  <dos>", f'   <i name="efermi"> {bands.fermi:.8f}</i>', "   <total>", "    <array>"]
    parts += ['     <dimension dim="1">gridpoints</dimension>', '     <dimension dim="2">spin</dimension>']
    parts += ["     <field>energy</field>", "     <field>total</field>", "     <field>integrated</field>", "     <set>"]
    for spin in range(len(bands.levels)):
        counts = np.histogram(bands.levels[spin], edges, weights=weights[spin])[0] * each
        parts.append(f'      <set comment="spin {spin + 1}">')
        whole = np.cumsum(counts)
        parts += [
            f"       <r> {a:.4f} {b / step:.4f} {c:.4f} </r>" for a, b, c in zip(axis, counts, whole, strict=True)
        ]
        parts.append("      </set>")
    parts += ["     </set>", "    </array>", "   </total>"]
    if int(inputs.number("LORBIT", 0)) >= 11:
        parts += _partial_dos(inputs, bands, axis, edges, weights)
    return [*parts, "  </dos>"]


def _partial_dos(inputs: Inputs, bands: Bands, axis: np.ndarray, edges: np.ndarray, weights: np.ndarray) -> list[str]:
    step, places = axis[1] - axis[0], np.clip(np.searchsorted(edges, bands.levels) - 1, 0, len(axis) - 1)
    parts = ["   <partial>", "    <array>", '     <dimension dim="1">gridpoints</dimension>']
    parts += ['     <dimension dim="2">spin</dimension>', '     <dimension dim="3">ion</dimension>']
    parts += ["     <field>energy</field>", *(f"     <field>{name}</field>" for name in ORBITALS), "     <set>"]
    summed = np.zeros((len(bands.levels), len(axis), len(inputs.frac), 9))
    for spin in range(len(bands.levels)):
        np.add.at(summed[spin], places[spin], bands.projections[spin] * weights[spin][:, :, None, None] / step)
    for atom in range(len(inputs.frac)):
        parts.append(f'      <set comment="ion {atom + 1}">')
        for spin in range(len(bands.levels)):
            parts.append(f'       <set comment="spin {spin + 1}">')
            rows = summed[spin, :, atom]
            parts += [f"        <r> {e:.4f} {_row(row, '.4f')}</r>" for e, row in zip(axis, rows, strict=True)]
            parts.append("       </set>")
        parts.append("      </set>")
    return [*parts, "     </set>", "    </array>", "   </partial>"]


def _projected(inputs: Inputs, bands: Bands) -> list[str]:
    if int(inputs.number("LORBIT", 0)) < 11:
        return []
    parts = ["  <projected>", "   <array>", '    <dimension dim="1">ion</dimension>']
    parts += ['    <dimension dim="2">band</dimension>', '    <dimension dim="3">kpoint</dimension>']
    parts += [
        '    <dimension dim="4">spin</dimension>',
        *(f"    <field>{name}</field>" for name in ORBITALS),
        "    <set>",
    ]
    channels = list(bands.projections)
    if inputs.flag("LSORBIT"):
        channels += [np.zeros_like(channels[0])] * 3
    for spin, of_spin in enumerate(channels, start=1):
        parts.append(f'     <set comment="spin{spin}">')
        for kpoint, of_kpoint in enumerate(of_spin, start=1):
            parts.append(f'      <set comment="kpoint {kpoint}">')
            for band, of_band in enumerate(of_kpoint, start=1):
                parts.append(f'       <set comment="band {band}">')
                parts += [f"        <r> {_row(row, '.4f')}</r>" for row in of_band]
                parts.append("       </set>")
            parts.append("      </set>")
        parts.append("     </set>")
    return [*parts, "    </set>", "   </array>", "  </projected>"]


def _varray(name: str, rows: np.ndarray, decimals: int = 8) -> list[str]:
    return [
        f'   <varray name="{name}">',
        *(f"    <v> {_row(row, f'.{decimals}f')}</v>" for row in rows),
        "   </varray>",
    ]


def _row(values: object, form: str = ".8f") -> str:
    return " ".join(f"{value:{form}}" for value in values) + " "  # type: ignore[attr-defined]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
