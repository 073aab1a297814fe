"""The forms that a network can be exported to: how each is written, in which number types, and how its file is used."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import dataclass

from numpy.typing import ArrayLike

from anmin.atomic import written_atomically
from anmin.export.centred import Number
from anmin.export.text import identifier
from anmin.network import ReLUNetwork, check_relu


@dataclass(frozen=True)
class Choices:
    """What a user may choose about an export.

    Attributes
    ----------
    number : {"float", "double", "fixed"}
        Type of the arithmetic; which there are depends on the target.
    name : str
        Of the function in source text.
    X : array of shape (N, d), optional
        Inputs that will be met: float32 is centred by them, fixed point takes its ranges from them.
    bits : int
        Of fixed point.
    """

    number: str
    name: str = "anmin"
    X: ArrayLike | None = None
    bits: int = 16

    @property
    def floating(self) -> Number:
        """The number type where it is one of floating point."""
        return "float" if self.number == "float" else "double"

    @property
    def field_name(self) -> str:
        """The name of the function of a shader."""
        return identifier(f"{self.name}_field", "anmin_field")


@dataclass(frozen=True)
class Target:
    """One form of export.

    Attributes
    ----------
    title : str
    suffix : str
        Usual ending of its files.
    numbers : tuple of str
        Types of arithmetic there are, the default first.
    contents : callable
        From network and choices to the bytes of the file.
    usage : str
        How to go on with a file; {path} is replaced by its path as Python has it, {quoted} by it as a shell has it,
        {name} and {field} by the names of the functions, {kind} by the type of numbers in C, {inputs} and {outputs} by
        how many there are.
    """

    title: str
    suffix: str
    numbers: tuple[str, ...]
    contents: Callable[[ReLUNetwork, Choices], bytes]
    usage: str


def write(
    network: ReLUNetwork,
    target: str,
    path: str | os.PathLike,
    *,
    number: str | None = None,
    name: str = "anmin",
    X: ArrayLike | None = None,
    bits: int = 16,
) -> Choices:
    """Write a network to a file in the form of a target; it appears whole or not at all.

    Parameters
    ----------
    network : ReLUNetwork
    target : {"onnx", "torch", "c", "glsl", "javascript", "json"}
    path : path
    number : str, optional
        Type of the arithmetic, by default the first of the target's.
    name : str, default "anmin"
        Name of the function in source text, made a valid identifier.
    X : array of shape (N, d), optional
        Inputs that will be met.
    bits : int, default 16
        Of fixed point.

    Returns
    -------
    Choices
        What was chosen, for :func:`anmin.export.trial.predictions`.

    Raises
    ------
    ValueError
        If there is no such target, or it does not have the number type or take the network.
    ImportError
        If a package is missing.
    """
    if target not in TARGETS:
        raise ValueError(f"target must be one of {', '.join(TARGETS)}; got {target!r}.")
    check_relu(network, "An export")
    numbers = TARGETS[target].numbers
    if number is not None and number not in numbers:
        raise ValueError(f"The number type of {target} must be one of {', '.join(numbers)}; got {number!r}.")
    choices = Choices(number or numbers[0], identifier(name), X, bits)
    contents = TARGETS[target].contents(network, choices)
    with written_atomically(path) as temporary:
        temporary.write_bytes(contents)
    return choices


def _onnx(network: ReLUNetwork, choices: Choices) -> bytes:
    from anmin.export.onnx import to_onnx

    return to_onnx(network, choices.floating, choices.X).SerializeToString()


def _torch(network: ReLUNetwork, choices: Choices) -> bytes:
    from anmin.export.torch import exported_program, to_torch, torch

    buffer = io.BytesIO()
    torch.export.save(exported_program(to_torch(network, choices.floating, choices.X)), buffer)
    return buffer.getvalue()


def _c(network: ReLUNetwork, choices: Choices) -> bytes:
    from anmin.export.c import to_c
    from anmin.export.fixed_c import to_fixed_c

    if choices.number == "fixed":
        return to_fixed_c(network, choices.name, choices.X, bits=choices.bits).encode("ascii")
    return to_c(network, choices.name, choices.floating, choices.X).encode("ascii")


def _glsl(network: ReLUNetwork, choices: Choices) -> bytes:
    from anmin.export.glsl import to_glsl

    return to_glsl(network, choices.field_name, choices.X).encode("ascii")


def _javascript(network: ReLUNetwork, choices: Choices) -> bytes:
    from anmin.export.javascript import to_javascript

    return to_javascript(network, choices.name).encode("ascii")


def _json(network: ReLUNetwork, choices: Choices) -> bytes:
    return network.to_json().encode("utf-8")


TARGETS = {
    "onnx": Target(
        "ONNX model",
        ".onnx",
        ("float", "double"),
        _onnx,
        'onnxruntime.InferenceSession({path}).run(None, {{"x": X}}) in Python.',
    ),
    "torch": Target(
        "PyTorch program", ".pt2", ("double", "float"), _torch, "torch.export.load({path}).module()(X) in Python."
    ),
    "c": Target(
        "C99 header",
        ".h",
        ("float", "double", "fixed"),
        _c,
        "include {path} in a C program, call {name}(x, y) with {kind} x[{inputs}], y[{outputs}], "
        "and compile: gcc main.c",
    ),
    "glsl": Target("GLSL function", ".glsl", ("float",), _glsl, "paste {path} into a shader, and call {field}(p)."),
    "javascript": Target(
        "JavaScript module", ".mjs", ("double",), _javascript, "import {{ {name} }} from {path}, and call {name}(x)."
    ),
    "json": Target("JSON model", ".json", ("double",), _json, "anmin predict {quoted} DATA"),
}
