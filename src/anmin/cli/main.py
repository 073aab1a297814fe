"""The commands together. What a command needs is imported when it runs, so that ``anmin --help`` is quick."""

from __future__ import annotations

from typing import Annotated

import typer

from anmin.cli import compare, export, fit, lab, listing, paper, predict, report
from anmin.cli.errors import PlainErrors
from anmin.cli.help import Command

app = typer.Typer(
    name="anmin",
    cls=PlainErrors,
    pretty_exceptions_enable=False,
    help="Train small two-layer ReLU networks by solving for their weights.",
    epilog="anmin fit                            a first look: data made on the spot\n"
    "anmin fit data.csv --target COLUMN   your own table\n"
    "anmin fit --help                     each command has examples of its own",
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


for command, examples in (
    (fit.fit, fit.EXAMPLES),
    (predict.predict, predict.PREDICT_EXAMPLES),
    (predict.evaluate, predict.EVALUATE_EXAMPLES),
    (export.export, export.EXAMPLES),
    (report.report, report.EXAMPLES),
    (compare.compare, compare.EXAMPLES),
    (listing.datasets, listing.EXAMPLES),
    (lab.lab, lab.EXAMPLES),
):
    app.command(cls=Command, epilog="\n".join(examples))(command)
app.add_typer(paper.app, name="paper", short_help="Make the tables and figures of the source paper again.")
