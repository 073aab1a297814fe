"""Expectations in closed form against sums over drawn rows and finite differences."""

from __future__ import annotations

import numpy as np
import pytest

from anmin.lab.kernels import (
    angles,
    filter_gradient,
    filter_loss,
    gated_means,
    one_neuron_gradient,
    population_gradient,
    population_loss,
    relu_kernel,
    sample_gradient,
)

N = 400_000


def drawn(d: int, seed: int = 0):
    return np.random.default_rng(seed).standard_normal((N, d))


def relu(z):
    return np.maximum(z, 0.0)


def difference(function, W, h: float = 1e-6):
    """Return the gradient of a function of an array by central differences."""
    gradient = np.empty_like(W)
    for index in np.ndindex(W.shape):
        step = np.zeros_like(W)
        step[index] = h
        gradient[index] = (function(W + step) - function(W - step)) / (2 * h)
    return gradient


def test_kernels_are_means_over_rows():
    rng = np.random.default_rng(1)
    U, V, X = rng.standard_normal((3, 2)), rng.standard_normal((3, 4)), drawn(3)
    np.testing.assert_allclose(relu_kernel(U, V), relu(X @ U).T @ relu(X @ V) / N, atol=2e-2)
    slow = np.stack([X.T @ (relu(X @ U).sum(1) * (X @ v >= 0)) / N for v in V.T], axis=1)
    np.testing.assert_allclose(gated_means(U, V), slow, atol=2e-2)


def test_kernels_at_known_angles():
    e, f = np.eye(2)
    U = np.column_stack([e, e, e])
    V = np.column_stack([2 * e, f, -e])
    np.testing.assert_allclose(relu_kernel(U, V)[0], [1.0, 1 / (2 * np.pi), 0.0], atol=1e-15)
    np.testing.assert_allclose(angles(U, V)[0], [0.0, np.pi / 2, np.pi], atol=1e-15)
    # Small angles keep their digits.
    assert angles([[1.0], [0.0]], [[1.0], [1e-9]])[0, 0] == pytest.approx(1e-9, rel=1e-12)


def test_the_population_gradient_is_that_of_the_loss():
    rng = np.random.default_rng(2)
    W, W_star = rng.standard_normal((4, 3)), rng.standard_normal((4, 2))
    expected = difference(lambda W: population_loss(W, W_star), W)
    np.testing.assert_allclose(population_gradient(W, W_star), expected, atol=1e-6)
    X = drawn(4)
    sample = np.mean((relu(X @ W).sum(1) - relu(X @ W_star).sum(1)) ** 2)
    assert population_loss(W, W_star) == pytest.approx(sample, rel=1e-2)
    assert population_loss(W, W[:, ::-1]) == pytest.approx(0.0, abs=1e-13)
    np.testing.assert_allclose(population_gradient(W, W[:, ::-1]), 0.0, atol=1e-13)


def test_the_gradient_of_one_neuron():
    rng = np.random.default_rng(3)
    w, w_star = rng.standard_normal((2, 4))
    loss = lambda w: 50 * population_loss(w[:, None], w_star[:, None])  # noqa: E731
    np.testing.assert_allclose(one_neuron_gradient(w, w_star, 100), difference(loss, w), atol=1e-5)
    X = drawn(4)
    slow = X.T @ ((relu(X @ w) - relu(X @ w_star)) * (X @ w > 0)) / N
    np.testing.assert_allclose(one_neuron_gradient(w, w_star, 1), slow, atol=1e-2)


def test_the_loss_of_a_filter():
    rng = np.random.default_rng(4)
    w, w_star = rng.standard_normal((2, 3))
    X = drawn(12).reshape(N, 4, 3)
    slow = np.mean((relu(X @ w).mean(1) - relu(X @ w_star).mean(1)) ** 2)
    assert filter_loss(w, w_star, 4) == pytest.approx(slow, rel=1e-2)
    expected = difference(lambda w: filter_loss(w, w_star, 4), w)
    np.testing.assert_allclose(filter_gradient(w, w_star, 4), expected, atol=1e-6)
    # As a network of four neurons, each of a patch of its own: (1/k²) Σ_ij of the kernels.
    assert filter_loss(w, w_star, 4) == pytest.approx(
        population_loss(np.kron(np.eye(4), w[:, None]), np.kron(np.eye(4), w_star[:, None])) / 16
    )


def test_masked_moments_give_the_ordinary_gradient():
    rng = np.random.default_rng(5)
    X, W, W_star = rng.standard_normal((300, 4)), rng.standard_normal((4, 3)), rng.standard_normal((4, 2))
    noise = rng.standard_normal(300)
    y = relu(X @ W_star).sum(1) + noise
    ordinary = X.T @ ((X @ W >= 0) * (relu(X @ W).sum(1) - y)[:, None]) / 300
    found = sample_gradient(X, W, W_star, noise)
    np.testing.assert_allclose(found, ordinary, rtol=0, atol=1e-12)
    expected = difference(lambda W: np.mean((relu(X @ W).sum(1) - y) ** 2) / 2, W)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: relu_kernel(np.eye(2), np.eye(3)), r"V must have the shape \(2, l\); got \(3, 3\)"),
        (lambda: relu_kernel(np.zeros((2, 1)), np.eye(2)), "A column of U is zero and has no direction"),
        (lambda: population_loss(np.eye(2), np.eye(3)), r"V must have the shape \(2, l\)"),
        (lambda: one_neuron_gradient([1.0], [1.0, 2.0], 5), r"w_star must have the shape \(1,\)"),
        (lambda: one_neuron_gradient([1.0], [1.0], 0), "n_rows must be an integer of at least 1; got 0"),
        (lambda: filter_loss([1.0], [1.0], -1), "n_patches must be an integer of at least 1; got -1"),
        (lambda: filter_gradient([1.0], [1.0], 0), "n_patches must be an integer of at least 1; got 0"),
        (lambda: sample_gradient(np.eye(3), np.eye(3), np.eye(2), np.ones(3)), r"W_star must have the shape \(3, l\)"),
        (lambda: sample_gradient(np.eye(3), np.eye(3), np.eye(3), np.ones(2)), r"noise must have the shape \(3,\)"),
    ],
)
def test_bad_input_is_refused(call, message: str):
    with pytest.raises(ValueError, match=message):
        call()
