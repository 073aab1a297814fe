"""Rows that come and go: against dense least squares on the rows that there are, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from anmin import ReLURegressor
from anmin.rows import Scaling


def rows(n: int, seed: int, outputs: int = 1):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 3))
    Y = np.abs(X[:, :outputs]) + X[:, 2:] + 0.1 * rng.standard_normal((n, outputs))
    return X, Y[:, 0] if outputs == 1 else Y


def best_output_layer(model: ReLURegressor, X, Y, w):
    """Return [B; b0] by dense least squares in the coordinates solved in, at the model's hidden layer, and its loss."""
    scaling: Scaling = model.scaling_
    network = scaling.unfold(model.network_)
    Z = (X - scaling.x_mean) / scaling.x_scale
    T = (Y.reshape(len(Y), -1) - scaling.y_mean) / scaling.y_scale
    S1 = np.column_stack([np.maximum(Z @ network.A[1:] + network.A[0], 0), np.ones(len(Z))])
    root = np.sqrt(w / w.sum())[:, None]
    k = S1.shape[1]
    system = np.vstack([root * S1, np.sqrt(model.alpha_) * np.eye(k)])
    solution = np.linalg.lstsq(system, np.vstack([root * T, np.zeros((k, T.shape[1]))]), rcond=None)[0]
    loss = np.sum((root * (S1 @ solution - T)) ** 2) + model.alpha_ * (np.sum(solution**2) + np.sum(network.A**2))
    return solution, loss, network


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_output_layer_is_the_best_one_for_all_rows_so_far(outputs, weighted):
    X, Y = rows(200, 0, outputs)
    w = np.random.default_rng(1).random(200) if weighted else np.ones(200)
    model = ReLURegressor(5, alpha=1e-3, random_state=0)
    places = [slice(0, 100), slice(100, 150), slice(150, 200)]
    for number, place in enumerate(places):
        model.partial_fit(X[place], Y[place], w[place] if weighted else None)
        hidden = model.network_.A if number == 0 else hidden  # noqa: F821
        np.testing.assert_allclose(model.network_.A, hidden, rtol=1e-12)
    solution, loss, network = best_output_layer(model, X, Y, w)
    np.testing.assert_allclose(np.vstack([network.B, network.b0]), solution, rtol=1e-7, atol=1e-9)
    assert model.loss_ == pytest.approx(loss, rel=1e-9)
    assert model.alpha_ * w.sum() == pytest.approx(1e-3 * w[:100].sum())
    np.testing.assert_allclose(model.coefs_[1], model.network_.B)
    # And back to the first rows.
    model.forget(X[100:], Y[100:], w[100:] if weighted else None)
    solution, loss, network = best_output_layer(model, X[:100], Y[:100], w[:100])
    np.testing.assert_allclose(np.vstack([network.B, network.b0]), solution, rtol=1e-6, atol=1e-8)
    assert model.alpha_ == pytest.approx(1e-3)
    assert list(model.history_["branch"][-3:]) == ["added", "added", "forgotten"]
    assert list(model.history_["n_rows"][-4:]) == [100, 150, 200, 100]


def test_drift_shows_in_the_history():
    X, y = rows(300, 0)
    model = ReLURegressor(5, alpha=1e-4, random_state=0).fit(X[:100], y[:100])
    model.partial_fit(X[100:200], y[100:200])
    same = model.history_[-1]
    before = np.mean((model.predict(X[200:]) - (y[200:] + 3)) ** 2)
    model.partial_fit(X[200:], y[200:] + 3)
    drifted = model.history_[-1]
    assert drifted.validation_mse == pytest.approx(before, rel=1e-9)
    assert drifted.validation_mse > 20 * same.validation_mse
    everything = np.concatenate([y[:200], y[200:] + 3])
    assert drifted.mse == pytest.approx(np.mean((model.predict(X) - everything) ** 2), rel=1e-9)


def test_rows_that_cannot_be_added_or_forgotten_are_refused():
    X, y = rows(100, 0)
    model = ReLURegressor(4, alpha=1e-3, random_state=0)
    with pytest.raises(ValueError, match="not fitted yet"):
        model.forget(X, y)
    model.fit(X[:50], y[:50])
    network = model.network_
    with pytest.raises(ValueError, match="X has 2 features, but ReLURegressor is expecting 3"):
        model.partial_fit(X[:, :2], y)
    with pytest.raises(ValueError, match="y must have the 1 outputs of the fit; got 2"):
        model.partial_fit(X, np.column_stack([y, y]))
    with pytest.raises(ValueError, match="contains NaN or infinity"):
        model.partial_fit(np.where(X > 2, np.nan, X), y)
    with pytest.raises(ValueError, match="cannot be forgotten: those fitted weigh 50, and some must be left"):
        model.forget(X[:50], y[:50])
    with pytest.raises(ValueError, match="these were not"):
        model.forget(X[:5], y[:5] + 1e3)
    assert model.network_ is network
