"""Networks of few bits: weights rounded to int8 or float16, and what that costs in accuracy."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anmin.network import ReLUNetwork, activation

Kind = Literal["int8", "float16"]
_LARGEST_INT8 = 127  # and its negative, so that there are as many codes of either sign


@dataclass(frozen=True, eq=False)
class QuantisedNetwork:
    """A network whose weights are codes of few bits, and what it was made from.

    With z = (x − center)/input_scale and products element by element,

        f_q(x) = σ(z A_codes · hidden_scale + a) B_codes · output_scale + b0

    Attributes
    ----------
    original : ReLUNetwork
    network : ReLUNetwork
        f_q in raw inputs, with weights in float64: to predict, export and save.
    kind : {"int8", "float16"}
    center, input_scale : ndarray of shape (d,)
    A_codes, B_codes : ndarray of shapes (d, h) and (h, c), of type int8 or float16
    hidden_scale, a : ndarray of shape (h,), of type float32
    output_scale, b0 : ndarray of shape (c,), of type float32
    ranges : ndarray of shape (d, 2) or None
        Ranges of the inputs that the scales were chosen for, if they were given.
    error_bound : ndarray of shape (c,) or None
        Bound on |f_q(x) − f(x)| for all x within the ranges; None without them, as it grows with the inputs.
    """

    original: ReLUNetwork
    network: ReLUNetwork
    kind: Kind
    center: NDArray
    input_scale: NDArray
    A_codes: NDArray
    hidden_scale: NDArray
    a: NDArray
    B_codes: NDArray
    output_scale: NDArray
    b0: NDArray
    ranges: NDArray | None
    error_bound: NDArray | None

    @property
    def n_bytes(self) -> int:
        """Bytes of codes, scales and biases, the centre and the scales of the inputs as float32."""
        parts = (self.A_codes, self.hidden_scale, self.a, self.B_codes, self.output_scale, self.b0)
        return sum(part.nbytes for part in parts) + 8 * len(self.center)

    def predict(self, X: ArrayLike) -> NDArray:
        """Return f_q(x) for each row of X (N, d), shape (N, c)."""
        return self.network.predict(X)

    def differences(self, X: ArrayLike) -> NDArray:
        """Return f_q(x) − f(x) for each row of X (N, d), shape (N, c): what the rounding costs, in units of y."""
        return self.network.predict(X) - self.original.predict(X)


def quantised(
    network: ReLUNetwork, kind: Kind, X: ArrayLike | None = None, ranges: ArrayLike | None = None
) -> QuantisedNetwork:
    """Return a network with weights rounded to int8, with a scale for each neuron and output, or to float16.

    Biases and scales are float32: they are few. Inputs are shifted and scaled first, so that inputs of other units are
    rounded alike.

    Parameters
    ----------
    network : ReLUNetwork
    kind : {"int8", "float16"}
    X : array of shape (N, d), optional
        Inputs that will be met: their ranges scale the inputs, and the error bound is for them.
    ranges : array of shape (d, 2), optional
        Least and largest value of each input instead. Without either the inputs are scaled so that the largest weight
        of each is 1, and nothing is shifted.

    Raises
    ------
    ValueError
        If ``kind`` is neither, the ranges are not finite, or a scale does not fit into float32.
    """
    if kind not in ("int8", "float16"):
        raise ValueError(f"kind must be 'int8' or 'float16'; got {kind!r}.")
    original, network = network, network.pruned()
    box = input_ranges(network.n_features, X, ranges)
    if box is None:
        largest = (np.abs(network.A[1:]) * np.hypot.reduce(network.B, axis=1)).max(axis=1, initial=0.0)
        scale = np.divide(1.0, largest, out=np.ones_like(largest), where=largest > 0)
        center = np.zeros(network.n_features)
    else:
        scale, center = (box[:, 1] - box[:, 0]) / 2, box[:, 0] + (box[:, 1] - box[:, 0]) / 2
        scale = np.where(scale > 0, scale, 1.0)
    # Of float32, so that the stored ones are the ones computed with.
    with np.errstate(over="ignore", under="ignore"):
        center, scale = center.astype(np.float32).astype(float), scale.astype(np.float32).astype(float)
    W, bias = network.A[1:] * scale[:, None], network.A[0] + center @ network.A[1:]
    # Each neuron scaled to a largest weight of 1, so that one scale of an output suits all neurons.
    size = np.abs(W).max(axis=0, initial=0.0)
    W, bias, B = W / size, bias / size, network.B * size[:, None]
    A_codes, hidden_scale = _codes(W, kind)
    B_codes, output_scale = _codes(B, kind)
    with np.errstate(over="ignore", under="ignore"):
        a, b0 = bias.astype(np.float32), network.b0.astype(np.float32)
    stored = (center, scale, hidden_scale, a, output_scale, b0, B_codes)
    if not (all(np.isfinite(x).all() for x in stored) and np.all(scale > 0)):
        raise ValueError("The weights of the network are too far apart to be quantised with scales of float32.")
    Wq, Bq = A_codes.astype(float) * hidden_scale, B_codes.astype(float) * output_scale
    A = np.vstack([a - (center / scale) @ Wq, Wq / scale[:, None]])
    rounded = replace(network, A=A, B=Bq, b0=b0.astype(float))
    bound = None
    if box is not None:
        z = np.maximum(np.abs(box[:, 0] - center), np.abs(box[:, 1] - center)) / scale
        slope, reach = network.negative_slope, z @ np.abs(W)
        active = np.maximum(activation(bias + reach, 0.0), slope * np.maximum(0.0, reach - bias))
        shifted = z @ np.abs(Wq - W) + np.abs(a - bias)
        # The last term is for the roundings of float64 on the way.
        bound = active @ np.abs(Bq - B) + shifted @ np.abs(Bq) + np.abs(b0 - network.b0)
        bound += 1e-13 * ((reach + np.abs(bias) + np.abs(network.A[0]) / size) @ np.abs(B) + np.abs(network.b0))
    return QuantisedNetwork(
        original, rounded, kind, center, scale, A_codes, hidden_scale, a, B_codes, output_scale, b0, box, bound
    )


def _codes(weights: NDArray, kind: Kind) -> tuple[NDArray, NDArray]:
    """Return the codes of weights (rows, columns) and the scale of each column."""
    largest = np.abs(weights).max(axis=0, initial=0.0)
    largest = np.where(largest > 0, largest, 1.0)
    steps = _LARGEST_INT8 if kind == "int8" else 1
    with np.errstate(over="ignore", under="ignore"):
        scale = (largest / steps).astype(np.float32)
    scale = np.where(scale > 0, scale, np.float32(np.finfo(np.float32).tiny))
    scaled = weights / scale.astype(float)
    if kind == "float16":
        with np.errstate(under="ignore"):
            return scaled.astype(np.float16), scale
    return np.clip(np.rint(scaled), -_LARGEST_INT8, _LARGEST_INT8).astype(np.int8), scale


def input_ranges(n_features: int, X: ArrayLike | None, ranges: ArrayLike | None) -> NDArray | None:
    """Return the checked ranges (d, 2) of inputs: those given, or else those of X (N, d), or None if there is neither.

    Raises
    ------
    ValueError
        If they are of another shape, not finite, or the wrong way round.
    """
    if X is None and ranges is None:
        return None
    if ranges is None:
        X = np.asarray(X, dtype=np.float64)
        if X.ndim != 2 or X.shape[1] != n_features or not len(X):
            raise ValueError(f"X must have shape (rows, {n_features}) and at least one row; got {X.shape}.")
        box = np.column_stack([X.min(axis=0), X.max(axis=0)])
    else:
        box = np.asarray(ranges, dtype=np.float64)
    if box.shape != (n_features, 2) or not np.isfinite(box).all() or np.any(box[:, 0] > box[:, 1]):
        raise ValueError(
            f"ranges must be a least and a largest finite value for each of {n_features} inputs; got {box!r}."
        )
    return box
