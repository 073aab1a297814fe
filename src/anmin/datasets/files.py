"""Data sets in files of the user's, in the folder that the environment variable ANMIN_DATA names.

Their descriptions stand in the catalogue, which fills them in.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anmin.datasets import openml
from anmin.datasets.dataset import Dataset
from anmin.datasets.tables import open_table

_ABALONE = ("length", "diameter", "height", "whole_weight", "shucked_weight", "viscera_weight", "shell_weight")
_BIKES = (
    "season", "year", "month", "hour", "holiday", "weekday", "workingday", "weather", "temperature",
    "feels_like", "humidity", "windspeed", "casual",
)  # fmt: skip
UCI_SETS = ("concrete", "energy", "power", "protein", "wine_red", "yacht")
_PATCH, _STRIDE = 15, 3


def data_folder() -> Path | None:
    """Return the folder that ANMIN_DATA names, or None where it names none.

    Raises
    ------
    FileNotFoundError
        If it names a folder that is not there.
    """
    name = os.environ.get("ANMIN_DATA", "")
    if not name:
        return None
    folder = Path(name)
    if not folder.is_dir():
        raise FileNotFoundError(f"ANMIN_DATA must name a folder; there is no folder {folder}.")
    return folder


def load_table(name: str) -> Dataset:
    """Return abalone, bike_sharing or one of the UCI sets: from its file, or else from OpenML where that has it.

    Raises
    ------
    FileNotFoundError
        If there is no file and OpenML does not have the set.
    ConnectionError
        If there is no file and OpenML cannot be reached.
    """
    relative = f"uci/{name}.csv" if name in UCI_SETS else f"{name}.csv"
    folder = data_folder()
    if name in openml.SOURCES and (folder is None or not (folder / relative).exists()):
        return openml.fetch(name)
    path = _required(relative, name)
    table = open_table(path, header=name in UCI_SETS)
    values = table.numbers(table.columns)
    features: Sequence[str] = table.columns[:-1]
    target = table.columns[-1]
    kept = list(range(len(features)))
    if name == "abalone":
        features, target = _ABALONE, "rings"
    elif name == "bike_sharing":
        # The column between is `registered`, which with `casual` adds up to the target.
        features, target = _BIKES, "count"
        kept.remove(13)
    return Dataset(
        name=name,
        X=np.ascontiguousarray(values[:, kept]),
        y=values[:, -1].copy(),
        feature_names=tuple(features),
        target_names=(target,),
        description="",
        source=path.name,
    )


def load_horse_sdf() -> Dataset:
    """Return the signed distance field of a horse: pixel (row, column) -> distance in pixels, negative inside."""
    path = _required("horse_sdf.npz", "horse_sdf")
    with _archive(path) as arrays:
        X, y = arrays["X"].astype(np.float64), arrays["y"].astype(np.float64)
    return Dataset("horse_sdf", X, y, ("row", "column"), ("distance",), "", path.name)


def load_patches(*, noise: float = 10.0, seed: int = 0) -> Dataset:
    """Return noisy patches of a photograph and the clean ones: the denoising set of Barbu, arXiv 2304.02972.

    All patches of 15 × 15 gray values at a stride of 3 pixels, rows in the order of the picture, each flattened row by
    row. Inputs are the patches plus normal noise of standard deviation ``noise`` drawn by
    ``numpy.random.default_rng(seed)``; targets are the patches, in gray values of 0 to 255.
    """
    path = _required("bsds_102061.png", "patches")
    try:
        # Reading a PNG takes a decoder; Matplotlib brings one, and it is an extra already.
        from matplotlib.image import imread
    except ImportError:
        raise ImportError('Reading the picture of "patches" needs Matplotlib: pip install "anmin[plots]"') from None
    picture = np.round(imread(path) * 255.0)
    if picture.ndim != 2:
        raise ValueError(f"{path} must be a gray picture; it has {picture.shape[-1]} channels.")
    windows = np.lib.stride_tricks.sliding_window_view(picture, (_PATCH, _PATCH))
    # The last patch in each direction is left out, as in the paper's range(0, H - 15, 3).
    windows = windows[:-1:_STRIDE, :-1:_STRIDE]
    clean = windows.reshape(-1, _PATCH * _PATCH).astype(np.float64)
    noisy = clean + np.random.default_rng(seed).normal(0.0, noise, clean.shape)
    pixels = [f"{i}_{j}" for i in range(_PATCH) for j in range(_PATCH)]
    return Dataset(
        name="patches",
        X=noisy,
        y=clean,
        feature_names=tuple(f"noisy_{pixel}" for pixel in pixels),
        target_names=tuple(f"clean_{pixel}" for pixel in pixels),
        description="",
        source=path.name,
    )


def load_year(*, path: str | os.PathLike | None = None) -> Dataset:
    """Return YearPredictionMSD from ``path``, or from YearPredictionMSD.txt in the folder of ANMIN_DATA.

    The file is the one of the UCI repository: no header, the year first, then 90 inputs.
    """
    path = Path(path) if path is not None else _required("YearPredictionMSD.txt", "year_prediction_msd")
    table = open_table(path, header=False)
    if len(table.columns) != 91:
        raise ValueError(f"{path} must have 91 columns, the year and 90 inputs; it has {len(table.columns)}.")
    values = table.numbers(table.columns)
    names = tuple(f"timbre_{i}" for i in range(90))
    return Dataset("year_prediction_msd", values[:, 1:].copy(), values[:, 0].copy(), names, ("year",), "", path.name)


def uci_splits(name: str) -> list[NDArray]:
    """Return the usual test splits of a UCI set as arrays of row numbers: 20 of them, 5 for protein.

    They refer to the rows of the file in the folder of ANMIN_DATA, in its order; the other rows are for training.

    Raises
    ------
    ValueError
        If ``name`` is not one of the UCI sets.
    FileNotFoundError
        If the file of splits is not there.
    """
    if name not in UCI_SETS:
        raise ValueError(f"There are splits for {', '.join(UCI_SETS)}; got {name!r}.")
    with _archive(_required("uci/splits_test_idx.npz", name)) as arrays:
        count = sum(key.startswith(f"{name}_test_") for key in arrays)
        return [arrays[f"{name}_test_{i}"] for i in range(count)]


@contextmanager
def _archive(path: Path) -> Iterator[Any]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            yield arrays
    except (zipfile.BadZipFile, KeyError, EOFError, ValueError, TypeError, AttributeError):
        raise ValueError(f"{path} could not be read as an archive of arrays; it may be damaged.") from None


def _required(relative: str, name: str) -> Path:
    folder = data_folder()
    if folder is None:
        raise FileNotFoundError(
            f"The data set {name!r} is read from a file: set the environment variable ANMIN_DATA to the folder that "
            f"has {relative} (see docs/data.md)."
        )
    path = folder / relative
    if not path.exists():
        raise FileNotFoundError(f"The data set {name!r} needs the file {path}, which is not there (see docs/data.md).")
    return path
