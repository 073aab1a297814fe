"""Networks to export, and rows for them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from numpy.typing import NDArray

from anmin import ReLUNetwork
from anmin.export.centred import centred
from anmin.export.targets import Choices, write
from anmin.export.trial import predictions

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="GCC is not installed")
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")
HOSTILE = (
    "*/ int main(void) { return 1; } /*",
    "a\\",
    "??/\n#error trigraph",
    "line\nbreak\r\u2028\u0085#error",
    "=cmd|' /C calc'!A0",
    "../../etc/passwd; rm -rf $(HOME) `x`",
    "größe µm² \U0001f600",
    "//",
    "",
    "%s%n",
    "</script>",
)


def random_network(
    seed: int, d: int, h: int, c: int, slope: float, exponents: tuple[int, int] = (0, 0), offset: float = 0.0
) -> tuple[ReLUNetwork, NDArray]:
    """Return a network with weights of 10^exponents in the two layers, and 200 rows among its hyperplanes.

    The inputs have scales from 0.01 to 100 and lie ``offset`` times their scale from 0; they are numbers of float32.
    """
    rng = np.random.default_rng(seed)
    scale = 10.0 ** rng.uniform(-2, 2, d)
    mean = offset * scale * rng.choice([-1.0, 1.0], d)
    W = rng.standard_normal((d, h)) / scale[:, None]
    A = np.vstack([rng.standard_normal(h) - mean @ W, W]) * 10.0 ** exponents[0]
    B = rng.standard_normal((h, c)) * 10.0 ** exponents[1]
    b0 = rng.standard_normal(c) * 10.0 ** sum(exponents)
    X = mean + scale * rng.standard_normal((200, d))
    return ReLUNetwork(A, B, b0, slope), X.astype(np.float32).astype(np.float64)


@st.composite
def networks(draw: Any, largest_exponent: int = 15, largest_offset: float = 1e4) -> tuple[ReLUNetwork, NDArray]:
    """Draw networks of 1 to 8 inputs, 1 to 128 neurons and 1 to 4 outputs, both slopes, with huge and tiny weights."""
    d, h, c = draw(st.integers(1, 8)), draw(st.integers(1, 128)), draw(st.integers(1, 4))
    exponent = st.integers(-largest_exponent, largest_exponent)
    offset = draw(st.sampled_from([0.0, 1.0, largest_offset]))
    slope = draw(st.sampled_from([0.0, 0.1]))
    return random_network(draw(st.integers(0, 2**32 - 1)), d, h, c, slope, (draw(exponent), draw(exponent)), offset)


def exported(network: ReLUNetwork, target: str, folder: Path, rows: NDArray, /, **choices: Any) -> NDArray:
    """Write a network, run the file on rows, and return what it gives."""
    path = folder / "exported"
    return predictions(target, path, write(network, target, path, **choices), rows, network.n_outputs)


def assert_agrees(
    network: ReLUNetwork, result: NDArray, X: NDArray, number: Any, tolerance: float, **given: Any
) -> None:
    """Check results against ``predict``, relative to the terms that are added up, and against the stated bound."""
    form = centred(network, number, **given)
    error = np.abs(result - network.predict(X))
    assert np.all(error <= tolerance * form.terms(X)), (error / form.terms(X)).max()
    # predict has rounding errors of its own.
    assert np.all(error <= form.error_bound(X) + centred(network, "double").error_bound(X))


__all__ = ["HOSTILE", "Choices", "assert_agrees", "exported", "needs_gcc", "needs_node", "networks", "random_network"]
