"""The measurements of the speed benchmark, a function for each section, each giving rows ready for JSON."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import dgemm, dsyrk
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor

from anmin import ReLUNetwork, ReLURegressor
from anmin.datasets import shapes
from anmin.lab import protocol
from anmin.lab.methods import paper_methods
from anmin.objective import alpha_from_sum
from anmin.rows import ArrayRows, Scaling
from anmin.search.initialisation import hyperplanes_through_rows
from anmin.solvers import Anmin, MatrixFree, Problem, VarPro, solve

Rows = list[dict[str, Any]]
PAPER_SETS = ("horse_sdf", "bike_sharing", "abalone")
#: Training errors of the paper's ANMIN, and of the depth that the search is asked for at the paper's penalty.
PAPER_ERRORS = {"horse_sdf": 3.53, "bike_sharing": 1457.0, "abalone": 3.94}
DEPTH_ERRORS = {"horse_sdf": 1.2, "bike_sharing": 800.0, "abalone": 3.0}
N_NEURONS = 64


def median_seconds(work: Callable[[], object], times: int = 5) -> float:
    """Return the median of the wall seconds of several calls, after one that is not counted."""
    work()
    return float(np.median([seconds(work) for _ in range(times)]))


def seconds(work: Callable[[], object]) -> float:
    """Return the wall seconds of one call."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def standardised(name: str) -> ArrayRows:
    """Return the training rows of split 0, standardised."""
    split = protocol.load_split(name, 0)
    rows = ArrayRows(split.X_train, split.y_train)
    return Scaling.standard(rows).apply(rows)


def with_passes(rows: ArrayRows, passes: Any) -> ArrayRows:
    """Return the same rows, with their sums made in another way."""
    return ArrayRows(rows.X, rows.Y, rows.w, passes=passes)


def anmin(quick: bool) -> Rows:
    """Time 30 iterations of ANMIN on standardised rows, start and standardisation included, median of three."""
    found = []
    for name in PAPER_SETS:
        rows = standardised(name)
        taken = {}
        for passes in ("auto", "product"):
            problem = Problem(with_passes(rows, passes), N_NEURONS, alpha_from_sum(protocol.PENALTY, rows.n))

            def run(problem: Problem = problem) -> None:
                solve(problem, Anmin(), max_iter=3 if quick else 30, tol=0.0, rng=np.random.default_rng(0))

            taken[passes] = median_seconds(run, 1 if quick else 3)
        found.append({"dataset": name, "seconds": taken["auto"], "plain_seconds": taken["product"]})
    return found


def descent(quick: bool) -> Rows:
    """Find the shortest ``max_time`` whose network has the training error of Adam at its end, and of the paper's ANMIN.

    The seconds are those of the whole call of ``fit``, medians of three seeds; with all defaults, and at the paper's
    penalty.
    """
    return [row for name in PAPER_SETS for row in descents(name, quick)]


def descents(name: str, quick: bool) -> Rows:
    """Return the rows of one data set."""
    split = protocol.load_split(name, 0)
    adam = paper_methods(protocol.STUDIES[name].sgd_rate, quick=quick)["Adam"].fit(split, N_NEURONS, 0)
    adam_error = protocol.errors(adam.network, split)[0]
    found = []
    for penalty, alpha in (("auto", "auto"), ("paper", protocol.PENALTY / len(split.X_train))):
        fitted(split, alpha, 1e-3, 0)  # what is compiled at its first use belongs to no run
        found.append(
            {
                "dataset": name,
                "penalty": penalty,
                "adam_error": adam_error,
                "adam_seconds": adam.seconds,
                "seconds_to_adam": shortest(split, alpha, adam_error, quick),
                "paper_error": PAPER_ERRORS[name],
                "seconds_to_paper": shortest(split, alpha, PAPER_ERRORS[name], quick),
            }
        )
    return found


def fitted(split: protocol.Split, alpha: Any, limit: float, seed: int) -> tuple[float, float]:
    """Return the wall seconds and the training error of a fit of at most ``limit`` seconds."""
    model = ReLURegressor(N_NEURONS, alpha=alpha, max_time=limit, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        taken = seconds(lambda: model.fit(split.X_train, split.y_train))
    return taken, protocol.errors(model.network_, split)[0]


def shortest(split: protocol.Split, alpha: Any, error: float, quick: bool) -> float | None:
    """Return the least seconds in which a fit reaches a training error, the median over seeds; None if most do not."""
    limits = np.geomspace(0.02, 0.2 if quick else 10.0, 4 if quick else 19)
    reached = []
    for seed in range(1 if quick else 3):
        ends = (fitted(split, alpha, float(limit), seed) for limit in limits)
        reached.append(next((taken for taken, left in ends if left <= error), np.inf))
    middle = float(np.median(reached))
    return middle if np.isfinite(middle) else None


def depth(quick: bool) -> Rows:
    """Record when fits at the paper's penalty, all else by default, first have the training errors of the search."""
    found = []
    for name, limit in (("horse_sdf", 60), ("bike_sharing", 150), ("abalone", 60)):
        split = protocol.load_split(name, 0)
        for seed in range(1 if quick else 3):
            model = ReLURegressor(
                N_NEURONS,
                alpha=protocol.PENALTY / len(split.X_train),
                max_time=1 if quick else limit,
                random_state=seed,
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                model.fit(split.X_train, split.y_train)
            history = model.history_
            there = history["seconds"][history["mse"] <= DEPTH_ERRORS[name]]
            found.append(
                {
                    "dataset": name,
                    "seed": seed,
                    "error": DEPTH_ERRORS[name],
                    "seconds": float(there[0]) if len(there) else None,
                    "end_error": float(history["mse"][-1]),
                    "end_seconds": float(history["seconds"][-1]),
                }
            )
    return found


def million(quick: bool) -> Rows:
    """Time a heavy pass over a million rows, and fits of 256 neurons to 100,000 and to a million of them.

    The field is a signed distance; the rows are points of the square, drawn at random. The smaller fit gets a limit of
    time; the larger one is timed until it is as good on 100,000 other points, to one per cent.
    """
    few, many, h, limit = (3_000, 30_000, 32, 1.0) if quick else (100_000, 1_000_000, 256, 30.0)
    X, y = field(many + few, 0)
    test_X, test_y = X[many:], y[many:]
    rows = ArrayRows(X[:many], y[:many])
    rows = Scaling.standard(rows).apply(rows)
    A = hyperplanes_through_rows(rows, h, np.random.default_rng(0))
    heavy = median_seconds(lambda: rows.statistics(A), 3)
    statistics = rows.statistics(A)
    light = median_seconds(lambda: rows.output_statistics(A, since=statistics), 3)

    def fit(count: int, limit: float) -> tuple[float, float]:
        model = ReLURegressor(h, max_time=limit, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            taken = seconds(lambda: model.fit(X[:count], y[:count]))
        return taken, float(np.mean((model.predict(test_X) - test_y) ** 2))

    small_seconds, small_error = fit(few, limit)
    large: tuple[float, float] = (np.nan, np.nan)
    for factor in (1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.5, 3.0):
        large = fit(many, factor * limit)
        if large[1] <= 1.01 * small_error:
            break
    return [
        {
            "n_rows": many,
            "n_neurons": h,
            "heavy_seconds": heavy,
            "light_seconds": light,
            "few_rows": few,
            "few_seconds": small_seconds,
            "few_error": small_error,
            "many_seconds": large[0],
            "many_error": large[1],
            "reached": bool(large[1] <= 1.01 * small_error),
        }
    ]


def field(count: int, seed: int) -> tuple[NDArray, NDArray]:
    """Return random points of the square (count, 2) and their distances from a shape (count,)."""
    X = np.random.default_rng(seed).random((count, 2))
    parts = np.array_split(X, -(-count // 10_000))
    return X, np.concatenate([shapes.signed_distance(part, shapes.cat()) for part in parts])


def matrix_free(quick: bool) -> Rows:
    """Run steps by conjugate gradients and dense ones from the same start, each in a process of its own.

    Where both are run, those by conjugate gradients go on for as long as the dense ones took.
    """
    large, medium = (500, 128, 20_000), (50, 64, 20_000)
    count, dense = 20, 30
    if quick:
        large, medium, count, dense = (40, 16, 500), (10, 8, 500), 2, 2
    found: Rows = []
    for name, (d, h, n), solver in (
        ("large", large, "matrix_free"),
        ("medium", medium, "varpro"),
        ("medium", medium, "matrix_free"),
    ):
        limit = (dense, None) if solver == "varpro" else (count, None)
        if found and solver == "matrix_free":
            limit = (None, found[-1]["seconds"][-1])
        script = f"from speed_parts import steps; steps({solver!r}, {d}, {h}, {n}, {limit[0]}, {limit[1]})"
        done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, cwd=HERE)
        values = [float(value) for value in done.stdout.split()]
        half = len(values) // 2
        found.append(
            {
                "problem": name,
                "n_features": d,
                "n_neurons": h,
                "n_rows": n,
                "solver": solver,
                "bytes": values[-1],
                "seconds": values[:half],
                "losses": values[half:-1],
            }
        )
    return found


HERE = Path(__file__).parent


def steps(name: str, d: int, h: int, n: int, count: int | None, limit: float | None) -> None:
    """Print the seconds and losses of steps, and the bytes taken beyond the data. Runs in a process of its own."""
    rng = np.random.default_rng(0)
    mixing = rng.standard_normal((d, d)) / np.sqrt(d)
    X = rng.standard_normal((n, d)) @ mixing
    directions = rng.standard_normal((d, 8)) / np.sqrt(d)
    y = np.sin(3 * X @ directions).sum(axis=1) + 0.1 * rng.standard_normal(n)
    rows = ArrayRows(X, y)
    problem = Problem(rows, h, 1e-5)
    solver = {"matrix_free": MatrixFree(), "varpro": VarPro()}[name]
    start = hyperplanes_through_rows(rows, h, rng)
    network = ReLUNetwork(start, np.zeros((h, 1)), np.zeros(1))
    solve(problem, solver, start=network, max_iter=1)  # compiles
    solution = solve(problem, solver, start=network, max_iter=count, max_time=limit, tol=0.0)
    history, data = solution.history, X.nbytes + rows.Y.nbytes
    print(*history["seconds"], *history["loss"], peak_bytes() - baseline_bytes() - data)


def baseline_bytes() -> int:
    """Return the peak of a process that has only imported what this one has."""
    script = "from speed_parts import peak_bytes; print(peak_bytes())"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, cwd=HERE)
    return int(done.stdout)


def peak_bytes() -> int:
    """Return the most memory that this process has held, in bytes."""
    # Not getrusage: what it tells is no less than the peak of the process that started this one.
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return 1024 * int(line.split()[1])
    raise OSError("The system does not tell the peak of the memory of a process.")


def roofline(quick: bool) -> Rows:
    """Time each pass beside the machine's own products and copies.

    ``operations`` and ``bytes`` are those of the plain way: 2·N·(h·p)²/2 for the heavy pass, N·h·(h + 2·p) for the
    light one, and the rows read once.
    """
    shapes = [("horse_sdf", 64), ("bike_sharing", 64), ("bike_sharing", 128), ("abalone", 64)]
    found = [row for name, h in (shapes[-1:] if quick else shapes) for row in timed_passes(name, h)]
    square = np.asfortranarray(np.random.default_rng(0).standard_normal((1500, 1500)))
    buffer, copy = np.ones(2**25), np.empty(2**25)
    gemm, copying = median_seconds(lambda: dgemm(1.0, square, square)), median_seconds(lambda: np.copyto(copy, buffer))
    machine = {
        "pass": "the machine: dgemm of order 1,500, and a copy of 256 MB",
        "gflops": 2 * 1500**3 / gemm / 1e9,
        "gbytes": 2 * buffer.nbytes / copying / 1e9,
    }
    return [*found, machine]


def timed_passes(name: str, h: int) -> Rows:
    """Return the passes over the rows of one data set with h neurons."""
    rows = standardised(name)
    n, p = rows.n_rows, rows.n_features + 1
    k = h * p
    A = hyperplanes_through_rows(rows, h, np.random.default_rng(0))
    moved = A + 0.003 * np.abs(A).mean() * np.random.default_rng(1).standard_normal(A.shape)
    statistics, plain = rows.statistics(A), with_passes(rows, "product")
    block = np.asfortranarray(np.random.default_rng(0).standard_normal((k, min(n, 2048))))
    network = ReLUNetwork(A, np.ones((h, 1)), np.zeros(1))
    heavy, light = n * k**2, n * h * (h + 2 * p)
    passes: dict[str, tuple[Callable[[], object], float]] = {
        "heavy": (lambda: rows.statistics(A), heavy),
        "heavy, plain": (lambda: plain.statistics(A), heavy),
        "update": (lambda: rows.statistics(moved, 0.0, statistics), heavy),
        "light": (lambda: rows.output_statistics(moved, 0.0), light),
        "light, after a heavy one": (lambda: rows.output_statistics(moved, 0.0, statistics), light),
        "predict": (lambda: network.predict(rows.X), 2 * n * h * (p + 1)),
    }
    found = []
    for what, (work, operations) in passes.items():
        syrk = median_seconds(lambda: dsyrk(1.0, block))
        taken = median_seconds(work)
        found.append(
            {
                "dataset": name,
                "n_rows": n,
                "n_features": p - 1,
                "n_neurons": h,
                "pass": what,
                "seconds": taken,
                "gflops": operations / taken / 1e9,
                "gbytes": 8 * n * (p - 1) / taken / 1e9,
                "syrk_gflops": block.shape[1] * k**2 / syrk / 1e9,
                "n_cells": statistics.pattern.n_cells,
                "flips": rows.statistics(moved, 0.0, statistics).flips if what == "update" else None,
            }
        )
    return found


def predict(quick: bool) -> Rows:
    """Predict ten million rows of 2 inputs with 64 neurons, and the same by PyTorch and by scikit-learn."""
    n, d, h = (100_000 if quick else 10_000_000), 2, N_NEURONS
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d))
    network = ReLUNetwork(rng.standard_normal((d + 1, h)), rng.standard_normal((h, 1)), np.zeros(1))
    rivals: dict[str, Callable[[], object]] = {"anmin": lambda: network.predict(X)}
    mlp = MLPRegressor(hidden_layer_sizes=(h,), max_iter=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        mlp.fit(X[:100], X[:100, 0])
    rivals["scikit-learn MLPRegressor"] = lambda: mlp.predict(X)
    try:
        import torch
    except ImportError:
        pass
    else:
        model = torch.nn.Sequential(torch.nn.Linear(d, h), torch.nn.ReLU(), torch.nn.Linear(h, 1)).double()
        inputs = torch.from_numpy(X)

        def forward() -> None:
            with torch.no_grad():
                model(inputs)

        rivals["PyTorch"] = forward
    return [
        {"n_rows": n, "n_features": d, "n_neurons": h, "rival": name, "seconds": median_seconds(work, 3)}
        for name, work in rivals.items()
    ]


def scaling(quick: bool) -> Rows:
    """Time the passes against rows, inputs and neurons, with the others fixed."""
    runs = [("rows", n, d, 64) for d in (2, 10) for n in (10**4, 10**5, 10**6, 10**7) if n * d <= 2 * 10**7]
    runs += [("inputs", 20_000, d, 64) for d in (2, 5, 10, 20, 50, 100)]
    runs += [("neurons", 100_000, d, h) for d in (2, 10) for h in (16, 64, 256, 1024) if h * d <= 2600]
    if quick:
        runs = [("rows", 1000, 2, 8), ("rows", 4000, 2, 8), ("inputs", 500, 3, 8), ("neurons", 500, 2, 16)]
    found = []
    for along, n, d, h in runs:
        rng = np.random.default_rng(0)
        X = rng.uniform(-1.7, 1.7, (n, d))
        rows = ArrayRows(X, np.sin(X[:, :1]))
        A = hyperplanes_through_rows(rows, h, rng)
        statistics = rows.statistics(A)
        for what, work in (
            ("heavy", lambda rows=rows, A=A: rows.statistics(A)),
            ("light", lambda rows=rows, A=A, s=statistics: rows.output_statistics(A, 0.0, s)),
        ):
            begun = seconds(work)
            taken = begun if begun > 2 else min(begun, median_seconds(work, 3))
            found.append(
                {
                    "along": along,
                    "n_rows": n,
                    "n_features": d,
                    "n_neurons": h,
                    "pass": what,
                    "seconds": taken,
                    "n_cells": statistics.pattern.n_cells,
                }
            )
        del statistics
    return found


def startup(quick: bool) -> Rows:
    """Time imports, the command's help, and the first fits, each in processes of its own; medians of five."""
    fit = (
        "import time, warnings; warnings.simplefilter('ignore'); import numpy as np; from anmin import ReLURegressor\n"
        "rng = np.random.default_rng(0); X = rng.uniform(-1, 1, (20000, 2)); y = np.sin(3 * X[:, 0])\n"
        "begun = time.perf_counter(); ReLURegressor(32, max_iter=30, random_state=0).fit(X, y)\n"
        "print(time.perf_counter() - begun)\n"
        "begun = time.perf_counter(); ReLURegressor(32, max_iter=30, random_state=0).fit(X, y)\n"
        "print(time.perf_counter() - begun)"
    )
    times = 1 if quick else 5
    command = {
        "import sklearn.base": ["-c", "import sklearn.base"],
        "import sklearn.base, anmin": ["-c", "import sklearn.base, anmin"],
        "from anmin import ReLURegressor": ["-c", "import sklearn.base; from anmin import ReLURegressor"],
        "anmin --help": ["-m", "anmin", "--help"],
    }
    found: Rows = []
    for what, arguments in command.items():
        line = [sys.executable, *arguments]
        taken = [seconds(partial(subprocess.run, line, check=True, capture_output=True)) for _ in range(times)]
        found.append({"what": what, "seconds": float(np.median(taken))})
    with tempfile.TemporaryDirectory() as cache:
        for what in ("first fit of a machine, all compiled", "first fit of a process, from the cache"):
            done = subprocess.run(
                [sys.executable, "-c", fit],
                check=True,
                capture_output=True,
                text=True,
                env={**os.environ, "NUMBA_CACHE_DIR": cache},
            )
            first, again = map(float, done.stdout.split())
            found.append({"what": what, "seconds": first, "again": again})
    return found


SECTIONS: dict[str, Callable[[bool], Rows]] = {
    part.__name__: part for part in (anmin, descent, depth, million, matrix_free, roofline, predict, scaling, startup)
}
