"""The estimators among scikit-learn's and others' tools: inputs of every kind, weights, metadata, callbacks, frames."""

from __future__ import annotations

import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse
from numpy.typing import NDArray
from sklearn import config_context
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.exceptions import ConvergenceWarning, UnsetMetadataPassedError
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from anmin import ReLUClassifier, ReLURegressor
from anmin.history import Status
from anmin.reporting import CallbackSupportMixin

needs_callbacks = pytest.mark.skipif(
    not hasattr(CallbackSupportMixin, "set_callbacks"), reason="this scikit-learn has no callbacks"
)

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 3)).round(3)
Y = X[:, 0] + np.abs(X[:, 1])
LABELS = np.array(["no", "yes"])[(Y > 0.5).astype(int)]
NAMES = ["a", "b", "c"]
FRAME = pd.DataFrame(X, columns=NAMES)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Let short fits end at max_iter: that is not what is looked at here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def regressor(**settings: Any) -> ReLURegressor:
    common = {"n_neurons": 3, "alpha": 0.01, "max_iter": 6, "relocate": False, "random_state": 0}
    return ReLURegressor(**(common | settings))


def classifier(**settings: Any) -> ReLUClassifier:
    return ReLUClassifier(**({"n_neurons": 3, "alpha": 0.01, "max_iter": 6, "random_state": 0} | settings))


# The checks of scikit-learn, by the solvers that the other test modules leave out


@pytest.mark.parametrize(
    "estimator",
    [
        ReLURegressor(4, solver="anmin", random_state=0),
        ReLURegressor(4, solver="matrix_free", alpha=0.01, max_iter=20, relocate=False, random_state=0),
        ReLUClassifier(16, solver="matrix_free", alpha=0.01, relocate=False, random_state=0),
    ],
    ids=str,
)
def test_estimator_checks(estimator: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        checks = check_estimator(estimator, on_fail=None)
    failed = [(check["check_name"], check["exception"]) for check in checks if check["status"] == "failed"]
    assert failed == []
    assert len(checks) > 50


def test_what_they_are_is_told() -> None:
    assert is_regressor(regressor())
    assert not is_classifier(regressor())
    assert is_classifier(classifier())


# Inputs


def in_arrow(values: NDArray) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values[:20]), pa.array(values[20:])])


def read_only(values: NDArray) -> NDArray:
    values = values.copy()
    values.flags.writeable = False
    return values


def tensor(values: Any) -> Any:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    return torch.tensor(values, requires_grad=values.dtype.kind == "f")


INPUTS: dict[str, tuple[Callable, Callable]] = {
    "pandas": (lambda X: pd.DataFrame(X, columns=NAMES), pd.Series),
    "pandas, nullable": (lambda X: FRAME.convert_dtypes(), lambda y: pd.Series(y).convert_dtypes()),
    "pandas, of arrow": (
        lambda X: FRAME.convert_dtypes(dtype_backend="pyarrow"),
        lambda y: pd.Series(y).convert_dtypes(dtype_backend="pyarrow"),
    ),
    "pandas, one column": (lambda X: FRAME, lambda y: pd.DataFrame({"t": y})),
    "polars": (lambda X: pl.DataFrame(X, schema=NAMES), lambda y: pl.Series("t", y)),
    "polars, one column": (lambda X: pl.DataFrame(X, schema=NAMES), lambda y: pl.DataFrame({"t": y})),
    "arrow": (lambda X: pa.Table.from_pandas(FRAME), in_arrow),
    "arrow, array": (lambda X: pa.Table.from_pandas(FRAME), pa.array),
    "lists": (np.ndarray.tolist, np.ndarray.tolist),
    "Fortran order": (np.asfortranarray, np.ndarray.copy),
    "strided": (lambda X: np.repeat(X, 2, axis=1)[:, ::2], lambda y: np.repeat(y, 2)[::2]),
    "backwards": (lambda X: X[::-1].copy()[::-1], lambda y: y[::-1].copy()[::-1]),
    "read-only": (read_only, read_only),
    "other byte order": (lambda X: X.astype(X.dtype.newbyteorder()), np.ndarray.copy),
    "long": (lambda X: X.astype(np.longdouble), np.ndarray.copy),
    "objects": (lambda X: X.astype(object), np.ndarray.copy),
}


@pytest.mark.filterwarnings("ignore:A column-vector y was passed:sklearn.exceptions.DataConversionWarning")
@pytest.mark.parametrize("kind", INPUTS)
def test_inputs_of_every_kind_are_the_same_rows(kind: str) -> None:
    inputs, targets = INPUTS[kind]
    model = regressor().fit(inputs(X), targets(Y))
    np.testing.assert_allclose(np.ravel(model.predict(inputs(X))), regressor().fit(X, Y).predict(X), rtol=1e-9)
    named = not isinstance(inputs(X), list | np.ndarray)
    assert list(getattr(model, "feature_names_in_", ())) == (NAMES if named else [])
    if "column" in kind:
        assert model.network_.output_names == ("t",)
    found = classifier().fit(inputs(X), targets(LABELS))
    np.testing.assert_array_equal(found.classes_, ["no", "yes"])
    np.testing.assert_array_equal(found.predict(inputs(X)), classifier().fit(X, LABELS).predict(X))


def test_tensors_and_memory_maps_are_the_same_rows(tmp_path: Path) -> None:
    expected = regressor().fit(X, Y).predict(X)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    for inputs, targets in ((mapped, Y), (tensor(X), tensor(Y))):
        np.testing.assert_allclose(regressor().fit(inputs, targets).predict(inputs), expected, rtol=1e-9)
    found = classifier().fit(tensor(X), tensor(Y > 0.5))
    np.testing.assert_array_equal(found.predict(tensor(X)), classifier().fit(X, Y > 0.5).predict(X))
    assert found.predict(X).dtype == bool


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint16, np.int64, np.float16, np.float32])
def test_numbers_of_every_type_are_taken_for_their_values(dtype: Any) -> None:
    inputs, targets = (10 * np.abs(X)).astype(dtype), (10 * np.abs(Y)).astype(dtype)
    model = regressor().fit(inputs, targets)
    expected = regressor().fit(inputs.astype(float), targets.astype(float)).predict(inputs.astype(float))
    np.testing.assert_allclose(model.predict(inputs), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["csr_matrix", "coo_array"])
def test_sparse_inputs_are_refused_in_a_sentence(kind: str) -> None:
    sparse = getattr(scipy.sparse, kind)(X)
    message = r"Sparse data was passed for X, but dense data is required. Use '.toarray\(\)'"
    for call in (lambda: regressor().fit(sparse, Y), lambda: classifier().fit(sparse, LABELS)):
        with pytest.raises(TypeError, match=message):
            call()
    with pytest.raises(TypeError, match=message):
        regressor().fit(X, Y).predict(sparse)
    with pytest.raises(TypeError, match="Sparse data was passed for y"):
        regressor().fit(X, scipy.sparse.csr_array(Y[:, None]))


MISSING: dict[str, Any] = {
    "NaN": np.where(Y > 0.5, np.nan, 1.0),
    "infinity": np.where(Y > 0.5, np.inf, 1.0),
    "None": np.where(Y > 0.5, None, LABELS),
    "pandas, integers": pd.Series(Y > 0.5).astype("Int64").mask(Y > 0.5),
    "pandas, text": pd.Series(LABELS).astype("string").mask(Y > 0.5),
    "pandas, objects": pd.Series(LABELS, dtype=object).mask(Y > 0.5),
    "pandas, categories": pd.Series(LABELS).astype("category").mask(Y > 0.5),
    "polars": pl.Series([None if above else "no" for above in Y > 0.5]),
    "arrow": pa.array([None if above else "no" for above in Y > 0.5]),
}


@pytest.mark.parametrize("kind", MISSING)
def test_rows_without_a_class_are_counted_and_refused(kind: str) -> None:
    with pytest.raises(ValueError, match=f"{np.sum(Y > 0.5)} of 60 rows have no class. Remove these rows"):
        classifier().fit(X, MISSING[kind])


@pytest.mark.parametrize(
    "table",
    [
        FRAME.convert_dtypes().mask(FRAME > 1.9),
        pl.DataFrame({name: [None if x > 1.9 else x for x in X[:, j]] for j, name in enumerate(NAMES)}),
        pa.table({name: [None if x > 1.9 else x for x in X[:, j]] for j, name in enumerate(NAMES)}),
    ],
    ids=["pandas", "polars", "arrow"],
)
def test_missing_numbers_are_named_by_column(table: Any) -> None:
    column = NAMES[int(np.argmax((X > 1.9).any(axis=0)))]
    with pytest.raises(ValueError, match=rf"column '{column}' \(\d NaN\).*SimpleImputer"):
        regressor().fit(table, Y)


@pytest.mark.parametrize("library", ["pandas", "polars", "arrow"])
def test_other_columns_than_those_of_the_fit_are_refused(library: str) -> None:
    make = {"pandas": lambda X: X, "polars": pl.DataFrame, "arrow": pa.Table.from_pandas}[library]
    model = regressor().fit(FRAME, Y)
    for names in (["b", "a", "c"], ["a", "b", "d"]):
        frame = FRAME.set_axis(names, axis=1)
        with pytest.raises(ValueError, match="feature names should match those that were passed during fit"):
            model.predict(make(frame) if library != "polars" else pl.DataFrame(frame.to_dict("list")))
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        model.predict(X)
    with pytest.raises(ValueError, match="has 2 features, but ReLURegressor is expecting 3"):
        regressor().fit(X, Y).predict(X[:, :2])


# Weights


@pytest.mark.parametrize(
    "estimator",
    [
        *(regressor(loss=loss) for loss in ("squared", "absolute", "huber", "quantile", "poisson")),
        *(classifier(loss=loss) for loss in ("log", "squared")),
    ],
    ids=str,
)
def test_weights_are_repetitions_and_their_scale_is_none(estimator: Any) -> None:
    y = LABELS if is_classifier(estimator) else np.floor(np.abs(3 * Y))
    w = np.random.default_rng(1).integers(0, 4, len(X))

    def outputs(*rows: Any) -> NDArray:
        return clone(estimator).fit(*rows).network_.predict(X)

    weighted = outputs(X, y, w)
    np.testing.assert_allclose(weighted, outputs(X.repeat(w, axis=0), y.repeat(w)), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(weighted, outputs(X[w > 0], y[w > 0], w[w > 0]), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(weighted, outputs(X, y, 7.5 * w), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(outputs(X, y, np.ones(60)), outputs(X, y), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("make", [list, pd.Series, pl.Series, pa.array, tensor], ids=lambda make: make.__name__)
def test_weights_may_be_of_any_kind(make: Callable) -> None:
    w = np.linspace(0.5, 2.0, 60)
    expected = regressor().fit(X, Y, w).predict(X)
    np.testing.assert_array_equal(regressor().fit(X, Y, make(w)).predict(X), expected)
    classifier().fit(X, LABELS, make(w))


# Metadata, frames and pipelines


def test_weights_are_routed_where_they_are_asked_for() -> None:
    w = np.linspace(0.1, 3.0, 60)
    with config_context(enable_metadata_routing=True):
        asking = regressor().set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        pipeline = make_pipeline(scaler, asking).fit(X, Y, sample_weight=w)
        scaled = StandardScaler().fit_transform(X)
        np.testing.assert_array_equal(pipeline.predict(X), regressor().fit(scaled, Y, w).predict(scaled))
        search = GridSearchCV(asking, {"n_neurons": [2, 3]}, cv=2).fit(X, Y, sample_weight=w)
        best = regressor(**search.best_params_).fit(X, Y, w)
        np.testing.assert_array_equal(search.predict(X), best.predict(X))
        halves = [np.arange(30, 60), np.arange(30)]
        folds = list(zip(halves, halves[::-1], strict=True))
        scores = cross_validate(asking, X, Y, cv=folds, params={"sample_weight": w})
        for fitted, held_out, score in zip(*zip(*folds, strict=True), scores["test_score"], strict=True):
            model = regressor().fit(X[fitted], Y[fitted], w[fitted])
            assert score == pytest.approx(model.score(X[held_out], Y[held_out], w[held_out]))
        ignoring = regressor().set_fit_request(sample_weight=False).set_score_request(sample_weight=False)
        with pytest.raises(TypeError, match="not routed to any object"):
            make_pipeline(ignoring).fit(X, Y, sample_weight=w)
        with pytest.raises(UnsetMetadataPassedError, match="sample_weight"):
            GridSearchCV(classifier(), {"n_neurons": [2]}, cv=2).fit(X, LABELS, sample_weight=w)
        for estimator in (regressor(), classifier()):
            requests = estimator.set_fit_request(sample_weight=True).get_metadata_routing()
            assert requests.fit.requests == {"sample_weight": True}
        assert regressor().set_partial_fit_request(sample_weight=True).get_metadata_routing().partial_fit.requests


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_names_go_through_pipelines_that_give_frames(library: str) -> None:
    for estimator, y in ((regressor(), Y), (classifier(), LABELS)):
        pipeline = make_pipeline(StandardScaler(), estimator).set_output(transform=library).fit(FRAME, y)
        assert list(pipeline[-1].feature_names_in_) == NAMES
        assert pipeline[-1].network_.feature_names == tuple(NAMES)
        plain = make_pipeline(StandardScaler(), clone(estimator)).fit(X, y)
        expected = plain.predict(X)
        if is_regressor(estimator):
            np.testing.assert_allclose(pipeline.predict(FRAME), expected, rtol=1e-8)
        else:
            np.testing.assert_array_equal(pipeline.predict(FRAME), expected)


def mixed() -> pd.DataFrame:
    frame = FRAME.assign(
        city=np.array(["Rome", "Oslo", None])[np.arange(60) % 3],
        kind=pd.Categorical(np.array(["u", "v"])[np.arange(60) % 2]),
    )
    frame.loc[3, "a"] = np.nan
    return frame


def test_columns_that_are_mixed_missing_or_categories_are_fitted_in_a_pipeline() -> None:
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    of_numbers, others = make_column_selector(dtype_include="number"), make_column_selector(dtype_exclude="number")
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    columns = make_column_transformer((numbers, of_numbers), (encoder, others))
    for estimator, y in ((regressor(), Y), (classifier(), LABELS)):
        pipeline = make_pipeline(columns, estimator).set_output(transform="pandas").fit(mixed(), y)
        assert pipeline[-1].n_features_in_ == 3 + 3 + 2
        assert "onehotencoder__city_Rome" in pipeline[-1].feature_names_in_
        unknown = mixed().assign(city="Lima")
        assert pipeline.predict(unknown).shape == (60,)
        assert pipeline.score(mixed(), y) > 0.8
    sparse = make_column_transformer((SimpleImputer(), of_numbers), (OneHotEncoder(), others), sparse_threshold=1.0)
    with pytest.raises(TypeError, match=r"Use '.toarray\(\)'"):
        make_pipeline(sparse, regressor()).fit(mixed(), Y)


def test_threads_of_joblib_give_the_same_scores() -> None:
    alone = cross_val_score(regressor(), X, Y, cv=4)
    with joblib.parallel_config("threading", n_jobs=4):
        np.testing.assert_array_equal(cross_val_score(regressor(), X, Y, cv=4), alone)


# Callbacks of scikit-learn


class Recorder:
    """Notes what it is told."""

    def __init__(self, stop_after: int | None = None, fail: bool = False) -> None:
        self.told: list[str] = []
        self.scores: list[float] = []
        self.stop_after, self.fail = stop_after, fail

    def setup(self, estimator: Any, context: Any) -> None:
        self.told.append("setup")

    def teardown(self, estimator: Any, context: Any) -> None:
        self.told.append("teardown")

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        self.told.append(f"begin {context.task_name}")

    def on_fit_task_end(
        self, estimator: Any, context: Any, *, X: Any, y: Any, metadata: Any, fitted_estimator: Any
    ) -> bool:
        self.told.append(f"end {context.task_name}")
        if self.fail:
            raise RuntimeError("the callback failed")
        if context.task_name == "iteration" and fitted_estimator is not None:
            self.scores.append(fitted_estimator.score(X, y, **(metadata or {})))
        return len(self.scores) == self.stop_after


@needs_callbacks
@pytest.mark.parametrize("loss", ["squared", "huber", "log"])
def test_callbacks_see_every_iteration_with_its_network(loss: str) -> None:
    estimator = classifier() if loss == "log" else regressor(loss=loss, max_iter=8)
    y, w, recorder = (LABELS if loss == "log" else Y), np.linspace(0.5, 2.0, 60), Recorder()
    model = estimator.set_callbacks(recorder).fit(FRAME, y, w)
    assert recorder.told[:3] == ["setup", "begin fit", "begin iteration"]
    assert recorder.told[-2:] == ["end fit", "teardown"]
    assert recorder.told.count("begin iteration") == recorder.told.count("end iteration")
    # The start of each part is no iteration, and neither is the one begun last.
    starts = 2 if loss == "huber" else 1
    assert len(recorder.scores) == len(model.history_) - starts
    assert recorder.told.count("end iteration") == len(recorder.scores) + 1
    assert recorder.scores[-1] == pytest.approx(model.score(FRAME, y, w))
    if loss == "squared":
        total = np.average((Y - np.average(Y, weights=w)) ** 2, weights=w)
        np.testing.assert_allclose(recorder.scores, 1 - model.history_["mse"][1:] / total, rtol=1e-6)
    assert not hasattr(model, "_callback_fit_ctx")
    silent = clone(estimator).set_callbacks().fit(FRAME, y, w)
    np.testing.assert_array_equal(silent.network_.A, model.network_.A)


@needs_callbacks
def test_callbacks_stop_fits_and_their_errors_are_passed_on() -> None:
    model = regressor().set_callbacks(Recorder(stop_after=2)).fit(X, Y)
    assert model.status_ is Status.STOPPED
    assert model.n_iter_ == 2
    failing = Recorder(fail=True)
    with pytest.raises(RuntimeError, match="the callback failed"):
        regressor().set_callbacks(failing).fit(X, Y)
    assert failing.told[-1] == "teardown"
    refused = Recorder()
    with pytest.raises(ValueError, match="NaN"):
        regressor().set_callbacks(refused).fit(np.full_like(X, np.nan), Y)
    assert refused.told == []


@needs_callbacks
def test_callbacks_follow_clones_pipelines_searches_and_pruning() -> None:
    recorder = Recorder()
    model = clone(regressor().set_callbacks(recorder)).fit(X, Y)
    seen = len(recorder.scores)
    assert seen > 0
    model.pruned(2, X, Y)
    assert len(recorder.scores) > seen
    assert pickle.loads(pickle.dumps(model)).score(X, Y) == model.score(X, Y)
    from sklearn import callback

    monitor = callback.ScoringMonitor(scoring="r2")
    model = regressor().set_callbacks(monitor)
    make_pipeline(StandardScaler(), model).fit(X, Y)
    scores = monitor.get_logs().data_as_pandas["r2"]
    assert scores.iloc[-1] == pytest.approx(model.score(StandardScaler().fit_transform(X), Y))
    bar = callback.ProgressBar(max_propagation_depth=None)
    GridSearchCV(regressor(), {"n_neurons": [1, 2]}, cv=2).set_callbacks(bar).fit(X, Y)


def test_fits_do_without_callbacks_of_scikit_learn() -> None:
    code = """
import sys
import sklearn.linear_model, sklearn.pipeline  # which have them, where there are any
sys.modules["sklearn.callback"] = None
import numpy as np
from anmin import ReLURegressor
seen = []
model = ReLURegressor(2, alpha=0.1, relocate=False, callbacks=lambda record, _: seen.append(record.iteration))
X = np.random.default_rng(0).standard_normal((30, 2))
model.fit(X, np.abs(X[:, 0]))
assert seen == list(range(len(model.history_)))
print(hasattr(model, "set_callbacks"))
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"


# Held-out rows


def test_fits_end_where_held_out_rows_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anmin.solvers.loop.PATIENCE", 5)
    settings = {"n_neurons": 20, "alpha": 1e-6, "max_iter": None, "relocate": True, "validation_fraction": 0.3}
    noise = np.random.default_rng(2).standard_normal(60)
    model = regressor(checkpoint=tmp_path / "fit", **settings).fit(X, noise)
    assert model.status_ is Status.HELD_OUT
    errors = model.history_["validation_mse"]
    least = int(errors.argmin())
    assert model.n_iter_ == least + max(5, least) + 1
    assert model.loss_ == model.history_["loss"][least]
    again = regressor(checkpoint=tmp_path / "fit", **settings).fit(X, noise)
    assert again.status_ is Status.HELD_OUT
    np.testing.assert_array_equal(again.network_.A, model.network_.A)
