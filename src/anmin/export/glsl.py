"""GLSL: a field of two or three coordinates as a function of a shader, for WebGL 1 and 2."""

from __future__ import annotations

from numpy.typing import ArrayLike, NDArray

from anmin.export.centred import centred
from anmin.export.text import described, identifier, literal, sizes
from anmin.network import ReLUNetwork

_TYPES = {1: "float", 2: "vec2", 3: "vec3", 4: "vec4"}


def to_glsl(network: ReLUNetwork, name: str = "anmin_field", X: ArrayLike | None = None) -> str:
    """Return a GLSL function ``float NAME(vec2 p)``, of a vec3 for three inputs; several outputs are a vector.

    It compiles as GLSL ES 1.00 and 3.00, to be pasted after ``#version`` and before its use. There are no arrays, which
    ES 1.00 cannot initialise: each neuron is two lines.

    Parameters
    ----------
    network : ReLUNetwork
        Of 2 or 3 inputs and at most 4 outputs.
    name : str, default "anmin_field"
        Name of the function, made a valid identifier.
    X : array of shape (N, d), optional
        Inputs that will be met, by which the shift of the inputs is chosen (:func:`anmin.export.centred.centred`).

    Raises
    ------
    ValueError
        If there are other numbers of inputs or outputs, or a weight is too large for float32.
    """
    if network.n_features not in (2, 3) or network.n_outputs > len(_TYPES):
        raise ValueError(
            "GLSL takes fields of 2 or 3 inputs and at most 4 outputs; this network has "
            f"{network.n_features} inputs and {network.n_outputs} outputs."
        )
    form = centred(network, "float", X)
    name = identifier(name, "anmin_field")
    d, h, c = (*form.W.shape, len(form.b0))
    point, result = _TYPES[d], _TYPES[c]

    def vector(values: NDArray) -> str:
        numbers = [literal(value, single=True) for value in values]
        return numbers[0] if len(numbers) == 1 else f"{_TYPES[len(numbers)]}({', '.join(numbers)})"

    neurons = []
    for j in range(h):
        neurons.append(f"    t = dot(p, {vector(form.W[:, j])}) + {vector(form.a[[j]])};")
        bent = f"max(t, {literal(form.negative_slope, single=True)} * t)" if form.negative_slope else "max(t, 0.0)"
        neurons.append(f"    y += {bent} * {vector(form.B[j])};")
    lines = [
        "// A two-layer ReLU network, made by anmin. GLSL ES 1.00 and 3.00.",
        f"// {sizes(d, h, c, form.negative_slope)}.",
        *(f"// {line}" for line in described(network.feature_names, d, "p", "input")),
        *(f"// {line}" for line in described(network.output_names, c, "result", "output")),
        "#ifdef GL_ES",
        "#ifdef GL_FRAGMENT_PRECISION_HIGH",
        "precision highp float;",
        "#else",
        "precision mediump float;",
        "#endif",
        "#endif",
        "",
        f"{result} {name}({point} p)",
        "{",
        *([f"    p -= {vector(form.center)};"] if form.is_shifted else []),
        "    float t;",
        f"    {result} y = {vector(form.b0)};",
        *neurons,
        "    return y;",
        "}",
    ]
    return "\n".join(lines) + "\n"
