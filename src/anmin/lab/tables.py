"""Markdown tables made from stored runs: means, deviations, paired tests, and the paper's numbers beside ours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ttest_rel

from anmin.lab import published
from anmin.lab.protocol import STUDIES
from anmin.lab.published import Published
from anmin.lab.results import Run

Part = Literal["train", "test"]

#: A method whose difference from the best has a larger p-value counts as not worse, as in the paper.
SIGNIFICANCE = 0.01
#: With fewer splits than this the test would call almost everything equal, so none is made.
_FEWEST_SPLITS = 5


@dataclass(frozen=True)
class Row:
    """One method on one data set.

    Attributes
    ----------
    method : str
    n_splits : int
    mean, deviation : float
        Of the error over the splits (divisor splits − 1); NaN deviation for one split.
    r2 : float
        Mean R² over the splits.
    seconds : float
        Of the shortest fit that ran to its end: all those do the same work, and other work on the machine only ever
        adds to it. A fit that diverged may have ended early.
    p_value : float
        Of the paired t-test against the best method on the splits that both have; NaN for the best itself and where
        there are fewer than five such splits.
    not_worse : bool
        Whether it is the best method or its ``p_value`` is above 0.01.
    """

    method: str
    n_splits: int
    mean: float
    deviation: float
    r2: float
    seconds: float
    p_value: float
    not_worse: bool


def summarise(runs: Sequence[Run], part: Part) -> list[Row]:
    """Return one row for each method, in order of appearance; a run that diverged counts as infinitely bad."""
    methods = list(dict.fromkeys(run.method for run in runs))
    errors = {method: _errors(runs, method, part) for method in methods}
    # The best is sought among the methods with the most splits, or a lucky one with few would win.
    most = max(len(values) for values in errors.values())
    full = [method for method in methods if len(errors[method]) == most]
    best = min(full, key=lambda method: np.mean(list(errors[method].values())))
    rows = []
    for method in methods:
        values = np.array(list(errors[method].values()))
        p_value = math.nan if method == best else paired_p_value(errors[method], errors[best])
        own = [run for run in runs if run.method == method]
        longest = max(run.iterations for run in own)
        rows.append(
            Row(
                method=method,
                n_splits=len(values),
                mean=float(values.mean()),
                deviation=float(values.std(ddof=1)) if len(values) > 1 and np.isfinite(values).all() else math.nan,
                r2=float(np.mean([run.train_r2 if part == "train" else run.test_r2 for run in own])),
                seconds=min(run.seconds for run in own if run.iterations == longest),
                p_value=p_value,
                not_worse=method == best or p_value > SIGNIFICANCE,
            )
        )
    return rows


def paired_p_value(one: Mapping[int, float], other: Mapping[int, float]) -> float:
    """Return the p-value of the paired t-test on the common keys: NaN for fewer than five, 1 if all are equal."""
    common = sorted(one.keys() & other.keys())
    first, second = (np.array([values[key] for key in common]) for values in (one, other))
    if len(common) < _FEWEST_SPLITS:
        return math.nan
    if not np.isfinite(first - second).all():
        return 0.0
    difference = first - second
    if np.ptp(difference) <= 1e-12 * np.abs(first).max():
        # The statistic is 0/0 or x/0 here.
        return 1.0 if np.abs(difference).max() <= 1e-12 * np.abs(first).max() else 0.0
    return float(ttest_rel(first, second).pvalue)


def comparison_table(runs: Mapping[str, Sequence[Run]], part: Part) -> str:
    """Return the Markdown of the comparison: for each data set a table, then what differs from the paper and why."""
    numbers = published.TRAIN_MSE if part == "train" else published.TEST_MSE
    title = "Training" if part == "train" else "Test"
    lines = [
        f"# {title} errors by the paper's protocol",
        "",
        "Mean squared error over rows and outputs, mean (standard deviation) over the splits; R² relative to the mean "
        "of the training targets; seconds of the shortest fit. **Bold**: not worse than the best by a paired t-test "
        "(p > 0.01), which is not made on fewer than five splits. The paper's numbers are means over 100 splits; a "
        "dash where one is not known here. "
        f"Paper: {published.CITATION}.",
    ]
    for name, found in runs.items():
        if not found:
            continue
        study, rows = STUDIES[name], summarise(found, part)
        lines += ["", f"## {study.title}, {study.n_neurons} neurons, {found[0].n_train:,} training rows", ""]
        if study.note:
            lines += [study.note, ""]
        lines += [
            "| method | splits | MSE | paper | R² | p against best | seconds |",
            "|---|---:|---:|---:|---:|---:|---:|",
            *(_line(row, numbers.get((name, row.method))) for row in rows),
        ]
        if name in published.BEST:
            lines += ["", f"Lowest of any method in the paper: {_short(published.BEST[name][part == 'test'])}."]
        remarks = [
            remark for row in rows if (remark := against_paper(name, row, numbers.get((name, row.method)))) is not None
        ]
        if remarks:
            lines += ["", *(f"- {remark}" for remark in remarks)]
    return "\n".join(lines) + "\n"


def against_paper(name: str, row: Row, paper: Published | None) -> str | None:
    """Return a sentence that holds our mean against the paper's, or None where there is nothing to hold it against.

    The yardstick is the paper's deviation over splits, or ours where it is not known.
    """
    if paper is None:
        return None
    change = 100 * (row.mean / paper.mean - 1)
    deviation = paper.deviation if paper.deviation is not None else row.deviation
    apart = f"{abs(change):.0f}% {'higher' if change > 0 else 'lower'} than" if abs(change) >= 0.5 else "within 0.5% of"
    sentence = f"{row.method}: ours is {apart} the paper's {_short(paper.mean)}"
    if math.isfinite(deviation) and deviation > 0:
        distance = abs(row.mean - paper.mean) / deviation
        sentence += f", {distance:.1f} deviations over splits away"
        if distance <= 1:
            return sentence + "."
    reason = published.REASONS.get((name, row.method))
    return sentence + (f". {reason}" if reason else ".")


def formatted(mean: float, deviation: float) -> str:
    """Return "mean (deviation)" with as many digits as the tables of the paper."""
    if not math.isfinite(mean):
        return "diverged"
    return _short(mean) + (f" ({_short(deviation, mean)})" if math.isfinite(deviation) else "")


def _line(row: Row, paper: Published | None) -> str:
    error = formatted(row.mean, row.deviation)
    cells = (
        row.method,
        str(row.n_splits),
        f"**{error}**" if row.not_worse else error,
        "–" if paper is None else formatted(paper.mean, math.nan if paper.deviation is None else paper.deviation),
        f"{row.r2:.3f}" if math.isfinite(row.r2) else "–",
        "best" if row.not_worse and math.isnan(row.p_value) else _p(row.p_value),
        f"{row.seconds:.2f}" if row.seconds < 10 else f"{row.seconds:.0f}",
    )
    return f"| {' | '.join(cells)} |"


def _errors(runs: Sequence[Run], method: str, part: Part) -> dict[int, float]:
    found = {run.split: run.train_mse if part == "train" else run.test_mse for run in runs if run.method == method}
    return {split: value if math.isfinite(value) else math.inf for split, value in found.items()}


def _p(value: float) -> str:
    if math.isnan(value):
        return "–"
    return f"{value:.2f}" if value >= 0.01 else "< 0.01"


def _short(value: float, like: float | None = None) -> str:
    """Format a number with two decimals below 100, one below 1000, none above; ``like`` sets the scale."""
    scale: NDArray | float = abs(value if like is None else like)
    if scale < 0.1:
        return f"{value:.2g}"
    return f"{value:.2f}" if scale < 100 else f"{value:.1f}" if scale < 1000 else f"{value:,.0f}"
