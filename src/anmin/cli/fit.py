"""The command ``anmin fit``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anmin.cli.errors import INTERRUPTED
from anmin.cli.options import (
    FILES,
    NETWORK,
    ROWS,
    SOLVERS,
    STOPPING,
    Encoding,
    Ignore,
    Json,
    OptionalData,
    Quiet,
    Target,
    Weights,
    complete_solver,
)
from anmin.cli.results import Result, Step, quoted
from anmin.cli.standard_input import as_file
from anmin.cli.terminal import complain

DEFAULT_DATA = "sdf-cat"
EXAMPLES = (
    "anmin fit",
    "anmin fit houses.csv --target price --test-fraction 0.2",
    "anmin fit houses.csv --target price --neurons 16 --report report.html",
    "cat houses.csv | anmin fit - --target price --json",
)


def fit(
    data: OptionalData = None,
    target: Target = None,
    weights: Weights = None,
    ignore: Ignore = None,
    test_fraction: Annotated[
        float | None,
        typer.Option(
            "--test-fraction",
            metavar="NUMBER",
            help="Fraction of the rows to hold out and test on.",
            show_default=False,
            rich_help_panel=ROWS,
        ),
    ] = None,
    encoding: Encoding = "utf-8",
    neurons: Annotated[
        int,
        typer.Option("--neurons", "-n", metavar="N", min=1, help="Number of hidden neurons.", rich_help_panel=NETWORK),
    ] = 64,
    alpha: Annotated[
        str,
        typer.Option(
            "--alpha", metavar="NUMBER", help="Penalty of the weights: a number, or auto.", rich_help_panel=NETWORK
        ),
    ] = "auto",
    slope: Annotated[
        float,
        typer.Option(
            "--slope",
            metavar="NUMBER",
            help="Slope of the activation for negative arguments; 0 is the ReLU.",
            rich_help_panel=NETWORK,
        ),
    ] = 0.0,
    solver: Annotated[
        str,
        typer.Option(
            "--solver",
            metavar="NAME",
            help=f"{', '.join(SOLVERS[:-1])} or {SOLVERS[-1]}.",
            rich_help_panel=NETWORK,
            autocompletion=complete_solver,
        ),
    ] = "auto",
    seed: Annotated[
        int,
        typer.Option(
            "--seed",
            metavar="N",
            min=0,
            help="Seed of the random start and of the held-out rows.",
            rich_help_panel=NETWORK,
        ),
    ] = 0,
    max_iter: Annotated[
        int | None,
        typer.Option(
            "--max-iter",
            metavar="N",
            min=1,
            help="Most iterations; by default what the method prescribes.",
            rich_help_panel=STOPPING,
        ),
    ] = None,
    max_time: Annotated[
        float | None,
        typer.Option("--max-time", metavar="SECONDS", help="Seconds after which to stop.", rich_help_panel=STOPPING),
    ] = None,
    tol: Annotated[
        float,
        typer.Option(
            "--tol",
            metavar="NUMBER",
            help="Relative change of the loss that counts as settled.",
            rich_help_panel=STOPPING,
        ),
    ] = 1e-6,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="Model file to write.", rich_help_panel=FILES)
    ] = Path("model.json"),
    report: Annotated[
        Path | None,
        typer.Option(
            "--report",
            metavar="FILE",
            help="Report to write: one HTML page.",
            show_default=False,
            rich_help_panel=FILES,
        ),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint",
            metavar="FILE",
            help="File to keep the state of the fit in, written every few seconds.",
            show_default=False,
            rich_help_panel=FILES,
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on from the checkpoint, by default OUT.checkpoint; where there is none, begin one.",
            rich_help_panel=FILES,
        ),
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fit a network to a table and save it.

    Without DATA it fits a signed-distance field that is made on the spot. Ctrl-C, or SIGTERM, ends the fit and saves
    the best network so far.
    """
    from anmin.cli.data import is_dataset
    from anmin.cli.fitted import fit_table
    from anmin.cli.outputs import check_outputs
    from anmin.history import Status

    kept = Path(f"{out}.checkpoint") if resume and checkpoint is None else checkpoint
    with as_file(data or DEFAULT_DATA) as name:
        outputs = {"--out": out, "--report": report, "--checkpoint": kept}
        check_outputs(outputs, [] if is_dataset(name) else [name])
        if kept is not None and kept.exists() and not resume:
            raise ValueError(f"There is a checkpoint {kept} already; go on from it with --resume, or remove it.")
        if report is not None:
            from anmin.inspection.plotting import require_matplotlib

            require_matplotlib()
        settings = {
            "n_neurons": neurons,
            "solver": solver,
            "alpha": _alpha(alpha),
            "negative_slope": slope,
            "max_iter": max_iter,
            "max_time": max_time,
            "tol": tol,
            "random_state": seed,
            "checkpoint": kept,
        }
        columns = (target or (), weights, ignore or (), encoding)
        fitted = fit_table(name, columns, test_fraction, settings, silent=quiet or as_json)
        fitted.model.network_.save(out)
        if report is not None:
            fitted.write_report(report)
    status = fitted.model.status_
    done = (Status.CONVERGED, Status.SCHEDULE_DONE, Status.VISITS_DONE)
    if checkpoint is None and kept is not None and status in done:
        kept.unlink(missing_ok=True)  # there is nothing to go on with
    facts = {"model": out, "report": report, "data": data or DEFAULT_DATA, **fitted.facts()}
    steps = _next_steps(data, out, report)
    Result("fit", facts, lambda console: fitted.show(console, out, report), steps, in_files=True).tell(
        as_json=as_json, quiet=quiet
    )
    if status is Status.INTERRUPTED:
        more = " The same command with --resume goes on." if kept is not None and kept.exists() else ""
        complain(
            f"Interrupted after {fitted.model.n_iter_} iterations; the best network so far was saved to {out}.{more}",
            as_json=as_json,
            level="note",
        )
        raise typer.Exit(INTERRUPTED)


def _alpha(text: str) -> float | str:
    if text == "auto":
        return text
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"--alpha must be a number of at least 0, or auto; got {text!r}.") from None


def _next_steps(data: str | None, out: Path, report: Path | None) -> list[Step]:
    model = quoted(out, "MODEL")
    export = Step(f"anmin export {model} --to c", "a C function")
    if data is None:
        return [Step("anmin fit DATA.csv --target COLUMN --test-fraction 0.2", "your own table"), export]
    if report is not None:
        look = Step(f"open {quoted(report, 'the report')} in a browser")
    else:
        look = Step(f"anmin report {model} {quoted(data)}", "pictures")
    return [look, Step(f"anmin predict {model} NEW.csv --out predictions.csv", "other rows"), export]
