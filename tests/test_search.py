"""What surrounds the local solver: the start, the moves, and the penalty chosen from the data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Ridge
from threadpoolctl import threadpool_limits

from anmin import ReLURegressor
from anmin.history import Status
from anmin.network import ReLUNetwork
from anmin.objective import loss
from anmin.rows import ArrayRows
from anmin.search import Recombining
from anmin.search.flips import without_linear_part
from anmin.search.initialisation import draw, hyperplanes_through_rows, linear_neurons, starting_weights
from anmin.search.relocation import candidate_gains, least_useful, promising, propose
from anmin.selection import choose_alpha, evidence, searched_alpha
from anmin.solvers import Problem, VarPro, solve
from anmin.solvers.systems import output_layer
from problems import Case


def bumpy(n=600, d=2, noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.uniform(-2, 2, (n, d))
    y = np.sin(3 * X[:, 0]) * np.cos(2 * X[:, -1]) + noise * rng.standard_normal(n)
    return X, y[:, None]


# The start


def test_the_start_fits_no_worse_than_the_best_linear_model(case: Case):
    X, Y, w, _ = case.data()
    problem = Problem(ArrayRows(X, Y, w), max(case.n_neurons, 3), 0.0, case.negative_slope)
    A = starting_weights(problem, np.random.default_rng(0))
    output = problem.rows.output_statistics(A, case.negative_slope)
    mse = output.sse(*output_layer(output, 1e-12)).sum() / output.n
    linear = Ridge(alpha=1e-9).fit(X, Y, w).predict(X).reshape(Y.shape)
    weights = np.ones(len(X)) if w is None else w
    assert mse <= weights @ np.sum((linear - Y) ** 2, axis=1) / weights.sum() * (1 + 1e-6)


def test_linear_neurons_have_the_rank_of_the_best_reduced_rank_model():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 6))
    Y = X @ rng.standard_normal((6, 2)) @ rng.standard_normal((2, 5)) + 0.05 * rng.standard_normal((400, 5))
    rows = ArrayRows(X, Y)
    A = linear_neurons(rows, 0.0, 2)
    assert A.shape == (7, 2)
    assert (np.column_stack([np.ones(400), X]) @ A > 0).all()
    output = rows.output_statistics(A)
    mse = output.sse(*output_layer(output, 0.0)).sum() / output.n
    Xc, Yc = X - X.mean(axis=0), Y - Y.mean(axis=0)
    fitted = Xc @ np.linalg.lstsq(Xc, Yc, rcond=None)[0]
    _, _, Vt = np.linalg.svd(fitted, full_matrices=False)
    best = np.sum((fitted @ Vt[:2].T @ Vt[:2] - Yc) ** 2) / 400
    assert mse == pytest.approx(best, rel=1e-8)


def test_hyperplanes_pass_by_rows():
    X, Y = bumpy(50)
    V = hyperplanes_through_rows(ArrayRows(X, Y), 20, np.random.default_rng(0))
    distances = np.abs(np.column_stack([np.ones(50), X]) @ V)
    assert distances.min(axis=0).min() > 1e-12
    assert distances.min(axis=0).max() < 1e-5
    np.testing.assert_allclose(np.linalg.norm(V[1:], axis=0), 1.0)


def test_drawing_rows_does_not_depend_on_order_or_repetition():
    rng = np.random.default_rng(0)
    X, w = rng.standard_normal((30, 2)), rng.integers(0, 4, 30).astype(float)
    repeated, order = np.repeat(X, w.astype(int), axis=0), rng.permutation(30)
    one = X[draw(X, w, 50, np.random.default_rng(1))]
    np.testing.assert_array_equal(X[order][draw(X[order], w[order], 50, np.random.default_rng(1))], one)
    np.testing.assert_array_equal(repeated[draw(repeated, np.ones(len(repeated)), 50, np.random.default_rng(1))], one)
    counts = np.bincount(draw(X, w, 60_000, np.random.default_rng(2)), minlength=30) / 60_000
    np.testing.assert_allclose(counts, w / w.sum(), atol=0.01)


# The moves


def test_gains_are_those_of_adding_the_candidate():
    X, Y = bumpy(noise=0.1)
    rows, rng = ArrayRows(X, Y), np.random.default_rng(0)
    A = rng.standard_normal((3, 4))
    alpha = 1e-3
    output = rows.output_statistics(A)
    B, b0 = output_layer(output, alpha)
    network = ReLUNetwork(A, B, b0)
    V = propose(rows, network, 6, rng)
    assert V.shape == (3, 12)
    gains, similarity = candidate_gains(rows, network, V, alpha)

    def value(A):
        output = rows.output_statistics(A)
        B, b0 = output_layer(output, alpha)
        return output.loss(np.zeros_like(A), B, b0, alpha)

    for v, gain in zip(V.T, gains, strict=True):
        assert value(A) - value(np.column_stack([A, v])) == pytest.approx(gain, rel=1e-6)
    np.testing.assert_allclose(np.diagonal(similarity), 1.0)


def test_the_least_useful_neurons_are_those_whose_removal_costs_least():
    X, Y = bumpy(noise=0.1)
    rows, alpha = ArrayRows(X, Y), 1e-3
    A = np.random.default_rng(0).standard_normal((3, 7))

    def value(left):
        output = rows.output_statistics(A[:, left])
        return output.loss(np.zeros((3, len(left))), *output_layer(output, alpha), alpha)

    output = rows.output_statistics(A)
    found = least_useful(ReLUNetwork(A, *output_layer(output, alpha)), output, alpha, 4)
    left = list(range(7))
    for j in found:
        costs = {i: value([k for k in left if k != i]) for i in left}
        assert min(costs, key=costs.get) == j
        left.remove(j)


def test_recombination_never_raises_the_loss_and_goes_deeper():
    X, Y = bumpy()
    problem = Problem(ArrayRows(X, Y), 16, 1e-6)
    alone, joined = (
        [solve(problem, Recombining(recombine=whether), rng=np.random.default_rng(seed)) for seed in range(3)]
        for whether in (False, True)
    )
    assert all(np.all(np.diff(solution.history["loss"]) <= 0) for solution in joined)
    assert sum(solution.loss for solution in joined) < 0.5 * sum(solution.loss for solution in alone)
    assert all(solution.history["dead_neurons"][-1] == 0 for solution in joined)
    assert all(solution.network.n_neurons == 16 for solution in joined)


def test_recombination_climbs_from_a_sample_to_all_rows():
    X, Y = bumpy(4000, noise=0.2)
    problem = Problem(ArrayRows(X, Y), 8, 1e-6)
    solution = solve(problem, Recombining(sample_rows=200, max_failures=2), rng=np.random.default_rng(0))
    assert list(solution.history["branch"]).count("stage") == 2
    network = solution.network
    residuals = network.predict(X) - Y
    weights = sum(np.sum(part**2) for part in (network.A, network.B, network.b0))
    assert solution.loss == pytest.approx(np.mean(residuals**2) + 1e-6 * weights, rel=1e-9)
    assert np.all(np.diff(solution.history["loss"]) <= 0)
    assert solution.history["mse"][-1] < 0.3 * Y.var()


def test_recombination_repeats_with_the_seed():
    X, Y = bumpy(200)
    problem = Problem(ArrayRows(X, Y), 8, 1e-4)
    one, two = (solve(problem, Recombining(), max_iter=200, rng=np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(one.network.A, two.network.A)


def test_recombination_takes_every_kind_of_problem(case: Case):
    problem = Problem(case.rows(), case.n_neurons, 1e-2, case.negative_slope)
    solution = solve(problem, Recombining(max_failures=1), max_iter=200, rng=np.random.default_rng(0))
    losses = solution.history["loss"]
    assert np.isfinite(losses).all()
    assert np.all(np.diff(losses) <= 0)


def test_dead_neurons_are_revived_at_the_end():
    X, Y = bumpy()
    problem = Problem(ArrayRows(X, Y), 6, 1e-6)
    A = np.random.default_rng(0).standard_normal((3, 6))
    A[:, 2:5] = np.array([[-100.0], [1.0], [0.0]])
    start = ReLUNetwork(A, np.zeros((6, 1)), np.zeros(1))
    solution = solve(problem, Recombining(recombine=False), start=start, rng=np.random.default_rng(0))
    assert solution.history["dead_neurons"][0] == 3
    assert solution.history["dead_neurons"][-1] == 0


def test_equal_neurons_do_not_stay_so():
    X, Y = bumpy(300, noise=0.1)
    problem = Problem(ArrayRows(X, Y), 6, 1e-3)
    A = starting_weights(problem, np.random.default_rng(0))
    # Four copies of a neuron, one of them longer: steps treat them alike.
    A[:, 3:] = A[:, [2]] * np.array([1.0, 1.0, 2.0])
    twins = ReLUNetwork(A, np.ones((6, 1)), np.zeros(1))
    assert twins.first_alike().tolist() == [0, 1, 2, 2, 2, 2]
    alone = solve(problem, VarPro(), start=twins, max_iter=100)
    solution = solve(problem, Recombining(recombine=False), start=twins, max_iter=100)
    assert solution.network.first_alike(1e-6).tolist() == list(range(6))
    assert solution.loss < 0.9 * alone.loss
    assert (np.diff(solution.history["loss"]) <= 0).all()


def test_threads_do_not_change_a_bit():
    X, Y = bumpy(1500, noise=0.2)

    def weights(threads):
        with threadpool_limits(threads, user_api="blas"):
            return ReLURegressor(24, random_state=3, max_iter=40).fit(X, Y[:, 0]).network_.A

    with pytest.warns(ConvergenceWarning, match="max_iter"):
        one, two = weights(1), weights(2)
    np.testing.assert_array_equal(one, two)


def test_few_rows_are_fitted_once():
    X, Y = bumpy(12)
    problem = Problem(ArrayRows(X, Y), 64, 1e-2)
    solution = solve(problem, Recombining(), rng=np.random.default_rng(0))
    assert set(solution.history["branch"]) <= {"", "only"}
    assert solution.n_iter <= 30


def test_planted_networks_are_recovered():
    recovered = 0
    for seed in range(3):
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((2000, 5))
        y = ReLUNetwork(rng.standard_normal((6, 8)), rng.standard_normal((8, 1)), rng.standard_normal(1)).predict(X)
        model = ReLURegressor(8, random_state=seed).fit(X, y[:, 0])
        recovered += np.mean((model.predict(X) - y[:, 0]) ** 2) < 1e-12 * y.var()
    assert recovered == 3


def test_effective_parameters_equal_the_trace_of_the_joint_matrix():
    case = Case("evidence", n_rows=80, n_features=2, n_neurons=3, n_outputs=2, weighted=True, negative_slope=0.1)
    X, Y, w, A = case.data()
    alpha = 1e-2
    statistics = ArrayRows(X, Y, w).statistics(A, 0.1)
    B, b0 = output_layer(statistics.output(A), alpha)
    found = evidence(statistics, ReLUNetwork(A, B, b0, 0.1), alpha)

    def residuals(theta):
        A1, B1, b1 = theta[:9].reshape(3, 3).T, theta[9:15].reshape(3, 2), theta[15:]
        return (np.sqrt(w / w.sum())[:, None] * ReLUNetwork(A1, B1, b1, 0.1).predict(X)).ravel()

    theta = np.r_[A.T.ravel(), B.ravel(), b0]
    J = np.column_stack([(residuals(theta + e) - residuals(theta - e)) / 2e-6 for e in 1e-6 * np.eye(len(theta))])
    H = J.T @ J
    exact = np.trace(np.linalg.solve(H + alpha * np.eye(len(H)), H))
    assert found.effective_parameters == pytest.approx(exact, rel=1e-4)
    rss = np.sum(w[:, None] * (ReLUNetwork(A, B, b0, 0.1).predict(X) - Y) ** 2)
    assert found.noise == pytest.approx(rss / (w.sum() * 2 - exact), rel=1e-4)
    assert found.alpha == pytest.approx(found.noise * exact / (w.sum() * np.sum(theta**2)), rel=1e-4)
    # Of each input: the weights 1, 4, 7 and 2, 5, 8 of the three neurons, whose biases are 0, 3, 6.
    parts = np.diag(np.linalg.solve(H + alpha * np.eye(len(H)), H))
    for k in (0, 1):
        own = np.arange(k + 1, 9, 3)
        expected = found.noise * parts[own].sum() / (w.sum() * np.sum(theta[own] ** 2))
        assert found.input_alphas[k] == pytest.approx(expected, rel=1e-4)


def test_an_input_without_use_counts_less():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((800, 3))
    Y = np.abs(X[:, :1]) + np.maximum(X[:, 1:2], 0) + 0.1 * rng.standard_normal((800, 1))
    problem = Problem(ArrayRows(X, Y), 16, 0.0)
    choice = choose_alpha(problem, rng, relevance=True)
    assert np.mean(choice.relevance**2) == pytest.approx(1, rel=0.05)  # two digits of each
    assert choice.relevance[2] < 0.5 * choice.relevance[:2].min()
    assert searched_alpha(choice) == pytest.approx(2 * choice.alpha * (1 - choice.effective_share) ** 4, rel=0.05)
    # The network is one of the coordinates that it is for.
    rows = ArrayRows(X * choice.relevance, Y)
    assert np.mean((choice.network.predict(rows.X) - Y) ** 2) < 0.03
    np.testing.assert_array_equal(choose_alpha(problem, rng).relevance, np.ones(3))


def test_a_chosen_relevance_is_the_same_in_other_units():
    X, Y = bumpy(400, noise=0.1)
    units = np.array([1e-3, 1e4])

    def relevance(X, **settings):
        return ReLURegressor(16, relocate=False, random_state=0, **settings).fit(X, Y[:, 0]).relevance_

    np.testing.assert_allclose(relevance(X * units + 1), relevance(X), rtol=0.05)
    for settings in ({"alpha": 0.1}, {"standardize": False}, {"solver": "anmin"}):
        np.testing.assert_array_equal(relevance(X, **settings), np.ones(2))
    few = ReLURegressor(4, relocate=False, random_state=0).fit(X, Y[:, 0])
    np.testing.assert_array_equal(few.relevance_, np.ones(2))


def test_the_coordinates_solved_in_are_kept():
    X, Y = bumpy(300, noise=0.3)
    model = ReLURegressor(16, relocate=False, random_state=0).fit(X, Y[:, 0])
    solved = model.scaling_.unfold(model.network_)
    rows = model.scaling_.apply(ArrayRows(X, Y))
    deviation = rows.X.std(axis=0)
    np.testing.assert_allclose(deviation, model.relevance_, rtol=1e-9)
    sse = float(np.sum((solved.predict(rows.X) - rows.Y) ** 2))
    assert loss(sse, 300, model.alpha_, solved.A, solved.B, solved.b0) == pytest.approx(model.loss_, rel=1e-9)


def test_noisier_targets_get_a_larger_penalty():
    def chosen(noise):
        X, Y = bumpy(400, noise=noise)
        return choose_alpha(Problem(ArrayRows(X, Y), 12, 0.0), np.random.default_rng(0)).alpha

    quiet, noisy = chosen(0.01), chosen(0.7)
    assert 0 < quiet < noisy / 10


def test_the_chosen_penalty_predicts_better_than_almost_none():
    X, Y = bumpy(300, noise=0.5)
    X_test, Y_test = bumpy(3000, seed=1)
    problem = Problem(ArrayRows(X, Y), 24, 0.0)

    def error(alpha, network):
        solution = solve(replace(problem, alpha=alpha), VarPro(), start=network, max_iter=60)
        return np.mean((solution.network.predict(X_test) - Y_test) ** 2)

    # Single fits without a penalty end anywhere; several starts do not depend on the last digits.
    chosen = [choose_alpha(problem, np.random.default_rng(seed)) for seed in range(3)]
    errors = np.array([[error(c.alpha, c.network), error(c.alpha / 1000, c.network)] for c in chosen])
    assert errors[:, 0].mean() < 0.9 * errors[:, 1].mean()


def test_the_estimator_fits_deeply_with_varpro():
    X, Y = bumpy(500, noise=0.1)
    X_test, Y_test = bumpy(2000, seed=1)
    model = ReLURegressor(16, solver="varpro", random_state=0).fit(X, Y[:, 0])
    plain = ReLURegressor(16, solver="anmin", random_state=0).fit(X, Y[:, 0])
    errors = [np.mean((fitted.predict(X_test) - Y_test[:, 0]) ** 2) for fitted in (model, plain)]
    assert errors[0] < errors[1]
    assert model.alpha_ != plain.alpha_
    fixed = ReLURegressor(16, solver="varpro", alpha=1e-4, relocate=False, random_state=0).fit(X, Y[:, 0])
    assert fixed.alpha_ == 1e-4
    assert set(fixed.history_["branch"]) <= {"", "finish", "settled"}


def test_turning_neurons_round_replaces_a_linear_part_exactly():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((500, 3))
    A, B = rng.standard_normal((4, 9)), rng.standard_normal((9, 2))
    target = ReLUNetwork(A, B, np.zeros(2), 0.1).predict(X)
    # The same function with four neurons the other way round, and what that changes in linear neurons.
    turned = A.copy()
    turned[:, :4] *= -1
    linear = 1.1 * A[:, :4] @ B[:4]
    far = np.vstack([np.full(2, 100.0), linear[1:]])
    network = ReLUNetwork(np.hstack([turned, far]), np.vstack([B, np.eye(2)]), linear[0] - 100.0, 0.1)
    np.testing.assert_allclose(network.predict(X), target)
    rows = ArrayRows(X, target)
    active = rows.statistics(network.A).active
    found = without_linear_part(network, active, 500, rng)
    assert found.shape == (4, 9)
    output = rows.output_statistics(found, 0.1)
    assert output.sse(*output_layer(output, 1e-14)).sum() < 1e-9 * np.sum(target**2)


@pytest.mark.parametrize("n_neurons", [10, 24])
def test_the_subset_is_found(n_neurons):
    rng = np.random.default_rng(1)
    A, B = rng.standard_normal((9, n_neurons)), rng.standard_normal((n_neurons, 1))
    chosen = rng.random(n_neurons) < 0.5
    linear = np.vstack([[1e3], -(A[1:, chosen] @ B[chosen])])
    network = ReLUNetwork(np.hstack([A, linear]), np.vstack([B, [[1.0]]]), np.zeros(1))
    active = np.r_[np.full(n_neurons, 50), 100]
    found = without_linear_part(network, active, 100, rng)
    np.testing.assert_array_equal(np.all(found == -A, axis=0), chosen)


def test_without_an_always_active_neuron_nothing_is_turned():
    network = ReLUNetwork(np.ones((3, 4)), np.ones((4, 1)), np.zeros(1))
    assert without_linear_part(network, np.full(4, 50), 100, np.random.default_rng(0)) is network.A


@pytest.mark.parametrize("place", ["evidence", "reconsidered_alpha"], ids=["chosen", "thought over"])
def test_an_interrupt_of_the_choice_of_the_penalty_leaves_a_network(place, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(f"anmin.selection.{place}", interrupted)
    X, Y = bumpy(200, noise=0.1)
    with pytest.warns(ConvergenceWarning, match="interrupted"):
        model = ReLURegressor(4, random_state=0).fit(X, Y[:, 0])
    assert model.status_ is Status.INTERRUPTED
    assert model.score(X, Y[:, 0]) > 0


@pytest.mark.parametrize("slope", [0.0, 0.1])
def test_climbs_end_at_neurons_that_gain_no_less(slope):
    # The residuals of a network without one of its neurons, which is thereby the steepest one, or nearly.
    rng = np.random.default_rng(3)
    A, B = rng.standard_normal((4, 5)), rng.standard_normal((5, 1))
    X = rng.standard_normal((400, 3))
    rows = ArrayRows(X, ReLUNetwork(A, B, np.zeros(1), slope).predict(X))
    problem = Problem(rows, 5, 1e-8, slope)
    output = rows.output_statistics(A[:, 1:], slope)
    network = ReLUNetwork(A[:, 1:], *output_layer(output, problem.alpha), slope)
    found = {
        steepest: promising(problem, network, 1, np.random.default_rng(0), candidates=12, steepest=steepest)
        for steepest in (False, True)
    }
    gains = {key: candidate_gains(rows, network, V, problem.alpha)[0][0] for key, V in found.items()}
    assert gains[True] > gains[False]


def test_a_search_by_steepest_neurons_never_raises_the_loss_and_ends_below_one_network():
    X, Y = bumpy()
    problem = Problem(ArrayRows(X, Y), 10, 1e-6)
    found, alone = (
        solve(problem, solver, rng=np.random.default_rng(0), max_iter=300)
        for solver in (
            Recombining(parents=2, steepest=True, grown_often=1.0, max_failures=2),
            Recombining(recombine=False),
        )
    )
    losses = found.history["loss"]
    assert np.all(np.diff(losses) <= 0)
    assert losses[-1] < alone.history["loss"][-1]
