"""The search for a deep optimum, measured: how deep, how surely, and what each of its parts is worth.

Four studies, each a section of ``search.md``:

- depth: training and test errors at the paper's penalty, with targets for the training errors;
- seeds: how far apart the training errors of fits from different seeds are;
- planted: how often a network is found again that made the data without noise;
- ablation: the errors without one part of the method at a time.

The runs are stored one by one, and the same command goes on where it was interrupted. The data are read from the folder
that ANMIN_DATA names (see docs/data.md).

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/search.py
    python benchmarks/search.py --study depth,seeds
    python benchmarks/search.py --study ablation --datasets concrete,yacht --splits 3
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from anmin import ReLUNetwork, ReLURegressor
from anmin.history import Status
from anmin.lab import accuracy, contest, protocol
from anmin.lab.protocol import Split
from anmin.lab.rivals import Ours
from anmin.rows import ArrayRows
from anmin.solvers.systems import solve_semidefinite
from runs import names, positive, write
from search_parts import FULL, VARIANTS, Unavailable
from search_tables import DATASETS, PLANTED_INPUTS, PLANTED_ROWS, STUDIES, column, tables

RESULTS = Path(__file__).parent / "results"
DEPTH_SPLITS, ABLATION_SPLITS, SEEDS, PLANTED_SEEDS = 10, 1, 20, 10
PLANTED_NEURONS = 8
ABLATION_SECONDS = 60.0


@dataclass(frozen=True)
class Job:
    """One fit that is asked for; the last two settings have to be those of the stored run."""

    study: str
    dataset: str
    split: int
    seed: int
    variant: str
    n_neurons: int
    max_time: float | None


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the runs that are missing, and write the tables."""
    options = parse(arguments)
    path = options.results / "search.json"
    try:
        done = options.tables_only or complete(path, asked(options), again=options.again)
        text = tables(stored(path))
        write(options.results / "search.md", text)
    except KeyboardInterrupt:
        once_more = "the same command without --again" if options.again else "the same command"
        say(f"Interrupted; the finished runs are stored, and {once_more} goes on from there.", sys.stderr)
        return 130
    except (ValueError, ImportError, OSError) as error:
        say(f"Error: {error}", sys.stderr)
        return 2
    say(text)
    return 0 if done else 2


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description="Depth, spread and recovery of the search, and an ablation.")
    parser.add_argument("--study", type=names, default=list(STUDIES), help=f"of {', '.join(STUDIES)}; by default all")
    parser.add_argument("--datasets", type=names, help="in place of those of each study; planted has its own")
    parser.add_argument(
        "--splits", type=positive(int), help=f"by default {DEPTH_SPLITS} for depth, {ABLATION_SPLITS} for ablation"
    )
    parser.add_argument("--seeds", type=positive(int), help=f"by default {SEEDS} for seeds, {PLANTED_SEEDS} planted")
    parser.add_argument("--variants", type=names, help=f"of {', '.join(VARIANTS)}; by default all")
    parser.add_argument("--neurons", type=positive(int), help="by default 64; 32 for patches, 8 for planted")
    parser.add_argument(
        "--max-time", type=positive(float), help=f"seconds of a fit, by default {ABLATION_SECONDS:g} for ablation"
    )
    parser.add_argument("--again", action="store_true", help="drop the stored runs of what is asked for, and redo them")
    parser.add_argument("--tables-only", action="store_true", help="only write the tables of the stored runs")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for search.json and search.md")
    return parser.parse_args(arguments)


def asked(options: argparse.Namespace) -> list[Job]:
    """Return the fits that are asked for, or raise ValueError for a name or number of splits that is not there."""
    protocol.check_names("study", options.study, STUDIES)
    protocol.check_names("data set", options.datasets or [], accuracy.FIELDS)
    protocol.check_names("variant", options.variants or [], VARIANTS)
    jobs = []
    for study in options.study:
        limit = options.max_time or (ABLATION_SECONDS if study == "ablation" else None)
        for name in DATASETS[study] if study == "planted" else options.datasets or DATASETS[study]:
            if study in ("depth", "ablation"):
                splits = options.splits or (DEPTH_SPLITS if study == "depth" else ABLATION_SPLITS)
                check_splits(name, splits)
                cases = [(split, split) for split in range(splits)]
            else:
                cases = [(0, seed) for seed in range(options.seeds or (SEEDS if study == "seeds" else PLANTED_SEEDS))]
            width = options.neurons or (PLANTED_NEURONS if study == "planted" else accuracy.FIELDS[name].n_neurons)
            variants = {"depth": ["paper_penalty"], "ablation": options.variants or VARIANTS}.get(study, [FULL])
            jobs += [Job(study, name, *case, variant, width, limit) for case in cases for variant in variants]
    return jobs


def check_splits(name: str, splits: int) -> None:
    """Raise ValueError if a UCI set has not as many splits; the paper's sets are split anew as often as is asked."""
    most = accuracy.FIELDS[name].n_splits
    if name not in protocol.STUDIES and splits > most:
        raise ValueError(f"The data set {name!r} has {most} splits; {splits} were asked for.")


def complete(path: Path, jobs: list[Job], *, again: bool) -> bool:
    """Make the runs that the file lacks; return whether all could be made."""
    there = {key(run): run for run in stored(path)}
    for job in () if again else jobs:
        check_settings(path, job, there.get(key(asdict(job))))
    jobs = [job for job in jobs if again or key(asdict(job)) not in there]
    for name in dict.fromkeys(job.dataset for job in jobs if job.study != "planted"):
        accuracy.load_split(name, 0)  # data that are missing are told of before hours of work
    path.parent.mkdir(parents=True, exist_ok=True)
    if again:
        dropped = {key(asdict(job)) for job in jobs}
        write(path, document([run for run in there.values() if key(run) not in dropped]))
    Ours().prepare()  # what is compiled at its first use belongs to no run
    missing = set()
    for job in jobs:
        if job.variant in missing:
            continue
        try:
            run = made(job)
        except Unavailable as error:
            missing.add(job.variant)
            say(f"Error: {job.variant} cannot be run: {error}", sys.stderr)
            continue
        # Read again: another process may have added runs in the meantime.
        write(path, document([*(old for old in stored(path) if key(old) != key(run)), run]))
        say(
            f"{' '.join(map(str, key(run)))}: train {column([run], 'train_mse')[0]:.5g}, "
            f"test {column([run], 'test_mse')[0]:.5g}, {run['seconds']:.3g} s, {run['status']}"
        )
    return not missing


def check_settings(path: Path, job: Job, run: dict[str, Any] | None) -> None:
    """Raise ValueError if the stored run of a job was made with other settings."""
    if run is None or (run["n_neurons"], run["max_time"]) == (job.n_neurons, job.max_time):
        return
    before, now = (
        f"{n_neurons} neurons and {'no limit of time' if limit is None else f'{limit:g} s at most'}"
        for n_neurons, limit in ((run["n_neurons"], run["max_time"]), (job.n_neurons, job.max_time))
    )
    raise ValueError(
        f"{path} has runs of {job.study} on {job.dataset} with {before}; asked for are {now}. "
        "Name another folder by --results, or replace them by --again."
    )


def made(job: Job) -> dict[str, Any]:
    """Return the run of a job, ready for JSON."""
    planting = job.study == "planted"
    split = planted(job.seed, job.n_neurons) if planting else accuracy.load_split(job.dataset, job.split)
    variant = VARIANTS[job.variant]
    settings = variant.settings(len(split.X_train))
    model = ReLURegressor(job.n_neurons, max_time=job.max_time, random_state=job.seed, **settings)
    with variant.around(), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the status is stored
        started = contest.clocks()
        model.fit(split.X_train, split.y_train)
    seconds, processor_seconds = contest.since(started)
    if model.status_ is Status.INTERRUPTED:
        raise KeyboardInterrupt  # what the fit has come to by then is no result
    return {
        **asdict(job),
        **facts(model, split),
        "seconds": seconds,
        "processor_seconds": processor_seconds,
    }


def planted(seed: int, n_neurons: int) -> Split:
    """Return rows that a random network made without noise; the test rows are made by the same network."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((PLANTED_ROWS, PLANTED_INPUTS))
    A = rng.standard_normal((PLANTED_INPUTS + 1, n_neurons))
    network = ReLUNetwork(A, rng.standard_normal((n_neurons, 1)), rng.standard_normal(1))
    X_test = rng.standard_normal(X.shape)
    return Split(X, network.predict(X), X_test, network.predict(X_test))


def facts(model: ReLURegressor, split: Split) -> dict[str, Any]:
    """Return what is to be known of a fitted model, ready for JSON."""
    train_mse, test_mse = protocol.errors(model.network_, split)
    numbers = {
        "train_mse": train_mse,
        "test_mse": test_mse,
        "variance": float(np.mean((split.y_train - split.y_train.mean(axis=0)) ** 2)),
        "alpha": float(model.alpha_),
        "loss": float(model.loss_),
        "ridge_loss": ridge_loss(model, split),
    }
    losses = model.history_["loss"]
    return {
        "n_train": len(split.X_train),
        **{name: value if math.isfinite(value) else None for name, value in numbers.items()},
        "not_above_ridge": numbers["loss"] <= numbers["ridge_loss"],
        "never_rises": bool(np.all(np.diff(losses) <= 0)),
        "dead_neurons": int(model.history_["dead_neurons"][-1]),
        "n_iter": int(model.n_iter_),
        "status": model.status_.name,
    }


def ridge_loss(model: ReLURegressor, split: Split) -> float:
    """Return the loss of ridge regression at the penalty of a model, in the coordinates that it was solved in.

    min over W of (1/n) Σ_i ‖x̃_iᵀW − y_i‖² + alpha·‖W‖², the intercept penalised like the network's biases.
    """
    rows = model.scaling_.apply(ArrayRows(split.X_train, split.y_train))
    Xt = np.column_stack([np.ones(rows.n_rows), rows.X])
    system = Xt.T @ Xt / rows.n + model.alpha_ * np.eye(Xt.shape[1])
    W = solve_semidefinite(system, Xt.T @ rows.Y / rows.n)
    return float(np.sum((Xt @ W - rows.Y) ** 2) / rows.n + model.alpha_ * np.sum(W**2))


# Files


def stored(path: Path) -> list[dict[str, Any]]:
    """Return the runs in the file, in the order in which they were made."""
    if not path.exists():
        return []
    try:
        runs = json.loads(path.read_text(encoding="utf-8"))["runs"]
        for run in runs:
            key(run)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"The results file {path} cannot be read ({error!r}); move it away.") from None
    return runs


def key(run: dict[str, Any]) -> tuple:
    """Return what tells a run from others."""
    return tuple(run[name] for name in ("study", "dataset", "split", "seed", "variant"))


def document(runs: list[dict[str, Any]]) -> str:
    """Return the runs as JSON, one a line."""
    lines = ",\n".join(json.dumps(run, allow_nan=False) for run in runs)
    return f'{{"runs": [\n{lines}\n]}}\n'


def say(text: str, file: Any = None) -> None:
    """Print a line at once, also into a file."""
    print(text, file=file or sys.stdout, flush=True)


if __name__ == "__main__":
    sys.exit(main())
