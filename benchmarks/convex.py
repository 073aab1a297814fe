"""The convex programs against pyscnn: the same objective, rows, gates and conditions of optimality, in one run.

Inputs and targets are standardised, the first target alone, and a column of ones is added; there is no output bias.
Gates are drawn at random: as many as asked for that differ on the rows and come near none of them, so that both
packages see the same patterns. pyscnn runs with its defaults: columns of length one, float32, its accelerated proximal
gradient (gated) or augmented Lagrangian (relu) until the least subgradient, squared, is at most 1e-6. anmin gets the
penalty converted (anmin.objective.alpha_from_scnn) and, for gated programs, stops by the same rule; where its objective
is then higher than pyscnn's, at the first lower tolerance at which it is not. What either returns is judged by one
function, in float64. Seconds are from arrays to weights, the median of three runs where they are short. "At its time"
is the lowest objective that anmin reaches in at most pyscnn's seconds, by lower tolerances, each from the start.

    python benchmarks/convex.py
    python benchmarks/convex.py --parts gated --datasets abalone --penalties 1e-3,1e-4
    python benchmarks/convex.py --parts relu --datasets concrete --penalties 1e-3 --neurons 20

Needs pyscnn: pip install --no-deps pyscnn linalg_backends; pip install cvxpy opt_einsum tqdm torch.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anmin import datasets
from anmin.lab import protocol
from anmin.lab.results import environment
from anmin.lab.rivals import quiet
from anmin.objective import alpha_from_scnn
from anmin.rows import ArrayRows
from anmin.solvers.convex import solve_convex
from anmin.solvers.gated import solve_gated
from runs import names, positive, write

RESULTS = Path(__file__).parent / "results"
DATASETS = ("abalone", "bike_sharing", "concrete", "power")
PARTS = ("gated", "relu")
TOLERANCE = 1e-6  # pyscnn's, of the square of the least subgradient
NEAR = 2e-6  # of a row to a gate's plane, as a part of the gate's length: float32 might see it on the other side
SHORT, RUNS = 20.0, 3  # seconds of a run up to which it is one of so many
TIGHTER = (1.0, 0.5, 0.25, 0.1, 0.03, 0.01, 1e-3, 1e-4, 1e-6)  # tolerances of the subgradient


@dataclass(frozen=True)
class Problem:
    """Rows x̃ (N, p), their column of ones first, target y (N,), gates (p, P), pyscnn's penalty; alpha for ours."""

    X: NDArray
    y: NDArray
    gates: NDArray
    penalty: float

    @property
    def length(self) -> float:
        """Length of every column."""
        return float(np.sqrt(len(self.X)))

    @property
    def alpha(self) -> float:
        """The penalty in the loss of anmin."""
        return alpha_from_scnn(self.penalty, 1, self.length)

    @property
    def on(self) -> NDArray:
        """Open gates, (N, P) of 0 and 1."""
        return (self.X @ self.gates > 0).astype(np.float64)

    @property
    def largest(self) -> float:
        """The penalty from which on all weights are zero."""
        slopes = (self.on * self.y[:, None]).T @ self.X / len(self.X)
        return float(np.linalg.norm(slopes, axis=1).max())

    def judged(self, U: NDArray, V: NDArray | None = None) -> dict[str, float]:
        """Return pyscnn's objective and more, of gated weights U (P, p), or of cone-constrained U and V."""
        n, alpha, signs = len(self.X), self.alpha, 2 * self.on - 1
        W = U if V is None else U - V
        R = (self.X @ W.T * self.on).sum(axis=1) - self.y
        norms = np.linalg.norm(U, axis=1) if V is None else np.linalg.norm(np.concatenate([U, V]), axis=1)
        found = {"objective": float(R @ R / (2 * n) + alpha * norms.sum()), "active": int(np.sum(norms > 0))}
        if V is None:
            gradient = -(self.on * R[:, None]).T @ self.X / n
            slopes = np.linalg.norm(gradient, axis=1)
            unit = U / np.where(norms > 0, norms, 1.0)[:, None]
            least = np.where(norms > 0, np.linalg.norm(gradient - alpha * unit, axis=1), np.maximum(slopes - alpha, 0))
            return found | {"subgradient": float(least @ least) / n}
        across = [self.X @ part.T * signs for part in (U, V)]
        return found | {"violation": float(np.sqrt(sum(np.sum(np.minimum(part, 0) ** 2) for part in across)))}


def problem(name: str, n_gates: int, penalty: float) -> Problem:
    """Return the problem of a data set."""
    data = datasets.load(name)
    X, y = np.asarray(data.X, dtype=np.float64), np.asarray(data.y, dtype=np.float64).reshape(len(data.X), -1)[:, 0]
    X = X[:, X.std(axis=0) > 0]
    X, y = (X - X.mean(axis=0)) / X.std(axis=0), (y - y.mean()) / y.std()
    X = np.column_stack([np.ones(len(X)), X])
    kept: dict[bytes, NDArray] = {}
    rng = np.random.default_rng(0)
    while len(kept) < n_gates:
        gate = rng.standard_normal(X.shape[1])
        across = X @ gate
        if np.abs(across).min() > NEAR * np.linalg.norm(gate) and across.max() > 0:
            kept.setdefault(np.packbits(across > 0).tobytes(), gate)
    return Problem(X, y, np.column_stack(list(kept.values())), penalty)


def ours_gated(given: Problem, factor: float) -> tuple[NDArray, ...]:
    """Return the gated weights of anmin, for a tolerance of the subgradient that is ``factor`` times pyscnn's."""
    rows = ArrayRows(given.X[:, 1:], given.y)
    tol = factor * np.sqrt(TOLERANCE) * given.length / given.largest
    return (solve_gated(rows, given.gates, given.alpha, tol=tol, intercept=False).V[:, :, 0],)


def ours_relu(given: Problem, factor: float) -> tuple[NDArray, ...]:
    """Return the cone-constrained weights of anmin."""
    tol = factor * np.sqrt(TOLERANCE) * given.length / given.largest
    found = solve_convex(ArrayRows(given.X, given.y), given.gates, given.alpha, tol=tol, bias=False)
    return found.U[:, :, 0], found.V[:, :, 0]


def pyscnn(given: Problem, model_name: str, solver_name: str) -> tuple[NDArray, ...]:
    """Return the weights of pyscnn, in the order of the gates."""
    optimize = importlib.import_module("scnn.optimize")
    model: Any = getattr(importlib.import_module("scnn.models"), model_name)(given.gates * given.length)
    solver = getattr(importlib.import_module("scnn.solvers"), solver_name)(model, tol=TOLERANCE)
    regularizer = importlib.import_module("scnn.regularizers").NeuronGL1(given.penalty)
    metrics = importlib.import_module("scnn.metrics").Metrics()
    with quiet():
        model, _ = optimize.optimize_model(
            model, solver, metrics, given.X, given.y, regularizer=regularizer, return_convex=True
        )
    # It sorts the gates by their patterns.
    place = {column.tobytes(): j for j, column in enumerate((given.X @ model.G.astype(np.float64) > 0).T)}
    order = [place[column.tobytes()] for column in (given.on > 0).T]
    return tuple(part[0][order].astype(np.float64) for part in model.parameters)


SOLVERS: dict[str, tuple[Callable[..., Any], str, str]] = {
    "gated": (ours_gated, "ConvexGatedReLU", "RFISTA"),
    "relu": (ours_relu, "ConvexReLU", "AL"),
}


def timed(solve: Callable[[], tuple[NDArray, ...]], given: Problem) -> dict[str, float]:
    """Return what a solver's weights come to, and its seconds."""
    seconds: list[float] = []
    while not seconds or (len(seconds) < RUNS and seconds[0] <= SHORT):
        begun = time.perf_counter()
        weights = solve()
        seconds.append(time.perf_counter() - begun)
    return given.judged(*weights) | {"seconds": float(np.median(seconds))}


def compared(part: str, given: Problem) -> dict[str, Any]:
    """Return both packages' results, and the lowest objective of anmin in pyscnn's time."""
    ours, model, solver = SOLVERS[part]
    small = Problem(given.X[:200], given.y[:200], given.gates[:, :3], 0.1)
    ours(small, 1.0)  # what is compiled, or imported, at the first call
    importlib.import_module("scnn.optimize")
    found: dict[str, Any] = {"rows": len(given.X), "inputs": given.X.shape[1] - 1, "gates": given.gates.shape[1]}
    found["pyscnn"] = rival = timed(lambda: pyscnn(given, model, solver), given)
    tolerances = iter(TIGHTER)
    for factor in tolerances:
        found["anmin"] = timed(partial(ours, given, factor), given) | {"tolerance": factor}
        if found["anmin"]["objective"] <= rival["objective"]:
            break
    found["at its time"] = found["anmin"]
    for factor in tolerances:
        begun = time.perf_counter()
        weights = ours(given, factor)
        taken = time.perf_counter() - begun
        if taken > rival["seconds"]:
            break
        better = given.judged(*weights) | {"seconds": taken, "tolerance": factor}
        found["at its time"] = min(found["at its time"], better, key=lambda result: result["objective"])
    found["times faster"] = rival["seconds"] / found["anmin"]["seconds"]
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts and data sets that are asked for, and write the table after each."""
    options = parse(arguments)
    path = options.results / "convex.json"
    try:
        protocol.check_names("part", options.parts, PARTS)
        protocol.check_names("data set", options.datasets, DATASETS)
        options.results.mkdir(parents=True, exist_ok=True)
        stored = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"runs": {}}
        threads = importlib.import_module("torch").get_num_threads()
        stored["machine"] = environment() | {"torch_threads": threads}
        for part in options.parts:
            size = int(options.gates if part == "gated" else options.neurons // 2)
            for name in options.datasets:
                for penalty in map(float, options.penalties):
                    key = f"{part}, {name}, {penalty:g}"
                    stored["runs"][key] = compared(part, problem(name, size, penalty))
                    write(path, json.dumps(stored, indent=1) + "\n")
                    write(options.results / "convex.md", table(stored))
                    print(key, stored["runs"][key], flush=True)
    except ModuleNotFoundError as error:
        print(f"Error: {error.name} is needed. {(__doc__ or '').strip().splitlines()[-1]}", file=sys.stderr)
        return 2
    except (ValueError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    print((options.results / "convex.md").read_text(encoding="utf-8"))
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description="The convex programs against pyscnn.")
    parser.add_argument("--parts", type=names, default=["gated"], help=f"of {', '.join(PARTS)}")
    parser.add_argument("--datasets", type=names, default=list(DATASETS), help=f"of {', '.join(DATASETS)}")
    parser.add_argument("--penalties", type=names, default=["1e-2", "1e-3", "1e-4", "1e-6"], help="pyscnn's λ")
    parser.add_argument("--gates", type=positive(int), default=500, help="of the gated program")
    parser.add_argument("--neurons", type=positive(int), default=100, help="of the ReLU program: twice its gates")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for convex.json and .md")
    return parser.parse_args(arguments)


def table(stored: dict[str, Any]) -> str:
    """Return the report."""
    lines = ["# The convex programs", "", " ".join((__doc__ or "").split("\n\n")[1].split()), ""]
    for part, last in (("gated", "subgradient"), ("relu", "violation")):
        runs = {key: run for key, run in stored["runs"].items() if key.startswith(f"{part},")}
        if not runs:
            continue
        what = "squared subgradient" if last == "subgradient" else "length of the violation"
        lines += [
            f"## {part}",
            "",
            f"| problem | pyscnn s | anmin s | times faster | pyscnn objective | anmin objective | at its time | "
            f"pyscnn {what} | anmin {what} | gates in use, pyscnn and anmin |",
            "| --- " + "| ---: " * 9 + "|",
        ]
        for key, run in runs.items():
            theirs, ours, later = run["pyscnn"], run["anmin"], run["at its time"]
            title = f"{key.removeprefix(part + ', ')} ({run['rows']:,} × {run['inputs']}, {run['gates']} gates)"
            lines.append(
                f"| {title} | {theirs['seconds']:.2f} | {ours['seconds']:.3f} | {run['times faster']:.1f} | "
                f"{theirs['objective']:.6f} | {ours['objective']:.6f} | {later['objective']:.6f} | "
                f"{theirs[last]:.1e} | {ours[last]:.1e} | {theirs['active']} and {ours['active']} |"
            )
        lines.append("")
    machine = ", ".join(f"{what} {value}" for what, value in stored["machine"].items() if not isinstance(value, dict))
    return "\n".join([*lines, f"Machine: {machine}.", ""])


if __name__ == "__main__":
    sys.exit(main())
