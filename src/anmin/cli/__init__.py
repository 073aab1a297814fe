"""The ``anmin`` command."""

from anmin.cli.main import app

__all__ = ["app"]
