"""The methods that the paper compares, behind one interface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Protocol

import numpy as np

from anmin.history import Record
from anmin.lab import protocol
from anmin.lab.baselines import Recipe, train
from anmin.lab.protocol import Split
from anmin.network import ReLUNetwork
from anmin.objective import alpha_from_sum
from anmin.rows import ArrayRows
from anmin.solvers import Anmin, Problem, solve

#: At most this many points of a training curve are evaluated and stored.
_CURVE_POINTS = 61


@dataclass(frozen=True, eq=False)
class Fit:
    """What a method hands back.

    Attributes
    ----------
    network : ReLUNetwork
        The network that it reports.
    seconds : float
        Wall-clock seconds of the fit, without loading data or evaluating on test rows.
    iterations : int
        Iterations or epochs run.
    path : sequence of (float, ReLUNetwork)
        The networks on the way with the seconds at which they were reached; empty unless asked for.
    extra : dict
        Numbers that only this method has, ready for JSON.
    """

    network: ReLUNetwork
    seconds: float
    iterations: int
    path: Sequence[tuple[float, ReLUNetwork]] = ()
    extra: dict = field(default_factory=dict)

    def curve(self, split: Split) -> dict[str, list[float]]:
        """Return seconds, training and test error along the path, as columns."""
        step = max(1, -(-len(self.path) // _CURVE_POINTS))
        # Counted from the end, so that the last network is always there.
        points = [(seconds, *protocol.errors(network, split)) for seconds, network in self.path[::-step][::-1]]
        columns = zip(*points, strict=True) if points else ((), (), ())
        return {
            name: [float(f"{value:.5g}") for value in column]
            for name, column in zip(("seconds", "train_mse", "test_mse"), columns, strict=True)
        }


class Method(Protocol):
    """A way to fit a network to the training rows of a split."""

    def settings(self) -> dict:
        """Return all that determines the outcome besides the data, ready for JSON."""
        ...

    def fit(self, split: Split, n_neurons: int, seed: int, *, keep_path: bool = False) -> Fit:
        """Fit a network of ``n_neurons`` neurons from the start that ``seed`` draws."""
        ...


@dataclass(frozen=True)
class AnminMethod:
    """Algorithm 1 of the paper in this package, for 30 iterations at the paper's penalty."""

    negative_slope: float = 0.0
    iterations: int = 30

    def settings(self) -> dict:
        """Return the settings, with those of the solver."""
        return {"solver": asdict(Anmin()), "penalty": protocol.PENALTY, **asdict(self)}

    def fit(self, split: Split, n_neurons: int, seed: int, *, keep_path: bool = False) -> Fit:
        """Fit from A ~ N(0, 1) drawn by ``numpy.random.default_rng(seed)``; the best iterate is reported."""
        path: list[tuple[float, ReLUNetwork]] = []

        def keep(record: Record, network: ReLUNetwork) -> None:
            path.append((record.seconds, network))

        solution = solve(
            paper_problem(split, n_neurons, self.negative_slope),
            Anmin(),
            max_iter=self.iterations,
            tol=0.0,
            callbacks=[keep] if keep_path else [],
            rng=np.random.default_rng(seed),
        )
        history = solution.history
        extra: dict = {
            "degenerate": int(np.count_nonzero(history["branch"] == "degenerate")),
            "dead_neurons": int(history["dead_neurons"][solution.best]),
        }
        if keep_path:
            extra["log_determinant"] = [_number(value) for value in history["log_determinant"][1:]]
        return Fit(solution.network, float(history["seconds"][-1]), solution.n_iter, path, extra)


@dataclass(frozen=True)
class TorchMethod:
    """Descent by one of PyTorch's own optimisers, by a recipe of the paper."""

    recipe: Recipe

    def settings(self) -> dict:
        """Return the recipe."""
        return asdict(self.recipe)

    def fit(self, split: Split, n_neurons: int, seed: int, *, keep_path: bool = False) -> Fit:
        """Fit from PyTorch's own start after ``torch.manual_seed(seed)``."""
        trained = train(split.X_train, split.y_train, n_neurons, self.recipe, seed, keep_path=keep_path)
        return Fit(trained.network, trained.seconds, trained.epochs, trained.path, {"best_epoch": trained.best_epoch})


def paper_problem(split: Split, n_neurons: int, negative_slope: float = 0.0) -> Problem:
    """Return the problem of the paper's experiments on the training rows of a split."""
    rows = ArrayRows(split.X_train, split.y_train)
    return Problem(rows, n_neurons, alpha_from_sum(protocol.PENALTY, rows.n), negative_slope)


def paper_methods(sgd_rate: float, *, quick: bool = False) -> dict[str, Method]:
    """Return the methods by name.

    Parameters
    ----------
    sgd_rate : float
        Learning rate of plain SGD (see :class:`anmin.lab.protocol.Study`).
    quick : bool, default False
        Run a tenth of the epochs and iterations, to see that all works.
    """
    epochs, iterations = (30, 3) if quick else (300, 30)
    decay = epochs // 3
    adam = Recipe("adam", 0.03, epochs, 256, decay)
    return {
        "SGD": TorchMethod(Recipe("sgd", sgd_rate, epochs, 256, decay)),
        "Adam": TorchMethod(adam),
        "Adam-L": TorchMethod(Recipe("adam", 0.03, epochs, 256, decay, negative_slope=0.1)),
        "L-BFGS": TorchMethod(Recipe("lbfgs", 0.01, epochs // 5, 2048, None, keep_best=True)),
        "ANMIN": AnminMethod(0.0, iterations),
        "ANMIN-L": AnminMethod(0.1, iterations),
    }


METHOD_NAMES = tuple(paper_methods(0.03))


def _number(value: float) -> float | None:
    return float(f"{value:.6g}") if np.isfinite(value) else None
