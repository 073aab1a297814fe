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
import inspect
import json
import math
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from sklearn.exceptions import ConvergenceWarning

from anmin import ReLUNetwork, ReLURegressor, estimators
from anmin.atomic import written_atomically
from anmin.blas import threads_for_factors
from anmin.history import Record, Status
from anmin.lab import accuracy, contest, protocol
from anmin.lab.protocol import Split
from anmin.lab.rivals import Ours
from anmin.lab.standings import listed, number
from anmin.objective import alpha_from_sum
from anmin.rows import ArrayRows
from anmin.search import Recombining
from anmin.search.initialisation import hyperplanes_through_rows
from anmin.search.recombination import RecombiningState
from anmin.solvers import Problem, State, VarPro
from anmin.solvers.systems import hidden_system, output_layer, projected_system, solve_semidefinite
from anmin.solvers.varpro import VarProState
from anmin.statistics import PatternStatistics

RESULTS = Path(__file__).parent / "results"
DATASETS = {
    "depth": ("horse_sdf", "bike_sharing", "abalone"),
    "seeds": ("horse_sdf",),
    "planted": ("planted",),
    "ablation": ("horse_sdf", "bike_sharing", "abalone", "concrete", "energy", "wine_red", "yacht"),
}
#: Largest mean squared error on the training rows, in squared units of y, that counts as deep.
DEPTH_TARGETS = {"horse_sdf": 1.2, "bike_sharing": 800.0, "abalone": 3.0}
SPREAD_TARGET = 0.15  # standard deviation over mean
RECOVERY_TARGET = 0.9  # share of planted networks
RECOVERED = 1e-12  # mean squared error over the variance of y
DEPTH_SPLITS, ABLATION_SPLITS, SEEDS, PLANTED_SEEDS = 10, 1, 20, 10
PLANTED_NEURONS, PLANTED_INPUTS, PLANTED_ROWS = 8, 5, 2000
ABLATION_SECONDS = 60.0
_LEAST_GAIN, _HALVINGS = 1e-4, 50
_DAMPINGS = 10.0 ** np.arange(-12, 1)


# Parts of the method put out of action


class Unavailable(RuntimeError):
    """This version of the package lacks what a variant would put out of action."""


@dataclass(frozen=True)
class WithoutFlips(Recombining):
    """The search without its last resort, neurons turned round: it counts as tried already."""

    def step(self, problem: Problem, state: State) -> RecombiningState:
        """Return the state after one step."""
        assert isinstance(state, RecombiningState)
        return super().step(problem, replace(state, turned=True))


@dataclass(frozen=True)
class HeldOutput(VarPro):
    """Levenberg–Marquardt on the hidden layer with the output layer held, which is then solved: block by block.

    A step differs from that of variable projection by its matrix alone. A trial still has its best output layer.
    """

    def step(self, problem: Problem, state: State) -> VarProState:
        """Return the state after one step that lowers the loss, or the same one, settled, if there is none."""
        with replaced(held_system, "anmin.solvers.varpro.projected_system"):
            return super().step(problem, state)


def held_system(
    statistics: PatternStatistics, A: NDArray, B: NDArray, b0: NDArray, alpha: float
) -> tuple[NDArray, NDArray]:
    """Return matrix and half the gradient of the loss of A at a fixed output layer, as ``projected_system`` does."""
    M, c = hidden_system(statistics, B, b0)
    M[np.diag_indices_from(M)] += alpha
    return M, M @ A.T.reshape(-1) - c


@dataclass(frozen=True)
class Undamped(VarPro):
    """Variable projection by Gauss–Newton steps, halved until the loss falls, in place of damped ones.

    The matrix has the least damping, of its diagonal, with which it can be factored.
    """

    def step(self, problem: Problem, state: State) -> VarProState:
        """Return the state after one step that lowers the loss, or the same one, settled, if there is none."""
        assert isinstance(state, VarProState)
        network, alpha = state.network, problem.alpha
        M, gradient = projected_system(state.statistics, network.A, network.B, network.b0, alpha)
        diagonal = np.maximum(np.diagonal(M), np.finfo(np.float64).eps * np.diagonal(M).max())
        optimality = float(np.max(np.abs(gradient) / np.sqrt(diagonal * max(state.loss, 1e-300))))
        step = gauss_newton_step(M, diagonal, gradient)
        # To first order the loss falls by twice this times the length of the step.
        slope = 0.0 if step is None else float(-gradient @ step)
        if step is None or optimality <= self.optimality_tol or slope <= self.decrease_tol * state.loss:
            return self._settled(state, optimality)
        for length in 0.5 ** np.arange(_HALVINGS):
            A = network.A + length * step.reshape(network.A.T.shape).T
            output = problem.rows.output_statistics(A, problem.negative_slope)
            decrease = state.loss - output.loss(A, *output_layer(output, alpha), alpha)
            if decrease > _LEAST_GAIN * length * slope:
                statistics = problem.rows.statistics(A, problem.negative_slope, state.statistics)
                taken = self._at(problem, A, statistics, Record(optimality=optimality, branch="step"), state.damping)
                # Rounding may differ between the passes, as in VarPro.
                return taken if taken.loss < state.loss else self._settled(state, optimality)
        return self._settled(state, optimality)


def gauss_newton_step(M: NDArray, diagonal: NDArray, gradient: NDArray) -> NDArray | None:
    """Return −M⁻¹·gradient, damped as little as it takes; None where no damping helps."""
    with threads_for_factors(len(M)):
        for damping in _DAMPINGS:
            try:
                factor = cho_factor(M + np.diag(damping * diagonal), lower=True, check_finite=False)
            except LinAlgError:
                continue
            return cho_solve(factor, -gradient, check_finite=False)
    return None


@contextmanager
def replaced(value: Any, *places: str) -> Iterator[None]:
    """Let modules find ``value`` by these dotted names, for as long as the context lasts."""
    with ExitStack() as stack:
        for place in places:
            try:
                stack.enter_context(patch(place, value))
            except AttributeError:
                raise Unavailable(f"There is no {place} in this version to be replaced.") from None
        yield


def without_linear_start() -> AbstractContextManager[None]:
    """Return a context in which starts have no linear neurons."""

    def start(problem: Problem, rng: np.random.Generator) -> NDArray:
        return hyperplanes_through_rows(problem.rows, problem.n_neurons, rng)

    return replaced(start, "anmin.search.recombination.starting_weights", "anmin.selection.starting_weights")


def solving_by(kind: type[VarPro]) -> Callable[[], AbstractContextManager[None]]:
    """Return what makes a context in which the penalty, and a first network with it, are found by that solver."""
    return lambda: replaced(kind, "anmin.selection.VarPro")


@contextmanager
def without_relevance() -> Iterator[None]:
    """Keep the scales of the inputs equal."""
    choose = getattr(estimators, "choose_alpha", None)
    if choose is None or "relevance" not in inspect.signature(choose).parameters:
        raise Unavailable("There is no choice of relevances in this version to be left out.")

    def equal(*arguments: Any, **options: Any) -> Any:
        # The estimator may ask for relevances by name, so a default would not do.
        return choose(*arguments, **{**options, "relevance": False})

    with replaced(equal, "anmin.estimators.choose_alpha"):
        yield


@dataclass(frozen=True)
class Variant:
    """The method without one of its parts.

    Attributes
    ----------
    description : str
        In tables.
    settings : callable
        Takes the number of training rows, returns the parameters of the estimator that differ from its defaults.
    around : callable
        Returns the context of the fit.
    """

    description: str
    settings: Callable[[int], dict[str, Any]] = lambda n_rows: {}
    around: Callable[[], AbstractContextManager] = nullcontext


FULL = "full"
VARIANTS = {
    FULL: Variant("the default"),
    "no_recombination": Variant(
        "no recombination at all: one start, to convergence",
        lambda n_rows: {"relocate": False},
    ),
    "no_relocation": Variant(
        "no relocation: children are joined, not grown",
        lambda n_rows: {"solver": Recombining(grown_often=0.0)},
    ),
    "no_joining": Variant(
        "no joining: all children are grown",
        lambda n_rows: {"solver": Recombining(grown_often=1.0)},
    ),
    "no_flips": Variant("no turning of neurons", lambda n_rows: {"solver": WithoutFlips()}),
    "no_sampling": Variant(
        "no sampling: the search sees all rows from the beginning",
        lambda n_rows: {"solver": Recombining(sample_rows=n_rows)},
    ),
    "no_linear_start": Variant("no linear model in the starts", around=without_linear_start),
    "no_projection": Variant(
        "no projection (nor recombination): steps with the output layer held",
        lambda n_rows: {"solver": HeldOutput(), "relocate": False},
        solving_by(HeldOutput),
    ),
    "no_damping": Variant(
        "no damping (nor recombination): steps halved until the loss falls",
        lambda n_rows: {"solver": Undamped(), "relocate": False},
        solving_by(Undamped),
    ),
    "paper_penalty": Variant(
        "the paper's penalty in place of the chosen one, and equal scales of the inputs",
        lambda n_rows: {"alpha": alpha_from_sum(protocol.PENALTY, n_rows)},
    ),
    "paper_anmin": Variant("the paper's ANMIN and penalty", lambda n_rows: {"solver": "anmin"}),
    "no_relevance": Variant("no relevance: equal scales of the inputs", around=without_relevance),
}


# Runs


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


def names(text: str) -> list[str]:
    """Return names that were given with commas between."""
    return list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def positive(kind: type) -> Callable[[str], float]:
    """Return what reads a positive number."""

    def read(text: str) -> float:
        if not 0 < kind(text) < math.inf:
            raise ValueError
        return kind(text)

    read.__name__ = f"positive {kind.__name__}"  # argparse says so of what is not
    return read


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


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    with written_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def say(text: str, file: Any = None) -> None:
    """Print a line at once, also into a file."""
    print(text, file=file or sys.stdout, flush=True)


# Tables


def tables(runs: list[dict[str, Any]]) -> str:
    """Return the Markdown of all studies that have runs."""
    if not runs:
        raise ValueError("There are no runs yet.")
    lines = ["# The search: depth, spread, recovery, and what its parts are worth", ""]
    for study, section in STUDIES.items():
        own = [run for run in runs if run["study"] == study]
        lines += section(own) if own else []
    return "\n".join(lines)


def depth(runs: list[dict[str, Any]]) -> list[str]:
    """Return the section on depth."""
    lines = [
        "## Depth",
        "",
        f"Networks of {widths(runs)} neurons at the paper's penalty, alpha = {protocol.PENALTY:g}/n, all else as by "
        f"default, {limits(runs)}, on the first of the splits of accuracy.md: {counted(runs, 'split')}. Mean squared "
        "errors, mean ± standard deviation over the splits, and the largest. The targets are of the mean training "
        f"error: {listed([f'{target:g} ({name})' for name, target in DEPTH_TARGETS.items()])}.",
        "",
        "| | splits | training MSE | largest | target | | at or below it | test MSE | processor s, median |",
        "|---|---:|---:|---:|---:|---|---:|---:|---:|",
    ]
    for name, own in by_dataset(runs).items():
        train, target = column(own, "train_mse"), DEPTH_TARGETS.get(name, math.nan)
        verdict = "–" if math.isnan(target) else verdict_of(train.mean() <= target)
        below = "–" if math.isnan(target) else f"{np.sum(train <= target)} of {len(own)}"
        lines.append(
            f"| {name} | {len(own)} | {spread(train)} | {number(train.max())} | {number(target)} | {verdict} "
            f"| {below} | {spread(column(own, 'test_mse'))} "
            f"| {number(np.median(column(own, 'processor_seconds')), 3)} |"
        )
    return [*lines, "", *common_facts(runs), ""]


def seeds(runs: list[dict[str, Any]]) -> list[str]:
    """Return the section on different seeds."""
    lines = [
        "## Seeds",
        "",
        f"Networks of {widths(runs)} neurons with all defaults, {limits(runs)}, on split 0, from "
        f"{counted(runs, 'seed')}. Mean squared errors on the training rows. The target is a standard deviation of "
        f"at most {100 * SPREAD_TARGET:g} % of the mean.",
        "",
        "| | seeds | mean | standard deviation | ratio | | least | largest | test MSE | processor s, median |",
        "|---|---:|---:|---:|---:|---|---:|---:|---:|---:|",
    ]
    for name, own in by_dataset(runs).items():
        train = column(own, "train_mse")
        deviation = train.std(ddof=1) if len(own) > 1 else math.nan
        ratio = deviation / train.mean()
        verdict = "–" if math.isnan(ratio) else verdict_of(ratio <= SPREAD_TARGET)
        lines.append(
            f"| {name} | {len(own)} | {number(train.mean())} | {number(deviation, 3)} | {percent(ratio)} | {verdict} "
            f"| {number(train.min())} | {number(train.max())} | {spread(column(own, 'test_mse'))} "
            f"| {number(np.median(column(own, 'processor_seconds')), 3)} |"
        )
    return [*lines, "", *common_facts(runs), ""]


def planted_networks(runs: list[dict[str, Any]]) -> list[str]:
    """Return the section on planted networks."""
    runs = sorted(runs, key=lambda run: run["seed"])
    share = column(runs, "train_mse") / column(runs, "variance")
    on_new_rows = column(runs, "test_mse") / column(runs, "variance")
    found = int(np.sum(share < RECOVERED))
    lines = [
        "## Planted networks",
        "",
        f"{PLANTED_ROWS:,} standard normal rows with {PLANTED_INPUTS} inputs and the outputs, without noise, of a "
        f"network of {widths(runs)} neurons whose weights are standard normal, fitted by a network of the same width "
        f"with all defaults, {limits(runs)}. It counts as found again where the mean squared error on the training "
        f"rows is below {RECOVERED:.0e} of the variance. The target is at least {10 * RECOVERY_TARGET:g} of 10.",
        "",
        f"Found again: {found} of {len(runs)}. Target: {verdict_of(found >= RECOVERY_TARGET * len(runs))}.",
        "",
        "| seed | training MSE / variance | the same on new rows | found again | processor s |",
        "|---:|---:|---:|---|---:|",
    ]
    for run, train, test in zip(runs, share, on_new_rows, strict=True):
        lines.append(
            f"| {run['seed']} | {train:.1e} | {test:.1e} | {'yes' if train < RECOVERED else 'no'} "
            f"| {number(run['processor_seconds'], 3)} |"
        )
    return [*lines, "", *common_facts(runs), ""]


def ablation(runs: list[dict[str, Any]]) -> list[str]:
    """Return the section on the parts of the method."""
    sets = by_dataset(runs)
    variants = [name for name in VARIANTS if any(run["variant"] == name for run in runs)]
    shown = {name: {variant: splits_of(own, variant) for variant in variants} for name, own in sets.items()}
    counts = [f"{max(map(len, table.values()))} of {name}" for name, table in shown.items()]
    lines = [
        "## Ablation",
        "",
        f"The default method without one part at a time: networks of {widths(runs)} neurons, {limits(runs)}. Means "
        f"over the first splits that all variants have been run on: {', '.join(counts)}. Mean squared errors, and "
        "on the UCI sets their roots, as they are reported there. **Bold**: the least of the column. Where a part "
        "plays no role, as samples do on small sets, differences are due to fits that ran out of time. Without "
        "projection or damping there is no recombination either: those are to be compared with the row without it.",
        "",
        "| | " + " | ".join(f"{name} train {metric(name)} | test" for name in sets) + " |",
        "|---|" + "---:|" * (2 * len(sets)),
    ]
    columns = [
        [mean_error(shown[name][variant], part, metric(name)) for variant in variants]
        for name in sets
        for part in ("train_mse", "test_mse")
    ]
    texts = [[bold(value, values) for value in values] for values in columns]
    for variant, *cells in zip(variants, *texts, strict=True):
        lines.append(f"| {VARIANTS[variant].description} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "Test error over that of the default, both as mean squared errors, on each set a geometric mean over the "
        "splits; the geometric means over all sets of the same, and of the training error, the penalty and the "
        "processor seconds over those of the default; and how many fits ran out of time.",
        "",
        "| | " + " | ".join(sets) + " | test, all | training, all | penalty, all | processor s, all | out of time |",
        "|---|" + "---:|" * (len(sets) + 5),
    ]
    for variant in variants:
        ratios = {
            part: [ratio(shown[name][variant], shown[name].get(FULL, {}), part) for name in sets]
            for part in ("test_mse", "train_mse", "alpha", "processor_seconds")
        }
        late = [run["status"] == Status.MAX_TIME.name for table in shown.values() for run in table[variant].values()]
        cells = [number(value) for value in ratios["test_mse"]]
        cells += [number(geometric_mean(values), 3) for values in ratios.values()] + [f"{sum(late)} of {len(late)}"]
        lines.append(f"| {VARIANTS[variant].description} | " + " | ".join(cells) + " |")
    return [*lines, ""]


#: What makes the section of each study.
STUDIES = {"depth": depth, "seeds": seeds, "planted": planted_networks, "ablation": ablation}


def by_dataset(runs: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return the runs of each data set, in the order of the study and then of the runs."""
    known = [name for name in DATASETS[runs[0]["study"]] if any(run["dataset"] == name for run in runs)]
    order = dict.fromkeys([*known, *(run["dataset"] for run in runs)])
    return {name: [run for run in runs if run["dataset"] == name] for name in order}


def splits_of(runs: list[dict[str, Any]], variant: str) -> dict[int, dict[str, Any]]:
    """Return the runs of a variant on a data set by their splits, of which only those that all variants there have."""
    tried = {run["variant"] for run in runs}
    had = Counter(run["split"] for run in runs)
    return {run["split"]: run for run in runs if run["variant"] == variant and had[run["split"]] == len(tried)}


def mean_error(runs: dict[int, dict[str, Any]], part: str, kind: str) -> float:
    """Return the mean error over the splits; NaN where there are none, or a fit has none."""
    errors = column(list(runs.values()), part)
    return float(np.mean(np.sqrt(errors) if kind == "RMSE" else errors)) if runs else math.nan


def ratio(runs: dict[int, dict[str, Any]], full: dict[int, dict[str, Any]], part: str) -> float:
    """Return the geometric mean over the splits of a quantity over that of the default."""
    if not runs or not full:
        return math.nan
    own, default = (column([table[split] for split in runs], part) for table in (runs, full))
    return float(np.exp(np.mean(np.log(own / default))))


def geometric_mean(values: list[float]) -> float:
    """Return the geometric mean of the values that there are."""
    logs = np.log([value for value in values if not math.isnan(value)])
    return float(np.exp(logs.mean())) if logs.size else math.nan


def metric(name: str) -> str:
    """Return what errors are reported as on a data set."""
    return accuracy.FIELDS[name].metric


def column(runs: list[dict[str, Any]], name: str) -> NDArray:
    """Return one quantity of the runs, NaN where there is none."""
    return np.array([math.nan if run[name] is None else run[name] for run in runs], dtype=np.float64)


def bold(value: float, values: list[float]) -> str:
    """Return a number, in bold if it is as little as the least of the values."""
    least = min((one for one in values if not math.isnan(one)), default=math.nan)
    return f"**{number(value)}**" if value <= least * 1.0005 else number(value)


def spread(values: NDArray) -> str:
    """Return mean and standard deviation."""
    if len(values) < 2:
        return number(values.mean())
    return f"{number(values.mean())} ± {number(values.std(ddof=1), 2)}"


def percent(value: float) -> str:
    """Return a share in percent."""
    return "–" if math.isnan(value) else f"{100 * value:.1f} %"


def verdict_of(reached: bool) -> str:
    """Return what is said of a target."""
    return "reached" if reached else "**missed**"


def widths(runs: list[dict[str, Any]]) -> str:
    """Return the numbers of neurons of the runs."""
    return " or ".join(map(str, sorted({run["n_neurons"] for run in runs}, reverse=True)))


def limits(runs: list[dict[str, Any]]) -> str:
    """Return the limits of time of the runs."""
    limits = sorted({run["max_time"] or math.inf for run in runs})
    return " or ".join(
        f"at most {limit:g} s a fit" if limit < math.inf else "without a limit of time" for limit in limits
    )


def counted(runs: list[dict[str, Any]], what: str) -> str:
    """Return how many runs each data set has."""
    return ", ".join(f"{len(own)} {what}{'s' * (len(own) > 1)} of {name}" for name, own in by_dataset(runs).items())


def common_facts(runs: list[dict[str, Any]]) -> list[str]:
    """Return sentences on what should hold of every fit."""
    count, dead = len(runs), [run["dead_neurons"] for run in runs]
    ends = ", ".join(f"{times} {name}" for name, times in Counter(run["status"] for run in runs).items())
    return [
        f"The loss never rose from one iteration to the next in {sum(run['never_rises'] for run in runs)} of {count} "
        "fits. It ended no higher than that of ridge regression at the same penalty, in the same coordinates, in "
        f"{sum(run['not_above_ridge'] for run in runs)} of {count}. Neurons active on no row at the end: {sum(dead)}, "
        f"in {sum(one > 0 for one in dead)} of {count}. How the fits ended: {ends}."
    ]


if __name__ == "__main__":
    sys.exit(main())
