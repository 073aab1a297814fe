"""Passes and steps on a GPU, against the same on the processor and PyTorch's Adam on the GPU.

The paper's five data sets by the shapes of their training rows, which are generated: times depend on these alone. For
each:

- the heavy pass, with its share of the device's own rate at products of matrices, measured beside it; the light one; a
  pass with float32 and with TF32 products, if accepted;
- an iteration of ANMIN, a step of VarPro and one of MatrixFree, and the heavy pass on the processor;
- ANMIN's 30 iterations, and a fit by default of 20 seconds, against Adam's epochs of the paper's recipe, in seconds and
  in mean squared error.

It needs a CUDA GPU. The table names it.

    python benchmarks/gpu.py
    python benchmarks/gpu.py --shapes sdf,year --epochs 3
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from anmin import ReLURegressor
from anmin.devices import checked_devices, require_torch
from anmin.lab import baselines, protocol
from anmin.lab.results import environment
from anmin.rows import ArrayRows, TorchRows
from anmin.rows.torch import Precision
from anmin.solvers import Anmin, MatrixFree, Problem, VarPro
from runs import names, positive, write

RESULTS = Path(__file__).parent / "results"
_REPEATS = 5
_EPOCHS = 300  # of the paper's recipe
_DEFAULT_SECONDS = 20.0  # for a fit by default


ROUGH: tuple[Precision, ...] = ("float32", "tf32")


class Shape(NamedTuple):
    """Rows, inputs, outputs and neurons."""

    n_rows: int
    n_features: int
    n_outputs: int
    n_neurons: int


SHAPES = {
    "abalone": Shape(3_341, 7, 1, 64),
    "bike": Shape(13_903, 13, 1, 64),
    "sdf": Shape(58_464, 2, 1, 64),
    "patches": Shape(12_729, 225, 225, 32),
    "year": Shape(515_345, 90, 1, 64),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the shapes that are asked for, and write the tables."""
    options = parse(arguments)
    path = options.results / "gpu.json"
    try:
        protocol.check_names("shape", options.shapes, SHAPES)
        device = str(checked_devices(options.device)[0])
        options.results.mkdir(parents=True, exist_ok=True)
        stored = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"shapes": {}}
        stored["machine"] = environment() | {"device": device_name(device)}
        stored["rates"] = {kind: rate_of_products(device, kind, options.order) for kind in ("float64", "float32")}
        for name in options.shapes:
            shape = SHAPES[name]._replace(n_rows=max(100, int(SHAPES[name].n_rows * options.share)))
            stored["shapes"][name] = shape._asdict() | measured(shape, device, int(options.epochs))
            write(path, json.dumps(stored, indent=1) + "\n")
            print(name, stored["shapes"][name], flush=True)
        write(options.results / "gpu.md", tables(stored))
    except (ValueError, ImportError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    print((options.results / "gpu.md").read_text(encoding="utf-8"))
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description="Passes and steps on a GPU, against the processor and Adam.")
    parser.add_argument("--shapes", type=names, default=list(SHAPES), help=f"of {', '.join(SHAPES)}")
    parser.add_argument("--device", default="cuda", help='"cuda", "cuda:1" and so on; "cpu" to try the benchmark')
    parser.add_argument("--share", type=positive(float), default=1.0, help="of the rows")
    parser.add_argument("--epochs", type=positive(int), default=10, help="of Adam; what 300 take is reckoned from them")
    parser.add_argument("--order", type=positive(int), default=8192, help="of the matrices of the device's own rate")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for gpu.json and gpu.md")
    return parser.parse_args(arguments)


def generated(shape: Shape) -> tuple[NDArray, NDArray]:
    """Return inputs (N, d) and targets (N, c) of unit deviation: a wider network's outputs, with noise."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((shape.n_rows, shape.n_features))
    hidden = np.maximum(X @ rng.standard_normal((shape.n_features, 100)) / np.sqrt(shape.n_features), 0)
    Y = hidden @ rng.standard_normal((100, shape.n_outputs))
    Y = (Y - Y.mean(axis=0)) / Y.std(axis=0)
    return X, Y + 0.3 * rng.standard_normal(Y.shape)


def measured(shape: Shape, device: str, epochs: int) -> dict[str, Any]:
    """Return the seconds of passes, iterations and fits."""
    X, Y = generated(shape)
    h, p = shape.n_neurons, shape.n_features + 1
    A = np.random.default_rng(1).standard_normal((p, h))
    rows, here = TorchRows(X, Y, device=device), ArrayRows(X, Y)
    found: dict[str, Any] = {
        "heavy": seconds(lambda: rows.statistics(A)),
        "light": seconds(lambda: rows.output_statistics(A)),
        "heavy_here": seconds(lambda: here.statistics(A), 1),
        "multiplications": shape.n_rows * (h * p) ** 2 / 2,
    }
    for precision in ROUGH:
        rough = TorchRows(X, Y, device=device, products=precision)
        found[precision] = seconds(lambda rough=rough: rough.statistics(A))
        found[f"{precision}_refused"] = bool(rough.refused)
    problem = Problem(rows, h, 0.001 / shape.n_rows)
    for solver in (Anmin(), VarPro(), MatrixFree()):
        state = solver.init(problem, None, np.random.default_rng(0))
        found[type(solver).__name__.lower()] = seconds(lambda solver=solver, state=state: solver.step(problem, state))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        begun = time.perf_counter()
        model = ReLURegressor(h, solver="anmin", standardize=False, device=device, random_state=0).fit(X, Y)
        found["fit"] = time.perf_counter() - begun
        begun = time.perf_counter()
        default = ReLURegressor(h, device=device, max_time=_DEFAULT_SECONDS, random_state=0).fit(X, Y)
        found["default"] = time.perf_counter() - begun
    for name, fitted in (("fit_mse", model), ("default_mse", default)):
        found[name] = float(np.mean((fitted.predict(X).reshape(Y.shape) - Y) ** 2))
    recipe = baselines.Recipe("adam", 0.03, epochs, 256, 100)
    adam = baselines.train(X, Y, h, recipe, 0, device=device)
    found |= {"adam_epochs": adam.epochs, "adam": adam.seconds}
    found["adam_mse"] = float(np.mean((adam.network.predict(X) - Y) ** 2))
    return found


def seconds(work: Callable[[], object], repeats: int = _REPEATS) -> float:
    """Return the median seconds of a call, after one to warm up. What is measured ends with its results here."""
    work()
    taken = []
    for _ in range(repeats):
        begun = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begun)
    return float(np.median(taken))


def rate_of_products(device: str, kind: str, order: int) -> float:
    """Return the multiplications with an addition, a second, of the device's products of large matrices."""
    torch = require_torch()
    matrix = torch.rand((order, order), dtype=getattr(torch, kind), device=device)
    return order**3 / seconds(lambda: (matrix @ matrix)[0, 0].item())


def device_name(device: str) -> str:
    """Return what the device calls itself."""
    return require_torch().cuda.get_device_name(device) if device.startswith("cuda") else device


def tables(stored: dict[str, Any]) -> str:
    """Return the tables of what is stored."""
    rates = stored["rates"]
    machine = ", ".join(f"{what} {value}" for what, value in stored["machine"].items() if not isinstance(value, dict))
    lines = [
        "# On a GPU",
        "",
        f"Device: {stored['machine']['device']}. Its own products of large matrices: "
        f"{2 * rates['float64'] / 1e9:,.0f} GFLOP/s in float64, {2 * rates['float32'] / 1e9:,.0f} in float32. Rows are "
        "generated, in the shapes of the paper's data sets. Medians of five.",
        "",
        "## Passes",
        "",
        "Operations of a heavy pass are counted as N·(h·p)², the upper triangle. Seconds end with the sums in memory. "
        "Rough products are refused where they do not give the loss to 1e-6.",
        "",
        "| shape: N, d, c, h | heavy, s | of the device's rate | on the processor, s | light, s | float32, s "
        "| TF32, s |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, row in stored["shapes"].items():
        share = row["multiplications"] / row["heavy"] / rates["float64"]
        rough = ["refused" if row[f"{kind}_refused"] else f"{row[kind]:.3g}" for kind in ROUGH]
        lines.append(
            f"| {_label(name, row)} | {row['heavy']:.3g} | {share:.0%} | {row['heavy_here']:.3g} | "
            f"{row['light']:.3g} | {' | '.join(rough)} |"
        )
    lines += [
        "",
        "## Iterations, and fits against Adam on the same device",
        "",
        f"Adam by the paper's recipe, batches of 256; what {_EPOCHS} epochs take is reckoned from those that were run. "
        f"A fit by default ends after {_DEFAULT_SECONDS:g} s.",
        "",
        "| shape | ANMIN, s an iteration | VarPro, s a step | MatrixFree, s a step | 30 of ANMIN, s | error "
        f"| by default, s | error | Adam, s an epoch | epochs | error | {_EPOCHS} epochs, s |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, row in stored["shapes"].items():
        epoch = row["adam"] / max(1, row["adam_epochs"])
        steps = " | ".join(f"{row[solver]:.3g}" for solver in ("anmin", "varpro", "matrixfree", "fit"))
        default = f"{row['default']:.3g} | {row['default_mse']:.4g}"
        lines.append(
            f"| {name} | {steps} | {row['fit_mse']:.4g} | {default} | {epoch:.3g} | {row['adam_epochs']} | "
            f"{row['adam_mse']:.4g} | {epoch * _EPOCHS:,.0f} |"
        )
    return "\n".join([*lines, "", f"Machine: {machine}.", ""])


def _label(name: str, row: dict[str, Any]) -> str:
    sizes = ", ".join(f"{row[what]:,}" for what in ("n_rows", "n_features", "n_outputs", "n_neurons"))
    return f"{name}: {sizes}"


if __name__ == "__main__":
    sys.exit(main())
