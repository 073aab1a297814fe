"""What the treatment of degenerate systems is worth: the paper's ablation on the bike-sharing data.

With the penalty λ = 0.001 of the unnormalised loss, every eigenvalue of the hidden layer's system is at least 0.001, so
in exact arithmetic its log-determinant stays above p·h·log(0.001) (−6189 on this set) and the paper's threshold of
−10,000 is never met. The paper computed in float32, in which rounding makes the computed matrix indefinite now and
then. The study is therefore made in float32, and the counts of degenerate systems in float64 stand beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh, lu_factor, lu_solve

from anmin import objective
from anmin.history import Record
from anmin.lab import protocol, published, tables
from anmin.lab.methods import paper_problem
from anmin.lab.protocol import STUDIES, Split
from anmin.lab.results import Run, RunFile, complete, load_average
from anmin.network import ReLUNetwork
from anmin.solvers import Anmin, Problem, State, solve

Precision = Literal["float64", "float32"]

STUDY = "ablation"
DATASET = "bike_sharing"


@dataclass(frozen=True)
class BySign(Anmin):
    """Algorithm 1 with the test and the inverse of the paper's code.

    A system is degenerate where its determinant by LU is not positive, for then its logarithm is not a number; a matrix
    with an even number of negative eigenvalues passes. :class:`anmin.solvers.Anmin` calls every indefinite matrix
    degenerate. A degenerate system is solved by its singular values, raised to the floor.
    """

    def solve_hidden(
        self, M: NDArray, c: NDArray, alpha: float, n: float, device: str | None = None
    ) -> tuple[NDArray, Record]:
        """Solve (M + alpha·I) a = c, formed as n·M + n·alpha·I in the precision of the solver, always here."""
        system = M * n
        system[np.diag_indices_from(system)] += objective.sum_from_alpha(alpha, n)
        system, right = system.astype(self.system_dtype), (c * n).astype(self.system_dtype)
        factor = lu_factor(system, check_finite=False)
        diagonal = np.diagonal(factor[0]).astype(np.float64)
        swaps = np.count_nonzero(factor[1] != np.arange(len(diagonal)))
        if (np.count_nonzero(diagonal < 0) + swaps) % 2 == 0 and diagonal.all():
            log_determinant = float(np.log(np.abs(diagonal)).sum())
            if log_determinant > self.log_determinant_threshold:
                a = lu_solve(factor, right, check_finite=False)
                return a.astype(np.float64), Record(log_determinant=log_determinant, branch="regular")
        return self.solve_degenerate(system, right).astype(np.float64), Record(branch="degenerate")

    def solve_degenerate(self, system: NDArray, right: NDArray) -> NDArray:
        """Solve by singular values raised to the floor."""
        # A symmetric matrix has its eigenvalues' sizes for singular values; the signs go to one side's vectors.
        values, vectors = eigh(system, check_finite=False)
        return vectors @ (
            np.copysign(1.0, values) * (vectors.T @ right) / np.maximum(np.abs(values), self.eigenvalue_floor)
        )


@dataclass(frozen=True)
class Restarting(BySign):
    """Draw the hidden layer anew, A ~ N(0, 1), where the system is degenerate."""

    seed: int = 0

    def step(self, problem: Problem, state: State) -> State:
        """Return the next state, or one at a fresh random hidden layer."""
        after = super().step(problem, state)
        if after.record.branch != "degenerate":
            return after
        rng = np.random.default_rng([self.seed, state.record.iteration + 1])
        A = rng.standard_normal(state.network.A.shape)
        return self._at(problem, A, None, replace(after.record, frozen_loss=math.nan))


@dataclass(frozen=True)
class PseudoInverse(BySign):
    """Solve a degenerate system by its pseudo-inverse, with the cut-off of PyTorch's ``pinv``: size · eps · largest."""

    def solve_degenerate(self, system: NDArray, right: NDArray) -> NDArray:
        """Solve by the pseudo-inverse."""
        values, vectors = eigh(system, check_finite=False)
        kept = np.abs(values) > len(values) * np.finfo(system.dtype).eps * np.abs(values).max()
        return vectors[:, kept] @ ((vectors[:, kept].T @ right) / values[kept])


@dataclass(frozen=True)
class Variant:
    """A treatment of degenerate systems.

    Attributes
    ----------
    name, title : str
    solver : callable
        Takes the precision and the seed, returns the solver.
    reports : "best" or "last"
        Which iterate is the outcome.
    stops : bool
        Whether the first degenerate system ends the run, with the iterate before it.
    """

    name: str
    title: str
    solver: Callable[[Precision, int], Anmin]
    reports: Literal["best", "last"] = "best"
    stops: bool = False


VARIANTS: dict[str, Variant] = {
    variant.name: variant
    for variant in (
        Variant(
            "stop",
            "stop at the first degenerate system, last iterate",
            lambda dtype, _: BySign(system_dtype=dtype),
            reports="last",
            stops=True,
        ),
        Variant(
            "restart",
            "draw A anew where degenerate, best iterate",
            lambda dtype, seed: Restarting(system_dtype=dtype, seed=seed),
        ),
        Variant(
            "pseudo-inverse",
            "pseudo-inverse where degenerate, last iterate",
            lambda dtype, _: PseudoInverse(system_dtype=dtype),
            reports="last",
        ),
        Variant(
            "algorithm 1",
            "Algorithm 1: clamped singular values, best iterate",
            lambda dtype, _: BySign(system_dtype=dtype),
        ),
        Variant(
            "cholesky",
            "the same with this package's test, degenerate where not positive definite",
            lambda dtype, _: Anmin(system_dtype=dtype),
        ),
    )
}


def ablate(
    folder: Path,
    n_splits: int = 10,
    *,
    dataset: str = DATASET,
    variants: Sequence[str] = tuple(VARIANTS),
    quick: bool = False,
    report: Callable[[str], None] = print,
) -> list[Run]:
    """Run the variants in float32, and this package's ANMIN in float64, as far as the file in ``folder`` lacks them."""
    protocol.check_names("data set", [dataset], STUDIES)
    protocol.check_names("variant", list(variants), VARIANTS)
    return complete(run_file(folder, dataset), _jobs(dataset, variants, n_splits, quick), report)


def stored(folder: Path, dataset: str = DATASET, *, quick: bool = False) -> list[Run]:
    """Return all runs in ``folder`` that were made with the settings of today."""
    wanted = {
        _label(name, dtype): _settings(STUDIES[dataset].n_neurons, dtype, _iterations(quick))
        for name, dtype in _cases(tuple(VARIANTS))
    }
    return run_file(folder, dataset).matching(wanted)


def run_file(folder: Path, dataset: str) -> RunFile:
    """Return the file of the ablation on a data set."""
    return RunFile(folder / f"{STUDY}-{dataset}.json", STUDY, dataset)


def run_variant(
    variant: Variant,
    split: Split,
    n_neurons: int,
    seed: int,
    dtype: Precision = "float32",
    iterations: int = 30,
) -> Run:
    """Run one variant on one split; ``extra`` counts the degenerate systems that it met."""
    networks: list[ReLUNetwork] = []

    def watch(record: Record, network: ReLUNetwork) -> bool:
        if variant.stops and record.branch == "degenerate":
            return True
        networks.append(network)
        return False

    load = load_average()
    solution = solve(
        paper_problem(split, n_neurons),
        variant.solver(dtype, seed),
        max_iter=iterations,
        tol=0.0,
        callbacks=[watch],
        rng=np.random.default_rng(seed),
    )
    train_mse, test_mse = protocol.errors(networks[-1] if variant.reports == "last" else solution.network, split)
    train_r2, test_r2 = protocol.r_squared(train_mse, test_mse, split)
    branches = solution.history["branch"]
    return Run(
        method=_label(variant.name, dtype),
        split=seed,
        settings=_settings(n_neurons, dtype, iterations),
        train_mse=train_mse,
        test_mse=test_mse,
        train_r2=train_r2,
        test_r2=test_r2,
        seconds=round(float(solution.history["seconds"][-1]), 4),
        iterations=solution.n_iter,
        n_train=len(split.X_train),
        n_features=split.X_train.shape[1],
        load=load,
        extra={"degenerate": int(np.count_nonzero(branches == "degenerate"))},
    )


def ablation_table(dataset: str, runs: Sequence[Run]) -> str:
    """Return the Markdown of the ablation on a data set."""
    numbers = published.ABLATION if dataset == DATASET else {}
    rows = {row.method: row for row in tables.summarise([run for run in runs if "float32" in run.method], "train")}
    double = [run for run in runs if "float64" in run.method]
    lines = [
        f"# Degenerate systems: the paper's ablation on {STUDIES[dataset].title.lower()}",
        "",
        "Training error after 30 iterations, mean (standard deviation) over the splits, with the hidden layer's system "
        "formed in float64, rounded to float32 and solved in float32. **Bold**: not worse than the best by a paired "
        f"t-test (p > 0.01). Paper: {published.CITATION}, means over 100 splits.",
        "",
        "| treatment | splits | training MSE | paper | degenerate systems in a run |",
        "|---|---:|---:|---:|---:|",
    ]
    for variant in VARIANTS.values():
        label = _label(variant.name, "float32")
        if label not in rows:
            continue
        row, paper = rows[label], numbers.get(variant.name)
        error = tables.formatted(row.mean, row.deviation)
        lines.append(
            f"| {variant.title} | {row.n_splits} | {f'**{error}**' if row.not_worse else error} "
            f"| {'–' if paper is None else tables.formatted(paper.mean, paper.deviation or math.nan)} "
            f"| {_degenerate([run for run in runs if run.method == label])} |"
        )
    if double:
        (row,) = tables.summarise(double, "train")
        lines.append(
            f"| this package's ANMIN in float64 | {row.n_splits} | {tables.formatted(row.mean, row.deviation)} | – "
            f"| {_degenerate(double)} |"
        )
    return "\n".join(lines) + "\n"


def _jobs(
    dataset: str, variants: Sequence[str], n_splits: int, quick: bool
) -> Iterator[tuple[str, int, dict, Callable[[], Run]]]:
    n_neurons, iterations = STUDIES[dataset].n_neurons, _iterations(quick)
    for name, dtype in _cases(variants):
        for split in range(n_splits):
            make = partial(_run, dataset, VARIANTS[name], n_neurons, split, dtype, iterations)
            yield _label(name, dtype), split, _settings(n_neurons, dtype, iterations), make


def _cases(variants: Sequence[str]) -> list[tuple[str, Precision]]:
    double: list[tuple[str, Precision]] = [("cholesky", "float64")] if "cholesky" in variants else []
    return [*((name, "float32") for name in variants), *double]


def _iterations(quick: bool) -> int:
    return 3 if quick else 30


def _run(
    dataset: str,
    variant: Variant,
    n_neurons: int,
    split: int,
    dtype: Precision,
    iterations: int,
) -> Run:
    return run_variant(variant, protocol.load_split(dataset, split), n_neurons, split, dtype, iterations)


def _settings(n_neurons: int, dtype: str, iterations: int) -> dict:
    return {"n_neurons": n_neurons, "penalty": protocol.PENALTY, "system_dtype": dtype, "iterations": iterations}


def _label(name: str, dtype: str) -> str:
    return f"{name} ({dtype})"


def _degenerate(runs: Sequence[Run]) -> str:
    counts = [run.extra["degenerate"] for run in runs]
    return f"{np.mean(counts):.1f} ({min(counts)} to {max(counts)})"
