"""The study of alignment: its rows, the convex optimum beside the loss, and its verdicts at small sizes."""

from __future__ import annotations

import numpy as np
import pytest

from anmin.lab import study_alignment
from anmin.lab.study_alignment import Size, descent_path, linear_rows, optimum

pytest.importorskip("matplotlib", reason="studies draw with Matplotlib")


def loss(X, y, W, b, alpha):
    return np.mean((np.maximum(X @ W, 0) @ b - y) ** 2) + alpha * (np.sum(W**2) + np.sum(b**2))


def test_targets_are_linear_and_of_mean_square_one():
    X, y = linear_rows(3)
    assert X.shape == (100, 10)
    assert np.linalg.lstsq(X, y, rcond=None)[1] < 1e-20
    assert np.mean(y**2) == pytest.approx(1.0, rel=1e-12)


def test_losses_and_counts_are_those_of_the_rule_written_out(monkeypatch):
    monkeypatch.setattr(study_alignment, "N_STEPS", 40)
    alpha, rate, scale = study_alignment.ALPHA, study_alignment.RATE, 0.1
    path = descent_path(1, scale)
    X, y = linear_rows(1)
    rng = np.random.default_rng([1, 1])
    W, b = scale * rng.standard_normal((10, 20)), scale * rng.standard_normal(20)
    for step in range(41):
        on = X @ W > 0
        assert path.losses[step] == pytest.approx(loss(X, y, W, b, alpha), rel=1e-10)
        assert path.counts[step] == len(np.unique(on, axis=1).T)
        residual = (X @ W * on) @ b - y
        dW = 2 * (X.T @ (on * np.outer(residual, b)) / 100 + alpha * W)
        W, b = W - rate * dW, b - rate * 2 * ((X @ W * on).T @ residual / 100 + alpha * b)


def test_the_optimum_is_at_most_the_loss_of_any_network_of_its_patterns():
    """And of one input and pattern it is known."""
    rng = np.random.default_rng(0)
    X, y = linear_rows(0)
    W = rng.standard_normal((10, 6))
    least = optimum(X, y, W, 0.01)
    for _ in range(20):
        b = rng.standard_normal(6)
        scale = rng.uniform(0.1, 1.0, 6)
        assert least <= loss(X, y, W * scale, b, 0.01)
    # One input of 1 and y = 1: min (z − 1)² + 2·alpha·|z| = 2·alpha − alpha².
    assert optimum(np.ones((4, 1)), np.ones(4), np.ones((1, 1)), 0.1) == pytest.approx(0.19, rel=1e-6)


def test_a_path_is_passed_where_its_loss_is_below_the_first_optimum():
    path = study_alignment.Path(np.array([3.0, 2.0, 0.9, 0.5]), np.ones(4), np.array([0]), np.array([1.0]))
    assert path.passed == 2
    assert study_alignment.Path(path.losses, path.counts, path.steps, np.array([0.1])).passed is None


def test_the_study_at_small_sizes(monkeypatch):
    monkeypatch.setattr(study_alignment, "QUICK", Size(1, 100))
    study = study_alignment.run(quick=True)
    assert [claim.verdict for claim in study.claims] == 3 * ["agrees"]
    (row,) = study.tables[0].rows
    assert np.isfinite(row[1:]).all()
    assert row[5] <= row[4] < row[2]
    # Smaller starts leave fewer patterns.
    counts = [row[2] for row in study.tables[1].rows]
    assert counts[0] == 20
    assert counts[-1] < 10
