"""Test error against the size of the model: ours and MLPRegressor of growing width, LightGBM of growing forests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from anmin.atomic import written_atomically
from anmin.lab import accuracy, contest, protocol
from anmin.lab.colours import BLUE, GREEN, VERMILION
from anmin.lab.figures import STYLE, import_matplotlib, plain_log_ticks
from anmin.lab.results import Run, RunFile, complete
from anmin.lab.rivals import LightGBM, MLPLbfgs, Ours, Rival

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STUDY = "sizes"
DATASETS = ("horse_sdf", "bike_sharing", "concrete")
RIVALS = (Ours.name, LightGBM.name, MLPLbfgs.name)
WIDTHS = (4, 8, 16, 32, 64, 128, 256, 512)
#: Limit of a fit of ours: the search of the widest networks would go on for long.
MOST_SECONDS = 60.0
#: Few trees need large steps, many trees small ones; every combination is tried.
_TREES, _LEAVES = (1, 3, 10, 30, 100, 300, 1000), (4, 8, 16, 32, 64)
_RATES = {1: (1.0,), 3: (0.5, 1.0), 10: (0.3, 0.6), 30: (0.1, 0.3), 100: (0.1, 0.3), 300: (0.1, 0.3), 1000: (0.1, 0.3)}
_COLOURS = {Ours.name: VERMILION, LightGBM.name: GREEN, MLPLbfgs.name: BLUE}


def run(
    folder: Path,
    name: str,
    rivals: Sequence[str] = RIVALS,
    widths: Sequence[int] = WIDTHS,
    n_splits: int = 1,
    *,
    again: bool = False,
    report: Callable[[str], None] = print,
) -> list[Run]:
    """Run the rivals in all sizes on the first splits, as far as ``sizes-NAME.json`` in ``folder`` lacks them.

    MLPRegressor's penalty is the one tuned at 64 neurons in the comparison of :mod:`anmin.lab.accuracy`.

    Raises
    ------
    ValueError
        If a data set or rival is not known, before any work.
    """
    protocol.check_names("data set", [name], accuracy.FIELDS)
    protocol.check_names("rival in this study", list(rivals), dict.fromkeys(RIVALS))
    file = run_file(folder, name)
    return complete(file, _jobs(folder, name, rivals, widths, n_splits, report), report, again=again)


def run_file(folder: Path, name: str) -> RunFile:
    """Return the file of the sizes on a data set."""
    return RunFile(folder / f"{STUDY}-{name}.json", STUDY, name)


def sized(rival: str, widths: Sequence[int] = WIDTHS) -> dict[str, Rival]:
    """Return a rival in all its sizes, by labels such as "ours 64" and "lightgbm 100 × 31, rate 0.1"."""
    if rival == LightGBM.name:
        grid = [(trees, leaves, rate) for trees, leaves in product(_TREES, _LEAVES) for rate in _RATES[trees]]
        return {
            f"{rival} {trees} × {leaves}, rate {rate}": LightGBM(trees=trees, leaves=leaves, rate=rate)
            for trees, leaves, rate in grid
        }
    own = {f"{rival} {width}": contest.RIVALS[rival](width) for width in widths}
    return {label: replace(one, max_time=MOST_SECONDS) if isinstance(one, Ours) else one for label, one in own.items()}


def draw(path: Path, runs: Mapping[str, Sequence[Run]]) -> None:
    """Draw test error against bytes for each data set that has runs, and write it as a PNG file.

    Raises
    ------
    ImportError
        If Matplotlib is not there; the message names the extra that brings it.
    """
    matplotlib = import_matplotlib()
    with matplotlib.rc_context(STYLE):
        figure = size_figure({name: found for name, found in runs.items() if found})
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_atomically(path) as temporary:
            figure.savefig(temporary, format="png", dpi=110)


def size_figure(runs: Mapping[str, Sequence[Run]]) -> Figure:
    """Return one panel for each data set, both axes logarithmic."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * len(runs), 4.2), layout="constrained")
    axes = figure.subplots(1, len(runs), squeeze=False)[0]
    for axis, (name, found) in zip(axes, runs.items(), strict=True):
        field = accuracy.FIELDS[name]
        for rival in RIVALS:
            points = curve([run for run in found if run.method.split()[0] == rival], field.metric == "RMSE")
            if points:
                _draw_curve(axis, rival, points)
        axis.set(xscale="log", yscale="log", xlabel="bytes of the model", title=field.title)
        axis.set_ylabel(f"test {field.metric}")
        plain_log_ticks(axis.yaxis, *axis.get_ylim())
    axes[0].legend()
    return figure


def curve(runs: Sequence[Run], root: bool) -> list[tuple[float, float, int]]:
    """Return (bytes, mean test error over the splits, neurons) by size; 0 neurons for trees.

    Of trees only those stay that have a lower test error than all smaller ones: a choice by hindsight, in their favour.
    """
    points = []
    for method in dict.fromkeys(run.method for run in runs):
        own = [run for run in runs if run.method == method and np.isfinite(run.test_mse)]
        if own:
            error = float(np.mean([run.test_mse**0.5 if root else run.test_mse for run in own]))
            n_bytes = float(np.mean([run.extra["n_bytes"] for run in own]))
            points.append((n_bytes, error, int(own[0].settings.get("n_neurons", 0))))
    points.sort()
    lowest = np.minimum.accumulate([np.inf, *(error for _, error, _ in points)])
    return [point for point, before in zip(points, lowest, strict=False) if point[2] or point[1] < before]


def _draw_curve(axis: Axes, rival: str, points: Sequence[tuple[float, float, int]]) -> None:
    n_bytes, errors, neurons = zip(*points, strict=True)
    axis.plot(n_bytes, errors, "o-", color=_COLOURS[rival], markersize=4, label=contest.RIVALS[rival].title)
    for x, y, width in zip(n_bytes, errors, neurons, strict=True) if rival == Ours.name else ():
        axis.annotate(str(width), (x, y), (0, -12), textcoords="offset points", ha="center", fontsize=8)


def _jobs(
    folder: Path,
    name: str,
    rivals: Sequence[str],
    widths: Sequence[int],
    n_splits: int,
    report: Callable[[str], None],
) -> Iterator[tuple[str, int, dict, Callable[[], Run]]]:
    for kind in rivals:
        for label, rival in sized(kind, widths).items():
            if isinstance(rival, MLPLbfgs):
                usual = MLPLbfgs(accuracy.FIELDS[name].n_neurons)
                best, _ = accuracy.tuned(folder, name, usual, report)
                rival = replace(best, n_neurons=rival.n_neurons)
            for split in range(n_splits):
                yield label, split, rival.settings(), partial(_run, name, label, rival, split)


def _run(name: str, label: str, rival: Rival, split: int) -> Run:
    return replace(contest.measure(rival, accuracy.load_split(name, split), split), method=label)
