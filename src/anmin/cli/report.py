"""The command ``anmin report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anmin.cli.predict import Encoding, Model
from anmin.cli.terminal import say


def report(
    model: Model,
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA",
            help="Rows to look at: a CSV or Parquet file, a folder of Parquet files, or a data set of: anmin datasets.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="HTML page to write.")] = Path("report.html"),
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            "-y",
            help="Column of actual values; by default the one that the model was fitted to, if DATA has it.",
        ),
    ] = None,
    weights: Annotated[str | None, typer.Option("--weights", help="Column of row weights.", show_default=False)] = None,
    encoding: Encoding = "utf-8",
) -> None:
    """Look into a model: one HTML page of pictures, which needs nothing else.

    Example: anmin report model.json houses.csv --out report.html

    Without DATA the page shows what the weights alone tell. For models of two inputs the page computes their field
    itself, and neurons can be switched on and off.
    """
    from anmin import ReLUNetwork
    from anmin.cli.data import input_names, is_dataset, named_columns, open_columns
    from anmin.cli.outputs import check_outputs
    from anmin.inspection import write_model_report
    from anmin.inspection.plotting import require_matplotlib

    check_outputs({"--out": out}, [model] if data is None or is_dataset(data) else [model, data])
    require_matplotlib()
    network = ReLUNetwork.load(model)
    if data is None:
        if target or weights is not None:
            raise ValueError("--target and --weights are columns of DATA; name the file that has them.")
        write_model_report(out, network, title=f"The network of {model.name}")
    else:
        source = open_columns(data, encoding)
        names = named_columns(target or (), source.columns)
        if not names and network.output_names is not None and set(network.output_names) <= set(source.columns):
            names = network.output_names
        if names and len(names) != network.n_outputs:
            raise ValueError(
                f"--target must name {network.n_outputs} column(s), one for each output of the model; "
                f"got {', '.join(names)}."
            )
        extra = () if weights is None else (weights,)
        source.require((*names, *extra))
        write_model_report(
            out,
            network,
            source.numbers(input_names(network, source, data, excluded=(*names, *extra))),
            source.numbers(names) if names else None,
            sample_weight=source.numbers(extra)[:, 0] if extra else None,
            title=f"The network of {model.name}",
            data=f"On {data}." if is_dataset(data) else f"On {Path(data).name}.",
        )
    say(f"Wrote {out}.")
