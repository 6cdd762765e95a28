"""``corecrown doctor``: what this machine has for a study, and what it lacks."""

import typer

from corecrown.cli.common import AsJson, Verbose, print_json

__all__ = ["register"]

MARKS = {"ok": "ok", "warning": "warning", "failure": "MISSING", "optional": "-"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


def doctor(as_json: AsJson = False, verbose: Verbose = False) -> None:
    """Find programs, MPI, BLAS, pseudopotentials, VASP, queue and disk; each lack with its cure.

    Exit code 0 if a Quantum ESPRESSO study can run here, 1 if not.
    """
    del verbose  # it acts as it is parsed
    from pathlib import Path

    from corecrown.workflows.doctor import examine

    diagnosis = examine(Path.cwd())
    if as_json:
        print_json(diagnosis)
    else:
        width = max(len(check.name) for check in diagnosis.checks)
        for check in diagnosis.checks:
            typer.echo(f"{MARKS[check.level]:8s} {check.name:{width}s}  {check.found}")
            if check.cure:
                typer.echo(f"{'':8s} {'':{width}s}    cure: {check.cure}")
        verdict = "can run here" if diagnosis.ok else "cannot run here yet: see what is MISSING above"
        typer.echo(f"\nA Quantum ESPRESSO study {verdict}.")
    raise SystemExit(0 if diagnosis.ok else 1)
