"""The comparison of all methods on all data sets: the runs behind the paper's tables of training and test errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from anmin.lab import protocol
from anmin.lab.methods import METHOD_NAMES, Method, paper_methods
from anmin.lab.protocol import STUDIES, Split
from anmin.lab.results import Run, RunFile, complete, load_average

STUDY = "comparison"
#: Splits whose training curves are kept for the figures.
CURVE_SPLITS = 1


def compare(
    folder: Path,
    names: Sequence[str],
    methods: Sequence[str] = METHOD_NAMES,
    n_splits: int | None = None,
    *,
    quick: bool = False,
    report: Callable[[str], None] = print,
) -> dict[str, list[Run]]:
    """Run the methods on the first splits of the data sets, as far as the files in ``folder`` lack them.

    Parameters
    ----------
    folder : Path
        Where ``comparison-NAME.json`` is read and written.
    names, methods : sequence of str
    n_splits : int, optional
        Splits 0 to ``n_splits − 1`` are made; by default as many as the study of each data set says.
    quick : bool, default False
        A tenth of the epochs and iterations.
    report : callable
        Is given one line of text after each run.

    Returns
    -------
    dict
        For each data set its runs.

    Raises
    ------
    ValueError
        If a data set or method is not known, before any work.
    """
    protocol.check_names("data set", list(names), STUDIES)
    protocol.check_names("method", list(methods), dict.fromkeys(METHOD_NAMES))
    found = {}
    for name in names:
        jobs = _jobs(name, methods, n_splits or STUDIES[name].n_splits, quick)
        found[name] = complete(run_file(folder, name), jobs, report)
    return found


def stored(folder: Path, *, quick: bool = False) -> dict[str, list[Run]]:
    """Return all runs in ``folder`` that were made with the settings of today, for each data set that has any."""
    found = {}
    for name, study in STUDIES.items():
        methods = paper_methods(study.sgd_rate, quick=quick)
        wanted = {method: settings(methods[method], study.n_neurons) for method in METHOD_NAMES}
        if runs := run_file(folder, name).matching(wanted):
            found[name] = runs
    return found


def run_file(folder: Path, name: str) -> RunFile:
    """Return the file of the comparison on a data set."""
    return RunFile(folder / f"{STUDY}-{name}.json", STUDY, name)


def measure(method_name: str, method: Method, split: Split, n_neurons: int, seed: int, *, keep_curve: bool) -> Run:
    """Fit by a method and score the network that it reports."""
    load = load_average()
    fit = method.fit(split, n_neurons, seed, keep_path=keep_curve)
    train_mse, test_mse = protocol.errors(fit.network, split)
    train_r2, test_r2 = protocol.r_squared(train_mse, test_mse, split)
    return Run(
        method=method_name,
        split=seed,
        settings=settings(method, n_neurons),
        train_mse=train_mse,
        test_mse=test_mse,
        train_r2=train_r2,
        test_r2=test_r2,
        seconds=round(fit.seconds, 4),
        iterations=fit.iterations,
        n_train=len(split.X_train),
        n_features=split.X_train.shape[1],
        load=load,
        extra=fit.extra,
        curve=fit.curve(split) if keep_curve else None,
    )


def settings(method: Method, n_neurons: int) -> dict:
    """Return all that determines a run besides the data."""
    return {**method.settings(), "n_neurons": n_neurons}


def _jobs(
    name: str, methods: Sequence[str], n_splits: int, quick: bool
) -> Iterator[tuple[str, int, dict, Callable[[], Run]]]:
    study = STUDIES[name]
    available = paper_methods(study.sgd_rate, quick=quick)
    for method_name in methods:
        method = available[method_name]
        for split in range(n_splits):
            yield (
                method_name,
                split,
                settings(method, study.n_neurons),
                partial(_run, name, method_name, method, study.n_neurons, split),
            )


def _run(name: str, method_name: str, method: Method, n_neurons: int, split: int) -> Run:
    rows = protocol.load_split(name, split)
    return measure(method_name, method, rows, n_neurons, split, keep_curve=split < CURVE_SPLITS)
