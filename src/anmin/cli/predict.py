"""The commands that use a model: ``anmin predict`` and ``anmin evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[Path, typer.Argument(metavar="MODEL", help="Model file that anmin fit wrote.", show_default=False)]
Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="A CSV or Parquet file, a folder of Parquet files, or a data set of: anmin datasets.",
        show_default=False,
    ),
]
Encoding = Annotated[str, typer.Option("--encoding", help="Text encoding of a CSV file.")]


def predict(
    model: Model,
    data: Data,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="CSV file to write; by default standard output.", show_default=False),
    ] = None,
    encoding: Encoding = "utf-8",
) -> None:
    """Predict the rows of a table.

    Example: anmin predict model.json houses.csv --out predictions.csv

    Inputs are found by their names; other columns are ignored, and their order does not matter. Files are read part by
    part, so they may be larger than memory.
    """
    from anmin import ReLUNetwork
    from anmin.cli.data import input_names, is_dataset, open_columns
    from anmin.cli.outputs import check_outputs
    from anmin.cli.terminal import header
    from anmin.datasets import csv_parts, write_csv_parts

    check_outputs({"--out": out}, [model] if is_dataset(data) else [model, data])
    network = ReLUNetwork.load(model)
    source = open_columns(data, encoding)
    predictions = map(network.predict, source.numbers_in_parts(input_names(network, source, data)))
    names = header(network.output_names or [f"prediction_{k}" for k in range(network.n_outputs)])
    if out is None:
        for text in csv_parts(names, predictions):
            typer.echo(text, nl=False)
    else:
        write_csv_parts(out, names, predictions)


def evaluate(
    model: Model,
    data: Data,
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target", "-y", help="Column of actual values; by default the one that the model was fitted to."
        ),
    ] = None,
    weights: Annotated[str | None, typer.Option("--weights", help="Column of row weights.", show_default=False)] = None,
    encoding: Encoding = "utf-8",
) -> None:
    """Compare predictions with the actual values in a table.

    Example: anmin evaluate model.json houses_2024.csv --target price
    """
    from rich.table import Table

    from anmin import ReLUNetwork
    from anmin.cli.data import input_names, named_columns, open_columns
    from anmin.cli.terminal import PlainConsole
    from anmin.inspection import Scores
    from anmin.rows.arrays import check_weights

    network = ReLUNetwork.load(model)
    source = open_columns(data, encoding)
    names = named_columns(target or (), source.columns) or network.output_names
    if names is None:
        raise ValueError("The model has no column names; name the column of actual values with --target.")
    if len(names) != network.n_outputs:
        raise ValueError(
            f"--target must name {network.n_outputs} column(s), one for each output of the model; "
            f"got {', '.join(names)}."
        )
    extra = () if weights is None else (weights,)
    source.require((*names, *extra))
    X = source.numbers(input_names(network, source, data, excluded=(*names, *extra)))
    actual = source.numbers(names)
    row_weights = None if weights is None else check_weights(source.numbers(extra)[:, 0], len(actual))
    predictions = network.predict(X)
    table = Table(box=None, header_style="bold")
    table.add_column("")
    for heading in ("rows", "MSE", "RMSE", "MAE", "R²"):
        table.add_column(heading, justify="right")
    cases = [(name, actual[:, [k]], predictions[:, [k]]) for k, name in enumerate(names)]
    if len(names) > 1:
        cases.append(("all", actual, predictions))
    for name, y, predicted in cases:
        scores = Scores.of(y, predicted, row_weights)
        numbers = [f"{value:.5g}" for value in (scores.mse, scores.rmse, scores.mae)]
        table.add_row(name, f"{scores.n_rows:,}", *numbers, f"{scores.r2:.4f}")
    PlainConsole(highlight=False, markup=False).print(table)
