"""The cone-constrained program: its solutions are optimal, feasible, and networks of that loss."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from anmin import ReLUNetwork, objective
from anmin.arrangements import all_patterns
from anmin.history import Status
from anmin.rows import ArrayRows
from anmin.solvers import Problem, VarPro, solve
from anmin.solvers.batch_norm import solve_batch_norm, whitened
from anmin.solvers.cone_problem import ConeProblem
from anmin.solvers.cones import Cones
from anmin.solvers.convex import ConvexSolution, solve_convex
from anmin.solvers.convex_program import ConvexProgram
from anmin.solvers.decomposition import split
from anmin.solvers.gated import solve_gated
from anmin.solvers.interior_point import InteriorPoint


def drawn(
    seed: int, n: int = 30, d: int = 3, c: int = 1, *, weighted: bool = False, gates: int = 10
) -> tuple[ArrayRows, NDArray]:
    """Return rows and gates."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    Y = np.sin(X @ rng.standard_normal((d, c))) + 0.1 * rng.standard_normal((n, c))
    return ArrayRows(X, Y, rng.uniform(0.1, 3.0, n) if weighted else None), rng.standard_normal((d + 1, gates))


def loss_of(network: ReLUNetwork, rows: ArrayRows, alpha: float) -> float:
    """Return the loss row by row, from its definition."""
    w = np.ones(rows.n_rows) if rows.w is None else rows.w
    sse = sum(wi * np.sum((f - y) ** 2) for wi, f, y in zip(w, network.predict(rows.X), rows.Y, strict=True))
    return objective.loss(float(sse), rows.n, alpha, network.A, network.B, network.b0)


def heights(solution: ConvexSolution, rows: ArrayRows) -> NDArray:
    """Return the smallest (2·1[x̃ᵀg_j > 0] − 1) x̃ᵀu/(‖x̃‖ ‖u‖) for each u_jk and v_jk that is not zero."""
    Xt = np.column_stack([np.ones(rows.n_rows), rows.X])
    found = []
    for Z in (solution.U, solution.V):
        for j, k in np.argwhere(Z.any(axis=1)):
            z = Z[j, :, k] / np.linalg.norm(Z[j, :, k])
            found += [(1 if x @ solution.gates[:, j] > 0 else -1) * (x @ z) / np.linalg.norm(x) for x in Xt]
    return np.array(found)


@pytest.mark.parametrize("seed", range(25))
def test_it_is_as_good_as_an_interior_point_method_and_is_a_network_of_that_loss(seed: int) -> None:
    pytest.importorskip("clarabel")
    rng = np.random.default_rng(1000 + seed)
    n, d, c = int(rng.integers(5, 41)), int(rng.integers(1, 6)), int(rng.integers(1, 4))
    alpha = (0.3, 0.03, 1e-3, 1e-4)[seed % 4]
    rows, gates = drawn(seed, n, d, c, weighted=bool(seed % 2))
    found = solve_convex(rows, gates, alpha)
    assert found.status is Status.CONVERGED
    assert found.residual <= 1e-8
    assert found.violation < 1e-12
    assert heights(found, rows).min(initial=0.0) > -1e-12
    reference = solve_convex(rows, gates, alpha, method="reference")
    assert found.objective == pytest.approx(reference.objective, rel=1e-7)
    assert found.bound <= min(found.objective, reference.objective) * (1 + 1e-12)
    assert found.objective - found.bound <= 1e-5 * found.objective
    assert loss_of(found.network(), rows, alpha) == pytest.approx(found.objective, rel=1e-10)


def test_small_penalties_take_the_interior_point_method_and_end_at_the_solution(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("clarabel")
    rows, gates = drawn(11, n=60, gates=12)
    used = []
    method = InteriorPoint.solved
    monkeypatch.setattr(InteriorPoint, "solved", lambda self, *arguments: used.append(1) or method(self, *arguments))
    for alpha in (1e-5, 1e-7):
        found = solve_convex(rows, gates, alpha)
        reference = solve_convex(rows, gates, alpha, method="reference")
        assert found.status is Status.CONVERGED
        assert found.violation < 1e-12
        assert found.objective == pytest.approx(reference.objective, rel=1e-6)
        assert loss_of(found.network(), rows, alpha) == pytest.approx(found.objective, rel=1e-9)
    assert used


def test_an_interior_point_gets_near_the_solution_alone() -> None:
    rows, gates = drawn(12, n=40, gates=6)
    Xt = np.column_stack([np.ones(40), rows.X])
    on = (Xt @ gates > 0).T
    design = (on.T[:, :, None] * Xt[:, None, :]).reshape(40, -1) / np.sqrt(40)
    c, cones = design.T @ rows.Y[:, 0] / np.sqrt(40), Cones(Xt, on)
    problem = ConeProblem(design, design.T @ design, c, 0.01, cones, np.arange(6))
    exact = problem.solved(np.zeros((12, 4)), 1e-12, 4.0)
    centres = cones.centres(np.arange(6))
    signs = 2.0 * on - 1
    assert (signs * (centres @ Xt.T)).min() > 0
    normals = signs[:, :, None] * Xt
    near = InteriorPoint(problem.H, c, 0.01, normals, np.ones((6, 40), dtype=bool)).solved(centres, 4.0)
    for part in (near[:6], near[6:]):
        assert np.einsum("gmp,gp->gm", normals, part).min() > 0
    assert problem.objective(near) == pytest.approx(problem.objective(exact), rel=1e-5)
    assert problem.objective(near) > problem.objective(exact)


def test_a_flat_cone_has_no_centre() -> None:
    X = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
    centres = Cones(X, np.array([[False, False, True], [True, False, True]])).centres(np.arange(2))
    np.testing.assert_allclose(centres, [[0, 0], [np.sqrt(0.5), np.sqrt(0.5)]], atol=1e-12)


def test_with_all_patterns_no_network_is_better() -> None:
    rng = np.random.default_rng(5)
    X = rng.standard_normal((20, 2))
    rows, alpha = ArrayRows(X, np.sin(2 * X[:, 0]) * X[:, 1]), 0.01
    Xt = np.column_stack([np.ones(20), X])
    found = solve_convex(rows, all_patterns(Xt).without_zero().vectors, alpha)
    assert found.objective - found.bound <= 1e-8 * found.objective
    fits = [
        solve(Problem(rows, 30, alpha), VarPro(), tol=1e-10, max_iter=150, rng=np.random.default_rng(seed)).loss
        for seed in range(8)
    ]
    assert found.objective <= min(fits) + 1e-9
    assert min(fits) <= found.objective * 1.02  # and the bound is not an empty one
    assert loss_of(found.network(), rows, alpha) == pytest.approx(found.objective, rel=1e-10)


def test_a_solution_is_certified_as_a_network_and_another_one_is_not() -> None:
    rows, gates = drawn(4)
    found = solve_convex(rows, gates, 0.3)
    at_network = ConvexSolution.from_network(found.network(), rows, 0.3)
    assert at_network.objective == pytest.approx(found.objective, rel=1e-12)
    inside = solve_convex(rows, at_network.gates, 0.3)
    assert at_network.bound <= inside.objective * (1 + 1e-12)
    fit = solve(Problem(rows, 4, 0.01), VarPro(), max_iter=3, rng=np.random.default_rng(0)).network
    rough = ConvexSolution.from_network(fit, rows, 0.01)
    assert rough.status is Status.SCHEDULE_DONE
    assert rough.residual > 1e-4
    assert rough.objective <= loss_of(fit, rows, 0.01) * (1 + 1e-12)
    better = solve_convex(rows, rough.gates, 0.01, start=(rough.U, rough.V))
    assert rough.bound <= better.objective < rough.objective


def test_a_network_and_its_program_predict_the_same_and_outputs_may_share_a_neuron() -> None:
    rows, _ = drawn(6, c=3)
    rng = np.random.default_rng(0)
    network = ReLUNetwork(rng.standard_normal((4, 5)), rng.standard_normal((5, 3)), np.zeros(3))
    spread = ConvexSolution.from_network(network, rows, 0.1)
    there, again = spread.network().predict(rows.X) - spread.b0, network.predict(rows.X)
    np.testing.assert_allclose(there, again, atol=1e-12)
    assert spread.violation < 1e-12
    # Each neuron pays for its length once with each output: 2 Σ_k |b_k| ‖a‖ instead of ‖a‖² + ‖b‖².
    balanced = network.balanced()
    shared = objective.penalty(balanced.A, balanced.B, np.zeros(3))
    assert objective.penalty(spread.network().A, spread.network().B, np.zeros(3)) > shared


def test_neurons_of_one_pattern_and_sign_are_better_as_one() -> None:
    rows, _ = drawn(7)
    rng = np.random.default_rng(1)
    a = rng.standard_normal(4)
    A = np.column_stack([a, a + 1e-3 * rng.standard_normal(4), -a, a + 1e-3 * rng.standard_normal(4)])
    network = ReLUNetwork(A, np.array([[1.0], [2.0], [-1.0], [-0.5]]), np.zeros(1))
    assert (network.pattern(rows.X)[:, [1, 3]] == network.pattern(rows.X)[:, [0]]).all()
    merged = network.merged_on(rows.X)
    assert merged.n_neurons == 3
    before, after = (ConvexSolution.from_network(each, rows, 0.1) for each in (network, merged))
    np.testing.assert_allclose(merged.predict(rows.X), network.predict(rows.X), atol=1e-12)
    assert after.objective < before.objective
    # The program gives the weights of equal patterns to the first of them.
    both = solve_convex(rows, A, 0.01)
    alone = solve_convex(rows, A[:, [0, 2]], 0.01)
    assert both.objective == pytest.approx(alone.objective, rel=1e-9)
    assert not both.U[[1, 3]].any()
    assert not both.V[[1, 3]].any()


@pytest.mark.parametrize("seed", range(3))
def test_without_a_penalty_cones_cost_nothing(seed: int) -> None:
    rows, gates = drawn(seed, n=60, c=2)
    gated = solve_gated(rows, gates, 0.0)
    split_up = solve_convex(rows, gates, 0.0, method="decomposition")
    assert split_up.objective == pytest.approx(gated.objective, rel=1e-9)
    assert split_up.status is Status.CONVERGED
    assert split_up.violation < 1e-12
    found = solve_convex(rows, gates, 0.0)
    assert found.status is Status.CONVERGED
    assert found.objective == pytest.approx(gated.objective, rel=1e-6)
    assert loss_of(found.network(), rows, 0.0) == pytest.approx(found.objective, rel=1e-8)


def test_a_decomposition_is_feasible_and_no_better_than_the_solution() -> None:
    rows, gates = drawn(3, c=2)
    found, rough = (solve_convex(rows, gates, 0.01, method=m) for m in ("augmented_lagrangian", "decomposition"))
    gated = solve_gated(rows, gates, 0.01, norm="outputs")
    assert rough.status is Status.SCHEDULE_DONE
    assert rough.violation < 1e-12
    assert gated.bound <= found.objective < rough.objective
    np.testing.assert_allclose(rough.U - rough.V, gated.V, atol=1e-9)


def test_a_vector_is_split_in_two_of_least_length() -> None:
    # In the quadrant, (1, −1) is (1, 0) − (0, 1); in a narrow cone about (1, 0) it takes long ones.
    u, v = split(np.array([1.0, -1.0]), np.eye(2))
    np.testing.assert_allclose([u, v], [[1, 0], [0, 1]], atol=1e-12)
    narrow = np.array([[0.01, 1.0], [0.01, -1.0]])
    u, v = split(np.array([0.0, 1.0]), narrow)
    np.testing.assert_allclose([u, v], [[50, 0.5], [50, -0.5]], rtol=1e-9)
    inside = np.array([3.0, 0.01])
    np.testing.assert_allclose(split(inside, narrow), [inside, np.zeros(2)], atol=1e-12)
    np.testing.assert_allclose(split(-inside, narrow), [np.zeros(2), inside], atol=1e-12)
    rng = np.random.default_rng(0)
    for _ in range(5):
        normals, w = rng.standard_normal((8, 3)), rng.standard_normal(3)
        normals *= np.sign(normals @ np.ones(3))[:, None]
        u, v = split(w, normals)
        np.testing.assert_allclose(u - v, w, atol=1e-10)
        least = np.linalg.norm(u) + np.linalg.norm(v)
        for _ in range(200):
            other = u + 0.3 * rng.standard_normal(3) * rng.uniform()
            if (normals @ other >= 0).all() and (normals @ (other - w) >= 0).all():
                assert np.linalg.norm(other) + np.linalg.norm(other - w) >= least - 1e-8


def test_projections_on_cones_are_the_nearest_points() -> None:
    from scipy.optimize import nnls

    rng = np.random.default_rng(0)
    for n, p in ((40, 3), (200, 6), (15, 8), (3, 5)):
        X = rng.standard_normal((n, p))
        on = (X @ rng.standard_normal((p, 6)) > 0).T
        A = rng.standard_normal((6, p))
        project = Cones(X, on).projection(np.arange(6))
        found = project(A, exact=True)
        for j in range(6):
            signed = X * (2.0 * on[j] - 1)[:, None]
            expected = A[j] + signed.T @ nnls(signed.T, -A[j])[0]
            np.testing.assert_allclose(found[j], expected, atol=1e-10)
        np.testing.assert_allclose(project(found, exact=True), found, atol=1e-12)  # from the active ones before
        np.testing.assert_allclose(project(A, exact=True), Cones(X, on).projection(np.arange(6))(A, exact=True))


def line(x: list[float], y: list[float]) -> ArrayRows:
    return ArrayRows(np.array(x)[:, None], np.array(y))


def test_one_point_is_soft_thresholded() -> None:
    for lam in (0.1, 0.5, 1.9):
        found = solve_convex(line([1.0], [1.0]), np.ones((1, 1)), lam / 2, bias=False)
        assert found.U[0, 0, 0] == pytest.approx(1 - lam / 2)
        assert found.objective == pytest.approx(lam - lam**2 / 4)
    assert not solve_convex(line([1.0], [1.0]), np.ones((1, 1)), 1.0, bias=False).U.any()


def test_two_points_show_the_factor_of_two() -> None:
    # Σ (f − y)² + λ Σ (w² + b²), λ = 0.1: 6λ − 2λ²; with β = λ instead of 2λ it would be 0.295.
    rows, lam = line([-1.0, 1.0], [1.0, 2.0]), 0.1
    found = solve_convex(rows, np.array([[1.0, -1.0]]), lam / 2, bias=False)
    assert 2 * found.objective == pytest.approx(6 * lam - 2 * lam**2)
    assert 2 * found.bound == pytest.approx(0.58)
    assert 2 * loss_of(found.network(), rows, lam / 2) == pytest.approx(0.58)


def test_one_neuron_has_a_minimum_for_each_of_two_points() -> None:
    rows, tiny = line([-1.0, 1.0], [1.0, 0.5]), 1e-9
    for gate, weight, left in ((-1.0, -1.0, 0.25), (1.0, 0.5, 1.0)):
        found = solve_convex(rows, np.array([[gate]]), tiny, bias=False)
        assert found.U[0, 0, 0] == pytest.approx(weight, abs=1e-6)
        assert 2 * found.objective == pytest.approx(left, abs=1e-6)


def test_two_neurons_fit_two_points_and_stall_where_both_have_one_pattern() -> None:
    rows, tiny = line([-1.0, 1.0], [1.0, 2.0]), 1e-9
    found = solve_convex(rows, np.array([[1.0, -1.0]]), tiny, bias=False)
    np.testing.assert_allclose(found.U.ravel(), [2, -1], atol=1e-6)
    assert 2 * found.objective == pytest.approx(0, abs=1e-6)
    for gate, total, left in ((1.0, 2.0, 1.0), (-1.0, -1.0, 4.0)):
        stalled = solve_convex(rows, np.array([[gate]]), tiny, bias=False)
        assert stalled.U.sum() == pytest.approx(total, abs=1e-6)
        assert 2 * stalled.objective == pytest.approx(left, abs=1e-6)


def test_the_activation_point_of_a_neuron_has_the_sign_of_its_bias() -> None:
    rows = line([-0.2, 1.0], [0.0, 1.0])  # weights are (bias, slope) here
    printed, claimed = np.array([[0.15], [0.3]]), np.array([[-0.15], [0.3]])
    on = [ReLUNetwork(a, np.ones((1, 1)), np.zeros(1)).pattern(rows.X)[:, 0].tolist() for a in (printed, claimed)]
    assert on == [[True, True], [False, True]]
    found = solve_convex(rows, claimed, 1e-3)
    bias, slope = found.U[0, :, 0]
    assert -0.2 <= -bias / slope <= 1  # between the points, as its pattern says
    bias, slope = solve_convex(rows, printed, 1e-3).U[0, :, 0]
    assert -bias / slope <= -0.2 + 1e-9  # not after both


def test_a_cone_of_a_single_point_takes_no_part() -> None:
    X = np.array([[-1.0], [1.0]])
    on = np.array([[True, True], [False, True], [False, False]])
    program = ConvexProgram(X, on, np.array([[1.0], [2.0]]), None, 0.05, False)
    zero = np.zeros((3, 1, 1))
    U, V, look, _ = program.solved(zero, zero, 1e-10, 20)
    assert not U[[0, 2]].any()
    assert not V.any()
    assert U[1, 0, 0] == pytest.approx(2 - 0.1)  # (1/2)(u − 2)² + 0.1·u
    assert look.bound == pytest.approx(look.objective)


def test_batch_normalisation_without_cones_shrinks_the_projected_target() -> None:
    rows, _ = drawn(0, n=25)
    design, _, _ = whitened(rows.X)
    np.testing.assert_allclose(design.T @ design, np.eye(4), atol=1e-12)
    along = design.T @ rows.Y[:, 0]
    for beta in (0.1, 1.0, 2 * np.linalg.norm(along)):
        free = Cones(np.zeros((0, 4)), np.zeros((1, 0), dtype=bool))
        z = ConeProblem(design, design.T @ design, along, beta, free, np.arange(1)).solved(np.zeros((2, 4)), 1e-12, 1.0)
        np.testing.assert_allclose(z[0] - z[1], max(1 - beta / np.linalg.norm(along), 0) * along, atol=1e-10)


def test_batch_normalised_networks_have_the_loss_of_their_program() -> None:
    rows, gates = drawn(1, n=40, c=2)
    found = solve_batch_norm(rows, gates, 0.01)
    assert found.status is Status.CONVERGED
    assert found.objective - found.bound <= 1e-7 * found.objective
    X, n = rows.X, rows.n_rows
    Z = (X - X.mean(axis=0)) @ found.W
    Z = found.gamma * Z / np.linalg.norm(Z, axis=0) + found.shift / np.sqrt(n)
    F = np.maximum(Z, 0) @ found.output + found.b0
    decayed = sum(float(np.sum(part**2)) for part in (found.gamma, found.shift, found.output, found.b0))
    assert np.sum((F - rows.Y) ** 2) / n + 0.01 * decayed == pytest.approx(found.objective, rel=1e-10)
    np.testing.assert_allclose(found.network().predict(X), F, atol=1e-10)
    # The scale of an input is of no matter, unlike without normalisation.
    scales = np.array([1.0, 100.0, 0.01])
    other = solve_batch_norm(ArrayRows(X * scales, rows.Y), gates / np.r_[1.0, scales][:, None], 0.01)
    assert other.objective == pytest.approx(found.objective, rel=1e-8)
    with pytest.raises(ValueError, match="without weights"):
        solve_batch_norm(ArrayRows(X, rows.Y, np.ones(n)), gates, 0.01)


def test_many_gates_are_solved_by_those_that_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, gates = drawn(2, n=40, gates=60)
    whole = solve_convex(rows, gates, 0.01)
    monkeypatch.setattr("anmin.solvers.convex_program._MOST_AT_ONCE", 20)
    parts = solve_convex(rows, gates, 0.01)
    assert parts.n_rounds > whole.n_rounds
    assert parts.objective == pytest.approx(whole.objective, rel=1e-8)
    short = solve_convex(rows, gates, 0.01, max_rounds=2)
    assert short.status is Status.MAX_ITER
    assert short.bound <= whole.objective


def test_weights_count_rows_and_the_size_and_order_of_gates_do_not_matter() -> None:
    rows, gates = drawn(8)
    counts = np.random.default_rng(1).integers(1, 4, rows.n_rows)
    weighted = solve_convex(ArrayRows(rows.X, rows.Y, counts.astype(float)), gates[:, ::-1] * 3.0, 0.01)
    repeated = ArrayRows(np.repeat(rows.X, counts, axis=0), np.repeat(rows.Y, counts, axis=0))
    found = solve_convex(repeated, gates, 0.01)
    assert weighted.objective == pytest.approx(found.objective, rel=1e-9)
    np.testing.assert_allclose(weighted.U[::-1], found.U, atol=1e-5)
    again = solve_convex(repeated, gates, 0.02, start=(found.U, found.V))
    assert again.objective == pytest.approx(solve_convex(repeated, gates, 0.02).objective, rel=1e-9)


def test_one_row_constant_columns_and_rows_of_float32() -> None:
    rng = np.random.default_rng(0)
    one = solve_convex(ArrayRows(rng.standard_normal((1, 3)), [2.0]), rng.standard_normal((4, 5)), 0.01)
    assert one.status is Status.CONVERGED
    rows, gates = drawn(9)
    flat = solve_convex(ArrayRows(np.column_stack([rows.X, np.ones(30)]), rows.Y), np.vstack([gates, gates[:1]]), 0.01)
    assert flat.status is Status.CONVERGED
    assert flat.objective - flat.bound <= 1e-5 * flat.objective
    single = ArrayRows(rows.X.astype(np.float32), rows.Y.astype(np.float32))
    assert solve_convex(single, gates, 0.01).objective == pytest.approx(
        solve_convex(rows, gates, 0.01).objective, rel=1e-5
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gates": np.ones((3, 4))}, r"gates must have shape \(4, gates\)"),
        ({"gates": np.ones((4, 2)), "bias": False}, r"gates must have shape \(3, gates\)"),
        ({"gates": np.column_stack([np.ones(4), np.zeros(4)])}, "must not be zero; number 1 is"),
        ({"gates": np.column_stack([np.ones(4), 2 * np.ones(4)])}, "must differ in direction; number 0"),
        ({"alpha": -1.0}, "alpha must be a finite number of at least 0; got -1.0"),
        ({"alpha": np.nan}, "alpha must be a finite number"),
        ({"method": "admm"}, "method must be one of 'augmented_lagrangian', 'decomposition', 'reference'; got 'admm'"),
        ({"method": "decomposition", "bias": False, "gates": np.ones((3, 1))}, "got bias=False"),
        ({"start": (np.zeros((1, 2, 3)),) * 2}, r"start must be two finite arrays, U and V, of shape \(10, 4, 1\)"),
        ({"start": np.zeros((10, 4, 1))}, "start must be two finite arrays"),
    ],
)
def test_bad_input_is_named(change: dict[str, Any], message: str) -> None:
    rows, gates = drawn(0)
    with pytest.raises(ValueError, match=message):
        solve_convex(rows, **({"gates": gates, "alpha": 0.1} | change))


def test_networks_that_do_not_fit_the_rows_are_refused() -> None:
    rows, _ = drawn(0)
    for A, slope in ((np.ones((3, 1)), 0.0), (np.ones((4, 1)), 0.1)):
        with pytest.raises(ValueError, match="must have 3 inputs, 1 outputs and a negative slope of 0"):
            ConvexSolution.from_network(ReLUNetwork(A, np.ones((1, 1)), np.zeros(1), slope), rows, 0.1)


def test_the_reference_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, gates = drawn(0)
    monkeypatch.setitem(sys.modules, "cvxpy", None)
    with pytest.raises(ImportError, match=r"pip install 'anmin\[convex\]'"):
        solve_convex(rows, gates, 0.1, method="reference")
