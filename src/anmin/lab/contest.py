"""One rival on one split, measured: errors, seconds, bytes, and time for a prediction."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from anmin.lab import protocol
from anmin.lab.protocol import Split
from anmin.lab.results import Run, load_average
from anmin.lab.rivals import LightGBM, MLPAdam, MLPLbfgs, Ours, PaperAnmin, Ridge, Rival
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
_ROWS_PREDICTED, _REPETITIONS = 10_000, 5


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
        Its ``extra`` has "n_bytes", "us_per_row" (microseconds to predict a row) and what only this rival has. Where
        the rival fails, its errors are NaN, and ``extra["failed"]`` says why.
    """
    rival.prepare()
    load, started = load_average(), time.perf_counter()
    try:
        fitted = rival.fit(split.X_train, split.y_train, number if seed is None else seed)
    except Exception as error:
        # A rival may raise anything; what the others can do is still to be shown.
        why = " ".join(f"{type(error).__name__}: {error}".split())
        return _run(rival, split, number, time.perf_counter() - started, load, 0, (np.nan, np.nan), {"failed": why})
    seconds = time.perf_counter() - started
    errors = (
        float(np.mean((fitted.predict(split.X_train) - split.y_train) ** 2)),
        float(np.mean((fitted.predict(split.X_test) - split.y_test) ** 2)),
    )
    extra = {"n_bytes": fitted.n_bytes, "us_per_row": microseconds_per_row(fitted.predict, split.X_test)}
    return _run(rival, split, number, seconds, load, fitted.iterations, errors, {**extra, **fitted.extra})


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
    seconds: float,
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
        seconds=round(seconds, 4),
        iterations=iterations,
        n_train=len(split.X_train),
        n_features=split.X_train.shape[1],
        load=load,
        extra=extra,
    )
