"""Running what was exported, by the tools that would run it elsewhere, to see that it predicts the same."""

from __future__ import annotations

import io
import json
import math
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anmin.export.centred import crease_center
from anmin.export.targets import Choices
from anmin.network import ReLUNetwork

_SECONDS = 120
STRICT_C = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic")


class CannotRun(RuntimeError):
    """A tool that would run an export is not there; the message says which."""


@dataclass(frozen=True)
class Trial:
    """What came of running an export.

    Attributes
    ----------
    n_rows : int
    difference : float
        Largest absolute difference to ``predict`` on these rows, in units of y.
    arithmetic : float
        The same where ``predict`` is given the inputs as float32 has them, if that is what the export is given; the
        rest of the difference is from rounding the inputs.
    largest_output : float
        Largest absolute value predicted.
    """

    n_rows: int
    difference: float
    arithmetic: float
    largest_output: float


def tried(network: ReLUNetwork, target: str, path: Path, choices: Choices, X: ArrayLike) -> Trial:
    """Run an exported file on rows X (N, d), and compare it with the network.

    Raises
    ------
    CannotRun
        If a tool is missing or fails.
    """
    X = np.asarray(X, dtype=np.float64)
    given = X.astype(np.float32).astype(np.float64) if choices.number == "float" else X
    result, expected = predictions(target, path, choices, given, network.n_outputs), network.predict(X)
    # NaN of the export must not pass for agreement.
    difference = np.nan_to_num(np.abs(result - expected), nan=math.inf)
    arithmetic = np.nan_to_num(np.abs(result - network.predict(given)), nan=math.inf)
    return Trial(len(X), *(float(values.max(initial=0.0)) for values in (difference, arithmetic, np.abs(expected))))


def predictions(target: str, path: Path, choices: Choices, X: NDArray, n_outputs: int) -> NDArray:
    """Return what an exported file gives for rows X (N, d), as float64 (N, c).

    Raises
    ------
    CannotRun
        If a tool is missing or fails.
    """
    result = np.asarray(_RUNNERS[target](Path(path), choices, X, n_outputs), dtype=np.float64)
    return result.reshape(len(X), n_outputs)


def rows_to_try(network: ReLUNetwork, n_rows: int = 1000, seed: int = 0) -> NDArray:
    """Return random rows (n_rows, d) around the hyperplanes of the neurons, for a network that came without data."""
    pruned = network.pruned()
    center = crease_center(pruned)
    weight = np.hypot.reduce(pruned.B, axis=1)
    with np.errstate(all="ignore"):
        offset = np.abs(pruned.A[0] + center @ pruned.A[1:]) @ weight
        scale = offset / (np.abs(pruned.A[1:]) @ weight)
    scale = np.where(np.isfinite(scale) & (scale > 0), scale, 1.0)
    return center + scale * np.random.default_rng(seed).standard_normal((n_rows, network.n_features))


def _onnx(path: Path, choices: Choices, X: NDArray, n_outputs: int) -> NDArray:
    try:
        import onnxruntime
    except ImportError:
        raise CannotRun("onnxruntime is not installed: pip install anmin[onnx]") from None
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": X.astype(np.float32 if choices.number == "float" else np.float64)})[0]


def _torch(path: Path, choices: Choices, X: NDArray, n_outputs: int) -> NDArray:
    try:
        import torch
    except ImportError:
        raise CannotRun("PyTorch is not installed: pip install anmin[torch]") from None
    module = torch.export.load(io.BytesIO(path.read_bytes())).module()
    with torch.no_grad():
        return module(torch.tensor(X, dtype=torch.float32 if choices.number == "float" else torch.float64)).numpy()


def _c(path: Path, choices: Choices, X: NDArray, n_outputs: int) -> NDArray:
    name = choices.name
    kind = {"float": "float", "double": "double", "fixed": "int32_t"}[choices.number]
    macro = name.upper()
    encode, decode = "", "(double)y[i]"
    if choices.number == "fixed":
        encode, decode = f"{name}_encode(i, value)", f"{name}_decode(i, y[i])"
    program = f"""
#include "exported.h"
#include <stdio.h>

int main(void)
{{
    {kind} x[{macro}_INPUTS], y[{macro}_OUTPUTS];
    double value;
    int i = 0;
    while (scanf("%lf", &value) == 1) {{
        x[i] = {encode or f"({kind})value"};
        if (++i == {macro}_INPUTS) {{
            {name}(x, y);
            for (i = 0; i < {macro}_OUTPUTS; ++i) {{
                printf("%.17g\\n", {decode});
            }}
            i = 0;
        }}
    }}
    return 0;
}}
"""
    return _compiled_and_run(path, program, STRICT_C, X)


def _glsl(path: Path, choices: Choices, X: NDArray, n_outputs: int) -> NDArray:
    """Run the statements of the shader as C, with vectors of GCC: they are the same in both."""
    d = X.shape[1]
    shown = ["(double)y"] if n_outputs == 1 else [f"(double)y[{k}]" for k in range(n_outputs)]
    printed = " ".join(f'printf("%.17g\\n", {value});' for value in shown)
    products = " + ".join(f"a[{i}] * b[{i}]" for i in range(d))
    program = f"""
#include <stdio.h>
typedef float vec2 __attribute__((vector_size(8)));
typedef float vec3 __attribute__((vector_size(16)));
typedef float vec4 __attribute__((vector_size(16)));
#define vec2(a, b) ((vec2){{a, b}})
#define vec3(a, b, c) ((vec3){{a, b, c, 0.0}})
#define vec4(a, b, c, d) ((vec4){{a, b, c, d}})
static inline float max(float a, float b) {{ return a > b ? a : b; }}
static inline float dot(vec{d} a, vec{d} b) {{ return {products}; }}
#include "exported.h"

int main(void)
{{
    vec{d} p = {{0}};
    float value;
    int i = 0;
    while (scanf("%f", &value) == 1) {{
        p[i] = value;
        if (++i == {d}) {{
            {"float" if n_outputs == 1 else f"vec{n_outputs}"} y = {choices.field_name}(p);
            {printed}
            i = 0;
        }}
    }}
    return 0;
}}
"""
    return _compiled_and_run(path, program, ("-std=gnu99", "-fsingle-precision-constant", "-ffp-contract=off"), X)


def _javascript(path: Path, choices: Choices, X: NDArray, n_outputs: int) -> NDArray:
    node = _tool("node", "Node.js")
    module = path.read_text(encoding="ascii")
    # On standard input, so that neither the ending of the file nor its path matters.
    calls = f"console.log(JSON.stringify({json.dumps(X.tolist())}.map((row) => {choices.name}(row))));"
    printed = _output([node, "--input-type=module", "-"], f"{module}\n{calls}\n")
    return np.array(json.loads(printed), dtype=np.float64)


def _json(path: Path, choices: Choices, X: NDArray, n_outputs: int) -> NDArray:
    return ReLUNetwork.load(path).predict(X)


_RUNNERS: dict[str, Callable[[Path, Choices, NDArray, int], NDArray]] = {
    "onnx": _onnx,
    "torch": _torch,
    "c": _c,
    "glsl": _glsl,
    "javascript": _javascript,
    "json": _json,
}


def _compiled_and_run(path: Path, program: str, flags: Sequence[str], X: NDArray) -> NDArray:
    compiler = _tool("gcc", "GCC")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "exported.h").write_bytes(path.read_bytes())
        (folder / "main.c").write_text(program, encoding="ascii")
        _output([compiler, *flags, "-O1", "-o", str(folder / "main"), str(folder / "main.c")], "")
        printed = _output([str(folder / "main")], "\n".join(map(repr, X.ravel().tolist())))
    return np.array(printed.split(), dtype=np.float64)


def _tool(command: str, name: str) -> str:
    found = shutil.which(command)
    if found is None:
        raise CannotRun(f"{name} is not installed, or the command {command} is not on the path")
    return found


def _output(command: Sequence[str], given: str) -> str:
    try:
        done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotRun(f"{Path(command[0]).name} could not be run: {type(error).__name__}") from None
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise CannotRun(f"{Path(command[0]).name} failed: {said[0] if said else done.returncode}")
    return done.stdout
