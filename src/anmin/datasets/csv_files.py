"""CSV files: their header, their numbers, and where in them something is wrong."""

from __future__ import annotations

import codecs
import csv
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import ArrayLike

from anmin.atomic import written_atomically

_DELIMITERS = (",", ";", "\t")


def read_header(path: Path, encoding: str, header: bool) -> tuple[tuple[str, ...], str]:
    """Return the names of the columns and the delimiter; without a header, the names are "0", "1", ...

    Raises
    ------
    ValueError
        If the file is empty, is not of this encoding, or has numbers where the names should be.
    """
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
    names = [name.strip() for name in next(csv.reader([first], delimiter=delimiter), [])]
    if not names:
        raise ValueError(f"The first line of {path} is empty; it must hold the names of the columns.")
    if not header:
        return tuple(str(i) for i in range(len(names))), delimiter
    if all(_is_number(name) for name in names):
        raise ValueError(
            f"The first line of {path} must hold the names of the columns; it holds only numbers "
            f"({shortened(first.strip())}); put a line of names above it."
        )
    return tuple(names), delimiter


def read_columns(
    path: Path, columns: Sequence[str], names: Sequence[str], encoding: str, delimiter: str, header: bool
) -> pa.Table:
    """Return the columns ``names`` of a file with ``columns``, as float64 with nulls for missing values.

    Raises
    ------
    ValueError
        For the first line that has too many or too few fields, or text instead of a number in these columns.
    """
    try:
        return pyarrow.csv.read_csv(path, *csv_options(columns, names, encoding, delimiter, header))
    except pa.ArrowInvalid as error:
        # Arrow reads in parallel and does not say where; a plain reading finds the line.
        _explain(path, columns, names, encoding, delimiter, header)
        raise ValueError(f"{path} could not be read as CSV: {one_line(error)}.") from None
    except UnicodeError:
        raise ValueError(not_encoded(path, encoding)) from None


def read_batches(
    path: Path, columns: Sequence[str], names: Sequence[str], encoding: str, delimiter: str, header: bool
) -> Iterator[pa.RecordBatch]:
    """Yield the columns of :func:`read_columns` some megabytes at a time; raises as that does."""
    options = csv_options(columns, names, encoding, delimiter, header)
    try:
        with pyarrow.csv.open_csv(path, *options) as reader:
            yield from reader
    except pa.ArrowInvalid as error:
        _explain(path, columns, names, encoding, delimiter, header)
        raise ValueError(f"{path} could not be read as CSV: {one_line(error)}.") from None
    except UnicodeError:
        raise ValueError(not_encoded(path, encoding)) from None


def csv_options(columns: Sequence[str], names: Sequence[str], encoding: str, delimiter: str, header: bool) -> tuple:
    """Return the options by which Arrow reads the columns ``names``: of reading, parsing and converting."""
    wanted = pyarrow.csv.ConvertOptions(include_columns=list(names), column_types=dict.fromkeys(names, pa.float64()))
    return (
        pyarrow.csv.ReadOptions(encoding=encoding, column_names=columns, skip_rows=1 if header else 0),
        # A quoted text, in a column that is not wanted perhaps, may go over several lines.
        pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        wanted,
    )


def csv_parts(names: Sequence[str], parts: Iterable[ArrayLike]) -> Iterator[bytes]:
    """Yield the CSV text, in UTF-8, of a header of k names, and of one array of numbers (n, k) after the other."""
    header = io.StringIO()
    csv.writer(header, lineterminator="\n").writerow(names)
    yield header.getvalue().encode()
    for part in parts:
        values = np.asarray(part, dtype=np.float64)
        table = pa.table([pa.array(column) for column in values.T], names=[str(i) for i in range(len(names))])
        out = io.BytesIO()
        pyarrow.csv.write_csv(table, out, pyarrow.csv.WriteOptions(include_header=False))
        yield out.getvalue()


def write_csv(path: str | os.PathLike, names: Sequence[str], values: ArrayLike) -> None:
    """Write numbers (N, k) as CSV with a header of k names; reading them gives the same float64 values.

    The file appears whole or not at all.
    """
    write_csv_parts(path, names, [values])


def write_csv_parts(path: str | os.PathLike, names: Sequence[str], parts: Iterable[ArrayLike]) -> None:
    """Write as :func:`write_csv` does, each part when it is there, so that only one at a time is held."""
    with written_atomically(path) as temporary, temporary.open("wb") as file:
        file.writelines(csv_parts(names, parts))


def shortened(text: str) -> str:
    """Return a text of at most 40 characters, to be quoted in a message."""
    return text if len(text) <= 40 else text[:37] + "..."


def counted(number: int, word: str) -> str:
    """Return "1 word" or "2 words"."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def one_line(error: Exception) -> str:
    """Return the first line of the message of an error, without its full stop."""
    return str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__


def ragged(path: Path, line: int, n_fields: int, n_columns: int) -> str:
    """Return what is said of a line with too many or too few fields."""
    return (
        f"Line {line} of {path} has {counted(n_fields, 'field')} where the file has {counted(n_columns, 'column')}; "
        f"give every line as many fields as there are columns."
    )


def no_number(path: Path, name: str, line: int, field: str) -> str:
    """Return what is said of a text in a column of numbers."""
    return (
        f"Column {name!r} of {path} must hold numbers; line {line} has {shortened(field)!r}; encode it as numbers or "
        f"leave the column out."
    )


def _explain(
    path: Path, columns: Sequence[str], names: Sequence[str], encoding: str, delimiter: str, header: bool
) -> None:
    """Raise ValueError for the first line that is ragged or has text where a number should be."""
    places = [(name, columns.index(name)) for name in names]
    nulls = set(pyarrow.csv.ConvertOptions().null_values)
    with _text(path, encoding) as text:
        reader = csv.reader(text, delimiter=delimiter)
        if header:
            next(reader, None)
        for fields in reader:
            if not fields:
                continue
            if len(fields) != len(columns):
                raise ValueError(ragged(path, reader.line_num, len(fields), len(columns)))
            for name, place in places:
                if fields[place] not in nulls and not _is_number(fields[place]):
                    raise ValueError(no_number(path, name, reader.line_num, fields[place]))


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
        raise ValueError(not_encoded(path, encoding)) from None
    except (csv.Error, LookupError) as error:  # a field of megabytes, or an encoding of bytes rather than of text
        raise ValueError(f"{path} could not be read as CSV: {one_line(error)}.") from None


def not_encoded(path: Path, encoding: str) -> str:
    """Return what is said of a file of another encoding."""
    name = "utf-8" if encoding == "utf-8-sig" else encoding
    return f"{path} is not {name} text; name its encoding, such as latin-1, utf-16 or cp1252."


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text  # which Python alone reads as part of a number
