"""Quadratic activations: recovery to rounding, the equality of the two methods, the network read back, bad input."""

from __future__ import annotations

import warnings
from itertools import islice

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import check_estimator

from anmin.lab.quadratic import (
    QuadraticRegressor,
    debiased_gradient,
    exact_projection,
    factored,
    krylov_projection,
    low_rank_iterates,
    quadratic_form,
)
from anmin.lab.study_quadratic import planted_matrix, run
from lab_checks import check_study

P, RANK = 20, 2


def rows(n: int, seed: int = 0):
    """Return X, y = xᵀ L* x and L* of rank 2."""
    L_star = planted_matrix(P, seed)
    X = np.random.default_rng([seed, n]).standard_normal((n, P))
    return X, quadratic_form(X, L_star), L_star


@pytest.mark.parametrize("method", ["ep_rom", "ap_rom"])
@pytest.mark.parametrize("seed", range(3))
def test_planted_matrices_are_recovered(method: str, seed: int):
    X, y, L_star = rows(40 * P * RANK, seed)
    model = QuadraticRegressor(RANK, method=method, random_state=0).fit(X, y)
    assert np.linalg.norm(model.L_ - L_star) < 1e-8 * np.linalg.norm(L_star)
    assert model.n_iter_ <= 60
    assert model.errors_[0] == pytest.approx(np.sqrt(np.mean(y**2)))
    assert model.errors_[-1] < 1e-9 * model.errors_[0]


def test_after_twenty_iterations_the_error_is_that_of_the_source():
    X, y, L_star = rows(40 * P * RANK)
    *_, (L, _) = islice(low_rank_iterates(X, y, lambda M: exact_projection(M, RANK)), 21)
    assert np.linalg.norm(L - L_star) < 1e-6 * np.linalg.norm(L_star)


def test_the_expected_gradient_is_the_distance_of_the_matrices():
    rng = np.random.default_rng(0)
    D = rng.standard_normal((3, 3))
    D += D.T
    X = rng.standard_normal((400_000, 3))
    # The moments of fourth order have a standard error of some 0.02 here.
    np.testing.assert_allclose(debiased_gradient(X, quadratic_form(X, D)), D, atol=0.06)


def test_the_gradient_is_half_that_of_the_squared_error_but_for_the_trace():
    X, y, _ = rows(50)
    L = np.random.default_rng(1).standard_normal((P, P))
    L += L.T
    E = np.random.default_rng(2).standard_normal((P, P))
    h = 1e-6

    def loss(M):
        return np.mean((quadratic_form(X, M) - y) ** 2) / 4

    errors = quadratic_form(X, L) - y
    slope = (loss(L + h * E) - loss(L - h * E)) / (2 * h)
    with_trace = debiased_gradient(X, errors) + np.mean(errors) / 2 * np.eye(P)
    assert slope == pytest.approx(np.sum(with_trace * E), rel=1e-7)


def test_ap_rom_with_exact_projections_is_ep_rom():
    X, y, _ = rows(800)

    def tail(M):
        return exact_projection(M, RANK)

    pairs = zip(low_rank_iterates(X, y, tail), low_rank_iterates(X, y, tail, lambda M: M), strict=True)
    for (a, _), (b, _) in islice(pairs, 15):
        np.testing.assert_array_equal(a, b)


def test_the_sign_as_printed_diverges():
    X, y, L_star = rows(40 * P * RANK)

    def printed(X, errors):
        return debiased_gradient(X, errors) + np.mean(errors) * np.eye(P)

    *_, (L, _) = islice(low_rank_iterates(X, y, lambda M: exact_projection(M, RANK), gradient=printed), 21)
    assert np.linalg.norm(L - L_star) > 1e3 * np.linalg.norm(L_star)


def test_the_exact_projection_is_the_nearest_matrix_of_its_rank():
    M = np.random.default_rng(0).standard_normal((6, 6))
    M += M.T
    values = np.sort(np.abs(np.linalg.eigvalsh(M)))
    projected = exact_projection(M, 2)
    assert np.linalg.matrix_rank(projected) == 2
    # Eckart and Young: what is left are the other singular values.
    assert np.linalg.norm(M - projected) == pytest.approx(np.linalg.norm(values[:-2]))


def test_the_krylov_projection_is_symmetric_of_low_rank_and_near_the_best():
    rng = np.random.default_rng(0)
    M = rng.standard_normal((120, 120))
    M += M.T
    approximate, best = krylov_projection(M, 3, rng), exact_projection(M, 3)
    np.testing.assert_allclose(approximate, approximate.T, atol=1e-12)
    assert np.linalg.matrix_rank(approximate) == 3
    assert np.linalg.norm(M - approximate, 2) < 1.1 * np.linalg.norm(M - best, 2)
    # A matrix of that rank is found exactly.
    np.testing.assert_allclose(krylov_projection(best, 3, rng), best, atol=1e-10)


def test_the_network_is_read_back_from_the_matrix():
    X, y, L_star = rows(1600)
    model = QuadraticRegressor(RANK).fit(X, y)
    assert sorted(model.signs_) == [-1.0, 1.0]
    slow = [sum(a * (x @ w) ** 2 for a, w in zip(model.signs_, model.weights_.T, strict=True)) for x in X[:20]]
    np.testing.assert_allclose(slow, y[:20], atol=1e-8)
    np.testing.assert_allclose(model.predict(X[:20]), slow, atol=1e-12)
    W, a = factored(L_star, RANK)
    np.testing.assert_allclose((W * a) @ W.T, L_star, atol=1e-14)
    assert W.T[0] @ W.T[1] == pytest.approx(0.0, abs=1e-12)
    assert factored(np.diag([2.0, 0.0, 0.0]), 3)[1].tolist() == [1.0]


def test_multiplying_the_targets_multiplies_the_matrix():
    X, y, _ = rows(1600)
    one, other = QuadraticRegressor(RANK).fit(X, y), QuadraticRegressor(RANK).fit(X, -1000 * y)
    np.testing.assert_allclose(other.L_, -1000 * one.L_, rtol=1e-9, atol=1e-9)


def test_it_keeps_the_best_iterate_and_says_so_where_it_diverges():
    X, y, _ = rows(60)
    with pytest.warns(ConvergenceWarning, match="diverged: it needs inputs near N"):
        model = QuadraticRegressor(RANK, max_iter=400).fit(X, y)
    assert np.sqrt(np.mean((model.predict(X) - y) ** 2)) == pytest.approx(model.errors_.min())
    X, y, _ = rows(1600)
    with pytest.warns(ConvergenceWarning, match="max_iter=3 iterations were not enough"):
        assert QuadraticRegressor(RANK, max_iter=3).fit(X, y).n_iter_ == 3


def test_targets_of_zero_give_the_zero_network():
    X, y, _ = rows(100)
    model = QuadraticRegressor(RANK).fit(X, 0 * y)
    assert not model.predict(X).any()
    assert model.weights_.shape == (P, 0)


def test_it_is_an_estimator_of_scikit_learn():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(QuadraticRegressor(1, max_iter=20), on_fail=None)
    assert [(r["check_name"], r["exception"]) for r in results if r["status"] == "failed"] == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": 21}, r"rank must be an integer from 1 to 20 \(the number of inputs\); got 21"),
        ({"rank": 0}, "rank must be an integer from 1 to 20"),
        ({"method": "svd"}, "method must be 'ep_rom' or 'ap_rom'; got 'svd'"),
        ({"max_iter": 0}, "max_iter must be an integer of at least 1; got 0"),
        ({"tol": -1.0}, "tol must be a finite number of at least 0; got -1.0"),
        ({"method": "ap_rom", "head_rank": 21}, "head_rank must be an integer from 1 to 20"),
        ({"method": "ap_rom", "power_steps": -1}, "power_steps must be an integer of at least 0"),
        ({"method": "ap_rom", "oversample": 1.5}, "oversample must be an integer of at least 0"),
    ],
)
def test_bad_settings_are_refused(settings, message: str):
    X, y, _ = rows(50)
    with pytest.raises(ValueError, match=message):
        QuadraticRegressor(**settings).fit(X, y)


def test_bad_matrices_are_refused():
    X, y, _ = rows(50)
    with pytest.raises(ValueError, match="fits one output; got y with 2 columns"):
        QuadraticRegressor().fit(X, np.column_stack([y, y]))
    for call in (exact_projection, factored):
        with pytest.raises(ValueError, match=r"must have the shape \(p, 2\); got \(2, 3\)"):
            call(np.zeros((2, 3)), 1)
        with pytest.raises(ValueError, match="rank must be an integer from 1 to 2"):
            call(np.eye(2), 3)


def test_the_study_agrees_but_for_the_sign():
    pytest.importorskip("matplotlib", reason="studies draw with Matplotlib")
    verdicts = check_study(run(quick=True), "quadratic", 2)
    differing = [claim for claim, verdict in verdicts.items() if verdict == "differs" and "faster" not in claim]
    assert len(differing) == 1
    assert differing[0].startswith("The bracket as printed")
