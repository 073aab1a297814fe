"""The commands together. What a command needs is imported when it runs, so that ``anmin --help`` is quick."""

from __future__ import annotations

from typing import Annotated

import typer

from anmin.cli import paper
from anmin.cli.compare import compare
from anmin.cli.errors import PlainErrors
from anmin.cli.export import export
from anmin.cli.fit import fit
from anmin.cli.listing import datasets
from anmin.cli.predict import evaluate, predict
from anmin.cli.report import report

app = typer.Typer(
    name="anmin",
    cls=PlainErrors,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Train small two-layer ReLU networks by solving for their weights.\n\n"
    "Start with: anmin fit, which fits a data set made on the spot; then: anmin fit data.csv --target COLUMN",
)


def _version(wanted: bool) -> None:
    if wanted:
        from anmin import __version__

        typer.echo(f"anmin {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def anmin(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Show the help where no command was given."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


app.command()(fit)
app.command()(predict)
app.command()(evaluate)
app.command()(export)
app.command()(report)
app.command()(compare)
app.command()(datasets)
app.add_typer(paper.app, name="paper", short_help="Make the tables and figures of the source paper again.")
