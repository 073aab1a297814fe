"""A table on standard input: the name "-" in the place of a file."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate, chain
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from anmin.datasets import Table

STANDARD_INPUT = "-"
NAME = "standard_input.csv"  # in what is said about it
_BLOCK = 2**20
_LONGEST_LINE = 2**24
_OTHER_KINDS = {
    b"\x1f\x8b": "compressed by gzip; decompress it first, such as with zcat",
    b"BZh": "compressed by bzip2; decompress it first, such as with bzcat",
    b"\x28\xb5\x2f\xfd": "compressed by Zstandard; decompress it first, such as with zstdcat",
    b"PAR1": "Parquet, which is read from files only; name the file",
}


@contextmanager
def as_file(data: str | None) -> Iterator[str]:
    """Give the name of a file or data set: DATA itself, or for "-" a temporary file that holds standard input.

    For commands that go over the rows more than once. The file is complete, and is removed at the end.

    Raises
    ------
    ValueError
        If standard input is a terminal, empty, or no text.
    """
    if data != STANDARD_INPUT:
        yield data or ""
        return
    source = _source()
    first = _first_lines(source)
    with tempfile.TemporaryDirectory(prefix="anmin-") as folder:
        path = Path(folder, NAME)
        with path.open("wb") as file:
            file.write(first)
            shutil.copyfileobj(source, file, _BLOCK)
        try:
            yield str(path)
        except (ValueError, OSError) as error:
            raise _without(folder, error) from None


def as_stream(encoding: str) -> Table:
    """Return standard input as a table that can be gone over once: rows are there as soon as they have been written.

    Raises
    ------
    ValueError
        If standard input is a terminal, empty, or no table.
    """
    from dataclasses import replace

    from anmin.datasets import open_table

    source = _source()
    first = _first_lines(source)
    with tempfile.TemporaryDirectory(prefix="anmin-") as folder:
        path = Path(folder, NAME)
        path.write_bytes(first)
        try:
            table = open_table(path, encoding=encoding)
        except (ValueError, OSError) as error:
            raise _without(folder, error) from None
    return replace(table, path=Path(NAME), stream=chain([first], iter(lambda: _some(source), b"")))


def _without(folder: str, error: Exception) -> Exception:
    """Return an error without the temporary folder in its message: it says nothing to the user."""
    return ValueError(str(error).replace(folder + os.sep, "")) if folder in str(error) else error


def _source() -> BinaryIO:
    if sys.stdin is None or sys.stdin.isatty():
        raise ValueError(
            "Standard input is a terminal; write a table to it with a pipe, such as: cat data.csv | anmin ... -"
        )
    return sys.stdin.buffer


def _first_lines(source: BinaryIO) -> bytes:
    """Return the beginning of standard input, with its first row in whole, whose names may have several lines."""
    first = b""
    while len(first) <= _LONGEST_LINE and not _has_row(first) and (more := _some(source)):
        first += more
    if len(first) > _LONGEST_LINE and b"\n" not in first:
        raise ValueError(
            f"Standard input has no line break in {len(first):,} bytes; it needs a line of column names and one "
            f"line for each row."
        )
    if not first.strip():
        raise ValueError(
            "Standard input is empty; it needs a line of column names and one line for each row, "
            "such as: cat data.csv | anmin ... -"
        )
    for start, kind in _OTHER_KINDS.items():
        if first.startswith(start):
            raise ValueError(f"Standard input must be CSV; it is {kind}.")
    return first


def _has_row(text: bytes) -> bool:
    """Return whether a line has ended outside of quotes."""
    counts = accumulate(line.count(b'"') for line in text.split(b"\n")[:-1])
    return any(count % 2 == 0 for count in counts)


def _some(source: BinaryIO) -> bytes:
    """Return what is there, be it little, or what comes next; nothing at the end."""
    read = getattr(source, "read1", source.read)
    return read(_BLOCK)
