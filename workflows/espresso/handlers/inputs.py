"""What handlers change in the input of the next try: keywords, and the geometry a relaxation goes on from."""

import re
from pathlib import Path
from typing import Any

__all__ = ["continue_geometry", "edit_keywords", "read_keyword"]

_CELL = re.compile(r"CELL_PARAMETERS \((?:angstrom|bohr)\)\n(?:[^\n]*\n){3}")


def read_keyword(path: Path, keyword: str) -> str | None:
    """Return the value of a keyword in an input file, as text; None where there is no such keyword, or file."""
    if not path.is_file():
        return None
    match = re.search(_assignment(keyword), path.read_text(encoding="utf-8"), re.MULTILINE | re.IGNORECASE)
    return match.group(1).strip("'\"") if match else None


def edit_keywords(path: Path, namelist: str, changed: dict[str, Any]) -> None:
    """Set keywords of a namelist in an input file, replacing or adding lines; None removes the keyword."""
    text = path.read_text(encoding="utf-8")
    for keyword, value in changed.items():
        shown = f"'{value}'" if isinstance(value, str) else str(value)
        line = "" if value is None else f"   {keyword:<16} = {shown}\n"
        found = re.compile(_assignment(keyword) + r"[^\n]*\n", re.MULTILINE | re.IGNORECASE)
        if found.search(text):
            text = found.sub(line, text, count=1)
        elif line:
            opening = re.compile(rf"^[ \t]*&{namelist}[ \t]*\n", re.MULTILINE | re.IGNORECASE)
            text = opening.sub(lambda match, line=line: match.group(0) + line, text, count=1)  # type: ignore[misc]
    path.write_text(text, encoding="utf-8")


def continue_geometry(folder: Path, stem: str) -> bool:
    """Put the last whole geometry of an output into the input; return whether there was one.

    The blocks are copied as the program printed them, which it reads as well; our inputs give the cell in Å, and
    then it prints Å.
    """
    output, given = folder / f"{stem}.out", folder / f"{stem}.in"
    n_atoms = int(read_keyword(given, "nat") or 0)
    if not output.is_file() or n_atoms == 0:
        return False
    atoms = re.compile(rf"ATOMIC_POSITIONS \((?:crystal|angstrom|bohr)\)\n(?:[ \t]*[A-Z]\w*[ \t][^\n]*\n){{{n_atoms}}}")
    text = output.read_text(encoding="utf-8", errors="replace")
    positions = list(atoms.finditer(text))
    if not positions:
        return False
    edited = _replace_card(given.read_text(encoding="utf-8"), "ATOMIC_POSITIONS", positions[-1].group(0), n_atoms)
    cells = list(_CELL.finditer(text, 0, positions[-1].start()))
    if cells:
        edited = _replace_card(edited, "CELL_PARAMETERS", cells[-1].group(0), 3)
    given.write_text(edited, encoding="utf-8")
    return True


def _replace_card(text: str, card: str, block: str, n_lines: int) -> str:
    return re.sub(rf"^{card}[^\n]*\n(?:[^\n]*\n){{{n_lines}}}", lambda _: block, text, count=1, flags=re.MULTILINE)


def _assignment(keyword: str) -> str:
    return rf"^[ \t]*{re.escape(keyword)}[ \t]*=[ \t]*([^\s,!]+)"
