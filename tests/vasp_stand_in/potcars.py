"""Made-up POTCARs with the headers that programs read and nothing else; part of a test tool, of no use to VASP."""

from pathlib import Path

from pymatgen.core import Element

KNOWN = {
    "Cs_sv": ("Cs", 9),
    "Pb_d": ("Pb", 14),
    "Br": ("Br", 7),
    "C": ("C", 4),
    "N": ("N", 5),
    "H": ("H", 1),
    "Si": ("Si", 4),
    "I": ("I", 7),
}


def potcar_text(symbol: str, element: str, zval: float, lexch: str = "PE") -> str:
    """Return a made-up POTCAR: header lines in VASP's form, then numbers without meaning."""
    return (
        f"  PAW_PBE {symbol} 01Jan2000\n"
        f"   {zval:.15f}\n"
        " parameters from PSCTR are:\n"
        f"   VRHFIN ={element}: made up for tests\n"
        f"   LEXCH  = {lexch}\n"
        "   EATOM  =   100.0000 eV,    7.0000 Ry\n"
        f"   TITEL  = PAW_PBE {symbol} 01Jan2000\n"
        "   LULTRA =        F    use ultrasoft PP ?\n"
        "   LPAW   =        T    paw PP\n"
        f"   POMASS = {float(Element(element).atomic_mass):8.3f}; ZVAL   = {zval:8.3f}    mass and valenz\n"
        "   ENMAX  =  200.000; ENMIN  =  150.000 eV\n"
        "END of PSCTR-controll parameters\n"
        " made up\n"
        "   1.0 2.0 3.0\n"
        " End of Dataset\n"
    )


def write_library(folder: Path, release: str = "POT_GGA_PAW_PBE_54", lexch: str = "PE") -> Path:
    """Write a library of made-up POTCARs as pymatgen expects it; returns the folder for PMG_VASP_PSP_DIR."""
    for symbol, (element, zval) in KNOWN.items():
        place = folder / release / symbol
        place.mkdir(parents=True, exist_ok=True)
        (place / "POTCAR").write_text(potcar_text(symbol, element, zval, lexch), encoding="utf-8")
    return folder
