"""CSV files: their header, their numbers, and where in them something is wrong."""

from __future__ import annotations

import codecs
import csv
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import ArrayLike

from anmin.atomic import written_atomically

_DELIMITERS = (",", ";", "\t")
_LONGEST_LINE = 2**21  # characters; Arrow reads no longer ones either


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
        lines, length, n_quotes = [], 0, 0
        for line in _lines(path, text):
            lines.append(line)
            length, n_quotes = length + len(line), n_quotes + line.count('"')
            if n_quotes % 2 == 0 or length > _LONGEST_LINE:  # else a name goes over several lines
                break
        first = "".join(lines)
        if "\x00" in first:  # by which Arrow would lose rows
            raise ValueError(
                f"The first line of {path} has the character NUL, which no name can have; it may be of another "
                f"encoding, such as utf-16, or a file of another kind."
            )
        delimiter = next((mark for mark in _DELIMITERS if mark in first), ",")
        fields = csv.reader(io.StringIO(first, newline=""), delimiter=delimiter, strict=True)
        names = [name.strip() for name in next(fields, [])]
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
    with _explained(path, columns, names, encoding, delimiter, header):
        return pyarrow.csv.read_csv(path, *csv_options(columns, names, encoding, delimiter, header))


def read_batches(
    path: Path, columns: Sequence[str], names: Sequence[str], encoding: str, delimiter: str, header: bool
) -> Iterator[pa.RecordBatch]:
    """Yield the columns of :func:`read_columns` some megabytes at a time; raises as that does."""
    with (
        _explained(path, columns, names, encoding, delimiter, header),
        pyarrow.csv.open_csv(path, *csv_options(columns, names, encoding, delimiter, header)) as reader,
    ):
        yield from reader


@contextmanager
def _explained(path: Path, *layout: Any) -> Iterator[None]:
    try:
        yield
    except pa.ArrowInvalid as error:
        # Arrow reads in parallel and does not say where; a plain reading finds the line.
        _explain(path, *layout)
        raise ValueError(f"{path} could not be read as CSV: {one_line(error)}.") from None
    except UnicodeError:
        raise ValueError(not_encoded(path, layout[2])) from None
    except OSError as error:
        raise _damaged(path, error) from None


def csv_options(columns: Sequence[str], names: Sequence[str], encoding: str, delimiter: str, header: bool) -> tuple:
    """Return the options by which Arrow reads the columns ``names``: of reading, parsing and converting."""
    wanted = pyarrow.csv.ConvertOptions(include_columns=list(names), column_types=dict.fromkeys(names, pa.float64()))
    return (
        pyarrow.csv.ReadOptions(encoding=encoding, column_names=columns, skip_rows_after_names=1 if header else 0),
        # A quoted text, in a name or in a column that is not wanted, may go over several lines.
        pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        wanted,
    )


def csv_parts(names: Sequence[str], parts: Iterable[ArrayLike]) -> Iterator[bytes]:
    """Yield the CSV text, in UTF-8, of a header of k names, and of one array of numbers (n, k) after the other."""
    header = io.StringIO()
    csv.writer(header, lineterminator="\r\n").writerow(names)  # by both of which names are quoted that have them
    yield header.getvalue().removesuffix("\r\n").encode() + b"\n"
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


def shortened(text: str, most: int = 40) -> str:
    """Return a text of at most 40 characters, or another number, to be quoted in a message."""
    return text if len(text) <= most else text[: most - 3] + "..."


def counted(number: int, word: str) -> str:
    """Return "1 word" or "2 words"."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def one_line(error: Exception) -> str:
    """Return the first line of the message of an error, without its full stop; what cannot be printed is escaped."""
    lines = str(error).strip().splitlines()
    shown = shortened(lines[0].rstrip("."), 200) if lines else type(error).__name__
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in shown)


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
    order = {name: place for place, name in enumerate(columns)}
    places = [(name, order[name]) for name in names]
    nulls = set(pyarrow.csv.ConvertOptions().null_values)
    with _text(path, encoding) as text:
        reader = csv.reader(_lines(path, text), delimiter=delimiter)
        if header:
            next(reader, None)
        n_rows = 0
        for fields in reader:
            if not fields:
                continue
            n_rows += 1
            if len(fields) != len(columns):
                raise ValueError(ragged(path, reader.line_num, len(fields), len(columns)))
            for name, place in places:
                if fields[place] not in nulls and not _is_number(fields[place]):
                    raise ValueError(no_number(path, name, reader.line_num, fields[place]))
    if not n_rows:
        raise ValueError(f"{path} has column names but no rows.")


def _lines(path: Path, text: io.TextIOWrapper) -> Iterator[str]:
    """Yield the lines of a text; raise ValueError at one that is too long to be one, before it fills the memory."""
    number = 0
    while line := text.readline(_LONGEST_LINE):
        number += 1
        if len(line) == _LONGEST_LINE:
            raise ValueError(f"Line {number} of {path} is too long: it has more than {_LONGEST_LINE - 1:,} characters.")
        yield line


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
    except OSError as error:
        raise _damaged(path, error) from None
    except (csv.Error, LookupError) as error:  # a field of megabytes, or an encoding of bytes rather than of text
        raise ValueError(f"{path} could not be read as CSV: {one_line(error)}.") from None


def _damaged(path: Path, error: OSError) -> Exception:
    """Return what to raise for an error of reading; those that the system knows have a number."""
    return error if error.errno else ValueError(f"{path} could not be read; it may be damaged ({one_line(error)}).")


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
