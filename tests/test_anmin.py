"""Algorithm 1: its branches, its best iterate, what it reports, and the relations its result must satisfy."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from anmin.history import Record, Status
from anmin.objective import alpha_from_sum, sum_from_alpha
from anmin.rows import ArrayRows
from anmin.solvers import Anmin, Problem, solve
from anmin.solvers.systems import hidden_system, output_layer
from problems import CASES, Case, dense_loss, gates


def run(case: Case, alpha=1e-3, seed=0, solver=None, rows=None, **options):
    options = {"tol": 0.0, "max_iter": 8} | options
    problem = Problem(rows or case.rows(), case.n_neurons, alpha, case.negative_slope)
    return solve(problem, solver or Anmin(), rng=np.random.default_rng(seed), **options)


def test_reported_losses_are_those_of_the_networks(case: Case):
    X, Y, w, _ = case.data()
    seen = []
    solution = run(case, callbacks=[lambda record, network: seen.append((record, network)) and None])
    assert len(seen) == len(solution.history) == 9
    for record, network in seen:
        expected = dense_loss(X, Y, w, network.A, network.B, network.b0, case.negative_slope, 1e-3)
        assert record.loss == pytest.approx(expected, rel=1e-9)
        weights = np.ones(len(X)) if w is None else w
        errors = np.average((network.predict(X) - Y) ** 2, axis=0, weights=weights)
        assert record.mse == pytest.approx(errors.mean(), rel=1e-8)


def test_the_best_iterate_is_returned_the_first_included(case: Case):
    solution = run(case)
    losses = solution.history["loss"]
    assert solution.loss == losses.min() == losses[solution.best]
    # A start that nothing improves on: the best of a long run.
    again = run(case, start=solution.network, max_iter=1)
    assert again.loss <= again.history["loss"][0]
    if again.history["loss"][1] >= again.history["loss"][0]:
        assert again.best == 0
        np.testing.assert_array_equal(again.network.A, solution.network.A)


def test_iterations_follow_the_paper(case: Case):
    """Two iterations by dense algebra, from the definitions."""
    X, Y, w, _ = case.data()
    weights = np.ones(len(X)) if w is None else w
    Xt = np.column_stack([np.ones(len(X)), X])
    alpha, h, p = 1e-2, case.n_neurons, X.shape[1] + 1
    networks = []
    run(case, alpha=alpha, max_iter=2, callbacks=[lambda record, network: networks.append(network) and None])

    def output(A):
        Z = Xt @ A
        S1 = np.column_stack([np.where(Z > 0, Z, case.negative_slope * Z), np.ones(len(X))])
        K = (S1.T * weights) @ S1 / weights.sum() + alpha * np.eye(h + 1)
        solution = np.linalg.solve(K, (S1.T * weights) @ Y / weights.sum())
        return solution[:h], solution[h]

    A = np.random.default_rng(0).standard_normal((p, h))
    np.testing.assert_array_equal(networks[0].A, A)
    for network in networks:
        B, b0 = output(network.A)
        np.testing.assert_allclose(network.B, B, rtol=1e-7, atol=1e-7 * np.abs(B).max())
        np.testing.assert_allclose(network.b0, b0, rtol=1e-7, atol=1e-7 * np.abs(B).max())
    for before, after in pairwise(networks):
        G = gates(X, before.A, case.negative_slope)
        Phi = np.einsum("jk,ij,ip->ikjp", before.B, G, Xt).reshape(-1, h * p)
        W = np.repeat(weights, Y.shape[1])
        M = (Phi.T * W) @ Phi / weights.sum() + alpha * np.eye(h * p)
        c = (Phi.T * W) @ (Y - before.b0).ravel() / weights.sum()
        expected = np.linalg.solve(M, c).reshape(h, p).T
        np.testing.assert_allclose(after.A, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


def test_frozen_loss_never_exceeds_the_loss_before(case: Case):
    history = run(case).history
    assert np.all(history["frozen_loss"][1:] <= history["loss"][:-1] * (1 + 1e-9))


def test_each_iteration_asks_for_the_sums_once(monkeypatch):
    visits = []
    original = ArrayRows.statistics

    def counted(self, A, *rest):
        visits.append(A)
        return original(self, A, *rest)

    monkeypatch.setattr(ArrayRows, "statistics", counted)
    monkeypatch.setattr(ArrayRows, "output_statistics", lambda *_: pytest.fail("a light pass is not needed"))
    run(CASES[0], max_iter=5)
    assert len(visits) == 6  # the start and five iterations


def test_history_reports_every_quantity():
    X, _, _, _ = CASES[0].data()
    networks = []
    history = run(CASES[0], callbacks=[lambda record, network: networks.append(network) and None]).history
    assert history["iteration"].tolist() == list(range(9))
    assert np.all(np.diff(history["seconds"]) > 0)
    assert np.isfinite(history["log_determinant"][1:]).all()
    assert np.all(history["condition_number"][1:] >= 1)
    assert set(history["branch"][1:]) == {"regular"}
    patterns = [network.pattern(X) for network in networks]
    changes = [int(np.sum(a != b)) for a, b in pairwise(patterns)]
    assert history["pattern_changes"].tolist() == [0, *changes]
    assert history["dead_neurons"].tolist() == [int(np.sum(~pattern.any(axis=0))) for pattern in patterns]


def test_condition_number_is_that_of_the_system():
    case = CASES[0]
    X, Y, _, A = case.data()
    statistics = ArrayRows(X, Y).statistics(A)
    B, b0 = output_layer(statistics.output(A), 1e-2)
    M, c = hidden_system(statistics, B, b0)
    exact = np.linalg.cond(M + 1e-2 * np.eye(len(M)), 1)
    _, record = Anmin().solve_hidden(M, c, 1e-2, statistics.n)
    # LAPACK's estimate is a lower bound of the 1-norm condition number, almost always within a factor of 3.
    assert exact / 3 <= record.condition_number <= exact * (1 + 1e-6)


@pytest.mark.parametrize("scaling", ["sum", "mean"])
def test_degenerate_systems_are_solved_with_clamped_eigenvalues(scaling: str):
    rng = np.random.default_rng(3)
    Q, _ = np.linalg.qr(rng.standard_normal((6, 6)))
    n, floor = 50.0, 1e-4
    eigenvalues = np.array([3.0, 1.0, 0.1, 1e-3, 1e-9, 0.0])
    M, c = Q @ np.diag(eigenvalues) @ Q.T, rng.standard_normal(6)
    solver = Anmin(log_determinant_threshold=1e9, penalty_scaling=scaling)  # every system counts as degenerate
    a, record = solver.solve_hidden(M.copy(), c, 0.0, n)
    scale = n if scaling == "sum" else 1.0
    expected = Q @ ((Q.T @ c) * scale / np.maximum(scale * eigenvalues, floor))
    np.testing.assert_allclose(a, expected, rtol=1e-6)
    assert record.branch == "degenerate"
    assert record.condition_number > 1e9


def test_a_floor_below_the_penalty_needs_no_eigendecomposition():
    rng = np.random.default_rng(4)
    Q = rng.standard_normal((5, 8))
    M, c, alpha, n = Q.T @ Q, rng.standard_normal(8), 0.01, 1.0
    solver = Anmin(log_determinant_threshold=1e9, penalty_scaling="mean")
    a, record = solver.solve_hidden(M.copy(), c, alpha, n)
    values, vectors = np.linalg.eigh(M + alpha * np.eye(8))
    assert values.min() >= solver.eigenvalue_floor
    np.testing.assert_allclose(a, vectors @ ((vectors.T @ c) / values), rtol=1e-9)
    assert record.branch == "degenerate"
    assert record.log_determinant == pytest.approx(np.log(values).sum())


def test_log_determinant_decides_between_the_branches():
    M, c = np.diag([2.0, 3.0]), np.array([1.0, 1.0])
    for threshold, branch in ((np.log(6.0) - 1e-6, "regular"), (np.log(6.0) + 1e-6, "degenerate")):
        solver = Anmin(log_determinant_threshold=threshold, penalty_scaling="mean")
        a, record = solver.solve_hidden(M.copy(), c, 0.0, 1.0)
        assert record.branch == branch
        assert record.log_determinant == pytest.approx(np.log(6.0))
        np.testing.assert_allclose(a, [0.5, 1 / 3], rtol=1e-12)


def test_a_log_determinant_that_is_not_finite_counts_as_degenerate():
    _, record = Anmin().solve_hidden(np.diag([1.0, -1.0]), np.ones(2), 0.0, 1.0)
    assert record.branch == "degenerate"
    assert np.isnan(record.log_determinant)


def test_penalty_scalings_agree_on_regular_systems():
    M, c = np.diag([2.0, 3.0, 0.5]), np.array([1.0, 2.0, 3.0])
    one, _ = Anmin(penalty_scaling="sum").solve_hidden(M.copy(), c, 0.1, 40.0)
    other, _ = Anmin(penalty_scaling="mean").solve_hidden(M.copy(), c, 0.1, 40.0)
    np.testing.assert_allclose(one, other, rtol=1e-12)
    np.testing.assert_allclose(one, c / (np.diag(M) + 0.1), rtol=1e-12)


def test_the_two_conventions_of_the_penalty_are_the_same_problem():
    """λ of Σ‖f − y‖² + λ‖·‖² has the minimiser of alpha = λ/n: the B-step by both normal equations."""
    X, Y, w, A = Case("weighted", weighted=True).data()
    lambda_, n = 0.3, w.sum()
    S1 = np.column_stack([np.maximum(np.column_stack([np.ones(len(X)), X]) @ A, 0), np.ones(len(X))])
    unnormalised = np.linalg.solve((S1.T * w) @ S1 + lambda_ * np.eye(S1.shape[1]), (S1.T * w) @ Y)
    B, b0 = output_layer(ArrayRows(X, Y, w).output_statistics(A), alpha_from_sum(lambda_, n))
    np.testing.assert_allclose(np.vstack([B, b0]), unnormalised, rtol=1e-9, atol=1e-10)
    assert sum_from_alpha(alpha_from_sum(lambda_, n), n) == pytest.approx(lambda_)


def test_float32_systems_meet_degenerate_solves_that_float64_does_not():
    # Two equal inputs: in float32 the rounding of M exceeds a tiny penalty, in float64 it does not.
    case = Case("singular", n_rows=500, n_features=6, n_neurons=20, singular=True)
    branches = {
        dtype: run(case, alpha=1e-9, solver=Anmin(system_dtype=dtype)).history["branch"][1:].tolist()
        for dtype in ("float32", "float64")
    }
    assert "degenerate" in branches["float32"]
    assert set(branches["float64"]) == {"regular"}


def test_doubled_rows_and_doubled_weights_change_nothing():
    X, Y, _, _ = CASES[0].data()
    once = run(CASES[0])
    twice = run(CASES[0], rows=ArrayRows(np.vstack([X, X]), np.vstack([Y, Y])))
    weighted = run(CASES[0], rows=ArrayRows(X, Y, np.full(len(X), 2.0)))
    for other in (twice, weighted):
        np.testing.assert_allclose(other.history["loss"], once.history["loss"], rtol=1e-8)


def test_permuted_inputs_permute_the_weights():
    X, Y, _, A = CASES[0].data()
    order = [2, 0, 1]
    problem = Problem(ArrayRows(X, Y), 5, 1e-3)
    permuted = Problem(ArrayRows(X[:, order], Y), 5, 1e-3)
    first = Anmin().init(problem, None, np.random.default_rng(0))
    A = first.network.A
    other = Anmin().init(permuted, type(first.network)(np.vstack([A[:1], A[1:][order]]), first.network.B, [0.0]), None)
    one, two = Anmin().step(problem, first), Anmin().step(permuted, other)
    np.testing.assert_allclose(two.network.A[1:], one.network.A[1:][order], rtol=1e-8, atol=1e-10)
    assert two.loss == pytest.approx(one.loss, rel=1e-10)


def test_same_seed_same_bits():
    one, other = run(CASES[0], seed=5), run(CASES[0], seed=5)
    np.testing.assert_array_equal(one.network.A, other.network.A)
    np.testing.assert_array_equal(one.history["loss"], other.history["loss"])
    assert run(CASES[0], seed=6).loss != one.loss


def test_weights_that_are_not_finite_end_the_solve_with_the_best_network(monkeypatch):
    original, calls = Anmin.solve_hidden, []

    def failing(self, M, c, alpha, n, device=None):
        calls.append(1)
        if len(calls) == 3:
            return np.full(len(c), np.nan), Record(branch="not finite")
        return original(self, M, c, alpha, n, device)

    monkeypatch.setattr(Anmin, "solve_hidden", failing)
    solution = run(CASES[0])
    assert solution.status is Status.NOT_FINITE
    assert solution.n_iter == 2
    assert np.isfinite(solution.loss)


@pytest.mark.parametrize(
    "settings", [{"penalty_scaling": "total"}, {"system_dtype": "float16"}, {"eigenvalue_floor": 0.0}]
)
def test_bad_settings_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        Anmin(**settings)
