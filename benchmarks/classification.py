"""Classification against scikit-learn's MLPClassifier at the same number of neurons, whose penalty is tuned.

Digits, iris, breast cancer and wine, which scikit-learn brings: stratified folds, standardised inputs. MLPClassifier by
Adam and by L-BFGS gets the penalty with the best log loss in three-fold cross-validation within the training rows, of
1e-4 to 10 by decades; its seconds are told with and without that. ReLUClassifier has nothing set but its neurons.

    python benchmarks/classification.py
    python benchmarks/classification.py --datasets iris,wine --neurons 16 --folds 3
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import datasets
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

from anmin import ReLUClassifier
from anmin.lab import protocol
from anmin.lab.results import environment
from runs import names, positive, write

RESULTS = Path(__file__).parent / "results"
DATASETS: dict[str, Callable[..., Any]] = {
    "iris": datasets.load_iris,
    "wine": datasets.load_wine,
    "breast_cancer": datasets.load_breast_cancer,
    "digits": datasets.load_digits,
}
ALPHAS = [1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0]
RIVALS = ("ReLUClassifier", "MLPClassifier, adam", "MLPClassifier, lbfgs")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the data sets that are asked for, and write the table."""
    options = parse(arguments)
    path = options.results / "classification.json"
    try:
        protocol.check_names("data set", options.datasets, DATASETS)
        options.results.mkdir(parents=True, exist_ok=True)
        stored = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"sets": {}}
        stored["machine"] = environment()
        for name in options.datasets:
            stored["sets"][name] = compared(name, int(options.neurons), int(options.folds))
            write(path, json.dumps(stored, indent=1) + "\n")
            print(name, stored["sets"][name], flush=True)
        write(options.results / "classification.md", table(stored))
    except (ValueError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    print((options.results / "classification.md").read_text(encoding="utf-8"))
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description="Classification against MLPClassifier.")
    parser.add_argument("--datasets", type=names, default=list(DATASETS), help=f"of {', '.join(DATASETS)}")
    parser.add_argument("--neurons", type=positive(int), default=32)
    parser.add_argument("--folds", type=positive(int), default=5)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for classification.json and .md")
    return parser.parse_args(arguments)


def compared(name: str, n_neurons: int, folds: int) -> dict[str, Any]:
    """Return what each rival comes to on the folds of a data set."""
    X, y = DATASETS[name](return_X_y=True)
    found: dict[str, Any] = {"n_rows": len(X), "n_neurons": n_neurons, "rivals": {}}
    for rival in RIVALS:
        runs = [
            run(rival, n_neurons, X[fitted], y[fitted], X[held_out], y[held_out])
            for fitted, held_out in StratifiedKFold(folds, shuffle=True, random_state=0).split(X, y)
        ]
        found["rivals"][rival] = {what: [one[what] for one in runs] for what in runs[0]}
    return found


def run(rival: str, n_neurons: int, X: NDArray, y: NDArray, new_X: NDArray, new_y: NDArray) -> dict[str, float]:
    """Return test log loss and accuracy, and the seconds of a fit, without tuning and with it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        begun = time.perf_counter()
        scaler = StandardScaler().fit(X)
        X, new_X = scaler.transform(X), scaler.transform(new_X)
        if rival == "ReLUClassifier":
            model = ReLUClassifier(n_neurons, random_state=0).fit(X, y)
            seconds = time.perf_counter() - begun
        else:
            settings = {"solver": rival.split(", ")[1], "max_iter": 1000, "random_state": 0}
            tuned = GridSearchCV(
                MLPClassifier((n_neurons,), **settings), {"alpha": ALPHAS}, cv=3, scoring="neg_log_loss"
            ).fit(X, y)
            model, seconds = tuned.best_estimator_, tuned.refit_time_
        whole = time.perf_counter() - begun
    probabilities = model.predict_proba(new_X)
    return {
        "log_loss": float(log_loss(new_y, probabilities, labels=model.classes_)),
        "accuracy": float(np.mean(model.classes_[probabilities.argmax(axis=1)] == new_y)),
        "seconds": seconds,
        "seconds_with_tuning": whole,
    }


def table(stored: dict[str, Any]) -> str:
    """Return the report."""
    lines = ["# Classification", "", " ".join((__doc__ or "").split("\n\n")[1].split()), ""]
    for name, found in stored["sets"].items():
        lines += [
            f"## {name}: {found['n_rows']:,} rows, {found['n_neurons']} neurons",
            "",
            "|  | test log loss | accuracy | s | s with tuning |",
            "| --- | ---: | ---: | ---: | ---: |",
        ]
        for rival, runs in found["rivals"].items():
            loss, accuracy = np.array(runs["log_loss"]), np.array(runs["accuracy"])
            lines.append(
                f"| {rival} | {loss.mean():.4f} ± {loss.std(ddof=1):.3f} | {accuracy.mean():.4f} | "
                f"{np.median(runs['seconds']):.2f} | {np.median(runs['seconds_with_tuning']):.2f} |"
            )
        lines.append("")
    machine = ", ".join(f"{what} {value}" for what, value in stored["machine"].items() if not isinstance(value, dict))
    return "\n".join([*lines, f"Machine: {machine}.", ""])


if __name__ == "__main__":
    sys.exit(main())
