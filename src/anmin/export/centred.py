"""Weights for arithmetic of few digits: inputs shifted so that little cancels, neurons scaled so that all fit.

A fitted network takes raw inputs, so the bias of a neuron is as large as its weights times the mean of the inputs, and
the two cancel. In float64 that costs digits that nobody misses; in float32 it may cost all of them. Where it would, the
exported network subtracts a centre c from the inputs first:

    f(x) = σ((x − c)ᵀ W + a) B + b0,    a = a_0 + cᵀ W computed in float64
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linprog

from anmin.network import ReLUNetwork, activation

Number = Literal["float", "double"]
DTYPES: dict[str, Any] = {"float": np.float32, "double": np.float64}
_WORTH_IT = 8.0  # a centre costs a subtraction for each input, so it is used where it wins at least three bits
_FAR = 1 / 16  # how dear it is for a centre to lie far away, against how dear a bias is that stays large
_MOST_NEURONS = 256  # that a centre is chosen by
_LARGE_EXPONENT = 40  # of two, from which a neuron is scaled; others keep the weights that a reader knows


@dataclass(frozen=True, eq=False)
class CentredNetwork:
    """The network f(x) = σ((x − center)ᵀ W + a) B + b0, all of whose numbers are exact in its number type.

    Parameters
    ----------
    center : ndarray of shape (d,)
    W : ndarray of shape (d, h)
    a : ndarray of shape (h,)
    B : ndarray of shape (h, c)
    b0 : ndarray of shape (c,)
        In float64, with values that ``number`` holds.
    negative_slope : float
    number : {"float", "double"}
        Type of the arithmetic: 24 or 53 bits.
    original : ReLUNetwork
        What it was made from, without the neurons that do nothing.
    powers : ndarray of shape (h,)
        Neuron j was multiplied by 2^powers[j], and its output weights divided by it.
    """

    center: NDArray
    W: NDArray
    a: NDArray
    B: NDArray
    b0: NDArray
    negative_slope: float
    number: Number
    original: ReLUNetwork
    powers: NDArray

    @property
    def is_shifted(self) -> bool:
        """Whether any input is shifted."""
        return bool(np.any(self.center))

    @property
    def roundoff(self) -> float:
        """Unit roundoff u: 2^-24 or 2^-53."""
        return float(np.finfo(DTYPES[self.number]).eps) / 2

    def terms(self, X: ArrayLike) -> NDArray:
        """Return the size of what is added up at each row of X (N, d), shape (N, c).

            S_k(x) = |b0_k| + Σ_j |B_jk| (|a_j| + Σ_i |W_ij| |x_i − c_i|)

        Rounding errors are relative to it. It is as large as the output where nothing cancels.
        """
        Z = np.abs(np.asarray(X, dtype=np.float64) - self.center)
        return (Z @ np.abs(self.W) + np.abs(self.a)) @ np.abs(self.B) + np.abs(self.b0)

    def error_bound(self, X: ArrayLike) -> NDArray:
        """Return a bound on the rounding error at each row of X (N, d), shape (N, c), whatever the order of the sums.

        X holds numbers of the type; that of rounding them to it is not counted. To first order it is
        (d + h + 7)·u·S_k(x), S being :meth:`terms`: every number and every operation has a relative error of at
        most u, and a sum of n terms one of (n − 1)·u/(1 − n·u) of their absolute values (Higham, Accuracy and
        Stability of Numerical Algorithms, 2002, section 4.2). The errors of the rounded weights are those that they
        have. It holds unless something overflows or falls below the smallest normal number.
        """
        u, X = self.roundoff, np.asarray(X, dtype=np.float64)
        d, h = self.W.shape
        A, B = np.ldexp(self.original.A, self.powers), np.ldexp(self.original.B, -self.powers[:, None])
        Z = np.abs(X - self.center)
        size = Z @ np.abs(self.W) + np.abs(self.a)
        exact = 2 * (d + 2) * 2.0**-53 * (np.abs(A[0]) + np.abs(self.center) @ np.abs(A[1:]))
        bias = np.abs(A[0] + self.center @ A[1:] - self.a) + exact
        # One rounding for x − c, one for a product, two for the slope and its product, d for the sum.
        hidden = Z @ np.abs(A[1:] - self.W) + bias + _gamma(d + 4, u) * size
        active = np.abs(activation(Z @ np.abs(self.W) + np.abs(self.a), 0.0)) + hidden
        outputs = active @ np.abs(B - self.B) + hidden @ np.abs(self.B) + np.abs(self.original.b0 - self.b0)
        sums = _gamma(h + 1, u) * (active @ np.abs(self.B) + np.abs(self.b0))
        return (outputs + sums) * (1 + 1e-10)


def centred(
    network: ReLUNetwork, number: Number = "float", X: ArrayLike | None = None, center: ArrayLike | None = None
) -> CentredNetwork:
    """Return the network in the numbers of a type, with the inputs shifted where that saves digits.

    Parameters
    ----------
    network : ReLUNetwork
    number : {"float", "double"}, default "float"
        With "double" nothing is shifted: the arithmetic is that of ``network.predict``.
    X : array of shape (N, d), optional
        Inputs that will be met; the centre is then the middle of their ranges.
    center : array of shape (d,), optional
        The centre itself.

        With neither, it is where the hyperplanes are: it minimises Σ_j ‖b_j‖ (|a_0j + a_jᵀc| + Σ_i |a_ij c_i|/16), the
        part of the error that no input can escape, and a price for going far.

    Raises
    ------
    ValueError
        If there are no inputs, or a weight is too large for the type.
    """
    if number not in DTYPES:
        raise ValueError(f"number must be 'float' or 'double'; got {number!r}.")
    if network.n_features == 0:
        raise ValueError("A network that is exported needs at least one input; got one without.")
    pruned = network.pruned()
    if not pruned.n_neurons:  # arrays without elements are no C, and a constant needs no form of its own
        A, B = np.zeros((network.n_features + 1, 1)), np.zeros((1, network.n_outputs))
        pruned = ReLUNetwork(A, B, pruned.b0, network.negative_slope)
    if number == "double":
        shift = np.zeros(network.n_features)
    elif center is not None:
        shift = np.asarray(center, dtype=np.float64)
        if shift.shape != (network.n_features,) or not np.isfinite(shift).all():
            raise ValueError(f"center must be {network.n_features} finite numbers; got {center!r}.")
    else:
        shift = _middle(pruned, X) if X is not None else crease_center(pruned)
    shift = _rounded(shift, number, "The centre of the inputs")
    # Powers of two, so that weights too large or small for the type fit into it without losing a digit.
    a = pruned.A[0] + shift @ pruned.A[1:]
    inner, outer = _exponents(np.vstack([a, pruned.A[1:]]), 0), _exponents(pruned.B, 1)
    far = (np.abs(inner) > _LARGE_EXPONENT) | (np.abs(outer) > _LARGE_EXPONENT)
    powers = np.where(far & (number == "float"), (outer - inner) // 2, 0)
    return CentredNetwork(
        shift,
        _rounded(np.ldexp(pruned.A[1:], powers), number, "A hidden weight"),
        _rounded(np.ldexp(a, powers), number, "A hidden bias"),
        _rounded(np.ldexp(pruned.B, -powers[:, None]), number, "An output weight"),
        _rounded(pruned.b0, number, "An output bias"),
        float(DTYPES[number](network.negative_slope)),
        number,
        pruned,
        powers,
    )


def crease_center(network: ReLUNetwork) -> NDArray:
    """Return a point (d,) that is near the hyperplanes of the neurons, or 0 where shifting to it would not pay.

    It minimises Σ_j ‖b_j‖ (|a_0j + a_jᵀc| + Σ_i |a_ij c_i|/16), a linear program, over the neurons of most weight.
    """
    nowhere = np.zeros(network.n_features)
    if not network.n_neurons:
        return nowhere
    norms, weight = np.hypot.reduce(network.A, axis=0), np.hypot.reduce(network.B, axis=1)
    with np.errstate(all="ignore"):
        # By logarithms, because products of large weights overflow.
        magnitude = np.log2(norms) + np.log2(weight)
        weight = np.exp2(magnitude - magnitude.max())
        scaled = np.where(norms > 0, network.A / norms, 0.0) * weight
    scaled = scaled[:, np.argsort(-weight, kind="stable")[:_MOST_NEURONS]]
    W, a = scaled[1:].T, scaled[0]
    # In units in which every column, and the bias, counts alike.
    reach, size = np.abs(W).sum(axis=0), np.abs(a).max()
    if not (np.isfinite(scaled).all() and reach.all() and size > 0 and np.isfinite(size / reach).all()):
        return nowhere
    rows = np.vstack([W / reach, _FAR * np.eye(len(reach))])
    target = np.concatenate([-a / size, nowhere])
    identity = np.eye(len(target))
    costs = np.concatenate([nowhere, np.ones(2 * len(target))])
    bounds = [(None, None)] * len(reach) + [(0, None)] * (2 * len(target))
    found = linprog(costs, A_eq=np.hstack([rows, -identity, identity]), b_eq=target, bounds=bounds, method="highs")
    if found.x is None:
        return nowhere
    center = found.x[: len(reach)] * (size / reach)
    return center if _WORTH_IT * np.abs(a + W @ center).sum() < np.abs(a).sum() else nowhere


def _middle(network: ReLUNetwork, X: ArrayLike) -> NDArray:
    """Return the middle of the ranges of X (N, d), or 0 where the terms of the sums would not become smaller by it."""
    X = np.asarray(X, dtype=np.float64)
    if X.ndim != 2 or X.shape[1] != network.n_features or not len(X) or not np.isfinite(X).all():
        raise ValueError(f"X must be finite numbers of shape (rows, {network.n_features}); got {X.shape}.")
    low, high = X.min(axis=0), X.max(axis=0)
    middle = low + (high - low) / 2

    def size(c: NDArray) -> NDArray:
        bias = np.abs(network.A[0] + c @ network.A[1:])
        return (np.maximum(high - c, c - low) @ np.abs(network.A[1:]) + bias) @ np.abs(network.B)

    return middle if np.any(_WORTH_IT * size(middle) < size(np.zeros_like(middle))) else np.zeros_like(middle)


def _exponents(weights: NDArray, axis: int) -> NDArray:
    return np.frexp(np.abs(weights).max(axis=axis, initial=0.0))[1].astype(np.int64)


def _rounded(values: NDArray, number: Number, what: str) -> NDArray:
    with np.errstate(over="ignore", under="ignore"):
        rounded = values.astype(DTYPES[number]).astype(np.float64)
    if not np.isfinite(rounded).all():
        largest = np.abs(values).max()
        raise ValueError(f"{what} of {largest:.3g} is too large for the number type {number!r}; use 'double'.")
    return rounded


def _gamma(n: int, u: float) -> float:
    return n * u / (1 - n * u)
