"""The commands that use a model on rows: ``anmin predict`` and ``anmin evaluate``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anmin.cli.options import ActualValues, Data, Encoding, Json, Model, Quiet, Weights, file_to_write
from anmin.cli.results import Result, Step, quoted
from anmin.cli.standard_input import as_file
from anmin.cli.terminal import complain, header

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rich.console import Console

    from anmin.inspection import Scores

PREDICT_EXAMPLES = (
    "anmin predict model.json houses.csv --out predictions.csv",
    "cat houses.csv | anmin predict model.json - > predictions.csv",
)
EVALUATE_EXAMPLES = (
    "anmin evaluate model.json houses_2024.csv",
    "anmin evaluate model.json houses_2024.csv --target price --json",
)


def predict(
    model: Model,
    data: Data,
    encoding: Encoding = "utf-8",
    out: Annotated[
        Path | None,
        file_to_write("CSV file to write; by default standard output."),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Predict the rows of a table.

    Inputs are found by their names; other columns are ignored, and their order does not matter. Rows are read and
    written part by part, so they may be more than memory holds.
    """
    from anmin import ReLUNetwork
    from anmin.cli.data import input_names, is_dataset, open_columns
    from anmin.cli.outputs import check_outputs
    from anmin.datasets import csv_parts, write_csv_parts

    if as_json and out is None:
        raise ValueError("--json tells of the file that --out names; name one, or leave --json out to have the rows.")
    check_outputs({"--out": out}, [model] if is_dataset(data) else [model, data])
    network = ReLUNetwork.load(model)
    source = open_columns(data, encoding)
    count = _Counted(map(network.predict, source.numbers_in_parts(input_names(network, source, data))))
    parts = iter(count)
    parts = chain([next(parts)], parts)  # nothing is written before some rows were found to be right
    names = network.output_names or tuple(f"prediction_{k}" for k in range(network.n_outputs))
    if out is None:
        for text in csv_parts(header(names), parts):
            typer.echo(text, nl=False)
        if sys.stdout.isatty() and not quiet:
            complain(f"Next: {_command('predict', model, data)} --out predictions.csv", as_json=False, level="note")
        return
    write_csv_parts(out, header(names), parts)

    def show(console: Console) -> None:
        console.print(f"Wrote {out}: {', '.join(names)} of {count.n_rows:,} rows.", soft_wrap=True)

    facts = {"model": model, "data": data, "out": out, "n_rows": count.n_rows, "target_names": names}
    steps = [
        Step(_command("evaluate", model, "DATA"), "how good they are"),
        Step(f"anmin export {quoted(model, 'MODEL')} --to c", "the model as a C function"),
    ]
    Result("predict", facts, show, steps, in_files=True).tell(as_json=as_json, quiet=quiet)


def evaluate(
    model: Model,
    data: Data,
    target: ActualValues = None,
    weights: Weights = None,
    encoding: Encoding = "utf-8",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare predictions with the actual values in a table.

    The columns are rows, mean squared error, its square root, mean absolute error, and R², the part of the variance
    that is explained.
    """
    with as_file(data) as name:
        cases = _scores(model, name, target, weights, encoding)

    def show(console: Console) -> None:
        from rich.table import Table

        table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0), pad_edge=False)
        table.add_column("")
        for heading in ("rows", "MSE", "RMSE", "MAE", "R²"):
            table.add_column(heading, justify="right", no_wrap=True)
        for case, scores in cases:
            numbers = [f"{value:.5g}" for value in (scores.mse, scores.rmse, scores.mae)]
            table.add_row(case, f"{scores.n_rows:,}", *numbers, f"{scores.r2:.4f}")
        console.print(table)

    single = len(cases) == 1
    facts = {
        "model": model,
        "data": data,
        "outputs": [{"name": case, **asdict(scores)} for case, scores in (cases if single else cases[:-1])],
        "all": asdict(cases[-1][1]),
    }
    steps = [
        Step(_command("report", model, data), "where it errs, in pictures"),
        Step(f"anmin export {quoted(model, 'MODEL')} --to c", "the model as a C function"),
    ]
    Result("evaluate", facts, show, steps).tell(as_json=as_json, quiet=quiet)


def _scores(
    model: Path, data: str, target: list[str] | None, weights: str | None, encoding: str
) -> list[tuple[str, Scores]]:
    """Return the scores of each output by its name, and if there are several those of all."""
    from anmin import ReLUNetwork
    from anmin.cli.data import actual_names, input_names, open_columns
    from anmin.inspection import Scores
    from anmin.rows.arrays import check_weights

    network = ReLUNetwork.load(model)
    source = open_columns(data, encoding)
    names = actual_names(network, source, target) or network.output_names
    if names is None:
        raise ValueError("The model has no column names; name the column of actual values with --target.")
    extra = () if weights is None else (weights,)
    source.require((*names, *extra))
    X = source.numbers(input_names(network, source, data, excluded=(*names, *extra)))
    actual = source.numbers(names)
    row_weights = None if weights is None else check_weights(source.numbers(extra)[:, 0], len(actual))
    predictions = network.predict(X)
    cases = [(name, Scores.of(actual[:, [k]], predictions[:, [k]], row_weights)) for k, name in enumerate(names)]
    return cases if len(names) == 1 else [*cases, ("all", Scores.of(actual, predictions, row_weights))]


class _Counted:
    """Predictions part by part, of which the rows are counted."""

    def __init__(self, parts: Any) -> None:
        self._parts, self.n_rows = parts, 0

    def __iter__(self) -> Iterator[NDArray]:
        for part in self._parts:
            self.n_rows += len(part)
            yield part


def _command(name: str, model: Path, data: str) -> str:
    return f"anmin {name} {quoted(model, 'MODEL')} {quoted(data)}"
