"""The steepest neuron and its proof, and the bound on the loss of every network that follows from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import nnls

from anmin import ReLUClassifier, ReLUNetwork, ReLURegressor
from anmin.arrangements import all_patterns
from anmin.certificate import Certificate, certificate
from anmin.network import activation
from anmin.objective import loss
from anmin.rows import ArrayRows
from anmin.search.growth import Grown, grown
from anmin.solvers import Anmin, Problem, VarPro, solve
from anmin.solvers.convex import solve_convex
from anmin.solvers.steepest import slopes_of, steepest_neuron


def with_constant(X):
    return np.column_stack([np.ones(len(X)), X])


def slopes(X, Z, w, negative_slope, V):
    """Return the slopes of unit vectors V (p, m), from the definition."""
    w = np.ones(len(X)) if w is None else w
    S = activation(with_constant(X) @ V, negative_slope)
    return np.linalg.norm((w[:, None] * S).T @ Z, axis=1) / w.sum()


def largest_slope(X, Z, w, negative_slope):
    """Return the largest slope for one output, cell by cell: in a cone K, max gᵀv is the length of g projected on K.

    By Moreau's theorem that is the distance of g from the polar cone, a least-squares problem with signs.
    """
    Xt, w = with_constant(X), np.ones(len(X)) if w is None else w
    largest = 0.0
    for on in all_patterns(Xt).on().T:
        g = Xt.T @ (np.where(on, 1.0, negative_slope) * w * Z[:, 0]) / w.sum()
        inward = np.where(on, 1.0, -1.0)[:, None] * Xt
        largest = max(largest, *(nnls(inward.T, -sign * g, maxiter=10_000)[1] for sign in (1, -1)))
    return largest


def directions(p, count=20_000, seed=1):
    V = np.random.default_rng(seed).standard_normal((p, count))
    return V / np.linalg.norm(V, axis=0)


def drawn(n, d, c=1, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)), rng.standard_normal((n, c)), rng.uniform(0.2, 3.0, n)


# The steepest neuron


@pytest.mark.parametrize("negative_slope", [0.0, 0.3])
@pytest.mark.parametrize(("n", "d"), [(40, 1), (20, 2), (10, 3)])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_steepest_neuron_is_that_of_all_cells(n, d, weighted, negative_slope):
    X, Z, w = drawn(n, d, seed=n + weighted)
    w = w if weighted else None
    found = steepest_neuron(ArrayRows(X, Z, w), Z, negative_slope, tol=1e-9)
    assert_allclose(found.slope, largest_slope(X, Z, w, negative_slope), rtol=1e-8)
    assert found.slope <= found.bound <= found.slope * (1 + 2e-9)
    assert found.method == ("sweep" if d == 1 else "branch and bound")
    assert_allclose(slopes(X, Z, w, negative_slope, found.candidates), found.slopes, rtol=1e-10)
    assert_allclose(np.linalg.norm(found.candidates, axis=0), 1.0)


@pytest.mark.parametrize("negative_slope", [0.0, 0.3])
@pytest.mark.parametrize("d", [1, 2, 3])
def test_with_several_outputs_no_direction_is_steeper(d, negative_slope):
    X, Z, w = drawn(30, d, 3, seed=d)
    found = steepest_neuron(ArrayRows(X, Z, w), Z, negative_slope, tol=1e-5)
    assert found.bound <= found.slope * (1 + 1.1e-5)
    dense = slopes(X, Z, w, negative_slope, directions(d + 1)).max()
    assert dense <= found.bound
    assert dense >= 0.97 * found.slope
    assert_allclose(slopes(X, Z, w, negative_slope, found.vector[:, None])[0], found.slope, rtol=1e-10)


def test_the_gradient_that_is_climbed_is_that_of_half_the_square():
    X, Z, w = drawn(50, 3, 2)
    rows, V, step = ArrayRows(X, Z, w), directions(4, 5), 1e-6
    _, gradient = slopes_of(rows, Z, V, 0.2)
    for k in range(4):
        shift = step * np.eye(4)[:, [k]]
        above, below = slopes(X, Z, w, 0.2, V + shift), slopes(X, Z, w, 0.2, V - shift)
        assert_allclose((above**2 - below**2) / (4 * step), gradient[k], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("d", [2, 5, 14])
@pytest.mark.parametrize("visits", [1.0, 1e5])
def test_a_search_cut_short_bounds_all_slopes(d, visits):
    X, Z, w = drawn(300, d, 2, seed=d)
    found = steepest_neuron(ArrayRows(X, Z, w), Z, max_visits=visits)
    assert found.slope <= found.bound
    assert slopes(X, Z, w, 0.0, directions(d + 1)).max() <= found.bound
    assert found.bound <= np.linalg.norm(np.sqrt(w)[:, None] * with_constant(X), 2) * np.linalg.norm(
        np.sqrt(w)[:, None] * Z, 2
    ) / w.sum() * (1 + 1e-9)


DEGENERATE = {
    "one row": np.array([[0.3, -2.0]]),
    "equal rows": np.repeat(np.random.default_rng(0).standard_normal((4, 2)), 5, axis=0),
    "collinear": np.random.default_rng(1).standard_normal((12, 1)) @ np.ones((1, 2)),
    "constant column": np.column_stack([np.random.default_rng(2).standard_normal(12), np.full(12, 3.0)]),
    "grid": np.array(np.meshgrid(np.arange(4.0), np.arange(4.0))).reshape(2, -1).T,
    "all zero": np.zeros((5, 2)),
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_rows(name):
    X = DEGENERATE[name]
    Z = np.random.default_rng(3).standard_normal((len(X), 1))
    found = steepest_neuron(ArrayRows(X, Z), Z, tol=1e-7)
    assert_allclose(found.slope, largest_slope(X, Z, None, 0.0), rtol=1e-6)
    assert found.slope <= found.bound <= found.slope * (1 + 2e-7)
    one = steepest_neuron(ArrayRows(X[:, :1], Z), Z)
    assert_allclose(one.bound, largest_slope(X[:, :1], Z, None, 0.0), rtol=1e-9)


def test_without_residuals_no_neuron_is_steep():
    X, Z, _ = drawn(10, 2)
    for columns in (1, 2):
        found = steepest_neuron(ArrayRows(X[:, :columns], Z), 0 * Z)
        assert found.slope == found.bound == 0


def test_weights_count_as_repetitions():
    X, Z, _ = drawn(15, 2, 2)
    w = np.random.default_rng(0).integers(1, 4, 15)
    weighted = steepest_neuron(ArrayRows(X, Z, w.astype(float)), Z, tol=1e-7)
    many = [np.repeat(values, w, axis=0) for values in (X, Z)]
    repeated = steepest_neuron(ArrayRows(*many), many[1], tol=1e-7)
    assert_allclose(weighted.slope, repeated.slope, rtol=2e-7)


# The certificate


def planar(seed, n=20):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 2))
    return X, np.sin(2 * X[:, 0]) + 0.3 * X[:, 1] ** 2 + 0.1 * rng.standard_normal(n)


def optimum(X, y, alpha, w=None):
    """Return the loss of the best network of any width, from all patterns, and such a network."""
    gates = all_patterns(with_constant(X)).without_zero().vectors
    solution = solve_convex(ArrayRows(X, y, w), gates, alpha, tol=1e-10)
    return solution.objective, solution.network()


def fitted(X, Y, alpha, n_neurons=10, seed=0, negative_slope=0.0, w=None):
    problem = Problem(ArrayRows(X, Y, w), n_neurons, alpha, negative_slope)
    return solve(problem, VarPro(), rng=np.random.default_rng(seed), max_iter=60)


@pytest.mark.parametrize("alpha", [0.1, 0.01, 0.001])
def test_at_the_best_network_of_any_width_nothing_is_missing(alpha):
    X, y = planar(0)
    least, best = optimum(X, y, alpha)
    found = certificate(best, X, y, alpha)
    assert found.bound <= least * (1 + 1e-9)
    assert_allclose(found.loss, least, rtol=1e-8)
    assert found.gap < 1e-6
    assert abs(found.violation) < 1e-5


@pytest.mark.parametrize("alpha", [0.1, 0.01, 0.001])
def test_growth_closes_the_gap(alpha):
    X, y = planar(0)
    least, _ = optimum(X, y, alpha)
    narrow = fitted(X, y, alpha, n_neurons=2)
    found = certificate(narrow.network, X, y, alpha, rounds=30)
    assert_allclose(found.best_loss, least, rtol=1e-7)
    assert found.bound <= least * (1 + 1e-9)
    assert found.best_loss - found.bound < 1e-6 * found.best_loss
    assert_allclose(found.loss, narrow.loss, rtol=1e-9)
    assert found.gap > 1e-5
    assert found.violation > 1e-4
    of_best = found.best.predict(X)[:, 0] - y
    assert_allclose(loss(of_best @ of_best, len(X), alpha, found.best.A, found.best.B, found.best.b0), found.best_loss)


@pytest.mark.parametrize("seed", range(10))
def test_no_bound_exceeds_a_loss_that_is_known(seed):
    X, y = planar(seed, 12)
    alpha = [0.1, 0.01, 0.001][seed % 3]
    w = np.random.default_rng(seed).uniform(0.2, 3.0, len(X)) if seed % 2 else None
    fits = [fitted(X, y, alpha, seed=start, w=w) for start in range(5)]
    known = min(optimum(X, y, alpha, w)[0], *(fit.loss for fit in fits))
    for fit in fits:
        found = certificate(fit.network, X, y, alpha, w)
        assert 0 < found.bound <= known * (1 + 1e-9)
        assert found.bound <= found.estimate
        assert_allclose(found.loss, fit.loss, rtol=1e-9)


@pytest.mark.parametrize(("d", "c", "negative_slope"), [(1, 1, 0.2), (2, 2, 0.0), (3, 2, 0.1)])
def test_several_outputs_and_a_negative_slope(d, c, negative_slope):
    rng = np.random.default_rng(d)
    X = rng.standard_normal((60, d))
    Y = np.sin(X @ rng.standard_normal((d, c))) + 0.1 * rng.standard_normal((60, c))
    w, alpha = rng.uniform(0.2, 3.0, 60), 0.02
    fits = [fitted(X, Y, alpha, 12, seed, negative_slope, w) for seed in range(3)]
    found = certificate(fits[0].network, X, Y, alpha, w, rounds=3)
    assert found.bound <= min(found.best_loss, *(fit.loss for fit in fits))
    assert found.best_loss <= found.loss
    assert (found.best_loss - found.bound) / found.best_loss < 0.1
    repeated = certificate(fits[0].network, X, Y, alpha, 2 * w)
    assert_allclose(repeated.loss, found.loss, rtol=1e-12)
    assert_allclose(repeated.violation, found.violation, atol=1e-2 * (1 + found.violation))


def test_the_bound_is_of_the_dual_point_it_says():
    X, y = planar(3)
    network, alpha = fitted(X, y, 0.02, 4).network, 0.02
    R = network.predict(X) - y[:, None]
    most = largest_slope(X, R, None, 0.0)
    thetas = np.linspace(0, min(1.5, alpha / most), 20_001)
    values = [-2 * t * np.mean(R[:, 0] * y) - t**2 * np.mean(R**2) - (t * np.mean(R)) ** 2 / alpha for t in thetas]
    assert_allclose(certificate(network, X, y, alpha).estimate, max(values), rtol=1e-6)


def test_more_inputs_are_bounded_loosely_and_said_to_be():
    X, Y, _ = drawn(100, 14, seed=4)
    network = fitted(X, Y, 0.05, 4).network
    found = certificate(network, X, Y, 0.05)
    assert found.method == "spectral"
    assert 0 <= found.bound < found.estimate <= found.loss
    assert "is no bound" in found.kind
    assert f"{found.bound:.6g}" in found.kind


def test_a_network_without_neurons_of_use():
    X, y = planar(1)
    idle = ReLUNetwork(np.zeros((3, 2)), np.zeros((2, 1)), np.zeros(1))
    least, _ = optimum(X, y, 0.05)
    found = certificate(idle, X, y, 0.05, rounds=20)
    assert_allclose(found.loss, np.mean(y**2))
    assert_allclose([found.best_loss, found.bound], least, rtol=1e-6)


def test_growth_by_steps_lowers_the_loss_and_leaves_no_idle_neuron():
    X, Y, _ = drawn(400, 2, 2, seed=5)
    problem = Problem(ArrayRows(X, Y), 3, 0.01)
    before = fitted(X, Y, 0.01, 3)
    R = before.network.predict(X) - Y
    steepest = steepest_neuron(problem.rows, R)
    after = grown(problem, Grown.from_network(before.network), steepest.candidates)
    errors = after.network.predict(X) - Y
    A, B, b0 = after.network.A, after.network.B, after.network.b0
    assert loss(np.vdot(errors, errors), 400, 0.01, A, B, b0) < before.loss
    assert_allclose(np.linalg.norm(A, axis=0), np.linalg.norm(B, axis=1))
    assert np.linalg.norm(B, axis=1).min() > 0
    assert grown(problem, after, np.zeros((3, 0))) is None


def test_perfect_fits_and_single_rows():
    X = np.array([[1.0, 2.0]])
    zero = ReLUNetwork(np.zeros((3, 1)), np.zeros((1, 1)), np.zeros(1))
    nothing = certificate(zero, X, [0.0], 0.1, rounds=2)
    assert (nothing.loss, nothing.bound, nothing.gap) == (0, 0, 0)
    found = certificate(zero, X, [3.0], 0.1, rounds=20)
    assert found.best_loss - found.bound < 1e-6 * found.best_loss


# The estimator


def test_an_estimator_certifies_its_own_loss():
    X, y = planar(2, 60)
    w = np.random.default_rng(0).uniform(0.5, 2.0, 60)
    model = ReLURegressor(6, alpha=0.01, random_state=0).fit(100 * X, 1e-3 * y + 7, w)
    found = model.certificate(100 * X, 1e-3 * y + 7, w, rounds=3)
    assert isinstance(found, Certificate)
    assert_allclose(found.loss, model.loss_, rtol=1e-9)
    assert 0 < found.bound <= found.best_loss <= found.loss
    scaled = model.scaling_.apply(ArrayRows(100 * X, 1e-3 * y + 7, w))
    again = certificate(model.scaling_.unfold(model.network_), scaled.X, scaled.Y, 0.01, w, rounds=3)
    assert_allclose(again.bound, found.bound, rtol=1e-9)
    errors = (found.best.predict(100 * X)[:, 0] - (1e-3 * y + 7)) / model.scaling_.y_scale
    inside = model.scaling_.unfold(found.best)
    assert_allclose(loss(w @ errors**2, w.sum(), 0.01, inside.A, inside.B, inside.b0), found.best_loss, rtol=1e-8)


def test_what_cannot_be_certified_is_refused():
    X, y = planar(0)
    network = fitted(X, y, 0.1, 3).network
    for alpha, words in [(0.0, "alpha > 0; got 0"), (-1.0, "above 0"), (np.nan, "finite"), ("auto", "finite number")]:
        with pytest.raises(ValueError, match=words):
            certificate(network, X, y, alpha)
    with pytest.raises(ValueError, match="2 inputs and 1 outputs of the network"):
        certificate(network, X[:, :1], y, 0.1)
    with pytest.raises(ValueError, match="finite"):
        certificate(network, X, np.full(20, np.nan), 0.1)
    with pytest.raises(ValueError, match="rounds must be"):
        certificate(network, X, y, 0.1, rounds=-1)
    with pytest.raises(ValueError, match="max_visits must be"):
        certificate(network, X, y, 0.1, max_visits=0)
    with pytest.raises(AttributeError) as refused:
        _ = ReLURegressor(loss="absolute").certificate
    assert "loss='squared' only; got 'absolute'" in str(refused.value.__cause__)
    assert not hasattr(ReLUClassifier(), "certificate")
    model = ReLURegressor(3, alpha=0.0, solver="anmin", random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="alpha > 0; got 0"):
        model.certificate(X, y)
    with pytest.raises(ValueError, match="features"):
        model.certificate(X[:, :1], y)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_all_rows_of_a_field(shared_data: Path):
    with np.load(shared_data / "horse_sdf.npz") as arrays:
        X, y = arrays["X"].astype(np.float64), arrays["y"].astype(np.float64)
    model = ReLURegressor(8, solver=Anmin(), alpha=1e-3, max_iter=10, random_state=0).fit(X, y)
    found = model.certificate(X, y)
    assert found.method == "branch and bound"
    assert found.largest < 1.0011
    assert 0 < found.bound < found.loss
