"""The help of a command: its text folded to the terminal, and examples under it, each whole on one line."""

from __future__ import annotations

import inspect
from typing import Any

import typer
from typer.core import TyperCommand


class Explained:
    """What commands and groups of them have in common: ``epilog`` holds examples, a line each."""

    def __init__(self, *args: Any, help: str | None = None, epilog: str | None = None, **kwargs: Any) -> None:
        paragraphs = inspect.cleandoc(help or "").split("\n\n")
        text = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
        super().__init__(*args, help=text, **kwargs)  # type: ignore[call-arg]
        self.examples = (epilog or "").splitlines()

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        super().format_help(ctx, formatter)  # type: ignore[misc]
        if self.examples:
            # Not through rich, which would fold them.
            typer.echo("\n".join([" Examples:", *(f"   {line}" for line in self.examples)]))


class Command(Explained, TyperCommand):
    """A command whose help ends with examples."""
