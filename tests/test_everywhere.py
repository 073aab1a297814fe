"""On the paper's data sets, wherever the rows are: the same sums, and networks of the same loss."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import anmin.rows.parts
from anmin import ReLURegressor
from anmin.lab import protocol
from anmin.rows import ArrayRows, NpyRows, Scaling


def in_files(X: NDArray, Y: NDArray, folder: Path) -> Any:
    np.save(folder / "X.npy", X)
    np.save(folder / "y.npy", Y)
    return NpyRows(folder / "X.npy", folder / "y.npy", part_rows=5000)


def in_dask(X: NDArray, Y: NDArray, folder: Path) -> Any:
    da = pytest.importorskip("dask.array", reason="Dask is not installed")
    from anmin.rows import DaskRows

    return DaskRows(da.from_array(X, (5000, -1)), da.from_array(Y, (5000, -1)))


def in_torch(X: NDArray, Y: NDArray, folder: Path) -> Any:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from anmin.rows import TorchRows

    return TorchRows(X, Y, device=["cuda" if torch.cuda.is_available() else "cpu"] * 2)


pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
PLACES = {"files": in_files, "dask": in_dask, "torch": in_torch}


@pytest.fixture(params=["abalone", "bike_sharing", "horse_sdf"])
def training_rows(
    request: pytest.FixtureRequest, shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[NDArray, NDArray]:
    monkeypatch.setenv("ANMIN_DATA", str(shared_data))
    split = protocol.load_split(request.param, 0)
    return split.X_train, split.y_train


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> Callable[[NDArray, NDArray, Path], Any]:
    return PLACES[request.param]


def test_sums_are_those_in_memory(training_rows: tuple[NDArray, NDArray], place: Callable, tmp_path: Path) -> None:
    X, Y = training_rows
    there, here = place(X, Y, tmp_path), ArrayRows(X, Y)
    scaling = Scaling.standard(here)
    A = np.random.default_rng(0).standard_normal((X.shape[1] + 1, 64))
    found, expected = (scaling.apply(rows).statistics(A) for rows in (there, here))
    for name in ("U", "V", "s", "n", "y_sum", "y_square"):
        wanted = getattr(expected, name)
        largest = float(expected.n) if name == "y_sum" else np.abs(wanted).max()  # the sum of centred targets is zero
        np.testing.assert_allclose(getattr(found, name), wanted, rtol=1e-10, atol=1e-10 * largest)


def test_losses_are_those_in_memory(
    training_rows: tuple[NDArray, NDArray], place: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the paper's method, all of whose passes are over all rows, also where these are not held.

    Its solves of nearly singular systems amplify rounding, on the field a hundredfold an iteration: so there are few.
    """
    X, Y = training_rows
    expected = ReLURegressor(64, solver="anmin", alpha=1e-4, max_iter=2, random_state=0).fit(X, Y)
    monkeypatch.setattr(anmin.rows.parts, "HELD_ROWS", 500)
    there = place(X, Y, tmp_path)
    found = ReLURegressor(64, solver="anmin", alpha=1e-4, max_iter=2, random_state=0).fit(there)
    np.testing.assert_allclose(found.loss_, expected.loss_, rtol=1e-6)


def test_default_fits_to_held_rows_are_those_in_memory(
    training_rows: tuple[NDArray, NDArray], place: Callable, tmp_path: Path
) -> None:
    X, Y = training_rows
    places = (ArrayRows(X, Y), place(X, Y, tmp_path))
    fits = [ReLURegressor(16, max_iter=12, random_state=0).fit(rows) for rows in places]
    np.testing.assert_allclose(fits[1].loss_, fits[0].loss_, rtol=1e-6)
