"""What a user sees when something is wrong: one plain sentence on standard error, and an exit code."""

from __future__ import annotations

import errno
import sys
import warnings
from typing import Any

import typer
from typer.core import TyperGroup

from anmin.cli.help import Explained
from anmin.cli.terminal import close_output, complain

BAD_INPUT = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells have it
CLOSED = 141  # 128 + SIGPIPE


class Failure(Exception):
    """A command has failed in a way that is foreseen; the message says how."""

    def __init__(self, message: str, code: int = BAD_INPUT) -> None:
        super().__init__(message)
        self.code = code


class PlainErrors(Explained, TyperGroup):
    """A group of commands that turns the errors of bad input into one sentence and exit code 2.

    Exceptions that no input should cause keep their traceback, and exit with 1.
    """

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run a command line; in standalone mode, which is the default, exit with its code."""
        standalone = kwargs.pop("standalone_mode", True)
        kwargs["standalone_mode"] = False
        if not standalone:
            return super().main(*args, **kwargs)
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")  # a letter that its encoding lacks is no reason to fail
        given = args[0] if args else kwargs.get("args")
        as_json = "--json" in (sys.argv[1:] if given is None else given)

        def warn(message: Warning | str, *where: Any) -> None:
            complain(str(message), as_json=as_json, level="warning")

        try:
            with warnings.catch_warnings():
                warnings.showwarning = warn  # type: ignore[assignment]
                code = super().main(*args, **kwargs)
            sys.stdout.flush()  # here, where a closed pipe can still be met
        except BrokenPipeError:
            close_output()
            sys.exit(CLOSED)
        except Failure as failure:
            complain(str(failure), as_json=as_json)
            sys.exit(failure.code)
        except typer.Abort:
            complain("Interrupted.", as_json=as_json)
            sys.exit(INTERRUPTED)
        except Exception as error:
            # Errors of the command line itself know how to describe themselves.
            describe = getattr(error, "format_message", None)
            if describe is None:
                raise
            if type(error).__name__ == "NoArgsIsHelpError":
                typer.echo(describe(), err=True)
            else:
                context = getattr(error, "ctx", None)
                more = "" if context is None else f" See: {context.command_path} --help"
                complain(describe() + more, as_json=as_json)
            sys.exit(BAD_INPUT)
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Failure("Interrupted before there was a result; no file was written.", INTERRUPTED) from None
        except BrokenPipeError:
            close_output()
            raise typer.Exit(CLOSED) from None
        except OSError as error:
            raise Failure(_in_words(error)) from None
        except (ValueError, ImportError) as error:
            raise Failure(str(error)) from None
        except MemoryError:
            raise Failure("The data or the network do not fit into memory; use fewer rows or neurons.") from None


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
