"""Least squares around the interpolation threshold: exact risks, peaks, and the effective complexity."""

from __future__ import annotations

import math

import numpy as np
import pytest

from anmin.lab.double_descent import descended, effective_complexity, exact_risk, least_norm, limiting_risk


@pytest.mark.parametrize(("n", "expected"), [(50, 0.5102), (90, 0.2000), (110, 0.1111), (200, 0.0101)])
def test_exact_risks_are_those_calculated_by_hand(n, expected):
    assert exact_risk(n, 100, 1.0, 0.1).total == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize("n", [10, 18, 24, 36])
def test_exact_risks_are_means_of_many_draws(n):
    """Independently of closed forms: means of bias and variance over 4,000 draws, |γ − 1| >= 0.2, within 10%."""
    d, rng = 15, np.random.default_rng(n)
    beta = np.full(d, d**-0.5)
    X = rng.standard_normal((4000, n, d))
    y = X @ beta + 0.5 * rng.standard_normal((4000, n))
    estimates = (np.linalg.pinv(X) @ y[..., None])[..., 0]
    exact = exact_risk(n, d, 1.0, 0.5)
    assert np.mean(np.sum((estimates - beta) ** 2, axis=1)) == pytest.approx(exact.total, rel=0.1)
    assert np.sum((estimates.mean(axis=0) - beta) ** 2) == pytest.approx(exact.bias, abs=0.01)


def test_printed_risks_are_the_limit_of_exact_ones_and_miss_the_peak():
    for ratio in (0.5, 2.0):
        n, d = round(ratio * 10**6), 10**6
        assert limiting_risk(n, d, 1.0, 0.3).total == pytest.approx(exact_risk(n, d, 1.0, 0.3).total, rel=1e-5)
    assert exact_risk(100, 100, 1.0, 0.1).variance == exact_risk(99, 100, 1.0, 0.1).variance == math.inf
    assert math.isfinite(limiting_risk(99, 100, 1.0, 0.1).variance)


@pytest.mark.parametrize("n", [6, 12])
def test_the_closed_form_of_descent_is_descent(n):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((n, 8)), rng.standard_normal(n)
    rate = 0.7 / np.linalg.norm(X, 2) ** 2
    beta = np.zeros(8)
    for _ in range(50):
        beta -= rate * X.T @ (X @ beta - y)
    found = descended(X, y, [0, 50, None], 0.7)
    np.testing.assert_array_equal(found[0], 0)
    np.testing.assert_allclose(found[1], beta, rtol=1e-10)
    np.testing.assert_allclose(found[2], np.linalg.pinv(X) @ y, rtol=1e-10)


@pytest.mark.parametrize("shape", [(9, 5), (5, 5), (5, 9)])
def test_least_norms_are_those_of_the_pseudo_inverse(shape):
    rng = np.random.default_rng(1)
    features = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    targets = rng.standard_normal((shape[0], 2))
    np.testing.assert_allclose(least_norm(features, targets), np.linalg.pinv(features) @ targets, atol=1e-9)


@pytest.mark.parametrize("N", [7, 12])
def test_the_effective_complexity_of_least_norms_is_the_number_of_features(N):
    def train_error(n):
        rng = np.random.default_rng(n)
        errors = []
        for _ in range(5):
            features, y = rng.standard_normal((n, N)), rng.standard_normal(n)
            errors.append(np.mean((features @ least_norm(features, y) - y) ** 2))
        return float(np.mean(errors))

    assert effective_complexity(train_error, range(1, 20), 1e-12) == N


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: exact_risk(0, 5, 1, 1), "at least one row"),
        (lambda: limiting_risk(5, 5, 1, -1), "must not be negative"),
        (lambda: descended(np.eye(3), np.ones(2), [1]), "a number for each row"),
        (lambda: descended(np.eye(3), np.ones(3), [1], 2.0), "between 0 and 2"),
        (lambda: descended(np.eye(3), np.ones(3), [-1]), "at least 0"),
        (lambda: least_norm(np.eye(3), np.ones(2)), "the same rows"),
        (lambda: effective_complexity(float, [], 0.1), "There must be sizes"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call()
