"""What model files have in common: JSON with a schema and a version, read without executing anything."""

from __future__ import annotations

import json
import os
import reprlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anmin.atomic import written_atomically

Model = TypeVar("Model")


def model_text(schema: str, version: int, content: dict[str, Any]) -> str:
    """Return the text of a model file; numbers are written so that reading them gives the same float64 bits."""
    return json.dumps({"schema": schema, "version": version, **content}, allow_nan=False) + "\n"


def write_model(path: str | os.PathLike, text: str) -> None:
    """Write a model file, which appears whole or not at all: under a temporary name, and renamed."""
    with written_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_model(
    path: str | os.PathLike,
    schema: str,
    version: int,
    required: set[str],
    build: Callable[[dict[str, Any]], Model],
) -> Model:
    """Return what ``build`` makes of the document in a model file, whose ``required`` keys are there.

    Raises
    ------
    ValueError
        If the file is not of this schema and version, is truncated or lacks a key, or if ``build`` raises it.
    FileNotFoundError
        If there is no such file.
    """
    path = Path(path)
    try:
        # All numbers are float64, also those written without a point: one of a thousand digits is infinite.
        document = json.loads(path.read_text(encoding="utf-8"), parse_int=float, object_pairs_hook=_keys_once)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"The model file {path} is not complete JSON ({error}); it may be truncated.") from None
    except ValueError as error:
        raise ValueError(f"The model file {path} does not hold a network. {error}") from None
    if not isinstance(document, dict) or document.get("schema") != schema:
        found = document.get("schema") if isinstance(document, dict) else document
        raise ValueError(f"The model file {path} must have the schema {schema!r}; got {reprlib.repr(found)}.")
    given = document.get("version")
    if type(given) is not float or given != version:
        raise ValueError(
            f"The model file {path} has version {reprlib.repr(given)} of the schema; "
            f"this anmin reads version {version}."
        )
    missing = required - document.keys()
    if missing:
        raise ValueError(f"The model file {path} lacks {', '.join(sorted(missing))}.")
    try:
        return build(document)
    except ValueError as error:
        raise ValueError(f"The model file {path} does not hold a network. {error}") from None


def checked_weights(name: str, values: ArrayLike, dimensions: int) -> NDArray:
    """Return weights as a read-only float64 array, or raise ValueError unless they are finite, of these dimensions."""
    array = np.array(values, dtype=np.float64, order="C")
    if array.ndim != dimensions:
        raise ValueError(f"{name} must have {dimensions} dimension(s); got an array of shape {array.shape}.")
    bad = np.count_nonzero(~np.isfinite(array))
    if bad:
        raise ValueError(f"The weights in {name} must be finite; {bad} of {array.size} are NaN or infinite.")
    array.flags.writeable = False
    return array


def _keys_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of JSON; one that has a key twice would be another network to another reader."""
    made = dict(pairs)
    if len(made) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"The key {reprlib.repr(twice)} is there twice.")
    return made


def read_weights(values: Any, dimensions: int) -> NDArray:
    """Turn lists of numbers into an array; unlike NumPy, take no text, booleans or null for a number."""
    rows = values if dimensions == 2 else [values]
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise ValueError(f"Weights must be numbers; got {reprlib.repr(values)} for lists of them.")
    for row in rows:
        if set(map(type, row)) - {float}:
            item = next(item for item in row if type(item) is not float)
            raise ValueError(f"Weights must be numbers; got {reprlib.repr(item)}.")
    if len(set(map(len, rows))) > 1:
        raise ValueError("A weight matrix has rows of different lengths.")
    return np.array(values, dtype=np.float64)


def read_names(document: dict[str, Any], key: str) -> tuple[str, ...] | None:
    """Return the names under a key of a document as a tuple, or None; raise ValueError if they are no list."""
    names = document.get(key)
    if names is not None and not isinstance(names, list):
        raise ValueError(f"{key} must be a list of texts, or null; got {reprlib.repr(names)}.")
    return None if names is None else tuple(names)


def checked_names(name: str, names: Sequence[str] | None, count: int) -> tuple[str, ...] | None:
    """Return names as a tuple of ``count`` texts, or None; raise ValueError if they are something else."""
    if names is None:
        return None
    if isinstance(names, str) or not all(isinstance(item, str) for item in names):
        raise ValueError(f"{name} must be a list of {count} texts; got {reprlib.repr(names)}.")
    if len(names) != count:
        raise ValueError(f"{name} must have one name for each of the {count} columns; got {len(names)}.")
    for item in names:
        try:
            item.encode()
        except UnicodeEncodeError:  # no file or terminal could have it
            raise ValueError(f"{name} must be of whole characters; {reprlib.repr(item)} has half of one.") from None
    return tuple(str(item) for item in names)
