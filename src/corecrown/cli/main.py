"""The entry point: registers the command groups and turns errors into one line and a hint."""

import sys
from importlib import import_module
from typing import Annotated, Any, cast

import typer

from corecrown.cli.common import Verbose, fail, state
from corecrown.errors import CorecrownError

__all__ = ["app", "main"]

GROUPS = ("doctor", "setup", "build", "study", "report", "analyse", "masses", "sts", "converge", "paper")

GIVEN_AS = {"--window": "two numbers with a blank between them, low and high in V: --window -1 1"}
"""Options that take several values."""

# typer brings its own copy of click in some versions and imports click in others: this is the base of either's errors
UsageMistake: type[Exception] = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")


app = typer.Typer(
    name="corecrown",
    help="How formamidinium changes the electronic structure of CsPbBr3, with Quantum ESPRESSO or VASP, beside STS.",
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
)


def _show_version(value: bool) -> None:
    if value:
        from corecrown import __version__

        typer.echo(f"corecrown {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and leave.")
    ] = False,
    verbose: Verbose = False,
) -> None:
    """Options that stand before any command."""


def _register() -> None:
    for name in GROUPS:
        import_module(f"corecrown.cli.{name}").register(app)


_register()


def _hint(message: str) -> str:
    """Return how an option is given that a mistake names, where that is easily missed."""
    shapes = (shape for option, shape in GIVEN_AS.items() if f"'{option}'" in message)
    return next(shapes, "corecrown COMMAND --help shows what is allowed")


def main() -> None:
    """Run the command line; every foreseen error leaves as one line and a hint, never as a traceback."""
    state.begin(sys.argv[1:])
    try:
        _show_version(value="--version" in sys.argv[1:])  # every command takes it
        app(standalone_mode=False, prog_name="corecrown")
    except typer.Exit as leave:
        raise SystemExit(leave.exit_code) from None
    except typer.Abort:
        raise SystemExit(130) from None
    except KeyboardInterrupt:
        fail("stopped by you; what was finished stays finished", "the same command again continues", 130)
    except UsageMistake as error:
        message = cast("Any", error).format_message().replace("Value error, ", "")
        if not message:  # no command was given: the help has been shown
            raise SystemExit(2) from None
        fail(message, _hint(message), 2)
    except CorecrownError as error:
        if state.verbose:
            raise
        fail(error.message, error.hint, error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        raise SystemExit(0) from None
    except Exception as error:
        if state.verbose:
            raise
        fail(
            f"unforeseen {type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}",
            "this is a defect of corecrown; run again with --verbose and report what it prints",
            1,
        )
