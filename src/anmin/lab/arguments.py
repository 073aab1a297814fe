"""What the methods of the lab are given, checked before any work: one sentence says what was wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from anmin.validation import is_integer, is_number


def checked_array(name: str, value: Any, *shape: int | str) -> NDArray:
    """Return ``value`` as a finite float64 array of this shape, in which text stands for any length of at least 1.

    Raises
    ------
    ValueError
        If it has another shape, is empty, holds no numbers, or NaN or infinity.
    """
    wanted = f"({', '.join(map(str, shape))}{',' * (len(shape) == 1)})"
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be an array of numbers of shape {wanted}.") from None
    fits = array.ndim == len(shape) and all(
        length >= 1 if isinstance(want, str) else length == want
        for length, want in zip(array.shape, shape, strict=True)
    )
    if not fits:
        raise ValueError(f"{name} must have the shape {wanted}; got {array.shape}.")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must hold finite numbers; got NaN or infinity.")
    return array


def checked_count(name: str, value: Any, least: int = 1, most: int | None = None, why: str = "") -> int:
    """Return ``value`` as an integer from ``least`` to ``most``; ``why`` says in the message what limits it."""
    if not is_integer(value, least) or (most is not None and value > most):
        limits = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise ValueError(f"{name} must be an integer {limits}{f' ({why})' if why else ''}; got {value!r}.")
    return int(value)


def checked_positive(name: str, value: Any) -> float:
    """Return ``value`` as a finite float above 0."""
    if not is_number(value) or value <= 0:
        raise ValueError(f"{name} must be a finite number above 0; got {value!r}.")
    return float(value)


def checked_level(name: str, value: Any) -> float:
    """Return ``value`` as a finite float of at least 0."""
    if not is_number(value, 0.0):
        raise ValueError(f"{name} must be a finite number of at least 0; got {value!r}.")
    return float(value)


def check_integers(least: int, **values: Any) -> None:
    """Raise ValueError unless all are integers of at least ``least``."""
    for name, value in values.items():
        checked_count(name, value, least)


def check_positive(**values: Any) -> None:
    """Raise ValueError unless all are finite numbers above 0."""
    for name, value in values.items():
        checked_positive(name, value)


def check_not_negative(**values: Any) -> None:
    """Raise ValueError unless all are finite numbers of at least 0."""
    for name, value in values.items():
        checked_level(name, value)


def check_fractions(**values: Any) -> None:
    """Raise ValueError unless all are numbers from 0 to 1."""
    for name, value in values.items():
        if not is_number(value, 0.0) or value > 1:
            raise ValueError(f"{name} must be a number from 0 to 1; got {value!r}.")


def check_coefficients(**values: Any) -> None:
    """Raise ValueError unless all are numbers from 0 to below 1, as those of averages."""
    for name, value in values.items():
        if not is_number(value, 0.0) or value >= 1:
            raise ValueError(f"{name} must be a number from 0 to below 1; got {value!r}.")
