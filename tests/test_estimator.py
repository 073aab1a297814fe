"""ReLURegressor: a scikit-learn estimator in every respect, and what it adds."""

from __future__ import annotations

import pickle
import warnings

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_linnerud
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from anmin import ReLUNetwork, ReLURegressor
from anmin.history import Status
from anmin.rows import ArrayRows
from anmin.solvers import AltMin, Anmin
from problems import dense_loss


@parametrize_with_checks([ReLURegressor(n_neurons=4), ReLURegressor(n_neurons=8, dtype="float32", negative_slope=0.1)])
def test_scikit_learn_checks(estimator, check):
    with warnings.catch_warnings():
        # The checks set max_iter; that it was reached is not what they are about.
        warnings.simplefilter("ignore", ConvergenceWarning)
        check(estimator)


@pytest.fixture(scope="module")
def diabetes():
    return load_diabetes(return_X_y=True)


@pytest.fixture(scope="module")
def model(diabetes):
    return ReLURegressor(n_neurons=8, random_state=0).fit(*diabetes)


def test_fits_better_than_ridge(diabetes, model):
    assert model.score(*diabetes) > Ridge(alpha=1e-3).fit(*diabetes).score(*diabetes)


def test_attributes_are_those_of_mlpregressor(diabetes, model):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        peer = MLPRegressor(hidden_layer_sizes=(8,), max_iter=2, random_state=0).fit(*diabetes)
    for name in ("coefs_", "intercepts_"):
        assert [part.shape for part in getattr(model, name)] == [part.shape for part in getattr(peer, name)]
    for name in ("n_layers_", "n_outputs_", "out_activation_", "activation", "n_features_in_"):
        assert getattr(model, name) == getattr(peer, name)
    # The layout computes the prediction as in the peer: relu between the layers, nothing after.
    X, _ = diabetes
    hidden = np.maximum(X @ model.coefs_[0] + model.intercepts_[0], 0)
    np.testing.assert_allclose((hidden @ model.coefs_[1] + model.intercepts_[1])[:, 0], model.predict(X), rtol=1e-9)
    assert ReLURegressor(negative_slope=0.1).activation == "leaky_relu"


def test_fitted_attributes_describe_the_fit(diabetes, model):
    X, y = diabetes
    assert isinstance(model.network_, ReLUNetwork)
    assert 1e-4 < model.alpha_ < 1
    assert model.n_iter_ == len(model.history_) - 1 > 0
    assert model.status_ is Status.CONVERGED
    assert np.all(np.diff(model.history_["loss"]) <= 0)
    best = model.history_["loss"].argmin()
    assert model.loss_ == model.history_["loss"][best]
    assert model.history_["mse"][best] == pytest.approx(np.mean((model.predict(X) - y) ** 2), rel=1e-8)


def test_loss_is_in_the_coordinates_solved_in(diabetes):
    X, y = diabetes
    raw = ReLURegressor(n_neurons=4, standardize=False, alpha=0.01, random_state=0, negative_slope=0.1).fit(X, y)
    network = raw.network_
    expected = dense_loss(X, y[:, None], None, network.A, network.B, network.b0, 0.1, 0.01)
    assert raw.loss_ == pytest.approx(expected, rel=1e-9)


def test_units_do_not_matter_with_standardisation(diabetes):
    X, y = diabetes
    in_other_units = X * np.logspace(-12, 12, X.shape[1])
    # A search over many networks would amplify the rounding of the units.
    model = ReLURegressor(n_neurons=8, alpha=0.01, relocate=False, tol=1e-3, random_state=0).fit(X, y)
    other = clone(model).fit(in_other_units, 1e6 * y - 5)
    np.testing.assert_allclose(other.predict(in_other_units), 1e6 * model.predict(X) - 5, rtol=1e-3)


def test_several_outputs():
    X, Y = load_linnerud(return_X_y=True)
    model = ReLURegressor(n_neurons=3, alpha=0.01, random_state=0).fit(X, Y)
    assert model.predict(X).shape == Y.shape
    assert model.n_outputs_ == 3
    assert ReLURegressor(n_neurons=3).fit(X, Y[:, :1]).predict(X).shape == (len(X), 1)
    assert ReLURegressor(n_neurons=3).fit(X, Y[:, 0]).predict(X).shape == (len(X),)


def test_clone_pickle_and_joblib(tmp_path, diabetes, model):
    X, _ = diabetes
    expected = model.predict(X)
    joblib.dump(model, tmp_path / "model.joblib")
    for copy in (pickle.loads(pickle.dumps(model)), joblib.load(tmp_path / "model.joblib")):
        np.testing.assert_array_equal(copy.predict(X), expected)
        assert copy.status_ is model.status_
        np.testing.assert_array_equal(copy.history_["loss"], model.history_["loss"])
    again = clone(model)
    assert not hasattr(again, "network_")
    np.testing.assert_array_equal(again.fit(*diabetes).predict(X), expected)


def test_pipeline_grid_search_and_cross_validation(diabetes):
    X, y = diabetes
    frame = pd.DataFrame(X, columns=[f"x{i}" for i in range(X.shape[1])])
    pipeline = Pipeline([("scale", StandardScaler()), ("relu", ReLURegressor(random_state=0, standardize=False))])
    pipeline.set_output(transform="pandas")
    search = GridSearchCV(pipeline, {"relu__n_neurons": [2, 4]}, cv=2).fit(frame, y)
    assert search.best_params_["relu__n_neurons"] in (2, 4)
    assert list(search.best_estimator_[-1].feature_names_in_) == list(frame.columns)
    scores = cross_val_score(ReLURegressor(n_neurons=2, alpha=0.05, random_state=0), X, y, cv=3)
    assert scores.min() > 0.2


@pytest.mark.parametrize("library", [pd, pl], ids=["pandas", "polars"])
def test_data_frames_bring_names(diabetes, library):
    X, y = diabetes
    names = [f"column {i}" for i in range(X.shape[1])]
    frame = library.DataFrame(dict(zip(names, X.T, strict=True)))
    target = pl.Series("target", y) if library is pl else pd.Series(y, name="target")
    model = ReLURegressor(n_neurons=2, random_state=0).fit(frame, target)
    assert list(model.feature_names_in_) == names
    assert model.network_.feature_names == tuple(names)
    assert model.network_.output_names == ("target",)
    np.testing.assert_allclose(model.predict(frame), ReLURegressor(n_neurons=2, random_state=0).fit(X, y).predict(X))


def test_rows_objects_are_fitted_like_arrays(diabetes):
    X, y = diabetes
    w = np.linspace(0.5, 2, len(y))
    one = ReLURegressor(n_neurons=3, random_state=0).fit(ArrayRows(X, y, w))
    other = ReLURegressor(n_neurons=3, random_state=0).fit(X, y, w)
    np.testing.assert_array_equal(one.predict(X), other.predict(X))
    with pytest.raises(ValueError, match="bring their own targets"):
        ReLURegressor().fit(ArrayRows(X, y), y)


def test_the_solver_can_be_named_or_given(diabetes):
    X, y = diabetes
    named = ReLURegressor(n_neurons=3, solver="anmin", random_state=0).fit(X, y)
    given = ReLURegressor(n_neurons=3, solver=Anmin(), random_state=0).fit(X, y)
    np.testing.assert_array_equal(named.predict(X), given.predict(X))
    lossy = ReLURegressor(n_neurons=3, solver=Anmin(system_dtype="float32"), random_state=0).fit(X, y)
    assert lossy.loss_ != given.loss_


def test_altmin_recovers_a_planted_network_through_the_estimator():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((500, 4))
    W = np.eye(4) + 0.1 * rng.standard_normal((4, 4)) / 4
    y = np.maximum(X @ W, 0).sum(axis=1)
    model = ReLURegressor(4, solver=AltMin(start="identity"), alpha=0.0, standardize=False).fit(X, y)
    assert model.status_ is Status.CONVERGED
    np.testing.assert_allclose(model.predict(X), y, atol=1e-10)


def test_seeds(diabetes):
    X, y = diabetes

    def fit(seed):
        return ReLURegressor(n_neurons=3, random_state=seed).fit(X, y).predict(X)

    np.testing.assert_array_equal(fit(1), fit(1))
    assert np.abs(fit(1) - fit(2)).max() > 1e-3
    np.testing.assert_array_equal(fit(np.random.RandomState(3)), fit(np.random.RandomState(3)))


def test_restarts_are_never_worse(diabetes):
    X, y = diabetes
    losses = [ReLURegressor(n_neurons=3, n_restarts=n, random_state=0).fit(X, y).loss_ for n in (1, 3)]
    assert losses[1] <= losses[0]


def test_reaching_max_iter_warns_where_fit_was_called(diabetes):
    with pytest.warns(ConvergenceWarning, match="max_iter") as warned:
        model = ReLURegressor(n_neurons=3, max_iter=2, random_state=0).fit(*diabetes)
    assert [warning.filename for warning in warned] == [__file__]
    assert model.status_ is Status.MAX_ITER
    assert model.n_iter_ == 2


def test_max_time_gives_a_network(diabetes):
    with pytest.warns(ConvergenceWarning, match="max_time"):
        model = ReLURegressor(n_neurons=3, max_time=1e-6, random_state=0).fit(*diabetes)
    assert model.status_ is Status.MAX_TIME
    assert np.isfinite(model.predict(diabetes[0])).all()


def test_warm_start_continues_from_the_last_network(diabetes, monkeypatch):
    X, y = diabetes
    with pytest.warns(ConvergenceWarning):
        model = ReLURegressor(n_neurons=3, max_iter=4, warm_start=True, random_state=0).fit(X, y)
    first = model.loss_
    with pytest.warns(ConvergenceWarning):
        model.fit(X, y)
    assert model.history_["loss"][0] == pytest.approx(first, rel=1e-6)
    assert model.loss_ <= first * (1 + 1e-6)
    monkeypatch.setattr("anmin.fitting.choose_alpha", lambda *_, **__: pytest.fail("work began"))
    with pytest.raises(ValueError, match="warm_start=True needs"):
        model.set_params(n_neurons=4).fit(X, y)


def test_validation_rows_are_held_out(diabetes):
    X, y = diabetes
    model = ReLURegressor(n_neurons=16, validation_fraction=0.25, random_state=0).fit(X, y)
    history = model.history_
    assert np.isfinite(history["validation_mse"]).all()
    assert model.loss_ == history["loss"][history["validation_mse"].argmin()]
    assert 1e-4 < model.alpha_ < 1


def test_callbacks_get_the_network_in_raw_units(diabetes):
    X, y = diabetes
    errors = []

    def callback(record, network):
        errors.append(np.mean((network.predict(X)[:, 0] - y) ** 2) / record.mse)
        return record.iteration == 3

    model = ReLURegressor(n_neurons=3, callbacks=callback, random_state=0).fit(X, y)
    assert model.status_ is Status.STOPPED
    np.testing.assert_allclose(errors, np.ones(4), rtol=1e-7)


def test_an_interrupt_returns_the_best_network_and_says_so(diabetes):
    X, y = diabetes

    def interrupt(record, network):
        if record.iteration == 3:
            raise KeyboardInterrupt

    with pytest.warns(ConvergenceWarning, match="interrupted; the best network"):
        model = ReLURegressor(n_neurons=3, callbacks=[interrupt], random_state=0).fit(X, y)
    assert model.status_ is Status.INTERRUPTED
    assert model.history_["loss"].min() == model.loss_
    assert np.isfinite(model.predict(X)).all()


def test_verbose_shows_progress(diabetes, capsys):
    ReLURegressor(n_neurons=3, verbose=1, random_state=0).fit(*diabetes)
    assert capsys.readouterr().out == ""  # what is shown goes to stderr


def test_data_are_not_changed(diabetes):
    X, y = (part.copy() for part in diabetes)
    w = np.ones(len(y))
    ReLURegressor(n_neurons=3).fit(X, y, w)
    np.testing.assert_array_equal(X, diabetes[0])
    np.testing.assert_array_equal(y, diabetes[1])
    assert (w == 1).all()
