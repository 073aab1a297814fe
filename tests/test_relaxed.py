"""Relaxed gradient descent: its gradient, its bound, and planted sums of ReLUs that plain descent does not find."""

from __future__ import annotations

import numpy as np
import pytest

from anmin import ReLURegressor
from anmin.history import Status
from anmin.network import ReLUNetwork
from anmin.rows import ArrayRows, NpyRows
from anmin.rows.products import PatternProducts
from anmin.solvers import Problem, RelaxedDescent, solve
from anmin.solvers.relaxed import descent_gradient, relaxed_loss


def planted(n: int, m: int, seed: int, d: int = 20, alpha: float = 0.0) -> Problem:
    """Return the problem of n rows of a planted sum of m ReLUs, all entries N(0, 1)."""
    rng = np.random.default_rng(seed)
    X, W = rng.standard_normal((n, d)), rng.standard_normal((d, m))
    return Problem(ArrayRows(X, np.maximum(X @ W, 0).sum(axis=1)), m, alpha)


def zero_losses(n: int, m: int, relaxation: bool, seeds: int, max_iter: int, step_size: float) -> int:
    """Return in how many of the seeds the planted problem is fitted to a loss below 1e-6."""
    count = 0
    for seed in range(seeds):
        problem, solver = planted(n, m, seed), RelaxedDescent(step_size, relaxation)
        stop = [lambda record, _: record.loss < 1e-6]
        rng = np.random.default_rng(1000 + seed)
        count += solve(problem, solver, max_iter=max_iter, tol=0.0, callbacks=stop, rng=rng).loss < 1e-6
    return count


def noisy(slope: float, weighted: bool, n_neurons: int, least: float = 0.0) -> Problem:
    rng = np.random.default_rng(1)
    w = rng.uniform(0.5, 2.0, 40) if weighted else None
    return Problem(ArrayRows(rng.standard_normal((40, 3)), rng.uniform(least, 2, 40), w), n_neurons, 0.03, slope)


def products_at(problem: Problem, W) -> PatternProducts:
    A = np.vstack([np.zeros(W.shape[1]), W])
    return PatternProducts.at(problem.rows, A, problem.negative_slope)


def loss_at(problem: Problem, W) -> float:
    h = W.shape[1]
    return products_at(problem, W).sums.loss(np.vstack([np.zeros(h), W]), np.ones((h, 1)), np.zeros(1), problem.alpha)


def potential(problem: Problem, W) -> float:
    """Return the relaxed loss from its definition, row by row."""
    rows, total = problem.rows, 0.0
    for i, (x, y) in enumerate(zip(rows.X, rows.Y[:, 0], strict=True)):
        z, s = x @ W, problem.negative_slope
        if (z > 0).any():
            value = (np.where(z > 0, z, s * z).sum() - y) ** 2
        else:
            value = s * z.sum() ** 2 - 2 * y * z.sum() + y**2
        total += value * (1.0 if rows.w is None else rows.w[i])
    return total / rows.n + problem.alpha * (np.sum(W**2) + W.shape[1])


@pytest.mark.parametrize("slope", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("m", [1, 3])
@pytest.mark.parametrize("relaxation", [False, True])
def test_gradient_by_finite_differences(slope, weighted, m, relaxation):
    problem = noisy(slope, weighted, m)
    W = np.random.default_rng(2).standard_normal((3, m))
    products = products_at(problem, W)
    assert not products.pattern.bits.any(axis=1).all()  # some rows are dead
    value = relaxed_loss if relaxation else lambda problem, _: loss_at(problem, _.A[1:])
    gradient = descent_gradient(problem, products, relaxation)
    for place in np.ndindex(*W.shape):
        change = np.zeros_like(W)
        change[place] = 1e-6  # crosses no hyperplane here
        ahead, behind = products_at(problem, W + change), products_at(problem, W - change)
        slope_found = (value(problem, ahead) - value(problem, behind)) / 2e-6
        assert slope_found == pytest.approx(gradient[place], rel=1e-6, abs=1e-7)
    assert relaxed_loss(problem, products) == pytest.approx(potential(problem, W), rel=1e-12)


@pytest.mark.parametrize("m", [1, 3])
def test_the_relaxed_loss_bounds_the_loss_where_no_target_is_negative(m):
    rng = np.random.default_rng(3)
    problem = noisy(0.0, True, m)
    for W in 10.0 ** rng.uniform(-2, 2, (200, 1, 1)) * rng.standard_normal((200, 3, m)):
        assert relaxed_loss(problem, products_at(problem, W)) >= loss_at(problem, W) * (1 - 1e-12)


def test_with_a_negative_target_it_does_not():
    """The bound holds if and only if y >= 0: a row of y < 0 alone is below it wherever it is dead."""
    problem = Problem(ArrayRows([[1.0]], [-1.0]), 1, 0.0)
    W = np.array([[-2.0]])
    assert loss_at(problem, W) == pytest.approx(1.0)
    assert relaxed_loss(problem, products_at(problem, W)) == pytest.approx(1 - 2 * (-1.0) * (-2.0))


def test_for_one_neuron_it_is_convex_and_the_published_function():
    rng = np.random.default_rng(4)
    problem = noisy(0.0, False, 1)
    X, y = problem.rows.X, problem.rows.Y[:, 0]

    def published(w):
        z = X @ w[:, 0]
        return (np.sum(np.maximum(z, 0) ** 2) - 2 * y @ z + y @ y) / len(y) + problem.alpha * (w[:, 0] @ w[:, 0] + 1)

    for v, w in rng.standard_normal((50, 2, 3, 1)):
        ends = [relaxed_loss(problem, products_at(problem, u)) for u in (v, w)]
        assert ends == pytest.approx([published(v), published(w)], rel=1e-12)
        assert relaxed_loss(problem, products_at(problem, (v + w) / 2)) <= np.mean(ends) + 1e-12


def test_one_step_by_hand():
    """One row on which nothing is active, one with one neuron active; n = 2, two neurons, one input each way."""
    problem = Problem(ArrayRows([[1.0, 0.0], [0.0, 2.0]], [3.0, 1.0]), 2, 0.0)
    W = np.array([[-1.0, -2.0], [1.0, -1.0]])  # z = [[-1, -2], [2, -2]], f = [0, 2], r = [-3, 1]
    start = ReLUNetwork(np.vstack([[0.0, 0.0], W]), [[1.0], [1.0]], [0.0])

    def step(**options):
        solver = RelaxedDescent(0.1, **options)
        state = solver.init(problem, start, np.random.default_rng(0))
        return solver.step(problem, state).network.A

    # Row 1 is dead and pulls both neurons by 0.1/2·3 along x_1; row 2 pushes the first by 0.1/2·1·2 along x_2.
    np.testing.assert_allclose(step(), [[0, 0], [-0.85, -1.85], [0.9, -1.0]], rtol=1e-14)
    np.testing.assert_allclose(step(relaxation=False), [[0, 0], [-1.0, -2.0], [0.9, -1.0]], rtol=1e-14)


def test_one_neuron_of_few_rows_is_always_fitted():
    """Of 20 seeds with n = 10 rows of d = 20 inputs all reach zero training error."""
    assert zero_losses(10, 1, True, seeds=20, max_iter=2000, step_size=0.1) == 20


@pytest.mark.parametrize(
    ("n", "m", "least", "most_plain"), [(10, 1, 5, 1), (20, 1, 5, 2), (100, 1, 5, 5), (10, 3, 5, 4), (20, 3, 5, 4)]
)
def test_it_fits_at_least_as_often_as_plain_descent(n, m, least, most_plain):
    step_size = 0.1 if m == 1 else 0.16
    relaxed, plain = (zero_losses(n, m, relaxation, 5, 2000, step_size) for relaxation in (True, False))
    assert relaxed >= least
    assert plain <= min(relaxed, most_plain)


def test_a_steady_pull_on_dead_rows_is_not_convergence():
    """The loss stands still to the last digit while a dead row moves at a steady pace, before it comes to life."""
    solution = solve(planted(10, 1, 6), RelaxedDescent(0.1), max_iter=2000, tol=1e-6, rng=np.random.default_rng(1006))
    losses = solution.history["loss"]
    still = np.flatnonzero(np.abs(np.diff(losses)) <= 1e-6 * losses[1:])
    assert still[0] + 1 < solution.n_iter
    assert solution.loss < 1e-4 * losses[still[0]]


def test_steps_of_the_default_size_never_raise_the_relaxed_loss_of_one_neuron():
    problem, solver = noisy(0.1, True, 1), RelaxedDescent()
    state, values = solver.init(problem, None, np.random.default_rng(5)), []
    for _ in range(100):
        values.append(state.relaxed)
        state = solver.step(problem, state)
    assert np.diff(values).max() <= 1e-12 * values[0]
    assert np.linalg.norm(descent_gradient(problem, state.statistics)) < 1e-3


def test_through_the_estimator_and_what_is_refused():
    problem = planted(60, 1, 0, d=4)
    X, y = 100 * problem.rows.X, 1000 * problem.rows.Y[:, 0]
    settings = {"n_neurons": 1, "standardize": False, "alpha": 0.0, "random_state": 0}
    model = ReLURegressor(solver="relaxed", tol=0.0, **settings).fit(X, y)
    np.testing.assert_allclose(model.predict(X), y, rtol=1e-5, atol=1e-5 * y.max())
    with pytest.raises(ValueError, match=r"targets of at least 0, .*standardize=False"):
        ReLURegressor(1, solver="relaxed").fit(X, y)
    with pytest.raises(ValueError, match="one output; got y with 2 columns"):
        ReLURegressor(solver="relaxed", **settings).fit(X, np.column_stack([y, y]))
    with pytest.warns(match="finite"):
        ended = ReLURegressor(solver=RelaxedDescent(1e3), **settings).fit(X, y)
    assert ended.status_ is Status.NOT_FINITE
    plain = ReLURegressor(solver=RelaxedDescent(relaxation=False), **settings).fit(X, y - y.mean())
    assert plain.status_ in (Status.CONVERGED, Status.SCHEDULE_DONE)


@pytest.mark.parametrize("d", [4, 30])
def test_float32_rows_are_those_of_float64(d):
    problem = planted(40, 2, 1, d=d)
    X, Y = problem.rows.X.astype(np.float32), problem.rows.Y.astype(np.float32)

    def weights(kind):
        rows = Problem(ArrayRows(X.astype(kind), Y.astype(kind)), 2, 1e-3)
        return solve(rows, RelaxedDescent(), max_iter=20, rng=np.random.default_rng(0)).network.A

    np.testing.assert_allclose(weights(np.float32), weights(np.float64), rtol=1e-9, atol=1e-12)


def test_rows_in_parts_are_refused(tmp_path):
    rows = planted(10, 1, 0).rows
    np.save(tmp_path / "X.npy", rows.X)
    np.save(tmp_path / "y.npy", rows.Y)
    problem = Problem(NpyRows(tmp_path / "X.npy", tmp_path / "y.npy"), 1, 0.0)
    with pytest.raises(ValueError, match="must be in memory; got rows in parts"):
        solve(problem, RelaxedDescent())


@pytest.mark.parametrize("options", [{"step_size": 0.0}, {"step_size": -1}, {"step_size": True}, {"relaxation": 1}])
def test_bad_settings(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be"):
        RelaxedDescent(**options)
