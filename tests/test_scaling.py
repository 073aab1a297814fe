"""Standardisation: its moments, and the network of raw units that it folds into."""

from __future__ import annotations

import numpy as np
import pytest

from anmin import ReLUNetwork
from anmin.rows import ArrayRows, Scaling
from problems import Case


@pytest.mark.parametrize("weighted", [False, True])
def test_scaled_columns_have_mean_zero_and_deviation_one(weighted):
    X, Y, w, _ = Case("scaled", weighted=weighted, n_outputs=2, scales=(1e-12, 1.0, 1e12)).data()
    rows = ArrayRows(X + np.array([1e-11, -3.0, 0.0]), 100 * Y + 7, w)
    scaled = Scaling.standard(rows).apply(rows)
    for values in (scaled.X, scaled.Y):
        np.testing.assert_allclose(np.average(values, axis=0, weights=w), 0, atol=1e-12)
        np.testing.assert_allclose(np.average(values**2, axis=0, weights=w), 1, rtol=1e-12)


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, -1e300, 1e-300, 1 / 3])
def test_constant_columns_become_zero(value):
    rows = ArrayRows(np.full((1000, 1), value), np.full(1000, value))
    scaling = Scaling.standard(rows)
    assert scaling.x_scale[0] == scaling.y_scale[0] == 1
    scaled = scaling.apply(rows)
    np.testing.assert_allclose(scaled.X, 0, atol=1e-12 * abs(value))


@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_extreme_columns_do_not_overflow(size):
    x = size * np.random.default_rng(0).standard_normal((100, 1))
    scaling = Scaling.standard(ArrayRows(x, x[:, 0]))
    np.testing.assert_allclose(scaling.x_scale, np.std(x / size, axis=0) * size)


def test_folding_gives_the_same_function_of_raw_inputs_and_unfolding_gives_back():
    X, Y, w, A = Case("fold", n_outputs=2, weighted=True, scales=(1e-3, 1.0, 1e3)).data()
    rows = ArrayRows(X + 1, 50 * Y - 20, w)
    scaling = Scaling.standard(rows)
    rng = np.random.default_rng(0)
    network = ReLUNetwork(A, rng.standard_normal((5, 2)), rng.standard_normal(2), 0.1)
    folded = scaling.fold(network)
    scaled = scaling.apply(rows)
    expected = network.predict(scaled.X) * scaling.y_scale + scaling.y_mean
    np.testing.assert_allclose(folded.predict(rows.X), expected, rtol=1e-10)
    back = scaling.unfold(folded)
    for name in ("A", "B", "b0"):
        np.testing.assert_allclose(getattr(back, name), getattr(network, name), rtol=1e-9, atol=1e-12)


def test_identity_changes_nothing():
    X, Y, _, A = Case("identity").data()
    scaling = Scaling.identity(3, 1)
    scaled = scaling.apply(ArrayRows(X, Y))
    np.testing.assert_array_equal(scaled.X, X)
    network = ReLUNetwork(A, np.ones((5, 1)), [0.5])
    np.testing.assert_array_equal(scaling.fold(network).A, network.A)


def test_float32_is_taken_after_scaling():
    # 1e8 + small: float32 before scaling would lose everything.
    x = 1e8 + np.random.default_rng(0).standard_normal((1000, 1))
    rows = ArrayRows(x, x[:, 0])
    scaled = Scaling.standard(rows).apply(rows, "float32")
    assert scaled.X.dtype == np.float32
    assert scaled.X.std() == pytest.approx(1, rel=1e-3)
