"""A fit on one page: a self-contained HTML file."""

from __future__ import annotations

import base64
import datetime
import html
import io
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anmin.atomic import written_atomically
from anmin.inspection.creases import CreaseDisplay
from anmin.inspection.loss_curve import LossCurveDisplay
from anmin.inspection.plotting import colour_range, require_matplotlib
from anmin.inspection.residuals import ResidualsDisplay
from anmin.inspection.scores import Scores
from anmin.network import ReLUNetwork

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHOWN_OUTPUTS = 3
_SHOWN_INPUTS = 20
_SETTINGS = ("n_neurons", "solver", "alpha", "negative_slope", "max_iter", "tol", "standardize", "random_state")
_INK = {"light": "#1c2026", "dark": "#e6e9ee"}
_DPI = 144


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

    It holds the errors, the size of the network, the settings, how the fit ended, the loss over the iterations and
    over time, and pictures: for two inputs the targets, the fitted field with the creases of its neurons, and the
    residuals in the plane; otherwise predicted against actual values and the residuals. It follows the light or dark
    setting of the reader.

    Parameters
    ----------
    path : path
        The file; it appears whole or not at all.
    estimator : ReLURegressor
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
    """
    require_matplotlib()
    network: ReLUNetwork = replace(
        estimator.network_,
        feature_names=feature_names or estimator.network_.feature_names,
        output_names=target_names or estimator.network_.output_names,
    )
    X, Y = np.asarray(X, dtype=np.float64), _columns(y)
    fitted = Scores.of(Y, network.predict(X), sample_weight)
    shown_X, shown_Y, held_out, which = X, Y, None, "the fitted rows"
    if test is not None:
        shown_X, shown_Y, which = np.asarray(test[0], dtype=np.float64), _columns(test[1]), "the held-out rows"
        held_out = Scores.of(shown_Y, network.predict(shown_X))
    page = Template(files("anmin.inspection").joinpath("report.html").read_text(encoding="utf-8")).substitute(
        title=html.escape(title),
        lead=html.escape(f"{data} {_shape(network, len(X))}".strip()),
        status=html.escape(estimator.status_.value),
        tiles=_tiles(network, held_out or fitted, estimator, held_out is not None),
        errors=_errors(fitted, held_out),
        numbers=_numbers(network, estimator, len(X), held_out),
        settings=_settings(estimator),
        pictures="\n".join(_pictures(network, estimator, (X, Y), (shown_X, shown_Y), which)),
        footer=html.escape(f"Written by anmin {_version()} on {datetime.date.today().isoformat()}."),
    )
    with written_atomically(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _tiles(network: ReLUNetwork, scores: Scores, estimator: Any, held_out: bool) -> str:
    rows = "held-out" if held_out else "fitted"
    tiles = [
        (f"{scores.r2:.4f}" if np.isfinite(scores.r2) else "–", f"R² on {rows} rows"),
        (f"{scores.rmse:.4g}", f"RMSE on {rows} rows"),
        (f"{network.n_parameters:,}", "parameters"),
        (f"{estimator.history_[-1].seconds:.3g} s", "fitting time"),
    ]
    return "\n".join(
        f'<div class="tile"><b>{html.escape(value)}</b><span>{html.escape(label)}</span></div>'
        for value, label in tiles
    )


def _errors(fitted: Scores, held_out: Scores | None) -> str:
    columns = [("fitted", fitted)] + ([("held out", held_out)] if held_out else [])
    head = "".join(f"<th>{name}</th>" for name, _ in columns)
    lines = []
    for label, attribute in (("MSE", "mse"), ("RMSE", "rmse"), ("MAE", "mae"), ("R²", "r2")):
        cells = "".join(f"<td>{getattr(scores, attribute):.5g}</td>" for _, scores in columns)
        lines.append(f"<tr><th>{label}</th>{cells}</tr>")
    return f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _numbers(network: ReLUNetwork, estimator: Any, n_rows: int, held_out: Scores | None) -> str:
    history = estimator.history_
    rows = f"{n_rows:,}" + (f" fitted, {held_out.n_rows:,} held out" if held_out else "")
    return _table(
        [
            ("rows", rows),
            ("inputs", f"{network.n_features:,}"),
            ("outputs", f"{network.n_outputs:,}"),
            ("neurons", f"{network.n_neurons:,}"),
            ("parameters", f"{network.n_parameters:,}"),
            ("size", f"{network.n_bytes:,} bytes"),
            ("iterations", f"{estimator.n_iter_:,}"),
            ("seconds", f"{history[-1].seconds:.3g}"),
            ("loss", f"{estimator.loss_:.6g}"),
            ("alpha", f"{estimator.alpha_:.4g}"),
        ]
    )


def _settings(estimator: Any) -> str:
    settings = estimator.get_params(deep=False)
    defaults = type(estimator)().get_params(deep=False)
    # The main settings always, the others where they were changed; callbacks are code, not settings.
    shown = [name for name in settings if name in _SETTINGS or settings[name] is not defaults.get(name)]
    return _table([(name, str(settings[name])) for name in shown if name not in ("callbacks", "verbose")])


def _table(rows: Iterable[tuple[str, str]]) -> str:
    lines = (f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>" for name, value in rows)
    return f"<table><tbody>{''.join(lines)}</tbody></table>"


def _pictures(
    network: ReLUNetwork, estimator: Any, fitted: tuple[NDArray, NDArray], shown: tuple[NDArray, NDArray], which: str
) -> list[str]:
    names = network.output_names or tuple(f"output {k}" for k in range(network.n_outputs))
    outputs = range(min(network.n_outputs, _SHOWN_OUTPUTS))
    planes = outputs if network.n_features == 2 else range(0)
    predictions = network.predict(shown[0])
    sections = [
        _section(
            f"Target, fitted field and residuals: {names[k]}",
            _picture(partial(_draw_plane, network=network, rows=fitted, k=k), (12.6, 3.9), f"fitted {names[k]}"),
            "Thin lines are the creases of the neurons, where the field bends; darker where it bends more. "
            "Between them it is linear.",
        )
        for k in planes
    ]
    sections.append(_section("Loss", _picture(partial(_draw_loss, estimator=estimator), (11.0, 3.5), "loss curve")))
    if not np.all(estimator.relevance_ == 1):
        sections.append(_relevances(network, estimator.relevance_))
    for k in outputs:
        display = ResidualsDisplay(shown[1][:, k], predictions[:, k], name=names[k])
        picture = _picture(partial(_draw_residuals, display=display), (11.0, 4.2), f"predicted and actual {names[k]}")
        sections.append(_section(f"Predicted and actual values: {names[k]}", picture, f"On {which}."))
    if network.n_outputs > len(outputs):
        sections.append(f'<p class="note">The first {len(outputs)} of {network.n_outputs} outputs are shown.</p>')
    return sections


def _relevances(network: ReLUNetwork, relevance: NDArray) -> str:
    names = network.feature_names or tuple(f"input {k}" for k in range(network.n_features))
    most = np.argsort(-relevance)[:_SHOWN_INPUTS]
    bar = '<tr><th>{}</th><td class="bar"><i style="width:{:.1f}%"></i></td><td>{:.2g}</td></tr>'
    widths = 100 * relevance / relevance.max()
    lines = "".join(bar.format(html.escape(names[k]), widths[k], relevance[k]) for k in most)
    note = (
        "A deviation of each input is multiplied by this for the penalty: where it is small, the network bends little."
    )
    if len(most) < len(relevance):
        note += f" The first {len(most)} of {len(relevance)} inputs are shown."
    return _section("How much each input counts", f"<table><tbody>{lines}</tbody></table>", note)


def _draw_plane(figure: Figure, network: ReLUNetwork, rows: tuple[NDArray, NDArray], k: int) -> None:
    X, Y = rows
    axes = figure.subplots(1, 3)
    display = CreaseDisplay(network, X, Y, output=k).plot(axes[:2])
    residuals = network.predict(X)[:, k] - Y[:, k]
    image = display.plane.draw_rows(axes[2], X, residuals, outline=False, **colour_range(residuals))
    axes[2].set_title("residual (network − target)")
    figure.colorbar(image, ax=axes[2], shrink=0.9, pad=0.02)


def _draw_loss(figure: Figure, estimator: Any) -> None:
    left, right = figure.subplots(1, 2)
    held_out = not np.isnan(estimator.history_["validation_mse"]).all()
    LossCurveDisplay.from_estimator(estimator, ax=left)
    LossCurveDisplay.from_estimator(
        estimator, quantity="validation_mse" if held_out else "mse", against="seconds", ax=right
    )


def _draw_residuals(figure: Figure, display: ResidualsDisplay) -> None:
    display.plot(figure.subplots(1, 2))


def _section(heading: str, picture: str, note: str = "") -> str:
    noted = f'<p class="note">{html.escape(note)}</p>' if note else ""
    return f"<section><h2>{html.escape(heading)}</h2>{picture}{noted}</section>"


def _picture(draw: Callable[[Figure], Any], size: tuple[float, float], description: str) -> str:
    """Return a <picture> with a light and a dark drawing of the same figure, embedded."""
    import matplotlib
    from matplotlib.figure import Figure

    sources = {}
    for mode, ink in _INK.items():
        style: Any = dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), ink)
        style |= {"axes.edgecolor": "#8a8f98", "axes.facecolor": "none", "axes.titlesize": "medium"}
        with matplotlib.rc_context(style):
            # Not through pyplot: a report leaves no figure behind and needs no display.
            figure = Figure(figsize=size, layout="constrained", facecolor="none")
            draw(figure)
            buffer = io.BytesIO()
            figure.savefig(buffer, format="png", dpi=_DPI, facecolor="none")
        sources[mode] = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
    return (
        f'<picture><source srcset="{sources["dark"]}" media="(prefers-color-scheme: dark)">'
        f'<img src="{sources["light"]}" alt="{html.escape(description, quote=True)}"></picture>'
    )


def _columns(y: ArrayLike) -> NDArray:
    values = np.asarray(y, dtype=np.float64)
    return values[:, None] if values.ndim == 1 else values


def _shape(network: ReLUNetwork, n_rows: int) -> str:
    parts = ((n_rows, "row"), (network.n_features, "input"), (network.n_outputs, "output"))
    rows, inputs, outputs = (f"{count:,} {word}{'' if count == 1 else 's'}" for count, word in parts)
    return f"{rows}, {inputs}, {outputs}; {network.n_neurons:,} neurons."


def _version() -> str:
    from anmin import __version__

    return __version__
