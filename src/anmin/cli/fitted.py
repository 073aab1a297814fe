"""Fitting a table, and what there is to tell about it: the work of ``anmin fit``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anmin.cli.data import large_table, load_rows, sample_of
from anmin.inspection import Scores

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rich.console import Console

    from anmin.datasets import Dataset
    from anmin.estimators import ReLURegressor
    from anmin.rows.files import TableRows

_COLUMNS_SHOWN = 3


@dataclass(frozen=True)
class Fitted:
    """A model and the rows it was fitted to; of a table too large to be held, a sample of them."""

    model: ReLURegressor
    dataset: Dataset
    row_weights: NDArray | None
    fitted: NDArray
    test: NDArray
    large: TableRows | None

    def errors(self) -> Scores:
        """Return the errors on the rows fitted, or the sample of them."""
        weights = None if self.row_weights is None else self.row_weights[self.fitted]
        X, y = self.dataset.X[self.fitted], self.dataset.y[self.fitted]
        return Scores.of(y, self.model.predict(X), weights)

    def held_out(self) -> Scores | None:
        """Return the errors on the rows held out, if there are any."""
        if not len(self.test):
            return None
        return Scores.of(self.dataset.y[self.test], self.model.predict(self.dataset.X[self.test]))

    def facts(self) -> dict[str, Any]:
        """Return the numbers of the fit for a machine."""
        model, network, held_out = self.model, self.model.network_, self.held_out()
        errors, sample = asdict(self.errors()), None
        if self.large is not None:
            mse = model.history_["mse"][-1]
            sample = errors
            errors = {"n_rows": self.large.n_rows, "mse": mse, "rmse": mse**0.5, "mae": None, "r2": None}
        return {
            "feature_names": self.dataset.feature_names,
            "target_names": self.dataset.target_names,
            "errors": {"fitted": errors, "sample": sample, "held_out": None if held_out is None else asdict(held_out)},
            "n_neurons": network.n_neurons,
            "n_parameters": network.n_parameters,
            "n_bytes": network.n_bytes,
            "alpha": model.alpha_,
            "n_iter": model.n_iter_,
            "seconds": model.history_[-1].seconds,
            "status": model.status_.name.lower(),
            "message": model.status_.value,
        }

    def write_report(self, path: Path) -> None:
        """Write the report of the fit."""
        from anmin.inspection import write_report

        dataset, fitted, test = self.dataset, self.fitted, self.test
        write_report(
            path,
            self.model,
            dataset.X[fitted],
            dataset.y[fitted],
            sample_weight=None if self.row_weights is None else self.row_weights[fitted],
            test=(dataset.X[test], dataset.y[test]) if len(test) else None,
            title=f"{', '.join(dataset.target_names[:_COLUMNS_SHOWN])} from {dataset.name}",
            data=dataset.description,
        )

    def show(self, console: Console, out: Path, report: Path | None) -> None:
        """Print the fit for a person."""
        from rich.table import Table

        model, network, dataset, large = self.model, self.model.network_, self.dataset, self.large
        n_rows = len(self.fitted) if large is None else large.n_rows
        console.print(
            console.render_str(dataset.name, style="bold"),
            f": {n_rows:,} rows, {_count(network.n_features, 'input')}, {_count(network.n_outputs, 'output')}. "
            f"{dataset.description}",
            sep="",
        )
        table = Table.grid(padding=(0, 2, 0, 0), pad_edge=False)
        if large is None:
            table.add_row("  fitted rows", _errors(self.errors()))
        else:
            mse = model.history_["mse"][-1]
            table.add_row("  all rows", f"MSE {mse:.5g}   RMSE {mse**0.5:.4g}")
            table.add_row(f"  {len(self.fitted):,} of them", _errors(self.errors()))
        held_out = self.held_out()
        if held_out is not None:
            table.add_row(f"  {held_out.n_rows:,} held out", _errors(held_out))
        size = f"{_count(network.n_neurons, 'neuron')}, {network.n_parameters:,} parameters, {network.n_bytes:,} bytes"
        table.add_row("  network", size)
        seconds = model.history_[-1].seconds
        table.add_row("  fit", f"{_count(model.n_iter_, 'iteration')} in {seconds:.2g} s, alpha {model.alpha_:.3g}")
        table.add_row("  ended", model.status_.value)
        console.print(table)
        saved = f"Saved the model to {out}" + (f" and the report to {report}." if report else ".")
        console.print(saved, soft_wrap=True)


def fit_table(
    name: str,
    columns: tuple[Sequence[str], str | None, Sequence[str], str],
    test_fraction: float | None,
    settings: dict[str, Any],
    *,
    silent: bool,
) -> Fitted:
    """Fit a network to a table or data set.

    Parameters
    ----------
    name : str
    columns : tuple
        Targets, weights and ignored columns as they were given, and the encoding.
    test_fraction : float, optional
    settings : dict
        Of the estimator.
    silent : bool
        Whether to draw no progress.
    """
    large = large_table(name, *columns)
    if large is None:
        dataset, row_weights = load_rows(name, *columns)
        fitted, test = _split(len(dataset.X), test_fraction, settings["random_state"])
        weights = None if row_weights is None else row_weights[fitted]
        model = _fit(dataset.X[fitted], dataset.y[fitted], weights, settings, silent)
    elif test_fraction is not None:
        raise ValueError(
            f"--test-fraction is for tables that fit in memory; {name} is fitted part by part. Keep the rows to test "
            f"on in another file, and use: anmin evaluate."
        )
    else:
        # What is shown and reported is of the sample, but for the error on all rows.
        dataset, row_weights = sample_of(large)
        fitted, test = _split(len(dataset.X), None, 0)
        model = _fit(large, None, None, settings, silent)
        del model.feature_names_in_  # the sample is an array, whose columns have no names
    model.network_ = replace(model.network_, feature_names=dataset.feature_names, output_names=dataset.target_names)
    return Fitted(model, dataset, row_weights, fitted, test, large)


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


def _fit(X: Any, y: Any, sample_weight: Any, settings: dict[str, Any], silent: bool) -> ReLURegressor:
    """Return the fitted model."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning

    from anmin import ReLURegressor
    from anmin.interrupts import termination_interrupts

    with termination_interrupts(), warnings.catch_warnings():
        # How the fit ended is part of the result that is shown.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = ReLURegressor(**settings, verbose=0 if silent else 1).fit(X, y, sample_weight)
    return model.set_params(verbose=0)


def _errors(scores: Scores) -> str:
    return f"MSE {scores.mse:.5g}   RMSE {scores.rmse:.4g}   R² {scores.r2:.4f}"


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"
