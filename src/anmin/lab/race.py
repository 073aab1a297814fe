"""The loss of :mod:`anmin.objective` against seconds, for descents, convex programs and the solvers of this package."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import ConvergenceWarning

from anmin import objective
from anmin.arrangements import network_patterns, patterns_of
from anmin.estimators import ReLURegressor
from anmin.lab.baselines import Recipe, train
from anmin.network import ReLUNetwork
from anmin.rows import ArrayRows
from anmin.solvers.convex import solve_convex
from anmin.solvers.gated import solve_gated

_POINTS = 60  # of a descent, at most
TOLS = (1e-1, 1e-3)  #: Of a convex program, each from the beginning.


@dataclass(frozen=True, eq=False)
class Curve:
    """The lowest loss that a method had reached after so many seconds.

    Attributes
    ----------
    seconds, losses : ndarray of shape (k,)
        Increasing, and not increasing.
    n_neurons : int
        Of the last network; for gated networks their gates in use.
    """

    seconds: NDArray
    losses: NDArray
    n_neurons: int

    @property
    def final(self) -> float:
        """The lowest loss."""
        return float(self.losses[-1])

    def at(self, seconds: float) -> float:
        """Return the lowest loss by then; infinite before the first."""
        known = np.flatnonzero(self.seconds <= seconds)
        return float(self.losses[known[-1]]) if known.size else np.inf

    @classmethod
    def of(cls, seconds: Sequence[float], losses: Sequence[float], n_neurons: int) -> Curve:
        """Return the curve of losses in any order; what is not finite counts as infinite."""
        finite = np.where(np.isfinite(losses), losses, np.inf)
        order = np.argsort(seconds, kind="stable")
        return cls(np.asarray(seconds, dtype=float)[order], np.minimum.accumulate(finite[order]), n_neurons)


def loss_of(network: ReLUNetwork, rows: ArrayRows, alpha: float) -> float:
    """Return the loss of a network on rows without weights."""
    with np.errstate(over="ignore", invalid="ignore"):  # a descent that diverges
        sse = float(np.sum((network.predict(rows.X) - rows.Y) ** 2))
        return objective.loss(sse, rows.n, alpha, network.A, network.B, network.b0)


def descent_curve(
    rows: ArrayRows, n_neurons: int, alpha: float, recipe: Recipe, seed: int
) -> tuple[Curve, ReLUNetwork]:
    """Return the curve of a descent by PyTorch, and the network of lowest loss on it.

    Its losses are computed afterwards and take no time.
    """
    path = train(rows.X, rows.Y, n_neurons, recipe, seed, alpha=alpha, keep_path=True).path
    # As many points in each part of a logarithmic axis.
    chosen = np.unique(np.geomspace(1, len(path), min(len(path), _POINTS)).round().astype(int)) - 1
    points = [path[k] for k in chosen]
    losses = [loss_of(network, rows, alpha) for _, network in points]
    best = points[int(np.argmin(np.where(np.isfinite(losses), losses, np.inf)))][1]
    return Curve.of([seconds for seconds, _ in points], losses, n_neurons), best


def solver_curve(
    rows: ArrayRows, n_neurons: int, alpha: float, solver: str, seed: int, max_time: float
) -> tuple[Curve, ReLUNetwork]:
    """Return the curve of :class:`anmin.ReLURegressor` with a solver, all else its defaults, and its network."""
    model = ReLURegressor(
        n_neurons, solver=solver, alpha=alpha, standardize=False, max_time=max_time, random_state=seed
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the limit of time
        model.fit(rows.X, rows.Y)
    return Curve.of(model.history_["seconds"], model.history_["loss"], model.network_.n_neurons), model.network_


def convex_curve(rows: ArrayRows, gates: NDArray, alpha: float, tols: Sequence[float] = TOLS) -> Curve:
    """Return the curve of the cone-constrained program: its loss and seconds at falling tolerances."""

    def solve(tol: float) -> tuple[float, int]:
        solution = solve_convex(rows, gates, alpha, tol=tol)
        return solution.objective, int(
            np.count_nonzero(solution.U.any(axis=1)) + np.count_nonzero(solution.V.any(axis=1))
        )

    return _by_tolerance(solve, tols)


def gated_curve(rows: ArrayRows, gates: NDArray, alpha: float, tols: Sequence[float] = TOLS) -> Curve:
    """Return the curve of the gated program, a network of another kind, at falling tolerances."""

    def solve(tol: float) -> tuple[float, int]:
        solution = solve_gated(rows, gates, alpha, tol=tol)
        return solution.objective, len(solution.active)

    return _by_tolerance(solve, tols)


def drawn_gates(rows: ArrayRows, count: int, seed: int) -> NDArray:
    """Return gates ~ N(0, I) of different patterns that are active on some row, bias first, (p, at most count)."""
    gates = np.random.default_rng(seed).standard_normal((rows.n_features + 1, count))
    return patterns_of(with_ones(rows.X), gates).without_zero().vectors


def gates_of(networks: Sequence[ReLUNetwork], rows: ArrayRows) -> NDArray:
    """Return one neuron's weights (p, P) for each pattern that the networks have on the rows, but for the zero one."""
    vectors = np.hstack([network_patterns(network, rows.X).vectors for network in networks])
    return patterns_of(with_ones(rows.X), vectors).without_zero().vectors


def with_ones(X: ArrayLike) -> NDArray:
    """Return (1, X)."""
    X = np.asarray(X)
    return np.column_stack([np.ones(len(X)), X])


@cache
def prepare() -> None:
    """Let everything compile and load, so that the first curve takes no longer than the next."""
    rng = np.random.default_rng(0)
    rows = ArrayRows(rng.standard_normal((60, 2)), rng.standard_normal((60, 1)))
    gates = drawn_gates(rows, 6, 0)
    convex_curve(rows, gates, 1e-2)
    gated_curve(rows, gates, 1e-2)
    for solver in ("auto", "anmin"):
        solver_curve(rows, 3, 1e-2, solver, 0, 0.5)
    descent_curve(rows, 3, 1e-2, Recipe("adam", 0.01, 2, 32, None), 0)


def _by_tolerance(solve: Callable[[float], tuple[float, int]], tols: Sequence[float]) -> Curve:
    seconds, losses, n_neurons = [], [], 0
    for tol in tols:
        started = time.perf_counter()
        value, n_neurons = solve(tol)
        seconds.append(time.perf_counter() - started)
        losses.append(value)
    return Curve.of(seconds, losses, n_neurons)
