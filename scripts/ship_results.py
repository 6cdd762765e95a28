"""Copy what others need of a finished study into ``inputs/reference/NAME``, where ``read_study`` reads it as any study.

    python scripts/ship_results.py STUDYDIR NAME [--command LINE]... [--note LINE]... [--leave-out FILE]...

Shipped: ``study.json``, ``study.yaml``, bands, densities of states and density differences (compressed), the cells as
CIF, the inputs of the programs, ``provenance.json`` (versions, keys, costs, commands, what is missing),
``SHA256SUMS`` and a ``README.md`` made from them. Left behind: densities, orbitals, wavefunctions, XML and outputs of
the programs. Any subset of cells and steps will do: what is missing is named.
"""

import argparse
import gzip
import hashlib
import json
import re
import shutil
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any

import yaml
from pymatgen.core import Structure

from corecrown.errors import CorecrownError, InputError
from corecrown.postprocess.comparison import compare_study, load_experiment
from corecrown.postprocess.results import CellResult, Step, StepResult, StudyResult
from corecrown.postprocess.study import read_study, write_study
from corecrown.resources import input_folder, input_names, read_yaml
from corecrown.workflows.spec import load_study
from corecrown.workflows.steps import with_needed
from corecrown.workflows.study import build_cells, steps_of

ARRAYS = (".json", ".npz", ".csv", ".cube", ".xsf")
PACKED = (".gz", ".npz")
BULKY = ("density", "orbital")
"""What names of files begin with that are left behind; differences of densities are shipped."""
MADE_BY = "Made by `python scripts/ship_results.py` from a finished study; not edited by hand."
PROGRAM_INPUTS = ("*.in", "INCAR", "KPOINTS", "POSCAR")
PACKAGES = ("ase", "atomate2", "custodian", "jobflow", "numpy", "pymatgen", "scipy", "spglib")
ABSOLUTE = re.compile(r"(?m)(?:^|[\s'\"=])/[\w.-]+/[\w.-]")
MEGABYTE = 1e6


def main(arguments: list[str] | None = None) -> int:
    """Ship one study; errors leave as one line."""
    options = _options(arguments)
    try:
        target = ship(
            options.study,
            options.name,
            commands=options.command,
            notes=options.note,
            leave_out=frozenset(options.leave_out),
            limit_mb=options.limit,
            root=options.root,
        )
    except CorecrownError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file()) / MEGABYTE
    print(f"{target}: {size:.2f} MB")
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Copy what others need of a finished study into inputs/reference/NAME."
    )
    parser.add_argument("study", type=Path, help="folder of the finished study")
    parser.add_argument("name", help="what the results are called")
    parser.add_argument("--command", action="append", default=[], help="a command of the run, beside 'study run'")
    parser.add_argument("--note", action="append", default=[], help="a line for the README: machine, what is missing")
    parser.add_argument(
        "--leave-out", action="append", default=[], metavar="FILE", help="a name in 'files' of the cells"
    )
    parser.add_argument("--limit", type=float, default=20.0, metavar="MB", help="refuse to ship more than this")
    parser.add_argument("--root", type=Path, default=None, help="instead of inputs/reference")
    return parser.parse_args(arguments)


def ship(
    folder: Path,
    name: str,
    *,
    commands: list[str] | None = None,
    notes: list[str] | None = None,
    leave_out: frozenset[str] = frozenset(),
    limit_mb: float = 20.0,
    root: Path | None = None,
) -> Path:
    """Write the folder of shipped results; what was there under this name is replaced once all is ready.

    Returns
    -------
    Path
        The folder.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name):
        raise InputError(f"name {name!r}: not lower-case letters, digits and hyphens", "for example: substitution-fast")
    root = input_folder("reference") if root is None else root
    study = read_study(folder)
    target, draft = root / name, root / f".{name}.new"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        moved = {}
        for cell in study.result.cells:
            moved |= _copy_arrays(cell, study.folder, draft, leave_out)
            _copy_inputs(cell, study.folder, draft)
            Structure.from_dict(cell.structure).to(
                filename=str(_made(draft / "cells" / cell.label / f"{cell.label}.cif"))
            )
        result = _compared(_with_paths(study.result, moved))
        write_study(result, draft)
        asked = _steps_asked(study.folder, draft)
        provenance = _provenance(result, study.folder, name, asked, commands or [], notes or [])
        (draft / "provenance.json").write_text(
            json.dumps(provenance, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        (draft / "README.md").write_text(_readme(result, provenance), encoding="utf-8")
        _write_checksums(draft)
        _check_size(draft, limit_mb)
        shutil.rmtree(target, ignore_errors=True)
        draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return target


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _copy_arrays(cell: CellResult, folder: Path, draft: Path, leave_out: frozenset[str]) -> dict[str, str]:
    """Copy bands, densities of states and the like; return old path to new path."""
    moved = {}
    for name, relative in cell.files.items():
        source, suffixes = folder / relative, PurePosixPath(relative).suffixes
        if name in leave_out or name.startswith(BULKY) or not set(suffixes) & set(ARRAYS) or not source.is_file():
            continue
        parts = [part for part in PurePosixPath(relative).parts if not part.startswith("attempt-")]
        place = PurePosixPath(
            "cells", cell.label, *parts[parts.index("cells") + 2 :] if "cells" in parts else parts[-2:]
        )
        if suffixes[-1] in PACKED:
            shutil.copyfile(source, _made(draft / place))
        else:
            place = place.with_name(f"{place.name}.gz")
            _made(draft / place).write_bytes(gzip.compress(source.read_bytes(), mtime=0))
        moved[relative] = str(place)
    return moved


def _step_folders(cell: CellResult, folder: Path) -> Iterator[tuple[Step, StepResult, Path]]:
    """Yield step, its record and the attempt it is of, for the steps that have one."""
    for step in Step:
        record = folder / "cells" / cell.label / step.value / "result.json"
        if record.is_file():
            result = StepResult.model_validate_json(record.read_text(encoding="utf-8"))
            yield step, result, record.parent / result.folder


def _copy_inputs(cell: CellResult, folder: Path, draft: Path) -> None:
    for step, _, attempt in _step_folders(cell, folder):
        for pattern in PROGRAM_INPUTS:
            for path in sorted(attempt.glob(pattern)):
                text = path.read_text(encoding="utf-8", errors="replace")
                if not ABSOLUTE.search(text):  # a path of one machine helps nobody
                    _made(draft / "cells" / cell.label / step.value / path.name).write_text(text, encoding="utf-8")


def _with_paths(result: StudyResult, moved: dict[str, str]) -> StudyResult:
    """Return the study with the paths of what was shipped, and without those of what was not."""
    cells = []
    for cell in result.cells:
        update: dict[str, Any] = {"files": {name: moved[old] for name, old in cell.files.items() if old in moved}}
        if cell.pdos is not None:
            update["pdos"] = cell.pdos.model_copy(update={"file": moved.get(cell.pdos.file or "")})
        cells.append(cell.model_copy(update=update))
    return result.model_copy(update={"cells": cells})


def _compared(result: StudyResult) -> StudyResult:
    """Return the study set beside its experiment by today's rules; as it was where the experiment does not ship."""
    before = result.comparison
    if before is None or before.experiment not in input_names("experiments"):
        return result
    after = compare_study(result, load_experiment(before.experiment), before.gap_uncertainty_ev)
    return result.model_copy(update={"comparison": after})


def _steps_asked(folder: Path, draft: Path) -> dict[str, list[Step]]:
    """Copy the study file and return which steps it asks of each cell; nothing where there is none."""
    path = folder / "study.yaml"
    if not path.is_file():
        return {}
    text = yaml.safe_dump(read_yaml(path), sort_keys=False, allow_unicode=True)
    (draft / "study.yaml").write_text(text, encoding="utf-8")
    spec = load_study(path)
    steps = with_needed(spec.steps)
    return {cell.label: steps_of(cell, steps) for cell in build_cells(spec)}


def _provenance(
    result: StudyResult,
    folder: Path,
    name: str,
    asked: dict[str, list[Step]],
    commands: list[str],
    notes: list[str],
) -> dict[str, Any]:
    cells, codes = {}, set()
    for cell in result.cells:
        done = {}
        for step, record, _ in _step_folders(cell, folder):
            codes.add(f"{record.code} {record.code_version}")
            done[step.value] = {
                "key": record.key,
                "code": f"{record.code} {record.code_version}",
                "energy_ev": record.energy_ev,
                "n_electrons": record.n_electrons,
                "n_bands": record.n_bands,
                "wall_s": record.timing.wall_s,
                "core_s": record.timing.core_s,
                "attempts": record.timing.attempts,
            }
        wanted = asked.get(cell.label, [])
        missing = {step.value: cell.failed.get(step.value, "not finished") for step in wanted if step.value not in done}
        not_asked = [step.value for step in Step if step not in wanted and step.value not in done]
        cells[cell.label] = {"steps": done, "missing": missing, "not_asked": not_asked}
    return {
        "name": name,
        "study": result.study,
        "protocol": result.protocol,
        "corecrown": result.corecrown_version,
        "codes": sorted(codes),
        "packages": {package: version(package) for package in PACKAGES},
        "commands": [f"corecrown study run inputs/reference/{name}/study.yaml -d runs/{name}", *commands],
        "runs": _runs(folder),
        "notes": notes,
        "cells": cells,
    }


def _runs(folder: Path) -> list[dict[str, Any]]:
    path = folder / "runs.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    runs = [json.loads(line) for line in lines if line.strip()]
    return [run | {"began": datetime.fromtimestamp(run["began"], UTC).isoformat(timespec="seconds")} for run in runs]


def _readme(result: StudyResult, provenance: dict[str, Any]) -> str:
    name = provenance["name"]
    lines = [
        f"# Results: {name}",
        "",
        MADE_BY,
        "",
    ]
    if not read_yaml(input_folder("protocols", f"{result.protocol}.yaml")).get("converged", False):
        lines += [
            f"**Protocol `{result.protocol}`: not converged.** These numbers show what the machinery gives, within the",
            "uncertainty that the protocol states.",
            "",
        ]
    lines += [*(f"- {note}" for note in provenance["notes"]), ""] if provenance["notes"] else []
    codes = ", ".join(provenance["codes"]) or "code not recorded"
    lines += [f"Computed with {codes} by corecrown {result.corecrown_version}. To do it again:", "", "```console"]
    lines += [*(f"$ {command}" for command in provenance["commands"])]
    lines += [f"$ python scripts/check_rerun.py {name} runs/{name}    # whether the same numbers came out", "```", ""]
    lines += ["To read it:", "", "```python", "from corecrown.postprocess import read_reference", ""]
    lines += [f'study = read_reference("{name}")', "```", ""]
    lines += [
        "| Cell | Gap / eV | a, b, c / Å | Core-hours | Done | Missing | Not asked for |",
        "|---|---|---|---|---|---|---|",
    ]
    for cell in result.cells:
        about = provenance["cells"][cell.label]
        abc = ", ".join(f"{getattr(cell, f'lattice_{axis}_angstrom'):.3f}" for axis in "abc")
        hours = sum(step["core_s"] for step in about["steps"].values()) / 3600
        missing = [f"{step} ({why})" for step, why in about["missing"].items()]
        lines.append(
            f"| {cell.label} | {_gap(cell)} | {abc} | {hours:.2f} | {', '.join(about['steps']) or 'nothing'} | "
            f"{', '.join(missing) or 'nothing'} | {', '.join(about['not_asked']) or 'nothing'} |"
        )
    return "\n".join([*lines, "", "`sha256sum -c SHA256SUMS` checks the files.", ""])


def _gap(cell: CellResult) -> str:
    """Return the gap in words: of the scf and bands, else of the first level that has one, with its functional."""
    if cell.edges and cell.edges.gap_ev is not None:
        return f"{cell.edges.gap_ev:.3f}"
    level = next((level for level in cell.levels if level.gap_ev is not None), None)
    return "none" if level is None else f"{level.gap_ev:.3f} ({level.functional})"


def _write_checksums(draft: Path) -> None:
    files = sorted(path for path in draft.rglob("*") if path.is_file())
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(draft).as_posix()}" for path in files]
    (draft / "SHA256SUMS").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _check_size(draft: Path, limit_mb: float) -> None:
    sizes = {path: path.stat().st_size / MEGABYTE for path in draft.rglob("*") if path.is_file()}
    if sum(sizes.values()) > limit_mb:
        largest = sorted(sizes, key=sizes.__getitem__, reverse=True)[:5]
        shown = ", ".join(f"{path.relative_to(draft)} {sizes[path]:.1f} MB" for path in largest)
        raise InputError(
            f"{sum(sizes.values()):.1f} MB are more than the {limit_mb:g} MB allowed; largest: {shown}",
            "--leave-out NAME leaves a kind of file behind",
        )


if __name__ == "__main__":
    raise SystemExit(main())
