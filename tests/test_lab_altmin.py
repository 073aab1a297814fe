"""The study of alternating minimisation, and the planted problems that the studies share."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from anmin.lab.planted import as_network, distance, near_identity, orthonormal, plant, relu_sum
from anmin.lab.study_altmin import distances, run
from lab_checks import check_study


def test_the_study_agrees_at_small_sizes():
    pytest.importorskip("matplotlib", reason="studies draw with Matplotlib")
    verdicts = check_study(run(quick=True), "altmin", 2)
    assert verdicts["From the identity it recovers networks near the identity exactly."] == "agrees"
    assert verdicts["It converges linearly."] == "agrees"
    (step,) = (verdict for claim, verdict in verdicts.items() if claim.startswith("A step is ANMIN's"))
    assert step == "agrees"


def test_distances_begin_at_the_identity_and_end_at_rounding():
    rng = np.random.default_rng(0)
    planted = plant(near_identity(6, 6, 0.3, rng), 400, rng)
    found = distances(planted, "identity", 9)
    assert len(found) == 10
    assert found[0] == pytest.approx(distance(np.eye(6), planted.W))
    assert found[-1] < 1e-12


def test_distance_is_the_least_over_orders():
    rng = np.random.default_rng(1)
    W, W_star = rng.standard_normal((2, 3, 4))
    brute = min(np.linalg.norm(W[:, list(order)] - W_star) for order in itertools.permutations(range(4)))
    assert distance(W, W_star) == pytest.approx(brute / np.linalg.norm(W_star), rel=1e-12)
    assert distance(W[:, ::-1], W) == 0.0


def test_planted_rows_are_those_of_the_network():
    rng = np.random.default_rng(2)
    W, v = rng.standard_normal((3, 2)), np.array([1.0, -1.0])
    planted = plant(W, 50, rng, v=v)
    slow = [sum(v[j] * max(0.0, x @ W[:, j]) for j in range(2)) for x in planted.X]
    np.testing.assert_allclose(planted.y, slow, atol=1e-14)
    np.testing.assert_allclose(as_network(W, v).predict(planted.X)[:, 0], slow, atol=1e-14)
    np.testing.assert_allclose(relu_sum(planted.X, W), as_network(W).predict(planted.X)[:, 0], atol=1e-14)
    noisy = plant(W, 100_000, np.random.default_rng(3), noise=0.5)
    assert np.std(noisy.y - relu_sum(noisy.X, W)) == pytest.approx(0.5, rel=0.02)


def test_planted_weights_are_near_the_identity_or_orthonormal():
    rng = np.random.default_rng(4)
    W = near_identity(5, 5, 0.7, rng)
    assert np.linalg.norm(W - np.eye(5), 2) == pytest.approx(0.7)
    V = orthonormal(5, 3, rng)
    np.testing.assert_allclose(V.T @ V, np.eye(3), atol=1e-14)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda rng: near_identity(3, 4, 0.1, rng), r"k must be an integer from 1 to 3 .*; got 4"),
        (lambda rng: near_identity(3, 3, -0.1, rng), "gamma must be a finite number of at least 0; got -0.1"),
        (lambda rng: orthonormal(2, 3, rng), "k must be an integer from 1 to 2"),
        (lambda rng: plant(np.eye(3), 0, rng), "n_rows must be an integer of at least 1; got 0"),
        (lambda rng: plant(np.eye(3), 9, rng, v=[1.0]), r"v must have the shape \(3,\); got \(1,\)"),
        (lambda rng: plant(np.eye(3), 9, rng, noise=-1.0), "noise must be a finite number of at least 0"),
        (lambda rng: plant([["a"]], 9, rng), r"W must be an array of numbers of shape \(d, k\)"),
        (lambda rng: plant([[np.nan]], 9, rng), "W must hold finite numbers"),
        (lambda rng: distance(np.eye(3), np.eye(2)), r"W must have the shape \(2, 2\); got \(3, 3\)"),
    ],
)
def test_bad_input_is_refused(call, message: str):
    with pytest.raises(ValueError, match=message):
        call(np.random.default_rng(0))
