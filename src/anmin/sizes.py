"""Errors against the number of neurons: one wide fit, pruned step by step, and how few neurons are enough."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold, StratifiedKFold, check_cv
from sklearn.utils import check_random_state

from anmin.classifier import ReLUClassifier
from anmin.devices import on_host
from anmin.estimators import ReLURegressor
from anmin.history import Status
from anmin.losses import Huber, Logistic, Softmax
from anmin.network import ReLUNetwork
from anmin.rows import ArrayRows
from anmin.rows.arrays import check_weights
from anmin.rows.dask import is_dask
from anmin.rows.parts import RowsInParts
from anmin.validation import checked_inputs, checked_labels, checked_targets, is_integer

Model = ReLURegressor | ReLUClassifier


@dataclass(frozen=True, eq=False)
class SizePath:
    """Models of falling numbers of neurons, each pruned from the one before.

    An error is the mean over rows (weighted) of what the model minimises: the squared error, a mean over the outputs,
    in squared units of y; the absolute error in units of y with the losses "absolute" and "huber"; any other loss of a
    regressor as :mod:`anmin.losses` has it; −log p(y | x) of a classifier, or with ``loss="squared"`` the squared error
    of its indicators.

    Attributes
    ----------
    n_neurons : ndarray of shape (m,), integer
        From the most to the fewest.
    train_errors : ndarray of shape (m,)
        Of ``models`` on all rows, to which they are fitted.
    held_out_errors : ndarray of shape (m,)
        Means over the folds of the errors on their held-out rows; NaN where no fold is done.
    standard_errors : ndarray of shape (m,)
        Of ``held_out_errors``: the deviation between the folds over the root of their number, or where there is one
        fold that of its rows. 0 without a second of either.
    fold_errors : ndarray of shape (k, m)
        Errors on the held-out rows of each fold.
    models : tuple of m fitted estimators
    interrupted : bool
        Whether an interrupt ended the path before the last size or fold.
    """

    n_neurons: NDArray
    train_errors: NDArray
    held_out_errors: NDArray
    standard_errors: NDArray
    fold_errors: NDArray
    models: tuple[Model, ...]
    interrupted: bool = False

    def __len__(self) -> int:
        return len(self.n_neurons)

    @property
    def networks(self) -> tuple[ReLUNetwork, ...]:
        """The networks of ``models``, in raw units."""
        return tuple(model.network_ for model in self.models)

    @property
    def best(self) -> int:
        """Position of the least error on held-out rows: ``path.models[path.best]``; among equals the fewest neurons.

        Raises
        ------
        ValueError
            If no fold is done.
        """
        if np.isnan(self.held_out_errors).all():
            raise ValueError("This path cannot be chosen from: it was interrupted before the first fold was done.")
        return int(np.flatnonzero(self.held_out_errors == np.nanmin(self.held_out_errors))[-1])

    @property
    def smallest_within_one_standard_error(self) -> int:
        """Position of the fewest neurons whose error exceeds the least by at most its standard error.

        The one-standard-error rule (Breiman, Friedman, Olshen & Stone, Classification and Regression Trees, 1984;
        Hastie, Tibshirani & Friedman, The Elements of Statistical Learning, section 7.10).
        """
        most = self.held_out_errors[self.best] + self.standard_errors[self.best]
        return int(np.flatnonzero(self.held_out_errors <= most)[-1])

    def to_dict(self) -> dict[str, list]:
        """Return all but models and folds as lists of Python numbers and text, ready for a data frame or JSON."""
        numbers = {
            name: getattr(self, name).tolist()
            for name in ("n_neurons", "train_errors", "held_out_errors", "standard_errors")
        }
        n_bytes = [network.n_bytes for network in self.networks]
        return {**numbers, "n_bytes": n_bytes, "statuses": [model.status_.name for model in self.models]}


def size_path(
    X: Any,
    y: Any,
    *,
    estimator: Model | None = None,
    n_neurons: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    cv: Any = 5,
    random_state: Any = None,
) -> SizePath:
    """Fit the widest network, prune it to one size after another, and cross-validate that.

    On all rows, and on those of each fold, the estimator is fitted once, with the most neurons; each smaller model is
    pruned from the one before (:meth:`anmin.ReLURegressor.pruned`), at the same penalty, which costs little.

    Parameters
    ----------
    X : array, tensor or data frame of shape (N, d)
        Inputs.
    y : array or data frame of shape (N,) or (N, c)
        Targets or classes.
    estimator : ReLURegressor or ReLUClassifier, optional
        What to fit; its ``n_neurons`` are those of the path, and it has no checkpoint. By default
        ``ReLURegressor(random_state=random_state)``.
    n_neurons : array of shape (m,), optional
        Sizes, in any order. By default the estimator's, and half of it again and again down to 1.
    sample_weight : array of shape (N,), optional
        Non-negative row weights.
    cv : int, splitter of scikit-learn or iterable of pairs of arrays, default 5
        Folds. An integer shuffles the rows, and keeps the shares of classes alike.
    random_state : int, RandomState instance or None, default None
        Source of the folds where ``cv`` is an integer, and of the default estimator's starts.

    Returns
    -------
    SizePath
        Also after an interrupt (Ctrl-C) once the first size is done, with the sizes and folds done and a warning.

    Raises
    ------
    ValueError, TypeError
        Before any work, if a parameter or the data are not as described.
    KeyboardInterrupt
        If interrupted before the widest network is fitted.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from anmin import ReLURegressor, size_path
    >>> X, y = load_diabetes(return_X_y=True)
    >>> path = size_path(X, y, estimator=ReLURegressor(8, alpha=0.05), cv=3, random_state=0)
    >>> path.n_neurons
    array([8, 4, 2, 1])
    """
    rng = check_random_state(random_state)
    if estimator is None:
        estimator = ReLURegressor(random_state=rng.randint(2**31 - 1))
    if not isinstance(estimator, ReLURegressor | ReLUClassifier):
        raise TypeError(f"estimator must be a ReLURegressor or a ReLUClassifier; got {estimator!r}.")
    sizes = _checked_sizes(n_neurons, estimator)
    wide = clone(estimator).set_params(n_neurons=sizes[0], checkpoint=None, warm_start=False)
    rows = _rows(estimator, X, y, sample_weight)
    splits = _splits(cv, rows, isinstance(estimator, ReLUClassifier), rng)
    models: list[Model] = []
    folds: list[list[_Error]] = []
    interrupted = False
    try:
        _fit_sizes(models, wide, sizes, X, y, rows.w)
        for fitted, held_out in splits:
            some: list[Model] = []
            part = rows.of(fitted)
            _fit_sizes(some, wide, sizes, *part)
            folds.append([_error(model, rows.of(held_out)) for model in some])
    except KeyboardInterrupt:
        if not models:
            raise
        interrupted = True
        warnings.warn(
            f"The path was interrupted after {len(models)} of {len(sizes)} sizes and {len(folds)} of {len(splits)} "
            f"folds; these were kept.",
            ConvergenceWarning,
            stacklevel=2,
        )
    errors = np.array([[error.mean for error in fold] for fold in folds]).reshape(len(folds), len(models))
    if len(folds) > 1:
        deviations = errors.std(axis=0, ddof=1) / np.sqrt(len(folds))
    else:
        deviations = np.array([error.standard_error for error in folds[0]] if folds else [np.nan] * len(models))
    return SizePath(
        np.array(sizes[: len(models)]),
        np.array([_error(model, rows).mean for model in models]),
        errors.mean(axis=0) if folds else np.full(len(models), np.nan),
        deviations,
        errors,
        tuple(models),
        interrupted,
    )


class _Rows(NamedTuple):
    X: NDArray
    y: NDArray
    w: NDArray | None

    def of(self, index: NDArray) -> _Rows:
        return _Rows(self.X[index], self.y[index], None if self.w is None else self.w[index])


class _Error(NamedTuple):
    mean: float
    standard_error: float


def _fit_sizes(models: list[Model], wide: Model, sizes: list[int], X: Any, y: Any, w: NDArray | None) -> None:
    """Append the models to the list one by one, so that an interrupt leaves those that are done."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the models have their status
        for n_neurons in sizes:
            model = models[-1].pruned(n_neurons, X, y, w) if models else clone(wide).fit(X, y, w)
            if model.status_ is Status.INTERRUPTED:
                raise KeyboardInterrupt
            models.append(model)


def _error(model: Model, rows: _Rows) -> _Error:
    """Return the mean error over the rows, and its standard error from their deviations."""
    values = _errors_of_rows(model, rows)
    w = np.ones(len(values)) if rows.w is None else rows.w
    mean = float(np.average(values, weights=w))
    n = int(np.count_nonzero(w))
    correction = n / (n - 1) if n > 1 else 1.0
    with np.errstate(invalid="ignore"):  # of infinite errors
        deviation = float(np.sqrt(correction * np.sum((w * (values - mean)) ** 2)) / w.sum())
    return _Error(mean, deviation)


def _errors_of_rows(model: Model, rows: _Rows) -> NDArray:
    F = model.network_.predict(rows.X)
    if isinstance(model, ReLUClassifier):
        indicators = (rows.y[:, None] == model.classes_).astype(np.float64)
        Y = indicators if F.shape[1] > 1 else indicators[:, 1:]
        if model.loss == "squared":
            return np.mean((F - Y) ** 2, axis=1)
        values = (Softmax() if F.shape[1] > 1 else Logistic()).values(F, Y)
        return np.where(indicators.any(axis=1), values, np.inf)  # what was not among the classes was impossible
    Y, loss = rows.y.reshape(F.shape), model._loss()
    if loss is None:
        return np.mean((F - Y) ** 2, axis=1)
    return np.abs(F - Y).sum(axis=1) if isinstance(loss, Huber) else loss.values(F, Y)


def _rows(estimator: Model, X: Any, y: Any, sample_weight: Any) -> _Rows:
    if isinstance(X, ArrayRows | RowsInParts) or is_dask(X):
        raise TypeError(f"X must be an array or a data frame in memory; got {type(X).__name__}. Give a sample of it.")
    # The rows that are split are arrays: they need no names.
    bare = clone(estimator)
    inputs = checked_inputs(bare, X, reset=True)
    checked = checked_targets if isinstance(estimator, ReLURegressor) else checked_labels
    targets = checked(bare, inputs, y)
    w = None if sample_weight is None else check_weights(on_host(sample_weight), len(inputs))
    return _Rows(inputs, targets, w)


def _checked_sizes(n_neurons: Any, estimator: Model) -> list[int]:
    """Return the sizes from the largest to the smallest, each once."""
    if n_neurons is None:
        if not is_integer(estimator.n_neurons, 1):
            raise ValueError(
                f"The estimator's n_neurons must be an integer of at least 1; got {estimator.n_neurons!r}."
            )
        sizes = [int(estimator.n_neurons)]
        while sizes[-1] > 1:
            sizes.append(sizes[-1] // 2)
        return sizes
    given = np.ravel(np.asarray(n_neurons)).tolist()
    if not given or not all(is_integer(size, 1) for size in given):
        raise ValueError(f"n_neurons must be integers of at least 1, one or more; got {n_neurons!r}.")
    return sorted({int(size) for size in given}, reverse=True)


def _splits(cv: Any, rows: _Rows, classes: bool, rng: np.random.RandomState) -> list[tuple[NDArray, NDArray]]:
    if isinstance(cv, int | np.integer):
        if not is_integer(cv, 2) or cv > len(rows.X):
            raise ValueError(f"cv must be an integer of at least 2 and at most the number of rows; got {cv!r}.")
        kind = StratifiedKFold if classes else KFold
        cv = kind(int(cv), shuffle=True, random_state=rng.randint(2**31 - 1))
    splits = list(check_cv(cv, rows.y, classifier=classes).split(rows.X, rows.y))
    if not splits:
        raise ValueError("cv must give at least one pair of rows to fit and rows to hold out; got none.")
    return splits
