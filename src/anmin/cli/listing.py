"""The command ``anmin datasets``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anmin.cli.options import Json, Quiet, complete_data_set, file_to_write
from anmin.cli.results import Result, Step, quoted

if TYPE_CHECKING:
    from rich.console import Console

    from anmin.datasets import Dataset

EXAMPLES = ("anmin datasets", "anmin datasets diabetes --out diabetes.csv")


def datasets(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="One of them.", autocompletion=complete_data_set, show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        file_to_write("CSV file to write the data set to."),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """List the data sets that have a name; describe one, or write it as a table."""
    if name is None:
        if out is not None:
            raise ValueError("--out is for one data set; name it, such as: anmin datasets diabetes --out diabetes.csv")
        _all().tell(as_json=as_json, quiet=quiet)
    else:
        _one(name, out).tell(as_json=as_json, quiet=quiet)


def _all() -> Result:
    from anmin.datasets import CATALOGUE
    from anmin.datasets.files import data_folder

    folder = data_folder()
    found = [
        {"name": name, "size": entry.size, "from": entry.availability(name), "description": entry.description}
        for name, entry in CATALOGUE.items()
    ]

    def show(console: Console) -> None:
        from rich.table import Table

        table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
        widths = [max(len(text) for text in texts) for texts in zip(*(one.values() for one in found), strict=True)]
        table.add_column("name", no_wrap=True)
        table.add_column("size", no_wrap=True, justify="right")
        table.add_column("from", no_wrap=True)
        # Cut to a line each: "anmin datasets NAME" tells the whole.
        table.add_column("what", no_wrap=True, max_width=max(20, console.width - sum(widths[:3]) - 8))
        for one in found:
            table.add_row(*one.values())
        console.print(table)
        if folder is None:
            console.print(
                "Those with no file are read from the folder that the environment variable ANMIN_DATA names "
                "(see docs/data.md)."
            )

    steps = [
        Step("anmin fit diabetes --neurons 4", "a fit to one of them"),
        Step("anmin datasets diabetes --out diabetes.csv", "one of them as a table"),
    ]
    return Result("datasets", {"data_folder": folder, "datasets": found}, show, steps)


def _one(name: str, out: Path | None) -> Result:
    from anmin.cli.outputs import check_outputs
    from anmin.datasets import load

    check_outputs({"--out": out}, [])
    if out is not None and out.suffix != ".csv":
        raise ValueError(f"--out must name a file that ends in .csv; got {out}.")
    dataset = load(name)
    targets = ",".join(dataset.target_names)
    if out is not None:
        _write(dataset, out)

    def show(console: Console) -> None:
        console.print(f"{name}: {dataset.n_rows:,} rows. {dataset.description}")
        console.print(f"  inputs   {', '.join(dataset.feature_names)}")
        console.print(f"  outputs  {', '.join(dataset.target_names)}")
        console.print(f"  from     {dataset.source}")
        if out is not None:
            console.print(f"Wrote {out}.", soft_wrap=True)

    facts = {
        "name": name,
        "description": dataset.description,
        "from": dataset.source,
        "n_rows": dataset.n_rows,
        "feature_names": dataset.feature_names,
        "target_names": dataset.target_names,
        "out": out,
    }
    if out is None:
        steps = [
            Step(f"anmin fit {name} --test-fraction 0.2", "a fit to four fifths of it"),
            Step(f"anmin datasets {name} --out {name}.csv", "a table that other programs read, too"),
        ]
    else:
        steps = [Step(f"anmin fit {quoted(out)} --target {targets} --test-fraction 0.2")]
    return Result("dataset", facts, show, steps, in_files=out is not None)


def _write(dataset: Dataset, out: Path) -> None:
    import numpy as np

    from anmin.datasets import write_csv

    write_csv(out, (*dataset.feature_names, *dataset.target_names), np.column_stack([dataset.X, dataset.y]))
