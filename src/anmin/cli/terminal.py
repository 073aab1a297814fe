"""What is shown: text in which no name, of a column or a file, can do anything to a terminal or a spreadsheet."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

_LONGEST = 1000  # characters of a message, which may quote names of any length
_PIPE_WIDTH = 10_000  # no line is folded that another program reads
# Where a cell may begin, by whatever separator a spreadsheet goes, and what makes a formula of it; also the wide forms
# of East Asian keyboards.
_FORMULA = re.compile(r"(^|[,;|\"])(?=\s*[=+\-@\uff1d\uff0b\uff0d\uff20])")


def plain(text: str) -> str:
    """Return text on one line, without control characters, marks that turn its direction, and halves of characters.

    They are shown as Python writes them.

    Examples
    --------
    >>> plain("a\\x1b[31mb")
    'a\\\\x1b[31mb'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


class PlainConsole(Console):
    """A console of rich, all of whose texts are plain, and a line each, which is not folded for a pipe."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, **settings)
        if not self.is_terminal:
            self.width = _PIPE_WIDTH

    def render_str(self, text: str, **settings: Any) -> Text:
        """Turn a text, or the cell of a table, into what is drawn."""
        return super().render_str(plain(text), **settings)


def complain(message: str, *, as_json: bool, level: str = "error") -> None:
    """Say on standard error, in one line, what went wrong ("error") or might ("warning", "note").

    The line is plain, and of longer messages it has the beginning and the end. As JSON it is an object that holds the
    message as it is.
    """
    if as_json:
        line = json.dumps({"warning" if level == "note" else level: message})
    else:
        start = "" if level == "note" else f"{level.capitalize()}: "
        line = _folded(start + _shortened(plain(" ".join(message.split()))))
    print(line, file=sys.stderr, flush=True)


def _shortened(sentence: str) -> str:
    return sentence if len(sentence) <= _LONGEST else f"{sentence[: _LONGEST - 300]} ... {sentence[-300:]}"


def _folded(sentence: str) -> str:
    if not sys.stderr.isatty():
        return sentence
    return textwrap.fill(sentence, shutil.get_terminal_size().columns, break_long_words=False, break_on_hyphens=False)


def header(names: Sequence[str]) -> tuple[str, ...]:
    """Return names as the header of a table that a spreadsheet may open: plain, and none of them a formula.

    A single quote is put before ``=``, ``+``, ``-`` and ``@`` where a cell might begin.

    Examples
    --------
    >>> header(["price", "=1+1", "a;-b"])
    ('price', "'=1+1", "a;'-b")
    """
    return tuple(_FORMULA.sub(r"\1'", plain(name)) for name in names)


def close_output() -> None:
    """Let what is still to be written to standard output go nowhere, after its reader has left."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        pass  # it is no file
