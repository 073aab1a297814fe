"""What a user sees when something is wrong: one plain sentence on standard error, and an exit code."""

from __future__ import annotations

import errno
import sys
import warnings
from typing import Any

import typer
from typer.core import TyperGroup

from anmin.cli.terminal import say, shortened, show_warning

BAD_INPUT = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells have it


class PlainErrors(TyperGroup):
    """A group of commands that turns the errors of bad input into one sentence and exit code 2.

    Exceptions that no input should cause keep their traceback.
    """

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run a command line; in standalone mode, which is the default, exit with its code."""
        standalone = kwargs.pop("standalone_mode", True)
        kwargs["standalone_mode"] = False
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")  # a letter that it lacks is no reason to fail
        if not standalone:
            return super().main(*args, **kwargs)
        try:
            code = super().main(*args, **kwargs)
        except typer.Abort:
            _say("Interrupted.")
            sys.exit(INTERRUPTED)
        except Exception as error:
            # Errors of the command line itself know how to describe themselves.
            describe = getattr(error, "format_message", None)
            if describe is None:
                raise
            if type(error).__name__ == "NoArgsIsHelpError":
                typer.echo(describe(), err=True)
            else:
                _say(describe())
            sys.exit(BAD_INPUT)
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command."""
        try:
            with warnings.catch_warnings():
                warnings.showwarning = show_warning  # type: ignore[assignment]
                return super().invoke(ctx)
        except KeyboardInterrupt:
            _say("Interrupted before there was a result; no file was written.")
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            raise
        except OSError as error:
            _say(_in_words(error))
            raise typer.Exit(BAD_INPUT) from None
        except (ValueError, ImportError) as error:
            _say(str(error))
            raise typer.Exit(BAD_INPUT) from None
        except MemoryError:
            _say("The data or the network do not fit into memory; use fewer rows or neurons.")
            raise typer.Exit(BAD_INPUT) from None


def _say(message: str) -> None:
    say("Error: " + shortened(" ".join(message.split())), err=True)


def _in_words(error: OSError) -> str:
    if error.errno is None or error.filename is None:
        return str(error)
    reasons = {
        errno.ENOENT: "There is no file {}.",
        errno.EISDIR: "{} is a folder; a file is needed.",
        errno.EACCES: "{} may not be read or written by this user.",
        errno.EPERM: "{} may not be read or written by this user.",
        errno.ENOSPC: "There is no space left to write {}.",
    }
    sentence = reasons.get(error.errno, "{} could not be read or written: " + str(error.strerror) + ".")
    return sentence.format(error.filename)
