"""C99: one header without allocation, in float or double."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anmin.export.centred import CentredNetwork, centred
from anmin.export.text import described, identifier, literal, sizes, wrapped
from anmin.network import ReLUNetwork


def to_c(
    network: ReLUNetwork, name: str = "anmin", number: Literal["float", "double"] = "float", X: ArrayLike | None = None
) -> str:
    """Return a C99 header with the function ``void NAME(const float x[NAME_INPUTS], float y[NAME_OUTPUTS])``.

    The header needs no other, allocates nothing and uses 4 or 8 bytes of stack. It compiles without warnings by
    ``gcc -std=c99 -Wall -Wextra -Werror -pedantic``.

    Parameters
    ----------
    network : ReLUNetwork
    name : str, default "anmin"
        Name of the function, made a valid identifier (:func:`anmin.export.text.identifier`).
    number : {"float", "double"}, default "float"
        Type of the arithmetic. With "float" the inputs are shifted first where that saves digits
        (:func:`anmin.export.centred.centred`).
    X : array of shape (N, d), optional
        Inputs that will be met; by them the shift is chosen, and the header states the error bound on them.

    Returns
    -------
    str
        ASCII text. Its rounding error is at most :meth:`anmin.export.centred.CentredNetwork.error_bound`.

    Raises
    ------
    ValueError
        If a weight is too large for the type.
    """
    form = centred(network, number, X)
    name = identifier(name)
    single = number == "float"
    d, h, c = (*form.W.shape, len(form.b0))
    suffix = "f" if single else ""

    def array(label: str, values: NDArray, size: str) -> str:
        return c_array(number, f"{name}_{label}", size, [literal(v, single=single) + suffix for v in values.ravel()])

    slope, zero = literal(form.negative_slope, single=single) + suffix, "0.0" + suffix
    negative = f"t * {slope}" if form.negative_slope else zero
    inputs = f"x[i] - {name}_center[i]" if form.is_shifted else "x[i]"
    arrays = [
        array("weights", form.W.T, f"{h * d}"),
        array("biases", form.a, f"{h}"),
        array("output_weights", form.B, f"{h * c}"),
        array("output_biases", form.b0, f"{c}"),
    ]
    if form.is_shifted:
        arrays.insert(0, array("center", form.center, f"{d}"))
    shift = ["The centre is subtracted from the inputs first, which saves digits."] if form.is_shifted else []
    header = c_opening(
        name,
        network,
        [
            f"{sizes(d, h, c, form.negative_slope)}, in {number}.",
            *shift,
            *bound_lines(form, X),
        ],
    )
    body = f"""
static inline void {name}(const {number} x[{name.upper()}_INPUTS], {number} y[{name.upper()}_OUTPUTS])
{{
    int i, j, k;
    for (k = 0; k < {c}; ++k) {{
        y[k] = {name}_output_biases[k];
    }}
    for (j = 0; j < {h}; ++j) {{
        {number} t = {name}_biases[j];
        for (i = 0; i < {d}; ++i) {{
            t += {name}_weights[j * {d} + i] * ({inputs});
        }}
        t = t < {zero} ? {negative} : t;
        for (k = 0; k < {c}; ++k) {{
            y[k] += {name}_output_weights[j * {c} + k] * t;
        }}
    }}
}}
"""
    return header + "\n".join(arrays) + "\n" + body + f"\n#endif /* {name.upper()}_H */\n"


def bound_lines(form: CentredNetwork, X: ArrayLike | None) -> list[str]:
    """Return what is stated about the rounding error in a header."""
    d, h = form.W.shape
    stated = [
        f"Rounding error of y[k], to first order at most {(d + h + 7) * form.roundoff:.1e} times",
        "|b0[k]| + sum over j of |B[j][k]| (|a[j]| + sum over i of |W[j][i]| |x[i] - center[i]|).",
    ]
    if X is not None:
        X = np.asarray(X, dtype=np.float64)
        stated.append(f"On the {len(X)} given rows: at most {np.max(form.error_bound(X)):.3g}.")
    return stated


def c_opening(name: str, network: ReLUNetwork, lines: Sequence[str], includes: Sequence[str] = ()) -> str:
    """Return the top of a header: comment, include guard, and the numbers of inputs and outputs."""
    guard = name.upper()
    names = [
        *described(network.feature_names, network.n_features, "x", "input"),
        *described(network.output_names, network.n_outputs, "y", "output"),
    ]
    text = ["A two-layer ReLU network, made by anmin. Valid C99.", *lines, *names]
    return "\n".join(
        [
            "/*",
            *(f" * {line}" for line in text),
            " */",
            f"#ifndef {guard}_H",
            f"#define {guard}_H",
            "",
            *(f"#include <{include}>" for include in includes),
            *([""] if includes else []),
            f"#define {guard}_INPUTS {network.n_features}",
            f"#define {guard}_OUTPUTS {network.n_outputs}",
            "",
            "",
        ]
    )


def c_array(kind: str, name: str, size: str, items: Sequence[str]) -> str:
    """Return the definition of a constant array."""
    return f"static const {kind} {name}[{size}] = {{\n{wrapped(items, '    ')}\n}};"
