"""JavaScript: an ES module without dependencies, in the float64 arithmetic of the language."""

from __future__ import annotations

from numpy.typing import NDArray

from anmin.export.centred import centred
from anmin.export.text import described, identifier, literal, sizes, wrapped
from anmin.network import ReLUNetwork


def to_javascript(network: ReLUNetwork, name: str = "anmin") -> str:
    """Return an ES module that exports ``NAME(x)``, from an array of d numbers to one of c numbers.

    For 2 or 3 inputs and one output it exports ``NAME_field(x, y)`` or ``NAME_field(x, y, z)`` too, from numbers to a
    number. Also exported are ``NAME_inputs`` and ``NAME_outputs``, the numbers of both.

    Parameters
    ----------
    network : ReLUNetwork
    name : str, default "anmin"
        Name of the function, made a valid identifier.
    """
    form = centred(network, "double")
    name = identifier(name)
    d, h, c = (*form.W.shape, len(form.b0))

    def array(label: str, values: NDArray) -> str:
        items = wrapped([literal(value, single=False) for value in values.ravel()], "  ")
        return f"const {name}_{label} = new Float64Array([\n{items}\n]);"

    negative = f"t * {literal(form.negative_slope, single=False)}" if form.negative_slope else "0.0"
    lines = [
        "// A two-layer ReLU network, made by anmin. An ES module; remove the word export for a plain script.",
        f"// {sizes(d, h, c, form.negative_slope)}.",
        *(f"// {line}" for line in described(network.feature_names, d, "x", "input")),
        *(f"// {line}" for line in described(network.output_names, c, "result", "output")),
        array("weights", form.W.T),
        array("biases", form.a),
        array("output_weights", form.B),
        array("output_biases", form.b0),
        f"export const {name}_inputs = {d};",
        f"export const {name}_outputs = {c};",
        f"""
export function {name}(x) {{
  const y = Array.from({name}_output_biases);
  for (let j = 0; j < {h}; ++j) {{
    let t = {name}_biases[j];
    for (let i = 0; i < {d}; ++i) t += {name}_weights[j * {d} + i] * x[i];
    if (t < 0.0) t = {negative};
    for (let k = 0; k < {c}; ++k) y[k] += {name}_output_weights[j * {c} + k] * t;
  }}
  return y;
}}""",
    ]
    if d in (2, 3) and c == 1:
        arguments = ", ".join("xyz"[:d])
        lines.append(f"\nexport function {name}_field({arguments}) {{\n  return {name}([{arguments}])[0];\n}}")
    return "\n".join(lines) + "\n"
