"""The command ``anmin report``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anmin.cli.options import FILES, ActualValues, Encoding, Json, Model, OptionalData, Quiet, Weights
from anmin.cli.results import Result, Step, quoted
from anmin.cli.standard_input import as_file

if TYPE_CHECKING:
    from rich.console import Console

EXAMPLES = (
    "anmin report model.json",
    "anmin report model.json houses.csv --out houses.html",
)


def report(
    model: Model,
    data: OptionalData = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="HTML page to write.", rich_help_panel=FILES)
    ] = Path("report.html"),
    target: ActualValues = None,
    weights: Weights = None,
    encoding: Encoding = "utf-8",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Look into a model: one HTML page of pictures, which needs nothing else.

    Without DATA the page shows what the weights alone tell. For models of two inputs the page computes their field
    itself, and neurons can be switched on and off.
    """
    with as_file(data) as name:
        n_rows = _write(model, None if data is None else name, out, target, weights, encoding)

    def show(console: Console) -> None:
        console.print(f"Wrote {out}.", soft_wrap=True)

    steps = [Step(f"open {quoted(out, 'it')} in a browser.")]
    if data is None:
        steps = [
            Step(f"open {quoted(out, 'it')} in a browser"),
            Step(f"anmin report {quoted(model, 'MODEL')} DATA", "with rows, it shows much more"),
        ]
    facts = {"model": model, "data": data, "out": out, "n_rows": n_rows, "n_bytes": out.stat().st_size}
    Result("report", facts, show, steps, in_files=True).tell(as_json=as_json, quiet=quiet)


def _write(
    model: Path, data: str | None, out: Path, target: list[str] | None, weights: str | None, encoding: str
) -> int:
    """Write the page, and return of how many rows it is."""
    from anmin import ReLUNetwork
    from anmin.cli.data import actual_names, input_names, is_dataset, open_columns
    from anmin.cli.outputs import check_outputs
    from anmin.inspection import write_model_report
    from anmin.inspection.plotting import require_matplotlib

    check_outputs({"--out": out}, [model] if data is None or is_dataset(data) else [model, data])
    require_matplotlib()
    network = ReLUNetwork.load(model)
    title = f"The network of {model.name}"
    if data is None:
        if target or weights is not None:
            raise ValueError("--target and --weights are columns of DATA; name the file that has them.")
        write_model_report(out, network, title=title)
        return 0
    source = open_columns(data, encoding)
    names = actual_names(network, source, target)
    if not names and network.output_names is not None and set(network.output_names) <= set(source.columns):
        names = network.output_names
    extra = () if weights is None else (weights,)
    source.require((*names, *extra))
    X = source.numbers(input_names(network, source, data, excluded=(*names, *extra)))
    write_model_report(
        out,
        network,
        X,
        source.numbers(names) if names else None,
        sample_weight=source.numbers(extra)[:, 0] if extra else None,
        title=title,
        data=f"On {data}." if is_dataset(data) else f"On {Path(data).name}.",
    )
    return len(X)
