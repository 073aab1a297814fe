"""The command ``anmin export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anmin.cli.options import (
    FILES,
    TARGETS,
    Encoding,
    Json,
    Model,
    Quiet,
    complete_data,
    complete_target,
    file_to_write,
)
from anmin.cli.results import Result, Step, quoted

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rich.console import Console

    from anmin import ReLUNetwork
    from anmin.export.targets import Choices

EXAMPLES = (
    "anmin export model.json --to onnx",
    "anmin export model.json --to c --data houses.csv --out houses.h",
    "anmin export model.json --to c --number fixed --data houses.csv",
)
_MOST_ROWS = 1000  # that an export is tried on
_FORM = "Form"


def export(
    model: Model,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="FORM",
            help=f"{', '.join(TARGETS[:-1])} or {TARGETS[-1]}.",
            show_default=False,
            rich_help_panel=_FORM,
            autocompletion=complete_target,
        ),
    ],
    out: Annotated[
        Path | None,
        file_to_write("File to write; by default the name of MODEL with the ending of the form."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="DATA",
            help="Table of inputs that will be met: ranges come from it, and the export is tried on it.",
            show_default=False,
            rich_help_panel=FILES,
            autocompletion=complete_data,
        ),
    ] = None,
    number: Annotated[
        str | None,
        typer.Option(
            "--number",
            metavar="TYPE",
            help="Arithmetic: float or double; for c also fixed, which needs --data. By default float, but double for "
            "torch, javascript and json.",
            show_default=False,
            rich_help_panel=_FORM,
        ),
    ] = None,
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="Name of the function in source text.", rich_help_panel=_FORM)
    ] = "anmin",
    bits: Annotated[
        int, typer.Option("--bits", metavar="N", min=4, max=24, help="Bits of fixed point.", rich_help_panel=_FORM)
    ] = 16,
    encoding: Encoding = "utf-8",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a model as ONNX, PyTorch, C, GLSL, JavaScript or JSON, and run it.

    What was written is run, where the tools for it are there, and the largest difference to the predictions of the
    model is printed.
    """
    from anmin import ReLUNetwork
    from anmin.cli.data import input_names, is_dataset, open_columns
    from anmin.cli.outputs import check_outputs
    from anmin.export import targets

    if to not in targets.TARGETS:
        raise ValueError(f"--to must be one of {', '.join(targets.TARGETS)}; got {to!r}.")
    target = targets.TARGETS[to]
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
    choices = targets.write(network, to, path, number=number, name=name, X=X, bits=bits)
    n_bytes = path.stat().st_size
    tried = _tried(network, to, path, choices, X)
    # So that no character of a name can do anything to a terminal, or to a shell that the line is pasted into.
    shown = repr(str(path))

    def show(console: Console) -> None:
        said = f"Wrote {shown}: {target.title} in {choices.number}, {n_bytes:,} bytes."
        console.print(said, soft_wrap=True)
        console.print(_in_words(tried, to, X is None))

    usage = target.usage.format(
        path=shown,
        quoted=quoted(path, shown),
        name=choices.name,
        field=choices.field_name,
        kind="int32_t" if choices.number == "fixed" else choices.number,
        inputs=network.n_features,
        outputs=network.n_outputs,
    )
    facts = {
        "model": model,
        "out": path,
        "target": to,
        "number": choices.number,
        "function": choices.field_name if to == "glsl" else choices.name,
        "n_bytes": n_bytes,
        "trial": tried,
    }
    Result("export", facts, show, [Step(usage)], in_files=True).tell(as_json=as_json, quiet=quiet)


def _tried(network: ReLUNetwork, to: str, path: Path, choices: Choices, X: NDArray | None) -> dict[str, Any]:
    """Return what running the export gave, or under "not_run" why it could not be run."""
    from dataclasses import asdict

    from anmin.export.trial import CannotRun, rows_to_try, tried

    rows = rows_to_try(network, _MOST_ROWS) if X is None else X[:: -(-len(X) // _MOST_ROWS)]
    try:
        return asdict(tried(network, to, path, choices, rows)) | {"not_run": None}
    except CannotRun as reason:
        unknown = dict.fromkeys(("n_rows", "difference", "arithmetic", "largest_output"))
        return unknown | {"not_run": str(reason)}


def _in_words(tried: dict[str, Any], to: str, at_random: bool) -> str:
    if tried["not_run"] is not None:
        return f"It was not run: {tried['not_run']}."
    where = f"{tried['n_rows']:,} {'random rows' if at_random else 'rows'}"
    text = f"Largest difference to predict on {where}: {tried['difference']:.3g}"
    if tried["largest_output"] > 0:
        text += f", {tried['difference'] / tried['largest_output']:.1e} of the largest output"
    if to == "glsl":
        text += ", its statements compiled as C"
    if tried["difference"] > 2 * tried["arithmetic"]:
        text += f"; {tried['arithmetic']:.3g} but for rounding the inputs to float32"
    return text + "."
