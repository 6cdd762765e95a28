"""What every command shares: options, output as table or JSON, and errors as one line and a hint."""

import json
import math
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

__all__ = ["AsJson", "Verbose", "fail", "print_json", "print_table", "state"]

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


class _State:
    """What was said on the command line before errors are printed, and whether JSON has been printed."""

    verbose = False
    as_json = False
    printed = False

    def begin(self, arguments: Sequence[str]) -> None:
        """Start afresh; an error in the options themselves is told as JSON too, so they are looked through first."""
        self.verbose, self.printed = False, False
        self.as_json = "--json" in arguments


state = _State()


def _set_verbose(value: bool) -> bool:
    state.verbose = state.verbose or value
    return value


Verbose = Annotated[
    bool, typer.Option("--verbose", help="Show tracebacks and logs.", callback=_set_verbose, is_eager=True)
]


def print_json(document: Any) -> None:
    """Print one JSON document on stdout; pydantic models are dumped, numbers that are not numbers become null."""
    if hasattr(document, "model_dump"):
        document = document.model_dump(mode="json")
    text = json.dumps(_finite(document), indent=2, allow_nan=False, ensure_ascii=False)
    sys.stdout.write(text.encode("utf-8", "replace").decode("utf-8") + "\n")
    state.printed = True


def _finite(value: Any) -> Any:
    """Return a document with null in place of every number that JSON cannot hold."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    return [_finite(entry) for entry in value] if isinstance(value, list | tuple) else value


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "") -> None:
    """Print a table that fits the terminal; the first column is left-aligned, the others right-aligned."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(caption=caption or None, caption_justify="left", box=box.SIMPLE_HEAD)
    for index, name in enumerate(header):
        table.add_column(name, justify="left" if index == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console = Console()
    if not console.is_terminal:
        console = Console(width=140)
    console.print(Text(title, style="table.title"), soft_wrap=True)  # as a title it would wrap at the table's width
    console.print(table)


def fail(message: str, hint: str, exit_code: int) -> None:
    """Print an error as one line and a hint on stderr, as JSON on stdout too where that was asked for, and leave."""
    sys.stderr.write(f"corecrown: {message}\n")
    if hint:
        sys.stderr.write(f"  hint: {hint}\n")
    if state.as_json and not state.printed:
        print_json({"error": {"message": message, "hint": hint, "exit_code": exit_code}})
    raise SystemExit(exit_code)
