"""Rows in Dask arrays or data frames, on a cluster or in the threads of this process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anmin.network import ReLUNetwork
from anmin.rows.parts import Affine, Part, RowsInParts, RowsLostError
from anmin.statistics import PatternStatistics

_MERGED_AT_A_TIME = 8
#: Seconds without any worker after which a pass is given up.
PATIENCE = 60.0
_LOOK = 1.0  # seconds between two looks at the workers
_UNFINISHED = (
    "The cluster could not finish a pass over the rows ({}); see that its workers have the memory for their rows and "
    "that its scheduler runs, and fit again."
)
_GONE = ("CancelledError", "FutureCancelledError", "TimeoutError")


class DaskRows(RowsInParts):
    """Rows of Dask arrays or a Dask data frame, visited where they are.

    The rows are computed once and kept by the workers (``persist``). In a pass every worker gets the hidden weights,
    makes the sums of its partitions, and the packed upper triangles of these are merged in a tree, eight at a time, so
    that what is moved depends on the number of partitions and not on that of rows; the solve is done here. With a
    ``distributed`` client that is in use, work goes to its cluster, else to Dask's threads.

    Parameters
    ----------
    X : Dask array of shape (N, d), or Dask data frame
        Inputs. Of a data frame, all columns but those named for other uses.
    y : Dask array of shape (N,) or (N, c), data frame or series, or name or names of columns of X
    sample_weight : Dask array of shape (N,) or series, or name of a column of X, optional
    client : distributed.Client, optional
        By default the one in use, if there is one.

    Raises
    ------
    ImportError
        If Dask is not installed (``pip install anmin[dask]``).
    ValueError
        If shapes, partitions or columns disagree, a value is missing, NaN or infinite (its row and column are named),
        or there is no row of positive weight.
    """

    def __init__(self, X: Any, y: Any, sample_weight: Any = None, *, client: Any = None) -> None:
        dask = require_dask()
        self._client = client if client is not None else _client_in_use()
        if hasattr(X, "to_dask_array"):
            names, arrays = _of_frame(X, y, sample_weight)
        else:
            names, arrays = None, [X, y, sample_weight]
        self._named = names is not None
        blocks = [_row_blocks(array) for array in arrays if array is not None]
        if len({len(block) for block in blocks}) > 1:
            raise ValueError(
                "X, y and sample_weight must have the same partitions; "
                f"they have {', '.join(str(len(block)) for block in blocks)}."
            )
        parts = [dask.delayed(_part)(*of_one) for of_one in zip(*blocks, strict=True)]
        self._parts = self._persisted(parts)
        shapes = self._computed([dask.delayed(_shape)(part) for part in self._parts])
        _check_shapes(shapes)
        self._first = np.concatenate([[0], np.cumsum([rows for rows, *_ in shapes])])
        d, c = shapes[0][1], shapes[0][2]
        if names is None:
            names = tuple(f"{j}" for j in range(d)), tuple(f"y{k}" for k in range(c))
        weights = sample_weight if isinstance(sample_weight, str) else "sample_weight"
        super().__init__(*names, None if sample_weight is None else weights)

    @property
    def source(self) -> str:
        """What the rows are, for messages."""
        return "the Dask rows"

    @property
    def column_names(self) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
        """Names of the inputs and targets, of a data frame."""
        return super().column_names if self._named else None

    def inputs(self) -> Iterator[NDArray]:
        """Yield the inputs (n, d) of one partition after the other."""
        dask = require_dask()
        for part in self._parts:
            yield self._computed([dask.delayed(_inputs)(part)])[0]

    def _merged(self, task: Callable[[Part, Affine], Any]) -> Any:
        dask = require_dask()
        seen = dask.delayed(self._seen)
        todo = dask.delayed(task)
        found = [
            dask.delayed(_done)(todo, int(first), part, seen)
            for first, part in zip(self._first, self._parts, strict=False)
        ]
        while len(found) > 1:
            found = [
                dask.delayed(_merged_in_order)(found[i : i + _MERGED_AT_A_TIME])
                for i in range(0, len(found), _MERGED_AT_A_TIME)
            ]
        return _unpacked(self._computed(found)[0])

    def _persisted(self, parts: list) -> list:
        dask = require_dask()
        with _plain_errors():
            return list(self._client.persist(parts) if self._client else dask.persist(*parts, scheduler="threads"))

    def _computed(self, values: list) -> list:
        dask = require_dask()
        with _plain_errors():
            if self._client is None:
                return list(dask.compute(*values, scheduler="threads"))
            futures = self._client.compute(values)
            _wait(self._client, futures)
            return self._client.gather(futures)


def _wait(client: Any, futures: list) -> None:
    """Wait until all futures are done, or no worker has been there for a while, for which Dask would wait for ever."""
    from distributed import wait

    seen = time.monotonic()
    while True:
        try:
            wait(futures, timeout=_LOOK)
            return
        except TimeoutError:
            if client.ncores():
                seen = time.monotonic()
            elif time.monotonic() - seen > PATIENCE:
                raise RowsLostError(_UNFINISHED.format("it has no workers left")) from None


def is_dask(values: Any) -> bool:
    """Return whether the values are a Dask array, data frame or series; Dask need not be installed to ask."""
    return type(values).__module__.split(".")[0] in ("dask", "dask_expr") and hasattr(values, "to_delayed")


def predicted(network: ReLUNetwork, X: Any, feature_names: Sequence[str], *, one_dimension: bool) -> Any:
    """Return predictions for a Dask array (N, d) or data frame as a Dask array, not computed yet.

    Parameters
    ----------
    network : ReLUNetwork
    X : Dask array or data frame
        Of a frame the columns of these names are taken, or all, in their order, if there are no names.
    feature_names : sequence of str
    one_dimension : bool
        Whether the predictions are to be (N,) instead of (N, c).

    Raises
    ------
    ValueError
        If X has not the columns that the network takes.
    """
    if hasattr(X, "to_dask_array"):
        missing = [name for name in feature_names if name not in X.columns]
        if missing:
            raise ValueError(f"X has no column {missing[0]!r}; it has {', '.join(map(str, X.columns))}.")
        X = (X[list(feature_names)] if feature_names else X).to_dask_array()
    if X.ndim != 2 or X.shape[1] != network.n_features:
        raise ValueError(f"X must have {network.n_features} columns, as in the fit; got shape {X.shape}.")
    X = X if X.numblocks[1] == 1 else X.rechunk({1: -1})
    if one_dimension:
        return X.map_blocks(_predicted_one, network, drop_axis=1, dtype=float, meta=np.empty(0))
    chunks = (X.chunks[0], (network.n_outputs,))
    return X.map_blocks(network.predict, chunks=chunks, dtype=float, meta=np.empty((0, 0)))


def _predicted_one(X: NDArray, network: ReLUNetwork) -> NDArray:
    return network.predict(X)[:, 0]


def require_dask() -> Any:
    """Return the module dask, or raise an ImportError that says what to install."""
    try:
        import dask
    except ImportError:
        raise ImportError("Rows on a cluster need Dask, which is not installed: pip install anmin[dask].") from None
    return dask


class _Packed(tuple):
    """Statistics with the upper triangle of U alone: half of what would be moved."""


class _plain_errors:
    """Turn the errors of a cluster that is gone, or cannot go on, into a sentence."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None or isinstance(error, ValueError | KeyboardInterrupt | MemoryError | RowsLostError):
            return
        if kind is not None and (kind.__module__.startswith("distributed") or kind.__name__ in _GONE):
            raise RowsLostError(_UNFINISHED.format(kind.__name__)) from error


def _done(task: Callable, first: int, part: Part, seen: Affine) -> Any:
    return _packed(task(part._replace(first=first), seen))


def _merged_in_order(found: Sequence[Any]) -> Any:
    total = None
    for packed in found:
        one = _unpacked(packed)
        if one is not None:
            total = one if total is None else total.merge(one)
    return _packed(total)


def _packed(found: Any) -> Any:
    if not isinstance(found, PatternStatistics):
        return found
    h, p, _, _ = found.U.shape
    U = found.U.reshape(h * p, h * p)
    rest = {name: getattr(found, name) for name in ("V", "s", "n", "y_sum", "y_square", "active", "flips")}
    return _Packed((U[np.triu_indices(h * p)], rest))


def _unpacked(found: Any) -> Any:
    if not isinstance(found, _Packed):
        return found
    triangle, rest = found
    h, p = rest["s"].shape
    U = np.empty((h * p, h * p))
    upper = np.triu_indices(h * p)
    U[upper] = triangle
    U.T[upper] = triangle
    return PatternStatistics(U.reshape(h, p, h, p), **rest)


def _part(X: Any, Y: Any, w: Any = None) -> Part:
    X, Y = _floats(X), _floats(Y)
    return Part(0, X, Y.reshape(len(Y), -1), None if w is None else _floats(w).astype(np.float64).reshape(-1))


def _shape(part: Part) -> tuple[int, int, int, int, int]:
    X, Y, w = part.X, part.Y, part.w
    return len(X), X.shape[1] if X.ndim == 2 else -1, Y.shape[1], len(Y), len(X) if w is None else len(w)


def _inputs(part: Part) -> NDArray:
    return part.X


def _floats(values: Any) -> NDArray:
    array = np.asarray(values, order="C")
    return array if array.dtype in (np.float32, np.float64) else array.astype(np.float64)


def _check_shapes(shapes: Sequence[tuple[int, int, int, int, int]]) -> None:
    for number, (rows, d, c, targets, weights) in enumerate(shapes):
        if d < 1 or rows != targets or rows != weights or (d, c) != shapes[0][1:3]:
            raise ValueError(
                f"X must have shape (rows, inputs), y (rows,) or (rows, outputs), and sample_weight (rows,), in equal "
                f"partitions; partition {number} has {rows} rows of {max(d, 0)} inputs, {targets} of {c} outputs "
                f"and {weights} weights."
            )


def _of_frame(frame: Any, y: Any, sample_weight: Any) -> tuple[tuple[tuple[str, ...], tuple[str, ...]], list]:
    columns = [str(name) for name in frame.columns]
    apart = is_dask(y)  # not columns of the frame
    if not (apart or isinstance(y, str) or (isinstance(y, Sequence) and all(isinstance(name, str) for name in y))):
        raise ValueError(
            "The targets of a data frame must be Dask values too, or named: y is the name of a column, or several."
        )
    targets = _names_of_targets(y) if apart else (y,) if isinstance(y, str) else tuple(y)
    weights = (sample_weight,) if isinstance(sample_weight, str) else ()
    used = weights if apart else (*targets, *weights)
    missing = [name for name in used if name not in columns]
    if missing:
        raise ValueError(f"The data frame has no column {missing[0]!r}; it has {', '.join(columns)}.")
    features = tuple(name for name in columns if name not in used)
    if not features or not targets:
        raise ValueError(f"At least one target and one input are needed; the columns are {', '.join(columns)}.")
    arrays = [frame[list(features)], y if apart else frame[list(targets)]]
    return (features, targets), [*arrays, frame[list(weights)] if weights else sample_weight]


def _names_of_targets(y: Any) -> tuple[str, ...]:
    names = list(y.columns) if hasattr(y, "columns") else [y.name if hasattr(y, "to_dask_array") else None]
    width = y.shape[1] if not hasattr(y, "to_dask_array") and y.ndim == 2 else len(names)
    return tuple(map(str, names)) if None not in names else tuple(f"y{k}" for k in range(width))


def _row_blocks(array: Any) -> list:
    """Return the partitions by rows as delayed values; an array is cut along its rows alone."""
    if hasattr(array, "to_dask_array"):
        return list(array.to_delayed())
    if array.ndim == 2 and array.numblocks[1] > 1:
        array = array.rechunk({1: -1})
    return list(array.to_delayed().reshape(-1))


def _client_in_use() -> Any:
    try:
        from distributed import default_client
    except ImportError:
        return None
    try:
        return default_client()
    except ValueError:
        return None
