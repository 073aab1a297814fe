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
from numpy.typing import NDArray

from anmin.datasets import csv_files
from anmin.datasets.dataset import Dataset

PARQUET_ENDINGS = (".parquet", ".pq")
CSV_ENDINGS = (".csv", ".tsv", ".txt", ".data")
_COMPRESSED = (".gz", ".bz2", ".zst")
_SHOWN_COLUMNS = 12


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
        missing = [name for name in names if name not in self.columns]
        if missing:
            raise ValueError(f"{self.path} has no {_column(missing)}; the file has the {_column(self.columns)}.")

    def numbers(self, names: Sequence[str]) -> NDArray:
        """Return columns as float64 of shape (N, number of names), in the order of ``names``.

        Raises
        ------
        ValueError
            If a column is missing, holds anything but finite numbers, a line has too many or too few fields, the text
            is not of the encoding, or there are no rows.
        """
        self.require(names)
        table = self._read(names)
        if table.num_rows == 0:
            raise ValueError(f"{self.path} has column names but no rows.")
        out = np.empty((table.num_rows, len(names)))
        for j, name in enumerate(names):
            out[:, j] = self._floats(name, table.column(name))
        self._check_finite(names, out)
        return out

    def _read(self, names: Sequence[str]) -> pa.Table:
        if self.delimiter:
            return csv_files.read_columns(self.path, self.columns, names, self.encoding, self.delimiter, self.header)
        with _parquet_errors(self.path):
            return _parquet(self.path).to_table(columns=list(names))

    def _floats(self, name: str, column: pa.ChunkedArray) -> NDArray:
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
            if not pa.types.is_boolean(kind):
                example = next((value for value in column.to_pylist() if value is not None), None)
                raise ValueError(
                    f"Column {name!r} of {self.path} must hold numbers; it holds {kind} such as "
                    f"{csv_files.shortened(str(example))!r}; encode it as numbers or leave the column out."
                )
            column = column.cast(pa.int8())
        column = column.cast(kind) if pa.types.is_dictionary(column.type) else column
        return column.cast(pa.float64(), safe=False).to_numpy()  # missing values become NaN

    def _check_finite(self, names: Sequence[str], values: NDArray) -> None:
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
            f"{csv_files.counted(len(values), 'row')}, the first in row {int(bad[:, j].argmax()) + 1}{also}; "
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
    for i, name in enumerate(table.columns):
        if not name:
            raise ValueError(f"Column {i + 1} of {path} has no name in the first line; every column needs one.")
        if name in table.columns[:i]:
            raise ValueError(f"{path} has two columns named {name!r}; every column needs a name of its own.")
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
    targets = (target,) if isinstance(target, str) else tuple(target)
    if not targets:
        raise ValueError(f"At least one target column must be named; the file has the {_column(table.columns)}.")
    if len(set(targets)) < len(targets):
        raise ValueError(f"Each target column may be named once; got {', '.join(targets)}.")
    extra = () if weights is None else (weights,)
    if weights in targets:
        raise ValueError(f"The column {weights!r} cannot hold both the target and the weights.")
    used = targets + extra
    table.require((*used, *ignored))
    both = [name for name in ignored if name in used]
    if both:
        raise ValueError(f"The column {both[0]!r} cannot be both used and left out.")
    features = tuple(name for name in table.columns if name not in used and name not in ignored)
    if not features:
        raise ValueError(f"{path} has no column besides {', '.join((*used, *ignored))}; at least one input is needed.")
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
    files = [path]
    if path.is_dir():
        files = sorted(file for ending in PARQUET_ENDINGS for file in path.rglob(f"*{ending}"))
    if not files:
        raise ValueError(f"The folder {path} must hold Parquet files ({', '.join(PARQUET_ENDINGS)}); it holds none.")
    return pyarrow.dataset.dataset([str(file) for file in files], format="parquet")


def _parquet_columns(path: Path) -> tuple[str, ...]:
    with _parquet_errors(path):
        return tuple(_parquet(path).schema.names)


@contextmanager
def _parquet_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError):
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
