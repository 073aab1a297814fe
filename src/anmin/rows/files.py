"""Rows in files that are larger than memory: Parquet, CSV, and NumPy arrays on disk."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from anmin.datasets.tables import Table, open_table
from anmin.rows.parts import Affine, Part, RowsInParts

_PART_BYTES = 2**25  # of a part, in float64
_LEAST_PART, _MOST_PART = 2**12, 2**20
T = TypeVar("T")


class FileRows(RowsInParts):
    """Rows in files, read anew in every pass, one part ahead of the sums in a thread of its own.

    Memory is that of three parts and of the sample, whatever the size of the files. A file that changes while it is in
    use, in its size or time of modification, is an error at the next pass.
    """

    part_rows: int

    def __init__(
        self,
        feature_names: tuple[str, ...],
        target_names: tuple[str, ...],
        weights: str | None,
        part_rows: int | None,
    ) -> None:
        columns = len(feature_names) + len(target_names) + (weights is not None)
        if part_rows is not None and part_rows < 1:
            raise ValueError(f"part_rows must be at least 1; got {part_rows}.")
        self.part_rows = part_rows or int(np.clip(_PART_BYTES // (8 * columns), _LEAST_PART, _MOST_PART))
        self._stamps = self._stamped()
        super().__init__(feature_names, target_names, weights)

    @abstractmethod
    def _files(self) -> Sequence[Path]:
        """Return the files."""

    @abstractmethod
    def _parts(self) -> Iterator[Part]:
        """Read the rows in parts."""

    def _merged(self, task: Callable[[Part, Affine], Any]) -> Any:
        self._check_unchanged()
        total: Any = None
        for part in ahead(self._parts()):
            found = task(part, self._seen)
            if found is not None:
                total = found if total is None else total.merge(found)
        self._check_unchanged()
        return total

    def inputs(self) -> Iterator[NDArray]:
        """Yield the inputs (n, d) part by part, in the units of the files; raise ValueError if these have changed."""
        self._check_unchanged()
        for part in ahead(self._parts()):
            yield part.X
        self._check_unchanged()

    def _stamped(self) -> list[tuple[Path, int, int]]:
        try:
            return [(path, path.stat().st_size, path.stat().st_mtime_ns) for path in self._files()]
        except FileNotFoundError as error:
            raise ValueError(f"{error.filename} is no longer there.") from None

    def _check_unchanged(self) -> None:
        now = self._stamped()
        if now == self._stamps:
            return
        changed = [path for path, *rest in now if (path, *rest) not in self._stamps]
        gone = [path for path, *_ in self._stamps if path not in [other for other, *_ in now]]
        what = f"{changed[0]} has changed" if changed else f"{gone[0]} is no longer there"
        raise ValueError(f"{what} since these rows were first read; read them anew, from files that stay as they are.")


class TableRows(FileRows):
    """Rows of a table, in the columns of these names.

    Parameters
    ----------
    path : path
        As for :func:`anmin.datasets.open_table`.
    target : str or sequence of str
        Column to predict, or several.
    features : sequence of str, optional
        Columns of the inputs, in order; by default all others.
    weights : str, optional
        Column of non-negative row weights.
    ignored : sequence of str, optional
        Columns that are no inputs.
    encoding : str, default "utf-8"
        Of a CSV file.
    part_rows : int, optional
        Rows read at a time; by default some tens of megabytes.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        With one sentence: if it is of another kind, a column is missing or holds anything but numbers, a value is
        missing, NaN or infinite (its row is named), or there is no row of positive weight.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        target: str | Sequence[str],
        *,
        features: Sequence[str] | None = None,
        weights: str | None = None,
        ignored: Sequence[str] = (),
        encoding: str = "utf-8",
        part_rows: int | None = None,
    ) -> None:
        self.table = self._opened(path, encoding)
        features, targets = self.table.columns_used(target, features, weights, ignored)
        self._names = (*features, *targets, *(() if weights is None else (weights,)))
        self._weighted = weights is not None
        super().__init__(features, targets, weights, part_rows)

    @staticmethod
    def _opened(path: str | os.PathLike, encoding: str) -> Table:
        return open_table(path, encoding=encoding)

    @property
    def source(self) -> str:
        """The file or folder."""
        return str(self.table.path)

    def _files(self) -> Sequence[Path]:
        return self.table.files()

    def _parts(self) -> Iterator[Part]:
        d, first = len(self.feature_names), 0
        k = d + len(self.target_names)
        for values in self.table.batches(self._names, self.part_rows):
            X, Y = np.ascontiguousarray(values[:, :d]), np.ascontiguousarray(values[:, d:k])
            w = values[:, k].astype(np.float64) if self._weighted else None
            yield Part(first, X, Y, w)
            first += len(values)


class ParquetRows(TableRows):
    """Rows in a Parquet file, or in a folder of Parquet files with the same columns, in the order of their names.

    Parameters and errors are those of :class:`TableRows`. Columns of float32 are kept as such until they are scaled.

    Examples
    --------
    >>> from anmin import ReLURegressor
    >>> from anmin.rows import ParquetRows
    >>> model = ReLURegressor().fit(ParquetRows("measurements/", target="y"))  # doctest: +SKIP
    """

    @staticmethod
    def _opened(path: str | os.PathLike, encoding: str) -> Table:
        table = open_table(path, encoding=encoding)
        if table.delimiter:
            raise ValueError(
                f"{path} must be Parquet, a file or a folder of files; it is CSV, for which there is CsvRows."
            )
        return table


class CsvRows(TableRows):
    """Rows in a CSV file, possibly compressed. Parameters and errors are those of :class:`TableRows`."""

    @staticmethod
    def _opened(path: str | os.PathLike, encoding: str) -> Table:
        table = open_table(path, encoding=encoding)
        if not table.delimiter:
            raise ValueError(f"{path} must be a CSV file; it is Parquet, for which there is ParquetRows.")
        return table


class NpyRows(FileRows):
    """Rows in ``.npy`` files, read part by part.

    Parameters
    ----------
    X : path
        An array (N, d) of numbers, of any type and in either order.
    y : path
        An array (N,) or (N, c).
    sample_weight : path, optional
        An array (N,) of non-negative row weights.
    part_rows : int, optional
        Rows read at a time.

    Raises
    ------
    FileNotFoundError, ValueError
        If a file is missing, is no array of numbers, or the shapes disagree; and as for :class:`TableRows`.
    """

    def __init__(
        self,
        X: str | os.PathLike,
        y: str | os.PathLike,
        sample_weight: str | os.PathLike | None = None,
        *,
        part_rows: int | None = None,
    ) -> None:
        self._paths = [Path(path) for path in (X, y, sample_weight) if path is not None]
        self._arrays = [_Stored.opened(path) for path in self._paths]
        shapes = [array.shape for array in self._arrays]
        of_x, of_y, *of_w = shapes
        if len(of_x) != 2 or len(of_y) not in (1, 2) or any(shape != of_x[:1] for shape in (of_y[:1], *of_w)):
            given = ", ".join(f"{path.name} {shape}" for path, shape in zip(self._paths, shapes, strict=True))
            raise ValueError(
                f"The arrays must have shapes (rows, inputs), (rows,) or (rows, outputs), and (rows,); got {given}."
            )
        d, c = of_x[1], 1 if len(of_y) == 1 else of_y[1]
        if not d or not c:
            raise ValueError(f"At least one input and one target are needed; {self._paths[bool(d)].name} has none.")
        names = tuple(f"x{j}" for j in range(d)), tuple(f"y{k}" for k in range(c))
        super().__init__(*names, None if sample_weight is None else "sample_weight", part_rows)

    @property
    def source(self) -> str:
        """The files."""
        return ", ".join(map(str, self._paths))

    def _files(self) -> Sequence[Path]:
        return self._paths

    @property
    def column_names(self) -> None:
        """Arrays have no names."""

    def _parts(self) -> Iterator[Part]:
        with ExitStack() as stack:
            files = [stack.enter_context(path.open("rb")) for path in self._paths]
            for first in range(0, self._arrays[0].shape[0], self.part_rows):
                X, Y, *w = (
                    array.rows(file, first, first + self.part_rows)
                    for array, file in zip(self._arrays, files, strict=True)
                )
                yield Part(first, X, Y.reshape(len(Y), -1), w[0].astype(np.float64) if w else None)


@dataclass(frozen=True)
class _Stored:
    """An array in a .npy file.

    Its rows are read, not mapped into memory: of a mapped file that is cut short meanwhile, the system would kill the
    process.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype
    offset: int  # of the first number, in bytes
    by_columns: bool

    @classmethod
    def opened(cls, path: Path) -> _Stored:
        """Read the header of a file; raise FileNotFoundError or ValueError if it holds no whole array of numbers."""
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except FileNotFoundError:
            raise FileNotFoundError(f"There is no file {path}.") from None
        except (ValueError, OSError, EOFError):
            raise ValueError(f"{path} could not be read as a .npy array; it may be damaged.") from None
        if not isinstance(array, np.memmap) or array.dtype.kind not in "fiub":
            if hasattr(array, "close"):
                array.close()
            raise ValueError(f"{path} must hold an array of numbers; it holds {getattr(array, 'dtype', 'several')}.")
        by_columns = array.flags.f_contiguous and not array.flags.c_contiguous
        return cls(path, array.shape, array.dtype, array.offset, by_columns)

    def rows(self, file: BinaryIO, start: int, stop: int) -> NDArray:
        """Return rows as floats, in an array of its own."""
        n, stop = self.shape[0], min(stop, self.shape[0])
        if not self.by_columns:
            width = int(np.prod(self.shape[1:]))
            return _floats(
                self._read(file, start * width, (stop - start) * width).reshape(stop - start, *self.shape[1:])
            )
        columns = [self._read(file, j * n + start, stop - start) for j in range(self.shape[1])]
        return _floats(np.stack(columns, axis=1))

    def _read(self, file: BinaryIO, first: int, count: int) -> NDArray:
        file.seek(self.offset + first * self.dtype.itemsize)
        read = file.read(count * self.dtype.itemsize)
        if len(read) < count * self.dtype.itemsize:
            raise ValueError(f"{self.path} has been cut short since these rows were first read.")
        return np.frombuffer(read, self.dtype)


def ahead(items: Iterator[T]) -> Iterator[T]:
    """Yield the items, the next of which is made in another thread meanwhile."""
    with ThreadPoolExecutor(1, thread_name_prefix="anmin-reader") as reader:
        following: Future = reader.submit(next, items, None)
        while (item := following.result()) is not None:
            following = reader.submit(next, items, None)
            yield item


def _floats(values: NDArray) -> NDArray:
    return np.array(values, dtype=values.dtype if values.dtype in (np.float32, np.float64) else np.float64, order="C")
