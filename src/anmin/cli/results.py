"""How a result is told: as text for a person, or with ``--json`` as one JSON object for a machine.

The rules, for every command:

- Results go to standard output, everything else to standard error.
- A person sees the text, and under it what to do next. With ``--quiet`` there is no such advice and no progress, and no
  text at all where the result is in a file.
- With ``--json`` standard output holds one object on one line and nothing else. Its numbers are finite; what is not is
  null. Every line on standard error is an object too: {"error": "..."} or {"warning": "..."}.
- No character of a name, be it of a column or of a file, can do anything to a terminal.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anmin.cli.terminal import PlainConsole
from anmin.json_values import as_json_value

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class Step:
    """What to do next.

    Attributes
    ----------
    what : str
        A command with the names of the real files, or a sentence.
    purpose : str
        What it gives; shown behind it as a comment, so that the line can be copied with it.
    """

    what: str
    purpose: str = ""


@dataclass(frozen=True)
class Result:
    """What a command found out.

    Attributes
    ----------
    kind : str
        Of command: the ``schema`` of the object is "anmin." and this.
    facts : mapping
        The other keys of the object: documented in docs/command-line.md, and stable.
    show : callable
        Prints them for a person.
    next_steps : sequence of Step
    in_files : bool
        Whether what was asked for is in files, so that there is nothing that must be said.
    """

    kind: str
    facts: Mapping[str, Any]
    show: Callable[[Console], None]
    next_steps: Sequence[Step] = ()
    in_files: bool = False

    def document(self) -> dict[str, Any]:
        """Return the object that a machine gets."""
        return as_json_value({"schema": f"anmin.{self.kind}", "version": 1, **self.facts})

    def tell(self, *, as_json: bool, quiet: bool) -> None:
        """Print the result."""
        if as_json:
            print(json.dumps(self.document(), allow_nan=False), flush=True)
            return
        if quiet and self.in_files:
            return
        console = PlainConsole()
        with console.capture() as captured:
            self.show(console)
            if not quiet:
                # Commands stay on one line, to be copied.
                for line in _advice(self.next_steps):
                    console.print(line, soft_wrap=len(self.next_steps) > 1)
        print("\n".join(line.rstrip(" ") for line in captured.get().splitlines()), flush=True)


def _advice(steps: Sequence[Step]) -> list[str]:
    """Return the lines that say what to do next."""
    if len(steps) == 1 and not steps[0].purpose:
        return [f"Next: {steps[0].what}"]
    width = max(len(step.what) for step in steps)
    lines = [f"  {step.what:{width}}  # {step.purpose}" if step.purpose else f"  {step.what}" for step in steps]
    return ["Next:", *lines]


def quoted(name: str | Path, otherwise: str = "DATA") -> str:
    """Return the name of a file as it is typed in a shell; a word in its place where it is "-" or does not print."""
    return shlex.quote(str(name)) if str(name).isprintable() and str(name) != "-" else otherwise
