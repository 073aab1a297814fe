"""The network itself: its weights, what it predicts, and its file."""

from __future__ import annotations

import os
import reprlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

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

if TYPE_CHECKING:
    from anmin.quantisation import QuantisedNetwork

SCHEMA = "anmin.ReLUNetwork"
SCHEMA_VERSION = 1
_WEIGHTS = (("A", 2), ("B", 2), ("b0", 1))  # with their numbers of dimensions
_BLOCK_ENTRIES = 2**18  # entries of one N-block × h activation array: 2 MB, so that a block stays in the cache
# Multiplications from which it pays to load compiled loops, and inputs up to which they beat products of matrices.
_WORTH_COMPILING, _MOST_COMPILED_INPUTS = 5e8, 8


@dataclass(frozen=True, eq=False)
class ReLUNetwork:
    """A two-layer network f(x) = σ((1, x)ᵀ A) B + b0 with σ(t) = max(t, 0) + negative_slope · min(t, 0).

    The weights are stored as read-only float64 arrays.

    Parameters
    ----------
    A : array of shape (p, h), p = d + 1
        Hidden weights: column j is neuron j, its bias in the first row.
    B : array of shape (h, c)
        Output weights.
    b0 : array of shape (c,)
        Output biases.
    negative_slope : float in [0, 1), default 0.0
        Slope of the activation for negative arguments; 0 is the ReLU.
    feature_names, output_names : sequence of str, optional
        Names of the d inputs and the c outputs, kept in the model file.

    Raises
    ------
    ValueError
        If the shapes disagree, a weight is NaN or infinite, or ``negative_slope`` is outside [0, 1).
    """

    A: NDArray
    B: NDArray
    b0: NDArray
    negative_slope: float = 0.0
    feature_names: tuple[str, ...] | None = field(default=None, kw_only=True)
    output_names: tuple[str, ...] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        for name, dimensions in _WEIGHTS:
            object.__setattr__(self, name, checked_weights(name, getattr(self, name), dimensions))
        (p, h), (h_out, c) = self.A.shape, self.B.shape
        if p < 1 or h_out != h or self.b0.shape != (c,) or c < 1:
            raise ValueError(
                "A network needs A of shape (inputs + 1, neurons), B of shape (neurons, outputs) and b0 of shape "
                f"(outputs,); got {self.A.shape}, {self.B.shape} and {self.b0.shape}."
            )
        check_negative_slope(self.negative_slope)
        object.__setattr__(self, "negative_slope", float(self.negative_slope))
        object.__setattr__(self, "feature_names", checked_names("feature_names", self.feature_names, p - 1))
        object.__setattr__(self, "output_names", checked_names("output_names", self.output_names, c))

    @property
    def n_features(self) -> int:
        """Number of inputs, d."""
        return self.A.shape[0] - 1

    @property
    def n_neurons(self) -> int:
        """Number of hidden neurons, h."""
        return self.A.shape[1]

    @property
    def n_outputs(self) -> int:
        """Number of outputs, c."""
        return self.B.shape[1]

    @property
    def n_parameters(self) -> int:
        """Number of weights: (d + 1)·h + h·c + c."""
        return self.A.size + self.B.size + self.b0.size

    @property
    def n_bytes(self) -> int:
        """Bytes of the weights as stored, 8 for each (half of it in a float32 export)."""
        return self.A.nbytes + self.B.nbytes + self.b0.nbytes

    @np.errstate(under="ignore")  # the default of NumPy, which packages such as emlearn change when imported
    def predict(self, X: ArrayLike) -> NDArray:
        """Return f(x) for each row of X (N, d) as an array of shape (N, c), in units of y.

        Beyond the result it takes a few megabytes, however many rows there are.
        """
        X = self._inputs(X)
        out = np.empty((len(X), self.n_outputs))
        operations = float(X.size) * self.n_neurons
        compiled = operations > _WORTH_COMPILING and self.n_features <= _MOST_COMPILED_INPUTS
        predicted = self._compiled_predictions if compiled else self._predictions
        step = max(1, _BLOCK_ENTRIES // max(1, self.n_features if compiled else self.n_neurons))

        def task(part: int, parts: int) -> None:
            for start in range(part * step, len(X), parts * step):
                rows = slice(start, start + step)
                predicted(np.array(X[rows], dtype=np.float64, order="C"), out[rows])

        in_threads(task, operations)
        return out

    def _predictions(self, X: NDArray, out: NDArray) -> None:
        np.matmul(activation(X @ self.A[1:] + self.A[0], self.negative_slope), self.B, out=out)
        out += self.b0

    def _compiled_predictions(self, X: NDArray, out: NDArray) -> None:
        from anmin.rows.kernels import set_predictions

        # Copies, because read-only arrays would be compiled for once more.
        set_predictions(X, self.A.copy(), self.B.copy(), self.b0.copy(), self.negative_slope, out)

    def pattern(self, X: ArrayLike) -> NDArray[np.bool_]:
        """Return which neurons are active, x̃_iᵀ a_j > 0, as booleans of shape (N, h) for X of shape (N, d)."""
        X = self._inputs(X)
        out = np.empty((len(X), self.n_neurons), dtype=bool)
        for rows, Z in self._preactivations(X):
            out[rows] = Z > 0
        return out

    def balanced(self) -> ReLUNetwork:
        """Return the same function with ‖a_j‖ = ‖b_j‖ for each neuron, the scaling of least penalty.

        σ is positively homogeneous, so (a_j, b_j) may be replaced by (t·a_j, b_j/t) for any t > 0. A neuron with
        a_j = 0 or b_j = 0 contributes nothing and gets both set to zero.
        """
        a, b = _norms(self.A, axis=0), _norms(self.B, axis=1)
        used = (a > 0) & (b > 0)
        norm = np.sqrt(a[used]) * np.sqrt(b[used])
        A, B = np.zeros_like(self.A), np.zeros_like(self.B)
        A[:, used] = self.A[:, used] / a[used] * norm
        B[used] = self.B[used] / b[used, None] * norm[:, None]
        return replace(self, A=A, B=B)

    def merged(self, tol: float = 1e-12) -> ReLUNetwork:
        """Return the same function with neurons of equal direction joined into one.

        Neurons whose unit vectors a_j/‖a_j‖ differ by at most ``tol`` in norm switch on the same hyperplane and side;
        each group is replaced by its first member, with output weights Σ_k b_k ‖a_k‖/‖a_first‖. The predictions
        change by at most ``tol`` times the joined weights; for identical directions only by rounding.
        """
        first = self.first_alike(tol)
        norms, B = _norms(self.A, axis=0), self.B.copy()
        kept = np.flatnonzero((first == np.arange(self.n_neurons)) & (norms > 0))
        for j in np.flatnonzero(first != np.arange(self.n_neurons)):
            B[first[j]] += B[j] * (norms[j] / norms[first[j]])
        return replace(self, A=self.A[:, kept], B=B[kept])

    def merged_on(self, X: ArrayLike, tol: float = 1e-12) -> ReLUNetwork:
        """Return a network of equal predictions on rows X (N, d), with neurons of equal pattern on them joined.

        Where neurons are active on the same rows and their output weights are of one direction (with one output: of one
        sign), b_k = ‖b_k‖·v with v equal to within ``tol`` in norm, they are replaced by one, with hidden weights
        u/√‖u‖ and output weights √‖u‖·v for u = Σ_k ‖b_k‖ a_k. It has their pattern, whatever the negative slope; on
        other rows predictions may change. The penalty is not larger, since 2‖u‖ <= Σ_k (‖a_k‖² + ‖b_k‖²)
        (Mercklé, Iutzeler & Redko, The Hidden Convex Optimization Landscape of Two-Layer ReLU Networks). Neurons that
        are alone in this stay as they are; so do those without output weights.
        """
        on, norms = np.packbits(self.pattern(X), axis=0), _norms(self.B, axis=1)
        _, pattern = np.unique(on, axis=1, return_inverse=True)
        first = np.arange(self.n_neurons)
        for number in range(pattern.max(initial=-1) + 1):
            members = np.flatnonzero(pattern == number)
            first[members] = members[_first_alike(self.B[members].T, tol)]
        A, B = self.A.copy(), self.B.copy()
        for j in np.flatnonzero(np.bincount(first, minlength=self.n_neurons) > 1):
            joined = self.A @ np.where(first == j, norms, 0.0)
            root = np.sqrt(np.hypot.reduce(joined))
            A[:, j] = joined / root if root > 0 else 0.0
            B[j] *= root / norms[j]
        kept = first == np.arange(self.n_neurons)
        return replace(self, A=A[:, kept], B=B[kept])

    def first_alike(self, tol: float = 1e-12) -> NDArray:
        """Return for each neuron the number of the first one of its direction, shape (h,), within ``tol`` in norm.

        It is its own where there is none before it, and where it has no weights.
        """
        return _first_alike(self.A, tol)

    def pruned(self, n_neurons: int | None = None, X: ArrayLike | None = None) -> ReLUNetwork:
        """Return the network without the neurons that do nothing, and with no more than ``n_neurons`` if that is given.

        Neurons with a_j = 0 or b_j = 0 go; those without input weights are constants and go into b0. That keeps the
        function. Then, one after another, go those without which the predictions on rows X (N, d) change least when
        the output weights and biases of the others make up for them, which they do exactly, by least squares
        (:func:`anmin.elimination.eliminated`). The hidden weights of the others stay. Where there are targets,
        :meth:`anmin.ReLURegressor.pruned` is better, which fits both layers to them.

        Raises
        ------
        ValueError
            If ``n_neurons`` is not an integer of at least 1, or comes without rows.
        """
        acts = np.any(self.B != 0, axis=1)
        varies = np.any(self.A[1:] != 0, axis=0)
        constant = acts & ~varies
        b0 = self.b0 + activation(self.A[0, constant], self.negative_slope) @ self.B[constant]
        kept = acts & varies
        network = replace(self, A=self.A[:, kept], B=self.B[kept], b0=b0)
        if n_neurons is None:
            return network
        whole = isinstance(n_neurons, int | np.integer) and not isinstance(n_neurons, bool)
        if not whole or n_neurons < 1:
            raise ValueError(f"n_neurons must be an integer of at least 1; got {n_neurons!r}.")
        if X is None:
            raise ValueError(
                "Which neurons are of least use depends on the inputs: give rows of them, as in pruned(16, X)."
            )
        return network._without_least_useful(network.n_neurons - int(n_neurons), network._inputs(X))

    def _without_least_useful(self, count: int, X: NDArray) -> ReLUNetwork:
        if count <= 0:
            return self
        if not len(X):
            raise ValueError(f"X must have at least one row; got {X.shape}.")
        from anmin.elimination import eliminated

        K = np.zeros((self.n_neurons + 1, self.n_neurons + 1))
        for _, Z in self._preactivations(X):
            S1 = np.column_stack([activation(Z, self.negative_slope), np.ones(len(Z))])
            K += S1.T @ S1 / len(X)
        # Neurons of outputs of like size, so that none counts as dead because its weights are small.
        size = np.sqrt(np.diagonal(K))
        size = np.where(size > 0, size, 1.0)
        theta = np.vstack([self.B, self.b0]) * size[:, None]
        gone, theta = eliminated(K / np.outer(size, size), theta, count)
        kept = np.setdiff1d(np.arange(self.n_neurons), gone)
        theta = theta / size[np.r_[kept, self.n_neurons]][:, None]
        return replace(self, A=self.A[:, kept], B=theta[:-1], b0=theta[-1])

    def quantised(
        self, kind: Literal["int8", "float16"], X: ArrayLike | None = None, ranges: ArrayLike | None = None
    ) -> QuantisedNetwork:
        """Return the network with weights of int8 or float16, and what that costs.

        Give inputs X (N, d), or their ``ranges`` (d, 2), for scales that suit them and an error bound
        (:func:`anmin.quantisation.quantised`).
        """
        from anmin.quantisation import quantised

        return quantised(self, kind, X, ranges)

    def save(self, path: str | os.PathLike) -> None:
        """Write the network to a JSON file (see docs/model-file.md).

        Weights are written so that reading them gives the same float64 bits. The file appears whole or not at all: it
        is written under a temporary name and renamed.
        """
        write_model(path, self.to_json())

    def to_json(self) -> str:
        """Return the text of the model file."""
        return model_text(
            SCHEMA,
            SCHEMA_VERSION,
            {
                "negative_slope": self.negative_slope,
                "feature_names": self.feature_names,
                "output_names": self.output_names,
                "A": self.A.tolist(),
                "B": self.B.tolist(),
                "b0": self.b0.tolist(),
            },
        )

    @classmethod
    def load(cls, path: str | os.PathLike) -> ReLUNetwork:
        """Read a network written by :meth:`save`; nothing in the file is ever executed.

        Raises
        ------
        ValueError
            If the file is not such a model: truncated, of another schema or version, with shapes that do not fit
            together, or with weights that are not finite numbers.
        FileNotFoundError
            If there is no such file.
        """
        return read_model(path, SCHEMA, SCHEMA_VERSION, {"A", "B", "b0", "negative_slope"}, cls._from_document)

    @classmethod
    def _from_document(cls, document: dict[str, Any]) -> ReLUNetwork:
        A, B, b0 = (read_weights(document[name], dimensions) for name, dimensions in _WEIGHTS)
        return cls(
            A,
            B if len(B) else B.reshape(0, len(b0)),  # a network without neurons
            b0,
            negative_slope=document["negative_slope"],
            feature_names=read_names(document, "feature_names"),
            output_names=read_names(document, "output_names"),
        )

    def _inputs(self, X: ArrayLike) -> NDArray:
        X = np.asarray(X)
        if X.ndim != 2 or X.shape[1] != self.n_features:
            raise ValueError(f"X must have shape (rows, {self.n_features}); got {X.shape}.")
        return X

    def _preactivations(self, X: NDArray) -> Iterator[tuple[slice, NDArray]]:
        step = max(1, _BLOCK_ENTRIES // max(1, self.n_neurons))
        for start in range(0, len(X), step):
            rows = slice(start, min(start + step, len(X)))
            yield rows, np.asarray(X[rows], dtype=np.float64) @ self.A[1:] + self.A[0]


def activation(Z: NDArray, negative_slope: float) -> NDArray:
    """Return σ(Z) = max(Z, 0) + negative_slope · min(Z, 0), element-wise."""
    if negative_slope == 0:
        return np.maximum(Z, 0.0)
    return np.maximum(Z, negative_slope * Z)


def check_negative_slope(negative_slope: Any) -> None:
    """Raise ValueError unless ``negative_slope`` is a number in [0, 1)."""
    number = isinstance(negative_slope, (int, float, np.number)) and not isinstance(negative_slope, bool)
    if not number or not 0 <= negative_slope < 1:
        raise ValueError(f"negative_slope must be a number in [0, 1); got {reprlib.repr(negative_slope)}.")


def _first_alike(vectors: NDArray, tol: float) -> NDArray:
    """Return for each column (k, m) the number of the first of its direction, (m,), to within ``tol``."""
    norms = _norms(vectors, axis=0)
    directions = vectors / np.where(norms > 0, norms, 1.0)
    first = np.arange(len(norms))
    for j in np.flatnonzero(norms > 0):
        before = np.flatnonzero((first[:j] == np.arange(j)) & (norms[:j] > 0))
        gaps = np.linalg.norm(directions[:, before] - directions[:, [j]], axis=0)
        if gaps.size and gaps.min() <= tol:
            first[j] = before[gaps.argmin()]
    return first


def _norms(weights: NDArray, axis: int) -> NDArray:
    # hypot, because the square of a weight may overflow where the weight does not
    return np.hypot.reduce(weights, axis=axis)


def check_relu(network: Any, what: str) -> None:
    """Raise TypeError unless the network is a :class:`ReLUNetwork`; ``what`` of it is asked for, "A report" say."""
    if not isinstance(network, ReLUNetwork):
        raise TypeError(f"{what} is of a ReLUNetwork, by its creases; got a {type(network).__name__}.")
