"""The command ``anmin datasets``."""

from __future__ import annotations


def datasets() -> None:
    """List the data sets that have a name.

    Example: anmin datasets; then: anmin fit diabetes --neurons 8
    """
    from rich.console import Console
    from rich.table import Table

    from anmin.datasets import CATALOGUE
    from anmin.datasets.files import data_folder

    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("name", no_wrap=True)
    table.add_column("rows, inputs, outputs", justify="right", no_wrap=True)
    table.add_column("from", no_wrap=True)
    table.add_column("what")
    for name, entry in CATALOGUE.items():
        table.add_row(name, entry.size, entry.availability(name), entry.description)
    console = Console(highlight=False, markup=False)
    console.print(table)
    if data_folder() is None:
        console.print("Set the environment variable ANMIN_DATA to the folder that has the files (see docs/data.md).")
