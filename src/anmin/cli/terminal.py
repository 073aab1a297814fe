"""What is shown: text in which no name, of a column or a file, can do anything to a terminal or a spreadsheet."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

_LONGEST = 1000  # characters of a message, which may quote names of any length
# Where a cell may begin, by whatever separator a spreadsheet goes, and what makes a formula of it; also the wide forms
# of East Asian keyboards.
_FORMULA = re.compile(r"(^|[,;|\"])(?=\s*[=+\-@\uff1d\uff0b\uff0d\uff20])")


def plain(text: str) -> str:
    """Return text without control characters, marks that turn its direction, and halves of characters.

    They are shown as Python writes them; ends of lines stay.

    Examples
    --------
    >>> plain("a\\x1b[31mb")
    'a\\\\x1b[31mb'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode("ascii") for c in text)


def shortened(message: str) -> str:
    """Return a message of at most about 1,000 characters: of longer ones the beginning and the end."""
    return message if len(message) <= _LONGEST else f"{message[: _LONGEST - 300]} ... {message[-300:]}"


def say(message: str, *, err: bool = False) -> None:
    """Write a line of plain text to standard output, or to standard error."""
    typer.echo(plain(message), err=err)


def show_warning(message: Warning | str, *where: Any) -> None:
    """Show a warning as a line on standard error; stands in for ``warnings.showwarning``."""
    say("Warning: " + shortened(" ".join(str(message).split())), err=True)


class PlainConsole(Console):
    """A console of rich, all of whose texts are plain; styles come from markup alone."""

    def render_str(self, text: str, **settings: Any) -> Text:
        """Turn a text, or the cell of a table, into what is drawn."""
        return super().render_str(plain(text), **settings)


def header(names: Sequence[str]) -> tuple[str, ...]:
    """Return names as the header of a table that a spreadsheet may open: plain, and none of them a formula.

    A single quote is put before ``=``, ``+``, ``-`` and ``@`` where a cell might begin.

    Examples
    --------
    >>> header(["price", "=1+1", "a;-b"])
    ('price', "'=1+1", "a;'-b")
    """
    return tuple(_FORMULA.sub(r"\1'", plain(name).replace("\n", "\\n")) for name in names)
