"""A network on one page, with or without rows: a self-contained HTML file."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anmin.inspection.arguments import (
    checked_inputs,
    checked_targets,
    checked_weights,
    input_names,
    output_name,
)
from anmin.inspection.field import field_script
from anmin.inspection.importance import ImportanceDisplay, bends
from anmin.inspection.page import section, table, write_page
from anmin.inspection.plotting import require_matplotlib
from anmin.inspection.report import errors_table, network_rows, score_tiles, shape
from anmin.inspection.scores import Scores
from anmin.inspection.sections import (
    dependence_sections,
    field_sections,
    neuron_sections,
    plane_sections,
    target_sections,
)
from anmin.network import ReLUNetwork, check_relu

_SHOWN_NAMES = 12


def write_model_report(
    path: str | os.PathLike,
    network: ReLUNetwork,
    X: ArrayLike | None = None,
    y: ArrayLike | None = None,
    *,
    sample_weight: ArrayLike | None = None,
    title: str = "A ReLU network",
    data: str = "",
) -> None:
    """Write a report of a network as one HTML file without external parts.

    Without rows it holds the size of the network, how far each neuron bends it, and for two inputs the field, which the
    page computes from the weights. Rows add the importance of the neurons and where they are active, and the partial
    dependence on the inputs; their targets the errors, predicted against actual values, residuals and calibration.

    Parameters
    ----------
    path : path
        The file; it appears whole or not at all.
    network : ReLUNetwork
        In raw units.
    X : array of shape (N, d), optional
    y : array of shape (N,) or (N, c), optional
        Targets of these rows.
    sample_weight : array of shape (N,), optional
        Weights of these rows.
    title, data : str
        Heading, and where the rows came from.

    Raises
    ------
    ImportError
        If Matplotlib is not installed.
    ValueError, FileNotFoundError
        If the arrays do not fit the network, its numbers are too large to be drawn, there are targets or weights
        without rows, or there is no such folder.
    TypeError
        If the network is not one of ReLUs.
    """
    require_matplotlib()
    check_relu(network, "A report")
    if X is None and not (y is None and sample_weight is None):
        raise ValueError("y and sample_weight belong to rows; got them without X.")
    rows = None if X is None else checked_inputs(network, X)
    w = None if rows is None or sample_weight is None else checked_weights(sample_weight, len(rows))
    targets = None if rows is None or y is None else checked_targets(network, y, len(rows))
    _require_finite(network, rows)
    importance = ImportanceDisplay.of(network, rows, w)
    live = field_sections(network, rows)
    sections, tables = list(live), []
    tiles = [(f"{network.n_neurons:,}", "neurons"), (f"{network.n_parameters:,}", "parameters")]
    if rows is not None and targets is not None:
        scores = Scores.of(targets, network.predict(rows), w)
        tiles = [*score_tiles(scores, "these"), *tiles]
        tables.append(section("Errors", errors_table({"these rows": scores})))
        sections += plane_sections(network, rows, targets)
        sections += target_sections(network, rows, targets, "these rows", w)
    else:
        tiles.append((f"{network.n_bytes:,}", "bytes"))
    if rows is not None:
        sections += dependence_sections(network, rows, w)
    write_page(
        path,
        title=title,
        lead=f"{data} {shape(network, None if rows is None else len(rows))}".strip(),
        tiles=tiles,
        tables=[*tables, section("Network", table(network_rows(network))), section("Columns", _columns(network))],
        sections=[*sections, *neuron_sections(network, rows, importance)],
        script=field_script(live),
    )


def _require_finite(network: ReLUNetwork, X: NDArray | None) -> None:
    with np.errstate(all="ignore"):
        numbers = [bends(network)] if X is None else [bends(network), network.predict(X) ** 2]
    if not all(np.isfinite(some).all() for some in numbers):
        where = "" if X is None else " or predictions on these rows"
        raise ValueError(f"The network has weights{where} that are too large for a report: their squares overflow.")


def _columns(network: ReLUNetwork) -> str:
    outputs = [output_name(network, k) for k in range(network.n_outputs)]
    return table([("inputs", _listed(input_names(network))), ("outputs", _listed(outputs))])


def _listed(names: tuple[str, ...] | list[str]) -> str:
    more = f" and {len(names) - _SHOWN_NAMES:,} more" if len(names) > _SHOWN_NAMES else ""
    return ", ".join(names[:_SHOWN_NAMES]) + more
