"""The gated program: solved to a duality gap of rounding, whatever the shape of the problem."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from anmin import objective
from anmin.history import Status
from anmin.rows import ArrayRows, Scaling
from anmin.solvers.gated import Norm, solve_gated
from anmin.solvers.group_problem import GroupProblem
from anmin.solvers.groups import nuclear_norms, residuals, shrunk
from problems import CASES, Case

ALPHAS = (0.3, 0.03, 1e-3)
SCALED = [case for case in CASES if not case.scales]  # see the note on scales in the docstring


def gates_for(case: Case, count: int = 12) -> NDArray:
    return np.random.default_rng(3).standard_normal((case.n_features + 1, count))


def objective_of(case: Case, gates: NDArray, V: NDArray, b0: NDArray, alpha: float) -> float:
    """Return the objective row by row, from its definition."""
    X, Y, w, _ = case.data()
    w = np.ones(len(X)) if w is None else w
    total = 0.0
    for x, y, weight in zip(np.column_stack([np.ones(len(X)), X]), Y, w, strict=True):
        f = b0 + sum((x @ Vj for g, Vj in zip(gates.T, V, strict=True) if x @ g > 0), np.zeros(Y.shape[1]))
        total += weight * np.sum((f - y) ** 2)
    norms = sum(np.linalg.svd(Vj, compute_uv=False).sum() for Vj in V)
    return float(total / w.sum() + 2 * alpha * norms + alpha * b0 @ b0)


@pytest.mark.parametrize("case", SCALED, ids=lambda case: case.name)
@pytest.mark.parametrize("alpha", ALPHAS)
def test_the_objective_is_its_definition_and_nothing_is_below_the_bound(case: Case, alpha: float) -> None:
    gates = gates_for(case)
    found = solve_gated(case.rows(), gates, alpha, tol=1e-7)
    assert found.status is Status.CONVERGED
    assert found.residual <= 1e-7
    assert found.objective == pytest.approx(objective_of(case, gates, found.V, found.b0, alpha), rel=1e-10)
    assert -1e-14 <= found.objective - found.bound <= 1e-4 * found.objective
    rng = np.random.default_rng(0)
    for size in (1e-4, 1e-2, 1.0):
        V = found.V + size * rng.standard_normal(found.V.shape) * np.abs(found.V).max(initial=0.1)
        assert objective_of(case, gates, V, found.b0, alpha) >= found.bound


@pytest.mark.parametrize("case", [case for case in SCALED if case.n_outputs == 1], ids=lambda case: case.name)
def test_one_output_is_solved_to_rounding(case: Case) -> None:
    found = solve_gated(case.rows(), gates_for(case), 0.01, tol=1e-10)
    assert found.objective - found.bound <= 1e-8 * found.objective


@pytest.mark.parametrize("norm", ["nuclear", "outputs"])
def test_badly_scaled_inputs_are_solved_as_they_are(norm: Norm) -> None:
    case = next(case for case in CASES if case.scales)
    found = solve_gated(case.rows(), gates_for(case), 0.01, norm=norm, tol=1e-8)
    assert found.status is Status.CONVERGED
    assert found.objective - found.bound <= 1e-7 * found.objective


def test_badly_scaled_inputs_and_several_outputs_are_solved_by_columns_and_else_said_not_to_be() -> None:
    case = Case("badly scaled, several outputs", n_outputs=3, scales=(1e-3, 1.0, 1e3))
    apart = solve_gated(case.rows(), gates_for(case), 0.01, norm="outputs")
    assert apart.status is Status.CONVERGED
    assert apart.objective - apart.bound <= 1e-6 * apart.objective
    shared = solve_gated(case.rows(), gates_for(case), 0.01, max_rounds=3)
    assert shared.status is Status.MAX_ITER
    assert shared.bound <= shared.objective
    standard = Scaling.standard(case.rows()).apply(case.rows(), "float64")
    assert solve_gated(standard, gates_for(case), 0.01, tol=1e-6).status is Status.CONVERGED


def test_neurons_have_the_loss_of_the_program() -> None:
    case = Case("several outputs", n_outputs=3)
    X, Y, *_ = case.data()
    gates = gates_for(case)
    found = solve_gated(case.rows(), gates, 0.01)
    gate, A, B = found.neurons()
    Xt = np.column_stack([np.ones(len(X)), X])
    F = ((Xt @ gates[:, gate] > 0) * (Xt @ A)) @ B + found.b0
    np.testing.assert_allclose(F, found.predict(X), rtol=1e-9, atol=1e-9)
    sse = float(np.sum((F - Y) ** 2))
    assert objective.loss(sse, len(X), 0.01, A, B, found.b0) == pytest.approx(found.objective, rel=1e-10)
    np.testing.assert_allclose(np.linalg.norm(A, axis=0), np.linalg.norm(B, axis=1))


def test_without_a_penalty_it_is_least_squares() -> None:
    case = Case("weighted", weighted=True)
    X, Y, w, _ = case.data()
    gates = gates_for(case, 5)
    found = solve_gated(case.rows(), gates, 0.0)
    Xt = np.column_stack([np.ones(len(X)), X])
    design = np.column_stack([*(Xt * (Xt @ g > 0)[:, None] for g in gates.T), np.ones(len(X))]) * np.sqrt(w)[:, None]
    best = design @ np.linalg.lstsq(design, Y * np.sqrt(w)[:, None], rcond=None)[0]
    np.testing.assert_allclose(found.objective, np.sum((best - Y * np.sqrt(w)[:, None]) ** 2) / w.sum(), rtol=1e-9)


def test_large_penalties_leave_a_constant_and_outputs_may_be_apart() -> None:
    case = Case("several outputs", n_outputs=3)
    X, Y, *_ = case.data()
    zero = solve_gated(case.rows(), gates_for(case), 1e3)
    assert not zero.active.size
    np.testing.assert_allclose(zero.predict(X), np.tile(Y.mean(axis=0) / (1 + 1e3), (len(X), 1)))
    apart = solve_gated(case.rows(), gates_for(case), 0.01, norm="outputs")
    for k in range(3):
        alone = solve_gated(ArrayRows(X, Y[:, k]), gates_for(case), 0.01)
        np.testing.assert_allclose(apart.V[:, :, k], alone.V[:, :, 0], atol=1e-5)
    assert apart.objective > solve_gated(case.rows(), gates_for(case), 0.01).objective


def test_one_gate_on_orthonormal_inputs_shrinks_singular_values() -> None:
    rng = np.random.default_rng(0)
    X = np.linalg.qr(rng.standard_normal((30, 4)))[0]
    Y = rng.standard_normal((30, 3))
    problem = GroupProblem(np.eye(4), (X.T @ Y)[None], 0.3)
    np.testing.assert_allclose(problem.solved(np.zeros((1, 4, 3)), 1e-12).V, shrunk(problem.C, 0.3), atol=1e-9)
    u, s, zt = np.linalg.svd(X.T @ Y, full_matrices=False)
    np.testing.assert_allclose(shrunk(problem.C, 0.3)[0], (u * np.maximum(s - 0.3, 0)) @ zt)
    assert residuals(shrunk(problem.C, 0.3), problem.gradient(shrunk(problem.C, 0.3)), 0.3)[0] < 1e-12
    assert nuclear_norms(problem.C)[0] == pytest.approx(s.sum())


def test_weights_count_rows_and_the_order_of_gates_does_not_matter() -> None:
    X, Y, *_ = Case("long").data()
    counts = np.random.default_rng(1).integers(1, 4, len(X))
    gates = gates_for(Case("long"))
    repeated = solve_gated(ArrayRows(np.repeat(X, counts, axis=0), np.repeat(Y, counts, axis=0)), gates, 0.01)
    weighted = solve_gated(ArrayRows(X, Y, counts.astype(float)), gates[:, ::-1] * 3.0, 0.01)
    assert weighted.objective == pytest.approx(repeated.objective, rel=1e-10)
    np.testing.assert_allclose(weighted.V[::-1], repeated.V, atol=1e-6)


def test_a_start_from_a_larger_penalty_ends_at_the_same() -> None:
    case = Case("long")
    before = solve_gated(case.rows(), gates_for(case), 0.05)
    started = solve_gated(case.rows(), gates_for(case), 0.01, start=before.V)
    assert started.objective == pytest.approx(solve_gated(case.rows(), gates_for(case), 0.01).objective, rel=1e-10)


def test_rounds_that_run_out_are_said() -> None:
    case = Case("long")
    assert solve_gated(case.rows(), gates_for(case), 1e-4, max_rounds=2).status is Status.MAX_ITER


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gates": np.ones((3, 4))}, r"gates must have shape \(4, gates\)"),
        ({"gates": np.ones((4, 0))}, "gates must have shape"),
        ({"gates": np.full((4, 2), np.nan)}, "gates must be finite"),
        ({"gates": np.column_stack([np.ones(4), np.zeros(4)])}, "must not be zero; number 1 is"),
        ({"gates": np.column_stack([np.ones(4), 2 * np.ones(4)])}, "must differ in direction; number 0"),
        ({"alpha": -1.0}, "alpha must be a finite number of at least 0; got -1.0"),
        ({"norm": "frobenius"}, "norm must be one of 'nuclear', 'outputs'"),
        ({"start": np.zeros((1, 2, 3))}, "start must be finite and of shape"),
    ],
)
def test_bad_input_is_named(change: dict[str, Any], message: str) -> None:
    case = Case("long")
    arguments = {"gates": gates_for(case), "alpha": 0.1} | change
    with pytest.raises(ValueError, match=message):
        solve_gated(case.rows(), **arguments)
