"""CSV text that comes in pieces, of which every row is read when it is there."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.csv

from anmin.datasets.csv_files import csv_options, no_number, not_encoded, one_line, ragged

_LONGEST = 2**24  # characters that are held for the end of a line, or of a quoted text


def read_pieces(
    pieces: Iterable[bytes],
    path: Path,
    columns: Sequence[str],
    names: Sequence[str],
    encoding: str,
    delimiter: str,
    header: bool,
) -> Iterator[pa.RecordBatch]:
    """Yield the columns ``names`` of CSV text with ``columns``, the rows that each piece completes as one batch.

    Parameters
    ----------
    pieces : iterable of bytes
    path : Path
        What the text is called in messages; it is not opened.
    columns, names, encoding, delimiter, header
        As for :func:`anmin.datasets.csv_files.read_columns`.

    Raises
    ------
    ValueError
        For a line with too many or too few fields, text instead of a number in these columns, another encoding, or a
        line of more than 16 million characters.
    """
    options = csv_options(columns, names, "utf-8", delimiter, False)
    options[0].use_threads = False  # so that errors name the row
    before = 0
    try:
        for text in _whole_rows(pieces, path, encoding):
            rows = _after_first_row(text, delimiter) if header and not before else text
            skipped = text.count("\n") - rows.count("\n")
            if rows.strip():
                try:
                    yield from pyarrow.csv.read_csv(io.BytesIO(rows.encode()), *options).to_batches()
                except pa.ArrowInvalid as error:
                    raise ValueError(_in_words(error, path, columns, before + skipped)) from None
            before += text.count("\n")
    except UnicodeError:
        raise ValueError(not_encoded(path, encoding)) from None


def _whole_rows(pieces: Iterable[bytes], path: Path, encoding: str) -> Iterator[str]:
    """Yield the text in parts that end where a row does, as far as the quotes tell."""
    name = "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding
    decoder = codecs.getincrementaldecoder(name)()
    text = ""
    for piece in pieces:
        text += decoder.decode(piece)
        end = text.rfind("\n") + 1
        if end and (text.count('"', 0, end) % 2 == 0 or end > _LONGEST):
            yield text[:end]
            text = text[end:]
        elif not end and len(text) > _LONGEST:
            raise ValueError(
                f"{path} has no line break in {len(text):,} characters; every row needs a line of its own."
            )
    text += decoder.decode(b"", final=True)
    if text:
        yield text


def _after_first_row(text: str, delimiter: str) -> str:
    lines = io.StringIO(text, newline="")
    next(csv.reader(lines, delimiter=delimiter), None)  # which takes the lines of one row
    return lines.read()


def _in_words(error: Exception, path: Path, columns: Sequence[str], lines_before: int) -> str:
    said = str(error)
    found = re.match(r"CSV parse error: Row #(\d+): Expected \d+ columns, got (\d+)", said)
    if found:
        return ragged(path, lines_before + int(found[1]), int(found[2]), len(columns))
    found = re.match(r"In CSV column #(\d+): Row #(\d+): CSV conversion error to double: invalid value '(.*)'", said)
    if found:
        return no_number(path, columns[int(found[1])], lines_before + int(found[2]), found[3])
    return f"{path} could not be read as CSV: {one_line(error)}."
