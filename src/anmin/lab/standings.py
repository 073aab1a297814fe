"""How the rivals stand after their runs, as numbers, as Markdown and in a sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from anmin.lab.contest import RIVALS
from anmin.lab.results import Run
from anmin.lab.rivals import Ours
from anmin.lab.tables import SIGNIFICANCE, paired_p_value

Metric = Literal["MSE", "RMSE"]


@dataclass(frozen=True)
class Standing:
    """One rival on one data set.

    Attributes
    ----------
    name, title : str
    n_splits : int
        Splits that it was run on; those where it failed count.
    train, test : float
        Mean over the splits of the error; NaN where it failed on one.
    deviation : float
        Of the test error over the splits (divisor splits − 1); NaN for one split.
    seconds : float
        Of a fit, the median over the splits: other work on the machine may have slowed some. Of wall-clock time, or of
        processor time where that was asked for.
    tuning_seconds : float
        Of choosing its settings, once for all splits; 0 for a rival without tuning.
    n_bytes : float
        Mean size of the model.
    us_per_row : float
        Median time of a prediction, microseconds per row.
    failure : str
        Why it failed, of the first split on which it did; empty if it did not.
    """

    name: str
    title: str
    n_splits: int
    train: float
    test: float
    deviation: float
    seconds: float
    tuning_seconds: float
    n_bytes: float
    us_per_row: float
    failure: str = ""


def standings(runs: Sequence[Run], metric: Metric, *, processor_time: bool = False) -> list[Standing]:
    """Return one standing for each rival, the lowest test error first and those that failed last.

    With ``processor_time`` the seconds of a fit are those that the process worked, not those that passed: the measure
    for runs of one thread on a machine that does other work, too.
    """
    found = []
    for name in dict.fromkeys(run.method for run in runs):
        own = [run for run in runs if run.method == name]
        test = np.array([_error(run.test_mse, metric) for run in own])
        found.append(
            Standing(
                name=name,
                title=RIVALS[name].title,
                n_splits=len(own),
                train=float(np.mean([_error(run.train_mse, metric) for run in own])),
                test=float(test.mean()),
                deviation=float(test.std(ddof=1)) if len(test) > 1 else math.nan,
                seconds=float(np.median([_seconds(run, processor_time) for run in own])),
                tuning_seconds=max(run.extra.get("tuning_seconds", 0.0) for run in own),
                n_bytes=float(np.mean([run.extra.get("n_bytes", math.nan) for run in own])),
                us_per_row=float(np.median([run.extra.get("us_per_row", math.nan) for run in own])),
                failure=next((run.extra["failed"] for run in own if "failed" in run.extra), ""),
            )
        )
    return sorted(found, key=lambda standing: (not math.isfinite(standing.test), standing.test))


def where_ours_loses(
    runs: Sequence[Run], metric: Metric, *, processor_time: bool = False, ours: str = Ours.name
) -> str:
    """Return a sentence on the rivals with a lower test error, shorter fits and smaller models than ours.

    Errors and seconds are compared on the splits that both have. A p-value is of the paired t-test over them; it is
    given from five splits on.
    """
    own = {run.split: run for run in runs if run.method == ours}
    if not own:
        return f"{RIVALS[ours].title} has not been run here yet."
    more_accurate, quicker, smaller = [], [], []
    for standing in standings(runs, metric):
        pairs = [(run, own[run.split]) for run in runs if run.method == standing.name and run.split in own]
        if standing.name == ours or not pairs:
            continue
        theirs, mine = (np.array([_error(run.test_mse, metric) for run in side]) for side in zip(*pairs, strict=True))
        if theirs.mean() < mine.mean() or (np.isfinite(theirs).all() and not np.isfinite(mine).all()):
            numbers = f"{number(theirs.mean())} against {number(mine.mean())}"
            more_accurate.append(f"{standing.title} ({numbers}{_chance(theirs, mine)})")
        seconds, my_seconds = (
            np.median([_seconds(run, processor_time) for run in side]) for side in zip(*pairs, strict=True)
        )
        if seconds + standing.tuning_seconds < my_seconds:
            quicker.append(standing.title)
        if standing.n_bytes < np.mean([run.extra.get("n_bytes", math.nan) for run in own.values()]):
            smaller.append(standing.title)
    title = RIVALS[ours].title
    parts = [
        f"{title} loses on test error to {listed(more_accurate)}"
        if more_accurate
        else f"No rival here has a lower test error than {title}"
    ]
    if quicker:
        parts.append(f"it takes longer to fit than {listed(quicker)}")
    if smaller:
        parts.append(f"its model is larger than that of {listed(smaller)}")
    return "; ".join(parts) + "."


def markdown(found: Sequence[Standing], metric: Metric) -> list[str]:
    """Return the lines of a Markdown table, the best of each column in bold."""
    lines = [f"| {' | '.join(headings(metric))} |", "|---|---:|---:|---:|---:|---:|---:|---:|"]
    for row in cells(found):
        texts = [f"**{text}**" if best else text for text, best in row]
        lines.append(f"| {' | '.join(texts)} |")
    return lines


def headings(metric: Metric) -> tuple[str, ...]:
    """Return what stands above the columns of :func:`cells`."""
    return "", "splits", f"test {metric}", f"train {metric}", "fit s", "tuning s", "bytes", "µs/row"


def cells(found: Sequence[Standing]) -> list[list[tuple[str, bool]]]:
    """Return for each rival the cells of its row as text, and whether it is the best of its column."""
    best = {
        column: min((value for one in found if math.isfinite(value := getattr(one, column))), default=math.nan)
        for column in ("test", "train", "seconds", "n_bytes", "us_per_row")
    }

    def cell(one: Standing, column: str, text: str) -> tuple[str, bool]:
        return text, getattr(one, column) == best[column]

    return [
        [
            (one.title, False),
            (str(one.n_splits), False),
            cell(one, "test", number(one.test) + (f" ± {number(one.deviation, 2)}" if one.deviation >= 0 else "")),
            cell(one, "train", number(one.train)),
            cell(one, "seconds", number(one.seconds, 2)),
            (number(one.tuning_seconds, 2) if one.tuning_seconds else "–", False),
            cell(one, "n_bytes", f"{one.n_bytes:,.0f}" if math.isfinite(one.n_bytes) else "–"),
            cell(one, "us_per_row", number(one.us_per_row, 2)),
        ]
        for one in found
    ]


def number(value: float, digits: int = 4) -> str:
    """Return a number with that many significant digits, none of them as a power of ten; "–" where there is none."""
    if not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}"


def listed(names: Sequence[str]) -> str:
    """Return names as in a sentence: "a, b and c"."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _error(mse: float, metric: Metric) -> float:
    return math.sqrt(mse) if metric == "RMSE" else mse


def _seconds(run: Run, processor_time: bool) -> float:
    return run.extra["processor_seconds"] if processor_time else run.seconds


def _chance(theirs: np.ndarray, mine: np.ndarray) -> str:
    one, other = (_by_split(values) for values in (theirs, mine))
    p_value = paired_p_value(one, other)
    if math.isnan(p_value):
        return ""
    return ", p < 0.01" if p_value < SIGNIFICANCE else f", p = {p_value:.2f}"


def _by_split(values: np.ndarray) -> Mapping[int, float]:
    return dict(enumerate(values.tolist()))
