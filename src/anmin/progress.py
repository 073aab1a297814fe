"""A progress bar for fits, drawn only once a fit has run for a second."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from anmin.history import Record
from anmin.network import ReLUNetwork


class ProgressBar:
    """A callback of a fit that shows iteration, loss, mean squared error and elapsed time.

    Use it as a context manager, so that the terminal is left in order however the fit ends:

        with ProgressBar(total=30) as bar:
            solve(problem, solver, callbacks=[bar])

    Parameters
    ----------
    total : int, optional
        Largest number of iterations, of all restarts together, if known.
    description : str, default "Fitting"
        Text before the bar.
    delay : float, default 1.0
        Seconds that pass before anything is drawn: short fits stay quiet.
    console : rich.console.Console, optional
        Where to draw; by default standard error, so that standard output holds results only.
    """

    def __init__(
        self, total: int | None = None, description: str = "Fitting", delay: float = 1.0, console: Console | None = None
    ) -> None:
        self._delay = delay
        self._progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[count]}"),
            TextColumn("loss [bold]{task.fields[loss]}[/]  MSE [bold]{task.fields[mse]}[/]"),
            TimeElapsedColumn(),
            console=console or Console(stderr=True),
        )
        self._task = self._progress.add_task(description, total=total, count="0", loss="–", mse="–")
        self._total = total
        self._entered = time.perf_counter()
        self._shown = False
        self._iterations = 0

    def __enter__(self) -> Self:
        self._entered, self._iterations = time.perf_counter(), 0
        self._progress.reset(self._task)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._shown:
            self._progress.stop()
            self._shown = False

    def __call__(self, record: Record, network: ReLUNetwork) -> None:
        """Show a record; it never asks to stop."""
        if not self._shown and time.perf_counter() - self._entered >= self._delay:
            self._shown = True  # before it is, because an interrupt may come while it is drawn
            self._progress.start()
        # Counted here, because every restart numbers its iterations from 0.
        self._iterations += record.iteration > 0
        # The choice of a penalty, and a search, take iterations beyond those that were counted on.
        foreseen = self._total is not None and self._iterations <= self._total
        self._progress.update(
            self._task,
            completed=self._iterations,
            count=f"{self._iterations}/{self._total}" if foreseen else f"{self._iterations:,}",
            loss=f"{record.loss:.5g}",
            mse=f"{record.mse:.5g}",
        )
