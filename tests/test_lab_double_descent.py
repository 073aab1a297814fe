"""Least squares around the interpolation threshold: exact risks, peaks, and the effective complexity."""

from __future__ import annotations

import math

import numpy as np
import pytest

from anmin.lab import study_double_descent_linear, study_random_features
from anmin.lab.double_descent import descended, effective_complexity, exact_risk, least_norm, limiting_risk
from anmin.lab.random_features import fit_fourier, fourier_features


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


@pytest.fixture(scope="module")
def sweeps():
    """Medians of three seeds at n = 200 rows: squared test error and ‖a‖, for numbers of frequencies, paired or not."""
    found = {}
    for paired in (False, True):
        for N in (50, 90, 100, 110, 190, 200, 210, 400, 2000):
            seeds = []
            for seed in range(3):
                rng = np.random.default_rng(seed)
                X, direction = rng.standard_normal((400, 10)), rng.standard_normal(10) / np.sqrt(10)
                y = np.sin(X @ direction)[:, None]
                fit = fit_fourier(X[:200], y[:200] + 0.1 * rng.standard_normal((200, 1)), N, 3.0, rng, paired)
                seeds.append((np.mean((fit.predict(X[200:]) - y[200:]) ** 2), fit.norm))
            found[paired, N] = np.median(seeds, axis=0)
    return found


@pytest.mark.parametrize(("paired", "threshold"), [(False, 200), (True, 100)])
def test_errors_and_norms_peak_at_the_threshold_which_pairs_halve(sweeps, paired, threshold):
    for k in range(2):
        values = {N: float(pair[k]) for (pairs, N), pair in sweeps.items() if pairs == paired}
        peak = max(values, key=lambda N: values[N])
        assert abs(peak / threshold - 1) <= 0.1
        assert values[2000] < values[peak] / 10


def test_many_random_features_come_to_the_gaussian_kernel():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((6, 3))
    distances = np.sum((X[:, None] - X[None]) ** 2, axis=2)
    features = fourier_features(X, rng.standard_normal((3, 200_000)) / 2.0)
    np.testing.assert_allclose(features @ features.conj().T / 200_000, np.exp(-distances / 8), atol=0.01)


@pytest.mark.parametrize("paired", [False, True])
def test_fits_from_the_threshold_on_go_through_the_rows(paired):
    rng = np.random.default_rng(2)
    X, Y = rng.standard_normal((12, 4)), rng.standard_normal((12, 2))
    np.testing.assert_allclose(fit_fourier(X, Y, 6 if paired else 12, 2.0, rng, paired).predict(X), Y, atol=1e-8)
    assert np.abs(fit_fourier(X, Y, 5, 2.0, rng, paired).predict(X) - Y).max() > 0.01


@pytest.mark.parametrize("study", [study_double_descent_linear, study_random_features])
def test_the_quick_studies_have_finite_tables_and_the_peaks(study, monkeypatch):
    if study is study_random_features:
        monkeypatch.setattr(study, "_SHARES", (0.1, 0.4, 0.5, 0.8, 1.0, 2.0, 10.0))
        monkeypatch.setattr(study, "_complexities", lambda counts, seed, made=study._complexities: made((6,), seed))
    outcome = study.run(quick=True, seed=1)
    assert outcome.claims[0].verdict == "agrees"
    assert {claim.verdict for claim in outcome.claims} == {"agrees", "differs"}
    infinite = {(row[0], k) for table in outcome.tables for row in table.rows for k, cell in enumerate(row)
                if not isinstance(cell, str) and not np.isfinite(cell)}  # fmt: skip
    assert infinite == ({(100, 4), (100, 5)} if study is study_double_descent_linear else set())
    assert all(picture.content.startswith(b"\x89PNG") for picture in outcome.pictures)


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
        (lambda: fourier_features(np.eye(3), np.ones((2, 5))), "frequencies"),
        (lambda: fit_fourier(np.eye(3), np.ones(3), 2, 1.0, np.random.default_rng(0)), "must be"),
        (lambda: fit_fourier(np.eye(3), np.eye(3), 0, 1.0, np.random.default_rng(0)), "at least one frequency"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call()
