"""Checks of the rows that displays are given, and the names of a network's inputs and outputs."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anmin.network import ReLUNetwork
from anmin.rows.arrays import check_weights


def checked_inputs(network: ReLUNetwork, X: ArrayLike) -> NDArray:
    """Return X as float64 (N, d); raise ValueError unless it has the network's inputs, a row, and finite numbers."""
    array = np.asarray(X, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != network.n_features or len(array) == 0:
        raise ValueError(f"X must have shape (rows, {network.n_features}), with at least one row; got {array.shape}.")
    if not np.isfinite(array).all():
        raise ValueError("X must be finite; it has NaN or infinite values.")
    return array


def checked_targets(network: ReLUNetwork, y: ArrayLike, n_rows: int) -> NDArray:
    """Return y as float64 (N, c); raise ValueError unless it has the rows and the network's outputs."""
    array = np.asarray(y, dtype=np.float64)
    columns = array[:, None] if array.ndim == 1 else array
    if columns.shape != (n_rows, network.n_outputs):
        raise ValueError(f"y must have shape ({n_rows}, {network.n_outputs}); got {array.shape}.")
    return columns


def checked_weights(sample_weight: ArrayLike | None, n_rows: int) -> NDArray:
    """Return the weights as float64 (N,), ones where there are none; raise ValueError unless they are as for a fit."""
    return np.ones(n_rows) if sample_weight is None else check_weights(sample_weight, n_rows)


def checked_output(network: ReLUNetwork, output: int) -> int:
    """Return the number of an output; raise ValueError unless there is one of this number."""
    if not 0 <= output < network.n_outputs:
        raise ValueError(f"output must be at least 0 and below {network.n_outputs}; got {output!r}.")
    return output


def input_names(network: ReLUNetwork) -> tuple[str, ...]:
    """Return the names of the inputs, or numbers where they have none."""
    return network.feature_names or tuple(f"input {k}" for k in range(network.n_features))


def output_name(network: ReLUNetwork, output: int) -> str:
    """Return the name of an output, or "y", with its number where there are several."""
    if network.output_names is not None:
        return network.output_names[output]
    return "y" if network.n_outputs == 1 else f"y {output}"
