"""The command ``anmin compare``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anmin.cli.errors import INTERRUPTED
from anmin.cli.terminal import say

if TYPE_CHECKING:
    from anmin.datasets import Dataset
    from anmin.lab.results import Run
    from anmin.lab.rivals import Rival
    from anmin.lab.standings import Standing

_FEWEST_ROWS = 10
_COLUMNS_SHOWN = 3


def compare(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="A CSV or Parquet file, a folder of Parquet files, or a data set of: anmin datasets.",
            show_default=False,
        ),
    ],
    target: Annotated[
        list[str] | None,
        typer.Option("--target", "-y", help="Column to predict; several: repeat it, or separate them by commas."),
    ] = None,
    neurons: Annotated[int, typer.Option("--neurons", "-n", min=1, help="Number of hidden neurons.")] = 64,
    splits: Annotated[
        int, typer.Option("--splits", min=1, help="Random splits, a fifth of the rows for testing in each.")
    ] = 3,
    rivals: Annotated[
        str | None,
        typer.Option(
            "--rivals",
            help="Names with commas between: ours, anmin, mlp_lbfgs, mlp_adam, torch_adam, torch_lm, scnn_gated, "
            "scnn_relu, lightgbm, ridge. By default all that are installed but scnn_relu, which is slow.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="File to write: .md for the table, .json for all runs.", show_default=False),
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option("--ignore", help="Column that is no input, such as a text; repeat it, or use commas."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the splits and of the random starts.")] = 0,
    encoding: Annotated[str, typer.Option("--encoding", help="Text encoding of a CSV file.")] = "utf-8",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Compare a network with other methods on your own table.

    Example: anmin compare houses.csv --target price --neurons 32 --rivals ours,mlp_lbfgs,lightgbm

    All are fitted to the same rows and tested on the same held-out rows. Some are tuned by cross-validation first.
    Ctrl-C shows what is done so far.
    """
    from anmin.cli.data import is_dataset, load_rows
    from anmin.cli.outputs import check_outputs
    from anmin.lab import contest
    from anmin.lab.standings import standings, where_ours_loses

    check_outputs({"--out": out}, [] if is_dataset(data) else [data])
    if out is not None and out.suffix not in (".md", ".json"):
        raise ValueError(f"--out must name a file that ends in .md or .json; got {out}.")
    names = None if rivals is None else [name.strip() for name in rivals.split(",") if name.strip()]
    if names == []:
        raise ValueError(f"--rivals must name at least one method of {', '.join(contest.RIVALS)}; got {rivals!r}.")
    contenders = contest.chosen(names, neurons)
    dataset, _ = load_rows(data, target or (), None, ignore or (), encoding)
    if len(dataset.X) < _FEWEST_ROWS:
        raise ValueError(f"A comparison needs at least {_FEWEST_ROWS} rows; {data} has {len(dataset.X)}.")
    ready, notes = _prepared(contenders)
    runs, interrupted = _contest(dataset, ready, splits, seed, quiet)
    found = standings(runs, "RMSE")
    notes += [f"{one.title} failed: {one.failure}" for one in found if one.failure]
    if any(run.method == contest.Ours.name for run in runs) and len(found) > 1:
        notes.insert(0, where_ours_loses(runs, "RMSE"))
    title = (
        f"{', '.join(dataset.target_names[:_COLUMNS_SHOWN])} from {dataset.name}: {len(dataset.X):,} rows, "
        f"{dataset.X.shape[1]} inputs, {neurons} neurons, a fifth of the rows held out in {splits} "
        f"split{'s' if splits > 1 else ''}"
    )
    _show(title, found, notes)
    if out is not None:
        _write(out, title, runs, notes)
        say(f"Wrote {out}.")
    if interrupted:
        typer.echo("Interrupted; this is what was done so far.", err=True)
        raise typer.Exit(INTERRUPTED)


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


def _contest(dataset: Dataset, rivals: list[Rival], n_splits: int, seed: int, quiet: bool) -> tuple[list[Run], bool]:
    """Return the runs, and whether an interrupt came before the end."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from anmin.lab.contest import hold

    runs: list[Run] = []
    columns = (TextColumn("{task.description}"), BarColumn(24), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=quiet) as progress:
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


def _show(title: str, found: list[Standing], notes: list[str]) -> None:
    from rich.table import Table
    from rich.text import Text

    from anmin.cli.terminal import PlainConsole
    from anmin.lab.standings import cells, headings

    console = PlainConsole(highlight=False, markup=False, soft_wrap=True)
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    names = headings("RMSE")
    # Only after an interrupt do some have fewer splits than the title says.
    shown = [name for name in names if name != "splits" or len({one.n_splits for one in found}) > 1]
    for name in shown:
        table.add_column(name, justify="right" if name else "left", overflow="fold")
    for row in cells(found):
        texts = zip(names, row, strict=True)
        table.add_row(*(Text(text, "bold" if best else "") for name, (text, best) in texts if name in shown))
    console.print(title, table, *notes, sep="\n")


def _write(out: Path, title: str, runs: list[Run], notes: list[str]) -> None:
    import json

    from anmin.atomic import written_atomically
    from anmin.lab.results import entry, environment
    from anmin.lab.standings import markdown, standings

    if out.suffix == ".md":
        table = markdown(standings(runs, "RMSE"), "RMSE")
        text = "\n".join([f"# {title}", "", *table, *(line for note in notes for line in ("", note))]) + "\n"
    else:
        document = {
            "schema": "anmin.compare",
            "version": 1,
            "title": title,
            "environment": environment(),
            "notes": notes,
            "runs": [entry(run) for run in runs],
        }
        text = json.dumps(document, indent=1, allow_nan=False) + "\n"
    with written_atomically(out) as temporary:
        temporary.write_text(text, encoding="utf-8")
