"""The command ``anmin export``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anmin.cli.predict import Encoding, Model

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anmin import ReLUNetwork
    from anmin.export.targets import Choices

_MOST_ROWS = 1000  # that an export is tried on


def export(
    model: Model,
    to: Annotated[
        str, typer.Option("--to", help="Form: onnx, torch, c, glsl, javascript or json.", show_default=False)
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="File to write; by default the name of MODEL with the ending of the form.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            help="Table of inputs that will be met: ranges come from it, and the export is tried on it.",
            show_default=False,
        ),
    ] = None,
    number: Annotated[
        str | None,
        typer.Option(
            "--number",
            help="Arithmetic: float or double; for c also fixed, which needs --data. By default float, but double for "
            "torch and javascript.",
            show_default=False,
        ),
    ] = None,
    name: Annotated[str, typer.Option("--name", help="Name of the function in source text.")] = "anmin",
    bits: Annotated[int, typer.Option("--bits", min=4, max=24, help="Bits of fixed point.")] = 16,
    encoding: Encoding = "utf-8",
) -> None:
    """Write a model as ONNX, PyTorch, C, GLSL, JavaScript or JSON, and run it.

    Example: anmin export model.json --to c --number fixed --data houses.csv --out model.h

    What was written is run, where the tools for it are there, and the largest difference to the predictions of the
    model is printed.
    """
    from anmin import ReLUNetwork
    from anmin.cli.data import input_names, is_dataset, open_columns
    from anmin.cli.outputs import check_outputs
    from anmin.export.targets import TARGETS, write

    if to not in TARGETS:
        raise ValueError(f"--to must be one of {', '.join(TARGETS)}; got {to!r}.")
    target = TARGETS[to]
    if number is not None and number not in target.numbers:
        raise ValueError(f"--number for {to} must be one of {', '.join(target.numbers)}; got {number!r}.")
    if number == "fixed" and data is None:
        raise ValueError("--number fixed needs the ranges of the inputs; give a table of them with --data.")
    path = Path(model.name).with_suffix(target.suffix) if out is None else out
    check_outputs({"--out": path}, [model] if data is None or is_dataset(data) else [model, data])
    network = ReLUNetwork.load(model)
    X = None
    if data is not None:
        source = open_columns(data, encoding)
        X = source.numbers(input_names(network, source, data, network.output_names or ()))
        if not len(X):
            raise ValueError(f"{data} has no rows.")
    choices = write(network, to, path, number=number, name=name, X=X, bits=bits)
    # So that no character of a name can do anything to a terminal, or to a shell that the line is pasted into.
    shown = repr(str(path))
    quoted = shlex.quote(str(path)) if str(path).isprintable() else shown
    typer.echo(f"Wrote {shown}: {target.title} in {choices.number}, {path.stat().st_size:,} bytes.")
    typer.echo(_what_came_of_it(network, to, path, choices, X))
    typer.echo(f"Next: {target.usage.format(path=shown, quoted=quoted, name=choices.name, field=choices.field_name)}")


def _what_came_of_it(network: ReLUNetwork, to: str, path: Path, choices: Choices, X: NDArray | None) -> str:
    """Return a sentence on what running the export gave, or why it could not be run."""
    from anmin.export.trial import CannotRun, rows_to_try, tried

    rows = rows_to_try(network, _MOST_ROWS) if X is None else X[:: -(-len(X) // _MOST_ROWS)]
    try:
        trial = tried(network, to, path, choices, rows)
    except CannotRun as reason:
        return f"It was not run: {reason}."
    where = f"{trial.n_rows:,} {'random rows' if X is None else 'rows'}"
    text = f"Largest difference to predict on {where}: {trial.difference:.3g}"
    if trial.largest_output > 0:
        text += f", {trial.difference / trial.largest_output:.1e} of the largest output"
    if to == "glsl":
        text += ", its statements compiled as C"
    if trial.difference > 2 * trial.arithmetic:
        text += f"; {trial.arithmetic:.3g} but for rounding the inputs to float32"
    return text + "."
