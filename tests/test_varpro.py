"""Variable projection: its matrix and gradient against oracles, steps that only ever lower the loss, deep optima."""

from __future__ import annotations

import numpy as np
import pytest

from anmin.history import Status
from anmin.network import ReLUNetwork
from anmin.rows import ArrayRows
from anmin.solvers import Problem, VarPro, solve
from anmin.solvers.levenberg_marquardt import floored
from anmin.solvers.systems import output_layer, projected_system
from problems import CASES, Case, dense_loss, design, gates


def projected_value(case: Case, A, alpha):
    """Return the loss at A with the best output layer, by dense least squares."""
    X, Y, w, _ = case.data()
    weights = np.ones(len(X)) if w is None else w
    Z = np.column_stack([np.ones(len(X)), X]) @ A
    S1 = np.column_stack([np.where(Z > 0, Z, case.negative_slope * Z), np.ones(len(X))])
    root = np.sqrt(weights / weights.sum())[:, None]
    k = S1.shape[1]
    theta = np.linalg.lstsq(
        np.vstack([root * S1, np.sqrt(alpha) * np.eye(k)]), np.vstack([root * Y, np.zeros((k, Y.shape[1]))]), rcond=None
    )[0]
    return dense_loss(X, Y, w, A, theta[:-1], theta[-1], case.negative_slope, alpha)


def system_at(case: Case, alpha):
    X, Y, w, A = case.data()
    statistics = ArrayRows(X, Y, w).statistics(A, case.negative_slope)
    B, b0 = output_layer(statistics.output(A), alpha)
    M, gradient = projected_system(statistics, A, B, b0, alpha)
    return A, B, b0, M, gradient


def test_gradient_equals_finite_differences_of_the_projected_loss(case: Case):
    alpha = 1e-2
    A, *_, gradient = system_at(case, alpha)
    rng = np.random.default_rng(0)
    for _ in range(4):
        direction = rng.standard_normal(A.shape) / (np.linalg.norm(A) if case.scales else 1.0)
        X = case.data()[0]
        Xt = np.column_stack([np.ones(len(X)), X])
        # A step short enough that no row changes side.
        step = 0.1 * np.min(np.abs(Xt @ A) / np.maximum(np.abs(Xt @ direction), 1e-12))
        step = min(step, 1e-4)
        above, below = (projected_value(case, A + sign * step * direction, alpha) for sign in (1, -1))
        slope = (above - below) / (2 * step)
        expected = 2 * gradient @ direction.T.ravel()
        scale = 2 * np.abs(gradient) @ np.abs(direction.T.ravel())
        assert slope == pytest.approx(expected, rel=1e-4, abs=1e-4 * scale + 1e-11 / step)


def test_matrix_equals_dense_variable_projection(case: Case):
    """Kaufman's matrix from its definition: JᵀP J of the residuals with the output layer's columns projected out."""
    alpha = 1e-2
    A, B, _, M, _ = system_at(case, alpha)
    X, Y, w, _ = case.data()
    weights = np.ones(len(X)) if w is None else w
    c, root = Y.shape[1], np.sqrt(weights / weights.sum())
    G = gates(X, A, case.negative_slope)
    Z = np.column_stack([np.ones(len(X)), X]) @ A
    S1 = root[:, None] * np.column_stack([G * Z, np.ones(len(X))])
    J = np.repeat(root, c)[:, None] * design(X, G, B)
    # With the ridge rows appended, the projector of the output layer is that of [S1; sqrt(alpha) I] for each output.
    k = S1.shape[1]
    P = np.eye(len(X)) - S1 @ np.linalg.solve(S1.T @ S1 + alpha * np.eye(k), S1.T)
    dense = sum(J[output::c].T @ P @ J[output::c] for output in range(c)) + alpha * np.eye(J.shape[1])
    size = np.sqrt(np.diagonal(dense))
    np.testing.assert_allclose(M / np.outer(size, size), dense / np.outer(size, size), atol=1e-7)


def test_the_loss_never_rises(case: Case):
    problem = Problem(case.rows(), case.n_neurons, 1e-3, case.negative_slope)
    solution = solve(problem, VarPro(), tol=0.0, max_iter=40, rng=np.random.default_rng(0))
    losses = solution.history["loss"]
    assert np.all(np.diff(losses) <= 0)
    assert losses[-1] < losses[0]
    X, Y, w, _ = case.data()
    network = solution.network
    expected = dense_loss(X, Y, w, network.A, network.B, network.b0, case.negative_slope, 1e-3)
    assert solution.loss == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("seed", range(4))
def test_it_ends_where_no_small_change_lowers_the_loss(seed):
    # Where rows lie on the hyperplanes the loss has kinks, at which it ends with an optimality that is not small.
    case, alpha = CASES[0], 1e-2
    problem = Problem(case.rows(), 3, alpha)
    solution = solve(problem, VarPro(), tol=0.0, max_iter=500, rng=np.random.default_rng(seed))
    assert solution.status is Status.CONVERGED
    assert solution.history["branch"][-1] == "settled"
    A = solution.network.A
    here = projected_value(case, A, alpha)
    assert solution.loss == pytest.approx(here, rel=1e-9)
    for direction in np.random.default_rng(0).standard_normal((30, *A.shape)):
        assert projected_value(case, A + 1e-5 * direction, alpha) > here * (1 - 1e-6)


def test_neurons_are_balanced_by_every_step():
    case = CASES[0]
    problem = Problem(case.rows(), 5, 1e-4)
    lopsided = ReLUNetwork(100 * case.data()[3], np.zeros((5, 1)), [0.0])
    A = VarPro().init(problem, lopsided, np.random.default_rng(0)).network.A
    statistics = problem.rows.statistics(lopsided.A)
    B, _ = output_layer(statistics.output(lopsided.A), 1e-4)
    norms = np.linalg.norm(lopsided.A, axis=0) * np.linalg.norm(B, axis=1)
    used = norms > 0  # a neuron that is active nowhere keeps its hyperplane, for later steps to use
    assert used.sum() >= 4
    np.testing.assert_allclose(np.linalg.norm(A, axis=0)[used], np.sqrt(norms)[used], rtol=1e-10)


def test_planted_networks_are_recovered():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((2000, 3))
    truth = ReLUNetwork(rng.standard_normal((4, 3)), rng.standard_normal((3, 1)), [0.5])
    y = truth.predict(X)
    problem = Problem(ArrayRows(X, y), 3, 0.0)
    best = min(
        solve(problem, VarPro(), tol=0.0, max_iter=200, rng=np.random.default_rng(seed)).loss for seed in range(5)
    )
    assert best < 1e-12 * np.var(y)


def test_a_start_without_output_weights_is_taken():
    X, Y, _, A = CASES[0].data()
    start = ReLUNetwork(A, np.zeros((5, 1)), [0.0])
    solution = solve(Problem(ArrayRows(X, Y), 5, 1e-3), VarPro(), start=start, max_iter=3)
    assert solution.history["loss"][0] < np.var(Y)


@pytest.mark.parametrize("settings", [{"damping": 0.0}, {"optimality_tol": -1.0}])
def test_bad_settings_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        VarPro(**settings)


def test_a_diagonal_that_rounding_made_negative_is_raised_to_positive_numbers():
    for diagonal in (np.array([-1e-6, -1e-9]), np.zeros(2), np.array([1.0, -1e-20])):
        raised = floored(diagonal)
        assert (raised > 0).all()
        assert (1 / (np.sqrt(raised) * np.sqrt(1e-300)) < np.inf).all()
        np.testing.assert_allclose(raised, np.maximum(diagonal, 0), atol=1e-15)
