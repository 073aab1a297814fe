"""The field of a network of two inputs, computed in a page from the weights."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable
from importlib.resources import files
from itertools import combinations
from string import Template
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anmin.inspection.arguments import input_names, output_name
from anmin.inspection.importance import bends
from anmin.inspection.plane import Plane, crease_segments
from anmin.inspection.plotting import shortened
from anmin.network import ReLUNetwork, activation

_PIXELS = 240  # of a side where the rectangle is a square; as many in all where it is not
_SORTED_BY = 2**22  # activations from which the order of the neurons is found
_MOST_CROSSED = 200  # neurons whose creases are crossed with one another to find where the network bends

_FIGURE = """<figure class="field">
<script type="application/json">$data</script>
<div class="stage">
<div class="drawing"><canvas class="canvas" width="$width" height="$height" role="img" aria-label="$alt"></canvas>
<svg class="creases hidden" viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true"></svg></div>
<p class="scale"><span class="low"></span><i></i><span class="high"></span><span class="name"></span></p>
<p class="axes">$axes</p>
<p class="value" aria-live="off">Point at the field to read its value.</p>
</div>
<div class="controls">
<label class="wide">Neurons switched on: <output class="count">$count of $count</output>
<input class="slider" type="range" min="0" max="$count" value="$count" step="1"></label>
$output<label><input class="shown" type="checkbox">Show the creases</label>
<fieldset><legend>Each neuron, first what adds most</legend><div class="neurons"></div></fieldset>
</div>
<noscript>This picture is computed in the page and needs JavaScript; the others do not.</noscript>
</figure>"""


def live_field(network: ReLUNetwork, plane: Plane) -> str:
    """Return the HTML of a figure that computes the field, with switches for the neurons.

    The grey levels go from black, the least value of the whole network within the rectangle, to white, the largest.
    Pixel (column, row) shows f at its centre. The slider switches neurons on in the order of how much they add, in the
    root mean square over the pixels, the most first. The page needs the script of :func:`field_script`, once.

    Parameters
    ----------
    network : ReLUNetwork
        Of two inputs, in raw units.
    plane : Plane
        What to show.

    Raises
    ------
    ValueError
        If the network has not two inputs, or its values within the rectangle overflow.
    """
    if network.n_features != 2:
        raise ValueError(f"A field can be drawn for networks of 2 inputs; this one has {network.n_features}.")
    width, height = _size(plane)
    points = pixel_centres(plane, width, height)
    values = network.predict(points)
    if not np.isfinite(values).all():
        raise ValueError("The field cannot be drawn: its values are too large for float64.")
    ranges = [
        [low, high] if low < high else [low - 0.5, high + 0.5]
        for low, high in zip(values.min(axis=0).tolist(), values.max(axis=0).tolist(), strict=True)
    ]
    # Cut here, so that no name can stretch the page.
    inputs = [shortened(name) for name in input_names(network)]
    outputs = [shortened(output_name(network, k)) for k in range(network.n_outputs)]
    document = {
        "A": network.A.tolist(),
        "B": network.B.tolist(),
        "b0": network.b0.tolist(),
        "slope": network.negative_slope,
        "low": plane.low,
        "high": plane.high,
        "picture": plane.is_picture,
        "inputs": inputs,
        "outputs": outputs,
        "ranges": ranges,
        "order": _order(network, points).tolist(),
        "creases": _creases(network, plane),
    }
    across, down = (inputs[1], inputs[0]) if plane.is_picture else (inputs[0], inputs[1])
    (x0, x1), (y0, y1) = ((plane.low[k], plane.high[k]) for k in ((1, 0) if plane.is_picture else (0, 1)))
    direction = "downwards" if plane.is_picture else "upwards"
    parts = {
        "data": script_json(document),
        "width": str(width),
        "height": str(height),
        "count": str(network.n_neurons),
        "alt": html.escape(f"Field of {outputs[0]} over {across} and {down}"),
        "axes": html.escape(
            f"To the right: {across}, {x0:.5g} to {x1:.5g}. {direction.capitalize()}: {down}, {y0:.5g} to {y1:.5g}."
        ),
        "output": '<label>Output <select class="output"></select></label>\n' if network.n_outputs > 1 else "",
    }
    return Template(_FIGURE).substitute(parts)


def field_script(sections: Iterable[str]) -> str:
    """Return the script that draws every :func:`live_field` of a page, or nothing where its sections have none."""
    if not any("<canvas" in section for section in sections):
        return ""
    return files("anmin.inspection").joinpath("field.js").read_text(encoding="utf-8")


def script_json(document: Any) -> str:
    """Return JSON that may stand in a script element: no text in it can end the element or begin a comment."""
    text = json.dumps(document, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def pixel_centres(plane: Plane, width: int, height: int) -> NDArray:
    """Return the inputs at the centres of the pixels (height·width, 2), line by line from the upper left."""
    u, v = (np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height
    down, across = np.meshgrid(v, u, indexing="ij")
    first, second = (down, across) if plane.is_picture else (across, 1 - down)
    low, high = np.array(plane.low), np.array(plane.high)
    return low + np.column_stack([first.ravel(), second.ravel()]) * (high - low)


def plane_of_creases(network: ReLUNetwork) -> Plane:
    """Return a rectangle in which a network of two inputs bends, for want of rows: where its creases cross.

    It holds the middle seven tenths of the crossings in each input, of the neurons that bend the most, and a tenth more
    on each side. Where creases cross at most once, the points of the creases nearest to 0 take the place of the
    crossings; without creases it is from −1 to 1.
    """
    strongest = np.argsort(-bends(network), kind="stable")[:_MOST_CROSSED]
    a = network.A[:, strongest]
    a = a[:, np.hypot(a[1], a[2]) > 0]
    pairs = np.array(list(combinations(range(a.shape[1]), 2)), dtype=np.int64).reshape(-1, 2)
    i, j = pairs.T
    with np.errstate(all="ignore"):
        unit = a / np.hypot(a[1], a[2])
        determinant = unit[1, i] * unit[2, j] - unit[2, i] * unit[1, j]
        # Creases of nearly the same direction cross far away, by rounding.
        apart = np.abs(determinant) > 1e-6
        i, j, determinant = i[apart], j[apart], determinant[apart]
        x = (unit[2, i] * unit[0, j] - unit[0, i] * unit[2, j]) / determinant
        y = (unit[0, i] * unit[1, j] - unit[1, i] * unit[0, j]) / determinant
        points = np.column_stack([x, y]) if len(x) > 1 else (-unit[0] * unit[1:]).T
    points = points[np.isfinite(points).all(axis=1)]
    if len(points) == 0:
        return Plane.around(np.array([[-1.0, -1.0], [1.0, 1.0]]), network.feature_names)
    low, high = np.quantile(points, [0.15, 0.85], axis=0)
    margin = 0.1 * (high - low)
    return Plane.around(np.vstack([low - margin, high + margin]), network.feature_names)


def _order(network: ReLUNetwork, points: NDArray) -> NDArray:
    """Return the numbers of the neurons by the root mean square of what they add at points (n, 2), the most first."""
    # A part of the points is enough to sort by, and keeps the activations small.
    points = points[:: -(-len(points) * network.n_neurons // _SORTED_BY)] if network.n_neurons else points
    active = activation(points @ network.A[1:] + network.A[0], network.negative_slope)
    added = np.hypot.reduce(active, axis=0) * np.hypot.reduce(network.B, axis=1)
    return np.argsort(-added, kind="stable")


def _size(plane: Plane) -> tuple[int, int]:
    across, down = (plane.high[k] - plane.low[k] for k in ((1, 0) if plane.is_picture else (0, 1)))
    # True proportions only where the inputs may be lengths in the same units, as in Plane.frame.
    ratio = across / down if 0.25 < across / down < 4 else 1.0
    return round(_PIXELS * ratio**0.5), round(_PIXELS / ratio**0.5)


def _creases(network: ReLUNetwork, plane: Plane) -> list[list[float]]:
    """Return [neuron, u1, v1, u2, v2] of each crease, in parts of the picture: u to the right, v downwards."""
    segments, neurons = crease_segments(network.A, plane.low, plane.high)
    low, high = np.array(plane.low), np.array(plane.high)
    parts = (segments - low) / (high - low)
    u, v = (parts[..., 1], parts[..., 0]) if plane.is_picture else (parts[..., 0], 1 - parts[..., 1])
    places = np.round(np.stack([u, v], axis=-1).reshape(-1, 4), 6)
    return [[int(j), *place] for j, place in zip(neurons, places.tolist(), strict=True)]
