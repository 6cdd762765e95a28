"""The arrows between the rooms, and what importing may load."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = {"numpy", "scipy", "pymatgen", "matplotlib", "ase", "atomate2", "jobflow", "custodian", "qeschema", "torch"}


def loaded_by(code: str) -> set[str]:
    """Return the top-level modules that a new interpreter holds after some code."""
    script = f"{code}\nimport json, sys\nsys.stderr.write(json.dumps(sorted({{m.split('.')[0] for m in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    return set(json.loads(done.stderr.splitlines()[-1]))


def test_rooms_know_each_other_in_one_direction():
    command = Path(sys.executable).with_name("lint-imports")
    if not command.exists():
        pytest.skip("import-linter is not installed (make install-dev)")
    done = subprocess.run([command], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout


def test_importing_the_package_loads_nothing_heavy():
    assert not loaded_by("import corecrown") & (HEAVY | {"pydantic", "typer", "rich", "yaml"})


@pytest.mark.parametrize("room", ["corecrown.structures", "corecrown.workflows", "corecrown.postprocess"])
def test_importing_a_room_loads_no_engine(room):
    assert not loaded_by(f"import {room}") & {"atomate2", "matplotlib", "torch"}


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["study", "--help"], ["doctor", "--help"]])
def test_help_loads_nothing_heavy(arguments):
    code = (
        f"import sys; sys.argv = ['corecrown', *{arguments!r}]\n"
        "from corecrown.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as leave:\n    assert not leave.code, leave.code"
    )
    assert not loaded_by(code) & HEAVY


def test_engine_neutral_room_names_are_not_taken_from_other_packages():
    """The rooms are imported as corecrown.NAME, never bare."""
    code = "import corecrown.structures, corecrown.workflows, corecrown.postprocess"
    assert not loaded_by(code) & {"structures", "workflows", "postprocess"}
