"""What VASP would refuse, or compute wrongly in silence; part of a test tool that stands in for VASP."""

import numpy as np
from reading import Inputs, read_poscar

KNOWN_TAGS = frozenset(
    """
    ALGO AMIN AMIX AMIX_MAG BMIX BMIX_MAG EDIFF EDIFFG ENCUT FERDO FERWE GGA GGA_COMPAT HFSCREEN IALGO IBRION
    ICHARG IMIX ISEARCH ISIF ISMEAR ISPIN ISTART ISYM IVDW KPAR LAECHG LASPH LATTICE_CONSTRAINTS LCHARG LDAU LDIAG
    LELF LHFCALC LMAXMIX LORBIT LPLANE LREAL LSORBIT LVTOT LWAVE MAGMOM MAXMIX NBANDS NCORE NEDOS NELECT NELM
    NELMDL NELMIN NPAR NSIM NSW POTIM PREC PRECFOCK SIGMA SYMPREC SYSTEM TIME
    """.split()
)


class Refused(Exception):
    """An input that VASP would not run."""


def check(inputs: Inputs, *, noncollinear: bool) -> None:
    """Raise Refused if the four inputs do not fit each other or the program."""
    _check_tags(inputs)
    _check_species(inputs)
    _check_bands(inputs)
    _check_occupations(inputs)
    _check_program(inputs, noncollinear)
    _check_start(inputs)
    if int(inputs.number("ISMEAR", 1)) in {-5, -4} and (inputs.mesh is None or len(inputs.kpoints) < 4):
        raise Refused("Tetrahedron method fails (number of k-points < 4)")


def _check_tags(inputs: Inputs) -> None:
    unknown = sorted(set(inputs.incar) - KNOWN_TAGS)
    if unknown:
        raise Refused(f"INCAR: tag {unknown[0]} is unknown to the stand-in")
    if inputs.number("ENCUT", 0) <= 0:
        raise Refused("INCAR: ENCUT is missing or not positive")
    if inputs.flag("LHFCALC") and inputs.incar.get("ALGO", "Normal").lower()[0] not in "nad":
        raise Refused("INCAR: hybrid functionals need ALGO = Normal, All or Damped")


def _check_species(inputs: Inputs) -> None:
    if len(set(inputs.species)) != len(inputs.species):
        raise Refused(f"POSCAR: an element stands twice in {' '.join(inputs.species)}")
    elements = [dataset.element for dataset in inputs.datasets]
    if elements != inputs.species:
        raise Refused(f"POTCAR is of {' '.join(elements)}, POSCAR of {' '.join(inputs.species)}")
    wrong = [dataset.title for dataset in inputs.datasets if dataset.lexch.upper() != "PE"]
    if wrong:
        raise Refused(f"POTCAR {wrong[0]} is not one of PBE")


def _check_bands(inputs: Inputs) -> None:
    bands, electrons = int(inputs.number("NBANDS", 0)), inputs.n_electrons
    room = bands if inputs.flag("LSORBIT") else 2 * bands
    if room < electrons:
        raise Refused(f"your number of bands is not sufficient: NBANDS = {bands} for NELECT = {electrons:g}")


def _check_occupations(inputs: Inputs) -> None:
    given = "FERWE" in inputs.incar or "FERDO" in inputs.incar
    if int(inputs.number("ISMEAR", 1)) != -2:
        if given:
            raise Refused("INCAR: FERWE without ISMEAR = -2 is ignored")
        return
    wanted = int(inputs.number("NBANDS", 0)) * len(inputs.kpoints)
    channels = ["FERWE", "FERDO"] if int(inputs.number("ISPIN", 1)) == 2 else ["FERWE"]
    total = 0.0
    for tag in channels:
        values = np.array(inputs.numbers(tag))
        if len(values) != wanted:
            raise Refused(f"INCAR: {tag} has {len(values)} entries instead of NBANDS x NKPTS = {wanted}")
        if values.min() < 0 or values.max() > 1:
            raise Refused(f"INCAR: {tag} holds an occupation outside 0 to 1")
        filled = values.reshape(len(inputs.kpoints), -1).sum(axis=1) @ inputs.weights
        total += float(filled) * (2 / len(channels))
    if abs(total - inputs.n_electrons) > 1e-6:
        raise Refused(f"INCAR: FERWE and FERDO hold {total:g} electrons instead of {inputs.n_electrons:g}")


def _check_program(inputs: Inputs, noncollinear: bool) -> None:
    if inputs.flag("LSORBIT") and not noncollinear:
        raise Refused("LSORBIT = T needs vasp_ncl")
    magnetic = inputs.numbers("MAGMOM")
    wanted = len(inputs.frac) * (3 if inputs.flag("LSORBIT") else 1)
    if magnetic and len(magnetic) != wanted:
        raise Refused(f"INCAR: MAGMOM has {len(magnetic)} entries instead of {wanted}")


def _check_start(inputs: Inputs) -> None:
    if inputs.number("ICHARG", 0) < 10:
        return
    if inputs.flag("LHFCALC"):
        raise Refused("hybrid functionals cannot run at a given density (ICHARG = 11)")
    density = inputs.folder / "CHGCAR"
    if not density.is_file():
        raise Refused("charge density could not be read from file CHGCAR for ICHARG>10")
    lattice, species, counts, _ = read_poscar(density.read_text())
    if species != inputs.species or counts != inputs.counts or not np.allclose(lattice, inputs.lattice, atol=1e-4):
        raise Refused("charge density could not be read from file CHGCAR for ICHARG>10: it is of another cell")
