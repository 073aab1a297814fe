"""Residual networks: gradients and their bound, descent, depth as acceleration, and blocks that fit any points."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from anmin.lab.linear_residual import (
    Framed,
    descend,
    end_to_end_step,
    excess,
    gradient,
    gradient_bound,
    logarithmic_factors,
    power_regression,
    product,
    random_orientation,
)
from anmin.lab.residual_expressive import interpolating_block


def draw(rng, d=4, n_factors=3, size=0.3):
    factors = rng.standard_normal((n_factors, d, d))
    factors *= size / np.array([np.linalg.norm(A, 2) for A in factors])[:, None, None]
    root = rng.standard_normal((d, d))
    return factors, rng.standard_normal((d, d)), root @ root.T


def differences(f, at, step=1e-6):
    slopes = np.empty_like(at)
    for index in np.ndindex(at.shape):
        moved = at.copy()
        moved[index] += step
        above = f(moved)
        moved[index] -= 2 * step
        slopes[index] = (above - f(moved)) / (2 * step)
    return slopes


def test_the_gradient_is_that_of_finite_differences():
    factors, R, covariance = draw(np.random.default_rng(0))
    numeric = differences(lambda A: excess(A, R, covariance), factors)
    np.testing.assert_allclose(gradient(factors, R, covariance), numeric, rtol=1e-6, atol=1e-6)


def test_the_gradient_obeys_its_bound_in_200_random_draws():
    for seed in range(200):
        rng = np.random.default_rng(seed)
        factors, R, covariance = draw(rng, rng.integers(2, 6), rng.integers(1, 7), rng.uniform(0, 0.99))
        bound = gradient_bound(factors, R, covariance)
        assert np.sum(gradient(factors, R, covariance) ** 2) >= bound > 0


@pytest.mark.parametrize("n_factors", [1, 4, 64])
def test_equal_factors_by_the_logarithm_multiply_to_the_target_and_shrink_with_depth(n_factors):
    rng = np.random.default_rng(1)
    R = np.eye(4) + 0.3 * rng.standard_normal((4, 4))
    factors = logarithmic_factors(R, n_factors)
    np.testing.assert_allclose(product(factors), R, atol=1e-10)
    if n_factors == 64:
        from scipy.linalg import logm

        assert np.linalg.norm(factors[0], 2) == pytest.approx(np.linalg.norm(logm(R), 2) / 64, rel=0.05)


@pytest.mark.parametrize("seed", range(3))
def test_descent_from_zero_reaches_targets_of_positive_determinant(seed):
    R = random_orientation(np.random.default_rng(seed), 3, 0.5)
    assert np.linalg.det(R) > 0
    fit = descend(np.zeros((6, 3, 3)), R, np.eye(3), 0.02, 3000)
    np.testing.assert_allclose(product(fit.factors), R, atol=1e-4)


def test_descent_from_zero_never_reaches_minus_the_identity_whose_determinant_is_positive():
    """Factors stay multiples of the identity, equal ones, whose even power is not negative."""
    fit = descend(np.zeros((4, 2, 2)), -np.eye(2), np.eye(2), 0.02, 2000)
    assert fit.losses[-1] >= 2 - 1e-9


@pytest.mark.parametrize("residual", [False, True])
def test_the_gradient_between_fixed_layers_is_that_of_finite_differences(residual):
    rng = np.random.default_rng(2)
    problem = Framed(*(rng.standard_normal(shape) for shape in ((5, 3), (2, 5), (3, 7), (2, 7))))
    factors = 0.4 * rng.standard_normal((3, 5, 5))
    numeric = differences(lambda W: problem.loss_and_gradient(W, residual)[0], factors)
    np.testing.assert_allclose(problem.loss_and_gradient(factors, residual)[1], numeric, rtol=1e-6, atol=1e-5)


def test_a_residual_net_between_fixed_layers_converges_linearly_to_the_least_squares_solution():
    rng = np.random.default_rng(3)
    X = np.linalg.qr(rng.standard_normal((20, 5)))[0].T
    problem = Framed(rng.standard_normal((40, 5)) / 40**0.5, rng.standard_normal((3, 40)) / 3**0.5, X,
                     rng.standard_normal((3, 20)))  # fmt: skip
    fit = problem.descend(np.zeros((8, 40, 40)), 0.005, 400, True)
    first, middle, last = (fit.steps_to(share) for share in (1e-2, 1e-4, 1e-6))
    assert 0.5 < (last - middle) / (middle - first) < 2


@pytest.mark.parametrize("depth", [2, 3])
def test_the_rule_of_the_product_is_the_motion_of_balanced_factors(depth):
    """One step of 1e-6 on W_1 (k × d), …, w_N (1 × k), balanced, moves the product by the rule, to first order."""
    rng = np.random.default_rng(4)
    w, slope, rate = rng.standard_normal(3), rng.standard_normal(3), 1e-6
    norm = np.linalg.norm(w)
    size = norm ** (1 / depth)
    sides = [np.linalg.qr(rng.standard_normal((3, 1)))[0] for _ in range(depth - 1)]
    factors = [size * sides[0] @ (w / norm)[None]]
    factors += [size * late @ early.T for early, late in pairwise(sides)]
    factors.append(size * sides[-1].T)

    def multiplied(parts):
        whole = parts[0]
        for part in parts[1:]:
            whole = part @ whole
        return whole

    np.testing.assert_allclose(multiplied(factors)[0], w)
    moved = []
    for i, part in enumerate(factors):
        late = multiplied(factors[i + 1 :]) if i + 1 < depth else np.eye(1)
        early = multiplied(factors[:i]) if i else np.eye(3)
        moved.append(part - rate * late.T @ slope[None] @ early.T)
    np.testing.assert_allclose((w - multiplied(moved)[0]) / rate, end_to_end_step(w, slope, depth), rtol=1e-4)


def test_two_factors_lower_quartic_errors_of_uneven_inputs_faster_than_one():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 20)) * np.logspace(0, -1, 20)
    y = X @ rng.standard_normal(20) + 0.1 * rng.standard_normal(200)
    y /= y.std()
    w = rng.standard_normal(20)
    w *= 0.1 / np.linalg.norm(w)
    best = []
    for depth in (1, 2):
        losses = [power_regression(X, y, w, depth, rate, 200) for rate in 10 ** np.arange(-2, 0.6, 0.25)]
        best.append(min(np.argmax(path <= 1e-3 * path[0]) for path in losses if np.any(path <= 1e-3 * path[0])))
    assert best[1] < best[0]


@pytest.mark.parametrize(("n", "d"), [(1, 3), (2, 1), (40, 2), (200, 10)])
def test_a_block_sends_distinct_points_to_any_targets(n, d):
    rng = np.random.default_rng(n)
    X, targets = rng.standard_normal((n, d)), 10 * rng.standard_normal((n, d))
    block = interpolating_block(X, targets, rng)
    np.testing.assert_allclose(block(X), targets, atol=1e-8)
    assert block.U.shape == (3 * n, d)
    far = X + 100 * np.linalg.norm(X) * block.U[0]
    np.testing.assert_allclose(block(far), far, rtol=1e-6, atol=1e-6)


def test_digits_are_sent_to_random_targets():
    from sklearn.datasets import load_digits

    X = load_digits().data[:300] / 16
    rng = np.random.default_rng(0)
    targets = rng.standard_normal(X.shape)
    np.testing.assert_allclose(interpolating_block(X, targets, rng)(X), targets, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: interpolating_block(np.ones((2, 3)), np.ones((2, 3)), np.random.default_rng(0)), "must differ"),
        (lambda: interpolating_block(np.ones((2, 3)), np.ones((2, 2)), np.random.default_rng(0)), "must be"),
        (lambda: gradient(np.ones((2, 3, 3)), np.eye(2), np.eye(3)), "must fit"),
        (lambda: logarithmic_factors(-np.eye(2), 3), "no eigenvalue"),
        (lambda: logarithmic_factors(np.eye(2), 0), "at least 1"),
        (lambda: descend(np.zeros((1, 2, 2)), np.eye(2), np.eye(2), 0.0, 3), "rate must be positive"),
        (lambda: Framed(np.ones((3, 2)), np.ones((2, 2)), np.ones((2, 4)), np.ones((2, 4))), "must fit"),
        (lambda: end_to_end_step(np.ones(2), np.ones(2), 0), "at least 1"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_quick_study_sees_no_spurious_optimum_and_no_slowing_by_depth(monkeypatch):
    from anmin.lab import study_residual_linear as study

    pytest.importorskip("matplotlib", reason="the study draws")
    monkeypatch.setattr(study, "_DEPTHS", (1, 2, 4, 16))
    monkeypatch.setattr(study, "_RATES", 2.0 ** -np.arange(0, 6, 2))
    outcome = study.run(quick=True, seed=1)
    verdicts = [claim.verdict for claim in outcome.claims]
    assert verdicts[:6] == ["agrees", "agrees", "agrees", "differs", "agrees", "agrees"]
    assert all(np.isfinite(cell) for row in outcome.tables[0].rows for cell in row)
