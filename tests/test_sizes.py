"""Errors against the number of neurons: what they are of, which size they choose, and their picture."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss, mean_absolute_error, mean_pinball_loss
from sklearn.model_selection import KFold, ShuffleSplit

import anmin.sizes
from anmin import ReLUClassifier, ReLURegressor, size_path
from anmin.history import Status
from anmin.inspection import SizePathDisplay
from anmin.rows import ArrayRows
from anmin.sizes import SizePath


def noisy(n: int = 200, outputs: int = 1) -> tuple[NDArray, NDArray]:
    rng = np.random.default_rng(0)
    X = rng.uniform(-2, 2, (n, 2))
    f = np.abs(X[:, [0]]) + np.maximum(X[:, [1]], 0.5)
    return X, f + 0.3 * rng.standard_normal((n, outputs))


def regressor(**settings: Any) -> ReLURegressor:
    return ReLURegressor(**({"n_neurons": 8, "alpha": 1e-3, "relocate": False, "random_state": 0} | settings))


def test_every_number_is_what_it_says() -> None:
    X, Y = noisy(outputs=2)
    w = np.random.default_rng(1).uniform(0.0, 2.0, len(X))
    w[:5] = 0
    folds = list(KFold(4).split(X))
    path = size_path(X, Y, estimator=regressor(), n_neurons=[2, 6, 2, 4], sample_weight=w, cv=folds)
    np.testing.assert_array_equal(path.n_neurons, [6, 4, 2])
    assert [network.n_neurons for network in path.networks] == [6, 4, 2]
    assert len(path) == 3
    expected = np.zeros((4, 3))
    for k, (fitted, held_out) in enumerate(folds):
        model = regressor(n_neurons=6).fit(X[fitted], Y[fitted], w[fitted])
        for j, n in enumerate((6, 4, 2)):
            model = model if n == 6 else model.pruned(n, X[fitted], Y[fitted], w[fitted])
            squares = np.mean((model.predict(X[held_out]) - Y[held_out]) ** 2, axis=1)
            expected[k, j] = np.average(squares, weights=w[held_out])
    np.testing.assert_allclose(path.fold_errors, expected, rtol=1e-5)
    np.testing.assert_allclose(path.held_out_errors, expected.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(path.standard_errors, expected.std(axis=0, ddof=1) / 2, rtol=1e-4)
    for model, error in zip(path.models, path.train_errors, strict=True):
        squares = np.mean((model.predict(X) - Y) ** 2, axis=1)
        assert error == pytest.approx(np.average(squares, weights=w))
    assert np.all(np.diff(path.train_errors) > 0)
    assert not path.interrupted


def test_one_fold_has_the_standard_error_of_its_rows() -> None:
    X, Y = noisy()
    ((fitted, held_out),) = split = list(ShuffleSplit(1, random_state=0).split(X))
    path = size_path(X, Y[:, 0], estimator=regressor(), n_neurons=[2], cv=split)
    model = regressor(n_neurons=2).fit(X[fitted], Y[fitted, 0])
    squares = (model.predict(X[held_out]) - Y[held_out, 0]) ** 2
    assert path.held_out_errors[0] == pytest.approx(squares.mean())
    assert path.standard_errors[0] == pytest.approx(squares.std(ddof=1) / np.sqrt(len(squares)))


@pytest.mark.parametrize("loss", ["absolute", "huber", "quantile"])
def test_errors_are_of_the_loss(loss: str) -> None:
    X, Y = noisy()
    estimator = regressor(loss=loss, quantile=0.8)
    path = size_path(X, Y[:, 0], estimator=estimator, n_neurons=[3], cv=2, random_state=0)
    predictions = path.models[0].predict(X)
    if loss == "quantile":
        expected = mean_pinball_loss(Y[:, 0], predictions, alpha=0.8)
    else:
        expected = mean_absolute_error(Y[:, 0], predictions)
    assert path.train_errors[0] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("classes", [2, 3])
def test_errors_of_classifiers_are_of_the_probabilities(classes: int) -> None:
    X, Y = noisy()
    y = np.array(["a", "b", "c"])[np.digitize(Y[:, 0], np.quantile(Y, [0.4, 0.7][: classes - 1]))]
    for loss in ("log", "squared"):
        estimator = ReLUClassifier(4, loss=loss, relocate=False, alpha=1e-3, random_state=0)
        path = size_path(X, y, estimator=estimator, n_neurons=[4, 2], cv=3, random_state=0)
        model = path.models[0]
        if loss == "log":
            expected = log_loss(y, model.predict_proba(X))
        else:
            scores = np.atleast_2d(model.decision_function(X).T).T + (0.5 if classes == 2 else 0.0)
            indicators = (y[:, None] == model.classes_[-scores.shape[1] :]).astype(float)
            expected = np.mean((scores - indicators) ** 2)
        assert path.train_errors[0] == pytest.approx(expected, rel=1e-9)
        assert np.isfinite(path.held_out_errors).all()


def test_a_class_that_was_not_fitted_is_impossible() -> None:
    X, _ = noisy(60)
    y = np.r_[np.zeros(20), np.ones(20), np.full(20, 2.0)]
    split = [(np.arange(40), np.arange(40, 60))]
    estimator = ReLUClassifier(2, alpha=0.1, relocate=False, random_state=0)
    path = size_path(X, y, estimator=estimator, n_neurons=[2], cv=split)
    assert np.isinf(path.held_out_errors[0])


def path_of(errors: list[float], deviations: list[float], sizes: tuple[int, ...] = (8, 4, 2, 1)) -> SizePath:
    means = np.array(errors)
    return SizePath(np.array(sizes), means, means, np.array(deviations), means[None], ())


def test_the_fewest_neurons_within_one_standard_error_are_chosen() -> None:
    path = path_of([1.0, 0.9, 1.0, 1.5], [0.5, 0.1, 0.0, 0.0])
    assert (path.best, path.smallest_within_one_standard_error) == (1, 2)
    # The standard error that counts is that of the least error, and a smaller network may be better than a larger one.
    assert path_of([1.0, 0.9, 1.2, 0.99], [9.0, 0.1, 9.0, 9.0]).smallest_within_one_standard_error == 3
    assert path_of([0.9, 1.0, 1.0, 1.0], [0.05, 9, 9, 9]).smallest_within_one_standard_error == 0
    assert path_of([0.9, 0.9, 1.0, 1.0], [0.0] * 4).best == 1
    with pytest.raises(ValueError, match="before the first fold"):
        _ = path_of([np.nan] * 4, [np.nan] * 4).best


def test_a_planted_size_is_found() -> None:
    X, Y = noisy(400)  # |x_0| takes two neurons, and a bend in x_1 one
    path = size_path(X, Y[:, 0], estimator=regressor(), cv=3, random_state=0)
    np.testing.assert_array_equal(path.n_neurons, [8, 4, 2, 1])
    assert path.n_neurons[path.smallest_within_one_standard_error] == 4
    document = json.loads(json.dumps(path.to_dict()))
    assert document["n_neurons"] == [8, 4, 2, 1]
    assert document["n_bytes"] == [network.n_bytes for network in path.networks]
    assert document["statuses"] == ["CONVERGED"] * 4
    assert len(pd.DataFrame(document)) == 4


def test_it_repeats_with_the_seed_and_keeps_names() -> None:
    X, Y = noisy(60)
    frame, y = pd.DataFrame(X, columns=["east", "north"]), pd.Series(Y[:, 0], name="height")
    settings = {"estimator": regressor(n_neurons=2), "cv": 2, "random_state": 3}
    paths = [size_path(frame, y, **settings) for _ in range(2)]
    np.testing.assert_array_equal(paths[0].fold_errors, paths[1].fold_errors)
    np.testing.assert_array_equal(paths[0].networks[1].A, paths[1].networks[1].A)
    assert paths[0].networks[1].feature_names == ("east", "north")
    assert paths[0].networks[1].output_names == ("height",)


def test_the_default_is_a_regressor_of_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    X, Y = noisy(40)
    given = []

    def fit(self: ReLURegressor, *arguments: Any) -> ReLURegressor:
        given.append(self.get_params())
        return real(self.set_params(relocate=False), *arguments)  # which takes a while

    real = ReLURegressor.fit
    monkeypatch.setattr(ReLURegressor, "fit", fit)
    for _ in range(2):
        size_path(X, Y[:, 0], cv=2, n_neurons=1, random_state=4)
    assert all(one == given[0] for one in given)
    assert {**given[0], "random_state": None} == ReLURegressor(1).get_params()


def test_the_estimator_stays_unfitted(tmp_path: Any) -> None:
    X, Y = noisy(40)
    estimator = regressor(n_neurons=2, checkpoint=tmp_path / "fit", warm_start=True)
    size_path(X, Y, estimator=estimator, cv=2, random_state=0)
    assert not hasattr(estimator, "network_")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("fits", "sizes", "folds"), [(1, 1, 0), (3, 3, 0), (5, 3, 0), (6, 3, 1), (8, 3, 1)])
def test_an_interrupt_keeps_what_is_done(fits: int, sizes: int, folds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    X, Y = noisy(60)
    done: list[int] = []
    fit, pruned = ReLURegressor.fit, ReLURegressor.pruned

    def counted(real: Any) -> Any:
        def call(*arguments: Any) -> Any:
            if len(done) == fits:
                raise KeyboardInterrupt
            done.append(1)
            return real(*arguments)

        return call

    monkeypatch.setattr(ReLURegressor, "fit", counted(fit))
    monkeypatch.setattr(ReLURegressor, "pruned", counted(pruned))
    with pytest.warns(ConvergenceWarning, match=f"after {sizes} of 3 sizes and {folds} of 2 folds"):
        path = size_path(X, Y, estimator=regressor(), n_neurons=[3, 2, 1], cv=2, random_state=0)
    assert path.interrupted
    assert len(path) == len(path.models) == len(path.held_out_errors) == len(path.standard_errors) == sizes
    assert path.fold_errors.shape == (folds, sizes)
    assert np.isfinite(path.train_errors).all()
    assert np.isfinite(path.held_out_errors).all() == bool(folds)


def test_an_interrupt_within_a_fit_drops_that_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    X, Y = noisy(60)

    def interrupted(self: ReLURegressor, *arguments: Any) -> ReLURegressor:
        model = real(self, *arguments)
        model.status_ = Status.INTERRUPTED
        return model

    real = ReLURegressor.fit
    monkeypatch.setattr(ReLURegressor, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        size_path(X, Y, estimator=regressor(), n_neurons=[1], cv=2, random_state=0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"n_neurons": []}, "integers of at least 1, one or more"),
        ({"n_neurons": [2, 0]}, r"integers of at least 1, one or more; got \[2, 0\]"),
        ({"n_neurons": 2.5}, "integers of at least 1"),
        ({"estimator": regressor(n_neurons="many")}, "n_neurons must be an integer"),
        ({"estimator": ReLURegressor}, "estimator must be a ReLURegressor or a ReLUClassifier"),
        ({"estimator": 3}, "estimator must be"),
        ({"estimator": regressor(alpha=-1.0)}, "alpha"),
        ({"cv": 1}, "cv must be an integer of at least 2 and at most the number of rows; got 1"),
        ({"cv": 41}, "cv must be an integer"),
        ({"cv": []}, "at least one pair"),
        ({"cv": "five"}, "cv"),
        ({"sample_weight": np.ones(3)}, "one weight for each of the 40 rows"),
        ({"X": ArrayRows(np.ones((40, 2)), np.ones((40, 1)))}, "X must be an array or a data frame in memory"),
        ({"X": np.ones((39, 2))}, "inconsistent numbers of samples"),
        ({"y": np.full(40, np.nan)}, "NaN"),
        ({"y": None}, "requires y"),
    ],
)
def test_bad_input_is_refused_before_any_work(given: dict, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ReLURegressor, "_fit_rows", lambda *_, **__: pytest.fail("work began"))
    X, Y = noisy(40)
    with pytest.raises((ValueError, TypeError), match=message):
        size_path(**({"X": X, "y": Y[:, 0], "random_state": 0} | given))


# The picture


@pytest.fixture
def closed_figures():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


@pytest.mark.usefixtures("closed_figures")
def test_the_picture_draws_the_path() -> None:
    path = path_of([1.0, 0.9, 1.0, 1.5], [0.5, 0.1, 0.05, 0.05])
    display = SizePathDisplay.from_path(path)
    display.figure_.canvas.draw()
    assert set(display.lines_) == {"train_errors", "held_out_errors"}
    for name, line in display.lines_.items():
        np.testing.assert_array_equal(line.get_xdata(), path.n_neurons)
        np.testing.assert_array_equal(line.get_ydata(), getattr(path, name))
    (level,) = [line for line in display.ax_.lines if list(line.get_xdata()) == [0, 1]]
    np.testing.assert_allclose(level.get_ydata(), [1.0, 1.0])
    texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert "within one s.e.: 2" in texts
    assert SizePathDisplay.from_path(path, ax=display.ax_).figure_ is display.figure_


@pytest.mark.usefixtures("closed_figures")
def test_the_picture_takes_errors_that_have_no_logarithm() -> None:
    for errors in ([0.0, 1.0, 2.0, np.inf], [-3.0, -2.0, -1.0, 0.0], [1e-30, 1.0, 1e30, 1.0]):
        SizePathDisplay.from_path(path_of(errors, [0.1] * 4)).figure_.canvas.draw()
    with pytest.raises(ValueError, match="before the first fold"):
        SizePathDisplay.from_path(path_of([np.nan] * 4, [np.nan] * 4))


def test_the_module_that_fits_is_the_one_that_is_public() -> None:
    assert anmin.size_path is anmin.sizes.size_path
