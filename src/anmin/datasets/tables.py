"""Reading and writing tables of numbers: CSV files, Parquet files, and folders of Parquet files.

Every complaint is one sentence that says what was wrong, what was found and what to do.
"""

from __future__ import annotations

import codecs
import csv
import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset
from numpy.typing import ArrayLike, NDArray

from anmin.atomic import written_atomically
from anmin.datasets.dataset import Dataset

PARQUET_ENDINGS = (".parquet", ".pq")
CSV_ENDINGS = (".csv", ".tsv", ".txt", ".data")
_COMPRESSED = (".gz", ".bz2", ".zst")
_DELIMITERS = {",": "a comma", ";": "a semicolon", "\t": "a tab"}
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
        table = self._read_csv(names) if self.delimiter else self._read_parquet(names)
        if table.num_rows == 0:
            raise ValueError(f"{self.path} has column names but no rows.")
        out = np.empty((table.num_rows, len(names)))
        for j, name in enumerate(names):
            out[:, j] = self._floats(name, table.column(name))
        self._check_finite(names, out)
        return out

    def _read_csv(self, names: Sequence[str]) -> pa.Table:
        options = pyarrow.csv.ReadOptions(
            encoding=self.encoding, column_names=self.columns, skip_rows=1 if self.header else 0
        )
        wanted = pyarrow.csv.ConvertOptions(
            include_columns=list(names), column_types=dict.fromkeys(names, pa.float64())
        )
        try:
            return pyarrow.csv.read_csv(self.path, options, pyarrow.csv.ParseOptions(delimiter=self.delimiter), wanted)
        except pa.ArrowInvalid as error:
            # Arrow reads in parallel and does not say where; a plain reading finds the line.
            self._explain_csv(names)
            raise ValueError(f"{self.path} could not be read as CSV: {_one_line(error)}.") from None
        except UnicodeError:
            raise ValueError(_not_encoded(self.path, self.encoding)) from None

    def _explain_csv(self, names: Sequence[str]) -> None:
        """Raise ValueError for the first line that is ragged or has text where a number should be."""
        places = [(name, self.columns.index(name)) for name in names]
        nulls = set(pyarrow.csv.ConvertOptions().null_values)
        with _text(self.path, self.encoding) as text:
            reader = csv.reader(text, delimiter=self.delimiter)
            if self.header:
                next(reader, None)
            for fields in reader:
                if not fields:
                    continue
                if len(fields) != len(self.columns):
                    raise ValueError(
                        f"Line {reader.line_num} of {self.path} has {len(fields)} fields where the file has "
                        f"{len(self.columns)} columns; give every line as many fields as there are columns."
                    )
                for name, place in places:
                    if fields[place] not in nulls and not _is_number(fields[place]):
                        raise ValueError(
                            f"Column {name!r} of {self.path} must hold numbers; line {reader.line_num} has "
                            f"{_shortened(fields[place])!r}; encode it as numbers or leave the column out."
                        )

    def _read_parquet(self, names: Sequence[str]) -> pa.Table:
        with _parquet_errors(self.path):
            return _parquet(self.path).to_table(columns=list(names))

    def _floats(self, name: str, column: pa.ChunkedArray) -> NDArray:
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
            if not pa.types.is_boolean(kind):
                example = next((value for value in column.to_pylist() if value is not None), None)
                raise ValueError(
                    f"Column {name!r} of {self.path} must hold numbers; it holds {kind} such as "
                    f"{_shortened(str(example))!r}; encode it as numbers or leave the column out."
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
        found = [f"{count} {what}" for count, what in ((missing, "missing"), (infinite, "infinite")) if count]
        others = int(bad.any(axis=0).sum()) - 1
        also = f" (and so have {others} other columns)" if others > 1 else " (and so has 1 other)" if others else ""
        raise ValueError(
            f"Column {names[j]!r} of {self.path} has {' and '.join(found)} values among {len(values)}, the first in "
            f"row {int(bad[:, j].argmax()) + 1}{also}; fill them in or remove those rows."
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
        table = _open_csv(path, encoding, header)
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


def csv_bytes(names: Sequence[str], values: ArrayLike) -> bytes:
    """Return numbers (N, k) as the CSV text, in UTF-8, that :func:`write_csv` writes."""
    values = np.asarray(values, dtype=np.float64)
    table = pa.table([pa.array(column) for column in values.T], names=[str(i) for i in range(len(names))])
    header = io.StringIO()
    csv.writer(header, lineterminator="\n").writerow(names)
    out = io.BytesIO(header.getvalue().encode())
    out.seek(0, io.SEEK_END)
    pyarrow.csv.write_csv(table, out, pyarrow.csv.WriteOptions(include_header=False))
    return out.getvalue()


def write_csv(path: str | os.PathLike, names: Sequence[str], values: ArrayLike) -> None:
    """Write numbers (N, k) as CSV with a header of k names; reading them gives the same float64 values.

    The file appears whole or not at all.
    """
    content = csv_bytes(names, values)
    with written_atomically(path) as temporary:
        temporary.write_bytes(content)


def _open_csv(path: Path, encoding: str, header: bool) -> Table:
    try:
        codecs.lookup(encoding)
    except LookupError:
        raise ValueError(
            f"encoding must be the name of a text encoding, such as utf-8 or latin-1; got {encoding!r}."
        ) from None
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty; it needs a line of column names and one line for each row.")
    with _text(path, encoding) as text:
        first = text.readline()
        delimiter = next((mark for mark in _DELIMITERS if mark in first), ",")
        names = next(csv.reader([first], delimiter=delimiter), [])
    if not header:
        return Table(path, tuple(str(i) for i in range(len(names))), encoding, delimiter, header)
    names = [name.strip() for name in names]
    if names and all(_is_number(name) for name in names):
        raise ValueError(
            f"The first line of {path} must hold the names of the columns; it holds only numbers "
            f"({_shortened(first.strip())}); put a line of names above it."
        )
    return Table(path, tuple(names), encoding, delimiter, header)


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
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path} could not be read as Parquet: {_one_line(error)}.") from None


@contextmanager
def _text(path: Path, encoding: str) -> Iterator[io.TextIOWrapper]:
    # Through Arrow, so that compressed files are opened as Arrow opens them; "utf-8-sig" also takes the byte-order
    # mark that spreadsheets write.
    if codecs.lookup(encoding).name == "utf-8":
        encoding = "utf-8-sig"
    try:
        with pa.input_stream(str(path)) as stream, io.TextIOWrapper(stream, encoding=encoding, newline="") as text:
            yield text
    except UnicodeError:
        raise ValueError(_not_encoded(path, encoding)) from None


def _not_encoded(path: Path, encoding: str) -> str:
    name = "utf-8" if encoding == "utf-8-sig" else encoding
    return f"{path} is not {name} text; name its encoding, such as latin-1, utf-16 or cp1252."


def _ending(path: Path) -> str:
    endings = [suffix.lower() for suffix in path.suffixes]
    if endings and endings[-1] in _COMPRESSED:
        endings.pop()
    return endings[-1] if endings else ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text  # which Python alone reads as part of a number


def _column(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:_SHOWN_COLUMNS])
    more = f" and {len(names) - _SHOWN_COLUMNS} more" if len(names) > _SHOWN_COLUMNS else ""
    return f"column{'s' if len(names) > 1 else ''} {shown}{more}"


def _shortened(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."


def _one_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
