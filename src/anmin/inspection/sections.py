"""The sections of a report that show what a network does, with or without rows."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from anmin.inspection.arguments import input_names, output_name
from anmin.inspection.calibration import CalibrationDisplay
from anmin.inspection.cells import CellsDisplay
from anmin.inspection.creases import CreaseDisplay
from anmin.inspection.dependence_display import PartialDependenceDisplay
from anmin.inspection.field import live_field, plane_of_creases
from anmin.inspection.importance import ImportanceDisplay
from anmin.inspection.page import picture, section
from anmin.inspection.partial_dependence import PartialDependence
from anmin.inspection.patterns import PatternDisplay
from anmin.inspection.plane import Plane
from anmin.inspection.plotting import colour_range
from anmin.inspection.residuals import ResidualsDisplay
from anmin.network import ReLUNetwork

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN_OUTPUTS = 3
_SHOWN_CURVES = 6
_MOST_AVERAGED = 20_000  # rows of a partial dependence in a report
_MOST_LIVE = 1000  # neurons; with more, the page would follow the slider too slowly


def field_sections(network: ReLUNetwork, X: NDArray | None) -> list[str]:
    """Return the live field of a network of two inputs over the range of rows X (N, 2), or none of any other."""
    if network.n_features != 2:
        return []
    if network.n_neurons > _MOST_LIVE:
        text = f"The field is not computed in this page: {network.n_neurons:,} neurons are too many to do so quickly."
        return [f'<p class="note">{text}</p>']
    plane = plane_of_creases(network) if X is None else Plane.around(X, network.feature_names)
    try:
        figure = live_field(network, plane)
    except ValueError:
        return []  # values too large for a picture
    where = "where most of its creases cross" if X is None else "over the range of the rows"
    note = (
        f"Computed in this page from the weights, {where}. Black is the least value of the whole network here, white "
        "the largest; what is switched off counts as 0, and the other neurons stay as they are."
    )
    return [section("The field, live", figure, note)]


def neuron_sections(network: ReLUNetwork, X: NDArray | None, importance: ImportanceDisplay) -> list[str]:
    """Return the importance of the neurons, and with rows X (N, d) where they are active."""
    if network.n_neurons == 0:
        return []
    drawn = picture(partial(_draw_each, displays=[importance]), (11.0, 3.2), "importance of the neurons")
    if X is None:
        note = "How far the gradient jumps where a neuron switches, in units of the output for one of the inputs."
        return [section("How much each neuron bends the network", drawn, note)]
    note = (
        "How far the predictions would move, in units of the output, if the neuron were removed and the output weights "
        "of the others were solved for again."
    )
    sections = [section("How much each neuron counts", drawn, note)]
    displays: list[Any] = [PatternDisplay(network.pattern(X))]
    note = "Rows of like patterns are neighbours, and so are neurons that are active on like rows."
    if network.n_features == 2:
        displays.append(CellsDisplay(network, X))
        note += " The network is one linear function on each cell; in white cells there is no row."
    drawn = picture(partial(_draw_each, displays=displays), (12.6, 4.4), "activation pattern")
    return [*sections, section("Where the neurons are active", drawn, note)]


def dependence_sections(network: ReLUNetwork, X: NDArray, sample_weight: NDArray | None = None) -> list[str]:
    """Return the partial dependence of each output on the inputs that it depends on most."""
    if network.n_features == 0:
        return []
    step = -(-len(X) // _MOST_AVERAGED)
    rows, weights = X[::step], None if sample_weight is None else sample_weight[::step]
    if weights is not None and not weights.any():
        weights = None
    # How far an input can move a prediction, by its deviation and its weights, chooses which are tried.
    reach = rows.std(axis=0) * (np.abs(network.A[1:]) @ np.hypot.reduce(network.B, axis=1))
    tried = np.argsort(-reach, kind="stable")[: 2 * _SHOWN_CURVES]
    sections = []
    for k in range(min(network.n_outputs, SHOWN_OUTPUTS)):
        curves = [PartialDependence(network, rows, int(j), output=k, sample_weight=weights) for j in tried]
        curves.sort(key=lambda curve: -float(np.ptp(curve.polyline()[1])))
        curves = curves[:_SHOWN_CURVES]
        names = [input_names(network)[curve.feature] for curve in curves] + [output_name(network, k)]
        deciles = [np.quantile(rows[:, curve.feature], np.arange(1, 10) / 10) for curve in curves]
        display = PartialDependenceDisplay(curves, deciles, names)
        name = output_name(network, k)
        drawn = picture(partial(_draw_dependence, display=display), _size(len(curves)), f"dependence of {name}")
        note = (
            "The mean prediction over the rows with one input set to each value, exact with all of its kinks. Strokes "
            "at the foot are the tenths of the rows."
        )
        if len(curves) < network.n_features:
            note += f" The {len(curves)} of {network.n_features} inputs that move it most are shown."
        if step > 1:
            note += f" Averaged over one row in {step}."
        sections.append(section(f"What {name} depends on", drawn, note))
    return sections


def target_sections(
    network: ReLUNetwork, X: NDArray, Y: NDArray, which: str, sample_weight: NDArray | None = None
) -> list[str]:
    """Return predicted against actual values, residuals and calibration of the outputs on rows X (N, d), Y (N, c)."""
    predictions = network.predict(X)
    sections = []
    for k in range(min(network.n_outputs, SHOWN_OUTPUTS)):
        name = output_name(network, k)
        displays = (
            ResidualsDisplay(Y[:, k], predictions[:, k], name=name),
            CalibrationDisplay(Y[:, k], predictions[:, k], sample_weight=sample_weight, name=name),
        )
        drawn = picture(partial(_draw_residuals, displays=displays), (13.0, 4.2), f"predicted and actual {name}")
        note = f"On {which}. Bars are two standard errors of the mean of a group of rows of like predictions."
        sections.append(section(f"Predicted and actual values: {name}", drawn, note))
    if network.n_outputs > SHOWN_OUTPUTS:
        sections.append(f'<p class="note">The first {SHOWN_OUTPUTS} of {network.n_outputs} outputs are shown.</p>')
    return sections


def plane_sections(network: ReLUNetwork, X: NDArray, Y: NDArray) -> list[str]:
    """Return the target, the field with its creases, and the residuals of a network of two inputs, for its outputs."""
    if network.n_features != 2:
        return []
    return [
        section(
            f"Target, fitted field and residuals: {output_name(network, k)}",
            picture(
                partial(_draw_plane, network=network, X=X, Y=Y, k=k), (12.6, 3.9), f"field of {output_name(network, k)}"
            ),
            "Thin lines are the creases of the neurons, where the field bends; darker where it bends more. "
            "Between them it is linear.",
        )
        for k in range(min(network.n_outputs, SHOWN_OUTPUTS))
    ]


def _draw_each(figure: Figure, displays: list[Any]) -> None:
    for ax, display in zip(figure.subplots(1, len(displays), squeeze=False)[0], displays, strict=True):
        display.plot(ax)


def _draw_plane(figure: Figure, network: ReLUNetwork, X: NDArray, Y: NDArray, k: int) -> None:
    axes = figure.subplots(1, 3)
    display = CreaseDisplay(network, X, Y, output=k).plot(axes[:2])
    residuals = network.predict(X)[:, k] - Y[:, k]
    image = display.plane.draw_rows(axes[2], X, residuals, outline=False, **colour_range(residuals))
    axes[2].set_title("residual (network − target)")
    figure.colorbar(image, ax=axes[2], shrink=0.9, pad=0.02)


def _draw_residuals(figure: Figure, displays: Any) -> None:
    axes = figure.subplots(1, 3)
    residuals, calibration = displays
    residuals.plot(axes[:2])
    calibration.plot(axes[2])


def _draw_dependence(figure: Figure, display: PartialDependenceDisplay) -> None:
    count = len(display.curves)
    axes = figure.subplots(-(-count // 3), 3, squeeze=False).ravel()
    for spare in axes[count:]:
        spare.remove()
    display.plot(axes[:count])
    for first in axes[3:count:3]:
        first.set_ylabel(axes[0].get_ylabel())


def _size(count: int) -> tuple[float, float]:
    return 11.0, 3.0 * -(-count // 3)
