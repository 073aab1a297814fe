"""Tensor initialisation: exact moments, moments of rows, and what descends from it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from anmin.lab.planted import distance, orthonormal, plant
from anmin.lab.study_tensor import descent, run
from anmin.lab.tensor_initialisation import (
    components,
    leading_subspace,
    network_of,
    population_moments,
    sample_moments,
    tensor_initialisation,
)
from lab_checks import check_study


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("k", [1, 2, 4])
def test_exact_moments_give_the_network(seed: int, k: int):
    rng = np.random.default_rng([seed, k])
    W, v = rng.standard_normal((6, k)), rng.choice([-1.0, 1.0], k)
    found, signs = network_of(population_moments(W, v), rng)
    # The order is free; each neuron comes with its own sign.
    orders = [list(order) for order in itertools.permutations(range(k))]
    assert min(np.abs(found[:, o] - W).max() + np.abs(signs[o] - v).max() for o in orders) < 1e-8


def test_moments_of_rows_are_hermite_tensors():
    """Against sums row by row, with the fourth Hermite tensor written out."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((90, 2)), rng.standard_normal(90)
    moments = sample_moments(X, y, 2)
    d = np.eye(2)
    M2, T = np.zeros((2, 2)), np.zeros((2, 2, 2, 2))
    for x, value in zip(X[1::3], y[1::3], strict=True):
        M2 += value * (np.outer(x, x) - d) / 30
    for x, value in zip(X[2::3] @ moments.V, y[2::3], strict=True):
        for a, b, c, e in np.ndindex(T.shape):
            pairs = (
                d[a, b] * x[c] * x[e] + d[a, c] * x[b] * x[e] + d[a, e] * x[b] * x[c]
                + d[b, c] * x[a] * x[e] + d[b, e] * x[a] * x[c] + d[c, e] * x[a] * x[b]
            )  # fmt: skip
            three = d[a, b] * d[c, e] + d[a, c] * d[b, e] + d[a, e] * d[b, c]
            T[a, b, c, e] += value * (x[a] * x[b] * x[c] * x[e] - pairs + three) / 30
    np.testing.assert_allclose(moments.M1, X[::3].T @ y[::3] / 30, atol=1e-12)
    np.testing.assert_allclose(moments.M2, M2, atol=1e-12)
    np.testing.assert_allclose(moments.T, T, atol=1e-12)


@pytest.mark.parametrize("subtract", [False, True])
def test_moments_of_many_rows_are_near_the_exact_ones(subtract: bool):
    rng = np.random.default_rng(1)
    W, v = np.array([[2.0, 0.0], [0.0, 1.0]]), np.array([1.0, -1.0])
    planted = plant(W, 600_000, rng, v=v)
    found, exact = sample_moments(planted.X, planted.y, 2, subtract=subtract), population_moments(W, v)
    np.testing.assert_allclose(found.M1, exact.M1, atol=0.02)
    np.testing.assert_allclose(found.M2, exact.M2, atol=0.04)
    turn = exact.V.T @ found.V  # each basis has signs of its own
    np.testing.assert_allclose(turn.T @ turn, np.eye(2), atol=1e-12)
    turned = np.einsum("abcd,ai,bj,ck,dl->ijkl", exact.T, turn, turn, turn, turn)
    np.testing.assert_allclose(found.T, turned, atol=0.03 if subtract else 0.25)


def test_components_of_a_cube_are_found():
    rng = np.random.default_rng(2)
    U = rng.standard_normal((3, 3))
    U /= np.linalg.norm(U, axis=0)
    R = np.einsum("j,aj,bj,cj->abc", [1.0, -2.0, 0.5], U, U, U)
    cosines = np.abs(components(R, rng).T @ U)
    np.testing.assert_allclose(np.sort(cosines.max(axis=0)), np.ones(3), atol=1e-9)
    assert sorted(cosines.argmax(axis=0)) == [0, 1, 2]


def test_the_leading_subspace_counts_negative_eigenvalues():
    V = leading_subspace(np.diag([1.0, -3.0, 2.0, 0.5]), 2)
    np.testing.assert_allclose(np.abs(V), [[0, 0], [1, 0], [0, 1], [0, 0]], atol=1e-12)


def test_the_start_is_near_and_descent_ends_at_the_network():
    starts, ends = [], []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        planted = plant(orthonormal(10, 3, rng), 20_000, rng)
        starts.append(distance(tensor_initialisation(planted.X, planted.y, 3, rng)[0], planted.W))
        ends.append(descent(planted, rng, seed, "tensor")[-1])
    assert sum(d < 0.5 for d in starts) >= 4
    assert sum(d < 1e-5 for d in ends) >= 4


def test_plain_moments_of_many_rows_start_two_neurons_near_in_most_seeds():
    """Without taking anything from y, as the source has it: k = 2 and 100,000 rows."""
    found = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        planted = plant(orthonormal(10, 2, rng), 100_000, rng)
        W, _ = tensor_initialisation(planted.X, planted.y, 2, rng, subtract=False)
        found.append(distance(W, planted.W))
    assert sum(d < 0.5 for d in found) >= 4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda X, y, rng: tensor_initialisation(X, y, 4, rng), "n_neurons must be an integer from 1 to 3"),
        (lambda X, y, rng: tensor_initialisation(X, y, 0, rng), "n_neurons must be an integer from 1 to 3"),
        (lambda X, y, rng: tensor_initialisation(X, y[:-1], 2, rng), r"y must have the shape \(99,\); got \(98,\)"),
        (lambda X, y, rng: tensor_initialisation(X[:50], y[:50], 2, rng), "at least 60 rows for 3 inputs; got 50"),
        (lambda X, y, rng: tensor_initialisation(X, y, 2, rng, n_slices=0), "n_slices must be an integer"),
        (lambda X, y, rng: population_moments(np.ones((2, 3)), np.ones(3)), "the number of neurons must be"),
        (lambda X, y, rng: population_moments(np.ones((3, 2)), np.ones(3)), r"v must have the shape \(2,\)"),
        (lambda X, y, rng: leading_subspace(np.ones((3, 2)), 1), r"M must have the shape \(d, 3\)"),
        (lambda X, y, rng: leading_subspace(np.eye(3), 4), "k must be an integer from 1 to 3"),
        (lambda X, y, rng: components(np.ones((2, 2, 3)), rng), r"R must have the shape \(2, 2, 2\)"),
    ],
)
def test_bad_input_is_refused(call, message: str):
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=message):
        call(rng.standard_normal((99, 3)), rng.standard_normal(99), rng)


def test_the_study_at_small_sizes():
    pytest.importorskip("matplotlib", reason="studies draw with Matplotlib")
    verdicts = check_study(run(quick=True), "tensor", 2)
    assert verdicts["From exact moments the network is recovered exactly."] == "agrees"
    assert list(verdicts.values()).count("differs") == 0
