"""When a file that the program needs is missing, broken or not the right one."""

from pathlib import Path
from typing import ClassVar

from corecrown.workflows.espresso.handlers.base import PwHandler

__all__ = [
    "MissingPseudopotential",
    "PseudopotentialUnreadable",
    "PseudopotentialsDisagree",
    "XmlUnreadable",
]


class MissingPseudopotential(PwHandler):
    """A pseudopotential file is not where the input says."""

    advice = "run: corecrown setup; the links in pseudo/ lead to the files it installs"

    def check(self, directory: str = "./") -> bool:
        """Return whether a file of pseudopotentials was not found."""
        text = self.output(Path(directory))
        return "Error in routine readpp" in text and "not found" in text


class PseudopotentialUnreadable(PwHandler):
    """A pseudopotential file is damaged or no UPF file."""

    advice = "run: corecrown setup, which checks every file and replaces damaged ones"

    def check(self, directory: str = "./") -> bool:
        """Return whether a pseudopotential was found but not understood."""
        folder = Path(directory)
        text = self.output(folder)
        if "Error in routine readpp" in text or "Error in routine read_upf" in text:
            return "not found" not in text
        # a file that is cut off ends the program in the middle of reading it, before it has said what the cell is
        return "Fortran runtime error: End of file" in self.errors(folder) and "unit-cell volume" not in text

    def reason(self, folder: Path) -> str:
        """Return what the program said, or that it said nothing."""
        said = super().reason(folder)
        return said if "Error in routine" in said else f"a pseudopotential file is cut off: {said}"


class PseudopotentialsDisagree(PwHandler):
    """The pseudopotentials were not all made with one functional."""

    error_phrases: ClassVar[tuple[str, ...]] = ("conflicting values for", "dft from PP files", "Inconsistent DFT")
    advice = "take all pseudopotentials from one set; corecrown setup installs sets of PBE and of PBEsol"


class XmlUnreadable(PwHandler):
    """The XML file of the run that this one starts from is missing, cut off or damaged."""

    advice = "the run it was to start from was cut off: run that step again (study rerun)"

    def check(self, directory: str = "./") -> bool:
        """Return whether the program ended while it read the XML file, or said that it could not."""
        folder = Path(directory)
        text = self.output(folder)
        if any(f"Error in routine {name}" in text for name in ("pw_readschemafile", "qexsd", "read_xml_file")):
            return True
        broke_off = "Program aborted" in self.errors(folder) or "runtime error" in self.errors(folder)
        return broke_off and text.rstrip().endswith(".save/") and "positions and unit cell read from directory" in text

    def reason(self, folder: Path) -> str:
        """Return which file it is."""
        return f"the XML file of the earlier run in {folder / 'out'} cannot be read"
