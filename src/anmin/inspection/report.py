"""A fit on one page: a self-contained HTML file."""

from __future__ import annotations

import html
import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anmin.influence import influence
from anmin.inspection.arguments import input_names, output_name
from anmin.inspection.conditioning import ConditioningDisplay
from anmin.inspection.field import field_script
from anmin.inspection.importance import ImportanceDisplay
from anmin.inspection.leverage import LeverageDisplay
from anmin.inspection.loss_curve import LossCurveDisplay
from anmin.inspection.page import picture, section, table, write_page
from anmin.inspection.plotting import require_matplotlib
from anmin.inspection.scores import Scores
from anmin.inspection.sections import (
    dependence_sections,
    field_sections,
    neuron_sections,
    plane_sections,
    target_sections,
)
from anmin.network import ReLUNetwork, check_relu

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHOWN_INPUTS = 20
_SETTINGS = ("n_neurons", "solver", "alpha", "negative_slope", "max_iter", "tol", "standardize", "random_state")
_MOST_INFLUENCE = 2e10  # operations, a few seconds


def write_report(
    path: str | os.PathLike,
    estimator: Any,
    X: ArrayLike,
    y: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    test: tuple[ArrayLike, ArrayLike] | None = None,
    feature_names: Sequence[str] | None = None,
    target_names: Sequence[str] | None = None,
    title: str = "A fitted ReLU network",
    data: str = "",
) -> None:
    """Write a report of a fitted estimator as one HTML file without external parts.

    It holds the errors, the size of the network, the settings, how the fit ended, and pictures: for two inputs the
    field, which the page computes from the weights with switches for the neurons, and the targets, the fitted field
    with its creases and the residuals in the plane; for any network the loss and the conditioning over the iterations,
    predicted against actual values, residuals, calibration, partial dependence, the importance and the pattern of the
    neurons, and the leverage of the rows where it takes seconds at most. It follows the light or dark setting of the
    reader.

    Parameters
    ----------
    path : path
        The file; it appears whole or not at all.
    estimator : ReLURegressor or ConvexReLURegressor
        After its fit.
    X, y : arrays of shape (N, d) and (N,) or (N, c)
        The rows that it was fitted to.
    sample_weight : array of shape (N,), optional
        Their weights in the fit; the errors are weighted alike.
    test : tuple of arrays (X, y), optional
        Held-out rows. Predicted and actual values are shown for them rather than for the fitted ones.
    feature_names, target_names : sequence of str, optional
        By default those of the network, if it has any.
    title, data : str
        Heading, and where the data came from.

    Raises
    ------
    ImportError
        If Matplotlib is not installed.
    ValueError, FileNotFoundError
        If the arrays do not fit the network, or there is no such folder.
    TypeError
        If the network is not one of ReLUs.
    """
    require_matplotlib()
    check_relu(estimator.network_, "A report")
    network: ReLUNetwork = replace(
        estimator.network_,
        feature_names=feature_names or estimator.network_.feature_names,
        output_names=target_names or estimator.network_.output_names,
    )
    X, Y = np.asarray(X, dtype=np.float64), _columns(y)
    w = None if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    fitted = Scores.of(Y, network.predict(X), w)
    shown_X, shown_Y, shown_w, held_out, which = X, Y, w, None, "the fitted rows"
    if test is not None:
        shown_X, shown_Y, shown_w = np.asarray(test[0], dtype=np.float64), _columns(test[1]), None
        which, held_out = "the held-out rows", Scores.of(shown_Y, network.predict(shown_X))
    importance = ImportanceDisplay.of(network, X, w)
    live = field_sections(network, X)
    write_page(
        path,
        title=title,
        lead=f"{data} {shape(network, len(X))}".strip(),
        status=estimator.status_.value,
        tiles=_tiles(network, held_out or fitted, estimator, held_out is not None),
        tables=[
            section("Errors", errors_table({"fitted": fitted} | ({"held out": held_out} if held_out else {}))),
            section("Network and fit", _numbers(network, estimator, len(X), held_out)),
            section("Settings", _settings(estimator)),
        ],
        sections=[
            *live,
            *plane_sections(network, X, Y),
            *_fit_sections(network, estimator),
            *target_sections(network, shown_X, shown_Y, which, shown_w),
            *dependence_sections(network, X, w),
            *neuron_sections(network, X, importance),
            *_leverage(network, estimator, X, Y, w),
        ],
        script=field_script(live),
    )


def errors_table(columns: dict[str, Scores]) -> str:
    """Return a table of scores, one column for each kind of rows."""
    names = (("MSE", "mse"), ("RMSE", "rmse"), ("MAE", "mae"), ("R²", "r2"))
    rows = [(label, *(f"{getattr(scores, name):.5g}" for scores in columns.values())) for label, name in names]
    return table(rows, ("", *columns))


def network_rows(network: ReLUNetwork) -> list[tuple[str, str]]:
    """Return the sizes of a network for a table."""
    return [
        ("inputs", f"{network.n_features:,}"),
        ("outputs", f"{network.n_outputs:,}"),
        ("neurons", f"{network.n_neurons:,}"),
        ("parameters", f"{network.n_parameters:,}"),
        ("size", f"{network.n_bytes:,} bytes"),
    ]


def shape(network: ReLUNetwork, n_rows: int | None) -> str:
    """Return a sentence on the numbers of rows, if there are any, inputs, outputs and neurons."""
    counts = [] if n_rows is None else [(n_rows, "row")]
    counts += [(network.n_features, "input"), (network.n_outputs, "output")]
    text = ", ".join(f"{count:,} {word}{'' if count == 1 else 's'}" for count, word in counts)
    return f"{text}; {network.n_neurons:,} neuron{'' if network.n_neurons == 1 else 's'}."


def score_tiles(scores: Scores, rows: str) -> list[tuple[str, str]]:
    """Return the large numbers of scores on rows of this kind."""
    r2 = f"{scores.r2:.4f}" if np.isfinite(scores.r2) else "–"
    return [(r2, f"R² on {rows} rows"), (f"{scores.rmse:.4g}", f"RMSE on {rows} rows")]


def _tiles(network: ReLUNetwork, scores: Scores, estimator: Any, held_out: bool) -> list[tuple[str, str]]:
    return [
        *score_tiles(scores, "held-out" if held_out else "fitted"),
        (f"{network.n_parameters:,}", "parameters"),
        (f"{estimator.history_[-1].seconds:.3g} s", "fitting time"),
    ]


def _numbers(network: ReLUNetwork, estimator: Any, n_rows: int, held_out: Scores | None) -> str:
    rows = f"{n_rows:,}" + (f" fitted, {held_out.n_rows:,} held out" if held_out else "")
    bound = getattr(estimator, "bound_", None)
    return table(
        [
            ("rows", rows),
            *network_rows(network),
            ("iterations", f"{estimator.n_iter_:,}"),
            ("seconds", f"{estimator.history_[-1].seconds:.3g}"),
            ("loss", f"{estimator.loss_:.6g}"),
            *([] if bound is None else [("no loss with these gates is below", f"{bound:.6g}")]),
            ("alpha", f"{estimator.alpha_:.4g}"),
        ]
    )


def _settings(estimator: Any) -> str:
    settings = estimator.get_params(deep=False)
    defaults = type(estimator)().get_params(deep=False)
    # The main settings always, the others where they were changed; callbacks are code, not settings.
    shown = [name for name in settings if name in _SETTINGS or settings[name] is not defaults.get(name)]
    return table([(name, str(settings[name])) for name in shown if name not in ("callbacks", "verbose")])


def _fit_sections(network: ReLUNetwork, estimator: Any) -> list[str]:
    drawn = picture(partial(_draw_loss, estimator=estimator), (11.0, 3.5), "loss curve")
    sections = [section("Loss", drawn)]
    try:
        conditioning = ConditioningDisplay(estimator.history_)
    except ValueError:
        pass  # a solver that measures none of it
    else:
        height = 1.6 * len(conditioning.quantities)
        drawn = picture(partial(_draw_conditioning, display=conditioning), (11.0, height), "conditioning")
        sections.append(section("How hard each iteration was to solve", drawn))
    relevance = getattr(estimator, "relevance_", None)  # the convex estimators take all inputs for equally far
    if relevance is not None and not np.all(relevance == 1):
        sections.append(_relevances(network, relevance))
    return sections


def _relevances(network: ReLUNetwork, relevance: NDArray) -> str:
    names = input_names(network)
    most = np.argsort(-relevance)[:_SHOWN_INPUTS]
    bar = '<tr><th>{}</th><td class="bar"><i style="width:{:.1f}%"></i></td><td>{:.2g}</td></tr>'
    widths = 100 * relevance / relevance.max()
    lines = "".join(bar.format(html.escape(names[k]), widths[k], relevance[k]) for k in most)
    note = (
        "A deviation of each input is multiplied by this for the penalty: where it is small, the network bends little."
    )
    if len(most) < len(relevance):
        note += f" The first {len(most)} of {len(relevance)} inputs are shown."
    return section("How much each input counts", f"<table><tbody>{lines}</tbody></table>", note)


def _leverage(network: ReLUNetwork, estimator: Any, X: NDArray, Y: NDArray, w: NDArray | None) -> list[str]:
    size = network.n_neurons * (network.n_features + 1)
    # Of a fit to other rows than these, a sample of them for one, the leverages would be wrong.
    same = estimator.history_[-1].n_rows == (len(X) if w is None else np.count_nonzero(w))
    if not same or size**2 * (size + network.n_outputs * len(X)) > _MOST_INFLUENCE:
        return []
    try:
        with warnings.catch_warnings():
            # The columns are those of the fit, whether or not they come with their names.
            warnings.filterwarnings("ignore", "X does not have valid feature names", UserWarning)
            found = influence(estimator, X, Y, w)
    except ValueError:
        return []  # held-out rows were drawn within the fit, or the solver fits one layer alone
    display = LeverageDisplay(found, name=output_name(network, 0))
    note = (
        "How far each row pulls its own prediction, and how far it is from the prediction without it, by the "
        "linearised network. Beyond the dashed line is more than twice the mean leverage; rows are numbered from 0."
    )
    drawn = picture(partial(_draw_leverage, display=display), (11.0, 4.0), "leverage of the rows")
    return [section(f"Rows that count: {output_name(network, 0)}", drawn, note)]


def _draw_loss(figure: Figure, estimator: Any) -> None:
    left, right = figure.subplots(1, 2)
    held_out = not np.isnan(estimator.history_["validation_mse"]).all()
    LossCurveDisplay.from_estimator(estimator, ax=left)
    LossCurveDisplay.from_estimator(
        estimator, quantity="validation_mse" if held_out else "mse", against="seconds", ax=right
    )


def _draw_conditioning(figure: Figure, display: ConditioningDisplay) -> None:
    display.plot(list(figure.subplots(len(display.quantities), 1, sharex=True, squeeze=False)[:, 0]))


def _draw_leverage(figure: Figure, display: LeverageDisplay) -> None:
    display.plot(figure.subplots())


def _columns(y: ArrayLike) -> NDArray:
    values = np.asarray(y, dtype=np.float64)
    return values[:, None] if values.ndim == 1 else values
