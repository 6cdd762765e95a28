"""Run the tests that provoke failures and write what happened as docs/failures.md.

Usage: python docs/make_failures.py [pytest options]
"""

import sys
from pathlib import Path

import pytest
from failure_rows import Collector, as_lines

ROOT = Path(__file__).resolve().parent.parent
TESTS = ["tests/workflows/test_failures.py", "tests/workflows/test_handlers.py"]
PROPERTY = "failure"

HEAD = """\
# Failures, and what becomes of them

Made by `python docs/make_failures.py`, which runs the tests in `tests/workflows/test_failures.py` (each provokes its
failure in the real pw.x on two-atom silicon, here {version}) and `tests/workflows/test_handlers.py` (recorded outputs).

A handler changes how an answer is reached: mixing, iterations, algorithm, number of bands, geometry to go on from,
ranks. None changes functional, occupations, smearing, cutoff or mesh; the tests compare all of them before and after
each cure, and the energy of a cured run with that of an undisturbed one. What was changed is among the notes of the
result. The output of a try that was cured stays as `pw.try1.out`, `pw.try2.out`, ...

A program that was ended from outside (killed, out of memory, silent) is tried again in a fresh `attempt-NNN` folder,
at most twice, after a kill with half the ranks. The time a queue gives (`CORECROWN_WALLTIME_S`) goes into the input,
so that pw.x stops by itself; the same command then goes on from the last geometry or density.

Handlers of your own are named in the settings (`extra_handlers: [my_module.MyHandler]`) and asked before these; a
subclass of `corecrown.workflows.espresso.handlers.PwHandler` with `phrases` and `cure` is enough.

"Cured" is followed by the handlers' own words: what each changed for the next try. "Told" is what the error says that
ends the step; it also names the output file, what was tried, and what to do.

| Failure | How it was provoked | What happened |
|---|---|---|
"""


def main() -> int:
    """Write the table if all tests pass, and return pytest's exit code."""
    from corecrown.workflows.espresso.programs import program_version

    collector = Collector(PROPERTY)
    code = pytest.main([*(str(ROOT / test) for test in TESTS), "-q", *sys.argv[1:]], plugins=[collector])
    if code == pytest.ExitCode.OK:
        lines = as_lines(collector.rows)
        head = HEAD.format(version=f"version {program_version('pw.x')}")
        (ROOT / "docs" / "failures.md").write_text(head + "\n".join(lines) + "\n", encoding="utf-8")
    return int(code)


if __name__ == "__main__":
    raise SystemExit(main())
