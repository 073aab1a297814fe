"""One rival on one split, measured: errors, seconds, bytes, and time for a prediction."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from anmin.lab import protocol
from anmin.lab.protocol import Split
from anmin.lab.results import Run, load_average
from anmin.lab.rivals import LightGBM, MLPAdam, MLPLbfgs, Ours, PaperAnmin, Ridge, Rival, tune
from anmin.lab.torch_rivals import ScnnGated, ScnnReLU, TorchAdam, TorchLM

RIVALS: dict[str, type[Rival]] = {
    rival.name: rival
    for rival in (
        Ours,
        PaperAnmin,
        MLPLbfgs,
        MLPAdam,
        TorchAdam,
        TorchLM,
        ScnnGated,
        ScnnReLU,
        LightGBM,
        Ridge,
    )
}
#: Rows that are predicted, at least, to time a prediction, and how often.
_ROWS_PREDICTED, _REPETITIONS = 10_000, 11


def chosen(names: Sequence[str] | None, n_neurons: int) -> list[Rival]:
    """Return rivals by name, in that order; for None those that take part by default.

    Raises
    ------
    ValueError
        If there is no rival of that name.
    """
    if names is None:
        return [kind(n_neurons) for kind in RIVALS.values() if kind.by_default]
    protocol.check_names("rival", list(names), RIVALS)
    return [RIVALS[name](n_neurons) for name in dict.fromkeys(names)]


def hold(
    rivals: Sequence[Rival],
    X: NDArray,
    y: NDArray,
    n_splits: int = 3,
    seed: int = 0,
    watch: Callable[[str], None] = lambda text: None,
) -> Iterator[Run]:
    """Run rivals on random splits of a table, and yield each run when it is done.

    It goes split by split, so that who stops early has a fair comparison on the first ones. Settings are tuned on the
    training rows of the first split, and used on all.

    Parameters
    ----------
    rivals : sequence of Rival
        After :meth:`Rival.prepare`.
    X : array of shape (N, d)
    y : array of shape (N,) or (N, c)
    n_splits : int, default 3
    seed : int, default 0
        Split k holds out a fifth of the rows by random state ``seed + k``, and seeds the rivals with it.
    watch : callable
        Is told what is done next.
    """
    targets = y.reshape(len(X), -1)
    best: dict[str, tuple[Rival, float]] = {}
    for number in range(n_splits):
        X_train, X_test, y_train, y_test = train_test_split(
            X, targets, test_size=protocol.TEST_SIZE, random_state=seed + number
        )
        split = Split(X_train, y_train, X_test, y_test)
        for rival in rivals:
            if number == 0:
                watch(f"{rival.title}, tuning" if rival.candidates() else rival.title)
                started = clocks()
                tuned, record = tune(rival, X_train, y_train)
                best[rival.name] = tuned, since(started)[0] if record else 0.0
            tuned, seconds = best[rival.name]
            watch(f"{rival.title}, split {number + 1}")
            run = measure(tuned, split, number, seed + number)
            yield replace(run, extra={**run.extra, "tuning_seconds": seconds}) if seconds else run


def measure(rival: Rival, split: Split, number: int, seed: int | None = None) -> Run:
    """Fit a rival to the training rows of a split and score it.

    Parameters
    ----------
    rival : Rival
    split : Split
        Rows in any units; a rival standardises them as it needs.
    number : int
        Of the split.
    seed : int, optional
        Of the rival's start; by default the number of the split.

    Returns
    -------
    Run
        Its ``extra`` has "n_bytes", "us_per_row" (microseconds to predict a row), "processor_seconds" (of the fit, all
        threads together) and what only this rival has. Where the rival fails, its errors are NaN, and
        ``extra["failed"]`` says why.
    """
    rival.prepare()
    load, started = load_average(), clocks()
    try:
        fitted = rival.fit(split.X_train, split.y_train, number if seed is None else seed)
    except Exception as error:
        # A rival may raise anything; what the others can do is still to be shown.
        why = " ".join(f"{type(error).__name__}: {error}".split())
        return _run(rival, split, number, since(started), load, 0, (np.nan, np.nan), {"failed": why})
    taken = since(started)
    errors = (
        float(np.mean((fitted.predict(split.X_train) - split.y_train) ** 2)),
        float(np.mean((fitted.predict(split.X_test) - split.y_test) ** 2)),
    )
    extra = {"n_bytes": fitted.n_bytes, "us_per_row": microseconds_per_row(fitted.predict, split.X_test)}
    return _run(rival, split, number, taken, load, fitted.iterations, errors, {**extra, **fitted.extra})


def clocks() -> tuple[float, float]:
    """Return the wall clock and the processor time of this process, all threads together, in seconds."""
    return time.perf_counter(), time.process_time()


def since(started: tuple[float, float]) -> tuple[float, float]:
    """Return the seconds by both clocks since :func:`clocks` returned ``started``."""
    wall, processor = clocks()
    return round(wall - started[0], 4), round(processor - started[1], 4)


def microseconds_per_row(predict: Callable[[NDArray], NDArray], X: NDArray) -> float:
    """Return the median time of predictions of X (M, d), repeated to at least 10,000 rows, in µs per row."""
    rows = np.tile(X, (-(-_ROWS_PREDICTED // len(X)), 1))
    predict(rows)  # the first call may compile or allocate
    times = []
    for _ in range(_REPETITIONS):
        started = time.perf_counter()
        predict(rows)
        times.append(time.perf_counter() - started)
    return float(f"{1e6 * np.median(times) / len(rows):.4g}")


def _run(
    rival: Rival,
    split: Split,
    number: int,
    taken: tuple[float, float],
    load: float | None,
    iterations: int,
    errors: tuple[float, float],
    extra: dict,
) -> Run:
    train_r2, test_r2 = protocol.r_squared(*errors, split)
    return Run(
        method=rival.name,
        split=number,
        settings=rival.settings(),
        train_mse=errors[0],
        test_mse=errors[1],
        train_r2=train_r2,
        test_r2=test_r2,
        seconds=taken[0],
        iterations=iterations,
        n_train=len(split.X_train),
        n_features=split.X_train.shape[1],
        load=load,
        extra={"processor_seconds": taken[1], **extra},
    )
