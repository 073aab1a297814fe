"""Gradient descent of small networks in the lab: exact gradients, the invariant of its flow, and refusals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import check_grad

from anmin.lab.descent import (
    activation_points,
    cosines,
    descend,
    early_directions,
    loss_and_gradient,
)


def problem(seed=0, n=7, p=3, m=5):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, p)), rng.standard_normal(n), rng.standard_normal((p, m)), rng.standard_normal(m)


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_gradient_is_that_of_finite_differences(decay):
    X, y, W, a = problem()

    def split(v):
        return v[: W.size].reshape(W.shape), v[W.size :]

    def value(v):
        return float(loss_and_gradient(X, y, *split(v), decay)[0])

    def gradient(v):
        return np.concatenate([part.ravel() for part in loss_and_gradient(X, y, *split(v), decay)[1:]])

    assert check_grad(value, gradient, np.concatenate([W.ravel(), a])) < 1e-5


def test_loss_is_the_sum_of_squares_and_the_penalty_of_both_layers():
    X, y, W, a = problem()
    expected = sum((sum(max(x @ W[:, j], 0) * a[j] for j in range(5)) - t) ** 2 for x, t in zip(X, y, strict=True))
    assert np.isclose(loss_and_gradient(X, y, W, a)[0], expected)
    assert np.isclose(loss_and_gradient(X, y, W, a, 0.5)[0], expected + 0.5 * ((W**2).sum() + (a**2).sum()))


def test_networks_beside_one_another_are_trained_as_if_alone():
    X, y, _, _ = problem()
    rng = np.random.default_rng(1)
    W, a = rng.standard_normal((4, 3, 5)), rng.standard_normal((4, 5))
    *_, together = descend(X, y, W, a, 0.001, 50, decay=0.1)
    for k in range(4):
        *_, alone = descend(X, y, W[k], a[k], 0.001, 50, decay=0.1)
        np.testing.assert_allclose(together.W[k], alone.W, rtol=1e-10)
        assert np.isclose(together.loss[k], alone.loss)


def test_the_start_comes_first_and_is_not_changed():
    X, y, W, a = problem()
    before = W.copy(), a.copy()
    points = list(descend(X, y, W, a, 0.001, 3, train_output=False))
    assert len(points) == 4
    assert np.array_equal(points[0].W, before[0])
    assert np.array_equal(W, before[0])
    assert np.array_equal(points[-1].a, before[1])
    assert points[-1].loss < points[0].loss


def test_the_flow_keeps_the_difference_of_squared_norms():
    X, y, W, a = problem()
    changes = []
    for rate in (4e-4, 2e-4, 1e-4):
        *_, last = descend(X, y, W, a, rate, round(0.1 / rate))
        after = (last.W**2).sum(axis=0) - last.a**2
        changes.append(np.abs(after - (W**2).sum(axis=0) + a**2).max())
    # Of first order in the step: half the step, half the change.
    np.testing.assert_allclose(np.array(changes[:-1]) / changes[1:], 2, rtol=0.1)


def test_early_directions_are_gradients_at_vanishing_weights():
    X, y, W, a = problem()
    tiny = 1e-8
    _, dW, _ = loss_and_gradient(X, y, tiny * W, tiny * a)
    np.testing.assert_allclose(-dW / (2 * tiny * np.abs(a)), early_directions(X, y, W, a), rtol=1e-6)


def test_a_neuron_of_an_early_direction_keeps_it():
    X, y = np.array([[-1.0, 1.0], [1.0, 1.0]]), np.array([1.0, 2.0])
    direction = X.T @ y
    W = 1e-6 * direction[:, None] / np.linalg.norm(direction)
    *_, last = descend(X, y, W, np.array([1e-6]), 1e-3, 500)
    assert np.linalg.norm(last.W) > 5e-6
    assert cosines(last.W, direction[:, None])[0] > 1 - 1e-9


def test_activation_points_are_where_the_argument_is_zero():
    W = np.array([[0.3, 0.3, -2.0, 0.0], [0.15, -0.15, 1.0, 1.0]])
    np.testing.assert_allclose(activation_points(W), [-0.5, 0.5, 0.5, np.inf])


def test_cosines_of_zero_vectors_are_zero():
    U, V = np.array([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]]), np.array([[2.0, 1.0, -1.0], [0.0, 0.0, -1.0]])
    np.testing.assert_allclose(cosines(U, V), [1, 0, -1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": np.ones(3)}, "X .n, p., y .n,. and W .* are needed; got .7, 3., .3,."),
        ({"W": np.ones((2, 5))}, "are needed; got"),
        ({"a": np.ones(4)}, "one output weight for each neuron of W, .3, 5.; got shape .4,."),
        ({"rate": 0.0}, "rate must be positive and decay not negative; got 0.0 and 0.0"),
        ({"decay": -1.0}, "got 0.001 and -1.0"),
        ({"rate": 1e3}, "not finite after [0-9]+ steps of size 1000; take smaller ones"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(changes, message):
    X, y, W, a = problem()
    arguments = {"X": X, "y": y, "W": W, "a": a, "rate": 0.001, "n_steps": 200, "decay": 0.0, **changes}
    with pytest.raises(ValueError, match=message):
        list(descend(**arguments))
