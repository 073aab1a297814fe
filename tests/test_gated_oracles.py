"""The gated program against other ways to its solution, and at its edges: paths, ridge, products without sums."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from anmin.history import Status
from anmin.objective import alpha_from_scnn
from anmin.rows import ArrayRows
from anmin.rows.gated import through
from anmin.solvers import gated_design, gated_program
from anmin.solvers.accelerated import Accelerated
from anmin.solvers.gated import Norm, gated_path, largest_alpha, solve_gated
from anmin.solvers.gated_design import GatedDesign, RowQuadratic
from anmin.solvers.group_problem import GroupProblem
from anmin.solvers.groups import residuals
from problems import CASES, Case

SEVERAL = Case("several outputs", n_outputs=3)


def gates_for(case: Case, count: int = 12) -> NDArray:
    return np.random.default_rng(3).standard_normal((case.n_features + 1, count))


def design_of(X: NDArray, gates: NDArray) -> NDArray:
    """Return the N × P·p matrix of the definition."""
    Xt = np.column_stack([np.ones(len(X)), X])
    return ((Xt @ gates > 0)[:, :, None] * Xt[:, None, :]).reshape(len(X), -1)


@pytest.mark.filterwarnings("ignore:Solution may be inaccurate:UserWarning")  # to the tolerance asked for, 1e-10
@pytest.mark.parametrize("seed", range(25))
def test_the_objective_is_that_of_an_interior_point_method(seed: int) -> None:
    cp = pytest.importorskip("cvxpy", reason="CVXPY is not installed")
    pytest.importorskip("clarabel", reason="Clarabel is not installed")
    rng = np.random.default_rng(seed)
    n, d, c, P = rng.integers(5, 41), rng.integers(1, 6), rng.integers(1, 4), rng.integers(1, 9)
    X, Y = rng.standard_normal((n, d)), rng.standard_normal((n, c)) + rng.standard_normal(c)
    w = rng.uniform(0.2, 2.0, n) if seed % 3 == 0 else np.ones(n)
    gates = rng.standard_normal((d + 1, P))
    alpha, norm, intercept = [0.2, 0.02, 1e-3][seed % 3], ["nuclear", "outputs"][seed % 2], seed % 5 != 4
    V = [cp.Variable((d + 1, c)) for _ in range(P)]
    b0 = cp.Variable((1, c))
    f = design_of(X, gates) @ cp.vstack(V) + np.ones((n, 1)) @ b0
    norms = sum(cp.normNuc(Vj) if norm == "nuclear" else cp.sum(cp.norm(Vj, axis=0)) for Vj in V)
    sse = cp.sum_squares(cp.multiply(np.sqrt(w / w.sum())[:, None] * np.ones((1, c)), f - Y))
    problem = cp.Problem(cp.Minimize(sse + 2 * alpha * norms + alpha * cp.sum_squares(b0)), [b0 == 0] * (not intercept))
    problem.solve(solver="CLARABEL", tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    rows = ArrayRows(X, Y, w if seed % 3 == 0 else None)
    found = solve_gated(rows, gates, alpha, norm=norm, intercept=intercept, tol=1e-7)
    assert found.status is Status.CONVERGED
    assert found.objective == pytest.approx(problem.value, rel=1e-6)
    assert found.bound <= problem.value * (1 + 1e-8)


def test_one_gate_open_on_all_of_orthonormal_rows_shrinks_singular_values() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((30, 3))
    X -= X.mean(axis=0)
    X = np.linalg.qr(X)[0] * np.sqrt(30)
    Y = rng.standard_normal((30, 4)) @ rng.standard_normal((4, 4))
    gate = np.array([[10.0], [0.0], [0.0], [0.0]])
    found = solve_gated(ArrayRows(X, Y), gate, 0.5, intercept=False, tol=1e-12)
    Xt = np.column_stack([np.ones(30), X])
    u, s, zt = np.linalg.svd(Xt.T @ Y / 30, full_matrices=False)
    assert 0 < np.sum(s > 0.5) < 4
    np.testing.assert_allclose(found.V[0], (u * np.maximum(s - 0.5, 0)) @ zt, atol=1e-10)
    np.testing.assert_array_equal(found.b0, np.zeros(4))


@pytest.mark.parametrize("case", [case for case in CASES if not case.scales], ids=lambda case: case.name)
@pytest.mark.parametrize("formed", [True, False])
def test_ridge_is_least_squares_with_more_rows(case: Case, formed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not formed:
        monkeypatch.setattr(gated_program, "MOST_FORMED", 0)
    X, Y, w, _ = case.data()
    w = np.ones(len(X)) if w is None else w
    gates, alpha = gates_for(case), 0.02
    found = solve_gated(case.rows(), gates, alpha, norm="ridge", tol=1e-9)
    assert found.status is Status.CONVERGED
    design = np.column_stack([design_of(X, gates), np.ones(len(X))])
    root = np.sqrt(w / w.sum())[:, None]
    stacked = np.vstack([design * root, np.sqrt(alpha) * np.eye(design.shape[1])])
    target = np.vstack([Y * root, np.zeros((design.shape[1], Y.shape[1]))])
    best = np.linalg.lstsq(stacked, target, rcond=None)[0]
    np.testing.assert_allclose(found.V.reshape(-1, Y.shape[1]), best[:-1], atol=1e-7)
    np.testing.assert_allclose(found.b0, best[-1], atol=1e-7)
    assert found.objective == pytest.approx(np.sum((stacked @ best - target) ** 2), rel=1e-9)
    assert found.objective * (1 - 1e-6) <= found.bound <= found.objective


def test_without_sums_the_least_norm_is_found_too(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case("singular", singular=True)
    formed = solve_gated(case.rows(), gates_for(case, 4), 0.0, tol=1e-10)
    monkeypatch.setattr(gated_program, "MOST_FORMED", 0)
    found = solve_gated(case.rows(), gates_for(case, 4), 0.0, tol=1e-10)
    np.testing.assert_allclose(found.V, formed.V, atol=1e-6)
    assert found.status is Status.CONVERGED


def test_conjugate_gradients_that_end_early_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gated_program, "MOST_FORMED", 0)
    monkeypatch.setattr(gated_program, "_CONJUGATE_STEPS", 2)
    assert solve_gated(SEVERAL.rows(), gates_for(SEVERAL), 1e-4, norm="ridge").status is Status.MAX_ITER


@pytest.mark.parametrize("norm", ["nuclear", "outputs"])
def test_without_sums_the_solution_is_the_same(norm: Norm, monkeypatch: pytest.MonkeyPatch) -> None:
    formed = solve_gated(SEVERAL.rows(), gates_for(SEVERAL), 0.02, norm=norm)
    monkeypatch.setattr(gated_design, "MOST_FORMED", 0)
    monkeypatch.setattr(gated_design, "_WIDEST_BLOCKS", 2)  # the metric of many inputs
    found = solve_gated(SEVERAL.rows(), gates_for(SEVERAL), 0.02, norm=norm, tol=1e-7)
    assert found.status is Status.CONVERGED
    assert found.objective == pytest.approx(formed.objective, rel=1e-8)


@pytest.mark.parametrize("intercept", [True, False])
def test_a_path_has_the_solutions_of_its_penalties(intercept: bool) -> None:
    rows, gates = Case("weighted", weighted=True).rows(), gates_for(Case("weighted"))
    most = largest_alpha(rows, gates, intercept=intercept)
    path = gated_path(rows, gates, [0.1 * most, most, 1e-3 * most, 0.999 * most], intercept=intercept)
    assert [found.alpha for found in path] == pytest.approx([most, 0.999 * most, 0.1 * most, 1e-3 * most])
    for found in path:
        alone = solve_gated(rows, gates, found.alpha, intercept=intercept)
        assert found.status is Status.CONVERGED
        assert found.objective == pytest.approx(alone.objective, rel=1e-9)
    assert [bool(found.active.size) for found in path] == [False, True, True, True]


@pytest.mark.parametrize("norm", ["nuclear", "outputs"])
@pytest.mark.parametrize("shift", [0.0, 3.0, -40.0])
def test_the_largest_penalty_is_where_weights_begin(norm: Norm, shift: float) -> None:
    X, Y, *_ = SEVERAL.data()
    rows, gates = ArrayRows(X, Y + shift), gates_for(SEVERAL)
    most = largest_alpha(rows, gates, norm=norm)
    for factor in (1.0, 1.5, 10.0):
        assert not solve_gated(rows, gates, factor * most, norm=norm).active.size
    assert solve_gated(rows, gates, 0.999 * most, norm=norm).active.size
    assert largest_alpha(rows, gates, norm="ridge") == np.inf


def test_products_by_matrices_are_those_by_codes() -> None:
    rng = np.random.default_rng(0)
    X, w = rng.standard_normal((700, 6)), rng.uniform(0, 2, 700)
    gates = rng.standard_normal((7, 21))
    rows = ArrayRows(X, np.zeros(700))
    V, T = rng.standard_normal((21, 9, 7)), rng.standard_normal((700, 9))  # 63 columns: products of matrices
    whole = T.copy()
    found = through(X, rows.pattern(gates), w, V, whole, 0.1)
    for k in range(9):
        one = T[:, k : k + 1].copy()
        by_codes = through(X, rows.pattern(gates), w, np.ascontiguousarray(V[:, k : k + 1]), one, 0.1)
        np.testing.assert_allclose(found[:, k], by_codes[:, 0], rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(whole[:, k], one[:, 0], rtol=1e-10, atol=1e-10)


def test_products_by_rows_are_those_with_the_matrix() -> None:
    case = Case("weighted", weighted=True, n_outputs=2)
    X, _, w, _ = case.data()
    gates = gates_for(case)
    index = np.array([1, 4, 7, 8])
    design = GatedDesign(case.rows(), gates)
    quadratic = RowQuadratic(design, index, 0.3)
    A = design_of(X, gates[:, index])
    assert w is not None
    s = w @ A
    H = (A.T @ (A * w[:, None]) - np.outer(s, s) / (w.sum() * 1.3)) / w.sum()
    V = np.random.default_rng(0).standard_normal((4, 4, 2))
    np.testing.assert_allclose(quadratic.product(V), (H @ V.reshape(16, 2)).reshape(V.shape), atol=1e-12)
    np.testing.assert_allclose(design.formed(index, 0.3), H, atol=1e-12)
    assert design.knows(index[1:])
    np.testing.assert_allclose(design.formed(index[1:], 0.3), H[4:, 4:], atol=1e-12)
    for j in range(4):
        at = slice(4 * j, 4 * j + 4)
        np.testing.assert_allclose(quadratic.blocks[j], H[at, at], atol=1e-12)


def test_newton_steps_on_lengths_end_at_the_solution_of_many_alike_groups() -> None:
    rng = np.random.default_rng(0)
    A = (rng.standard_normal((60, 5)) @ rng.standard_normal((5, 40))) + 0.05 * rng.standard_normal((60, 40))
    problem = GroupProblem(A.T @ A / 60, (A.T @ rng.standard_normal(60) / 60).reshape(10, 4, 1), 0.02)
    found = problem.solved(np.zeros((10, 4, 1)), 1e-12)
    assert found.residual <= 1e-12
    assert np.linalg.norm(residuals(found.V, problem.gradient(found.V), 0.02)) <= 1e-11
    slow = Accelerated(problem, 0.02, False).solved(np.zeros((10, 4, 1)), 1e-7, 100_000)
    assert slow.residual <= 1e-7
    np.testing.assert_allclose(found.V, slow.V, atol=1e-3)
    assert found.steps < slow.steps


@pytest.mark.parametrize("norm", ["nuclear", "outputs", "ridge"])
@pytest.mark.parametrize("alpha", [0.0, 0.1])
def test_a_single_row_and_constant_columns_are_solved(norm: Norm, alpha: float) -> None:
    one = solve_gated(ArrayRows([[1.0, 2.0]], [3.0]), np.array([[1.0, -9.0], [1.0, 0.0], [0.0, 1.0]]), alpha, norm=norm)
    assert one.status is Status.CONVERGED
    assert not one.V[1].any()  # closed on the only row
    if alpha == 0:
        np.testing.assert_allclose(one.predict(np.array([[1.0, 2.0]])), [[3.0]])
    X, Y, *_ = SEVERAL.data()
    X[:, 1] = 4.0
    constant = solve_gated(ArrayRows(X, Y), gates_for(SEVERAL), alpha, norm=norm, tol=1e-6)
    assert constant.status is Status.CONVERGED
    zeros = solve_gated(ArrayRows(X, np.zeros_like(Y)), gates_for(SEVERAL), alpha, norm=norm)
    assert zeros.status is Status.CONVERGED
    assert zeros.objective == 0
    assert not zeros.active.size


def test_penalties_of_a_path_must_be_some_and_in_range() -> None:
    with pytest.raises(ValueError, match="at least one penalty; got none"):
        gated_path(SEVERAL.rows(), gates_for(SEVERAL), [])
    with pytest.raises(ValueError, match=r"at least 0; got -0\.5"):
        gated_path(SEVERAL.rows(), gates_for(SEVERAL), [0.1, -0.5])


def test_the_penalty_of_scnn_is_converted() -> None:
    X, Y, *_ = SEVERAL.data()
    gates, penalty = gates_for(SEVERAL, 3), 0.01
    Xt = np.column_stack([np.ones(len(X)), X])
    on = Xt @ gates > 0
    alpha = alpha_from_scnn(penalty, 3)
    found = solve_gated(ArrayRows(X, Y), gates, alpha, norm="outputs", intercept=False)
    f = np.einsum("ip,jpc,ij->ic", Xt, found.V, on)
    theirs = np.sum((f - Y) ** 2) / (2 * len(X) * 3) + penalty * np.linalg.norm(found.V, axis=1).sum()
    assert found.objective == pytest.approx(2 * 3 * theirs, rel=1e-10)
    assert alpha_from_scnn(penalty, 1, 7.0) == pytest.approx(0.07)
