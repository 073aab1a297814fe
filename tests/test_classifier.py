"""Classification: known solutions, probabilities, weights of classes and rows, and scikit-learn's checks."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from anmin import ReLUClassifier, ReLUNetwork
from anmin.history import Status


def rings(n: int = 400, seed: int = 0) -> tuple[NDArray, NDArray]:
    """Return points of the square, and whether they lie in a disk, a ring around it, or outside."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-1, 1, (n, 2))
    return X, np.digitize(np.hypot(*X.T) + 0.03 * rng.standard_normal(n), [0.45, 0.8])


@pytest.mark.parametrize("loss", ["log", "squared"])
@pytest.mark.parametrize("classes", [2, 3])
def test_rings_are_learnt(loss: str, classes: int) -> None:
    X, y = rings()
    y = np.minimum(y, classes - 1)
    model = ReLUClassifier(16, loss=loss, random_state=0).fit(X, y)
    new_X, new_y = rings(2000, 1)
    assert model.score(new_X, np.minimum(new_y, classes - 1)) > 0.9
    P = model.predict_proba(X)
    assert P.shape == (400, classes)
    np.testing.assert_allclose(P.sum(axis=1), 1.0)
    assert ((P >= 0) & (P <= 1)).all()
    np.testing.assert_array_equal(model.classes_[P.argmax(axis=1)], model.predict(X))
    np.testing.assert_allclose(np.exp(model.predict_log_proba(X)), P)
    scores = model.decision_function(X)
    assert scores.shape == ((400,) if classes == 2 else (400, 3))
    expected = "identity" if loss == "squared" else "logistic" if classes == 2 else "softmax"
    assert model.out_activation_ == expected


def test_two_classes_have_the_log_odds_of_the_second() -> None:
    X, y = load_breast_cancer(return_X_y=True)
    model = ReLUClassifier(4, random_state=0).fit(X, y)
    P, scores = model.predict_proba(X), model.decision_function(X)
    np.testing.assert_allclose(np.log(P[:, 1] / P[:, 0]), scores, rtol=1e-6, atol=1e-6)
    assert model.network_.n_outputs == 1
    assert np.all(np.diff(model.history_["loss"]) <= 0)


def test_the_loss_is_that_of_the_probabilities() -> None:
    X, y = load_iris(return_X_y=True)
    w = np.random.default_rng(0).uniform(0.5, 2.0, len(y))
    model = ReLUClassifier(6, random_state=0).fit(X, y, w)
    network = model.scaling_.unfold(model.network_)
    size = sum(float(np.sum(part**2)) for part in (network.A, network.B, network.b0))
    expected = log_loss(y, model.predict_proba(X), sample_weight=w) + model.alpha_ * size
    assert model.loss_ == pytest.approx(expected, rel=1e-8)
    brier = np.average(np.mean((model.predict_proba(X) - np.eye(3)[y]) ** 2, axis=1), weights=w)
    assert model.history_["mse"][-1] == pytest.approx(brier, rel=1e-8)


@pytest.mark.parametrize(
    "labels", [["no", "yes", "perhaps"], [-3, 10, 2], [1.0, 2.0, 3.0], np.array(["a", "b", "c"], dtype=object)], ids=str
)
def test_classes_may_be_text_or_numbers(labels: Any) -> None:
    X, y = rings(200)
    named = np.asarray(labels)[y]
    model = ReLUClassifier(6, random_state=0).fit(X, named)
    assert set(model.predict(X)) <= set(named)
    np.testing.assert_array_equal(model.classes_, np.unique(named))
    assert model.network_.output_names == tuple(map(str, np.unique(named)))
    plain = ReLUClassifier(6, random_state=0).fit(X, np.unique(named, return_inverse=True)[1])
    np.testing.assert_array_equal(plain.predict_proba(X), model.predict_proba(X))


def test_class_weights_are_row_weights() -> None:
    X, y = rings(200)
    settings = {"alpha": 1e-2, "max_iter": 6, "random_state": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        balanced = ReLUClassifier(4, class_weight="balanced", **settings).fit(X, y)
        by_rows = ReLUClassifier(4, **settings).fit(X, y, len(y) / (3 * np.bincount(y)[y]))
        by_dict = ReLUClassifier(4, class_weight={0: 2.0, 1: 1.0, 2: 0.5}, **settings).fit(X, y)
        by_rows_too = ReLUClassifier(4, **settings).fit(X, y, np.array([2.0, 1.0, 0.5])[y])
        both = ReLUClassifier(4, class_weight={0: 2.0}, **settings).fit(X, y, np.full(200, 3.0))
        tripled = ReLUClassifier(4, **settings).fit(X, y, np.where(y == 0, 6.0, 3.0))
    for one, other in ((balanced, by_rows), (by_dict, by_rows_too), (both, tripled)):
        np.testing.assert_allclose(one.predict_proba(X), other.predict_proba(X), rtol=1e-7, atol=1e-9)


def test_rows_without_weight_do_not_count_and_neither_do_their_classes() -> None:
    X, y = rings(200)
    w = (y < 2).astype(float)
    model = ReLUClassifier(4, random_state=0).fit(X, y, w)
    np.testing.assert_array_equal(model.classes_, [0, 1])
    plain = ReLUClassifier(4, random_state=0).fit(X[y < 2], y[y < 2])
    np.testing.assert_allclose(model.predict_proba(X), plain.predict_proba(X), rtol=1e-6, atol=1e-8)


def test_probabilities_are_better_than_those_of_constants_on_new_rows() -> None:
    X, y = load_breast_cancer(return_X_y=True)
    parts = train_test_split(X, y, random_state=0, stratify=y)
    model = ReLUClassifier(16, random_state=0).fit(parts[0], parts[2])
    assert log_loss(parts[3], model.predict_proba(parts[1])) < 0.12


def test_noise_is_told_to_be_noise() -> None:
    """The evidence chooses a penalty at which labels without a meaning are predicted by little but their shares."""
    rng = np.random.default_rng(1)
    X, y = rng.standard_normal((300, 4)), rng.integers(0, 2, 300)
    model = ReLUClassifier(16, random_state=0).fit(X, y)
    P = model.predict_proba(rng.standard_normal((300, 4)))[:, 1]
    assert log_loss(rng.integers(0, 2, 300), P, labels=[0, 1]) < 0.75


def test_it_works_in_pipelines_with_names_and_scores() -> None:
    X, y = load_iris(return_X_y=True, as_frame=True)
    model = make_pipeline(StandardScaler().set_output(transform="pandas"), ReLUClassifier(6, random_state=0)).fit(X, y)
    assert list(model[-1].feature_names_in_) == list(X.columns)
    assert cross_val_score(ReLUClassifier(6, random_state=0), X, y, cv=3).mean() > 0.9
    assert isinstance(y, pd.Series)


def test_separable_classes_have_finite_weights() -> None:
    X = np.r_[np.full((20, 1), -1.0), np.full((20, 1), 1.0)]
    y = np.repeat([0, 1], 20)
    model = ReLUClassifier(4, alpha=1e-9, random_state=0, max_iter=60)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, y)
    assert np.isfinite(model.network_.A).all()
    assert model.predict_proba(X)[0, 0] > 0.95


def test_interrupts_keep_the_network_and_checkpoints_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = rings(200)
    monkeypatch.setattr("anmin.checkpoint.SECONDS_BETWEEN", 0.0)
    monkeypatch.setattr("anmin.checkpoint._SELDOM", 0.0)
    model = ReLUClassifier(4, random_state=0)
    expected = clone(model).fit(X, y)

    def interrupt(record: Any, network: ReLUNetwork) -> None:
        if record.iteration == 3:
            raise KeyboardInterrupt

    with pytest.warns(ConvergenceWarning, match="interrupted"):
        stopped = clone(model).set_params(checkpoint=tmp_path / "fit", callbacks=interrupt).fit(X, y)
    assert stopped.status_ is Status.INTERRUPTED
    assert stopped.score(X, y) > 0.4
    resumed = clone(model).set_params(checkpoint=tmp_path / "fit").fit(X, y)
    np.testing.assert_array_equal(resumed.coefs_[0], expected.coefs_[0])
    with pytest.raises(ValueError, match="other data: y differs"):
        clone(model).set_params(checkpoint=tmp_path / "fit").fit(X, np.roll(y, 1))


def test_it_fits_on_a_device_and_without_matrices() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    X, y = rings(200)
    here = ReLUClassifier(4, alpha=1e-2, random_state=0).fit(X, y)
    there = ReLUClassifier(4, alpha=1e-2, random_state=0).fit(torch.tensor(X), torch.tensor(y))
    np.testing.assert_allclose(there.predict_proba(torch.tensor(X)), here.predict_proba(X))
    free = ReLUClassifier(4, alpha=1e-2, solver="matrix_free", random_state=0).fit(X, y)
    assert free.loss_ == pytest.approx(here.loss_, rel=0.2)


@pytest.mark.parametrize(
    ("settings", "y", "message"),
    [
        ({"loss": "hinge"}, None, '\'loss\' parameter of ReLUClassifier must be one of "log" and "squared"'),
        ({"solver": "anmin"}, None, "needs solver='auto', 'varpro' or 'matrix_free'"),
        ({}, np.zeros(50), "at least two classes in y; got only one class"),
        ({}, np.linspace(0, 1, 50), "Unknown label type"),
        ({}, np.zeros(49), "inconsistent numbers of samples"),
        ({"class_weight": "even"}, None, "class_weight"),
        ({"n_neurons": 0}, None, "integer of at least 1"),
    ],
)
def test_bad_input_is_refused(settings: dict, y: NDArray | None, message: str) -> None:
    X, labels = rings(50)
    with pytest.raises(ValueError, match=message):
        ReLUClassifier(**({"n_neurons": 2} | settings)).fit(X, labels if y is None else y)


@pytest.mark.parametrize("loss", ["log", "squared"])
def test_estimator_checks(loss: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # With fewer neurons it depends on whether equal rows are repeated or weighted, if rows count as few.
        checks = check_estimator(ReLUClassifier(16, loss=loss, relocate=False, random_state=0), on_fail=None)
    failed = [(check["check_name"], check["exception"]) for check in checks if check["status"] == "failed"]
    assert failed == []
