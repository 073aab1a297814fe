"""C99 in integers alone, for processors without floating point, with a stated error bound."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anmin.export.c import c_array, c_opening
from anmin.export.fixed_point import FixedPointNetwork, fixed_point
from anmin.export.text import identifier, sizes
from anmin.network import ReLUNetwork

_LARGEST_INT32_SUM = 2.0**30  # so that half a unit more, for rounding, fits too


def to_fixed_c(
    network: ReLUNetwork,
    name: str = "anmin",
    X: ArrayLike | None = None,
    ranges: ArrayLike | None = None,
    bits: int = 16,
) -> str:
    """Return a C99 header with the network in fixed point, ``void NAME(const int32_t x[], int32_t y[])``.

    It computes in int32_t and, where sums need it, int64_t. ``NAME_encode(i, value)`` and ``NAME_decode(k, code)`` go
    between numbers and codes; a program that gets codes from elsewhere needs neither, and then no floating point at
    all. The comment states the ranges, the formats, and a bound on the distance of each output to the network, for
    every input within the ranges. Codes beyond a range are taken as its end.

    Parameters
    ----------
    network : ReLUNetwork
    name : str, default "anmin"
        Name of the function, made a valid identifier.
    X, ranges, bits
        As for :func:`anmin.export.fixed_point.fixed_point`.

    Raises
    ------
    ValueError
        As for :func:`anmin.export.fixed_point.fixed_point`.
    """
    form, name = fixed_point(network, X, ranges, bits), identifier(name)
    d, h, c = (*form.W.shape, len(form.b0))
    macro, number = name.upper(), "int32_t" if form.largest_sum < _LARGEST_INT32_SUM else "int64_t"
    weight = "int8_t" if form.bits <= 8 else "int16_t" if form.bits <= 16 else "int32_t"

    def array(kind: str, label: str, values: NDArray) -> str:
        return c_array(kind, f"{name}_{label}", str(values.size), [str(value) for value in values.ravel()])

    arrays = [
        array("int32_t", "least", form.least),
        array("int32_t", "largest", form.largest),
        array("int32_t", "center", form.center),
        array(weight, "weights", form.W.T),
        array(number, "biases", form.a),
        array("uint8_t", "shifts", form.hidden_shift),
        array(weight, "output_weights", form.B),
        array(number, "output_biases", form.b0),
        array("uint8_t", "output_shifts", form.output_shift),
        c_array("double", f"{name}_input_units", str(d), [repr(float(v)) for v in np.ldexp(1.0, -form.input_bits)]),
        c_array("double", f"{name}_output_units", str(c), [repr(float(v)) for v in np.ldexp(1.0, -form.output_bits)]),
    ]
    negative = f"{name}_rounded(t * {form.slope}, {form.slope_bits})" if form.slope else "0"
    functions = f"""
/* v / 2^shift to nearest; only what is not negative is shifted, because C99 leaves the rest open. */
static inline {number} {name}_rounded({number} v, int shift)
{{
    const {number} half = shift > 0 ? ({number})1 << (shift - 1) : 0;
    return v >= 0 ? (v + half) >> shift : -((-v + half) >> shift);
}}

/* Code of a value of input i. */
static inline int32_t {name}_encode(int i, double value)
{{
    const double code = value / {name}_input_units[i];
    if (!(code > (double){name}_least[i])) {{
        return {name}_least[i];
    }}
    if (code >= (double){name}_largest[i]) {{
        return {name}_largest[i];
    }}
    return code >= 0.0 ? (int32_t)(code + 0.5) : -(int32_t)(0.5 - code);
}}

/* Value of a code of output k. */
static inline double {name}_decode(int k, int32_t code)
{{
    return code * {name}_output_units[k];
}}

static inline void {name}(const int32_t x[{macro}_INPUTS], int32_t y[{macro}_OUTPUTS])
{{
    {number} sums[{macro}_OUTPUTS];
    int i, j, k;
    for (k = 0; k < {c}; ++k) {{
        sums[k] = {name}_output_biases[k];
    }}
    for (j = 0; j < {h}; ++j) {{
        {number} t = {name}_biases[j];
        for (i = 0; i < {d}; ++i) {{
            int32_t z = x[i];
            z = z < {name}_least[i] ? {name}_least[i] : z;
            z = z > {name}_largest[i] ? {name}_largest[i] : z;
            t += ({number}){name}_weights[j * {d} + i] * (z - {name}_center[i]);
        }}
        t = {name}_rounded(t, {name}_shifts[j]);
        t = t < 0 ? {negative} : t;
        for (k = 0; k < {c}; ++k) {{
            sums[k] += {name}_output_weights[j * {c} + k] * t;
        }}
    }}
    for (k = 0; k < {c}; ++k) {{
        y[k] = (int32_t){name}_rounded(sums[k], {name}_output_shifts[k]);
    }}
}}
"""
    opening = c_opening(name, network, _stated(form, network), ["stdint.h"])
    return opening + "\n".join(arrays) + "\n" + functions + f"\n#endif /* {macro}_H */\n"


def _stated(form: FixedPointNetwork, network: ReLUNetwork) -> list[str]:
    d, h = form.W.shape
    lines = [
        f"{sizes(d, h, len(form.b0), network.negative_slope)}, in fixed point of {form.bits} bits.",
        "The value of x[i] is its code times 2 to the power of minus its fractional bits, so is that of y[k].",
    ]
    lines += [
        f"x[{i}] from {low!r} to {high!r}, {bits} fractional bits"
        for i, ((low, high), bits) in enumerate(zip(form.ranges.tolist(), form.input_bits, strict=True))
    ]
    lines += [
        f"y[{k}] has {bits} fractional bits; it is within {bound:.3g} of the network, for all inputs in these ranges"
        for k, (bits, bound) in enumerate(zip(form.output_bits, _rounded_up(form.error_bound), strict=True))
    ]
    return lines


def _rounded_up(bounds: NDArray) -> NDArray:
    # Three digits are printed, and a bound may not become smaller by that.
    return bounds * 1.005
