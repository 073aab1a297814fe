"""A network whose neurons are switched on by gates of their own: what the gated program is solved for."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anmin.model_file import (
    checked_names,
    checked_weights,
    model_text,
    read_model,
    read_names,
    read_weights,
    write_model,
)
from anmin.threads import in_threads

SCHEMA = "anmin.GatedNetwork"
SCHEMA_VERSION = 1
_WEIGHTS = (("gates", 2), ("A", 2), ("B", 2), ("b0", 1))  # with their numbers of dimensions
_BLOCK_ENTRIES = 2**18  # entries of one N-block × h array: 2 MB, so that a block stays in the cache


@dataclass(frozen=True, eq=False)
class GatedNetwork:
    """A two-layer network f(x) = Σ_j 1[x̃ᵀ g_j > 0] (x̃ᵀ a_j) b_j + b0, with x̃ = (1, x) and fixed gates g_j.

    A ReLU neuron is its own gate, g_j = a_j; here the two differ, and f may jump where x̃ᵀ g_j changes its sign. The
    weights are stored as read-only float64 arrays.

    Parameters
    ----------
    gates : array of shape (p, h), p = d + 1
        Column j is the gate of neuron j, its bias in the first row. Several neurons may have one gate, and the lengths
        of gates do not matter.
    A : array of shape (p, h)
        Hidden weights: column j is neuron j, its bias in the first row.
    B : array of shape (h, c)
        Output weights.
    b0 : array of shape (c,)
        Output biases.
    feature_names, output_names : sequence of str, optional
        Names of the d inputs and the c outputs, kept in the model file.

    Raises
    ------
    ValueError
        If the shapes disagree, or a weight is NaN or infinite.
    """

    gates: NDArray
    A: NDArray
    B: NDArray
    b0: NDArray
    feature_names: tuple[str, ...] | None = field(default=None, kw_only=True)
    output_names: tuple[str, ...] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        for name, dimensions in _WEIGHTS:
            object.__setattr__(self, name, checked_weights(name, getattr(self, name), dimensions))
        (p, h), (h_out, c) = self.A.shape, self.B.shape
        if p < 1 or self.gates.shape != (p, h) or h_out != h or self.b0.shape != (c,) or c < 1:
            raise ValueError(
                "A gated network needs gates and A of shape (inputs + 1, neurons), B of shape (neurons, outputs) and "
                f"b0 of shape (outputs,); got {self.gates.shape}, {self.A.shape}, {self.B.shape} and {self.b0.shape}."
            )
        object.__setattr__(self, "feature_names", checked_names("feature_names", self.feature_names, p - 1))
        object.__setattr__(self, "output_names", checked_names("output_names", self.output_names, c))

    @property
    def n_features(self) -> int:
        """Number of inputs, d."""
        return self.A.shape[0] - 1

    @property
    def n_neurons(self) -> int:
        """Number of neurons, h."""
        return self.A.shape[1]

    @property
    def n_outputs(self) -> int:
        """Number of outputs, c."""
        return self.B.shape[1]

    @property
    def n_parameters(self) -> int:
        """Number of weights, those of the gates among them: 2·(d + 1)·h + h·c + c."""
        return self.gates.size + self.A.size + self.B.size + self.b0.size

    @property
    def n_bytes(self) -> int:
        """Bytes of the weights as stored, 8 for each."""
        return 8 * self.n_parameters

    @np.errstate(under="ignore")
    def predict(self, X: ArrayLike) -> NDArray:
        """Return f(x) for each row of X (N, d) as an array of shape (N, c), in units of y.

        Beyond the result it takes a few megabytes, however many rows there are.
        """
        X = self._inputs(X)
        out = np.empty((len(X), self.n_outputs))
        step = max(1, _BLOCK_ENTRIES // max(1, self.n_neurons, self.n_features))

        def task(part: int, parts: int) -> None:
            for start in range(part * step, len(X), parts * step):
                block = np.asarray(X[start : start + step], dtype=np.float64)
                Z = block @ self.A[1:] + self.A[0]
                Z[block @ self.gates[1:] + self.gates[0] <= 0] = 0.0
                out[start : start + step] = Z @ self.B + self.b0

        in_threads(task, 2.0 * X.size * self.n_neurons)
        return out

    def pattern(self, X: ArrayLike) -> NDArray[np.bool_]:
        """Return which gates are open, x̃_iᵀ g_j > 0, as booleans of shape (N, h) for X of shape (N, d)."""
        return np.asarray(self._inputs(X), dtype=np.float64) @ self.gates[1:] + self.gates[0] > 0

    def save(self, path: str | os.PathLike) -> None:
        """Write the network to a JSON file (see docs/model-file.md), which appears whole or not at all."""
        write_model(path, self.to_json())

    def to_json(self) -> str:
        """Return the text of the model file; reading it gives the same float64 bits."""
        names = {"feature_names": self.feature_names, "output_names": self.output_names}
        return model_text(SCHEMA, SCHEMA_VERSION, names | {name: getattr(self, name).tolist() for name, _ in _WEIGHTS})

    @classmethod
    def load(cls, path: str | os.PathLike) -> GatedNetwork:
        """Read a network written by :meth:`save`; nothing in the file is ever executed.

        Raises
        ------
        ValueError
            If the file is not such a model: truncated, of another schema or version, with shapes that do not fit
            together, or with weights that are not finite numbers.
        FileNotFoundError
            If there is no such file.
        """
        return read_model(path, SCHEMA, SCHEMA_VERSION, {name for name, _ in _WEIGHTS}, cls._from_document)

    @classmethod
    def _from_document(cls, document: dict[str, Any]) -> GatedNetwork:
        gates, A, B, b0 = (read_weights(document[name], dimensions) for name, dimensions in _WEIGHTS)
        names = {key: read_names(document, key) for key in ("feature_names", "output_names")}
        # B is [] of a network without neurons.
        return cls(gates, A, B if len(B) else B.reshape(0, len(b0)), b0, **names)

    def _inputs(self, X: ArrayLike) -> NDArray:
        X = np.asarray(X)
        if X.ndim != 2 or X.shape[1] != self.n_features:
            raise ValueError(f"X must have shape (rows, {self.n_features}); got {X.shape}.")
        return X
