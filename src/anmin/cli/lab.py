"""The command ``anmin lab``: the studies of the source papers."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anmin.cli.errors import INTERRUPTED, Failure
from anmin.cli.options import FILES, OUTPUT, among
from anmin.cli.terminal import PlainConsole, complain

if TYPE_CHECKING:
    from rich.console import Console

    from anmin.lab.study import Study

EXAMPLES = ("anmin lab", "anmin lab NAME --quick", "anmin lab all --quick --out lab")
_ALL = "all"


def _complete(incomplete: str) -> list[str]:
    from anmin.lab.studies import STUDIES

    return among((_ALL, *STUDIES), incomplete)


def lab(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]",
            help="A study, or all; without one they are listed.",
            show_default=False,
            autocompletion=_complete,
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Small sizes and few seeds: seconds instead of minutes.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Of everything random.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FOLDER",
            help="Folder for a page (index.html), pictures and numbers; by default lab for all, and none for one.",
            show_default=False,
            rich_help_panel=FILES,
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="A list of claims with their verdicts, for machines.", rich_help_panel=OUTPUT),
    ] = False,
) -> None:
    """Run a study of a source paper: what the paper claims, beside what is measured here.

    Every verdict is computed from the figures. Ctrl-C keeps the studies that have ended.
    """  # fmt: skip
    from anmin.lab.studies import STUDIES

    if name is None:
        _list(as_json)
        return
    if name != _ALL and name not in STUDIES:
        raise ValueError(f"There is no study {name!r}; see them all with: anmin lab")
    folder = Path("lab") if out is None and name == _ALL else out
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)  # before any work
    _run(list(STUDIES) if name == _ALL else [name], quick, seed, folder, as_json)


def _list(as_json: bool) -> None:
    from anmin.lab.studies import STUDIES

    if as_json:
        print(json.dumps([{"study": name, "title": title} for name, (_, title) in STUDIES.items()]))
        return
    console = PlainConsole(soft_wrap=True)
    width = max(map(len, STUDIES), default=0)
    for name, (_, title) in STUDIES.items():
        console.print(f"{name:{width}}  {title}")
    console.print("Next: anmin lab NAME --quick")


def _run(names: list[str], quick: bool, seed: int, folder: Path | None, as_json: bool) -> None:
    from anmin.lab.studies import run_study
    from anmin.lab.study_page import write_studies, write_study

    done: list[Study] = []
    seconds: dict[str, float] = {}
    failures: dict[str, str] = {}
    interrupted = False
    console = PlainConsole(soft_wrap=True)
    for name in names:
        start = time.perf_counter()
        try:
            study = run_study(name, quick, seed)
        except KeyboardInterrupt:
            interrupted = True
            break
        except Exception as error:
            if len(names) == 1:
                raise
            # One that fails takes nothing from the others.
            failures[name] = f"{type(error).__name__}: {error}"
            complain(f"{name} did not run: {failures[name]}", as_json=as_json, level="warning")
            continue
        seconds[name] = time.perf_counter() - start
        done.append(study)
        if folder is not None:
            write_study(folder, study, seconds[name], quick)
        if len(names) > 1:
            print(f"{name}: {seconds[name]:.1f} s", file=sys.stderr, flush=True)
        elif not as_json:
            _show(console, study, seconds[name])
    if folder is not None and (done or failures):
        write_studies(folder / "index.html", done, seconds, failures, quick)
    if as_json:
        print(json.dumps([claim for study in done for claim in study.verdicts()], ensure_ascii=False))
    else:
        _close(console, done, folder, names)
    if interrupted:
        complain("Interrupted; the studies that had ended are kept.", as_json=as_json, level="note")
        raise typer.Exit(INTERRUPTED)
    if failures:
        raise Failure(f"{len(failures)} of {len(names)} studies did not run: {', '.join(failures)}.", 1)


def _show(console: Console, study: Study, seconds: float) -> None:
    from rich.table import Table
    from rich.text import Text

    console.print(study.title)
    console.print(study.summary)
    for one in study.tables:
        console.print()
        shown = Table(title=Text(one.title), title_justify="left", box=None, padding=(0, 2, 0, 0), pad_edge=False)
        for k, column in enumerate(one.columns):
            shown.add_column(Text(column), justify="right" if k else "left", overflow="fold")
        for row in one.texts():
            shown.add_row(*map(Text, row))
        console.print(shown)
        if one.note:
            console.print(one.note)
    for claim in study.claims:
        console.print()
        console.print(f"{claim.verdict.upper()}: {claim.claim} ({claim.source})")
        console.print(f"  Measured: {claim.measured}")
    console.print()
    settings = "; ".join(f"{key} {value}" for key, value in study.settings.items())
    console.print(f"{settings}{'; ' if settings else ''}{seconds:.1f} s.")


def _close(console: Console, done: list[Study], folder: Path | None, names: list[str]) -> None:
    claims = [claim for study in done for claim in study.claims]
    if len(names) > 1:
        agree = sum(claim.verdict == "agrees" for claim in claims)
        console.print(f"{len(done)} studies, {len(claims)} claims: {agree} agree.")
    if folder is not None:
        console.print(f"Wrote {folder / 'index.html'}.")
    elif done and done[0].pictures:
        console.print(f"Next: anmin lab {names[0]} --out FOLDER, for {len(done[0].pictures)} pictures and a page.")
