"""Alternating minimisation: the same masked least squares as ANMIN's, and exact recovery of planted networks."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from anmin.history import Record
from anmin.network import ReLUNetwork
from anmin.rows import ArrayRows
from anmin.solvers import AltMin, Anmin, Problem, solve
from anmin.solvers.problem import State
from anmin.solvers.systems import hidden_system
from problems import CASES, Case


def planted(d: int, h: int, n_rows: int, gamma: float, seed: int = 0):
    """Return X, y and W* = I + γ N/‖N‖ (its first h columns) with y = Σ_q relu(w_qᵀ x)."""
    rng = np.random.default_rng(seed)
    N = rng.standard_normal((d, d))
    W = (np.eye(d) + gamma * N / np.linalg.norm(N, 2))[:, :h]
    X = rng.standard_normal((n_rows, d))
    return X, np.maximum(X @ W, 0).sum(axis=1), W


def distance(W, W_star):
    """Return ‖W − W*‖_F / ‖W*‖_F, the least over orders of the columns."""
    cost = ((W[:, :, None] - W_star[:, None, :]) ** 2).sum(axis=0)
    rows, columns = linear_sum_assignment(cost)
    return np.sqrt(cost[rows, columns].sum() / np.sum(W_star**2))


@pytest.mark.parametrize("slope", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
def test_step_equals_the_anmin_step_and_a_dense_solve(slope: float, weighted: bool):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((300, 4)), rng.standard_normal(300)
    w = rng.uniform(0.5, 2.0, 300) if weighted else None
    h, W = 3, rng.standard_normal((4, 3))
    problem = Problem(ArrayRows(X, y, w), h, 0.0, slope)
    network = ReLUNetwork(np.vstack([np.zeros(h), W]), np.ones((h, 1)), np.zeros(1), slope)
    start = AltMin().init(problem, network, rng)
    after = AltMin().step(problem, start).network.A[1:]

    # ANMIN with B = 1, b0 = 0 and no penalty, on the system without the constant.
    statistics = problem.rows.statistics(network.A, slope)
    M, c = hidden_system(statistics, network.B, network.b0)
    inputs = np.arange(h * 5).reshape(h, 5)[:, 1:].ravel()
    a, record = Anmin().solve_hidden(M[np.ix_(inputs, inputs)], c[inputs], 0.0, statistics.n)
    assert record.branch == "regular"
    np.testing.assert_allclose(after, a.reshape(h, 4).T, rtol=1e-10, atol=1e-12)

    # The masked design of the source, by dense least squares.
    Z = X @ W
    design = np.hstack([np.where(Z[:, [q]] > 0, 1.0, slope) * X for q in range(h)])
    root = np.ones(300) if w is None else np.sqrt(w)
    dense = np.linalg.lstsq(design * root[:, None], y * root, rcond=None)[0]
    np.testing.assert_allclose(after, dense.reshape(h, 4).T, rtol=1e-10, atol=1e-12)


def test_anmin_step_reaches_the_altmin_step_where_the_bias_is_of_no_use():
    """With rows symmetric in sign, a constant of its own brings nothing: the whole A-step has zero biases."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((200, 3))
    X = np.vstack([X, -X])
    W = rng.standard_normal((3, 1))
    y = np.abs(X @ W[:, 0])
    X, y = np.vstack([X, X]), np.r_[y, y]
    problem = Problem(ArrayRows(X, y), 1, 0.0, 0.0)
    network = ReLUNetwork(np.vstack([[0.0], W]), [[1.0]], [0.0])
    state = AltMin().init(problem, network, rng)
    anmin = Anmin().step(problem, State(state.network, state.statistics, state.loss, Record())).network
    np.testing.assert_allclose(AltMin().step(problem, state).network.A, anmin.A, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("d", "gamma", "iterations"), [(20, 0.1, 6), (10, 0.5, 8)])
def test_planted_networks_are_recovered(d: int, gamma: float, iterations: int):
    X, y, W_star = planted(d, d, 10 * d * d, gamma)
    problem = Problem(ArrayRows(X, y), d, 0.0)
    solution = solve(problem, AltMin(start="identity"), tol=0.0, max_iter=iterations)
    assert distance(solution.network.A[1:], W_star) < 1e-12
    assert not solution.network.A[0].any()


def test_equal_patterns_get_the_solution_of_least_norm():
    X, y, _ = planted(4, 2, 200, 0.1)
    W = np.ones((4, 2))  # two equal neurons: the design repeats its columns
    problem = Problem(ArrayRows(X, y), 2, 0.0)
    state = AltMin().init(problem, ReLUNetwork(np.vstack([[0.0, 0.0], W]), [[1.0], [1.0]], [0.0]), None)
    after = AltMin().step(problem, state).network.A[1:]
    active = (X @ W > 0).astype(float)
    dense = np.linalg.lstsq(np.hstack([active[:, [q]] * X for q in range(2)]), y, rcond=None)[0]
    np.testing.assert_allclose(after, dense.reshape(2, 4).T, rtol=1e-8, atol=1e-10)


def test_random_start_differs_from_the_identity():
    X, y, _ = planted(4, 3, 100, 0.1)
    problem = Problem(ArrayRows(X, y), 3, 0.0)
    identity = AltMin(start="identity").init(problem, None, np.random.default_rng(0)).network
    np.testing.assert_array_equal(identity.A[1:], np.eye(4, 3))
    assert np.all(AltMin().init(problem, None, np.random.default_rng(0)).network.A[1:] != np.eye(4, 3))


def test_what_it_cannot_fit_is_refused_before_any_work():
    X, Y, _, _ = Case("several outputs", n_outputs=3).data()
    with pytest.raises(ValueError, match="fits one output; got y with 3 columns"):
        solve(Problem(ArrayRows(X, Y), 2, 0.0), AltMin())
    X, Y, _, _ = CASES[0].data()
    with pytest.raises(ValueError, match="at most as many neurons as inputs"):
        solve(Problem(ArrayRows(X, Y), 4, 0.0), AltMin(start="identity"))
    with pytest.raises(ValueError, match="start must be"):
        AltMin(start="zero")
