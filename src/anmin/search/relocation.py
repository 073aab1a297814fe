"""Relocation: which neurons are of least use, and where new ones would gain most."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anmin.elimination import eliminated, inverse_of
from anmin.network import ReLUNetwork
from anmin.rows.arrays import ArrayRows
from anmin.search.initialisation import draw
from anmin.solvers.problem import Problem
from anmin.solvers.steepest import steepest_neuron
from anmin.solvers.systems import output_system
from anmin.statistics import OutputStatistics

_VISITS = 1e7  # of rows by the branch and bound for the steepest neuron, a fraction of a second
_MOST_CORRELATED = 0.95  # of the outputs of two neurons placed together


def least_useful(network: ReLUNetwork, output: OutputStatistics, alpha: float, count: int) -> NDArray:
    """Return the numbers of ``count`` neurons, each of least use once those before it are gone.

    A neuron is of as much use as the loss rises without it, with the best output layer for the others
    (:func:`anmin.elimination.eliminated`). ``output`` are the sums at the network's hidden weights, whose output layer
    must be the best one.
    """
    K, _ = output_system(output, alpha)
    return eliminated(K, np.vstack([network.B, network.b0]), count)[0]


def promising(
    problem: Problem,
    network: ReLUNetwork,
    count: int,
    rng: np.random.Generator,
    *,
    candidates: int = 192,
    sample_rows: int = 10_000,
    finalists: int = 4,
    steepest: bool = False,
) -> NDArray:
    """Return hidden weights (p, m) of at most ``count`` neurons that would gain most beside those of ``network``.

    Of the 2·``candidates`` proposed and judged on a sample of rows, ``finalists`` times as many as are wanted are
    judged on all. They are fewer than ``count`` where not so many are unlike each other. With ``steepest`` the ends of
    climbs from the proposals, the steepest neuron of :func:`anmin.solvers.steepest.steepest_neuron` first, are too.
    """
    sample = problem.rows.sample(sample_rows, rng)
    V = propose(sample, network, candidates, rng)
    if steepest:
        residuals = network.predict(sample.X) - sample.Y
        climbed = steepest_neuron(sample, residuals, network.negative_slope, starts=V, max_visits=_VISITS)
        V = np.hstack([V, climbed.candidates])
    # In parts, because only the products with the network's neurons are of use here, not those among candidates.
    parts = np.array_split(V, -(-V.shape[1] // network.n_neurons), axis=1)
    gains = np.concatenate([candidate_gains(sample, network, part, problem.alpha)[0] for part in parts])
    V = V[:, np.argsort(-gains)[: max(32, finalists * count)]]
    gains, similarity = candidate_gains(problem.rows, network, V, problem.alpha)
    chosen: list[int] = []
    for i in map(int, np.argsort(-gains)):
        if len(chosen) == count:
            break
        if np.all(similarity[i, chosen] < _MOST_CORRELATED):
            chosen.append(i)
    return V[:, chosen]


def propose(rows: ArrayRows, network: ReLUNetwork, count: int, rng: np.random.Generator) -> NDArray:
    """Return 2·count candidate neurons (p, 2·count) of unit length.

    Hyperplanes through rows drawn in proportion to their squared error: in random directions, through a second such
    row, and in directions near those of the network's neurons, a third each; and each of them after a step of ascent
    of ‖Σ_i w_i r_i σ(x̃_iᵀv)‖ at its pattern.
    """
    d = rows.n_features
    X = rows.X.astype(np.float64, copy=False)
    w = np.ones(len(X)) if rows.w is None else rows.w
    residuals = rows.Y - network.predict(X)
    errors = w * np.sum(residuals**2, axis=1)
    through, second = (X[draw(X, errors, count, rng)] for _ in range(2))
    directions = rng.standard_normal((count, d))
    kinds = np.arange(count) % 3
    if d > 1:
        between = through - second
        squares = np.sum(between**2, axis=1)
        along = np.where(squares > 0, np.sum(directions * between, axis=1) / np.where(squares > 0, squares, 1.0), 0.0)
        directions = np.where((kinds == 1)[:, None], directions - along[:, None] * between, directions)
    near = network.A[1:, rng.integers(network.n_neurons, size=count)].T
    near = near / np.maximum(np.linalg.norm(near, axis=1, keepdims=True), 1e-300)
    directions = np.where((kinds == 2)[:, None], near + 0.3 * directions / np.sqrt(d), directions)
    V = _unit(np.vstack([-np.sum(through * directions, axis=1), directions.T]))
    Xt = np.column_stack([np.ones(len(X)), X])
    G = np.where(Xt @ V > 0, 1.0, network.negative_slope) * w[:, None]
    # Σ_k (vᵀC_k) C_k with C_k = Σ_i w_i G_i x̃_i r_ik: the gradient of half the squared norm.
    C = np.stack([(G * r[:, None]).T @ Xt for r in _leading(residuals).T], axis=2)
    ascent = np.einsum("mpk,mk->pm", C, np.einsum("pm,mpk->mk", V, C))
    return np.hstack([V, _unit(V + 0.3 * _unit(ascent))])


def candidate_gains(rows: ArrayRows, network: ReLUNetwork, V: NDArray, alpha: float) -> tuple[NDArray, NDArray]:
    """Return what each candidate (p, m) would take off the loss with the best output layer, and how alike they are.

    The gain, shape (m,), is ‖φᵀR‖²/(φᵀφ + alpha − φᵀS₁K⁻¹S₁ᵀφ), all per unit of weight; the likeness, shape (m, m), is
    the absolute cosine of the candidates' outputs.
    """
    h = network.n_neurons
    K, right = output_system(rows.output_statistics(np.hstack([network.A, V]), network.negative_slope), alpha)
    new = np.arange(h, h + V.shape[1])
    old = np.r_[np.arange(h), h + V.shape[1]]
    theta = np.vstack([network.B, network.b0])
    cross = K[np.ix_(new, old)]
    square = np.diagonal(K)[new]
    left = square - np.einsum("ij,ij->i", cross @ inverse_of(K[np.ix_(old, old)]), cross)
    correlation = right[new] - cross @ theta
    gains = np.sum(correlation**2, axis=1) / np.maximum(left, 1e-9 * square + 1e-300)
    norms = np.sqrt(np.maximum(square, 1e-300))
    return gains, np.abs(K[np.ix_(new, new)]) / np.outer(norms, norms)


def _leading(residuals: NDArray, most: int = 8) -> NDArray:
    """Return the residuals in their leading directions, at most ``most`` columns: enough to climb by."""
    if residuals.shape[1] <= most:
        return residuals
    _, vectors = np.linalg.eigh(residuals.T @ residuals)
    return residuals @ vectors[:, -most:]


def _unit(V: NDArray) -> NDArray:
    return V / np.maximum(np.linalg.norm(V, axis=0), 1e-300)
