"""Rows in Dask: the same sums and networks as in memory, whatever the scheduler, and what a cluster can do to a fit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import warnings
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

import anmin.checkpoint
import anmin.rows.dask
import anmin.rows.parts
from anmin import ReLURegressor
from anmin.history import Status
from anmin.rows import ArrayRows, DaskRows
from anmin.rows.parts import Heavy, RowsLostError
from anmin.search.sampling import MOST_PASSES
from problems import Case

da = pytest.importorskip("dask.array", reason="Dask is not installed")
dask = pytest.importorskip("dask", reason="Dask is not installed")
distributed = pytest.importorskip("distributed", reason="Dask's distributed scheduler is not installed")


@pytest.fixture(scope="module")
def cluster():
    """Two worker processes of one thread each."""
    import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0", memory_limit="1GB"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def arrays(X, Y, w=None, rows: int = 40):
    """Return Dask arrays in partitions of some rows."""
    chunks = (rows, -1)
    return da.from_array(X, chunks), da.from_array(Y, chunks), None if w is None else da.from_array(w, rows)


def assert_same_sums(found, expected, A, slope):
    mine, theirs = found.statistics(A, slope), expected.statistics(A, slope)
    for name in ("U", "V", "s", "n", "y_sum", "y_square", "active"):
        scale = np.abs(getattr(theirs, name)).max()
        np.testing.assert_allclose(getattr(mine, name), getattr(theirs, name), rtol=1e-10, atol=1e-10 * scale)


def test_sums_in_threads_are_those_in_memory(case: Case):
    X, Y, w, A = case.data()
    found = DaskRows(*arrays(X, Y, w))
    assert_same_sums(found, case.rows(), A, case.negative_slope)
    assert found.n == pytest.approx(case.rows().n)
    np.testing.assert_allclose(found.minimum(A), case.rows().minimum(A), rtol=1e-12)
    np.testing.assert_array_equal(np.concatenate(list(found.inputs())), X)


def problem(n: int = 2000):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 3))
    return X, np.abs(X[:, :1]) + np.abs(X[:, 1:2] - 0.5) + 0.1 * rng.standard_normal((n, 1))


def test_sums_on_a_cluster_are_those_in_memory(cluster):
    X, Y = problem()
    w = np.random.default_rng(1).random(2000)
    A = np.random.default_rng(2).standard_normal((4, 7))
    rows = DaskRows(*arrays(X, Y, w, 100), client=cluster)
    assert_same_sums(rows, ArrayRows(X, Y, w), A, 0.1)
    assert_same_sums(DaskRows(*arrays(X, Y, w, 100)), ArrayRows(X, Y, w), A, 0.1)  # the client in use


@pytest.mark.parametrize("held", [300, 10_000])
def test_a_fit_on_a_cluster_is_that_in_threads_and_in_memory(held, cluster, monkeypatch):
    monkeypatch.setattr(anmin.rows.parts, "HELD_ROWS", held)
    X, Y = problem()
    fits = {}
    for name, client in (("cluster", cluster), ("threads", None)):
        monkeypatch.setattr("anmin.rows.dask._client_in_use", lambda: None)
        rows = DaskRows(*arrays(X, Y, rows=150), client=client)
        fits[name] = ReLURegressor(5, random_state=0, alpha=1e-4).fit(rows)
        assert rows.passes <= MOST_PASSES
    np.testing.assert_allclose(fits["cluster"].loss_, fits["threads"].loss_, rtol=1e-6)
    memory = ReLURegressor(5, random_state=0, alpha=1e-4).fit(X, Y[:, 0])
    if held > len(X):
        np.testing.assert_array_equal(fits["cluster"].network_.A, memory.network_.A)
    else:
        assert fits["cluster"].history_["n_rows"][-1] == 2000
        assert fits["cluster"].history_["mse"][-1] < 0.015  # the noise is 0.01


def test_data_frames_are_taken_by_the_names_of_their_columns():
    dd = pytest.importorskip("dask.dataframe", reason="Dask's data frames are not installed")
    X, Y = problem(200)
    table = pd.DataFrame({"a": X[:, 0], "y": Y[:, 0], "b": X[:, 1], "c": X[:, 2], "w": np.arange(200.0)})
    rows = DaskRows(dd.from_pandas(table, npartitions=3), "y", "w")
    assert rows.column_names == (("a", "b", "c"), ("y",))
    A = np.random.default_rng(2).standard_normal((4, 7))
    assert_same_sums(rows, ArrayRows(X, Y, np.arange(200.0)), A, 0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = ReLURegressor(3, random_state=0, max_iter=3).fit(rows)
    assert list(model.feature_names_in_) == ["a", "b", "c"]
    frame = dd.from_pandas(table, npartitions=3)
    table.loc[41, "w"] = -1.0
    with pytest.raises(ValueError, match="In row 42 of the Dask rows the weights, column 'w', are negative"):
        DaskRows(dd.from_pandas(table, npartitions=3), "y", "w")
    for y, message in (
        (Y, "or named: y is"),
        ("z", "no column 'z'; it has a, y, b, c, w"),
        ([], "At least one target"),
    ):
        with pytest.raises(ValueError, match=message):
            DaskRows(frame, y)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_dask_arrays_are_fitted_where_they_are(monkeypatch):
    monkeypatch.setattr(anmin.rows.parts, "HELD_ROWS", 100)
    X, Y = problem(400)
    w = np.linspace(0.5, 2.0, 400)
    dX, dY, dw = arrays(X, Y, w)
    settings = {"random_state": 0, "solver": "anmin", "max_iter": 3}
    expected = ReLURegressor(3, **settings).fit(X, Y, w)
    made = ReLURegressor(3, **settings).fit(dX, dY, dw)
    flat = ReLURegressor(3, **settings).fit(dX, dY[:, 0], dw)
    assert made.history_[-1].n_rows == 400
    np.testing.assert_allclose([made.loss_, flat.loss_], expected.loss_, rtol=1e-8)
    assert made.network_.output_names is None
    for model, wanted in ((made, expected.predict(X)), (flat, expected.predict(X)[:, 0])):
        predictions = model.predict(dX)
        assert isinstance(predictions, da.Array)
        assert predictions.shape == wanted.shape
        np.testing.assert_allclose(predictions.compute(), wanted, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(model.predict(dX.rechunk((40, 2))).compute(), wanted, rtol=1e-6, atol=1e-6)
    with pytest.raises(ValueError, match="requires y to be passed"):
        ReLURegressor(3).fit(dX)
    with pytest.raises(ValueError, match=r"X must have 3 columns, as in the fit; got shape \(400, 2\)"):
        made.predict(dX[:, :2])


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_dask_data_frames_are_fitted_where_they_are():
    dd = pytest.importorskip("dask.dataframe", reason="Dask's data frames are not installed")
    X, Y = problem(200)
    table = pd.DataFrame(X, columns=["a", "b", "c"]).assign(price=Y[:, 0], w=np.arange(1.0, 201))
    frame = dd.from_pandas(table, npartitions=3)
    settings = {"random_state": 0, "solver": "anmin", "max_iter": 3}
    inputs = frame[["a", "b", "c"]]
    expected = ReLURegressor(3, **settings).fit(table[["a", "b", "c"]], table["price"], table["w"])
    apart = ReLURegressor(3, **settings).fit(inputs, frame["price"], frame["w"])
    named = ReLURegressor(3, **settings).fit(frame, "price", "w")
    several = ReLURegressor(3, **settings).fit(inputs, frame[["price"]], frame["w"])
    of_array = ReLURegressor(3, **settings).fit(inputs, frame["price"].to_dask_array(lengths=True), frame["w"])
    for model in (apart, named, several, of_array):
        assert list(model.feature_names_in_) == ["a", "b", "c"]
        assert model.loss_ == pytest.approx(expected.loss_, rel=1e-10)
        wanted = expected.predict(table[["a", "b", "c"]])
        found = model.predict(frame[["c", "price", "b", "a"]]).compute()  # by name, in any order
        np.testing.assert_allclose(found.reshape(-1), wanted, rtol=1e-9)
        assert found.ndim == (2 if model is several else 1)
    assert apart.network_.output_names == named.network_.output_names == ("price",)
    with pytest.raises(ValueError, match="X has no column 'b'; it has a, c"):
        apart.predict(frame[["a", "c"]])


def test_a_fit_on_a_cluster_goes_on_from_a_checkpoint(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(anmin.rows.parts, "HELD_ROWS", 100)
    monkeypatch.setattr(anmin.checkpoint, "SECONDS_BETWEEN", 0.0)
    monkeypatch.setattr(anmin.checkpoint, "_SELDOM", 0.0)
    X, Y = problem(400)
    rows = DaskRows(*arrays(X, Y), client=cluster)
    model = ReLURegressor(3, random_state=0)
    expected = clone(model).fit(rows)

    for n_rows in (100, 400):  # while the sample is fitted, and while all rows are

        def interrupt(record, network, n_rows=n_rows):
            if record.n_rows == n_rows:
                raise KeyboardInterrupt

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            stopped = clone(model).set_params(checkpoint=tmp_path / "fit", callbacks=interrupt).fit(rows)
        assert stopped.status_ is Status.INTERRUPTED
    resumed = clone(model).set_params(checkpoint=tmp_path / "fit").fit(DaskRows(*arrays(X, Y), client=cluster))
    np.testing.assert_array_equal(resumed.coefs_[0], expected.coefs_[0])
    np.testing.assert_array_equal(resumed.coefs_[1], expected.coefs_[1])
    Y[3] += 1.0
    with pytest.raises(ValueError, match="other data: y differs"):
        clone(model).set_params(checkpoint=tmp_path / "fit").fit(DaskRows(*arrays(X, Y), client=cluster))


def test_bad_rows_are_refused():
    X, Y = problem(200)
    X[123, 1] = np.nan
    with pytest.raises(ValueError, match="In row 124 of the Dask rows column '1' has a missing value or NaN"):
        DaskRows(*arrays(X, Y))
    X[123, 1] = 0.0
    with pytest.raises(ValueError, match="must have the same partitions; they have 5, 4"):
        DaskRows(da.from_array(X, (40, -1)), da.from_array(Y, (50, -1)))
    with pytest.raises(ValueError, match="partition 0 has 40 rows of 3 inputs, 50 of 1 outputs"):
        DaskRows(da.from_array(X[:160], (40, -1)), da.from_array(Y, (50, -1)))
    wide = DaskRows(da.from_array(X, (40, 2)), da.from_array(Y[:, 0], 40))  # cut along the inputs, too
    assert (wide.n_rows, wide.n_features, wide.n_outputs) == (200, 3, 1)


@dataclass(frozen=True, eq=False)
class Dying:
    """A heavy pass in which the worker of the first part dies, as often as there are files in a folder."""

    heavy: Heavy
    folder: str

    def __call__(self, part, seen):
        for name in sorted(Path(self.folder).glob("*")) if part.first == 0 else ():
            name.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.heavy(part, seen)


def test_workers_that_are_killed_during_a_pass_do_not_change_it(cluster, tmp_path):
    X, Y = problem()
    A = np.random.default_rng(2).standard_normal((4, 7))
    rows = DaskRows(*arrays(X, Y, rows=200), client=cluster)
    expected = rows.statistics(A)
    for name in ("first", "second"):
        (tmp_path / name).touch()
    found = rows._visited(Dying(Heavy(A, 0.0), str(tmp_path)))
    assert not list(tmp_path.glob("*"))
    np.testing.assert_array_equal(found.U, expected.U)


@dataclass(frozen=True, eq=False)
class Hungry:
    """A task that takes more memory than a worker may."""

    def __call__(self, part, seen):
        return np.ones(400_000_000).sum()


@dataclass(frozen=True, eq=False)
class Refused:
    """A task to which the system gives no memory."""

    def __call__(self, part, seen):
        raise MemoryError("Unable to allocate 3 TiB")


def test_a_worker_that_is_given_no_memory_is_an_error_in_a_sentence(cluster):
    X, Y = problem(200)
    rows = DaskRows(*arrays(X, Y, rows=100), client=cluster)
    with pytest.raises(RowsLostError, match="The memory did not suffice for a pass over the Dask rows; make its parts"):
        rows._visited(Refused())


@pytest.fixture(scope="module")
def small_clusters():
    """Yield clients of clusters of 1, 2 and 4 workers, in threads of this process."""
    with ExitStack() as stack:
        clients = []
        for n in (1, 2, 4):
            cluster = distributed.LocalCluster(
                n_workers=n, threads_per_worker=1, processes=False, dashboard_address=":0"
            )
            stack.enter_context(cluster)
            clients.append(stack.enter_context(distributed.Client(cluster, set_as_default=False)))
        yield clients


def test_one_two_and_four_workers_fit_the_same_bits(small_clusters, monkeypatch):
    monkeypatch.setattr(anmin.rows.parts, "HELD_ROWS", 300)
    X, Y = problem()
    fits = [
        ReLURegressor(4, random_state=0, alpha=1e-4).fit(DaskRows(*arrays(X, Y, rows=250), client=client))
        for client in small_clusters
    ]
    assert fits[0].history_["n_rows"][-1] == 2000
    for fit in fits[1:]:
        np.testing.assert_array_equal(fit.network_.A, fits[0].network_.A)
        np.testing.assert_array_equal(fit.history_["loss"], fits[0].history_["loss"])


def test_a_cluster_without_workers_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(anmin.rows.dask, "PATIENCE", 1.0)
    X, Y = problem(200)
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as cluster,
        distributed.Client(cluster) as client,
    ):
        rows = DaskRows(*arrays(X, Y, rows=100), client=client)
        cluster.scale(0)
        while client.ncores():
            time.sleep(0.1)
        with pytest.raises(RowsLostError, match=r"could not finish a pass over the rows \(it has no workers left\)"):
            rows.statistics(np.ones((4, 2)))


def test_workers_without_memory_are_an_error_in_a_sentence(cluster, monkeypatch):
    monkeypatch.setattr(anmin.rows.dask, "PATIENCE", 10.0)
    X, Y = problem(200)
    rows = DaskRows(*arrays(X, Y, rows=100), client=cluster)
    with pytest.raises(RowsLostError, match=r"could not finish a pass over the rows .*memory for their rows"):
        rows._visited(Hungry())


def test_a_scheduler_that_is_gone_leaves_the_network_of_the_sample(monkeypatch):
    monkeypatch.setattr(anmin.rows.parts, "HELD_ROWS", 300)
    X, Y = problem()
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as cluster,
        distributed.Client(cluster) as client,
    ):
        rows = DaskRows(*arrays(X, Y, rows=500), client=client)

        def close(record, network):
            if record.iteration == 3:
                client.close()
                cluster.close()

        with pytest.warns(ConvergenceWarning) as caught:
            model = ReLURegressor(4, random_state=0, alpha=1e-4, callbacks=close).fit(rows)
    assert model.status_ is Status.ROWS_LOST
    assert any("could not finish a pass" in str(warning.message) for warning in caught)
    assert np.mean((model.network_.predict(X)[:, 0] - Y[:, 0]) ** 2) < 0.1


def test_a_scheduler_that_is_killed_leaves_the_network_of_the_sample(tmp_path, monkeypatch):
    """A scheduler and a worker that are processes of their own; the client gives up after some seconds."""
    monkeypatch.setattr(anmin.rows.parts, "HELD_ROWS", 300)
    X, Y = problem()
    place = tmp_path / "scheduler.json"
    options = ["--scheduler-file", str(place), "--no-dashboard"]
    commands = [("dask_scheduler", "--port", "0"), ("dask_worker", "--nthreads", "1")]
    with ExitStack() as stack:
        stack.enter_context(dask.config.set({"distributed.comm.timeouts.connect": "3s"}))
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.{name}", *more, *options],
                cwd=tmp_path,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for name, *more in commands
        ]
        for process in processes:
            stack.callback(process.wait)
            stack.callback(process.kill)
        while not place.exists():
            time.sleep(0.1)
        client = stack.enter_context(distributed.Client(scheduler_file=str(place), set_as_default=False))
        client.wait_for_workers(1, timeout=60)
        rows = DaskRows(*arrays(X, Y, rows=500), client=client)

        def kill(record, network):
            if record.iteration == 3:
                processes[0].kill()

        with pytest.warns(ConvergenceWarning) as caught:
            model = ReLURegressor(4, random_state=0, alpha=1e-4, callbacks=kill).fit(rows)
    assert model.status_ is Status.ROWS_LOST
    assert any("could not finish a pass" in str(warning.message) for warning in caught)
    assert np.mean((model.network_.predict(X)[:, 0] - Y[:, 0]) ** 2) < 0.1


def test_what_is_moved_does_not_depend_on_the_number_of_rows():
    from anmin.rows.dask import _packed

    A = np.random.default_rng(2).standard_normal((4, 7))
    sizes = []
    for n in (100, 1000):
        X, Y = problem(n)
        triangle, rest = _packed(ArrayRows(X, Y).statistics(A))
        sizes.append(triangle.size + sum(np.size(value) for value in rest.values()))
        assert triangle.size == 28 * 29 / 2
    assert sizes[0] == sizes[1]
