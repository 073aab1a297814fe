"""The experimental protocol of Barbu (arXiv 2304.02972): data, standardisation, splits and scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import train_test_split

from anmin import datasets
from anmin.network import ReLUNetwork

#: The penalty of the paper's experiments, of the unnormalised loss (see :func:`anmin.objective.alpha_from_sum`).
PENALTY = 0.001
#: Share of the rows held out in every split.
TEST_SIZE = 0.2


@dataclass(frozen=True)
class Study:
    """One data set as the paper uses it.

    Attributes
    ----------
    name : str
        Name of the data set, here and on the command line.
    title : str
        Heading of its tables and figures.
    n_neurons : int
        Width of the networks fitted to it.
    sgd_rate : float
        Learning rate of plain SGD. The reference uses 0.03, at which the squared error of targets with a large
        variance overflows; this is the rate of (0.03, 0.01, 0.003, 0.001, 0.0003) with the lowest training error after
        8 epochs of split 0.
    n_splits : int
        Splits made unless told otherwise, as many as a small machine does within the hour; the paper makes 100.
    note : str
        What the reader of a table has to know about the data.
    """

    name: str
    title: str
    n_neurons: int
    sgd_rate: float
    n_splits: int
    note: str = ""


STUDIES: dict[str, Study] = {
    study.name: study
    for study in (
        Study("abalone", "Abalone", 64, 0.03, 10),
        Study("bike_sharing", "Bike sharing", 64, 0.001, 10),
        Study("horse_sdf", "Signed distance field", 64, 0.003, 10),
        Study(
            "patches",
            "Patch autoencoder",
            32,
            0.01,
            2,
            "The noise of the inputs is drawn anew for every split; the paper read a JPEG of this picture.",
        ),
        Study(
            "year_like",
            "Year-like, generated",
            64,
            0.003,
            1,
            "Scaled and generated: 20,000 random rows with 90 inputs in place of the 515,345 rows of "
            "YearPredictionMSD, so the errors cannot be compared with the paper's.",
        ),
        Study("year_prediction_msd", "YearPredictionMSD (the user's file)", 64, 0.003, 1),
    )
}
#: The data sets that the tables show unless told otherwise.
DEFAULT_DATASETS = ("abalone", "bike_sharing", "horse_sdf", "patches")
YEAR_LIKE_ROWS = 20_000


@dataclass(frozen=True, eq=False)
class Split:
    """Training and test rows of one run.

    Attributes
    ----------
    X_train, X_test : ndarray of shape (N, d), (M, d)
        Inputs, standardised over all N + M rows.
    y_train, y_test : ndarray of shape (N, c), (M, c)
        Targets, centred over all rows, in their own units.
    """

    X_train: NDArray
    y_train: NDArray
    X_test: NDArray
    y_test: NDArray


def load_split(name: str, split: int) -> Split:
    """Return split number ``split`` (0, 1, ..., the random state of the split) of a data set of :data:`STUDIES`.

    Raises
    ------
    ValueError
        If there is no such data set here.
    FileNotFoundError
        If its file is not to be found (see :mod:`anmin.datasets`).
    """
    check_names("data set", [name], STUDIES)
    options = {"year_like": {"n_rows": YEAR_LIKE_ROWS}, "patches": {"seed": split}}
    data = datasets.load(name, **options.get(name, {}))
    return make_split(data.X, data.y, split)


def make_split(X: ArrayLike, y: ArrayLike, split: int) -> Split:
    """Standardise and split rows as the paper's code does.

    The inputs are standardised (divisor N − 1) and the targets centred over the whole set before it is split, so the
    test rows have a small say in the scaling. That is kept, for the sake of comparison.

    Parameters
    ----------
    X : array of shape (N, d)
    y : array of shape (N,) or (N, c)
    split : int
        Random state of the 80/20 split.
    """
    inputs = np.asarray(X, dtype=np.float64)
    targets = np.asarray(y, dtype=np.float64).reshape(len(inputs), -1)
    deviation = inputs.std(axis=0, ddof=1)
    inputs = (inputs - inputs.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    targets = targets - targets.mean(axis=0)
    X_train, X_test, y_train, y_test = train_test_split(inputs, targets, test_size=TEST_SIZE, random_state=split)
    return Split(X_train, y_train, X_test, y_test)


def errors(network: ReLUNetwork, split: Split) -> tuple[float, float]:
    """Return the mean squared errors over rows and outputs on the training and on the test rows."""
    train = float(np.mean((network.predict(split.X_train) - split.y_train) ** 2))
    return train, float(np.mean((network.predict(split.X_test) - split.y_test) ** 2))


def r_squared(train_mse: float, test_mse: float, split: Split) -> tuple[float, float]:
    """Return R² on the training and test rows, both relative to predicting the mean of the training targets."""
    mean = split.y_train.mean(axis=0)
    train = np.mean((split.y_train - mean) ** 2)
    test = np.mean((split.y_test - mean) ** 2)
    return float(1 - train_mse / train), float(1 - test_mse / test)


def check_names(what: str, names: list[str], known: dict) -> None:
    """Raise ValueError unless each of ``names`` is a key of ``known``."""
    for name in names:
        if name not in known:
            raise ValueError(f"There is no {what} {name!r} here; choose from {', '.join(known)}.")
