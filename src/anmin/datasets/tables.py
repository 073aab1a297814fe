"""Reading tables of numbers: CSV files, Parquet files, and folders of Parquet files.

Every complaint is one sentence that says what was wrong, what was found and what to do.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet
from numpy.typing import NDArray

from anmin.datasets import csv_files
from anmin.datasets.dataset import Dataset
from anmin.memory import available_bytes, readable_bytes

PARQUET_ENDINGS = (".parquet", ".pq")
CSV_ENDINGS = (".csv", ".tsv", ".txt", ".data")
_COMPRESSED = (".gz", ".bz2", ".zst")
_SHOWN_COLUMNS = 12
_BATCH_ROWS = 2**18
_CSV_BYTES = 8  # of a number in a CSV file, about
_FEWEST_CSV_BYTES = 2  # of a number and what parts it from the next
_USUAL_COMPRESSION = 4
_READ_BYTES = 16  # of a number while a table is read: as Arrow has it, and as NumPy has it


@dataclass(frozen=True)
class Table:
    """A table in a file, of which the header has been read.

    Attributes
    ----------
    path : Path
    columns : tuple of str
        Names of its columns, in the order of the file.
    encoding : str
        Of a CSV file.
    delimiter : str
        Of a CSV file; empty for Parquet.
    header : bool
        Whether the first line of a CSV file holds the names; otherwise they are "0", "1", ...
    """

    path: Path
    columns: tuple[str, ...]
    encoding: str = "utf-8"
    delimiter: str = ""
    header: bool = True

    def require(self, names: Sequence[str]) -> None:
        """Raise ValueError unless the table has all of these columns."""
        columns = set(self.columns)
        missing = [name for name in names if name not in columns]
        if missing:
            raise ValueError(f"{self.path} has no {_column(missing)}; the file has the {_column(self.columns)}.")

    def numbers(self, names: Sequence[str]) -> NDArray:
        """Return columns as float64 of shape (N, number of names), in the order of ``names``.

        Raises
        ------
        ValueError
            If a column is missing or named twice, holds anything but finite numbers, a line has too many or too few
            fields, the text is not of the encoding, there are no rows, or more than the memory that is free would hold.
        """
        self._require_once(names)
        table = self._read(names)
        if table.num_rows == 0:
            raise ValueError(f"{self.path} has column names but no rows.")
        out = np.empty((table.num_rows, len(names)))
        for j, name in enumerate(names):
            out[:, j] = self._floats(name, table.column(name))
        self._check_finite(names, out)
        return out

    def files(self) -> list[Path]:
        """Return the files that the table is in, in order."""
        return [self.path] if self.delimiter else _parquet_files(self.path)

    def batches(self, names: Sequence[str], n_rows: int) -> Iterator[NDArray]:
        """Yield columns as arrays (at most n_rows, number of names), float32 where all columns are, else float64.

        Missing values are NaN. Memory is that of some batches and, of Parquet, one group of rows.

        Raises
        ------
        ValueError
            As for :meth:`numbers`, but not for values that are missing or infinite; and if a file of a folder has other
            columns than the first.
        """
        self._require_once(names)
        source = self._csv_batches(names, n_rows) if self.delimiter else self._parquet_batches(names, n_rows)
        for batch in source:
            if not names:
                yield np.empty((batch.num_rows, 0))
                continue
            columns = [pa.chunked_array([batch.column(j)]) for j in range(len(names))]
            single = all(pa.types.is_float32(column.type) for column in columns)
            out = np.empty((batch.num_rows, len(names)), dtype=np.float32 if single else np.float64)
            for j, (name, column) in enumerate(zip(names, columns, strict=True)):
                out[:, j] = column.to_numpy() if single else self._floats(name, column)
            yield out

    def numbers_in_parts(self, names: Sequence[str], n_rows: int = _BATCH_ROWS) -> Iterator[NDArray]:
        """Yield the columns of :meth:`numbers` part by part, each checked when it is read."""
        first = 0
        for values in self.batches(names, n_rows):
            self._check_finite(names, values, first)
            first += len(values)
            yield values.astype(np.float64, copy=False)
        if not first:
            raise ValueError(f"{self.path} has column names but no rows.")

    def n_values(self) -> int:
        """Return about how many numbers the table holds, without reading it."""
        if self.delimiter:
            compression = _USUAL_COMPRESSION if self._is_compressed() else 1
            return self.path.stat().st_size * compression // _CSV_BYTES
        with _parquet_errors(self.path):
            return sum(pyarrow.parquet.read_metadata(file).num_rows for file in self.files()) * len(self.columns)

    def _require_once(self, names: Sequence[str]) -> None:
        self.require(names)
        twice = _twice(names)
        if twice is not None:
            raise ValueError(f"The column {twice!r} of {self.path} is asked for twice; it can be used once.")

    def _is_compressed(self) -> bool:
        return self.path.suffix.lower() in _COMPRESSED

    def _parquet_batches(self, names: Sequence[str], n_rows: int) -> Iterator[pa.RecordBatch]:
        for path in self.files():
            with _parquet_errors(path), pyarrow.parquet.ParquetFile(path) as file:
                missing = [name for name in names if name not in file.schema_arrow.names]
                if missing:
                    raise ValueError(f"{path} has no {_column(missing)}, which the other files of {self.path} have.")
                self._check_kinds(file, names)
                for batch in file.iter_batches(batch_size=n_rows, columns=list(names)):
                    yield batch.select(list(names))

    def _csv_batches(self, names: Sequence[str], n_rows: int) -> Iterator[pa.RecordBatch]:
        held: list[pa.RecordBatch] = []
        read = csv_files.read_batches(self.path, self.columns, names, self.encoding, self.delimiter, self.header)
        for batch in read:
            held.append(batch)
            if sum(one.num_rows for one in held) >= n_rows:
                yield from pa.Table.from_batches(held).combine_chunks().to_batches(max_chunksize=n_rows)
                held = []
        if held:
            yield from pa.Table.from_batches(held).combine_chunks().to_batches(max_chunksize=n_rows)

    def columns_used(
        self,
        target: str | Sequence[str],
        features: Sequence[str] | None = None,
        weights: str | None = None,
        ignored: Sequence[str] = (),
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the names of inputs and targets; inputs are by default all columns that are not named otherwise.

        Raises
        ------
        ValueError
            If a column is missing, is named for two uses, or none is left for the inputs.
        """
        targets = (target,) if isinstance(target, str) else tuple(target)
        if not targets:
            raise ValueError(f"At least one target column must be named; the file has the {_column(self.columns)}.")
        if len(set(targets)) < len(targets):
            raise ValueError(f"Each target column may be named once; got {', '.join(targets)}.")
        if weights in targets:
            raise ValueError(f"The column {weights!r} cannot hold both the target and the weights.")
        used = targets if weights is None else (*targets, weights)
        self.require((*used, *ignored, *(features or ())))
        both = [name for name in ignored if name in used]
        if both:
            raise ValueError(f"The column {both[0]!r} cannot be both used and left out.")
        named = [*used, *(features or ())]
        twice = _twice(named)
        if twice is not None:
            raise ValueError(f"The column {twice!r} cannot be used twice.")
        if features is None:
            features = [name for name in self.columns if name not in used and name not in ignored]
        if not features:
            raise ValueError(
                f"{self.path} has no column besides {', '.join((*used, *ignored))}; at least one input is needed."
            )
        return tuple(features), targets

    def _read(self, names: Sequence[str]) -> pa.Table:
        available = available_bytes()
        if self.delimiter:
            layout = (self.path, self.columns, names, self.encoding, self.delimiter, self.header)
            most = _READ_BYTES * self.path.stat().st_size // _FEWEST_CSV_BYTES
            if available is None or not (self._is_compressed() or most > available):
                return csv_files.read_columns(*layout)
            # Counted while it is read: a small compressed file may hold any number of rows.
            batches, needed = [], 0
            for batch in csv_files.read_batches(*layout):
                batches.append(batch)
                needed += _READ_BYTES * batch.num_rows * len(names)
                if needed > available:
                    raise self._too_large(available)
            return pa.Table.from_batches(batches) if batches else pa.table({name: [] for name in names})
        with _parquet_errors(self.path):
            n_rows = 0
            for path in self.files():
                with pyarrow.parquet.ParquetFile(path) as file:
                    n_rows += file.metadata.num_rows
                    self._check_kinds(file, [name for name in names if name in file.schema_arrow.names])
            if available is not None and _READ_BYTES * n_rows * len(names) > available:
                raise self._too_large(available)
            return _parquet(self.path).to_table(columns=list(names))

    def _too_large(self, available: int) -> ValueError:
        return ValueError(
            f"{self.path} holds more numbers than fit into memory, of which {readable_bytes(available)} are free; take "
            f"fewer rows or columns, or a command that reads part by part: anmin fit and anmin predict do."
        )

    def _check_kinds(self, file: pyarrow.parquet.ParquetFile, names: Sequence[str]) -> None:
        """Raise ValueError for a column that holds no numbers, of which a single row is read."""
        twice = _twice(file.schema_arrow.names)
        if twice is not None:
            raise ValueError(f"A file of {self.path} has two columns named {twice!r}; each needs a name of its own.")
        kinds = dict(zip(file.schema_arrow.names, file.schema_arrow.types, strict=True))
        for name in names:
            if not _is_numeric(kinds[name]):
                first = next(file.iter_batches(batch_size=1, columns=[name]), None)
                example = "" if first is None else f" such as {csv_files.shortened(_as_text(first.column(name)[0]))!r}"
                raise ValueError(
                    f"Column {name!r} of {self.path} must hold numbers; it holds "
                    f"{_kind_name(kinds[name])}{example}; encode it as numbers or leave the column out."
                )

    def _floats(self, name: str, column: pa.ChunkedArray) -> NDArray:
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_boolean(column.type):
            column = column.cast(pa.int8())
        return column.cast(pa.float64(), safe=False).to_numpy()  # missing values become NaN

    def _check_finite(self, names: Sequence[str], values: NDArray, first: int = 0) -> None:
        """Raise ValueError, with the first bad row of a column, of rows from number ``first`` (from 0) on."""
        bad = ~np.isfinite(values)
        if not bad.any():
            return
        j = int(bad.any(axis=0).argmax())
        infinite = int(np.isinf(values[:, j]).sum())
        missing = int(bad[:, j].sum()) - infinite
        kinds = ((missing, "missing value"), (infinite, "infinite value"))
        found = [csv_files.counted(count, kind) for count, kind in kinds if count]
        others = int(bad.any(axis=0).sum()) - 1
        also = f" (and {csv_files.counted(others, 'other column')} too)" if others else ""
        raise ValueError(
            f"Column {names[j]!r} of {self.path} has {' and '.join(found)} in "
            f"{csv_files.counted(len(values), 'row')}, the first in row {first + int(bad[:, j].argmax()) + 1}{also}; "
            f"fill them in or remove those rows."
        )


def open_table(path: str | os.PathLike, *, encoding: str = "utf-8", header: bool = True) -> Table:
    """Read the header of a table.

    Parameters
    ----------
    path : path
        A CSV file (fields separated by commas, semicolons or tabs, possibly compressed), a Parquet file, or a folder of
        Parquet files with the same columns.
    encoding : str, default "utf-8"
        Of a CSV file.
    header : bool, default True
        Whether the first line of a CSV file holds the names of the columns.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is empty, of another kind, not of this encoding, or its columns are not named, each once.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"There is no file {path}.")
    if path.is_dir() or _ending(path) in PARQUET_ENDINGS:
        table = Table(path, _parquet_columns(path))
    elif _ending(path) in CSV_ENDINGS:
        columns, delimiter = csv_files.read_header(path, encoding, header)
        table = Table(path, columns, encoding, delimiter, header)
    else:
        raise ValueError(
            f"{path} must be a CSV file ({', '.join(CSV_ENDINGS)}), a Parquet file "
            f"({', '.join(PARQUET_ENDINGS)}) or a folder of Parquet files."
        )
    if "" in table.columns:
        unnamed = table.columns.index("") + 1
        raise ValueError(f"Column {unnamed} of {path} has no name in the first line; every column needs one.")
    twice = _twice(table.columns)
    if twice is not None:
        raise ValueError(f"{path} has two columns named {twice!r}; every column needs a name of its own.")
    return table


def read_dataset(
    path: str | os.PathLike,
    target: str | Sequence[str],
    *,
    weights: str | None = None,
    ignored: Sequence[str] = (),
    encoding: str = "utf-8",
) -> tuple[Dataset, NDArray | None]:
    """Read a table with one or several target columns; all other columns are inputs.

    Parameters
    ----------
    path : path
        See :func:`open_table`.
    target : str or sequence of str
        Name of the target column, or names of several.
    weights : str, optional
        Name of a column of row weights, which is then no input.
    ignored : sequence of str, optional
        Names of columns that are not read.
    encoding : str, default "utf-8"

    Returns
    -------
    dataset : Dataset
    sample_weight : ndarray of shape (N,) or None

    Raises
    ------
    FileNotFoundError, ValueError
        With one sentence that says what is wrong with the file.
    """
    table = open_table(path, encoding=encoding)
    features, targets = table.columns_used(target, None, weights, ignored)
    extra = () if weights is None else (weights,)
    values = table.numbers(features + targets + extra)
    d, c = len(features), len(targets)
    y = values[:, d : d + c]
    dataset = Dataset(
        name=Path(path).stem,
        X=np.ascontiguousarray(values[:, :d]),
        y=y[:, 0].copy() if c == 1 else y.copy(),
        feature_names=features,
        target_names=targets,
        description=f"{', '.join(targets)} from the other columns of {Path(path).name}.",
        source=Path(path).name,
    )
    return dataset, None if weights is None else values[:, d + c].copy()


def _parquet(path: Path) -> pyarrow.dataset.Dataset:
    return pyarrow.dataset.dataset([str(file) for file in _parquet_files(path)], format="parquet")


def _parquet_files(path: Path) -> list[Path]:
    files = [path]
    if path.is_dir():
        files = sorted(file for ending in PARQUET_ENDINGS for file in path.rglob(f"*{ending}"))
    if not files:
        raise ValueError(f"The folder {path} must hold Parquet files ({', '.join(PARQUET_ENDINGS)}); it holds none.")
    return files


def _parquet_columns(path: Path) -> tuple[str, ...]:
    with _parquet_errors(path):
        return tuple(_parquet(path).schema.names)


def _twice(names: Sequence[str]) -> str | None:
    """Return the first name that has been there before, or None."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def _is_numeric(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean)
    return any(test(kind) for test in tests)


def _kind_name(kind: pa.DataType) -> str:
    # Without the parts of nested types, whose names may be anything.
    return _kind_name(kind.value_type) if pa.types.is_dictionary(kind) else str(kind).partition("<")[0]


def _as_text(value: pa.Scalar) -> str:
    try:
        return str(value.as_py())
    except (ValueError, OverflowError, pa.ArrowException):  # such as a date that Python has not
        return "?"


@contextmanager
def _parquet_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise ValueError(f"{path} is no longer there.") from None
    except (pa.ArrowException, OSError, UnicodeDecodeError):
        raise ValueError(
            f"{path} could not be read as Parquet; it may be damaged, or a file of another kind."
        ) from None


def _ending(path: Path) -> str:
    endings = [suffix.lower() for suffix in path.suffixes]
    if endings and endings[-1] in _COMPRESSED:
        endings.pop()
    return endings[-1] if endings else ""


def _column(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:_SHOWN_COLUMNS])
    more = f" and {len(names) - _SHOWN_COLUMNS} more" if len(names) > _SHOWN_COLUMNS else ""
    return f"column{'s' if len(names) > 1 else ''} {shown}{more}"
