"""Reading tables of numbers: CSV files, Parquet files, and folders of Parquet files.

Every complaint is one sentence that says what was wrong, what was found and what to do.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from numpy.typing import NDArray

from anmin.datasets import csv_files
from anmin.datasets.csv_pieces import read_pieces
from anmin.datasets.dataset import Dataset
from anmin.memory import available_bytes, readable_bytes

PARQUET_ENDINGS = (".parquet", ".pq")
CSV_ENDINGS = (".csv", ".tsv", ".txt", ".data")
_COMPRESSED = (".gz", ".bz2", ".zst")
_SHOWN_COLUMNS = 12
_BATCH_ROWS = 2**18
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
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
    stream : iterator of bytes, optional
        Pieces of CSV text that are read instead of the file, header and all; they can be gone over once, by parts.
    """

    path: Path
    columns: tuple[str, ...]
    encoding: str = "utf-8"
    delimiter: str = ""
    header: bool = True
    stream: Iterator[bytes] | None = None

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
        if self.stream is not None or not self.delimiter or self._may_be_too_large(names):
            values = self._counted_numbers(names)
        else:
            table = csv_files.read_columns(self.path, self.columns, names, self.encoding, self.delimiter, self.header)
            values = np.empty((table.num_rows, len(names)))
            for j, name in enumerate(names):
                values[:, j] = self._floats(name, table.column(name))
        if not len(values):
            raise ValueError(f"{self.path} has column names but no rows.")
        self._check_finite(names, values)
        return values

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
        return self._n_parquet_rows() * len(self.columns)

    def _n_parquet_rows(self) -> int:
        with _parquet_errors(self.path):
            return sum(pyarrow.parquet.read_metadata(file).num_rows for file in self.files())

    def _require_once(self, names: Sequence[str]) -> None:
        self.require(names)
        twice = _twice(names)
        if twice is not None:
            raise ValueError(f"The column {twice!r} of {self.path} is asked for twice; it can be used once.")

    def _is_compressed(self) -> bool:
        return self.path.suffix.lower() in _COMPRESSED

    def _parquet_batches(self, names: Sequence[str], n_rows: int) -> Iterator[pa.RecordBatch]:
        for path in self.files():
            said = _said_by_folders(self.path, path)
            with _parquet_errors(path), pyarrow.parquet.ParquetFile(path) as file:
                stored = [name for name in names if name in file.schema_arrow.names]
                missing = [name for name in names if name not in stored and name not in said]
                if missing:
                    raise ValueError(f"{path} has no {_column(missing)}, which the other files of {self.path} have.")
                self._check_kinds(file, stored)
                values = {name: self._number_of_folder(name, said[name]) for name in names if name not in stored}
                for batch in file.iter_batches(batch_size=n_rows, columns=stored):
                    columns = {name: pa.repeat(value, batch.num_rows) for name, value in values.items()}
                    columns |= {name: batch.column(name) for name in stored}
                    yield pa.RecordBatch.from_arrays([columns[name] for name in names], names=list(names))

    def _number_of_folder(self, name: str, text: str) -> pa.Scalar:
        """Return what the name of a folder says about the rows in it."""
        if text == _NO_VALUE:
            return pa.scalar(None, pa.float64())
        try:
            return pa.scalar(float(text))
        except ValueError:
            raise ValueError(
                f"Column {name!r} of {self.path}, which the names of folders give, must hold numbers; one is "
                f"{csv_files.shortened(text)!r}; encode it as numbers or leave the column out."
            ) from None

    def _csv_batches(self, names: Sequence[str], n_rows: int) -> Iterator[pa.RecordBatch]:
        if self.stream is not None:
            # One batch for each piece: whoever writes it may wait for what becomes of it.
            yield from read_pieces(
                self.stream, self.path, self.columns, names, self.encoding, self.delimiter, self.header
            )
            return
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

    def _may_be_too_large(self, names: Sequence[str]) -> bool:
        """Return whether a CSV file may hold more numbers than memory does: a small compressed one may hold any."""
        most = _READ_BYTES * self.path.stat().st_size // _FEWEST_CSV_BYTES
        available = available_bytes()
        return available is not None and (self._is_compressed() or most > available)

    def _counted_numbers(self, names: Sequence[str]) -> NDArray:
        """Return columns as float64; raise ValueError before they take more memory than there is."""
        available = available_bytes()
        self._check_fits(available, 0 if self.delimiter else self._n_parquet_rows(), names)
        held, n_rows = [np.empty((0, len(names)))], 0
        for values in self.batches(names, _BATCH_ROWS):
            held.append(values)
            n_rows += len(values)
            self._check_fits(available, n_rows, names)
        return np.concatenate(held)

    def _check_fits(self, available: int | None, n_rows: int, names: Sequence[str]) -> None:
        if available is not None and _READ_BYTES * n_rows * len(names) > available:
            raise ValueError(
                f"{self.path} holds more numbers than fit into memory, of which {readable_bytes(available)} are free; "
                f"take fewer rows or columns, or a command that reads part by part: anmin fit and anmin predict do."
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
        Parquet files with the same columns, in folders of any depth. The name of a folder such as ``year=2024`` gives
        its files a column; files and folders whose names begin with a dot or an underscore are left out.
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


def _parquet_files(path: Path) -> list[Path]:
    files = [path]
    if path.is_dir():
        found = (file for ending in PARQUET_ENDINGS for file in path.rglob(f"*{ending}"))
        files = sorted(file for file in found if not _is_hidden(file.relative_to(path)))
    if not files:
        raise ValueError(f"The folder {path} must hold Parquet files ({', '.join(PARQUET_ENDINGS)}); it holds none.")
    return files


def _is_hidden(path: Path) -> bool:
    """Return whether a file is one that those who write tables leave for themselves, such as an index or a log."""
    return any(part.startswith((".", "_")) for part in path.parts)


def _parquet_columns(path: Path) -> tuple[str, ...]:
    """Return the names of the columns of the first file, and of those that the names of its folders give."""
    first = _parquet_files(path)[0]
    with _parquet_errors(first):
        stored = pyarrow.parquet.read_schema(first).names
    return (*stored, *(name for name in _said_by_folders(path, first) if name not in stored))


def _said_by_folders(path: Path, file: Path) -> dict[str, str]:
    """Return what the names of the folders between a table and a file of it say, as Hive writes them: name=value."""
    parts = file.relative_to(path).parts[:-1] if path.is_dir() else ()
    pairs = (part.split("=", 1) for part in parts if "=" in part)
    return {unquote(name): unquote(value) for name, value in pairs}


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
    # A column of nothing but gaps may have a type of its own.
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean, pa.types.is_null)
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
