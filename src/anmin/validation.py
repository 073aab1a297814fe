"""Checks of what a user gives an estimator, with messages that say what was wrong and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, check_consistent_length, column_or_1d, validate_data

from anmin.devices import on_host

_FLOATS = [np.float64, np.float32]
_MOST_COLUMNS_NAMED = 10


class CheckedSettings:
    """What an estimator checks its parameters with."""

    def _require(self, name: str, holds: bool, requirement: str) -> None:
        """Raise ValueError naming the parameter, what it must be and what it is, unless it ``holds``."""
        if not holds:
            raise ValueError(
                f"The {name!r} parameter of {type(self).__name__} must be {requirement}; got {getattr(self, name)!r}."
            )


def is_integer(value: Any, least: int) -> bool:
    """Return whether ``value`` is an integer (not a boolean) of at least ``least``."""
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least


def is_number(value: Any, least: float = -np.inf) -> bool:
    """Return whether ``value`` is a finite real number (not a boolean) of at least ``least``."""
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    return bool(np.isfinite(float(value))) and float(value) >= least


def check_alone(y: Any, sample_weight: Any) -> None:
    """Raise ValueError if targets or weights come beside rows that bring their own."""
    if y is not None or sample_weight is not None:
        raise ValueError("Rows bring their own targets and weights; y and sample_weight must be None.")


def checked_inputs(estimator: BaseEstimator, X: Any, *, reset: bool) -> NDArray:
    """Return X as a finite float array (N, d); with ``reset`` its columns become the estimator's.

    Raises
    ------
    ValueError, TypeError
        If X has text, NaN, infinity, less than two rows (with ``reset``) or other columns than at fit.
    """
    try:
        # In C order always: sums over columns round differently in Fortran order, as data frames have it, and a long
        # search would end at another network.
        values: NDArray = validate_data(
            estimator,
            on_host(X),
            reset=reset,
            ensure_all_finite=False,
            ensure_min_samples=2 if reset else 1,
            dtype=_FLOATS,
            order="C",
        )
    except ValueError as error:
        raise _in_plain_words("X", error) from None
    _check_finite("X", values, getattr(estimator, "feature_names_in_", None))
    return values


def checked_targets(estimator: BaseEstimator, X: NDArray, y: ArrayLike | None) -> NDArray:
    """Return y as a finite float array (N,) or (N, c) with as many rows as X.

    Raises
    ------
    ValueError, TypeError
        If y is missing, has text, NaN, infinity, no column or another number of rows.
    """
    _check_given(estimator, y)
    names = column_names(y)
    try:
        values: NDArray = check_array(
            on_host(y), ensure_all_finite=False, ensure_2d=False, dtype=_FLOATS, order="C", input_name="y"
        )
    except ValueError as error:
        raise _in_plain_words("y", error) from None
    check_consistent_length(X, values)
    _check_finite("y", values, names)
    return values


def checked_labels(estimator: BaseEstimator, X: NDArray, y: Any) -> NDArray:
    """Return y as an array (N,) of classes: text, booleans or numbers, one for each row of X.

    Raises
    ------
    ValueError
        If y is missing, or has missing values, more than one column, another number of rows, or no classes.
    """
    _check_given(estimator, y)
    labels: NDArray = column_or_1d(on_host(y), warn=True)
    check_consistent_length(X, labels)
    if labels.dtype.kind == "f":
        missing = int(np.count_nonzero(~np.isfinite(labels)))
    else:
        missing = sum(map(_is_missing, labels)) if labels.dtype.kind == "O" else 0
    if missing:
        raise ValueError(
            f"Input y contains NaN, infinity or missing values: {missing} of {len(labels)} rows have no class. "
            f"Remove these rows."
        )
    check_classification_targets(labels)
    return labels


def _check_given(estimator: BaseEstimator, y: Any) -> None:
    if y is None:
        raise ValueError(
            f"This {type(estimator).__name__} estimator requires y to be passed, but the target y is None."
        )


def _is_missing(value: Any) -> bool:
    try:
        return value is None or bool(value != value)
    except TypeError:  # pandas.NA is neither equal to itself nor not
        return True


def column_names(table: Any) -> tuple[str, ...] | None:
    """Return the names of the columns of a data frame or series, if they are all text."""
    of_arrow = getattr(table, "column_names", None)  # whose columns are arrays
    columns = of_arrow if isinstance(of_arrow, list) else getattr(table, "columns", None)
    names: list[Any] = [getattr(table, "name", None)] if columns is None else list(columns)
    return tuple(names) if names and all(isinstance(name, str) for name in names) else None


def _in_plain_words(name: str, error: ValueError) -> ValueError:
    if "could not convert" in str(error) or "arrays of bytes/strings" in str(error):
        return ValueError(
            f"{name} must hold numbers only ({error}). Encode text first, with OneHotEncoder for example."
        )
    return error


def _check_finite(name: str, values: NDArray, columns: Sequence[str] | None) -> None:
    """Raise ValueError naming the columns with NaN or infinity, and how many of each."""
    if np.isfinite(values).all():
        return
    table = values.reshape(len(values), -1)
    n_nan = np.isnan(table).sum(axis=0)
    n_inf = np.isinf(table).sum(axis=0)
    found = []
    for j in map(int, np.flatnonzero(n_nan + n_inf)):
        counts = [f"{n_nan[j]} NaN"] * bool(n_nan[j]) + [f"{n_inf[j]} infinity"] * bool(n_inf[j])
        label = str(j) if columns is None else repr(str(columns[j]))
        found.append(f"column {label} ({', '.join(counts)})")
    rest = len(found) - _MOST_COLUMNS_NAMED
    listed = "; ".join(found[:_MOST_COLUMNS_NAMED]) + (f" and {rest} more columns" if rest > 0 else "")
    raise ValueError(
        f"Input {name} contains NaN or infinity: {listed}. Remove these rows, or fill the gaps with SimpleImputer "
        f"for example."
    )
