"""Where a fit begins: hyperplanes through the data, and the best linear model among them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from anmin.rows.arrays import ArrayRows
from anmin.solvers.problem import TOO_LARGE, Problem
from anmin.solvers.systems import solve_semidefinite

_TARGETS_PER_WEIGHT = 4
#: Cost of an iteration, some seconds, above which there are none to spare for a search.
DEAR = 2e11
_MISSED = 1 + 1e-6
_MARGIN = 1.05  # by which an always-active neuron clears the row that comes nearest to switching it off


def rows_are_few(problem: Problem) -> bool:
    """Return whether the targets are fewer than a quarter of the weights.

    So few are fitted exactly wherever the neurons stand: looking for better places is of no use, and many iterations
    would only amplify rounding.
    """
    rows = problem.rows
    n_weights = problem.n_neurons * (rows.n_features + 1 + rows.n_outputs) + rows.n_outputs
    return _TARGETS_PER_WEIGHT * rows.n_rows * rows.n_outputs < n_weights


def iteration_cost(problem: Problem, n_rows: int) -> float:
    """Return about the number of multiplications of a heavy pass over so many of the rows, and a solve."""
    k = problem.n_neurons * (problem.rows.n_features + 1)
    return float(n_rows) * k**2 + float(k) ** 3


def starting_weights(problem: Problem, rng: np.random.Generator) -> NDArray:
    """Return hidden weights A (p, h): the best linear model in always-active neurons, and hyperplanes through rows.

    The linear model takes as many neurons as its rank, at most the smaller number of inputs and outputs. With these
    neurons among them, the best output layer fits no worse than the linear model does.
    """
    linear = linear_neurons(problem.rows, problem.alpha, problem.n_neurons)
    free = hyperplanes_through_rows(problem.rows, problem.n_neurons - linear.shape[1], rng)
    return np.hstack([linear, free])


def hyperplanes_through_rows(rows: ArrayRows, count: int, rng: np.random.Generator) -> NDArray:
    """Return ``count`` neurons (p, count) whose hyperplanes pass by random rows in random directions.

    They miss the rows by a millionth, so that the sign of a rounding error does not decide on which side a row lies.
    """
    weights = np.ones(rows.n_rows) if rows.w is None else rows.w
    points = rows.X[draw(rows.X, weights, count, rng)].astype(np.float64, copy=False)
    directions = rng.standard_normal((rows.n_features, count))
    directions /= np.maximum(np.linalg.norm(directions, axis=0), np.finfo(np.float64).tiny)
    return np.vstack([-_MISSED * np.einsum("id,di->i", points, directions), directions])


def draw(X: NDArray, weights: NDArray, count: int, rng: np.random.Generator) -> NDArray:
    """Return the numbers of ``count`` rows of X (N, d), drawn with replacement in proportion to ``weights`` (N,).

    The points drawn depend neither on the order of the rows nor on whether equal rows are repeated or weighted: rows
    are sorted along a random direction, where equal ones come together, before their weights are accumulated.
    """
    order = np.argsort(X @ rng.standard_normal(X.shape[1]), kind="stable")
    cumulative = np.cumsum(weights[order])
    if not cumulative[-1] > 0:
        cumulative = np.arange(1.0, len(X) + 1)
    levels = rng.random(count) * cumulative[-1]
    return order[np.minimum(np.searchsorted(cumulative, levels, side="right"), len(X) - 1)]


def linear_neurons(rows: ArrayRows, alpha: float, most: int) -> NDArray:
    """Return neurons (p, r) active on every row that span the best linear model of rank r <= min(d, c, most).

    The ridge solution W = (X̃ᵀX̃/n + alpha·I)⁻¹ X̃ᵀY/n is cut to rank r in the metric of its fit: with the r leading
    eigenvectors P of WᵀX̃ᵀX̃W, the columns of W P, each with a bias that keeps it positive on all rows (reduced-rank
    regression, Izenman 1975).
    """
    constant = np.zeros((rows.n_features + 1, 1))
    constant[0] = 1.0
    moments = rows.statistics(constant)
    p = rows.n_features + 1
    gram, cross = moments.U.reshape(p, p) / moments.n, moments.V.reshape(p, -1) / moments.n
    if not (np.isfinite(gram).all() and np.isfinite(cross).all()):
        raise ValueError(TOO_LARGE)
    W = solve_semidefinite(gram + alpha * np.eye(p), cross)
    mean = gram[0] @ W
    covariance = W.T @ gram @ W - np.outer(mean, mean)
    values, vectors = eigh(covariance)
    rank = min(rows.n_features, rows.n_outputs, most, int(np.sum(values > 1e-12 * max(values[-1], 0.0))))
    neurons = W @ vectors[:, ::-1][:, :rank]
    neurons[0] = 0.0
    lowest = rows.minimum(neurons)
    neurons[0] = np.maximum(-_MARGIN * lowest, 0.0)
    return neurons
