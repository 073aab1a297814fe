"""Every kind of bad input gets one plain sentence before any work; odd but valid input is fitted."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from anmin import ReLURegressor
from anmin.solvers import Anmin

RNG = np.random.default_rng(0)
X = RNG.standard_normal((40, 3))
Y = X[:, 0] + np.abs(X[:, 1])


@pytest.fixture(autouse=True)
def no_work(request, monkeypatch):
    """Fail if a fit begins where the input should have been refused."""
    if request.node.get_closest_marker("refused"):
        monkeypatch.setattr(Anmin, "init", lambda *_: pytest.fail("work began before the input was checked"))


def fit(X=X, y=Y, w=None, **settings):
    return ReLURegressor(n_neurons=settings.pop("n_neurons", 4), random_state=0, **settings).fit(X, y, w)


def with_entry(value, row=5, column=1):
    changed = X.copy()
    changed[row, column] = value
    return changed


@pytest.mark.refused
@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((np.empty((0, 3)), np.empty(0)), r"0 sample\(s\)"),
        ((np.empty((40, 0)), Y), r"0 feature\(s\)"),
        ((X[:1], Y[:1]), "1 sample.* minimum of 2 is required"),
        ((X[:, 0], Y), "Expected 2D array"),
        ((X[None], Y), "dim 3"),
        ((with_entry(np.nan), Y), r"Input X contains NaN or infinity: column 1 \(1 NaN\)"),
        ((with_entry(-np.inf), Y), r"column 1 \(1 infinity\)"),
        ((np.full((40, 30), np.nan), Y), "and 20 more columns"),
        ((X, np.where(np.arange(40) < 3, np.nan, Y)), r"Input y contains NaN or infinity: column 0 \(3 NaN\)"),
        ((X.astype(str).astype(object) + "a", Y), "X must hold numbers only .*Encode text"),
        ((pd.DataFrame(X).assign(city="Rome").rename(columns=str), Y), "X must hold numbers only"),
        ((X, np.array(["a", "b"] * 20)), "y must hold numbers only"),
        ((X + 1j, Y), "Complex data"),
        ((X, Y[:-1]), "inconsistent numbers of samples"),
        ((X, None), "requires y to be passed"),
        ((X, Y, np.full(40, -1.0)), "must not be negative; 40"),
        ((X, Y, np.zeros(40)), "all are zero"),
        ((X, Y, np.ones(39)), "one weight for each of the 40 rows"),
        ((X, Y, np.full(40, np.nan)), "sample_weight must be finite"),
    ],
)
def test_bad_data(data, message):
    with pytest.raises(ValueError, match=message):
        fit(*data)


@pytest.mark.refused
def test_nan_in_a_frame_names_the_column():
    frame = pd.DataFrame(with_entry(np.nan), columns=["a", "b", "c"])
    frame.loc[7, "c"] = np.inf
    with pytest.raises(ValueError, match=r"column 'b' \(1 NaN\); column 'c' \(1 infinity\)"):
        fit(frame)


@pytest.mark.refused
@pytest.mark.parametrize(
    ("settings", "requirement"),
    [
        ({"n_neurons": 0}, "an integer of at least 1; got 0"),
        ({"n_neurons": 2.5}, "an integer of at least 1; got 2.5"),
        ({"n_neurons": True}, "an integer of at least 1"),
        (
            {"solver": "sgd"},
            "one of 'auto', 'anmin', 'varpro', 'matrix_free', 'altmin', 'relaxed' or a solver from .*; got 'sgd'",
        ),
        ({"solver": Anmin}, "or a solver"),
        ({"alpha": -1.0}, "at least 0"),
        ({"alpha": np.nan}, "finite"),
        ({"alpha": "best"}, '"auto"'),
        ({"negative_slope": 1.0}, r"number in \[0, 1\); got 1.0"),
        ({"max_iter": 0}, "None or an integer of at least 1"),
        ({"tol": -1e-9}, "at least 0"),
        ({"max_time": 0}, "positive number of seconds"),
        ({"n_restarts": 0}, "at least 1"),
        ({"validation_fraction": 1.5}, "between 0 and 1"),
        ({"device": "tpu"}, "and so on, or several of them; got 'tpu'"),
        ({"dtype": "int8"}, "float64"),
        ({"checkpoint": "no/folder/here"}, "None or the path of a file that may be written; got 'no/folder/here'"),
        ({"checkpoint": 3}, "path of a file"),
        ({"callbacks": [3]}, "a callable or a sequence"),
        ({"callbacks": 3}, "a callable or a sequence"),
    ],
)
def test_bad_settings(settings, requirement):
    with pytest.raises(ValueError, match=requirement) as caught:
        fit(**settings)
    assert next(iter(settings)) in str(caught.value)


@pytest.mark.refused
def test_more_neurons_than_memory_holds():
    with pytest.raises(ValueError, match=r"n_neurons=1000000000 with 3 inputs needs about .* of memory.*fewer neurons"):
        fit(n_neurons=10**9)


def test_wrong_columns_at_predict():
    model = fit(pd.DataFrame(X, columns=["a", "b", "c"]))
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(pd.DataFrame(X, columns=["a", "b", "z"]))
    with pytest.raises(ValueError, match=r"(?s)feature names should match.*now missing"):
        model.predict(pd.DataFrame(X[:, :2], columns=["a", "b"]))
    plain = fit()
    with pytest.raises(ValueError, match="X has 2 features, but ReLURegressor is expecting 3"):
        plain.predict(X[:, :2])
    with pytest.raises(ValueError, match=r"column 1 \(1 NaN\)"):
        plain.predict(with_entry(np.nan))


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param(np.column_stack([X, np.full(40, 7.0)]), id="constant column"),
        pytest.param(np.full((40, 2), 3.0), id="constant columns only"),
        pytest.param(np.column_stack([X, X]), id="duplicate columns"),
        pytest.param(X * [1e-12, 1.0, 1e12], id="scales of 1e-12 and 1e12"),
        pytest.param(X[:, :1], id="one column"),
        pytest.param(X[:2], id="two rows"),
        pytest.param(np.repeat(X[:1], 40, axis=0), id="equal rows"),
        pytest.param(X.astype(np.float32), id="float32"),
        pytest.param((10 * X).astype(int), id="integers"),
        pytest.param(X > 0, id="booleans"),
        pytest.param(np.asfortranarray(X), id="Fortran order"),
        pytest.param(X[:, ::-1], id="a view"),
        pytest.param(X.tolist(), id="lists"),
    ],
)
def test_odd_but_valid_input_is_fitted(odd):
    y = Y[: len(odd)]
    model = fit(odd, y)
    assert np.isfinite(model.predict(odd)).all()
    assert np.mean((model.predict(odd) - y) ** 2) <= np.var(y) * (1 + 1e-6)


def test_scale_does_not_cost_accuracy():
    scaled = fit(X * [1e-12, 1.0, 1e12])
    plain = fit()
    np.testing.assert_allclose(scaled.predict(X * [1e-12, 1.0, 1e12]), plain.predict(X), rtol=1e-4, atol=1e-4)


def test_constant_targets_are_fitted():
    model = fit(y=np.full(40, 5.0))
    np.testing.assert_allclose(model.predict(X), 5.0, rtol=1e-12)


def test_no_penalty_is_fine():
    assert fit(alpha=0.0).score(X, Y) > 0.5


def test_values_too_large_to_square_are_refused_without_standardisation():
    with pytest.raises(ValueError, match="too large to square"), np.errstate(all="ignore"):
        fit(1e200 * X, standardize=False)
