"""Rules for choosing the penalty, judged by the test error of the networks that they choose.

On every split of every data set, networks are fitted to all training rows along one path of penalties, and each rule
names one of them; held-out rows name theirs on a second path, fitted without a fifth of the training rows. So the rules
differ by the penalty alone. The runs are stored one by one, and the same command goes on where it was interrupted. The
data are read from the folder that ANMIN_DATA names (see docs/data.md).

    OPENBLAS_NUM_THREADS=1 python benchmarks/selection.py
    python benchmarks/selection.py --datasets concrete,yacht --splits 3
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from anmin import alpha_path, datasets
from anmin.path import AlphaPath
from anmin.rows import ArrayRows, Scaling
from anmin.selection import choose_alpha
from anmin.solvers import Problem
from runs import write

RESULTS = Path(__file__).parent / "results"
DATASETS = ("abalone", "bike_sharing", "concrete", "energy", "yacht", "wine_red", "diabetes")
RULES = {
    "gcv": "generalised cross-validation",
    "leave_one_out": "leave-one-out",
    "held_out": "held-out rows",
    "fixed_point": "evidence, fixed point",
    "evidence": "evidence, largest on the path",
    "least": "smallest penalty of the path",
}
N_NEURONS, MOST_ROWS = 32, 5000
STEPS = np.arange(4, -7, -1) / 2  # decades about the choice of the evidence, which is one of the path


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the runs that are missing, and write the tables."""
    parser = argparse.ArgumentParser(description="Rules for choosing the penalty, judged by test errors.")
    parser.add_argument("--datasets", default=",".join(DATASETS), help="comma-separated names")
    parser.add_argument("--splits", type=int, default=5, help="splits of each data set")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for selection.json and selection.md")
    options = parser.parse_args(arguments)
    path = options.results / "selection.json"
    runs: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["runs"] if path.exists() else []
    try:
        for name in options.datasets.split(","):
            for split in range(options.splits):
                if any((run["dataset"], run["split"]) == (name, split) for run in runs):
                    continue
                runs.append(run_split(name, split))
                write(path, document(runs))
                print(f"{name} {split}: {runs[-1]['seconds']:.1f} s, {runs[-1]['chosen']}", flush=True)
    except KeyboardInterrupt:
        print("Interrupted; the finished runs are stored, and the same command goes on from there.", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    write(options.results / "selection.md", tables(runs))
    print((options.results / "selection.md").read_text(encoding="utf-8"))
    return 0


def run_split(name: str, split: int) -> dict[str, Any]:
    """Return the test errors along the path of one split, and which position each rule chooses."""
    X, y = load(name)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, random_state=split)
    started = time.perf_counter()
    rows = ArrayRows(X_train, y_train)
    problem = Problem(Scaling.standard(rows).apply(rows), N_NEURONS, 0.0)
    alpha = choose_alpha(problem, np.random.default_rng(split)).alpha
    chosen_after = time.perf_counter() - started
    alphas = alpha * 10.0**STEPS
    settings: dict[str, Any] = {"alphas": alphas, "n_neurons": N_NEURONS, "random_state": split}
    full = alpha_path(X_train, y_train, X_val=X_test, y_val=y_test, **settings)
    path_after = time.perf_counter() - started - chosen_after
    part = alpha_path(X_train, y_train, validation_fraction=0.2, **settings)
    chosen = {
        "gcv": full.choose("gcv"),
        "leave_one_out": full.choose("leave_one_out"),
        "held_out": part.choose("held_out"),
        "fixed_point": int(np.flatnonzero(STEPS == 0)[0]),
        "evidence": full.choose("evidence"),
        "least": len(alphas) - 1,
    }
    return {
        "dataset": name,
        "split": split,
        "n_train": len(X_train),
        "variance": float(np.mean((y_test - y_train.mean()) ** 2)),
        "test_mse": full.held_out_mse.tolist(),
        "chosen": chosen,
        "path": columns(full),
        "held_out_path": columns(part),
        "fixed_point_seconds": chosen_after,
        "path_seconds": path_after,
        "seconds": time.perf_counter() - started,
    }


def load(name: str) -> tuple[NDArray, NDArray]:
    """Return a data set, of a large one always the same random rows."""
    data = datasets.load(name)
    if len(data.X) <= MOST_ROWS:
        return data.X, data.y
    kept = np.sort(np.random.default_rng(0).choice(len(data.X), MOST_ROWS, replace=False))
    return data.X[kept], data.y[kept]


def columns(path: AlphaPath) -> dict[str, list]:
    """Return a path without what JSON has no number for."""
    return {
        name: [None if isinstance(value, float) and not np.isfinite(value) else value for value in values]
        for name, values in path.to_dict().items()
    }


def tables(runs: list[dict[str, Any]]) -> str:
    """Return the comparison as Markdown."""
    names = [name for name in DATASETS if any(run["dataset"] == name for run in runs)]
    names += sorted({run["dataset"] for run in runs} - set(names))
    counts = {name: sum(run["dataset"] == name for run in runs) for name in names}
    lines = [
        "# Rules for choosing the penalty",
        "",
        f"Networks of {N_NEURONS} neurons, variable projection without relocation, {min(counts.values())} splits into "
        f"80 % training and 20 % test rows; of larger sets {MOST_ROWS:,} rows. Test error / variance of the test "
        "targets, means over the splits; the least of the rules is bold.",
        "",
        "| | " + " | ".join(names) + " |",
        "|---|" + "---:|" * len(names),
    ]
    shown = {rule: [mean(runs, name, rule) for name in names] for rule in RULES}
    least = [min(values) for values in zip(*shown.values(), strict=True)]
    for rule, values in shown.items():
        cells = [
            f"**{value:.4g}**" if value <= best * 1.0005 else f"{value:.4g}"
            for value, best in zip(values, least, strict=True)
        ]
        lines.append(f"| {RULES[rule]} | " + " | ".join(cells) + " |")
    hindsight = [f"{np.mean([relative(run).min() for run in runs if run['dataset'] == name]):.4g}" for name in names]
    lines += ["| *best in hindsight* | " + " | ".join(hindsight) + " |", ""]
    lines += [
        "Test error over that of the best penalty of the same split in hindsight, over all data sets and splits, with "
        "the standard error of its geometric mean; the "
        "penalty over the best one, in decades; and the seconds that the choice takes on one core, median over the "
        "splits (those of a path include its fits).",
        "",
        "| | geometric mean | worst data set | worst split | penalty, median | penalty, middle 80 % | seconds |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for rule, text in RULES.items():
        regret = np.array([relative(run)[run["chosen"][rule]] / relative(run).min() for run in runs])
        logs = np.log(regret)
        by_set = [np.mean(logs[[run["dataset"] == name for run in runs]]) for name in names]
        away = np.array([STEPS[run["chosen"][rule]] - STEPS[int(relative(run).argmin())] for run in runs])
        low, middle, high = np.quantile(away, [0.1, 0.5, 0.9])
        lines.append(
            f"| {text} | {np.exp(np.mean(logs)):.3f} ± {logs.std(ddof=1) / np.sqrt(len(logs)):.3f} "
            f"| {np.exp(max(by_set)):.3f} | {regret.max():.3f} | "
            f"{middle:+.1f} | {low:+.1f} to {high:+.1f} | {cost(runs, rule):.2g} |"
        )
    return "\n".join(lines) + "\n"


def mean(runs: list[dict[str, Any]], name: str, rule: str) -> float:
    """Return the mean test error of a rule on a data set, over the variance."""
    return float(np.mean([relative(run)[run["chosen"][rule]] for run in runs if run["dataset"] == name]))


def relative(run: dict[str, Any]) -> NDArray:
    """Return the test errors along the path over the variance of the test targets."""
    return np.array(run["test_mse"]) / run["variance"]


def cost(runs: list[dict[str, Any]], rule: str) -> float:
    """Return the median seconds that a rule takes."""
    if rule == "fixed_point":
        return float(np.median([run["fixed_point_seconds"] for run in runs]))
    if rule == "held_out":
        return float(np.median([run["seconds"] - run["fixed_point_seconds"] for run in runs]))
    return float(np.median([run["path_seconds"] for run in runs]))


def document(runs: list[dict[str, Any]]) -> str:
    """Return the runs as JSON, one a line."""
    lines = ",\n".join(json.dumps(run, allow_nan=False) for run in runs)
    return f'{{"n_neurons": {N_NEURONS},\n"runs": [\n{lines}\n]}}\n'


if __name__ == "__main__":
    sys.exit(main())
