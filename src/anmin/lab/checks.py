"""Checks of the settings of methods, by name, each with one sentence for the first that is wrong."""

from __future__ import annotations

from typing import Any

from anmin.validation import is_integer, is_number


def check_positive(**values: Any) -> None:
    """Raise ValueError unless all are finite numbers above 0."""
    for name, value in values.items():
        if not is_number(value, 0.0) or value == 0:
            raise ValueError(f"{name} must be a positive number; got {value!r}.")


def check_not_negative(**values: Any) -> None:
    """Raise ValueError unless all are finite numbers of at least 0."""
    for name, value in values.items():
        if not is_number(value, 0.0):
            raise ValueError(f"{name} must be a number of at least 0; got {value!r}.")


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


def check_integers(least: int, **values: Any) -> None:
    """Raise ValueError unless all are integers of at least ``least``."""
    for name, value in values.items():
        if not is_integer(value, least):
            raise ValueError(f"{name} must be an integer of at least {least}; got {value!r}.")
