"""Fixed-point arithmetic: what integers stand for, and how far from the network their result can be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anmin.network import ReLUNetwork
from anmin.quantisation import input_ranges

_LARGEST_CODE = 2**31 - 1
_LARGEST_BIAS = 2**59
_LARGEST_SUM = 2.0**62
_INFLATION = 1 + 1e-6  # for the roundings of the bounds themselves, and of x · 2^bits + ½


@dataclass(frozen=True, eq=False)
class FixedPointNetwork:
    """A network in integers: codes, and the powers of two that they count in.

    With z_i = clip(x_i) − center_i in units of 2^-input_bits[i], the integers computed are

        t_j = Σ_i W_ij z_i + a_j                      in units of 2^-hidden_bits[j]
        u_j = t_j / 2^hidden_shift[j]                 rounded to nearest, as all that follows
        u_j = u_j if u_j >= 0 else slope·u_j / 2^slope_bits
        y_k = (Σ_j B_jk u_j + b0_k) / 2^output_shift[k]    in units of 2^-output_bits[k]

    Attributes
    ----------
    input_bits, output_bits : ndarray of int, shapes (d,) and (c,)
        Fractional bits of the input and output codes: x_i = code · 2^-input_bits[i].
    least, largest, center : ndarray of int, shape (d,)
        Codes of the ranges and of what is subtracted.
    W, a, hidden_shift : ndarray of int, shapes (d, h), (h,), (h,)
    B, b0, output_shift : ndarray of int, shapes (h, c), (c,), (c,)
    slope, slope_bits : int
        Negative slope in units of 2^-slope_bits.
    largest_sum : float
        Bound on the absolute values of all sums and partial sums.
    error_bound : ndarray of shape (c,)
        Bound on the distance of each output to f(x), for every x within the ranges.
    ranges : ndarray of shape (d, 2)
    bits : int
    """

    input_bits: NDArray
    output_bits: NDArray
    least: NDArray
    largest: NDArray
    center: NDArray
    W: NDArray
    a: NDArray
    hidden_shift: NDArray
    B: NDArray
    b0: NDArray
    output_shift: NDArray
    slope: int
    slope_bits: int
    largest_sum: float
    error_bound: NDArray
    ranges: NDArray
    bits: int

    def predict(self, X: ArrayLike) -> NDArray:
        """Return what the integers give for each row of X (N, d) as an array (N, c), in units of y.

        Inputs beyond the ranges are taken as their ends.
        """
        X = np.clip(np.asarray(X, dtype=np.float64), self.ranges[:, 0], self.ranges[:, 1])
        t = (_codes(X, self.input_bits) - self.center) @ self.W + self.a
        u = _shifted(t, self.hidden_shift)
        sums = np.where(u >= 0, u, _shifted(u * self.slope, np.array(self.slope_bits))) @ self.B + self.b0
        return np.ldexp(_shifted(sums, self.output_shift).astype(np.float64), -self.output_bits)


def fixed_point(
    network: ReLUNetwork, X: ArrayLike | None = None, ranges: ArrayLike | None = None, bits: int = 16
) -> FixedPointNetwork:
    """Return the network in fixed point, its formats chosen from the ranges of the inputs, and its error bound.

    Parameters
    ----------
    network : ReLUNetwork
    X : array of shape (N, d), optional
        Inputs whose ranges are those that will be met.
    ranges : array of shape (d, 2), optional
        Least and largest value of each input instead.
    bits : int from 4 to 24, default 16
        Bits of the weights, of the shifted inputs and of the activations, each with its sign.

    Notes
    -----
    The bound adds up, through both layers, half a unit of each rounding times what follows can make of it: σ is a
    contraction, so an error of t_j is at most one of σ(t_j). The errors of the weights are those that they have, times
    the largest magnitude of what they multiply.

    Raises
    ------
    ValueError
        If there are no ranges, they are not finite, or ``bits`` is out of range.
    """
    if isinstance(bits, bool) or not isinstance(bits, int | np.integer) or not 4 <= bits <= 24:
        raise ValueError(f"bits must be an integer from 4 to 24; got {bits!r}.")
    box = input_ranges(network.n_features, X, ranges)
    if box is None or not network.n_features:
        raise ValueError("Fixed point needs the ranges of the inputs: give X, or ranges of shape (inputs, 2).")
    pruned, most = network.pruned(), 2 ** (int(bits) - 1) - 1
    d, h, c = network.n_features, max(pruned.n_neurons, 1), network.n_outputs
    A, B = np.zeros((d + 1, h)), np.zeros((h, c))
    A[:, : pruned.n_neurons], B[: pruned.n_neurons] = pruned.A, pruned.B
    s = network.negative_slope
    # Inputs: the offset from the middle has the bits, and the code itself fits into 32.
    half, reach = (box[:, 1] - box[:, 0]) / 2, np.abs(box).max(axis=1)
    input_bits = np.minimum(_fractional_bits(half, most), _fractional_bits(reach, _LARGEST_CODE // 2))
    input_bits = np.where(reach > 0, input_bits, 0)
    least, largest = _codes(box[:, 0], input_bits), _codes(box[:, 1], input_bits)
    center = least + (largest - least) // 2
    z = np.maximum(largest - center, center - least).astype(np.float64)
    middle = np.ldexp(center.astype(np.float64), -input_bits)
    # Hidden layer: weights in units in which the largest has the bits; the bias may be longer.
    per_code = np.ldexp(A[1:], -input_bits[:, None])
    bias = A[0] + middle @ A[1:]
    hidden_bits = np.minimum(
        _fractional_bits(np.abs(per_code).max(axis=0), most), _fractional_bits(np.abs(bias), _LARGEST_BIAS)
    )
    W, a = np.rint(np.ldexp(per_code, hidden_bits)), np.rint(np.ldexp(bias, hidden_bits))
    sums = z @ np.abs(W) + np.abs(a)
    slope_bits = int(bits) + 6
    slope = round(s * 2**slope_bits)
    positive, negative = np.maximum(0.0, z @ np.abs(W) + a), np.maximum(0.0, z @ np.abs(W) - a)
    kept = np.maximum(positive, negative) if slope else positive
    hidden_shift = np.maximum(0, np.frexp(kept)[1] - (int(bits) - 1))
    above = np.ldexp(positive, -hidden_shift) + 1.0
    below = max(s, slope / 2**slope_bits) * (np.ldexp(negative, -hidden_shift) + 1.0) + 1.0
    activations = np.maximum(above, below)
    computing = (d + 2) * 2.0**-51 * (np.abs(A[0]) + np.abs(middle) @ np.abs(A[1:]))
    hidden_error = (
        np.ldexp(0.5, -input_bits) @ np.abs(A[1:])
        + z @ np.abs(np.ldexp(W, -hidden_bits) - per_code)
        + np.abs(np.ldexp(a, -hidden_bits) - bias)
        + computing
    )
    units = hidden_bits - hidden_shift
    activation_error = (
        hidden_error
        + abs(slope / 2**slope_bits - s) * (np.ldexp(negative, -hidden_bits) + np.ldexp(0.5, -units))
        + np.ldexp(0.5, -units) * ((hidden_shift > 0) + 1.0 * (slope > 0))
    )
    # Output layer.
    per_unit = np.ldexp(B, -units[:, None])
    sum_bits = np.minimum(
        _fractional_bits(np.abs(per_unit).max(axis=0), most),
        _fractional_bits(np.abs(pruned.b0), _LARGEST_BIAS),
    )
    V, v0 = np.rint(np.ldexp(per_unit, sum_bits)), np.rint(np.ldexp(pruned.b0, sum_bits))
    totals = activations @ np.abs(V) + np.abs(v0)
    up, down = np.maximum(V, 0.0), np.maximum(-V, 0.0)
    reached = np.maximum(above @ up + below @ down + v0, above @ down + below @ up - v0)
    output_shift = np.maximum(0, np.frexp(reached)[1] - 30)
    output_bits = sum_bits - output_shift
    error = (
        activation_error @ np.abs(B)
        + activations @ np.abs(np.ldexp(V, -sum_bits) - per_unit)
        + np.abs(np.ldexp(v0, -sum_bits) - pruned.b0)
        + np.ldexp(0.5, -output_bits) * (output_shift > 0)
    ) * _INFLATION
    largest_sum = float(
        max(sums.max(), (np.ldexp(negative, -hidden_shift).max() + 1.0) * slope, totals.max()) * _INFLATION
    )
    if not (np.isfinite(error).all() and largest_sum < _LARGEST_SUM):
        raise ValueError("The weights of the network are too far apart for fixed point; use float or double.")
    return FixedPointNetwork(
        input_bits=input_bits,
        output_bits=output_bits,
        least=least,
        largest=largest,
        center=center,
        W=W.astype(np.int64),
        a=a.astype(np.int64),
        hidden_shift=hidden_shift,
        B=V.astype(np.int64),
        b0=v0.astype(np.int64),
        output_shift=output_shift,
        slope=slope,
        slope_bits=slope_bits,
        largest_sum=largest_sum,
        error_bound=error,
        ranges=box,
        bits=int(bits),
    )


def _fractional_bits(magnitude: NDArray, most: int) -> NDArray:
    """Return the largest number of fractional bits with which numbers up to ``magnitude`` have codes up to ``most``."""
    exponent = np.frexp(magnitude)[1].astype(np.int64)
    bits = np.frexp(float(most))[1] - exponent
    fits = np.rint(np.ldexp(magnitude, bits)) <= most
    # Zero fits into anything; beyond 2^±300 nothing is left of a number but its sign.
    return np.where(magnitude > 0, np.clip(np.where(fits, bits, bits - 1), -300, 300), 300)


def _codes(values: NDArray, bits: NDArray) -> NDArray:
    """Return values · 2^bits, rounded to nearest, halves away from zero."""
    scaled = np.ldexp(values, bits)
    return (np.sign(scaled) * np.floor(np.abs(scaled) + 0.5)).astype(np.int64)


def _shifted(values: NDArray, shift: NDArray) -> NDArray:
    """Return values / 2^shift, rounded to nearest, halves away from zero."""
    half = np.where(shift > 0, np.left_shift(np.int64(1), np.maximum(shift, 1).astype(np.int64) - 1), 0)
    return np.sign(values) * np.right_shift(np.abs(values) + half, shift.astype(np.int64))
