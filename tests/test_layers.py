"""The two exact solves: equal to dense least squares of the paper's systems, and stationary."""

from __future__ import annotations

import numpy as np
import pytest

from anmin.rows import ArrayRows
from anmin.solvers import Anmin
from anmin.solvers.systems import hidden_system, output_layer, solve_semidefinite
from problems import Case, dense_loss, design, gates


def hidden_problem(case: Case):
    X, Y, w, A = case.data()
    rng = np.random.default_rng(7)
    B, b0 = rng.standard_normal((case.n_neurons, case.n_outputs)), rng.standard_normal(case.n_outputs)
    weights = np.ones(len(X)) if w is None else w
    Phi = design(X, gates(X, A, case.negative_slope), B)
    root = np.sqrt(np.repeat(weights, case.n_outputs) / weights.sum())
    return X, Y, w, A, B, b0, root[:, None] * Phi, root * (Y - b0).ravel()


@pytest.mark.parametrize("alpha", [1e-2, 1e-4])
def test_hidden_layer_equals_dense_least_squares(case: Case, alpha: float):
    X, Y, w, A, B, b0, Phi, target = hidden_problem(case)
    M, c = hidden_system(ArrayRows(X, Y, w).statistics(A, case.negative_slope), B, b0)
    n = len(X) if w is None else w.sum()
    a, record = Anmin().solve_hidden(M, c, alpha, n)
    k = Phi.shape[1]
    ridge = np.linalg.lstsq(np.vstack([Phi, np.sqrt(alpha) * np.eye(k)]), np.r_[target, np.zeros(k)], rcond=None)[0]
    assert record.branch == "regular"
    if not case.scales:
        np.testing.assert_allclose(a, ridge, rtol=1e-9, atol=1e-9 * np.abs(ridge).max())
    else:
        # Squaring the scales (here 1e12 between the largest and smallest) costs digits of the weights, not of the fit.
        np.testing.assert_allclose(Phi @ a, Phi @ ridge, rtol=1e-9, atol=1e-9 * np.abs(Phi @ ridge).max())
    system = n * (Phi.T @ Phi + alpha * np.eye(k))
    # Its rounding error grows with the condition number.
    error = 1e-15 * np.linalg.cond(system)
    np.testing.assert_allclose(record.log_determinant, np.linalg.slogdet(system)[1], rtol=1e-12, atol=error)


def test_hidden_layer_is_stationary_for_the_frozen_pattern(case: Case):
    X, Y, w, A, B, b0, Phi, target = hidden_problem(case)
    alpha = 1e-3
    M, c = hidden_system(ArrayRows(X, Y, w).statistics(A, case.negative_slope), B, b0)
    a, _ = Anmin().solve_hidden(M, c, alpha, len(X) if w is None else w.sum())
    gradient = Phi.T @ (Phi @ a - target) + alpha * a
    scale = np.abs(Phi.T) @ np.abs(target) + np.abs(Phi.T @ Phi) @ np.abs(a)
    assert np.all(np.abs(gradient) <= 1e-12 * scale)


def test_hidden_layer_minimises_the_frozen_loss_by_finite_differences(case: Case):
    X, Y, w, A, B, b0, Phi, target = hidden_problem(case)
    alpha = 1e-2
    M, c = hidden_system(ArrayRows(X, Y, w).statistics(A, case.negative_slope), B, b0)
    a, _ = Anmin().solve_hidden(M, c, alpha, len(X) if w is None else w.sum())

    def frozen(a):
        return np.sum((Phi @ a - target) ** 2) + alpha * a @ a

    rng = np.random.default_rng(8)
    for direction in rng.standard_normal((5, len(a))):
        step = 1e-3 * direction / np.linalg.norm(direction)
        assert frozen(a + step) > frozen(a)
        assert frozen(a - step) > frozen(a)
        slope = (frozen(a + step) - frozen(a - step)) / 2
        assert abs(slope) <= 1e-9 * max(1.0, frozen(a))


@pytest.mark.parametrize("alpha", [1e-1, 1e-3])
def test_output_layer_equals_dense_least_squares(case: Case, alpha: float):
    X, Y, w, A = case.data()
    weights = np.ones(len(X)) if w is None else w
    Z = np.column_stack([np.ones(len(X)), X]) @ A
    S1 = np.column_stack([np.where(Z > 0, Z, case.negative_slope * Z), np.ones(len(X))])
    root = np.sqrt(weights / weights.sum())[:, None]
    k = S1.shape[1]
    dense = np.linalg.lstsq(
        np.vstack([root * S1, np.sqrt(alpha) * np.eye(k)]), np.vstack([root * Y, np.zeros((k, Y.shape[1]))]), rcond=None
    )[0]
    B, b0 = output_layer(ArrayRows(X, Y, w).output_statistics(A, case.negative_slope), alpha)
    np.testing.assert_allclose(np.vstack([B, b0]), dense, rtol=1e-9, atol=1e-9 * np.abs(dense).max())


def test_output_layer_is_a_minimum_of_the_loss(case: Case):
    X, Y, w, A = case.data()
    B, b0 = output_layer(ArrayRows(X, Y, w).output_statistics(A, case.negative_slope), 1e-3)
    best = dense_loss(X, Y, w, A, B, b0, case.negative_slope, 1e-3)
    rng = np.random.default_rng(9)
    for _ in range(10):
        dB, db0 = 1e-3 * rng.standard_normal(B.shape), 1e-3 * rng.standard_normal(b0.shape)
        assert dense_loss(X, Y, w, A, B + dB, b0 + db0, case.negative_slope, 1e-3) >= best


def test_singular_systems_get_the_solution_of_least_norm():
    rng = np.random.default_rng(10)
    Phi = rng.standard_normal((30, 4)) @ rng.standard_normal((4, 9))
    target = rng.standard_normal((30, 2))
    x = solve_semidefinite(Phi.T @ Phi, Phi.T @ target)
    np.testing.assert_allclose(x, np.linalg.pinv(Phi) @ target, rtol=1e-8, atol=1e-10)


def test_zero_systems_give_zero():
    assert not solve_semidefinite(np.zeros((3, 3)), np.zeros((3, 1))).any()


def test_systems_that_are_not_finite_give_nan():
    assert np.isnan(solve_semidefinite(np.full((2, 2), np.inf), np.ones((2, 1)))).all()
