"""The quasi-Newton method of classes and counts: its gradient, its inverse Hessian, its steps, and where it ends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize

from anmin.history import Status
from anmin.losses import Huber, Likelihood, Logistic, Poisson, Softmax
from anmin.network import ReLUNetwork
from anmin.rows import ArrayRows
from anmin.search.quasi_newton import QuasiNewton, evaluated, network_of, times_inverse, weights_of
from anmin.search.reweighted import FEW_STEPS, loss_of
from anmin.solvers import Problem, solve
from problems import CASES, Case

LIKELIHOODS: list[Likelihood] = [Poisson(), Logistic(), Softmax()]


def name_of(value: Any) -> str:
    return type(value).__name__


def problem_of(loss: Likelihood, case: Case, alpha: float = 1e-3) -> Problem:
    X, Y, w, _ = case.data()
    if isinstance(loss, Poisson):
        Y = np.floor(np.exp(Y))
    elif isinstance(loss, Logistic):
        Y = (Y[:, :1] > 0).astype(float)
    else:
        Y = np.eye(3)[np.digitize(Y[:, 0], [-0.4, 0.4])]
    return Problem(ArrayRows(X, Y, w), case.n_neurons, alpha, case.negative_slope, loss=loss)


def network_for(problem: Problem, seed: int = 0) -> ReLUNetwork:
    rng, rows = np.random.default_rng(seed), problem.rows
    shapes = (rows.n_features + 1, problem.n_neurons), (problem.n_neurons, rows.n_outputs), (rows.n_outputs,)
    A, B, b0 = (0.3 * rng.standard_normal(shape) for shape in shapes)
    return ReLUNetwork(A, B, b0, problem.negative_slope)


@pytest.mark.parametrize("loss", LIKELIHOODS, ids=name_of)
@pytest.mark.parametrize("case", CASES[:7], ids=lambda case: case.name)
def test_the_gradient_is_that_of_finite_differences(case: Case, loss: Likelihood) -> None:
    problem = problem_of(loss, case, alpha=0.1)
    network = network_for(problem)
    at, theta = evaluated(problem, network), weights_of(network)
    assert at.loss == pytest.approx(loss_of(problem, network), rel=1e-12)
    step = 1e-6
    slopes = [
        (loss_of(problem, network_of(theta + e, network)) - loss_of(problem, network_of(theta - e, network)))
        / (2 * step)
        for e in step * np.eye(len(theta))
    ]
    np.testing.assert_allclose(at.gradient, slopes, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("loss", LIKELIHOODS, ids=name_of)
def test_slopes_are_those_of_the_values_also_far_out(loss: Likelihood) -> None:
    rng = np.random.default_rng(0)
    Y = np.eye(3)[rng.integers(0, 3, 60)]
    for scale in (1.0, 100.0):
        F = scale * rng.standard_normal(Y.shape)
        values, g = loss.slopes(F, Y)
        np.testing.assert_allclose(values, loss.values(F, Y), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(g, loss.quadratic(F, Y, 0.0)[0], rtol=1e-12, atol=1e-12)


def test_blocks_and_patterns_are_those_of_the_rows() -> None:
    problem = problem_of(Softmax(), Case("weighted", weighted=True))
    network, rows = network_for(problem), problem.rows
    whole = evaluated(problem, network)
    blocks = ArrayRows(rows.X, rows.Y, rows.w, block_rows=7)
    found = evaluated(Problem(blocks, problem.n_neurons, problem.alpha, loss=Softmax()), network)
    np.testing.assert_allclose(found.gradient, whole.gradient, rtol=1e-10, atol=1e-13)
    assert found.loss == pytest.approx(whole.loss, rel=1e-12)
    on = network.pattern(rows.X)
    np.testing.assert_array_equal(whole.seen.active, on.sum(axis=0))
    np.testing.assert_array_equal(whole.seen.of_neurons(np.array([3, 1])).bits, np.packbits(on[:, [3, 1]], axis=1))
    error = np.average((Softmax().mean(network.predict(rows.X)) - rows.Y) ** 2, axis=0, weights=rows.w)
    assert whole.mse == pytest.approx(error.mean(), rel=1e-12)


def test_the_inverse_hessian_is_that_of_the_update_written_out() -> None:
    rng = np.random.default_rng(1)
    root = rng.standard_normal((6, 6))
    hessian = root @ root.T + np.eye(6)
    steps = tuple(rng.standard_normal((4, 6)))
    changes = tuple(hessian @ step for step in steps)
    H = (steps[-1] @ changes[-1]) / (changes[-1] @ changes[-1]) * np.eye(6)
    for s, y in zip(steps, changes, strict=True):
        rho = 1 / (s @ y)
        V = np.eye(6) - rho * np.outer(y, s)
        H = V.T @ H @ V + rho * np.outer(s, s)
    g = rng.standard_normal(6)
    np.testing.assert_allclose(times_inverse(g, steps, changes), H @ g, rtol=1e-10)
    np.testing.assert_allclose(times_inverse(changes[-1], steps, changes), steps[-1], rtol=1e-10)


@pytest.mark.parametrize("loss", LIKELIHOODS, ids=name_of)
@pytest.mark.parametrize("case", [CASES[i] for i in (0, 1, 5, 7, 8)], ids=lambda case: case.name)
def test_no_iteration_raises_the_loss(case: Case, loss: Likelihood) -> None:
    problem = problem_of(loss, case)
    solution = solve(problem, QuasiNewton(), max_iter=60, tol=0.0, rng=np.random.default_rng(0))
    losses = solution.history["loss"]
    assert np.all(np.diff(losses) <= 0)
    assert losses[-1] < losses[0]
    assert solution.loss == pytest.approx(loss_of(problem, solution.network), rel=1e-12)


@pytest.mark.parametrize("loss", LIKELIHOODS, ids=name_of)
def test_it_ends_no_higher_than_scipy_does_from_the_same_start(loss: Likelihood) -> None:
    problem = problem_of(loss, Case("long"), alpha=1e-2)
    start = QuasiNewton().init(problem, None, np.random.default_rng(0)).network

    def value(theta: NDArray) -> float:
        return loss_of(problem, network_of(theta, start))

    def slope(theta: NDArray) -> NDArray:
        return evaluated(problem, network_of(theta, start)).gradient

    expected = minimize(value, weights_of(start), jac=slope, method="L-BFGS-B", options={"maxiter": 500})
    found = solve(problem, QuasiNewton(), start=start, tol=1e-9, rng=np.random.default_rng(0))
    assert found.loss <= expected.fun * 1.02


def test_flips_are_the_entries_of_the_pattern_that_differ() -> None:
    problem = problem_of(Logistic(), Case("long"))
    solver = QuasiNewton()
    state = solver.init(problem, None, np.random.default_rng(0))
    for _ in range(5):
        before, state = state, solver.step(problem, state)
        patterns = [one.network.pattern(problem.rows.X) for one in (before, state)]
        assert state.record.pattern_changes == np.count_nonzero(patterns[0] != patterns[1])


def test_a_network_without_a_slope_is_settled() -> None:
    problem = Problem(ArrayRows(np.ones((4, 1)), np.array([0.0, 1, 0, 1])), 2, 0.1, loss=Logistic())
    nothing = ReLUNetwork(np.zeros((2, 2)), np.zeros((2, 1)), np.zeros(1))
    solution = solve(problem, QuasiNewton(), start=nothing, rng=np.random.default_rng(0))
    assert solution.status is Status.CONVERGED
    assert solution.loss == pytest.approx(np.log(2))
    np.testing.assert_array_equal(solution.network.A, 0.0)


def test_few_rows_get_few_steps() -> None:
    problem = problem_of(Softmax(), Case("few", n_rows=12, n_features=10, n_neurons=30))
    solution = solve(problem, QuasiNewton(), tol=0.0, rng=np.random.default_rng(0))
    assert len(solution.history) <= FEW_STEPS + 2


@pytest.mark.parametrize(("loss", "message"), [(None, "got the squared one"), (Huber(1.0), "got Huber")])
def test_other_losses_are_refused(loss: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        solve(Problem(ArrayRows(np.ones((4, 1)), np.ones(4)), 2, 0.1, loss=loss), QuasiNewton())
