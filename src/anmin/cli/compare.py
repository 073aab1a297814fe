"""The command ``anmin compare``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anmin.cli.errors import INTERRUPTED
from anmin.cli.options import (
    RIVALS,
    Data,
    Encoding,
    Ignore,
    Json,
    Quiet,
    Target,
    complete_rivals,
    file_to_write,
)
from anmin.cli.results import Result, Step, quoted
from anmin.cli.standard_input import as_file
from anmin.cli.terminal import complain

if TYPE_CHECKING:
    from rich.console import Console

    from anmin.datasets import Dataset
    from anmin.lab.results import Run
    from anmin.lab.rivals import Rival
    from anmin.lab.standings import Standing

EXAMPLES = (
    "anmin compare houses.csv --target price",
    "anmin compare houses.csv --target price --neurons 32 --splits 5 --out compared.md",
    "anmin compare houses.csv --target price --rivals ours,mlp_lbfgs,lightgbm",
)
_FEWEST_ROWS = 10
_COLUMNS_SHOWN = 3
_PLAN = "Comparison"


def compare(
    data: Data,
    target: Target = None,
    neurons: Annotated[
        int, typer.Option("--neurons", "-n", metavar="N", min=1, help="Hidden neurons.", rich_help_panel=_PLAN)
    ] = 64,
    splits: Annotated[
        int,
        typer.Option(
            "--splits",
            metavar="N",
            min=1,
            help="Random splits, a fifth of the rows for testing in each.",
            rich_help_panel=_PLAN,
        ),
    ] = 3,
    rivals: Annotated[
        str | None,
        typer.Option(
            "--rivals",
            metavar="NAMES",
            help=f"Names with commas between: {', '.join(RIVALS)}. By default all that are installed but scnn_relu, "
            "which is slow.",
            show_default=False,
            rich_help_panel=_PLAN,
            autocompletion=complete_rivals,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        file_to_write("File to write: .md for the table, .json for all runs."),
    ] = None,
    ignore: Ignore = None,
    seed: Annotated[
        int,
        typer.Option(
            "--seed", metavar="N", min=0, help="Seed of the splits and of the random starts.", rich_help_panel=_PLAN
        ),
    ] = 0,
    encoding: Encoding = "utf-8",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare a network with other methods on your own table.

    All are fitted to the same rows and tested on the same held-out rows. Some are tuned by cross-validation first.
    Ctrl-C shows what is done so far.
    """
    from anmin.lab.contest import Ours
    from anmin.lab.standings import standings, where_ours_loses

    with as_file(data) as name:
        contenders = _checked(name, out, rivals, neurons)
        dataset = _rows(name, target, ignore, encoding)
    ready, notes = _prepared(contenders)
    runs, interrupted = _contest(dataset, ready, splits, seed, silent=quiet or as_json)
    found = standings(runs, "RMSE")
    notes += [f"{one.title} failed: {one.failure}" for one in found if one.failure]
    if any(run.method == Ours.name for run in runs) and len(found) > 1:
        notes.insert(0, where_ours_loses(runs, "RMSE"))
    title = (
        f"{', '.join(dataset.target_names[:_COLUMNS_SHOWN])} from {dataset.name}: {len(dataset.X):,} rows, "
        f"{dataset.X.shape[1]} inputs, {neurons} neurons, a fifth of the rows held out in {splits} "
        f"split{'s' if splits > 1 else ''}"
    )
    columns = "".join(
        f" --{option} {quoted(name)}"
        for option, names in (("target", target), ("ignore", ignore))
        for name in names or ()
    )
    result = Result(
        "compare",
        _facts(title, data, found, runs, notes),
        lambda console: _show(console, title, found, notes, out),
        [Step(f"anmin fit {quoted(data)}{columns} --neurons {neurons}", "to use it")],
    )
    if out is not None:
        _write(out, title, found, notes, result)
    result.tell(as_json=as_json, quiet=quiet)
    if interrupted:
        complain("Interrupted; this is what was done so far.", as_json=as_json, level="note")
        raise typer.Exit(INTERRUPTED)


def _checked(data: str, out: Path | None, rivals: str | None, neurons: int) -> list[Rival]:
    """Return the rivals that were named, if they are known and what comes of it can be written."""
    from anmin.cli.data import is_dataset
    from anmin.cli.outputs import check_outputs
    from anmin.lab import contest

    check_outputs({"--out": out}, [] if is_dataset(data) else [data])
    if out is not None and out.suffix not in (".md", ".json"):
        raise ValueError(f"--out must name a file that ends in .md or .json; got {out}.")
    names = None if rivals is None else [name.strip() for name in rivals.split(",") if name.strip()]
    if names == []:
        raise ValueError(f"--rivals must name at least one method of {', '.join(contest.RIVALS)}; got {rivals!r}.")
    return contest.chosen(names, neurons)


def _rows(data: str, target: list[str] | None, ignore: list[str] | None, encoding: str) -> Dataset:
    from anmin.cli.data import load_rows

    dataset, _ = load_rows(data, target or (), None, ignore or (), encoding)
    if len(dataset.X) < _FEWEST_ROWS:
        raise ValueError(f"A comparison needs at least {_FEWEST_ROWS} rows; {data} has {len(dataset.X)}.")
    return dataset


def _prepared(contenders: list[Rival]) -> tuple[list[Rival], list[str]]:
    """Return the rivals that are installed, and a sentence on each that is not."""
    ready, notes = [], []
    for rival in contenders:
        try:
            rival.prepare()
        except ImportError as error:
            notes.append(str(error))
        else:
            ready.append(rival)
    if not ready:
        raise ValueError(" ".join(["None of the methods can take part.", *notes]))
    return ready, notes


def _contest(dataset: Dataset, rivals: list[Rival], n_splits: int, seed: int, silent: bool) -> tuple[list[Run], bool]:
    """Return the runs, and whether an interrupt came before the end."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from anmin.lab.contest import hold

    runs: list[Run] = []
    columns = (TextColumn("{task.description}"), BarColumn(24), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=silent) as progress:
        task = progress.add_task("", total=n_splits * len(rivals))

        def watch(text: str) -> None:
            progress.update(task, description=text)

        try:
            for run in hold(rivals, dataset.X, dataset.y, n_splits, seed, watch):
                runs.append(run)
                progress.advance(task)
        except KeyboardInterrupt:
            if not runs:
                raise
            return runs, True
    return runs, False


def _facts(title: str, data: str, found: list[Standing], runs: list[Run], notes: list[str]) -> dict[str, Any]:
    from anmin.lab.results import entry, environment

    return {
        "title": title,
        "data": data,
        "metric": "RMSE",
        "methods": [asdict(one) for one in found],
        "environment": environment(),
        "notes": notes,
        "runs": [entry(run) for run in runs],
    }


def _show(console: Console, title: str, found: list[Standing], notes: list[str], out: Path | None) -> None:
    from rich.table import Table
    from rich.text import Text

    from anmin.lab.standings import cells, headings

    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0), pad_edge=False)
    names = headings("RMSE")
    # Only after an interrupt do some have fewer splits than the title says.
    shown = [name for name in names if name != "splits" or len({one.n_splits for one in found}) > 1]
    for name in shown:
        table.add_column(name, justify="right" if name else "left", overflow="fold")
    for row in cells(found):
        texts = zip(names, row, strict=True)
        table.add_row(*(Text(text, "bold" if best else "") for name, (text, best) in texts if name in shown))
    console.print(title)
    console.print(table)
    for note in notes:
        console.print(note)
    if out is not None:
        console.print(f"Wrote {out}.", soft_wrap=True)


def _write(out: Path, title: str, found: list[Standing], notes: list[str], result: Result) -> None:
    import json

    from anmin.atomic import written_atomically
    from anmin.lab.standings import markdown

    if out.suffix == ".md":
        table = markdown(found, "RMSE")
        text = "\n".join([f"# {title}", "", *table, *(line for note in notes for line in ("", note))]) + "\n"
    else:
        text = json.dumps(result.document(), indent=1, allow_nan=False) + "\n"
    with written_atomically(out) as temporary:
        temporary.write_text(text, encoding="utf-8")
