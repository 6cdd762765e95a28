"""Live progress of a study: a table on a terminal, plain lines elsewhere."""

import sys
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

__all__ = ["PointsDisplay", "StudyDisplay"]

LOOK_EVERY_S = 1.0
LINE_EVERY_S = 30.0


class StudyDisplay:
    """Shows cell, step, ionic step, scf iteration, accuracy and elapsed time while a study runs.

    What is shown is read from the folders, so it is the same whoever runs the study.

    Parameters
    ----------
    folder
        Folder of the study.
    quiet
        Show nothing (for ``--json``).
    """

    def __init__(self, folder: Path, quiet: bool = False) -> None:
        self.folder = folder
        self.quiet = quiet
        self._labels: list[str] = []
        self._steps: list[Any] = []
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._started = time.monotonic()

    def start(self, cells: Sequence[Any], steps: Sequence[Any]) -> None:
        """Begin to show these cells and steps."""
        self._labels, self._steps = [cell.label for cell in cells], list(steps)
        if not self.quiet:
            self._thread = threading.Thread(target=self._show, name="progress", daemon=True)
            self._thread.start()

    def __enter__(self) -> "StudyDisplay":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def _show(self) -> None:
        if sys.stderr.isatty():
            self._show_table()
        else:
            self._show_lines()

    def _show_table(self) -> None:
        from rich.console import Console
        from rich.live import Live

        with Live(self._table(), console=Console(stderr=True), refresh_per_second=2, transient=True) as live:
            while not self._ended.wait(LOOK_EVERY_S):
                live.update(self._table())

    def _table(self) -> Any:
        from rich import box
        from rich.table import Table

        marks = {"done": "[green]✓[/]", "failed": "[red]✗[/]", "running": "[yellow]▶[/]", "waiting": "[dim]·[/]"}
        table = Table(box=box.SIMPLE_HEAD, caption="\n".join(self._lines()), caption_justify="left")
        table.add_column("cell")
        for step in self._steps:
            table.add_column(step.value, justify="center")
        for label in self._labels:
            states = (self._record(label, step).state().value for step in self._steps)
            table.add_row(label, *(marks[state] for state in states))
        return table

    def _record(self, label: str, step: Any) -> Any:
        from corecrown.workflows.record import StepFolder
        from corecrown.workflows.study import cell_folder

        return StepFolder(cell_folder(self.folder, label) / step.value)

    def _show_lines(self) -> None:
        """Say each change of state at once, and what is in work every half minute."""
        seen = {
            (label, step): self._record(label, step).state().value for label in self._labels for step in self._steps
        }
        for (label, step), state in seen.items():
            if state == "done":
                self._say(f"{label} {step.value}: done before")
        said = time.monotonic()
        ended = False
        while not ended:
            ended = self._ended.wait(LOOK_EVERY_S)
            for (label, step), before in seen.items():
                state = self._record(label, step).state().value
                if state != before:
                    seen[label, step] = state
                    self._say(f"{label} {step.value}: {'begins' if state == 'running' else state}")
            if time.monotonic() - said > LINE_EVERY_S and not ended:
                said = time.monotonic()
                for line in self._lines():
                    self._say(line)

    def _running(self) -> Iterable[Any]:
        from corecrown.workflows.local import watch

        return watch(self.folder, self._labels, self._steps)

    def _lines(self) -> list[str]:
        lines = []
        for running in self._running():
            parts = [f"{running.label} {running.step.value}:"]
            progress = running.progress
            if progress.part is not None:
                parts.append(f"{progress.part},")
            if progress.kpoint is not None:
                parts.append(f"k-point {progress.kpoint},")
            elif running.step.value == "relax":
                parts.append(f"ionic step {progress.ionic_step},")
            if progress.exchange_round:
                parts.append(f"exact exchange {progress.exchange_round},")
            if progress.scf_iteration:
                parts.append(f"scf iteration {progress.scf_iteration},")
            if progress.accuracy_ry is not None:
                parts.append(f"accuracy {progress.accuracy_ry:.1e} Ry,")
            parts.append(f"{_clock(running.elapsed_s)} in this step, {_clock(time.monotonic() - self._started)} in all")
            lines.append(" ".join(parts))
        return lines

    def _say(self, line: str) -> None:
        sys.stderr.write(f"[{_clock(time.monotonic() - self._started)}] {line}\n")
        sys.stderr.flush()


class PointsDisplay(StudyDisplay):
    """Shows the same of the points of a convergence study, which has a folder a point instead of a cell."""

    def _running(self) -> Iterable[Any]:
        from corecrown.workflows.convergence import watch_points

        return watch_points(self.folder, self._labels)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
