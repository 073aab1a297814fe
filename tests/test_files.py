"""Rows in files: the same sums and networks as in memory, bounded memory, and clear errors for what files can do."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from sklearn.exceptions import ConvergenceWarning

import anmin.rows.parts
from anmin import ReLUClassifier, ReLURegressor
from anmin.history import Status
from anmin.objective import penalty
from anmin.rows import ArrayRows, CsvRows, NpyRows, ParquetRows
from anmin.rows.files import ahead
from anmin.rows.parts import Heavy, RowsLostError, Spread
from anmin.search import sampling
from anmin.search.sampling import MOST_PASSES
from anmin.solvers.levenberg_marquardt import GIVEN_UP
from problems import Case


def frame(X, Y, w=None) -> pd.DataFrame:
    columns = {f"x{j}": X[:, j] for j in range(X.shape[1])} | {f"y{k}": Y[:, k] for k in range(Y.shape[1])}
    return pd.DataFrame(columns if w is None else columns | {"w": w})


def stored(kind: str, folder: Path, X, Y, w=None, part_rows: int | None = None):
    """Write rows to files of a kind and return them as rows."""
    targets, weights = [f"y{k}" for k in range(Y.shape[1])], None if w is None else "w"
    table = frame(X, Y, w)
    if kind == "npy":
        paths = [folder / f"{name}.npy" for name in "XYw"]
        for path, values in zip(paths, (X, Y, w), strict=True):
            if values is not None:
                np.save(path, values)
        return NpyRows(paths[0], paths[1], None if w is None else paths[2], part_rows=part_rows)
    if kind == "csv":
        table.to_csv(folder / "t.csv", index=False)
        return CsvRows(folder / "t.csv", targets, weights=weights, part_rows=part_rows)
    if kind == "parquet":
        table.to_parquet(folder / "t.parquet", row_group_size=max(1, len(X) // 3))
        return ParquetRows(folder / "t.parquet", targets, weights=weights, part_rows=part_rows)
    (folder / "many" / "deeper").mkdir(parents=True)
    cuts = np.linspace(0, len(X), 4).astype(int)
    for i, place in enumerate(("a.parquet", "b.parquet", "deeper/c.parquet")):
        table.iloc[cuts[i] : cuts[i + 1]].to_parquet(folder / "many" / place)
    return ParquetRows(folder / "many", targets, weights=weights, part_rows=part_rows)


KINDS = ("parquet", "folder", "csv", "npy")


@pytest.mark.parametrize("kind", KINDS)
def test_sums_are_those_in_memory(case: Case, kind, tmp_path):
    X, Y, w, A = case.data()
    expected = case.rows()
    found = stored(kind, tmp_path, X, Y, w, part_rows=17)
    assert (found.n_rows, found.n_features, found.n_outputs) == (expected.n_rows, X.shape[1], Y.shape[1])
    assert found.n == pytest.approx(expected.n, rel=1e-12)
    assert_same_sums(found, expected, A, case.negative_slope)
    for mine, theirs in zip(found.moments(), expected.moments(), strict=True):
        for name in ("mean", "deviation", "largest"):
            np.testing.assert_allclose(getattr(mine, name), getattr(theirs, name), rtol=1e-10, atol=1e-300)
    # Standardised twice, as a fit does with relevances.
    d, c = X.shape[1], Y.shape[1]
    steps = [(np.full(d, 0.5), np.full(d, 2.0), np.full(c, -1.0), np.full(c, 3.0))] * 2
    for step in steps:
        found, expected = found.standardized(*step), expected.standardized(*step)
    assert_same_sums(found, expected, A, case.negative_slope)


def assert_same_sums(found, expected, A, slope):
    mine, theirs = found.statistics(A, slope), expected.statistics(A, slope)
    for name in ("U", "V", "s", "n", "y_sum", "y_square", "active"):
        scale = np.abs(getattr(theirs, name)).max()
        np.testing.assert_allclose(getattr(mine, name), getattr(theirs, name), rtol=1e-10, atol=1e-10 * scale)
    before = found.passes
    tried = found.output_statistics(A, slope)
    assert found.statistics(A, slope, None, tried).U is not None
    assert found.passes == before + 1  # the trial has made the sums of the step
    direct = expected.output_statistics(A, slope)
    for name in ("gram", "sums", "cross"):
        scale = np.abs(getattr(direct, name)).max()
        np.testing.assert_allclose(getattr(tried, name), getattr(direct, name), rtol=1e-9, atol=1e-9 * scale)
    np.testing.assert_allclose(found.minimum(A), expected.minimum(A), rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_few_rows_are_fitted_as_in_memory_to_the_bit(kind, tmp_path):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((150, 3))
    Y = np.abs(X[:, :1]) + 0.1 * rng.standard_normal((150, 1))
    rows = stored(kind, tmp_path, X, Y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        in_files, in_memory = (
            ReLURegressor(5, random_state=0, max_iter=40).fit(*data) for data in ((rows,), (X, Y[:, 0]))
        )
    np.testing.assert_array_equal(in_files.network_.A, in_memory.network_.A)
    assert in_files.loss_ == in_memory.loss_
    np.testing.assert_array_equal(in_files.predict(rows), in_memory.predict(X))
    if kind == "npy":
        assert in_files.network_.feature_names is None
    else:
        assert in_files.network_.feature_names == ("x0", "x1", "x2")
        assert list(in_files.feature_names_in_) == ["x0", "x1", "x2"]
        assert in_files.network_.output_names == ("y0",)


@pytest.fixture
def few_held(monkeypatch):
    """Let the sample of rows in files be of 300 rows."""
    monkeypatch.setattr(anmin.rows.parts, "HELD_ROWS", 300)


def noisy(n: int = 3000):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 2))
    return X, np.abs(X[:, :1]) + np.abs(X[:, 1:] - 0.5) + 0.1 * rng.standard_normal((n, 1))


@pytest.mark.parametrize("settings", [{}, {"alpha": 1e-4}, {"n_restarts": 2}, {"solver": "varpro", "dtype": "float32"}])
def test_many_rows_are_fitted_by_a_sample_and_then_all(settings, few_held, tmp_path):
    X, Y = noisy()
    rows = stored("parquet", tmp_path, X, Y, part_rows=500)
    assert not rows.is_held
    assert rows.sample().n_rows == 300
    model = ReLURegressor(6, random_state=0, **settings).fit(rows)
    history = model.history_
    sizes = history["n_rows"]
    assert set(sizes) == {300, 3000}
    assert np.all(np.diff(sizes) >= 0)
    assert np.all(np.diff(history["loss"][sizes == 3000]) <= 0)
    assert rows.passes <= MOST_PASSES
    # The loss and the error are those of all rows.
    mse = np.mean((model.network_.predict(X)[:, 0] - Y[:, 0]) ** 2)
    assert history["mse"][-1] == pytest.approx(mse, rel=1e-6)
    in_memory = ReLURegressor(6, random_state=0, **settings).fit(X, Y[:, 0])
    assert mse < 1.1 * np.mean((in_memory.network_.predict(X)[:, 0] - Y[:, 0]) ** 2)
    if "alpha" not in settings:
        assert model.alpha_ * 3000 > 0


def test_the_paper_method_sees_all_rows_in_every_iteration(few_held, tmp_path):
    X, Y = noisy(1000)
    rows = stored("npy", tmp_path, X, Y, part_rows=400)
    in_files = ReLURegressor(4, solver="anmin", random_state=0).fit(rows)
    in_memory = ReLURegressor(4, solver="anmin", random_state=0).fit(X, Y[:, 0])
    assert set(in_files.history_["n_rows"]) == {1000}
    np.testing.assert_allclose(in_files.history_["loss"], in_memory.history_["loss"], rtol=1e-6)


def test_the_sample_does_not_depend_on_the_parts(few_held, tmp_path):
    X, Y = noisy(2000)
    samples = []
    for kind, part_rows in (("parquet", 64), ("npy", 999), ("csv", 2000), ("folder", None)):
        (tmp_path / kind).mkdir()
        samples.append(stored(kind, tmp_path / kind, X, Y, part_rows=part_rows).sample())
    for sample in samples[1:]:
        np.testing.assert_array_equal(sample.X, samples[0].X)
    # And it is one: each row with the same probability, as many from the first half as from the second.
    order = {row.tobytes(): i for i, row in enumerate(X)}
    places = np.array([order[row.tobytes()] for row in samples[0].X])
    assert np.all(np.diff(places) > 0)
    assert abs(np.mean(places < 1000) - 0.5) < 0.1


def test_rows_without_weight_do_not_count(few_held, tmp_path):
    X, Y = noisy(1000)
    w = np.where(np.arange(1000) % 3 == 0, 0.0, 2.0)
    rows = stored("parquet", tmp_path, X, Y, w, part_rows=100)
    assert rows.n_rows == np.count_nonzero(w)
    assert rows.n == w.sum()
    A = np.random.default_rng(1).standard_normal((3, 4))
    assert_same_sums(rows, ArrayRows(X, Y, w), A, 0.1)


def test_moments_merge_for_very_large_and_small_values():
    values = np.array([[1e200, 1e-200, 3.0], [-1e200, 2e-200, 3.0], [0.5e200, 5e-200, 3.0], [0.0, 0.0, 3.0]])
    whole = Spread.of(values, None)
    merged = Spread.of(values[:1], None).merge(Spread.of(values[1:], None))
    np.testing.assert_allclose(merged.moments.mean, whole.moments.mean, rtol=1e-12)
    np.testing.assert_allclose(merged.moments.deviation, whole.moments.deviation, rtol=1e-12, atol=0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("kind", ["parquet", "npy"])
def test_a_value_that_is_not_finite_is_named(kind, bad, tmp_path):
    X, Y = noisy(1000)
    X[716, 1] = bad
    Y[900, 0] = np.nan
    what = "a missing value or NaN" if np.isnan(bad) else "an infinite value"
    with pytest.raises(ValueError, match=f"In row 717 of .* column 'x1' has {what}; fill such gaps"):
        stored(kind, tmp_path, X, Y, part_rows=100)


def test_a_gap_in_row_forty_million_is_named(tmp_path):
    """Rows that are equal but for one take next to no place on the disk."""
    zeros = np.zeros(2_000_000, np.float32)
    gap = zeros.copy()
    gap[-1] = np.nan
    schema = pa.schema([("x", pa.float32()), ("y", pa.float32())])
    with pa.parquet.ParquetWriter(tmp_path / "t.parquet", schema) as writer:
        for number in range(21):
            values = gap if number == 19 else zeros
            writer.write_table(pa.table({"x": values, "y": zeros}, schema=schema))
    with pytest.raises(ValueError, match=r"In row 40,000,000 of .*t\.parquet column 'x' has a missing value or NaN"):
        ParquetRows(tmp_path / "t.parquet", "y")


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_predictions_are_refused_for_files_that_have_changed(tmp_path):
    X, Y = noisy(1000)
    rows = stored("parquet", tmp_path, X, Y, part_rows=100)
    model = ReLURegressor(2, solver="anmin", max_iter=2, random_state=0).fit(rows)
    np.testing.assert_allclose(model.predict(rows), model.network_.predict(X)[:, 0])
    what = truncate(tmp_path / "t.parquet")
    with pytest.raises(ValueError, match=what):
        model.predict(rows)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_rows_with_other_inputs_than_the_fit_are_refused(tmp_path):
    X, Y = noisy(200)
    rows = stored("parquet", tmp_path, X, Y)
    model = ReLURegressor(2, solver="anmin", max_iter=2, random_state=0).fit(rows)
    np.testing.assert_array_equal(model.predict(ArrayRows(X, Y)), model.predict(rows))
    turned = ParquetRows(tmp_path / "t.parquet", "y0", features=["x1", "x0"])
    one = ParquetRows(tmp_path / "t.parquet", "y0", features=["x0"])
    for use in (model.predict, model.partial_fit):
        with pytest.raises(ValueError, match="the inputs of the fit, in order: x0, x1; got x1, x0"):
            use(turned)
        with pytest.raises(ValueError, match="The rows must have the 2 inputs of the fit; got 1"):
            use(one)
    with pytest.raises(TypeError, match="ReLUClassifier takes arrays and classes, in memory; got ParquetRows"):
        ReLUClassifier(2).fit(rows, None)


def test_rows_in_files_are_added_and_forgotten(tmp_path):
    X, Y = noisy(900)
    first, then = (slice(0, 600), slice(600, 900))
    for name, place in (("first", first), ("then", then)):
        (tmp_path / name).mkdir()
        frame(X[place], Y[place]).to_parquet(tmp_path / name / "t.parquet")
    rows = ParquetRows(tmp_path / "then", "y0", part_rows=100)
    in_files = ReLURegressor(3, alpha=1e-3, random_state=0).partial_fit(ParquetRows(tmp_path / "first", "y0"))
    in_memory = ReLURegressor(3, alpha=1e-3, random_state=0).fit(X[first], Y[first, 0])
    for name in ("partial_fit", "forget"):
        before = rows.passes
        getattr(in_files, name)(rows)
        assert rows.passes == before + 1
        getattr(in_memory, name)(X[then], Y[then, 0])
        assert in_files.loss_ == pytest.approx(in_memory.loss_, rel=1e-9)
        np.testing.assert_allclose(in_files.predict(rows), in_memory.predict(X[then]), rtol=1e-7)
        assert in_files.history_["n_rows"][-1] == in_memory.history_["n_rows"][-1]


@pytest.mark.parametrize("kind", KINDS)
def test_one_row_is_refused_as_in_memory_and_two_are_fitted(kind, tmp_path):
    X, Y = noisy(2)
    for n in (1, 2):
        (tmp_path / f"{n}").mkdir()
    with pytest.raises(ValueError, match="needs at least two rows of positive weight; got one"):
        ReLURegressor(2).fit(stored(kind, tmp_path / "1", X[:1], Y[:1]))
    rows = stored(kind, tmp_path / "2", X, Y)
    model = ReLURegressor(2, alpha=1e-6, random_state=0).fit(rows)
    np.testing.assert_allclose(model.predict(rows), Y[:, 0], rtol=0.01)


def test_tables_of_other_kinds_hold_the_same_rows(tmp_path):
    """Groups of rows of other sizes, types of numbers, folders that name a column, semicolons and compression."""
    X, Y = noisy(90)
    X = X.astype(np.float16).astype(np.float64)
    whole, flag = np.arange(90) // 30, np.arange(90) % 2 == 0
    w = 1.0 + np.arange(90) % 3
    table = frame(X, Y, w).assign(whole=whole, flag=flag)
    expected = np.column_stack([X[:, 1], flag, whole])
    columns = {"target": "y0", "features": ["x1", "flag", "whole"], "weights": "w"}
    typed = table.astype({"x0": np.float16, "x1": np.float16, "w": np.int8})
    for i, group in ((0, 7), (1, 1), (2, 1000)):
        folder = tmp_path / "many" / f"whole={i}"
        folder.mkdir(parents=True)
        typed[typed["whole"] == i].drop(columns="whole").to_parquet(folder / "t.parquet", row_group_size=group)
    table.assign(flag=flag.astype(int)).to_csv(tmp_path / "t.csv", sep=";", index=False)
    table.assign(flag=flag.astype(int)).to_csv(tmp_path / "t.csv.gz", index=False)
    found = [ParquetRows(tmp_path / "many", **columns, part_rows=11)]
    found += [CsvRows(tmp_path / name, **columns, part_rows=11) for name in ("t.csv", "t.csv.gz")]
    A = np.random.default_rng(1).standard_normal((4, 5))
    for rows in found:
        assert rows.column_names == (("x1", "flag", "whole"), ("y0",))
        np.testing.assert_array_equal(rows.survey.X, expected)
        assert_same_sums(rows, ArrayRows(expected, Y, w), A, 0.1)


def test_gaps_and_text_in_a_later_file_are_named(tmp_path):
    (tmp_path / "many").mkdir()
    pd.DataFrame({"a": [1, 2], "y": [1.0, 2.0]}).to_parquet(tmp_path / "many" / "0.parquet")
    pd.DataFrame({"a": pd.array([3, None], "Int64"), "y": [1.0, 2.0]}).to_parquet(tmp_path / "many" / "1.parquet")
    with pytest.raises(ValueError, match=r"In row 4 of .*many column 'a' has a missing value or NaN"):
        ParquetRows(tmp_path / "many", "y")
    pd.DataFrame({"a": ["u", "v"], "y": [1.0, 2.0]}).to_parquet(tmp_path / "many" / "1.parquet")
    with pytest.raises(ValueError, match=r"Column 'a' of .*many must hold numbers; it holds .*string such as 'u'"):
        ParquetRows(tmp_path / "many", "y")


@pytest.mark.parametrize("dtype", [">f8", ">f4", "f2", "i1", ">i8", "u4", "?", "g"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_any_type_and_order_are_read(dtype, order, tmp_path):
    rng = np.random.default_rng(0)
    X = np.array(rng.integers(0, 2, (50, 3)) if dtype == "?" else rng.integers(0, 90, (50, 3)), dtype, order=order)
    y, w = np.arange(50).astype(dtype), np.ones(50, np.int16)
    for name, values in (("X", X), ("y", y), ("w", w)):
        np.save(tmp_path / f"{name}.npy", values)
    paths = [tmp_path / f"{name}.npy" for name in "Xyw"]
    rows = NpyRows(*paths, part_rows=7)
    assert (rows.n_rows, rows.n_outputs, rows.n) == (50, 1, 50.0)
    np.testing.assert_array_equal(np.concatenate(list(rows.inputs())), X.astype(np.float64))
    np.testing.assert_array_equal(rows.survey.Y[:, 0], y.astype(np.float64))


def test_negative_weights_are_named(tmp_path):
    X, Y = noisy(100)
    w = np.ones(100)
    w[41] = -1
    with pytest.raises(ValueError, match=r"In row 42 of .* the weights, column 'w', are negative"):
        stored("parquet", tmp_path, X, Y, w, part_rows=10)
    with pytest.raises(ValueError, match="must have at least one row of positive weight; it has none"):
        stored("parquet", tmp_path, X, Y, np.zeros(100))


def test_files_that_are_no_such_rows_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    X, Y = noisy(50)
    table = frame(X, Y)
    table.to_parquet("t.parquet")
    table.to_csv("t.csv", index=False)
    Path("torn.parquet").write_bytes(Path("t.parquet").read_bytes()[:-200])
    table.iloc[:0].to_parquet("none.parquet")
    Path("folder").mkdir()
    table.to_parquet("folder/a.parquet")
    table.drop(columns="x1").to_parquet("folder/b.parquet")
    np.save("X.npy", X)
    np.save("short.npy", Y[:20])
    np.save("text.npy", np.array(["a"] * 50))
    np.save("no.npy", X[:, :0])
    np.savez("many.npz", X)
    Path("none.csv").write_text("x0,y0\n")
    Path("torn.npy").write_bytes(Path("X.npy").read_bytes()[:60])
    for make, message in (
        (lambda: ParquetRows("nothing.parquet", "y0"), "There is no file nothing.parquet"),
        (
            lambda: ParquetRows("t.parquet", "z"),
            "t.parquet has no column 'z'; the file has the columns 'x0', 'x1', 'y0'",
        ),
        (lambda: ParquetRows("t.parquet", []), "At least one target column must be named"),
        (lambda: ParquetRows("t.parquet", "y0", features=["x0", "x0"]), "'x0' cannot be used twice"),
        (lambda: ParquetRows("t.parquet", "y0", features=["y0"]), "'y0' cannot be used twice"),
        (lambda: ParquetRows("t.parquet", "y0", part_rows=0), "part_rows must be at least 1; got 0"),
        (lambda: ParquetRows("torn.parquet", "y0"), "torn.parquet could not be read as Parquet"),
        (lambda: ParquetRows("none.parquet", "y0"), "none.parquet must have at least one row; it has none"),
        (lambda: ParquetRows("folder", "y0"), "b.parquet has no column 'x1', which the other files of folder have"),
        (lambda: ParquetRows("t.csv", "y0"), "t.csv must be Parquet"),
        (lambda: CsvRows("t.parquet", "y0"), "t.parquet must be a CSV file"),
        (lambda: NpyRows("X.npy", "none.npy"), "There is no file none.npy"),
        (lambda: NpyRows("X.npy", "short.npy"), r"got X.npy \(50, 2\), short.npy \(20, 1\)"),
        (lambda: NpyRows("X.npy", "text.npy"), "text.npy must hold an array of numbers"),
        (lambda: NpyRows("torn.npy", "X.npy"), "torn.npy could not be read as a .npy array"),
        (
            lambda: NpyRows("X.npy", "X.npy", "X.npy"),
            r"got X.npy \(50, 2\), X.npy \(50, 2\), X.npy \(50, 2\)",
        ),
        (lambda: NpyRows("X.npy", "no.npy"), "At least one input and one target are needed; no.npy has none"),
        (lambda: NpyRows("no.npy", "X.npy"), "At least one input and one target are needed; no.npy has none"),
        (lambda: NpyRows("many.npz", "X.npy"), "many.npz must hold an array of numbers; it holds several"),
        (lambda: CsvRows("none.csv", "y0"), "none.csv must have at least one row; it has none"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            make()
    rows = ParquetRows("t.parquet", "y0")
    with pytest.raises(ValueError, match="Rows bring their own targets"):
        ReLURegressor(2).fit(rows, Y)
    with pytest.raises(ValueError, match="validation_fraction needs rows in memory"):
        ReLURegressor(2, validation_fraction=0.2).fit(rows)


def truncate(path: Path) -> str:
    path.write_bytes(path.read_bytes()[:-100])
    return "has changed since these rows were first read"


def delete(path: Path) -> str:
    path.unlink()
    return "is no longer there"


def replace_schema(path: Path) -> str:
    pd.DataFrame({"other": [1.0, 2.0]}).to_parquet(path)
    return "has changed since these rows were first read"


@pytest.mark.parametrize("harm", [truncate, delete, replace_schema])
@pytest.mark.parametrize("kind", ["parquet", "folder"])
def test_a_file_that_is_lost_during_the_fit_costs_no_network(kind, harm, few_held, tmp_path):
    X, Y = noisy()
    rows = stored(kind, tmp_path, X, Y, part_rows=500)
    path = tmp_path / "t.parquet" if kind == "parquet" else tmp_path / "many" / "b.parquet"
    said = []

    def lose(record, network):
        if record.n_rows == 300 and not said:  # while the sample is fitted
            said.append(harm(path))

    with pytest.warns(ConvergenceWarning) as caught:
        model = ReLURegressor(4, random_state=0, callbacks=lose).fit(rows)
    assert model.status_ is Status.ROWS_LOST
    assert any(said[0] in str(warning.message) for warning in caught)
    # Loss, error and penalty are all of the sample.
    network, unit = model.scaling_.unfold(model.network_), model.scaling_.y_scale[0] ** 2
    expected = model.history_["mse"][-1] / unit + model.alpha_ * penalty(network.A, network.B, network.b0)
    assert model.loss_ == pytest.approx(expected, rel=1e-6)
    assert np.mean((model.network_.predict(X)[:, 0] - Y[:, 0]) ** 2) < 0.1


def test_a_file_that_is_lost_in_the_last_iterations_leaves_the_best_network(few_held, tmp_path):
    X, Y = noisy()
    rows = stored("parquet", tmp_path, X, Y, part_rows=500)

    def lose(record, network):
        if record.n_rows == 3000 and (tmp_path / "t.parquet").exists():
            (tmp_path / "t.parquet").unlink()

    with pytest.warns(ConvergenceWarning) as caught:
        model = ReLURegressor(4, random_state=0, callbacks=lose).fit(rows)
    assert any("no longer there" in str(warning.message) for warning in caught)
    assert model.status_ is Status.ROWS_LOST
    assert model.history_["n_rows"][-1] == 3000
    assert model.loss_ == model.history_["loss"][-1]


@dataclass
class Harming:
    """A heavy pass that does harm to a file when it has seen the first part."""

    heavy: Heavy
    harm: Callable[[], Any] | None

    def __call__(self, part, seen):
        if part.first and self.harm is not None:
            self.harm, harm = None, self.harm
            harm()
        return self.heavy(part, seen)


@pytest.mark.parametrize("harm", [truncate, delete, replace_schema])
@pytest.mark.parametrize("kind", KINDS)
def test_harm_to_a_file_in_the_middle_of_a_pass_is_an_error_in_a_sentence(kind, harm, tmp_path):
    X, Y = noisy(60_000)
    rows = stored(kind, tmp_path, X, Y, part_rows=500)
    name = {"folder": "many/deeper/c.parquet", "npy": "X.npy", "csv": "t.csv", "parquet": "t.parquet"}[kind]
    path = tmp_path / name
    task = Harming(Heavy(np.random.default_rng(1).standard_normal((3, 2)), 0.0), lambda: harm(path))
    with pytest.raises(RowsLostError, match=re.escape(str(path))):
        rows._visited(task)
    assert task.harm is None


def test_an_array_that_is_cut_short_while_it_is_read_kills_no_process(tmp_path):
    X, Y = noisy(60_000)
    rows = stored("npy", tmp_path, X, Y, part_rows=500)
    cut = lambda: os.truncate(tmp_path / "X.npy", 200)  # noqa: E731
    with pytest.raises(RowsLostError, match=r"X\.npy has been cut short since these rows were first read"):
        rows._visited(Harming(Heavy(np.ones((3, 2)), 0.0), cut))


def test_a_pass_without_memory_keeps_the_network(few_held, tmp_path, monkeypatch):
    X, Y = noisy()
    rows = stored("npy", tmp_path, X, Y, part_rows=500)

    def hungry(*_):
        raise MemoryError

    monkeypatch.setattr(Heavy, "__call__", hungry)
    with pytest.warns(ConvergenceWarning) as caught:
        model = ReLURegressor(4, random_state=0, alpha=1e-4).fit(rows)
    assert any("The memory did not suffice for a pass over" in str(warning.message) for warning in caught)
    assert model.status_ is Status.ROWS_LOST
    assert np.mean((model.network_.predict(X)[:, 0] - Y[:, 0]) ** 2) < 0.1


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("seed", range(4))
def test_a_warm_start_never_raises_the_loss_of_all_rows(seed, few_held, tmp_path):
    X, Y = noisy()
    rows = stored("npy", tmp_path, X, Y, part_rows=1000)
    model = ReLURegressor(4, random_state=seed, alpha=1e-3, relocate=False, warm_start=True).fit(rows)
    first, before = model.loss_, rows.passes
    model.fit(rows)
    of_all = model.history_["loss"][model.history_["n_rows"] == 3000]
    assert of_all[0] <= first * (1 + 1e-9)
    assert np.all(np.diff(of_all) <= 0)
    assert rows.passes - before < MOST_PASSES


def test_a_fit_that_used_its_visits_up_does_not_claim_to_have_converged(few_held, tmp_path, monkeypatch):
    X, Y = noisy()
    rows = stored("npy", tmp_path, X, Y, part_rows=1000)
    settings = {"random_state": 0, "alpha": 1e-3, "tol": 1e-12, "relocate": False}
    monkeypatch.setattr(sampling, "_SETTLED", 0.0)
    monkeypatch.setattr(sampling, "MOST_PASSES", 6)
    model = ReLURegressor(4, **settings).fit(rows)
    assert model.status_ is Status.VISITS_DONE
    assert model.history_[-1].branch != GIVEN_UP
    assert rows.passes <= 6
    assert "max_iter" not in model.status_.value  # of which there are no more to be had
    # Three trials for one step, none of which lowers the loss, are no convergence either.
    rows = stored("npy", tmp_path, X, Y, part_rows=1000)
    monkeypatch.setattr("anmin.solvers.levenberg_marquardt.LEAST_GAIN", np.inf)
    given_up = ReLURegressor(4, **settings).fit(rows)
    assert given_up.history_[-1].branch == GIVEN_UP
    assert given_up.status_ is Status.VISITS_DONE


@pytest.mark.parametrize("when", [300, 3000])
def test_an_interrupt_keeps_the_network(when, few_held, tmp_path):
    X, Y = noisy()
    rows = stored("npy", tmp_path, X, Y, part_rows=500)

    def interrupt(record, network):
        if record.n_rows == when and record.iteration == (6 if when == 300 else 0):
            raise KeyboardInterrupt

    with pytest.warns(ConvergenceWarning, match="interrupted"):
        model = ReLURegressor(4, random_state=0, alpha=1e-4, callbacks=interrupt).fit(rows)
    assert model.status_ is Status.INTERRUPTED
    assert np.mean((model.network_.predict(X)[:, 0] - Y[:, 0]) ** 2) < 0.2
    assert model.history_["n_rows"][-1] == 3000  # its loss on all rows was found out


def test_max_time_and_max_iter_leave_the_loss_of_all_rows(few_held, tmp_path):
    X, Y = noisy()
    rows = stored("npy", tmp_path, X, Y, part_rows=500)
    for settings, status in (({"max_iter": 3}, Status.MAX_ITER), ({"max_time": 1e-6}, Status.MAX_TIME)):
        with pytest.warns(ConvergenceWarning):
            model = ReLURegressor(4, random_state=0, **settings).fit(rows)
        assert model.status_ is status
        assert model.history_["n_rows"][-1] == 3000


def test_reading_ahead_passes_errors_on_and_stops_early():
    def three():
        yield from (1, 2)
        raise OSError("torn")

    items = ahead(three())
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(OSError, match="torn"):
        next(items)
    made = []

    def endless():
        while True:
            made.append(len(made))
            yield made[-1]

    items = ahead(endless())
    assert next(items) == 0
    items.close()
    assert len(made) <= 3


def test_memory_does_not_grow_with_the_file(tmp_path):
    """The peak of a process that fits a file of 80 MB in small parts stays below half of that."""
    script = """
import sys
import numpy as np
from anmin import ReLURegressor
from anmin.rows import NpyRows
def peak():
    for line in open("/proc/self/status"):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
folder = sys.argv[1]
import anmin.rows.parts
anmin.rows.parts.HELD_ROWS = 2000
rng = np.random.default_rng(0)
small = NpyRows(folder + "/Xs.npy", folder + "/ys.npy", part_rows=20000)
ReLURegressor(4, random_state=0, max_iter=3).fit(small)
before = peak()
large = NpyRows(folder + "/X.npy", folder + "/y.npy", part_rows=20000)
ReLURegressor(4, random_state=0, max_iter=3).fit(large)
print(peak() - before)
"""
    if not Path("/proc/self/status").exists():
        pytest.skip("The system does not tell the peak of the memory of a process.")
    import subprocess
    import sys

    n = 5_000_000
    X = np.lib.format.open_memmap(tmp_path / "X.npy", mode="w+", dtype=np.float32, shape=(n, 3))
    for start in range(0, n, 500_000):
        X[start : start + 500_000] = np.random.default_rng(start).standard_normal((500_000, 3))
    y = np.lib.format.open_memmap(tmp_path / "y.npy", mode="w+", dtype=np.float32, shape=(n,))
    y[:] = 1.0
    y[::7] = 2.0
    np.save(tmp_path / "Xs.npy", X[:40_000])
    np.save(tmp_path / "ys.npy", y[:40_000])
    del X, y
    environment = os.environ | {"PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], check=True, capture_output=True, text=True, env=environment
    )
    # Pages of a mapped file are no memory that is needed, but they count as held while they are in use.
    assert float(done.stdout) < 120
