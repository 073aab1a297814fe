"""One ReLU: its projections against their definitions, its rate, exact recovery of sparse weights, bad input."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from anmin.lab import study_one_relu
from anmin.lab.one_relu import keep_largest, project_on_l1_ball, projected_descent
from anmin.lab.study_one_relu import errors, run
from lab_checks import check_study


def test_the_projection_on_the_l1_ball_is_the_nearest_point():
    rng = np.random.default_rng(0)
    for radius in (0.5, 1.7, 4.0):
        w = rng.standard_normal(4)
        found = project_on_l1_ball(w, radius)
        # As u − v with u, v >= 0 the ball is a polytope, on which a solver of its own finds the nearest point.
        slow = minimize(
            lambda z, w=w: np.sum((z[:4] - z[4:] - w) ** 2),
            np.zeros(8),
            bounds=[(0, None)] * 8,
            constraints={"type": "ineq", "fun": lambda z, radius=radius: radius - z.sum()},
            options={"ftol": 1e-14},
        ).x
        np.testing.assert_allclose(found, slow[:4] - slow[4:], atol=1e-5)
        assert np.abs(found).sum() <= radius + 1e-12
    np.testing.assert_array_equal(project_on_l1_ball([0.3, -0.2], 1.0), [0.3, -0.2])
    np.testing.assert_array_equal(project_on_l1_ball([0.3, -0.2], 0.0), [0.0, 0.0])


def test_keeping_the_largest_entries():
    np.testing.assert_array_equal(keep_largest([1.0, -3.0, 2.0, 0.5], 2), [0.0, -3.0, 2.0, 0.0])


def test_a_step_is_along_the_gradient():
    rng = np.random.default_rng(1)
    X, y = rng.standard_normal((30, 3)), rng.standard_normal(30)
    w = projected_descent(X, y, lambda w: w, 2, rate=0.1)
    np.testing.assert_allclose(w[1], 0.1 * X.T @ y / 30, atol=1e-14)

    def loss(w):
        return np.mean((np.maximum(X @ w, 0) - y) ** 2)

    slope = np.array([(loss(w[1] + e) - loss(w[1] - e)) / 2e-6 for e in 1e-6 * np.eye(3)])
    np.testing.assert_allclose(w[2], w[1] - 0.1 * slope, atol=1e-8)


@pytest.mark.parametrize("seed", range(3))
def test_the_error_falls_geometrically(seed: int):
    found = errors("ℓ1 ball", 100, 2000, None, seed)
    assert np.all(found[:11] <= 0.6 ** np.arange(11) + 1e-12)
    assert np.all(found[1:5] < [0.6, 0.23, 0.11, 0.05])


@pytest.mark.parametrize("seed", range(3))
def test_sparse_weights_are_found_exactly_from_fewer_rows_than_inputs(seed: int):
    assert errors("5-sparse", 200, 150, 5, seed)[-1] < 1e-14


def test_iterates_that_diverge_stay_finite():
    rng = np.random.default_rng(2)
    X = rng.standard_normal((20, 40))
    found = projected_descent(X, np.abs(X[:, 0]), np.copy, 2000, rate=5.0)
    assert np.isfinite(found).all()
    assert np.linalg.norm(found[-1]) > 1e50


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: project_on_l1_ball([1.0], -1.0), "radius must be a finite number of at least 0; got -1.0"),
        (lambda: keep_largest([1.0], 2), r"n_kept must be an integer from 1 to 1 \(the length of w\); got 2"),
        (lambda: keep_largest(np.eye(2), 1), r"w must have the shape \(d,\); got \(2, 2\)"),
        (lambda: projected_descent(np.eye(3), np.ones(2), np.copy, 5), r"y must have the shape \(3,\)"),
        (lambda: projected_descent(np.eye(3), np.ones(3), np.copy, 0), "n_steps must be an integer of at least 1"),
        (lambda: projected_descent(np.eye(3), np.ones(3), np.copy, 5, rate=-1.0), "rate must be a finite number above"),
    ],
)
def test_bad_input_is_refused(call, message: str):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_study_agrees_but_for_the_rate_and_the_averaged_loss(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("matplotlib", reason="studies draw with Matplotlib")
    monkeypatch.setattr(study_one_relu, "_STEPS", 120)
    verdicts = check_study(run(quick=True), "one_relu", 2)
    assert [claim[:8] for claim, verdict in verdicts.items() if verdict == "differs"] == ["The rate", "The loss"]
