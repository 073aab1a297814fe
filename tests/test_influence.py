"""Influence at a frozen pattern: hat matrices, leave-one-out refits and degrees of freedom against dense oracles."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from anmin import ReLURegressor
from anmin.influence import (
    Influence,
    effective_degrees_of_freedom,
    influence,
    joint_inverse,
    leave_one_out_residuals,
    leverage,
)
from anmin.network import ReLUNetwork
from anmin.rows import ArrayRows, Scaling
from anmin.selection import evidence
from anmin.solvers import Problem, RelaxedDescent, VarPro, solve
from anmin.solvers.systems import output_layer
from problems import CASES, Case, dense_loss, design, gates

LONG = [case for case in CASES if case.n_rows > 100 and not case.scales]


def fitted(case: Case, alpha: float) -> tuple[ReLUNetwork, ArrayRows]:
    """Return a network with the best output layer, and its rows."""
    X, Y, w, A = case.data()
    # One way of making the sums: without a penalty the rank found depends on their rounding where K is near singular.
    rows = ArrayRows(X, Y, w, passes="product")
    B, b0 = output_layer(rows.output_statistics(A, case.negative_slope), alpha)
    return ReLUNetwork(A, B, b0, case.negative_slope), rows


def jacobian(network: ReLUNetwork, X) -> np.ndarray:
    """Return J (N·c, number of weights) at the frozen pattern: hidden weights, output weights, output bias."""
    G = gates(X, network.A, network.negative_slope)
    S1 = np.column_stack([G * (np.column_stack([np.ones(len(X)), X]) @ network.A), np.ones(len(X))])
    return np.hstack([design(X, G, network.B), np.kron(S1, np.eye(network.n_outputs))])


def weights_of(network: ReLUNetwork) -> np.ndarray:
    """Return all weights, in the order of the Jacobian's columns."""
    return np.r_[network.A.T.ravel(), network.B.ravel(), network.b0]


def dense_hat(network: ReLUNetwork, rows: ArrayRows, alpha: float) -> np.ndarray:
    """Return the hat matrix (N·c, N·c) by the singular values of the weighted Jacobian."""
    c = network.n_outputs
    w = np.repeat(np.ones(rows.n_rows) if rows.w is None else rows.w, c)
    root = np.sqrt(w / rows.n)
    U, values, _ = np.linalg.svd(root[:, None] * jacobian(network, rows.X), full_matrices=False)
    kept = values > 1e-9 * values[0]
    shrunk = values[kept] ** 2 / (values[kept] ** 2 + alpha)
    symmetric = (U[:, kept] * shrunk) @ U[:, kept].T
    return symmetric / root[:, None] * root


def blocks(hat: np.ndarray, c: int) -> np.ndarray:
    """Return the diagonal blocks (N, c, c)."""
    n = len(hat) // c
    return hat.reshape(n, c, n, c)[np.arange(n), :, np.arange(n), :]


def stationary(case: Case, alpha: float) -> tuple[ReLUNetwork, ArrayRows]:
    """Return rows whose targets make a balanced random network a stationary point of the frozen-pattern loss."""
    X, _, w, A = case.data()
    rng = np.random.default_rng(3)
    # Hyperplanes among the rows, each elsewhere, and equal weights on equal columns: then the Jacobian has no null
    # space but the scaling of the neurons, along which balanced weights have no penalty to gain.
    if case.singular:
        A[-1] = A[1]
    A[0] = [-np.quantile(X @ a, (j + 1) / (2 * case.n_neurons + 1)) for j, a in enumerate(A[1:].T)]
    B = rng.standard_normal((case.n_neurons, case.n_outputs))
    network = ReLUNetwork(A, B, rng.standard_normal(case.n_outputs), case.negative_slope).balanced()
    w = np.ones(len(X)) if w is None else w
    J, theta = jacobian(network, X), weights_of(network)
    W = np.repeat(w / w.sum(), case.n_outputs)
    # Residuals with JᵀW r = alpha·θ: noise without its part along J, and what balances the penalty.
    noise = rng.standard_normal(len(W))
    r = noise - J @ np.linalg.lstsq(np.sqrt(W)[:, None] * J, np.sqrt(W) * noise, rcond=None)[0]
    r += J @ np.linalg.lstsq(J.T @ (W[:, None] * J), alpha * theta, rcond=None)[0]
    np.testing.assert_allclose(J.T @ (W * r), alpha * theta, atol=1e-9)
    return network, ArrayRows(X, network.predict(X) + r.reshape(len(X), -1), case.data()[2])


@pytest.mark.parametrize("alpha", [1e-2, 1e-6])
def test_leverages_are_the_diagonal_of_the_dense_hat_matrix(case: Case, alpha: float):
    network, rows = fitted(case, alpha)
    expected = np.diagonal(dense_hat(network, rows, alpha)).reshape(rows.n_rows, -1)
    found = leverage(network, rows, alpha)
    assert found.shape == rows.Y.shape
    # The sums over rows hold squares, so columns of very different sizes cost twice the digits.
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-6 if case.scales else 1e-9)
    assert (found >= 0).all()
    assert (found < 1).all()


def test_without_a_penalty_the_hat_matrix_is_a_projection(case: Case):
    network, rows = fitted(case, 0.0)
    hat = dense_hat(network, rows, 0.0)
    found = leverage(network, rows, 0.0).ravel()
    np.testing.assert_allclose(found, np.diagonal(hat), atol=1e-4 if case.scales else 1e-7)
    assert effective_degrees_of_freedom(network, rows, 0.0) == np.linalg.matrix_rank(hat, tol=1e-6)


@pytest.mark.parametrize("alpha", [1.0, 1e-2, 1e-6])
def test_leverages_add_up_to_the_effective_degrees_of_freedom(case: Case, alpha: float):
    network, rows = fitted(case, alpha)
    total = effective_degrees_of_freedom(network, rows, alpha)
    assert leverage(network, rows, alpha).sum() == pytest.approx(total, rel=1e-5 if case.scales else 1e-8)
    assert 0 < total < network.n_parameters
    # The evidence of the fit counts by the same rule, and caps it below the number of target values.
    counted = evidence(rows.statistics(network.A, network.negative_slope), network, alpha).effective_parameters
    assert counted == pytest.approx(min(total, 0.95 * rows.n * rows.n_outputs), rel=1e-12)


def test_leave_one_out_residuals_are_those_of_the_dense_blocks(case: Case):
    network, rows = fitted(case, 1e-2)
    c = rows.n_outputs
    hat = blocks(dense_hat(network, rows, 1e-2), c)
    residuals = rows.Y - network.predict(rows.X)
    expected = np.linalg.solve(np.eye(c) - hat, residuals[:, :, None])[:, :, 0]
    np.testing.assert_allclose(leave_one_out_residuals(network, rows, 1e-2), expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("case", LONG, ids=lambda case: case.name)
def test_leave_one_out_residuals_are_those_of_refits_without_the_row(case: Case):
    """One Gauss–Newton solve for all weights of the linearised network on the other rows, with the same alpha·n."""
    alpha = 1e-3
    network, rows = stationary(case, alpha)
    c, theta = rows.n_outputs, weights_of(network)
    J, r = jacobian(network, rows.X), (rows.Y - network.predict(rows.X)).ravel()
    w = np.repeat(np.ones(rows.n_rows) if rows.w is None else rows.w, c)
    found = leave_one_out_residuals(network, rows, alpha)
    for i in range(0, rows.n_rows, 37):
        others = np.arange(rows.n_rows).repeat(c) != i
        root = np.sqrt(w[others])
        system = np.vstack([root[:, None] * J[others], np.sqrt(alpha * rows.n) * np.eye(len(theta))])
        right = np.r_[root * r[others], -np.sqrt(alpha * rows.n) * theta]
        step = np.linalg.lstsq(system, right, rcond=None)[0]
        np.testing.assert_allclose(found[i], (r - J @ step)[~others], rtol=1e-6, atol=1e-8)


def test_weights_count_as_repeated_rows():
    X, Y, _, A = replace(CASES[0], n_outputs=2).data()
    counts = np.random.default_rng(0).integers(1, 4, len(X))
    weighted, repeated = ArrayRows(X, Y, counts), ArrayRows(np.repeat(X, counts, axis=0), np.repeat(Y, counts, axis=0))
    B, b0 = output_layer(weighted.output_statistics(A), 1e-3)
    network = ReLUNetwork(A, B, b0)
    total = effective_degrees_of_freedom(network, repeated, 1e-3)
    assert effective_degrees_of_freedom(network, weighted, 1e-3) == pytest.approx(total)
    first = np.r_[0, np.cumsum(counts)[:-1]]
    each = leverage(network, repeated, 1e-3)
    np.testing.assert_allclose(leverage(network, weighted, 1e-3), counts[:, None] * each[first], rtol=1e-8)
    once = np.flatnonzero(counts == 1)
    np.testing.assert_allclose(
        leave_one_out_residuals(network, weighted, 1e-3)[once],
        leave_one_out_residuals(network, repeated, 1e-3)[first[once]],
        rtol=1e-8,
    )


def test_the_order_of_the_rows_and_the_scale_of_the_weights_do_not_matter():
    case = next(case for case in CASES if case.name == "leaky, weighted, several outputs")
    network, rows = fitted(case, 1e-3)
    order = np.random.default_rng(0).permutation(rows.n_rows)
    np.testing.assert_allclose(
        leverage(network, rows.subset(order), 1e-3), leverage(network, rows, 1e-3)[order], rtol=1e-9
    )
    tripled = ArrayRows(rows.X, rows.Y, 3 * rows.w)
    np.testing.assert_allclose(leverage(network, tripled, 1e-3), leverage(network, rows, 1e-3), rtol=1e-9)


def test_blocks_of_rows_do_not_matter(monkeypatch: pytest.MonkeyPatch):
    network, rows = fitted(replace(CASES[0], n_outputs=2), 1e-3)
    whole = leave_one_out_residuals(network, rows, 1e-3)
    monkeypatch.setattr("anmin.influence._BLOCK_BYTES", 1)
    np.testing.assert_allclose(leave_one_out_residuals(network, rows, 1e-3), whole, rtol=1e-10)


def test_a_larger_penalty_leaves_fewer_degrees_of_freedom(case: Case):
    network, rows = fitted(case, 1e-2)
    counts = [effective_degrees_of_freedom(network, rows, alpha) for alpha in np.logspace(-6, 2, 9)]
    assert np.all(np.diff(counts) < 0)


def test_the_factors_are_the_inverse_of_the_joint_matrix(case: Case):
    alpha = 1e-2
    network, rows = fitted(case, alpha)
    inverse = joint_inverse(rows.statistics(network.A, network.negative_slope), network, alpha)
    w = np.repeat(np.ones(rows.n_rows) if rows.w is None else rows.w, rows.n_outputs) / rows.n
    J = jacobian(network, rows.X)
    dense = np.linalg.inv(J.T @ (w[:, None] * J) + alpha * np.eye(J.shape[1]))
    k = network.A.size
    scale = np.sqrt(np.diagonal(dense))[:k]
    found = inverse.hidden @ inverse.hidden.T
    np.testing.assert_allclose(found / np.outer(scale, scale), dense[:k, :k] / np.outer(scale, scale), atol=1e-7)
    charge = -np.linalg.slogdet(alpha * dense)[1]
    assert inverse.log_determinant == pytest.approx(charge, rel=1e-6)
    X, Y, w, A = case.data()
    loss = dense_loss(X, Y, w, A, network.B, network.b0, case.negative_slope, alpha)
    found = evidence(rows.statistics(A, case.negative_slope), network, alpha).log_evidence
    assert found == pytest.approx(-0.5 * (rows.n * rows.n_outputs * np.log(loss) + charge), rel=1e-6)


def test_the_evidence_is_largest_where_it_asks_for_its_own_penalty():
    """The two rules are one, shown on a linear model, which is what a network is in its weights near an optimum."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((80, 5))
    y = X @ rng.standard_normal(5) + 2 * rng.standard_normal(80)
    J = np.column_stack([X, np.ones(80)])
    H, cross = J.T @ J / 80, J.T @ y / 80

    def at(alpha):
        inverse = np.linalg.inv(H + alpha * np.eye(6))
        theta = inverse @ cross
        squares = np.sum((y - J @ theta) ** 2)
        gamma = np.trace(inverse @ H)
        log_evidence = -40 * np.log(squares / 80 + alpha * theta @ theta) + np.linalg.slogdet(alpha * inverse)[1] / 2
        return log_evidence, squares / (80 - gamma) * gamma / (80 * theta @ theta)

    alphas = np.geomspace(1e-3, 10, 4001)
    best = alphas[np.argmax([at(alpha)[0] for alpha in alphas])]
    assert at(best)[1] == pytest.approx(best, rel=5e-3)


def test_a_row_that_alone_determines_its_fit_has_no_leave_one_out_residual():
    X = np.array([[0.0], [1.0], [2.0], [50.0]])
    network = ReLUNetwork([[-10.0], [1.0]], [[1.0]], [0.0])  # active on the last row alone
    rows = ArrayRows(X, [1.0, 2.0, 3.0, 40.0])
    np.testing.assert_allclose(leverage(network, rows, 0.0)[:, 0], [1 / 3, 1 / 3, 1 / 3, 1], atol=1e-12)
    left_out = leave_one_out_residuals(network, rows, 0.0)[:, 0]
    np.testing.assert_allclose(left_out[:3], 1.5 * np.array([1.0, 2.0, 3.0]))
    assert np.isnan(left_out[3])


@pytest.mark.parametrize("alpha", [-1.0, np.nan, np.inf])
def test_a_bad_penalty_is_refused(alpha: float):
    network, rows = fitted(CASES[0], 1e-2)
    with pytest.raises(ValueError, match="alpha must be a finite number of at least 0"):
        leverage(network, rows, alpha)


def test_rows_of_another_shape_are_refused():
    network, rows = fitted(CASES[0], 1e-2)
    with pytest.raises(ValueError, match="must have 3 inputs and 1 outputs, as the network; got 2 and 1"):
        leave_one_out_residuals(network, ArrayRows(rows.X[:, :2], rows.Y), 1e-2)


# Of a fitted estimator


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("several", [True, False])
def test_influence_is_that_in_the_coordinates_solved_in(standardize: bool, several: bool):
    X, Y, w, _ = Case("fit", n_rows=120, n_outputs=2, weighted=True, scales=(0.1, 1.0, 30.0)).data()
    Y = 10 * Y + 5 if several else 10 * Y[:, 0]
    model = ReLURegressor(3, alpha=1e-2, standardize=standardize, random_state=0).fit(X, Y, w)
    found = influence(model, X, Y, w)
    rows = ArrayRows(X, Y, w)
    scaling = Scaling.standard(rows) if standardize else Scaling.identity(3, rows.n_outputs)
    network, scaled = scaling.unfold(model.network_), scaling.apply(rows)
    np.testing.assert_allclose(found.leverage, leverage(network, scaled, 1e-2), rtol=1e-8)
    left_out = leave_one_out_residuals(network, scaled, 1e-2) * scaling.y_scale
    np.testing.assert_allclose(found.leave_one_out_residuals, left_out, rtol=1e-8)
    np.testing.assert_allclose(found.residuals, rows.Y - model.network_.predict(X), atol=1e-9)
    assert found.effective_degrees_of_freedom == pytest.approx(found.leverage.sum())
    if not several:
        assert found.r2 == pytest.approx(model.score(X, Y, w))
        expected = 1 - w @ left_out[:, 0] ** 2 / (w @ (Y - np.average(Y, weights=w)) ** 2)
        assert found.leave_one_out_r2 == pytest.approx(expected)
    assert found.leave_one_out_mse > found.mse
    spare = 1 - found.effective_degrees_of_freedom / (w.sum() * rows.n_outputs)
    assert found.generalised_cross_validation == pytest.approx(found.mse / spare**2)


def test_true_refits_without_a_row_agree_where_the_pattern_holds():
    """A converged fit and true refits from it: most rows' predictions change as the formula says."""
    rng = np.random.default_rng(0)
    X = rng.uniform(-2, 2, (60, 1))
    y = np.abs(X) + 0.1 * rng.standard_normal((60, 1))
    problem = Problem(ArrayRows(X, y), 2, 1e-2)
    network = solve(problem, VarPro(), tol=0.0, max_iter=300, rng=np.random.default_rng(1)).network
    found = leave_one_out_residuals(network, problem.rows, problem.alpha)[:, 0]
    residuals = (y - network.predict(X))[:, 0]
    errors = []
    for i in range(60):
        rows = problem.rows.subset(np.delete(np.arange(60), i))
        others = replace(problem, rows=rows, alpha=problem.alpha * 60 / 59)
        refit = solve(others, VarPro(), tol=0.0, max_iter=100, start=network).network
        errors.append(abs(found[i] - (y[i] - refit.predict(X[[i]]))[0, 0]) / abs(found[i] - residuals[i]))
    assert np.median(errors) < 0.05


def test_rows_of_weight_zero_pull_nothing():
    X, Y, _, _ = CASES[0].data()
    w = np.ones(len(X))
    w[[3, 50]] = 0
    model = ReLURegressor(3, alpha=1e-2, random_state=0).fit(X, Y[:, 0], w)
    found = influence(model, X, Y[:, 0], w)
    assert found.leverage.shape == (len(X), 1)
    np.testing.assert_array_equal(found.leverage[[3, 50]], 0)
    np.testing.assert_array_equal(found.leave_one_out_residuals[[3, 50]], found.residuals[[3, 50]])
    np.testing.assert_allclose(found.residuals, Y - model.network_.predict(X), atol=1e-9)
    alone = influence(model, X[w > 0], Y[w > 0, 0])
    np.testing.assert_allclose(found.leverage[w > 0], alone.leverage)
    assert found.leave_one_out_mse == pytest.approx(alone.leave_one_out_mse)


def test_influence_takes_rows_and_data_frames():
    pandas = pytest.importorskip("pandas")
    X, Y, w, _ = Case("frames", weighted=True).data()
    frame = pandas.DataFrame(X, columns=["a", "b", "c"])
    model = ReLURegressor(3, alpha=1e-2, random_state=0).fit(frame, Y[:, 0], w)
    one = influence(model, frame, pandas.Series(Y[:, 0]), w)
    two = influence(model, ArrayRows(X, Y, w))
    assert isinstance(one, Influence)
    np.testing.assert_allclose(one.leverage, two.leverage)


def test_what_has_no_influence_is_refused():
    X, Y, w, _ = Case("refused", weighted=True).data()
    y = Y[:, 0]
    with pytest.raises(ValueError, match="holds out some"):
        influence(ReLURegressor(3, validation_fraction=0.2, random_state=0).fit(X, y), X, y)
    for solver in ("altmin", "relaxed", RelaxedDescent(relaxation=False)):
        model = ReLURegressor(3, solver=solver, standardize=False, random_state=0).fit(X, y - min(y.min(), 0))
        with pytest.raises(ValueError, match=r"altmin|relaxed|RelaxedDescent"):
            influence(model, X, y)
    model = ReLURegressor(3, alpha=1e-2, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="y and sample_weight must be None"):
        influence(model, ArrayRows(X, y), y)
    with pytest.raises(ValueError, match="must have 3 inputs and 1 outputs"):
        influence(model, X, np.column_stack([y, y]))
    with pytest.raises(ValueError, match="2 features"):
        influence(model, X[:, :2], y)
    with pytest.raises(ValueError, match="not be negative"):
        influence(model, X, y, -w)
