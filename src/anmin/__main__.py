"""``python -m anmin`` is the command ``anmin``."""

from anmin.cli import app

app(prog_name="anmin")
