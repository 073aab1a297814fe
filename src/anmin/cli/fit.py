"""The command ``anmin fit``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anmin.cli.errors import INTERRUPTED
from anmin.cli.terminal import say

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anmin.datasets import Dataset
    from anmin.estimators import ReLURegressor
    from anmin.inspection import Scores
    from anmin.rows.files import TableRows

DEFAULT_DATA = "sdf-cat"
_COLUMNS_SHOWN = 3


def fit(
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA",
            help="A CSV or Parquet file, a folder of Parquet files, or a data set of: anmin datasets. "
            "By default a signed-distance field that is made on the spot.",
            show_default=False,
        ),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option("--target", "-y", help="Column to predict; several: repeat it, or separate them by commas."),
    ] = None,
    neurons: Annotated[int, typer.Option("--neurons", "-n", min=1, help="Number of hidden neurons.")] = 64,
    out: Annotated[Path, typer.Option("--out", "-o", help="Model file to write.")] = Path("model.json"),
    report: Annotated[
        Path | None, typer.Option("--report", help="Report to write: one HTML page.", show_default=False)
    ] = None,
    solver: Annotated[str, typer.Option("--solver", help="auto, anmin, varpro, matrix_free or altmin.")] = "auto",
    alpha: Annotated[str, typer.Option("--alpha", help="Penalty of the weights: a number, or auto.")] = "auto",
    max_iter: Annotated[
        int | None,
        typer.Option("--max-iter", min=1, help="Most iterations; by default what the method prescribes."),
    ] = None,
    max_time: Annotated[float | None, typer.Option("--max-time", help="Seconds after which to stop.")] = None,
    tol: Annotated[float, typer.Option("--tol", help="Relative change of the loss that counts as settled.")] = 1e-6,
    slope: Annotated[
        float, typer.Option("--slope", help="Slope of the activation for negative arguments; 0 is the ReLU.")
    ] = 0.0,
    weights: Annotated[str | None, typer.Option("--weights", help="Column of row weights.", show_default=False)] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option("--ignore", help="Column that is no input, such as a text; repeat it, or use commas."),
    ] = None,
    test_fraction: Annotated[
        float | None,
        typer.Option("--test-fraction", help="Fraction of the rows to hold out and test on.", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the random start and of the held-out rows.")] = 0,
    encoding: Annotated[str, typer.Option("--encoding", help="Text encoding of a CSV file.")] = "utf-8",
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint", help="File to keep the state of the fit in, written every few seconds.", show_default=False
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on from the checkpoint, by default OUT.checkpoint; where there is none, begin one."
        ),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")] = False,
) -> None:
    """Fit a network to a table and save it.

    Example: anmin fit houses.csv --target price --neurons 32 --test-fraction 0.2 --report report.html

    Ctrl-C, or SIGTERM, ends the fit and saves the best network so far.
    """
    from dataclasses import replace

    from anmin.cli.data import is_dataset, large_table, load_rows, sample_of
    from anmin.cli.outputs import check_outputs

    name = data or DEFAULT_DATA
    kept = Path(f"{out}.checkpoint") if resume and checkpoint is None else checkpoint
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
    large = large_table(name, target or (), weights, ignore or (), encoding)
    if large is None:
        dataset, row_weights = load_rows(name, target or (), weights, ignore or (), encoding)
        fitted, test = _split(len(dataset.X), test_fraction, seed)
        model = _fit(
            dataset.X[fitted], dataset.y[fitted], None if row_weights is None else row_weights[fitted], settings, quiet
        )
    elif test_fraction is not None:
        raise ValueError(
            f"--test-fraction is for tables that fit in memory; {name} is fitted part by part. Keep the rows to test "
            f"on in another file, and use: anmin evaluate."
        )
    else:
        # What is shown and reported is of the sample, but for the error on all rows.
        dataset, row_weights = sample_of(large)
        fitted, test = _split(len(dataset.X), None, seed)
        model = _fit(large, None, None, settings, quiet)
        del model.feature_names_in_  # the sample is an array, whose columns have no names
    model.network_ = replace(model.network_, feature_names=dataset.feature_names, output_names=dataset.target_names)
    model.network_.save(out)
    if report is not None:
        from anmin.inspection import write_report

        write_report(
            report,
            model,
            dataset.X[fitted],
            dataset.y[fitted],
            sample_weight=None if row_weights is None else row_weights[fitted],
            test=(dataset.X[test], dataset.y[test]) if len(test) else None,
            title=f"{', '.join(dataset.target_names[:_COLUMNS_SHOWN])} from {dataset.name}",
            data=dataset.description,
        )
    from anmin.history import Status

    if checkpoint is None and kept is not None and model.status_ in (Status.CONVERGED, Status.SCHEDULE_DONE):
        kept.unlink(missing_ok=True)  # there is nothing to go on with
    if not quiet:
        _show(model, dataset, row_weights, fitted, test, out, report, data is None, large)
    if model.status_ is Status.INTERRUPTED:
        more = " The same command with --resume goes on." if kept is not None and kept.exists() else ""
        say(
            f"Interrupted after {model.n_iter_} iterations; the best network so far was saved to {out}.{more}", err=True
        )
        raise typer.Exit(INTERRUPTED)


def _alpha(text: str) -> float | str:
    if text == "auto":
        return text
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"--alpha must be a number of at least 0, or auto; got {text!r}.") from None


def _split(n_rows: int, test_fraction: float | None, seed: int) -> tuple[NDArray, NDArray]:
    """Return the row numbers to fit and to test on, each in ascending order."""
    import numpy as np
    from sklearn.model_selection import train_test_split

    rows = np.arange(n_rows)
    if test_fraction is None:
        return rows, rows[:0]
    if not 0 < test_fraction < 1:
        raise ValueError(f"--test-fraction must be a number between 0 and 1; got {test_fraction:g}.")
    fitted, test = train_test_split(rows, test_size=test_fraction, random_state=seed)
    return np.sort(fitted), np.sort(test)


def _fit(X: Any, y: Any, sample_weight: Any, settings: dict[str, Any], quiet: bool) -> ReLURegressor:
    """Return the fitted model."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning

    from anmin import ReLURegressor
    from anmin.interrupts import termination_interrupts

    with termination_interrupts(), warnings.catch_warnings():
        # How the fit ended is part of the result that is shown.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = ReLURegressor(**settings, verbose=0 if quiet else 1).fit(X, y, sample_weight)
    return model.set_params(verbose=0)


def _show(
    model: ReLURegressor,
    dataset: Dataset,
    row_weights: NDArray | None,
    fitted: NDArray,
    test: NDArray,
    out: Path,
    report: Path | None,
    is_default: bool,
    large: TableRows | None,
) -> None:
    from rich.markup import escape
    from rich.table import Table

    from anmin.cli.terminal import PlainConsole
    from anmin.inspection import Scores

    network = model.network_
    console = PlainConsole(highlight=False)
    n_rows = len(fitted) if large is None else large.n_rows
    console.print(
        f"[bold]{escape(dataset.name)}[/]: {n_rows:,} rows, {_count(network.n_features, 'input')}, "
        f"{_count(network.n_outputs, 'output')}. {escape(dataset.description)}"
    )
    weights = None if row_weights is None else row_weights[fitted]
    errors = Scores.of(dataset.y[fitted], model.predict(dataset.X[fitted]), weights)
    table = Table.grid(padding=(0, 2))
    if large is None:
        table.add_row("  fitted rows", _errors(errors))
    else:
        mse = model.history_["mse"][-1]
        table.add_row("  all rows", f"MSE [bold]{mse:.5g}[/]   RMSE {mse**0.5:.4g}")
        table.add_row(f"  {len(fitted):,} of them", _errors(errors))
    if len(test):
        held_out = Scores.of(dataset.y[test], model.predict(dataset.X[test]))
        table.add_row(f"  {held_out.n_rows:,} held out", _errors(held_out))
    table.add_row(
        "  network",
        f"{_count(network.n_neurons, 'neuron')}, {network.n_parameters:,} parameters, {network.n_bytes:,} bytes",
    )
    table.add_row(
        "  fit",
        f"{_count(model.n_iter_, 'iteration')} in {model.history_[-1].seconds:.2g} s, alpha {model.alpha_:.3g}",
    )
    table.add_row("  ended", model.status_.value)
    console.print(table)
    saved = f"Saved the model to [bold]{escape(str(out))}[/]"
    console.print(saved + (f" and the report to [bold]{escape(str(report))}[/]." if report else "."))
    if is_default:
        console.print("Next, your own table:  anmin fit data.csv --target COLUMN --report report.html", soft_wrap=True)
    else:
        console.print(f"Next:  anmin predict {escape(str(out))} DATA --out predictions.csv", soft_wrap=True)


def _errors(scores: Scores) -> str:
    return f"MSE [bold]{scores.mse:.5g}[/]   RMSE {scores.rmse:.4g}   R² {scores.r2:.4f}"


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"
