"""The paper's simulation: y = sin‖x‖² for x ~ N(0, I_d), scored on test rows of their own.

The paper's public notebook scores its first-order baselines on a copy of the training labels in this study (the test
targets are overwritten by them), so its remark that ANMIN always has the lower test error may rest on that. Here every
method is scored on the same fresh test rows, with their own targets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np

from anmin import datasets
from anmin.lab import protocol, tables
from anmin.lab.comparison import measure, settings
from anmin.lab.methods import Method, paper_methods
from anmin.lab.protocol import Split
from anmin.lab.results import Run, RunFile, complete

STUDY = "simulation"
N_NEURONS = 64
DIMENSIONS = (1, 3, 10, 30)
ROWS = (1000, 10_000)
METHOD_NAMES = ("SGD", "Adam", "L-BFGS", "ANMIN")
#: The reference's rate; the targets have variance about 1/2, so nothing overflows.
_SGD_RATE = 0.03

Setting = tuple[int, int]
#: Numbers of inputs and rows by the names that the command line takes.
SETTINGS: dict[str, Setting] = {f"sine-d{d}-n{n}": (d, n) for d, n in product(DIMENSIONS, ROWS)}


def simulate(
    folder: Path,
    n_seeds: int = 5,
    *,
    methods: Sequence[str] = METHOD_NAMES,
    names: Sequence[str] = tuple(SETTINGS),
    quick: bool = False,
    report: Callable[[str], None] = print,
) -> dict[str, list[Run]]:
    """Run the methods on sets drawn by seeds 0 to ``n_seeds − 1``, as far as the files in ``folder`` lack them.

    Parameters
    ----------
    folder : Path
        Where ``simulation-NAME.json`` is read and written.
    n_seeds : int, default 5
    methods : sequence of str
    names : sequence of str
        Keys of :data:`SETTINGS`. There are as many test rows as training rows.
    quick : bool, default False
        A tenth of the epochs and iterations.
    report : callable
        Is given one line of text after each run.
    """
    available = paper_methods(_SGD_RATE, quick=quick)
    protocol.check_names("method", list(methods), available)
    protocol.check_names("data set", list(names), SETTINGS)
    chosen = {name: available[name] for name in methods}
    return {name: complete(run_file(folder, name), _jobs(name, chosen, n_seeds), report) for name in names}


def stored(folder: Path, *, quick: bool = False) -> dict[Setting, list[Run]]:
    """Return all runs in ``folder`` that were made with the settings of today, for each setting that has any."""
    methods = paper_methods(_SGD_RATE, quick=quick)
    wanted = {method: settings(methods[method], N_NEURONS) for method in METHOD_NAMES}
    found = {setting: run_file(folder, name).matching(wanted) for name, setting in SETTINGS.items()}
    return {setting: runs for setting, runs in found.items() if runs}


def run_file(folder: Path, name: str) -> RunFile:
    """Return the file of the simulation of that name."""
    return RunFile(folder / f"{STUDY}-{name}.json", STUDY, name)


def draw(d: int, n: int, seed: int) -> Split:
    """Return ``n`` training and ``n`` test rows; all targets are centred by the mean of the training targets."""
    data = datasets.make_sine_norm(2 * n, d, np.random.default_rng([seed, d, n]))
    y = data.y.reshape(2 * n, 1)
    y = y - y[:n].mean(axis=0)
    return Split(data.X[:n], y[:n], data.X[n:], y[n:])


def simulation_table(runs: Mapping[Setting, Sequence[Run]]) -> str:
    """Return the Markdown of the simulation: training and test errors, and who wins on each."""
    lines = [
        "# Simulation: y = sin‖x‖²",
        "",
        f"x ~ N(0, I) in d dimensions, {N_NEURONS} neurons, as many fresh test rows as training rows; mean squared "
        "error, mean (standard deviation) over seeds. **Bold**: not worse than the best by a paired t-test (p > 0.01). "
        "The variance of y is about 0.5, so a test error above that is worse than predicting the mean.",
    ]
    names = list(dict.fromkeys(run.method for found in runs.values() for run in found))
    for part, title in (("train", "Training"), ("test", "Test")):
        lines += [
            "",
            f"## {title} error",
            "",
            f"| d | rows | {' | '.join(names)} | seeds |",
            f"|---:|---:|{'---:|' * len(names)}---:|",
        ]
        for (d, n), found in runs.items():
            rows = {row.method: row for row in tables.summarise(found, "train" if part == "train" else "test")}
            cells = [_cell(rows[name]) if name in rows else "–" for name in names]
            seeds = min(row.n_splits for row in rows.values())
            lines.append(f"| {d} | {n:,} | {' | '.join(cells)} | {seeds} |")
    return "\n".join(lines) + "\n"


def _cell(row: tables.Row) -> str:
    error = tables.formatted(row.mean, row.deviation)
    return f"**{error}**" if row.not_worse else error


def _jobs(name: str, methods: Mapping[str, Method], n_seeds: int) -> Iterator[tuple[str, int, dict, Callable[[], Run]]]:
    for method_name, method in methods.items():
        for seed in range(n_seeds):
            make = partial(_run, *SETTINGS[name], method_name, method, seed)
            yield method_name, seed, settings(method, N_NEURONS), make


def _run(d: int, n: int, name: str, method: Method, seed: int) -> Run:
    return measure(name, method, draw(d, n, seed), N_NEURONS, seed, keep_curve=False)
